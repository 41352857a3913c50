// rank_job: `lorac train` on several ranks of this machine, one process each, over TCP, as torchrun starts them.
// LORAC is the path of the binary; the output of rank 2 goes to tiny_dir/rank-2.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fileio.h"
#include "sockets.h"
#include "test.h"
#include "tiny_run.h"

enum { JOB_MAX_RANKS = 4, JOB_MAX_WORDS = 64, JOB_ROWS = 12 }; // rows of a step, on any number of ranks

typedef struct RankJob {
    int ranks;
    pid_t pids[JOB_MAX_RANKS]; // 0: has been waited for
} RankJob;

static inline void job_pause(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static inline char *job_output_path(int rank) { return mem_printf("%s/rank-%d", tiny_dir, rank); }

// All that the rank has printed; the caller frees.
static inline char *job_output(int rank) {
    char *path = job_output_path(rank), *text = NULL;
    size_t size;
    if (file_read(&text, &size, path, 1 << 22, NULL)) text = mem_strdup("");
    mem_free(path);
    return text;
}

static inline void job_environment(int rank, int ranks, int port) {
    const char *const names[] = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_PORT"};
    const int values[] = {rank, rank, ranks, ranks, port};
    for (int i = 0; i < 5; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", values[i]);
        setenv(names[i], text, 1);
    }
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    setenv("OMP_NUM_THREADS", "1", 1);
}

// Adds the words of `lorac train` into tiny_dir/out on so many ranks; returns how many there are now. extra: as in
// job_start_with.
static inline int job_words(char **words, int n, int ranks, const char *out, const char *extra) {
    words[n++] = LORAC;
    words[n++] = "train";
    words[n++] = mem_printf("model=%s/tiny.gguf", tiny_dir);
    if (!sets_key_of(extra, "train_file=")) words[n++] = mem_printf("train_file=%s/data.jsonl", tiny_dir);
    words[n++] = mem_printf("output_dir=%s/%s", tiny_dir, out);
    char *rows = mem_printf("gradient_accumulation_steps=%d", JOB_ROWS / ranks);
    const char *const standard[] = {rows,
                                    "device=cpu",
                                    "packing=false",
                                    "max_seq_length=48",
                                    "val_set_size=4",
                                    "eval_strategy=steps",
                                    "eval_steps=10",
                                    "save_steps=4",
                                    "learning_rate=1e-2",
                                    "lora_dropout=0.1",
                                    "num_train_epochs=30",
                                    "ddp_timeout=10",
                                    "run_name=tiny"};
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
        if (!sets_key_of(extra, standard[i])) words[n++] = mem_strdup(standard[i]);
    char *more = mem_strdup(extra ? extra : "");
    for (char *w = strtok(more, " "); w; w = strtok(NULL, " ")) {
        CHECK(n + 1 < JOB_MAX_WORDS);
        if (strchr(w, '=') && w[0] >= 'A' && w[0] <= 'Z')
            putenv(w); // LORAC_ISA=base
        else
            words[n++] = w;
    }
    words[n] = NULL;
    return n;
}

// In a child: its output goes to the file of `rank`.
static inline void job_redirect(int rank) {
    char *path = job_output_path(rank);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
    mem_free(path);
}

__attribute__((noreturn)) static inline void job_exec(int rank, int ranks, int port, const char *out,
                                                      const char *extra) {
    char *words[JOB_MAX_WORDS];
    job_words(words, 0, ranks, out, extra);
    job_redirect(rank);
    job_environment(rank, ranks, port);
    execv(LORAC, words);
    _exit(127);
}

// A port that nobody listens at now.
static inline int job_port(void) {
    int fd, port = 0;
    Err err;
    CHECK(socket_listen(&fd, &port, "127.0.0.1", &err) == 0, "%s", err.msg);
    close(fd);
    return port;
}

// Starts all ranks into tiny_dir/out. extra: overrides and settings of the environment (capital letters), separated by
// spaces; those of rank `other` are others_extra.
static inline RankJob job_start_with(int ranks, const char *out, const char *extra, int other,
                                     const char *others_extra) {
    RankJob job = {.ranks = ranks};
    int port = job_port();
    fflush(stdout);
    for (int r = 0; r < ranks; r++) {
        const char *words = r == other ? others_extra : extra;
        char *path = job_output_path(r);
        unlink(path);
        mem_free(path);
        job.pids[r] = fork();
        CHECK(job.pids[r] >= 0, "fork");
        if (job.pids[r] == 0) job_exec(r, ranks, port, out, words);
    }
    return job;
}

static inline RankJob job_start(int ranks, const char *out, const char *extra) {
    return job_start_with(ranks, out, extra, -1, NULL);
}

static inline void job_show(const RankJob *job) {
    for (int r = 0; r < job->ranks; r++) {
        char *text = job_output(r);
        printf("--- rank %d of %d printed:\n%s\n", r, job->ranks, text);
        mem_free(text);
    }
    fflush(stdout);
}

static inline void job_kill(RankJob *job) {
    for (int r = 0; r < job->ranks; r++) {
        if (job->pids[r] <= 0) continue;
        kill(job->pids[r], SIGKILL);
        waitpid(job->pids[r], NULL, 0);
        job->pids[r] = 0;
    }
}

// The rank's exit status, or 256 + the signal that ended it; -1: it has not ended at `deadline` (time_now).
static inline int job_wait(RankJob *job, int rank, double deadline) {
    int status;
    while (waitpid(job->pids[rank], &status, WNOHANG) == 0) {
        if (time_now() > deadline) return -1;
        job_pause(0.002);
    }
    job->pids[rank] = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static inline bool job_has_ended(const RankJob *job) {
    for (int r = 0; r < job->ranks; r++) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)job->pids[r], &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid) return true;
    }
    return false;
}

