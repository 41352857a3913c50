// The real cuDNN, without a GPU: it builds plans from the properties of GPUs, so that for each graph that the backend
// can ask for there is a plan where the backend expects one, and its workspace is within what the backend keeps for it.
// Nothing is computed. The libraries: kernels/cuda/fetch_nvidia.py.
#include "cudnn_attention.h"
#include "test.h"

typedef struct Gpu {
    const char *name;
    int capability, processors;
    int shared_bytes; // of a multiprocessor; a block may have 1 KB less
    int threads, blocks;
    int l2_bytes, clock_khz, memory_khz, bus;
    double bytes;
} Gpu;

enum { H100, B200, L40S, A100 };
static const Gpu gpus[] = {
    [H100] = {"NVIDIA H100 80GB HBM3", 90, 132, 233472, 2048, 32, 52428800, 1980000, 2619000, 5120, 85.0e9},
    [B200] = {"NVIDIA B200", 100, 148, 233472, 2048, 32, 132644864, 1965000, 3996000, 7680, 191.5e9},
    [L40S] = {"NVIDIA L40S", 89, 142, 102400, 1536, 24, 100663296, 2520000, 9001000, 384, 47.7e9},
    [A100] = {"NVIDIA A100-SXM4-80GB", 80, 108, 167936, 2048, 32, 41943040, 1410000, 1593000, 5120, 85.1e9},
};

// As cuDNN serialises them (9.19 and 9.28; what a version does not know it skips).
static char *properties(const Gpu *g, const char *cudnn_version) {
    return mem_printf(
        "{\"version\":1,\"cudnnVersion\":%s,\"deviceName\":\"%s\",\"deviceVer\":%d,\"driverVer\":13000,"
        "\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,"
        "\"multiProcessorCount\":%d,\"smCountOrigin\":0,\"warpSize\":32,\"maxThreadsPerBlock\":1024,"
        "\"maxThreadsPerSM\":%d,\"maxCtasPerSM\":%d,\"maxRegistersPerSM\":65536,\"maxSharedMemoryPerBlock\":49152,"
        "\"maxSharedMemoryPerBlockOptin\":%d,\"oversizedSharedMemoryPerBlock\":%d,"
        "\"reservedSharedMemoryPerBlock\":1024,\"smClockRateKHz\":%d,\"memClockRateKHz\":%d,\"memoryBusWidth\":%d,"
        "\"l2CacheSize\":%d,\"totalGlobalMem\":%.0f,\"cudaDeviceId\":0,\"pciDeviceId\":0,\"isTccDriver\":0,"
        "\"supportCoopLaunch\":1}",
        cudnn_version, g->name, g->capability * 10, g->processors, g->threads, g->blocks, g->shared_bytes - 1024,
        g->shared_bytes - 1024, g->clock_khz, g->memory_khz, g->bus, g->l2_bytes, g->bytes);
}

typedef struct Case {
    int64_t samples, longest, rows, heads, kv_heads, size, window;
    bool bidirectional;
} Case;

static void describe(char *text, size_t size, const Gpu *g, const Case *c, const CudnnShape *shape) {
    snprintf(text, size, "%s, %s%s %s: %ld samples of up to %ld in %ld rows, heads %ld/%ld of %ld, window %ld%s",
             g->name, shape->deterministic ? "" : "nondeterministic ", shape->backward ? "backward" : "forward",
             dtype_info(shape->type)->name, c->samples, c->longest, c->rows, c->heads, c->kv_heads, c->size, c->window,
             c->bidirectional ? ", bidirectional" : "");
}

static void *open_gpu(const CudnnLibrary *library, const Gpu *g) {
    Err err;
    void *cudnn;
    AUTO_FREE char *json = properties(g, "92800");
    ASSERT_OK(library->open_absent(&cudnn, json, g->capability, &err), &err);
    return cudnn;
}

// Whether the backend asks cuDNN; then it has a plan, and its workspace is within the backend's.
typedef enum { FORWARD, BACKWARD, ANY_ORDER } Pass; // the last: backward, not deterministic
static bool check_pass(void *cudnn, const Gpu *g, const Case *c, DType type, Pass pass) {
    const CudnnLibrary *library = lorac_cudnn();
    bool backward = pass != FORWARD;
    CudaScratch scratch = cuda_scratch(g->capability, (size_t)g->bytes);
    Backend b = {.activation = type, .nondeterministic = pass == ANY_ORDER, .state = &scratch};
    AttentionShape s = {.heads = c->heads,
                        .kv_heads = c->kv_heads,
                        .head_size = c->size,
                        .samples = c->samples,
                        .longest = c->longest,
                        .window = c->window,
                        .bidirectional = c->bidirectional,
                        .scale = 0.1f};
    int64_t stride = (c->heads + 2 * c->kv_heads) * c->size; // q, k and v are columns of one matrix
    Mat q = {.dtype = type, .rows = c->rows, .cols = c->heads * c->size, .stride = stride}, k = q;
    k.cols = c->kv_heads * c->size;
    CudnnSpace space;
    if (!cuda_cudnn_space(&space, &b, &s, q, k, backward)) return false;
    CudnnShape shape;
    cudnn_shape(&shape, &b, &s, q, k, backward);
    char text[256];
    Err err;
    void *plan;
    size_t bytes;
    describe(text, sizeof text, g, c, &shape);
    if (library->plan(cudnn, &plan, &bytes, &shape, &err)) fail_msg("%s: no plan: %s", text, err.msg);
    library->plan_free(plan);
    printf("%s: %zu of %zu bytes\n", text, bytes, space.own);
    if (bytes > space.own) fail_msg("%s: the plan needs %zu bytes, expected at most %zu", text, bytes, space.own);
    if (bytes > scratch.cudnn_bytes) fail_msg("%s: %zu bytes", text, bytes);
    return true;
}

