// record_labels: what a record says of its text: its label, labels, numbers, or the labels of its tokens.
//
//   single label   `label` is an integer, a text, true or false. A record without one (-1, null, no key) is refused
//   multi-label    `labels` or `label` is a list of texts or of integers, each once; an empty list: none of the labels
//   regression     `label` or `labels` is a number, or a list of numbers that is of the same length in all records
// With names by number (RecordLabelRule.named) an integer is the name with that number.
#pragma once

#include "json.h"
#include "labels.h"

typedef struct RecordLabels { // init with {0}
    Problem problem;          // AUTO: not of classification data
    LabelKind kind;           // of the names
    char **names;             // [count], or
    float *values;            // [count] of regression
    size_t count, capacity;
    const char *key; // of the record
} RecordLabels;
void record_labels_clear(RecordLabels *l);
void record_labels_add(RecordLabels *l, const char *name, LabelKind kind);

typedef struct RecordLabelRule {
    Problem problem;        // AUTO: what the record itself shows
    bool untyped;           // RecordSpan.untyped
    const LabelList *named; // NULL: integers are names
} RecordLabelRule;
// The record's `label`, else its `labels`.
int record_labels_read(RecordLabels *out, const Json *record, const RecordLabelRule *r, Err *err);
// One label of a list of labels: all are texts, or all are integers.
typedef struct ListedLabel {
    const char *key; // of the list, for messages
    size_t index;
    const LabelList *named;
} ListedLabel;
int record_labels_add_listed(RecordLabels *out, const Json *v, const ListedLabel *at, Err *err);
// Of the first record of the data. An error where it does not show.
int record_labels_choose(Problem *problem, const Json *record, bool untyped, Err *err);
// AUTO: it does not show.
Problem record_labels_detect(const Json *record, bool untyped);
