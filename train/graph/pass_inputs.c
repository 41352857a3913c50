#include "pass_inputs.h"

#include <math.h>
#include <string.h>

enum { ALIGN = 64 };

typedef struct Cursor {
    char *base;
    size_t used;
} Cursor;

static void *take(Cursor *c, int64_t n, size_t size) {
    void *p = c->base ? c->base + c->used : NULL;
    c->used += ((size_t)n * size + ALIGN - 1) / ALIGN * ALIGN;
    return p;
}

static int32_t *take_ints(Cursor *c, int64_t n) { return take(c, n, sizeof(int32_t)); }

static bool has_keys(const PassInputs *in) { return !in->backend->host_memory; }

// The arrays of a pass in `base`; returns the bytes up to their end.
static size_t lay_out(PassArrays *a, char *base, PassShape s, const PassInputs *in) {
    Cursor c = {.base = base};
    *a = (PassArrays){.state = take(&c, 1, sizeof *a->state)};
    a->ids = take_ints(&c, s.tokens);
    a->pos = take_ints(&c, s.tokens);
    a->type = take_ints(&c, s.tokens);
    a->neftune = take(&c, s.tokens, sizeof *a->neftune);
    a->start = take_ints(&c, s.samples + 1);
    a->length = take_ints(&c, s.samples);
    a->q_start = take_ints(&c, s.samples + 1);
    a->position = take_ints(&c, s.scored);
    a->target = take_ints(&c, s.scored);
    a->q_pos = take_ints(&c, s.scored);
    if (in->extras.width) a->values = take(&c, s.scored * in->extras.width, sizeof *a->values);
    if (in->extras.preferences) {
        a->answer = take_ints(&c, s.scored);
        a->desirable = take_ints(&c, s.samples);
    }
    if (in->extras.soft.given) {
        a->soft_ids = take_ints(&c, s.scored * in->extras.soft.k);
        a->soft_values = take(&c, s.scored * in->extras.soft.k, sizeof *a->soft_values);
    }
    if (has_keys(in)) {
        a->key_index = take_ints(&c, s.tokens);
        a->key_row = take_ints(&c, s.tokens);
        a->scored_key_index = take_ints(&c, s.scored);
        a->scored_key_row = take_ints(&c, s.scored);
    }
    if (in->rope) {
        a->cos_sin = take(&c, s.tokens * in->rope->rotated, sizeof *a->cos_sin);
        a->rotation = take_ints(&c, s.tokens);
        a->scored_rotation = take_ints(&c, s.scored);
    }
    return c.used;
}

static size_t logit_bytes(const PassInputs *in) {
    return (size_t)(in->extras.max_scored * in->extras.width) * sizeof *in->logits;
}

static size_t soft_bytes(SoftInputs soft, int64_t scored) {
    return (size_t)(scored * soft.k) * (sizeof(int32_t) + sizeof(float));
}

size_t pass_inputs_soft_bytes(SoftInputs soft, int64_t scored) {
    return soft_bytes(soft, scored) * (soft.given ? 2 : 1);
}

PassInputs *pass_inputs_new_with(const Model *m, int64_t max_tokens, int64_t max_samples, PassExtras extras) {
    PassInputs *in = mem_calloc(1, sizeof *in);
    Backend *b = m->backend;
    in->extras = extras;
    PassShape capacity = {max_tokens, max_samples, extras.width ? extras.max_scored : max_tokens, 0};
    in->backend = b;
    in->rope = rope_is_by_length(&m->config.rope) ? &m->config.rope : NULL;
    in->capacity = capacity;
    PassArrays unused;
    in->block_bytes = lay_out(&unused, NULL, capacity, in);
    in->block = b->k->alloc(b, in->block_bytes);
    in->predicted = b->k->alloc(b, (size_t)capacity.scored * sizeof *in->predicted);
    in->result = b->k->alloc(b, sizeof *in->result);
    in->staging = mem_calloc(1, in->block_bytes);
    if (extras.width) in->logits = b->k->alloc(b, logit_bytes(in));
    if (extras.soft.k && !extras.soft.given) {
        in->soft_ids = b->k->alloc(b, soft_bytes(extras.soft, capacity.scored));
        in->soft_values = (float *)in->soft_ids + capacity.scored * extras.soft.k;
    }
    if (!extras.preferences) return in;
    in->token_loss = b->k->alloc(b, 2 * (size_t)capacity.scored * sizeof *in->token_loss);
    in->reference_loss = in->token_loss + capacity.scored;
    return in;
}

