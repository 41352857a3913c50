// preference_ref: losses of preferences, reference: formulas as kernels.h has them, derivatives worked out by hand.
#include "ref.h"

#include <math.h>

typedef struct Sequence {
    double logp, tokens, nll; // of the completion; its tokens; all token losses, the prompt's too
    double reference, slope;  // d(loss)/d(logp), set by the loss
} Sequence;

size_t ref_preference_loss_workspace(Backend *b, const PreferenceLoss *p) { return 0; }

static Sequence sequence_of(const PreferenceLoss *p, int64_t i) {
    Sequence s = {0};
    for (int64_t m = p->start[i]; m < p->start[i + 1]; m++) {
        s.nll += p->policy[m];
        if (!p->answer[m]) continue;
        s.tokens++;
        s.logp -= p->policy[m];
        if (preference_has_reference(p->kind)) s.reference -= p->reference[m];
    }
    return s;
}

static double log_sigmoid(double z) { return z < 0 ? z - log1p(exp(z)) : -log1p(exp(-z)); }
static double sigmoid(double z) { return exp(log_sigmoid(z)); }

// -(1-e) log sigmoid(z) - e log sigmoid(-z), and its derivative.
static double smoothed(double z, double e, double *slope) {
    *slope = -(1 - e) * sigmoid(-z) + e * sigmoid(z);
    return -(1 - e) * log_sigmoid(z) - e * log_sigmoid(-z);
}

static double log_odds(const Sequence *s) {
    double mean = s->logp / s->tokens;
    return mean - log(-expm1(mean));
}

static double pair_loss(const PreferenceLoss *p, Sequence *c, Sequence *r) {
    double beta = p->beta, slope = 0, loss = 0, z;
    switch (p->kind) {
    case PREFERENCE_DPO:
        loss = smoothed(beta * (c->logp - c->reference - r->logp + r->reference), p->label_smoothing, &slope);
        c->slope = slope * beta;
        r->slope = -slope * beta;
        break;
    case PREFERENCE_IPO:
        z = (c->logp - c->reference) / c->tokens - (r->logp - r->reference) / r->tokens - 1 / (2 * beta);
        loss = z * z;
        c->slope = 2 * z / c->tokens;
        r->slope = -2 * z / r->tokens;
        break;
    case PREFERENCE_SIMPO:
        loss = smoothed(beta * (c->logp / c->tokens - r->logp / r->tokens) - p->gamma, p->label_smoothing, &slope);
        c->slope = slope * beta / c->tokens;
        r->slope = -slope * beta / r->tokens;
        break;
    case PREFERENCE_ORPO:
        z = log_odds(c) - log_odds(r);
        loss = -beta * log_sigmoid(z);
        c->slope = -beta * sigmoid(-z) / -expm1(c->logp / c->tokens) / c->tokens;
        r->slope = beta * sigmoid(-z) / -expm1(r->logp / r->tokens) / r->tokens;
        break;
    default: CHECK(false, "kind %d", p->kind);
    }
    return loss;
}

static double reward(const PreferenceLoss *p, const Sequence *s) {
    return preference_has_reference(p->kind) ? p->beta * (s->logp - s->reference) : p->beta * s->logp / s->tokens;
}

static void add(HeadResult *result, const PreferenceLoss *p, const Sequence *s, bool rejected) {
    result->sums[SUM_REWARD_CHOSEN + rejected] += reward(p, s);
    result->sums[SUM_LOGP_CHOSEN + rejected] += preference_has_reference(p->kind) ? s->logp : s->logp / s->tokens;
}

static void scale_rows(Mat dx, const PreferenceLoss *p, int64_t i, double slope, double nll_scale) {
    for (int64_t m = p->start[i]; m < p->start[i + 1] && dx.data; m++)
        for (int64_t c = 0; c < dx.cols; c++) f32_row(dx, m)[c] *= (float)(nll_scale - (p->answer[m] ? slope : 0));
}

static void pair(HeadResult *result, Mat dx, const PreferenceLoss *p, int64_t i) {
    Sequence c = sequence_of(p, i), r = sequence_of(p, i + 1);
    double nll_scale = p->state->nll_scale;
    result->loss += pair_loss(p, &c, &r) + nll_scale * c.nll;
    result->correct += reward(p, &c) > reward(p, &r);
    add(result, p, &c, false);
    add(result, p, &r, true);
    scale_rows(dx, p, i, c.slope, nll_scale);
    scale_rows(dx, p, i + 1, r.slope, 0);
}

static void single(HeadResult *result, Mat dx, const PreferenceLoss *p, int64_t i) {
    Sequence s = sequence_of(p, i);
    if (p->kind == PREFERENCE_KL) {
        result->loss += s.logp - s.reference;
        return;
    }
    double z = p->beta * (s.logp - s.reference - p->state->kl);
    bool desirable = p->desirable[i];
    result->loss += desirable ? p->weights[0] * (1 - sigmoid(z)) : p->weights[1] * sigmoid(z);
    add(result, p, &s, !desirable);
    double slope = p->beta * sigmoid(z) * sigmoid(-z);
    scale_rows(dx, p, i, desirable ? -p->weights[0] * slope : p->weights[1] * slope, 0);
}

void ref_preference_loss(Backend *b, HeadResult *result, Mat dx, const PreferenceLoss *p, void *ws) {
    bool paired = preference_is_paired(p->kind);
    CHECK(!paired || p->sequences % 2 == 0, "%ld sequences", p->sequences);
    *result = (HeadResult){0};
    for (int64_t i = 0; i < p->sequences; i += paired ? 2 : 1) {
        if (p->start[i] == p->start[i + 1]) continue;
        paired ? pair(result, dx, p, i) : single(result, dx, p, i);
    }
}
