// Finite differences of the mixture of experts' ops (gradcheck.h).
#include "gradcheck.h"

enum { T = 5, E = 6, USED = 3, ROWS = T * USED, N = 11, K = 13 };

// Inputs x and y, what the loss is weighted with, gradients; W of all experts in w.
typedef struct Context {
    Backend b;
    float x[MAX_ELEMENTS], y[MAX_ELEMENTS], w[MAX_ELEMENTS], dout[MAX_ELEMENTS], out[MAX_ELEMENTS];
    float dx[MAX_ELEMENTS], dy[MAX_ELEMENTS];
    double ws[4 * MAX_ELEMENTS];
    int32_t plan_memory[MAX_ELEMENTS];
    MoePlan plan;
    Weight experts[E];
    MoeScores scores;
} Context;

static double route_loss(void *context) {
    Context *c = context;
    kernels_ref.moe_route_forward(&c->b, mat(c->out, T, USED), &c->plan, mat(c->x, T, E), c->scores);
    return dot(c->out, c->dout, ROWS);
}

// With a plan that x has made.
static Context *new_context(void) {
    Context *c = mem_calloc(1, sizeof *c);
    c->b = ref();
    fill(c->x, MAX_ELEMENTS, 1);
    fill(c->y, MAX_ELEMENTS, 2);
    fill(c->w, MAX_ELEMENTS, 3);
    fill(c->dout, MAX_ELEMENTS, 4);
    c->plan = moe_plan_at(c->plan_memory, T, E, USED);
    for (int e = 0; e < E; e++)
        c->experts[e] = (Weight){"w", {{.data = c->w + e * N * K, .dtype = DTYPE_F32, .rows = N}}, 1, N, K, NULL, NULL};
    route_loss(c);
    return c;
}

static void test_kernels_grad_moe_route(void **state) {
    (void)state;
    for (MoeScores scores = MOE_SOFTMAX; scores <= MOE_SIGMOID; scores++) {
        Context *c = new_context();
        c->scores = scores;
        kernels_ref.moe_route_backward(&c->b, mat(c->dx, T, E), mat(c->dout, T, USED), mat(c->x, T, E), &c->plan,
                                       scores);
        check_gradient("route dlogits", route_loss, c, c->x, c->dx, T * E);
        mem_free(c);
    }
}

static double gather_loss(void *context) {
    Context *c = context;
    kernels_ref.moe_gather(&c->b, mat(c->out, ROWS, K), mat(c->x, T, K), &c->plan);
    return dot(c->out, c->dout, ROWS * K);
}

static double combine_loss(void *context) {
    Context *c = context;
    kernels_ref.moe_combine(&c->b, mat(c->out, T, K), mat(c->x, ROWS, K), mat(c->y, T, K), &c->plan);
    return dot(c->out, c->dout, T * K);
}

// Each is the other's backward.
static void test_kernels_grad_moe_gather_and_combine(void **state) {
    (void)state;
    Context *c = new_context();
    kernels_ref.moe_combine(&c->b, mat(c->dx, T, K), mat(c->dout, ROWS, K), (Mat){0}, &c->plan);
    check_gradient("gather dx", gather_loss, c, c->x, c->dx, T * K);
    kernels_ref.moe_gather(&c->b, mat(c->dx, ROWS, K), mat(c->dout, T, K), &c->plan);
    check_gradient("combine dx", combine_loss, c, c->x, c->dx, ROWS * K);
    check_gradient("combine dresidual", combine_loss, c, c->y, c->dout, T * K);
    mem_free(c);
}

static double scale_loss(void *context) {
    Context *c = context;
    memcpy(c->out, c->x, sizeof c->out);
    kernels_ref.moe_scale_forward(&c->b, mat(c->out, ROWS, K), mat(c->y, T, USED), &c->plan);
    return dot(c->out, c->dout, ROWS * K);
}

static void test_kernels_grad_moe_scale(void **state) {
    (void)state;
    Context *c = new_context();
    memcpy(c->dx, c->dout, sizeof c->dx);
    kernels_ref.moe_scale_backward(&c->b, mat(c->dx, ROWS, K), mat(c->dy, T, USED), mat(c->x, ROWS, K),
                                   mat(c->y, T, USED), &c->plan);
    check_gradient("scale dx", scale_loss, c, c->x, c->dx, ROWS * K);
    check_gradient("scale dweights", scale_loss, c, c->y, c->dy, ROWS);
    mem_free(c);
}

// bias in w, weights in y.
static double bias_loss(void *context) {
    Context *c = context;
    kernels_ref.moe_bias_forward(&c->b, mat(c->out, T, K), mat(c->x, T, K), mat(c->y, T, USED), c->w, &c->plan);
    return dot(c->out, c->dout, T * K);
}

static void test_kernels_grad_moe_bias(void **state) {
    (void)state;
    Context *c = new_context();
    for (int i = 0; i < ROWS; i++) c->dy[i] = 3;
    kernels_ref.moe_bias_backward(&c->b, mat(c->dy, T, USED), mat(c->dout, T, K), c->w, &c->plan);
    for (int i = 0; i < ROWS; i++) c->dy[i] -= 3;
    check_gradient("bias dweights", bias_loss, c, c->y, c->dy, ROWS);
    check_gradient("bias dx", bias_loss, c, c->x, c->dout, T * K);
    mem_free(c);
}

static double grouped_loss(void *context) {
    Context *c = context;
    kernels_ref.grouped_linear_forward(&c->b, mat(c->out, ROWS, N), mat(c->x, ROWS, K), c->experts, &c->plan, c->ws);
    return dot(c->out, c->dout, ROWS * N);
}

static void test_kernels_grad_grouped_linear(void **state) {
    (void)state;
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        Context *c = new_context();
        for (int i = 0; i < ROWS * K; i++) c->dx[i] = 3;
        kernels_ref.grouped_linear_backward(&c->b, mat(c->dx, ROWS, K), mat(c->dout, ROWS, N), c->experts, &c->plan,
                                            accumulate, c->ws);
        for (int i = 0; i < ROWS * K && accumulate; i++) c->dx[i] -= 3;
        check_gradient("grouped_linear dx", grouped_loss, c, c->x, c->dx, ROWS * K);
        mem_free(c);
    }
}

TEST_MAIN(TEST(test_kernels_grad_moe_route), TEST(test_kernels_grad_moe_gather_and_combine),
          TEST(test_kernels_grad_moe_scale), TEST(test_kernels_grad_moe_bias), TEST(test_kernels_grad_grouped_linear))
