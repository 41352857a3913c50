#include "decode_engine.h"

#include <string.h>

#include "graph.h"

struct DecodeEngine {
    const Model *m;
    Backend *b;
    Tape *tape;
    KvCache cache;
    DecodeInputs in;
    int64_t max_tokens;
    int32_t *ints;    // device: all arrays of `in`, cos_sin last
    int32_t *staging; // host: the same
    Mat logits;       // [samples of the last run, vocab]
    int32_t *best;    // device [sequences]
    void *arena;
    size_t arena_bytes;
};

enum { N_TOKEN_ARRAYS = 4, N_SAMPLE_ARRAYS = 6 };

// All arrays of `in` in one block: token arrays first, then sample arrays, each with room for one more entry, then
// cos_sin.
static size_t ints_bytes(const DecodeEngine *e) {
    return (size_t)(N_TOKEN_ARRAYS * e->max_tokens + N_SAMPLE_ARRAYS * (e->cache.sequences + 1)) * sizeof(int32_t);
}
static size_t rotations_bytes(const DecodeEngine *e, int64_t tokens) {
    const RopeConfig *r = &e->m->config.rope;
    return rope_is_by_length(r) ? (size_t)(tokens * r->rotated) * sizeof(float) : 0;
}
static size_t inputs_bytes(const DecodeEngine *e) { return ints_bytes(e) + rotations_bytes(e, e->max_tokens); }

static DecodeInputs place_inputs(const DecodeEngine *e, int32_t *base) {
    int64_t t = e->max_tokens, s = e->cache.sequences + 1;
    int32_t *samples = base + N_TOKEN_ARRAYS * t;
    bool by_length = rope_is_by_length(&e->m->config.rope);
    return (DecodeInputs){.ids = base,
                          .pos = base + t,
                          .cache_row = base + 2 * t,
                          .rotation = base + 3 * t,
                          .cos_sin = by_length ? (float *)(samples + N_SAMPLE_ARRAYS * s) : NULL,
                          .q_start = samples,
                          .k_start = samples + s,
                          .k_len = samples + 2 * s,
                          .last = samples + 3 * s,
                          .last_q_start = samples + 4 * s,
                          .last_pos = samples + 5 * s};
}

static size_t mat_bytes(int64_t rows, int64_t cols, DType dtype) {
    return (size_t)rows * (size_t)cols * (size_t)dtype_info(dtype)->bytes;
}

static Mat new_mat(Backend *b, int64_t rows, int64_t cols, DType dtype) {
    return mat_of(b->k->alloc(b, mat_bytes(rows, cols, dtype)), dtype, rows, cols);
}

static void free_mat(Backend *b, Mat m) { b->k->free(b, m.data, mat_bytes(m.rows, m.cols, m.dtype)); }

DecodeEngine *decode_engine_new(const Model *m, int64_t sequences, int64_t capacity, int64_t max_tokens) {
    const ModelConfig *c = &m->config;
    CHECK(capacity <= m->max_positions && max_tokens >= sequences);
    DecodeEngine *e = mem_calloc(1, sizeof *e);
    Backend *b = e->b = m->backend;
    e->m = m;
    e->tape = tape_new(b);
    e->max_tokens = max_tokens;
    e->cache = (KvCache){.capacity = capacity, .sequences = sequences};
    e->cache.k = mem_calloc((size_t)c->layers, sizeof *e->cache.k);
    e->cache.v = mem_calloc((size_t)c->layers, sizeof *e->cache.v);
    for (int64_t i = 0; i < c->layers; i++) {
        e->cache.k[i] = new_mat(b, sequences * capacity, c->kv_heads * c->head_size, b->activation);
        e->cache.v[i] = new_mat(b, sequences * capacity, c->kv_heads * c->head_size, b->activation);
    }
    e->ints = b->k->alloc(b, inputs_bytes(e));
    e->staging = mem_calloc(1, inputs_bytes(e));
    e->in = place_inputs(e, e->ints);
    e->logits = new_mat(b, sequences, c->vocab, DTYPE_F32);
    e->best = b->k->alloc(b, (size_t)sequences * sizeof *e->best);
    return e;
}

void decode_engine_free(DecodeEngine *e) {
    if (!e) return;
    Backend *b = e->b;
    for (int64_t i = 0; i < e->m->config.layers; i++) {
        free_mat(b, e->cache.k[i]);
        free_mat(b, e->cache.v[i]);
    }
    mem_free(e->cache.k);
    mem_free(e->cache.v);
    b->k->free(b, e->ints, inputs_bytes(e));
    mem_free(e->staging);
    e->logits.rows = e->cache.sequences;
    free_mat(b, e->logits);
    b->k->free(b, e->best, (size_t)e->cache.sequences * sizeof *e->best);
    if (e->arena) b->k->free(b, e->arena, e->arena_bytes);
    tape_free(e->tape);
    mem_free(e);
}

