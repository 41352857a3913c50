// test_hot_swap: lorac train with hot_swap_url and lorac swap against support/engine_server.py, whose engines go wrong
// in every way that their URL says.
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#include "cli_runner.h"
#include "fileio.h"
#include "path.h"
#include "python_server.h"
#include "tiny_run.h"

static PythonServer g_server;

static int set_up(void **state) {
    static const char *const unset[] = {"LORAC_HOT_SWAP_KEY", "LORAC_MODULES"};
    char *argv[] = {"python3", TEST_DIR "/support/engine_server.py", "requests", NULL};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) unsetenv(unset[i]);
    setenv("http_proxy", "http://127.0.0.1:9", 1); // nothing listens there: an engine is asked directly
    if (tiny_dir_setup(state) || chdir(tiny_dir)) return -1;
    return python_server_start(&g_server, argv);
}

static int tear_down(void **state) {
    python_server_stop(&g_server);
    return chdir("/") || tiny_dir_teardown(state);
}

static int begin(void **state) {
    unsetenv("LORAC_HOT_SWAP_KEY");
    put("answer", "x");
    put("adapters", "");
    return truncate("requests", 0) || dir_remove("out", NULL);
}

static char *text_of(const char *path) {
    char *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 24, &err), &err);
    return text;
}

static size_t count_in(const char *text, const char *part) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) n++;
    return n;
}

static size_t count_of(const char *path, const char *part) {
    AUTO_FREE char *text = text_of(path);
    return count_in(text, part);
}

// "http://127.0.0.1:PORT/vllm/ok"; caller frees.
static char *url_of(const char *engine) { return mem_printf("http://127.0.0.1:%ld/%s", g_server.port, engine); }

#define TRAIN TRAIN_UNNAMED "--run_name 'my run' "
#define TRAIN_UNNAMED                                                                                                  \
    "train --model tiny.gguf --train_file data.jsonl --max_seq_length 48 --max_steps 4 --save_steps 1 "                \
    "--learning_rate 1e-2 --hot_swap_timeout 1 "

// A run with one engine; its output.
static char *train_with(const char *engine, const char *more, int status) {
    AUTO_FREE char *url = url_of(engine);
    AUTO_FREE char *words = mem_printf(TRAIN "--output_dir out --hot_swap_url %s %s", url, more);
    return run(words, status);
}

// What the engine lists: GET /v1/models.
static char *models_of(const char *engine) {
    AUTO_FREE char *url = url_of(engine);
    AUTO_FREE char *command =
        mem_printf("python3 -c 'import urllib.request as u; o = u.build_opener(u.ProxyHandler({})); "
                   "print(o.open(\"%s/v1/models\").read().decode())'",
                   url);
    return command_output(command, 0);
}

static void same_adapter_as_without(const char *out) {
    if (!path_exists("plain")) mem_free(run(TRAIN "--output_dir plain", 0));
    assert_true(tiny_same_adapter(out, "plain"));
}

static size_t folders_of_versions(void) {
    size_t n = 0;
    NameList names = {0};
    Err err;
    ASSERT_OK(dir_list(&names, "out/hot_swap", &err), &err);
    for (size_t i = 0; i < names.count; i++) {
        AUTO_FREE char *path = path_join("out/hot_swap", names.items[i]);
        n += path_is_dir(path) && starts_with(names.items[i], "my-run-step");
    }
    name_list_clear(&names);
    return n;
}

// ---- a run ----

