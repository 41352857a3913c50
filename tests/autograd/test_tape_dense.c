// The ops of families other than Llama on the tape: a block with sandwich norms, query and key norms, partial rope and
// soft-caps, one as BERT has it, and sums in every way a gradient's memory may or may not be shared. Gradients by
// finite differences, checkpointing bit for bit. On the reference backend.
#include <math.h>

#include "autograd.h"
#include "test.h"
#include "toy.h"

static const PassState UNSCALED = {.grad_scale = 1};

enum { T = 6, C = 8, H = 2, D = 4, F = 10, V = 17, R = 2, CLASSES = 3, SAMPLES = 2, LINEARS = 7 };
enum { Q, K, VAL, O, UP, DOWN, EXTRA };
typedef enum { GEMMA, BERT, SUMS } Graph;

typedef struct Toy {
    Backend *b;
    Tape *t;
    Graph graph;
    bool checkpoint, dora;
    float embedding[V * C], positions[T * C], types[2 * C], weights[LINEARS][F * C], norms[6][C], biases[6][C];
    float head_norm[D], cos_sin[T * 2];
    float a[LINEARS][R * F], bb[LINEARS][F * R], da[LINEARS][R * F], db[LINEARS][F * R];
    float m[LINEARS][F], dm[LINEARS][F], norm[LINEARS][F], bias[F];
    float head[CLASSES * C], head_bias[CLASSES], dhead[CLASSES * C], dhead_bias[CLASSES];
    Weight table, position_table, type_table, linears[LINEARS];
    HeadResult result;
    void *arena;
    size_t arena_bytes;
} Toy;

static const int32_t IDS[T] = {3, 1, 16, 7, 7, 0}, TARGETS[T] = {1, 16, 7, 7, 0, 5}, TYPES[T] = {0, 1, 1, 0, 0, 1};
static const int32_t POS[T] = {0, 1, 2, 0, 1, 2}, START[SAMPLES + 1] = {0, 3, 6}, LENGTH[SAMPLES] = {3, 3};
static const int32_t FIRST[SAMPLES] = {0, 3}, LABELS[SAMPLES] = {2, 0};
static const int OUT[LINEARS] = {C, C, C, C, F, C, C}, IN[LINEARS] = {C, C, C, C, C, F, C};

static Toy *toy_new(Graph graph) {
    Toy *y = mem_calloc(1, sizeof *y);
    Err err;
    ASSERT_OK(backend_open(&y->b, "ref", 1, &err), &err);
    y->t = tape_new(y->b);
    y->graph = graph;
    fill(y->embedding, V * C, 0, 1, 1);
    fill(y->positions, T * C, 0, 0.5f, 2);
    fill(y->types, 2 * C, 0, 0.5f, 3);
    fill(y->head_norm, D, 1, 0.3f, 4);
    fill(y->bias, F, 0, 0.5f, 7);
    fill(y->head, CLASSES * C, 0, 1, 5);
    fill(y->head_bias, CLASSES, 0, 1, 6);
    for (uint32_t i = 0; i < 6; i++) {
        fill(y->norms[i], C, 1, 0.3f, 10 + i);
        fill(y->biases[i], C, 0, 0.3f, 20 + i);
    }
    for (uint32_t i = 0; i < LINEARS; i++) {
        fill(y->weights[i], F * C, 0, 0.6f, 30 + i);
        fill(y->a[i], R * F, 0, 0.6f, 40 + i);
        fill(y->bb[i], F * R, 0, 0.6f, 50 + i);
        y->linears[i] = dense("linear", y->weights[i], OUT[i], IN[i]);
        fill(y->m[i], F, 1, 0.3f, 60 + i);
        fill(y->norm[i], F, 1.1f, 0.3f, 70 + i);
    }
    for (int p = 0; p < T; p++) {
        y->cos_sin[p * 2] = 1.1f * cosf((float)p);
        y->cos_sin[p * 2 + 1] = 1.1f * sinf((float)p);
    }
    y->table = dense("embedding", y->embedding, V, C);
    y->position_table = dense("positions", y->positions, T, C);
    y->type_table = dense("types", y->types, 2, C);
    return y;
}

static void toy_free(Toy *y) {
    tape_free(y->t);
    y->b->k->free(y->b, y->arena, y->arena_bytes);
    backend_close(y->b);
    mem_free(y);
}

