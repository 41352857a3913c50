// Training in bf16 on the CPU: the bits do not depend on threads, splits or recomputation, and losses follow float32.
// Skipped, visibly, on a CPU without bf16 products.
#include "test.h"

#include <math.h>

#include "tiny_run.h"

enum { STEPS = 30 };

static int open_bf16(Backend **b, void *threads, Err *err) {
    BackendOptions o = {.device = "cpu", .activation = DTYPE_BF16, .threads = *(int *)threads};
    return backend_open_with(b, &o, err);
}

static void skip_without_bf16(void) {
    if (kernels_cpu(DTYPE_BF16, NULL)) return;
    printf("this CPU has no bf16 products\n");
    skip();
}

static void test_bf16_same_bits_for_any_threads_and_split(void **state) {
    (void)state;
    skip_without_bf16();
    static const char *const whole[] = {"per_device_train_batch_size=4", "gradient_checkpointing=false",
                                        "lora_dropout=0.1"};
    static const char *const parts[] = {"gradient_accumulation_steps=4", "gradient_checkpointing=blocks",
                                        "lora_dropout=0.1"};
    int one = 1, three = 3;
    int64_t n, m;
    float *a = tiny_run_train(open_bf16, &one, whole, 3, 4, NULL, &n);
    float *b = tiny_run_train(open_bf16, &three, parts, 3, 4, NULL, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
    mem_free(a);
    mem_free(b);
}

// The parameters are float32 and the gradients are those of rounded activations: the same curve with noise.
static void test_bf16_follows_float32(void **state) {
    (void)state;
    skip_without_bf16();
    static const char *const words[] = {"gradient_accumulation_steps=4", "learning_rate=1e-3", "max_steps=30"};
    int threads = 2;
    double rounded[STEPS], exact[STEPS], sum_rounded = 0, sum_exact = 0;
    mem_free(tiny_run_train(open_bf16, &threads, words, 3, STEPS, rounded, NULL));
    mem_free(tiny_run_train(tiny_open_cpu, &threads, words, 3, STEPS, exact, NULL));
    assert_true(exact[STEPS - 1] < exact[0] - 1e-3);
    for (int i = 0; i < STEPS; i++) {
        sum_rounded += rounded[i];
        sum_exact += exact[i];
        if (!(fabs(rounded[i] / exact[i] - 1) < 0.02)) fail_msg("step %d: %g, float32 %g", i, rounded[i], exact[i]);
        if (!(fabs(sum_rounded / sum_exact - 1) < 0.005)) fail_msg("steps to %d: %g, %g", i, sum_rounded, sum_exact);
    }
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_bf16_same_bits_for_any_threads_and_split),
               TEST(test_bf16_follows_float32))
