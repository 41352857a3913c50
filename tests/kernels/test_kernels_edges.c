// The edges that random inputs do not reach: every half-precision number, bad scales, dropout's statistics, the
// elementary functions, refused shapes; on the reference and on every float32 copy of the CPU backend.
#define CPU_ISA base // for cpu_expf as the plainest copy has it
#include "cpu.h"

#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "all_backends.h"
#include "test.h"

static Weight weight_of(const void *data, DType t, int64_t rows, int64_t cols) {
    static float ones[512];
    CHECK(rows <= 512, "%d rows", (int)rows);
    for (int i = 0; i < 512; i++) ones[i] = 1;
    return (Weight){
        .name = "w",
        .segments = {{.data = data, .dtype = t, .rows = rows, .row_scale = t == DTYPE_NF4 ? ones : NULL}},
        .n_segments = 1,
        .rows = rows,
        .cols = cols,
    };
}

// Samples that all have the same keys: each has the bits that it has alone, and the workspace holds them.
static void test_kernels_samples_with_common_keys(void **state) {
    (void)state;
    enum { SAMPLES = 5, N = 70, H = 2, D = 8, GUARD = 1 << 16 };
    static float q[SAMPLES * N * H * D], k[N * D], v[N * D], out[SAMPLES * N * H * D], lse[SAMPLES * N * H];
    static int32_t q_start[SAMPLES + 1], k_start[SAMPLES], k_len[SAMPLES], pos[SAMPLES * N];
    for (int i = 0; i < N * H * D; i++)
        for (int s = 0; s < SAMPLES; s++) q[s * N * H * D + i] = sinf((float)i);
    for (int i = 0; i < N * D; i++) k[i] = cosf((float)i), v[i] = sinf((float)(3 * i));
    for (int i = 0; i < SAMPLES * N; i++) pos[i] = i % N;
    for (int s = 0; s < SAMPLES; s++) q_start[s + 1] = (s + 1) * N, k_len[s] = N;
    for (int i = 0; i < n_backends; i++) {
        Backend *b = backends + i;
        AttentionShape s = {.heads = H,
                            .kv_heads = 1,
                            .head_size = D,
                            .samples = SAMPLES,
                            .q_start = q_start,
                            .k_start = k_start,
                            .k_len = k_len,
                            .q_pos = pos,
                            .scale = 0.5f};
        AttentionCall c = {.shape = &s,
                           .q = mat_of(q, DTYPE_F32, SAMPLES * N, H * D),
                           .k = mat_of(k, DTYPE_F32, N, D),
                           .v = mat_of(v, DTYPE_F32, N, D),
                           .out = mat_of(out, DTYPE_F32, SAMPLES * N, H * D),
                           .lse = mat_of(lse, DTYPE_F32, SAMPLES * N, H)};
        size_t bytes = b->k->attention_workspace(b, &s, c.q, c.k, false);
        uint8_t *ws = b->k->alloc(b, bytes + GUARD);
        memset(ws + bytes, 0x5A, GUARD);
        c.ws = ws;
        b->k->attention_forward(b, &c);
        for (int n = 0; n < GUARD; n++)
            if (ws[bytes + (size_t)n] != 0x5A) fail_msg("%s: byte %d after the workspace is written", b->k->name, n);
        for (int n = 1; n < SAMPLES; n++) assert_memory_equal(out, out + n * N * H * D, N * H * D * sizeof *out);
        b->k->free(b, ws, bytes + GUARD);
    }
}

// With a sliding window a key meets the queries of a few blocks, however long the sample is: time grows as T * window.
// A NaN in one key or value shows in every query whose block was multiplied by that of the key, as 0 * NaN is NaN.
static int64_t rows_with_nan(const float *x, int64_t rows, int64_t cols) {
    int64_t n = 0;
    for (int64_t i = 0; i < rows; i++) {
        bool nan = false;
        for (int64_t j = 0; j < cols; j++) nan |= isnan(x[i * cols + j]) != 0;
        n += nan;
    }
    return n;
}