// Until rank 0 has printed n steps, or a rank has ended.
static inline void job_wait_for_steps(const RankJob *job, int n) {
    for (int steps = 0; steps < n && !job_has_ended(job); job_pause(0.002)) {
        char *text = job_output(0);
        steps = 0;
        for (const char *at = text; (at = strstr(at, "\nstep ")); at++) steps++;
        mem_free(text);
    }
}

// The rank ends before `deadline` with `status` and has printed `part`.
static inline void job_expect_end(RankJob *job, int rank, double deadline, int status, const char *part) {
    int got = job_wait(job, rank, deadline);
    char *text = job_output(rank);
    if (got == status && strstr(text, part)) {
        mem_free(text);
        return;
    }
    job_show(job);
    job_kill(job);
    fail_msg("rank %d: status %d, expected %d and \"%s\"", rank, got, status, part);
}

// The losses of a run as its log has them, without what depends on clock, machine and ranks; the caller frees.
static inline char *job_losses(const char *out) {
    char *path = mem_printf("%s/%s/train_log.jsonl", tiny_dir, out), *text;
    size_t size;
    Err err;
    CHECK(file_read(&text, &size, path, 1 << 22, &err) == 0, "%s", err.msg);
    for (char *cut = text; (cut = strstr(cut, ",\"tokens_per_second\""));) {
        size_t n = strcspn(cut, "\n");
        memmove(cut, cut + n, strlen(cut + n) + 1);
    }
    mem_free(path);
    return text;
}

// Whether two runs have come to the same bits, by the same losses.
static inline bool job_same_result(const char *a, const char *b) {
    char *x = mem_printf("%s/%s", tiny_dir, a), *y = mem_printf("%s/%s", tiny_dir, b);
    char *losses_x = job_losses(a), *losses_y = job_losses(b);
    bool same = tiny_same_adapter(x, y) && strcmp(losses_x, losses_y) == 0;
    mem_free(x);
    mem_free(y);
    mem_free(losses_x);
    mem_free(losses_y);
    return same;
}
