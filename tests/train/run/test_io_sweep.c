// Each system call of a short run, of one that resumes and of one that was finished before goes wrong once, or from
// there on, or the run is killed there: it ends by itself with a status and a line that says why, and the same command
// without the fault comes to the bits of an undisturbed run.
//
//   test_io_sweep          a sample of all kinds
//   test_io_sweep KIND     every call of one kind of fault; KIND first step: from one index on, every step-th. Of the
//                          runs that resume or are finished, which share most of their calls with a new one, each
//                          SHARED-th of those. The tests labelled long take every call for the kinds that lose data.
#include "test.h"

#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "fileio.h"
#include "hash.h"
#include "path.h"
#include "train_process.h"

// Writers, and those that the kernel may interrupt.
#define WRITING "open,write,fsync,close,rename,renameat2,mkdir,ftruncate"
#define BLOCKING "open,read,pread,write,fsync,close,ftruncate,flock"

typedef struct Kind {
    const char *name, *calls;
    int error, keep, half, signal;
} Kind;

static const Kind kinds[] = {
    {.name = "eio", .calls = "io", .error = EIO},
    {.name = "eio-from-there", .calls = "io", .error = EIO, .keep = 1},
    {.name = "enospc", .calls = WRITING, .error = ENOSPC},
    {.name = "enospc-from-there", .calls = WRITING, .error = ENOSPC, .keep = 1},
    {.name = "eintr", .calls = BLOCKING, .error = EINTR},
    {.name = "short", .calls = "read,pread,write", .half = 1},
    {.name = "short-from-there", .calls = "read,pread,write", .half = 1, .keep = 1},
    {.name = "kill", .calls = "io", .signal = SIGKILL},
    {.name = "sigterm", .calls = "io", .signal = SIGTERM},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds, PATIENCE_MS = 60 * 1000, MAX_FAULTS = 8, SHARED = 7 };

#define WORDS "save_steps=1 eval_steps=1 gradient_accumulation_steps=1 lr_scheduler_type=constant device=cpu "
static const char words[] = WORDS "max_steps=2", half_of_them[] = WORDS "max_steps=1";

// What is in output_dir when the run with the fault begins: a copy of that directory; NULL: nothing, and no token
// cache.
static const char *const scenes[] = {NULL, "half", "whole"};
enum { N_SCENES = sizeof scenes / sizeof *scenes };

static int faults; // found

static void set_number(const char *name, long n) {
    char text[32];
    snprintf(text, sizeof text, "%ld", n);
    setenv(name, text, 1);
}

static void start_over(const char *scene) {
    char *command = scene ? mem_printf("cd '%s' && rm -rf out && cp -r %s out", tiny_dir, scene)
                          : mem_printf("cd '%s' && rm -rf out lorac", tiny_dir);
    assert_int_equal(system(command), 0);
    mem_free(command);
}

static pid_t start_with_fault(const Kind *k, const char *scene, long at) {
    start_over(scene);
    setenv("INJECT_CALLS", k->calls, 1);
    set_number("INJECT_AT", at);
    set_number("INJECT_ERROR", k->error);
    set_number("INJECT_KEEP", k->keep);
    set_number("INJECT_SIGNAL", k->signal);
    if (k->half) setenv("INJECT_SHORT", "1", 1);
    setenv("LD_PRELOAD", INJECT, 1);
    pid_t pid = start("out", words);
    unsetenv("LD_PRELOAD");
    unsetenv("INJECT_SHORT");
    return pid;
}

// The wait status; -1: it hangs, and was killed.
static int wait_at_most(pid_t pid) {
    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    bool in_time = ended.fd < 0 || poll(&ended, 1, PATIENCE_MS) == 1;
    if (ended.fd >= 0) close(ended.fd);
    if (!in_time) kill(pid, SIGKILL);
    int status = wait_for(pid);
    return in_time ? status : -1;
}

// The last line of the output is the error.
static bool ends_with_error(void) {
    char *path = in_dir("log"), *text = NULL;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
    while (size && text[size - 1] == '\n') text[--size] = 0;
    const char *line = strrchr(text, '\n');
    bool good = strncmp(line ? line + 1 : text, "lorac: ", 7) == 0 && !strstr(text, "internal fault");
    mem_free(text);
    mem_free(path);
    return good;
}

static void found(const Kind *k, const char *scene, long at, const char *what, int status) {
    printf("%s, %s, call %ld: %s (wait status %d)\n", k->name, scene ? scene : "new", at, what, status);
    show_log();
    faults++;
}

