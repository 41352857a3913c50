// The optimizer on the emulated CUDA device: the bits of the CPU backend's plainest copy, which fuses no multiply-add
// either; steps that are skipped; lists of segments that change.
#include <math.h>
#include <unistd.h>

#include "cuda_open.h"
#include "opcheck.h"

enum { N = 20011 };

static Backend cpu = {.threads = 1, .activation = DTYPE_F32, .host_memory = true};

static float *noise(uint32_t stream) { return op_noise(N, 500 + stream); }

static void *on_device(Backend *b, const void *host, size_t bytes) {
    void *p = b->k->alloc(b, bytes);
    b->k->upload(b, p, host, bytes);
    return p;
}

static void assert_same(Backend *b, const void *want, const void *device, size_t bytes) {
    char *got = mem_alloc(bytes, 1);
    b->k->download(b, got, device, bytes);
    assert_memory_equal(want, got, bytes);
    mem_free(got);
}

// Gradients of a scaled loss, sums that go on, a few that are too large or no numbers.
static void check_fixed_point(Backend *b, bool spoil) {
    float *g = noise(0), *back = mem_alloc(N, sizeof *back);
    int64_t *acc = mem_alloc(N, sizeof *acc), bad = 0;
    for (int i = 0; i < N; i++) acc[i] = (int64_t)i * 0x123456789ab - ((int64_t)1 << 50), g[i] *= 1000;
    if (spoil) g[5] = NAN, g[N / 2] = 1e9f, g[N - 1] = -INFINITY;
    void *dg = on_device(b, g, N * sizeof *g), *dacc = on_device(b, acc, N * sizeof *acc);
    void *dbad = on_device(b, &bad, sizeof bad);
    for (int i = 0; i < 2; i++) {
        cpu.k->fixed_add(&cpu, acc, g, N, 500, 0x1p-7f, &bad);
        b->k->fixed_add(b, dacc, dg, N, 500, 0x1p-7f, dbad);
    }
    assert_int_equal(bad, spoil);
    assert_same(b, acc, dacc, N * sizeof *acc);
    assert_same(b, &bad, dbad, sizeof bad);
    cpu.k->fixed_to_f32(&cpu, back, acc, N);
    b->k->fixed_to_f32(b, dg, dacc, N);
    assert_same(b, back, dg, N * sizeof *g);
    b->k->free(b, dg, N * sizeof *g);
    b->k->free(b, dacc, N * sizeof *acc);
    b->k->free(b, dbad, sizeof bad);
    mem_free(g);
    mem_free(acc);
    mem_free(back);
}

static void test_cuda_fixed_point_has_the_cpus_bits(void **state) {
    (void)state;
    Backend *b = open_emulated(DTYPE_BF16);
    check_fixed_point(b, false);
    check_fixed_point(b, true);
    backend_close(b);
}

static void test_cuda_clock_goes_on(void **state) {
    (void)state;
    Backend *b = open_emulated(DTYPE_F32);
    int64_t *ns = b->k->alloc(b, 2 * sizeof *ns), host[2];
    b->k->stamp(b, ns);
    usleep(2000);
    b->k->stamp(b, ns + 1);
    b->k->download(b, host, ns, sizeof host);
    assert_true(host[1] - host[0] >= 0 && host[1] - host[0] < 60 * (int64_t)1e9);
    b->k->free(b, ns, 2 * sizeof *ns);
    backend_close(b);
}

// p, m, v, g on both sides.
enum { BUFFERS = 4 };
typedef struct Buffers {
    float *host[BUFFERS];
    void *device[BUFFERS];
} Buffers;

static Buffers make_buffers(Backend *b) {
    Buffers x;
    for (int i = 0; i < BUFFERS; i++) {
        x.host[i] = noise((uint32_t)i + 1);
        for (int j = 0; j < N && i == 2; j++) x.host[i][j] = fabsf(x.host[i][j]) * 1e-3f;
        x.device[i] = on_device(b, x.host[i], N * sizeof(float));
    }
    return x;
}

static void free_buffers(Backend *b, Buffers *x) {
    for (int i = 0; i < BUFFERS; i++) {
        mem_free(x->host[i]);
        b->k->free(b, x->device[i], N * sizeof(float));
    }
}

// The same step on both; the device reads the norm and the flag from its own memory.
static void step_both(Backend *b, Buffers *x, Adamw o, double square, int64_t bad) {
    float *const *h = x->host;
    void *const *d = x->device;
    o.square = &square, o.bad = &bad;
    cpu.k->adamw(&cpu, h[0], h[1], h[2], h[3], &o);
    void *dsquare = on_device(b, &square, sizeof square), *dbad = on_device(b, &bad, sizeof bad);
    o.square = dsquare, o.bad = dbad;
    b->k->adamw(b, d[0], d[1], d[2], d[3], &o);
    for (int i = 0; i < BUFFERS; i++) assert_same(b, h[i], d[i], N * sizeof(float));
    b->k->free(b, dsquare, sizeof square);
    b->k->free(b, dbad, sizeof bad);
}

static void test_cuda_adamw_has_the_cpus_bits(void **state) {
    (void)state;
    Backend *b = open_emulated(DTYPE_F32);
    Buffers x = make_buffers(b);
    const AdamwSegment first[] = {{3, 1, 1}, {4, 9000, 16}, {9100, 4096, 1}};
    const AdamwSegment second[] = {{3, 1, 1}, {4, 9000, 16}, {9100, 4097, 1}, {N - 1, 1, 0.5f}};
    Adamw o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.1, .max_grad_norm = 0.5};
    for (o.step = 1; o.step <= 6; o.step++) {
        bool other = o.step == 3 || o.step == 4; // and back again
        o.segments = other ? second : first;
        o.n_segments = other ? 4 : 3;
        step_both(b, &x, o, o.step % 2 ? 4.0 : 0.01, 0); // clipped, not clipped
    }
    o.max_grad_norm = 0;
    step_both(b, &x, o, 1e30, 0);
    free_buffers(b, &x);
    backend_close(b);
}

static void test_cuda_adamw_skips_bad_steps(void **state) {
    (void)state;
    Backend *b = open_emulated(DTYPE_F32);
    Buffers x = make_buffers(b);
    float *before = mem_alloc(N, sizeof *before);
    memcpy(before, x.host[0], N * sizeof *before);
    AdamwSegment all = {0, N, 1};
    Adamw o = {.lr = 1, .beta1 = 0.9, .beta2 = 0.999, .step = 1, .segments = &all, .n_segments = 1};
    step_both(b, &x, o, 1, 1);
    step_both(b, &x, o, NAN, 0);
    step_both(b, &x, o, INFINITY, 0);
    assert_memory_equal(before, x.host[0], N * sizeof *before);
    o.n_segments = 0;
    step_both(b, &x, o, 1, 0);
    mem_free(before);
    free_buffers(b, &x);
    backend_close(b);
}

static int use_plain_cpu(void **state) {
    (void)state;
    emulated_set_order(EMULATED_SHUFFLED);
    cpu.k = kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, "base");
    return 0;
}

TEST_MAIN_WITH(use_plain_cpu, NULL, TEST(test_cuda_fixed_point_has_the_cpus_bits), TEST(test_cuda_clock_goes_on),
               TEST(test_cuda_adamw_has_the_cpus_bits), TEST(test_cuda_adamw_skips_bad_steps))
