// No memory: the n-th allocation of a command fails (fault_injection/inject.c), in lorac's code or in a library. The
// command ends by itself with status 1 and one line, leaves no half-written result, and the same command then works.
//
// Without an argument: a fixed sample of all n. The long tests (make test-all) take every n of a training run.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fileio.h"
#include "path.h"
#include "test.h"
#include "tiny_run.h"

#define MODEL "--model_name_or_path tiny.gguf"
#define TRAIN(out)                                                                                                     \
    "train " MODEL " --train_file data.jsonl --validation_file data.jsonl --output_dir " out " --device cpu"           \
    " --max_seq_length 48 --lora_r 2 --max_steps 2 --save_steps 1 --eval_strategy steps --eval_steps 2"
enum { SECONDS = 30, MAX_FILE = 64 << 20, MAX_ARGUMENTS = 40 };

typedef struct Command {
    const char *words;
    const char *result; // the file that it makes, in `out` or `out` itself; NULL: what it prints
} Command;

static const Command train = {TRAIN("out"), "out/adapter/adapter_model.safetensors"};
#define TASK(task, data)                                                                                               \
    "train " MODEL " --task " task " --train_file " data                                                               \
    " --output_dir out --device cpu --max_seq_length 48 --lora_r 2 "                                                   \
    "--max_steps 1 --logging_steps 1"
static const Command later[] = {
    {"embed " MODEL " classes.jsonl --out out.npy", "out.npy"},
    {"report ready --out out", "out"},
    {"merge " MODEL " --adapter_name_or_path ready/adapter --dtype q8_0 --out out.gguf", "out.gguf"},
    {"logits " MODEL
     " --train_file data.jsonl --teacher_adapter ready/adapter --max_seq_length 48 --device cpu --out out",
     "out"},
    {TASK("causal_lm", "data.jsonl") " --teacher_adapter ready/adapter --kd_top_k 5",
     "out/adapter/adapter_model.safetensors"},
    {TASK("causal_lm", "data.jsonl") " --teacher_logits logits", "out/adapter/adapter_model.safetensors"},
    {TASK("causal_lm", "data.jsonl") " --base_memory disk", "out/adapter/adapter_model.safetensors"},
    {TASK("embedding", "pairs.jsonl") " --per_device_train_batch_size 2", "out/adapter/adapter_model.safetensors"},
    {TASK("token_classification", "tags.jsonl"), "out/adapter/adapter_model.safetensors"},
    {TASK("preference", "choices.jsonl"), "out/adapter/adapter_model.safetensors"},
    {"predict classes A_text", NULL},
    {"predict tags A_text", NULL},
    {"generate " MODEL " --prompt hello --max_new_tokens 4 --regex (a|b)+", NULL},
};
static const Command others[] = {
    {"generate " MODEL " --adapter_name_or_path ready/adapter --prompt hello --max_new_tokens 4", NULL},
    {"tokenize " MODEL " --text hello", NULL},
    {"inspect tiny.gguf", NULL},
    {"inspect ready/adapter", NULL},
    {"inspect data.jsonl", NULL},
    {"eval " MODEL " --adapter_name_or_path ready/adapter --validation_file data.jsonl --device cpu", NULL},
    {"logits " MODEL " --input_ids 1,2,3 --out out", "out"},
    {"verify ready/adapter " MODEL, NULL},
    {"export ready/adapter " MODEL " --format gguf --out out", "out"},
    {"export ready/adapter.gguf " MODEL " --format peft --out out", "out/adapter_model.safetensors"},
    {"merge " MODEL " --adapter_name_or_path ready/adapter --out out.gguf", "out.gguf"},
};

// ---- one run ----

static char *read_whole(const char *path, size_t *size) {
    char *data;
    Err err;
    ASSERT_OK(file_read(&data, size, path, MAX_FILE, &err), &err);
    return data;
}

static void to_file(const char *path, int descriptor) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || dup2(fd, descriptor) < 0) _exit(99);
}

static void execute(const Command *c, const char *calls, long at) {
    char *words = mem_printf("lorac %s", c->words), *argv[MAX_ARGUMENTS], number[24];
    int n = 0;
    for (char *w = strtok(words, " "); w; w = strtok(NULL, " ")) {
        CHECK(n < MAX_ARGUMENTS - 1);
        argv[n++] = w;
    }
    argv[n] = NULL;
    to_file("stdout", STDOUT_FILENO);
    to_file("stderr", STDERR_FILENO);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    snprintf(number, sizeof number, "%ld", at);
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("GOMP_SPINCOUNT", "1", 1);
    if (calls) {
        setenv("LD_PRELOAD", INJECT, 1);
        setenv("INJECT_CALLS", calls, 1);
        setenv("INJECT_AT", number, 1);
        setenv("INJECT_COUNT", "count", 1);
    }
    execv(LORAC, argv);
    _exit(99);
}

// Its exit status; a signal or SECONDS without an end fail the test. calls NULL: nothing goes wrong.
static int run(const Command *c, const char *calls, long at) {
    int status = 0;
    pid_t pid = fork(), done = 0;
    if (pid == 0) execute(c, calls, at);
    assert_true(pid > 0);
    for (double start = time_now(); done == 0 && time_now() < start + SECONDS; usleep(500))
        done = waitpid(pid, &status, WNOHANG);
    if (done == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        fail_msg("%s %ld: \"%s\" does not end", calls, at, c->words);
    }
    if (!WIFEXITED(status)) fail_msg("%s %ld: \"%s\" ends by signal %d", calls, at, c->words, WTERMSIG(status));
    return WEXITSTATUS(status);
}

