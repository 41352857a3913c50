// The edges that random inputs do not reach: every half-precision number, bad scales, dropout's statistics, the
// exponential, refused shapes; on the reference and on every copy of the CPU backend.
#define CPU_ISA base // for cpu_expf as the plainest copy has it
#include "cpu.h"

#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static Backend backends[4];
static int n_backends;

static int open_backends(void **state) {
    (void)state;
    const Kernels *const tables[] = {&kernels_ref, kernels_cpu("base"), kernels_cpu("v3"), kernels_cpu("v4")};
    for (int i = 0; i < 4; i++)
        if (tables[i]) backends[n_backends++] = (Backend){.k = tables[i], .threads = 2};
    return 0;
}

static Weight weight_of(const void *data, DType t, int64_t rows, int64_t cols) {
    return (Weight){"w", {{data, NULL, t, rows}}, 1, rows, cols, NULL};
}

static void check_expansion(const Weight *w) {
    size_t n = (size_t)(w->rows * w->cols);
    float *want = mem_alloc(n, sizeof *want), *got = mem_alloc(n, sizeof *got);
    dtype_expand(w->segments[0].dtype, want, w->segments[0].data, n);
    for (int i = 0; i < n_backends; i++) {
        Backend *b = backends + i;
        b->k->expand(b, (Mat){got, DTYPE_F32, w->rows, w->cols}, w, 0);
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

// Every half as the scale of a block of each type: subnormal, infinite and NaN ones among them.
static void test_kernels_expand_every_scale(void **state) {
    (void)state;
    for (DType t = DTYPE_Q8_0; t <= DTYPE_Q6_K; t++) {
        const DTypeInfo *info = dtype_info(t);
        int blocks = info->block == 32 ? 65536 : 8192, step = 65536 / blocks;
        uint8_t *data = mem_alloc((size_t)blocks, (size_t)info->bytes);
        for (int i = 0; i < blocks * info->bytes; i++) data[i] = (uint8_t)((unsigned)i * 2654435761u >> 13);
        for (int i = 0; i < blocks; i++) {
            uint16_t scale = (uint16_t)(i * step + i % step);
            memcpy(data + (size_t)i * (size_t)info->bytes + (t == DTYPE_Q6_K ? 208 : 0), &scale, sizeof scale);
        }
        Weight w = weight_of(data, t, 64, (int64_t)blocks / 64 * info->block);
        check_expansion(&w);
        mem_free(data);
    }
}

// One bad scale anywhere is found; none is invented.
static void test_kernels_weight_finite(void **state) {
    (void)state;
    enum { ROWS = 3, COLS = 512 };
    static const uint16_t infinite = 0xFC00, nan = 0x7E01, bf16_nan = 0x7FC0, largest = 0x7BFF;
    for (DType t = DTYPE_F32; t <= DTYPE_Q6_K; t++) {
        const DTypeInfo *info = dtype_info(t);
        size_t bytes, scale_at = t == DTYPE_Q6_K ? 208 : t == DTYPE_F32 ? 2 : 0;
        assert_true(dtype_bytes(t, ROWS * COLS, &bytes));
        uint8_t *data = mem_calloc(bytes, 1);
        for (int i = 0; i < n_backends; i++) {
            Backend *b = backends + i;
            Weight w = weight_of(data, t, ROWS, COLS);
            memset(data, 0, bytes);
            memcpy(data + scale_at, &largest, sizeof largest);
            assert_true(b->k->weight_finite(b, &w));
            for (size_t block = 0; block < bytes / (size_t)info->bytes; block += block + 1) {
                uint8_t *scale = data + block * (size_t)info->bytes + scale_at;
                uint16_t saved;
                memcpy(&saved, scale, sizeof saved);
                bool wide = t == DTYPE_F32 || t == DTYPE_BF16; // eight exponent bits
                memcpy(scale, wide ? &bf16_nan : block % 2 ? &nan : &infinite, sizeof saved);
                if (b->k->weight_finite(b, &w))
                    fail_msg("%s: bad %s block %zu not seen", b->k->name, info->name, block);
                memcpy(scale, &saved, sizeof saved);
            }
        }
        mem_free(data);
    }
}

// ---- dropout ----

enum { MASK_T = 256, MASK_K = 64 };

// The factor of every element: x = 1 and A the unit matrix make xa of it.
static void dropout_factors(Backend *b, float *factors, float dropout, RngKey key, const int32_t *token) {
    static float ones[MASK_T * MASK_K], unit[MASK_K * MASK_K], y[MASK_T], zero[MASK_K];
    for (int i = 0; i < MASK_T * MASK_K; i++) ones[i] = 1;
    for (int i = 0; i < MASK_K; i++) unit[i * MASK_K + i] = 1;
    Lora l = {.a = unit, .b = zero, .rank = MASK_K, .rows = 1, .scale = 1, .dropout = dropout, .key = key};
    l.token = token;
    void *ws = b->k->alloc(b, b->k->lora_workspace(b, &l, MASK_T, MASK_K));
    b->k->lora_forward(b, (Mat){y, DTYPE_F32, MASK_T, 1}, (Mat){factors, DTYPE_F32, MASK_T, MASK_K},
                       (Mat){ones, DTYPE_F32, MASK_T, MASK_K}, &l, ws);
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
    for (double x = -87; x < 88.7; x += 0.00137) {
        double want = exp((double)(float)x), error = fabs((double)cpu_expf((float)x) / want - 1) * 0x1p24;
        if (error > worst) worst = error;
    }
    if (worst > 2.5) fail_msg("exp is off by %.2f half units in the last place", worst);
    assert_true(cpu_expf(0) == 1.0f);
    assert_true(cpu_expf(-INFINITY) == 0.0f && cpu_expf(-1e30f) == 0.0f);
    assert_true(cpu_expf(INFINITY) == INFINITY && cpu_expf(89) == INFINITY);
    assert_true(isnan(cpu_expf(NAN)));
    ASSERT_NEAR((double)cpu_expf(-100), exp(-100), 0x1p-149); // subnormal
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
            b->k->add(b, (Mat){x, DTYPE_F32, 2, 3}, (Mat){x, DTYPE_F32, 3, 2});
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_kernels_expand_every_half),
        TEST(test_kernels_expand_every_scale),
        TEST(test_kernels_weight_finite),
        TEST(test_kernels_dropout_keeps_the_asked_share),
        TEST(test_kernels_dropout_mask_follows_the_token),
        TEST(test_kernels_expf),
        TEST(test_kernels_refuse_wrong_shapes),
    };
    return cmocka_run_group_tests(tests, open_backends, NULL);
}
