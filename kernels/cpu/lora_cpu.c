// lora_cpu: the LoRA pair of a linear, y += scale drop(x) A^T B^T, and its backward.
//
// The rank is one side of all products, so they are bound by reading x and y: rows are processed in blocks of TILE_T
// that stay in cache. Sums over the rows (dA, dB) are computed block by block, each element by one thread, so that no
// bit depends on the number of threads.
#include "cpu.h"
#include "sgemm.h"

enum { TILE_T = 128, TILE_N = 192, BLOCK_T = 2 * TILE_T, LANES = 64 };

// rng_philox for LANES groups from `group` on, round by round over all of them, which is a loop that vectorises.
static void philox_lanes(RngKey key, uint32_t token, uint32_t group, uint32_t out[4][LANES]) {
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
    uint64_t index = (uint64_t)key.row << 40 | (uint64_t)token << 16;
    for (uint32_t i = 0; i < LANES; i++) {
        c0[i] = (uint32_t)index | (group + i);
        c1[i] = (uint32_t)(index >> 32);
        c2[i] = key.stream;
        c3[i] = key.module;
    }
    for (int round = 0; round < 10; round++) {
#pragma omp simd
        for (int i = 0; i < LANES; i++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[i], p1 = (uint64_t)0xCD9E8D57u * c2[i];
            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)p1;
            c3[i] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(out[0], c0, sizeof c0);
    memcpy(out[1], c1, sizeof c1);
    memcpy(out[2], c2, sizeof c2);
    memcpy(out[3], c3, sizeof c3);
}

// The factors of dropout for columns [4 * group, 4 * (group + LANES)) of one row.
static void drop_factors(float *restrict factor, const Lora *l, int64_t t, uint32_t group) {
    uint32_t words[4][LANES];
    float keep = (float)(1 / (1 - (double)l->dropout)), dropout = l->dropout;
    philox_lanes(token_key(&l->keys, t), token_index(&l->keys, t), group, words);
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < 4; j++) factor[4 * i + j] = rng_keep(words[j][i], dropout) ? keep : 0;
}

// dst [k] (+)= src [k] times the dropout mask of row t.
static void masked_row(float *dst, const float *src, int64_t k, const Lora *l, int64_t t, bool add) {
    float factor[4 * LANES];
    for (int64_t first = 0; first < k; first += 4 * LANES) {
        int64_t n = min64(4 * LANES, k - first);
        drop_factors(factor, l, t, (uint32_t)(first / 4));
#pragma omp simd
        for (int64_t i = 0; i < n; i++) dst[first + i] = src[first + i] * factor[i] + (add ? dst[first + i] : 0);
    }
}

// Forward and dx: one masked tile of x, or of what is added to dx, per thread. Backward also: dxa [T, R] and, with
// dropout, a block of masked x.
size_t CPU_FN(lora_workspace)(Backend *b, const Lora *l, int64_t t, int64_t k) {
    int64_t tiles = l->dropout != 0 ? b->threads * TILE_T * k : 0, block = l->dropout != 0 ? BLOCK_T * k : 0;
    return (size_t)(t * l->rank + (tiles > block ? tiles : block)) * sizeof(float);
}

// Rows [t, t + n) of drop(x); dst is used where there is dropout.
static const float *masked_rows(float *dst, Mat x, int64_t t, int64_t n, const Lora *l) {
    if (l->dropout == 0) return f32_row(x, t);
    for (int64_t i = 0; i < n; i++) masked_row(dst + i * x.cols, f32_row(x, t + i), x.cols, l, t + i, false);
    return dst;
}

