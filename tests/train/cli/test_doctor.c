// lorac doctor as a user runs it, on the CPU and on the emulated device.
#include "test.h"

#include <stdlib.h>

#include "cli_runner.h"

static void on_emulated_device(void) {
    if (!*EMULATED_MODULES) skip();
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
}

static void test_doctor_names_machine_and_libraries(void **state) {
    (void)state;
    char *out = run("doctor --device cpu --ops rmsnorm", 0);
    static const char *const parts[] = {"CPUs usable, backend cpu-", "GB free", "PCRE2 ",
                                        "rmsnorm_forward",           "agrees",  ": 0 wrong"};
    CHECK_PARTS(out, parts);
    mem_free(out);
}

static void test_doctor_refuses(void **state) {
    (void)state;
    check_has("doctor --device cpu --ops nothing", EXIT_INPUT, "no op begins with \"nothing\"");
    check_has("doctor --device tpu", EXIT_INPUT, "expected auto, cpu, cuda or cuda:N");
    check_has("doctor --device cpu --dtype f16", EXIT_INPUT, "needs a GPU");
    check_has("doctor --device cpu --dtype bf16 --float32_matmul_precision high", EXIT_INPUT,
              "--float32_matmul_precision: \"high\" with dtype bf16");
    check_has("doctor --device cuda --float32_matmul_precision medium", EXIT_INPUT, "\"medium\" needs the CPU");
    setenv("LORAC_MODULES", "/nowhere", 1);
    check_has("doctor --device cuda", EXIT_RUNTIME, "lorac-cuda.so not found");
    unsetenv("LORAC_MODULES");
}

static void test_doctor_checks_a_device(void **state) {
    (void)state;
    on_emulated_device();
    char *out = run("doctor --device cuda --ops rmsnorm_forward", 0);
    static const char *const parts[] = {
        "emulated device", "compute capability 9.0", "rmsnorm_forward", "f32", "bf16", "f16", "3 checks of ops"};
    CHECK_PARTS(out, parts);
    mem_free(out);
    setenv("LORAC_EMULATED_FAIL_LAUNCH", "3", 1);
    check_has("doctor --device cuda --dtype bf16 --ops rmsnorm", EXIT_RUNTIME,
              "lorac: device cuda:0 (emulated device)");
    unsetenv("LORAC_EMULATED_FAIL_LAUNCH");
    setenv("LORAC_EMULATED_DEVICES", "0", 1);
    check_has("doctor --device cuda", EXIT_RUNTIME, "no NVIDIA GPU is visible");
    unsetenv("LORAC_EMULATED_DEVICES");
    unsetenv("LORAC_MODULES");
}

static void test_doctor_tries_both_kinds_of_attention(void **state) {
    (void)state;
    on_emulated_device();
    setenv("LORAC_EMULATED_CUDNN", "1", 1);
    char *out = run("doctor --device cuda --dtype bf16 --ops attention_forward", 0);
    static const char *const parts[] = {"attention by cudnn stand-in where it is faster", "attention_forward",
                                        "attention by cudnn stand-in where it can", "2 checks of ops"};
    CHECK_PARTS(out, parts);
    const char *at = strstr(out, " shapes of attention computed by the library");
    assert_non_null(at);
    assert_true(at[-1] >= '1' && at[-1] <= '9');
    mem_free(out);
    check_has("doctor --device cuda --dtype f32 --ops attention_forward", 0,
              "attention by own kernels (cuDNN has none in f32)");
    unsetenv("LORAC_EMULATED_CUDNN");
    unsetenv("LORAC_MODULES");
}

TEST_MAIN(SCRATCH_TEST(test_doctor_names_machine_and_libraries), SCRATCH_TEST(test_doctor_refuses),
          SCRATCH_TEST(test_doctor_checks_a_device), SCRATCH_TEST(test_doctor_tries_both_kinds_of_attention))
