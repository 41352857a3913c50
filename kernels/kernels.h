// kernels: the op table that every backend fills, and the contract of each op.
//
// A backend (ref, cpu, cuda) is one `Kernels` table and a `Backend` that holds its state. Callers hold device pointers
// only; host data goes through upload and download. Calls may be asynchronous until sync.
// Rules for every slot:
//  - Matrices are row-major; shapes are CHECKed. Activations and their gradients have the backend's activation type
//    (ref: float32). Always float32: statistics (rstd, stats, lse), losses, parameters and their gradients,
//    norm weights, biases, tables, logits of inference. Only devices have matrices with a stride (Mat.stride).
//  - Order of parameters: outputs, tensors saved for backward, inputs, options.
//  - `accumulate` false: the gradient is written ("="); true: added ("+="). Gradients of parameters are always "+=".
//  - Results are bit-identical for any number of threads: tiles and reduction trees depend on shapes alone.
//  - The caller gives scratch memory (`ws`, 64-byte aligned): at least the bytes that the op's _workspace slot returns
//    for the same shapes. No slot allocates memory per call.
//  - Values that change from pass to pass at equal shapes are read from device memory (PassState, integers), so that a
//    recorded pass can be replayed.
//  - Padding (devices only, so that one recorded pass serves rows of similar length): tokens outside any sample; rows
//    with index -1, which are 0 and get no gradient; targets of -1, which are ignored.
//  - After a device fault calls do nothing; status reports the fault.
//
// Dims: T tokens of a row (Tq queries, Tk keys where they differ), M rows that are scored, C hidden, V vocabulary,
// H heads, KV key/value heads, D head size, F feed-forward, E experts, R LoRA rank, N, K output, input size of W.
#pragma once

#include "adamw.h"
#include "attention_shape.h"
#include "base.h"
#include "dtype.h"
#include "embeddings.h"
#include "group.h"
#include "heads.h"
#include "moe.h"
#include "rng.h"
#include "slots.h"

C_BEGIN

typedef struct Backend Backend;
typedef struct Kernels Kernels;

// A matrix view: borrowed memory of the device. data NULL: "absent" where an op allows it.
typedef struct Mat {
    void *data;
    DType dtype;
    int64_t rows, cols;
    int64_t stride; // elements from one row to the next; 0: cols
} Mat;
static inline Mat mat_of(void *data, DType dtype, int64_t rows, int64_t cols) {
    Mat m = {data, dtype, rows, cols, 0};
    return m;
}
HOST_DEVICE static inline int64_t mat_stride(Mat m) { return m.stride ? m.stride : m.cols; }
// Rows [first, first + n) of a matrix whose type has no blocks.
static inline Mat mat_rows(Mat m, int64_t first, int64_t n) {
    m.data = (char *)m.data + first * mat_stride(m) * dtype_info(m.dtype)->bytes;
    m.rows = n;
    return m;
}

// Values that change from pass to pass, in device memory.
struct PassState {
    float grad_scale; // d(total loss) / d(token loss): 1 / supervised tokens of the global batch, times the loss scale;
                      // of preferences 1 / samples instead
    uint32_t stream;  // of random numbers: the optimizer step
    float nll_scale;  // of preferences: factor of the chosen tokens' losses beside the samples' losses
    float kl;         // of preferences, KTO: the estimate of the divergence from the reference
};

// Keys of the random numbers of each token: token t of the pass is token index[t] of packed row row[t] of the global
// batch, so the numbers do not depend on how the batch is split into passes and ranks. index NULL: index[t] = first +
// t; row NULL: the key's row; state NULL: the key's stream.
typedef struct TokenKeys {
    RngKey key; // seed and module; stream and row where the others are NULL
    const PassState *state;
    const int32_t *index, *row; // [T]
    int64_t first;
} TokenKeys;

HOST_DEVICE static inline RngKey token_key(const TokenKeys *keys, int64_t t) {
    RngKey key = keys->key;
    if (keys->state) key.stream = keys->state->stream;
    if (keys->row) key.row = (uint32_t)keys->row[t];
    return key;
}
HOST_DEVICE static inline uint32_t token_index(const TokenKeys *keys, int64_t t) {
    return (uint32_t)(keys->index ? keys->index[t] : keys->first + t);
}