// Returns how many of forward and backward the backend leaves to cuDNN.
static int check(void *cudnn, const Gpu *g, const Case *c, DType type) {
    return check_pass(cudnn, g, c, type, FORWARD) + check_pass(cudnn, g, c, type, BACKWARD);
}

// Chat data packed into a pass of 16,384 tokens, for which older graphs took 35 GB; one long sample; short samples,
// whose dS is stored.
static void test_a_few_plans_fit(void **state) {
    (void)state;
    static const Case cases[] = {{128, 2048, 16384, 32, 8, 128, 0, false}, {8, 512, 2048, 9, 3, 64, 0, false}};
    void *hopper = open_gpu(lorac_cudnn(), &gpus[H100]), *blackwell = open_gpu(lorac_cudnn(), &gpus[B200]);
    for (int i = 0; i < 2; i++) assert_int_equal(check(hopper, &gpus[H100], &cases[i], DTYPE_BF16), 2);
    assert_int_equal(check(blackwell, &gpus[B200], &cases[0], DTYPE_BF16), 2);
    assert_true(check_pass(hopper, &gpus[H100], &cases[1], DTYPE_BF16, ANY_ORDER)); // without dS
    lorac_cudnn()->close(hopper);
    lorac_cudnn()->close(blackwell);
}

// Which calls the backend keeps for itself, without asking cuDNN.
static void test_a_few_plans_are_not_asked_for(void **state) {
    (void)state;
    static const Case usual = {8, 2048, 8192, 8, 2, 128, 0, false}, wide = {8, 2048, 8192, 8, 2, 192, 0, false},
                      huge = {1, 131072, 131072, 32, 8, 128, 0, false};
    assert_int_equal(check(NULL, &gpus[L40S], &usual, DTYPE_BF16), 0);
    assert_int_equal(check(NULL, &gpus[A100], &usual, DTYPE_BF16), 0);
    void *hopper = open_gpu(lorac_cudnn(), &gpus[H100]), *blackwell = open_gpu(lorac_cudnn(), &gpus[B200]);
    assert_int_equal(check(hopper, &gpus[H100], &huge, DTYPE_BF16), 1); // backward: 6.4 GB
    assert_int_equal(check(blackwell, &gpus[B200], &wide, DTYPE_BF16), 1);
    lorac_cudnn()->close(hopper);
    lorac_cudnn()->close(blackwell);
}

// ---- slow ----

static void check_sizes(void *cudnn, const Gpu *g) {
    static const int64_t sizes[] = {64, 80, 96, 112, 128, 160, 192, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int64_t kv = 2; kv <= 8; kv += 6) {
            Case c = {4, 1024, 3000, 8, kv, sizes[i], 0, false};
            bool narrow = g == &gpus[H100] || sizes[i] <= 128 || sizes[i] == 256;
            assert_int_equal(check(cudnn, g, &c, DTYPE_BF16), narrow ? 2 : 1);
        }
}

static void check_kinds(void *cudnn, const Gpu *g) {
    for (int64_t size = 64; size <= 128; size += 64) {
        const Case kinds[] = {{8, 2048, 8192, 8, 2, size, 512, false},
                              {8, 2048, 8192, 8, 2, size, 1, false},
                              {8, 512, 4096, 12, 12, size, 0, true},
                              {3, 100, 299, 4, 1, size, 0, false}};
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            assert_int_equal(check(cudnn, g, &kinds[i], DTYPE_BF16), 2);
            assert_int_equal(check(cudnn, g, &kinds[i], DTYPE_F16), 2);
        }
    }
}

// Samples and lengths of packed rows; the last ones lie on both sides of the limit of dS.
static void check_passes(void *cudnn, const Gpu *g) {
    static const Case passes[] = {
        {1, 16, 16, 9, 3, 64, 0, false},          {1, 65, 80, 9, 3, 64, 0, false},
        {4, 4095, 16000, 32, 8, 64, 0, false},    {256, 2048, 16384, 9, 3, 64, 0, false},
        {256, 2048, 16384, 32, 8, 128, 0, false}, {1, 32768, 32768, 32, 8, 128, 0, false},
        {8, 1408, 8192, 8, 2, 128, 0, false},     {8, 1472, 8192, 8, 2, 128, 0, false},
    };
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        assert_int_equal(check(cudnn, g, &passes[i], DTYPE_BF16), 2);
        assert_true(check_pass(cudnn, g, &passes[i], DTYPE_BF16, ANY_ORDER));
    }
}

static void test_every_plan_fits(void **state) {
    (void)state;
    for (int i = H100; i <= B200; i++) {
        void *cudnn = open_gpu(lorac_cudnn(), &gpus[i]);
        check_sizes(cudnn, &gpus[i]);
        check_kinds(cudnn, &gpus[i]);
        check_passes(cudnn, &gpus[i]);
        lorac_cudnn()->close(cudnn);
    }
}

TEST_MAIN(TEST(test_a_few_plans_fit), TEST(test_a_few_plans_are_not_asked_for), TEST(test_every_plan_fits))
