// What happens to a training run on several ranks, each `lorac train` as a process, when one of them is killed, is
// stopped, is asked to stop, or differs from the others.
#include <dirent.h>

#include "test.h"

#include "fileio.h"
#include "path.h"
#include "rank_job.h"

static const double AT_ONCE = 2; // seconds: for a busy machine

static void expect_done(RankJob *job) {
    for (int r = 0; r < job->ranks; r++) job_expect_end(job, r, time_now() + 60, 0, "");
}

static void make_whole_run(void) {
    RankJob job = job_start(1, "whole", NULL);
    expect_done(&job);
}

static void finish_and_compare(int ranks, const char *out) {
    RankJob job = job_start(ranks, out, NULL);
    expect_done(&job);
    char *text = job_output(0);
    assert_non_null(strstr(text, "resuming from"));
    mem_free(text);
    assert_true(job_same_result("whole", out));
}

// ---- death ----

static void check_kill(int victim, const char *out) {
    RankJob job = job_start(3, out, NULL);
    char word[64];
    snprintf(word, sizeof word, "process %d) exited unexpectedly; ", (int)job.pids[victim]);
    job_wait_for_steps(&job, 9);
    kill(job.pids[victim], SIGKILL);
    double deadline = time_now() + AT_ONCE;
    for (int r = 0; r < 3; r++)
        job_expect_end(&job, r, deadline, r == victim ? 256 + SIGKILL : 1, r == victim ? "" : word);
    finish_and_compare(victim == 0 ? 2 : 4, out);
}

static void test_a_killed_rank_ends_the_others(void **state) {
    (void)state;
    check_kill(1, "killed-1");
}

static void test_rank_0_killed_ends_the_others(void **state) {
    (void)state;
    check_kill(0, "killed-0");
}

// Before the first snapshot: it begins again, on any number of ranks.
static void test_killed_before_the_first_snapshot(void **state) {
    (void)state;
    RankJob job = job_start(3, "early", "save_steps=1000");
    job_wait_for_steps(&job, 3);
    for (int r = 0; r < 3; r++) kill(job.pids[r], SIGKILL);
    for (int r = 0; r < 3; r++) job_wait(&job, r, time_now() + AT_ONCE);
    job = job_start(1, "early", NULL);
    expect_done(&job);
    assert_true(job_same_result("whole", "early"));
}

static void check_silence(int victim, const char *out) {
    RankJob job = job_start(3, out, "ddp_timeout=3");
    char word[64];
    snprintf(word, sizeof word, "process %d) has been silent for 2.", (int)job.pids[victim]);
    job_wait_for_steps(&job, 5);
    kill(job.pids[victim], SIGSTOP);
    double deadline = time_now() + 3;
    for (int r = 0; r < 3; r++)
        if (r != victim) job_expect_end(&job, r, deadline, 1, word);
    kill(job.pids[victim], SIGCONT); // it finds itself abandoned
    job_expect_end(&job, victim, time_now() + AT_ONCE, 1, "lorac: ");
}

static void test_a_stopped_rank_ends_the_others_in_time(void **state) {
    (void)state;
    check_silence(1, "silent-1");
    check_silence(0, "silent-0");
}

static void test_a_rank_that_never_comes(void **state) {
    (void)state;
    RankJob job = job_start(3, "alone", "ddp_timeout=2");
    double deadline = time_now() + 2 + AT_ONCE;
    kill(job.pids[2], SIGKILL);
    job_expect_end(&job, 2, deadline, 256 + SIGKILL, "");
    for (int r = 0; r < 2; r++) job_expect_end(&job, r, deadline, 1, r == 0 ? "rank 2" : "");
}

// ---- a stop ----

static int snapshots_in(const char *out) {
    char *path = mem_printf("%s/%s", tiny_dir, out);
    DIR *d = opendir(path);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) n += strncmp(e->d_name, "checkpoint-", 11) == 0;
    if (d) closedir(d);
    mem_free(path);
    return n;
}

static void test_a_signal_to_one_rank_stops_all(void **state) {
    (void)state;
    static const int signals[] = {SIGHUP, SIGUSR1, SIGXCPU};
    for (int i = 0; i < 3; i++) { // to each rank in turn; the run goes on from where it was
        RankJob job = job_start(3, "stopped", "save_steps=1000");
        job_wait_for_steps(&job, 6);
        kill(job.pids[(i + 1) % 3], signals[i]);
        double deadline = time_now() + AT_ONCE;
        for (int r = 0; r < 3; r++)
            job_expect_end(&job, r, deadline, EXIT_INTERRUPTED, r == 0 ? "stopped by a signal after step" : "");
        assert_int_equal(snapshots_in("stopped"), i + 1 < 2 ? i + 1 : 2); // one more each time, two are kept
    }
    finish_and_compare(2, "stopped");
}