// A frozen weight W [N, K] as stored in the file: segments stacked along N, each with its dtype. With a row_map, row n
// of a segment is stored as row row_map[n] (restores Hugging Face's order of llama's permuted q and k rows). `bias` [N]
// float32 or NULL. All memory is borrowed from the loaded model.
// F8_E4M3 exists on devices only: data holds W [rows, cols], then its transpose; W = data * row_scale[0].
typedef struct WeightSegment {
    const void *data;       // rows * dtype_bytes(dtype, cols), contiguous
    const int32_t *row_map; // [rows] or NULL
    DType dtype;
    int64_t rows;
    const float *row_scale; // NF4: [rows] of the stored rows; F8_E4M3: [1]; else NULL
    DTypeGroups groups;     // of the stored rows, of a type that has them (dtype_is_grouped); else all 0
} WeightSegment;
enum { WEIGHT_MAX_SEGMENTS = 4, LORA_MAX_PAIRS = 6 };
typedef struct Weight {
    const char *name; // for messages: the tensor's name in the file
    WeightSegment segments[WEIGHT_MAX_SEGMENTS];
    int n_segments;
    int64_t rows, cols; // N, K
    const float *bias;
    const void *kept; // the copy that weight_keep made; NULL: none
} Weight;

// One call of linear_forward or linear_backward; several with the same weight can be one call (linears_forward).
typedef struct LinearCall {
    Mat out, in;  // forward: out and x; backward: dx and dout
    Mat residual; // forward: as in linear_forward; backward: dx to add to it, absent to write it
} LinearCall;

// One LoRA pair under a linear: y[:, row_offset : row_offset + rows] += scale * drop(x) A^T B^T (Hu et al. 2021,
// eq. 3). Dropout multiplies an element of x by 1 / (1 - dropout) where rng_keep(word, dropout), else by 0 (so that a
// NaN survives it); word is number column % 4 of rng_philox(token_key(keys, t), token_index(keys, t), column / 4), so
// recomputation, resume and any split of the batch see the same mask.
typedef struct Lora {
    const float *a, *b; // [R, K], [rows, R]
    float *da, *db;     // gradients, same shapes; NULL: no gradient
    int64_t rank, rows, row_offset;
    float scale;
    float dropout; // 0: none
    TokenKeys keys;
    int more; // pairs of the same x and y that follow in an array, for one call; at most LORA_MAX_PAIRS - 1
    // Of routed experts: a row has the pair of its expert; A and B of expert 0, of expert 1, ... follow one another, as
    // do their gradients. No dropout, no row_offset, no more pairs. NULL: one pair for all rows.
    const struct MoePlan *experts;
    // DoRA (Liu et al. 2024): the rows of W + scale B A get lengths of their own (dora_forward). NULL: plain LoRA, as
    // for all slots named lora.
    const float *magnitude; // [rows]
    const float *norm;      // [rows] what dora_norm has computed
    float *dmagnitude;      // gradient, same shape; NULL: no gradient
} Lora;

typedef struct RopeTable { // rotations of the first P = `rotated` dims of each head of D
    const float *cos_sin;  // [positions, P]: P/2 cosines, then P/2 sines, scaled if the model scales them
    const int32_t *pos;    // [T], below positions
    int64_t head_size, rotated;
    bool interleaved; // pairs are (2i, 2i + 1); else halves: (i, i + P/2)
} RopeTable;

// One call of attention_forward or attention_backward.
typedef struct AttentionCall {
    const AttentionShape *shape;
    Mat q, k, v;    // [Tq, H*D], [Tk, KV*D], [Tk, KV*D]
    Mat out, lse;   // [Tq, H*D], [Tq, H] (log of the sum of exponentials): forward writes them, backward reads them
    Mat dout;       // as out; forward ignores this and the following
    Mat dq, dk, dv; // as q, k, v; written ("="); data NULL: not wanted
    void *ws;
} AttentionCall;

