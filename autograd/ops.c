// ops: the ops of the graph. One op = its forward, its backward, its table row, its builder, in the order of kernels.h.
//
// The functions only hand tensors to the backend's slots; the mathematics stands in kernels.h.
#include "tape.h"

static const Kernels *kernels(const Exec *x) {
    return x->backend->k;
}

static void check_same_shape(const Tensor *a, const Tensor *b, const char *op) {
    CHECK(a->rows == b->rows && a->cols == b->cols, "%s: [%lld, %lld] and [%lld, %lld]", op, (long long)a->rows,
          (long long)a->cols, (long long)b->rows, (long long)b->cols);
}

// --- embed: no backward, the table is frozen ---

static void embed_forward(const Node *n, const Exec *x) {
    kernels(x)->embed_forward(x->backend, tensor_mat(n->out[0]), n->args.embed.w, n->args.embed.ids,
                              n->args.embed.scale);
}

static const Op EMBED = {.name = "embed", .forward = embed_forward};

Tensor *op_embed(Tape *t, const Weight *w, const int32_t *ids, int64_t tokens, float scale) {
    Node *n = node_add(t, &EMBED, NULL, NULL, NULL);
    n->args.embed.w = w;
    n->args.embed.ids = ids;
    n->args.embed.scale = scale;
    return node_output(t, n, tokens, w->cols);
}

// --- neftune: noise on the embedding; nothing trainable lies below it ---

static void neftune_forward(const Node *n, const Exec *x) {
    kernels(x)->neftune(x->backend, tensor_mat(n->out[0]), n->args.neftune.magnitude, n->args.neftune.alpha,
                        n->args.neftune.key);
}

static const Op NEFTUNE = {.name = "neftune", .in_place = true, .forward = neftune_forward};

Tensor *op_neftune(Tape *t, Tensor *x, const float *magnitude, float alpha, RngKey key) {
    Node *n = node_add(t, &NEFTUNE, x, NULL, NULL);
    n->args.neftune.magnitude = magnitude;
    n->args.neftune.alpha = alpha;
    n->args.neftune.key = key;
    return node_output(t, n, x->rows, x->cols);
}

// --- rmsnorm: out[1] = rstd [T, 1] ---

static void rmsnorm_forward(const Node *n, const Exec *x) {
    kernels(x)->rmsnorm_forward(x->backend, tensor_mat(n->out[0]), tensor_mat(n->out[1]), tensor_mat(n->in[0]),
                                n->args.rmsnorm.weight, n->args.rmsnorm.eps);
}

static void rmsnorm_backward(const Node *n, const Exec *x) {
    kernels(x)->rmsnorm_backward(x->backend, tensor_grad(n->in[0]), tensor_grad(n->out[0]), tensor_mat(n->in[0]),
                                 tensor_mat(n->out[1]), n->args.rmsnorm.weight, x->accumulate & 1);
}

static const Op RMSNORM = {.name = "rmsnorm", .cheap = true, .forward = rmsnorm_forward, .backward = rmsnorm_backward};

Tensor *op_rmsnorm(Tape *t, Tensor *x, const float *weight, float eps) {
    Node *n = node_add(t, &RMSNORM, x, NULL, NULL);
    n->args.rmsnorm.weight = weight;
    n->args.rmsnorm.eps = eps;
    n->reads_in = 1;
    n->reads_out = 2;
    Tensor *out = node_output(t, n, x->rows, x->cols);
    node_output(t, n, x->rows, 1);
    return out;
}

// --- linear with LoRA: in[0] = x, in[1] = residual; out[1 + i] = xa of pair i ---

static void linear_forward(const Node *n, const Exec *x) {
    Mat out = tensor_mat(n->out[0]), in = tensor_mat(n->in[0]);
    Mat residual = n->args.linear.residual ? tensor_mat(n->in[1]) : (Mat){0};
    kernels(x)->linear_forward(x->backend, out, in, n->args.linear.w, residual, x->ws);
    for (int i = 0; i < n->args.linear.n_loras; i++)
        kernels(x)->lora_forward(x->backend, out, tensor_mat(n->out[1 + i]), in, &n->args.linear.loras[i], x->ws);
}

