#include "preference.h"

static const PreferenceKind kinds[] = {[LOSS_DPO] = PREFERENCE_DPO,
                                       [LOSS_IPO] = PREFERENCE_IPO,
                                       [LOSS_ORPO] = PREFERENCE_ORPO,
                                       [LOSS_SIMPO] = PREFERENCE_SIMPO};

PassPreference preference_of(const Config *c, const Adapter *reference) {
    PreferenceLoss loss = {.kind = kinds[c->preference_loss],
                           .beta = (float)c->beta,
                           .label_smoothing = (float)c->label_smoothing,
                           .gamma = (float)c->simpo_gamma};
    return (PassPreference){loss, reference, c->preference_loss == LOSS_ORPO ? 1 : c->rpo_alpha};
}

void preference_count(PreferenceCounts *n, const Dataset *d, const RowPlan *p, int64_t row) {
    n->samples += row_plan_row(p, row).samples / 2;
    n->chosen += row_plan_chosen(d, p, row);
}

PassState preference_state(const PassPreference *p, const PreferenceCounts *n, double scale) {
    double samples = (double)n->samples;
    return (PassState){.grad_scale = (float)(scale / samples),
                       .nll_scale = (float)(n->chosen ? p->nll_weight * samples / (double)n->chosen : 0)};
}

PreferenceReport preference_report(const HeadTally *t, const PreferenceCounts *n) {
    double mean[PREFERENCE_SUMS], samples = (double)n->samples;
    for (int i = 0; i < PREFERENCE_SUMS; i++) mean[i] = pass_runner_sum(t, &t->preference[i]) / samples;
    return (PreferenceReport){n->samples,
                              mean[SUM_REWARD_CHOSEN],
                              mean[SUM_REWARD_REJECTED],
                              (double)t->correct / samples,
                              mean[SUM_LOGP_CHOSEN],
                              mean[SUM_LOGP_REJECTED]};
}
