// family_case: one family of golden/families on one backend, as the trainer would run it: logits, then steps of AdamW.
#pragma once

#include "golden_check.h"
#include "graph.h"
#include "logits.h"
#include "scratch.h"

enum { MAX_TOKENS = 64 };

typedef struct Case {
    Family family;
    Backend *backend;
    Model *model;
    Adapter *adapter;
    int32_t *ids, *start;
} Case;

static void open_case(Case *c, const char *name, FamilyFile kind, Backend *b) {
    Err err;
    *c = (Case){.backend = b};
    family_open(&c->family, name, kind);
    ASSERT_OK(model_load(&c->model, c->family.path, c->backend, &(ModelOptions){.max_positions = 24}, &err), &err);
    // GGUF has no key for query_pre_attn_scalar; readers know the sizes of the published models.
    if (kind == FAMILY_GGUF && strcmp(name, "gemma2") == 0) c->model->config.query_scale = 1 / sqrtf(24);
    c->adapter = family_adapter(&c->family, c->model);
    c->ids = family_golden(&c->family, "ids", NULL);
    c->start = family_golden(&c->family, "start", NULL);
}

static void close_case(Case *c) {
    mem_free(c->ids);
    mem_free(c->start);
    adapter_free(c->adapter);
    model_free(c->model);
    family_close(&c->family);
}

static void check_logits(const Case *c, const Adapter *a, const char *name, double limit) {
    size_t n;
    float *want = family_golden(&c->family, name, &n), *got = mem_alloc(n, sizeof *got);
    Err err;
    ASSERT_OK(model_logits(c->model, a, c->ids, c->start[1], got, &err), &err);
    double error = relative_error(got, want, n);
    if (!(error <= limit)) fail_msg("%s: %s: relative error %g", c->family.path, name, error);
    mem_free(want);
    mem_free(got);
}

// ---- one step as the trainer makes it ----

typedef struct Packed {
    int32_t ids[MAX_TOKENS], pos[MAX_TOKENS], start[3], position[MAX_TOKENS], target[MAX_TOKENS];
    Row row;
} Packed;

// Samples a and b as one row; every token but a sample's first is scored.
static void pack(Packed *p, const Case *c, int a, int b) {
    p->row = (Row){
        .samples = 2, .ids = p->ids, .pos = p->pos, .start = p->start, .position = p->position, .target = p->target};
    const int which[2] = {a, b};
    p->start[0] = 0;
    for (int s = 0; s < 2; s++) {
        const int32_t *ids = c->ids + c->start[which[s]];
        int64_t n = c->start[which[s] + 1] - c->start[which[s]];
        for (int64_t i = 0; i < n; i++, p->row.tokens++) {
            p->ids[p->row.tokens] = ids[i];
            p->pos[p->row.tokens] = (int32_t)i;
            if (i + 1 == n) continue;
            p->position[p->row.scored] = (int32_t)p->row.tokens;
            p->target[p->row.scored++] = ids[i + 1];
        }
        p->start[s + 1] = (int32_t)p->row.tokens;
    }
}

// Mean loss of the row; its gradient is added to the adapter's.
static double run_row(const Case *c, const Packed *p, Recompute recompute) {
    const Kernels *k = c->backend->k;
    PassInputs *in = pass_inputs_new(c->model, MAX_TOKENS, 2);
    pass_inputs_set(in, &p->row, c->model->config.hidden, (PassState){.grad_scale = 1.0f / (float)p->row.scored});
    Tape *t = tape_new(c->backend);
    PassOptions o = {.recompute = recompute};
    graph_build_loss(t, c->model, c->adapter, in, &o);
    size_t bytes = tape_plan(t, TAPE_TRAIN);
    void *arena = k->alloc(c->backend, bytes), *nan = mem_alloc(bytes, 1);
    memset(nan, 0xFF, bytes); // what was not written shows
    k->upload(c->backend, arena, nan, bytes);
    mem_free(nan);
    tape_run(t, arena);
    HeadResult result;
    k->download(c->backend, &result, in->result, sizeof result);
    k->free(c->backend, arena, bytes);
    tape_free(t);
    pass_inputs_free(in);
    return result.loss / (double)p->row.scored;
}

typedef struct Steps {
    const Case *c;
    Recompute recompute;
} Steps;

static double run_step(const void *context, int step) {
    const Steps *s = context;
    Packed p;
    pack(&p, s->c, 2 * step % 4, (2 * step + 1) % 4);
    return run_row(s->c, &p, s->recompute);
}

static inline void check_family(const char *name, FamilyFile kind, Backend *b, Recompute recompute,
                                const GoldenLimits *limits) {
    Case c;
    open_case(&c, name, kind, b);
    check_logits(&c, NULL, "logits", limits->logits);
    check_logits(&c, c.adapter, "logits_adapter", limits->logits);
    check_steps(&c.family, c.model, c.adapter, run_step, &(Steps){&c, recompute}, limits);
    close_case(&c);
}