static void test_kernels_window_touches_few_blocks(void **state) {
    (void)state;
    enum { T = 4096, D = 8, WINDOW = 100, AT = 1024, BLOCK_K = 512, BLOCK_Q = 64 };
    enum { MOST = BLOCK_K + WINDOW + 2 * BLOCK_Q };
    static float x[8][T * D], lse[T]; // q, k, v, out, dout, dq, dk, dv
    static int32_t pos[T];
    int32_t start[2] = {0, T}, len = T;
    for (int i = 0; i < T; i++) pos[i] = i;
    for (int i = 0; i < n_backends; i++) {
        Backend *b = backends + i;
        AttentionShape s = {.heads = 1, .kv_heads = 1, .head_size = D, .samples = 1, .window = WINDOW, .scale = 0.5f};
        s.q_start = s.k_start = start, s.k_len = &len, s.q_pos = pos;
        Mat m[8];
        for (int k = 0; k < 8; k++) {
            m[k] = mat_of(x[k], DTYPE_F32, T, D);
            for (int j = 0; j < T * D; j++) x[k][j] = sinf((float)(j * (k + 1)));
        }
        AttentionCall c = {&s, m[0], m[1], m[2], m[3], mat_of(lse, DTYPE_F32, T, 1), m[4], m[5], m[6], m[7], NULL};
        size_t bytes = b->k->attention_workspace(b, &s, c.q, c.k, true);
        size_t forward = b->k->attention_workspace(b, &s, c.q, c.k, false);
        if (bytes < forward) bytes = forward;
        c.ws = b->k->alloc(b, bytes);
        x[2][AT * D] = NAN;
        b->k->attention_forward(b, &c);
        int64_t seen = rows_with_nan(x[3], T, D);
        x[2][AT * D] = 1;
        b->k->attention_forward(b, &c);
        assert_int_equal(rows_with_nan(x[3], T, D), 0);
        x[1][AT * D] = NAN;
        b->k->attention_backward(b, &c);
        int64_t seen_backward = rows_with_nan(x[5], T, D);
        if (seen < WINDOW || seen > MOST || seen_backward < WINDOW || seen_backward > MOST)
            fail_msg("%s: a key meets %jd queries forward, %jd backward; expected %d to %d", b->k->name, (intmax_t)seen,
                     (intmax_t)seen_backward, WINDOW, MOST);
        b->k->free(b, c.ws, bytes);
    }
}

static void check_expansion(const Weight *w) {
    size_t n = (size_t)(w->rows * w->cols);
    float *want = mem_alloc(n, sizeof *want), *got = mem_alloc(n, sizeof *got);
    dtype_expand(w->segments[0].dtype, want, w->segments[0].data, n);
    for (int i = 0; i < n_backends; i++) {
        Backend *b = backends + i;
        b->k->expand(b, mat_of(got, DTYPE_F32, w->rows, w->cols), w, 0);
        for (size_t j = 0; j < n; j++)
            if (memcmp(got + j, want + j, sizeof *got) && !(isnan(got[j]) && isnan(want[j])))
                fail_msg("%s, %s[%zu]: got %.9g, want %.9g", b->k->name, dtype_info(w->segments[0].dtype)->name, j,
                         (double)got[j], (double)want[j]);
    }
    mem_free(want);
    mem_free(got);
}

