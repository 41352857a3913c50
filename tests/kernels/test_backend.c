// Backends: opening by name, thread count, memory slots; rng: known answers, uniformity, permutations.
#include "test.h"

#include <stdlib.h>

#include "kernels.h"

static void test_backend_opens_and_refuses(void **state) {
    (void)state;
    Err err;
    Backend *b = NULL;
    ASSERT_OK(backend_open(&b, "ref", 0, &err), &err);
    assert_string_equal(b->k->name, "ref");
    assert_true(b->threads >= 1);
    backend_close(b);
    ASSERT_OK(backend_open(&b, "cpu", 3, &err), &err);
    assert_int_equal(b->threads, 3);
    backend_close(b);
    ASSERT_REFUSED(backend_open(&b, "tpu", 0, &err), &err, "device 'tpu' is unknown");
    backend_close(NULL);
}

static void test_backend_isa_by_environment(void **state) {
    (void)state;
    Err err;
    Backend *b = NULL;
    setenv("LORAC_ISA", "base", 1);
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    assert_ptr_equal(b->k, kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, "base"));
    assert_string_equal(b->k->name, "cpu-base");
    StrBuf kind = {0};
    backend_kind(&kind, b);
    assert_string_equal(kind.data, "cpu-base");
    str_clear(&kind);
    backend_close(b);
    setenv("LORAC_ISA", "z80", 1);
    ASSERT_REFUSED(backend_open(&b, "cpu", 1, &err), &err, "LORAC_ISA is 'z80'");
    assert_null(kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, "z80"));
    // Products of lower precision are refused where the CPU has none, not replaced.
    setenv("LORAC_ISA", "v3", 1);
    BackendOptions high = {.device = "cpu", .precision = PRECISION_HIGH};
    ASSERT_REFUSED(backend_open_with(&b, &high, &err), &err,
                   "LORAC_ISA is 'v3'; expected avx512_bf16 or amx for dtype f32 with float32_matmul_precision high");
    unsetenv("LORAC_ISA");
    if (kernels_cpu(DTYPE_F32, PRECISION_HIGH, NULL)) return;
    ASSERT_REFUSED(backend_open_with(&b, &high, &err), &err, "no bf16 products (AVX512_BF16)");
}

static void test_backend_threads_respects_omp_num_threads(void **state) {
    (void)state;
    const char *set = getenv("OMP_NUM_THREADS"); // read by the OpenMP library at process start
    if (set) assert_int_equal(threads_available(), atoi(set));
    assert_true(threads_available() >= 1);
}

static void test_backend_memory_slots(void **state) {
    (void)state;
    Err err;
    Backend *b = NULL;
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    for (size_t bytes = 0; bytes < 300; bytes += 7) {
        unsigned char *p = b->k->alloc(b, bytes);
        assert_true(p && (uintptr_t)p % 64 == 0);
        for (size_t i = 0; i < bytes; i++) assert_int_equal(p[i], 0);
        memset(p, 0x5A, bytes);
        b->k->zero(b, p, bytes);
        if (bytes) assert_int_equal(p[bytes - 1], 0);
        b->k->free(b, p, bytes);
    }
    float host[3] = {1, 2, 3}, back[3] = {0};
    float *device = b->k->alloc(b, sizeof host);
    b->k->upload(b, device, host, sizeof host);
    b->k->download(b, back, device, sizeof host);
    b->k->sync(b);
    assert_memory_equal(host, back, sizeof host);
    b->k->free(b, device, sizeof host);
    b->k->free(b, NULL, 0);
    backend_close(b);
}

// Known answers of philox4x32-10 from the authors' Random123 distribution (kat_vectors): all zeros, and digits of pi.
// The key's fields are spread so that the counter and key words come out as there.
static void test_rng_philox_known_answers(void **state) {
    (void)state;
    uint32_t w[4];
    rng_philox((RngKey){0}, 0, 0, w);
    assert_int_equal(w[0], 0x6627e8d5);
    assert_int_equal(w[1], 0xe169c58d);
    assert_int_equal(w[2], 0xbc57ac4c);
    assert_int_equal(w[3], 0x9b00dbd8);
    // counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0
    uint64_t index = 0x85a308d3243f6a88u;
    RngKey key = {
        .seed = 0x299f31d0a4093822u, .stream = 0x13198a2e, .module = 0x03707344, .row = (uint32_t)(index >> 40)};
    rng_philox(key, (uint32_t)(index >> 16) & 0xFFFFFF, (uint32_t)index & 0xFFFF, w);
    assert_int_equal(w[0], 0xd16cfe09);
    assert_int_equal(w[1], 0x94fdcceb);
    assert_int_equal(w[2], 0x5001e420);
    assert_int_equal(w[3], 0x24126ea1);
}

static void test_rng_ranges(void **state) {
    (void)state;
    assert_true(rng_unit(0) == 0.0f && rng_unit(0xFFFFFFFFu) < 1.0f);
    assert_true(rng_symmetric(0) > -1.0f && rng_symmetric(0xFFFFFFFFu) < 1.0f);
    assert_true(rng_symmetric(0) == -rng_symmetric(0xFFFFFFFFu));
    assert_int_equal(rng_module(""), 2166136261u);
    assert_int_equal(rng_module("foobar"), 0xbf9cf968u); // FNV-1a test vector (Noll)
}

static void test_rng_permutation_is_one_and_uniform(void **state) {
    (void)state;
    enum { N = 5, RUNS = 60000 };
    int count[N][N] = {{0}};
    for (uint32_t run = 0; run < RUNS; run++) {
        int64_t p[N];
        rng_permutation((RngKey){.seed = 42, .stream = run}, N, p);
        unsigned seen = 0;
        for (int i = 0; i < N; i++) {
            assert_true(p[i] >= 0 && p[i] < N);
            seen |= 1u << p[i];
            count[i][p[i]]++;
        }
        assert_int_equal(seen, (1u << N) - 1);
    }
    // Each cell expects RUNS / N = 12000 with a standard deviation of 98: five of them.
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) ASSERT_NEAR(count[i][j], RUNS / N, 490);
    int64_t big[1000], again[1000];
    rng_permutation((RngKey){.seed = 1}, 1000, big);
    rng_permutation((RngKey){.seed = 1}, 1000, again);
    assert_memory_equal(big, again, sizeof big);
    rng_permutation((RngKey){.seed = 2}, 1000, again);
    assert_memory_not_equal(big, again, sizeof big);
}

TEST_MAIN(TEST(test_backend_opens_and_refuses), TEST(test_backend_isa_by_environment),
          TEST(test_backend_threads_respects_omp_num_threads), TEST(test_backend_memory_slots),
          TEST(test_rng_philox_known_answers), TEST(test_rng_ranges), TEST(test_rng_permutation_is_one_and_uniform))
