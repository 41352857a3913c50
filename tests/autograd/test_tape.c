// tape: gradients of a small decoder by finite differences, kept and recomputed tensors, bit-identical checkpointing,
// no allocation after the first row. Runs on the reference backend, so it tests autograd alone.
#include <math.h>
#include <stdlib.h>

#include "autograd.h"
#include "test.h"
#include "toy.h"

static const PassState UNSCALED = {.grad_scale = 1};

// A two-block decoder with every projection adapted: small enough for thousands of forward passes.
enum { T = 7, C = 8, H = 4, KV = 2, D = 4, F = 12, V = 19, R = 2, LAYERS = 2, SAMPLES = 2, SCORED = 4 };
enum { Q, K, VAL, O, GATE, UP, DOWN, PROJECTIONS };
static const int OUT[PROJECTIONS] = {H * D, KV *D, KV *D, C, F, F, C};
static const int IN[PROJECTIONS] = {C, C, C, H *D, C, C, F};

typedef struct Toy {
    Backend *b;
    Tape *t;
    float *weights[LAYERS][PROJECTIONS], *a[LAYERS][PROJECTIONS], *bb[LAYERS][PROJECTIONS];
    float *da[LAYERS][PROJECTIONS], *db[LAYERS][PROJECTIONS];
    float norms[LAYERS * 2 + 1][C], embedding[V * C], cos_sin[T * D];
    Weight w[LAYERS][PROJECTIONS], table;
    unsigned adapted[LAYERS]; // bit set of projections
    float dropout, neftune;
    bool checkpoint, wants_grad;
    HeadResult result;
    void *arena;
    size_t arena_bytes;
} Toy;

static const int32_t IDS[T] = {3, 1, 18, 7, 7, 0, 11}, POS[T] = {0, 1, 2, 3, 0, 1, 2};
static const int32_t START[SAMPLES + 1] = {0, 4, 7}, LENGTH[SAMPLES] = {4, 3};
static const int32_t SCORED_ROWS[SCORED] = {1, 2, 4, 5}, TARGET[SCORED] = {18, 7, 0, 11};
static const int32_t Q_START[SAMPLES + 1] = {0, 2, 4}, Q_POS[SCORED] = {1, 2, 0, 1};
static const float MAGNITUDE[T] = {0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.2f};

static float *random_floats(int n, float scale, uint32_t module) {
    float *p = mem_alloc((size_t)n, sizeof *p);
    fill(p, n, 0, scale, module);
    return p;
}

static Toy *toy_new(void) {
    Toy *y = mem_calloc(1, sizeof *y);
    Err err;
    ASSERT_OK(backend_open(&y->b, "ref", 1, &err), &err);
    y->t = tape_new(y->b);
    y->wants_grad = true;
    for (int l = 0; l < LAYERS; l++) {
        y->adapted[l] = (1u << PROJECTIONS) - 1;
        for (int p = 0; p < PROJECTIONS; p++) {
            uint32_t module = (uint32_t)(l * 100 + p * 10);
            y->weights[l][p] = random_floats(OUT[p] * IN[p], 0.6f, module);
            y->a[l][p] = random_floats(R * IN[p], 0.6f, module + 1);
            y->bb[l][p] = random_floats(OUT[p] * R, 0.6f, module + 2);
            y->da[l][p] = mem_calloc((size_t)(R * IN[p]), sizeof(float));
            y->db[l][p] = mem_calloc((size_t)(OUT[p] * R), sizeof(float));
            y->w[l][p] = dense("w", y->weights[l][p], OUT[p], IN[p]);
        }
    }
    for (int i = 0; i < LAYERS * 2 + 1; i++) fill(y->norms[i], C, 1, 0.3f, 1000 + (uint32_t)i);
    fill(y->embedding, V * C, 0, 1, 2000);
    y->table = dense("embedding", y->embedding, V, C);
    for (int p = 0; p < T; p++)
        for (int i = 0; i < D / 2; i++) {
            y->cos_sin[p * D + i] = cosf((float)p / (float)(i + 1));
            y->cos_sin[p * D + D / 2 + i] = sinf((float)p / (float)(i + 1));
        }
    return y;
}

static void toy_free(Toy *y) {
    for (int l = 0; l < LAYERS; l++)
        for (int p = 0; p < PROJECTIONS; p++) {
            mem_free(y->weights[l][p]);
            mem_free(y->a[l][p]);
            mem_free(y->bb[l][p]);
            mem_free(y->da[l][p]);
            mem_free(y->db[l][p]);
        }
    tape_free(y->t);
    y->b->k->free(y->b, y->arena, y->arena_bytes);
    backend_close(y->b);
    mem_free(y);
}