// gelu(x) = x Phi(x), Phi the normal distribution function (erf); "tanh": its approximation (Hendrycks & Gimpel 2016);
// silu(x) = x / (1 + exp(-x)); relu'(0) = 0; LINEAR: x itself. CLAMPED (gpt-oss): the gate g = min(gate, 7) becomes
// g / (1 + exp(-1.702 g)), up becomes max(-7, min(up, 7)) + 1; a number beyond its bound has a derivative of 0.
typedef enum { GLU_SILU, GLU_GELU_TANH, GLU_GELU, GLU_LINEAR, GLU_CLAMPED } GluKind;
#define GLU_CLAMP_LIMIT 7.0f
#define GLU_CLAMP_SLOPE 1.702f
typedef enum {
    ACTIVATION_GELU_TANH,
    ACTIVATION_GELU,
    ACTIVATION_SILU,
    ACTIVATION_RELU,
    ACTIVATION_TANH
} ActivationKind;

// What computes attention on a device: the own kernels, a library wherever it can, or the faster one for each shape.
typedef enum { ATTENTION_FASTER, ATTENTION_OWN, ATTENTION_LIBRARY } AttentionKind;

struct Backend {
    const Kernels *k;
    int threads;
    DType activation;             // type of activations: F32, BF16; on a GPU also F16
    MatmulPrecision precision;    // BackendOptions
    bool fp8, host_memory;        // BackendOptions; device pointers are host pointers: weights stay in mapped files
    char name[96];                // display name of the device: "NVIDIA H100 80GB HBM3"; "" in host memory
    AttentionKind attention_kind; // ATTENTION_OWN if no library computes it
    char attention[256];          // on a device, display text: "own kernels (WHY)", "cudnn 9.28.1 where it is faster"
    bool nondeterministic;        // attention's gradients may have other bits each time; set before its first call
    int library_shapes;           // of attention, for which the library was chosen so far
    Group *group;                 // in host memory: the ranks that all_reduce sums over; NULL: alone
    Err fault;                    // in host memory: the first failure of all_reduce; ERR_NONE: none
    void *state;                  // the backend's own
};

// Memory of the device in bytes; all 0 on host backends.
typedef struct DeviceMemory {
    size_t free, total;
    size_t used; // by this backend: alloc and internal buffers
} DeviceMemory;

struct Kernels {
    const char *name; // "ref", "cpu-v3", "cuda"

    // ---- the device ----
    void (*close)(Backend *b); // frees b->state
    // 0, or -1 with the first fault since the device was opened (out of memory, failed launch, ECC) in one line. Does
    // not wait: call it after sync.
    int (*status)(Backend *b, Err *err);
    DeviceMemory (*memory)(Backend *b);
    // Appends the device's properties for a fault report; nothing on host backends.
    void (*describe)(Backend *b, StrBuf *out);

    // ---- memory of the device ----
    // 256-byte aligned (host memory: 64), zeroed; host pages are touched on first use. Never NULL: when a device is out
    // of memory, status reports it and the pointer must not be dereferenced.
    void *(*alloc)(Backend *b, size_t bytes);
    void (*free)(Backend *b, void *p, size_t bytes);
    void (*upload)(Backend *b, void *dst, const void *host, size_t bytes);   // host may be reused on return
    void (*download)(Backend *b, void *host, const void *src, size_t bytes); // waits
    void (*copy)(Backend *b, void *dst, const void *src, size_t bytes);      // device to device
    void (*zero)(Backend *b, void *dst, size_t bytes);
    void (*sync)(Backend *b);
    // *ns = the device's clock in nanoseconds when all earlier calls are done; the origin is arbitrary.
    void (*stamp)(Backend *b, int64_t *ns);

    // ---- host memory for tensors that do not fit the device; pinned memory on devices ----
    void *(*host_alloc)(Backend *b, size_t bytes);
    void (*host_free)(Backend *b, void *p, size_t bytes);
    // host = src, concurrently with the following ops; src must not be written before the next `settle`.
    void (*offload)(Backend *b, void *host, const void *src, size_t bytes);
    // dst = host, concurrently with the following ops; dst must not be used before the next `settle`.
    void (*reload)(Backend *b, void *dst, const void *host, size_t bytes);
    void (*settle)(Backend *b); // later ops run after all offloads and reloads so far