static void linear_backward(const Node *n, const Exec *x) {
    Mat dout = tensor_grad(n->out[0]), dx = tensor_grad(n->in[0]);
    if (dx.data) kernels(x)->linear_backward(x->backend, dx, dout, n->args.linear.w, x->accumulate & 1, x->ws);
    for (int i = 0; i < n->args.linear.n_loras; i++)
        kernels(x)->lora_backward(x->backend, dx, dout, tensor_mat(n->in[0]), tensor_mat(n->out[1 + i]),
                                  &n->args.linear.loras[i], x->ws);
    if (n->args.linear.residual && x->accumulate & 2) kernels(x)->add(x->backend, tensor_grad(n->in[1]), dout);
}

static size_t linear_workspace(const Node *n, Backend *b, bool backward) {
    (void)backward;
    const Tensor *x = n->in[0];
    size_t most = b->k->linear_workspace(b, n->args.linear.w, x->rows);
    for (int i = 0; i < n->args.linear.n_loras; i++) {
        size_t bytes = b->k->lora_workspace(b, &n->args.linear.loras[i], x->rows, x->cols);
        if (bytes > most) most = bytes;
    }
    return most;
}

static double linear_flops(const Node *n, bool backward) {
    double t = (double)n->in[0]->rows, k = (double)n->in[0]->cols, flops = 0;
    bool wants_dx = n->in[0]->needs_grad;
    if (!backward || wants_dx) flops += 2 * t * k * (double)n->args.linear.w->rows;
    for (int i = 0; i < n->args.linear.n_loras; i++) {
        const Lora *l = &n->args.linear.loras[i];
        double down = 2 * t * k * (double)l->rank, up = 2 * t * (double)l->rank * (double)l->rows;
        // backward: dxa and dB as up; dA and dx as down
        flops += backward ? 2 * up + (wants_dx ? 2 : 1) * down : up + down;
    }
    return flops;
}

static const Op LINEAR = {.name = "linear",
                          .forward = linear_forward,
                          .backward = linear_backward,
                          .workspace = linear_workspace,
                          .flops = linear_flops};

Tensor *op_linear(Tape *t, Tensor *x, const Weight *w, Tensor *residual, const Lora *loras, int n_loras) {
    CHECK(x->cols == w->cols, "%s takes %lld columns, got %lld", w->name, (long long)w->cols, (long long)x->cols);
    CHECK(n_loras <= NODE_MAX_LORAS);
    CHECK(!residual || (residual != x && residual->rows == x->rows && residual->cols == w->rows));
    Node *n = node_add(t, &LINEAR, x, residual, NULL);
    n->args.linear.w = w;
    n->args.linear.n_loras = n_loras;
    n->args.linear.residual = residual != NULL;
    if (residual) n->passes_grad = 1;
    for (int i = 0; i < n_loras; i++) {
        n->args.linear.loras[i] = loras[i];
        if (!loras[i].da) continue;
        n->trainable = true;
        n->reads_in |= 1;
        n->reads_out |= 2u << i;
    }
    Tensor *out = node_output(t, n, x->rows, w->rows);
    for (int i = 0; i < n_loras; i++) node_output(t, n, x->rows, loras[i].rank);
    return out;
}

// --- rope: a rotation; its backward is the inverse rotation of dout, in place ---

static void rope_forward(const Node *n, const Exec *x) {
    kernels(x)->rope(x->backend, tensor_mat(n->out[0]), n->args.rope.cos_sin, n->args.rope.pos, n->args.rope.head_size,
                     false);
}

