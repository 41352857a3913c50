// expand: eight consecutive elements of any block type as float32, in one thread (and of fp8 weights). The formats are
// those of dtype.c, whose functions these follow one by one; every product is exact, so the results are bit-identical.
//
// A group of eight never crosses a scale: groups under one scale have 16 elements at least. A warp has 256 elements,
// one superblock, so that its loads of scales are broadcasts. Blocks are stored as in the file: BYTES long, and
// therefore aligned only to the largest power of two that divides BYTES.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "dtype.h"

// How type TYPE expands. TABLE: the lookup of 16 floats that it needs; the caller holds it in shared memory, where 16
// neighbouring words never conflict (constant memory would serve a warp's different indices one after the other).
template <DType TYPE> struct Blocks;

enum ExpandTable { TABLE_NONE, TABLE_IQ4, TABLE_E2M1, TABLE_NF4, TABLE_FP4 };
static __constant__ float expand_tables[][16] = {
    {0}, {DTYPE_IQ4_VALUES}, {DTYPE_E2M1_VALUES}, {DTYPE_NF4_LEVELS}, {DTYPE_FP4_LEVELS}};

// ---- loads of little-endian integers at p, which is a multiple of ALIGN ----

template <int ALIGN> static inline __device__ uint32_t load_u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, __builtin_assume_aligned(p, ALIGN), sizeof v);
    return v;
}

static inline __device__ uint32_t load_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, __builtin_assume_aligned(p, 2), sizeof v);
    return v;
}

static inline __device__ float load_half(const uint8_t *p) {
    return __half2float(__ushort_as_half((unsigned short)load_u16(p)));
}

// Eight bytes as two words; byte i of them.
typedef struct Eight {
    uint32_t low, high;
} Eight;

template <int ALIGN> static inline __device__ Eight load_eight(const uint8_t *p) {
    Eight v;
    memcpy(&v, __builtin_assume_aligned(p, ALIGN), sizeof v);
    return v;
}

static inline __device__ int byte_at(Eight v, int i) { return (int)((i < 4 ? v.low : v.high) >> i % 4 * 8 & 255); }

// The low (shift 0) or high (4) halves of eight bytes, or two bits of each.
static inline __device__ Eight bits_at(Eight v, int shift, uint32_t mask) {
    mask *= 0x01010101;
    return {v.low >> shift & mask, v.high >> shift & mask};
}

// The types of 32 elements keep element j in the low half of byte j and element j + 16 in its high half.
template <int ALIGN> static inline __device__ Eight nibbles_of_32(const uint8_t *qs, int j) {
    return bits_at(load_eight<ALIGN>(qs + j % 16), j / 16 * 4, 15);
}

// ---- one struct a type: eight(y, block, j, row_scale, table) = elements [j, j + 8) of the block ----

#define BLOCKS(TYPE, block, bytes, table)                                                                              \
    template <> struct Blocks<TYPE> {                                                                                  \
        static constexpr int BLOCK = block, BYTES = bytes;                                                             \
        static constexpr ExpandTable TABLE = table;                                                                    \
        static constexpr bool GROUPED = TYPE >= DTYPE_NF4_G && TYPE <= DTYPE_F8_G;                                     \
        static inline __device__ void eight(float *y, const uint8_t *b, int j, float row_scale, const float *values);  \
    };                                                                                                                 \
    inline __device__ void Blocks<TYPE>::eight(float *y, const uint8_t *b, [[maybe_unused]] int j,                     \
                                               [[maybe_unused]] float row_scale, [[maybe_unused]] const float *values)

BLOCKS(DTYPE_Q8_0, 32, 34, TABLE_NONE) {
    float d = load_half(b);
    Eight q = load_eight<2>(b + 2 + j);
    for (int i = 0; i < 8; i++) y[i] = d * (float)(int8_t)byte_at(q, i);
}

BLOCKS(DTYPE_Q4_0, 32, 18, TABLE_NONE) {
    float d = load_half(b);
    Eight q = nibbles_of_32<2>(b + 2, j);
    for (int i = 0; i < 8; i++) y[i] = d * (float)(byte_at(q, i) - 8);
}

