#include "preference.h"

#include <math.h>

static const PreferenceKind kinds[] = {[LOSS_DPO] = PREFERENCE_DPO,
                                       [LOSS_IPO] = PREFERENCE_IPO,
                                       [LOSS_ORPO] = PREFERENCE_ORPO,
                                       [LOSS_SIMPO] = PREFERENCE_SIMPO,
                                       [LOSS_KTO] = PREFERENCE_KTO};

PassPreference preference_of(const Config *c, const Adapter *reference) {
    PreferenceLoss loss = {.kind = kinds[c->preference_loss],
                           .beta = (float)c->beta,
                           .label_smoothing = (float)c->label_smoothing,
                           .gamma = (float)c->simpo_gamma,
                           .weights = {(float)c->desirable_weight, (float)c->undesirable_weight}};
    return (PassPreference){loss, reference, c->preference_loss == LOSS_ORPO ? 1 : c->rpo_alpha};
}

void preference_count(PreferenceCounts *n, const PassPreference *loss, const PassRows *rows, int64_t row) {
    bool paired = preference_is_paired(loss->loss.kind);
    int64_t samples = row_plan_row(rows->plan, row).samples / (paired ? 2 : 1);
    n->samples += samples;
    n->chosen += paired && loss->nll_weight > 0 ? row_plan_chosen(rows->dataset, rows->plan, row) : 0;
    n->desirable += paired ? samples : row_plan_desirable(rows->dataset, rows->plan, row);
}

PassState preference_state(const PassPreference *p, const PreferenceCounts *n, double scale, double kl) {
    double samples = (double)n->samples;
    return (PassState){.grad_scale = (float)(scale / samples),
                       .nll_scale = (float)(n->chosen ? p->nll_weight * samples / (double)n->chosen : 0),
                       .kl = (float)kl};
}

double preference_kl(const HeadTally *t, const PreferenceCounts *n) {
    double kl = pass_runner_loss(t) / (double)n->samples;
    return kl < 0 ? 0 : kl; // NAN stays
}

PreferenceReport preference_report(const PassPreference *p, const HeadTally *t, const PreferenceCounts *n, double kl) {
    bool paired = preference_is_paired(p->loss.kind);
    double sum[PREFERENCE_SUMS], chosen = (double)n->desirable;
    double rejected = paired ? chosen : (double)(n->samples - n->desirable);
    for (int i = 0; i < PREFERENCE_SUMS; i++) sum[i] = pass_runner_sum(t, &t->sums[i]);
    return (PreferenceReport){.samples = n->samples,
                              .paired = paired,
                              .reward_chosen = sum[SUM_REWARD_CHOSEN] / chosen,
                              .reward_rejected = sum[SUM_REWARD_REJECTED] / rejected,
                              .accuracy = (double)t->correct / chosen,
                              .logp_chosen = sum[SUM_LOGP_CHOSEN] / chosen,
                              .logp_rejected = sum[SUM_LOGP_REJECTED] / rejected,
                              .kl = kl};
}
