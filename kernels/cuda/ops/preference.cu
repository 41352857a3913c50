// preference: losses of preferences: a block for each sample, then one that sums the samples up over a fixed tree.
#include "preference_math.h"

#include "rows.cuh"

enum { SAMPLE_BLOCK = 256, TOTAL_BLOCK = 256 };

static __device__ PreferenceSums sums_of(const PreferenceLoss &p, int64_t sequence) {
    PreferenceSums s = {0, 0, 0, 0};
    for (int64_t m = p.start[sequence] + threadIdx.x; m < p.start[sequence + 1]; m += SAMPLE_BLOCK)
        preference_add(&s, &p, m);
    PreferenceSums all = {block_sum(s.logp), block_sum(s.reference), block_sum(s.tokens), block_sum(s.nll)};
    return all;
}

template <class T>
static __device__ void scale_rows(Rows<T> dx, const PreferenceLoss &p, int64_t sequence, float answer, float prompt,
                                  int cols) {
    for (int64_t m = p.start[sequence]; m < p.start[sequence + 1]; m++) {
        float factor = p.answer[m] ? answer : prompt;
        for (int c = threadIdx.x; c < cols; c += SAMPLE_BLOCK) store(dx.at(m, c), load(dx.at(m, c)) * factor);
    }
}

// cols 0: no gradient.
template <class T>
static __global__ void sample_loss(PreferenceTerms *terms, Rows<T> dx, PreferenceLoss p, int n, int cols) {
    int64_t first = (int64_t)blockIdx.x * n;
    PreferenceSums sums[2] = {};
    PreferenceTerms t = {};
    if (p.start[first] < p.start[first + 1]) { // not padding: the same for all threads
        for (int i = 0; i < n; i++) sums[i] = sums_of(p, first + i);
        preference_terms(&t, &p, sums, first); // by every thread, of the same numbers
        for (int i = 0; i < n && cols; i++) scale_rows(dx, p, first + i, t.answer[i], t.prompt[i], cols);
    }
    if (threadIdx.x == 0) terms[blockIdx.x] = t;
}

static __global__ void total(HeadResult *result, const PreferenceTerms *terms, int64_t samples) {
    HeadResult sum = {};
    for (int64_t i = threadIdx.x; i < samples; i += TOTAL_BLOCK) preference_sum(&sum, &terms[i]);
    sum.loss = block_sum(sum.loss);
    sum.correct = block_sum((long long)sum.correct);
    for (int i = 0; i < PREFERENCE_SUMS; i++) sum.sums[i] = block_sum(sum.sums[i]);
    if (threadIdx.x == 0) *result = sum;
}

void cuda_preference_loss(Backend *b, HeadResult *result, Mat dx, const PreferenceLoss *p, void *ws) {
    int n = preference_is_paired(p->kind) ? 2 : 1;
    int64_t samples = p->sequences / n;
    CHECK(p->sequences % n == 0 && dx.cols <= INT32_MAX, "%ld sequences", p->sequences);
    if (dx.data) CHECK_MAT(dx, b->activation, dx.rows, dx.cols);
    PreferenceTerms *terms = (PreferenceTerms *)ws;
    DISPATCH(b->activation, T,
             RUN(b, (sample_loss<T>), (unsigned)samples, SAMPLE_BLOCK, 0, terms, rows_of<T>(dx), *p, n,
                 dx.data ? (int)dx.cols : 0));
    RUN(b, total, 1, TOTAL_BLOCK, 0, result, terms, samples);
}
