// optim_cpu: tallies, fixed-point gradient sums, gradient norm and AdamW over flat buffers.
//
// Buffers are cut into blocks of BLOCK elements (the norm: into NORM_PARTS parts), whatever the number of threads.
#include "cpu.h"

#include <math.h>

enum { BLOCK = 4096, NORM_PARTS = 64 };

void CPU_FN(tally)(Backend *b, HeadTally *t, const HeadResult *r) {
    t->bad += !head_result_fits(r);
    if (!head_result_fits(r)) return;
    exact_sum_add(&t->loss, llrint(r->loss * 0x1p32));
    for (int i = 0; i < HEAD_SUMS; i++) exact_sum_add(&t->sums[i], llrint(r->sums[i] * 0x1p32));
    t->correct += r->correct;
}

static bool fixed_add_block(int64_t *acc, const float *g, int64_t n, float limit, float unscale) {
    int bad = 0;
    for (int64_t i = 0; i < n; i++) {
        float x = g[i] * unscale;
        bool fits = fabsf(x) < limit; // false for NaN
        acc[i] += llrint((double)(fits ? x : 0) * 0x1p44);
        bad |= !fits;
    }
    return bad;
}

void CPU_FN(fixed_add)(Backend *b, int64_t *acc, const float *g, int64_t n, float limit, float unscale, int64_t *bad) {
    int any = 0;
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, n)) reduction(| : any)
    for (int64_t i = 0; i < n; i += BLOCK) any |= fixed_add_block(acc + i, g + i, min64(BLOCK, n - i), limit, unscale);
    if (any) *bad = 1;
}

void CPU_FN(fixed_to_f32)(Backend *b, float *g, const int64_t *acc, int64_t n) {
#pragma omp parallel for simd schedule(static) num_threads(cpu_threads(b, n))
    for (int64_t i = 0; i < n; i++) g[i] = (float)acc[i] * 0x1p-44f;
}

void CPU_FN(sqnorm)(Backend *b, double *out, const float *g, int64_t n) {
    double parts[NORM_PARTS] = {0}, total = 0;
    int64_t size = (n + NORM_PARTS - 1) / NORM_PARTS;
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, n))
    for (int64_t p = 0; p < NORM_PARTS; p++) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = p * size; i < min64(n, (p + 1) * size); i++) sum += (double)g[i] * (double)g[i];
        parts[p] = sum;
    }
    for (int64_t p = 0; p < NORM_PARTS; p++) total += parts[p];
    *out = total;
}

// The step's constants, rounded once from double.
typedef struct Step {
    float beta1, one_minus_beta1, beta2, one_minus_beta2, grad_scale, decay, size, root, epsilon;
} Step;

static void adamw_block(float *restrict p, float *restrict m, float *restrict v, const float *restrict g, int64_t n,
                        Step s) {
    for (int64_t i = 0; i < n; i++) {
        float grad = g[i] * s.grad_scale;
        m[i] = s.beta1 * m[i] + s.one_minus_beta1 * grad;
        v[i] = s.beta2 * v[i] + s.one_minus_beta2 * grad * grad;
        p[i] = p[i] * s.decay - s.size * m[i] / (sqrtf(v[i]) / s.root + s.epsilon);
    }
}

void CPU_FN(adamw)(Backend *b, float *p, float *m, float *v, const float *g, const Adamw *o) {
    double correction1 = 1 - pow(o->beta1, (double)o->step), correction2 = 1 - pow(o->beta2, (double)o->step);
    float clip = adamw_clip(o);
    if (isnan(clip)) return;
    for (int64_t j = 0; j < o->n_segments; j++) {
        const AdamwSegment *segment = o->segments + j;
        double lr = o->lr * segment->lr_factor;
        Step s = {
            .beta1 = (float)o->beta1,
            .one_minus_beta1 = (float)(1 - o->beta1),
            .beta2 = (float)o->beta2,
            .one_minus_beta2 = (float)(1 - o->beta2),
            .grad_scale = clip,
            .decay = (float)(1 - lr * o->weight_decay),
            .size = (float)(lr / correction1),
            .root = (float)sqrt(correction2),
            .epsilon = (float)o->epsilon,
        };
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, segment->count))
        for (int64_t i = 0; i < segment->count; i += BLOCK) {
            int64_t at = segment->offset + i;
            adamw_block(p + at, m + at, v + at, g + at, min64(BLOCK, segment->count - i), s);
        }
    }
}