BLOCKS(DTYPE_Q4_1, 32, 20, TABLE_NONE) {
    float d = load_half(b), m = load_half(b + 2);
    Eight q = nibbles_of_32<4>(b + 4, j);
    for (int i = 0; i < 8; i++) y[i] = d * (float)byte_at(q, i) + m;
}

BLOCKS(DTYPE_Q5_0, 32, 22, TABLE_NONE) {
    float d = load_half(b);
    uint32_t fifth = load_u32<2>(b + 2) >> j;
    Eight q = nibbles_of_32<2>(b + 6, j);
    for (int i = 0; i < 8; i++) y[i] = d * (float)((byte_at(q, i) | (int)(fifth >> i & 1) << 4) - 16);
}

BLOCKS(DTYPE_Q5_1, 32, 24, TABLE_NONE) {
    float d = load_half(b), m = load_half(b + 2);
    uint32_t fifth = load_u32<4>(b + 4) >> j;
    Eight q = nibbles_of_32<8>(b + 8, j);
    for (int i = 0; i < 8; i++) y[i] = d * (float)(byte_at(q, i) | (int)(fifth >> i & 1) << 4) + m;
}

// Groups of 16; two halves of 128 elements, groups 2s and 2s + 1 of a half in bits 2s and 2s + 1 of its 32 bytes.
BLOCKS(DTYPE_Q2_K, 256, 84, TABLE_NONE) {
    int g = j / 16;
    float d = load_half(b + 80) * (float)(b[g] & 15), m = load_half(b + 82) * (float)(b[g] >> 4);
    Eight q = bits_at(load_eight<4>(b + 16 + g / 8 * 32 + j % 32), g % 8 / 2 * 2, 3);
    for (int i = 0; i < 8; i++) y[i] = d * (float)byte_at(q, i) - m;
}

// Its third bits: bit g / 2 of byte j % 32 of the mask.
BLOCKS(DTYPE_Q3_K, 256, 110, TABLE_NONE) {
    int g = j / 16;
    const uint8_t *packed = b + 96;
    int scale = (packed[g % 8] >> g / 8 * 4 & 15) | (packed[8 + g % 4] >> g / 4 * 2 & 3) << 4;
    float d = load_half(b + 108) * (float)(scale - 32);
    Eight q = bits_at(load_eight<2>(b + 32 + g / 8 * 32 + j % 32), g % 8 / 2 * 2, 3);
    Eight third = bits_at(load_eight<2>(b + j % 32), g / 2, 1);
    for (int i = 0; i < 8; i++) y[i] = d * (float)((byte_at(q, i) | byte_at(third, i) << 2) - 4);
}

// Six-bit scale and minimum of group g of 8, packed in 12 bytes.
static inline __device__ void scale_min(const uint8_t *packed, int g, float *scale, float *min) {
    int low = packed[g], high = packed[g + 4];
    if (g < 4) {
        *scale = (float)(low & 63);
        *min = (float)(high & 63);
    } else {
        *scale = (float)((high & 15) | packed[g - 4] >> 6 << 4);
        *min = (float)(high >> 4 | low >> 6 << 4);
    }
}

// Groups 2k and 2k + 1 of 32 elements are the low and the high halves of the same 32 bytes.
BLOCKS(DTYPE_Q4_K, 256, 144, TABLE_NONE) {
    int g = j / 32;
    float scale, min;
    scale_min(b + 4, g, &scale, &min);
    float d = load_half(b) * scale, m = load_half(b + 2) * min;
    Eight q = bits_at(load_eight<8>(b + 16 + g / 2 * 32 + j % 32), g % 2 * 4, 15);
    for (int i = 0; i < 8; i++) y[i] = d * (float)byte_at(q, i) - m;
}

// The fifth bits: bit g of byte j % 32.
BLOCKS(DTYPE_Q5_K, 256, 176, TABLE_NONE) {
    int g = j / 32;
    float scale, min;
    scale_min(b + 4, g, &scale, &min);
    float d = load_half(b) * scale, m = load_half(b + 2) * min;
    Eight q = bits_at(load_eight<8>(b + 48 + g / 2 * 32 + j % 32), g % 2 * 4, 15);
    Eight fifth = bits_at(load_eight<8>(b + 16 + j % 32), g, 1);
    for (int i = 0; i < 8; i++) y[i] = d * (float)(byte_at(q, i) | byte_at(fifth, i) << 4) - m;
}

