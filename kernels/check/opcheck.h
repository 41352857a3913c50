// opcheck: runs one op with the same inputs on two backends and compares every output. It uses no test framework, and
// all memory comes from the backend's slots, so any backend can be compared with the reference. opcases_*.c: the cases
// by group of ops; opcheck.c: buffers, inputs, outputs; opcheck_weight.c, opcheck_compare.c.
//
// An OpCase is one op with its sizes. Its function creates inputs and outputs with the op_* helpers below, in the same
// order on every backend, and calls the slot. Inputs are random numbers that depend on their position in that order
// alone; outputs and workspaces start as NaN, so an element that is not written shows.
//
// With BF16 or F16 activations both sides compute from the same inputs, rounded to that type; the reference's outputs
// are rounded to it before the comparison. kernels.h defines which matrices are activations.
#pragma once

#include <math.h>

#include "kernels.h"

// Each op uses a part of it; names as in kernels.h.
typedef struct OpSize {
    int64_t t, n, k;           // tokens, output, input size
    int64_t heads, kv, d;      // attention, rope
    int64_t rank, row_offset;  // lora
    int64_t rotated;           // rope; 0: d
    int64_t layout, window;    // attention: OpLayout
    int64_t experts, used;     // mixture of experts
    int scores;                // of their choice: MoeScores
    bool uneven;               // uneven: every token goes to the first experts, the others have no rows
    bool bidirectional, sinks; // attention
    bool interleaved;          // rope
    DType dtype;               // of the weight
    int segments;              // of the weight; 0: one
    bool row_map, bias, residual, accumulate;
    bool kept;                // the weight has a kept copy, where the backend keeps one
    int64_t soft;             // soft targets of a row
    float temperature;        // of them
    bool no_dx, no_da, no_db; // NULL outputs
    GluKind glu;
    ActivationKind activation;
    float dropout, smoothing, softcap;
    ClassLoss class_loss;
} OpSize;
// clang-format off
#define OP_SIZE_NUMBERS(X) \
    X(t) X(n) X(k) X(heads) X(kv) X(d) X(rank) X(row_offset) X(rotated) X(layout) X(window) X(experts) X(used) \
    X(scores) X(segments) X(glu) X(activation) X(dropout) X(smoothing) X(softcap) X(class_loss) X(soft) \
    X(temperature)
#define OP_SIZE_FLAGS(X) \
    X(uneven) X(bidirectional) X(sinks) X(row_map) X(bias) X(residual) X(accumulate) X(no_dx) X(no_da) X(no_db) \
    X(kept) X(interleaved)
// clang-format on

// A list of OpSizes, one with each type a weight may have.
// clang-format off
#define OP_EVERY_DTYPE(...) \
    {.dtype = DTYPE_F32, __VA_ARGS__}, {.dtype = DTYPE_F16, __VA_ARGS__}, {.dtype = DTYPE_BF16, __VA_ARGS__}, \
    {.dtype = DTYPE_Q8_0, __VA_ARGS__}, {.dtype = DTYPE_Q4_0, __VA_ARGS__}, {.dtype = DTYPE_Q4_1, __VA_ARGS__}, \
    {.dtype = DTYPE_Q5_0, __VA_ARGS__}, {.dtype = DTYPE_Q5_1, __VA_ARGS__}, {.dtype = DTYPE_Q2_K, __VA_ARGS__}, \
    {.dtype = DTYPE_Q3_K, __VA_ARGS__}, {.dtype = DTYPE_Q4_K, __VA_ARGS__}, {.dtype = DTYPE_Q5_K, __VA_ARGS__}, \
    {.dtype = DTYPE_Q6_K, __VA_ARGS__}, {.dtype = DTYPE_IQ4_NL, __VA_ARGS__}, {.dtype = DTYPE_IQ4_XS, __VA_ARGS__}, \
    {.dtype = DTYPE_MXFP4, __VA_ARGS__}, {.dtype = DTYPE_NF4, __VA_ARGS__}, {.dtype = DTYPE_NF4_G, __VA_ARGS__}, \
    {.dtype = DTYPE_FP4_G, __VA_ARGS__}, {.dtype = DTYPE_U4_G, __VA_ARGS__}, {.dtype = DTYPE_I8_G, __VA_ARGS__}, \
    {.dtype = DTYPE_F8_G, __VA_ARGS__}
// clang-format on

typedef enum {
    OP_ONE_SAMPLE, // one causal sample of t tokens
    OP_PACKED,     // samples of 1, 3, 60, ... tokens
    OP_SOME_QUERY, // packed, but only some positions are queries (Tq != Tk)
    OP_CACHE,      // one query per sample, at the end of its part of a cache
} OpLayout;

typedef enum { OP_FLOATS, OP_DOUBLES, OP_EXACT } OpKind;
typedef struct OpOutput {
    const char *name;
    void *data;
    size_t bytes;
    OpKind kind;
    Mat mat;          // of floats: their layout; else data NULL
    double tolerance; // largest |got - want|, relative to the root mean square of want; 0: equal
    double floor;     // lower bound for that root mean square, for sums that may cancel
    double roundings; // additional roundings to the activation type that the tolerance allows: op_rounded
    double splits;    // the same, of operands of products: op_split
} OpOutput;

// Options of a run besides its size; the same on both sides of a comparison.
typedef struct OpSetup {
    int poison;       // which random input gets a NaN; -1: none
    DType activation; // activations are rounded to this type; stored in the backend's own
    int64_t gap;      // on a device: elements before and after each row of activations
} OpSetup;
#define OP_PLAIN ((OpSetup){.poison = -1})

