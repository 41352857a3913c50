#include "decode_engine.h"

#include <string.h>

#include "graph.h"

// The pieces with one adapter, as one row.
typedef struct DecodeRow {
    Tape *tape;
    DecodeInputs in;
} DecodeRow;

struct DecodeEngine {
    const Model *m;
    Backend *b;
    DecodeRow *rows; // [sequences]; their tapes are made when used
    Tape **tapes;
    void **arenas; // [sequences] in `arena`
    KvCache cache;
    int64_t max_tokens;
    int32_t *ints;    // device: all arrays of the rows' inputs, cos_sin last
    int32_t *staging; // host: the same
    Mat logits;       // [samples of the last run, vocab]
    int32_t *best;    // device [sequences]
    void *arena;      // of the tapes, and their workspace
    size_t arena_bytes;
};

enum { N_TOKEN_ARRAYS = 4, N_SAMPLE_ARRAYS = 6 };

// All arrays of the rows' inputs in one block: token arrays first, then sample arrays, each with room for one more
// entry a row, then cos_sin.
static int64_t sample_entries(const DecodeEngine *e) { return 2 * e->cache.sequences; }
static size_t ints_bytes(const DecodeEngine *e) {
    return (size_t)(N_TOKEN_ARRAYS * e->max_tokens + N_SAMPLE_ARRAYS * sample_entries(e)) * sizeof(int32_t);
}
static size_t rotations_bytes(const DecodeEngine *e, int64_t tokens) {
    const RopeConfig *r = &e->m->config.rope;
    return rope_is_by_length(r) ? (size_t)(tokens * r->rotated) * sizeof(float) : 0;
}
static size_t inputs_bytes(const DecodeEngine *e) { return ints_bytes(e) + rotations_bytes(e, e->max_tokens); }