static bool status_is_good(const Kind *k, int status) {
    if (k->signal == SIGKILL && WIFSIGNALED(status)) return WTERMSIG(status) == SIGKILL;
    if (!WIFEXITED(status)) return false;
    int code = WEXITSTATUS(status);
    return code == 0 || code == EXIT_INTERRUPTED || (code <= EXIT_NO_FIT && ends_with_error());
}

static bool same_adapter(void) {
    char *whole = in_dir("whole"), *out = in_dir("out"), *tensors = path_join(out, "adapter/adapter_model.safetensors"),
         *gguf = path_join(out, "adapter.gguf");
    bool same = path_exists(tensors) && path_exists(gguf) && tiny_same_adapter(whole, out);
    mem_free(whole);
    mem_free(out);
    mem_free(tensors);
    mem_free(gguf);
    return same;
}

// Of the run with the fault; the one after it has removed them.
static bool has_temporaries(void) {
    char *command = mem_printf("find '%s/out' '%s/lorac' | grep -qE '\\.(tmp|old)-'", tiny_dir, tiny_dir);
    int status = system(command);
    mem_free(command);
    return status == 0;
}

static void try(const Kind *k, const char *scene, long at) {
    int status = wait_at_most(start_with_fault(k, scene, at));
    if (status == -1) {
        found(k, scene, at, "hangs", status);
    } else if (!status_is_good(k, status)) {
        found(k, scene, at, "does not end with a status and a line", status);
    }
    status = wait_at_most(start("out", words));
    if (status != 0)
        found(k, scene, at, "the same command fails afterwards", status);
    else if (!same_adapter())
        found(k, scene, at, "another adapter afterwards", status);
    else if (has_temporaries())
        found(k, scene, at, "temporary files stay", status);
}

static long count_calls(const Kind *k, const char *scene) {
    char *path = in_dir("count"), *text;
    size_t size;
    Err err;
    setenv("INJECT_COUNT", path, 1);
    int status = wait_at_most(start_with_fault(k, scene, 0));
    unsetenv("INJECT_COUNT");
    if (status) show_log();
    assert_int_equal(status, 0);
    ASSERT_OK(file_read(&text, &size, path, 100, &err), &err);
    long n = atol(text);
    assert_true(n > 10); // the library is there, and the names are those that the program calls
    mem_free(text);
    mem_free(path);
    return n;
}

// every 0: a few.
static void sweep(const Kind *k, const char *scene, long begin, long every) {
    long calls = count_calls(k, scene), done = 0;
    if (every == 0) every = scene ? calls : calls / 2 + 1;
    for (long at = begin; at <= calls && faults < MAX_FAULTS; at += every, done++) try(k, scene, at);
    printf("%-20s %-5s %ld of %ld calls\n", k->name, scene ? scene : "new", done, calls);
}

static const char *only; // a kind
static long first = 1, step = 1;

static void test_io_sweep(void **state) {
    (void)state;
    setenv("GOMP_SPINCOUNT", "1", 1); // else the program starts twice (main.c)
    assert_int_equal(run("whole", words), 0);
    assert_int_equal(run("half", half_of_them), 0);
    for (int i = 0; i < N_SCENES * N_KINDS; i++) {
        const Kind *k = &kinds[i / N_SCENES];
        if (only && strcmp(only, k->name) == 0)
            sweep(k, scenes[i % N_SCENES], first, scenes[i % N_SCENES] ? step * SHARED : step);
        if (!only && i % 2 == 0) sweep(k, scenes[i % N_SCENES], 1 + 13 * i % 40, 0);
    }
    if (faults) fail_msg("%d faults", faults);
}

// load_best_model_at_end: the disk is full only while the snapshot of the best step is written.
static void test_io_disk_full_at_the_best_snapshot(void **state) {
    (void)state;
    static const char harm[] = "learning_rate=2 max_grad_norm=0 eval_steps=1 save_steps=1 max_steps=6 device=cpu "
                               "gradient_accumulation_steps=1 lr_scheduler_type=constant";
    assert_int_equal(run("harmed", harm), 0);
    char *log = in_dir("log"), *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, log, 1 << 20, &err), &err);
    int best = 0;
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
        *end = 0;
        if (strstr(at, "(best)")) best = atoi(at + strlen("step "));
    }
    assert_in_range(best, 1, 5);
    char *part = mem_printf("checkpoint-%06d", best);
    setenv("INJECT_CALLS", "mkdir", 1);
    setenv("INJECT_PATH", part, 1);
    set_number("INJECT_AT", 1);
    set_number("INJECT_KEEP", 1);
    set_number("INJECT_ERROR", ENOSPC);
    set_number("INJECT_SIGNAL", 0);
    setenv("LD_PRELOAD", INJECT, 1);
    int status = run("full", harm);
    unsetenv("LD_PRELOAD");
    unsetenv("INJECT_PATH");
    if (status) show_log();
    assert_int_equal(status, 0);
    expect_in_log("no snapshot");
    for (int i = 0; i < 2; i++) assert_int_equal(run("full", harm), 0);
    mem_free(part);
    mem_free(text);
    mem_free(log);
}

