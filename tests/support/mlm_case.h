// mlm_case: one model of golden/mlm on one backend: logits of its head, then steps of AdamW on hidden tokens.
#pragma once

#include "family_case.h"
#include "text_vectors.h"

typedef struct MlmCase {
    Case c;
    int32_t *position, *target;
    size_t hidden;
} MlmCase;

static void open_mlm_case(MlmCase *m, const char *name, FamilyFile kind, Backend *b) {
    Err err;
    *m = (MlmCase){.c.backend = b};
    Case *c = &m->c;
    family_open(&c->family, name, kind);
    const ModelOptions options = {.max_positions = 24, .masked_lm = true};
    ASSERT_OK(model_load(&c->model, c->family.path, b, &options, &err), &err);
    c->adapter = family_adapter(&c->family, c->model);
    c->ids = family_golden(&c->family, "ids", NULL);
    c->start = family_golden(&c->family, "start", NULL);
    m->position = family_golden(&c->family, "position", &m->hidden);
    m->target = family_golden(&c->family, "target", NULL);
}

static void close_mlm_case(MlmCase *m) {
    mem_free(m->position);
    mem_free(m->target);
    close_case(&m->c);
}

// Samples a and b as one row; the hidden tokens are scored where they are.
static void pack_mlm(Packed *p, const MlmCase *m, int a, int b) {
    const Case *c = &m->c;
    pack(p, c, a, b);
    p->row.scored = 0;
    for (int s = 0; s < 2; s++) {
        int which = s ? b : a;
        for (size_t i = 0; i < m->hidden; i++) {
            if (m->position[i] < c->start[which] || m->position[i] >= c->start[which + 1]) continue;
            p->position[p->row.scored] = p->start[s] + m->position[i] - c->start[which];
            p->target[p->row.scored++] = m->target[i];
        }
    }
}

// Vectors of the samples with the adapter, as sentence embeddings are made.
static void check_vectors(const MlmCase *m, Pooling pooling, const char *golden, double limit) {
    enum { TEXTS = 4 };
    const Case *c = &m->c;
    Err err;
    size_t n;
    TextTokens texts[TEXTS];
    for (int i = 0; i < TEXTS; i++) texts[i] = (TextTokens){c->ids + c->start[i], c->start[i + 1] - c->start[i]};
    float *want = family_golden(&c->family, golden, &n), *got = mem_alloc(n, sizeof *got);
    assert_int_equal(n, TEXTS * c->model->config.hidden);
    TextVectors *v = text_vectors_new(c->model, c->adapter, pooling);
    ASSERT_OK(text_vectors_run(v, texts, TEXTS, got, &err), &err);
    double error = relative_error(got, want, n);
    if (!(error <= limit)) fail_msg("%s: %s vectors: relative error %g", c->family.path, golden, error);
    text_vectors_free(v);
    mem_free(got);
    mem_free(want);
}

typedef struct MlmSteps {
    const MlmCase *m;
    Recompute recompute;
} MlmSteps;

static double run_mlm_step(const void *context, int step) {
    const MlmSteps *s = context;
    Packed p;
    pack_mlm(&p, s->m, 2 * step % 4, (2 * step + 1) % 4);
    return run_row(&s->m->c, &p, s->recompute);
}

static void check_mlm(const char *name, FamilyFile kind, Backend *b, Recompute recompute, const GoldenLimits *limits) {
    MlmCase m;
    open_mlm_case(&m, name, kind, b);
    check_logits(&m.c, NULL, "logits", limits->logits);
    check_logits(&m.c, m.c.adapter, "logits_adapter", limits->logits);
    check_vectors(&m, POOLING_MEAN, "mean", limits->logits);
    check_vectors(&m, POOLING_CLS, "cls", limits->logits);
    check_steps(&m.c.family, m.c.model, m.c.adapter, run_mlm_step, &(MlmSteps){&m, recompute}, limits);
    close_mlm_case(&m);
}
