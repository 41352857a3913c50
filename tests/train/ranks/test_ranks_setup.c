// A rank is killed, or stopped as by a cut cable, at any moment of a short run: before it connects, in each exchange of
// the set-up, while model and data are read, at the export, at the very end. The others end by themselves, soon.
// SETUP_POINTS: at how many moments (default 2), evenly among the calls that the rank makes.
#include "test.h"

#include "fileio.h"
#include "rank_job.h"

enum { RANKS = 3 };
static const double PATIENCE = 20; // seconds: for a busy machine; ddp_timeout is 1

#define SHORT_RUN "max_steps=2 save_steps=1000"
#define WORDS SHORT_RUN " ddp_timeout=1"

static int calls_of(int victim) {
    char *file = mem_printf("%s/calls", tiny_dir), *text = NULL;
    char *extra = mem_printf(SHORT_RUN " INJECT_CALLS=io INJECT_COUNT=%s LD_PRELOAD=" INJECT, file);
    size_t size;
    RankJob job = job_start_with(RANKS, "counted", SHORT_RUN, victim, extra);
    for (int r = 0; r < RANKS; r++) job_wait(&job, r, time_now() + 60);
    int n = file_read(&text, &size, file, 100, NULL) ? 0 : atoi(text);
    mem_free(text);
    mem_free(extra);
    mem_free(file);
    return n;
}

// Whether the rank met its fault.
static bool check(int victim, int signal, int at) {
    char *out = mem_printf("at-%d-%d-%d", victim, signal, at);
    char *extra = mem_printf(WORDS " INJECT_CALLS=io INJECT_AT=%d INJECT_SIGNAL=%d LD_PRELOAD=" INJECT, at, signal);
    RankJob job = job_start_with(RANKS, out, WORDS, victim, extra);
    double deadline = time_now() + PATIENCE;
    for (int r = 0; r < RANKS; r++) {
        if (r == victim || job_wait(&job, r, deadline) >= 0) continue;
        job_show(&job);
        job_kill(&job);
        fail_msg("signal %d to rank %d at call %d: rank %d has not ended", signal, victim, at, r);
    }
    kill(job.pids[victim], SIGKILL);
    int got = job_wait(&job, victim, time_now() + 5);
    mem_free(extra);
    mem_free(out);
    return got == 256 + SIGKILL;
}

static void sweep(int victim) {
    const char *text = getenv("SETUP_POINTS");
    int points = text ? atoi(text) : 2, calls = calls_of(victim), hits = 0;
    assert_true(calls > 100);
    for (int i = 0; i < points; i++)
        hits += check(victim, i % 2 ? SIGSTOP : SIGKILL, 1 + (int)((int64_t)(calls - 1) * (2 * i + 1) / (2 * points)));
    if (hits < points / 2) fail_msg("only %d of %d faults were met", hits, points);
}

static void test_a_rank_is_lost_at_any_moment(void **state) {
    (void)state;
    sweep(1);
}

static void test_rank_0_is_lost_at_any_moment(void **state) {
    (void)state;
    sweep(0);
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_a_rank_is_lost_at_any_moment),
               TEST(test_rank_0_is_lost_at_any_moment))
