// class_math: the losses of single logits of a classifier's head (heads.h), on CPUs and GPUs. The reference has its
// own.
#pragma once

#include "kernels.h"

C_BEGIN

// Of one logit of a row; the row's loss is the mean.
HOST_DEVICE static inline double class_logit_loss(ClassLoss kind, double l, double y) {
    if (kind == CLASS_SQUARES) return (l - y) * (l - y);
    return (l > 0 ? l : 0) - l * y + log1p(exp(-fabs(l)));
}

// Its derivative by l. sigmoid(l) - 1 is -sigmoid(-l), so that it stays precise when sigmoid(l) is close to 1.
HOST_DEVICE static inline double class_logit_slope(ClassLoss kind, double l, double y) {
    if (kind == CLASS_SQUARES) return 2 * (l - y);
    double e = exp(-fabs(l)), small = e / (1 + e), large = 1 / (1 + e);
    return y > 0.5 ? -(l > 0 ? small : large) : l > 0 ? large : small;
}

// The logit decides as y does.
HOST_DEVICE static inline bool class_logit_right(ClassLoss kind, double l, double y) {
    return kind == CLASS_SIGMOID && (l > 0) == (y > 0.5);
}

C_END
