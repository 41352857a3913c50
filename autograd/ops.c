// ops: the ops of the graph: embedding, linear with LoRA, rope, attention, short convolution, rows. ops_pointwise.c:
// norms and elementwise ops; ops_moe.c: experts; ops_head.c: heads. One op = forward, backward, table row, builder, in
// the order of kernels.h, which defines the mathematics: these functions pass tensors to the backend's slots.
#include "tape.h"

// ---- embed: no backward, the table is frozen ----

static void embed_forward(const Node *n, const Exec *x) {
    CALL(x, embed_forward, mat_out(n, 0), n->args.embed.w, n->args.embed.ids, n->args.embed.scale, n->op->in_place);
}

static const Op EMBED = {TAPE_OP_EMBED, .forward = embed_forward};

Tensor *op_embed(Tape *t, const Weight *w, const int32_t *ids, int64_t tokens, float scale) {
    Node *n = node_add(t, &EMBED, NULL, NULL, NULL);
    n->args = (NodeArgs){.embed = {w, ids, scale}};
    n->parameter_bytes = cost_weight_bytes(t, w) / (double)w->rows * (double)tokens;
    return node_output(t, n, tokens, w->cols);
}

// ---- embed_add: the same for positions and token types, added in place ----

static const Op EMBED_ADD = {TAPE_OP_EMBED_ADD, embed_forward, .in_place = true};

Tensor *op_embed_add(Tape *t, Tensor *x, const Weight *w, const int32_t *ids) {
    CHECK(x->cols == w->cols);
    Node *n = node_add(t, &EMBED_ADD, x, NULL, NULL);
    n->args = (NodeArgs){.embed = {w, ids, 1}};
    n->parameter_bytes = cost_weight_bytes(t, w) / (double)w->rows * (double)x->rows;
    return node_output(t, n, x->rows, x->cols);
}

// ---- neftune: noise on the embedding; no backward, nothing below it is trainable ----

static void neftune_forward(const Node *n, const Exec *x) {
    CALL(x, neftune, mat_out(n, 0), n->args.neftune.magnitude, n->args.neftune.alpha, &n->args.neftune.keys);
}

static const Op NEFTUNE = {TAPE_OP_NEFTUNE, neftune_forward, .in_place = true};

Tensor *op_neftune(Tape *t, Tensor *x, const float *magnitude, float alpha, const TokenKeys *keys) {
    Node *n = node_add(t, &NEFTUNE, x, NULL, NULL);
    n->args = (NodeArgs){.neftune = {magnitude, alpha, *keys}};
    return node_output(t, n, x->rows, x->cols);
}

// ---- linear with LoRA: in[0] = x, in[1] = residual; out[1] = xa of all pairs ----

LinearCall linear_rows(const Node *n) {
    return (LinearCall){mat_out(n, 0), mat_in(n, 0), n->args.linear.residual ? mat_in(n, 1) : (Mat){0}};
}

void linear_forward_rest(const Node *n, const Exec *x) {
    if (n->args.linear.n_loras)
        CALL(x, lora_forward, mat_out(n, 0), mat_out(n, 1), mat_in(n, 0), n->args.linear.loras, x->ws);
}

static void linear_forward(const Node *n, const Exec *x) {
    LinearCall r = linear_rows(n);
    CALL(x, linear_forward, r.out, r.in, n->args.linear.w, r.residual, x->ws);
    linear_forward_rest(n, x);
}

LinearCall linear_grads(const Node *n, const Exec *x) {
    Mat dx = grad_in(n, 0);
    return (LinearCall){dx, grad_out(n), x->accumulate & 1 ? dx : (Mat){0}};
}

// to (+)= dout; nothing where they are the same memory.
static void pass_to(Mat to, Mat dout, bool accumulate, const Exec *x) {
    if (accumulate)
        CALL(x, add, to, dout);
    else if (to.data && to.data != dout.data)
        CALL(x, copy, to.data, dout.data, (size_t)(dout.rows * dout.cols * dtype_info(dout.dtype)->bytes));
}

