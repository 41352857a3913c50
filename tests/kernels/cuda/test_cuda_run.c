// Training on the emulated device: the CPU's losses in float32, the same for any number of rows in a pass, replayed
// passes with the bits of passes that were not recorded, resume, the loss scale of F16, memory, faults.
#include "test.h"

#include <math.h>

#include "autotune.h"
#include "emulated.h"
#include "path.h"
#include "snapshot.h"
#include "tiny_run.h"

enum { STEPS = 3 };
#define N_OF(a) ((int)(sizeof(a) / sizeof *(a)))

static int open_emulated(Backend **b, void *activation, Err *err) {
    return emulated_open(b, *(DType *)activation, err);
}

static void open_run(TinyRun *r, DType activation, const char *const *words, int n) {
    tiny_run_open_on(r, open_emulated, &activation, words, n);
}

// Losses of STEPS steps.
static void train(DType activation, const char *const *words, int n, double losses[STEPS]) {
    mem_free(tiny_run_train(open_emulated, &activation, words, n, STEPS, losses, NULL));
}

static double difference(const double *a, const double *b) {
    double worst = 0;
    for (int i = 0; i < STEPS; i++) worst = fmax(worst, fabs(a[i] - b[i]) / fabs(b[i]));
    return worst;
}

#define COMMON "learning_rate=1e-2", "lora_dropout=0.1", "neftune_noise_alpha=5", "lora_target_modules=all-linear"

static void check_losses(const char *const *words, int n) {
    double cpu[STEPS], cuda[STEPS];
    TinyRun r;
    tiny_run_open(&r, 1, words, n);
    tiny_run_steps(&r, STEPS, cpu);
    tiny_run_close(&r);
    train(DTYPE_F32, words, n, cuda);
    ASSERT_NEAR(difference(cuda, cpu), 0, 1e-5);
    train(DTYPE_BF16, words, n, cuda);
    ASSERT_NEAR(difference(cuda, cpu), 0, 1e-2);
}

static void test_cuda_run_losses_of_the_cpu(void **state) {
    (void)state;
    const char *const words[] = {COMMON, "per_device_train_batch_size=4", "label_smoothing_factor=0.1",
                                 "use_dora=true"};
    const char *const quantised[] = {COMMON, "per_device_train_batch_size=2", "use_dora=true", "quantize_base=int8"};
    check_losses(words, N_OF(words) - 1);
    check_losses(words, N_OF(words));
    check_losses(quantised, N_OF(quantised));
}

static void test_cuda_run_rows_of_a_pass(void **state) {
    (void)state;
    const char *const one[] = {COMMON, "per_device_train_batch_size=1", "gradient_accumulation_steps=4"};
    const char *const two[] = {COMMON, "per_device_train_batch_size=2", "gradient_accumulation_steps=2"};
    const char *const four[] = {COMMON, "per_device_train_batch_size=4"};
    double a[STEPS], b[STEPS], c[STEPS];
    train(DTYPE_F32, one, N_OF(one), a);
    train(DTYPE_F32, two, N_OF(two), b);
    train(DTYPE_F32, four, N_OF(four), c);
    ASSERT_NEAR(difference(b, a), 0, 1e-6);
    ASSERT_NEAR(difference(c, a), 0, 1e-6);
}

// Without its memory of shapes a runner never records.
static void test_cuda_run_replayed_passes_have_the_same_bits(void **state) {
    (void)state;
    const char *const words[] = {COMMON, "per_device_train_batch_size=2", "max_steps=12"};
    double replayed[STEPS], plain[STEPS];
    DType bf16 = DTYPE_BF16;
    float *a = tiny_run_train(open_emulated, &bf16, words, N_OF(words), STEPS, replayed, NULL), *b;
    TinyRun r;
    open_run(&r, DTYPE_BF16, words, N_OF(words));
    for (int i = 0; i < STEPS; i++) {
        r.trainer->runner->n_seen = 0;
        r.backend->k->forget(r.backend);
        tiny_run_steps(&r, 1, &plain[i]);
    }
    b = adapter_download(r.adapter);
    assert_memory_equal(replayed, plain, sizeof plain);
    assert_memory_equal(a, b, (size_t)r.adapter->count * sizeof *a);
    tiny_run_close(&r);
    mem_free(a);
    mem_free(b);
}

