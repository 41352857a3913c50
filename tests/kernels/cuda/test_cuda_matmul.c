// Products of the CUDA backend on the emulated device, beyond what test_cuda_ops_matmul asks: weights of many tiles,
// recorded passes, fp8, overflow of f16, choices of algorithms.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "opcheck.h"
#include "test.h"

#include "cuda.h"
#include "emulated.h"

static Backend *open_device(DType activation, bool fp8) {
    Backend *b = NULL;
    Err err;
    BackendOptions o = {.device = "cuda", .activation = activation, .fp8 = fp8};
    ASSERT_OK(emulated_open_with(&b, &o, &err), &err);
    return b;
}

static void close_device(Backend *b) {
    Err err;
    ASSERT_OK(b->k->status(b, &err), &err);
    backend_close(b);
}

static const OpCase *find_case(const OpCase *cases, const char *name) {
    while (strcmp(cases->name, name)) cases++;
    return cases;
}

// ---- tiles ----

static const struct {
    const char *name;
    bool moe;
    OpSize size;
} tiled[] = {
    {"linear_forward", false, {.t = 5, .n = 300, .k = 512, .dtype = DTYPE_Q4_K, .bias = true, .residual = true}},
    {"linear_forward_in_place", false, {.t = 3, .n = 333, .k = 320, .dtype = DTYPE_Q8_0, .segments = 3, .bias = true}},
    {"linear_forward", false, {.t = 2, .n = 70, .k = 576, .dtype = DTYPE_NF4}},
    {"linear_forward", false, {.t = 2, .n = 70, .k = 584, .dtype = DTYPE_U4_G, .row_map = true}},
    {"linear_backward", false, {.t = 4, .n = 100, .k = 576, .dtype = DTYPE_NF4_G, .accumulate = true}},
    {"linear_backward", false, {.t = 5, .n = 96, .k = 1024, .dtype = DTYPE_Q6_K, .accumulate = true}},
    {"linear_backward", false, {.t = 4, .n = 210, .k = 320, .dtype = DTYPE_Q8_0, .segments = 3}},
    {"linear_backward", false, {.t = 4, .n = 100, .k = 576, .dtype = DTYPE_NF4, .accumulate = true}},
    {"grouped_linear_forward",
     true,
     {.t = 30, .n = 70, .k = 512, .experts = 4, .used = 2, .dtype = DTYPE_Q4_K, .bias = true}},
    {"grouped_linear_backward",
     true,
     {.t = 30, .n = 40, .k = 1024, .experts = 3, .used = 2, .dtype = DTYPE_Q4_1, .accumulate = true}},
    {"grouped_linear_forward", true, {.t = 20, .n = 24, .k = 256, .experts = 9, .used = 2, .dtype = DTYPE_Q5_K}},
    {"grouped_linear_backward", true, {.t = 20, .n = 24, .k = 256, .experts = 9, .used = 3, .dtype = DTYPE_Q5_K}},
};

static void compare_tiled(DType type, size_t tile_bytes) {
    Backend *ref = NULL, *b = open_device(type, false);
    Err err;
    ASSERT_OK(backend_open(&ref, "ref", 1, &err), &err);
    ((CudaState *)b->state)->scratch.expanded_bytes = tile_bytes;
    OpSetup setup = {.poison = -1, .activation = type, .gap = 8};
    for (size_t i = 0; i < sizeof tiled / sizeof *tiled; i++) {
        const OpCase *c = find_case(tiled[i].moe ? op_cases_moe : op_cases_matmul, tiled[i].name);
        char message[512], size[256];
        OpRun *want = op_run(c, &tiled[i].size, ref, setup), *got = op_run(c, &tiled[i].size, b, setup);
        op_size_text(&tiled[i].size, size, sizeof size);
        if (!op_agree(want, got, OP_WITHIN_TOLERANCE, message, sizeof message))
            fail_msg("%s of %s by tiles of %zu bytes: %s\n  %s", c->name, dtype_info(type)->name, tile_bytes, message,
                     size);
        op_run_free(want);
        op_run_free(got);
    }
    close_device(b);
    backend_close(ref);
}

