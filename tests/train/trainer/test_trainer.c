// The step loop on the tiny model: the same bits for every split of a batch, flat memory, skipped steps, NEFTune and
// the like change what they should, and the loss is what it claims to be.
#include "test.h"

#include <math.h>
#include <stdlib.h>

#include "memory_use.h"
#include "tiny_run.h"

enum { STEPS = 6 };
#define N_OF(a) ((int)(sizeof(a) / sizeof *(a)))

static float *train(int threads, const char *const *words, int n, double losses[STEPS], int64_t *count) {
    return tiny_run_train(tiny_open_cpu, &threads, words, n, STEPS, losses, count);
}

// True when both configs give the same losses and parameters, bit for bit.
static bool same_bits(int threads_a, const char *const *a, int n_a, int threads_b, const char *const *b, int n_b) {
    double loss_a[STEPS], loss_b[STEPS];
    int64_t count_a, count_b;
    float *pa = train(threads_a, a, n_a, loss_a, &count_a), *pb = train(threads_b, b, n_b, loss_b, &count_b);
    bool same = count_a == count_b && memcmp(pa, pb, (size_t)count_a * sizeof *pa) == 0 &&
                memcmp(loss_a, loss_b, sizeof loss_a) == 0;
    mem_free(pa);
    mem_free(pb);
    return same;
}

static void test_trainer_split_of_a_batch_changes_no_bit(void **state) {
    (void)state;
    const char *const whole[] = {"per_device_train_batch_size=4", "learning_rate=1e-2", "lora_dropout=0.1"};
    const char *const split[] = {"gradient_accumulation_steps=4", "learning_rate=1e-2", "lora_dropout=0.1"};
    const char *const other[] = {"gradient_accumulation_steps=2", "learning_rate=1e-2", "lora_dropout=0.1"};
    assert_true(same_bits(1, whole, N_OF(whole), 1, split, N_OF(split)));
    assert_true(same_bits(1, whole, N_OF(whole), 2, whole, N_OF(whole)));
    assert_true(same_bits(2, split, N_OF(split), 3, split, N_OF(split)));
    assert_false(same_bits(1, whole, N_OF(whole), 1, other, N_OF(other)));
}

static void test_trainer_dora_has_the_same_bits(void **state) {
    (void)state;
#define DORA "use_dora=true", "lora_target_modules=all-linear", "learning_rate=1e-2"
    const char *const split[] = {DORA, "gradient_accumulation_steps=4", "quantize_base=int8"};
    const char *const whole[] = {DORA, "per_device_train_batch_size=4", "quantize_base=int8"};
    const char *const again[] = {DORA, "gradient_accumulation_steps=4", "quantize_base=int8",
                                 "gradient_checkpointing=true"};
    assert_true(same_bits(1, split, N_OF(split), 3, whole, N_OF(whole)));
    assert_true(same_bits(2, split, N_OF(split), 1, again, N_OF(again)));
}

static void test_trainer_checkpointing_changes_no_bit(void **state) {
    (void)state;
    const char *const without[] = {"gradient_checkpointing=false", "lora_target_modules=all-linear", "lora_dropout=0.2",
                                   "neftune_noise_alpha=5"};
    const char *const with[] = {"gradient_checkpointing=true", "lora_target_modules=all-linear", "lora_dropout=0.2",
                                "neftune_noise_alpha=5"};
    assert_true(same_bits(2, without, N_OF(without), 2, with, N_OF(with)));
}

// One projection alone: gradients must flow exactly as far as its adapters need them.
static void test_trainer_each_projection_alone_learns(void **state) {
    (void)state;
    for (int p = 0; p < PROJ_CONV_B; p++) {
        char target[64];
        snprintf(target, sizeof target, "lora_target_modules=%s", projection_name((Projection)p));
        const char *const words[] = {target,           "learning_rate=2e-2",         "per_device_train_batch_size=1000",
                                     "warmup_ratio=0", "lr_scheduler_type=constant", "max_steps=6"};
        double losses[STEPS];
        int64_t count;
        mem_free(train(2, words, N_OF(words), losses, &count));
        if (!(losses[STEPS - 1] < losses[0] - 1e-3))
            fail_msg("%s: loss %g, then %g", target, losses[0], losses[STEPS - 1]);
    }
}

