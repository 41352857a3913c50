// autograd: a graph of ops over one row, built once per row shape, then run forward and backward.
//
// Use:  tape_reset(t); x = op_embed(t, ...); ... op_head_loss(t, ...); bytes = tape_plan(t, TAPE_TRAIN);
//       tape_run(t, arena);              // arena: at least `bytes`, 64-byte aligned device memory
// Building records nodes and shapes only. Planning turns them into a list of instructions (forward nodes,
// recomputations, backward nodes) and gives every buffer its place in the arena, so the size is known before anything
// is computed. Running executes the instructions. A Tape keeps its memory between rows: a row that is no larger than
// the earlier ones allocates nothing.
//
// Kept for backward: only tensors that a needed backward reads. Outputs of cheap ops (norms, glu, activation) and of
// ops inside a checkpointed range are recomputed instead, bit-identically. Gradients flow only along paths that end in
// a trainable parameter: a frozen weight has no gradient, and backward stops at the first adapter. Parameters'
// gradients are added ("+=") to the buffers of their Lora; zero them per row.
#pragma once

#include "kernels.h"

// Every op of a tape, X(id, name); OFFLOAD: a transfer to or from host memory, or a stage, which planning adds.
// clang-format off
#define TAPE_OPS(X) \
    X(EMBED, "embed") X(EMBED_ADD, "embed_add") X(NEFTUNE, "neftune") \
    X(RMSNORM, "rmsnorm") X(LAYERNORM, "layernorm") X(LINEAR, "linear") X(DENSE, "dense") X(DORA, "dora") \
    X(COLUMNS, "columns") X(ROWS, "rows") X(STACK, "stack") \
    X(ROPE, "rope") X(ATTENTION, "attention") X(SHORT_CONV, "short_conv") X(GLU, "glu") \
    X(ACTIVATION, "activation") X(ADD, "add") \
    X(GATHER_ROWS, "gather_rows") X(CACHE_WRITE, "cache_write") \
    X(MOE_ROUTE, "moe_route") X(MOE_GATHER, "moe_gather") X(GROUPED_LINEAR, "grouped_linear") \
    X(MOE_SCALE, "moe_scale") X(MOE_BIAS, "moe_bias") X(MOE_COMBINE, "moe_combine") \
    X(HEAD_LOSS, "head_loss") X(PREFERENCE_LOSS, "preference_loss") X(CLASS_LOSS, "class_loss") \
    X(RECEIVE, "receive") X(SEND, "send") X(TURN, "turn") \
    X(POOL, "pool") X(LOGITS, "logits") X(TOP_LOGITS, "top_logits") X(OFFLOAD, "offload")
// clang-format on
#define TAPE_OP_ID(id, name) TAPE_OP_##id,
typedef enum TapeOp { TAPE_OPS(TAPE_OP_ID) N_TAPE_OPS } TapeOp;
const char *tape_op_name(TapeOp op);

typedef struct Tensor Tensor; // owned by the tape until the next tape_reset
typedef struct Tape Tape;

Tape *tape_new(Backend *b);
void tape_free(Tape *t);
void tape_reset(Tape *t);

// ---- building; all pointers are borrowed until the next tape_reset ----

int64_t tensor_rows(const Tensor *x);
int64_t tensor_cols(const Tensor *x);
// Memory outside the arena: KV caches, given activations. No gradient.
Tensor *tape_external(Tape *t, Mat m);