static void test_tiles_make_the_same_result(void **state) {
    (void)state;
    compare_tiled(DTYPE_F32, 256 << 10);
    compare_tiled(DTYPE_BF16, 100 << 10);
    compare_tiled(DTYPE_F16, 64 << 10);
}

// ---- recorded passes ----

enum { T = 6, N = 96, K = 512 };

typedef struct Layer {
    Weight w;
    void *memory;
    size_t bytes;
} Layer;

static float noise(uint32_t i) {
    uint32_t words[4];
    rng_philox((RngKey){.seed = 7}, i / 4, 0, words);
    return rng_symmetric(words[i % 4]);
}

// A weight of `type` (Q8_0 or F32) with elements of magnitude below `size`, placed.
static Layer new_layer(Backend *b, DType type, int64_t n, int64_t k, float size, bool fp8) {
    Layer l = {.w = {.name = "w", .rows = n, .cols = k, .n_segments = 1}};
    float *dense = mem_alloc((size_t)(n * k), sizeof *dense);
    for (int64_t i = 0; i < n * k; i++) dense[i] = size * noise((uint32_t)(i * 5 + 3));
    size_t bytes;
    assert_true(dtype_bytes(type, (size_t)(n * k), &bytes));
    void *data = mem_alloc(bytes, 1);
    assert_true(b->k->pack(b, data, NULL, mat_of(dense, DTYPE_F32, n, k), type));
    l.w.segments[0] = (WeightSegment){.data = data, .dtype = type, .rows = n};
    l.bytes = b->k->weight_bytes(b, &l.w, fp8);
    l.memory = b->k->alloc(b, l.bytes);
    b->k->weight_place(b, &l.w, fp8, l.memory);
    b->k->sync(b);
    mem_free(dense);
    mem_free(data);
    return l;
}

static Mat new_matrix(Backend *b, int64_t rows, int64_t cols, float size, uint32_t seed) {
    size_t element = cuda_element(b->activation), n = (size_t)(rows * cols);
    char *host = mem_alloc(n, element);
    for (size_t i = 0; i < n; i++) {
        float x = size * noise((uint32_t)i * 3 + seed);
        uint16_t h = b->activation == DTYPE_F16 ? f32_to_f16(x) : f32_to_bf16(x);
        memcpy(host + i * element, element == 4 ? (void *)&x : (void *)&h, element);
    }
    Mat m = mat_of(b->k->alloc(b, n * element), b->activation, rows, cols);
    b->k->upload(b, m.data, host, n * element);
    mem_free(host);
    return m;
}

static size_t matrix_bytes(Mat m) { return (size_t)(m.rows * m.cols) * cuda_element(m.dtype); }

static void free_matrix(Backend *b, Mat m) { b->k->free(b, m.data, matrix_bytes(m)); }

