// ops_moe: a feed-forward layer of routed experts. The order of use: route, gather, grouped_linear (gate and up), glu,
// scale, grouped_linear (down), combine.
//
// A row is scaled by its weight before the last product, not after it: the gradient of the weight then reads the glu's
// output, which is cheap to recompute, and backward needs neither the last product nor its result. A bias of that
// product is an op of its own, built before the scaling: in backward it adds to the weights' gradient.
#include "tape.h"

// The plan is an input of every op but the first: integers in the elements of a tensor.
static MoePlan plan_in(const Node *n, const Tensor *plan) {
    const MoeRouting *r = &n->args.moe.routing;
    return moe_plan_at(plan->data, r->tokens, r->experts, r->used);
}

static void check_rows(const Tensor *x, const MoeRouting *r, const char *op) {
    CHECK(x->rows == r->tokens * r->used, "%s: %ld rows, %ld experts for each of %ld tokens", op, x->rows, r->used,
          r->tokens);
}

static Node *moe_node(Tape *t, const Op *op, Tensor *a, Tensor *b, Tensor *c, const MoeRouting *r) {
    Node *n = node_add(t, op, a, b, c);
    n->args.moe.routing = *r;
    return n;
}

// ---- route: in = logits; out[0] = weights, out[1] = plan ----

static void route_forward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->out[1]);
    CALL(x, moe_route_forward, mat_out(n, 0), &plan, mat_in(n, 0), n->args.moe.scores);
}

static void route_backward(const Node *n, const Exec *x) {
    if (!n->in[0]->needs_grad) return; // adapters on experts, and none below them
    CHECK(!x->accumulate, "the router's logits must not have another reader");
    MoePlan plan = plan_in(n, n->out[1]);
    CALL(x, moe_route_backward, grad_in(n, 0), grad_out(n), mat_in(n, 0), &plan, n->args.moe.scores);
}

static const Op MOE_ROUTE = {TAPE_OP_MOE_ROUTE, route_forward, .backward = route_backward};

MoeRouting op_moe_route(Tape *t, Tensor *logits, int64_t used, MoeScores scores) {
    MoeRouting r = {.tokens = logits->rows, .experts = logits->cols, .used = used};
    CHECK(used > 0 && used <= r.experts, "%ld of %ld experts", used, r.experts);
    Node *n = moe_node(t, &MOE_ROUTE, logits, NULL, NULL, &r);
    n->args.moe.scores = scores;
    n->reads_in = 1;
    n->reads_out = 2;
    r.weights = node_output_as(t, n, r.tokens, used, DTYPE_F32);
    r.plan = node_output_as(t, n, 1, moe_plan_size(r.tokens, r.experts, used), DTYPE_F32);
    return r;
}

// ---- gather: in = x, plan; its backward is the sum over a token's rows ----

static void gather_forward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->in[1]);
    CALL(x, moe_gather, mat_out(n, 0), mat_in(n, 0), &plan);
}

static void gather_backward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->in[1]);
    Mat dx = grad_in(n, 0);
    CALL(x, moe_combine, dx, grad_out(n), x->accumulate & 1 ? dx : (Mat){0}, &plan);
}

static const Op MOE_GATHER = {TAPE_OP_MOE_GATHER, gather_forward, gather_backward, .cheap = true};

Tensor *op_moe_gather(Tape *t, Tensor *x, const MoeRouting *r) {
    CHECK(x->rows == r->tokens);
    Node *n = moe_node(t, &MOE_GATHER, x, r->plan, NULL, r);
    n->reads_in = 2;
    return node_output(t, n, r->tokens * r->used, x->cols);
}

// ---- grouped linear with LoRA: in = x, plan; out[1] = xa of the pairs ----

static Lora pairs_of(const Node *n, const MoePlan *plan) {
    Lora l = n->args.moe.lora;
    l.experts = plan;
    return l;
}

static void grouped_forward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->in[1]);
    Lora l = pairs_of(n, &plan);
    CALL(x, grouped_linear_forward, mat_out(n, 0), mat_in(n, 0), n->args.moe.experts, &plan, x->ws);
    if (l.rank) CALL(x, lora_forward, mat_out(n, 0), mat_out(n, 1), mat_in(n, 0), &l, x->ws);
}

static void grouped_backward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->in[1]);
    Lora l = pairs_of(n, &plan);
    Mat dx = grad_in(n, 0), dout = grad_out(n);
    if (dx.data) CALL(x, grouped_linear_backward, dx, dout, n->args.moe.experts, &plan, x->accumulate & 1, x->ws);
    if (l.rank) CALL(x, lora_backward, dx, dout, mat_in(n, 0), mat_out(n, 1), &l, x->ws);
}

static size_t grouped_workspace(const Node *n, Backend *b, bool backward) {
    MoePlan plan = plan_in(n, n->in[1]); // for its sizes: there is no data yet
    Lora l = pairs_of(n, &plan);
    size_t bytes = b->k->grouped_linear_workspace(b, n->args.moe.experts, &plan);
    size_t pairs = l.rank ? b->k->lora_workspace(b, &l, n->in[0]->rows, n->in[0]->cols) : 0;
    return bytes > pairs ? bytes : pairs;
}

