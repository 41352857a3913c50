// A run becomes longer: with a constant learning rate it is then the run that was planned so from its start, bit for
// bit; with another schedule the steps to come have the rates of the longer run. And report.html of a run on its way.
#include "test.h"

#include <signal.h>
#include <stdio.h>

#include "fileio.h"
#include "path.h"
#include "train_process.h"

#define PLAIN "load_best_model_at_end=false eval_strategy=no val_set_size=0 "

static void must_end(const char *out, const char *extra, int want, const char *part) {
    int status = run(out, extra);
    if (status != want) show_log();
    assert_int_equal(status, want);
    if (part) expect_in_log(part);
}

static void test_run_grows_at_a_constant_rate(void **state) {
    (void)state;
    static const char *const words[][4] = {
        {PLAIN "lr_scheduler_type=constant max_steps=5", PLAIN "lr_scheduler_type=constant max_steps=12", "5", "12"},
        {PLAIN "lr_scheduler_type=constant num_train_epochs=1.2", PLAIN "lr_scheduler_type=constant num_train_epochs=6",
         "6", "30"},
        {PLAIN "lr_scheduler_type=constant_with_warmup warmup_steps=3 max_steps=5",
         PLAIN "lr_scheduler_type=constant_with_warmup warmup_steps=3 max_steps=12", "5", "12"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char *elsewhere =
            mem_printf("%s resume_from_checkpoint=%s/grown/checkpoint-%06d", words[i][1], tiny_dir, atoi(words[i][2]));
        char *line = mem_printf("\ngrown from %s to %s steps: the same as a run of %s steps from its start\n",
                                words[i][2], words[i][3], words[i][3]);
        must_end("whole", words[i][1], 0, NULL);
        must_end("grown", words[i][0], 0, NULL);
        must_end("elsewhere", elsewhere, 0, line);
        must_end("grown", words[i][1], 0, line);
        same_result("whole", "grown");
        char *x = in_dir("whole"), *y = in_dir("elsewhere"); // its log begins where it was resumed
        assert_true(tiny_same_adapter(x, y));
        begin_anew("whole");
        begin_anew("grown");
        begin_anew("elsewhere");
        mem_free(x);
        mem_free(y);
        mem_free(line);
        mem_free(elsewhere);
    }
}

// The log of out from the line of a step on; the caller frees.
static char *losses_from(const char *out, int64_t step) {
    char *dir = in_dir(out), *all = tiny_losses(dir), *key = mem_printf("{\"step\":%ld,", step);
    char *at = strstr(all, key), *rest = at ? mem_strdup(at) : NULL;
    assert_non_null(rest);
    mem_free(key);
    mem_free(all);
    mem_free(dir);
    return rest;
}

static double rate_at(const char *out, int64_t step) {
    static const char key[] = "\"learning_rate\":";
    char *text = losses_from(out, step), *at = strstr(text, key);
    assert_non_null(at);
    double rate = strtod(at + sizeof key - 1, NULL);
    mem_free(text);
    return rate;
}

// With evaluations, whose best one may be of the shorter run.
static void test_run_grows_with_the_rates_of_the_longer_run(void **state) {
    (void)state;
    static const char *const schedules[] = {"cosine", "linear"};
    for (size_t i = 0; i < 2; i++) {
        char *five = mem_printf("lr_scheduler_type=%s max_steps=5", schedules[i]);
        char *twelve = mem_printf("lr_scheduler_type=%s max_steps=12", schedules[i]);
        char *line =
            mem_printf("\ngrown from 5 to 12 steps: from step 6 on the learning rates are those of a run of 12 "
                       "steps (lr_scheduler_type %s)\n",
                       schedules[i]);
        must_end("planned", twelve, 0, NULL);
        must_end("short", five, 0, NULL);
        must_end("grown", five, 0, NULL);
        must_end("grown", twelve, 0, line);
        for (int64_t step = 1; step <= 12; step++)
            assert_true(rate_at("grown", step) == rate_at(step <= 5 ? "short" : "planned", step));
        assert_true(rate_at("grown", 5) != rate_at("planned", 5));
        must_end("again", five, 0, NULL);
        must_end("again", twelve, 0, line);
        same_result("grown", "again");
        must_end("again", twelve, 0, "next:"); // it is finished
        same_result("grown", "again");
        must_end("again", five, EXIT_INPUT,
                 "total_steps was 12, now 5 (max_steps; 12 steps are done: expected at least as many)");
        begin_anew("planned");
        begin_anew("short");
        begin_anew("again");
        begin_anew("grown");
        mem_free(five);
        mem_free(twelve);
        mem_free(line);
    }
}

// Growth that is killed at all kinds of moments has the same bits.
static void test_run_grows_through_kill_9(void **state) {
    (void)state;
    static const char five[] = "max_steps=5 seed=3", long_run[] = "max_steps=40 seed=3";
    int killed = 0;
    must_end("whole", five, 0, NULL);
    must_end("whole", long_run, 0, NULL);
    must_end("killed", five, 0, NULL);
    for (int i = 0; i < 8; i++) {
        pid_t pid = start("killed", long_run);
        wait_for_steps(pid, i * 3);
        sleep_for((double)(i * 7919 % 101) * 0.0003);
        kill(pid, SIGKILL);
        killed += WIFSIGNALED(wait_for(pid));
    }
    must_end("killed", long_run, 0, NULL);
    same_result("whole", "killed");
    assert_true(killed > 2);
}

// Only num_train_epochs and max_steps may differ; others are named with both values.
static void test_run_grows_only(void **state) {
    (void)state;
    must_end("only", "max_steps=4 seed=1", 0, NULL);
    must_end("only", "max_steps=9 seed=2", EXIT_INPUT, "seed was 1, now 2");
    must_end("only", "max_steps=9 seed=1 lr_scheduler_type=linear", EXIT_INPUT,
             "lr_scheduler_type was \"cosine\", now \"linear\"");
    must_end("only", "max_steps=9 seed=1", 0, "grown from 4 to 9 steps");
    must_end("early", "learning_rate=2 max_grad_norm=0 eval_steps=1 early_stopping_patience=2 max_steps=20", 0, NULL);
    must_end("early", "learning_rate=2 max_grad_norm=0 eval_steps=1 early_stopping_patience=2 max_steps=30", 0,
             "the run has stopped early, after step");
}

// A run becomes shorter only while the rates of its steps are the same.
static void test_run_becomes_shorter_at_the_same_rates(void **state) {
    (void)state;
    static const char long_run[] = PLAIN "lr_scheduler_type=wsd warmup_steps=2 max_steps=2000";
    static const char short_run[] = PLAIN "lr_scheduler_type=wsd warmup_steps=2 max_steps=40";
    must_end("wsd", short_run, 0, NULL);
    pid_t pid = start("wsd-cut", long_run);
    wait_for_steps(pid, 3);
    kill(pid, SIGTERM);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), EXIT_INTERRUPTED);
    int status = run("wsd-cut", short_run);
    char *x = in_dir("wsd"), *y = in_dir("wsd-cut");
    if (status == 0) assert_true(tiny_same_adapter(x, y)); // else the signal came after step 36, where the rate falls
    mem_free(x);
    mem_free(y);
}

