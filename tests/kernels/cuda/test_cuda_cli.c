// The binary over the emulated device, as a user runs it: `lorac train --device cuda` gives the CPU's losses, goes on
// after kill -9 with the same bits, and says in one line what is wrong when memory or the device fails; the verbs that
// compute take a device.
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include "cli_runner.h"
#include "path.h"
#include "safetensors.h"
#include "tiny_run.h"

#define TRAIN                                                                                                          \
    "train model=tiny.gguf train_file=data.jsonl max_seq_length=48 val_set_size=4 eval_strategy=steps eval_steps=4 "   \
    "save_steps=2 run_name=tiny learning_rate=1e-2 lora_dropout=0.1 neftune_noise_alpha=5 "                            \
    "resume_from_checkpoint=auto "

static int set_up(void **state) {
    tiny_dir_setup(state);
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    unsetenv("LORAC_EMULATED_MEMORY"); // of a test that failed
    unsetenv("LORAC_EMULATED_FAIL_LAUNCH");
    return chdir(tiny_dir);
}

static void train(const char *words, int want_status, const char *part) {
    char *command = mem_printf(TRAIN "%s%s", sets_key_of(words, "max_steps=") ? "" : "max_steps=8 ", words);
    check_has(command, want_status, part);
    mem_free(command);
}

// The numbers after "loss": and "eval_loss": in a log, in order.
static int losses_of(const char *out, double *losses, int most) {
    char *path = path_join(out, "train_log.jsonl"), *text = scratch_read(path);
    int n = 0;
    for (const char *at = text; n < most && (at = strstr(at, "loss\":"));) losses[n++] = strtod(at += 6, NULL);
    mem_free(text);
    mem_free(path);
    return n;
}

enum { MAX_LOSSES = 16 };

static void test_cuda_cli_trains_as_the_cpu_does(void **state) {
    (void)state;
    static const struct {
        const char *dtype;
        double limit; // of the losses; parameters drift apart with each step, so what the first three steps show
    } types[] = {{"f32", 1e-5}, {"tf32", 2e-3}, {"bf16", 2e-2}, {"f16", 2e-3}, {"fp8", 1e-1}};
    double cpu[MAX_LOSSES], cuda[MAX_LOSSES];
    train("output_dir=cpu device=cpu", 0, "step 8/8");
    int n = losses_of("cpu", cpu, MAX_LOSSES);
    assert_int_equal(n, 10); // 8 steps, 2 evaluations
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        char *words = mem_printf("output_dir=%s device=cuda dtype=%s", types[t].dtype, types[t].dtype);
        train(words, 0, "cuda (emulated device)");
        assert_int_equal(losses_of(types[t].dtype, cuda, MAX_LOSSES), n);
        for (int i = 0; i < (t ? 3 : n); i++)
            if (!(fabs(cuda[i] - cpu[i]) <= types[t].limit * cpu[i]))
                fail_msg("%s: loss %d: %.9g, of the CPU %.9g", types[t].dtype, i, cuda[i], cpu[i]);
        mem_free(words);
    }
}

// In the foreground: else timeout dies with its child, and the next run may find the lock of a process that still goes.
static void begin_and_kill(double seconds) {
    char *text = mem_printf("timeout --foreground -s KILL %.3f '%s' " TRAIN
                            "max_steps=8 output_dir=killed device=cuda >>log 2>&1",
                            seconds, LORAC);
    int status = system(text);
    assert_true(status != -1);
    mem_free(text);
}

// Whenever it is killed: in the end the bits of the run that no one disturbed. A fault of the device is another kill.
static void test_cuda_cli_goes_on_after_kill_9(void **state) {
    (void)state;
    train("output_dir=whole device=cuda", 0, "step 8/8");
    for (int i = 0; i < 4; i++) begin_and_kill(0.1 + 0.07 * i);
    train("output_dir=killed device=cuda", 0, "finite"); // perhaps the last one was done before it was killed
    assert_true(tiny_same_adapter("whole", "killed"));
    setenv("LORAC_EMULATED_FAIL_LAUNCH", "300", 1);
    train("output_dir=failed device=cuda", EXIT_RUNTIME, "the last snapshot is good");
    unsetenv("LORAC_EMULATED_FAIL_LAUNCH");
    train("output_dir=failed device=cuda", 0, "step 8/8");
    assert_true(tiny_same_adapter("whole", "failed"));
}

static void test_cuda_cli_resumes_on_the_same_kind_of_device(void **state) {
    (void)state;
    setenv("LORAC_EMULATED_FAIL_LAUNCH", "600", 1);
    train("output_dir=moved device=cuda", EXIT_RUNTIME, "lorac: step ");
    unsetenv("LORAC_EMULATED_FAIL_LAUNCH");
    train("output_dir=moved device=cpu", EXIT_INPUT, "device");
    train("output_dir=moved device=cuda dtype=f16", EXIT_INPUT, "dtype");
    train("output_dir=moved device=cuda", 0, "resuming from");
}