PassInputs *pass_inputs_new(const Model *m, int64_t max_tokens, int64_t max_samples) {
    return pass_inputs_new_with(m, max_tokens, max_samples, (PassExtras){0});
}

static size_t vectors_bytes(const PassInputs *in) {
    return (size_t)(in->capacity.samples * in->vector_cols) * sizeof *in->vectors;
}

PassInputs *pass_inputs_new_embeddings(const Model *m, int64_t max_tokens, int64_t max_samples) {
    PassInputs *in = pass_inputs_new(m, max_tokens, max_samples);
    in->vector_cols = m->config.hidden;
    in->vectors = in->backend->k->alloc(in->backend, vectors_bytes(in));
    return in;
}

void pass_inputs_free(PassInputs *in) {
    if (!in) return;
    Backend *b = in->backend;
    b->k->free(b, in->block, in->block_bytes);
    b->k->free(b, in->predicted, (size_t)in->capacity.scored * sizeof *in->predicted);
    b->k->free(b, in->result, sizeof *in->result);
    if (in->logits) b->k->free(b, in->logits, logit_bytes(in));
    if (in->token_loss) b->k->free(b, in->token_loss, 2 * (size_t)in->capacity.scored * sizeof *in->token_loss);
    if (in->vectors) b->k->free(b, in->vectors, vectors_bytes(in));
    if (in->soft_ids) b->k->free(b, in->soft_ids, soft_bytes(in->extras.soft, in->capacity.scored));
    mem_free(in->staging);
    mem_free(in);
}

void pass_inputs_shape(PassInputs *in, PassShape s) {
    const PassShape *most = &in->capacity;
    CHECK(s.tokens <= most->tokens && s.samples <= most->samples && s.scored <= most->scored,
          "a pass of %ld tokens, %ld samples, %ld scored", s.tokens, s.samples, s.scored);
    in->shape = s;
    in->used_bytes = lay_out(&in->at, in->block, s, in);
}

// ---- filling ----

static void fill(int32_t *p, int64_t from, int64_t to, int32_t value) {
    for (int64_t i = from; i < to; i++) p[i] = value;
}

static void copy(int32_t *to, const int32_t *from, int64_t n, int64_t padded, int32_t padding) {
    if (n) memcpy(to, from, (size_t)n * sizeof *to);
    fill(to, n, padded, padding);
}

static void pack_tokens(const PassArrays *a, const Row *row, PassShape s) {
    copy(a->ids, row->ids, row->tokens, s.tokens, 0);
    copy(a->pos, row->pos, row->tokens, s.tokens, 0);
    if (row->type)
        copy(a->type, row->type, row->tokens, s.tokens, 0);
    else
        fill(a->type, 0, s.tokens, 0);
}

// Samples of padding are empty and follow the last token.
static void pack_samples(const PassArrays *a, const Row *row, PassShape s, int64_t hidden) {
    copy(a->start, row->start, row->samples + 1, s.samples + 1, (int32_t)row->tokens);
    for (int64_t i = 0; i < s.samples; i++) a->length[i] = a->start[i + 1] - a->start[i];
    for (int64_t i = 0; i < row->samples; i++)
        for (int64_t t = row->start[i]; t < row->start[i + 1]; t++)
            a->neftune[t] = 1.0f / sqrtf((float)(row->start[i + 1] - row->start[i]) * (float)hidden);
    for (int64_t t = row->tokens; t < s.tokens; t++) a->neftune[t] = 0;
}