// ---- report.html of a run on its way ----

static char *report_of(const char *out) {
    char *dir = in_dir(out), *path = path_join(dir, "report.html"), *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 22, &err), &err);
    assert_non_null(strstr(text, "</body></html>\n"));
    mem_free(dir);
    mem_free(path);
    return text;
}

static void expect_report(const char *out, const char *part) {
    char *text = report_of(out);
    if (!strstr(text, part)) fail_msg("report.html of %s lacks \"%s\": %.3000s", out, part, strstr(text, "<h1>"));
    mem_free(text);
}

static void test_run_reports_on_its_way(void **state) {
    (void)state;
    static const char words[] = "max_steps=4000 save_steps=2";
    pid_t pid = start("way", words);
    wait_for_steps(pid, 8);
    kill(pid, SIGKILL);
    wait_for(pid);
    expect_report("way", " of 4000: running</span>");
    static const int signals[] = {SIGTERM, SIGHUP, SIGINT};
    for (int i = 0; i < 3; i++) {
        pid = start("way", words);
        wait_for_steps(pid, 3);
        kill(pid, signals[i]);
        int status = wait_for(pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_INTERRUPTED);
        expect_report("way", " of 4000: stopped by a signal</span>");
        expect_report("way", "<h2>Curves</h2>");
    }
    must_end("failed",
             PLAIN "max_steps=20 save_steps=20 lr_scheduler_type=constant learning_rate=1000 lora_alpha=1e9 "
                   "max_grad_norm=0",
             EXIT_RUNTIME, "3 steps in a row");
    expect_report("failed", "of 20: step 3: 3 steps in a row had a gradient that is not finite");
}

// The page of the end replaces the others, also where the process was killed between the last snapshot and its report.
static void test_run_reports_its_end(void **state) {
    (void)state;
    must_end("end", "max_steps=4", 0, "report: ");
    expect_report("end", "; <span>4 steps</span>");
    char *path = in_dir("end/report.html"), *text = report_of("end");
    must_end("end", "max_steps=4", 0, NULL);
    char *again = report_of("end");
    assert_string_equal(text, again); // not written again
    char *at = strstr(text, "<span>4 steps");
    memcpy(at, "<span>3 steps", 13);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    must_end("end", "max_steps=4", 0, "report: ");
    expect_report("end", "; <span>4 steps</span>");
    must_end("end", "max_steps=7", 0, "grown from 4 to 7 steps");
    expect_report("end", "; <span>7 steps</span>");
    expect_report("end", "<td>grown</td><td>after step 4, from a run of 4 steps</td>");
    mem_free(again);
    mem_free(text);
    mem_free(path);
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_run_grows_at_a_constant_rate),
               TEST(test_run_grows_with_the_rates_of_the_longer_run), TEST(test_run_grows_through_kill_9),
               TEST(test_run_grows_only), TEST(test_run_becomes_shorter_at_the_same_rates),
               TEST(test_run_reports_on_its_way), TEST(test_run_reports_its_end))
