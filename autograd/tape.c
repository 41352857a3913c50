// tape: records nodes and tensors, and runs the planned instructions.
#include "tape.h"

Tape *tape_new(Backend *b) {
    Tape *t = mem_calloc(1, sizeof *t);
    t->backend = b;
    t->regions[0] = region_new();
    t->regions[1] = region_new();
    tape_reset(t);
    return t;
}

void tape_free(Tape *t) {
    if (!t) return;
    for (size_t i = 0; i < t->n_chunks; i++) mem_free(t->chunks[i]);
    mem_free(t->chunks);
    mem_free(t->nodes);
    mem_free(t->instructions);
    mem_free(t->buffers);
    mem_free(t->ending);
    mem_free(t->waiting);
    if (t->host) t->backend->k->host_free(t->backend, t->host, t->host_bytes);
    region_free(t->regions[0]);
    region_free(t->regions[1]);
    mem_free(t);
}

void tape_reset(Tape *t) {
    t->n_nodes = t->n_tensors = t->n_instructions = t->n_buffers = 0;
    t->segment = NO_SEGMENT;
    t->n_segments = 0;
    t->stages = NULL;
    t->stage = TAPE_NO_STAGE;
}

static Tensor *tensor_new(Tape *t, int64_t rows, int64_t cols, DType dtype) {
    if (t->n_tensors == t->n_chunks * TENSORS_PER_CHUNK) {
        MEM_GROW(t->chunks, t->chunk_capacity, t->n_chunks + 1);
        t->chunks[t->n_chunks++] = mem_alloc(TENSORS_PER_CHUNK, sizeof(Tensor));
    }
    Tensor *x = tape_tensor_at(t, t->n_tensors++);
    size_t row_bytes;
    CHECK(rows >= 0 && cols > 0, "tensor of shape [%ld, %ld]", rows, cols);
    *x = (Tensor){
        .rows = rows, .cols = cols, .dtype = dtype, .producer = NO_NODE, .buffer = NO_BUFFER, .grad_buffer = NO_BUFFER};
    CHECK(dtype_bytes(dtype, (size_t)cols, &row_bytes) && size_mul((size_t)rows, row_bytes, &x->bytes));
    return x;
}

int64_t tensor_rows(const Tensor *x) { return x->rows; }
int64_t tensor_cols(const Tensor *x) { return x->cols; }

Tensor *tape_external(Tape *t, Mat m) {
    CHECK(mat_stride(m) == m.cols);
    Tensor *x = tensor_new(t, m.rows, m.cols, m.dtype);
    x->external = m.data;
    return x;
}

Node *node_add(Tape *t, const Op *op, Tensor *a, Tensor *b, Tensor *c) {
    MEM_GROW(t->nodes, t->node_capacity, t->n_nodes + 1);
    Node *n = &t->nodes[t->n_nodes++];
    CHECK(!op->makes_grad || t->segment == NO_SEGMENT, "%s in a checkpointed range", tape_op_name(op->id));
    *n = (Node){.op = op,
                .segment = t->segment,
                .stage = op->reads_weights ? t->stage : TAPE_NO_STAGE,
                .passes_grad = op->in_place};
    Tensor *inputs[] = {a, b, c};
    for (int i = 0; i < 3 && inputs[i]; i++) n->in[n->n_in++] = inputs[i];
    return n;
}

Tensor *node_output_as(Tape *t, Node *n, int64_t rows, int64_t cols, DType dtype) {
    CHECK(n->n_out < NODE_MAX_OUTPUTS);
    Tensor *x = tensor_new(t, rows, cols, dtype);
    x->producer = (int)(n - t->nodes);
    x->output = n->n_out;
    if (n->n_out == 0) {
        x->needs_grad = n->trainable;
        for (int i = 0; i < n->n_in; i++) x->needs_grad |= n->in[i]->needs_grad;
        x->needs_grad &= n->op->backward || n->op->makes_grad;
        if (n->op->in_place && n->in[0]->whole) {
            x->whole = n->in[0]->whole;
            x->row = n->in[0]->row;
            x->column = n->in[0]->column;
            n->in[0]->overwritten = true;
        }
    }
    n->out[n->n_out++] = x;
    return x;
}

Tensor *node_output(Tape *t, Node *n, int64_t rows, int64_t cols) {
    return node_output_as(t, n, rows, cols, t->backend->activation);
}

void tape_checkpoint_begin(Tape *t) {
    CHECK(t->segment == NO_SEGMENT, "checkpointed ranges do not nest");
    t->segment = t->n_segments++;
}

void tape_checkpoint_end(Tape *t) {
    CHECK(t->segment != NO_SEGMENT, "no checkpointed range is open");
    t->segment = NO_SEGMENT;
}

void tape_offload(Tape *t, Tensor *x) {
    CHECK(t->segment == NO_SEGMENT && !x->whole && !x->external, "not the input of a checkpointed range");
    x->offload = true;
}