// Two halves of 128 elements, each four groups of 32: group g has its low four bits in half g / 2 of 32 bytes, its high
// two in bits 2g; one scale for 16 elements.
BLOCKS(DTYPE_Q6_K, 256, 210, TABLE_NONE) {
    int half = j / 128, g = j % 128 / 32;
    float d = load_half(b + 208) * (float)(int8_t)b[192 + j / 16];
    Eight low = bits_at(load_eight<2>(b + half * 64 + g % 2 * 32 + j % 32), g / 2 * 4, 15);
    Eight high = bits_at(load_eight<2>(b + 128 + half * 32 + j % 32), g * 2, 3);
    for (int i = 0; i < 8; i++) y[i] = d * (float)((byte_at(low, i) | byte_at(high, i) << 4) - 32);
}

BLOCKS(DTYPE_IQ4_NL, 32, 18, TABLE_IQ4) {
    float d = load_half(b);
    Eight q = nibbles_of_32<2>(b + 2, j);
    for (int i = 0; i < 8; i++) y[i] = d * values[byte_at(q, i)];
}

// Eight groups of 32, each an IQ4_NL block under a six-bit scale.
BLOCKS(DTYPE_IQ4_XS, 256, 136, TABLE_IQ4) {
    int g = j / 32;
    int scale = (b[4 + g / 2] >> g % 2 * 4 & 15) | (int)(load_u16(b + 2) >> g * 2 & 3) << 4;
    float d = load_half(b) * (float)(scale - 32);
    Eight q = nibbles_of_32<8>(b + 8 + g * 16, j % 32);
    for (int i = 0; i < 8; i++) y[i] = d * values[byte_at(q, i)];
}

// 2^(e - 128) over values in units of a half; subnormal for e of 0 and 1, NaN for 255.
BLOCKS(DTYPE_MXFP4, 32, 17, TABLE_E2M1) {
    uint32_t e = b[0], bits = e == 255 ? 0x7FC00000u : e < 2 ? 0x200000u << e : (e - 1) << 23;
    float d;
    memcpy(&d, &bits, sizeof d);
    Eight q = nibbles_of_32<1>(b + 1, j);
    for (int i = 0; i < 8; i++) y[i] = d * values[byte_at(q, i)];
}

// Neighbours share a byte; the code is the square root of the block's scale in units of the row's.
BLOCKS(DTYPE_NF4, 64, 33, TABLE_NF4) {
    float scale = (float)(b[0] * b[0]) * row_scale;
    uint32_t q = load_u32<1>(b + 1 + j / 2);
    for (int i = 0; i < 8; i++) y[i] = scale * values[q >> i * 4 & 15];
}
// Rows of fp8 weights are multiples of 16 elements, under one scale.
BLOCKS(DTYPE_F8_E4M3, 8, 8, TABLE_NONE) {
    Eight q = load_eight<8>(b + j);
    for (int i = 0; i < 8; i++) {
        __nv_fp8_e4m3 x;
        x.__x = (__nv_fp8_storage_t)byte_at(q, i);
        y[i] = (float)x * row_scale;
    }
}

// The numbers alone; scales and zeros are applied by the caller.
static inline __device__ void high_first(float *y, const uint8_t *b, const float *values) {
    uint32_t q = load_u32<4>(b);
    for (int i = 0; i < 8; i++) y[i] = values[q >> (i ^ 1) * 4 & 15];
}
BLOCKS(DTYPE_NF4_G, 8, 4, TABLE_NF4) { high_first(y, b, values); }
BLOCKS(DTYPE_FP4_G, 8, 4, TABLE_FP4) { high_first(y, b, values); }
BLOCKS(DTYPE_U4_G, 8, 4, TABLE_NONE) {
    uint32_t q = load_u32<4>(b);
    for (int i = 0; i < 8; i++) y[i] = (float)(q >> i * 4 & 15);
}
BLOCKS(DTYPE_I8_G, 8, 8, TABLE_NONE) {
    Eight q = load_eight<8>(b);
    for (int i = 0; i < 8; i++) y[i] = (float)(int8_t)byte_at(q, i);
}
BLOCKS(DTYPE_F8_G, 8, 8, TABLE_NONE) { Blocks<DTYPE_F8_E4M3>::eight(y, b, j, 1, values); }
#undef BLOCKS
