// lr_schedule: the learning rate of each optimizer step, a pure function of the step.
//
// Behind the warm-up the factors are those of transformers.get_scheduler at step - 1 (its steps count from 0). In the
// warm-up step k of w uses k / w, so that the first step learns too (transformers starts at 0).
#pragma once

#include "base.h"

typedef enum { // order of the config's choices
    LR_COSINE,
    LR_LINEAR,
    LR_CONSTANT, // no warm-up
    LR_CONSTANT_WITH_WARMUP,
    LR_COSINE_WITH_MIN_LR,
    LR_WSD, // warm-up, stable, then the last tenth of the run decays along half a cosine
    LR_INVERSE_SQRT,
} LrKind;

typedef struct LrSchedule {
    LrKind kind;
    double peak, min_ratio;
    int64_t warmup, total; // steps
} LrSchedule;

double lr_at(const LrSchedule *s, int64_t step); // step counts from 1