void tensor_check_same_shape(const Tensor *a, const Tensor *b, const char *op) {
    CHECK(a->rows == b->rows && a->cols == b->cols, "%s: [%ld, %ld] and [%ld, %ld]", op, a->rows, a->cols, b->rows,
          b->cols);
}

TapeStats tape_stats(const Tape *t) { return t->stats; }

// ---- running ----

static void *address(const Tape *t, char *arena, int buffer) {
    if (buffer == NO_BUFFER) return NULL;
    size_t place = t->buffers[buffer].place;
    if (place & PLACE_TEMPORARY) return t->temporary + (place & ~PLACE_TEMPORARY);
    return arena + place;
}

// The workspace that the op needs now must not exceed the planned one.
static void check_workspace(const Tape *t, const Instruction *in, const Node *n) {
    if (!n->op->workspace) return;
    size_t planned = t->shares_workspace          ? t->most_workspace
                     : in->ws_buffer == NO_BUFFER ? 0
                                                  : t->buffers[in->ws_buffer].bytes;
    size_t wanted = n->op->workspace(n, t->backend, in->backward);
    CHECK(wanted <= planned, "%s: a workspace of %zu bytes, expected %zu", tape_op_name(n->op->id), planned, wanted);
}

Exec tape_bind(Tape *t, const Instruction *in, char *arena, void *ws) {
    const Node *n = &t->nodes[in->node];
    check_workspace(t, in, n);
    int places = in->backward ? n->n_in : n->n_out;
    for (int i = 0; i < places; i++) {
        void *p = address(t, arena, in->buffers[i]);
        if (p && in->backward) tensor_whole(n->in[i])->grad = p;
        if (p && !in->backward) tensor_whole(n->out[i])->data = p;
    }
    return (Exec){.backend = t->backend,
                  .ws = t->shares_workspace ? ws : address(t, arena, in->ws_buffer),
                  .accumulate = in->accumulate,
                  .training = t->mode == TAPE_TRAIN};
}

void tape_run_instruction(Tape *t, const Instruction *in, char *arena, void *ws) {
    if (in->kind == INSTRUCTION_STAGE) {
        stages_run(t, in);
        return;
    }
    if (in->kind != INSTRUCTION_RUN) {
        offload_run(t, in, address(t, arena, in->buffers[0]));
        return;
    }
    const Node *n = &t->nodes[in->node];
    Exec x = tape_bind(t, in, arena, ws);
    (in->backward ? n->op->backward : n->op->forward)(n, &x);
    if (n->op->makes_grad) n->in[0]->grad = n->out[0]->data;
}

static void begin(Tape *t, const void *kept, void *temporary) {
    CHECK(t->n_instructions > 0 || t->n_nodes == 0, "the tape is not planned");
    CHECK((uintptr_t)kept % 64 == 0 && (uintptr_t)temporary % 64 == 0);
    t->temporary = temporary;
    for (size_t i = 0; i < t->n_tensors; i++) {
        Tensor *x = tape_tensor_at(t, i);
        x->data = x->external;
        x->grad = NULL;
    }
    offload_reserve(t);
}

void tape_begin(Tape *t, void *arena) { begin(t, arena, (char *)arena + t->stats.kept_bytes); }

static void run_range(Tape *t, size_t from, size_t to, void *kept) {
    for (size_t i = from; i < to; i++) tape_run_instruction(t, &t->instructions[i], kept, NULL);
}

// Between the halves of a run the temporary memory is another tape's.
static void check_turn(const Tape *t) {
    for (size_t i = 0; i < t->n_buffers && t->turn != SIZE_MAX; i++) {
        const Buffer *b = &t->buffers[i];
        CHECK(b->keep || (size_t)b->first >= t->turn || (size_t)b->last <= t->turn, "a temporary buffer at the turn");
    }
}

void tape_run_forward(Tape *t, void *kept, void *temporary) {
    CHECK(!t->shares_workspace && t->mode == TAPE_TRAIN && t->turn < t->n_instructions, "no op_send");
    check_turn(t);
    begin(t, kept, temporary);
    run_range(t, 0, t->turn, kept);
}

void tape_run_backward(Tape *t, void *kept, void *temporary) {
    t->temporary = temporary;
    run_range(t, t->turn, t->n_instructions, kept);
}

void tape_run(Tape *t, void *arena) {
    CHECK(!t->shares_workspace, "its workspace is that of tapes_run");
    tape_begin(t, arena);
    run_range(t, 0, t->n_instructions, arena);
}

const char *tape_op_name(TapeOp op) {
#define TAPE_OP_NAME(id, name) [TAPE_OP_##id] = (name),
    static const char *const names[] = {TAPE_OPS(TAPE_OP_NAME)};
    return names[op];
}
