// lora_cpu: the LoRA pair of a linear, y += scale drop(x) A^T B^T, and its backward.
//
// The rank is one side of all products, so they are bound by reading x and y: rows are processed in blocks of GEMM_ROWS
// that stay in cache. Sums over the rows (dA, dB) have the transposed low-rank side on the left: dA = dxa^T drop(x) and
// dB^T = xa^T dy, for blocks of BLOCK_T rows and tiles of TILE_N columns, each element by one thread.
#include "gemm.h"

enum { TILE_N = 192, BLOCK_T = 512, LANES = 64 };
_Static_assert(TILE_N % STRIP == 0 && BLOCK_T % K_STEP == 0, "whole strips");

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

// dst [n] (+)= src [n] times the dropout mask of row t from column `col` on, a multiple of 4.
static void masked_row(Act *dst, const Act *src, int64_t col, int64_t n, const Lora *l, int64_t t, bool add) {
    float factor[4 * LANES];
    for (int64_t first = 0; first < n; first += 4 * LANES) {
        int64_t count = min64(4 * LANES, n - first);
        drop_factors(factor, l, t, (uint32_t)((col + first) / 4));
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            dst[first + i] = act_store(act_load(src[first + i]) * factor[i] + (add ? act_load(dst[first + i]) : 0));
    }
}

// The sections of the workspace: elements, or parts, of each.
typedef struct Layout {
    int64_t a, b;          // parts of packed A and B, in the orientation of the call
    int64_t low;           // backward: dxa [T, R]
    int64_t low_t;         // backward: [R, T], transposed xa, then transposed dxa
    int64_t left, scratch; // of each thread: parts of the left side of a product; elements of scratch
} Layout;

// Parts of a packed block of dy or x, in a call with t rows.
static int64_t packed_block(int64_t t) { return gemm_packed_size(min64(BLOCK_T, t), TILE_N); }

static int64_t block_elements(int64_t t) {
    int64_t each = sizeof(Act) / sizeof(Part);
    return (packed_block(t) + each - 1) / each;
}

// A thread's scratch: rows of A and B while they are packed; a masked block of x; a packed block of dy or x; a tile of
// dB^T.
static Layout lay_out(const Lora *l, int64_t t, int64_t k) {
    int64_t r = l->rank, n = l->rows, widest = max64(max64(k, n), r);
    Layout y = {max64(gemm_packed_size(k, r), gemm_packed_size(r, k)),
                max64(gemm_packed_size(r, n), gemm_packed_size(n, r)),
                t * r,
                r * t,
                max64(gemm_left_size(GEMM_ROWS, widest), gemm_left_size(r, BLOCK_T)),
                0};
    int64_t masked = l->dropout != 0 ? GEMM_ROWS * k : 0;
    int64_t block = block_elements(t) + (l->dropout != 0 ? min64(BLOCK_T, t) * TILE_N : 0);
    int64_t tile = r * TILE_N * (int64_t)(sizeof(float) / sizeof(Act));
    y.scratch = max64(max64(32, STRIP) * widest, max64(masked, block + tile));
    return y;
}

static size_t pair_workspace(const Backend *b, const Lora *l, int64_t t, int64_t k) {
    Layout y = lay_out(l, t, k);
    return (size_t)(y.a + y.b + b->threads * y.left) * sizeof(Part) +
           (size_t)(y.low + y.low_t + b->threads * y.scratch) * sizeof(Act);
}

size_t CPU_FN(lora_workspace)(Backend *b, const Lora *l, int64_t t, int64_t k) {
    size_t most = 0;
    for (int i = 0; i <= l->more; i++) {
        size_t bytes = pair_workspace(b, l + i, t, k);
        if (bytes > most) most = bytes;
    }
    return most;
}

// Where the sections are: packed A and B, the left side of each thread; low, low_t, scratch of each thread.
typedef struct Memory {
    Part *a, *b, *left;
    Act *low, *low_t, *scratch;
} Memory;
static Memory memory_at(void *ws, const Backend *b, const Layout *y) {
    Part *a = ws, *left = a + y->a + y->b;
    Act *low = (Act *)(left + b->threads * y->left);
    return (Memory){a, a + y->a, left, low, low + y->low, low + y->low + y->low_t};
}

// dst [n, cols] = columns [col, col + cols) of rows [t, t + n) of drop(x).
static void mask_rows(Act *dst, Mat x, const Lora *l, int64_t t, int64_t n, int64_t col, int64_t cols) {
    for (int64_t i = 0; i < n; i++) masked_row(dst + i * cols, act_row(x, t + i) + col, col, cols, l, t + i, false);
}