// Of a row that begins with this token and this entry of the sample arrays.
static DecodeInputs place_inputs(const DecodeEngine *e, int32_t *base, int64_t token, int64_t entry) {
    int64_t t = e->max_tokens, s = sample_entries(e);
    int32_t *tokens = base + token, *samples = base + N_TOKEN_ARRAYS * t + entry;
    const RopeConfig *r = &e->m->config.rope;
    float *rotations = (float *)(base + N_TOKEN_ARRAYS * t + N_SAMPLE_ARRAYS * s);
    return (DecodeInputs){.ids = tokens,
                          .pos = tokens + t,
                          .cache_row = tokens + 2 * t,
                          .rotation = tokens + 3 * t,
                          .cos_sin = rope_is_by_length(r) ? rotations + token * r->rotated : NULL,
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

// Columns of a layer's keys in the cache, or of its values: a convolution has no values.
static int64_t cache_cols(const ModelConfig *c, int64_t layer, bool values) {
    return !c->layer_conv[layer] ? c->kv_heads * c->head_size : values ? 0 : c->hidden;
}

DecodeEngine *decode_engine_new(const Model *m, int64_t sequences, int64_t capacity, int64_t max_tokens) {
    const ModelConfig *c = &m->config;
    CHECK(capacity <= m->max_positions && max_tokens >= sequences);
    DecodeEngine *e = mem_calloc(1, sizeof *e);
    Backend *b = e->b = m->backend;
    e->m = m;
    e->max_tokens = max_tokens;
    e->cache = (KvCache){.capacity = capacity, .sequences = sequences};
    e->rows = mem_calloc((size_t)sequences, sizeof *e->rows);
    e->tapes = mem_calloc((size_t)sequences, sizeof *e->tapes);
    e->arenas = mem_calloc((size_t)sequences, sizeof *e->arenas);
    e->cache.k = mem_calloc((size_t)c->layers, sizeof *e->cache.k);
    e->cache.v = mem_calloc((size_t)c->layers, sizeof *e->cache.v);
    for (int64_t i = 0; i < c->layers; i++) {
        e->cache.k[i] = new_mat(b, sequences * capacity, cache_cols(c, i, false), b->activation);
        if (!c->layer_conv[i]) e->cache.v[i] = new_mat(b, sequences * capacity, cache_cols(c, i, true), b->activation);
    }
    e->ints = b->k->alloc(b, inputs_bytes(e));
    e->staging = mem_calloc(1, inputs_bytes(e));
    e->logits = new_mat(b, sequences, c->vocab, DTYPE_F32);
    e->best = b->k->alloc(b, (size_t)sequences * sizeof *e->best);
    return e;
}

void decode_engine_free(DecodeEngine *e) {
    if (!e) return;
    Backend *b = e->b;
    for (int64_t i = 0; i < e->m->config.layers; i++) {
        free_mat(b, e->cache.k[i]);
        if (e->cache.v[i].data) free_mat(b, e->cache.v[i]);
    }
    mem_free(e->cache.k);
    mem_free(e->cache.v);
    b->k->free(b, e->ints, inputs_bytes(e));
    mem_free(e->staging);
    e->logits.rows = e->cache.sequences;
    free_mat(b, e->logits);
    b->k->free(b, e->best, (size_t)e->cache.sequences * sizeof *e->best);
    if (e->arena) b->k->free(b, e->arena, e->arena_bytes);
    for (int64_t i = 0; i < e->cache.sequences; i++)
        if (e->rows[i].tape) tape_free(e->rows[i].tape);
    mem_free(e->rows);
    mem_free(e->tapes);
    mem_free(e->arenas);
    mem_free(e);
}

static size_t aligned(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

// The arena of a row of these tokens, a multiple of 64 bytes; *workspace grows to what its products need.
static size_t row_bytes(const DecodeEngine *e, int64_t tokens, int64_t samples, size_t *workspace) {
    void *nowhere = &e; // an address outside the arena; planning does not touch it
    DecodeInputs in = {.tokens = tokens, .samples = samples, .last = nowhere};
    Tape *t = tape_new(e->b);
    tape_share_workspace(t);
    graph_build_decode(t, e->m, NULL, &in, &e->cache, mat_of(nowhere, DTYPE_F32, samples, e->m->config.vocab));
    size_t bytes = aligned(tape_plan(t, TAPE_FORWARD)), ws = aligned(tapes_workspace(&t, 1));
    if (ws > *workspace) *workspace = ws;
    tape_free(t);
    return bytes;
}

// The first run of a prompt is the largest: all its tokens are new. More rows have the same tokens in all.
size_t decode_engine_bytes(const Model *m, int64_t sequences, int64_t capacity, int64_t max_tokens, int64_t rows) {
    const ModelConfig *c = &m->config;
    KvCache cache = {.capacity = capacity, .sequences = sequences};
    DecodeEngine e = {.m = m, .b = m->backend, .max_tokens = max_tokens, .cache = cache};
    int64_t keys = 0;
    e.cache.k = e.cache.v = mem_alloc((size_t)c->layers, sizeof *e.cache.k);
    for (int64_t i = 0; i < c->layers; i++) {
        e.cache.k[i] = mat_of(&e, m->backend->activation, sequences * capacity, cache_cols(c, i, false));
        keys += cache_cols(c, i, false) + cache_cols(c, i, true);
    }
    size_t workspace = 0, bytes = row_bytes(&e, max_tokens, sequences, &workspace);
    if (rows > 1) bytes += (size_t)(rows - 1) * row_bytes(&e, 1, 1, &workspace);
    mem_free(e.cache.k);
    return bytes + workspace + 2 * inputs_bytes(&e) + mat_bytes(sequences * capacity, keys, m->backend->activation) +
           mat_bytes(sequences, c->vocab, DTYPE_F32);
}

static void set_piece(const DecodeEngine *e, DecodeInputs *in, const DecodePiece *p) {
    const RopeConfig *r = &e->m->config.rope;
    int64_t t = in->tokens, s = in->samples, capacity = e->cache.capacity;
    CHECK(p->count > 0 && p->past + p->count <= capacity);
    in->q_start[s] = (int32_t)t;
    in->k_start[s] = (int32_t)(p->sequence * capacity);
    in->k_len[s] = (int32_t)(p->past + p->count);
    if (in->cos_sin) rope_rows(in->cos_sin + t * r->rotated, r, p->past, p->count, p->length);
    for (int64_t i = 0; i < p->count; i++, t++) {
        in->ids[t] = p->ids[i];
        in->pos[t] = (int32_t)(p->past + i);
        in->rotation[t] = (int32_t)t;
        in->cache_row[t] = (int32_t)(p->sequence * capacity + p->past + i);
    }
    in->last[s] = (int32_t)(t - 1);
    in->last_q_start[s] = (int32_t)s;
    in->last_pos[s] = in->pos[t - 1];
    in->tokens = t;
    in->samples = s + 1;
    in->q_start[s + 1] = (int32_t)t;
    in->last_q_start[s + 1] = (int32_t)(s + 1);
}

// The inputs of the row that begins with a piece, whose arrays begin with these entries; returns how many pieces it
// has.
static int64_t set_row(DecodeEngine *e, DecodeRow *row, const DecodePiece *pieces, int64_t n, int64_t token,
                       int64_t entry) {
    DecodeInputs host = place_inputs(e, e->staging, token, entry);
    int64_t count = 0, tokens = token;
    for (; count < n && pieces[count].adapter == pieces[0].adapter; count++) {
        tokens += pieces[count].count;
        CHECK(tokens <= e->max_tokens);
        set_piece(e, &host, &pieces[count]);
    }
    row->in = place_inputs(e, e->ints, token, entry);
    row->in.tokens = host.tokens;
    row->in.samples = host.samples;
    return count;
}

// Graphs are rebuilt each time: this takes microseconds, and adapters may have changed. Returns the bytes of the arena.
static size_t build_row(DecodeEngine *e, DecodeRow *row, const Adapter *a, Mat logits) {
    if (!row->tape) {
        row->tape = tape_new(e->b);
        tape_share_workspace(row->tape);
    }
    tape_reset(row->tape);
    graph_build_decode(row->tape, e->m, a, &row->in, &e->cache, logits);
    return aligned(tape_plan(row->tape, TAPE_FORWARD));
}

static void run_rows(DecodeEngine *e, size_t n, const size_t *bytes, size_t total) {
    for (size_t i = 0; i < n; i++) e->tapes[i] = e->rows[i].tape;
    size_t needed = total + tapes_workspace(e->tapes, n);
    if (needed > e->arena_bytes) {
        if (e->arena) e->b->k->free(e->b, e->arena, e->arena_bytes);
        e->arena = e->b->k->alloc(e->b, needed);
        e->arena_bytes = needed;
    }
    char *at = e->arena;
    for (size_t i = 0; i < n; at += bytes[i], i++) e->arenas[i] = at;
    tapes_run(e->tapes, e->arenas, n, at);
}

void decode_engine_run(DecodeEngine *e, const DecodePiece *pieces, int64_t n) {
    CHECK(n > 0 && n <= e->cache.sequences);
    AUTO_FREE size_t *bytes = mem_alloc((size_t)n, sizeof *bytes);
    size_t rows = 0, total = 0;
    int64_t tokens = 0;
    e->logits.rows = n;
    for (int64_t first = 0, count; first < n; first += count, rows++) {
        DecodeRow *row = &e->rows[rows];
        count = set_row(e, row, pieces + first, n - first, tokens, first + (int64_t)rows);
        bytes[rows] = build_row(e, row, pieces[first].adapter, mat_rows(e->logits, first, count));
        total += bytes[rows];
        tokens += row->in.tokens;
    }
    e->b->k->upload(e->b, e->ints, e->staging, ints_bytes(e) + rotations_bytes(e, tokens));
    run_rows(e, rows, bytes, total);
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
