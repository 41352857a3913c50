// opcases_moe: routing of tokens to experts, and their products.
#include "opcheck.h"

// Errors of a few roundings, relative to each element; elements are of about the output's root mean square.
static const double FEW = 2e-6;
// For blocks that are rounded to the activation type, as in opcases_matmul.
static const double PRODUCT = 4, TWO_PRODUCTS = 8;

// A plan that is the same on every backend: choices are spread by hashing, or go to the first experts alone.
static MoePlan given_plan(OpRun *r) {
    int64_t t = r->size.t, experts = r->size.experts, used = r->size.used, size = moe_plan_size(t, experts, used);
    int32_t *host = mem_calloc((size_t)size, sizeof *host), row = 0;
    CHECK(host); // moe_plan_at takes NULL too
    MoePlan p = moe_plan_at(host, t, experts, used);
    for (int64_t i = 0; i < t * used; i++) {
        int64_t first = r->size.uneven ? 0 : (i / used * 2654435761 >> 7) % experts;
        p.expert[i] = (int32_t)((first + i % used) % experts);
    }
    for (int32_t e = 0; e < experts; e++) {
        p.offset[e] = row;
        for (int64_t i = 0; i < t * used; i++)
            if (p.expert[i] == e) p.row[i] = row, p.choice[row++] = (int32_t)i;
    }
    p.offset[experts] = row;
    p = moe_plan_at(op_copy(r, host, (size_t)size * sizeof *host), t, experts, used);
    mem_free(host);
    return p;
}

static void route(OpRun *r, Mat logits) {
    int64_t t = r->size.t, used = r->size.used, size = moe_plan_size(t, r->size.experts, used);
    Mat weights = op_output_f32(r, "weights", t, used, FEW);
    void *memory = op_output_bytes(r, "plan", (size_t)size * sizeof(int32_t), OP_EXACT, 0, NULL);
    MoePlan plan = moe_plan_at(memory, t, r->size.experts, used);
    OP_CALL(r, moe_route_forward, weights, &plan, logits, (MoeScores)r->size.scores);
}

static void case_moe_route_forward(OpRun *r) { route(r, op_input(r, r->size.t, r->size.experts)); }