    // ---- recorded passes; `key` identifies everything that the calls between record and record_end depend on ----
    bool (*replay)(Backend *b, uint64_t key); // false: not recorded (host backends: never)
    void (*record)(Backend *b, uint64_t key); // the following calls are recorded and run, or only run
    bool (*record_end)(Backend *b);           // false: recording failed and nothing was run: make the calls again
    void (*forget)(Backend *b);               // drops all recorded passes: memory that they use moves

    // ---- several ranks, one device each ----
    // Collective, called once; g outlives the backend. Waits for other ranks at most `seconds`, here and in all_reduce.
    int (*connect)(Backend *b, Group *g, double seconds, Err *err);
    void (*all_reduce)(Backend *b, int64_t *data, int64_t n); // data = sum over the ranks; one rank: no effect

    // ---- autotuning results (an algorithm per shape): results depend on them, so they are part of a run's state ----
    void (*choices_get)(Backend *b, StrBuf *json); // appends an object; host backends: {}
    // Refuses choices of another kind of device. Disables autotuning: shapes without a choice take the default, which
    // is the same on every machine.
    int (*choices_set)(Backend *b, const char *json, Err *err);

    // ---- weights ----
    // weight_bytes: bytes of W and its bias on the device. weight_place copies W into `memory` (that many bytes,
    // 256-byte aligned) and makes W point to the copy: rows in logical order, dense weights in the activation type,
    // segments of one dense type joined; fp8: dense weights as F8_E4M3 if the backend was opened with it. Host memory:
    // 0 bytes, W unchanged. All other ops take placed weights; linear_forward also a dense float32 weight with any
    // activation type (the head of a classifier, which is trained).
    size_t (*weight_bytes)(Backend *b, const Weight *w, bool fp8);
    void (*weight_place)(Backend *b, Weight *w, bool fp8, void *memory);
    // Copies W in the layout of linear's products, which then do not expand it in each pass (same bits), to `memory`
    // (64-byte aligned; NULL: nothing is done). Returns the copy's bytes, 0: none is kept. ws: of linear_workspace.
    size_t (*weight_keep)(Backend *b, Weight *w, void *memory, void *ws);
    // weight_finite and pack work in host memory on every backend (while a model is loaded or written).
    // True if all expanded elements are finite (block types: reads the scales only).
    bool (*weight_finite)(Backend *b, const Weight *w);
    // dst [n, K] float32 = logical rows [row, row + n) of W.
    void (*expand)(Backend *b, Mat dst, const Weight *w, int64_t row);
    // The inverse, rounded once: dst = the rows of src [n, K] as `type` (F32, F16, BF16, Q8_0 as in ggml's reference,
    // NF4 as in quantize.h, others as dtype_pack), contiguous; row_scale [n] is written for NF4, else NULL. False: an
    // element is not finite or does not fit the type.
    bool (*pack)(Backend *b, void *dst, float *row_scale, Mat src, DType type);

    // ---- embedding ----
    // out[t, :] (+)= scale * W[ids[t], :].  out [T, C], W [V, C], ids [T] in [0, V).
    void (*embed_forward)(Backend *b, Mat out, const Weight *w, const int32_t *ids, float scale, bool accumulate);
    // x[t, :] += alpha * magnitude[t] * rng_symmetric(word column % 4 of rng_philox(token_key(keys, t),
    // token_index(keys, t), column / 4)).  NEFTune (Jain et al. 2023).
    void (*neftune)(Backend *b, Mat x, const float *magnitude, float alpha, const TokenKeys *keys);