// Each of these must change the result: a key that nothing reads would not.
static void test_trainer_options_have_an_effect(void **state) {
    (void)state;
    static const char *const options[] = {"lora_dropout=0.3",
                                          "neftune_noise_alpha=5",
                                          "label_smoothing_factor=0.2",
                                          "use_rslora=true",
                                          "use_dora=true",
                                          "loraplus_lr_ratio=8",
                                          "weight_decay=10",
                                          "max_grad_norm=0.01",
                                          "adam_beta1=0.5",
                                          "adam_beta2=0.5",
                                          "adam_epsilon=0.1",
                                          "learning_rate=1e-3",
                                          "lr_scheduler_type=linear",
                                          "warmup_steps=20",
                                          "shuffle=false",
                                          "seed=7",
                                          "packing=false",
                                          "lora_alpha=8",
                                          "lora_r=4",
                                          "layers_to_transform=1",
                                          "lora_target_modules=k_proj",
                                          "quantize_base=int8"};
    const char *const plain[] = {"gradient_accumulation_steps=2"};
    for (int i = 0; i < N_OF(options); i++) {
        const char *const changed[] = {"gradient_accumulation_steps=2", options[i]};
        if (same_bits(1, plain, 1, 1, changed, 2)) fail_msg("%s changed nothing", options[i]);
    }
}

static void test_trainer_warm_up_is_steps_or_a_fraction(void **state) {
    (void)state;
    const struct {
        const char *word;
        int64_t warmup;
    } cases[] = {{"warmup_steps=0.2", 2}, {"warmup_steps=0.21", 3}, {"warmup_steps=4", 4}, {"warmup_ratio=0.5", 5}};
    for (int i = 0; i < N_OF(cases); i++) {
        const char *const words[] = {"max_steps=10", cases[i].word};
        TinyRun r;
        tiny_run_open(&r, 1, words, 2);
        assert_int_equal(r.trainer->plan.schedule.warmup, cases[i].warmup);
        tiny_run_close(&r);
    }
}

static void check_learning(const char *base) {
    const char *const words[] = {"learning_rate=2e-2", "per_device_train_batch_size=2",  "num_train_epochs=20",
                                 "packing=false",      "lora_target_modules=all-linear", base};
    TinyRun r;
    double *losses;
    tiny_run_open(&r, 2, words, N_OF(words));
    losses = mem_alloc((size_t)r.trainer->plan.total_steps, sizeof *losses);
    tiny_run_steps(&r, r.trainer->plan.total_steps, losses);
    assert_true(losses[0] > 5);
    assert_true(losses[r.trainer->plan.total_steps - 1] < losses[0] / 2);
    mem_free(losses);
    tiny_run_close(&r);
}

static void test_trainer_learns(void **state) {
    (void)state;
    check_learning("quantize_base=none");
    check_learning("quantize_base=int8");
}

// The first loss is that of the base: compare with the evaluation of the same rows.
static void test_trainer_loss_is_per_supervised_token(void **state) {
    (void)state;
    const char *const words[] = {"per_device_train_batch_size=1000", "max_steps=3"};
    TinyRun r;
    tiny_run_open(&r, 1, words, N_OF(words));
    EvalResult e;
    StepReport report;
    Err err;
    assert_int_equal(evaluate(r.trainer->runner, r.data.train, r.data.rows, NULL, &e, &err), 0);
    ASSERT_OK(trainer_step(r.trainer, NULL, &report, &err), &err);
    ASSERT_NEAR(report.loss, e.loss, 1e-6 * e.loss);
    assert_int_equal(report.supervised, e.tokens);
    assert_int_equal(report.supervised, r.data.train->stats.supervised);
    assert_int_equal(report.tokens, r.data.train->stats.tokens);
    tiny_run_close(&r);
}

// Moving the parameters along the gradient changes the loss by its square norm: direction, scale and norm are right.
static void test_trainer_gradient_is_that_of_the_loss(void **state) {
    (void)state;
    const char *const words[] = {"per_device_train_batch_size=1000", "learning_rate=0", "max_grad_norm=0"};
    TinyRun r;
    EvalResult before, after;
    StepReport report;
    Err err;
    tiny_run_open(&r, 1, words, N_OF(words));
    ASSERT_OK(trainer_step(r.trainer, NULL, &report, &err), &err);
    evaluate(r.trainer->runner, r.data.train, r.data.rows, NULL, &before, &err);
    double square = report.grad_norm * report.grad_norm, step = 1e-3;
    assert_true(square > 1e-2);
    for (int64_t i = 0; i < r.adapter->count; i++) r.adapter->params[i] += (float)(step * (double)r.adapter->grad[i]);
    evaluate(r.trainer->runner, r.data.train, r.data.rows, NULL, &after, &err);
    ASSERT_NEAR((after.loss - before.loss) / step, square, 0.02 * square);
    tiny_run_close(&r);
}

