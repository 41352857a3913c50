#include "roofline.h"

#include <math.h>

// Shares of the data sheet measured on an H100: cuBLASLt about 700 of 989 TFLOP/s at the shapes of layers, cuDNN's
// attention 484 forward and 370 backward at 2048 tokens, 3.0 of 3.35 TB/s.
static const double OF_PRODUCTS = 0.71, OF_ATTENTION = 0.41, OF_BANDWIDTH = 0.9;
static const double PCIE_BANDWIDTH = 25e9; // of 16 lanes of PCIe 4, one way
static const double LAUNCH_SECONDS = 2e-6; // of a kernel in a recorded pass

Roof roof_of_gpu(const GpuSpec *g, const Backend *b) {
    double peak = b->activation != DTYPE_F32 ? g->bf16 : b->tf32 ? g->tf32 : g->f32;
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

// On a CPU bandwidth and launches are negligible next to the arithmetic.
Roof roof_of_cpu(Backend *b) {
    enum { N = 1024, T = 512, TRIES = 5 };
    size_t weight = (size_t)N * N * sizeof(float), rows = (size_t)T * N * sizeof(float);
    float *data = b->k->alloc(b, weight), *in = b->k->alloc(b, rows), *out = b->k->alloc(b, rows);
    Weight w = {.name = "a product",
                .segments = {{.data = data, .dtype = DTYPE_F32, .rows = N}},
                .n_segments = 1,
                .rows = N,
                .cols = N};
    Mat x = mat_of(in, DTYPE_F32, T, N), y = mat_of(out, DTYPE_F32, T, N);
    size_t ws_bytes = b->k->linear_workspace(b, &w, T);
    void *ws = b->k->alloc(b, ws_bytes);
    double best = INFINITY;
    for (int i = 0; i < TRIES; i++) best = fmin(best, product_seconds(b, &w, x, y, ws));
    b->k->free(b, ws, ws_bytes);
    b->k->free(b, out, rows);
    b->k->free(b, in, rows);
    b->k->free(b, data, weight);
    double flops = 2.0 * T * N * N / best;
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

double roofline_seconds(const Roof *r, const Tape *t, double keys, double tape_keys) {
    double ops = 0, moved = 0; // overlapped
    for (int64_t i = 0; i < tape_stats(t).instructions; i++) {
        TapeCost c = tape_cost(t, i);
        if (c.op == TAPE_OP_OFFLOAD)
            moved += c.bytes / r->host_bandwidth;
        else
            ops += op_seconds(r, &c, keys, tape_keys);
    }
    return fmax(ops, moved);
}
