// preference_cpu: losses of preferences; a thread for each sample, the sums in the samples' order.
#include "preference_math.h"

#include <string.h>

#include "cpu.h"

static int64_t samples_of(const PreferenceLoss *p) {
    CHECK(!preference_is_paired(p->kind) || p->sequences % 2 == 0, "%ld sequences", p->sequences);
    return preference_is_paired(p->kind) ? p->sequences / 2 : p->sequences;
}

size_t CPU_FN(preference_loss_workspace)(Backend *b, const PreferenceLoss *p) {
    return (size_t)samples_of(p) * sizeof(PreferenceTerms);
}

static void scale_rows(Mat dx, const PreferenceLoss *p, int64_t sequence, float answer, float prompt) {
    for (int64_t m = p->start[sequence]; m < p->start[sequence + 1]; m++) {
        Act *row = act_row(dx, m);
        float factor = p->answer[m] ? answer : prompt;
        for (int64_t c = 0; c < dx.cols; c++) row[c] = act_store(act_load(row[c]) * factor);
    }
}

static void sample(PreferenceTerms *t, Mat dx, const PreferenceLoss *p, int64_t first, int n) {
    PreferenceSums sums[2] = {0};
    for (int i = 0; i < n; i++)
        for (int64_t m = p->start[first + i]; m < p->start[first + i + 1]; m++) preference_add(&sums[i], p, m);
    preference_terms(t, p, sums, first);
    for (int i = 0; i < n && dx.data; i++) scale_rows(dx, p, first + i, t->answer[i], t->prompt[i]);
}

void CPU_FN(preference_loss)(Backend *b, HeadResult *result, Mat dx, const PreferenceLoss *p, void *ws) {
    int64_t samples = samples_of(p);
    int n = preference_is_paired(p->kind) ? 2 : 1;
    PreferenceTerms *terms = ws;
    memset(terms, 0, (size_t)samples * sizeof *terms);
#pragma omp parallel for schedule(dynamic) num_threads(cpu_threads(b, dx.data ? dx.rows *dx.cols : 1))
    for (int64_t i = 0; i < samples; i++)
        if (p->start[i * n] < p->start[i * n + 1]) sample(&terms[i], dx, p, i * n, n);
    *result = (HeadResult){0};
    for (int64_t i = 0; i < samples; i++) preference_sum(result, &terms[i]);
}
