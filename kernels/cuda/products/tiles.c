// tiles: the two buffers and the events that order their writes and reads.
#include "tiles.h"

typedef struct Tile {
    cudaEvent_t idle; // what read it is done
    uint64_t epoch;   // of `idle`
} Tile;

struct CudaTiles {
    Tile tile[2];
    int turn;
    cudaEvent_t full;
};

int cuda_tiles_open(Backend *b, Err *err) {
    CudaTiles *t = cuda_state(b)->tiles = mem_calloc(1, sizeof *t);
    t->full = cuda_new_event(b, false);
    for (int i = 0; i < 2; i++) t->tile[i] = (Tile){.idle = cuda_new_event(b, false), .epoch = UINT64_MAX};
    return 0;
}

void cuda_tiles_close(Backend *b) {
    CudaTiles *t = cuda_state(b)->tiles;
    if (!t) return;
    if (t->full) cudaEventDestroy(t->full);
    for (int i = 0; i < 2; i++)
        if (t->tile[i].idle) cudaEventDestroy(t->tile[i].idle);
    mem_free(t);
}

static void set_idle(Backend *b, Tile *tile) {
    CudaState *s = cuda_state(b);
    cuda_check(b, cudaEventRecord(tile->idle, s->stream), "expansion of weights");
    tile->epoch = s->epoch;
}

// An event recorded outside a capture cannot be waited for inside it, nor the reverse, and a replayed pass records
// none: the first use of a buffer in an epoch waits for all earlier work.
void *cuda_tile_take(Backend *b) {
    CudaState *s = cuda_state(b);
    s->tiles->turn ^= 1;
    Tile *tile = &s->tiles->tile[s->tiles->turn];
    if (!cuda_failed(b)) {
        if (tile->epoch != s->epoch) set_idle(b, tile);
        cuda_check(b, cudaStreamWaitEvent(s->side_stream, tile->idle, 0), "expansion of weights");
    }
    return s->expanded[s->tiles->turn];
}

void cuda_tile_ready(Backend *b) {
    CudaState *s = cuda_state(b);
    if (cuda_failed(b)) return;
    cuda_check(b, cudaEventRecord(s->tiles->full, s->side_stream), "expansion of weights");
    cuda_check(b, cudaStreamWaitEvent(s->stream, s->tiles->full, 0), "expansion of weights");
}

void cuda_tile_done(Backend *b) {
    CudaTiles *t = cuda_state(b)->tiles;
    if (!cuda_failed(b)) set_idle(b, &t->tile[t->turn]);
}

Mat cuda_tile(Backend *b, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols) {
    CHECK(n * cols <= cuda_tile_elements(b), "%s: a tile of [%ld, %ld]", w->name, n, cols);
    Mat tile = mat_of(cuda_tile_take(b), b->activation, n, cols);
    cuda_expand_part(b, tile, w, row, col, cuda_state(b)->side_stream);
    cuda_tile_ready(b);
    return tile;
}

int64_t cuda_tile_rows(const Backend *b, const Weight *w) {
    int64_t rows = cuda_tile_elements(b) / w->cols;
    CHECK(rows > 0, "%s: rows of %ld columns", w->name, w->cols);
    if (rows >= w->rows) return w->rows;
    return rows >= 16 ? rows / 16 * 16 : rows;
}

int64_t cuda_tile_columns(const Backend *b, const Weight *w) {
    int64_t cols = cuda_tile_elements(b) / w->rows, block = 32; // of 16-bit elements: 64 bytes
    for (int i = 0; i < w->n_segments; i++) {
        int64_t size = dtype_info(w->segments[i].dtype)->block;
        block = size > block ? size : block;
    }
    if (cols >= w->cols) return w->cols;
    CHECK(cols >= block, "%s: columns of %ld rows", w->name, w->rows);
    return cols / block * block;
}
