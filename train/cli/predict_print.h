// predict_print: what `lorac predict` prints of the logits of one text, a line of JSON.
//
//   single label   {"label", "score"}: the best label; "scores": the best `shown` of them
//   multi-label    {"labels": [{"label", "score"}, ...]} with a score above `threshold`, best first; "scores" likewise
//   regression     {"value"}, or {"values": []}
// Scores are the softmax of the logits, of several labels the sigmoid of each.
#pragma once

#include "adapter.h"

typedef struct PredictForm {
    int64_t shown; // of "scores"; 0: none
    double threshold;
    const char *text, *text_pair; // to be repeated; NULL: not
} PredictForm;
// logits [labels] of the adapter.
int predict_print(const Adapter *a, const float *logits, const PredictForm *f, Err *err);