void linear_backward_rest(const Node *n, const Exec *x) {
    Mat dout = grad_out(n), dx = grad_in(n, 0);
    if (n->args.linear.n_loras)
        CALL(x, lora_backward, dx, dout, mat_in(n, 0), mat_out(n, 1), n->args.linear.loras, x->ws);
    if (n->args.linear.residual) pass_to(grad_in(n, 1), dout, x->accumulate & 2, x);
}

static void linear_backward(const Node *n, const Exec *x) {
    LinearCall g = linear_grads(n, x);
    if (g.out.data) CALL(x, linear_backward, g.out, g.in, n->args.linear.w, x->accumulate & 1, x->ws);
    linear_backward_rest(n, x);
}

static size_t linear_workspace(const Node *n, Backend *b, bool backward) {
    const Tensor *x = n->in[0];
    size_t most = b->k->linear_workspace(b, n->args.linear.w, x->rows);
    if (!n->args.linear.n_loras) return most;
    size_t bytes = b->k->lora_workspace(b, n->args.linear.loras, x->rows, x->cols);
    return bytes > most ? bytes : most;
}

static double linear_flops(const Node *n, bool backward) {
    double t = (double)n->in[0]->rows, k = (double)n->in[0]->cols, flops = 0;
    bool wants_dx = n->in[0]->needs_grad;
    if (!backward || wants_dx) flops += cost_product(n->in[0], n->args.linear.w->rows);
    for (int i = 0; i < n->args.linear.n_loras; i++) {
        const Lora *l = &n->args.linear.loras[i];
        double down = 2 * t * k * (double)l->rank, up = 2 * t * (double)l->rank * (double)l->rows;
        int ups = 1 + (l->db != NULL), downs = (l->da != NULL) + wants_dx; // dxa and dB; dA and dx
        flops += backward ? ups * up + downs * down : up + down;
    }
    return flops;
}

static const Op LINEAR = {TAPE_OP_LINEAR,   linear_forward,        linear_backward,
                          linear_workspace, .flops = linear_flops, .reads_weights = true};

const Op *const tape_linear = &LINEAR;

Tensor *op_linear(Tape *t, Tensor *x, const Weight *w, Tensor *residual, const Lora *loras, int n_loras) {
    CHECK(x->cols == w->cols, "%s takes %ld columns, got %ld", w->name, w->cols, x->cols);
    CHECK(n_loras <= LORA_MAX_PAIRS);
    CHECK(!residual || (residual != x && residual->rows == x->rows && residual->cols == w->rows));
    Node *n = node_add(t, &LINEAR, x, residual, NULL);
    n->args.linear.w = w;
    n->args.linear.n_loras = n_loras;
    n->args.linear.residual = residual != NULL;
    n->parameter_bytes = cost_weight_bytes(t, w);
    if (residual) n->passes_grad = 2;
    int64_t ranks = 0;
    for (int i = 0; i < n_loras; i++) {
        ranks += loras[i].rank;
        n->parameter_bytes += (double)sizeof(float) * (double)loras[i].rank * (double)(loras[i].rows + x->cols);
        n->args.linear.loras[i] = loras[i];
        if (!loras[i].da) continue;
        n->trainable = true;
        n->reads_in |= 1;
        n->reads_out |= 2;
    }
    Tensor *out = node_output(t, n, x->rows, w->rows);
    if (!n_loras) return out;
    n->args.linear.loras[0].more = n_loras - 1;
    node_output(t, n, x->rows, ranks);
    return out;
}

// ---- dense: a linear layer whose weight and bias are trained ----

static void dense_forward(const Node *n, const Exec *x) {
    CALL(x, linear_forward, mat_out(n, 0), mat_in(n, 0), n->args.dense.w, (Mat){0}, x->ws);
}

