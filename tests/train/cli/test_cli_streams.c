// Standard streams that are full or closed, and the values of flags: no output is lost without an exit status, no word
// of the command line is left over.
#include "cli_runner.h"
#include "path.h"
#include "tiny_model.h"

#define MODEL "--model_name_or_path m.gguf "
#define TRAIN                                                                                                          \
    "train " MODEL "--train_file d.jsonl --output_dir out --max_seq_length 64 --max_steps 1 --lora_r 2 "               \
    "--learning_rate 1e-2 --device cpu "

static void put_files(void) {
    tiny_model_write("m.gguf", &TINY_MODEL);
    put("d.jsonl", "{\"text\": \"one two three four\"}\n");
}

// The config that a run saves is taken as it is, also where the model's context is shorter than the default row.
static void test_saved_config_is_taken(void **state) {
    (void)state;
    put_files();
    check_has("train " MODEL "--train_file d.jsonl --output_dir o --max_steps 1 --lora_r 2 --device cpu", 0,
              "adapter: ");
    check_has("train o/config.json", 0, "resuming from");
    check_has("train o/config.json --output_dir other", 0, "adapter: other/adapter");
    check_has("train o/config.json --max_seq_length 2048", 2, "m.gguf, 256");
}

// What a verb prints is its result; what training prints only tells how it went.
static void test_full_stdout_is_a_failure(void **state) {
    (void)state;
    put_files();
    static const char *const verbs[] = {
        "version",        "help",
        "help train",     "tokenize " MODEL "--text one",
        "inspect m.gguf", "generate " MODEL "--prompt one --max_new_tokens 2 --device cpu"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char *full = mem_printf("%s 2>err >/dev/full; r=$?; cat err; (exit $r)", verbs[i]);
        char *closed = mem_printf("%s 2>err >&-; r=$?; cat err; (exit $r)", verbs[i]);
        check_has(full, 1, "standard output: ");
        check_has(closed, 1, "standard output: ");
        mem_free(closed);
        mem_free(full);
    }
    check_has(TRAIN "2>err >/dev/full; r=$?; cat err; (exit $r)", 0, "standard output: ");
    assert_true(path_exists("out/adapter.gguf"));
}

// A file must not get the number of a closed stream: a warning would be written into it.
static void test_closed_streams_spoil_no_file(void **state) {
    (void)state;
    put_files();
    mem_free(run(TRAIN "<&- >&- 2>&-; r=$?; exec 2>&1; (exit $r)", 0));
    assert_true(path_exists("out/adapter.gguf"));
    mem_free(run(TRAIN ">/dev/null", 0)); // all files of the run are whole: it verifies them
    check_has("verify out " MODEL "--device cpu", 0, "verified");
    mem_free(run("tokenize " MODEL "--text one <&- 2>&-", 0));
}

static void test_flags_take_their_values(void **state) {
    (void)state;
    put_files();
    check_has(TRAIN "--packing 0 --shuffle 1 --use_rslora false --load_best_model_at_end 0", 0, "adapter: ");
    char *config = run("inspect out/config.json --show 1", 0);
    mem_free(config);
    check_has("plan out/config.json --json 1", 0, "\"chosen\"");
    check_has("plan out/config.json --json 0", 0, "ladder");
    check_has("plan out/config.json --json maybe", 2, "maybe");
    check_has("tokenize " MODEL "--text one two", 2, "unexpected argument \"two\"");
    check_has("tokenize " MODEL "--add_special_tokens 1 --text one", 0, "input_ids");
}

static void test_chat_is_bounded(void **state) {
    (void)state;
    put_files();
    put("in", "hello\nhello again\n");
    mem_free(run("chat " MODEL "--device cpu --max_new_tokens 4 < in", 0));
    check_has("chat " MODEL "--device cpu --max_new_tokens 4 --max_seq_length 16 < in", 0,
              "expected at most 16 (--max_seq_length)");
    check_has("chat " MODEL "--device cpu --max_new_tokens 400 --max_seq_length 80 < in", 0,
              "the context of 80 tokens is full");
    check_has("chat " MODEL "--device cpu --max_seq_length 257 < in", 2, "expected 1 to 256, the context of m.gguf");
    check_has("chat " MODEL "--device cpu --max_memory 1MiB < in", 3, "expected at most 0.0 MB (--max_memory)");
    check_has("chat " MODEL "--device cpu --max_memory much < in", 2, "expected bytes or text such as");
}

