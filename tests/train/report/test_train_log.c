// The log of a run: what is written can be read back, is cut back to a snapshot's step, and survives damage; charts of
// values of any kind end and hold no NaN.
#include "scratch.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "fileio.h"
#include "report.h"
#include "train_log.h"

static char path[] = "/tmp/lorac_log_XXXXXX";

static int make_file(void **state) {
    (void)state;
    int fd = mkstemp(path);
    close(fd);
    return fd < 0;
}
static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void write_steps(int64_t from, int64_t to) {
    TrainLog *log;
    Err err;
    ASSERT_OK(train_log_open(&log, path, &(TrainerState){.step = from - 1, .evaluated_step = from - 1}, &err), &err);
    for (int64_t s = from; s <= to; s++) {
        StepReport r = {.step = s,
                        .epoch = 0.5,
                        .loss = 1.0 / (double)s,
                        .learning_rate = 1e-3,
                        .tokens = 10,
                        .seconds = 0.5,
                        .grad_norm = s == 3 ? NAN : 2,
                        .skipped = s == 3};
        train_log_step(log, &r, 1.5, 1000, 0);
        if (s % 2 == 0) train_log_eval(log, s, &(EvalResult){.loss = 0.5, .perplexity = 1.6, .accuracy = 0.25});
    }
    train_log_close(log);
}

static void test_log_reads_back(void **state) {
    (void)state;
    write_steps(1, 4);
    size_t count;
    LogPoint *p = train_log_read(path, &count);
    assert_int_equal(count, 6);
    assert_true(p[0].step == 1 && p[0].loss == 1 && p[0].tokens_per_second == 20 && p[0].memory == 1000);
    assert_true(p[2].is_eval && p[2].step == 2 && p[2].loss == 0.5 && p[2].accuracy == 0.25);
    assert_true(isnan(p[3].grad_norm));
    mem_free(p);
    char *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
    assert_non_null(strstr(text, "\"grad_norm\":null"));
    assert_non_null(strstr(text, "\"nonfinite\":true"));
    mem_free(text);
}

// Runs of several ranks say who is slow; the others have no such keys.
static void test_log_of_ranks(void **state) {
    (void)state;
    TrainLog *log;
    Err err;
    char *text;
    size_t size;
    ASSERT_OK(train_log_open(&log, path, &(TrainerState){0}, &err), &err);
    StepReport r = {.step = 1, .tokens = 10, .seconds = 0.5, .ranks = 1, .compute = 0.25};
    train_log_step(log, &r, 1, 1000, 0);
    r.step = 2, r.ranks = 3, r.compute = 0;
    train_log_step(log, &r, 1, 1000, 0);
    r.step = 3, r.compute = 0.25, r.reduce = 0.001, r.data = 0.002, r.slowest_rank = 2;
    train_log_step(log, &r, 1, 1000, 0);
    train_log_close(log);
    ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
    const char *second = strchr(text, '\n'), *third = strchr(second + 1, '\n'), *ranks = strstr(text, "\"ranks\"");
    assert_true(ranks > second && ranks < third);
    assert_true(strstr(text, "compute_seconds") > third);
    assert_non_null(strstr(third, "\"ranks\":3,\"compute_seconds\":0.25,\"reduce_seconds\":0.001,"
                                  "\"data_seconds\":0.002,\"slowest_rank\":2}"));
    mem_free(text);
}

static void test_log_is_cut_back(void **state) {
    (void)state;
    write_steps(1, 6);
    FILE *f = fopen(path, "a");
    fprintf(f, "{\"step\": 7, \"epo"); // was being written
    fclose(f);
    write_steps(4, 5);
    size_t count;
    LogPoint *p = train_log_read(path, &count);
    static const double steps[] = {1, 2, 2, 3, 4, 4, 5};
    assert_int_equal(count, 7);
    for (size_t i = 0; i < count; i++) assert_true(p[i].step == steps[i]);
    mem_free(p);
}

// A log of another program, or of a user, is not cut.
static void test_log_of_others_stays(void **state) {
    (void)state;
    static const char *const texts[] = {"my notes\n", "{\"loss\": 1, \"step\": 1}\n", "{\"step\": 1, \"loss\": 1}\n",
                                        "{\"step\": 1, \"epoch\": 1}\nmy notes\n", "x"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        TrainLog *log;
        Err err;
        char *text;
        size_t size;
        scratch_put(path, texts[i], strlen(texts[i]));
        ASSERT_REFUSED(train_log_open(&log, path, &(TrainerState){0}, &err), &err,
                       "expected a train_log.jsonl that lorac wrote");
        ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
        assert_string_equal(text, texts[i]);
        mem_free(text);
    }
}

static void test_chart_takes_any_values(void **state) {
    (void)state;
    static const double x[] = {1, 2, 3, 4};
    static const double ys[][4] = {{1, 2, 3, 4},
                                   {5, 5, 5, 5},
                                   {0, 0, 0, 0},
                                   {NAN, 1, INFINITY, 2},
                                   {1e300, -1e300, 0, 1},
                                   {1, 1 + 1e-16, 1, 1 + 2.3e-16},
                                   {1e17, 1e17 + 16, 1e17, 1e17},
                                   {NAN, NAN, 7, NAN},
                                   {1e-300, 2e-300, 0, 0}};
    for (size_t i = 0; i < sizeof ys / sizeof *ys; i++) {
        ChartSeries s = {.name = "y", .style = "main", .x = x, .y = ys[i], .count = 4};
        StrBuf out = {0};
        chart_add(&out, &(Chart){.title = "t", .unit = "", .series = &s, .n_series = 1, .dots = true});
        assert_non_null(strstr(out.data, "<svg"));
        assert_null(strstr(out.data, "nan"));
        assert_null(strstr(out.data, "inf"));
        assert_true(out.len < 10000);
        str_clear(&out);
    }
    StrBuf none = {0};
    chart_add(&none, &(Chart){.title = "t", .unit = "", .series = NULL, .n_series = 0});
    assert_int_equal(none.len, 0);
}

TEST_MAIN_WITH(make_file, remove_file, TEST(test_log_reads_back), TEST(test_log_of_ranks), TEST(test_log_is_cut_back),
               TEST(test_log_of_others_stays), TEST(test_chart_takes_any_values))
