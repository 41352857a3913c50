// usage: kill_ranks [KILLS [SEED]]: one training run on one to four ranks, in which a rank is killed (SIGKILL) at a
// random moment, KILLS times (default 5); each time the same command goes on, with another number of ranks. The others
// must end soon and by themselves, and the result must be, bit for bit, that of a run on one rank that nobody
// disturbed.
#include <stdio.h>
#include <string.h>

#include "rng.h"

#include "path.h"
#include "rank_job.h"
#include "test.h"

// Seconds. A rank that was killed before it had found the others is missed by them ddp_timeout after their own start,
// which on a busy machine is after its death.
enum { TIMEOUT = 5, LATE_START = 3 };

typedef struct Tally {
    int kills, starts, ranks, finished; // finished: runs that ended before they were killed
    double slowest;                     // seconds from a kill to the end of the last rank
    uint32_t draws;
    uint64_t seed;
} Tally;

static int draw(Tally *t, int below) {
    uint32_t words[4];
    rng_philox((RngKey){.seed = t->seed}, t->draws++, 0, words);
    return (int)(words[0] % (uint32_t)below);
}

static int give_up(RankJob *job, const char *what, int rank, int status) {
    job_show(job);
    job_kill(job);
    printf("kill_ranks: rank %d %s (%d)\n", rank, what, status);
    return -1;
}

static int compare(void) {
    if (job_same_result("whole", "killed")) return 0;
    printf("kill_ranks: the result differs from that of the undisturbed run\n");
    return -1;
}

// All end with 0 (the run is done: 1) or, after a kill, with 1 or by it.
static int wait_for_all(RankJob *job, double deadline, bool killed) {
    bool done = true;
    for (int r = 0; r < job->ranks; r++) {
        int status = job_wait(job, r, deadline);
        if (status < 0) return give_up(job, "has not ended in time", r, status);
        if (status > 0 && !(killed && (status == 1 || status == 256 + SIGKILL)))
            return give_up(job, "has ended with a status of its own", r, status);
        done = done && status == 0;
    }
    return done;
}

static int start_and_kill(Tally *t, const char *words) {
    RankJob job = job_start(1 + draw(t, JOB_MAX_RANKS), "killed", words);
    t->starts++;
    t->ranks += job.ranks;
    job_wait_for_steps(&job, draw(t, 10));
    job_pause(draw(t, 1000) * 4e-5);
    double start = time_now();
    kill(job.pids[draw(t, job.ranks)], SIGKILL);
    int done = wait_for_all(&job, start + TIMEOUT + LATE_START, true);
    double seconds = time_now() - start;
    if (done < 0) return -1;
    t->finished += done;
    t->kills += !done;
    if (!done && seconds > t->slowest) t->slowest = seconds;
    if (!done) return 0;
    if (compare()) return -1;
    char *out = path_join(tiny_dir, "killed");
    int rc = dir_remove(out, NULL); // once more
    mem_free(out);
    return rc;
}

static int run_to_its_end(int ranks, const char *out, const char *words) {
    RankJob job = job_start(ranks, out, words);
    return wait_for_all(&job, time_now() + 120, false) == 1 ? 0 : -1;
}

static int kill_and_compare(Tally *t, int kills, const char *words) {
    if (run_to_its_end(1, "whole", words)) return -1;
    while (t->kills < kills)
        if (start_and_kill(t, words)) return -1;
    return run_to_its_end(3, "killed", words) ? -1 : compare();
}

static int run_kills(int argc, char **argv) {
    int kills = argc > 1 ? atoi(argv[1]) : 5;
    Tally t = {.seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1};
    char words[64];
    snprintf(words, sizeof words, "ddp_timeout=%d num_train_epochs=%d", TIMEOUT, 10 + 4 * kills); // of two steps
    tiny_dir_setup(NULL);
    int rc = kill_and_compare(&t, kills, words);
    printf(
        "%d kills in %d starts of %d ranks in all, %d runs ended before their kill; the last rank ended %.2f s after "
        "a kill at most; %s\n",
        t.kills, t.starts, t.ranks, t.finished, t.slowest,
        rc ? "FAILED" : "the adapter is that of the undisturbed run");
    tiny_dir_teardown(NULL);
    return rc ? 1 : 0;
}

TEST_FILE(run_kills)