// An evaluation of the same rows, which are of the same shapes, is another recording.
static void test_cuda_run_evaluations_change_no_bit(void **state) {
    (void)state;
    const char *const words[] = {"per_device_train_batch_size=2", "learning_rate=1e-2", "max_seq_length=29",
                                 "shuffle=false"};
    double alone[STEPS], between[STEPS];
    EvalResult e;
    Err err;
    train(DTYPE_F32, words, N_OF(words), alone);
    TinyRun r;
    open_run(&r, DTYPE_F32, words, N_OF(words));
    for (int i = 0; i < STEPS; i++) {
        evaluate(r.trainer->runner, r.data.train, r.data.rows, NULL, &e, &err);
        tiny_run_steps(&r, 1, &between[i]);
    }
    assert_memory_equal(alone, between, sizeof alone);
    tiny_run_close(&r);
}

// The norm is that of the gradient, whatever its loss was scaled with; AdamW alone would not notice.
static void test_cuda_run_norm_without_the_loss_scale(void **state) {
    (void)state;
    StepReport cpu, cuda;
    TinyRun r;
    Err err;
    tiny_run_open(&r, 1, NULL, 0);
    ASSERT_OK(trainer_step(r.trainer, NULL, &cpu, &err), &err);
    tiny_run_close(&r);
    open_run(&r, DTYPE_F16, NULL, 0);
    r.trainer->state.loss_scale = 512;
    ASSERT_OK(trainer_step(r.trainer, NULL, &cuda, &err), &err);
    ASSERT_NEAR(cuda.grad_norm, cpu.grad_norm, 1e-2 * cpu.grad_norm);
    tiny_run_close(&r);
}

static void test_cuda_run_levels_have_the_same_bits(void **state) {
    (void)state;
    static const char *const levels[] = {"gradient_checkpointing=false", "gradient_checkpointing=ffn",
                                         "gradient_checkpointing=blocks", "gradient_checkpointing=offload"};
    double losses[4][STEPS];
    for (int i = 0; i < 4; i++) {
        const char *const words[] = {"learning_rate=1e-2", "lora_dropout=0.1", "per_device_train_batch_size=2",
                                     levels[i]};
        train(DTYPE_BF16, words, N_OF(words), losses[i]);
        assert_memory_equal(losses[0], losses[i], sizeof losses[0]);
    }
}

static void test_cuda_run_evaluates_like_the_cpu(void **state) {
    (void)state;
    const char *const words[] = {"val_set_size=8", "per_device_eval_batch_size=3"};
    EvalResult cpu, cuda;
    Err err;
    TinyRun r;
    tiny_run_open(&r, 1, words, N_OF(words));
    evaluate(r.trainer->runner, r.data.eval_set, r.data.eval_rows, NULL, &cpu, &err);
    tiny_run_close(&r);
    open_run(&r, DTYPE_F32, words, N_OF(words));
    evaluate(r.trainer->runner, r.data.eval_set, r.data.eval_rows, NULL, &cuda, &err);
    tiny_run_close(&r);
    ASSERT_NEAR(cuda.loss, cpu.loss, 1e-5 * cpu.loss);
    assert_true(cuda.accuracy == cpu.accuracy && cuda.tokens == cpu.tokens);
}

// Everything that a run decides by speed is decided before its first step, which changes nothing.
static void test_cuda_run_autotunes_every_shape(void **state) {
    (void)state;
    const char *const words[] = {COMMON,           "per_device_train_batch_size=2",
                                 "val_set_size=5", "per_device_eval_batch_size=2",
                                 "max_steps=3",    "packing=false"};
    double plain[STEPS], tuned[STEPS];
    EvalResult e;
    TinyRun r;
    Err err;
    StrBuf before = {0}, after = {0};
    train(DTYPE_BF16, words, N_OF(words), plain);
    open_run(&r, DTYPE_BF16, words, N_OF(words));
    float *params = adapter_download(r.adapter), *later;
    ASSERT_OK(autotune(r.trainer, false, &err), &err);
    later = adapter_download(r.adapter);
    assert_memory_equal(params, later, (size_t)r.adapter->count * sizeof *params);
    r.backend->k->choices_get(r.backend, &before);
    assert_non_null(strstr(before.data, " 48x")); // a pass of two rows
    tiny_run_steps(&r, STEPS, tuned);
    ASSERT_OK(evaluate(r.trainer->runner, r.data.eval_set, r.data.eval_rows, NULL, &e, &err), &err);
    r.backend->k->choices_get(r.backend, &after);
    assert_string_equal(after.data, before.data);
    assert_memory_equal(plain, tuned, sizeof plain);
    tiny_run_close(&r);
    str_clear(&before);
    str_clear(&after);
    mem_free(params);
    mem_free(later);
}

