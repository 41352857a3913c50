// loss: the language model's head with its loss.
//
// The scored rows are processed in chunks: their logits are stored, become gradients in place and are multiplied by W
// for dx, so the workspace does not grow with the rows. Logits are a linear's output (linear.c). In backward a dense
// head is one product; a quantised one is expanded again, a few thousand rows of W at a time, whose products are summed
// in float32. A linear splits W by columns, but a vocabulary is so long that tiles would have too few columns to keep
// a GPU busy. So an expanded head is never stored whole; it is expanded twice per chunk, concurrently with products.
//
// In training logits and their gradients have the activation type, as a linear's output would: storing them in
// float32 would double the traffic of the head (5% of a step for a small model) to keep bits that the rounding of x and
// W has lost already. Evaluation has no gradients to write, so it can afford float32, and its losses are exact.
#include "cross_entropy.h"
#include "matmul.h"
#include "tiles.h"

// dx = d W, d [rows, V] the gradient of the logits.
static void head_backward(Backend *b, Mat dx, Mat d, const Weight *w, void *ws) {
    if (!cuda_head_in_tiles(w)) {
        b->k->linear_backward(b, dx, d, w, false, ws);
        return;
    }
    Mat sums = b->activation == DTYPE_F32 ? dx : mat_of(ws, DTYPE_F32, dx.rows, dx.cols);
    int64_t rows = cuda_tile_rows(b, w);
    for (int64_t row = 0; row < w->rows; row += rows) {
        int64_t n = min64(rows, w->rows - row);
        Product p = {.c = sums,
                     .a = cuda_columns(d, row, n),
                     .b = cuda_tile(b, w, row, n, 0, w->cols),
                     .alpha = 1,
                     .beta = row > 0 ? 1 : 0};
        cuda_product(b, &p);
        cuda_tile_done(b);
    }
    if (sums.data != dx.data) cuda_round_rows(b, dx, sums);
}

void cuda_head_loss(Backend *b, HeadResult *result, Mat dx, Mat x, const Weight *w, const HeadLoss *h, void *ws) {
    if (cuda_failed(b)) return;
    CHECK(x.cols == w->cols && (!dx.data || (dx.rows == x.rows && dx.cols == x.cols)), "head of %ld columns on %ld",
          w->cols, x.cols);
    DType type = dx.data || h->as_in_training ? b->activation : DTYPE_F32;
    CHECK(!h->soft.k || h->label_smoothing == 0, "soft targets with label smoothing");
    HeadSizes l = cuda_head_sizes(b, w, h, type, x.rows);
    RowLoss *rows = ws;
    void *products = (char *)ws + l.rows + l.logits + l.kept;
    for (int64_t at = 0; at < x.rows; at += l.chunk) {
        int64_t n = min64(l.chunk, x.rows - at);
        Mat logits = {(char *)ws + l.rows, type, n, w->rows, l.stride};
        b->k->linear_forward(b, logits, mat_rows(x, at, n), w, (Mat){.dtype = type}, products);
        CrossEntropy c = {.targets = h->targets + at,
                          .state = dx.data ? h->state : NULL,
                          .label_smoothing = h->label_smoothing,
                          .softcap = h->softcap,
                          .rows = rows + at,
                          .token_loss = h->token_loss ? h->token_loss + at : NULL};
        if (h->soft.k) {
            SoftTargets soft = h->soft;
            soft.ids += at * soft.k;
            soft.values += at * soft.k;
            cuda_soft_cross_entropy(b, logits, &c, &soft, (float *)((char *)ws + l.rows + l.logits));
        } else
            cuda_cross_entropy(b, logits, &c);
        if (dx.data) head_backward(b, mat_rows(dx, at, n), logits, w, products);
    }
    cuda_total_loss(b, result, rows, x.rows);
}
