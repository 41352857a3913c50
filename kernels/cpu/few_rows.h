// few_rows: products of W with so few rows of x, as in decoding, that W is read once and not packed. Private to
// kernels/cpu.
#pragma once

#include "cpu.h"

enum {
    FEW_T = 8,     // rows of x of a call, at most
    FEW_MOST = 16, // of several calls, with one reading of W
    FEW_ROWS = 64  // rows of W that a thread takes at a time
};

// Rows of one call or of several, as a thread computes them.
typedef struct FewRows {
    const Weight *w;
    struct {
        const LinearCall *call;
        int64_t t;
    } rows[FEW_MOST];
    int64_t count;
    float *x; // [few_floats(w)]
} FewRows;

#define few_floats CPU_FN(few_floats)
int64_t few_floats(const Weight *w);
static inline int64_t few_of(const LinearCall *p) { return p->in.rows <= FEW_T ? p->in.rows : 0; }
// Adds the rows of a call that has few_of them.
#define few_add CPU_FN(few_add)
void few_add(FewRows *f, const LinearCall *p);
// Columns [n, n + FEW_ROWS) of the results.
#define few_columns CPU_FN(few_columns)
void few_columns(const FewRows *f, int64_t n);
