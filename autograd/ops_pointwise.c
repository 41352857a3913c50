// ops_pointwise: normalisation, gates, activations and sums. Same layout as ops.c.
#include "tape.h"

// stats: columns of the statistics that backward reads, out[1].
static Tensor *norm(Tape *t, const Op *op, Tensor *x, NodeArgs args, int64_t stats) {
    Node *n = node_add(t, op, x, NULL, NULL);
    n->args = args;
    n->reads_in = 1;
    n->reads_out = 2;
    Tensor *out = node_output(t, n, x->rows, x->cols);
    node_output_as(t, n, x->rows, stats, DTYPE_F32);
    return out;
}

// ---- rmsnorm: out[1] = rstd [T, groups] ----

static void rmsnorm_forward(const Node *n, const Exec *x) {
    CALL(x, rmsnorm_forward, mat_out(n, 0), mat_out(n, 1), mat_in(n, 0), n->args.norm.weight, n->args.norm.eps);
}

static void rmsnorm_backward(const Node *n, const Exec *x) {
    CALL(x, rmsnorm_backward, grad_in(n, 0), grad_out(n), mat_in(n, 0), mat_out(n, 1), n->args.norm.weight,
         x->accumulate & 1);
}

static const Op RMSNORM = {TAPE_OP_RMSNORM, rmsnorm_forward, rmsnorm_backward, .cheap = true};

Tensor *op_head_rmsnorm(Tape *t, Tensor *x, const float *weight, float eps, int64_t head_size) {
    CHECK(x->cols % head_size == 0);
    return norm(t, &RMSNORM, x, (NodeArgs){.norm = {.weight = weight, .eps = eps}}, x->cols / head_size);
}

Tensor *op_rmsnorm(Tape *t, Tensor *x, const float *weight, float eps) {
    return op_head_rmsnorm(t, x, weight, eps, x->cols);
}

// ---- layernorm: out[1] = mean, rstd [T, 2] ----

static void layernorm_forward(const Node *n, const Exec *x) {
    CALL(x, layernorm_forward, mat_out(n, 0), mat_out(n, 1), mat_in(n, 0), n->args.norm.weight, n->args.norm.bias,
         n->args.norm.eps);
}

static void layernorm_backward(const Node *n, const Exec *x) {
    CALL(x, layernorm_backward, grad_in(n, 0), grad_out(n), mat_in(n, 0), mat_out(n, 1), n->args.norm.weight,
         x->accumulate & 1);
}

static const Op LAYERNORM = {TAPE_OP_LAYERNORM, layernorm_forward, layernorm_backward, .cheap = true};

Tensor *op_layernorm(Tape *t, Tensor *x, const float *weight, const float *bias, float eps) {
    return norm(t, &LAYERNORM, x, (NodeArgs){.norm = {weight, bias, eps}}, 2);
}

// ---- glu: in = gate, up ----

static void glu_forward(const Node *n, const Exec *x) {
    CALL(x, glu_forward, mat_out(n, 0), mat_in(n, 0), mat_in(n, 1), n->args.glu);
}

static void glu_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "gate and up must not have another reader");
    CALL(x, glu_backward, grad_in(n, 0), grad_in(n, 1), grad_out(n), mat_in(n, 0), mat_in(n, 1), n->args.glu);
}

static const Op GLU = {TAPE_OP_GLU, glu_forward, glu_backward, .cheap = true, .grads_over_inputs = true};

Tensor *op_glu(Tape *t, Tensor *gate, Tensor *up, GluKind kind) {
    tensor_check_same_shape(gate, up, "glu");
    // The kernel writes both gradients, even if there is an adapter below only one of them.
    gate->needs_grad = up->needs_grad = gate->needs_grad || up->needs_grad;
    Node *n = node_add(t, &GLU, gate, up, NULL);
    n->args.glu = kind;
    n->reads_in = 3;
    return node_output(t, n, gate->rows, gate->cols);
}

// ---- activation: din overwrites dout ----

static void activation_forward(const Node *n, const Exec *x) {
    CALL(x, activation_forward, mat_out(n, 0), mat_in(n, 0), n->args.activation);
}

static void activation_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "the input of an activation must not have another reader");
    CALL(x, activation_backward, grad_in(n, 0), grad_out(n), mat_in(n, 0), n->args.activation);
}

static const Op ACTIVATION = {TAPE_OP_ACTIVATION, activation_forward, activation_backward, .cheap = true};

Tensor *op_activation(Tape *t, Tensor *x, ActivationKind kind) {
    Node *n = node_add(t, &ACTIVATION, x, NULL, NULL);
    n->args.activation = kind;
    n->reads_in = 1;
    n->passes_grad = 1;
    return node_output(t, n, x->rows, x->cols);
}

// ---- add: in place on in[0], b of op_add; both gradients equal dout and share its memory if plan.c allows it ----

static void add_forward(const Node *n, const Exec *x) { CALL(x, add, mat_out(n, 0), mat_in(n, 1)); }

static void add_backward(const Node *n, const Exec *x) {
    Mat dout = grad_out(n);
    for (int i = 0; i < 2; i++) {
        Mat dx = grad_in(n, i);
        if (!dx.data || dx.data == dout.data) continue;
        if (!(x->accumulate >> i & 1)) CALL(x, zero, dx.data, n->in[i]->bytes);
        CALL(x, add, dx, dout);
    }
}

static const Op ADD = {TAPE_OP_ADD, add_forward, add_backward, .in_place = true};

Tensor *op_add(Tape *t, Tensor *a, Tensor *b) {
    tensor_check_same_shape(a, b, "add");
    CHECK(a != b);
    Node *n = node_add(t, &ADD, b, a, NULL);
    n->passes_grad |= 2;
    return node_output(t, n, a->rows, a->cols);
}