static void test_cuda_cli_plans_memory(void **state) {
    (void)state;
    setenv("LORAC_EMULATED_MEMORY", "100000", 1);
    train("output_dir=small device=cuda dtype=f32", EXIT_NO_FIT, "of the device, which has");
    setenv("LORAC_EMULATED_MEMORY", "330000", 1);
    train("output_dir=small device=cuda dtype=f32", EXIT_NO_FIT, "lower max_seq_length");
    assert_int_not_equal(access("small/adapter", F_OK), 0);
    unsetenv("LORAC_EMULATED_MEMORY");
}

static void test_cuda_cli_needs_a_device(void **state) {
    (void)state;
    setenv("LORAC_EMULATED_DEVICES", "0", 1);
    train("output_dir=none device=cuda", EXIT_RUNTIME, "no NVIDIA GPU is visible");
    train("output_dir=none device=auto max_steps=1", 0, "step 1/1"); // on the CPU
    unsetenv("LORAC_EMULATED_DEVICES");
    train("output_dir=second device=cuda:1", EXIT_RUNTIME, "1 GPU(s)");
}

// Plain "lorac train" starts a process for each of two GPUs: they have the bits of one that computes their rows in
// turn.
static void test_cuda_cli_starts_a_rank_for_each_gpu(void **state) {
    (void)state;
    setenv("LORAC_EMULATED_DEVICES", "2", 1);
    train("output_dir=two device=cuda num_gpus=all", 0, "ranks    2 on 1 machine (tcp)");
    train("output_dir=turns device=cuda gradient_accumulation_steps=2", 0, "step 8/8");
    assert_true(tiny_same_adapter("two", "turns"));
    train("output_dir=three device=cuda num_gpus=3", EXIT_INPUT, "num_gpus: this process sees 2 GPUs");
    train("output_dir=cpus device=cpu num_gpus=2", EXIT_INPUT, "mpirun -np N lorac train");
    unsetenv("LORAC_EMULATED_DEVICES");
}

static float *logits_in(const char *path, size_t *n) {
    Safetensors *s;
    Err err;
    ASSERT_OK(safetensors_open(&s, path, &err), &err);
    const SafetensorsTensor *t = safetensors_get(s, "logits");
    *n = (size_t)(t->shape[0] * t->shape[1]);
    float *copy = mem_alloc(*n, sizeof *copy);
    memcpy(copy, t->data, *n * sizeof *copy);
    safetensors_close(s);
    return copy;
}

static void test_cuda_cli_verbs_take_a_device(void **state) {
    (void)state;
    train("output_dir=out device=cuda dtype=f32", 0, "step 8/8");
    size_t n;
    check_output(
        "logits --model tiny.gguf --adapter_name_or_path out/adapter --input_ids 104,105 --out cpu.st --device cpu",
        "");
    check_output("logits --model tiny.gguf --adapter_name_or_path out/adapter.gguf --input_ids 104,105 --out cuda.st "
                 "--device cuda --dtype f32",
                 "");
    float *cpu = logits_in("cpu.st", &n), *cuda = logits_in("cuda.st", &n);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(cpu[i] - cuda[i]) <= 1e-4f)) fail_msg("logit %zu: %g, on the CPU %g", i, cuda[i], cpu[i]);
    mem_free(cpu);
    mem_free(cuda);
    char *want = run("generate --model tiny.gguf --adapter_name_or_path out/adapter --prompt hello --max_new_tokens 8 "
                     "--device cpu",
                     0);
    check_output("generate --model tiny.gguf --adapter_name_or_path out/adapter --prompt hello --max_new_tokens 8 "
                 "--device cuda --dtype f32",
                 want);
    mem_free(want);
    check_has("verify out/adapter --model tiny.gguf --device cuda --dtype f32", 0, "finite");
    check_has("eval --model_name_or_path tiny.gguf --adapter_name_or_path out/adapter --validation_file data.jsonl "
              "--device cuda",
              0, "loss");
    setenv("LORAC_EMULATED_FAIL_LAUNCH", "5", 1);
    check_has("logits --model tiny.gguf --input_ids 1,2 --out bad.st --device cuda", EXIT_RUNTIME, "device cuda:0");
    assert_int_not_equal(access("bad.st", F_OK), 0); // nothing half-written
    unsetenv("LORAC_EMULATED_FAIL_LAUNCH");
}

#define TINY_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tiny_dir_teardown)
TEST_MAIN(TINY_TEST(test_cuda_cli_trains_as_the_cpu_does), TINY_TEST(test_cuda_cli_goes_on_after_kill_9),
          TINY_TEST(test_cuda_cli_resumes_on_the_same_kind_of_device), TINY_TEST(test_cuda_cli_plans_memory),
          TINY_TEST(test_cuda_cli_starts_a_rank_for_each_gpu), TINY_TEST(test_cuda_cli_needs_a_device),
          TINY_TEST(test_cuda_cli_verbs_take_a_device))
