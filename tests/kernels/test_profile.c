// The profile of a backend: every op is measured, with the FLOP and bytes that follow from its shapes.
#include "profile.h"
#include "test.h"

#include <string.h>

static Backend *profiled(void) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 2, &err), &err);
    profile_start(b);
    return b;
}

// A new op needs a row, or its time would be charged to what calls it.
static void test_profile_measures_every_op(void **state) {
    (void)state;
    static const char *const unmeasured[] = {"weight_keep", "weight_finite", "expand", "pack"}; // not in steps
    enum { UNMEASURED = sizeof unmeasured / sizeof *unmeasured };
    Backend *b = profiled();
    const Profile *p = profile_of(b);
    int untimed = 0;
#define CHECK_SLOT(slot)                                                                                               \
    if (b->k->slot == p->inner->slot && !ends_with(#slot, "_workspace")) {                                             \
        if (untimed == UNMEASURED || strcmp(#slot, unmeasured[untimed])) fail_msg("%s is not measured", #slot);        \
        untimed++;                                                                                                     \
    }
    OP_SLOTS(CHECK_SLOT)
    assert_int_equal(untimed, UNMEASURED);
    for (ProfileRow row = 0; row < PROFILE_ROWS; row++) assert_non_null(profile_row_name(row));
    backend_close(b);
}

static void test_profile_counts_products(void **state) {
    (void)state;
    enum { T = 4, K = 64, N = 32 };
    Backend *b = profiled();
    float *data = b->k->alloc(b, N * K * sizeof *data), *in = b->k->alloc(b, T * K * sizeof *in),
          *out = b->k->alloc(b, T * N * sizeof *out);
    Weight w = {.name = "w", .segments = {{.data = data, .dtype = DTYPE_F32, .rows = N}}, 1, N, K, NULL};
    Mat x = mat_of(in, DTYPE_F32, T, K), y = mat_of(out, DTYPE_F32, T, N);
    size_t bytes = b->k->linear_workspace(b, &w, T);
    void *ws = b->k->alloc(b, bytes);
    b->k->linear_forward(b, y, x, &w, (Mat){0}, ws);
    b->k->linear_forward(b, y, x, &w, y, ws);
    b->k->linear_backward(b, x, y, &w, false, ws);
    const ProfileTotal *forward = &profile_of(b)->rows[PROFILE_linear_forward];
    const ProfileTotal *backward = &profile_of(b)->rows[PROFILE_linear_backward];
    assert_int_equal(forward->calls, 2);
    assert_true(forward->ns > 0);
    assert_true(forward->flop == 2 * 2.0 * T * N * K);
    assert_true(forward->bytes == 4.0 * (2 * (T * K + T * N + N * K) + T * N)); // the residual is read too
    assert_int_equal(backward->calls, 1);
    assert_true(backward->flop == 2.0 * T * N * K);
    b->k->free(b, ws, bytes);
    b->k->free(b, out, T * N * sizeof *out);
    b->k->free(b, in, T * K * sizeof *in);
    b->k->free(b, data, N * K * sizeof *data);
    backend_close(b);
}

static double attention_flop(int64_t window, bool bidirectional) {
    enum { T = 8, H = 2, D = 4 };
    const int32_t q_start[] = {0, 3, T}, k_start[] = {0, 3}, k_len[] = {3, 5}, q_pos[] = {0, 1, 2, 0, 1, 2, 3, 4};
    AttentionShape s = {H, H, D, 2, q_start, k_start, k_len, q_pos, window, 1, 0, bidirectional, NULL, 5};
    float q[T * H * D] = {0}, k[T * H * D] = {0}, v[T * H * D] = {0}, out[T * H * D], lse[T * H];
    Backend *b = profiled();
    AttentionCall c = {.shape = &s,
                       .q = mat_of(q, DTYPE_F32, T, H * D),
                       .k = mat_of(k, DTYPE_F32, T, H * D),
                       .v = mat_of(v, DTYPE_F32, T, H * D),
                       .out = mat_of(out, DTYPE_F32, T, H * D),
                       .lse = mat_of(lse, DTYPE_F32, T, H)};
    size_t bytes = b->k->attention_workspace(b, &s, c.q, c.k, false);
    c.ws = b->k->alloc(b, bytes);
    b->k->attention_forward(b, &c);
    double flop = profile_of(b)->rows[PROFILE_attention_forward].flop;
    b->k->free(b, c.ws, bytes);
    backend_close(b);
    return flop / (4 * H * D);
}

// Pairs of a query and a key that the masks leave, in samples of 3 and 5 tokens.
static void test_profile_counts_what_masks_leave(void **state) {
    (void)state;
    assert_true(attention_flop(0, false) == 6 + 15);
    assert_true(attention_flop(2, false) == 5 + 9);
    assert_true(attention_flop(0, true) == 9 + 25);
}

// Every moment is in one row; an evaluation is one row with all that it calls.
static void test_profile_charges_each_moment_once(void **state) {
    (void)state;
    float data[64];
    double begin = time_now();
    Backend *b = profiled();
    profile_begin(b, PROFILE_STEP);
    b->k->zero(b, data, sizeof data);
    for (double start = time_now(); time_now() < start + 0.01;) {
    }
    profile_begin(b, PROFILE_GRAPH);
    for (double start = time_now(); time_now() < start + 0.02;) {
    }
    profile_end(b);
    profile_end(b);
    profile_begin(b, PROFILE_EVALUATION);
    b->k->zero(b, data, sizeof data);
    for (double start = time_now(); time_now() < start + 0.01;) {
    }
    profile_end(b);
    double all = time_now() - begin, sum = 0;
    const Profile *p = profile_of(b);
    for (ProfileRow row = 0; row < PROFILE_ROWS; row++) sum += (double)p->rows[row].ns * 1e-9;
    assert_true(sum >= 0.04 && sum <= all);
    assert_int_equal(p->rows[PROFILE_zero].calls, 1);
    assert_int_equal(p->rows[PROFILE_STEP].calls, 1);
    assert_true(p->rows[PROFILE_STEP].ns >= 10000000 && p->rows[PROFILE_GRAPH].ns >= 20000000);
    assert_true(p->rows[PROFILE_EVALUATION].ns >= 10000000);
    assert_int_equal(p->n_events, 5);
    assert_true(p->events[2].row == PROFILE_STEP && p->events[2].ns >= p->events[1].ns + 10000000);
    profile_reset(b);
    assert_true(p->n_events == 0 && p->rows[PROFILE_STEP].calls == 0);
    backend_close(b);
}

// Later calls are counted and said to be missing from the trace.
static void test_profile_keeps_the_first_events(void **state) {
    (void)state;
    float data[4];
    Backend *b = profiled();
    for (int i = 0; i < PROFILE_EVENTS + 3; i++) b->k->zero(b, data, sizeof data);
    const Profile *p = profile_of(b);
    assert_true(p->n_events == PROFILE_EVENTS && p->lost_events == 3);
    assert_int_equal(p->rows[PROFILE_zero].calls, PROFILE_EVENTS + 3);
    backend_close(b);
}

TEST_MAIN(TEST(test_profile_measures_every_op), TEST(test_profile_counts_products),
          TEST(test_profile_counts_what_masks_leave), TEST(test_profile_charges_each_moment_once),
          TEST(test_profile_keeps_the_first_events))
