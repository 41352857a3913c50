// A layer of routed experts on the tape: gradients of what lies below it by finite differences, through the experts
// and through the router; checkpointing bit for bit; what is counted and kept. On the reference backend.
#include <math.h>

#include "autograd.h"
#include "test.h"
#include "toy.h"

static const PassState UNSCALED = {.grad_scale = 1};

enum { T = 6, C = 8, F = 10, E = 5, USED = 2, V = 17, R = 2 };

// embedding -> adapted linear -> norm -> router and experts -> head.
typedef struct Toy {
    Backend *b;
    Tape *t;
    float embedding[V * C], linear[C * C], a[R * C], bb[C * R], da[R * C], db[C * R], norm[C], router[E * C];
    float gates[E * F * C], ups[E * F * C], downs[E * C * F];
    Weight w_embedding, w_linear, w_router, experts[3 * E];
    // Pairs of the experts: those of gate, up and down one after the other, A and B of each expert.
    float pairs[3 * E * R * (C + F)], dpairs[3 * E * R * (C + F)];
    bool checkpoint, frozen, adapts_experts, only_experts;
    MoeScores scores;
    bool read_again; // the experts' input is also their residual and is read once more after them
    HeadResult result;
    void *arena;
    size_t arena_bytes;
} Toy;

static const int32_t IDS[T] = {3, 1, 16, 7, 7, 0}, TARGETS[T] = {1, 16, 7, 7, 0, 5};

static Toy *toy_new(void) {
    Toy *y = mem_calloc(1, sizeof *y);
    Err err;
    ASSERT_OK(backend_open(&y->b, "ref", 1, &err), &err);
    y->t = tape_new(y->b);
    fill(y->embedding, V * C, 0, 1, 1);
    fill(y->linear, C * C, 0, 0.6f, 2);
    fill(y->a, R * C, 0, 0.6f, 3);
    fill(y->bb, C * R, 0, 0.6f, 4);
    fill(y->norm, C, 1, 0.3f, 5);
    fill(y->router, E * C, 0, 1, 6);
    fill(y->gates, E * F * C, 0, 0.6f, 7);
    fill(y->ups, E * F * C, 0, 0.6f, 8);
    fill(y->downs, E * C * F, 0, 0.6f, 9);
    fill(y->pairs, 3 * E * R * (C + F), 0, 0.6f, 10);
    y->w_embedding = dense("embedding", y->embedding, V, C);
    y->w_linear = dense("linear", y->linear, C, C);
    y->w_router = dense("router", y->router, E, C);
    for (int e = 0; e < E; e++) {
        y->experts[e] = dense("gate", y->gates + e * F * C, F, C);
        y->experts[E + e] = dense("up", y->ups + e * F * C, F, C);
        y->experts[2 * E + e] = dense("down", y->downs + e * C * F, C, F);
    }
    return y;
}

static void toy_free(Toy *y) {
    tape_free(y->t);
    y->b->k->free(y->b, y->arena, y->arena_bytes);
    backend_close(y->b);
    mem_free(y);
}

static Tensor *grouped(Toy *y, Tensor *x, int which, const MoeRouting *r) {
    int64_t cols = which == 2 ? F : C, at = which * E * R * (C + F);
    Lora l = {.a = y->pairs + at, .b = y->pairs + at + R * cols, .rank = R, .rows = C + F - cols, .scale = 0.75f};
    l.da = y->dpairs + at, l.db = l.da + R * cols;
    return op_grouped_linear(y->t, x, y->experts + which * E, r, y->adapts_experts ? &l : NULL);
}

static Tensor *build_experts(Toy *y, Tensor *h, Tensor *residual) {
    Tape *t = y->t;
    MoeRouting r = op_moe_route(t, op_linear(t, h, &y->w_router, NULL, NULL, 0), USED, y->scores);
    Tensor *x = op_moe_gather(t, h, &r);
    Tensor *gate = grouped(y, x, 0, &r), *up = grouped(y, x, 1, &r);
    x = op_moe_scale(t, op_glu(t, gate, up, GLU_SILU), &r);
    return op_moe_combine(t, grouped(y, x, 2, &r), residual, &r);
}

static double toy_run(Toy *y, TapeMode mode) {
    Tape *t = y->t;
    Lora lora = {.a = y->a, .b = y->bb, .rank = R, .rows = C, .scale = 1.5f};
    if (!y->frozen && !y->only_experts) lora.da = y->da, lora.db = y->db;
    tape_reset(t);
    Tensor *x = op_linear(t, op_embed(t, &y->w_embedding, IDS, T, 1), &y->w_linear, NULL, &lora, 1);
    if (y->checkpoint) tape_checkpoint_begin(t);
    Tensor *h = op_rmsnorm(t, x, y->norm, 1e-5f);
    x = build_experts(y, h, y->read_again ? h : x);
    if (y->read_again) x = op_add(t, h, x);
    if (y->checkpoint) tape_checkpoint_end(t);
    op_head_loss(t, x, &y->w_embedding, &(HeadLoss){.targets = TARGETS, .state = &UNSCALED}, &y->result);
    size_t bytes = tape_plan(t, mode);
    if (bytes > y->arena_bytes) {
        y->b->k->free(y->b, y->arena, y->arena_bytes);
        y->arena = y->b->k->alloc(y->b, y->arena_bytes = bytes);
    }
    memset(y->arena, 0xff, y->arena_bytes); // NaN: reading what nobody wrote shows
    memset(y->da, 0, sizeof y->da);
    memset(y->db, 0, sizeof y->db);
    memset(y->dpairs, 0, sizeof y->dpairs);
    tape_run(t, y->arena);
    return y->result.loss;
}