static Tensor *project(Toy *y, int l, int p, Tensor *x, Tensor *residual, const int32_t *token) {
    bool grad = y->wants_grad;
    Lora lora = {.a = y->a[l][p],
                 .b = y->bb[l][p],
                 .da = grad ? y->da[l][p] : NULL,
                 .db = grad ? y->db[l][p] : NULL,
                 .rank = R,
                 .rows = OUT[p],
                 .scale = 1.5f,
                 .dropout = y->dropout,
                 .keys = {.key = {.seed = 5, .module = (uint32_t)(l * 10 + p)}, .index = token}};
    return op_linear(y->t, x, &y->w[l][p], residual, &lora, y->adapted[l] >> p & 1);
}

static AttentionShape toy_attention(bool narrow) {
    return (AttentionShape){.heads = H,
                            .kv_heads = KV,
                            .head_size = D,
                            .samples = SAMPLES,
                            .scale = 0.5f,
                            .q_start = narrow ? Q_START : START,
                            .k_start = START,
                            .k_len = LENGTH,
                            .q_pos = narrow ? Q_POS : POS};
}

static Tensor *rope(Tape *t, Tensor *x, const float *cos_sin, const int32_t *pos) {
    return op_rope(t, x, tensor_cols(x), &(RopeTable){cos_sin, pos, D, D, false});
}

static void toy_build(Toy *y) {
    Tape *t = y->t;
    tape_reset(t);
    Tensor *x = op_embed(t, &y->table, IDS, T, 1.25f);
    if (y->neftune > 0) x = op_neftune(t, x, MAGNITUDE, y->neftune, &(TokenKeys){.key = {.seed = 9}});
    for (int l = 0; l < LAYERS; l++) {
        bool narrow = l == LAYERS - 1;
        const int32_t *token = narrow ? SCORED_ROWS : NULL;
        if (y->checkpoint) tape_checkpoint_begin(t);
        Tensor *h = op_rmsnorm(t, x, y->norms[2 * l], 1e-5f);
        Tensor *k = rope(t, project(y, l, K, h, NULL, NULL), y->cos_sin, POS);
        Tensor *v = project(y, l, VAL, h, NULL, NULL);
        if (narrow) {
            h = op_gather_rows(t, h, SCORED_ROWS, SCORED);
            x = op_gather_rows(t, x, SCORED_ROWS, SCORED);
        }
        Tensor *q = rope(t, project(y, l, Q, h, NULL, token), y->cos_sin, narrow ? Q_POS : POS);
        AttentionShape s = toy_attention(narrow);
        x = project(y, l, O, op_attention(t, q, k, v, &s), x, token);
        h = op_rmsnorm(t, x, y->norms[2 * l + 1], 1e-5f);
        Tensor *gate = project(y, l, GATE, h, NULL, token), *up = project(y, l, UP, h, NULL, token);
        x = project(y, l, DOWN, op_glu(t, gate, up, GLU_SILU), x, token);
        if (y->checkpoint) tape_checkpoint_end(t);
    }
    HeadLoss head = {.targets = TARGET, .state = &UNSCALED, .label_smoothing = 0.1f};
    op_head_loss(t, op_rmsnorm(t, x, y->norms[2 * LAYERS], 1e-5f), &y->table, &head, &y->result);
}

// Runs one row; the arena is full of NaN before, so reading what nobody wrote shows.
static double toy_run(Toy *y, TapeMode mode) {
    toy_build(y);
    size_t bytes = tape_plan(y->t, mode);
    if (bytes > y->arena_bytes) {
        y->b->k->free(y->b, y->arena, y->arena_bytes);
        y->arena = y->b->k->alloc(y->b, y->arena_bytes = bytes);
    }
    memset(y->arena, 0xff, y->arena_bytes);
    for (int l = 0; l < LAYERS; l++)
        for (int p = 0; p < PROJECTIONS; p++) {
            memset(y->da[l][p], 0, (size_t)(R * IN[p]) * sizeof(float));
            memset(y->db[l][p], 0, (size_t)(OUT[p] * R) * sizeof(float));
        }
    tape_run(y->t, y->arena);
    return y->result.loss;
}

