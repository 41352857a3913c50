// heads: what ends a graph: the results of heads, their sums over passes, and the arguments of their losses
// (kernels.h).
#pragma once

#include <math.h>

#include "base.h"

C_BEGIN

typedef struct PassState PassState; // kernels.h

// Sums of preferences, beside the losses.
typedef enum {
    SUM_REWARD_CHOSEN,
    SUM_REWARD_REJECTED,
    SUM_LOGP_CHOSEN,
    SUM_LOGP_REJECTED,
    PREFERENCE_SUMS
} PreferenceSum;

// The parts of a loss with soft targets: SoftTargets.
typedef enum { SUM_HARD, SUM_SOFT, SOFT_SUMS } SoftSum;
enum { HEAD_SUMS = PREFERENCE_SUMS };

// Results of the head, in device memory.
typedef struct HeadResult {
    double loss;            // sum of the token losses of the row (unscaled, natural log)
    int64_t correct;        // positions whose arg max is the target (lowest index wins ties)
    double sums[HEAD_SUMS]; // of preference_loss, which sums loss and correct over samples, by PreferenceSum; of
                            // head_loss with soft targets by SoftSum; else 0
} HeadResult;

// Results of many passes as integers: the sum is bit-identical for any order of passes and any split over ranks. The
// sums of a pass are rounded to multiples of 2^-32; a sum is whole + fraction * 2^-32 (at most 2^31 passes).
typedef struct ExactSum {
    int64_t whole, fraction;
} ExactSum;
typedef struct HeadTally {
    ExactSum loss, sums[HEAD_SUMS];
    int64_t correct;
    int64_t bad; // passes with a sum that is not finite or of a magnitude of at least 2^30; not in the sums
} HeadTally;
enum { HEAD_TALLY_LIMIT = 1 << 30 };
HOST_DEVICE static inline bool head_result_fits(const HeadResult *r) {
    const double limit = HEAD_TALLY_LIMIT;
    bool fits = fabs(r->loss) < limit; // false for NaN
    for (int i = 0; i < HEAD_SUMS; i++) fits = fits && fabs(r->sums[i]) < limit;
    return fits;
}
HOST_DEVICE static inline void exact_sum_add(ExactSum *s, int64_t units) {
    s->whole += units >> 32;
    s->fraction += units & 0xffffffff;
}

// Of each row the k largest logits of a teacher, or their log probabilities (Hinton et al. 2015). With T the
// temperature, q the softmax of values / T over the k, p that of logits / T over all V:
//   loss = hard_weight nll + soft_weight T^2 KL(q || p),  KL(q || p) = sum over the k of q (log q - log p)
typedef struct SoftTargets {
    const int32_t *ids;  // [M, k] in [0, V), ascending in each row; -1, before all others: absent (at least one is not)
    const float *values; // [M, k] finite, up to a constant of the row; of absent ones any
    int64_t k;           // 0: no soft targets
    float temperature, hard_weight, soft_weight;
} SoftTargets;

typedef struct HeadLoss {
    const int32_t *targets; // [M], all in [0, V); -1 (padding): ignored, dx is 0
    const PassState *state; // its grad_scale
    float label_smoothing;  // 0: none; loss = (1-e) * nll + e * mean over V of -log p (Szegedy et al. 2016)
    float softcap;          // 0: none; else logits = c tanh(logits / c) before the loss (Gemma 2)
    double *token_loss;     // [M] each position's loss, written; of padding unspecified. NULL: not wanted
    bool as_in_training;    // without dx: logits are rounded as they are with dx, so that losses can be compared
    SoftTargets soft;       // label_smoothing is 0 then
} HeadLoss;

// Losses of preferences. A sequence s is a prompt and its completion, log p its completion's log probability (minus the
// sum of its token losses), r that of the reference, n its tokens, e the label smoothing.
//   DPO    z = beta ((log p - r)_chosen - (log p - r)_rejected)            -(1-e) log sigmoid(z) - e log sigmoid(-z)
//   IPO    z = ((log p - r) / n)_chosen - ((log p - r) / n)_rejected       (z - 1 / (2 beta))^2
//   SimPO  z = beta ((log p / n)_chosen - (log p / n)_rejected) - gamma    as DPO
//   ORPO   a = log p / n, z = (a - log(1 - exp a))_chosen - (a - log(1 - exp a))_rejected    -beta log sigmoid(z)
//   KTO    z = beta (log p - r - kl), of one sequence; desirable: w (1 - sigmoid(z)), else: w' sigmoid(z)
//   KL     log p - r, of one sequence: the sum alone, without a gradient
// DPO: Rafailov et al. 2023, smoothed as by Mitchell 2023; IPO: Azar et al. 2023, by token as TRL; SimPO: Meng et al.
// 2024; ORPO: Hong et al. 2024; KTO and its kl: Ethayarajh et al. 2024. Rewards are beta (log p - r); SimPO, ORPO:
// beta log p / n.
typedef enum {
    PREFERENCE_DPO,
    PREFERENCE_IPO,
    PREFERENCE_SIMPO,
    PREFERENCE_ORPO,
    PREFERENCE_KTO,
    PREFERENCE_KL
} PreferenceKind;
HOST_DEVICE static inline bool preference_is_paired(PreferenceKind k) { return k < PREFERENCE_KTO; }
HOST_DEVICE static inline bool preference_has_reference(PreferenceKind k) {
    return k != PREFERENCE_SIMPO && k != PREFERENCE_ORPO;
}
typedef struct PreferenceLoss {
    PreferenceKind kind;
    float beta, label_smoothing, gamma;
    float weights[2];         // KTO: of a desirable sequence, of another
    int64_t sequences;        // paired: even, the chosen one before the rejected one. Empty ones are padding
    const int32_t *start;     // [sequences + 1] the first scored position of each
    const int32_t *answer;    // [M] 1: of the completion; 0: of the prompt, in the sum of nll_scale alone
    const int32_t *desirable; // [sequences] KTO: 1 or 0
    const double *policy;     // [M] token losses
    const double *reference;  // [M], where preference_has_reference
    const PassState *state;   // its nll_scale and kl
} PreferenceLoss;

// What the N logits l of a classifier's head are, and the loss of a row:
//   SOFTMAX   one class of N: as in HeadLoss, over N instead of V
//   SIGMOID   N times yes or no, y 1 or 0: the mean of max(l, 0) - l y + log(1 + exp(-|l|)); d(loss)/dl is
//             (sigmoid(l) - y) / N. Correct: a row whose l are all above 0 where y is 1, and nowhere else
//   SQUARES   N numbers y: the mean of (l - y)^2; d(loss)/dl is 2 (l - y) / N. No row is correct
typedef enum { CLASS_SOFTMAX, CLASS_SIGMOID, CLASS_SQUARES } ClassLoss;

// A classifier's head: small, float32 and trained, unlike the head of the language model.
typedef struct ClassHead {
    ClassLoss loss;
    const float *w;         // [N, C]
    const float *bias;      // [N] or NULL
    float *dw, *dbias;      // += gradients, same shapes; NULL: no gradient
    const int32_t *labels;  // [M], all in [0, N), other losses: 0; -1 (padding): ignored, dx is 0
    const float *values;    // [M, N] the y of SIGMOID and SQUARES; else NULL
    int64_t classes;        // N here
    const PassState *state; // its grad_scale
    float label_smoothing;  // of SOFTMAX
    int32_t *predicted;     // [M] or NULL: arg max of each row (lowest index wins ties), -1 for a row with a NaN
    float *logits;          // [M, N] or NULL: of SIGMOID and SQUARES, written; of padding unspecified
} ClassHead;

C_END
