// expand_groups_cpu: types of quantised checkpoints, whose scales are apart from their numbers (DTypeGroups).
//
// Bit-identical to dtype_expand_groups: the difference of a number and its zero is exact, so only the product rounds.
#include "stored.h"

// A half has 8 exponents more below and its mantissa 7 bits further up.
static void run_f8(float *restrict y, const uint8_t *restrict b, int64_t n, float scale, float zero) {
    for (int64_t j = 0; j < n; j++) {
        uint32_t magnitude = b[j] & 0x7Fu, bits = magnitude == 0x7F ? 0x7E00u : magnitude << 7;
        y[j] = scale * (f16_value(bits | (b[j] & 0x80u) << 8) * 256);
    }
}

static ExpandRun *run_function(DType t) {
    static ExpandRun *const table[] = {[DTYPE_NF4_G] = CPU_FN(run_nf4),
                                       [DTYPE_FP4_G] = CPU_FN(run_fp4),
                                       [DTYPE_U4_G] = CPU_FN(run_u4),
                                       [DTYPE_I8_G] = CPU_FN(run_i8),
                                       [DTYPE_F8_G] = run_f8};
    CHECK(dtype_is_grouped(t), "expansion of type %d", (int)t);
    return table[t];
}

static float zero_of(const DTypeGroups *g, int64_t group) { return g->zero ? (float)g->zero[group] : 0; }

// Each column has its own group: the numbers alone, then their scales.
static void expand_gathered(float *dst, ExpandRun *run, const uint8_t *src, const WeightRow *r, int64_t col,
                            int64_t n) {
    const DTypeGroups *g = &r->groups;
    run(dst, src, n, 1, 0);
    for (int64_t i = 0; i < n; i++) {
        int64_t group = g->of_column[col + i];
        dst[i] = g->scale[group] * (dst[i] - zero_of(g, group));
    }
}

void CPU_FN(expand_groups)(float *dst, const WeightRow *r, const uint8_t *src, int64_t col, int64_t n) {
    const DTypeGroups *g = &r->groups;
    const DTypeInfo *info = dtype_info(r->segment->dtype);
    ExpandRun *run = run_function(r->segment->dtype);
    if (g->of_column) {
        expand_gathered(dst, run, src, r, col, n);
        return;
    }
    for (int64_t i = 0, end; i < n; i = end) {
        int64_t group = (col + i) / g->columns;
        end = min64((group + 1) * g->columns - col, n);
        run(dst + i, src + i / info->block * info->bytes, end - i, g->scale[group], zero_of(g, group));
    }
}

static bool scales_finite(const DTypeGroups *g, float largest) {
    bool finite = true;
    for (int64_t i = 0; i < g->n; i++) finite = finite && fabsf(g->scale[i]) * largest <= FLT_MAX;
    return finite;
}

// float8 e4m3fn has no infinities, and one NaN of each sign.
static bool floats8_finite(const uint8_t *b, int64_t n) {
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= (b[i] & 0x7F) == 0x7F;
    return !bad;
}

bool CPU_FN(groups_finite)(const WeightRow *r, int64_t cols) {
    DType t = r->segment->dtype;
    if (t == DTYPE_F8_G && !floats8_finite(r->data, cols)) return false;
    return scales_finite(&r->groups, t == DTYPE_NF4_G || t == DTYPE_FP4_G ? 1 : t == DTYPE_F8_G ? 448 : 512);
}