Tensor *op_embed(Tape *t, const Weight *w, const int32_t *ids, int64_t tokens, float scale); // [T, C]
// x += W[ids]: tables of positions and token types. In place.
Tensor *op_embed_add(Tape *t, Tensor *x, const Weight *w, const int32_t *ids);
Tensor *op_neftune(Tape *t, Tensor *x, const float *magnitude, float alpha, const TokenKeys *keys); // in place
Tensor *op_rmsnorm(Tape *t, Tensor *x, const float *weight, float eps);                             // [T, C]
// The same over each head's D columns of x [T, H*D]; weight [D].
Tensor *op_head_rmsnorm(Tape *t, Tensor *x, const float *weight, float eps, int64_t head_size);
Tensor *op_layernorm(Tape *t, Tensor *x, const float *weight, const float *bias, float eps); // [T, C]
// x W^T + bias + residual (NULL: none), plus the LoRA pairs (n_loras may be 0). [T, N]
Tensor *op_linear(Tape *t, Tensor *x, const Weight *w, Tensor *residual, const Lora *loras, int n_loras);
// A layer that is trained itself: w over parameters, with a bias; dw, dbias: their gradients, or NULL. [T, N]
Tensor *op_dense(Tape *t, Tensor *x, const Weight *w, float *dw, float *dbias);
// The pairs' magnitudes over y, the result of op_linear with the same pairs, no residual and this bias (NULL: none); y
// must have no other reader.
Tensor *op_dora(Tape *t, Tensor *y, const float *bias, const Lora *loras, int n_loras);
// A view of columns [col, col + n) of x, for backends with strides. x may be read only through such views; if x
// needs a gradient, they must partition its columns.
Tensor *op_columns(Tape *t, Tensor *x, int64_t col, int64_t n);
// A view of rows [first, first + n) of x; if x needs a gradient, such views must partition its rows.
Tensor *op_rows(Tape *t, Tensor *x, int64_t first, int64_t n);
// A copy of the parts, one below the other: [sum of their rows, C].
enum { TAPE_MAX_STACKED = 8 };
Tensor *op_stack(Tape *t, Tensor *const *parts, int n);
// Over the first `rotated` dims of each head in the first `cols` columns; in place.
Tensor *op_rope(Tape *t, Tensor *x, int64_t cols, const RopeTable *table);
Tensor *op_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, const AttentionShape *shape); // [Tq, H*D]
typedef struct ShortConv {
    const float *weight; // [C, taps]
    int64_t taps;
    AttentionShape shape;
} ShortConv;
// [queries, C]; x must have no other reader.
Tensor *op_short_conv(Tape *t, Tensor *x, int64_t queries, const ShortConv *conv);
Tensor *op_glu(Tape *t, Tensor *gate, Tensor *up, GluKind kind); // [T, F]
// [T, F]; x must have no other reader.
Tensor *op_activation(Tape *t, Tensor *x, ActivationKind kind);
// a + b, computed in b's memory; b must have no other reader. For a residual after a norm. If b was built last, the
// gradients of both can share memory.
Tensor *op_add(Tape *t, Tensor *a, Tensor *b);
Tensor *op_gather_rows(Tape *t, Tensor *x, const int32_t *index, int64_t m); // [M, C]
// cache[index[i]] = x[i]; returns the cache as a tensor that later ops read. No gradient.
Tensor *op_cache_write(Tape *t, Tensor *cache, Tensor *x, const int32_t *index);
// ---- a feed-forward layer of routed experts (ops_moe.c); the routing of T tokens to `used` experts each ----
// With one expert, used by every token, row t is token t, and op_moe_scale needs no gather: a gate of whole rows.
typedef struct MoeRouting {
    Tensor *weights, *plan; // [T, used]; a MoePlan's integers in 4-byte elements
    int64_t tokens, experts, used;
} MoeRouting;
MoeRouting op_moe_route(Tape *t, Tensor *logits, int64_t used, MoeScores scores); // logits [T, E]
Tensor *op_moe_gather(Tape *t, Tensor *x, const MoeRouting *r);                   // [T * used, C]
// lora: the pairs of all experts (Lora.experts, which is set here), or NULL. [T * used, N]
Tensor *op_grouped_linear(Tape *t, Tensor *x, const Weight *experts, const MoeRouting *r, const Lora *lora);
Tensor *op_moe_scale(Tape *t, Tensor *x, const MoeRouting *r); // in place
// x plus each choice's row of bias [E, C], times its weight; built before op_moe_scale, which writes the weights'
// gradient. [T, C]
Tensor *op_moe_bias(Tape *t, Tensor *x, const float *bias, const MoeRouting *r);
Tensor *op_moe_combine(Tape *t, Tensor *x, Tensor *residual /* or NULL */, const MoeRouting *r); // [T, C]
// Ends a training or evaluation graph. result: device memory for one HeadResult.
void op_head_loss(Tape *t, Tensor *x, const Weight *w, const HeadLoss *loss, HeadResult *result);
// The same head under a loss of preferences: loss->token_loss is p->policy.
typedef struct PreferenceHead {
    HeadLoss head;
    PreferenceLoss preference;
} PreferenceHead;
void op_preference_loss(Tape *t, Tensor *x, const Weight *w, const PreferenceHead *loss, HeadResult *result);
// The same with a classifier's head; training adds to the head's gradients.
void op_class_loss(Tape *t, Tensor *x, const ClassHead *head, HeadResult *result);
// Ends a graph with the means of the rows of each sample, [samples, C] float32 in device memory of the caller. A
// training graph reads their gradient from there, an inference graph writes them.
void op_pool(Tape *t, Tensor *x, const int32_t *start, Mat vectors);
// Ends an inference graph: out = x W^T + bias, soft-capped unless softcap is 0, in device memory of the caller.
void op_logits(Tape *t, Tensor *x, const Weight *w, Mat out, float softcap);
// The k largest of a row's first `vocab` logits, as top_k has them, into device memory of the caller: ids, values
// [rows of x, k]. A graph may follow that reads them.
typedef struct TopLogits {
    int32_t *ids;
    float *values;
    int64_t k, vocab;
    float softcap;
} TopLogits;
void op_top_logits(Tape *t, Tensor *x, const Weight *w, const TopLogits *top);