static Tensor *project(Toy *y, int i, Tensor *x, Tensor *residual) {
    Lora lora = {.a = y->a[i], .b = y->bb[i], .da = y->da[i], .db = y->db[i], .rank = R, .rows = OUT[i], .scale = 1.5f};
    lora.magnitude = y->m[i], lora.norm = y->norm[i], lora.dmagnitude = y->dm[i];
    if (!y->dora) return op_linear(y->t, x, &y->linears[i], residual, &lora, 1);
    y->linears[i].bias = y->bias;
    Tensor *out = op_dora(y->t, op_linear(y->t, x, &y->linears[i], NULL, &lora, 1), y->bias, &lora, 1);
    return residual ? op_add(y->t, residual, out) : out;
}

static Tensor *attend(Toy *y, Tensor *q, Tensor *k, Tensor *v) {
    AttentionShape s = {.heads = H, .kv_heads = H, .head_size = D, .samples = SAMPLES, .scale = 0.5f};
    s.q_start = s.k_start = START;
    s.k_len = LENGTH;
    s.q_pos = POS;
    s.softcap = y->graph == GEMMA ? 1.5f : 0;
    s.bidirectional = y->graph == BERT;
    return op_attention(y->t, q, k, v, &s);
}

// Norms before and after attention and feed-forward, norms of queries and keys, RoPE on half of a head.
static Tensor *gemma_block(Toy *y, Tensor *x) {
    Tape *t = y->t;
    Tensor *h = op_rmsnorm(t, x, y->norms[0], 1e-5f);
    Tensor *k = op_head_rmsnorm(t, project(y, K, h, NULL), y->head_norm, 1e-5f, D), *v = project(y, VAL, h, NULL);
    Tensor *q = op_head_rmsnorm(t, project(y, Q, h, NULL), y->head_norm, 1e-5f, D);
    k = op_rope(t, k, tensor_cols(k), &(RopeTable){y->cos_sin, POS, D, 2, true});
    q = op_rope(t, q, tensor_cols(q), &(RopeTable){y->cos_sin, POS, D, 2, true});
    x = op_add(t, x, op_rmsnorm(t, project(y, O, attend(y, q, k, v), NULL), y->norms[1], 1e-5f));
    h = op_rmsnorm(t, x, y->norms[2], 1e-5f);
    h = project(y, DOWN, op_activation(t, project(y, UP, h, NULL), ACTIVATION_GELU_TANH), NULL);
    return op_add(t, x, op_rmsnorm(t, h, y->norms[3], 1e-5f));
}

static Tensor *bert_block(Toy *y, Tensor *x) {
    Tape *t = y->t;
    Tensor *q = project(y, Q, x, NULL), *k = project(y, K, x, NULL), *v = project(y, VAL, x, NULL);
    x = op_layernorm(t, project(y, O, attend(y, q, k, v), x), y->norms[0], y->biases[0], 1e-5f);
    Tensor *up = op_activation(t, project(y, UP, x, NULL), ACTIVATION_GELU);
    return op_layernorm(t, project(y, DOWN, up, x), y->norms[1], y->biases[1], 1e-5f);
}

// Behind the first sum the gradients may share memory; in the others not: b reads a; b was not made last; b's producer
// works in its output's gradient; b's producer hands its gradient on to another tensor.
static Tensor *sums(Toy *y, Tensor *x) {
    Tape *t = y->t;
    Tensor *a = project(y, Q, x, NULL);
    x = op_add(t, a, project(y, K, x, NULL));
    x = op_add(t, x, project(y, VAL, x, NULL));
    Tensor *b = op_layernorm(t, x, y->norms[0], y->biases[0], 1e-5f);
    a = project(y, O, x, NULL);
    x = op_add(t, a, b);
    a = project(y, UP, x, NULL);
    x = op_add(t, x, project(y, DOWN, op_add(t, a, op_activation(t, project(y, UP, x, NULL), ACTIVATION_SILU)), NULL));
    a = op_rmsnorm(t, x, y->norms[2], 1e-5f);
    return op_add(t, a, project(y, EXTRA, op_rmsnorm(t, x, y->norms[3], 1e-5f), x));
}

