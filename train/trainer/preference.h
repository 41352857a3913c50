// preference: training on preferences (task "preference"): its loss as the config has it, and the means of a step or of
// an evaluation.
//
// A sample is a pair of sequences, the chosen and the rejected one (dataset.h). The loss is the mean over the samples
// of their losses (kernels.h), plus the mean over all tokens of the chosen sequences times its weight: of the
// completion (rpo_alpha), or of prompt and completion (orpo).
#pragma once

#include "config.h"
#include "graph.h"
#include "pass_runner.h"

// What the rows of a step or of an evaluation hold.
typedef struct PreferenceCounts {
    int64_t samples, chosen; // chosen: scored positions of chosen sequences
} PreferenceCounts;

// Means over the samples.
typedef struct PreferenceReport {
    int64_t samples; // 0: not of preferences
    double reward_chosen, reward_rejected, accuracy, logp_chosen, logp_rejected;
} PreferenceReport;

// reference: NULL: the base alone.
PassPreference preference_of(const Config *c, const Adapter *reference);
void preference_count(PreferenceCounts *n, const Dataset *d, const RowPlan *p, int64_t row);
// Scales that make the sum over the samples a mean. `scale`: the loss scale of F16.
PassState preference_state(const PassPreference *p, const PreferenceCounts *n, double scale);
PreferenceReport preference_report(const HeadTally *t, const PreferenceCounts *n);
