// stored_vector_cpu: stored weights whose blocks are expanded in registers, to the bits of dtype_expand: dot products
// with them, and the expansion alone.
#include VECTOR_HEADER

#include "stored.h"

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

// A scale, and of two bits a minimum, for 16 elements; four or eight pairs are in the bits of the same bytes.
DECODE decode_q2_k(Vec v[2], const uint8_t *b, int pair) {
    for (int i = 0; i < 2; i++) {
        Ints q = ints_and(ints_right(ints_load_u8(b + 16 + pair / 4 * 32 + i * 16), pair % 4 * 2), 3);
        float scale = half(b + 80) * (float)(b[2 * pair + i] & 15), min = half(b + 82) * (float)(b[2 * pair + i] >> 4);
        v[i] = vec_fma(vec_from_ints(q), vec_of(scale), vec_of(-min));
    }
}
DECODE decode_q3_k(Vec v[2], const uint8_t *b, int pair) {
    const uint8_t *packed = b + 96;
    float d = half(b + 108);
    for (int i = 0; i < 2; i++) {
        int g = 2 * pair + i;
        int low = packed[g % 8] >> g / 8 * 4 & 15, high = packed[8 + g % 4] >> g / 4 * 2 & 3;
        Ints two = ints_and(ints_right(ints_load_u8(b + 32 + pair / 4 * 32 + i * 16), pair % 4 * 2), 3);
        Ints third = ints_left(ints_and(ints_right(ints_load_u8(b + i * 16), pair), 1), 2);
        v[i] = vec_mul(vec_from_ints(ints_add(ints_or(two, third), -4)), vec_of(d * (float)((low | high << 4) - 32)));
    }
}

