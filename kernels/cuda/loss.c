// loss: the language model's head with its loss.
//
// The scored rows are taken in chunks: their logits are stored, become gradients in place, and go back through W at
// once, so the workspace does not grow with the rows. Logits are a linear's output (linear.c). Going back, a dense head
// is one product; a quantised one is expanded again, a few thousand rows of W at a time, whose products are added up in
// float32: a linear would go by columns of W, but a vocabulary is too high for columns that keep a GPU busy. So an
// expanded head is never stored whole; it is expanded twice a chunk, beside the products.
//
// In training logits and their gradients have the type of activations, as a linear's output would: storing them in
// float32 would double the traffic of the head (5% of a step for a small model) to keep bits that the rounding of x and
// W has lost already. Evaluation has no gradients to write, so it can afford float32, and its losses are exact.
#include "cross_entropy.h"
#include "matmul.h"
#include "tiles.h"

enum { CHUNK_ROWS = 128, STRIDE = 64, CHUNK_TILES = 4 };

// Rows of logits begin at multiples of 16 bytes, whatever the vocabulary.
static int64_t logits_stride(const Weight *w) {
    return ceil_div(w->rows, STRIDE) * STRIDE;
}

static size_t logits_bytes(const Weight *w, DType type, int64_t rows) {
    return cuda_align((size_t)(rows * logits_stride(w)) * cuda_element(type));
}

// Rows of a chunk: as many as fit into four tiles of weights (256 MiB; less on a small device), in multiples of
// CHUNK_ROWS, and the chunks about even.
static int64_t chunk_rows(Backend *b, const Weight *w, DType type, int64_t m) {
    int64_t room = CHUNK_TILES * (int64_t)cuda_state(b)->expanded_bytes;
    int64_t most = room / (logits_stride(w) * (int64_t)cuda_element(type)) / CHUNK_ROWS * CHUNK_ROWS;
    if (most < CHUNK_ROWS) most = CHUNK_ROWS;
    if (m <= most) return m;
    int64_t chunks = ceil_div(m, most);
    return ceil_div(ceil_div(m, chunks), CHUNK_ROWS) * CHUNK_ROWS;
}

static bool in_tiles(const Weight *w) {
    for (int i = 0; i < w->n_segments; i++)
        if (w->segments[i].dtype > DTYPE_BF16 && w->segments[i].dtype != DTYPE_F8_E4M3) return true;
    return false;
}

// The workspace: what each row costs, the logits of a chunk, then what the linear needs or dx of a chunk in float32.
typedef struct Layout {
    size_t rows, logits, products;
} Layout;

static Layout layout_of(Backend *b, const Weight *w, DType type, int64_t m) {
    int64_t rows = chunk_rows(b, w, type, m);
    size_t linear = b->k->linear_workspace(b, w, rows);
    size_t sums = in_tiles(w) ? (size_t)(rows * w->cols) * sizeof(float) : 0;
    return (Layout){cuda_align((size_t)m * sizeof(RowLoss)), logits_bytes(w, type, rows),
                    linear > sums ? linear : sums};
}

static size_t layout_bytes(Layout l) {
    return l.rows + l.logits + l.products;
}

size_t cuda_head_loss_workspace(Backend *b, const Weight *w, const HeadLoss *h, int64_t m) {
    (void)h;
    size_t training = layout_bytes(layout_of(b, w, b->activation, m));
    size_t evaluation = layout_bytes(layout_of(b, w, DTYPE_F32, m));
    return training > evaluation ? training : evaluation;
}

static Mat rows_from(Mat m, int64_t first, int64_t n) {
    m.data = (char *)m.data + (size_t)(first * mat_stride(m)) * cuda_element(m.dtype);
    m.rows = n;
    return m;
}

// dx = d W, d [rows, V] the gradient of the logits.
static void head_backward(Backend *b, Mat dx, Mat d, const Weight *w, void *ws) {
    if (!in_tiles(w)) {
        b->k->linear_backward(b, dx, d, w, false, ws);
        return;
    }
    Mat sums = b->activation == DTYPE_F32 ? dx : mat_of(ws, DTYPE_F32, dx.rows, dx.cols);
    int64_t rows = cuda_tile_rows(b, w);
    for (int64_t row = 0; row < w->rows; row += rows) {
        int64_t n = rows < w->rows - row ? rows : w->rows - row;
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
    CHECK(x.cols == w->cols && (!dx.data || (dx.rows == x.rows && dx.cols == x.cols)), "head of %lld columns on %lld",
          (long long)w->cols, (long long)x.cols);
    DType type = dx.data ? b->activation : DTYPE_F32;
    Layout l = layout_of(b, w, type, x.rows);
    RowLoss *rows = ws;
    void *products = (char *)ws + l.rows + l.logits;
    int64_t step = chunk_rows(b, w, type, x.rows);
    for (int64_t at = 0; at < x.rows; at += step) {
        int64_t n = x.rows - at < step ? x.rows - at : step;
        Mat logits = {(char *)ws + l.rows, type, n, w->rows, logits_stride(w)};
        b->k->linear_forward(b, logits, rows_from(x, at, n), w, (Mat){.dtype = type}, products);
        CrossEntropy c = {.targets = h->targets + at,
                          .state = dx.data ? h->state : NULL,
                          .label_smoothing = h->label_smoothing,
                          .softcap = h->softcap,
                          .rows = rows + at};
        cuda_cross_entropy(b, logits, &c);
        if (dx.data) head_backward(b, rows_from(dx, at, n), logits, w, products);
    }
    cuda_total_loss(b, result, rows, x.rows);
}