// The scored positions, grouped by sample, as the queries of the last block.
static void pack_scored(const PassArrays *a, const Row *row, PassShape s) {
    int64_t q = 0;
    for (int64_t i = 0; i <= s.samples; i++) {
        while (q < row->scored && row->position[q] < a->start[i]) q++;
        a->q_start[i] = (int32_t)q;
    }
    copy(a->position, row->position, row->scored, s.scored, -1);
    copy(a->target, row->target, row->scored, s.scored, -1);
    for (int64_t i = 0; i < row->scored; i++) a->q_pos[i] = row->pos[row->position[i]];
    fill(a->q_pos, row->scored, s.scored, 0);
    if (a->values) { // of padding anything that is finite
        int64_t n = row->scored * row->width;
        memcpy(a->values, row->values, (size_t)n * sizeof *a->values);
        for (int64_t i = n; i < s.scored * row->width; i++) a->values[i] = 0;
    }
    if (a->answer) copy(a->answer, row->answer, row->scored, s.scored, 0);
    if (a->desirable && row->label) copy(a->desirable, row->label, row->samples, s.samples, 0);
}

static void pack_keys(const PassArrays *a, const Row *row, PassShape s, int64_t first_row) {
    int64_t rows = row->row_start ? row->rows : 1;
    for (int64_t r = 0; r < rows; r++) {
        int64_t from = row->row_start ? row->row_start[r] : 0,
                to = row->row_start ? row->row_start[r + 1] : row->tokens;
        for (int64_t t = from; t < to; t++) a->key_index[t] = (int32_t)(t - from);
        fill(a->key_row, from, to, (int32_t)(first_row + r));
    }
    fill(a->key_index, row->tokens, s.tokens, 0);
    fill(a->key_row, row->tokens, s.tokens, 0);
    for (int64_t i = 0; i < row->scored; i++) {
        a->scored_key_index[i] = a->key_index[row->position[i]];
        a->scored_key_row[i] = a->key_row[row->position[i]];
    }
    fill(a->scored_key_index, row->scored, s.scored, 0);
    fill(a->scored_key_row, row->scored, s.scored, 0);
}

// Positions of a sample count from 0. Padding has the rotation of the first token.
static void pack_rotations(const PassArrays *a, const Row *row, PassShape s, const RopeConfig *r) {
    for (int64_t i = 0; i < row->samples; i++) {
        int64_t start = row->start[i], length = row->start[i + 1] - start;
        rope_rows(a->cos_sin + start * r->rotated, r, 0, length, length);
    }
    for (int64_t t = 0; t < row->tokens; t++) a->rotation[t] = (int32_t)t;
    fill(a->rotation, row->tokens, s.tokens, 0);
    copy(a->scored_rotation, row->position, row->scored, s.scored, 0);
}

void pass_inputs_pack(PassInputs *in, const Row *row, PassShape s, int64_t hidden, int64_t first_row) {
    CHECK(s.tokens >= row->tokens && s.samples >= row->samples && s.scored >= row->scored, "a shape below the row's");
    pass_inputs_shape(in, s);
    PassArrays host;
    lay_out(&host, in->staging, s, in);
    pack_tokens(&host, row, s);
    pack_samples(&host, row, s, hidden);
    pack_scored(&host, row, s);
    if (has_keys(in)) pack_keys(&host, row, s, first_row);
    if (in->rope) pack_rotations(&host, row, s, in->rope);
}

void pass_inputs_soft(const PassInputs *in, int32_t **ids, float **values) {
    PassArrays host;
    lay_out(&host, in->staging, in->shape, in);
    *ids = host.soft_ids;
    *values = host.soft_values;
}

void pass_inputs_send(PassInputs *in, PassState state) {
    memcpy(in->staging, &state, sizeof state); // the first array
    in->backend->k->upload(in->backend, in->block, in->staging, in->used_bytes);
}

void pass_inputs_set(PassInputs *in, const Row *row, int64_t hidden, PassState state) {
    pass_inputs_pack(in, row, (PassShape){row->tokens, row->samples, row->scored, 0}, hidden, 0);
    pass_inputs_send(in, state);
}
