// vector_avx2: 16 numbers at a time, for files that CMake gives VECTOR_HEADER (stored_vector_cpu.c).
#pragma once

#include <immintrin.h>

#include "cpu.h"

enum { VEC_SUMS = 4 }; // that fit the registers, beside what is multiplied

typedef struct Vec {
    __m256 low, high;
} Vec;
typedef struct Ints {
    __m256i low, high;
} Ints;

static inline Vec vec_of(float x) { return (Vec){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline Vec vec_zero(void) { return vec_of(0); }
static inline Vec vec_load(const float *p) { return (Vec){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void vec_store_32(float *y, Vec low, Vec high) {
    _mm256_storeu_ps(y, low.low);
    _mm256_storeu_ps(y + 8, low.high);
    _mm256_storeu_ps(y + 16, high.low);
    _mm256_storeu_ps(y + 24, high.high);
}
static inline Vec vec_fma(Vec a, Vec b, Vec c) {
    return (Vec){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
static inline Vec vec_add(Vec a, Vec b) { return (Vec){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
static inline Vec vec_mul(Vec a, Vec b) { return (Vec){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
static inline Vec vec_from_ints(Ints a) { return (Vec){_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }
static inline Vec vec_from_bits(Ints a) { return (Vec){_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)}; }
static inline float vec_sum(Vec a) {
    __m256 eight = _mm256_add_ps(a.low, a.high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// 16 bytes, or 16 numbers of 2 bytes.
static inline __m128i load_16_bytes(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
static inline Vec vec_load_f16(const uint8_t *p) {
    return (Vec){_mm256_cvtph_ps(load_16_bytes(p)), _mm256_cvtph_ps(load_16_bytes(p + 16))};
}
static inline Ints ints_load_u8(const uint8_t *p) {
    __m128i x = load_16_bytes(p);
    return (Ints){_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))};
}
static inline Ints ints_load_i8(const uint8_t *p) {
    __m128i x = load_16_bytes(p);
    return (Ints){_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))};
}
static inline Ints ints_load_u16(const uint8_t *p) {
    return (Ints){_mm256_cvtepu16_epi32(load_16_bytes(p)), _mm256_cvtepu16_epi32(load_16_bytes(p + 16))};
}
static inline Ints ints_and(Ints a, int b) {
    __m256i mask = _mm256_set1_epi32(b);
    return (Ints){_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask)};
}
static inline Ints ints_or(Ints a, Ints b) {
    return (Ints){_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
static inline Ints ints_add(Ints a, int b) {
    __m256i c = _mm256_set1_epi32(b);
    return (Ints){_mm256_add_epi32(a.low, c), _mm256_add_epi32(a.high, c)};
}
static inline Ints ints_left(Ints a, int n) {
    return (Ints){_mm256_slli_epi32(a.low, n), _mm256_slli_epi32(a.high, n)};
}
static inline Ints ints_right(Ints a, int n) {
    return (Ints){_mm256_srli_epi32(a.low, n), _mm256_srli_epi32(a.high, n)};
}
// 16 half bytes, the low (0) or the high (1) half of each byte first.
static inline Ints ints_load_halves(const uint8_t *p, int first) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p), twice = _mm_unpacklo_epi8(bytes, bytes);
    __m256i shift = _mm256_set1_epi64x(first ? 4 : (int64_t)4 << 32), half = _mm256_set1_epi32(15);
    __m256i low = _mm256_cvtepu8_epi32(twice), high = _mm256_cvtepu8_epi32(_mm_srli_si128(twice, 8));
    return (Ints){_mm256_and_si256(_mm256_srlv_epi32(low, shift), half),
                  _mm256_and_si256(_mm256_srlv_epi32(high, shift), half)};
}
static inline __m256 lookup_8(__m256 first, __m256 second, __m256i i) {
    __m256 from_first = _mm256_permutevar8x32_ps(first, i), from_second = _mm256_permutevar8x32_ps(second, i);
    return _mm256_blendv_ps(from_first, from_second, _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
}
static inline Vec vec_lookup(const float table[16], Ints i) {
    __m256 first = _mm256_loadu_ps(table), second = _mm256_loadu_ps(table + 8);
    return (Vec){lookup_8(first, second, i.low), lookup_8(first, second, i.high)};
}
// Element i: `value` where bit i of mask is set, else 0.
static inline Ints ints_where(uint32_t mask, int value) {
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), zero = _mm256_setzero_si256();
    __m256i low = _mm256_and_si256(_mm256_set1_epi32((int)mask), bits);
    __m256i high = _mm256_and_si256(_mm256_set1_epi32((int)(mask >> 8)), bits), of = _mm256_set1_epi32(value);
    return (Ints){_mm256_andnot_si256(_mm256_cmpeq_epi32(low, zero), of),
                  _mm256_andnot_si256(_mm256_cmpeq_epi32(high, zero), of)};
}