// Central differences on every third element of every adapter matrix against the analytic gradient.
static void check_gradients(Toy *y) {
    for (int l = 0; l < LAYERS; l++)
        for (int p = 0; p < PROJECTIONS; p++)
            for (int which = 0; which < 2; which++) {
                int n = which ? OUT[p] * R : R * IN[p];
                float *params = which ? y->bb[l][p] : y->a[l][p], *grads = which ? y->db[l][p] : y->da[l][p];
                float *grad = mem_alloc((size_t)n, sizeof *grad);
                toy_run(y, TAPE_TRAIN);
                memcpy(grad, grads, (size_t)n * sizeof *grad);
                double size = 0;
                for (int i = 0; i < n; i += 3) {
                    float old = params[i], eps = 2e-3f;
                    params[i] = old + eps;
                    double high = toy_run(y, TAPE_FORWARD);
                    params[i] = old - eps;
                    double low = toy_run(y, TAPE_FORWARD);
                    params[i] = old;
                    // 2e-3: float32 activations give the loss about 1e-6, divided by 2 eps = 4e-3; plus O(eps^2)
                    ASSERT_NEAR(grad[i], (high - low) / (2.0 * eps), 2e-3);
                    size += fabs((double)grad[i]);
                }
                if (y->adapted[l] >> p & 1) assert_true(size > 1e-2); // a gradient of nothing proves nothing
                mem_free(grad);
            }
}

static void test_tape_gradients_match_finite_differences(void **state) {
    (void)state;
    Toy *y = toy_new();
    check_gradients(y);
    toy_free(y);
}

static void test_tape_gradients_match_under_dropout_noise_and_checkpointing(void **state) {
    (void)state;
    Toy *y = toy_new();
    y->dropout = 0.3f;
    y->neftune = 2;
    y->checkpoint = true;
    check_gradients(y);
    toy_free(y);
}

static void test_tape_checkpointing_gives_the_same_bits_in_less_memory(void **state) {
    (void)state;
    Toy *plain = toy_new(), *again = toy_new();
    again->checkpoint = true;
    plain->dropout = again->dropout = 0.25f;
    double loss = toy_run(plain, TAPE_TRAIN);
    assert_true(loss == toy_run(again, TAPE_TRAIN));
    for (int l = 0; l < LAYERS; l++)
        for (int p = 0; p < PROJECTIONS; p++) {
            assert_memory_equal(plain->da[l][p], again->da[l][p], (size_t)(R * IN[p]) * sizeof(float));
            assert_memory_equal(plain->db[l][p], again->db[l][p], (size_t)(OUT[p] * R) * sizeof(float));
        }
    assert_true(tape_stats(again->t).kept_bytes < tape_stats(plain->t).kept_bytes / 2);
    assert_true(tape_stats(again->t).recompute_flops > 0);
    assert_true(tape_stats(plain->t).recompute_flops == 0);
    toy_free(plain);
    toy_free(again);
}

static void test_tape_evaluation_equals_training_loss_and_keeps_nothing(void **state) {
    (void)state;
    Toy *y = toy_new();
    double loss = toy_run(y, TAPE_TRAIN);
    assert_true(loss == toy_run(y, TAPE_FORWARD));
    assert_int_equal(tape_stats(y->t).kept_bytes, 0);
    toy_free(y);
}

// With q/v of the last block only: no backward below it, no product for k, and the head counts twice (logits and dx).
static void test_tape_walks_only_what_reaches_an_adapter(void **state) {
    (void)state;
    Toy *y = toy_new();
    y->adapted[0] = 0;
    y->adapted[1] = 1u << Q | 1u << VAL;
    toy_run(y, TAPE_TRAIN);
    double m = SCORED, block1 = 2 * m * (C * H * D + 3.0 * C * F);                  // dx of o, gate, up, down
    double lora = 2 * m * R * (2.0 * H * D + C) + 2.0 * T * R * (2.0 * KV * D + C); // dxa, dB, dA of q and v
    assert_true(tape_stats(y->t).backward_flops == block1 + lora);
    for (int i = 0; i < R * IN[Q]; i++) assert_true(y->da[0][Q][i] == 0);
    toy_free(y);
}

static void test_tape_allocates_nothing_after_the_first_row(void **state) {
    (void)state;
    Toy *y = toy_new();
    y->checkpoint = true;
    toy_run(y, TAPE_TRAIN);
    uint64_t before = mem_call_count();
    for (int i = 0; i < 3; i++) toy_run(y, TAPE_TRAIN);
    assert_int_equal(mem_call_count(), before);
    toy_free(y);
}

TEST_MAIN(TEST(test_tape_gradients_match_finite_differences),
          TEST(test_tape_gradients_match_under_dropout_noise_and_checkpointing),
          TEST(test_tape_checkpointing_gives_the_same_bits_in_less_memory),
          TEST(test_tape_evaluation_equals_training_loss_and_keeps_nothing),
          TEST(test_tape_walks_only_what_reaches_an_adapter), TEST(test_tape_allocates_nothing_after_the_first_row))
