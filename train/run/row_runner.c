#include "row_runner.h"

#include "encoder.h"

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

void row_bounds_add(RowBounds *bounds, const RowPlan *p) {
    if (!p) return;
    bounds->tokens = larger(bounds->tokens, row_plan_longest(p));
    bounds->samples = larger(bounds->samples, row_plan_most_samples(p));
    bounds->scored = larger(bounds->scored, row_plan_most_supervised(p));
}

RowRunner *row_runner_new(const Model *m, Adapter *a, RowBounds bounds) {
    RowRunner *r = mem_calloc(1, sizeof *r);
    r->model = m;
    r->adapter = a;
    r->bounds = bounds;
    r->tape = tape_new(m->backend);
    r->inputs = row_inputs_new(m->backend, bounds.tokens, bounds.samples);
    if (a && a->config.labels) r->predicted = mem_calloc((size_t)bounds.scored + 1, sizeof *r->predicted);
    return r;
}

static void release_arena(RowRunner *r) {
    Backend *b = r->model->backend;
    if (r->arena) b->k->free(b, r->arena, r->arena_bytes);
    r->arena = NULL;
    r->arena_bytes = 0;
}

void row_runner_free(RowRunner *r) {
    if (!r) return;
    release_arena(r);
    row_inputs_free(r->inputs);
    tape_free(r->tape);
    row_clear(&r->row);
    mem_free(r->predicted);
    mem_free(r);
}

static size_t build(RowRunner *r, const DecoderOptions *o, TapeMode mode) {
    tape_reset(r->tape);
    model_build_loss(r->tape, r->model, r->adapter, r->inputs, o);
    return tape_plan(r->tape, mode);
}

size_t row_runner_plan(RowRunner *r, const DecoderOptions *o, TapeMode mode) {
    r->inputs->tokens = r->bounds.tokens; // planning reads the counts only
    r->inputs->samples = r->bounds.samples;
    r->inputs->scored = r->bounds.scored;
    return build(r, o, mode);
}

void row_runner_reserve(RowRunner *r, size_t bytes) {
    if (bytes <= r->arena_bytes) return;
    release_arena(r);
    r->arena = r->model->backend->k->alloc(r->model->backend, bytes);
    r->arena_bytes = bytes;
}

HeadResult row_runner_run(RowRunner *r, const Dataset *d, const RowPlan *p, int64_t row, const DecoderOptions *o,
                          PassState state, TapeMode mode) {
    Backend *b = r->model->backend;
    row_fill(&r->row, d, p, row);
    row_inputs_set(r->inputs, &r->row, r->model->config.hidden, state);
    // The bounds need not belong to one row, and packing of buffers is not monotone: a row may ask for a little more.
    row_runner_reserve(r, build(r, o, mode));
    tape_run(r->tape, r->arena);
    b->k->sync(b);
    HeadResult result;
    b->k->download(b, &result, r->inputs->result, sizeof result);
    return result;
}

const int32_t *row_runner_predicted(RowRunner *r) {
    Backend *b = r->model->backend;
    CHECK(r->predicted, "not a classifier");
    b->k->download(b, r->predicted, r->inputs->predicted, (size_t)r->inputs->scored * sizeof(int32_t));
    return r->predicted;
}
