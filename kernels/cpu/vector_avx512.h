// vector_avx512: 16 numbers at a time, for files that CMake gives VECTOR_HEADER (stored_vector_cpu.c).
#pragma once

#include <immintrin.h>

#include "cpu.h"

enum { VEC_SUMS = 16 }; // that fit the registers, beside what is multiplied

typedef __m512 Vec;
typedef __m512i Ints;

static inline Vec vec_zero(void) { return _mm512_setzero_ps(); }
static inline Vec vec_of(float x) { return _mm512_set1_ps(x); }
static inline Vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vec_store_32(float *y, Vec low, Vec high) {
    _mm512_storeu_ps(y, low);
    _mm512_storeu_ps(y + 16, high);
}
static inline Vec vec_fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline Vec vec_add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
static inline Vec vec_mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
static inline Vec vec_from_ints(Ints a) { return _mm512_cvtepi32_ps(a); }
static inline Vec vec_from_bits(Ints a) { return _mm512_castsi512_ps(a); }
static inline Vec vec_load_f16(const uint8_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline float vec_sum(Vec a) { return _mm512_reduce_add_ps(a); }

static inline Ints ints_load_u8(const uint8_t *p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline Ints ints_load_i8(const uint8_t *p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline Ints ints_load_u16(const uint8_t *p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline Ints ints_and(Ints a, int b) { return _mm512_and_si512(a, _mm512_set1_epi32(b)); }
static inline Ints ints_or(Ints a, Ints b) { return _mm512_or_si512(a, b); }
static inline Ints ints_add(Ints a, int b) { return _mm512_add_epi32(a, _mm512_set1_epi32(b)); }
static inline Ints ints_left(Ints a, int n) { return _mm512_slli_epi32(a, (unsigned)n); }
static inline Ints ints_right(Ints a, int n) { return _mm512_srli_epi32(a, (unsigned)n); }
// 16 half bytes, the low (0) or the high (1) half of each byte first.
static inline Ints ints_load_halves(const uint8_t *p, int first) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    __m512i twice = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes));
    __m512i shift = _mm512_set1_epi64(first ? 4 : (int64_t)4 << 32);
    return _mm512_and_si512(_mm512_srlv_epi32(twice, shift), _mm512_set1_epi32(15));
}
static inline Vec vec_lookup(const float table[16], Ints i) { return _mm512_permutexvar_ps(i, _mm512_loadu_ps(table)); }
// Element i: `value` where bit i of mask is set, else 0.
static inline Ints ints_where(uint32_t mask, int value) { return _mm512_maskz_set1_epi32((__mmask16)mask, value); }