// Reads from `fd` until the output ends with `end`, or is `most` bytes.
static void read_until(int fd, StrBuf *out, const char *end, size_t most) {
    size_t n = strlen(end);
    for (char c; out->len < most && read(fd, &c, 1) == 1;) {
        str_add(out, &c, 1);
        if (out->len >= n && memcmp(out->data + out->len - n, end, n) == 0) return;
    }
}

// Ctrl-C while an answer is generated ends the answer; the conversation goes on.
static void test_chat_interrupt_ends_the_answer(void **state) {
    (void)state;
    put_files();
    tiny_model_write("long.gguf", &(TinyModel){.layers = 2,
                                               .hidden = 32,
                                               .heads = 4,
                                               .kv_heads = 2,
                                               .ffn = 64,
                                               .context = 20000,
                                               .seed = 1,
                                               .scale = 0.2f});
    int in[2], out[2], status;
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(in[0], 0), dup2(out[1], 1);
        close(in[1]), close(out[0]);
        execl(LORAC, "lorac", "chat", "-m", "long.gguf", "--device", "cpu", "-n", "15000", "--max_seq_length", "20000",
              "--temperature", "2", (char *)NULL);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    AUTO_STR StrBuf text = {0};
    assert_int_equal(write(in[1], "hello\n", 6), 6);
    read_until(out[0], &text, "no such text", 20);
    assert_int_equal(kill(pid, SIGINT), 0);
    assert_int_equal(write(in[1], "/adapters\n", 10), 10);
    read_until(out[0], &text, "* none\n", 1 << 20);
    assert_non_null(strstr(text.data, "* none\n"));
    close(in[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(out[0]);
}

// Every verb describes itself with its options; the config's page and schema come from one table.
static void test_cli_help(void **state) {
    (void)state;
    static const char *const verbs[] = {"train",  "plan",   "inspect", "tokenize", "eval",   "generate", "chat",
                                        "logits", "verify", "export",  "merge",    "doctor", "help",     "version"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char *words = mem_printf("help %s", verbs[i]), *flag = mem_printf("%s --help", verbs[i]);
        char *usage = mem_printf("usage: lorac %s", verbs[i]), *text = run(words, 0);
        if (strncmp(text, usage, strlen(usage)) != 0) fail_msg("%s: %s", words, text);
        check_output(flag, text);
        mem_free(text);
        mem_free(usage);
        mem_free(flag);
        mem_free(words);
    }
    check_has("help generate", 0,
              "\n  --max_new_tokens              Longest answer, in tokens. (integer; default 256; also -n)\n");
    check_has("help config", 0,
              "\n  lora_r                        Rank. (integer from 1 to 65536; default 16; also lora_rank, r)\n");
    check_has("help config --json", 0, "\"$schema\":\t\"https://json-schema.org/draft/2020-12/schema\"");
    check_has("help config --tools", 0, "\n  adapter                       lora or qlora");
    check_has("help train --tools", 2, "--tools: expected \"lorac help config --tools\"");
    check_has("help train --json", 2, "--json: expected \"lorac help config --json\"");
    check_has("help trian", 2, "\"trian\" is not a verb");
    check_has("help train plan", 2, "unexpected argument \"plan\"");
    check_has("version now", 2, "unexpected argument \"now\"");
    check_has("doctor --device", 2, "--device has no value");
    check_has("generate -q x", 2, "lorac: -q: unknown option\n");
    check_has("train -q", 2, "command line: unknown option -q\n");
    check_has("train m.gguf", 2, "m.gguf: found a model; expected a config file; a model is given as -m m.gguf\n");
    check_has("plan -m nowhere.gguf --train_file none --output_dir out", 2, "nowhere.gguf: ");
    check_has("doctor --devise cpu", 2, "--devise: unknown option; the nearest known one is --device");
    check_has("tokenize --model null --text a", 2, "--model_name_or_path is missing"); // null is absence
    check_has("logits " MODEL "--input_ids null --out l", 2, "--input_ids is missing");
    check_has("logits " MODEL "--input_ids 1 --out=null", 2, "--out is missing");
    check_has("chat " MODEL "--seed 1e300", 2, "--seed: 1e+300; expected an integer");
}

TEST_MAIN(SCRATCH_TEST(test_cli_help), SCRATCH_TEST(test_full_stdout_is_a_failure),
          SCRATCH_TEST(test_saved_config_is_taken), SCRATCH_TEST(test_closed_streams_spoil_no_file),
          SCRATCH_TEST(test_flags_take_their_values), SCRATCH_TEST(test_chat_is_bounded),
          SCRATCH_TEST(test_chat_interrupt_ends_the_answer))