static void run_loads_each_version(void **state) {
    static const char *const kinds[] = {"vllm", "sglang"};
    for (size_t i = 0; i < 2; i++) {
        begin(state);
        AUTO_FREE char *engine = mem_printf("%s/each", kinds[i]), *out = train_with(engine, "", 0),
                       *models = models_of(engine);
        static const char *const parts[] = {"hot swap ", "as my-run-step...", "has my-run-step000004 ("};
        CHECK_PARTS(out, parts);
        assert_int_equal(count_in(out, "lorac: "), 0);
        // the newest is the only one; the one before it was unloaded after it was loaded
        assert_int_equal(count_in(models, "\"my-run-step"), 1);
        assert_non_null(strstr(models, "\"id\": \"my-run-step000004\""));
        AUTO_FREE char *log = text_of("requests");
        size_t loads = count_in(log, "/load_lora_adapter"), unloads = count_in(log, "/unload_lora_adapter");
        assert_true(loads == unloads + 1 && loads >= 1 && loads <= 4);
        assert_int_equal(count_in(log, "load_inplace"), 0);
        assert_int_equal(count_of("out/train_log.jsonl", "\"hot_swap\":\"loaded\""), loads);
        assert_int_equal(count_of("out/train_log.jsonl", "\"hot_swap\":\"failed\""), 0);
        AUTO_FREE char *report = text_of("out/report.html");
        assert_non_null(strstr(report, "my-run-step000004 is loaded; "));
        same_adapter_as_without("out");
        check_has("train out/config.json", 0, "has my-run-step000004 ("); // a finished run: it is there already
        assert_int_equal(count_of("requests", "/load_lora_adapter"), loads);
    }
}

// What an engine was told of stays on disk; versions that none was told of do not pile up.
static void run_keeps_what_is_read(void **state) {
    mem_free(train_with("vllm/kept", "", 0));
    size_t told = count_of("requests", "/load_lora_adapter"), folders = folders_of_versions();
    assert_int_equal(folders, told);
    begin(state);
    mem_free(train_with("vllm/page", "--max_steps 8", 0));
    assert_true(folders_of_versions() <= 2);
}

static void run_goes_on_without_engines(void **state) {
    static const struct {
        const char *engine, *message;
    } cases[] = {
        {"vllm/fails", "the engine answers 500: LoRA rank 99 is greater than max_lora_rank 16.; is the rank above"},
        {"vllm/noroute",
         "the engine answers 404: Not Found; expected vLLM with --enable-lora, started with VLLM_ALLOW"},
        {"vllm/bad", "the engine answers 400: no ?[31mcolour?"},
        {"vllm/cut", "the connection was cut before an answer came"},
        {"vllm/stalls", "/vllm/stalls/"},
        {"vllm/lies", "answers that it has loaded my-run-step00000"},
        {"vllm/key", "the engine answers 401; expected a key that it accepts in LORAC_HOT_SWAP_KEY (it is not set)"},
        {"vllm/moved", "the engine answers with a redirect (307), which is not followed"},
        {"vllm/page", "found no vLLM, SGLang or llama.cpp; expected the URL of its server"},
        {"vllm/huge", "the answer is larger than 8388608 bytes"},
        {"vllm/deaf", "/version: "},
        {"nothing/here", "found no vLLM, SGLang or llama.cpp"},
        {"sglang/fails", "/load_lora_adapter: the engine answers 400: LoRA rank 99"},
        {"sglang/off", "SGLang runs without adapters; expected it to be started with --enable-lora"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(state);
        AUTO_FREE char *out = train_with(cases[i].engine, "", 0);
        if (!strstr(out, cases[i].message)) fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].engine, out, cases[i].message);
        assert_int_equal(count_in(out, "lorac: "), 1); // one warning
        assert_true(count_of("out/train_log.jsonl", "\"hot_swap\":\"failed\"") >= 1);
        assert_int_equal(count_of("out/train_log.jsonl", "\"hot_swap\":\"loaded\""), 0);
        AUTO_FREE char *report = text_of("out/report.html");
        assert_non_null(strstr(report, " is not loaded; 0 loaded, "));
        same_adapter_as_without("out");
    }
    check_has(TRAIN "--output_dir out --hot_swap_url http://127.0.0.1:1", 0,
              "hot_swap_url: http://127.0.0.1:1/version: ");
}

