// soft_targets_cpu: the part of soft targets in the head's loss (SoftTargets): their logits are kept apart as the
// target's is, since the gradients of these are differences of probabilities.
#include <math.h>

#include "loss_cpu.h"

float cpu_tempered_exponentials(Act *out, const float *x, int64_t n, float max, float factor, float cap) {
    float sum = 0, of_cap = cap == 0 ? 0 : 1 / cap;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        float l = x[i] < -FLT_MAX ? -FLT_MAX : x[i], e = cpu_expf((l - max) * factor), t = l * of_cap;
        t = t < -1 ? -1 : t;
        sum += e;
        if (out) out[i] = act_store(e * (1 - t * t));
    }
    return sum;
}

void cpu_keep_soft(const Head *a, int64_t m, float *x, int64_t at, int64_t n) {
    int64_t k = a->h->soft.k, first = 0, end = k;
    const int32_t *ids = a->h->soft.ids + m * k;
    while (first < end) {
        int64_t middle = (first + end) / 2;
        if (ids[middle] < at)
            first = middle + 1;
        else
            end = middle;
    }
    for (int64_t i = first; i < k && ids[i] < at + n; i++) {
        a->kept[m * k + i] = x[ids[i] - at];
        x[ids[i] - at] = -INFINITY;
    }
}

// Row m with soft targets. Logits are relative to the largest one; log q of number i is values[i] / T - lse.
typedef struct SoftRow {
    const int32_t *ids;
    const float *values, *kept;
    int32_t target;
    float own;               // the target's logit
    double max, lse;         // lse: of q
    double others, z;        // sums of exp(l): without the target, all
    double tempered;         // sum of exp(l / T)
    bool has_target;         // it is one of the ids
    double to_hard, to_soft; // factors of exp(l), of exp(l / T) in d(loss)/d(l)
} SoftRow;

static SoftRow soft_row(const Head *a, int64_t m, const RowState *all) {
    const SoftTargets *s = &a->h->soft;
    double t = (double)s->temperature, largest = -INFINITY, sum = 0;
    SoftRow r = {.ids = s->ids + m * s->k,
                 .values = s->values + m * s->k,
                 .kept = a->kept + m * s->k,
                 .target = a->h->targets[m],
                 .own = all->target,
                 .max = (double)all->max,
                 .others = all->others,
                 .tempered = a->tempered ? all->soft : all->others};
    for (int64_t i = 0; i < s->k; i++) {
        if (r.ids[i] < 0) continue;
        double e = exp((double)r.kept[i] - r.max);
        r.tempered += a->tempered ? exp(((double)r.kept[i] - r.max) / t) : e;
        r.has_target |= r.ids[i] == r.target;
        r.others += r.ids[i] == r.target ? 0 : e;
        largest = (double)r.values[i] > largest ? (double)r.values[i] : largest;
    }
    r.z = r.others + exp((double)r.own - r.max);
    if (!r.has_target) r.tempered += exp(((double)r.own - r.max) / t);
    for (int64_t i = 0; i < s->k; i++) sum += r.ids[i] < 0 ? 0 : exp(((double)r.values[i] - largest) / t);
    r.lse = largest / t + log(sum);
    r.to_hard = (double)s->hard_weight / r.z;
    r.to_soft = (double)s->soft_weight * t / r.tempered;
    return r;
}

// T^2 KL(q || p).
static double divergence(const Head *a, const SoftRow *r) {
    double t = (double)a->h->soft.temperature, loss = 0, lse = log(r->tempered);
    for (int64_t i = 0; i < a->h->soft.k; i++) {
        if (r->ids[i] < 0) continue;
        double log_q = (double)r->values[i] / t - r->lse;
        loss += exp(log_q) * (log_q - (((double)r->kept[i] - r->max) / t - lse));
    }
    return t * t * loss;
}

// dx += d(loss)/d(l) W[v], l the logit of v and q its probability in the soft targets.
static void add_kept(const Head *a, float *dx, const SoftRow *r, int32_t v, float logit, double q) {
    const SoftTargets *s = &a->h->soft;
    int64_t c = a->w->cols;
    double t = (double)s->temperature, l = (double)logit - r->max, cap = (double)a->h->softcap;
    double d = r->to_soft * exp(l / t) - (double)s->soft_weight * t * q;
    d += v == r->target ? -r->to_hard * r->others : r->to_hard * exp(l);
    if (cap != 0) d *= 1 - (double)logit / cap * ((double)logit / cap);
    Act *row = a->target_rows + omp_get_thread_num() * c;
    cpu_expand_act(row, c, a->w, v, 1, 0, c);
    for (int64_t k = 0; k < c; k++) dx[k] += (float)d * act_load(row[k]);
}

// dx of row m, from the sums of all slices; they end in those of the first.
static void finish_soft_dx(const Head *a, int64_t m, const SoftRow *r) {
    int64_t c = a->w->cols, n = a->h->soft.k;
    double t = (double)a->h->soft.temperature;
    float *dx = sum_row(a, 0, m);
    for (int64_t slice = 0; slice < a->slices; slice++) {
        const float *sum = sum_row(a, slice, m);
        double max = (double)a->states[slice * a->x.rows + m].max - r->max;
        float factor = (float)(exp(max) * (r->to_hard + (a->tempered ? 0 : r->to_soft)));
        for (int64_t k = 0; k < c; k++) dx[k] = slice == 0 ? sum[k] * factor : dx[k] + sum[k] * factor;
        factor = (float)(exp(max / t) * r->to_soft);
        sum = a->tempered ? second_row(a, slice, m) : NULL;
        for (int64_t k = 0; k < c && sum; k++) dx[k] += sum[k] * factor;
    }
    for (int64_t i = 0; i < n; i++)
        if (r->ids[i] >= 0) add_kept(a, dx, r, r->ids[i], r->kept[i], exp((double)r->values[i] / t - r->lse));
    if (!r->has_target) add_kept(a, dx, r, r->target, r->own, 0);
    for (int64_t k = 0; k < c; k++) dx[k] *= a->h->state->grad_scale;
    act_round(act_row(a->dx, m), dx, c);
}

double cpu_finish_soft(const Head *a, int64_t m, RowState *all) {
    const SoftTargets *s = &a->h->soft;
    SoftRow r = soft_row(a, m, all);
    all->logits = log(r.z) + r.max - (double)r.own;
    all->soft = divergence(a, &r);
    if (a->dx.data) finish_soft_dx(a, m, &r);
    return (double)s->hard_weight * all->logits + (double)s->soft_weight * all->soft;
}