static double grouped_flops(const Node *n, bool backward) {
    const Lora *l = &n->args.moe.lora;
    const Tensor *x = n->in[0];
    double down = cost_product(x, l->rank), up = 2 * (double)x->rows * (double)(l->rank * n->out[0]->cols);
    double flops = !backward || x->needs_grad ? cost_product(x, n->out[0]->cols) : 0;
    int ups = 1 + (l->db != NULL), downs = (l->da != NULL) + x->needs_grad;
    return flops + (backward ? ups * up + downs * down : up + down);
}

static const Op GROUPED_LINEAR = {TAPE_OP_GROUPED_LINEAR, grouped_forward,        grouped_backward,
                                  grouped_workspace,      .flops = grouped_flops, .reads_weights = true};

Tensor *op_grouped_linear(Tape *t, Tensor *x, const Weight *experts, const MoeRouting *r, const Lora *lora) {
    check_rows(x, r, experts->name);
    for (int64_t e = 0; e < r->experts; e++)
        CHECK(experts[e].rows == experts->rows && experts[e].cols == x->cols, "%s is [%ld, %ld], %s [%ld, %ld]",
              experts->name, experts->rows, x->cols, experts[e].name, experts[e].rows, experts[e].cols);
    Node *n = moe_node(t, &GROUPED_LINEAR, x, r->plan, NULL, r);
    n->args.moe.experts = experts;
    n->parameter_bytes = cost_weight_bytes(t, experts) * (double)min64(x->rows, r->experts); // all that may have rows
    n->reads_in = 2;
    if (lora) {
        n->args.moe.lora = *lora;
        n->trainable = lora->da != NULL;
        n->reads_in |= n->trainable;
        n->reads_out = 2 * n->trainable;
        n->parameter_bytes += (double)sizeof(float) * (double)(r->experts * lora->rank * (lora->rows + x->cols));
    }
    Tensor *out = node_output(t, n, x->rows, experts->rows);
    if (lora) node_output(t, n, x->rows, lora->rank);
    return out;
}

// ---- scale, in place: in = x, weights, plan ----

static void scale_forward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->in[2]);
    CALL(x, moe_scale_forward, mat_out(n, 0), mat_in(n, 1), &plan);
}

static void scale_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "the rows and their weights must not have another reader");
    MoePlan plan = plan_in(n, n->in[2]);
    CALL(x, moe_scale_backward, grad_in(n, 0), grad_in(n, 1), mat_in(n, 0), mat_in(n, 1), &plan);
}

static const Op MOE_SCALE = {TAPE_OP_MOE_SCALE, scale_forward, scale_backward, .in_place = true};

Tensor *op_moe_scale(Tape *t, Tensor *x, const MoeRouting *r) {
    check_rows(x, r, "moe_scale");
    // The kernel writes both gradients, and x has one wherever the router's input has.
    x->needs_grad = r->weights->needs_grad = x->needs_grad || r->weights->needs_grad;
    Node *n = moe_node(t, &MOE_SCALE, x, r->weights, r->plan, r);
    n->reads_in = 7;
    return node_output(t, n, x->rows, x->cols);
}

// ---- bias: in = x, weights, plan ----

static void bias_forward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->in[2]);
    CALL(x, moe_bias_forward, mat_out(n, 0), mat_in(n, 0), mat_in(n, 1), n->args.moe.bias, &plan);
}

static void bias_backward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->in[2]);
    Mat dout = grad_out(n), dweights = grad_in(n, 1);
    CHECK(!dweights.data || x->accumulate & 2, "the rows are scaled after their bias");
    if (dweights.data) CALL(x, moe_bias_backward, dweights, dout, n->args.moe.bias, &plan);
    if (x->accumulate & 1) CALL(x, add, grad_in(n, 0), dout);
}

static const Op MOE_BIAS = {TAPE_OP_MOE_BIAS, bias_forward, .backward = bias_backward};

Tensor *op_moe_bias(Tape *t, Tensor *x, const float *bias, const MoeRouting *r) {
    CHECK(x->rows == r->tokens);
    Node *n = moe_node(t, &MOE_BIAS, x, r->weights, r->plan, r);
    n->args.moe.bias = bias;
    n->reads_in = 4;
    n->passes_grad = 1;
    return node_output(t, n, x->rows, x->cols);
}

// ---- combine: in = x, plan, residual; its backward gives every row of a token the token's gradient ----

static void combine_forward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->in[1]);
    Mat residual = n->n_in > 2 ? mat_in(n, 2) : (Mat){0};
    CALL(x, moe_combine, mat_out(n, 0), mat_in(n, 0), residual, &plan);
}

static void combine_backward(const Node *n, const Exec *x) {
    MoePlan plan = plan_in(n, n->in[1]);
    Mat dout = grad_out(n), dx = grad_in(n, 0);
    CHECK(!(x->accumulate & 1), "the experts' rows must not have another reader");
    if (dx.data) CALL(x, moe_gather, dx, dout, &plan);
    if (n->n_in > 2 && x->accumulate & 4) CALL(x, add, grad_in(n, 2), dout);
}

static const Op MOE_COMBINE = {TAPE_OP_MOE_COMBINE, combine_forward, .backward = combine_backward};

Tensor *op_moe_combine(Tape *t, Tensor *x, Tensor *residual, const MoeRouting *r) {
    check_rows(x, r, "moe_combine");
    CHECK(!residual || (residual->rows == r->tokens && residual->cols == x->cols));
    Node *n = moe_node(t, &MOE_COMBINE, x, r->plan, residual, r);
    n->reads_in = 2;
    if (residual) n->passes_grad = 1u << 2;
    return node_output(t, n, r->tokens, x->cols);
}
