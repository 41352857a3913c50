// ops_head: the end of a graph: the language model's head with its loss, a classifier's, pooling, plain logits, the
// largest ones. Layout: ops.c.
#include "tape.h"

// ---- head: out[0] is the gradient of in[0], written by forward chunk by chunk, from the logits ----

static Mat gradient_of(const Node *n, const Exec *x) {
    return x->training && n->in[0]->needs_grad ? mat_out(n, 0) : (Mat){0};
}

static void head_forward(const Node *n, const Exec *x) {
    Mat dx = gradient_of(n, x);
    CALL(x, head_loss, n->args.head.result, dx, mat_in(n, 0), n->args.head.w, &n->args.head.loss, x->ws);
}

static size_t head_workspace(const Node *n, Backend *b, bool backward) {
    return b->k->head_loss_workspace(b, n->args.head.w, &n->args.head.loss, n->in[0]->rows);
}

static double head_flops(const Node *n, bool backward) {
    return cost_product(n->in[0], n->args.head.w->rows) * (n->in[0]->needs_grad ? 2 : 1);
}

static const Op HEAD_LOSS = {TAPE_OP_HEAD_LOSS, head_forward, NULL, head_workspace, head_flops, .makes_grad = true};

void op_head_loss(Tape *t, Tensor *x, const Weight *w, const HeadLoss *loss, HeadResult *result) {
    CHECK(x->cols == w->cols);
    Node *n = node_add(t, &HEAD_LOSS, x, NULL, NULL);
    n->args = (NodeArgs){.head = {.w = w, .loss = *loss, .result = result}};
    n->parameter_bytes = cost_weight_bytes(t, w);
    node_output(t, n, x->rows, x->cols);
}

// ---- preference_loss: the gradients of the token losses, then of what the preference makes of them ----

static void preference_forward(const Node *n, const Exec *x) {
    head_forward(n, x);
    CALL(x, preference_loss, n->args.head.result, gradient_of(n, x), &n->args.head.preference, x->ws);
}

static size_t preference_workspace(const Node *n, Backend *b, bool backward) {
    size_t head = head_workspace(n, b, backward);
    size_t samples = b->k->preference_loss_workspace(b, &n->args.head.preference);
    return head > samples ? head : samples;
}

static const Op PREFERENCE_LOSS = {TAPE_OP_PREFERENCE_LOSS, preference_forward, NULL,
                                   preference_workspace,    head_flops,         .makes_grad = true};

void op_preference_loss(Tape *t, Tensor *x, const Weight *w, const PreferenceHead *loss, HeadResult *result) {
    CHECK(x->cols == w->cols && loss->head.token_loss == loss->preference.policy);
    Node *n = node_add(t, &PREFERENCE_LOSS, x, NULL, NULL);
    n->args = (NodeArgs){.head = {w, loss->head, loss->preference, result}};
    n->parameter_bytes = cost_weight_bytes(t, w);
    node_output(t, n, x->rows, x->cols);
}

// ---- class_loss: a head that is trained itself; forward writes its gradients too ----

static void class_forward(const Node *n, const Exec *x) {
    ClassHead head = n->args.classes.head;
    if (!x->training) head.dw = head.dbias = NULL;
    Mat dx = x->training && n->in[0]->needs_grad ? mat_out(n, 0) : (Mat){0};
    CALL(x, class_loss, n->args.classes.result, dx, mat_in(n, 0), &head, x->ws);
}

static size_t class_workspace(const Node *n, Backend *b, bool backward) {
    return b->k->class_loss_workspace(b, &n->args.classes.head, n->in[0]->rows);
}

static double class_flops(const Node *n, bool backward) {
    return cost_product(n->in[0], n->args.classes.head.classes) *
           (1 + (n->args.classes.head.dw != NULL) + n->in[0]->needs_grad);
}

static const Op CLASS_LOSS = {TAPE_OP_CLASS_LOSS, class_forward, NULL,
                              class_workspace,    class_flops,   .makes_grad = true};

void op_class_loss(Tape *t, Tensor *x, const ClassHead *head, HeadResult *result) {
    Node *n = node_add(t, &CLASS_LOSS, x, NULL, NULL);
    n->args = (NodeArgs){.classes = {*head, result}};
    node_output(t, n, x->rows, x->cols);
}

// ---- pool: the vectors of samples; in training their gradients, which are given ----

