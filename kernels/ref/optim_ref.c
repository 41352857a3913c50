// optim_ref: tallies, fixed-point gradient sums, gradient norm and AdamW over flat buffers, reference.
#include "ref.h"

#include <math.h>

void ref_tally(Backend *b, HeadTally *t, const HeadResult *r) {
    t->bad += !head_result_fits(r);
    if (!head_result_fits(r)) return;
    exact_sum_add(&t->loss, llrint(r->loss * 0x1p32));
    for (int i = 0; i < HEAD_SUMS; i++) exact_sum_add(&t->sums[i], llrint(r->sums[i] * 0x1p32));
    t->correct += r->correct;
}

void ref_fixed_add(Backend *b, int64_t *acc, const float *g, int64_t n, float limit, float unscale, int64_t *bad) {
    for (int64_t i = 0; i < n; i++) {
        if (fabsf(g[i] * unscale) < limit)
            acc[i] += llrint((double)(g[i] * unscale) * 0x1p44);
        else
            *bad = 1;
    }
}

void ref_fixed_to_f32(Backend *b, float *g, const int64_t *acc, int64_t n) {
    for (int64_t i = 0; i < n; i++) g[i] = (float)acc[i] * 0x1p-44f;
}

void ref_sqnorm(Backend *b, double *out, const float *g, int64_t n) { *out = ref_dot(g, g, n); }

void ref_adamw(Backend *b, float *p, float *m, float *v, const float *g, const Adamw *o) {
    float clip = adamw_clip(o);
    if (isnan(clip)) return;
    double b1 = o->beta1, b2 = o->beta2;
    double correction1 = 1 - pow(b1, (double)o->step), correction2 = 1 - pow(b2, (double)o->step);
    for (int64_t s = 0; s < o->n_segments; s++) {
        double lr = o->lr * o->segments[s].lr_factor;
        for (int64_t j = 0; j < o->segments[s].count; j++) {
            int64_t i = o->segments[s].offset + j;
            double grad = (double)g[i] * clip;
            double mi = b1 * m[i] + (1 - b1) * grad, vi = b2 * v[i] + (1 - b2) * grad * grad;
            double step = lr / correction1 * mi / (sqrt(vi) / sqrt(correction2) + o->epsilon);
            p[i] = (float)(p[i] * (1 - lr * o->weight_decay) - step);
            m[i] = (float)mi;
            v[i] = (float)vi;
        }
    }
}