    // ---- rmsnorm (Zhang & Sennrich 2019) ----
    // Of each group of columns of a row (all C, or a head's D) by themselves: rstd = 1 / sqrt(mean(x^2) + eps),
    // out = x * rstd * weight.  out, x [T, C]; rstd [T, groups]; weight [C / groups].
    void (*rmsnorm_forward)(Backend *b, Mat out, Mat rstd, Mat x, const float *weight, float eps);
    // dx (+)= rstd * (g - x * rstd^2 * mean(g * x)), g = dout * weight.
    void (*rmsnorm_backward)(Backend *b, Mat dx, Mat dout, Mat x, Mat rstd, const float *weight, bool accumulate);

    // ---- layernorm (Ba et al. 2016) ----
    // stats[t] = mean(x[t]), rstd = 1 / sqrt(mean((x[t] - mean)^2) + eps); out = (x - mean) * rstd * weight + bias.
    // out, x [T, C]; stats [T, 2]; weight, bias [C].
    void (*layernorm_forward)(Backend *b, Mat out, Mat stats, Mat x, const float *weight, const float *bias, float eps);
    // dx (+)= rstd * (g - mean(g) - n * mean(g * n)), g = dout * weight, n = (x - mean) * rstd.
    void (*layernorm_backward)(Backend *b, Mat dx, Mat dout, Mat x, Mat stats, const float *weight, bool accumulate);

    // ---- linear (frozen) ----
    size_t (*linear_workspace)(Backend *b, const Weight *w, int64_t t); // of forward and backward
    // out [T, N] = x [T, K] W^T + bias + residual [T, N] (residual.data NULL: none; may be out itself).
    void (*linear_forward)(Backend *b, Mat out, Mat x, const Weight *w, Mat residual, void *ws);
    // dx [T, K] (+)= dout [T, N] W.
    void (*linear_backward)(Backend *b, Mat dx, Mat dout, const Weight *w, bool accumulate, void *ws);
    // n calls in one, with the same bits; in host memory W is expanded once for all. ws: for the rows of all together.
    void (*linears_forward)(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws);
    void (*linears_backward)(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws);

    // ---- lora ----
    size_t (*lora_workspace)(Backend *b, const Lora *l, int64_t t, int64_t k); // of forward and backward
    // xa [T, R] = drop(x) A^T; y[:, row_offset ...] += scale * xa B^T.  y [T, N], x [T, K].  Of several pairs (l->more)
    // xa [T, sum of R] is for lora_backward alone: columns on devices, in host memory one [T, R] after the other.
    void (*lora_forward)(Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws);
    // dxa = scale * dy B;  dB += scale * dy^T xa;  dA += dxa^T drop(x);  dx += mask(dxa A) (dx.data NULL: no gradient).
    // dx is always added to: linear_backward of the same node writes it first.
    void (*lora_backward)(Backend *b, Mat dx, Mat dy, Mat x, Mat xa, const Lora *l, void *ws);

    // ---- dora; the pairs' columns of y, all others of out and dy are those of y and dout ----
    size_t (*dora_workspace)(Backend *b, const Weight *w); // of norm
    // norm[i] = the length of row l->row_offset + i of W + scale B A, i < l->rows, of one pair.
    void (*dora_norm)(Backend *b, float *norm, const Weight *w, const Lora *l, void *ws);
    // out = g (y - bias) + bias, g = magnitude / norm (0 where norm is 0).  y, out [T, N]: y as linear_forward and
    // lora_forward have made it; bias [N] or NULL. The norm is a constant: it has no derivative (section 4.3 there).
    void (*dora_forward)(Backend *b, Mat out, Mat y, const float *bias, const Lora *l);
    // dmagnitude += sum over t of dout (y - bias) / norm (0 where norm is 0);  dy = g dout; dy may be dout.
    void (*dora_backward)(Backend *b, Mat dy, Mat dout, Mat y, const float *bias, const Lora *l);

    // ---- rope (Su et al. 2021) ----
    // In place on x [T, heads * D]: each pair (a, b) of the first P dims of a head becomes (a cos - b sin, b cos + a
    // sin); inverse: the transpose, which is its backward.
    void (*rope)(Backend *b, Mat x, const RopeTable *table, bool inverse);