// Types whose 4-bit numbers index a table.
static const float iq4_values[16] = {DTYPE_IQ4_VALUES}, e2m1_values[16] = {DTYPE_E2M1_VALUES};
static const float nf4_levels[16] = {DTYPE_NF4_LEVELS}, fp4_levels[16] = {DTYPE_FP4_LEVELS};
static inline void look_up(Vec v[2], Nibbles q, float d, const float values[16]) {
    v[0] = vec_mul(vec_lookup(values, q.low), vec_of(d));
    v[1] = vec_mul(vec_lookup(values, q.high), vec_of(d));
}
DECODE decode_iq4_nl(Vec v[2], const uint8_t *b, int pair) {
    (void)pair;
    look_up(v, nibbles(b + 2), half(b), iq4_values);
}
DECODE decode_iq4_xs(Vec v[2], const uint8_t *b, int pair) {
    int scale = (b[4 + pair / 2] >> pair % 2 * 4 & 15) | (int)(load_u16(b + 2) >> pair * 2 & 3) << 4;
    look_up(v, nibbles(b + 8 + pair * 16), half(b) * (float)(scale - 32), iq4_values);
}
DECODE decode_mxfp4(Vec v[2], const uint8_t *b, int pair) {
    (void)pair;
    look_up(v, nibbles(b + 1), e8m0_half(b[0]), e2m1_values);
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
    X(IQ4_NL, 18, 1, decode_iq4_nl)                                                                                    \
    X(MXFP4, 17, 1, decode_mxfp4)                                                                                      \
    X(IQ4_XS, 136, 8, decode_iq4_xs)                                                                                   \
    X(Q2_K, 84, 8, decode_q2_k)                                                                                        \
    X(Q3_K, 110, 8, decode_q3_k)                                                                                       \
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

// ---- expansion ----

// y [n] = the elements at b, stored 32 at a time by `store`. Types with blocks of one element may end before.
// NOLINTBEGIN(bugprone-macro-parentheses): T is a type
#define DEFINE_EXPAND_TO(name, T, store, bytes, pairs, decode)                                                         \
    static void name(T *restrict y, const uint8_t *restrict b, int64_t n) {                                            \
        Vec v[2];                                                                                                      \
        for (; n >= 32 * (pairs); n -= 32 * (pairs), b += (bytes))                                                     \
            for (int pair = 0; pair < (pairs); pair++, y += 32) {                                                      \
                decode(v, b, pair);                                                                                    \
                store(y, v[0], v[1]);                                                                                  \
            }                                                                                                          \
        if ((pairs) > 1 || n == 0) return;                                                                             \
        uint8_t last[128] = {0};                                                                                       \
        T tail[32] = {0};                                                                                              \
        memcpy(last, b, (size_t)(n * (bytes) / 32));                                                                   \
        decode(v, last, 0);                                                                                            \
        store(tail, v[0], v[1]);                                                                                       \
        memcpy(y, tail, (size_t)n * sizeof *y);                                                                        \
    }
// NOLINTEND(bugprone-macro-parentheses)
#define DEFINE_EXPAND(type, bytes, pairs, decode)                                                                      \
    DEFINE_EXPAND_TO(expand_##type, float, vec_store_32, bytes, pairs, decode)                                         \
    DEFINE_EXPAND_TO(expand_act_##type, Act, act_store_32, bytes, pairs, decode)
TYPES(DEFINE_EXPAND)

Expand *CPU_FN(stored_expand)(DType t) {
#define EXPAND_ENTRY(type, ...) [DTYPE_##type] = expand_##type,
    static Expand *const table[DTYPE_COUNT] = {TYPES(EXPAND_ENTRY)};
    return table[t];
}

ExpandAct *CPU_FN(stored_expand_act)(DType t) {
#define EXPAND_ACT_ENTRY(type, ...) [DTYPE_##type] = expand_act_##type,
    static ExpandAct *const table[DTYPE_COUNT] = {TYPES(EXPAND_ACT_ENTRY)};
    return table[t];
}

// ---- expansion of numbers whose scales are apart: neighbours are the halves of a byte ----

void CPU_FN(expand_nf4)(float *restrict y, const uint8_t *restrict b, int64_t n, float row_scale) {
    for (int64_t i = 0; i < n; i += 64, b += 33) {
        float scale = (float)(b[0] * b[0]) * row_scale;
        for (int j = 0; j < 64; j += 32, y += 32) {
            Vec v[2];
            look_up(v, (Nibbles){ints_load_halves(b + 1 + j / 2, 0), ints_load_halves(b + 9 + j / 2, 0)}, scale,
                    nf4_levels);
            vec_store_32(y, v[0], v[1]);
        }
    }
}

// A run of n numbers: 32 at a time, the last from a copy with zeros after them.
#define DEFINE_RUN(name, bits, load)                                                                                   \
    void CPU_FN(name)(float *restrict y, const uint8_t *restrict b, int64_t n, float scale, float zero) {              \
        float tail[32] = {0};                                                                                          \
        uint8_t last[32] = {0};                                                                                        \
        for (; n > 0; n -= 32, b += 4 * (bits), y += 32) {                                                             \
            if (n < 32) memcpy(last, b, (size_t)((n * (bits) + 7) / 8));                                               \
            const uint8_t *from = n < 32 ? last : b;                                                                   \
            vec_store_32(n < 32 ? tail : y, load(from, scale, zero), load(from + 2 * (bits), scale, zero));            \
            if (n < 32) memcpy(y, tail, (size_t)n * sizeof *y);                                                        \
        }                                                                                                              \
    }
// 16 elements of such a run.
static inline Vec run_of_nf4(const uint8_t *b, float scale, float zero) {
    return vec_mul(vec_lookup(nf4_levels, ints_load_halves(b, 1)), vec_of(scale));
}
static inline Vec run_of_fp4(const uint8_t *b, float scale, float zero) {
    return vec_mul(vec_lookup(fp4_levels, ints_load_halves(b, 1)), vec_of(scale));
}
static inline Vec run_of_u4(const uint8_t *b, float scale, float zero) {
    return vec_mul(vec_add(vec_from_ints(ints_load_halves(b, 0)), vec_of(-zero)), vec_of(scale));
}
static inline Vec run_of_i8(const uint8_t *b, float scale, float zero) {
    return vec_mul(vec_add(vec_from_ints(ints_load_i8(b)), vec_of(-zero)), vec_of(scale));
}
DEFINE_RUN(run_nf4, 4, run_of_nf4)
DEFINE_RUN(run_fp4, 4, run_of_fp4)
DEFINE_RUN(run_u4, 4, run_of_u4)
DEFINE_RUN(run_i8, 8, run_of_i8)