static void dense_backward(const Node *n, const Exec *x) {
    Mat dout = grad_out(n), dx = grad_in(n, 0);
    if (dx.data) CALL(x, linear_backward, dx, dout, n->args.dense.w, x->accumulate & 1, x->ws);
    if (n->trainable) CALL(x, dense_gradients, n->args.dense.dw, n->args.dense.dbias, dout, mat_in(n, 0));
}

static size_t dense_workspace(const Node *n, Backend *b, bool backward) {
    return b->k->linear_workspace(b, n->args.dense.w, n->in[0]->rows);
}

static double dense_flops(const Node *n, bool backward) {
    double product = cost_product(n->in[0], n->args.dense.w->rows);
    return backward ? product * (n->trainable + n->in[0]->needs_grad) : product;
}

static const Op DENSE = {TAPE_OP_DENSE, dense_forward, dense_backward, dense_workspace, .flops = dense_flops};

Tensor *op_dense(Tape *t, Tensor *x, const Weight *w, float *dw, float *dbias) {
    CHECK(x->cols == w->cols && w->bias);
    Node *n = node_add(t, &DENSE, x, NULL, NULL);
    n->args = (NodeArgs){.dense = {w, dw, dbias}};
    n->parameter_bytes = cost_weight_bytes(t, w);
    if (dw) n->trainable = true, n->reads_in = 1;
    return node_output(t, n, x->rows, w->rows);
}

// ---- dora: dy overwrites dout. From y, which backward reads, out is computed again ----

static void dora_forward(const Node *n, const Exec *x) {
    CALL(x, dora_forward, mat_out(n, 0), mat_in(n, 0), n->args.dora.bias, n->args.dora.loras);
}

static void dora_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "the input of dora must not have another reader");
    CALL(x, dora_backward, grad_in(n, 0), grad_out(n), mat_in(n, 0), n->args.dora.bias, n->args.dora.loras);
}

static const Op DORA = {TAPE_OP_DORA, dora_forward, dora_backward, .cheap = true, .reads_weights = true};

Tensor *op_dora(Tape *t, Tensor *y, const float *bias, const Lora *loras, int n_loras) {
    CHECK(n_loras > 0 && n_loras <= LORA_MAX_PAIRS && !y->whole);
    Node *n = node_add(t, &DORA, y, NULL, NULL);
    n->args.dora.bias = bias;
    n->reads_in = n->passes_grad = 1;
    for (int i = 0; i < n_loras; i++) {
        CHECK(loras[i].magnitude && loras[i].norm && loras[i].row_offset + loras[i].rows <= y->cols);
        n->args.dora.loras[i] = loras[i];
        n->trainable |= loras[i].dmagnitude != NULL;
    }
    n->args.dora.loras[0].more = n_loras - 1;
    return node_output(t, n, y->rows, y->cols);
}

// ---- columns: a view. If no input of the linear needs a gradient, only columns under a trained LoRA pair do; a
// rotation between the two changes nothing of that ----

static const Op COLUMNS = {TAPE_OP_COLUMNS, .view = true, .cheap = true};

static bool is_trained(const Node *linear, int64_t col, int64_t n) {
    for (int i = 0; i < linear->args.linear.n_loras; i++) {
        const Lora *l = &linear->args.linear.loras[i];
        if (l->da && l->row_offset < col + n && col < l->row_offset + l->rows) return true;
    }
    return false;
}

Tensor *op_columns(Tape *t, Tensor *x, int64_t col, int64_t n) {
    CHECK(!x->whole && !x->external && col >= 0 && n > 0 && col <= x->cols - n, "columns %ld to %ld of %ld", col,
          (col + n), x->cols);
    Node *node = node_add(t, &COLUMNS, x, NULL, NULL);
    Tensor *view = node_output(t, node, x->rows, n);
    const Node *p = &t->nodes[x->producer];
    if (p->op->id == TAPE_OP_ROPE && p->in[0]->producer != NO_NODE) p = &t->nodes[p->in[0]->producer];
    x->part_needs_grad = p->op == &LINEAR && !p->in[0]->needs_grad && !p->args.linear.residual;
    view->whole = x;
    view->column = col;
    view->needs_grad = x->needs_grad && (!x->part_needs_grad || is_trained(p, col, n));
    if (view->needs_grad) x->needs_elements += x->rows * n;
    return view;
}