    // ---- attention, blocked with an online softmax (Dao et al. 2022); memory linear in T ----
    // q and k: shapes and strides of the call; their data is not read.
    size_t (*attention_workspace)(Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward);
    // A query without visible keys, and a row after q_start[samples], has out = 0 and lse = -inf. With sinks
    // (AttentionShape) lse is that of the keys and the sink: all that backward needs to know of it.
    void (*attention_forward)(Backend *b, const AttentionCall *c);
    // Probabilities are recomputed from lse. Keys that no query sees have gradients of 0. Samples do not share keys
    // here (in forward they may).
    void (*attention_backward)(Backend *b, const AttentionCall *c);

    // ---- short causal convolution of each column by itself (LFM2); taps <= SHORT_CONV_MAX_TAPS ----
    // out[i, c] = sum over j < taps of weight[c, j] * x[row of the key at position q_pos[i] - (taps - 1 - j), c]; keys
    // before a sample's first count 0, as do rows after q_start[samples].  out [Tq, C], x [Tk, C], weight [C, taps]
    // float32; of the shape only its samples and positions are read.
    void (*short_conv_forward)(Backend *b, Mat out, Mat x, const float *weight, int64_t taps, const AttentionShape *s);
    // dx is written; every token is a query and a key here (AttentionShape.longest).
    void (*short_conv_backward)(Backend *b, Mat dx, Mat dout, const float *weight, int64_t taps,
                                const AttentionShape *s);

    // ---- glu (Shazeer 2020) ----
    // out = act(gate) * up.  All [T, F].
    void (*glu_forward)(Backend *b, Mat out, Mat gate, Mat up, GluKind kind);
    // dgate = dout * up * act'(gate); dup = dout * act(gate); both written. dgate may be gate, dup may be up.
    void (*glu_backward)(Backend *b, Mat dgate, Mat dup, Mat dout, Mat gate, Mat up, GluKind kind);

    // ---- activation, of a plain feed-forward ----
    // out = act(x).  [T, F].
    void (*activation_forward)(Backend *b, Mat out, Mat x, ActivationKind kind);
    // dx = dout * act'(x); written; dx may be dout or x.
    void (*activation_backward)(Backend *b, Mat dx, Mat dout, Mat x, ActivationKind kind);

    // ---- rows ----
    // out[i, :] = x[index[i], :].  out [M, C]; index [M] ascending, unique, < T; -1 (padding, at the end): 0.
    void (*gather_rows_forward)(Backend *b, Mat out, Mat x, const int32_t *index);
    // dx[index[i], :] (+)= dout[i, :]; without accumulate all other rows of dx are set to 0.
    void (*gather_rows_backward)(Backend *b, Mat dx, Mat dout, const int32_t *index, bool accumulate);
    // dst[index[i], :] = x[i, :]; -1 (padding): skipped.  For the KV cache: dst [cache rows, C].
    void (*scatter_rows)(Backend *b, Mat dst, Mat x, const int32_t *index);
    // dst += src, same shape.
    void (*add)(Backend *b, Mat dst, Mat src);