static void test_cuda_run_resumes_with_the_same_bits(void **state) {
    (void)state;
    const char *const words[] = {COMMON, "per_device_train_batch_size=2"};
    double whole[STEPS], rest[STEPS];
    Err err;
    TinyRun r;
    open_run(&r, DTYPE_F16, words, N_OF(words));
    r.trainer->state.loss_scale = 1024;
    tiny_run_steps(&r, 1, whole);
    ASSERT_OK(snapshot_save(r.trainer, tiny_dir, &err), &err);
    tiny_run_steps(&r, STEPS - 1, whole + 1);
    tiny_run_close(&r);
    char *path = snapshot_path(tiny_dir, 1);
    open_run(&r, DTYPE_F16, words, N_OF(words));
    ASSERT_OK(snapshot_restore(r.trainer, path, NULL, &err), &err);
    assert_true(r.trainer->state.loss_scale == 1024 && r.trainer->state.good_steps == 1);
    tiny_run_steps(&r, STEPS - 1, rest + 1);
    assert_memory_equal(rest + 1, whole + 1, (STEPS - 1) * sizeof *rest);
    tiny_run_close(&r);
    bool other;
    tiny_run_open(&r, 1, words, N_OF(words));
    ASSERT_REFUSED(snapshot_restore(r.trainer, path, &other, &err), &err, "device was cuda, now cpu-");
    assert_true(other && err.kind == ERR_INPUT);
    tiny_run_close(&r);
    mem_free(path);
}

// Activations in F16 overflow with too large a scale: the steps are skipped until it fits, and do not end the run.
static void test_cuda_run_finds_its_loss_scale(void **state) {
    (void)state;
    TinyRun r;
    StepReport report;
    Err err;
    open_run(&r, DTYPE_F16, NULL, 0);
    assert_true(r.trainer->state.loss_scale == 65536);
    r.trainer->state.loss_scale = 0x1p24;
    for (int i = 0; i < MAX_SKIPPED_IN_A_ROW; i++) ASSERT_OK(trainer_step(r.trainer, NULL, &report, &err), &err);
    assert_true(report.skipped && report.loss_scale == 0x1p22);
    int64_t skipped = 0;
    while (trainer_step(r.trainer, NULL, &report, &err) == 0 && report.skipped) skipped++;
    ASSERT_OK(report.skipped, &err);
    assert_true(isfinite(report.grad_norm) && r.trainer->state.skipped_in_a_row == 0);
    assert_true(r.trainer->state.loss_scale == ldexp(1, 21 - (int)skipped));
    r.trainer->state.loss_scale = 256;
    r.trainer->state.good_steps = 1999;
    tiny_run_steps(&r, 1, NULL);
    assert_true(r.trainer->state.loss_scale == 512 && r.trainer->state.good_steps == 0);
    tiny_run_close(&r);
}

static void test_cuda_run_allocates_nothing_after_the_first_epoch(void **state) {
    (void)state;
    const char *const words[] = {"per_device_train_batch_size=4", "max_steps=100"};
    TinyRun r;
    open_run(&r, DTYPE_BF16, words, N_OF(words));
    tiny_run_steps(&r, 2 * r.trainer->plan.steps_per_epoch, NULL);
    size_t device = emulated_memory_used();
    tiny_run_steps(&r, r.trainer->plan.steps_per_epoch, NULL);
    assert_int_equal(emulated_memory_used(), device);
    tiny_run_close(&r);
}

// One sample a row stays one, and no bound of a pass is beyond what the rows of the run have.
static void test_cuda_run_passes_are_as_large_as_their_rows(void **state) {
    (void)state;
    static const char *const packings[] = {"packing=false", "packing=true"};
    for (int i = 0; i < 2; i++) {
        TinyRun r;
        open_run(&r, DTYPE_BF16, &packings[i], 1);
        const RowPlan *rows = r.data.rows;
        const PassShape *most = &r.trainer->runner->bounds;
        PassShape want = {0};
        pass_bounds_add(&want, rows, r.trainer->plan.rows_per_pass);
        pass_bounds_add(&want, r.data.eval_rows, r.trainer->runner->eval_rows);
        assert_true(most->samples == want.samples && most->longest == want.longest);
        uint32_t eval = r.data.eval_rows ? r.data.eval_rows->most.longest_sample : 0, train = rows->most.longest_sample;
        assert_int_equal(want.longest, train > eval ? train : eval);
        for (int64_t n = 0; n < rows->count; n++) {
            PassShape s = pass_runner_shape(r.trainer->runner, &(PassRows){.plan = rows, .rows = &n, .count = 1});
            RowSize row = row_plan_row(rows, n);
            assert_true(s.samples >= row.samples && s.samples <= most->samples);
            assert_true(s.longest >= row.longest_sample && s.longest <= most->longest);
            if (i == 0) assert_int_equal(s.samples, 1);
        }
        tiny_run_close(&r);
    }
}

