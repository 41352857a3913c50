#include "merge_quality.h"

#include <math.h>

#include "logits.h"

enum { MOST_TOKENS = 4096, MOST_LOGITS = 32 << 20 }; // supervised tokens compared; logits of a sample in memory

// log of the sum of exponentials; *top: the most likely token.
static double log_sum(const float *logits, int64_t vocab, int64_t *top) {
    double sum = 0;
    *top = 0;
    for (int64_t v = 1; v < vocab; v++)
        if (logits[v] > logits[*top]) *top = v;
    for (int64_t v = 0; v < vocab; v++) sum += exp((double)logits[v] - (double)logits[*top]);
    return (double)logits[*top] + log(sum);
}

static void compare(MergeQuality *q, const float *p, const float *r, int64_t vocab) {
    int64_t p_top, r_top;
    double p_sum = log_sum(p, vocab, &p_top), r_sum = log_sum(r, vocab, &r_top), kl = 0;
    for (int64_t v = 0; v < vocab; v++) {
        double log_p = (double)p[v] - p_sum;
        kl += exp(log_p) * (log_p - ((double)r[v] - r_sum));
    }
    q->kl += kl;
    q->same += p_top == r_top;
    q->tokens++;
}

static int add_sample(MergeQuality *q, const Sample *s, const Model *models[2], const Adapter *a, Err *err) {
    int64_t vocab = models[0]->config.vocab, n = s->count, most = MOST_LOGITS / vocab;
    if (n > most) n = most > 2 ? most : 2;
    size_t size = (size_t)n * (size_t)vocab;
    AUTO_FREE float *logits = mem_alloc(2 * size, sizeof *logits);
    if (model_logits(models[0], a, s->ids, n, logits, err) ||
        model_logits(models[1], NULL, s->ids, n, logits + size, err))
        return -1;
    for (int64_t t = 0; t + 1 < n; t++)
        if (s->supervised[t + 1]) compare(q, logits + t * vocab, logits + (int64_t)size + t * vocab, vocab);
    return 0;
}

int merge_quality(MergeQuality *q, const Model *base, const Adapter *a, const Model *merged, const RunData *d,
                  Err *err) {
    *q = (MergeQuality){0};
    const Model *models[2] = {base, merged};
    const RowPlan *rows = d->eval_rows;
    for (uint32_t i = 0; i < rows->start[rows->count] && q->tokens < MOST_TOKENS; i++) {
        Sample s = dataset_sample(d->eval_set, rows->samples[i]);
        if (add_sample(q, &s, models, a, err)) return -1;
    }
    if (q->tokens) q->kl /= (double)q->tokens;
    return 0;
}
