// dtype: conversions over every half, block expansion against gguf-py's (golden/dtype_golden.txt).
#include "dtype.h"
#include "test.h"

#include <math.h>

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

// The definition of a binary float with the given sizes, in double arithmetic.
static double value_of(uint16_t h, int exponent_bits, int mantissa_bits) {
    int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
    int exponent = h >> mantissa_bits & top, mantissa = h & ((1 << mantissa_bits) - 1);
    double sign = h >> 15 ? -1 : 1;
    if (exponent == top) return mantissa ? NAN : sign * INFINITY;
    if (!exponent) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

typedef struct Half {
    int exponent_bits, mantissa_bits;
    float (*widen)(uint16_t);
    uint16_t (*narrow)(float);
} Half;
static const Half f16 = {5, 10, f16_to_f32, f32_to_f16}, bf16 = {8, 7, bf16_to_f32, f32_to_bf16};

static void check_every_half(const Half *t) {
    for (int h = 0; h < 65536; h++) {
        double want = value_of((uint16_t)h, t->exponent_bits, t->mantissa_bits);
        float got = t->widen((uint16_t)h);
        if (isnan(want)) {
            assert_true(isnan(got) && isnan(t->widen(t->narrow(got))));
            continue;
        }
        if ((double)got != want || !signbit(got) != !signbit(want)) fail_msg("0x%04x: %.9g, want %.9g", h, got, want);
        assert_int_equal(t->narrow(got), h);
    }
}

static void test_dtype_widens_every_half_exactly(void **state) {
    (void)state;
    check_every_half(&f16);
    check_every_half(&bf16);
}

// Between each two neighbours: the middle goes to the even one, the floats next to the middle to the nearer one. The
// value after the largest finite one is its neighbour infinity.
static void check_rounding(const Half *t) {
    int infinity = ((1 << t->exponent_bits) - 1) << t->mantissa_bits;
    for (int h = 0; h < infinity; h++) {
        double low = value_of((uint16_t)h, t->exponent_bits, t->mantissa_bits);
        double high = h + 1 == infinity ? low + (low - value_of((uint16_t)(h - 1), t->exponent_bits, t->mantissa_bits))
                                        : value_of((uint16_t)(h + 1), t->exponent_bits, t->mantissa_bits);
        float middle = (float)((low + high) / 2); // exact: one more bit than a half has
        int even = h % 2 ? h + 1 : h;
        for (int sign = 0; sign < 2; sign++) {
            float s = sign ? -1.0f : 1.0f;
            assert_int_equal(t->narrow(s * middle), even | sign << 15);
            assert_int_equal(t->narrow(s * nextafterf(middle, 0)), h | sign << 15);
            assert_int_equal(t->narrow(s * nextafterf(middle, INFINITY)), (h + 1) | sign << 15);
        }
    }
}

static void test_dtype_rounds_to_nearest_even(void **state) {
    (void)state;
    check_rounding(&f16);
    check_rounding(&bf16);
    assert_int_equal(f32_to_f16(1e30f), 0x7C00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xFC00);
    assert_int_equal(f32_to_f16(1e-30f), 0);
    assert_int_equal(f32_to_f16(-float_of(1)), 0x8000);
    assert_int_equal(f32_to_bf16(INFINITY), 0x7F80);
    static const uint32_t nans[] = {0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7FC00000};
    for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) {
        assert_true(isnan(f16_to_f32(f32_to_f16(float_of(nans[i])))));
        assert_true(isnan(bf16_to_f32(f32_to_bf16(float_of(nans[i])))));
    }
}

static void test_dtype_table(void **state) {
    (void)state;
    for (DType t = 0; t < DTYPE_COUNT; t++) {
        const DTypeInfo *info = dtype_info(t);
        assert_non_null(info->name);
        assert_true(info->block > 0 && info->bytes > 0);
        if (info->gguf_type < 0) continue;
        assert_int_equal(dtype_from_gguf((uint32_t)info->gguf_type), t);
        assert_string_equal(dtype_gguf_name((uint32_t)info->gguf_type), info->name);
    }
    assert_string_equal(dtype_gguf_name(16), "IQ2_XXS");
    assert_int_equal(dtype_from_gguf(16), DTYPE_COUNT);
    assert_int_equal(dtype_from_gguf(UINT32_MAX), DTYPE_COUNT);
    assert_null(dtype_gguf_name(4));
    assert_null(dtype_gguf_name(43));
    assert_null(dtype_gguf_name(UINT32_MAX));
    assert_int_equal(dtype_from_gguf(21), DTYPE_COUNT); // IQ3_S
    assert_true(dtype_is_weight(DTYPE_NF4));
    assert_false(dtype_is_weight(DTYPE_I32));
}

