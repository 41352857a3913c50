// rows: samples packed into rows of at most max_tokens, and the order in which rows are trained.
//
// A row is a list of whole samples; attention is block-diagonal over them and positions restart, so packing never
// changes what a sample sees. Packing is best-fit decreasing, ties by sample index: a pure function of the samples.
// Without packing a row is one sample. In classification each sample has one scored position: its last token, or its
// first (DatasetOptions.score_first). Of preference data a sample is two sequences, which stay in one row; each has its
// own entry in Row.start, so that neither sees the other; so are the texts of a sample of embeddings, which are scored
// where the pooling reads. The order of an epoch is a pure function of (seed, epoch).
#pragma once

#include "base.h"
#include "dataset.h"

typedef struct RowSize {
    uint32_t tokens, supervised, samples; // supervised: scored positions; samples: of preference data sequences
    uint32_t longest_sample;              // tokens of the longest of these
} RowSize;                                // PREFERENCE_LABELS: of the samples' own sequences alone. Masked language
                                          // modelling: supervised is the most, but for once in 10^9 (mlm.h)
typedef struct RowPlan {
    int64_t count;   // rows
    RowSize most;    // the maximum of each size over all rows; PREFERENCE_LABELS: also over their mismatched sequences
    RowSize *sizes;  // [count]
    uint32_t *start; // [count + 1] into samples
    uint32_t *samples; // indices into the data set, row by row
} RowPlan;
// max_tokens of the rows of a data set: max_seq_length, of preference data twice that, of embeddings at least the
// longest sample.
int64_t row_max_tokens(const Dataset *d, int64_t max_seq_length);
// samples: n indices into d, which may repeat (weights); NULL: 0 to n-1. n < 2^31. Each sample has at most max_tokens
// (row_max_tokens by the data set's truncation; CHECKed). Memory: about 20 bytes per
// sample during the call, then 4 per sample and per row 20.
RowPlan *row_plan_new(const Dataset *d, const int64_t *samples, int64_t n, int64_t max_tokens, bool packing);
// For sizes alone, without data: `rows` rows of `sequences` of `tokens` tokens each, all supervised.
RowPlan *row_plan_assumed(int64_t rows, int64_t sequences, int64_t tokens);
void row_plan_free(RowPlan *p);
// Pairs: scored positions of a row's chosen sequences. PREFERENCE_LABELS: its desirable samples.
int64_t row_plan_chosen(const Dataset *d, const RowPlan *p, int64_t row);
int64_t row_plan_desirable(const Dataset *d, const RowPlan *p, int64_t row);
RowSize row_plan_row(const RowPlan *p, int64_t row);
// Its scored positions in an epoch (MLM_EVALUATION: in evaluation): those of the plan, of masked language modelling
// those that are hidden then.
int64_t row_plan_scored(const Dataset *d, const RowPlan *p, int64_t row, int64_t epoch);
// order[i] = the row trained as i-th in this epoch; shuffle false: 0, 1, 2, ...
void row_plan_order(const RowPlan *p, uint64_t seed, int64_t epoch, bool shuffle, int64_t *order);

// One row, or several in sequence, as the model takes it, on the host; init with {0}. The Row owns the arrays and
// reuses them: after the first row_fill_several of a plan (with as many rows) nothing is allocated.
typedef struct Row {
    int64_t rows, tokens, samples;
    int32_t *row_start; // [rows + 1] first token of each row; NULL: one row
    int32_t *ids;       // [tokens]
    int32_t *pos;       // [tokens] position within the sample, of preference data within the sequence
    int32_t *type;      // [tokens] 1 in the second text of a pair (token type), else 0
    int32_t *start;     // [samples + 1] first token of each sample; pairs: of each sequence, 2 i the chosen and 2 i + 1
                        // the rejected one of sample i; embeddings: of each text
    int64_t scored;     // M: positions that predict a supervised token
    int32_t *position;  // [M] these positions, ascending
    int32_t *target;    // [M] the token to predict; classification: the label, 0 where `values` says more; embeddings:
                        // 0. Masked language modelling: the token at the position itself, which is hidden
    float *values;      // [M, width] multi-label: 1 of the sample's labels, else 0; regression: its numbers
    int64_t width;      // of values: labels; 0: none
    int32_t *answer;    // [M] preference data: 1 in an answer, 0 in a prompt that is learnt as text; else NULL
    int32_t *label;     // [samples] PREFERENCE_LABELS: 1 desirable, 0 not; else NULL
    size_t capacity;    // of the arrays together: one block, which begins with row_start
    int64_t touched;    // tokens read since the data set's pages were released
} Row;
// epoch: of the masks of masked language modelling, MLM_EVALUATION: those of evaluation; else unused.
void row_fill_several(Row *row, const Dataset *d, const RowPlan *p, const int64_t *rows, int64_t n, int64_t epoch);
// PREFERENCE_LABELS: the same with the mismatched sequence of each sample instead of its own.
void row_fill_mismatched(Row *row, const Dataset *d, const RowPlan *p, const int64_t *rows, int64_t n);
void row_clear(Row *row);
