// golden_check: shared by the tests against transformers and PEFT: the tolerances, and the comparison of loss,
// gradients and AdamW steps with a golden file of family_fixture.h.
#pragma once

#include <math.h>

#include "family_fixture.h"
#include "optimizer.h"
#include "relative_error.h"
#include "test.h"

enum { GOLDEN_STEPS = 5 };

typedef struct GoldenLimits {
    double logits, loss, gradient, step_loss; // relative
} GoldenLimits;
// The limits. Float32 against float32, sums in another order: a few units of 1e-7, times the depth, is seen.
static const GoldenLimits GOLDEN_F32 = {.logits = 1e-4, .loss = 1e-5, .gradient = 1e-3, .step_loss = 1e-4};

static void check_loss(const Family *f, double got, double want, double limit, const char *what, int step) {
    if (!(fabs(got - want) <= limit * want)) fail_msg("%s: %s %d: got %.8g, want %.8g", f->path, what, step, got, want);
}

static bool is_zero(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0) return false;
    return true;
}

static void check_gradients(const Family *f, const Model *m, const Adapter *a, double limit) {
    float *grad = mem_alloc((size_t)a->count, sizeof *grad);
    m->backend->k->download(m->backend, grad, a->grad, (size_t)a->count * sizeof *grad);
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        float *want = family_segment(f, m, s, "grad");
        size_t n = (size_t)(s->rows * s->cols);
        bool unused = s->module && module_is_expert(s->module) && is_zero(want, n); // an expert without tokens
        double error = unused ? !is_zero(grad + s->offset, n) : relative_error(grad + s->offset, want, n);
        if (!(error <= limit)) fail_msg("%s: gradient of %s: relative error %g", f->path, s->name, error);
        mem_free(want);
    }
    mem_free(grad);
}

// Steps as the trainer makes them. run_step: the mean loss of the step's row; its gradient is added to the adapter's.
static void check_steps(const Family *f, const Model *m, Adapter *a, double (*run_step)(const void *context, int step),
                        const void *context, const GoldenLimits *limits) {
    size_t steps;
    float *loss = family_golden(f, "loss", NULL), *want = family_golden(f, "step_loss", &steps);
    Optimizer *o = optimizer_new(a, &(OptimizerOptions){0.9, 0.99, 1e-8, 0.1, 0, 1}, 0);
    for (int step = 0; step < (int)steps; step++) {
        optimizer_begin(o);
        optimizer_begin_row(o);
        double got = run_step(context, step), norm;
        if (step == 0) {
            check_loss(f, got, (double)*loss, limits->loss, "loss", 0);
            check_gradients(f, m, a, limits->gradient);
        }
        check_loss(f, got, (double)want[step], limits->step_loss, "step", step);
        optimizer_end_row(o, 1);
        optimizer_queue(o, 1e-2);
        assert_true(optimizer_fetch(o, &norm, NULL));
    }
    optimizer_free(o);
    mem_free(loss);
    mem_free(want);
}