static void test_kernels_expand_every_half(void **state) {
    (void)state;
    uint16_t *halves = mem_alloc(65536, sizeof *halves);
    for (int i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
    Weight f16 = weight_of(halves, DTYPE_F16, 256, 256), bf16 = weight_of(halves, DTYPE_BF16, 256, 256);
    check_expansion(&f16);
    check_expansion(&bf16);
    mem_free(halves);
}

// Where a block has its scale; MXFP4's is one byte, an exponent, and NF4's a code.
static size_t scale_offset(DType t) {
    return t == DTYPE_Q6_K ? 208 : t == DTYPE_Q3_K ? 108 : t == DTYPE_Q2_K ? 80 : t == DTYPE_F32 ? 2 : 0;
}

// Every half as the scale of a block of each type: subnormal, infinite and NaN ones among them.
static void test_kernels_expand_every_scale(void **state) {
    (void)state;
    for (DType t = DTYPE_Q8_0; t <= DTYPE_NF4; t++) {
        const DTypeInfo *info = dtype_info(t);
        int blocks = info->block < 256 ? 65536 : 8192, step = 65536 / blocks;
        uint8_t *data = mem_alloc((size_t)blocks, (size_t)info->bytes);
        for (int i = 0; i < blocks * info->bytes; i++) data[i] = (uint8_t)((unsigned)i * 2654435761u >> 13);
        for (int i = 0; i < blocks; i++) {
            uint16_t scale = (uint16_t)(i * step + i % step);
            memcpy(data + (size_t)i * (size_t)info->bytes + scale_offset(t), &scale, sizeof scale);
        }
        Weight w = weight_of(data, t, 64, (int64_t)blocks / 64 * info->block);
        check_expansion(&w);
        mem_free(data);
    }
}

enum { FINITE_ROWS = 3, FINITE_COLS = 512 };

// What a type calls a bad scale, and the largest good one.
static uint16_t bad_scale(DType t, bool nan) {
    if (t == DTYPE_F32 || t == DTYPE_BF16) return 0x7FC0; // eight exponent bits
    return t == DTYPE_MXFP4 ? 0xFF : nan ? 0x7E01 : 0xFC00;
}

static void check_bad_scales_are_seen(Backend *b, DType t, uint8_t *data, size_t bytes) {
    const DTypeInfo *info = dtype_info(t);
    Weight w = weight_of(data, t, FINITE_ROWS, FINITE_COLS);
    uint16_t largest = t == DTYPE_MXFP4 ? 252 : 0x7BFF;
    memset(data, 0, bytes);
    memcpy(data + scale_offset(t), &largest, sizeof largest);
    assert_true(b->k->weight_finite(b, &w));
    for (size_t block = 0; block < bytes / (size_t)info->bytes; block += block + 1) {
        uint8_t *scale = data + block * (size_t)info->bytes + scale_offset(t);
        uint16_t saved, bad = bad_scale(t, block % 2);
        memcpy(&saved, scale, sizeof saved);
        memcpy(scale, &bad, sizeof saved);
        if (b->k->weight_finite(b, &w)) fail_msg("%s: bad %s block %zu not seen", b->k->name, info->name, block);
        memcpy(scale, &saved, sizeof saved);
    }
}

// One bad scale anywhere is found; none is invented.
static void test_kernels_weight_finite(void **state) {
    (void)state;
    for (DType t = DTYPE_F32; t < DTYPE_NF4; t++) {
        size_t bytes;
        assert_true(dtype_bytes(t, FINITE_ROWS * FINITE_COLS, &bytes));
        uint8_t *data = mem_calloc(bytes, 1);
        for (int i = 0; i < n_backends; i++) check_bad_scales_are_seen(backends + i, t, data, bytes);
        mem_free(data);
    }
}

// NF4's bad scales are those of its rows.
static void test_kernels_weight_finite_rows(void **state) {
    (void)state;
    static const float bad[] = {INFINITY, -NAN, FLT_MAX};
    uint8_t data[3 * 33];
    memset(data, 0xFF, sizeof data);
    for (int i = 0; i < n_backends; i++)
        for (int j = 0; j < 3; j++) {
            float scales[3] = {1, FLT_MAX / 65026, 0};
            Weight w = weight_of(data, DTYPE_NF4, 3, 64);
            w.segments[0].row_scale = scales;
            assert_true(backends[i].k->weight_finite(backends + i, &w));
            scales[2] = bad[j];
            assert_false(backends[i].k->weight_finite(backends + i, &w));
        }
}

// Scales apart from the numbers, in the last group of the last row; float8 has a NaN among its numbers.
static void test_kernels_weight_finite_groups(void **state) {
    (void)state;
    static const float bad[] = {INFINITY, -NAN, FLT_MAX};
    for (DType t = DTYPE_NF4_G; t <= DTYPE_F8_G; t++)
        for (int i = 0; i < n_backends; i++) {
            uint8_t data[2 * 64];
            float scales[] = {1, -1, 0, 1e-30f};
            memset(data, 0x7E, sizeof data);
            Weight w = weight_of(data, t, 2, dtype_info(t)->bytes == 4 ? 128 : 64);
            w.segments[0].groups = (DTypeGroups){.scale = scales, .n = 2, .columns = w.cols / 2};
            assert_true(backends[i].k->weight_finite(backends + i, &w));
            for (int j = 0; j < (t == DTYPE_NF4_G || t == DTYPE_FP4_G ? 2 : 3); j++) {
                scales[3] = bad[j];
                assert_false(backends[i].k->weight_finite(backends + i, &w));
            }
            scales[3] = 1;
            data[127] = 0xFF;
            assert_int_equal(backends[i].k->weight_finite(backends + i, &w), t != DTYPE_F8_G);
        }
}

// ---- dropout ----

enum { MASK_T = 256, MASK_K = 64 };

// The factor of every element: x = 1 and A the unit matrix make xa of it.
static void dropout_factors(Backend *b, float *factors, float dropout, RngKey key, const int32_t *token) {
    static float ones[MASK_T * MASK_K], unit[MASK_K * MASK_K], y[MASK_T], zero[MASK_K];
    for (int i = 0; i < MASK_T * MASK_K; i++) ones[i] = 1;
    for (int i = 0; i < MASK_K; i++) unit[i * MASK_K + i] = 1;
    Lora l = {.a = unit, .b = zero, .rank = MASK_K, .rows = 1, .scale = 1, .dropout = dropout};
    l.keys = (TokenKeys){.key = key, .index = token};
    void *ws = b->k->alloc(b, b->k->lora_workspace(b, &l, MASK_T, MASK_K));
    b->k->lora_forward(b, mat_of(y, DTYPE_F32, MASK_T, 1), mat_of(factors, DTYPE_F32, MASK_T, MASK_K),
                       mat_of(ones, DTYPE_F32, MASK_T, MASK_K), &l, ws);
    b->k->free(b, ws, b->k->lora_workspace(b, &l, MASK_T, MASK_K));
}

static void test_kernels_dropout_keeps_the_asked_share(void **state) {
    (void)state;
    static float factors[MASK_T * MASK_K], other[MASK_T * MASK_K];
    enum { N = MASK_T * MASK_K };
    const RngKey key = {.seed = 5, .stream = 2, .module = 9, .row = 1};
    for (int i = 0; i < n_backends; i++)
        for (int tenths = 1; tenths < 10; tenths += 4) {
            float p = (float)tenths / 10;
            int kept = 0;
            dropout_factors(backends + i, factors, p, key, NULL);
            for (int j = 0; j < N; j++) {
                if (factors[j] == 0) continue;
                kept++;
                ASSERT_NEAR((double)factors[j], 1 / (1 - (double)p), 1e-6);
            }
            // Binomial: five standard deviations.
            ASSERT_NEAR(kept, N * (1 - (double)p), 5 * sqrt(N * (double)p * (1 - (double)p)));
            RngKey next = key;
            next.stream++;
            dropout_factors(backends + i, other, p, next, NULL);
            int same = 0;
            for (int j = 0; j < N; j++) same += (factors[j] == 0) == (other[j] == 0);
            double expected = N * ((double)(p * p) + (1 - (double)p) * (1 - (double)p));
            ASSERT_NEAR(same, expected, 5 * sqrt(expected * (1 - expected / N)));
        }
}

// A token keeps its mask wherever it stands in the batch, and the mask is what the contract says.
static void test_kernels_dropout_mask_follows_the_token(void **state) {
    (void)state;
    static float factors[MASK_T * MASK_K];
    int32_t token[MASK_T];
    for (int t = 0; t < MASK_T; t++) token[t] = (t * 37 + 5) % MASK_T;
    const RngKey key = {.seed = 77, .stream = 3, .module = 1, .row = 2};
    for (int i = 0; i < n_backends; i++) {
        dropout_factors(backends + i, factors, 0.3f, key, token);
        for (int t = 0; t < MASK_T; t++)
            for (int k = 0; k < MASK_K; k++) {
                uint32_t words[4];
                rng_philox(key, (uint32_t)token[t], (uint32_t)k / 4, words);
                bool keep = rng_unit(words[k % 4]) >= 0.3f;
                if (keep != (factors[t * MASK_K + k] != 0)) fail_msg("%s: mask of token %d", backends[i].k->name, t);
            }
    }
}

// ---- arithmetic ----

static void test_kernels_expf(void **state) {
    (void)state;
    double worst = 0;
    for (double x = -87; x <= 88; x += 0.00137) {
        double want = exp((double)(float)x), error = fabs((double)cpu_expf((float)x) / want - 1) * 0x1p24;
        if (error > worst) worst = error;
    }
    if (worst > 2.5) fail_msg("exp is off by %.2f half units in the last place", worst);
    assert_true(cpu_expf(0) == 1.0f);
    assert_true(cpu_expf(-INFINITY) == 0.0f && cpu_expf(-1e30f) == 0.0f);
    assert_true(isnan(cpu_expf(NAN)));
    assert_true(cpu_expf(-87.4f) == 0 && cpu_expf(-87.3f) > 0x1p-126f);
    assert_true(cpu_logistic(INFINITY) == 1 && cpu_logistic(-INFINITY) == 0 && isnan(cpu_logistic(NAN)));
    assert_true(cpu_logistic(0) == 0.5f && cpu_logistic(100) == 1 && cpu_logistic(-88.5f) == 0);
    ASSERT_NEAR((double)cpu_logistic(-80) * 0x1p100, 1 / (1 + exp(80)) * 0x1p100, 1e-10);
}

static void test_kernels_tanhf(void **state) {
    (void)state;
    double worst = 0;
    for (double x = 1e-6; x < 11; x += 0.000137) {
        double want = tanh((double)(float)x), error = fabs((double)cpu_tanhf((float)x) / want - 1) * 0x1p24;
        if (error > worst) worst = error;
    }
    if (worst > 4) fail_msg("tanh is off by %.2f half units in the last place", worst);
    assert_true(cpu_tanhf(0) == 0 && cpu_tanhf(-0.5f) == -cpu_tanhf(0.5f));
    assert_true(cpu_tanhf(INFINITY) == 1 && cpu_tanhf(-INFINITY) == -1 && cpu_tanhf(1e30f) == 1);
    assert_true(cpu_tanhf(1e-30f) == 1e-30f);
    assert_true(isnan(cpu_tanhf(NAN)));
}

// Where |x| <= 2 to a few units, further down the tail as exactly as x^2 / 2 can be.
static void test_kernels_normal(void **state) {
    (void)state;
    for (double at = -13; at < 8; at += 0.000739) {
        double x = (double)(float)at, want = 0.5 * erfc(-x * sqrt(0.5)), density = exp(-x * x / 2) / sqrt(2 * acos(-1));
        Normal n = cpu_normal((float)x);
        double limit = 0x1p-24 * (6 + (x < 0 ? x * x : 0));
        if (fabs((double)n.distribution / want - 1) > limit)
            fail_msg("the distribution at %.9g: %.9g, want %.9g", x, (double)n.distribution, want);
        if (fabs((double)n.density / density - 1) > 0x1p-24 * (4 + x * x) && density > 1e-37)
            fail_msg("the density at %.9g: %.9g, want %.9g", x, (double)n.density, density);
    }
    assert_true(cpu_normal(1e30f).distribution == 1 && cpu_normal(-1e30f).distribution == 0);
    assert_true(isnan(cpu_normal(NAN).distribution) && isnan(cpu_normal(NAN).density));
}

static void test_kernels_refuse_wrong_shapes(void **state) {
    (void)state;
    float x[6] = {0};
    for (int i = 0; i < n_backends; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            fclose(stderr);
            Backend *b = backends + i;
            b->k->add(b, mat_of(x, DTYPE_F32, 2, 3), mat_of(x, DTYPE_F32, 3, 2));
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

TEST_MAIN_WITH(open_backends, NULL, TEST(test_kernels_samples_with_common_keys),
               TEST(test_kernels_window_touches_few_blocks), TEST(test_kernels_expand_every_half),
               TEST(test_kernels_expand_every_scale), TEST(test_kernels_weight_finite),
               TEST(test_kernels_weight_finite_rows), TEST(test_kernels_weight_finite_groups),
               TEST(test_kernels_dropout_keeps_the_asked_share), TEST(test_kernels_dropout_mask_follows_the_token),
               TEST(test_kernels_expf), TEST(test_kernels_tanhf), TEST(test_kernels_normal),
               TEST(test_kernels_refuse_wrong_shapes))
