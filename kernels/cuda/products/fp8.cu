// fp8: scales, quantisation, and the products over them.
#include "fp8.h"

#include <cuda_fp8.h>

#include "device.cuh"

// ---- the largest magnitude ----

// Magnitudes order as their bits do, NaN above all, so that a maximum of integers finds the largest in any order.
static __global__ void fp8_measure(unsigned *largest, const __nv_bfloat16 *x, int64_t rows, int64_t cols,
                                   int64_t stride, bool wide) {
    int64_t chunks = rows * (cols / 8), step = (int64_t)gridDim.x * blockDim.x;
    unsigned max = 0;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < chunks; i += step) {
        float y[8];
        load_eight(y, x + i / (cols / 8) * stride + i % (cols / 8) * 8, 8, wide);
        for (int j = 0; j < 8; j++) {
            unsigned bits = __float_as_uint(y[j]) & 0x7FFFFFFFu;
            max = bits > max ? bits : max;
        }
    }
    max = __reduce_max_sync(0xFFFFFFFFu, max);
    if (threadIdx.x % WARP == 0 && max) atomicMax(largest, max);
}

// A matrix of zeros has scale 1.
static __global__ void fp8_scale(float *scale) {
    if (threadIdx.x == 0) *scale = *scale == 0 ? 1 : *scale / 448;
}

static void check_part(Mat m) {
    CHECK(m.dtype == DTYPE_BF16 && m.cols % 8 == 0, "fp8 from [%ld, %ld] of type %d", m.rows, m.cols, (int)m.dtype);
}

void cuda_fp8_measure(Backend *b, float *scale, Mat m) {
    enum { THREADS = 256 };
    check_part(m);
    int64_t blocks = min64(ceil_div(m.rows * (m.cols / 8), THREADS), 1024);
    RUN(b, fp8_measure, (unsigned)blocks, THREADS, 0, (unsigned *)scale, (const __nv_bfloat16 *)m.data, m.rows, m.cols,
        mat_stride(m), vectors_fit(m));
}

void cuda_fp8_scale(Backend *b, float *scale) { RUN(b, fp8_scale, 1, WARP, 0, scale); }

// ---- quantisation ----

static __device__ uint8_t to_e4m3(float x, float scale) {
    return (uint8_t)__nv_cvt_float_to_fp8(x / scale, __NV_SATFINITE, __NV_E4M3); // NaN stays; rounding may pass 448
}

static __global__ void fp8_quantise(uint8_t *out, const __nv_bfloat16 *x, int64_t rows, int64_t cols, int64_t stride,
                                    bool wide, const float *scale) {
    int64_t chunk = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (chunk >= rows * (cols / 8)) return;
    int64_t row = chunk / (cols / 8), at = chunk % (cols / 8) * 8;
    float y[8];
    load_eight(y, x + row * stride + at, 8, wide);
    uint2 bytes;
    uint8_t q[8];
    for (int i = 0; i < 8; i++) q[i] = to_e4m3(y[i], *scale);
    memcpy(&bytes, q, sizeof bytes);
    *reinterpret_cast<uint2 *>(out + row * cols + at) = bytes;
}

static void quantise(Backend *b, void *out, const float *scale, Mat m) {
    enum { THREADS = 256 };
    check_part(m);
    RUN(b, fp8_quantise, blocks_of(m.rows * (m.cols / 8), THREADS), THREADS, 0, (uint8_t *)out,
        (const __nv_bfloat16 *)m.data, m.rows, m.cols, mat_stride(m), vectors_fit(m), scale);
}

enum { TILE = 32 };

// out [cols, out_cols], from column `col` on = the transpose of x [rows, cols].
static __global__ void fp8_transpose(uint8_t *out, int64_t out_cols, int64_t col, const uint8_t *x, int64_t rows,
                                     int64_t cols) {
    SHARED(uint8_t, tile, [TILE][TILE + 4]);
    int64_t row0 = (int64_t)blockIdx.y * TILE, col0 = (int64_t)blockIdx.x * TILE;
    int lane = (int)threadIdx.x % TILE;
    for (int i = (int)threadIdx.x / TILE; i < TILE; i += (int)blockDim.x / TILE)
        if (row0 + i < rows && col0 + lane < cols) tile[i][lane] = x[(row0 + i) * cols + col0 + lane];
    __syncthreads();
    for (int i = (int)threadIdx.x / TILE; i < TILE; i += (int)blockDim.x / TILE)
        if (col0 + i < cols && row0 + lane < rows) out[(col0 + i) * out_cols + col + row0 + lane] = tile[lane][i];
}

void cuda_fp8_store(Backend *b, void *data, const float *scale, Mat part, int64_t row, int64_t rows) {
    enum { THREADS = 256, MOST_ROWS = 65535 * TILE };
    uint8_t *w = (uint8_t *)data, *transposed = w + rows * part.cols;
    CHECK(row >= 0 && row + part.rows <= rows && part.rows <= MOST_ROWS);
    if (!part.rows) return;
    quantise(b, w + row * part.cols, scale, part);
    dim3 grid((unsigned)ceil_div(part.cols, TILE), (unsigned)ceil_div(part.rows, TILE));
    RUN(b, fp8_transpose, grid, THREADS, 0, transposed, rows, row, w + row * part.cols, part.rows, part.cols);
}

// ---- products ----

void cuda_fp8_product(Backend *b, const Product *p, const Weight *w, bool backward, void *ws) {
    if (cuda_failed(b)) return;
    float *scale = (float *)ws;
    void *quantised = (char *)ws + cuda_align(sizeof(float));
    const uint8_t *data = (const uint8_t *)w->segments[0].data;
    cuda_check(b, cudaMemsetAsync(scale, 0, sizeof *scale, cuda_stream(b)), "quantisation to fp8");
    cuda_fp8_measure(b, scale, p->a);
    cuda_fp8_scale(b, scale);
    quantise(b, quantised, scale, p->a);
    Product q = *p;
    q.a = mat_of(quantised, DTYPE_F8_E4M3, p->a.rows, p->a.cols);
    q.b = backward ? mat_of((void *)(data + w->rows * w->cols), DTYPE_F8_E4M3, w->cols, w->rows)
                   : mat_of((void *)data, DTYPE_F8_E4M3, w->rows, w->cols);
    q.b_t = true;
    q.scale_a = scale;
    q.scale_b = w->segments[0].row_scale;
    q.coarse = !backward;
    cuda_product(b, &q);
}