// As launchers do it: to all ranks, by several messengers, and again while they end.
static void test_signals_to_all_ranks_are_one_request(void **state) {
    (void)state;
    RankJob job = job_start(3, "stopped-all", NULL);
    job_wait_for_steps(&job, 6);
    for (int again = 0; again < 40; again++, job_pause(0.01))
        for (int r = 0; r < 3; r++)
            kill(job.pids[r], again % 2 ? SIGTERM : SIGINT); // ended ones are not waited for yet
    for (int r = 0; r < 3; r++) job_expect_end(&job, r, time_now() + AT_ONCE, EXIT_INTERRUPTED, "");
    finish_and_compare(1, "stopped-all");
}

// ---- ranks that are not alike ----

static int count_in_all(int ranks, const char *part) {
    int n = 0;
    for (int r = 0; r < ranks; r++) {
        char *text = job_output(r);
        for (const char *at = text; (at = strstr(at, part)); at++) n++;
        mem_free(text);
    }
    return n;
}

// Rank 1 differs: all end with status 2, and the line is there once.
static void check_other(const char *extra, const char *front, const char *end) {
    RankJob job = job_start_with(3, "other", NULL, 1, extra);
    for (int r = 0; r < 3; r++) job_expect_end(&job, r, time_now() + 20, 2, r == 0 ? front : "");
    char *text = job_output(0);
    if (!strstr(text, end)) fail_msg("\"%s\" lacks \"%s\"", text, end);
    mem_free(text);
    assert_int_equal(count_in_all(3, "lorac: "), 1);
}

static void copy_data(const char *name, const char *more) {
    char *from = path_join(tiny_dir, "data.jsonl"), *to = path_join(tiny_dir, name), *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, from, 1 << 20, &err), &err);
    StrBuf all = {0};
    str_add(&all, text, size);
    str_puts(&all, more);
    ASSERT_OK(file_write_whole(to, all.data, all.len, NULL, &err), &err);
    str_clear(&all);
    mem_free(from);
    mem_free(to);
    mem_free(text);
}

static void test_ranks_must_have_the_same_config(void **state) {
    (void)state;
    check_other("learning_rate=0.001", "lorac: learning_rate: rank 1 (host ", ") has 0.001, rank 0 (host ");
    check_other("learning_rate=0.001 seed=5", "lorac: learning_rate: rank 1 (host ",
                ") has 0.01; they also differ in seed");
}

static void test_ranks_must_have_the_same_data(void **state) {
    (void)state;
    copy_data("more.jsonl", "{\"input_ids\": [97, 98, 99, 100]}\n");
    char *words = mem_printf("train_file=%s/more.jsonl", tiny_dir);
    check_other(words, "lorac: data: rank 1 (host ", "the files, the tokenizer or the chat template differ");
    mem_free(words);
}

static void test_ranks_must_compute_the_same_bits(void **state) {
    (void)state;
    char *isa = getenv("LORAC_ISA");
    if (isa && strcmp(isa, "base") == 0) skip();
    check_other("LORAC_ISA=base", "lorac: device: rank 1 (host ", ") has cpu-base, rank 0 (host ");
}

static void test_an_error_of_one_rank_is_said_once(void **state) {
    (void)state;
    check_other("model=/nowhere/model.gguf", "lorac: rank 1 (", "/nowhere/model.gguf");
}

static void test_a_config_that_is_not_there_is_said_once(void **state) {
    (void)state;
    check_other("no-config.json", "lorac: rank 1 (", "no-config.json");
}

static void test_data_may_lie_elsewhere(void **state) {
    (void)state;
    copy_data("same.jsonl", "");
    char *words = mem_printf("train_file=%s/same.jsonl max_memory=1GiB", tiny_dir);
    RankJob job = job_start_with(2, "elsewhere", NULL, 1, words);
    expect_done(&job);
    assert_true(job_same_result("whole", "elsewhere"));
    mem_free(words);
}

static int set_up(void **state) {
    tiny_dir_setup(state);
    make_whole_run();
    return 0;
}

TEST_MAIN_WITH(set_up, tiny_dir_teardown, TEST(test_a_killed_rank_ends_the_others),
               TEST(test_rank_0_killed_ends_the_others), TEST(test_killed_before_the_first_snapshot),
               TEST(test_a_stopped_rank_ends_the_others_in_time), TEST(test_a_rank_that_never_comes),
               TEST(test_a_signal_to_one_rank_stops_all), TEST(test_signals_to_all_ranks_are_one_request),
               TEST(test_ranks_must_have_the_same_config), TEST(test_ranks_must_have_the_same_data),
               TEST(test_ranks_must_compute_the_same_bits), TEST(test_an_error_of_one_rank_is_said_once),
               TEST(test_a_config_that_is_not_there_is_said_once), TEST(test_data_may_lie_elsewhere))
