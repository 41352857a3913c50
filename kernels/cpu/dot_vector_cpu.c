// dot_vector_cpu: dot products with stored weights whose blocks are expanded in registers, to the bits of dtype_expand.
#include VECTOR_HEADER

#include "dot.h"
#include "expand_cpu.h"

// v = elements [32 pair, 32 pair + 32) of a block.
typedef void Decode(Vec v[2], const uint8_t *b, int pair);
#define DECODE __attribute__((always_inline)) static inline void

static inline float half(const uint8_t *p) { return _cvtsh_ss((uint16_t)load_u16(p)); }

// The four 32-element types keep element j in the low half of byte j and element j + 16 in its high half.
typedef struct Nibbles {
    Ints low, high;
} Nibbles;
static inline Nibbles nibbles(const uint8_t *p) {
    Ints q = ints_load_u8(p);
    return (Nibbles){ints_and(q, 15), ints_right(q, 4)};
}
// Adds the fifth bits.
static inline Nibbles fifth(Nibbles q, uint32_t bits) {
    return (Nibbles){ints_or(q.low, ints_where(bits & 0xFFFF, 16)), ints_or(q.high, ints_where(bits >> 16, 16))};
}
static inline void scale_both(Vec v[2], Nibbles q, float d) {
    v[0] = vec_mul(vec_from_ints(q.low), vec_of(d));
    v[1] = vec_mul(vec_from_ints(q.high), vec_of(d));
}
static inline void scale_and_add(Vec v[2], Nibbles q, float d, float m) {
    v[0] = vec_fma(vec_from_ints(q.low), vec_of(d), vec_of(m));
    v[1] = vec_fma(vec_from_ints(q.high), vec_of(d), vec_of(m));
}

DECODE decode_q4_0(Vec v[2], const uint8_t *b, int pair) {
    Nibbles q = nibbles(b + 2);
    (void)pair;
    scale_both(v, (Nibbles){ints_add(q.low, -8), ints_add(q.high, -8)}, half(b));
}
DECODE decode_q4_1(Vec v[2], const uint8_t *b, int pair) {
    (void)pair;
    scale_and_add(v, nibbles(b + 4), half(b), half(b + 2));
}
DECODE decode_q5_0(Vec v[2], const uint8_t *b, int pair) {
    Nibbles q = fifth(nibbles(b + 6), load_u32(b + 2));
    (void)pair;
    scale_both(v, (Nibbles){ints_add(q.low, -16), ints_add(q.high, -16)}, half(b));
}
DECODE decode_q5_1(Vec v[2], const uint8_t *b, int pair) {
    (void)pair;
    scale_and_add(v, fifth(nibbles(b + 8), load_u32(b + 4)), half(b), half(b + 2));
}
DECODE decode_q8_0(Vec v[2], const uint8_t *b, int pair) {
    (void)pair;
    scale_both(v, (Nibbles){ints_load_i8(b + 2), ints_load_i8(b + 18)}, half(b));
}

// The K types: 8 groups of 32 elements, with six-bit scales and minima in 12 bytes at p.
static inline void scale_group(Vec v[2], Nibbles q, const uint8_t *b, int g) {
    const uint8_t *p = b + 4;
    int scale = g < 4 ? p[g] & 63 : (p[g + 4] & 15) | p[g - 4] >> 6 << 4;
    int min = g < 4 ? p[g + 4] & 63 : p[g + 4] >> 4 | p[g] >> 6 << 4;
    scale_and_add(v, q, half(b) * (float)scale, -(half(b + 2) * (float)min));
}
static inline Ints nibble(const uint8_t *p, bool high) {
    Ints q = ints_load_u8(p);
    return high ? ints_right(q, 4) : ints_and(q, 15);
}
DECODE decode_q4_k(Vec v[2], const uint8_t *b, int pair) {
    const uint8_t *q = b + 16 + pair / 2 * 32;
    scale_group(v, (Nibbles){nibble(q, pair % 2), nibble(q + 16, pair % 2)}, b, pair);
}
static inline Ints high_bit(const uint8_t *p, int bit) {
    return ints_left(ints_and(ints_right(ints_load_u8(p), bit), 1), 4);
}
DECODE decode_q5_k(Vec v[2], const uint8_t *b, int pair) {
    const uint8_t *q = b + 48 + pair / 2 * 32, *high = b + 16;
    Nibbles n = {nibble(q, pair % 2), nibble(q + 16, pair % 2)};
    n = (Nibbles){ints_or(n.low, high_bit(high, pair)), ints_or(n.high, high_bit(high + 16, pair))};
    scale_group(v, n, b, pair);
}
// A scale for 16 elements; the two high bits of four pairs are in the same bytes.
DECODE decode_q6_k(Vec v[2], const uint8_t *b, int pair) {
    const int8_t *scales = (const int8_t *)b + 192 + pair / 4 * 8 + pair % 4 * 2;
    float d = half(b + 208);
    for (int i = 0; i < 2; i++) {
        const uint8_t *low = b + pair / 4 * 64 + pair % 2 * 32 + i * 16, *high = b + 128 + pair / 4 * 32 + i * 16;
        Ints two = ints_left(ints_and(ints_right(ints_load_u8(high), pair % 4 * 2), 3), 4);
        Ints q = ints_add(ints_or(nibble(low, pair % 4 >= 2), two), -32);
        v[i] = vec_mul(vec_from_ints(q), vec_of(d * (float)scales[i]));
    }
}