// ---- what it leaves ----

static void clear(void) {
    Err err;
    ASSERT_OK(dir_remove("out", path_is_dir("out") ? &err : NULL) && path_is_dir("out"), &err);
    unlink("out");
    unlink("out.gguf");
    unlink("out.npy");
}

static const char *result_of(const Command *c) { return c->result ? c->result : "stdout"; }

static void check_result(const Command *c, const char *calls, long at, const char *want, size_t want_size) {
    size_t size;
    char *got = read_whole(result_of(c), &size);
    if (size != want_size || memcmp(got, want, size) != 0)
        fail_msg("%s %ld: \"%s\": another %s than without a fault", calls, at, c->words, result_of(c));
    mem_free(got);
}

static void check_one_line(const Command *c, const char *calls, long at) {
    size_t size;
    char *text = read_whole("stderr", &size), *end = strchr(text, '\n');
    if (strncmp(text, "lorac: ", 7) != 0 || !end || end[1])
        fail_msg("%s %ld: \"%s\" says \"%s\"; expected one line", calls, at, c->words, text);
    mem_free(text);
}

// The n-th of `calls` fails, n = first, first + step, ...; every `again`-th time the command is run once more.
static void sweep(const Command *c, const char *calls, long first, long step, long again) {
    size_t size;
    clear();
    if (run(c, calls, 0) != 0) fail_msg("\"%s\" fails: %s", c->words, read_whole("stderr", &size));
    char *count = read_whole("count", &size), *want = read_whole(result_of(c), &size);
    long n = atol(count), runs = 0;
    assert_true(n > 5);
    if (step < 0) step = n / -step + 1; // so many in all
    for (long at = first; at <= n; at += step, runs++) {
        clear();
        int status = run(c, calls, at);
        if (status == 1)
            check_one_line(c, calls, at);
        else if (status != 0)
            fail_msg("%s %ld: \"%s\" ends with status %d; expected 1", calls, at, c->words, status);
        if (status == 0 || (c->result && path_exists(c->result))) check_result(c, calls, at, want, size);
        if (status == 0 || runs % again || (c != &train && c->result && path_exists(c->result))) continue;
        if (run(c, NULL, 0) != 0) fail_msg("%s %ld: \"%s\" does not work afterwards", calls, at, c->words);
        check_result(c, calls, at, want, size);
    }
    mem_free(want);
    mem_free(count);
}

// ---- the tests ----

// What other commands need.
static const Command ready[] = {
    {TRAIN("ready"), NULL},
    {"logits " MODEL " --train_file data.jsonl --teacher_adapter ready/adapter --max_seq_length 48 --out logits", NULL},
    {"train " MODEL " --task classification --train_file classes.jsonl --output_dir classes --max_steps 1", NULL},
    {"train " MODEL " --task token_classification --train_file tags.jsonl --output_dir tags --max_steps 1", NULL},
};

static void put(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static int set_up(void **state) {
    tiny_dir_setup(state);
    CHECK(chdir(tiny_dir) == 0);
    put("pairs.jsonl", "{\"anchor\": \"a b\", \"positive\": \"c\"}\n{\"anchor\": \"d\", \"positive\": \"e f\"}\n");
    put("tags.jsonl", "{\"tokens\": [\"a\", \"b\"], \"tags\": [\"O\", \"B-x\"]}\n");
    put("classes.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"y\"}\n");
    put("choices.jsonl", "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n");
    for (size_t i = 0; i < sizeof ready / sizeof *ready; i++)
        if (run(&ready[i], NULL, 0) != 0) return -1;
    return 0;
}

static int tear_down(void **state) {
    CHECK(chdir("/") == 0);
    return tiny_dir_teardown(state);
}

static void test_no_memory_sample_train(void **state) {
    (void)state;
    sweep(&train, "malloc", 11, -24, 6);
}

static void test_no_memory_sample_verbs(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) sweep(&others[i], "malloc", 5 + (long)i, -5, 4);
}

static void test_no_memory_all_odd(void **state) {
    (void)state;
    sweep(&train, "malloc", 1, 2, 40);
}

static void test_no_memory_all_even(void **state) {
    (void)state;
    sweep(&train, "malloc", 2, 2, 40);
}

static void test_no_memory_all_verbs(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) sweep(&others[i], "malloc", 1, -150, 20);
}

static void test_no_memory_all_later(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) sweep(&later[i], "malloc", 1, -100, 20);
}

static int run_all(int argc, char **argv) {
    cmocka_set_test_filter(argc > 1 ? argv[1] : "*sample*");
    const struct CMUnitTest tests[] = {TEST(test_no_memory_sample_train), TEST(test_no_memory_sample_verbs),
                                       TEST(test_no_memory_all_odd),      TEST(test_no_memory_all_even),
                                       TEST(test_no_memory_all_verbs),    TEST(test_no_memory_all_later)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

TEST_FILE(run_all)