// Many equal logits, both zeros, infinities among them.
static void case_moe_route_ties(OpRun *r) {
    int64_t n = r->size.t * r->size.experts;
    static const float values[] = {0, -0.0f, 1, 1, 2, -3, -INFINITY};
    AUTO_FREE float *x = mem_alloc((size_t)n, sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = i % r->size.experts ? values[(i * 2654435761 >> 9) % 7] : 2;
    route(r, op_values(r, x, r->size.t, r->size.experts));
}

static void case_moe_route_backward(OpRun *r) {
    MoePlan plan = given_plan(r);
    Mat dweights = op_input_f32(r, plan.tokens, plan.used), logits = op_input(r, plan.tokens, plan.experts);
    // Most elements may be zeros, which makes the root mean square small: ten times FEW.
    Mat dlogits = op_output(r, "dlogits", plan.tokens, plan.experts, 10 * FEW);
    OP_CALL(r, moe_route_backward, dlogits, dweights, logits, &plan, (MoeScores)r->size.scores);
}

static void case_moe_gather(OpRun *r) {
    MoePlan plan = given_plan(r);
    Mat x = op_input(r, plan.tokens, r->size.k);
    OP_CALL(r, moe_gather, op_output(r, "out", plan.tokens * plan.used, r->size.k, 0), x, &plan);
}

// accumulate: the residual is out itself.
static void case_moe_combine(OpRun *r) {
    MoePlan plan = given_plan(r);
    Mat x = op_input(r, plan.tokens * plan.used, r->size.k), residual = {.data = NULL};
    if (r->size.residual) residual = op_input(r, plan.tokens, r->size.k);
    Mat out = op_gradient(r, "out", plan.tokens, r->size.k, OP_SUM(plan.used), r->size.accumulate);
    OP_CALL(r, moe_combine, out, x, r->size.accumulate ? out : residual, &plan);
}

static void case_moe_scale_forward(OpRun *r) {
    MoePlan plan = given_plan(r);
    Mat x = op_inout(r, "x", plan.tokens * plan.used, r->size.k, 0), w = op_input_f32(r, plan.tokens, plan.used);
    OP_CALL(r, moe_scale_forward, x, w, &plan);
}

static void case_moe_scale_backward(OpRun *r) {
    MoePlan plan = given_plan(r);
    int64_t rows = plan.tokens * plan.used;
    Mat x = op_input(r, rows, r->size.k), w = op_input_f32(r, plan.tokens, plan.used);
    Mat dx = op_inout(r, "dx", rows, r->size.k, 0);
    Mat dweights = op_output_f32(r, "dweights", plan.tokens, plan.used, OP_SUM(r->size.k));
    OP_CALL(r, moe_scale_backward, dx, dweights, x, w, &plan);
}

// Not an input of the run: not every expert's row is read.
static const float *given_bias(OpRun *r) {
    int64_t n = r->size.experts * r->size.k;
    AUTO_FREE float *bias = mem_alloc((size_t)n, sizeof *bias);
    for (int64_t i = 0; i < n; i++) bias[i] = sinf((float)i);
    return op_copy(r, bias, (size_t)n * sizeof *bias);
}

static void case_moe_bias_forward(OpRun *r) {
    MoePlan plan = given_plan(r);
    Mat x = op_input(r, plan.tokens, r->size.k), w = op_input_f32(r, plan.tokens, plan.used);
    Mat out = op_output(r, "out", x.rows, x.cols, OP_SUM(plan.used));
    OP_CALL(r, moe_bias_forward, out, x, w, given_bias(r), &plan);
}

static void case_moe_bias_backward(OpRun *r) {
    MoePlan plan = given_plan(r);
    Mat dout = op_input(r, plan.tokens, r->size.k);
    Mat dweights = op_inout_f32(r, "dweights", plan.tokens, plan.used, OP_SUM(r->size.k));
    OP_CALL(r, moe_bias_backward, dweights, dout, given_bias(r), &plan);
}

enum { MAX_EXPERTS = 16 };
static void expert_weights(OpRun *r, Weight *experts) {
    CHECK(r->size.experts <= MAX_EXPERTS);
    for (int64_t e = 0; e < r->size.experts; e++) experts[e] = op_weight(r, r->size.n, r->size.k);
}

static void case_grouped_linear_forward(OpRun *r) {
    MoePlan plan = given_plan(r);
    Weight w[MAX_EXPERTS];
    expert_weights(r, w);
    Mat x = op_input(r, plan.tokens * plan.used, r->size.k);
    Mat out = op_output(r, "out", x.rows, r->size.n, OP_SUM(r->size.k));
    op_rounded(r, PRODUCT);
    OP_CALL(r, grouped_linear_forward, out, x, w, &plan, OP_WORKSPACE(r, grouped_linear, w, &plan));
}

static void case_grouped_linear_backward(OpRun *r) {
    MoePlan plan = given_plan(r);
    Weight w[MAX_EXPERTS];
    r->size.bias = false; // backward does not read it
    expert_weights(r, w);
    Mat dout = op_input(r, plan.tokens * plan.used, r->size.n);
    Mat dx = op_gradient(r, "dx", dout.rows, r->size.k, OP_SUM(r->size.n), r->size.accumulate);
    op_rounded(r, PRODUCT);
    OP_CALL(r, grouped_linear_backward, dx, dout, w, &plan, r->size.accumulate,
            OP_WORKSPACE(r, grouped_linear, w, &plan));
}

// A and B of each expert one after the other.
static Lora expert_pairs(OpRun *r, const MoePlan *plan) {
    int64_t rank = r->size.rank, n = r->size.n, k = r->size.k;
    const float *all = op_input_f32(r, plan->experts * rank, k + n).data;
    return (Lora){.a = all, .b = all + rank * k, .rank = rank, .rows = n, .scale = 0.5f, .experts = plan};
}

static void case_lora_experts(OpRun *r) {
    MoePlan plan = given_plan(r);
    Lora l = expert_pairs(r, &plan);
    int64_t rows = plan.tokens * plan.used, n = l.rows, k = r->size.k, rank = l.rank;
    Mat x = op_input(r, rows, k), dy = op_input(r, rows, n);
    Mat y = op_inout(r, "y", rows, n, OP_SUM(k + rank));
    op_rounded(r, TWO_PRODUCTS);
    Mat xa = op_output(r, "xa", rows, rank, OP_SUM(k));
    op_rounded(r, PRODUCT);
    Mat dab = op_inout_f32(r, "da, db", plan.experts * rank, k + n, OP_SUM(rows + n + k));
    op_rounded(r, TWO_PRODUCTS);
    l.da = dab.data, l.db = l.da + rank * k;
    if (r->size.no_da) l.da = NULL;
    Mat dx = {0};
    if (!r->size.no_dx) dx = op_inout(r, "dx", rows, k, OP_SUM(n + rank)), op_rounded(r, TWO_PRODUCTS);
    void *ws = OP_WORKSPACE(r, lora, &l, rows, k);
    OP_CALL(r, lora_forward, y, xa, x, &l, ws);
    OP_CALL(r, lora_backward, dx, dy, x, xa, &l, ws);
}

// ---- sizes ----

static const OpSize routes[] = {
    {.t = 1, .experts = 8, .used = 2, .scores = MOE_RENORMALISED},
    {.t = 3, .experts = 5, .used = 5},
    {.t = 7, .experts = 1, .used = 1, .scores = MOE_RENORMALISED},
    {.t = 67, .experts = 128, .used = 8},
    {.t = 99, .experts = 128, .used = 8, .scores = MOE_RENORMALISED},
    {.t = 513, .experts = 9, .used = 1},
    {.t = 67, .experts = 1, .used = 1, .scores = MOE_SIGMOID},
    {.t = 99, .experts = 128, .used = 8, .scores = MOE_SIGMOID},
    {.t = 513, .experts = 160, .used = 6, .scores = MOE_RENORMALISED},
    {.t = 2049, .experts = 16, .used = 8},
};
static const OpSize rows[] = {
    {.t = 1, .k = 100, .experts = 8, .used = 2},
    {.t = 3, .k = 1, .experts = 3, .used = 3, .residual = true},
    {.t = 67, .k = 577, .experts = 128, .used = 8, .accumulate = true},
    {.t = 99, .k = 96, .experts = 4, .used = 1, .residual = true, .uneven = true},
    {.t = 513, .k = 100, .experts = 9, .used = 2, .accumulate = true},
};
#define GROUPED(...) .experts = 4, .used = 2, __VA_ARGS__
static const OpSize grouped[] = {
    {GROUPED(.t = 1, .n = 33, .k = 256, .dtype = DTYPE_Q4_K)},
    {GROUPED(.t = 9, .n = 100, .k = 101, .dtype = DTYPE_F32, .accumulate = true)},
    {GROUPED(.t = 67, .n = 130, .k = 512, .dtype = DTYPE_Q6_K, .bias = true, .accumulate = true)},
    {GROUPED(.t = 99, .n = 1100, .k = 320, .dtype = DTYPE_Q4_1, .accumulate = true)},
    {GROUPED(.t = 150, .n = 192, .k = 608, .dtype = DTYPE_Q8_0, .uneven = true)},
    {GROUPED(.t = 40, .n = 1030, .k = 1024, .dtype = DTYPE_F32)}, // rows a multiple of 4096 bytes apart
    {GROUPED(.t = 67, .n = 97, .k = 320, .dtype = DTYPE_Q8_0, .row_map = true, .segments = 3)},
    {.experts = 3, .used = 3, .t = 300, .n = 200, .k = 100, .dtype = DTYPE_BF16},
    {.experts = 16, .used = 1, .t = 60, .n = 7, .k = 96, .dtype = DTYPE_F16},
    {GROUPED(.t = 40, .n = 146, .k = 576, .dtype = DTYPE_NF4)},
    {GROUPED(.t = 40, .n = 146, .k = 584, .dtype = DTYPE_U4_G)},
    {GROUPED(.t = 40, .n = 40, .k = 768, .dtype = DTYPE_IQ4_XS)},
    {GROUPED(.t = 40, .n = 40, .k = 288, .dtype = DTYPE_MXFP4)},
    {.experts = 2, .used = 1, .t = 90, .n = 150, .k = 8192, .dtype = DTYPE_Q5_K},
    {.experts = 1, .used = 1, .t = 40, .n = 50, .k = 32, .dtype = DTYPE_Q5_0, .accumulate = true},
};

static const OpSize pairs[] = {
    {GROUPED(.t = 1, .n = 33, .k = 100, .rank = 4)},
    {GROUPED(.t = 67, .n = 130, .k = 96, .rank = 16)},
    {GROUPED(.t = 67, .n = 97, .k = 101, .rank = 3, .no_dx = true)},
    {GROUPED(.t = 150, .n = 72, .k = 200, .rank = 70, .uneven = true)},
    {.experts = 16, .used = 1, .t = 40, .n = 64, .k = 64, .rank = 8, .no_da = true},
    {.experts = 70, .used = 2, .t = 90, .n = 24, .k = 40, .rank = 2},
};

const OpCase op_cases_moe[] = {
    OP_CASE(moe_route_forward, routes),
    OP_CASE(moe_route_ties, routes),
    OP_CASE(moe_route_backward, routes),
    OP_CASE(moe_gather, rows),
    OP_CASE(moe_combine, rows),
    OP_CASE(moe_scale_forward, rows),
    OP_CASE(moe_scale_backward, rows),
    OP_CASE(moe_bias_forward, rows),
    OP_CASE(moe_bias_backward, rows),
    OP_CASE(grouped_linear_forward, grouped),
    OP_CASE(grouped_linear_backward, grouped),
    OP_CASE(lora_experts, pairs),
    {0},
};