static void run_tries_again(void **state) {
    static const char *const engines[] = {"vllm/busy", "vllm/lost"};
    for (size_t i = 0; i < 2; i++) {
        begin(state);
        AUTO_FREE char *out = train_with(engines[i], "--hot_swap_timeout 20", 0), *models = models_of(engines[i]);
        assert_non_null(strstr(out, "has my-run-step000004 ("));
        assert_int_equal(count_in(models, "\"my-run-step"), 1);
    }
    // what is not unloaded is said, and the new version is loaded nevertheless
    begin(state);
    AUTO_FREE char *out = train_with("vllm/keeps", "--max_steps 8 --hot_swap_timeout 5", 0),
                   *models = models_of("vllm/keeps");
    assert_non_null(strstr(models, "\"my-run-step000008\""));
    assert_non_null(strstr(out, "answers that it has unloaded my-run-step0000"));
}

static void run_resumes_with_and_without(void **state) {
    AUTO_FREE char *url = url_of("vllm/resume");
    AUTO_FREE char *words = mem_printf(TRAIN "--output_dir out --hot_swap_url %s", url);
    mem_free(run(TRAIN "--output_dir out", 0));
    Err err;
    ASSERT_OK(dir_remove("out/checkpoint-000004", &err), &err);
    check_has(words, 0, "has my-run-step000004 (");
    same_adapter_as_without("out");
    // another process unloads what this one has loaded
    ASSERT_OK(dir_remove("out/checkpoint-000004", &err), &err);
    AUTO_FREE char *longer = mem_printf("%s --max_steps 6", words);
    check_has(longer, 0, "has my-run-step000006 (");
    AUTO_FREE char *models = models_of("vllm/resume");
    assert_int_equal(count_in(models, "\"my-run-step"), 1);
    check_has(TRAIN "--output_dir out --max_steps 6", 0, "adapter: out/adapter");
}

static void key_is_sent_to_its_host_only(void **state) {
    setenv("LORAC_HOT_SWAP_KEY", "sesame", 1);
    AUTO_FREE char *out = train_with("vllm/key", "", 0), *moved = train_with("vllm/moved", "--output_dir out2", 0);
    assert_non_null(strstr(out, "has my-run-step000004 ("));
    AUTO_FREE char *log = text_of("requests");
    assert_true(count_in(log, " Bearer sesame ") >= 4);
    assert_int_equal(count_in(log, "\n1 "), 0); // the other host got no request
    assert_non_null(strstr(moved, "a redirect (307), which is not followed"));
    static const char *const files[] = {"out/train_log.jsonl", "out/report.html", "out/config.json"};
    for (size_t i = 0; i < 3; i++) assert_int_equal(count_of(files[i], "sesame"), 0);
    assert_int_equal(count_in(out, "sesame") + count_in(moved, "sesame"), 0);
    setenv("LORAC_HOT_SWAP_KEY", "open\r\nX: y", 1);
    mem_free(train_with("vllm/key", "--output_dir out3", 2));
}

static void run_checks_what_engines_compute(void **state) {
    AUTO_FREE char *small = train_with("sglang/small", "--lora_r 8", 2), *other = train_with("sglang/other", "", 2),
                   *rank = train_with("vllm/ok", "--hot_swap_engine vllm --lora_r 600", 2),
                   *class = train_with("vllm/ok", "--task classification", 2),
                   *wrong = train_with("vllm/ok", "--hot_swap_engine llama.cpp", 0);
    assert_non_null(
        strstr(small, "lora_r is 8; expected at most 1, the engine's --max-lora-rank, or a larger one there"));
    assert_non_null(
        strstr(other, "was started with --lora-target-modules k_proj: expected it with q_proj, or with all"));
    assert_non_null(strstr(rank, "lora_r is 600; expected at most 512, the largest --max-lora-rank of vLLM"));
    assert_non_null(strstr(class, "hot_swap_url: with task classification"));
    assert_non_null(strstr(wrong, "found no llama.cpp there"));
    setenv("LORAC_MODULES", "/nowhere", 1); // libcurl is loaded only when asked for
    check_has(TRAIN "--output_dir out9", 0, "adapter: out9/adapter");
    mem_free(train_with("vllm/ok", "", 1));
    unsetenv("LORAC_MODULES");
}