// The same rows run by hand with the keys that PassOptions asks for give the loss of the step.
static void test_trainer_dropout_is_keyed_by_step_and_row(void **state) {
    (void)state;
    const char *const words[] = {"per_device_train_batch_size=1000", "lora_dropout=0.5", "shuffle=false",
                                 "learning_rate=5e-2"};
    TinyRun r;
    StepReport report;
    Err err;
    double sum = 0;
    PassState pass = {.grad_scale = 1, .stream = 1};
    tiny_run_open(&r, 1, words, N_OF(words));
    tiny_run_steps(&r, 1, NULL); // B is 0 before: dropout would change nothing
    for (int64_t i = 0; i < r.data.rows->count; i++) {
        PassOptions o = {.dropout = 0.5f, .seed = 42};
        PassRows row = {.dataset = r.data.train, .plan = r.data.rows, .rows = &i, .count = 1, .first = i};
        HeadTally tally = {0};
        pass_runner_start(r.trainer->runner, &row, &o, pass, TAPE_TRAIN, &tally);
        sum += pass_runner_loss(&tally);
    }
    ASSERT_OK(trainer_step(r.trainer, NULL, &report, &err), &err);
    ASSERT_NEAR(report.loss * (double)report.supervised, sum, 1e-6);
    tiny_run_close(&r);
}

// Each row once per epoch; the last step is short and divides by its own tokens; max_steps wraps the data.
static void test_trainer_epochs(void **state) {
    (void)state;
    const char *const words[] = {"gradient_accumulation_steps=5", "packing=false", "max_steps=11"};
    TinyRun r;
    tiny_run_open(&r, 1, words, N_OF(words));
    assert_int_equal(r.data.rows->count, 24);
    assert_int_equal(r.trainer->plan.steps_per_epoch, 5);
    assert_int_equal(r.trainer->plan.total_steps, 11);
    int64_t tokens = r.data.train->stats.tokens, seen = 0;
    for (int i = 0; i < 10; i++) {
        StepReport report;
        Err err;
        ASSERT_OK(trainer_step(r.trainer, NULL, &report, &err), &err);
        seen += report.tokens;
        if (i == 4) assert_int_equal(seen, tokens);
        if (i == 4) ASSERT_NEAR(report.epoch, 1, 0);
    }
    assert_int_equal(seen, 2 * tokens);
    tiny_run_close(&r);
}

static void test_trainer_memory_is_flat(void **state) {
    (void)state;
    const char *const words[] = {"gradient_accumulation_steps=2", "max_steps=100", "lora_dropout=0.1"};
    TinyRun r;
    tiny_run_open(&r, 2, words, N_OF(words));
    tiny_run_steps(&r, 1, NULL);
    uint64_t calls = mem_call_count();
    tiny_run_steps(&r, 1, NULL);
    size_t resident = memory_resident();
    tiny_run_steps(&r, 98, NULL);
    assert_int_equal(mem_call_count(), calls);
    if (!SANITIZED) assert_true(memory_resident() <= resident + (256 << 10)); // else freed memory is in quarantine
    tiny_run_close(&r);
}

static void test_trainer_stops_after_three_bad_steps(void **state) {
    (void)state;
    TinyRun r;
    StepReport report;
    Err err = {0};
    tiny_run_open(&r, 1, NULL, 0);
    tiny_run_steps(&r, 2, NULL);
    r.adapter->params[3] = NAN;
    float before = r.adapter->params[0];
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(trainer_step(r.trainer, NULL, &report, &err), &err);
        assert_true(report.skipped && isnan(report.grad_norm));
    }
    ASSERT_REFUSED(trainer_step(r.trainer, NULL, &report, &err), &err, "3 steps in a row");
    assert_int_equal(err.kind, ERR_RUNTIME);
    assert_int_equal(r.trainer->state.updates, 2);
    assert_int_equal(r.trainer->state.skipped, 3);
    assert_true(r.adapter->params[0] == before);
    tiny_run_close(&r);
}

static int stop_after;
static bool stop_soon(void) { return stop_after-- <= 0; }

