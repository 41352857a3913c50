// quantize: rows packed as each type (golden/quantize_golden.txt, every backend the same bits), dense weights quantised
// at load.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "all_backends.h"
#include "quantize.h"
#include "test.h"

static size_t packed_bytes(DType t, size_t n) {
    size_t bytes;
    assert_true(dtype_bytes(t, n, &bytes));
    return bytes;
}

static float random_float(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed * 0x1p-31f;
}

// ---- packing ----

typedef struct Golden {
    char type[8];
    float x[192], row_scale;
    int n;
    uint8_t blocks[3 * NF4_BLOCK_BYTES];
} Golden;

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static bool read_golden(FILE *f, Golden *g) {
    static char numbers[4096], hex[512];
    unsigned scale;
    if (fscanf(f, "%7s %4095s %x %511s", g->type, numbers, &scale, hex) != 4) return false;
    g->row_scale = float_of(scale);
    g->n = 0;
    for (char *at = numbers; *at && g->n < 192; at += *at == ',')
        g->x[g->n++] = float_of((uint32_t)strtoul(at, &at, 16));
    for (size_t i = 0; hex[2 * i]; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        g->blocks[i] = (uint8_t)byte;
    }
    return true;
}

static void check_golden(const Golden *g) {
    bool nf4 = strcmp(g->type, "NF4") == 0;
    DType t = nf4 ? DTYPE_NF4 : DTYPE_Q8_0;
    size_t bytes = packed_bytes(t, (size_t)g->n);
    for (int i = 0; i < n_backends; i++) {
        uint8_t got[sizeof g->blocks];
        float row_scale = 0;
        Mat src = mat_of((void *)g->x, DTYPE_F32, 1, g->n);
        assert_true(backends[i].k->pack(backends + i, got, nf4 ? &row_scale : NULL, src, t));
        assert_memory_equal(&row_scale, &g->row_scale, sizeof row_scale);
        for (size_t j = 0; j < bytes; j++)
            if (got[j] != g->blocks[j])
                fail_msg("%s, %s byte %zu: got %02x, want %02x", backends[i].k->name, g->type, j, got[j], g->blocks[j]);
    }
}

static void test_quantize_packs_as_gguf_py_and_nf4(void **state) {
    (void)state;
    FILE *f = fopen(TEST_DIR "/golden/quantize_golden.txt", "r");
    assert_non_null(f);
    Golden g;
    int seen = 0;
    while (read_golden(f, &g)) check_golden(&g), seen++;
    fclose(f);
    assert_int_equal(seen, 36);
}

enum { ROWS = 67, COLS = 320 };
static const DType packed_types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_NF4, DTYPE_Q4_0, DTYPE_Q5_1};

// Rows of every size: subnormal, zero, one huge number among small ones, ties between halves.
static float *odd_rows(void) {
    float *x = mem_alloc(ROWS * COLS, sizeof *x);
    uint32_t seed = 7;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) {
            float size = ldexpf(1, i * 3 - 149 - 10);
            x[i * COLS + j] = i == 5 || (i > 30 && j / 64 == 2) ? 0 : random_float(&seed) * (i < 55 ? size : 1);
            if (i == 56) x[i * COLS + j] = float_of(0x3F800800u + (uint32_t)j * 0x1000); // ties of F16
            if (i == 57) x[i * COLS + j] = float_of(0x3F808000u + (uint32_t)j * 0x8000); // of BF16
            if (i == 58) x[i * COLS + j] = (float)(j - 160) * 0x1p-25f;                  // subnormal halves and ties
        }
    x[60 * COLS + 9] = 6e4f;
    return x;
}