static void test_dtype_bytes_checks_block_and_overflow(void **state) {
    (void)state;
    size_t bytes = 0;
    assert_true(dtype_bytes(DTYPE_Q4_K, 512, &bytes));
    assert_int_equal(bytes, 288);
    assert_true(dtype_bytes(DTYPE_Q4_1, 0, &bytes));
    assert_int_equal(bytes, 0);
    assert_false(dtype_bytes(DTYPE_Q4_1, 33, &bytes));
    assert_false(dtype_bytes(DTYPE_F32, SIZE_MAX / 4 + 1, &bytes));
    assert_false(dtype_bytes(DTYPE_Q8_0, SIZE_MAX / 32 * 32, &bytes)); // 34 bytes for 32 elements
    assert_true(dtype_bytes(DTYPE_Q4_1, SIZE_MAX / 32 * 32, &bytes));
}

// ---- blocks ----

enum { MAX_BLOCK = 256, MAX_BYTES = 210 };

typedef struct Golden {
    DType dtype;
    uint8_t block[MAX_BYTES];
    uint32_t check, shown[8]; // order-dependent checksum; first and last four values
} Golden;

static bool read_golden(FILE *f, Golden *g) {
    char name[16], hex[2 * MAX_BYTES + 1];
    if (fscanf(f, "%15s %420s %x", name, hex, &g->check) != 3) return false;
    for (int i = 0; i < 8; i++) assert_int_equal(fscanf(f, "%x", &g->shown[i]), 1);
    for (g->dtype = 0; strcmp(dtype_info(g->dtype)->name, name) != 0; g->dtype++) assert_true(g->dtype < DTYPE_COUNT);
    assert_int_equal(strlen(hex), 2 * dtype_info(g->dtype)->bytes);
    for (int i = 0; i < dtype_info(g->dtype)->bytes; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        g->block[i] = (uint8_t)byte;
    }
    return true;
}

static uint32_t checksum(const float *values, int n) {
    uint32_t check = 0;
    for (int i = 0; i < n; i++) {
        uint32_t b = bits_of(values[i]), r = (uint32_t)i % 32;
        check ^= r ? b << r | b >> (32 - r) : b;
    }
    return check;
}

static void test_dtype_expands_blocks_as_gguf_py(void **state) {
    (void)state;
    FILE *f = fopen(TEST_DIR "/golden/dtype_golden.txt", "r");
    assert_non_null(f);
    Golden g;
    int seen[DTYPE_COUNT] = {0};
    while (read_golden(f, &g)) {
        const DTypeInfo *info = dtype_info(g.dtype);
        uint8_t src[2 * MAX_BYTES + 1]; // two blocks, at an odd address
        float y[2 * MAX_BLOCK];
        for (int i = 0; i < 2; i++) memcpy(src + 1 + i * info->bytes, g.block, (size_t)info->bytes);
        dtype_expand(g.dtype, y, src + 1, 2 * (size_t)info->block);
        for (int i = 0; i < 8; i++) {
            int at = i < 4 ? i : info->block - 8 + i;
            if (bits_of(y[at]) != g.shown[i])
                fail_msg("%s[%d]: %.9g, want %.9g", info->name, at, y[at], float_of(g.shown[i]));
        }
        assert_int_equal(checksum(y, info->block), g.check);
        assert_memory_equal(y, y + info->block, (size_t)info->block * sizeof *y);
        seen[g.dtype]++;
    }
    fclose(f);
    for (DType t = DTYPE_Q8_0; t < DTYPE_NF4; t++) assert_int_equal(seen[t], 24);
}

static void test_dtype_expands_plain_floats(void **state) {
    (void)state;
    const float values[] = {0, -1.5f, 1e-40f, 65504};
    float y[4];
    dtype_expand(DTYPE_F32, y, values, 4);
    assert_memory_equal(y, values, sizeof y);
    for (int i = 0; i < 4; i++) {
        uint16_t h = f32_to_f16(values[i]), b = f32_to_bf16(values[i]);
        dtype_expand(DTYPE_F16, &y[0], &h, 1);
        dtype_expand(DTYPE_BF16, &y[1], &b, 1);
        assert_true(y[0] == f16_to_f32(h) && y[1] == bf16_to_f32(b));
    }
}

TEST_MAIN(TEST(test_dtype_widens_every_half_exactly), TEST(test_dtype_rounds_to_nearest_even), TEST(test_dtype_table),
          TEST(test_dtype_bytes_checks_block_and_overflow), TEST(test_dtype_expands_blocks_as_gguf_py),
          TEST(test_dtype_expands_plain_floats))
