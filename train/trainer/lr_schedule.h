// lr_schedule: the learning rate of each optimizer step, a pure function of the step.
//
// After the warm-up the factors are those of transformers.get_scheduler at step - 1 (its steps count from 0). Step k of
// a warm-up of w steps uses k / w, so that the first step learns too (transformers starts at 0).
#pragma once

#include "base.h"
#include "config_choices.h"

typedef struct LrSchedule {
    LrKind kind;
    double peak, min_ratio;
    int64_t warmup, total; // steps
} LrSchedule;

double lr_at(const LrSchedule *s, int64_t step); // step counts from 1