DECODE decode_f32(Vec v[2], const uint8_t *b, int pair) {
    (void)pair;
    v[0] = vec_load((const float *)b), v[1] = vec_load((const float *)b + 16);
}
DECODE decode_f16(Vec v[2], const uint8_t *b, int pair) {
    (void)pair;
    v[0] = vec_load_f16(b), v[1] = vec_load_f16(b + 32);
}
DECODE decode_bf16(Vec v[2], const uint8_t *b, int pair) {
    (void)pair;
    v[0] = vec_from_bits(ints_left(ints_load_u16(b), 16)), v[1] = vec_from_bits(ints_left(ints_load_u16(b + 32), 16));
}

// Some rows of x, dot_stride(k) elements from one to the next, and where their dot products go.
typedef struct Rows {
    const float *x;
    int64_t k, count;
    float *y;
    int64_t ldy;
} Rows;

enum {
    MANY = VEC_SUMS / 2, // rows of x whose sums are in registers, two of each
    AHEAD = 4096         // bytes of W that are fetched ahead: threads read W once, from memory
};

// Rows [t, t + count) with one row of W, whose blocks are `bytes` for `pairs` of 32 elements.
__attribute__((always_inline)) static inline void dot_rows(Rows r, int64_t t, const int count, const uint8_t *b,
                                                           int bytes, const int pairs, Decode *decode) {
    Vec sum[MANY][2];
    int64_t stride = dot_stride(r.k);
    const float *x = r.x + t * stride;
    for (int i = 0; i < count; i++) sum[i][0] = sum[i][1] = vec_zero();
    for (int64_t k = 0; k < stride; k += 32 * pairs, b += bytes)
#pragma GCC unroll 8
        for (int pair = 0; pair < pairs; pair++) {
            Vec v[2];
            if (pair % 2 == 0) __builtin_prefetch(b + AHEAD + bytes / pairs * pair);
            decode(v, b, pair);
            for (int i = 0; i < count; i++) {
                const float *at = x + i * stride + k + 32 * pair;
                sum[i][0] = vec_fma(vec_load(at), v[0], sum[i][0]);
                sum[i][1] = vec_fma(vec_load(at + 16), v[1], sum[i][1]);
            }
        }
    for (int i = 0; i < count; i++) r.y[(t + i) * r.ldy] = vec_sum(vec_add(sum[i][0], sum[i][1]));
}

__attribute__((always_inline)) static inline void dot_all(Rows r, const uint8_t *b, int bytes, const int pairs,
                                                          Decode *decode) {
    int64_t t = 0;
    for (; t + MANY <= r.count; t += MANY) dot_rows(r, t, MANY, b, bytes, pairs, decode);
    for (; t + MANY / 2 <= r.count; t += MANY / 2) dot_rows(r, t, MANY / 2, b, bytes, pairs, decode);
    for (; t < r.count; t++) dot_rows(r, t, 1, b, bytes, pairs, decode);
}

// Types whose blocks are expanded in registers.
#define TYPES(X)                                                                                                       \
    X(F32, 128, 1, decode_f32)                                                                                         \
    X(F16, 64, 1, decode_f16)                                                                                          \
    X(BF16, 64, 1, decode_bf16)                                                                                        \
    X(Q8_0, 34, 1, decode_q8_0)                                                                                        \
    X(Q4_0, 18, 1, decode_q4_0)                                                                                        \
    X(Q4_1, 20, 1, decode_q4_1)                                                                                        \
    X(Q5_0, 22, 1, decode_q5_0)                                                                                        \
    X(Q5_1, 24, 1, decode_q5_1)                                                                                        \
    X(Q4_K, 144, 8, decode_q4_k)                                                                                       \
    X(Q5_K, 176, 8, decode_q5_k)                                                                                       \
    X(Q6_K, 210, 8, decode_q6_k)

// With n rows of W, `stride` bytes from one to the next.
typedef void Dots(Rows r, const uint8_t *b, int64_t n, int64_t stride);
#define DEFINE_DOTS(type, bytes, pairs, decode)                                                                        \
    static void dots_##type(Rows r, const uint8_t *b, int64_t n, int64_t stride) {                                     \
        for (int64_t i = 0; i < n; i++, b += stride, r.y++) dot_all(r, b, bytes, pairs, decode);                       \
    }
TYPES(DEFINE_DOTS)

static Dots *const dots_table[DTYPE_COUNT] = {
#define DOTS_ENTRY(type, ...) [DTYPE_##type] = dots_##type,
    TYPES(DOTS_ENTRY)};

// The same for a row of W of any type, expanded into scratch.
static void dots_expanded(Rows r, const Weight *w, int64_t row, float *scratch) {
    cpu_expand_rows(scratch, w, row, 1);
    memset(scratch + w->cols, 0, (size_t)(dot_stride(w->cols) - w->cols) * sizeof *scratch);
    dots_F32(r, (const uint8_t *)scratch, 1, 0);
}

void cpu_dots(float *y, int64_t ldy, const float *x, int64_t t, const Weight *w, DotRows rows) {
    Rows of_x = {x, w->cols, t, y, ldy};
    for (int64_t i = 0, n; i < rows.n; i += n, of_x.y += n) {
        WeightRow r = weight_row(w, rows.first + i);
        const DTypeInfo *type = dtype_info(r.segment->dtype);
        Dots *dots = w->cols % DOT_PIECE == 0 ? dots_table[r.segment->dtype] : NULL;
        n = dots ? min64(r.run, rows.n - i) : 1;
        if (dots)
            dots(of_x, r.data, n, w->cols / type->block * type->bytes);
        else
            dots_expanded(of_x, w, rows.first + i, rows.scratch);
    }
}