static void test_quantize_backends_pack_the_same_bits(void **state) {
    (void)state;
    float *x = odd_rows();
    Mat src = mat_of(x, DTYPE_F32, ROWS, COLS);
    for (size_t p = 0; p < sizeof packed_types / sizeof *packed_types; p++) {
        DType t = packed_types[p];
        size_t bytes = packed_bytes(t, ROWS * COLS);
        uint8_t *want = mem_calloc(bytes, 1), *got = mem_calloc(bytes, 1);
        float want_scale[ROWS] = {0}, got_scale[ROWS] = {0};
        bool nf4 = t == DTYPE_NF4;
        bool fits = backends[0].k->pack(backends, want, nf4 ? want_scale : NULL, src, t);
        assert_true(fits);
        for (int i = 1; i < n_backends; i++) {
            memset(got, 0, bytes);
            assert_int_equal(backends[i].k->pack(backends + i, got, nf4 ? got_scale : NULL, src, t), fits);
            assert_memory_equal(got_scale, want_scale, sizeof got_scale);
            for (size_t j = 0; j < bytes; j++)
                if (got[j] != want[j])
                    fail_msg("%s, %s byte %zu of row %zu: got %02x, want %02x", backends[i].k->name,
                             dtype_info(t)->name, j, j / (bytes / ROWS), got[j], want[j]);
        }
        mem_free(want);
        mem_free(got);
    }
    mem_free(x);
}

