// grouped: one linear per expert. Experts in the activation type are multiplied in place; others are expanded, as many
// at a time as a tile holds, or in parts: forward by rows of W, backward by columns, as in linear.c.
#include "grouped.cuh"
#include "matmul.h"
#include "tiles.h"

// One call of the op: C [rows, N or K] (+)= A [rows, K or N] times the experts.
typedef struct Grouped {
    Mat c, a;
    const Weight *experts; // NULL: the weights are at GroupedPart.data, without bias
    const MoePlan *plan;
    bool backward, accumulate;
    float alpha;
} Grouped;

// Experts [first, first + count), columns [col, col + cols) of C. Their weights are `size` elements apart from data on;
// data NULL: in place.
typedef struct GroupedPart {
    int64_t first, count, col, cols;
    const void *data;
    int64_t size, w_stride;
} GroupedPart;

static unsigned grouped_grid(const Grouped *g, int64_t experts, int64_t cols, int tile_rows, int tile_cols) {
    int64_t rows = g->a.rows, tiles = rows / tile_rows + experts; // each expert may have one that is not full
    return blocks_of(min64(tiles, rows) * ceil_div(cols, tile_cols), 1);
}

template <bool BACKWARD> static void launch(Backend *b, const Grouped *g, const GroupedArgs<float> &args) {
    using Tile = GroupedPlainTile;
    unsigned grid = grouped_grid(g, args.experts, args.cols, Tile::SIZE, Tile::SIZE);
    RUN(b, (grouped_product_plain<BACKWARD>), grid, Tile::THREADS, 0, args);
}

template <bool BACKWARD, class T> static void launch(Backend *b, const Grouped *g, const GroupedArgs<T> &args) {
    using Tile = GroupedTile;
    unsigned grid = grouped_grid(g, args.experts, args.cols, Tile::ROWS, Tile::COLS);
    RUN(b, (grouped_product<T, BACKWARD>), grid, Tile::THREADS, 0, args);
}

template <class T> static void multiply_part(Backend *b, const Grouped *g, const GroupedPart *p) {
    GroupedArgs<T> args = {};
    Mat c = cuda_columns(g->c, p->col, p->cols);
    args.c = (T *)c.data;
    args.a = (const T *)g->a.data;
    args.c_stride = mat_stride(c);
    args.a_stride = mat_stride(g->a);
    args.cols = (int)p->cols;
    args.depth = (int)g->a.cols;
    args.alpha = g->alpha;
    args.accumulate = g->accumulate;
    args.experts = (int)p->count;
    args.offset = g->plan->offset + p->first;
    args.w_stride = p->w_stride;
    args.wide = vectors_fit(g->a) && p->w_stride % 8 == 0 && (g->backward ? p->cols : args.depth) % 8 == 0;
    for (int64_t i = 0; i < p->count; i++) {
        const Weight *w = g->experts ? &g->experts[p->first + i] : NULL;
        args.w[i] = p->data ? (const T *)p->data + i * p->size : (const T *)w->segments[0].data;
        if (w && w->bias && !g->backward) args.bias[i] = w->bias + p->col;
        args.wide = args.wide && (uintptr_t)args.w[i] % 16 == 0;
    }
    if (g->backward)
        launch<true>(b, g, args);
    else
        launch<false>(b, g, args);
}

static void run_part(Backend *b, const Grouped *g, const GroupedPart *p) {
    DISPATCH(b->activation, T, multiply_part<T>(b, g, p));
}

// All experts in place.
static void run_plain(Backend *b, const Grouped *g) {
    for (int64_t first = 0; first < g->plan->experts; first += GROUPED_MOST) {
        GroupedPart p = {first, min64(GROUPED_MOST, g->plan->experts - first), 0, g->c.cols, NULL, 0, g->experts->cols};
        run_part(b, g, &p);
    }
}

// Whole experts, up to `most` in a tile.
static void run_whole(Backend *b, const Grouped *g, int64_t most) {
    most = min64(most, GROUPED_MOST);
    int64_t rows = g->experts->rows, cols = g->experts->cols, size = rows * cols;
    for (int64_t first = 0; first < g->plan->experts; first += most) {
        int64_t count = min64(most, g->plan->experts - first);
        char *tile = (char *)cuda_tile_take(b);
        for (int64_t i = 0; i < count; i++) {
            char *at = tile + (size_t)(i * size) * cuda_element(b->activation);
            Mat out = mat_of(at, b->activation, rows, cols);
            cuda_expand_part(b, out, &g->experts[first + i], 0, 0, cuda_state(b)->side_stream);
        }
        cuda_tile_ready(b);
        GroupedPart p = {first, count, 0, g->c.cols, tile, size, cols};
        run_part(b, g, &p);
        cuda_tile_done(b);
    }
}

// Parts of one expert after the other: those of its rows or columns that make columns of C.
static void run_split(Backend *b, const Grouped *g) {
    for (int64_t e = 0; e < g->plan->experts; e++) {
        const Weight *w = &g->experts[e];
        int64_t step = g->backward ? cuda_tile_columns(b, w) : cuda_tile_rows(b, w), all = g->c.cols;
        for (int64_t at = 0; at < all; at += step) {
            int64_t n = min64(step, all - at);
            Mat tile = g->backward ? cuda_tile(b, w, 0, w->rows, at, n) : cuda_tile(b, w, at, n, 0, w->cols);
            GroupedPart p = {e, 1, at, n, tile.data, 0, tile.cols};
            run_part(b, g, &p);
            cuda_tile_done(b);
        }
    }
}