static void rope_backward(const Node *n, const Exec *x) {
    kernels(x)->rope(x->backend, tensor_grad(n->in[0]), n->args.rope.cos_sin, n->args.rope.pos, n->args.rope.head_size,
                     true);
}

static const Op ROPE = {.name = "rope", .in_place = true, .forward = rope_forward, .backward = rope_backward};

Tensor *op_rope(Tape *t, Tensor *x, const float *cos_sin, const int32_t *pos, int64_t head_size) {
    CHECK(x->cols % head_size == 0);
    Node *n = node_add(t, &ROPE, x, NULL, NULL);
    n->args.rope.cos_sin = cos_sin;
    n->args.rope.pos = pos;
    n->args.rope.head_size = head_size;
    return node_output(t, n, x->rows, x->cols);
}

// --- attention: in = q, k, v; out[1] = lse [Tq, H] ---

static void attention_forward(const Node *n, const Exec *x) {
    kernels(x)->attention_forward(x->backend, tensor_mat(n->out[0]), tensor_mat(n->out[1]), tensor_mat(n->in[0]),
                                  tensor_mat(n->in[1]), tensor_mat(n->in[2]), &n->args.attention, x->ws);
}

static void attention_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "q, k and v must not have another reader");
    kernels(x)->attention_backward(x->backend, tensor_grad(n->in[0]), tensor_grad(n->in[1]), tensor_grad(n->in[2]),
                                   tensor_grad(n->out[0]), tensor_mat(n->out[0]), tensor_mat(n->out[1]),
                                   tensor_mat(n->in[0]), tensor_mat(n->in[1]), tensor_mat(n->in[2]), &n->args.attention,
                                   x->ws);
}

static size_t attention_workspace(const Node *n, Backend *b, bool backward) {
    return b->k->attention_workspace(b, &n->args.attention, n->in[0]->rows, n->in[1]->rows, backward);
}

static const Op ATTENTION = {.name = "attention",
                             .forward = attention_forward,
                             .backward = attention_backward,
                             .workspace = attention_workspace};

Tensor *op_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, const AttentionShape *shape) {
    check_same_shape(k, v, "attention k, v");
    CHECK(q->cols == shape->heads * shape->head_size && k->cols == shape->kv_heads * shape->head_size);
    Node *n = node_add(t, &ATTENTION, q, k, v);
    n->args.attention = *shape;
    n->reads_in = 7;
    n->reads_out = 3;
    Tensor *out = node_output(t, n, q->rows, q->cols);
    node_output(t, n, q->rows, shape->heads);
    return out;
}

// --- glu: in = gate, up ---

static void glu_forward(const Node *n, const Exec *x) {
    kernels(x)->glu_forward(x->backend, tensor_mat(n->out[0]), tensor_mat(n->in[0]), tensor_mat(n->in[1]),
                            n->args.glu.kind);
}

static void glu_backward(const Node *n, const Exec *x) {
    CHECK(!x->accumulate, "gate and up must not have another reader");
    kernels(x)->glu_backward(x->backend, tensor_grad(n->in[0]), tensor_grad(n->in[1]), tensor_grad(n->out[0]),
                             tensor_mat(n->in[0]), tensor_mat(n->in[1]), n->args.glu.kind);
}

static const Op GLU = {.name = "glu", .cheap = true, .forward = glu_forward, .backward = glu_backward};

Tensor *op_glu(Tape *t, Tensor *gate, Tensor *up, GluKind kind) {
    check_same_shape(gate, up, "glu");
    // The kernel writes both gradients: where an adapter below asks for one only, the other goes no further.
    gate->needs_grad = up->needs_grad = gate->needs_grad || up->needs_grad;
    Node *n = node_add(t, &GLU, gate, up, NULL);
    n->args.glu.kind = kind;
    n->reads_in = 3;
    return node_output(t, n, gate->rows, gate->cols);
}

// --- rows ---

