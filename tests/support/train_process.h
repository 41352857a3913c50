// train_process: `lorac train` as a process in tiny_dir, for tests that disturb it. LORAC is its path.
#pragma once

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fileio.h"
#include "path.h"
#include "tiny_run.h"

enum { MAX_ARGS = 40 };

static inline char *in_dir(const char *name) { return path_join(tiny_dir, name); }

// Starts `lorac train` into tiny_dir/out with other overrides (separated by spaces, may be NULL); its output goes to
// tiny_dir/log.
static inline pid_t start(const char *out, const char *extra) {
    char *args[MAX_ARGS], *log = in_dir("log");
    unlink(log);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid) {
        mem_free(log);
        return pid;
    }
    int n = 0;
    args[n++] = mem_strdup("lorac");
    args[n++] = mem_strdup("train");
    if (!sets_key_of(extra, "model=")) args[n++] = mem_printf("model=%s/tiny.gguf", tiny_dir);
    if (!sets_key_of(extra, "train_file=")) args[n++] = mem_printf("train_file=%s/data.jsonl", tiny_dir);
    if (!sets_key_of(extra, "output_dir=")) args[n++] = mem_printf("output_dir=%s/%s", tiny_dir, out);
    static const char *const more[] = {"max_seq_length=48",
                                       "val_set_size=4",
                                       "eval_strategy=steps",
                                       "eval_steps=4",
                                       "save_steps=3",
                                       "learning_rate=1e-2",
                                       "lora_dropout=0.1",
                                       "neftune_noise_alpha=5",
                                       "gradient_accumulation_steps=2",
                                       "num_train_epochs=8",
                                       "load_best_model_at_end=true",
                                       "run_name=tiny"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (!sets_key_of(extra, more[i])) args[n++] = mem_strdup(more[i]);
    for (char *word = extra ? strtok(mem_strdup(extra), " ") : NULL; word; word = strtok(NULL, " ")) args[n++] = word;
    args[n] = NULL;
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execv(LORAC, args);
    _exit(127);
}

static inline int wait_for(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    return status;
}

static inline void show_log(void) {
    char *path = in_dir("log"), *text = NULL;
    size_t size;
    if (file_read(&text, &size, path, 1 << 20, NULL) == 0) printf("%s\n", text);
    mem_free(text);
    mem_free(path);
}

// Runs to its end; returns the exit status.
static inline int run(const char *out, const char *extra) {
    int status = wait_for(start(out, extra));
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static inline void must_run(const char *out) {
    int status = run(out, NULL);
    if (status) show_log();
    assert_int_equal(status, 0);
}

static inline void expect_in_log(const char *part) {
    char *path = in_dir("log"), *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
    if (!strstr(text, part)) fail_msg("output lacks \"%s\":\n%s", part, text);
    mem_free(text);
    mem_free(path);
}

static inline void same_result(const char *a, const char *b) {
    char *x = in_dir(a), *y = in_dir(b), *losses_x = tiny_losses(x), *losses_y = tiny_losses(y);
    if (!tiny_same_adapter(x, y)) fail_msg("the adapters of %s and %s differ", a, b);
    assert_string_equal(losses_x, losses_y);
    mem_free(x);
    mem_free(y);
    mem_free(losses_x);
    mem_free(losses_y);
}

static inline void sleep_for(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static inline int steps_logged(void) {
    char *path = in_dir("log"), *text;
    size_t size;
    int n = 0;
    if (file_read(&text, &size, path, 1 << 20, NULL) == 0) {
        for (const char *at = text; (at = strstr(at, "\nstep ")); at++) n++;
        mem_free(text);
    }
    mem_free(path);
    return n;
}

// Waits until the process has logged n lines of steps and evaluations, or has ended (its status is not taken yet).
static inline void wait_for_steps(pid_t pid, int n) {
    siginfo_t info = {0};
    while (steps_logged() < n) {
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
        if (info.si_pid == pid) return;
        sleep_for(0.002);
    }
}

static inline void begin_anew(const char *out) {
    char *path = in_dir(out);
    assert_int_equal(dir_remove(path, NULL), 0);
    mem_free(path);
}