// Runs a verb that writes `name` into tiny_dir, with the signal at its at-th call; at 0: counts them.
static long run_verb(const char *verb, const char *name, int signal, long at) {
    char *command =
        mem_printf("cd '%s' && rm -rf %s && INJECT_CALLS=io INJECT_AT=%ld INJECT_SIGNAL=%d INJECT_COUNT=count "
                   "LD_PRELOAD='%s' '%s' %s > verb.log 2>&1; test -s count && cat count",
                   tiny_dir, name, at, signal, INJECT, LORAC, verb);
    FILE *pipe = popen(command, "r");
    long calls = 0;
    if (fscanf(pipe, "%ld", &calls) != 1) calls = 0;
    pclose(pipe);
    mem_free(command);
    return calls;
}

// Asked to stop before it trains, while its config is read: it stops as later, with the same status.
static void test_io_stop_while_the_config_is_read(void **state) {
    (void)state;
    char *command =
        mem_printf("cd '%s' && echo '{\"model\": \"tiny.gguf\", \"train_file\": \"data.jsonl\"}' > early.json; "
                   "INJECT_CALLS=open INJECT_PATH=early.json INJECT_AT=1 INJECT_SIGNAL=%d LD_PRELOAD='%s' "
                   "'%s' train early.json output_dir=early max_seq_length=48 device=cpu > early.log 2>&1",
                   tiny_dir, SIGTERM, INJECT, LORAC);
    int status = system(command);
    assert_int_equal(WEXITSTATUS(status), EXIT_INTERRUPTED);
    mem_free(command);
}

// A signal that ends a verb leaves the whole of what it writes or nothing.
static void test_io_verbs_leave_no_half_file(void **state) {
    (void)state;
    static const struct {
        const char *verb, *name, *file;
    } cases[] = {
        {"export whole/adapter --model tiny.gguf --format gguf --out e.gguf", "e.gguf", "e.gguf"},
        {"export whole/adapter.gguf --model tiny.gguf --format peft --out e", "e", "e/adapter_model.safetensors"},
        {"merge --model tiny.gguf --adapter_name_or_path whole/adapter --out m.gguf", "m.gguf", "m.gguf"},
    };
    static const int signals[] = {SIGHUP, SIGTERM, SIGKILL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = in_dir(cases[i].name), *file = in_dir(cases[i].file), want[33], got[33];
        Err err;
        long calls = run_verb(cases[i].verb, cases[i].name, 0, 0);
        assert_true(calls > 20);
        ASSERT_OK(hash_file(want, file, &err), &err);
        int left = 0, whole = 0;
        for (long at = calls; at > 0; at -= 1 + calls / 16) {
            run_verb(cases[i].verb, cases[i].name, signals[at % 3], at);
            bool there = path_exists(out);
            left += !there, whole += there;
            if (!there) continue;
            ASSERT_OK(hash_file(got, file, &err), &err);
            assert_string_equal(got, want);
        }
        assert_true(left > 0 && whole > 0);
        mem_free(out);
        mem_free(file);
    }
}

static int run_all(int argc, char **argv) {
    if (argc > 1) only = argv[1];
    if (argc > 2) first = atol(argv[2]);
    if (argc > 3) step = atol(argv[3]);
    setvbuf(stdout, NULL, _IOLBF, 0); // what was found is seen at once
    const struct CMUnitTest tests[] = {TEST(test_io_sweep), TEST(test_io_disk_full_at_the_best_snapshot),
                                       TEST(test_io_verbs_leave_no_half_file),
                                       TEST(test_io_stop_while_the_config_is_read)};
    return cmocka_run_group_tests(tests, tiny_dir_setup, tiny_dir_teardown);
}

TEST_FILE(run_all)
