// pass: one pass through the layers: its state, and what the blocks of decoders and encoders are built of.
#pragma once

#include "graph.h"

// Places of the tokens of a pass for their random numbers (TokenKeys): index in the packed row, and row. index NULL:
// token t has index first + t; row NULL: PassOptions.row.
typedef struct TokenPlaces {
    const int32_t *index, *row;
    int64_t first;
} TokenPlaces;

// The state of one pass that every block reads.
typedef struct Pass {
    Tape *t;
    const Model *m;
    const Adapter *a;
    const PassOptions *o;
    const PassState *state;   // NULL: no random numbers are drawn
    const int32_t *pos;       // [T] positions
    const float *cos_sin;     // rotations of this pass, by `rotation`; NULL: those of the model, by pos
    const int32_t *rotation;  // [T]
    TokenPlaces places;       // of all rows of x, for random numbers
    AttentionShape attention; // queries = all rows
    // rows that the last block computes after its keys and values; last_rows NULL: all
    const int32_t *last_rows, *last_pos, *last_rotation;
    int64_t n_last;
    TokenPlaces last_places;       // of last_rows
    AttentionShape last_attention; // queries = last_rows
    bool states;                   // the end reads the last hidden states: of decoders after the norm
    // cached generation
    const KvCache *cache; // NULL: keys and values are those of this row
    const int32_t *cache_row;
} Pass;

// x times a projection's weight with its adapter, plus residual (NULL: none). token: NULL if x has all rows of the
// pass; last_rows if it has only these.
// Experts' products, with their pairs: PROJ_EXPERT_GATE and so on.
Tensor *pass_experts(const Pass *p, int64_t layer, Projection which, Tensor *x, const MoeRouting *r);
Tensor *pass_project(const Pass *p, int64_t layer, Projection which, Tensor *x, Tensor *residual, const int32_t *token);
// The same for n consecutive projections (qkv, kv, gate_up) from `first`. If ModelLayer has them stacked: one product
// and n column views of it; else n products.
void pass_project_stacked(const Pass *p, int64_t layer, Projection first, int n, Tensor *x, const int32_t *token,
                          Tensor **out);
// The two steps of that, where ModelLayer has them stacked.
Tensor *pass_stacked(const Pass *p, int64_t layer, Projection first, int n, Tensor *x, const int32_t *token);
void pass_split(const Pass *p, int64_t layer, Projection first, int n, Tensor *all, Tensor **out);
// The pass of the rows from `first` on of x, for projections.
Pass pass_from_row(const Pass *p, int64_t first);
// Queries, keys and values of x. Returns the rows of x that belong to the queries.
Tensor *pass_qkv(const Pass *p, int64_t layer, Tensor *x, Tensor *qkv[3]);
// The block computes last_rows only.
bool pass_is_narrow(const Pass *p, int64_t layer);
// A range that is recomputed at this level (RECOMPUTE_BLOCKS: and at those above).
void pass_recompute_begin(const Pass *p, Recompute level);
void pass_recompute_end(const Pass *p, Recompute level);
// The family's kind of norm, of the residual stream; x itself if n has no weight. Where a factor s scales each branch
// before it is added (Granite), the stream x / s is computed instead: s f(x) is then added as f(x), and the norm of x
// is that of x / s with eps / s^2.
Tensor *pass_norm(const Pass *p, const Norm *n, Tensor *x);
// The embedding with NEFTune's noise if it is on.
Tensor *pass_noise(const Pass *p, Tensor *x, const PassInputs *in);

// ---- blocks: the layer's output for x, of last_rows only where pass_is_narrow ----

Tensor *decoder_block(const Pass *p, int64_t layer, Tensor *x); // decoder.c
Tensor *encoder_block(const Pass *p, int64_t layer, Tensor *x); // encoder.c