static void gather_forward(const Node *n, const Exec *x) {
    kernels(x)->gather_rows_forward(x->backend, tensor_mat(n->out[0]), tensor_mat(n->in[0]), n->args.rows.index);
}

static void gather_backward(const Node *n, const Exec *x) {
    kernels(x)->gather_rows_backward(x->backend, tensor_grad(n->in[0]), tensor_grad(n->out[0]), n->args.rows.index,
                                     x->accumulate & 1);
}

static const Op GATHER = {.name = "gather_rows", .cheap = true, .forward = gather_forward, .backward = gather_backward};

Tensor *op_gather_rows(Tape *t, Tensor *x, const int32_t *index, int64_t m) {
    CHECK(m <= x->rows);
    Node *n = node_add(t, &GATHER, x, NULL, NULL);
    n->args.rows.index = index;
    return node_output(t, n, m, x->cols);
}

static void cache_write_forward(const Node *n, const Exec *x) {
    kernels(x)->scatter_rows(x->backend, tensor_mat(n->out[0]), tensor_mat(n->in[1]), n->args.rows.index);
}

static const Op CACHE_WRITE = {.name = "cache_write", .forward = cache_write_forward};

Tensor *op_cache_write(Tape *t, Tensor *cache, Tensor *x, const int32_t *index) {
    CHECK(cache->external && cache->cols == x->cols);
    Node *n = node_add(t, &CACHE_WRITE, cache, x, NULL);
    n->args.rows.index = index;
    Tensor *out = node_output(t, n, cache->rows, cache->cols);
    out->external = cache->external;
    return out;
}

// --- head: out[0] is the gradient of in[0], made by forward while the logits of a chunk are at hand ---

static void head_forward(const Node *n, const Exec *x) {
    bool wants_dx = x->training && n->in[0]->needs_grad;
    Mat dx = wants_dx ? tensor_mat(n->out[0]) : (Mat){0};
    kernels(x)->head_loss(x->backend, n->args.head.result, dx, tensor_mat(n->in[0]), n->args.head.w, &n->args.head.loss,
                          x->ws);
}

static size_t head_workspace(const Node *n, Backend *b, bool backward) {
    (void)backward;
    return b->k->head_loss_workspace(b, n->args.head.w, n->in[0]->rows);
}

static double head_flops(const Node *n, bool backward) {
    (void)backward;
    double product = 2 * (double)n->in[0]->rows * (double)n->in[0]->cols * (double)n->args.head.w->rows;
    return n->in[0]->needs_grad ? 2 * product : product;
}

static const Op HEAD_LOSS = {
    .name = "head_loss", .makes_grad = true, .forward = head_forward, .workspace = head_workspace, .flops = head_flops};

void op_head_loss(Tape *t, Tensor *x, const Weight *w, const HeadLoss *loss, HeadResult *result) {
    CHECK(x->cols == w->cols);
    Node *n = node_add(t, &HEAD_LOSS, x, NULL, NULL);
    n->args.head.w = w;
    n->args.head.loss = *loss;
    n->args.head.result = result;
    node_output(t, n, x->rows, x->cols);
}

// --- logits: the product alone, into the caller's memory ---

static void logits_forward(const Node *n, const Exec *x) {
    kernels(x)->linear_forward(x->backend, n->args.logits.out, tensor_mat(n->in[0]), n->args.logits.w, (Mat){0}, x->ws);
}

static size_t logits_workspace(const Node *n, Backend *b, bool backward) {
    (void)backward;
    return b->k->linear_workspace(b, n->args.logits.w, n->in[0]->rows);
}

static const Op LOGITS = {.name = "logits", .forward = logits_forward, .workspace = logits_workspace};

void op_logits(Tape *t, Tensor *x, const Weight *w, Mat out) {
    CHECK(x->cols == w->cols && out.rows == x->rows && out.cols == w->rows);
    Node *n = node_add(t, &LOGITS, x, NULL, NULL);
    n->args.logits.w = w;
    n->args.logits.out = out;
}
