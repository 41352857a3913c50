// Training on the CPU in bf16, and in float32 with products of lower precision: the bits do not depend on threads,
// splits or recomputation, and losses follow float32. Skipped, visibly, on a CPU without bf16 products.
#include "test.h"

#include <math.h>

#include "tiny_run.h"

enum { STEPS = 30 };

// A type, and how far its losses may be from those of float32: of a step, and of all steps so far.
typedef struct Variant {
    DType activation;
    MatmulPrecision precision;
    double step, sum;
    int threads;
} Variant;
static const Variant bf16 = {DTYPE_BF16, PRECISION_HIGHEST, 0.02, 0.005, 2};
static const Variant high = {DTYPE_F32, PRECISION_HIGH, 0.0004, 0.0001, 2};
static const Variant medium = {DTYPE_F32, PRECISION_MEDIUM, 0.02, 0.005, 2};

static int open_variant(Backend **b, void *variant, Err *err) {
    const Variant *v = variant;
    BackendOptions o = {.device = "cpu", .activation = v->activation, .precision = v->precision, .threads = v->threads};
    return backend_open_with(b, &o, err);
}

static void skip_without_bf16(void) {
    if (kernels_cpu(DTYPE_BF16, PRECISION_HIGHEST, NULL)) return;
    printf("this CPU has no bf16 products\n");
    skip();
}

static void check_same_bits(Variant v) {
    static const char *const whole[] = {"per_device_train_batch_size=4", "gradient_checkpointing=false",
                                        "lora_dropout=0.1"};
    static const char *const parts[] = {"gradient_accumulation_steps=4", "gradient_checkpointing=blocks",
                                        "lora_dropout=0.1"};
    int64_t n, m;
    skip_without_bf16();
    v.threads = 1;
    float *a = tiny_run_train(open_variant, &v, whole, 3, 4, NULL, &n);
    v.threads = 3;
    float *b = tiny_run_train(open_variant, &v, parts, 3, 4, NULL, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
    mem_free(a);
    mem_free(b);
}

// The parameters are float32 and the gradients are those of rounded numbers: the same curve with noise.
static void check_follows_float32(Variant v) {
    static const char *const words[] = {"gradient_accumulation_steps=4", "learning_rate=1e-3", "max_steps=30"};
    double rounded[STEPS], exact[STEPS], sum_rounded = 0, sum_exact = 0;
    int different = 0;
    skip_without_bf16();
    mem_free(tiny_run_train(open_variant, &v, words, 3, STEPS, rounded, NULL));
    mem_free(tiny_run_train(tiny_open_cpu, &v.threads, words, 3, STEPS, exact, NULL));
    assert_true(exact[STEPS - 1] < exact[0] - 1e-3);
    for (int i = 0; i < STEPS; i++) {
        sum_rounded += rounded[i];
        sum_exact += exact[i];
        different += rounded[i] != exact[i];
        if (!(fabs(rounded[i] / exact[i] - 1) < v.step)) fail_msg("step %d: %g, float32 %g", i, rounded[i], exact[i]);
        if (!(fabs(sum_rounded / sum_exact - 1) < v.sum)) fail_msg("steps to %d: %g, %g", i, sum_rounded, sum_exact);
    }
    assert_true(different > 0); // float32 itself would pass
}

static void test_bf16_same_bits_for_any_threads_and_split(void **state) {
    (void)state;
    check_same_bits(bf16);
}

static void test_bf16_follows_float32(void **state) {
    (void)state;
    check_follows_float32(bf16);
}

static void test_high_same_bits_for_any_threads_and_split(void **state) {
    (void)state;
    check_same_bits(high);
}

static void test_high_follows_float32(void **state) {
    (void)state;
    check_follows_float32(high);
}

static void test_medium_same_bits_for_any_threads_and_split(void **state) {
    (void)state;
    check_same_bits(medium);
}

static void test_medium_follows_float32(void **state) {
    (void)state;
    check_follows_float32(medium);
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_bf16_same_bits_for_any_threads_and_split),
               TEST(test_bf16_follows_float32), TEST(test_high_same_bits_for_any_threads_and_split),
               TEST(test_high_follows_float32), TEST(test_medium_same_bits_for_any_threads_and_split),
               TEST(test_medium_follows_float32))
