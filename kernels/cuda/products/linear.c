// linear: frozen weights. Dense ones are one product. Block types are expanded by tiles of as many elements as the
// buffers hold: forward by rows of W, which are columns of the result, backward by columns of W, which are columns of
// dx, so that nothing is ever added up over tiles.
//
// The bias is float32 in memory and part of the product's epilogue, which takes it in the type of the result: for
// 16-bit results it is rounded into the workspace at each call (files usually store it in 16 bits).
#include "fp8.h"
#include "matmul.h"
#include "tiles.h"

// Whether one product can read W in place.
static bool is_whole(const Backend *b, const Weight *w) {
    return cuda_is_fp8(w) || (w->n_segments == 1 && w->segments[0].dtype == b->activation);
}

static Mat plain(const Weight *w) {
    return mat_of((void *)w->segments[0].data, w->segments[0].dtype, w->rows, w->cols);
}

static void check_linear(const Backend *b, Mat in, int64_t in_cols, Mat out, int64_t out_cols) {
    CHECK(in.data && out.data && in.rows == out.rows && in.cols == in_cols && out.cols == out_cols &&
              in.dtype == b->activation && (out.dtype == b->activation || out.dtype == DTYPE_F32),
          "linear from [%ld, %ld] of type %d to [%ld, %ld] of type %d, expected columns %ld and %ld", in.rows, in.cols,
          (int)in.dtype, out.rows, out.cols, (int)out.dtype, in_cols, out_cols);
}

// The bias in the type that the product takes; *ws moves past it.
static const char *place_bias(Backend *b, const Weight *w, DType type, void **ws) {
    if (!w->bias || type == DTYPE_F32) return (const char *)w->bias;
    void *bias = *ws;
    cuda_round(b, bias, type, w->bias, w->rows);
    *ws = (char *)*ws + cuda_align((size_t)w->rows * cuda_element(type));
    return bias;
}

// Columns [row, row + part.rows) of the result.
static Product forward_part(Mat out, Mat x, Mat part, int64_t row, const char *bias, Mat residual) {
    size_t element = cuda_element(out.dtype);
    return (Product){.c = cuda_columns(out, row, part.rows),
                     .a = x,
                     .b = part,
                     .b_t = true,
                     .alpha = 1,
                     .beta = residual.data ? 1 : 0,
                     .d = cuda_columns(residual, row, part.rows),
                     .bias = bias ? bias + (size_t)row * element : NULL};
}

// The product over all of W or a part of it.
static void multiply(Backend *b, const Product *p, const Weight *w, bool backward, void *ws) {
    if (cuda_is_fp8(w))
        cuda_fp8_product(b, p, w, backward, ws);
    else
        cuda_product(b, p);
}

void cuda_linear_forward(Backend *b, Mat out, Mat x, const Weight *w, Mat residual, void *ws) {
    if (cuda_failed(b) || x.rows == 0) return;
    check_linear(b, x, w->cols, out, w->rows);
    const char *bias = place_bias(b, w, out.dtype, &ws);
    bool whole = is_whole(b, w);
    int64_t rows = whole ? w->rows : cuda_tile_rows(b, w);
    for (int64_t row = 0; row < w->rows; row += rows) {
        Mat part = whole ? plain(w) : cuda_tile(b, w, row, min64(rows, w->rows - row), 0, w->cols);
        Product p = forward_part(out, x, part, row, bias, residual);
        multiply(b, &p, w, false, ws);
        if (!whole) cuda_tile_done(b);
    }
}

static Product backward_part(Mat dx, Mat dout, Mat part, int64_t col, bool accumulate) {
    return (Product){
        .c = cuda_columns(dx, col, part.cols), .a = dout, .b = part, .alpha = 1, .beta = accumulate ? 1 : 0};
}

void cuda_linear_backward(Backend *b, Mat dx, Mat dout, const Weight *w, bool accumulate, void *ws) {
    if (cuda_failed(b) || dout.rows == 0) return;
    check_linear(b, dout, w->rows, dx, w->cols);
    bool whole = is_whole(b, w);
    int64_t cols = whole ? w->cols : cuda_tile_columns(b, w);
    for (int64_t col = 0; col < w->cols; col += cols) {
        Mat part = whole ? plain(w) : cuda_tile(b, w, 0, w->rows, col, min64(cols, w->cols - col));
        Product p = backward_part(dx, dout, part, col, accumulate);
        multiply(b, &p, w, true, ws);
        if (!whole) cuda_tile_done(b);
    }
}

void cuda_linears_forward(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    for (const LinearCall *c = calls; c < calls + n; c++) cuda_linear_forward(b, c->out, c->in, w, c->residual, ws);
}

void cuda_linears_backward(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    for (const LinearCall *c = calls; c < calls + n; c++)
        cuda_linear_backward(b, c->out, c->in, w, c->residual.data != NULL, ws);
}
