// Jobs of several ranks on emulated devices, as a user starts them: under mpirun, and by num_gpus. The adapter has the
// bits of one rank with the same rows in a step and in a pass, in every type of activations.
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli_runner.h"
#include "path.h"
#include "tiny_run.h"

#define TRAIN                                                                                                          \
    "train model=tiny.gguf train_file=data.jsonl max_seq_length=48 val_set_size=4 eval_strategy=steps eval_steps=2 "   \
    "save_steps=2 run_name=tiny learning_rate=1e-2 lora_dropout=0.1 neftune_noise_alpha=5 max_steps=2 device=cuda "    \
    "per_device_train_batch_size=2 "

// The modules of a job lie in one folder.
static void link_module(const char *folder, const char *name) {
    char *from = path_join(folder, name), *to = path_join("modules", name);
    if (access(from, F_OK) == 0) assert_int_equal(symlink(from, to), 0);
    mem_free(from);
    mem_free(to);
}

static int set_up(void **state) {
    char program[4096];
    tiny_dir_setup(state);
    if (chdir(tiny_dir) || mkdir("modules", 0700)) return -1;
    snprintf(program, sizeof program, "%s", LORAC);
    link_module(EMULATED_MODULES, "lorac-cuda.so");
    link_module(dirname(program), "lorac-mpi.so");
    setenv("LORAC_MODULES", "modules", 1);
    setenv("LORAC_EMULATED_DEVICES", "4", 1);
    setenv("LORAC_EMULATED_MEMORY", "134217728", 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    return 0;
}

// All that a job of `ranks` ranks prints; it must end with `want_status`. 0 ranks: started by lorac itself or alone.
static char *run_job(int ranks, const char *words, int want_status) {
    char launcher[4200] = "";
    if (ranks) snprintf(launcher, sizeof launcher, "sh '%s/train/ranks/mpirun.sh' %d", TEST_DIR, ranks);
    AUTO_FREE char *command = mem_printf("XDG_CACHE_HOME=$PWD/cache %s '%s' " TRAIN "%s 2>&1", launcher, LORAC, words);
    return command_output(command, want_status);
}

static void train(int ranks, const char *words) {
    char *out = run_job(ranks, words, 0);
    if (!strstr(out, "step 2/2")) fail_msg("%s: %s", words, out);
    mem_free(out);
}

static bool have_mpi(void) {
    return access("modules/lorac-mpi.so", F_OK) == 0 && system("command -v mpirun >/dev/null") == 0;
}

static void assert_bits_of_one_rank(const char *dtype, int ranks) {
    char words[200];
    snprintf(words, sizeof words, "dtype=%s output_dir=one gradient_accumulation_steps=4", dtype);
    train(0, words);
    snprintf(words, sizeof words, "dtype=%s output_dir=job gradient_accumulation_steps=%d", dtype, 4 / ranks);
    train(ranks, words);
    assert_true(tiny_same_adapter("one", "job"));
}

static void test_cuda_jobs_f32_under_mpirun(void **state) {
    (void)state;
    if (!have_mpi()) skip();
    assert_bits_of_one_rank("f32", 2);
}

static void test_cuda_jobs_bf16_under_mpirun(void **state) {
    (void)state;
    if (!have_mpi()) skip();
    assert_bits_of_one_rank("bf16", 4);
}

static void test_cuda_jobs_of_num_gpus(void **state) {
    (void)state;
    static const char *const dtypes[] = {"f16", "fp8"};
    for (int i = 0; i < 2; i++) {
        char words[200];
        snprintf(words, sizeof words, "dtype=%s output_dir=one%d gradient_accumulation_steps=2", dtypes[i], i);
        train(0, words);
        snprintf(words, sizeof words, "dtype=%s output_dir=two%d num_gpus=2", dtypes[i], i);
        train(0, words);
        assert_true(tiny_same_adapter(i ? "one1" : "one0", i ? "two1" : "two0"));
    }
}

static void test_cuda_jobs_need_a_gpu_for_each_rank(void **state) {
    (void)state;
    if (!have_mpi()) skip();
    setenv("LORAC_EMULATED_DEVICES", "1", 1);
    char *out = run_job(2, "output_dir=none", EXIT_RUNTIME);
    if (!strstr(out, "lorac: ranks 0 and 1 have the same GPU")) fail_msg("%s", out);
    mem_free(out);
}

#define JOB_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tiny_dir_teardown)
TEST_MAIN(JOB_TEST(test_cuda_jobs_f32_under_mpirun), JOB_TEST(test_cuda_jobs_bf16_under_mpirun),
          JOB_TEST(test_cuda_jobs_of_num_gpus), JOB_TEST(test_cuda_jobs_need_a_gpu_for_each_rank))
