// row_inputs: one packed row's integers in device memory. Buffers are made once for the largest row and reused.
#include <math.h>
#include <string.h>

#include "decoder.h"

// The integer arrays of RowInputs and their lengths: allocation and release walk the same list.
typedef struct IntArray {
    int32_t **p;
    int64_t count;
} IntArray;

enum { N_INT_ARRAYS = 10 };
static void int_arrays(RowInputs *in, IntArray out[N_INT_ARRAYS]) {
    int64_t t = in->max_tokens, s = in->max_samples;
    IntArray list[N_INT_ARRAYS] = {{&in->ids, t},      {&in->pos, t},      {&in->start, s + 1},   {&in->length, s},
                                   {&in->position, t}, {&in->target, t},   {&in->q_start, s + 1}, {&in->q_pos, t},
                                   {&in->type, t},     {&in->predicted, t}};
    memcpy(out, list, sizeof list);
}

RowInputs *row_inputs_new(Backend *b, int64_t max_tokens, int64_t max_samples) {
    RowInputs *in = mem_calloc(1, sizeof *in);
    in->backend = b;
    in->max_tokens = max_tokens;
    in->max_samples = max_samples;
    IntArray arrays[N_INT_ARRAYS];
    int_arrays(in, arrays);
    for (int i = 0; i < N_INT_ARRAYS; i++) *arrays[i].p = b->k->alloc(b, (size_t)arrays[i].count * sizeof(int32_t));
    in->neftune = b->k->alloc(b, (size_t)max_tokens * sizeof(float));
    in->result = b->k->alloc(b, sizeof(HeadResult));
    in->state = b->k->alloc(b, sizeof *in->state);
    int64_t most = max_tokens > max_samples + 1 ? max_tokens : max_samples + 1;
    in->staging = mem_alloc((size_t)most, sizeof(int32_t));
    return in;
}

void row_inputs_free(RowInputs *in) {
    if (!in) return;
    Backend *b = in->backend;
    IntArray arrays[N_INT_ARRAYS];
    int_arrays(in, arrays);
    for (int i = 0; i < N_INT_ARRAYS; i++) b->k->free(b, *arrays[i].p, (size_t)arrays[i].count * sizeof(int32_t));
    b->k->free(b, in->neftune, (size_t)in->max_tokens * sizeof(float));
    b->k->free(b, in->result, sizeof(HeadResult));
    b->k->free(b, in->state, sizeof *in->state);
    mem_free(in->staging);
    mem_free(in);
}

static void upload_ints(RowInputs *in, int32_t *dst, const int32_t *src, int64_t n) {
    in->backend->k->upload(in->backend, dst, src, (size_t)n * sizeof *src);
}

// The scored positions, grouped by sample, as the queries of the last block.
static void set_queries(RowInputs *in, const Row *row) {
    int32_t *staging = in->staging;
    int64_t q = 0;
    for (int64_t s = 0; s <= row->samples; s++) {
        while (q < row->scored && row->position[q] < row->start[s]) q++;
        staging[s] = (int32_t)q;
    }
    upload_ints(in, in->q_start, staging, row->samples + 1);
    for (int64_t i = 0; i < row->scored; i++) staging[i] = row->pos[row->position[i]];
    upload_ints(in, in->q_pos, staging, row->scored);
}

void row_inputs_set(RowInputs *in, const Row *row, int64_t hidden, PassState state) {
    CHECK(row->tokens <= in->max_tokens && row->samples <= in->max_samples, "row of %lld tokens, %lld samples",
          (long long)row->tokens, (long long)row->samples);
    in->tokens = row->tokens;
    in->samples = row->samples;
    in->scored = row->scored;
    in->backend->k->upload(in->backend, in->state, &state, sizeof state);
    upload_ints(in, in->ids, row->ids, row->tokens);
    upload_ints(in, in->pos, row->pos, row->tokens);
    if (row->type)
        upload_ints(in, in->type, row->type, row->tokens);
    else
        in->backend->k->zero(in->backend, in->type, (size_t)row->tokens * sizeof(int32_t));
    upload_ints(in, in->start, row->start, row->samples + 1);
    upload_ints(in, in->position, row->position, row->scored);
    upload_ints(in, in->target, row->target, row->scored);
    for (int64_t s = 0; s < row->samples; s++) in->staging[s] = row->start[s + 1] - row->start[s];
    upload_ints(in, in->length, in->staging, row->samples);
    set_queries(in, row);
    float *magnitude = (float *)in->staging;
    for (int64_t s = 0; s < row->samples; s++)
        for (int64_t i = row->start[s]; i < row->start[s + 1]; i++)
            magnitude[i] = 1.0f / sqrtf((float)(row->start[s + 1] - row->start[s]) * (float)hidden);
    in->backend->k->upload(in->backend, in->neftune, magnitude, (size_t)row->tokens * sizeof(float));
}