// ---- chunks of rows: views of x, and the matrix that chunks make up ----

static const Op ROWS = {TAPE_OP_ROWS, .view = true, .cheap = true};

Tensor *op_rows(Tape *t, Tensor *x, int64_t first, int64_t n) {
    CHECK(!x->whole && !x->external && first >= 0 && n > 0 && first <= x->rows - n, "rows %ld to %ld of %ld", first,
          first + n, x->rows);
    Tensor *view = node_output(t, node_add(t, &ROWS, x, NULL, NULL), n, x->cols);
    view->whole = x;
    view->row = first;
    view->needs_grad = x->needs_grad;
    if (view->needs_grad) x->needs_elements += n * x->cols;
    return view;
}

static void stack_forward(const Node *n, const Exec *x) {
    Mat out = mat_out(n, 0);
    int64_t row = 0;
    for (int i = 0; i < n->n_in; row += n->in[i++]->rows)
        pass_to(mat_rows(out, row, n->in[i]->rows), mat_in(n, i), false, x);
}

static void stack_backward(const Node *n, const Exec *x) {
    int64_t row = 0;
    for (int i = 0; i < n->n_in; row += n->in[i++]->rows)
        pass_to(grad_in(n, i), mat_rows(grad_out(n), row, n->in[i]->rows), x->accumulate >> i & 1, x);
}

static const Op STACK = {TAPE_OP_STACK, .forward = stack_forward, .backward = stack_backward};

Tensor *op_stack(Tape *t, Tensor *const *parts, int n) {
    CHECK(n > 0 && n <= TAPE_MAX_STACKED);
    Node *node = node_add(t, &STACK, NULL, NULL, NULL);
    int64_t rows = 0;
    for (int i = 0; i < n; rows += parts[i++]->rows) {
        CHECK(!parts[i]->whole && parts[i]->cols == parts[0]->cols);
        node->in[node->n_in++] = parts[i];
    }
    return node_output(t, node, rows, parts[0]->cols);
}

// ---- rope: a rotation; its backward is the inverse rotation of dout, in place ----

static void rotate(const Node *n, const Exec *x, Mat m, bool inverse) {
    const RopeTable *r = &n->args.rope.table;
    if (n->args.rope.cols < m.cols) m.stride = mat_stride(m), m.cols = n->args.rope.cols;
    CALL(x, rope, m, r, inverse);
}

static void rope_forward(const Node *n, const Exec *x) { rotate(n, x, mat_out(n, 0), false); }

static void rope_backward(const Node *n, const Exec *x) { rotate(n, x, grad_in(n, 0), true); }

static const Op ROPE = {TAPE_OP_ROPE, rope_forward, rope_backward, .in_place = true};

Tensor *op_rope(Tape *t, Tensor *x, int64_t cols, const RopeTable *table) {
    CHECK(cols <= x->cols && cols % table->head_size == 0);
    Node *n = node_add(t, &ROPE, x, NULL, NULL);
    n->args = (NodeArgs){.rope = {*table, cols}};
    return node_output(t, n, x->rows, x->cols);
}

// ---- attention: in = q, k, v; out[1] = lse [Tq, H] ----

static AttentionCall attention_call(const Node *n, const Exec *x) {
    return (AttentionCall){.shape = &n->args.attention,
                           .q = mat_in(n, 0),
                           .k = mat_in(n, 1),
                           .v = mat_in(n, 2),
                           .out = mat_out(n, 0),
                           .lse = mat_out(n, 1),
                           .ws = x->ws};
}

static void attention_forward(const Node *n, const Exec *x) {
    AttentionCall c = attention_call(n, x);
    CALL(x, attention_forward, &c);
}

