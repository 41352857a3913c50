// Placing of weights on the emulated device: every type, permuted rows, several segments, bias; the elements on the
// device are those that the CPU expands, in logical order.
#include "test.h"

#include <math.h>

#include "emulated.h"

enum { COLS = 512 };

// Bytes of blocks with finite, small scales: random bits where a type has plain numbers, in the places of its halves
// numbers near 1.
static void fill(uint8_t *data, size_t n, DType type, uint32_t seed) {
    for (size_t i = 0; i < n; i++) data[i] = (uint8_t)((i + seed) * 2654435761u >> 11);
    if (type == DTYPE_F32)
        for (size_t i = 3; i < n; i += 4) data[i] = (uint8_t)(0x3C + data[i] % 4 + (data[i] & 0x80));
    else // an exponent that is neither largest, nor that of an infinity, as half and as bfloat16
        for (size_t i = 1; i < n; i += 2) data[i] = (uint8_t)(0x38 + data[i] % 4 + (data[i] & 0x80));
}

typedef struct Source {
    Weight w;
    uint8_t *data[WEIGHT_MAX_SEGMENTS];
    int32_t *map[WEIGHT_MAX_SEGMENTS];
    float *scale[WEIGHT_MAX_SEGMENTS], *bias;
} Source;

static Source source_of(const DType *types, const int64_t *rows, int n, bool permuted, bool bias) {
    Source s = {.w = {.name = "w", .cols = COLS, .n_segments = n}};
    for (int i = 0; i < n; i++) {
        size_t row_bytes, count = (size_t)rows[i];
        assert_true(dtype_bytes(types[i], COLS, &row_bytes));
        s.data[i] = mem_alloc(count, row_bytes);
        fill(s.data[i], count * row_bytes, types[i], (uint32_t)(77 * i + types[i]));
        if (types[i] == DTYPE_NF4) {
            s.scale[i] = mem_alloc(count, sizeof(float));
            for (int64_t r = 0; r < rows[i]; r++) s.scale[i][r] = 1e-5f * (float)(r + 1);
        }
        if (permuted) {
            s.map[i] = mem_alloc(count, sizeof(int32_t));
            for (int64_t r = 0; r < rows[i]; r++) s.map[i][r] = (int32_t)(r % 2 ? rows[i] - 1 - r / 2 : r / 2);
        }
        s.w.segments[i] = (WeightSegment){
            .data = s.data[i], .row_map = s.map[i], .dtype = types[i], .rows = rows[i], .row_scale = s.scale[i]};
        s.w.rows += rows[i];
    }
    if (!bias) return s;
    s.bias = mem_alloc((size_t)s.w.rows, sizeof(float));
    for (int64_t r = 0; r < s.w.rows; r++) s.bias[r] = 0.25f * (float)r;
    s.w.bias = s.bias;
    return s;
}

static void source_free(Source *s) {
    for (int i = 0; i < s->w.n_segments; i++) {
        mem_free(s->data[i]);
        mem_free(s->map[i]);
        mem_free(s->scale[i]);
    }
    mem_free(s->bias);
}

// Row r of the source as the CPU has it.
static void expected_row(const Weight *w, int64_t r, float out[COLS]) {
    const WeightSegment *s = w->segments;
    for (; r >= s->rows; s++) r -= s->rows;
    int64_t stored = s->row_map ? s->row_map[r] : r;
    size_t row_bytes;
    assert_true(dtype_bytes(s->dtype, COLS, &row_bytes));
    dtype_expand_row(s->dtype, out, (const uint8_t *)s->data + (size_t)stored * row_bytes, COLS,
                     s->row_scale ? s->row_scale[stored] : 1);
}

static float rounded(float x, DType type) {
    if (type == DTYPE_BF16) return bf16_to_f32(f32_to_bf16(x));
    return type == DTYPE_F16 ? f16_to_f32(f32_to_f16(x)) : x;
}

// All placed segments, brought back and expanded.
static float *read_placed(Backend *b, const Weight *w) {
    float *all = mem_alloc((size_t)(w->rows * COLS), sizeof *all), *out = all;
    for (int i = 0; i < w->n_segments; i++) {
        const WeightSegment *s = &w->segments[i];
        size_t row_bytes;
        assert_null(s->row_map);
        assert_int_equal((uintptr_t)s->data % 256, 0);
        assert_true(dtype_bytes(s->dtype, COLS, &row_bytes));
        uint8_t *data = mem_alloc((size_t)s->rows, row_bytes);
        float *scale = mem_alloc((size_t)s->rows, sizeof *scale);
        b->k->download(b, data, s->data, (size_t)s->rows * row_bytes);
        if (s->row_scale) b->k->download(b, scale, s->row_scale, (size_t)s->rows * sizeof *scale);
        for (int64_t r = 0; r < s->rows; r++, out += COLS)
            dtype_expand_row(s->dtype, out, data + (size_t)r * row_bytes, COLS, s->row_scale ? scale[r] : 1);
        mem_free(data);
        mem_free(scale);
    }
    return all;
}

