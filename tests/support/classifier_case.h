// classifier_case: one classifier of golden/classify on one backend, as the trainer would run it.
#pragma once

#include "golden_check.h"
#include "graph.h"
#include "logits.h"
#include "scratch.h"

enum { SAMPLES = 6, BATCH = 3, CLASS_TOKENS = 64 };

typedef struct Classifier {
    Family family;
    Backend *backend;
    Model *model;
    Adapter *adapter;
    int32_t *ids, *types, *start, *labels;
} Classifier;

static void open_classifier(Classifier *c, const char *name, FamilyFile kind, Backend *b) {
    Err err;
    const ModelOptions options = {.max_positions = 24, .classifier = true};
    *c = (Classifier){.backend = b};
    family_open(&c->family, name, kind);
    ASSERT_OK(model_load(&c->model, c->family.path, c->backend, &options, &err), &err);
    c->adapter = family_adapter(&c->family, c->model);
    c->ids = family_golden(&c->family, "ids", NULL);
    c->types = family_golden(&c->family, "types", NULL);
    c->start = family_golden(&c->family, "start", NULL);
    c->labels = family_golden(&c->family, "labels", NULL);
}

static void close_classifier(Classifier *c) {
    mem_free(c->ids);
    mem_free(c->types);
    mem_free(c->start);
    mem_free(c->labels);
    adapter_free(c->adapter);
    model_free(c->model);
    family_close(&c->family);
}

typedef struct PackedClasses {
    int32_t ids[CLASS_TOKENS], pos[CLASS_TOKENS], type[CLASS_TOKENS], start[SAMPLES + 1], position[SAMPLES],
        target[SAMPLES];
    Row row;
} PackedClasses;

// n samples from `first` on, cyclically, as one row.
static void pack_classes(PackedClasses *p, const Classifier *c, int first, int n) {
    *p = (PackedClasses){0};
    p->row = (Row){.samples = n, .scored = n, .ids = p->ids, .pos = p->pos, .type = p->type, .start = p->start};
    p->row.position = p->position;
    p->row.target = p->target;
    for (int s = 0; s < n; s++) {
        int which = (first + s) % SAMPLES;
        for (int32_t i = c->start[which]; i < c->start[which + 1]; i++) {
            int64_t t = p->row.tokens++;
            p->ids[t] = c->ids[i];
            p->type[t] = c->types[i];
            p->pos[t] = i - c->start[which];
        }
        p->start[s + 1] = (int32_t)p->row.tokens;
        p->position[s] = c->model->config.arch->encoder ? p->start[s] : p->start[s + 1] - 1;
        p->target[s] = c->labels[which];
    }
}

static void run_tape(const Classifier *c, Tape *t, TapeMode mode) {
    const Kernels *k = c->backend->k;
    size_t bytes = tape_plan(t, mode);
    void *arena = k->alloc(c->backend, bytes);
    tape_run(t, arena);
    k->free(c->backend, arena, bytes);
}

static void check_class_logits(const Classifier *c, double limit) {
    enum { MOST = SAMPLES * 8 };
    float got[MOST];
    size_t n;
    float *want = family_golden(&c->family, "logits", &n);
    assert_true(n == (size_t)(SAMPLES * c->family.labels) && n <= MOST);
    PackedClasses p;
    pack_classes(&p, c, 0, SAMPLES);
    PassInputs *in = pass_inputs_new(c->model, CLASS_TOKENS, SAMPLES);
    pass_inputs_set(in, &p.row, c->model->config.hidden, (PassState){0});
    Tape *t = tape_new(c->backend);
    Mat logits = mat_of(c->backend->k->alloc(c->backend, sizeof got), DTYPE_F32, SAMPLES, c->family.labels);
    graph_build_class_logits(t, c->model, c->adapter, in, logits);
    run_tape(c, t, TAPE_FORWARD);
    c->backend->k->download(c->backend, got, logits.data, n * sizeof *got);
    c->backend->k->free(c->backend, logits.data, sizeof got);
    tape_free(t);
    pass_inputs_free(in);
    double error = relative_error(got, want, n);
    if (!(error <= limit)) fail_msg("%s: logits: relative error %g", c->family.path, error);
    for (int i = 0; i < SAMPLES; i++) { // each by itself
        const int32_t *types = c->types + c->start[i];
        int64_t length = c->start[i + 1] - c->start[i], second = 0;
        while (second < length && !types[second]) second++;
        Err err;
        float *logits_of_one = got + i * c->family.labels;
        int rc = model_class_logits(c->model, c->adapter, c->ids + c->start[i], length, second, logits_of_one, &err);
        ASSERT_OK(rc, &err);
    }
    error = relative_error(got, want, n);
    if (!(error <= limit)) fail_msg("%s: logits of samples alone: relative error %g", c->family.path, error);
    mem_free(want);
}

// Mean loss of the row; its gradient is added to the adapter's.
static double run_class_row(const Classifier *c, const PackedClasses *p, Recompute recompute) {
    PassInputs *in = pass_inputs_new(c->model, CLASS_TOKENS, SAMPLES);
    pass_inputs_set(in, &p->row, c->model->config.hidden, (PassState){.grad_scale = 1.0f / (float)p->row.scored});
    Tape *t = tape_new(c->backend);
    PassOptions o = {.recompute = recompute};
    graph_build_loss(t, c->model, c->adapter, in, &o);
    run_tape(c, t, TAPE_TRAIN);
    HeadResult result;
    c->backend->k->download(c->backend, &result, in->result, sizeof result);
    tape_free(t);
    pass_inputs_free(in);
    return result.loss / (double)p->row.scored;
}

typedef struct ClassifierSteps {
    const Classifier *c;
    Recompute recompute;
} ClassifierSteps;

static double run_class_step(const void *context, int step) {
    const ClassifierSteps *s = context;
    PackedClasses p;
    pack_classes(&p, s->c, BATCH * step, BATCH);
    return run_class_row(s->c, &p, s->recompute);
}

static void check_classifier(const char *name, FamilyFile kind, Backend *b, Recompute recompute,
                             const GoldenLimits *limits) {
    Classifier c;
    open_classifier(&c, name, kind, b);
    check_class_logits(&c, limits->logits);
    check_steps(&c.family, c.model, c.adapter, run_class_step, &(ClassifierSteps){&c, recompute}, limits);
    close_classifier(&c);
}

static const char *const classifiers[] = {"../classify/bert", "../classify/bert-all", "../classify/llama",
                                          "../classify/qwen2"};
enum { CLASSIFIERS = sizeof classifiers / sizeof *classifiers };