// The first run of a prompt is the largest: all its tokens are new.
size_t decode_engine_bytes(const Model *m, int64_t sequences, int64_t capacity, int64_t max_tokens) {
    const ModelConfig *c = &m->config;
    DecodeEngine e = {.m = m, .max_tokens = max_tokens, .cache = {.capacity = capacity, .sequences = sequences}};
    void *nowhere = &e; // an address outside the arena; planning does not touch it
    Mat layer = mat_of(nowhere, m->backend->activation, sequences * capacity, c->kv_heads * c->head_size);
    e.cache.k = e.cache.v = mem_alloc((size_t)c->layers, sizeof layer);
    for (int64_t i = 0; i < c->layers; i++) e.cache.k[i] = layer;
    e.in = (DecodeInputs){.tokens = max_tokens, .samples = sequences, .last = nowhere};
    Tape *t = tape_new(m->backend);
    graph_build_decode(t, m, NULL, &e.in, &e.cache, mat_of(nowhere, DTYPE_F32, sequences, c->vocab));
    size_t bytes = tape_plan(t, TAPE_FORWARD) + 2 * inputs_bytes(&e) +
                   2 * (size_t)c->layers * mat_bytes(layer.rows, layer.cols, layer.dtype) +
                   mat_bytes(sequences, c->vocab, DTYPE_F32);
    tape_free(t);
    mem_free(e.cache.k);
    return bytes;
}

static void set_inputs(DecodeEngine *e, const DecodePiece *pieces, int64_t n) {
    DecodeInputs host = place_inputs(e, e->staging);
    const RopeConfig *r = &e->m->config.rope;
    int64_t t = 0, capacity = e->cache.capacity;
    for (int64_t s = 0; s < n; s++) {
        const DecodePiece *p = &pieces[s];
        CHECK(p->count > 0 && p->past + p->count <= capacity && t + p->count <= e->max_tokens);
        host.q_start[s] = (int32_t)t;
        host.k_start[s] = (int32_t)(p->sequence * capacity);
        host.k_len[s] = (int32_t)(p->past + p->count);
        if (host.cos_sin) rope_rows(host.cos_sin + t * r->rotated, r, p->past, p->count, p->length);
        for (int64_t i = 0; i < p->count; i++, t++) {
            host.ids[t] = p->ids[i];
            host.pos[t] = (int32_t)(p->past + i);
            host.rotation[t] = (int32_t)t;
            host.cache_row[t] = (int32_t)(p->sequence * capacity + p->past + i);
        }
        host.last[s] = (int32_t)(t - 1);
        host.last_q_start[s] = (int32_t)s;
        host.last_pos[s] = host.pos[t - 1];
    }
    host.q_start[n] = (int32_t)t;
    host.last_q_start[n] = (int32_t)n;
    e->in.tokens = t;
    e->in.samples = n;
    e->b->k->upload(e->b, e->ints, e->staging, ints_bytes(e) + rotations_bytes(e, t));
}

// The graph is rebuilt each time: this takes microseconds, and the adapter may have changed.
void decode_engine_run(DecodeEngine *e, const Adapter *a, const DecodePiece *pieces, int64_t n) {
    CHECK(n > 0 && n <= e->cache.sequences);
    set_inputs(e, pieces, n);
    e->logits.rows = n;
    tape_reset(e->tape);
    graph_build_decode(e->tape, e->m, a, &e->in, &e->cache, e->logits);
    size_t bytes = tape_plan(e->tape, TAPE_FORWARD);
    if (bytes > e->arena_bytes) {
        if (e->arena) e->b->k->free(e->b, e->arena, e->arena_bytes);
        e->arena = e->b->k->alloc(e->b, bytes);
        e->arena_bytes = bytes;
    }
    tape_run(e->tape, e->arena);
}

void decode_engine_argmax(DecodeEngine *e, int32_t *best) {
    e->b->k->argmax(e->b, e->best, e->logits);
    e->b->k->download(e->b, best, e->best, (size_t)e->logits.rows * sizeof *best);
    e->b->k->sync(e->b);
}

void decode_engine_logits(DecodeEngine *e, int64_t i, float *logits) {
    const float *row = (const float *)e->logits.data + i * e->logits.cols;
    e->b->k->download(e->b, logits, row, (size_t)e->logits.cols * sizeof *logits);
    e->b->k->sync(e->b);
}
