// preference_math: the arithmetic of one sample of a preference loss (kernels.h), on CPUs and GPUs. The reference has
// its own. Logits of probabilities are differences of sums of hundreds of token losses: all in double.
#pragma once

#include "kernels.h"

C_BEGIN

// Sums over the scored positions of one sequence.
typedef struct PreferenceSums {
    double logp, reference, tokens; // of the completion
    double nll;                     // all token losses
} PreferenceSums;

// Results of one sample of one or two sequences, and the factors of its rows of dx.
typedef struct PreferenceTerms {
    double loss, preference[PREFERENCE_SUMS];
    float answer[2], prompt[2]; // of each sequence
    int correct;
} PreferenceTerms;

HOST_DEVICE static inline void preference_add(PreferenceSums *s, const PreferenceLoss *p, int64_t m) {
    s->nll += p->policy[m];
    if (!p->answer[m]) return;
    s->tokens += 1;
    s->logp -= p->policy[m];
    if (preference_has_reference(p->kind)) s->reference -= p->reference[m];
}

// log(1 + exp z) without overflow.
HOST_DEVICE static inline double preference_softplus(double z) { return (z > 0 ? z : 0) + log1p(exp(-fabs(z))); }
HOST_DEVICE static inline double preference_sigmoid(double z) {
    double e = exp(-fabs(z));
    return (z < 0 ? e : 1) / (1 + e);
}

// What a completion scores: its log probability over the reference's, or by token.
HOST_DEVICE static inline double preference_score(const PreferenceLoss *p, const PreferenceSums *s) {
    return preference_has_reference(p->kind) ? s->logp - s->reference : s->logp / s->tokens;
}

// d(loss)/d(log p) of the chosen and the rejected sequence. Returns the loss.
HOST_DEVICE static inline double preference_pair(const PreferenceLoss *p, const PreferenceSums s[2], double slope[2]) {
    double beta = (double)p->beta, e = (double)p->label_smoothing, inner[2] = {1, 1}, value[2], z, loss, dz;
    for (int i = 0; i < 2; i++) {
        value[i] = preference_score(p, &s[i]);
        if (p->kind == PREFERENCE_IPO) value[i] /= s[i].tokens;
        if (p->kind != PREFERENCE_DPO) inner[i] = 1 / s[i].tokens;
        if (p->kind != PREFERENCE_ORPO) continue;
        double others = -expm1(value[i]); // 1 - exp a
        value[i] -= log(others);
        inner[i] /= others;
    }
    z = value[0] - value[1];
    if (p->kind == PREFERENCE_IPO) {
        z -= 0.5 / beta;
        loss = z * z;
        dz = 2 * z;
    } else if (p->kind == PREFERENCE_ORPO) {
        loss = beta * preference_softplus(-z);
        dz = -beta * preference_sigmoid(-z);
    } else {
        z = beta * z - (p->kind == PREFERENCE_SIMPO ? (double)p->gamma : 0);
        loss = (1 - e) * preference_softplus(-z) + e * preference_softplus(z);
        dz = beta * (e * preference_sigmoid(z) - (1 - e) * preference_sigmoid(-z));
    }
    slope[0] = dz * inner[0];
    slope[1] = -dz * inner[1];
    return loss;
}

HOST_DEVICE static inline double preference_kto(const PreferenceLoss *p, double score, bool desirable, double *slope) {
    double beta = (double)p->beta, w = (double)p->weights[!desirable], z = beta * (score - (double)p->state->kl);
    if (!desirable) z = -z;
    *slope = (desirable ? -w : w) * beta * preference_sigmoid(z) * preference_sigmoid(-z);
    return w * preference_sigmoid(-z);
}

HOST_DEVICE static inline void preference_note(PreferenceTerms *t, const PreferenceLoss *p, const PreferenceSums *s,
                                               int rejected) {
    double score = preference_score(p, s);
    t->preference[SUM_REWARD_CHOSEN + rejected] = (double)p->beta * score;
    t->preference[SUM_LOGP_CHOSEN + rejected] = preference_has_reference(p->kind) ? s->logp : score;
}

// Of the sequences `first` and, if paired, first + 1, whose sums are s. *t is zero before.
HOST_DEVICE static inline void preference_terms(PreferenceTerms *t, const PreferenceLoss *p, const PreferenceSums s[2],
                                                int64_t first) {
    double slope[2] = {0, 0}, nll = (double)p->state->nll_scale;
    if (p->kind == PREFERENCE_KL) {
        t->loss = preference_score(p, s);
        return;
    }
    if (preference_is_paired(p->kind)) {
        t->loss = preference_pair(p, s, slope) + nll * s[0].nll;
        for (int i = 0; i < 2; i++) preference_note(t, p, &s[i], i);
        t->correct = t->preference[SUM_REWARD_CHOSEN] > t->preference[SUM_REWARD_REJECTED];
        t->prompt[0] = (float)nll;
    } else {
        bool desirable = p->desirable[first] != 0;
        t->loss = preference_kto(p, preference_score(p, s), desirable, slope);
        preference_note(t, p, s, !desirable);
    }
    for (int i = 0; i < 2; i++) t->answer[i] = (float)((double)t->prompt[i] - slope[i]);
}

HOST_DEVICE static inline void preference_sum(HeadResult *sum, const PreferenceTerms *t) {
    sum->loss += t->loss;
    sum->correct += t->correct;
    for (int i = 0; i < PREFERENCE_SUMS; i++) sum->sums[i] += t->preference[i];
}

C_END