static void test_quantize_pack_says_what_does_not_fit(void **state) {
    (void)state;
    static const struct {
        float x;
        bool fits[5]; // as packed_types
    } cases[] = {
        {65519, {true, true, true, true, true}},
        {65520, {true, false, true, true, true}},
        {-8.4e6f, {true, false, true, false, true}},
        {3.3e38f, {true, false, true, false, true}},
        {3.4e38f, {true, false, false, false, true}},
        {-INFINITY, {false}},
        {NAN, {false}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (size_t p = 0; p < 5; p++)
            for (int i = 0; i < n_backends; i++) {
                float x[64] = {[63] = cases[c].x}, scale;
                uint8_t dst[256];
                DType t = packed_types[p];
                Mat src = mat_of(x, DTYPE_F32, 1, 64);
                bool fits = backends[i].k->pack(backends + i, dst, t == DTYPE_NF4 ? &scale : NULL, src, t);
                if (fits != cases[c].fits[p])
                    fail_msg("%s: %g as %s: %d", backends[i].k->name, (double)cases[c].x, dtype_info(t)->name, fits);
            }
}

// ---- weights ----

typedef struct Fixture {
    float *x;      // [ROWS, COLS]
    uint16_t *b16; // the same as BF16
    int32_t map[ROWS];
    Weight w; // half F32 under a row map, half BF16
} Fixture;

static Fixture *new_fixture(void) {
    Fixture *f = mem_calloc(1, sizeof *f);
    f->x = mem_alloc(ROWS * COLS, sizeof *f->x);
    f->b16 = mem_alloc(ROWS * COLS, sizeof *f->b16);
    uint32_t seed = 3;
    for (int i = 0; i < ROWS * COLS; i++) {
        f->x[i] = random_float(&seed) * (float)(i % 64 + 1) * 1e-3f;
        f->b16[i] = f32_to_bf16(f->x[i]);
    }
    for (int i = 0; i < ROWS; i++) f->map[i] = (i * 3 + 1) % ROWS;
    f->w = (Weight){.name = "blk.7.ffn_up.weight",
                    .segments = {{.data = f->x, .row_map = f->map, .dtype = DTYPE_F32, .rows = ROWS},
                                 {.data = f->b16, .dtype = DTYPE_BF16, .rows = ROWS}},
                    .n_segments = 2,
                    .rows = 2 * ROWS,
                    .cols = COLS};
    return f;
}

static void free_fixture(Fixture *f) {
    mem_free(f->x);
    mem_free(f->b16);
    mem_free(f);
}

static float *expanded(Backend *b, const Weight *w) {
    float *x = mem_alloc((size_t)(w->rows * w->cols), sizeof *x);
    b->k->expand(b, mat_of(x, DTYPE_F32, w->rows, w->cols), w, 0);
    return x;
}

// Quantised, a weight says what it said, to half a step: rows stay where they were, row maps stay.
static void check_close(QuantizeKind kind, double limit) {
    Fixture *f = new_fixture();
    for (int i = 0; i < n_backends; i++) {
        Backend *b = backends + i;
        Weight w = f->w;
        QuantizedMemory memory;
        Err err;
        assert_int_equal(weight_quantize(b, &w, kind, &memory, &err), 0);
        assert_ptr_equal(w.segments[0].row_map, f->map);
        assert_true(b->k->weight_finite(b, &w));
        float *want = expanded(b, &f->w), *got = expanded(b, &w);
        double error = 0, size = 0;
        for (int j = 0; j < 2 * ROWS * COLS; j++) {
            error += pow((double)got[j] - (double)want[j], 2);
            size += pow((double)want[j], 2);
        }
        if (sqrt(error / size) > limit || sqrt(error / size) < limit / 3) fail_msg("relative %g", sqrt(error / size));
        mem_free(want);
        mem_free(got);
        b->k->free(b, memory.memory, memory.bytes);
    }
    free_fixture(f);
}

static void test_quantize_weight_int8(void **state) {
    (void)state;
    check_close(QUANTIZE_INT8, 6e-3);
}

static void test_quantize_weight_nf4(void **state) {
    (void)state;
    check_close(QUANTIZE_NF4, 0.12);
}

static void test_quantize_weight_takes_what_it_says(void **state) {
    (void)state;
    Fixture *f = new_fixture();
    Backend *b = backends + n_backends - 1;
    Weight w = f->w;
    QuantizedMemory memory;
    Err err;
    assert_int_equal(weight_quantize(b, &w, QUANTIZE_NF4, &memory, &err), 0);
    size_t blocks = 2 * ROWS * COLS / 64 * 33, scales = 2 * ROWS * sizeof(float);
    assert_in_range(memory.bytes, blocks + scales, blocks + scales + 4 * 64);
    b->k->free(b, memory.memory, memory.bytes);
    free_fixture(f);
}

static void expect_refusal(Weight w, QuantizeKind kind, const char *message) {
    for (int i = 0; i < n_backends; i++) {
        QuantizedMemory memory;
        Err err;
        Weight copy = w;
        assert_int_equal(weight_quantize(backends + i, &copy, kind, &memory, &err), -1);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_string_equal(err.msg, message);
        assert_null(memory.memory);
    }
}

static void test_quantize_weight_refuses(void **state) {
    (void)state;
    Fixture *f = new_fixture();
    Weight w = f->w;
    w.cols = 100, w.rows = ROWS, w.n_segments = 1;
    expect_refusal(w, QUANTIZE_INT8, "blk.7.ffn_up.weight has 100 columns; expected a multiple of 32 for int8");
    w.cols = 96;
    expect_refusal(w, QUANTIZE_NF4, "blk.7.ffn_up.weight has 96 columns; expected a multiple of 64 for nf4");
    w = f->w;
    w.segments[1].dtype = DTYPE_Q4_1;
    expect_refusal(w, QUANTIZE_INT8,
                   "blk.7.ffn_up.weight is Q4_1, and a quantised base keeps its own blocks; expected \"none\" for "
                   "quantize_base, quantize_head or quantize_teacher");
    f->b16[77] = 0x7FC0;
    expect_refusal(
        f->w, QUANTIZE_INT8,
        "blk.7.ffn_up.weight holds a value that is not finite or too large for Q8_0; expected finite weights");
    expect_refusal(
        f->w, QUANTIZE_NF4,
        "blk.7.ffn_up.weight holds a value that is not finite or too large for NF4; expected finite weights");
    free_fixture(f);
}

TEST_MAIN_WITH(open_backends, NULL, TEST(test_quantize_packs_as_gguf_py_and_nf4),
               TEST(test_quantize_backends_pack_the_same_bits), TEST(test_quantize_pack_says_what_does_not_fit),
               TEST(test_quantize_weight_int8), TEST(test_quantize_weight_nf4),
               TEST(test_quantize_weight_takes_what_it_says), TEST(test_quantize_weight_refuses))
