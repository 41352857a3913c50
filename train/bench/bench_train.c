#include "bench_train.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fileio.h"
#include "path.h"
#include "signals.h"
#include "train_log.h"

int bench_rows_write(const char *dir, int64_t tokens, int64_t vocab, Err *err) {
    enum { ROWS = 8 };
    AUTO_STR StrBuf text = {0};
    AUTO_FREE char *path = path_join(dir, "rows.jsonl");
    for (int64_t row = 0; row < ROWS; row++) {
        str_puts(&text, "{\"input_ids\":[");
        for (int64_t i = 0; i < tokens; i++)
            str_printf(&text, "%s%ld", i ? "," : "", (17 + i * 7919 + row * 104729) % vocab);
        str_puts(&text, "]}\n");
    }
    return file_write_whole(path, text.data, text.len, NULL, err);
}

// ---- the child ----

// Of any config these remain: the model, the adapter, quantize_base, gradient_checkpointing, device, max_memory.
static const char *const overrides[] = {"--dataset_format=input_ids",
                                        "--validation_file=null",
                                        "--val_set_size=0",
                                        "--eval_strategy=no",
                                        "--load_best_model_at_end=false",
                                        "--early_stopping_patience=0",
                                        "--packing=false",
                                        "--truncation=truncate",
                                        "--train_on_inputs=true",
                                        "--report_to=none",
                                        "--profile=false",
                                        "--resume_from_checkpoint=false",
                                        "--logging_steps=1",
                                        "--save_steps=1000000000",
                                        "--max_steps=1000000000",
                                        "--num_gpus=1",
                                        "--per_device_train_batch_size=1",
                                        "--gradient_accumulation_steps=1"};
enum { OVERRIDES = sizeof overrides / sizeof *overrides, OWN_WORDS = 5 };

// In the child: only async-signal-safe calls between fork and exec.
__attribute__((noreturn)) static void become_train(char **argv, int log, pid_t parent) {
    setpgid(0, 0); // Ctrl-C reaches the parent alone, which stops the child
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_RUNTIME);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv("/proc/self/exe", argv);
    _exit(127);
}

static int start(pid_t *pid, const BenchTrain *b, const char *out, DtypeWord dtype, Err *err) {
    const char *word, *precision;
    run_device_config_words(dtype, &word, &precision);
    char *own[OWN_WORDS] = {mem_printf("--train_file=%s/rows.jsonl", b->dir), mem_printf("--output_dir=%s", out),
                            mem_printf("--max_seq_length=%ld", b->tokens), mem_printf("--dtype=%s", word),
                            mem_printf("--float32_matmul_precision=%s", precision)};
    AUTO_FREE char **argv = mem_calloc((size_t)b->n_words + OVERRIDES + OWN_WORDS + 3, sizeof *argv);
    AUTO_FREE char *log = path_join(b->dir, "log");
    int n = 0;
    argv[n++] = "lorac";
    argv[n++] = "train";
    for (int i = 0; i < b->n_words; i++) argv[n++] = b->words[i];
    for (int i = 0; i < OVERRIDES; i++) argv[n++] = (char *)overrides[i];
    for (int i = 0; i < OWN_WORDS; i++) argv[n++] = own[i];
    AUTO_FD int fd = open(log, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    pid_t parent = getpid();
    *pid = fd < 0 ? -1 : fork();
    if (*pid == 0) become_train(argv, fd, parent);
    int reason = errno;
    for (int i = 0; i < OWN_WORDS; i++) mem_free(own[i]);
    return *pid < 0 ? err_runtime(err, "lorac train cannot be started: %s", strerror(reason)) : 0;
}

// ---- waiting for it ----

static int64_t count_steps(const char *train_log) {
    size_t n;
    LogPoint *points = train_log_read(train_log, &n);
    mem_free(points);
    return (int64_t)n;
}

// Until the child has done two steps and its time is up, or has ended. Returns its wait status.
static int wait_for(pid_t pid, const char *train_log, double seconds) {
    double start = time_now();
    bool stopping = false;
    int status;
    for (;;) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid || (ended < 0 && errno != EINTR)) return status;
        double passed = time_now() - start;
        bool is_up = (passed > seconds && count_steps(train_log) > 1) || passed > 10 * seconds;
        if (!stopping && (is_up || signals_stop_asked())) {
            kill(pid, SIGTERM);
            stopping = true;
        }
        if (passed > 20 * seconds + 10) kill(pid, SIGKILL); // a step may take longer than anyone waits
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

// The line of its error, which is the last one.
static int report_failure(const BenchTrain *b, int status, Err *err) {
    AUTO_FREE char *path = path_join(b->dir, "log"), *text = NULL;
    size_t size;
    if (WIFSIGNALED(status)) return err_runtime(err, "lorac train: ended by signal %d", WTERMSIG(status));
    if (file_read(&text, &size, path, 64 << 20, NULL) || !size) return err_runtime(err, "lorac train: no message");
    if (text[size - 1] == '\n') text[--size] = 0;
    const char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    if (starts_with(line, "lorac: ")) line += strlen("lorac: ");
    err_runtime(err, "%s", line);
    if (err) err->kind = err_kind_of_status(WEXITSTATUS(status));
    return -1;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int read_speed(BenchSpeed *s, const BenchTrain *b, const char *train_log, Err *err) {
    size_t n;
    AUTO_FREE LogPoint *points = train_log_read(train_log, &n);
    if (n < 2)
        return err_runtime(err, "%zu steps of %ld tokens were done in %g seconds; expected 2 or more: --seconds N", n,
                           b->tokens, 10 * b->seconds);
    AUTO_FREE double *speeds = mem_alloc(n, sizeof *speeds);
    for (size_t i = 1; i < n; i++) speeds[i - 1] = points[i].tokens_per_second;
    qsort(speeds, n - 1, sizeof *speeds, by_value);
    *s = (BenchSpeed){speeds[(n - 1) / 2], points[n - 1].memory, (int64_t)n};
    return 0;
}

int bench_train(BenchSpeed *speed, const BenchTrain *b, DtypeWord dtype, Err *err) {
    AUTO_FREE char *out = mem_printf("%s/%s", b->dir, ENUM_WORDS(ALL_DTYPE_WORDS)[dtype].word);
    AUTO_FREE char *log = path_join(out, "train_log.jsonl");
    pid_t pid;
    if (start(&pid, b, out, dtype, err)) return -1;
    int status = wait_for(pid, log, b->seconds);
    if (signals_stop_asked()) return EXIT_INTERRUPTED;
    bool was_stopped = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_INTERRUPTED;
    return was_stopped || WIFSIGNALED(status) ? read_speed(speed, b, log, err) : report_failure(b, status, err);
}