static void attention_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "q, k and v must not have another reader");
    AttentionCall c = attention_call(n, x);
    c.dout = grad_out(n);
    c.dq = grad_in(n, 0);
    c.dk = grad_in(n, 1);
    c.dv = grad_in(n, 2);
    CALL(x, attention_backward, &c);
}

static size_t attention_workspace(const Node *n, Backend *b, bool backward) {
    return b->k->attention_workspace(b, &n->args.attention, mat_in(n, 0), mat_in(n, 1), backward);
}

// A query sees half of its sample, all of it where attention is bidirectional, at most the window. Two products
// forward, five backward.
static double attention_flops(const Node *n, bool backward) {
    const AttentionShape *s = &n->args.attention;
    double keys = (double)n->in[1]->rows / (double)(s->samples ? s->samples : 1) / (s->bidirectional ? 1 : 2);
    if (s->window && (double)s->window < keys) keys = (double)s->window;
    return (backward ? 10 : 4) * (double)n->in[0]->rows * (double)n->in[0]->cols * keys;
}

static const Op ATTENTION = {TAPE_OP_ATTENTION, attention_forward, attention_backward, attention_workspace,
                             .inner_flops = attention_flops};

Tensor *op_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, const AttentionShape *shape) {
    tensor_check_same_shape(k, v, "attention k, v");
    CHECK(q->cols == shape->heads * shape->head_size && k->cols == shape->kv_heads * shape->head_size);
    Node *n = node_add(t, &ATTENTION, q, k, v);
    n->args.attention = *shape;
    n->reads_in = 7;
    n->reads_out = 3;
    Tensor *out = node_output(t, n, q->rows, q->cols);
    node_output_as(t, n, q->rows, shape->heads, DTYPE_F32);
    return out;
}

// ---- short convolution ----

static void conv_forward(const Node *n, const Exec *x) {
    CALL(x, short_conv_forward, mat_out(n, 0), mat_in(n, 0), n->args.conv.weight, n->args.conv.taps,
         &n->args.conv.shape);
}

static void conv_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "the input of a convolution must not have another reader");
    CALL(x, short_conv_backward, grad_in(n, 0), grad_out(n), n->args.conv.weight, n->args.conv.taps,
         &n->args.conv.shape);
}

static const Op SHORT_CONV = {TAPE_OP_SHORT_CONV, conv_forward, conv_backward, .cheap = true};

Tensor *op_short_conv(Tape *t, Tensor *x, int64_t queries, const ShortConv *conv) {
    Node *n = node_add(t, &SHORT_CONV, x, NULL, NULL);
    n->args.conv = *conv;
    return node_output(t, n, queries, x->cols);
}

// ---- rows ----

static void gather_forward(const Node *n, const Exec *x) {
    CALL(x, gather_rows_forward, mat_out(n, 0), mat_in(n, 0), n->args.index);
}

static void gather_backward(const Node *n, const Exec *x) {
    CALL(x, gather_rows_backward, grad_in(n, 0), grad_out(n), n->args.index, x->accumulate & 1);
}

static const Op GATHER = {TAPE_OP_GATHER_ROWS, gather_forward, gather_backward, .cheap = true};

Tensor *op_gather_rows(Tape *t, Tensor *x, const int32_t *index, int64_t m) {
    CHECK(m <= x->rows);
    Node *n = node_add(t, &GATHER, x, NULL, NULL);
    n->args.index = index;
    return node_output(t, n, m, x->cols);
}

static void cache_write_forward(const Node *n, const Exec *x) {
    CALL(x, scatter_rows, mat_out(n, 0), mat_in(n, 1), n->args.index);
}

static const Op CACHE_WRITE = {TAPE_OP_CACHE_WRITE, .forward = cache_write_forward};

Tensor *op_cache_write(Tape *t, Tensor *cache, Tensor *x, const int32_t *index) {
    CHECK(cache->external && cache->cols == x->cols);
    Node *n = node_add(t, &CACHE_WRITE, cache, x, NULL);
    n->args.index = index;
    Tensor *out = node_output(t, n, cache->rows, cache->cols);
    out->external = cache->external;
    return out;
}