void CPU_FN(lora_forward)(Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws) {
    CHECK_SHAPE(xa, x.rows, l->rank);
    CHECK_SHAPE(y, x.rows, y.cols);
    CHECK(l->row_offset >= 0 && l->row_offset + l->rows <= y.cols);
    int64_t k = x.cols, r = l->rank;
#pragma omp parallel num_threads(b->threads)
    {
        float *tile = (float *)ws + omp_get_thread_num() * TILE_T * k;
        sgemm_enter();
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < x.rows; t += TILE_T) {
            int64_t n = min64(TILE_T, x.rows - t);
            const float *rows = masked_rows(tile, x, t, n, l);
            Sgemm down = {n, r, k, .alpha = 1, .a = {rows, k, false}, .b = {l->a, k, true}};
            Factor low = {f32_row(xa, t), r, false};
            Sgemm up = {n, l->rows, r, .alpha = l->scale, .a = low, .b = {l->b, r, true}, .beta = 1};
            sgemm(f32_row(xa, t), r, down);
            sgemm(f32_row(y, t) + l->row_offset, y.cols, up);
        }
    }
}

// dxa = scale dy B;  dx += mask(dxa A): with dropout the product goes to `tile`, and the mask is applied while adding.
static void backward_rows(float *dxa, float *tile, Mat dx, Mat dy, const Lora *l) {
    int64_t r = l->rank, k = dx.cols; // k: used only with dx
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < dy.rows; t += TILE_T) {
        int64_t n = min64(TILE_T, dy.rows - t);
        float *to = dxa + t * r;
        Factor dy_part = {f32_row(dy, t) + l->row_offset, dy.cols, false};
        sgemm(to, r, (Sgemm){n, r, l->rows, .alpha = l->scale, .a = dy_part, .b = {l->b, r, false}});
        if (!dx.data) continue;
        Sgemm up = {n, k, r, .alpha = 1, .a = {to, r, false}, .b = {l->a, k, false}, .beta = l->dropout == 0 ? 1 : 0};
        sgemm(l->dropout == 0 ? f32_row(dx, t) : tile, k, up);
        if (l->dropout == 0) continue;
        for (int64_t i = 0; i < n; i++) masked_row(f32_row(dx, t + i), tile + i * k, k, l, t + i, true);
    }
}

// dB += scale dy^T xa; a tile of rows of dB sums over all rows of dy.
static void backward_b(Mat dy, Mat xa, const Lora *l) {
    int64_t r = l->rank;
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < l->rows; i += TILE_N) {
        Factor dy_columns = {(float *)dy.data + l->row_offset + i, dy.cols, true}, low = {xa.data, r, false};
        sgemm(l->db + i * r, r, (Sgemm){min64(TILE_N, l->rows - i), r, dy.rows, l->scale, dy_columns, low, 1});
    }
}

// dA += dxa^T drop(x), block of rows after block of rows; a tile of columns of dA by one thread.
static void backward_a(const float *dxa, float *block, Mat x, const Lora *l) {
    int64_t r = l->rank, k = x.cols, step = l->dropout == 0 ? x.rows : BLOCK_T;
    for (int64_t t = 0; t < x.rows; t += step) {
        int64_t n = min64(step, x.rows - t);
        const float *rows = l->dropout == 0 ? f32_row(x, t) : block;
        if (l->dropout != 0) {
#pragma omp for
            for (int64_t i = 0; i < n; i++) masked_row(block + i * k, f32_row(x, t + i), k, l, t + i, false);
        }
#pragma omp for schedule(dynamic)
        for (int64_t c = 0; c < k; c += TILE_N)
            sgemm(l->da + c, k,
                  (Sgemm){r, min64(TILE_N, k - c), n, 1, {dxa + t * r, r, true}, {rows + c, k, false}, 1});
    }
}

void CPU_FN(lora_backward)(Backend *b, Mat dx, Mat dy, Mat x, Mat xa, const Lora *l, void *ws) {
    CHECK_SHAPE(xa, x.rows, l->rank);
    CHECK_SHAPE(dy, x.rows, dy.cols);
    CHECK(l->row_offset >= 0 && l->row_offset + l->rows <= dy.cols);
    if (dx.data) CHECK_SHAPE(dx, x.rows, x.cols);
    float *dxa = ws, *scratch = dxa + x.rows * l->rank;
#pragma omp parallel num_threads(b->threads)
    {
        sgemm_enter();
        backward_rows(dxa, scratch + omp_get_thread_num() * TILE_T * x.cols, dx, dy, l);
        if (l->db) backward_b(dy, xa, l);
        if (l->da) backward_a(dxa, scratch, x, l);
    }
}