static void forward_pair(const Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws) {
    CHECK_ACT(xa, x.rows, l->rank);
    CHECK_ACT(y, x.rows, y.cols);
    CHECK(l->row_offset >= 0 && l->row_offset + l->rows <= y.cols);
    int64_t k = x.cols, r = l->rank;
    Layout at = lay_out(l, x.rows, k);
    Memory m = memory_at(ws, b, &at);
#pragma omp parallel num_threads(b->threads)
    {
        Act *scratch = m.scratch + omp_get_thread_num() * at.scratch;
        Part *left = m.left + omp_get_thread_num() * at.left;
#pragma omp single nowait
        gemm_pack_transposed_f32(m.a, l->a, k, k, r, scratch);
#pragma omp single
        gemm_pack_transposed_f32(m.b, l->b, r, r, l->rows, scratch);
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < x.rows; t += GEMM_ROWS) {
            int64_t n = min64(GEMM_ROWS, x.rows - t);
            const Act *rows = l->dropout == 0 ? act_row(x, t) : scratch;
            if (l->dropout != 0) mask_rows(scratch, x, l, t, n, 0, k);
            Act *low = act_row(xa, t), *to = act_row(y, t) + l->row_offset;
            gemm((Output){.act = low, .stride = r},
                 (Product){n, r, k, .a = gemm_left(left, rows, k, n, k), .b = m.a, .alpha = 1});
            gemm((Output){.act = to, .stride = y.cols, .residual = to, .residual_stride = y.cols},
                 (Product){n, l->rows, r, .a = gemm_left(left, low, r, n, r), .b = m.b, .alpha = l->scale});
        }
    }
}

static void forward_experts(const Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws) {
    const MoePlan *plan = l->experts;
    for (int64_t e = 0; e < plan->experts; e++) {
        Lora own = host_expert_lora(l, e, x.cols);
        if (plan->offset[e] == plan->offset[e + 1]) continue;
        forward_pair(b, host_expert_rows(y, plan, e), host_expert_rows(xa, plan, e), host_expert_rows(x, plan, e), &own,
                     ws);
    }
}

void CPU_FN(lora_forward)(Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws) {
    if (l->experts) {
        forward_experts(b, y, xa, x, l, ws);
        return;
    }
    for (int i = 0; i <= l->more; i++) forward_pair(b, y, host_lora_xa(xa, l, i), x, l + i, ws);
}

// One pair of lora_backward: its operands, and the parts of its workspace.
typedef struct Backward {
    Mat dx, dy, x, xa;
    const Lora *l;
    Part *a, *b; // packed A [R, K] and B [N, R]
    Act *dxa, *low_t;
} Backward;

// dxa = scale dy B;  dx += mask(dxa A): with dropout the product goes to `tile`, and the mask is applied while adding.
static void backward_rows(const Backward *c, Act *tile, Part *left) {
    const Lora *l = c->l;
    int64_t r = l->rank, k = c->x.cols;
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < c->dy.rows; t += GEMM_ROWS) {
        int64_t n = min64(GEMM_ROWS, c->dy.rows - t);
        Act *low = c->dxa + t * r, *to = c->dx.data ? act_row(c->dx, t) : NULL;
        Left dy = gemm_left(left, act_row(c->dy, t) + l->row_offset, c->dy.cols, n, l->rows);
        gemm((Output){.act = low, .stride = r}, (Product){n, r, l->rows, .a = dy, .b = c->b, .alpha = l->scale});
        if (!to) continue;
        Output dx = {.act = l->dropout == 0 ? to : tile,
                     .stride = k,
                     .residual = l->dropout == 0 ? to : NULL,
                     .residual_stride = k};
        gemm(dx, (Product){n, k, r, .a = gemm_left(left, low, r, n, r), .b = c->a, .alpha = 1});
        for (int64_t i = 0; i < n && l->dropout != 0; i++) masked_row(to + i * k, tile + i * k, 0, k, l, t + i, true);
    }
}

// dst [R, T] = transposed src [T, R].
static void transpose_low(Act *dst, const Act *src, int64_t t, int64_t r) {
#pragma omp for
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < t; j++) dst[i * t + j] = src[j * r + i];
}

// db [n, R] += scale * the transpose of tile [R, n].
static void add_transposed(float *db, const float *tile, int64_t n, int64_t r, float scale) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < r; j++) db[i * r + j] += scale * tile[j * n + i];
}

