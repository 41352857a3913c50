// What the environment asks of the CUDA backend, over the emulated device: LORAC_CUDA_GRAPHS, LORAC_ATTENTION, and
// passes that cannot be recorded.
#include <stdlib.h>

#include "cli_runner.h"
#include "tiny_run.h"

#define TRAIN                                                                                                          \
    "train model=tiny.gguf train_file=data.jsonl max_seq_length=48 save_steps=2 run_name=tiny max_steps=6 "            \
    "learning_rate=1e-2 resume_from_checkpoint=auto output_dir="

static const char *const variables[] = {"LORAC_CUDA_GRAPHS", "LORAC_ATTENTION", "LORAC_EMULATED_CUDNN",
                                        "LORAC_EMULATED_FAIL_RECORDING", "LORAC_EMULATED_FAIL_LAUNCH"};

static int set_up(void **state) {
    tiny_dir_setup(state);
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) unsetenv(variables[i]);
    return chdir(tiny_dir);
}

static int tear_down(void **state) {
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) unsetenv(variables[i]);
    return tiny_dir_teardown(state);
}

static void test_cuda_passes_may_stay_unrecorded(void **state) {
    (void)state;
    check_has(TRAIN "recorded device=cuda", 0, "step 6/6");
    setenv("LORAC_CUDA_GRAPHS", "0", 1);
    check_has(TRAIN "plain device=cuda", 0, "step 6/6");
    unsetenv("LORAC_CUDA_GRAPHS");
    assert_true(tiny_same_adapter("recorded", "plain"));
}

// 1: the recording does not begin, 2: a call cannot be recorded, 3: it does not end, 4: there is no memory for the
// graph.
static void test_cuda_passes_that_cannot_be_recorded_run(void **state) {
    (void)state;
    static const char warning[] = "passes are not recorded as CUDA graphs";
    check_has(TRAIN "recorded device=cuda", 0, "step 6/6");
    for (int where = 1; where <= 4; where++) {
        char *out = mem_printf("failed_%d", where), *words = mem_printf(TRAIN "%s device=cuda", out);
        char *digit = mem_printf("%d", where);
        setenv("LORAC_EMULATED_FAIL_RECORDING", digit, 1);
        char *text = run(words, 0), *first = strstr(text, warning);
        if (!first || strstr(first + 1, warning)) fail_msg("%d: expected one warning: %s", where, text);
        assert_true(tiny_same_adapter("recorded", out));
        mem_free(out);
        mem_free(words);
        mem_free(digit);
        mem_free(text);
    }
}

static void test_cuda_environment_is_checked(void **state) {
    (void)state;
    setenv("LORAC_CUDA_GRAPHS", "no", 1);
    check_has(TRAIN "out device=cuda", EXIT_INPUT, "LORAC_CUDA_GRAPHS is 'no'; expected 0 or 1");
    check_has(TRAIN "out device=auto", EXIT_INPUT, "LORAC_CUDA_GRAPHS is 'no'");
    unsetenv("LORAC_CUDA_GRAPHS");
    setenv("LORAC_ATTENTION", "fast", 1);
    check_has(TRAIN "out device=cuda", EXIT_INPUT, "LORAC_ATTENTION is 'fast'; expected own or cudnn");
    setenv("LORAC_ATTENTION", "cudnn", 1);
    check_has(TRAIN "out device=cuda", EXIT_INPUT, "LORAC_ATTENTION is 'cudnn', but attention in BF16 on this device");
    setenv("LORAC_EMULATED_CUDNN", "1", 1);
    check_has(TRAIN "out device=cuda dtype=f32", EXIT_INPUT, "but attention in F32 on this device");
    check_has(TRAIN "out device=cuda", 0, "attention by cudnn stand-in where it can");
    setenv("LORAC_ATTENTION", "own", 1);
    check_has(TRAIN "own device=cuda", 0, "attention by own kernels (LORAC_ATTENTION)\n");
}

// deterministic: false is said, and stays what it was when a run resumes.
static void test_cuda_gradients_may_vary(void **state) {
    (void)state;
    check_has(TRAIN "cpu device=cpu deterministic=false", 0, "; deterministic: false changes nothing on this device\n");
    check_has(TRAIN "own device=cuda deterministic=false", 0,
              "attention by own kernels (no cuDNN); deterministic: false changes nothing on this device\n");
    setenv("LORAC_EMULATED_CUDNN", "1", 1);
    setenv("LORAC_EMULATED_FAIL_LAUNCH", "300", 1);
    check_has(TRAIN "out device=cuda deterministic=false", EXIT_RUNTIME, "the same run may give other last bits\n");
    unsetenv("LORAC_EMULATED_FAIL_LAUNCH");
    check_has(TRAIN "out device=cuda", EXIT_INPUT, "deterministic was false, now true");
    check_has(TRAIN "out device=cuda deterministic=false", 0, "step 6/6");
}

// Another kind of attention has other bits.
static void test_cuda_attention_is_part_of_a_run(void **state) {
    (void)state;
    setenv("LORAC_EMULATED_CUDNN", "1", 1);
    setenv("LORAC_EMULATED_FAIL_LAUNCH", "300", 1);
    setenv("LORAC_ATTENTION", "own", 1);
    check_has(TRAIN "out device=cuda", EXIT_RUNTIME, "the last snapshot is good");
    unsetenv("LORAC_EMULATED_FAIL_LAUNCH");
    setenv("LORAC_ATTENTION", "cudnn", 1);
    check_has(TRAIN "out device=cuda", EXIT_INPUT, "made with LORAC_ATTENTION=own, here it is cudnn");
    unsetenv("LORAC_ATTENTION");
    check_has(TRAIN "out device=cuda", EXIT_INPUT, "made with LORAC_ATTENTION=own, here it is not set");
    setenv("LORAC_ATTENTION", "own", 1);
    check_has(TRAIN "out device=cuda", 0, "step 6/6");
}

#define ENVIRONMENT_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
TEST_MAIN(ENVIRONMENT_TEST(test_cuda_passes_may_stay_unrecorded),
          ENVIRONMENT_TEST(test_cuda_passes_that_cannot_be_recorded_run),
          ENVIRONMENT_TEST(test_cuda_environment_is_checked), ENVIRONMENT_TEST(test_cuda_gradients_may_vary),
          ENVIRONMENT_TEST(test_cuda_attention_is_part_of_a_run))