// Element i of a matrix that was downloaded.
static float element(DType type, const void *data, int64_t i) {
    if (type == DTYPE_F32) return ((const float *)data)[i];
    uint16_t h = ((const uint16_t *)data)[i];
    return type == DTYPE_F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

static void *fetch(Backend *b, Mat m) {
    void *host = mem_alloc(matrix_bytes(m), 1);
    b->k->download(b, host, m.data, matrix_bytes(m));
    return host;
}

// Two layers forward and back, by several tiles each: the second must not be expanded over the first.
static void two_layers(Backend *b, Mat x, Mat h, Mat y, const Layer layers[2]) {
    b->k->linear_forward(b, h, x, &layers[0].w, (Mat){0}, NULL);
    b->k->linear_forward(b, y, h, &layers[1].w, (Mat){0}, NULL);
    b->k->linear_backward(b, h, y, &layers[1].w, false, NULL);
    b->k->linear_backward(b, x, h, &layers[0].w, false, NULL);
}

// Passes that are recorded, replayed and run as they come follow each other over the same tiles.
static void test_recorded_passes_expand_weights_as_others_do(void **state) {
    (void)state;
    Backend *b = open_device(DTYPE_BF16, false);
    ((CudaState *)b->state)->scratch.expanded_bytes = 64 << 10;
    Layer layers[] = {new_layer(b, DTYPE_Q8_0, N, K, 0.1f, false), new_layer(b, DTYPE_Q8_0, K, N, 0.1f, false)};
    Mat x = new_matrix(b, T, K, 1, 1), h = new_matrix(b, T, N, 1, 2), y = new_matrix(b, T, K, 1, 3);
    void *start = fetch(b, x), *want = NULL;
    for (int pass = 0; pass < 6; pass++) {
        b->k->upload(b, x.data, start, matrix_bytes(x));
        if (pass == 2) b->k->record(b, 42);
        if (pass == 3 || pass == 5)
            assert_true(b->k->replay(b, 42));
        else
            two_layers(b, x, h, y, layers);
        if (pass == 2) b->k->record_end(b);
        void *got = fetch(b, x);
        if (!want)
            want = got;
        else if (memcmp(want, got, matrix_bytes(x)))
            fail_msg("pass %d differs", pass);
        if (got != want) mem_free(got);
    }
    mem_free(start);
    mem_free(want);
    for (int i = 0; i < 2; i++) b->k->free(b, layers[i].memory, layers[i].bytes);
    free_matrix(b, x);
    free_matrix(b, h);
    free_matrix(b, y);
    close_device(b);
}

// ---- fp8 ----

static double relative_error(DType type, const void *want, const void *got, int64_t n) {
    double error = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
        double w = element(type, want, i), d = element(type, got, i) - w;
        error += d * d;
        square += w * w;
    }
    return sqrt(error / square);
}

// E4M3 rounds to 2^-4 relative at worst, 0.026 root mean square for either operand, so sums of many products err by
// about 0.04 of their size.
static void test_fp8_is_near_bf16(void **state) {
    (void)state;
    Backend *b = open_device(DTYPE_BF16, true);
    Mat x = new_matrix(b, T, K, 3, 1), y = new_matrix(b, T, N, 1, 2), dx = new_matrix(b, T, K, 1, 3);
    void *results[2][2];
    for (int fp8 = 0; fp8 < 2; fp8++) {
        Layer l = new_layer(b, DTYPE_F32, N, K, 0.02f, fp8);
        assert_int_equal(l.w.segments[0].dtype, fp8 ? DTYPE_F8_E4M3 : DTYPE_BF16);
        size_t bytes = b->k->linear_workspace(b, &l.w, T);
        void *ws = b->k->alloc(b, bytes);
        b->k->linear_forward(b, y, x, &l.w, (Mat){0}, ws);
        b->k->linear_backward(b, dx, y, &l.w, false, ws);
        results[fp8][0] = fetch(b, y);
        results[fp8][1] = fetch(b, dx);
        b->k->free(b, ws, bytes);
        b->k->free(b, l.memory, l.bytes);
    }
    double forward = relative_error(DTYPE_BF16, results[0][0], results[1][0], T * N);
    double backward = relative_error(DTYPE_BF16, results[0][1], results[1][1], T * K);
    if (forward > 0.06 || forward < 0.005 || backward > 0.09) fail_msg("errors of fp8: %g, %g", forward, backward);
    for (int i = 0; i < 4; i++) mem_free(results[i / 2][i % 2]);
    free_matrix(b, x);
    free_matrix(b, y);
    free_matrix(b, dx);
    close_device(b);
}

