// Learning rates against transformers.get_scheduler (golden/make_lr_golden.py), and the warm-up rule of our own.
#include "test.h"

#include <math.h>

#include "lr_schedule.h"

static const char *const names[] = {"cosine", "linear",      "constant", "constant_with_warmup", "cosine_with_min_lr",
                                    "wsd",    "inverse_sqrt"};

static LrKind kind_of(const char *name) {
    for (int i = 0; i < 7; i++) {
        if (strcmp(names[i], name) == 0) return (LrKind)i;
    }
    fail_msg("unknown kind %s", name);
    return LR_COSINE;
}

static void test_lr_equals_transformers(void **state) {
    (void)state;
    FILE *f = fopen(TEST_DIR "/golden/lr_schedule.txt", "r");
    assert_non_null(f);
    char name[32];
    long long total, warmup, step;
    double low, want;
    int lines = 0;
    while (fscanf(f, "%31s %lld %lld %lf %lld %lf", name, &total, &warmup, &low, &step, &want) == 6) {
        LrSchedule s = {.kind = kind_of(name), .peak = 3e-4, .min_ratio = low, .warmup = warmup, .total = total};
        double got = lr_at(&s, step);
        if (fabs(got - 3e-4 * want) > 1e-16)
            fail_msg("%s total %lld warmup %lld step %lld: got %.17g, want %.17g", name, total, warmup, step, got,
                     3e-4 * want);
        lines++;
    }
    fclose(f);
    assert_true(lines > 150);
}

static void test_lr_warmup_learns_from_the_first_step(void **state) {
    (void)state;
    for (int kind = 0; kind < 7; kind++) {
        LrSchedule s = {.kind = (LrKind)kind, .peak = 1, .warmup = 4, .total = 40};
        for (int k = 1; k <= 4; k++) ASSERT_NEAR(lr_at(&s, k), kind == LR_CONSTANT ? 1 : k / 4.0, 0);
        ASSERT_NEAR(lr_at(&s, 5), 1, 0);
    }
}

TEST_MAIN(TEST(test_lr_equals_transformers), TEST(test_lr_warmup_learns_from_the_first_step))