// dB += scale dy^T xa, by tiles of rows of dB.
static void backward_b(const Backward *c, Act *scratch, Part *left) {
    const Lora *l = c->l;
    int64_t r = l->rank, rows = c->dy.rows;
    Part *packed = (Part *)scratch;
    float *tile = (float *)(scratch + block_elements(rows));
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < l->rows; i += TILE_N) {
        int64_t n = min64(TILE_N, l->rows - i);
        for (int64_t t = 0; t < rows; t += BLOCK_T) {
            int64_t k = min64(BLOCK_T, rows - t);
            gemm_pack(packed, gemm_strip_size(k), act_row(c->dy, t) + l->row_offset + i, c->dy.cols, k, n);
            gemm((Output){.f32 = tile, .stride = n, .add = t > 0},
                 (Product){r, n, k, .a = gemm_left(left, c->low_t + t, rows, r, k), .b = packed, .alpha = 1});
        }
        add_transposed(l->db + i * r, tile, n, r, l->scale);
    }
}

// dA += dxa^T drop(x), by tiles of columns of dA.
static void backward_a(const Backward *c, Act *scratch, Part *left) {
    const Lora *l = c->l;
    int64_t r = l->rank, rows = c->x.rows, k = c->x.cols;
    Part *packed = (Part *)scratch;
    Act *masked = scratch + block_elements(rows);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < k; i += TILE_N) {
        int64_t n = min64(TILE_N, k - i);
        for (int64_t t = 0; t < rows; t += BLOCK_T) {
            int64_t count = min64(BLOCK_T, rows - t);
            if (l->dropout != 0) mask_rows(masked, c->x, l, t, count, i, n);
            gemm_pack(packed, gemm_strip_size(count), l->dropout == 0 ? act_row(c->x, t) + i : masked,
                      l->dropout == 0 ? k : n, count, n);
            gemm((Output){.f32 = l->da + i, .stride = k, .add = true},
                 (Product){r, n, count, .a = gemm_left(left, c->low_t + t, rows, r, count), .b = packed, .alpha = 1});
        }
    }
}

static void backward_pair(const Backend *b, Backward c, void *ws) {
    const Lora *l = c.l;
    int64_t t = c.x.rows, r = l->rank, k = c.x.cols;
    if (!c.dx.data && !l->da && !l->db) return;
    CHECK_ACT(c.xa, t, r);
    CHECK_ACT(c.dy, t, c.dy.cols);
    CHECK(l->row_offset >= 0 && l->row_offset + l->rows <= c.dy.cols);
    if (c.dx.data) CHECK_ACT(c.dx, t, k);
    Layout at = lay_out(l, t, k);
    Memory m = memory_at(ws, b, &at);
    c.a = m.a, c.b = m.b, c.dxa = m.low, c.low_t = m.low_t;
#pragma omp parallel num_threads(b->threads)
    {
        Act *scratch = m.scratch + omp_get_thread_num() * at.scratch;
        Part *left = m.left + omp_get_thread_num() * at.left;
#pragma omp single nowait
        gemm_pack_f32(c.b, l->b, r, l->rows, r, scratch);
#pragma omp single
        gemm_pack_f32(c.a, l->a, k, r, k, scratch);
        backward_rows(&c, scratch, left);
        if (l->db) {
            transpose_low(c.low_t, c.xa.data, t, r);
            backward_b(&c, scratch, left);
        }
        if (l->da) {
            transpose_low(c.low_t, c.dxa, t, r);
            backward_a(&c, scratch, left);
        }
    }
}

static void backward_experts(const Backend *b, const Backward *all, void *ws) {
    const MoePlan *plan = all->l->experts;
    for (int64_t e = 0; e < plan->experts; e++) {
        Lora own = host_expert_lora(all->l, e, all->x.cols);
        Backward c = {.dx = host_expert_rows(all->dx, plan, e),
                      .dy = host_expert_rows(all->dy, plan, e),
                      .x = host_expert_rows(all->x, plan, e),
                      .xa = host_expert_rows(all->xa, plan, e),
                      .l = &own};
        if (c.x.rows) backward_pair(b, c, ws);
    }
}

void CPU_FN(lora_backward)(Backend *b, Mat dx, Mat dy, Mat x, Mat xa, const Lora *l, void *ws) {
    if (l->experts) {
        backward_experts(b, &(Backward){.dx = dx, .dy = dy, .x = x, .xa = xa, .l = l}, ws);
        return;
    }
    for (int i = 0; i <= l->more; i++)
        backward_pair(b, (Backward){.dx = dx, .dy = dy, .x = x, .xa = host_lora_xa(xa, l, i), .l = l + i}, ws);
}
