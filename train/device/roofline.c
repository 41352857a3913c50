#include "roofline.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

// ---- data sheets ----

#define GB *1e9
#define TFLOPS *1e12

// Sources: NVIDIA's data sheets and architecture papers, SXM variants where there are several. Values that a sheet
// states with sparsity, or for GeForce cards with fp16 accumulation, are halved.
static const GpuSpec gpus[] = {
    {"a100", "A100", 80, 80 GB, 2039 GB, 19.5 TFLOPS, 156 TFLOPS, 312 TFLOPS, 0},
    {"a10", "A10", 86, 24 GB, 600 GB, 31.2 TFLOPS, 62.5 TFLOPS, 125 TFLOPS, 0},
    {"a6000", "RTX A6000", 86, 48 GB, 768 GB, 38.7 TFLOPS, 77.4 TFLOPS, 154.8 TFLOPS, 0},
    {"rtx3090", "RTX 3090", 86, 24 GB, 936 GB, 35.6 TFLOPS, 35.6 TFLOPS, 71 TFLOPS, 0},
    {"l4", "L4", 89, 24 GB, 300 GB, 30.3 TFLOPS, 60 TFLOPS, 121 TFLOPS, 242 TFLOPS},
    {"l40s", "L40S", 89, 48 GB, 864 GB, 91.6 TFLOPS, 183 TFLOPS, 362 TFLOPS, 733 TFLOPS},
    {"rtx4090", "RTX 4090", 89, 24 GB, 1008 GB, 82.6 TFLOPS, 82.6 TFLOPS, 165.2 TFLOPS, 330.3 TFLOPS},
    {"h100", "H100", 90, 80 GB, 3350 GB, 67 TFLOPS, 494 TFLOPS, 989 TFLOPS, 1979 TFLOPS},
    {"h200", "H200", 90, 141 GB, 4800 GB, 67 TFLOPS, 494 TFLOPS, 989 TFLOPS, 1979 TFLOPS},
    {"b200", "B200", 100, 180 GB, 8000 GB, 75 TFLOPS, 1125 TFLOPS, 2250 TFLOPS, 4500 TFLOPS},
    {"rtx5090", "RTX 5090", 120, 32 GB, 1792 GB, 104.8 TFLOPS, 104.8 TFLOPS, 209.5 TFLOPS, 419 TFLOPS},
};
enum { N_GPUS = sizeof gpus / sizeof *gpus };

const GpuSpec *gpu_by_key(const char *key) {
    for (size_t i = 0; i < N_GPUS; i++)
        if (!strcasecmp(gpus[i].key, key)) return &gpus[i];
    return NULL;
}

// The name may be followed by a socket ("-SXM4-80GB") or a memory size (" 80GB HBM3"); another word is another product.
static bool ends_name(const char *rest) {
    if (strstr(rest, "MIG")) return false; // a slice of one
    return !*rest || starts_with(rest, "-SXM") || (rest[0] == ' ' && isdigit((unsigned char)rest[1]));
}

const GpuSpec *gpu_by_name(const char *name) {
    for (size_t i = 0; i < N_GPUS; i++) {
        const char *at = strstr(name, gpus[i].name);
        if (at && (at == name || at[-1] == ' ') && ends_name(at + strlen(gpus[i].name))) return &gpus[i];
    }
    return NULL;
}

// ---- rates ----

// Shares of the data sheet measured on an H100: cuBLASLt about 700 of 989 TFLOP/s at the shapes of layers, cuDNN's
// attention 484 forward and 370 backward at 2048 tokens, 3.0 of 3.35 TB/s.
static const double OF_PRODUCTS = 0.71, OF_ATTENTION = 0.41, OF_BANDWIDTH = 0.9;
static const double PCIE_BANDWIDTH = 25e9; // of 16 lanes of PCIe 4, one way
static const double LAUNCH_SECONDS = 2e-6; // of a kernel in a recorded pass

Roof roof_of_gpu(const GpuSpec *g, const Backend *b) {
    double peak = b->activation != DTYPE_F32 ? g->bf16 : b->precision == PRECISION_HIGH ? g->tf32 : g->f32;
    return (Roof){.products = OF_PRODUCTS * (b->fp8 && g->fp8 > 0 ? g->fp8 : peak),
                  .head = OF_PRODUCTS * peak,
                  .attention = OF_ATTENTION * peak,
                  .bandwidth = OF_BANDWIDTH * g->bandwidth,
                  .host_bandwidth = PCIE_BANDWIDTH,
                  .launch = LAUNCH_SECONDS};
}

static double product_seconds(Backend *b, const Weight *w, Mat x, Mat y, void *ws) {
    double start = time_now();
    b->k->linear_forward(b, y, x, w, (Mat){0}, ws);
    b->k->sync(b);
    return time_now() - start;
}

// Numbers of about 0.01 in any type: a product of NaN or of numbers below 2^-126 takes another time.
static void fill(Backend *b, void *dst, size_t bytes) {
    AUTO_FREE uint8_t *data = mem_alloc(bytes, 1);
    for (size_t i = 0; i < bytes; i++) data[i] = i & 1 ? 0x3C : (uint8_t)(i * 37 >> 1);
    b->k->upload(b, dst, data, bytes);
}

double product_rate(Backend *b) {
    enum { N = 1024, T = 512, TRIES = 5 };
    size_t element = (size_t)dtype_info(b->activation)->bytes, weight = N * N * element, rows = T * N * element;
    void *data = b->k->alloc(b, weight), *in = b->k->alloc(b, rows), *out = b->k->alloc(b, rows);
    Weight w = {.name = "a product",
                .segments = {{.data = data, .dtype = b->activation, .rows = N}},
                .n_segments = 1,
                .rows = N,
                .cols = N};
    Mat x = mat_of(in, b->activation, T, N), y = mat_of(out, b->activation, T, N);
    size_t ws_bytes = b->k->linear_workspace(b, &w, T);
    void *ws = b->k->alloc(b, ws_bytes);
    double best = INFINITY;
    fill(b, data, weight);
    fill(b, in, rows);
    for (int i = 0; i < TRIES; i++) best = fmin(best, product_seconds(b, &w, x, y, ws));
    b->k->free(b, ws, ws_bytes);
    b->k->free(b, out, rows);
    b->k->free(b, in, rows);
    b->k->free(b, data, weight);
    return 2.0 * T * N * N / best;
}

// On a CPU bandwidth and launches are negligible next to the arithmetic.
Roof roof_of_cpu(Backend *b) {
    double flops = product_rate(b);
    return (Roof){
        .products = flops, .head = flops, .attention = flops / 2, .bandwidth = INFINITY, .host_bandwidth = INFINITY};
}

// Attention's work grows with the keys per query; the tape assumes samples of equal length.
static double op_seconds(const Roof *r, const TapeCost *c, double keys, double tape_keys) {
    bool attends = c->op == TAPE_OP_ATTENTION;
    double flops = attends ? c->flops * keys / tape_keys : c->flops;
    double rate = attends ? r->attention : c->op == TAPE_OP_HEAD_LOSS ? r->head : r->products;
    return fmax(fmax(flops / rate, c->bytes / r->bandwidth), r->launch);
}

RoofTime roofline_seconds(const Roof *r, const Tape *t, double keys, double tape_keys) {
    RoofTime time = {0};
    for (int64_t i = 0; i < tape_stats(t).instructions; i++) {
        TapeCost c = tape_cost(t, i);
        if (c.op == TAPE_OP_OFFLOAD)
            time.copies += c.bytes / r->host_bandwidth;
        else
            time.ops += op_seconds(r, &c, keys, tape_keys);
    }
    return time;
}