static void run_grouped(Backend *b, const Grouped *g) {
    const MoePlan *plan = g->plan;
    const Weight *w = g->experts;
    CHECK(g->a.data && g->c.data && g->a.rows == plan->tokens * plan->used && g->c.rows == g->a.rows &&
              g->a.cols == (g->backward ? w->rows : w->cols) && g->c.cols == (g->backward ? w->cols : w->rows) &&
              g->a.dtype == b->activation && g->c.dtype == b->activation && g->a.rows <= INT32_MAX / 2 &&
              w->rows <= INT32_MAX / 2 && w->cols <= INT32_MAX / 2,
          "experts of [%ld, %ld]: from [%ld, %ld] to [%ld, %ld]", w->rows, w->cols, g->a.rows, g->a.cols, g->c.rows,
          g->c.cols);
    bool plain = true;
    for (int64_t e = 0; e < plan->experts; e++)
        plain = plain && w[e].n_segments == 1 && w[e].segments[0].dtype == b->activation;
    int64_t most = cuda_tile_elements(b) / (w->rows * w->cols);
    if (g->a.rows == 0) return;
    if (plain)
        run_plain(b, g);
    else if (most > 0)
        run_whole(b, g, most);
    else
        run_split(b, g);
}

void cuda_grouped_linear_forward(Backend *b, Mat out, Mat x, const Weight *experts, const MoePlan *plan, void *) {
    if (cuda_failed(b)) return;
    Grouped g = {out, x, experts, plan, false, false, 1};
    run_grouped(b, &g);
}

void cuda_grouped_linear_backward(Backend *b, Mat dx, Mat dout, const Weight *experts, const MoePlan *plan,
                                  bool accumulate, void *) {
    if (cuda_failed(b)) return;
    Grouped g = {dx, dout, experts, plan, true, accumulate, 1};
    run_grouped(b, &g);
}

void cuda_expert_product(Backend *b, const ExpertProduct *p) {
    Grouped g = {p->c, p->a, NULL, p->plan, p->backward, p->accumulate, p->alpha};
    for (int64_t first = 0; p->a.rows && first < p->plan->experts; first += GROUPED_MOST) {
        int64_t count = min64(GROUPED_MOST, p->plan->experts - first);
        const char *data = (const char *)p->w + (size_t)(first * p->size) * cuda_element(b->activation);
        GroupedPart part = {first, count, 0, p->c.cols, data, p->size, p->backward ? p->c.cols : p->a.cols};
        run_part(b, &g, &part);
    }
}

// ---- gradients of parameters of experts, float32 ----

template <class T> struct GradientArgs {
    float *dw;
    const T *left, *right;
    int64_t left_stride, right_stride, size;
    int rows, cols;
    float alpha;
    const int32_t *offset;
};

// A block makes a tile of one expert's matrix; its sums run over the expert's rows in their order.
template <class T>
static __global__ void __launch_bounds__(GroupedPlainTile::THREADS) expert_gradient(GradientArgs<T> args) {
    using Tile = GroupedPlainTile;
    SHARED(float, a, [Tile::DEPTH][Tile::LD]);
    SHARED(float, b, [Tile::DEPTH][Tile::LD]);
    int col_tiles = (args.cols + Tile::SIZE - 1) / Tile::SIZE, row_tiles = (args.rows + Tile::SIZE - 1) / Tile::SIZE;
    int expert = (int)blockIdx.x / (col_tiles * row_tiles), tile = (int)blockIdx.x % (col_tiles * row_tiles);
    int first_row = tile / col_tiles * Tile::SIZE, first_col = tile % col_tiles * Tile::SIZE;
    int begin = args.offset[expert], end = args.offset[expert + 1];
    if (begin == end) return;
    int row = (int)threadIdx.x / 16, col = (int)threadIdx.x % 16;
    float sum[4][4] = {};
    for (int t = begin; t < end; t += Tile::DEPTH) {
        for (int i = (int)threadIdx.x; i < Tile::SIZE * Tile::DEPTH; i += Tile::THREADS) {
            int d = i / Tile::SIZE, c = i % Tile::SIZE;
            bool inside = t + d < end;
            a[d][c] =
                inside && first_row + c < args.rows ? load(args.left + (t + d) * args.left_stride + first_row + c) : 0;
            b[d][c] = inside && first_col + c < args.cols
                          ? load(args.right + (t + d) * args.right_stride + first_col + c)
                          : 0;
        }
        __syncthreads();
        for (int d = 0; d < Tile::DEPTH; d++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += a[d][row + 16 * i] * b[d][col + 16 * j];
        __syncthreads();
    }
    float *dw = args.dw + expert * args.size;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            int r = first_row + row + 16 * i, c = first_col + col + 16 * j;
            if (r < args.rows && c < args.cols) dw[(int64_t)r * args.cols + c] += args.alpha * sum[i][j];
        }
}

void cuda_expert_gradient(Backend *b, float *dw, Mat left, Mat right, const ExpertProduct *p) {
    int64_t tiles = ceil_div(left.cols, GroupedPlainTile::SIZE) * ceil_div(right.cols, GroupedPlainTile::SIZE);
    CHECK(left.rows == right.rows && left.rows <= INT32_MAX / 2 && left.cols <= INT32_MAX / 2 &&
          right.cols <= INT32_MAX / 2);
    DISPATCH(left.dtype, T, {
        GradientArgs<T> args = {};
        args.dw = dw;
        args.left = (const T *)left.data;
        args.right = (const T *)right.data;
        args.left_stride = mat_stride(left);
        args.right_stride = mat_stride(right);
        args.size = p->size;
        args.rows = (int)left.cols;
        args.cols = (int)right.cols;
        args.alpha = p->alpha;
        args.offset = p->plan->offset;
        RUN(b, (expert_gradient<T>), blocks_of(p->plan->experts * tiles, 1), GroupedPlainTile::THREADS, 0, args);
    });
}