static void test_cuda_run_chooses_the_level_that_fits(void **state) {
    (void)state;
    const char *const words[] = {"lora_target_modules=all-linear", "per_device_train_batch_size=4"};
    TinyRun r;
    Err err;
    open_run(&r, DTYPE_BF16, words, N_OF(words));
    assert_int_equal(r.trainer->recompute, RECOMPUTE_NONE);
    size_t used = r.backend->k->memory(r.backend).used - r.trainer->runner->arena_bytes;
    size_t none = trainer_build_level(r.trainer, RECOMPUTE_NONE).arena;
    size_t ffn = trainer_build_level(r.trainer, RECOMPUTE_FFN).arena;
    size_t blocks = trainer_build_level(r.trainer, RECOMPUTE_BLOCKS).arena;
    assert_true(none > ffn && ffn > blocks);
    pass_runner_free(r.trainer->runner); // one that has no arena yet
    PassRunnerOptions o = {.model = r.model, .adapter = r.adapter, .eval_rows = 1, .ranks = *r.trainer->in.ranks};
    pass_bounds_add(&o.bounds, r.data.rows, r.trainer->plan.rows_per_pass);
    r.trainer->runner = pass_runner_new(&o);
    r.config.max_memory = (int64_t)(used + ffn + 4096);
    ASSERT_OK(trainer_fit_memory(r.trainer, &err), &err);
    assert_int_equal(r.trainer->recompute, RECOMPUTE_FFN);
    r.config.max_memory = 1 << 20;
    ASSERT_REFUSED(trainer_fit_memory(r.trainer, &err), &err, "shorter rows do not help, base_memory host may");
    assert_int_equal(err.kind, ERR_NO_FIT);
    tiny_run_close(&r);
}

// q and k of a layer rotate in one launch, forward and backward, except in the last layer, which stacks k and v only.
static void test_cuda_run_rotates_q_and_k_together(void **state) {
    (void)state;
    const char *const words[] = {"lora_target_modules=all-linear"};
    TinyRun r;
    int64_t rotations[2] = {0};
    open_run(&r, DTYPE_BF16, words, N_OF(words));
    const Tape *t = trainer_build_level(r.trainer, RECOMPUTE_NONE).tape;
    for (int64_t i = 0; i < tape_stats(t).instructions; i++) {
        TapeCost c = tape_cost(t, i);
        if (c.op == TAPE_OP_ROPE) rotations[c.backward]++;
    }
    int64_t layers = r.model->config.layers;
    assert_true(layers > 1);
    assert_int_equal(rotations[0], layers + 1);
    assert_int_equal(rotations[1], layers + 1);
    tiny_run_close(&r);
}

// A launch that fails ends the step with one line; what was saved is whole, and nothing more is saved.
static void test_cuda_run_fails_in_one_line(void **state) {
    (void)state;
    TinyRun r;
    StepReport report;
    Err err;
    open_run(&r, DTYPE_BF16, NULL, 0);
    tiny_run_steps(&r, 2, NULL);
    emulated_fail_launch(20);
    assert_int_equal(trainer_step(r.trainer, NULL, &report, &err), -1);
    emulated_fail_launch(0);
    assert_int_equal(err.kind, ERR_RUNTIME);
    assert_non_null(strstr(err.msg, "step 3: device cuda:0"));
    assert_non_null(strstr(err.msg, "the last snapshot is good"));
    char *path = snapshot_path(tiny_dir, r.trainer->state.step);
    assert_int_equal(snapshot_save(r.trainer, tiny_dir, &err), -1);
    assert_false(path_exists(path));
    mem_free(path);
    tiny_run_close(&r);
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_cuda_run_losses_of_the_cpu),
               TEST(test_cuda_run_rows_of_a_pass), TEST(test_cuda_run_replayed_passes_have_the_same_bits),
               TEST(test_cuda_run_evaluations_change_no_bit), TEST(test_cuda_run_norm_without_the_loss_scale),
               TEST(test_cuda_run_levels_have_the_same_bits), TEST(test_cuda_run_evaluates_like_the_cpu),
               TEST(test_cuda_run_autotunes_every_shape), TEST(test_cuda_run_resumes_with_the_same_bits),
               TEST(test_cuda_run_finds_its_loss_scale), TEST(test_cuda_run_allocates_nothing_after_the_first_epoch),
               TEST(test_cuda_run_passes_are_as_large_as_their_rows), TEST(test_cuda_run_chooses_the_level_that_fits),
               TEST(test_cuda_run_rotates_q_and_k_together), TEST(test_cuda_run_fails_in_one_line))