enum { OP_MAX_BUFFERS = 48, OP_MAX_OUTPUTS = 8, OP_GUARD = 64 }; // OP_GUARD: bytes after every buffer
typedef struct OpRun {
    Backend *b;
    OpSize size;
    OpSetup setup;
    int n_inputs;  // random inputs so far
    int n_weights; // segments of weights so far
    int n_buffers, n_outputs;
    struct {
        void *data;
        size_t bytes;
    } buffers[OP_MAX_BUFFERS];
    OpOutput outputs[OP_MAX_OUTPUTS];
} OpRun;

typedef struct OpCase {
    const char *name;
    void (*run)(OpRun *r);
    const OpSize *sizes;
    int n_sizes;
    bool host; // the slot works in host memory: nothing to compare on a device
} OpCase;
#define OP_CASE(op, sizes)                                                                                             \
    { #op, case_##op, sizes, (int)(sizeof(sizes) / sizeof *(sizes)), false }
#define OP_HOST_CASE(op, sizes)                                                                                        \
    { #op, case_##op, sizes, (int)(sizeof(sizes) / sizeof *(sizes)), true }

// A float32 sum of n random terms, added one after the other, errs by about sqrt(n) roundings of 2^-24 relative to its
// root mean square; this allows four times that for the worst of many elements, and a few roundings more.
#define OP_SUM(n) (0x1p-24 * (8 + 4 * sqrt((double)(n))))

// ---- for cases ----
#define OP_CALL(r, slot, ...) (r)->b->k->slot((r)->b, __VA_ARGS__)
#define OP_WORKSPACE(r, op, ...) op_workspace(r, OP_CALL(r, op##_workspace, __VA_ARGS__))
void *op_copy(OpRun *r, const void *host, size_t bytes); // device copy of any data
// Activations. Inputs are random, about unit variance, NaN where poisoned; op_values: the given ones (NULL: NaN).
Mat op_input(OpRun *r, int64_t rows, int64_t cols);
Mat op_values(OpRun *r, const float *values, int64_t rows, int64_t cols);
Mat op_output(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance);
Mat op_inout(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance); // random at the start
// op_inout where `accumulate`, else op_output.
Mat op_gradient(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance, bool accumulate);
// The same for what is float32 everywhere: parameters, their gradients, tables, statistics, logits.
Mat op_input_f32(OpRun *r, int64_t rows, int64_t cols);
Mat op_output_f32(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance);
Mat op_inout_f32(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance);
void *op_output_bytes(OpRun *r, const char *name, size_t bytes, OpKind kind, double tolerance, const void *start);
// Declares a part of an existing buffer as an output.
void op_output_at(OpRun *r, const char *name, void *data, size_t bytes, OpKind kind, double tolerance);
// The last output depends on values that are rounded to the type of activations on the way, to `roundings` units of
// that rounding (2^-8 of BF16) relative to its root mean square. If anything is rounded, an OP_EXACT output is skipped.
void op_rounded(OpRun *r, double roundings);
// The last output is made of products of the inputs themselves: nothing of it is rounded to the type of activations,
// but operands of a lower precision than float32 are (BackendOptions.precision), to `roundings` units of theirs.
void op_split(OpRun *r, double roundings);
void *op_workspace(OpRun *r, size_t bytes);
// A weight of random blocks, elements of about 1 / sqrt(k), with the size's segments, row map and bias; on the device.
Weight op_weight(OpRun *r, int64_t n, int64_t k);

// ---- between the files of opcheck ----
void *op_buffer(OpRun *r, size_t bytes);
void op_check_guards(const OpRun *r, const char *op); // CHECKs that nothing was written past a buffer
float *op_noise(int64_t n, uint32_t stream);          // uniform with unit variance
float *op_input_floats(OpRun *r, int64_t n);          // the next random input
void op_round(DType t, float *x, int64_t n);          // in place; finite stays finite
// n elements of type F32, F16 or BF16, which holds each of them exactly.
void op_encode(DType type, uint8_t *dst, const float *x, int64_t n);
double op_unit_roundoff(DType t); // of activations; 0 for F32, which the tolerances include

// ---- for callers ----
// The names of a size's fields that are not 0, for messages.
void op_size_text(const OpSize *s, char *text, size_t size);
OpRun *op_run(const OpCase *c, const OpSize *size, Backend *b, OpSetup setup);
void op_run_free(OpRun *r);
typedef enum {
    OP_WITHIN_TOLERANCE, // of what the outputs declare; NaN fails
    OP_SAME_BITS,
    OP_NAN_SHOWS, // wherever want is NaN, got is NaN; exact outputs are equal
} OpRule;
// True if all outputs of `got` agree; else `message` names the first difference.
bool op_agree(const OpRun *want, const OpRun *got, OpRule rule, char *message, size_t size);
// True when some output holds a NaN (or, exact outputs: always).
bool op_shows_nan(const OpRun *r);

// End with name NULL.
extern const OpCase op_cases_pointwise[], op_cases_activation[], op_cases_matmul[], op_cases_attention[],
    op_cases_moe[], op_cases_head[];
// All of them; ends with NULL.
extern const OpCase *const op_groups[];

// Runs every size of a case on b against `ref`, in b's activation type; `gaps`: most of them with gaps between rows.
// *cases: how many ran. False at the first difference or a device fault, described in `message`.
bool op_check(const OpCase *c, Backend *ref, Backend *b, bool gaps, int *cases, char *message, size_t size);
