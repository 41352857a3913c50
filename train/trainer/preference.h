// preference: training on preferences (task "preference"): its loss as the config has it, and the means of a step or of
// an evaluation.
//
// A sample is a pair of sequences, the chosen and the rejected one, or a completion that is desirable or not (kto). The
// loss is the mean of the samples' losses (kernels.h), plus the mean over all tokens of the chosen sequences times its
// weight: of the completion (rpo_alpha), or of prompt and completion (orpo). kto needs an estimate of the divergence
// from the reference before a step's passes: over prompts with the completions of other samples.
#pragma once

#include "config.h"
#include "graph.h"
#include "pass_runner.h"

// What the rows of a step or of an evaluation hold.
typedef struct PreferenceCounts {
    int64_t samples;
    int64_t chosen;    // scored positions of chosen sequences; 0 where their losses have no weight
    int64_t desirable; // kto: samples; else `samples`
} PreferenceCounts;

// Means over the samples; kto: over the desirable ones and over the others, NAN where there are none.
typedef struct PreferenceReport {
    int64_t samples; // 0: not of preferences
    bool paired;     // accuracy is known, kl is not
    double reward_chosen, reward_rejected, accuracy, logp_chosen, logp_rejected, kl;
} PreferenceReport;

// reference: NULL: the base alone.
PassPreference preference_of(const Config *c, const Adapter *reference);
// Reads the row's samples only for what the loss needs.
void preference_count(PreferenceCounts *n, const PassPreference *loss, const PassRows *rows, int64_t row);
// Scales that make the sum over the samples a mean. `scale`: the loss scale of F16. kl: of kto.
PassState preference_state(const PassPreference *p, const PreferenceCounts *n, double scale, double kl);
// The estimate from its passes, which are summed: 0 at least.
double preference_kl(const HeadTally *t, const PreferenceCounts *n);
PreferenceReport preference_report(const PassPreference *p, const HeadTally *t, const PreferenceCounts *n, double kl);
