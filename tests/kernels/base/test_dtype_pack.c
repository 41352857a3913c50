// dtype_pack: blocks of 4, 5 and 6 bits. What a block holds exactly comes back exactly, and the error of other numbers
// is at most that of ggml's blocks (golden/pack_golden.txt).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dtype.h"
#include "test.h"

enum { COUNT = 256 * 64, GROUP = 32 };
static const DType types[] = {DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K};
enum { TYPES = sizeof types / sizeof *types };

static size_t packed_bytes(DType t, size_t n) {
    size_t bytes;
    assert_true(dtype_bytes(t, n, &bytes));
    return bytes;
}

static uint32_t next(uint32_t *seed) { return *seed = *seed * 1664525u + 1013904223u; }

static float uniform(uint32_t *seed) { return (float)(int32_t)next(seed) * 0x1p-31f; }

static float *golden_numbers(void) {
    float *x = mem_alloc(COUNT, sizeof *x);
    uint32_t seed = 11;
    for (int i = 0; i < COUNT; i++) {
        float a = uniform(&seed), b = uniform(&seed);
        x[i] = (a + b + uniform(&seed)) * (float)(1 + i / GROUP * 7 % 11) * 0x1p-8f;
    }
    return x;
}

static DType type_named(const char *name) {
    for (int i = 0; i < TYPES; i++)
        if (strcmp(dtype_info(types[i])->name, name) == 0) return types[i];
    fail_msg("unknown type %s", name);
    return DTYPE_COUNT;
}

static double relative_error(const float *x, DType t) {
    uint8_t *blocks = mem_alloc(packed_bytes(t, COUNT), 1);
    float *back = mem_alloc(COUNT, sizeof *back);
    double errors = 0, squares = 0;
    assert_true(dtype_pack(t, blocks, x, COUNT));
    dtype_expand(t, back, blocks, COUNT);
    for (int i = 0; i < COUNT; i++) {
        errors += pow((double)back[i] - (double)x[i], 2);
        squares += pow((double)x[i], 2);
    }
    mem_free(blocks);
    mem_free(back);
    return errors / squares;
}

static void test_dtype_pack_errs_no_more_than_ggml(void **state) {
    (void)state;
    float *x = golden_numbers();
    FILE *f = fopen(TEST_DIR "/golden/pack_golden.txt", "r");
    assert_non_null(f);
    char name[8];
    double ggml;
    int seen = 0;
    for (; fscanf(f, "%7s %lf", name, &ggml) == 2; seen++) {
        double own = relative_error(x, type_named(name));
        if (!(own <= ggml)) fail_msg("%s: relative squared error %.4e, ggml's is %.4e", name, own, ggml);
    }
    fclose(f);
    mem_free(x);
    assert_int_equal(seen, TYPES);
}

// ---- blocks that can be had back ----

// Random quants with both ends of the range in each group of 16 numbers, under scales in the middle of a half's range.
typedef struct Exact {
    float x[256];
} Exact;

static int quant(uint32_t *seed, int i, int most) {
    return i % 16 == 3 ? 0 : i % 16 == 8 ? most : (int)(next(seed) >> 16) % (most + 1);
}

static Exact exact_numbers(DType t, uint32_t *seed) {
    static const struct {
        int most, middle;
    } ranges[DTYPE_COUNT] = {
        [DTYPE_Q4_0] = {15, 8}, [DTYPE_Q4_1] = {15, 0}, [DTYPE_Q5_0] = {31, 16}, [DTYPE_Q5_1] = {31, 0},
        [DTYPE_Q4_K] = {15, 0}, [DTYPE_Q5_K] = {31, 0}, [DTYPE_Q6_K] = {63, 32}};
    Exact e;
    bool k = dtype_info(t)->block == 256, minima = !ranges[t].middle;
    for (int i = 0; i < 256; i++) {
        int g = t == DTYPE_Q6_K ? i / 16 : i / 32;
        int scale = !k ? 1 : t == DTYPE_Q6_K ? (g ? g * 8 - 60 : -128) : 63 - 5 * g, min = !k ? 77 : 63 - 7 * (7 - g);
        float d = 0x1.234p-6f, dmin = 0x1.4p-4f;
        e.x[i] = d * (float)(scale * (quant(seed, i, ranges[t].most) - ranges[t].middle));
        if (minima) e.x[i] -= dmin * (float)min;
    }
    return e;
}

static void test_dtype_pack_keeps_what_a_block_holds(void **state) {
    (void)state;
    uint32_t seed = 5;
    for (int i = 0; i < TYPES; i++)
        for (int round = 0; round < 20; round++) {
            Exact e = exact_numbers(types[i], &seed);
            uint8_t blocks[512];
            float back[256];
            assert_true(dtype_pack(types[i], blocks, e.x, 256));
            dtype_expand(types[i], back, blocks, 256);
            for (int j = 0; j < 256; j++)
                if (back[j] != e.x[j])
                    fail_msg("%s [%d]: %.9g became %.9g", dtype_info(types[i])->name, j, (double)e.x[j],
                             (double)back[j]);
        }
}

// ---- extremes ----

static void test_dtype_pack_of_extreme_blocks(void **state) {
    (void)state;
    static const struct {
        float all, one; // 256 numbers: all but one; the one
        bool fits;
        bool vanishes; // every number becomes 0
    } cases[] = {{0, 0, true, true},          {1e-38f, -1e-38f, true, true}, {1e-44f, 1e-12f, true, true},
                 {0, NAN, false, false},      {1, INFINITY, false, false},   {1, -INFINITY, false, false},
                 {0, -3.4e38f, false, false}, {1, 3.4e38f, false, false},    {-3.4e38f, 3.4e38f, false, false},
                 {2e19f, 2e19f, false, false}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int i = 0; i < TYPES; i++) {
            float x[256], back[256];
            uint8_t blocks[512];
            for (int j = 0; j < 256; j++) x[j] = j == 77 ? cases[c].one : cases[c].all;
            bool fits = dtype_pack(types[i], blocks, x, 256);
            if (fits != cases[c].fits)
                fail_msg("%s of %g and %g: %d", dtype_info(types[i])->name, (double)cases[c].all, (double)cases[c].one,
                         fits);
            if (!fits) continue;
            dtype_expand(types[i], back, blocks, 256);
            for (int j = 0; j < 256; j++) assert_true(isfinite(back[j]) && (!cases[c].vanishes || back[j] == 0));
        }
}

static void test_dtype_pack_of_equal_numbers(void **state) {
    (void)state;
    for (int i = 0; i < TYPES; i++)
        for (int sign = -1; sign <= 1; sign += 2) {
            float x[256], back[256];
            uint8_t blocks[512];
            for (int j = 0; j < 256; j++) x[j] = (float)sign * 0.75f;
            assert_true(dtype_pack(types[i], blocks, x, 256));
            dtype_expand(types[i], back, blocks, 256);
            for (int j = 0; j < 256; j++) assert_true(fabsf(back[j] - x[j]) < 0.75f * 0x1p-10f);
        }
}

TEST_MAIN(TEST(test_dtype_pack_errs_no_more_than_ggml), TEST(test_dtype_pack_keeps_what_a_block_holds),
          TEST(test_dtype_pack_of_extreme_blocks), TEST(test_dtype_pack_of_equal_numbers))
