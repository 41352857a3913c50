// class_metrics: what an evaluation of a classifier counts beside its loss, as integers, so that the sums are
// bit-identical for any order of passes and any split over ranks.
//
//   single label   accuracy; macro-F1, over the labels that occur or were predicted
//   multi-label    accuracy: samples with all labels right; micro-F1 over all labels; macro-F1 as above. A label is
//                  predicted where its score, the sigmoid of its logit, is above 0.5
//   tokens         accuracy of the labels; precision, recall and F1 of entities, over all of them (micro), as seqeval
//                  computes them in its default mode for BIO and BIOES tags; not defined for other labels
//   regression     mean absolute error; Pearson's correlation of all numbers with their predictions
#pragma once

#include "labels.h"
#include "rows.h"

// X(field of ClassMetrics, title, problems that have it)
#define PROBLEM_BIT(p) (1 << (p))
#define CLASS_METRICS(X)                                                                                               \
    X(accuracy, "accuracy", ~PROBLEM_BIT(PROBLEM_REGRESSION))                                                          \
    X(precision, "precision", PROBLEM_BIT(PROBLEM_TOKENS))                                                             \
    X(recall, "recall", PROBLEM_BIT(PROBLEM_TOKENS))                                                                   \
    X(f1, "F1", PROBLEM_BIT(PROBLEM_TOKENS))                                                                           \
    X(micro_f1, "micro-F1", PROBLEM_BIT(PROBLEM_MULTI_LABEL))                                                          \
    X(macro_f1, "macro-F1", PROBLEM_BIT(PROBLEM_SINGLE_LABEL) | PROBLEM_BIT(PROBLEM_MULTI_LABEL))                      \
    X(mae, "mean absolute error", PROBLEM_BIT(PROBLEM_REGRESSION))                                                     \
    X(pearson, "Pearson's r", PROBLEM_BIT(PROBLEM_REGRESSION))
#define CLASS_METRIC_FIELD(field, title, problems) double field;
typedef struct ClassMetrics { // NAN: not of this problem, or not defined
    CLASS_METRICS(CLASS_METRIC_FIELD)
} ClassMetrics;
typedef struct ClassMetric {
    const char *name, *title; // "macro_f1", "macro-F1"
    double value;
} ClassMetric;
enum { CLASS_METRICS_MAX = 8 };
// Those of the problem (AUTO: single label), in the order above; returns their number.
int class_metrics_list(ClassMetric out[CLASS_METRICS_MAX], Problem p, const ClassMetrics *m);
// Appends "accuracy 93.1%  macro-F1 0.9210".
void class_metrics_print(StrBuf *out, Problem p, const ClassMetrics *m);

typedef struct ClassShape {
    Problem problem;
    int64_t labels;
    const LabelList *names; // of tokens
} ClassShape;
// Of these sums: int64_t, all 0 at first.
size_t class_sums_count(ClassShape s);
// The scored positions of a pass. predicted [scored] of single labels, logits [scored, labels] of the others.
void class_sums_add(int64_t *sums, ClassShape s, const Row *row, const int32_t *predicted, const float *logits);
// correct: of the head (HeadResult), of `scored`.
ClassMetrics class_metrics_of(const int64_t *sums, ClassShape s, int64_t correct, int64_t scored);
