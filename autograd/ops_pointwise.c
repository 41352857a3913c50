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
    exec_kernels(x)->rmsnorm_forward(x->backend, tensor_mat(n->out[0]), tensor_mat(n->out[1]), tensor_mat(n->in[0]),
                                     n->args.norm.weight, n->args.norm.eps);
}

static void rmsnorm_backward(const Node *n, const Exec *x) {
    exec_kernels(x)->rmsnorm_backward(x->backend, tensor_grad(n->in[0]), tensor_grad(n->out[0]), tensor_mat(n->in[0]),
                                      tensor_mat(n->out[1]), n->args.norm.weight, x->accumulate & 1);
}

static const Op RMSNORM = {
    .id = TAPE_OP_RMSNORM, .cheap = true, .forward = rmsnorm_forward, .backward = rmsnorm_backward};

Tensor *op_head_rmsnorm(Tape *t, Tensor *x, const float *weight, float eps, int64_t head_size) {
    CHECK(x->cols % head_size == 0);
    return norm(t, &RMSNORM, x, (NodeArgs){.norm = {.weight = weight, .eps = eps}}, x->cols / head_size);
}

Tensor *op_rmsnorm(Tape *t, Tensor *x, const float *weight, float eps) {
    return op_head_rmsnorm(t, x, weight, eps, x->cols);
}

// ---- layernorm: out[1] = mean, rstd [T, 2] ----

static void layernorm_forward(const Node *n, const Exec *x) {
    exec_kernels(x)->layernorm_forward(x->backend, tensor_mat(n->out[0]), tensor_mat(n->out[1]), tensor_mat(n->in[0]),
                                       n->args.norm.weight, n->args.norm.bias, n->args.norm.eps);
}

static void layernorm_backward(const Node *n, const Exec *x) {
    exec_kernels(x)->layernorm_backward(x->backend, tensor_grad(n->in[0]), tensor_grad(n->out[0]), tensor_mat(n->in[0]),
                                        tensor_mat(n->out[1]), n->args.norm.weight, x->accumulate & 1);
}

static const Op LAYERNORM = {
    .id = TAPE_OP_LAYERNORM, .cheap = true, .forward = layernorm_forward, .backward = layernorm_backward};

Tensor *op_layernorm(Tape *t, Tensor *x, const float *weight, const float *bias, float eps) {
    return norm(t, &LAYERNORM, x, (NodeArgs){.norm = {weight, bias, eps}}, 2);
}

// ---- glu: in = gate, up ----

static void glu_forward(const Node *n, const Exec *x) {
    exec_kernels(x)->glu_forward(x->backend, tensor_mat(n->out[0]), tensor_mat(n->in[0]), tensor_mat(n->in[1]),
                                 n->args.glu.kind);
}

static void glu_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "gate and up must not have another reader");
    exec_kernels(x)->glu_backward(x->backend, tensor_grad(n->in[0]), tensor_grad(n->in[1]), tensor_grad(n->out[0]),
                                  tensor_mat(n->in[0]), tensor_mat(n->in[1]), n->args.glu.kind);
}

static const Op GLU = {.id = TAPE_OP_GLU, .cheap = true, .forward = glu_forward, .backward = glu_backward};

Tensor *op_glu(Tape *t, Tensor *gate, Tensor *up, GluKind kind) {
    tensor_check_same_shape(gate, up, "glu");
    // The kernel writes both gradients, even if there is an adapter below only one of them.
    gate->needs_grad = up->needs_grad = gate->needs_grad || up->needs_grad;
    Node *n = node_add(t, &GLU, gate, up, NULL);
    n->args.glu.kind = kind;
    n->reads_in = 3;
    return node_output(t, n, gate->rows, gate->cols);
}

// ---- activation: din overwrites dout ----

static void activation_forward(const Node *n, const Exec *x) {
    exec_kernels(x)->activation_forward(x->backend, tensor_mat(n->out[0]), tensor_mat(n->in[0]),
                                        n->args.activation.kind);
}

static void activation_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "the input of an activation must not have another reader");
    exec_kernels(x)->activation_backward(x->backend, tensor_grad(n->in[0]), tensor_grad(n->out[0]),
                                         tensor_mat(n->in[0]), n->args.activation.kind);
}

static const Op ACTIVATION = {
    .id = TAPE_OP_ACTIVATION, .cheap = true, .forward = activation_forward, .backward = activation_backward};

Tensor *op_activation(Tape *t, Tensor *x, ActivationKind kind) {
    Node *n = node_add(t, &ACTIVATION, x, NULL, NULL);
    n->args.activation.kind = kind;
    n->reads_in = 1;
    n->passes_grad = 1;
    return node_output(t, n, x->rows, x->cols);
}

// ---- add: in place on in[0], b of op_add; both gradients equal dout and share its memory if plan.c allows it ----

static void add_forward(const Node *n, const Exec *x) {
    exec_kernels(x)->add(x->backend, tensor_mat(n->out[0]), tensor_mat(n->in[1]));
}

static void add_backward(const Node *n, const Exec *x) {
    const Kernels *k = exec_kernels(x);
    Mat dout = tensor_grad(n->out[0]);
    for (int i = 0; i < 2; i++) {
        Mat dx = tensor_grad(n->in[i]);
        if (!dx.data || dx.data == dout.data) continue;
        if (!(x->accumulate >> i & 1)) k->zero(x->backend, dx.data, n->in[i]->bytes);
        k->add(x->backend, dx, dout);
    }
}

static const Op ADD = {.id = TAPE_OP_ADD, .in_place = true, .forward = add_forward, .backward = add_backward};

Tensor *op_add(Tape *t, Tensor *a, Tensor *b) {
    tensor_check_same_shape(a, b, "add");
    CHECK(a != b);
    Node *n = node_add(t, &ADD, b, a, NULL);
    n->passes_grad |= 2;
    return node_output(t, n, a->rows, a->cols);
}