// A step that is abandoned half way leaves no trace: doing it again gives the bits of a run that was never stopped.
static void test_trainer_abandoned_step_leaves_no_trace(void **state) {
    (void)state;
    const char *const words[] = {"gradient_accumulation_steps=4"};
    TinyRun a, b;
    StepReport report;
    Err err;
    tiny_run_open(&a, 1, words, 1);
    tiny_run_open(&b, 1, words, 1);
    stop_after = 2;
    assert_int_equal(trainer_step(a.trainer, stop_soon, &report, &err), 1);
    assert_int_equal(a.trainer->state.step, 0);
    tiny_run_steps(&a, 3, NULL);
    tiny_run_steps(&b, 3, NULL);
    assert_memory_equal(a.adapter->params, b.adapter->params, (size_t)a.adapter->count * sizeof(float));
    tiny_run_close(&a);
    tiny_run_close(&b);
}

// Two layers of SmolLM2's shapes shrink to a few megabytes: all copies fit 1 GB, none fit the run's own planned bytes.
static void test_trainer_kept_copies_are_planned(void **state) {
    (void)state;
    TinyRun r = {0};
    Err err = {0};
    tiny_run_open(&r, 1, NULL, 0);
    ASSERT_OK(trainer_fit_memory(r.trainer, &err), &err);
    assert_int_equal(trainer_kept_bytes(r.trainer), 0); // without max_memory
    size_t plain = trainer_planned_bytes(r.trainer), all = model_kept_bytes(r.model, SIZE_MAX);
    assert_true(all > 0);
    r.config.max_memory = (int64_t)(2 * (plain + all));
    ASSERT_OK(trainer_fit_memory(r.trainer, &err), &err);
    assert_int_equal(trainer_kept_bytes(r.trainer), all);
    r.config.max_memory = (int64_t)plain + (8 << 20);
    ASSERT_OK(trainer_fit_memory(r.trainer, &err), &err);
    assert_true(trainer_planned_bytes(r.trainer) <= (size_t)r.config.max_memory);
    tiny_run_close(&r);
}

static void test_trainer_kept_copies_change_no_bit(void **state) {
    (void)state;
    TinyRun a = {0}, b = {0};
    tiny_run_open(&a, 1, NULL, 0);
    tiny_run_open(&b, 1, NULL, 0);
    size_t all = model_kept_bytes(b.model, SIZE_MAX);
    model_keep(b.model, all / 2); // some layers have a copy, some none
    assert_true(b.model->kept_bytes > 0 && b.model->kept_bytes <= all / 2);
    tiny_run_steps(&a, 3, NULL);
    tiny_run_steps(&b, 3, NULL);
    assert_memory_equal(a.adapter->params, b.adapter->params, (size_t)a.adapter->count * sizeof(float));
    tiny_run_close(&a);
    tiny_run_close(&b);
}

static void test_trainer_refuses_what_does_not_fit(void **state) {
    (void)state;
    TinyRun r = {0};
    Err err = {0};
    tiny_run_open(&r, 1, NULL, 0);
    r.config.max_memory = 1 << 20;
    ASSERT_REFUSED(trainer_fit_memory(r.trainer, &err), &err, "expected at most");
    assert_int_equal(err.kind, ERR_NO_FIT);
    assert_int_equal(r.trainer->recompute, RECOMPUTE_BLOCKS); // it had tried that too
    tiny_run_close(&r);
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_trainer_split_of_a_batch_changes_no_bit),
               TEST(test_trainer_checkpointing_changes_no_bit), TEST(test_trainer_dora_has_the_same_bits),
               TEST(test_trainer_options_have_an_effect), TEST(test_trainer_each_projection_alone_learns),
               TEST(test_trainer_warm_up_is_steps_or_a_fraction), TEST(test_trainer_learns),
               TEST(test_trainer_loss_is_per_supervised_token), TEST(test_trainer_gradient_is_that_of_the_loss),
               TEST(test_trainer_dropout_is_keyed_by_step_and_row), TEST(test_trainer_epochs),
               TEST(test_trainer_memory_is_flat), TEST(test_trainer_stops_after_three_bad_steps),
               TEST(test_trainer_abandoned_step_leaves_no_trace), TEST(test_trainer_kept_copies_are_planned),
               TEST(test_trainer_kept_copies_change_no_bit), TEST(test_trainer_refuses_what_does_not_fit))