// ---- a graph in parts, which run one after the other (ops_boundary.c) ----
// Where two of them meet: an activation, and in training its gradient; in device memory of the caller.
typedef struct Boundary {
    Mat activation, grad; // grad without data: no parameter below has a gradient
} Boundary;
// Begins a part with the activation. Backward writes its gradient.
Tensor *op_receive(Tape *t, const Boundary *b);
// Ends a part: x is the activation. In training tape_run_backward reads its gradient.
void op_send(Tape *t, Tensor *x, const Boundary *b);

// Nodes built between begin and end are recomputed in backward instead of kept; ranges do not nest.
void tape_checkpoint_begin(Tape *t);
void tape_checkpoint_end(Tape *t);

// Moves x to host memory after its last reader in forward and back before backward needs it; the copies run
// concurrently with ops. For the inputs of checkpointed ranges; the last of them stays on the device.
void tape_offload(Tape *t, Tensor *x);

// ---- frozen weights that are not all in memory ----

enum { TAPE_NO_STAGE = -1 };
// The matrices of a model in stages, of which only some are in memory at a time.
typedef struct TapeStages {
    // Called before the first op that reads the matrices of `stage`. last, next: the stages before and after it in this
    // run, never equal to it; TAPE_NO_STAGE at the ends. The same calls in each run of a plan.
    void (*enter)(const void *user, int last, int stage, int next);
    const void *user;
    const size_t *bytes; // that entering each stage reads, for estimates
} TapeStages;
// Ops built from here on read the matrices of a stage, or of none (TAPE_NO_STAGE). stages: borrowed, the same in all
// calls.
void tape_stage(Tape *t, const TapeStages *stages, int stage);

// ---- planning and running ----

typedef enum { TAPE_FORWARD, TAPE_TRAIN } TapeMode;
// Returns the bytes of arena that tape_run needs. Reads no data, so it may be called without any weights in memory.
size_t tape_plan(Tape *t, TapeMode mode);
void tape_run(Tape *t, void *arena);
// tape_run of a training graph that ends with op_send, in two halves. kept, temporary: of TapeStats' sizes, 64-byte
// aligned; other tapes may use `temporary` between the halves.
void tape_run_forward(Tape *t, void *kept, void *temporary);
void tape_run_backward(Tape *t, void *kept, void *temporary);

// ---- together.c: several tapes over the same frozen weights, each as it was built ----
//
// Where several tapes are at a product with the same weight, it is one call for all of them (linears_forward), so that
// the weight is expanded once; everything else runs tape by tape. Each has the bits of tape_run. They advance best if
// they are graphs of one model.

// Before tape_plan: the workspace of its ops is not in the arena, but one for all tapes that run together.
void tape_share_workspace(Tape *t);
// Bytes of that workspace for n planned tapes.
size_t tapes_workspace(Tape *const *tapes, size_t n);
// ws: at least these bytes, 64-byte aligned.
void tapes_run(Tape *const *tapes, void *const *arenas, size_t n, void *ws);

// Totals of the plan.
typedef struct TapeStats {
    size_t kept_bytes, temporary_bytes; // the two parts of the arena; their sum is tape_plan's result
    size_t offloaded_bytes;             // in host memory, which tape_run allocates
    int64_t nodes, instructions, recomputed;
    double forward_flops, recompute_flops, backward_flops; // 2 per multiply-add, matrix products only
} TapeStats;
TapeStats tape_stats(const Tape *t);
// Cost of one instruction of the plan, for estimates of time. flops: 2 per multiply-add, attention as if all samples
// had equal length; bytes: activations read and written and parameters read, once each.
typedef struct TapeCost {
    TapeOp op;
    bool backward;
    double flops, bytes;
} TapeCost;
TapeCost tape_cost(const Tape *t, int64_t instruction); // 0 .. stats.instructions - 1