    // ---- mixture of experts (Shazeer et al. 2017, Jiang et al. 2024); `used` is k of its top-k ----
    // Each token goes to the `used` largest of its logits [T, E] (lowest index wins ties, NaN is largest). weights
    // [T, used]: MoeScores; of a softmax a NaN among a token's logits makes all its weights NaN. The plan's arrays are
    // written.
    void (*moe_route_forward)(Backend *b, Mat weights, const MoePlan *plan, Mat logits, MoeScores scores);
    // dlogits [T, E] is written. The choice itself has no derivative.
    void (*moe_route_backward)(Backend *b, Mat dlogits, Mat dweights, Mat logits, const MoePlan *plan,
                               MoeScores scores);
    // out[row, :] = x[token of row, :].  out [T * used, C], x [T, C]; moe_combine is its transpose, and its backward.
    void (*moe_gather)(Backend *b, Mat out, Mat x, const MoePlan *plan);
    // out[t, :] = residual[t, :] + sum over j, in order, of x[row of choice j of t, :].  out [T, C], x [T * used, C];
    // residual.data NULL: none; may be out itself. Its backward is moe_gather.
    void (*moe_combine)(Backend *b, Mat out, Mat x, Mat residual, const MoePlan *plan);
    // In place: x[row, :] *= weight of the row's choice.  x [T * used, F], weights [T, used].
    void (*moe_scale_forward)(Backend *b, Mat x, Mat weights, const MoePlan *plan);
    // dx holds the gradient of the scaled rows and becomes that of x; dweights [T, used] is written. x: not scaled.
    void (*moe_scale_backward)(Backend *b, Mat dx, Mat dweights, Mat x, Mat weights, const MoePlan *plan);
    // out[t, :] = x[t, :] + sum over j, in order, of weight j of t * bias[expert of choice j, :].  bias [E, C] float32.
    // Biases of products of scaled rows.
    void (*moe_bias_forward)(Backend *b, Mat out, Mat x, Mat weights, const float *bias, const MoePlan *plan);
    // dweights[t, j] += dout[t, :] . bias[expert of choice j, :].
    void (*moe_bias_backward)(Backend *b, Mat dweights, Mat dout, const float *bias, const MoePlan *plan);
    // One linear per expert, all of one shape, each on its rows; an expert without rows costs nothing.
    // experts: [plan->experts] weights.
    size_t (*grouped_linear_workspace)(Backend *b, const Weight *experts, const MoePlan *plan); // arrays are not read
    // out [T * used, N] = x [T * used, K] W_e^T + bias_e, e the expert of the row.
    void (*grouped_linear_forward)(Backend *b, Mat out, Mat x, const Weight *experts, const MoePlan *plan, void *ws);
    // dx [T * used, K] (+)= dout [T * used, N] W_e.
    void (*grouped_linear_backward)(Backend *b, Mat dx, Mat dout, const Weight *experts, const MoePlan *plan,
                                    bool accumulate, void *ws);

    // ---- head ----
    size_t (*head_loss_workspace)(Backend *b, const Weight *w, const HeadLoss *h, int64_t m);
    // logits = x W^T (+ bias), never stored whole; result is written; dx [M, C] = grad_scale * d(loss)/dx, or dx.data
    // NULL in evaluation.  x [M, C], W [V, C].
    void (*head_loss)(Backend *b, HeadResult *result, Mat dx, Mat x, const Weight *w, const HeadLoss *h, void *ws);
    // x = cap * tanh(x / cap), in place: the logits of inference.
    void (*softcap)(Backend *b, Mat x, float cap);
    size_t (*class_loss_workspace)(Backend *b, const ClassHead *h, int64_t m);
    // logits = x W^T + bias; result is written; dx [M, C] = grad_scale * d(loss)/dx, written (data NULL: no gradient).
    // x [M, C]. A row's results depend on that row alone.
    void (*class_loss)(Backend *b, HeadResult *result, Mat dx, Mat x, const ClassHead *h, void *ws);
    size_t (*preference_loss_workspace)(Backend *b, const PreferenceLoss *p);
    // result is written: loss of each sample plus, if it is paired, nll_scale times the token losses of its chosen
    // sequence; correct: samples whose chosen reward is the larger one. dx [M, C], the gradient of the sum of all token
    // losses, becomes that of this loss (data NULL: no gradient).
    void (*preference_loss)(Backend *b, HeadResult *result, Mat dx, const PreferenceLoss *p, void *ws);
    // Of a trained layer y = x W^T + bias: dw [N, C] += dy^T x,  dbias [N] += column sums of dy.  dy [M, N], x [M, C].
    void (*dense_gradients)(Backend *b, float *dw, float *dbias, Mat dy, Mat x);
    // out[s, :] = mean of x[m, :] over start[s] <= m < start[s + 1], or 0.  out [S, C] float32, x [M, C], start [S +
    // 1].
    void (*pool_forward)(Backend *b, Mat out, Mat x, const int32_t *start);
    // dx [M, C] = its gradient, written; 0 in rows from start[S] on.  dout [S, C] float32.
    void (*pool_backward)(Backend *b, Mat dx, Mat dout, const int32_t *start);
    size_t (*embedding_loss_workspace)(Backend *b, const EmbeddingLoss *l, int64_t n);
    // result is written: weight times the loss (embeddings.h), and RANKING: the records whose second vector is the most
    // similar one. similarity [records] = s of the first two vectors of each, or NULL. de += grad_scale * d(loss)/de
    // (data NULL: no gradient).  e, de [n, C] float32, without a stride.
    void (*embedding_loss)(Backend *b, HeadResult *result, float *similarity, Mat de, Mat e, const EmbeddingLoss *l,
                           void *ws);
    // out[m] = arg max of logits[m, :], lowest index wins ties; NaN: -1.
    void (*argmax)(Backend *b, int32_t *out, Mat logits);
    // The k largest of the first n <= V of each row, by ascending index (lowest wins ties, NaN is largest): all [M, k].
    void (*top_k)(Backend *b, int32_t *ids, float *values, Mat logits, int64_t n, int64_t k);
    // *t += *r, one pass.
    void (*tally)(Backend *b, HeadTally *t, const HeadResult *r);

