// record_slice: which records of a file are read, written as the splits of Hugging Face's datasets: "train",
// "train[:90%]", "train[100:200]", "train[-50:]".
#pragma once

#include "base.h"

typedef struct RecordSlice { // {0}: all records
    int64_t from, to;        // below 0: from the end
    bool has_from, has_to;
    bool percent; // of both, rounded to the nearest record, halves to even
} RecordSlice;

// *name_len: of the split's name, which comes before the slice. -1: not of that form.
int record_slice_parse(RecordSlice *s, const char *split, size_t *name_len);
// Records [*from, *to) of n.
void record_slice_bounds(const RecordSlice *s, int64_t n, int64_t *from, int64_t *to);
// The bounds depend on the number of records.
static inline bool record_slice_counts(const RecordSlice *s) { return s->percent || s->from < 0 || s->to < 0; }
