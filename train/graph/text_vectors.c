#include "text_vectors.h"

#include "graph.h"
#include "logits.h"

struct TextVectors {
    const Model *m;
    const Adapter *a;
    Pooling pooling;
    Tape *tape;
    PassInputs *in;
    void *arena;
    size_t arena_bytes;
};

TextVectors *text_vectors_new(const Model *m, const Adapter *a, Pooling pooling) {
    TextVectors *v = mem_calloc(1, sizeof *v);
    *v = (TextVectors){.m = m, .a = a, .pooling = pooling, .tape = tape_new(m->backend)};
    return v;
}

static void free_arena(TextVectors *v) {
    Backend *b = v->m->backend;
    if (v->arena) b->k->free(b, v->arena, v->arena_bytes);
    v->arena = NULL;
}

void text_vectors_free(TextVectors *v) {
    if (!v) return;
    free_arena(v);
    pass_inputs_free(v->in);
    tape_free(v->tape);
    mem_free(v);
}

static int check_text(const Model *m, const TextTokens *t, Err *err) {
    if (t->count < 1 || t->count > m->max_positions)
        return err_input(err, "%ld token ids; expected 1 to %ld, the positions of %s", t->count, m->max_positions,
                         m->path);
    return model_check_ids(m, t->ids, t->count, err);
}

static void reserve(TextVectors *v, int64_t tokens, int64_t samples) {
    const PassInputs *in = v->in;
    if (in && in->capacity.tokens >= tokens && in->capacity.samples >= samples) return;
    if (in) tokens = max64(tokens, in->capacity.tokens), samples = max64(samples, in->capacity.samples);
    pass_inputs_free(v->in);
    v->in = pass_inputs_new_embeddings(v->m, tokens, samples);
}

// The texts as one row. The arrays are one block, which the caller frees.
static int32_t *fill_row(Row *row, const TextTokens *texts, int64_t n, int64_t tokens, Pooling pooling) {
    int32_t *block = mem_calloc((size_t)(4 * tokens + n + 1), sizeof *block);
    *row = (Row){.ids = block,
                 .pos = block + tokens,
                 .position = block + 2 * tokens,
                 .target = block + 3 * tokens,
                 .start = block + 4 * tokens};
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < texts[i].count; k++) {
            bool scored = pooling == POOLING_MEAN || k == (pooling == POOLING_CLS ? 0 : texts[i].count - 1);
            if (scored) row->position[row->scored++] = (int32_t)row->tokens;
            row->ids[row->tokens] = texts[i].ids[k];
            row->pos[row->tokens++] = (int32_t)k;
        }
        row->start[++row->samples] = (int32_t)row->tokens;
    }
    return block;
}

static void run_row(TextVectors *v, const Row *row, float *out) {
    Backend *b = v->m->backend;
    pass_inputs_set(v->in, row, v->m->config.hidden, (PassState){0}); // reads the row only
    tape_reset(v->tape);
    graph_build_vectors(v->tape, v->m, v->a, v->in, NULL);
    size_t bytes = tape_plan(v->tape, TAPE_FORWARD);
    if (bytes > v->arena_bytes) {
        free_arena(v);
        v->arena = b->k->alloc(b, v->arena_bytes = bytes);
    }
    tape_run(v->tape, v->arena);
    b->k->download(b, out, v->in->vectors, (size_t)(row->samples * v->m->config.hidden) * sizeof *out);
    b->k->sync(b);
}

int text_vectors_run(TextVectors *v, const TextTokens *texts, int64_t n, float *out, Err *err) {
    int64_t tokens = 0;
    for (int64_t i = 0; i < n; tokens += texts[i++].count)
        if (check_text(v->m, &texts[i], err)) return -1;
    Row row;
    reserve(v, tokens, n);
    AUTO_FREE int32_t *block = fill_row(&row, texts, n, tokens, v->pooling);
    run_row(v, &row, out);
    return v->m->backend->k->status(v->m->backend, err); // the pass may not have fitted the device
}