    // ---- gradients and optimizer, over flat float32 buffers of n elements ----
    // acc += round(g * unscale * 2^44), unscale a power of 2 (1 / the loss scale of F16); an element that is not
    // finite, or g * unscale of magnitude >= limit, sets *bad to 1 and adds nothing. Integer addition is associative:
    // any order of rows gives the same bits. limit <= 2^19 / (rows added in all): no order overflows.
    void (*fixed_add)(Backend *b, int64_t *acc, const float *g, int64_t n, float limit, float unscale, int64_t *bad);
    // g = acc * 2^-44.
    void (*fixed_to_f32)(Backend *b, float *g, const int64_t *acc, int64_t n);
    // *out = sum of squares in double, over a tree fixed by n.
    void (*sqnorm)(Backend *b, double *out, const float *g, int64_t n);
    // Decoupled weight decay (Loshchilov & Hutter 2019), same order of operations as torch.optim.AdamW:
    // p *= 1 - lr*wd; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps).
    void (*adamw)(Backend *b, float *p, float *m, float *v, const float *g, const Adamw *options);
};

typedef struct BackendOptions {
    const char *device;        // "cpu" (fast), "ref" (naive, for tests and doctor), "cuda" or "cuda:1"
    int threads;               // of the CPU; 0: threads_available
    DType activation;          // F32; cpu: also BF16; cuda: also BF16 and F16
    MatmulPrecision precision; // of products, activations F32
    bool fp8;                  // weight_place with F8_E4M3; refused if the device has no F8 products
    AttentionKind attention;   // CUDA
} BackendOptions;
// CHECKs that the table has no empty slot. CUDA is in the module lorac-cuda.so (module.h), loaded on demand; without
// module, driver or device: ERR_RUNTIME. backend_close ends it (NULL allowed).
int backend_open_with(Backend **b, const BackendOptions *o, Err *err);
int backend_open(Backend **b, const char *device, int threads, Err *err); // activations: float32
void backend_close(Backend *b);
// Backends of equal kind give bit-identical results: "cpu-v4", or the GPU's name.
void backend_kind(StrBuf *out, const Backend *b);

// OMP_NUM_THREADS if set; else the CPUs of the affinity mask, at most the CPU quota of the process's control groups (a
// container with 2 of 64 cores must not start 64 threads). At least 1.
int threads_available(void);

// Id of a GPU, the same in all processes of a machine.
typedef struct GpuId {
    uint8_t bytes[16];
} GpuId;
// The GPUs that this process sees, at most `most`. Creates no CUDA context, but a child that is forked afterwards
// without exec must not use a GPU. Without module or driver: ERR_RUNTIME; without a GPU: *count = 0.
int backend_gpus(int *count, GpuId *ids, int most, Err *err);

extern const Kernels kernels_ref;
// The CPU backend's table for an instruction set (NULL: the best). NULL: none runs here. F32: "base", on
// x86-64 "v3" (AVX2, FMA), "v4" (AVX-512). BF16, and F32 of a lower precision: "avx512_bf16", "amx".
const Kernels *kernels_cpu(DType activation, MatmulPrecision precision, const char *isa);

C_END
