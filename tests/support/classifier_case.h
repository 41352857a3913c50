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
    float *values; // of multi-label and regression, else NULL
    PassExtras extras;
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
    bool each = problem_is_each(c->family.problem);
    *(each ? (void **)&c->values : (void **)&c->labels) = family_golden(&c->family, each ? "values" : "labels", NULL);
    if (each) c->extras = (PassExtras){.width = c->family.labels, .max_scored = SAMPLES};
}

static void close_classifier(Classifier *c) {
    mem_free(c->ids);
    mem_free(c->types);
    mem_free(c->start);
    mem_free(c->labels);
    mem_free(c->values);
    adapter_free(c->adapter);
    model_free(c->model);
    family_close(&c->family);
}

typedef struct PackedClasses {
    int32_t ids[CLASS_TOKENS], pos[CLASS_TOKENS], type[CLASS_TOKENS], start[SAMPLES + 1], position[CLASS_TOKENS],
        target[CLASS_TOKENS];
    float values[SAMPLES * 8];
    Row row;
} PackedClasses;

// The scored positions of sample s, which is golden sample `which`.
static void score_sample(PackedClasses *p, const Classifier *c, int s, int which) {
    int64_t labels = c->family.labels;
    int32_t begin = p->start[s], end = p->start[s + 1];
    for (int32_t t = begin; t < end && c->family.problem == PROBLEM_TOKENS; t++) {
        int32_t label = c->labels[c->start[which] + t - begin];
        if (label < 0) continue;
        p->position[p->row.scored] = t;
        p->target[p->row.scored++] = label;
    }
    if (c->family.problem == PROBLEM_TOKENS) return;
    p->position[s] = c->model->config.arch->encoder ? begin : end - 1;
    p->target[s] = c->values ? 0 : c->labels[which];
    p->row.scored++;
    for (int64_t i = 0; i < labels && c->values; i++) p->values[s * labels + i] = c->values[which * labels + i];
}

// n samples from `first` on, cyclically, as one row.
static void pack_classes(PackedClasses *p, const Classifier *c, int first, int n) {
    *p = (PackedClasses){0};
    p->row = (Row){.samples = n, .ids = p->ids, .pos = p->pos, .type = p->type, .start = p->start};
    p->row.position = p->position;
    p->row.target = p->target;
    p->row.values = c->values ? p->values : NULL;
    p->row.width = c->extras.width;
    for (int s = 0; s < n; s++) {
        int which = (first + s) % SAMPLES;
        for (int32_t i = c->start[which]; i < c->start[which + 1]; i++) {
            int64_t t = p->row.tokens++;
            p->ids[t] = c->ids[i];
            p->type[t] = c->types[i];
            p->pos[t] = i - c->start[which];
        }
        p->start[s + 1] = (int32_t)p->row.tokens;
        score_sample(p, c, s, which);
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
    enum { MOST = CLASS_TOKENS * 3 };
    float got[MOST];
    size_t n;
    float *want = family_golden(&c->family, "logits", &n);
    PackedClasses p;
    pack_classes(&p, c, 0, SAMPLES);
    assert_true(n == (size_t)(p.row.scored * c->family.labels) && n <= MOST);
    PassInputs *in = pass_inputs_new_with(c->model, CLASS_TOKENS, SAMPLES, c->extras);
    pass_inputs_set(in, &p.row, c->model->config.hidden, (PassState){0});
    Tape *t = tape_new(c->backend);
    Mat logits = mat_of(c->backend->k->alloc(c->backend, sizeof got), DTYPE_F32, p.row.scored, c->family.labels);
    graph_build_class_logits(t, c->model, c->adapter, in, logits);
    run_tape(c, t, TAPE_FORWARD);
    c->backend->k->download(c->backend, got, logits.data, n * sizeof *got);
    c->backend->k->free(c->backend, logits.data, sizeof got);
    tape_free(t);
    pass_inputs_free(in);
    double error = relative_error(got, want, n);
    if (!(error <= limit)) fail_msg("%s: logits: relative error %g", c->family.path, error);
    for (int i = 0; i < SAMPLES && c->family.problem != PROBLEM_TOKENS; i++) { // each by itself
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
    PassInputs *in = pass_inputs_new_with(c->model, CLASS_TOKENS, SAMPLES, c->extras);
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

static const char *const classifiers[] = {"../classify/bert",
                                          "../classify/bert-all",
                                          "../classify/llama",
                                          "../classify/qwen2",
                                          "../classify/bert-multi",
                                          "../classify/llama-multi",
                                          "../classify/bert-number",
                                          "../classify/llama-numbers",
                                          "../classify/modernbert",
                                          "../classify/bert-tokens",
                                          "../classify/llama-tokens",
                                          "../classify/roberta",
                                          "../classify/roberta-multi",
                                          "../classify/roberta-tokens",
                                          "../classify/distilbert",
                                          "../classify/distilbert-number",
                                          "../classify/distilbert-tokens",
                                          "../classify/modernbert-tokens"};
enum { CLASSIFIERS = sizeof classifiers / sizeof *classifiers };