// A signal ends the run soon, whatever the engine does.
static void run_stops_soon(void **state) {
    AUTO_FREE char *url = url_of("vllm/stalls");
    pid_t pid = fork();
    if (pid == 0) {
        int log = open("stop.log", O_WRONLY | O_CREAT | O_TRUNC, 0644);
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execl(LORAC, "lorac", "train", "--model", "tiny.gguf", "--train_file", "data.jsonl", "--output_dir", "out",
              "--max_steps", "1000000", "--save_steps", "1", "--hot_swap_url", url, "--hot_swap_timeout", "300",
              (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1500 && count_of("requests", "/v1/load_lora_adapter") == 0; i++) usleep(20000);
    double start = time_now();
    kill(pid, SIGTERM);
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 75);
    assert_true(time_now() - start < 60);
    assert_int_equal(count_of("stop.log", "stopped by a signal after step"), 1);
}

static void several_engines_and_runs(void **state) {
    AUTO_FREE char *a = url_of("vllm/several"), *b = url_of("vllm/stalls"), *c = url_of("sglang/several");
    AUTO_FREE char *words =
        mem_printf(TRAIN_UNNAMED "--output_dir out --hot_swap_url '[\"%s\", \"%s\", \"%s\"]' "
                                 "--runs '[{\"run_name\": \"a\"}, {\"run_name\": \"b\", \"lora_alpha\": 64}]'",
                   a, b, c);
    AUTO_FREE char *out = run(words, 0), *models = models_of("vllm/several"), *other = models_of("sglang/several");
    assert_non_null(strstr(models, "\"a-step000004\""));
    assert_non_null(strstr(models, "\"b-step000004\""));
    assert_int_equal(count_in(models, "-step"), 2 * 2); // as id and in root
    assert_non_null(strstr(other, "\"b-step000004\""));
    assert_true(count_in(out, "hot swap: http") >= 4);
}

// ---- lorac swap ----

static char *swap(const char *engine, const char *words, int status) {
    AUTO_FREE char *url = url_of(engine);
    AUTO_FREE char *whole = mem_printf("swap %s --url %s", words, url);
    return run(whole, status);
}

#define SMALL "train --model tiny.gguf --train_file data.jsonl --max_seq_length 48 --output_dir out --max_steps 1 "

static void swap_loads_and_unloads(void **state) {
    mem_free(run(SMALL "--run_name tiny --val_set_size 4", 0));
    AUTO_FREE char *out = swap("vllm/hand", "out", 0), *again = swap("vllm/hand", "out", 0),
                   *models = models_of("vllm/hand");
    assert_non_null(strstr(out, "vLLM 0.32.0 has loaded tiny-"));
    assert_string_equal(out, again);
    assert_int_equal(count_in(models, "\"tiny-"), 1);
    assert_int_equal(count_of("requests", "/v1/load_lora_adapter"), 1);
    AUTO_FREE char *other = swap("vllm/hand", "out/adapter.gguf --model tiny.gguf --name other", 0),
                   *off = swap("vllm/hand", "out --off", 0), *both = models_of("vllm/hand");
    assert_non_null(strstr(other, "has loaded other-"));
    assert_non_null(strstr(off, "has unloaded 1\n"));
    assert_int_equal(count_in(both, "\"tiny-") + count_in(both, "\"other-"), 1);
    AUTO_FREE char *peft = swap("sglang/hand", "out/adapter --model tiny.gguf --name peft", 0),
                   *keeps = swap("vllm/keeps", "out --name kept", 0),
                   *kept = swap("vllm/keeps", "out --off --name kept", 1), *lies = swap("vllm/lies", "out", 1),
                   *missing = swap("vllm/hand", "nowhere --model tiny.gguf", 2);
    assert_non_null(strstr(peft, "SGLang 0.5.23 has loaded peft-"));
    assert_non_null(strstr(keeps, "has loaded kept-"));
    assert_non_null(strstr(kept, "answers that it has unloaded kept-"));
    assert_non_null(strstr(lies, "answers that it has loaded tiny-"));
    assert_non_null(strstr(missing, "nowhere: "));
    check_has("swap out --url ftp://h", 2, "--url: \"ftp://h\"; expected \"http://host:port\"");
}

static void swap_selects_in_llama_cpp(void **state) {
    mem_free(run(SMALL "--run_name tiny", 0));
    AUTO_FREE char *none = swap("llama/hand", "out", 2);
    assert_non_null(strstr(none,
                           "llama.cpp loads no adapter while it runs, and was not started with this one; expected "
                           "it to be started with --lora /"));
    put("adapters", "other.gguf\nout/adapter.gguf\n");
    AUTO_FREE char *out = swap("llama/hand", "out", 0), *lies = swap("llama/lies", "out", 1),
                   *slots = swap("llama/noslots", "out", 2), *off = swap("llama/hand", "out --off", 0),
                   *log = text_of("requests");
    assert_non_null(strstr(out, "llama.cpp has selected /"));
    assert_non_null(strstr(out, "unless it was started with --cache-ram 0"));
    assert_non_null(strstr(log, "[{\"id\":0,\"scale\":0},{\"id\":1,\"scale\":1}]"));
    assert_non_null(strstr(log, "POST /llama/hand/slots/1?action=erase"));
    assert_non_null(strstr(lies, "adapter 0, other.gguf, has the scale 1 after it was set; expected 0"));
    assert_non_null(strstr(slots, "expected it to be started with --slot-save-path FOLDER"));
    assert_int_equal(count_in(log, "POST /llama/noslots/lora-adapters"), 0); // refused before it is switched
    assert_non_null(strstr(off, "llama.cpp selects no adapter (1 before)"));
    // a run: its versions are selected once the server was started with one of them
    AUTO_FREE char *run_out = train_with("llama/run", "--output_dir out4 --max_steps 2", 0);
    assert_non_null(strstr(run_out, "llama.cpp loads no adapter while it runs; each version is written to /"));
}

static void swap_checks_answers(void **state) {
    put("pairs.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"c\", \"completion\": \"d\"}\n");
    mem_free(run("train --model tiny.gguf --train_file pairs.jsonl --output_dir out --max_steps 100 --run_name tiny "
                 "--learning_rate 1e-2 --lora_target_modules all-linear --save_steps 100",
                 0));
    put("answer", "the \x1bsame");
    AUTO_FREE char *none = swap("vllm/check", "out --check 2 --show 1 --max_new_tokens 4", 0);
    assert_non_null(strstr(none, ": 0 of 2 answers to training prompts agree with lorac's\n"));
    assert_non_null(strstr(none, "prompt    a\nlorac     b\nvLLM      the \\x1Bsame\n"));
    put("answer", " b\n");
    AUTO_FREE char *agree = swap("sglang/check", "out --check 2 --max_new_tokens 4", 0), *log = text_of("requests");
    assert_non_null(strstr(agree, ": 1 of 2 answers to training prompts agree"));
    assert_non_null(strstr(log, "\"temperature\":0,\"max_tokens\":4"));
    AUTO_FREE char *peft = swap("vllm/check", "out/adapter --model tiny.gguf --check 1", 2);
    assert_non_null(strstr(peft, "--check: out/adapter is no output_dir of a run"));
}

#define SWAP_TEST(f) cmocka_unit_test_setup(f, begin)
TEST_MAIN_WITH(set_up, tear_down, SWAP_TEST(run_loads_each_version), SWAP_TEST(run_keeps_what_is_read),
               SWAP_TEST(run_goes_on_without_engines), SWAP_TEST(run_tries_again),
               SWAP_TEST(run_resumes_with_and_without), SWAP_TEST(key_is_sent_to_its_host_only),
               SWAP_TEST(run_checks_what_engines_compute), SWAP_TEST(run_stops_soon),
               SWAP_TEST(several_engines_and_runs), SWAP_TEST(swap_loads_and_unloads),
               SWAP_TEST(swap_selects_in_llama_cpp), SWAP_TEST(swap_checks_answers))