static void check_placed(Backend *b, Source *s, int segments) {
    Weight w = s->w;
    size_t bytes = b->k->weight_bytes(b, &w, false);
    char *memory = b->k->alloc(b, bytes + 256), guard[256], zeros[256] = {0};
    b->k->weight_place(b, &w, false, memory);
    assert_int_equal(w.n_segments, segments);
    assert_int_equal(w.rows, s->w.rows);
    float *all = read_placed(b, &w), want[COLS];
    for (int64_t r = 0; r < w.rows; r++) {
        bool dense = w.n_segments == 1 && w.segments[0].dtype <= DTYPE_BF16;
        expected_row(&s->w, r, want);
        for (int64_t c = 0; c < COLS; c++) {
            float x = all[r * COLS + c], y = dense ? rounded(want[c], b->activation) : want[c];
            if (x != y && !(isnan(x) && isnan(y)))
                fail_msg("%s [%lld, %lld]: %g, expected %g", dtype_info(s->w.segments[0].dtype)->name, (long long)r,
                         (long long)c, (double)x, (double)y);
        }
    }
    if (s->bias) {
        float *bias = mem_alloc((size_t)w.rows, sizeof *bias);
        b->k->download(b, bias, w.bias, (size_t)w.rows * sizeof *bias);
        assert_memory_equal(bias, s->bias, (size_t)w.rows * sizeof *bias);
        mem_free(bias);
    }
    b->k->download(b, guard, memory + bytes, sizeof guard);
    assert_memory_equal(guard, zeros, sizeof guard);
    mem_free(all);
    b->k->free(b, memory, bytes + 256);
}

static void test_cuda_places_every_type(void **state) {
    (void)state;
    Err err;
    static const DType activations[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
    for (int a = 0; a < 3; a++) {
        Backend *b = NULL;
        ASSERT_OK(emulated_open(&b, activations[a], &err), &err);
        for (DType t = 0; t <= DTYPE_NF4; t++) {
            int64_t rows = 37;
            Source s = source_of(&t, &rows, 1, t % 2 == 0, t % 3 == 0);
            check_placed(b, &s, 1);
            source_free(&s);
        }
        ASSERT_OK(b->k->status(b, &err), &err);
        backend_close(b);
    }
}

static void test_cuda_places_segments(void **state) {
    (void)state;
    Err err;
    Backend *b = NULL;
    ASSERT_OK(emulated_open(&b, DTYPE_BF16, &err), &err);
    const int64_t rows[] = {20, 7, 9};
    Source dense = source_of((DType[]){DTYPE_F32, DTYPE_F16, DTYPE_BF16}, rows, 3, true, true);
    check_placed(b, &dense, 1);
    Source blocks = source_of((DType[]){DTYPE_Q4_K, DTYPE_Q4_K, DTYPE_Q6_K}, rows, 3, true, true);
    check_placed(b, &blocks, 3);
    Source nf4 = source_of((DType[]){DTYPE_NF4, DTYPE_NF4}, rows, 2, true, false);
    check_placed(b, &nf4, 2);
    source_free(&dense);
    source_free(&blocks);
    source_free(&nf4);
    backend_close(b);
}

// A small device has small tiles: a weight is converted in many parts.
static void test_cuda_places_by_parts(void **state) {
    (void)state;
    Err err;
    Backend *b = NULL;
    emulated_set_memory(32 << 20);
    ASSERT_OK(emulated_open(&b, DTYPE_BF16, &err), &err);
    DType t = DTYPE_F32;
    int64_t rows = 700;
    Source s = source_of(&t, &rows, 1, true, false);
    check_placed(b, &s, 1);
    source_free(&s);
    backend_close(b);
    emulated_set_memory(0);
}

// W and its transpose in 8 bits stand for W to 1/16 of each element, or to the smallest step.
static void test_cuda_places_fp8(void **state) {
    (void)state;
    enum { ROWS = 48 };
    Err err;
    Backend *b = NULL;
    BackendOptions o = {.device = "cuda", .activation = DTYPE_BF16, .fp8 = true};
    ASSERT_OK(emulated_open_with(&b, &o, &err), &err);
    const int64_t rows[] = {32, 16};
    Source s = source_of((DType[]){DTYPE_BF16, DTYPE_F32}, rows, 2, true, true);
    Weight w = s.w;
    size_t bytes = b->k->weight_bytes(b, &w, true);
    void *memory = b->k->alloc(b, bytes);
    b->k->weight_place(b, &w, true, memory);
    assert_int_equal(w.n_segments, 1);
    assert_int_equal(w.segments[0].dtype, DTYPE_F8_E4M3);
    uint8_t *both = mem_alloc(2, ROWS * COLS);
    float scale, largest = 0, want[COLS];
    b->k->download(b, both, w.segments[0].data, (size_t)2 * ROWS * COLS);
    b->k->download(b, &scale, w.segments[0].row_scale, sizeof scale);
    for (int64_t r = 0; r < ROWS; r++) {
        expected_row(&s.w, r, want);
        for (int64_t c = 0; c < COLS; c++) {
            uint8_t bits = both[r * COLS + c];
            int exponent = bits >> 3 & 15;
            float magnitude = exponent ? ldexpf(1 + (float)(bits & 7) / 8, exponent - 7) : ldexpf(bits & 7, -9);
            float x = scale * (bits & 0x80 ? -magnitude : magnitude);
            ASSERT_NEAR(x, want[c], fabsf(want[c]) / 15 + scale * 0x1p-9);
            assert_int_equal(both[ROWS * COLS + c * ROWS + r], bits);
            largest = fmaxf(largest, fabsf(rounded(want[c], DTYPE_BF16)));
        }
    }
    assert_true(scale == largest / 448);
    mem_free(both);
    b->k->free(b, memory, bytes);
    source_free(&s);
    backend_close(b);
}

TEST_MAIN(TEST(test_cuda_places_every_type), TEST(test_cuda_places_segments), TEST(test_cuda_places_by_parts),
          TEST(test_cuda_places_fp8))
