#include "token_sampler.h"

#include <math.h>
#include <stdlib.h>

typedef struct Candidate {
    double weight; // exp((logit - max) / temperature)
    int32_t id;
} Candidate;

struct TokenSampler {
    int64_t vocab;
    Candidate *candidates; // [vocab]
};

TokenSampler *token_sampler_new(int64_t vocab) {
    TokenSampler *s = mem_alloc(1, sizeof *s);
    *s = (TokenSampler){vocab, mem_alloc((size_t)vocab, sizeof *s->candidates)};
    return s;
}

void token_sampler_free(TokenSampler *s) {
    if (!s) return;
    mem_free(s->candidates);
    mem_free(s);
}

// Fills the candidates with all *n tokens that have a weight, in the order of their ids; returns the sum of the
// weights.
static double weigh(TokenSampler *s, const float *logits, float temperature, int64_t *n) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < s->vocab; i++) {
        if (isnan(logits[i]) || logits[i] == INFINITY) return NAN;
        if (logits[i] > max) max = logits[i];
    }
    if (max == -INFINITY) return NAN;
    *n = 0;
    for (int64_t i = 0; i < s->vocab; i++) {
        double w = exp(((double)logits[i] - max) / (double)temperature);
        if (w > 0) s->candidates[(*n)++] = (Candidate){w, (int32_t)i};
        sum += w;
    }
    return sum;
}

static int most_likely_first(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return x->id - y->id;
}

// Keeps the nucleus (Holtzman et al. 2020); returns how many and their sum. Tokens below (1 - p) / vocab cannot be in
// it: all of them together weigh less than 1 - p. So only a few have to be sorted.
static int64_t cut(TokenSampler *s, int64_t candidates, double top_p, double *sum) {
    double floor = (1 - top_p) / (double)s->vocab * *sum;
    int64_t n = 0;
    for (int64_t i = 0; i < candidates; i++)
        if (s->candidates[i].weight >= floor) s->candidates[n++] = s->candidates[i];
    qsort(s->candidates, (size_t)n, sizeof *s->candidates, most_likely_first);
    double kept = 0;
    int64_t k = 0;
    while (k < n && kept < top_p * *sum) kept += s->candidates[k++].weight;
    *sum = kept;
    return k;
}

int32_t token_sampler_draw(TokenSampler *s, const float *logits, float temperature, float top_p, RngKey key) {
    int64_t n = 0;
    double sum = weigh(s, logits, temperature, &n);
    if (!isfinite(sum)) return -1;
    if (top_p < 1) n = cut(s, n, (double)top_p, &sum);
    uint32_t word[4];
    rng_philox(key, 0, 0, word);
    double at = ((double)word[0] + (double)word[1] * 0x1p-32) * 0x1p-32 * sum; // uniform in [0, sum)
    int64_t i = 0;
    while (i < n - 1 && at >= s->candidates[i].weight) at -= s->candidates[i++].weight;
    return s->candidates[i].id;
}