static void check_parameter(Toy *y, float *param, const float *grad, int n) {
    AUTO_FREE float *want = mem_alloc((size_t)n, sizeof *want);
    toy_run(y, TAPE_TRAIN);
    memcpy(want, grad, (size_t)n * sizeof *want);
    for (int i = 0; i < n; i++) {
        float old = param[i], eps = 1e-3f;
        param[i] = old + eps;
        double high = toy_run(y, TAPE_FORWARD);
        param[i] = old - eps;
        double low = toy_run(y, TAPE_FORWARD);
        param[i] = old;
        ASSERT_NEAR(want[i], (high - low) / (2.0 * eps), 4e-3); // float32 activations: the loss is exact to about 2e-6
    }
}

static void test_tape_moe_gradients_match_finite_differences(void **state) {
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        Toy *y = toy_new();
        y->scores = variant & 1 ? MOE_RENORMALISED : MOE_SOFTMAX;
        y->checkpoint = variant & 2;
        y->read_again = variant & 4;
        check_parameter(y, y->a, y->da, R * C);
        check_parameter(y, y->bb, y->db, R * C);
        toy_free(y);
    }
}

static void test_tape_moe_adapters_on_experts(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        Toy *y = toy_new();
        y->adapts_experts = true;
        y->only_experts = variant & 1; // no gradient below them
        y->checkpoint = variant & 2;
        check_parameter(y, y->pairs, y->dpairs, 3 * E * R * (C + F));
        if (!y->only_experts) check_parameter(y, y->a, y->da, R * C);
        toy_free(y);
    }
}

// The router is worth a test of its own: without its gradient the sum would be visibly off.
static void test_tape_moe_router_carries_a_gradient_that_matters(void **state) {
    (void)state;
    Toy *y = toy_new();
    toy_run(y, TAPE_TRAIN);
    float with[R * C];
    memcpy(with, y->da, sizeof with);
    memset(y->router, 0, sizeof y->router); // equal weights: no gradient passes through the router
    toy_run(y, TAPE_TRAIN);
    double difference = 0;
    for (int i = 0; i < R * C; i++) difference += fabs((double)with[i] - (double)y->da[i]);
    assert_true(difference > 0.1);
    toy_free(y);
}

static void test_tape_moe_checkpointing_gives_the_same_bits(void **state) {
    (void)state;
    Toy *plain = toy_new(), *again = toy_new();
    again->checkpoint = true;
    assert_true(toy_run(plain, TAPE_TRAIN) == toy_run(again, TAPE_TRAIN));
    assert_memory_equal(plain->da, again->da, sizeof plain->da);
    assert_memory_equal(plain->db, again->db, sizeof plain->db);
    assert_true(tape_stats(again->t).kept_bytes < tape_stats(plain->t).kept_bytes);
    double up = 2.0 * T * USED * F * C, router = 2.0 * T * E * C;
    assert_true(tape_stats(again->t).recompute_flops == 2 * up + router); // the last product is not recomputed
    toy_free(plain);
    toy_free(again);
}

static void test_tape_moe_counts_the_chosen_experts_only(void **state) {
    (void)state;
    Toy *y = toy_new();
    toy_run(y, TAPE_TRAIN);
    double experts = 3 * 2.0 * T * USED * F * C, router = 2.0 * T * E * C, head = 2.0 * T * V * C;
    double linear = 2.0 * T * C * C, lora = 2 * 2.0 * T * C * R;
    assert_true(tape_stats(y->t).forward_flops == experts + router + linear + lora + 2 * head);
    assert_true(tape_stats(y->t).backward_flops == experts + router + 2 * lora - 2.0 * T * C * R);
    y->frozen = true;
    toy_run(y, TAPE_TRAIN);
    assert_true(tape_stats(y->t).backward_flops == 0);
    toy_free(y);
}

static void test_tape_moe_allocates_nothing_after_the_first_row(void **state) {
    (void)state;
    Toy *y = toy_new();
    y->checkpoint = true;
    toy_run(y, TAPE_TRAIN);
    uint64_t before = mem_call_count();
    for (int i = 0; i < 3; i++) toy_run(y, TAPE_TRAIN);
    assert_int_equal(mem_call_count(), before);
    toy_free(y);
}

TEST_MAIN(TEST(test_tape_moe_gradients_match_finite_differences), TEST(test_tape_moe_adapters_on_experts),
          TEST(test_tape_moe_router_carries_a_gradient_that_matters),
          TEST(test_tape_moe_checkpointing_gives_the_same_bits), TEST(test_tape_moe_counts_the_chosen_experts_only),
          TEST(test_tape_moe_allocates_nothing_after_the_first_row))