static double toy_run(Toy *y, TapeMode mode) {
    Tape *t = y->t;
    tape_reset(t);
    Tensor *x = op_embed(t, &y->table, IDS, T, 1.25f);
    x = op_embed_add(t, op_embed_add(t, x, &y->position_table, POS), &y->type_table, TYPES);
    x = project(y, EXTRA, x, NULL); // so that all that follows carries a gradient
    if (y->checkpoint) tape_checkpoint_begin(t);
    x = (y->graph == GEMMA ? gemma_block : y->graph == BERT ? bert_block : sums)(y, x);
    if (y->checkpoint) tape_checkpoint_end(t);
    ClassHead head = {.w = y->head, .bias = y->head_bias, .dw = y->dhead, .dbias = y->dhead_bias, .labels = LABELS};
    head.classes = CLASSES;
    head.state = &UNSCALED;
    if (y->graph == BERT)
        op_class_loss(t, op_activation(t, op_gather_rows(t, x, FIRST, SAMPLES), ACTIVATION_TANH), &head, &y->result);
    else
        op_head_loss(t, x, &y->table,
                     &(HeadLoss){.targets = TARGETS, .state = &UNSCALED, .label_smoothing = 0.1f, .softcap = 3},
                     &y->result);
    size_t bytes = tape_plan(t, mode);
    if (bytes > y->arena_bytes) {
        y->b->k->free(y->b, y->arena, y->arena_bytes);
        y->arena = y->b->k->alloc(y->b, y->arena_bytes = bytes);
    }
    memset(y->arena, 0xff, y->arena_bytes); // NaN: reading what nobody wrote shows
    memset(y->da, 0, sizeof y->da);
    memset(y->db, 0, sizeof y->db);
    memset(y->dm, 0, sizeof y->dm);
    memset(y->dhead, 0, sizeof y->dhead);
    memset(y->dhead_bias, 0, sizeof y->dhead_bias);
    tape_run(t, y->arena);
    return y->result.loss;
}

// Central differences on every third element of a parameter against its gradient.
static void check_parameter(Toy *y, float *param, const float *grad, int n) {
    float want[R * F + CLASSES * C];
    toy_run(y, TAPE_TRAIN);
    memcpy(want, grad, (size_t)n * sizeof *want);
    for (int i = 0; i < n; i += 3) {
        float old = param[i], eps = 2e-3f;
        param[i] = old + eps;
        double high = toy_run(y, TAPE_FORWARD);
        param[i] = old - eps;
        double low = toy_run(y, TAPE_FORWARD);
        param[i] = old;
        // 3e-3 of gradients near 1: float32 activations give the loss about 2e-6, divided by 2 eps; plus O(eps^2)
        ASSERT_NEAR(want[i], (high - low) / (2.0 * (double)eps), 3e-3 * fmax(1, fabs((double)want[i])));
    }
}

static void check_gradients(Graph graph, bool checkpoint, bool dora) {
    Toy *y = toy_new(graph);
    y->checkpoint = checkpoint;
    y->dora = dora;
    for (int i = 0; i < LINEARS; i++) {
        check_parameter(y, y->a[i], y->da[i], R * IN[i]);
        check_parameter(y, y->bb[i], y->db[i], OUT[i] * R);
        if (dora) check_parameter(y, y->m[i], y->dm[i], OUT[i]);
    }
    if (graph == BERT) {
        check_parameter(y, y->head, y->dhead, CLASSES * C);
        check_parameter(y, y->head_bias, y->dhead_bias, CLASSES);
    }
    toy_free(y);
}

static void test_tape_dense_gradients_match_finite_differences(void **state) {
    (void)state;
    for (Graph graph = GEMMA; graph <= SUMS; graph++)
        for (int i = 0; i < 4; i++) check_gradients(graph, i % 2, i / 2);
}

static void test_tape_dense_checkpointing_gives_the_same_bits(void **state) {
    (void)state;
    for (int i = 0; i < 2 * (SUMS + 1); i++) {
        Toy *plain = toy_new(i / 2), *again = toy_new(i / 2);
        again->checkpoint = true;
        plain->dora = again->dora = i % 2;
        assert_true(toy_run(plain, TAPE_TRAIN) == toy_run(again, TAPE_TRAIN));
        assert_memory_equal(plain->da, again->da, sizeof plain->da);
        assert_memory_equal(plain->db, again->db, sizeof plain->db);
        assert_memory_equal(plain->dm, again->dm, sizeof plain->dm);
        assert_true(tape_stats(again->t).kept_bytes < tape_stats(plain->t).kept_bytes);
        toy_free(plain);
        toy_free(again);
    }
}

// Evaluation gives the same loss and leaves the head's gradient alone.
static void test_tape_dense_evaluation(void **state) {
    (void)state;
    Toy *y = toy_new(BERT);
    double loss = toy_run(y, TAPE_TRAIN);
    assert_true(y->dhead[0] != 0);
    assert_true(loss == toy_run(y, TAPE_FORWARD));
    assert_true(y->dhead[0] == 0);
    toy_free(y);
}

TEST_MAIN(TEST(test_tape_dense_gradients_match_finite_differences),
          TEST(test_tape_dense_checkpointing_gives_the_same_bits), TEST(test_tape_dense_evaluation))