static void pool_forward(const Node *n, const Exec *x) {
    Mat dx = gradient_of(n, x);
    if (dx.data)
        CALL(x, pool_backward, dx, n->args.pool.vectors, n->args.pool.start);
    else
        CALL(x, pool_forward, n->args.pool.vectors, mat_in(n, 0), n->args.pool.start);
}

static const Op POOL = {TAPE_OP_POOL, pool_forward, .makes_grad = true};

void op_pool(Tape *t, Tensor *x, const int32_t *start, Mat vectors) {
    CHECK(x->cols == vectors.cols);
    Node *n = node_add(t, &POOL, x, NULL, NULL);
    n->args = (NodeArgs){.pool = {start, vectors}};
    node_output(t, n, x->rows, x->cols);
}

// ---- logits: the product alone, into the caller's memory ----

static void logits_forward(const Node *n, const Exec *x) {
    CALL(x, linear_forward, n->args.logits.out, mat_in(n, 0), n->args.logits.w, (Mat){0}, x->ws);
    if (n->args.logits.softcap != 0) CALL(x, softcap, n->args.logits.out, n->args.logits.softcap);
}

static size_t logits_workspace(const Node *n, Backend *b, bool backward) {
    return b->k->linear_workspace(b, n->args.logits.w, n->in[0]->rows);
}

static double logits_flops(const Node *n, bool backward) { return cost_product(n->in[0], n->args.logits.w->rows); }

static const Op LOGITS = {TAPE_OP_LOGITS, logits_forward, NULL, logits_workspace, .flops = logits_flops};

void op_logits(Tape *t, Tensor *x, const Weight *w, Mat out, float softcap) {
    CHECK(x->cols == w->cols && out.rows == x->rows && out.cols == w->rows);
    Node *n = node_add(t, &LOGITS, x, NULL, NULL);
    n->args = (NodeArgs){.logits = {w, out, softcap}};
    n->parameter_bytes = cost_weight_bytes(t, w);
}

// ---- top_logits: the largest logits of each row into the caller's memory, a chunk of rows at a time ----

enum { TOP_ROWS = 128 };

// A chunk's logits, then the products' workspace.
static size_t chunk_bytes(const Node *n) {
    size_t bytes = (size_t)(min64(TOP_ROWS, n->in[0]->rows) * n->args.top_logits.w->rows) * sizeof(float);
    return (bytes + 255) & ~(size_t)255;
}

static void top_forward(const Node *n, const Exec *x) {
    const Weight *w = n->args.top_logits.w;
    const TopLogits *top = &n->args.top_logits.top;
    Mat in = mat_in(n, 0);
    for (int64_t at = 0; at < in.rows; at += TOP_ROWS) {
        Mat logits = mat_of(x->ws, DTYPE_F32, min64(TOP_ROWS, in.rows - at), w->rows);
        CALL(x, linear_forward, logits, mat_rows(in, at, logits.rows), w, (Mat){0}, (char *)x->ws + chunk_bytes(n));
        if (top->softcap != 0) CALL(x, softcap, logits, top->softcap);
        CALL(x, top_k, top->ids + at * top->k, top->values + at * top->k, logits, top->vocab, top->k);
    }
}

static size_t top_workspace(const Node *n, Backend *b, bool backward) {
    int64_t rows = min64(TOP_ROWS, n->in[0]->rows), last = n->in[0]->rows % TOP_ROWS;
    size_t whole = b->k->linear_workspace(b, n->args.top_logits.w, rows);
    size_t rest = last ? b->k->linear_workspace(b, n->args.top_logits.w, last) : 0;
    return chunk_bytes(n) + (whole > rest ? whole : rest);
}

static double top_flops(const Node *n, bool backward) { return cost_product(n->in[0], n->args.top_logits.w->rows); }

static const Op TOP_LOGITS = {TAPE_OP_TOP_LOGITS, top_forward, NULL, top_workspace, .flops = top_flops};

void op_top_logits(Tape *t, Tensor *x, const Weight *w, const TopLogits *top) {
    CHECK(x->cols == w->cols && top->k > 0 && top->k <= top->vocab && top->vocab <= w->rows);
    Node *n = node_add(t, &TOP_LOGITS, x, NULL, NULL);
    n->args = (NodeArgs){.top_logits = {w, *top}};
    n->parameter_bytes = cost_weight_bytes(t, w);
}