// Numbers that are not finite are never clamped to the largest of the type.
static void test_fp8_shows_what_is_not_finite(void **state) {
    (void)state;
    Backend *b = open_device(DTYPE_BF16, true);
    Layer l = new_layer(b, DTYPE_F32, N, K, 0.02f, true);
    size_t bytes = b->k->linear_workspace(b, &l.w, T);
    void *ws = b->k->alloc(b, bytes);
    Mat x = new_matrix(b, T, K, 1, 1), y = new_matrix(b, T, N, 1, 2);
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        uint16_t h = f32_to_bf16(bad[i]);
        b->k->upload(b, (uint16_t *)x.data + 2 * K + 5, &h, sizeof h);
        b->k->linear_forward(b, y, x, &l.w, (Mat){0}, ws);
        uint16_t *got = fetch(b, y);
        for (int n = 0; n < N; n++)
            if (!isnan(bf16_to_f32(got[2 * N + n]))) fail_msg("%g became %g", bad[i], bf16_to_f32(got[2 * N + n]));
        mem_free(got);
    }
    b->k->free(b, ws, bytes);
    b->k->free(b, l.memory, l.bytes);
    free_matrix(b, x);
    free_matrix(b, y);
    close_device(b);
}

static void test_fp8_leaves_odd_shapes_alone(void **state) {
    (void)state;
    Backend *b = open_device(DTYPE_BF16, true);
    Layer odd = new_layer(b, DTYPE_F32, 24, 48, 0.1f, true), even = new_layer(b, DTYPE_F32, 32, 48, 0.1f, true);
    assert_int_equal(odd.w.segments[0].dtype, DTYPE_BF16);
    assert_int_equal(even.w.segments[0].dtype, DTYPE_F8_E4M3);
    b->k->free(b, odd.memory, odd.bytes);
    b->k->free(b, even.memory, even.bytes);
    close_device(b);
}

// ---- f16 ----

static void test_f16_overflow_is_infinity(void **state) {
    (void)state;
    Backend *b = open_device(DTYPE_F16, false);
    Layer l = new_layer(b, DTYPE_F32, 16, K, 50, false);
    Mat x = new_matrix(b, 1, K, 60000, 1), y = new_matrix(b, 1, 16, 1, 2);
    b->k->linear_forward(b, y, x, &l.w, (Mat){0}, NULL);
    uint16_t *got = fetch(b, y);
    int infinite = 0;
    for (int i = 0; i < 16; i++) infinite += isinf(f16_to_f32(got[i])) != 0;
    assert_true(infinite > 8);
    mem_free(got);
    b->k->free(b, l.memory, l.bytes);
    free_matrix(b, x);
    free_matrix(b, y);
    close_device(b);
}

// ---- choices ----

// Timing multiplies the same product several times, also where its result is added to what is there.
static void test_timing_leaves_results_alone(void **state) {
    (void)state;
    static const char *const names[] = {"linear_forward_in_place", "linear_backward", "lora_forward", "lora_backward"};
    static const OpSize size = {
        .t = 7, .n = 40, .k = 64, .rank = 8, .dtype = DTYPE_F32, .dropout = 0.1f, .bias = true, .accumulate = true};
    Backend *ref = NULL, *b = open_device(DTYPE_F32, false);
    Err err;
    ASSERT_OK(backend_open(&ref, "ref", 1, &err), &err);
    ((CudaState *)b->state)->emulated = false; // there nothing is timed
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const OpCase *c = find_case(op_cases_matmul, names[i]);
        char message[512];
        OpRun *want = op_run(c, &size, ref, OP_PLAIN), *got = op_run(c, &size, b, OP_PLAIN);
        if (!op_agree(want, got, OP_WITHIN_TOLERANCE, message, sizeof message)) fail_msg("%s: %s", c->name, message);
        op_run_free(want);
        op_run_free(got);
    }
    close_device(b);
    backend_close(ref);
}

// Choices that were set leave nothing to be timed: what they lack is decided by a rule.
static void test_choices_end_the_timing(void **state) {
    (void)state;
    Backend *b = open_device(DTYPE_F32, false);
    StrBuf json = {0};
    Err err;
    ((CudaState *)b->state)->emulated = false;
    assert_true(cuda_choices_by_speed(b));
    b->k->choices_get(b, &json);
    ASSERT_OK(b->k->choices_set(b, json.data, &err), &err);
    assert_false(cuda_choices_by_speed(b));
    str_clear(&json);
    close_device(b);
}

