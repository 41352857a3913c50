// Training with fp8 weights on the emulated device: the losses are near those of bf16, and the same from run to run.
#include "test.h"

#include <math.h>

#include "emulated.h"
#include "tiny_run.h"

enum { STEPS = 5 };

static int open_emulated(Backend **b, void *fp8, Err *err) {
    BackendOptions o = {.device = "cuda", .activation = DTYPE_BF16, .fp8 = *(bool *)fp8};
    return emulated_open_with(b, &o, err);
}

static void train(bool fp8, double losses[STEPS]) {
    static const char *const words[] = {"learning_rate=1e-2", "per_device_train_batch_size=2",
                                        "lora_target_modules=all-linear", "quantize_base=none"};
    mem_free(tiny_run_train(open_emulated, &fp8, words, sizeof words / sizeof *words, STEPS, losses, NULL));
}

// The frozen products err by about 4 % of their size (test_cuda_matmul); the losses by much less, and they fall alike.
static void test_cuda_fp8_losses_of_bf16(void **state) {
    (void)state;
    double bf16[STEPS], fp8[STEPS], again[STEPS];
    train(false, bf16);
    train(true, fp8);
    train(true, again);
    bool differ = false;
    for (int i = 0; i < STEPS; i++) {
        if (fabs(fp8[i] - bf16[i]) > 0.02 * bf16[i]) fail_msg("step %d: fp8 %g, bf16 %g", i, fp8[i], bf16[i]);
        if (fp8[i] != again[i]) fail_msg("step %d: %.17g, then %.17g", i, fp8[i], again[i]);
        differ = differ || fabs(fp8[i] - bf16[i]) > 1e-4 * bf16[i];
    }
    assert_true(differ); // else nothing was quantised
    double fall = (fp8[0] - fp8[STEPS - 1]) / (bf16[0] - bf16[STEPS - 1]);
    if (!(fall > 0.9 && fall < 1.1)) fail_msg("the losses of fp8 fall %g times as far as those of bf16", fall);
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_cuda_fp8_losses_of_bf16))
