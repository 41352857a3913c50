// ops_boundary: where a graph is cut into parts (Boundary). Layout: ops.c.
#include "tape.h"

static void copy_mat(const Exec *x, Mat to, Mat from) {
    CALL(x, copy, to.data, from.data, (size_t)(from.rows * from.cols) * dtype_info(from.dtype)->bytes);
}

// ---- receive: a copy of what another part has sent ----

static void receive_forward(const Node *n, const Exec *x) { copy_mat(x, mat_out(n, 0), n->args.boundary.activation); }

static void receive_backward(const Node *n, const Exec *x) { copy_mat(x, n->args.boundary.grad, grad_out(n)); }

static const Op RECEIVE = {.id = TAPE_OP_RECEIVE, .forward = receive_forward, .backward = receive_backward};

Tensor *op_receive(Tape *t, const Boundary *b) {
    Node *n = node_add(t, &RECEIVE, NULL, NULL, NULL);
    n->args = (NodeArgs){.boundary = *b};
    n->trainable = b->grad.data != NULL;
    return node_output(t, n, b->activation.rows, b->activation.cols);
}

// ---- send, and the turn: out[0] is the gradient of in[0], which the next part has computed ----

static void send_forward(const Node *n, const Exec *x) { copy_mat(x, n->args.boundary.activation, mat_in(n, 0)); }

static const Op SEND = {.id = TAPE_OP_SEND, .forward = send_forward};

static void turn_forward(const Node *n, const Exec *x) {
    if (x->training && n->in[0]->needs_grad) copy_mat(x, mat_out(n, 0), n->args.boundary.grad);
}

static const Op TURN = {.id = TAPE_OP_TURN, .forward = turn_forward, .makes_grad = true};

void op_send(Tape *t, Tensor *x, const Boundary *b) {
    CHECK(x->rows == b->activation.rows && x->cols == b->activation.cols && !x->whole);
    node_add(t, &SEND, x, NULL, NULL)->args = (NodeArgs){.boundary = *b};
    Node *n = node_add(t, &TURN, x, NULL, NULL);
    n->args = (NodeArgs){.boundary = *b};
    node_output(t, n, x->rows, x->cols);
}
