// eval: loss, perplexity and token accuracy over rows, weighted by tokens; of a classifier: loss and the metrics of
// class_metrics.h, weighted by samples. Dropout, NEFTune and label smoothing are off. Counts are summed as integers, so
// results are bit-identical on any number of ranks and in any order of passes.
#pragma once

#include "class_metrics.h"
#include "pass_runner.h"
#include "preference.h"
#include "run_data.h"

// Of sentence embeddings.
typedef struct VectorReport {
    int64_t records; // 0: not of embeddings
    bool ranked;     // accuracy is known, else spearman
    double accuracy; // records whose positive is the most similar text of the batch
    double spearman; // correlation of similarities and scores, over all records
} VectorReport;

typedef struct EvalResult {
    double loss, perplexity, accuracy;
    int64_t tokens;  // scored; of a classifier: samples
    int64_t labels;  // of a classifier, else 0
    Problem problem; // of a classifier
    ClassMetrics classes;
    PreferenceReport preference;
    VectorReport vectors;
    TeacherReport teacher; // the perplexity is then that of the hard loss
} EvalResult;

// Collective over the runner's ranks. 0; 1: stopped, because `stop` (NULL: never) became true on any rank, *result is
// not set; -1: error.
int evaluate(PassRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result, Err *err);
// Over the evaluation data of d, in this process alone; a NULL: the base alone; rows: per pass on a device.
// loss NULL, or all 0: the token losses.
typedef struct EvalLoss {
    const PassPreference *preference; // NULL: none
    const VectorLoss *vectors;        // of embeddings; NULL: none
    int64_t batch;                    // of vectors: rows of a batch
    const Teacher *teacher;           // NULL: none
} EvalLoss;
EvalResult evaluate_model(const Model *m, Adapter *a, const RunData *d, int64_t rows, const EvalLoss *loss);