// Which products the pairs of one x ask for: without dropout x times all A, dA and dx are one each; with it those of
// the pairs that have none, of the last three.
static void test_pairs_of_one_x_are_one_product(void **state) {
    (void)state;
    static const char *const together[] = {"BF16>BF16 NT 7x66x64 ", "BF16>F32 TN 66x64x7 ", "BF16>BF16 NN 7x64x66 "},
                             *const apart[] = {"BF16>BF16 NT 7x8x64 ", "BF16>F32 TN 8x64x7 ", "BF16>BF16 NN 7x64x8 "};
    for (int dropout = 0; dropout < 2; dropout++) {
        OpSize size = {.t = 7, .n = 40, .k = 64, .rank = 8, .dropout = dropout ? 0.1f : 0}; // twice 8, 11 and 14
        Backend *b = open_device(DTYPE_BF16, false);
        StrBuf json = {0};
        op_run_free(op_run(find_case(op_cases_matmul, "lora_pairs"), &size, b, (OpSetup){-1, DTYPE_BF16, 0}));
        b->k->choices_get(b, &json);
        for (int i = 0; i < 3; i++) {
            assert_true((strstr(json.data, together[i]) != NULL) == !dropout);
            assert_true((strstr(json.data, apart[i]) != NULL) == dropout);
        }
        assert_true((strstr(json.data, "BF16>BF16 NT 7x33x64 ") != NULL) == dropout);
        str_clear(&json);
        close_device(b);
    }
}

static char *some_choices(void) {
    Backend *b = open_device(DTYPE_F32, false);
    Layer l = new_layer(b, DTYPE_F32, N, K, 0.1f, false);
    Mat x = new_matrix(b, T, K, 1, 1), y = new_matrix(b, T, N, 1, 2);
    b->k->linear_forward(b, y, x, &l.w, (Mat){0}, NULL);
    StrBuf json = {0};
    b->k->choices_get(b, &json);
    b->k->free(b, l.memory, l.bytes);
    free_matrix(b, x);
    free_matrix(b, y);
    close_device(b);
    return json.data;
}

static void run_with_choices(const char *json, Err *err, int *status) {
    Backend *b = open_device(DTYPE_F32, false);
    ASSERT_OK(b->k->choices_set(b, json, err), err);
    Layer l = new_layer(b, DTYPE_F32, N, K, 0.1f, false);
    Mat x = new_matrix(b, T, K, 1, 1), y = new_matrix(b, T, N, 1, 2);
    b->k->linear_forward(b, y, x, &l.w, (Mat){0}, NULL);
    b->k->sync(b);
    *status = b->k->status(b, err);
    b->k->free(b, l.memory, l.bytes);
    free_matrix(b, x);
    free_matrix(b, y);
    backend_close(b);
}

static void test_choices_hold_the_algorithm_of_each_shape(void **state) {
    (void)state;
    char *json = some_choices();
    Err err;
    int status;
    char *at = strstr(json, "F32>F32 NT 6x96x512");
    if (!at) fail_msg("no choice in %s", json);
    run_with_choices(json, &err, &status);
    ASSERT_OK(status, &err);
    for (at = strstr(at, "\":"); *at != '}' && *at; at++) // an algorithm that nobody has
        if (strchr("0123456789abcde", *at)) *at = 'f';
    run_with_choices(json, &err, &status);
    assert_int_equal(status, -1);
    assert_non_null(strstr(err.msg, "does not run here"));
    mem_free(json);
}

TEST_MAIN(TEST(test_tiles_make_the_same_result), TEST(test_recorded_passes_expand_weights_as_others_do),
          TEST(test_fp8_is_near_bf16), TEST(test_fp8_shows_what_is_not_finite), TEST(test_fp8_leaves_odd_shapes_alone),
          TEST(test_f16_overflow_is_infinity), TEST(test_timing_leaves_results_alone),
          TEST(test_choices_end_the_timing), TEST(test_pairs_of_one_x_are_one_product),
          TEST(test_choices_hold_the_algorithm_of_each_shape))
