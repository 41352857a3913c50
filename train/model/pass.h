// pass: one pass through the layers, what decoder.c and encoder.c share. Private to train/model.
#pragma once

#include "decoder.h"

// One pass: what every block needs to know.
typedef struct Pass {
    Tape *t;
    const Model *m;
    const Adapter *a;
    const DecoderOptions *o;
    const PassState *state;   // NULL: no random numbers are drawn
    const int32_t *pos;       // [T] positions
    AttentionShape attention; // queries = all rows
    // the last block goes on with these rows only; last_rows NULL: with all
    const int32_t *last_rows, *last_pos;
    int64_t n_last;
    AttentionShape last_attention; // queries = last_rows
    // cached generation
    const KvCache *cache; // NULL: keys and values are those of this row
    const int32_t *cache_row;
} Pass;

// x times a projection's weight with its adapter, plus residual (NULL: none). token: index of each row of x in the
// packed row (NULL: 0, 1, 2, ...), for dropout masks.
Tensor *pass_project(const Pass *p, int64_t layer, Projection which, Tensor *x, Tensor *residual, const int32_t *token);
// The family's kind of norm.
Tensor *pass_norm(const Pass *p, const Norm *n, Tensor *x);
// The embedding with NEFTune's noise where it is asked for.
Tensor *pass_noise(const Pass *p, Tensor *x, const RowInputs *in);

AttentionShape pass_attention(const ModelConfig *c, int64_t samples);
AttentionShape pass_row_attention(const Model *m, const RowInputs *in); // every token asks
// The last block goes on with the scored positions alone.
void pass_keep_scored(Pass *p, const RowInputs *in);
// Ends the graph with the adapter's classifier over x [samples, C].
void pass_class_loss(const Pass *p, Tensor *x, const RowInputs *in);
