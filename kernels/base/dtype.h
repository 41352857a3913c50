// dtype: the element types of weights and activations, and how GGUF blocks become float32.
//
// A block type stores `block` elements in `bytes` bytes along the fastest dimension (the input dimension of a weight),
// so one row of a weight is a whole number of blocks and rows can be moved without requantising.
#pragma once

#include <string.h>

#include "base.h"

C_BEGIN

// X(name as GGUF writes it, ggml_type id or -1, elements per block, bytes per block). Loaded weights have the types up
// to F8_G. NF4 exists in memory only (quantize.h); F8_E4M3 on devices only (WeightSegment). The types that end in _G
// are those of quantised checkpoints: numbers alone, whose scales are apart from them (DTypeGroups).
// clang-format off
#define DTYPES(X) \
    X(F32, 0, 1, 4) X(F16, 1, 1, 2) X(BF16, 30, 1, 2) \
    X(Q8_0, 8, 32, 34) X(Q4_0, 2, 32, 18) X(Q4_1, 3, 32, 20) X(Q5_0, 6, 32, 22) X(Q5_1, 7, 32, 24) \
    X(Q2_K, 10, 256, 84) X(Q3_K, 11, 256, 110) X(Q4_K, 12, 256, 144) X(Q5_K, 13, 256, 176) X(Q6_K, 14, 256, 210) \
    X(IQ4_NL, 20, 32, 18) X(IQ4_XS, 23, 256, 136) X(MXFP4, 39, 32, 17) X(NF4, -1, 64, 33) \
    X(NF4_G, -1, 8, 4) X(FP4_G, -1, 8, 4) X(U4_G, -1, 8, 4) X(I8_G, -1, 8, 8) X(F8_G, -1, 8, 8) \
    X(F8_E4M3, -1, 1, 1) X(I32, 26, 1, 4) X(I64, 27, 1, 8) X(U8, -1, 1, 1)
// clang-format on
#define DTYPE_CONSTANT(name, gguf_type, block, bytes) DTYPE_##name,
typedef enum { DTYPES(DTYPE_CONSTANT) DTYPE_COUNT } DType;

// Precision of the products of float32 activations; names of torch.set_float32_matmul_precision. Sums are float32.
// HIGH on a GPU: TF32; on the CPU: each operand as a sum of two bf16, three products. MEDIUM, on the CPU only: operands
// rounded to bf16.
typedef enum { PRECISION_HIGHEST, PRECISION_HIGH, PRECISION_MEDIUM } MatmulPrecision;

typedef struct DTypeInfo {
    const char *name; // as GGUF writes it: "Q4_1"
    int gguf_type;    // ggml_type id, -1 if it has none
    int block;        // elements per block
    int bytes;        // bytes per block
} DTypeInfo;

const DTypeInfo *dtype_info(DType t);
DType dtype_from_gguf(uint32_t ggml_type); // DTYPE_COUNT when unknown or not supported
// The name of any ggml_type, supported or not, for messages; NULL: unknown id.
const char *dtype_gguf_name(uint32_t ggml_type);
bool dtype_is_weight(DType t);  // F32 ... F8_G
bool dtype_is_grouped(DType t); // NF4_G ... F8_G
// Bytes of n consecutive elements; n must be a multiple of the block: false otherwise or on overflow.
bool dtype_bytes(DType t, size_t n, size_t *bytes);

// Expands n elements (a multiple of the block) at src to float32, exactly as ggml defines its blocks. This is the
// reference; the fast expansion of the CPU backend equals it bit for bit.
void dtype_expand(DType t, float *dst, const void *src, size_t n);
// The same for elements of one row of a weight. NF4's block scales are in units of a scale of the row; other types have
// row_scale 1.
void dtype_expand_row(DType t, float *dst, const void *src, size_t n, float row_scale);

// Scales, and zeros, of the rows of a matrix: element k of a row is scale[g] * (q - zero[g]), where q is the element's
// number and g its group: of_column[k], or k / columns where that is NULL.
//   NF4_G  q one of NF4's levels, FP4_G: of bitsandbytes' 4-bit floats; the first of a pair in the high half of a byte
//   U4_G   q from 0 to 15, the first of a pair in the low half
//   I8_G   q an int8, F8_G: a float8 e4m3fn
typedef struct DTypeGroups {
    const float *scale;       // [rows, n]
    const int16_t *zero;      // [rows, n]; NULL: 0
    const int32_t *of_column; // [cols], each from 0 to n - 1
    int64_t n, columns;       // groups of a row; columns of a group, a multiple of 8
} DTypeGroups;
// Those of row `row` alone.
static inline DTypeGroups dtype_groups_row(DTypeGroups g, int64_t row) {
    if (g.scale) g.scale += row * g.n;
    if (g.zero) g.zero += row * g.n;
    return g;
}
// n elements of a row from column `col` on, both multiples of the block; src: of that column; groups: of the row.
void dtype_expand_groups(DType t, float *dst, const void *src, const DTypeGroups *groups, int64_t col, int64_t n);

// The inverse for blocks of 4, 5 and 6 bits (dtype_packs), with scales that make the error small: n elements, a
// multiple of the block. False: an element is not finite, or a block's scale exceeds a half.
bool dtype_pack(DType t, void *dst, const float *src, size_t n);
bool dtype_packs(DType t); // Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K

// Lookup tables of the 4-bit types: ggml's IQ4 table; the E2M1 floats of MXFP4 (OCP Microscaling Formats 1.0) in units
// of a half; the 16 levels of NF4 (Dettmers et al. 2023).
#define DTYPE_IQ4_VALUES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
#define DTYPE_E2M1_VALUES 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12
#define DTYPE_NF4_LEVELS                                                                                               \
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,                   \
        -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,                \
        0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f,    \
        1.0f
#define DTYPE_FP4_LEVELS                                                                                               \
    0.0f, 0.005208333333f, 0.66666667f, 1.0f, 0.33333333f, 0.5f, 0.16666667f, 0.25f, 0.0f, -0.005208333333f,           \
        -0.66666667f, -1.0f, -0.33333333f, -0.5f, -0.16666667f, -0.25f

// The bits of a float32 as an integer, and back.
static inline uint32_t f32_to_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}
static inline float bits_to_f32(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f); // round to nearest even
float bf16_to_f32(uint16_t h);
float f8_to_f32(uint8_t e4m3); // float8 e4m3fn: no infinities, 0x7F and 0xFF are NaN
uint16_t f32_to_bf16(float f); // round to nearest even, NaN stays NaN

C_END
