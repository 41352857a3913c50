// attention_backward_cpu: the gradient of attention (attention_cpu.h).
//
// With P = exp(scale q k^T - lse), dP = dout v^T, delta = sum(dout * out) and dS = P * (dP - delta):
//     dv = P^T dout,  dk = scale dS^T q,  dq = scale dS k.
// Under a soft cap the score s = c tanh(y / c) is recomputed and dS gets the factor ds/dy = 1 - tanh(y / c)^2.
// One task is a block of keys of one head and a span of its queries. It adds to the sums of dk and dv, which the heads
// of a group and the spans share, and to those of dq, which the blocks of keys share; dependences between tasks keep
// both orders. The sums are float32; those of dk and dv are transposed, so that P and dS are always on the right or the
// rows of a product: dv^T = dout^T P.
#include <math.h>

#include "attention_cpu.h"

enum { SPAN_Q = 8 * BLOCK_Q, BACKWARD_K = 256 }; // queries and keys of a task

typedef struct Backward {
    const AttentionCall *c;
    const AttentionShape *s;
    float *delta;   // [Tq, H]
    float *dq;      // [Tq, H * D]
    float *dk, *dv; // [KV, D, Tk]
    void *scratch;  // of each thread: BackwardScratch
} Backward;

// Scratch of a thread, in the order of the members.
typedef struct BackwardScratch {
    float *p, *dp;       // [BLOCK_Q, block_keys]: scores, then P; dP, then dS
    Act *rounded;        // [BLOCK_Q, block_keys]: P, then dS
    Act *q_t, *dout_t;   // [D, BLOCK_Q]: transposed blocks of queries
    Part *packed;        // rounded, packed
    Part *k, *k_t, *v_t; // the block of keys, packed: k [n, D], k^T and v^T [D, n]
    Part *left;          // of the left side of a product
    int64_t strip;       // of k
} BackwardScratch;

static int64_t packed_keys(int64_t d, int64_t keys) {
    return max64(gemm_packed_size(keys, d), gemm_packed_size(d, keys));
}
static size_t backward_bytes(int64_t d, int64_t tk) {
    int64_t keys = block_keys(tk, BACKWARD_K);
    int64_t parts = gemm_packed_size(BLOCK_Q, keys) + 3 * packed_keys(d, keys) + left_size(d, keys);
    return (size_t)(2 * BLOCK_Q * keys) * sizeof(float) + (size_t)(BLOCK_Q * (keys + 2 * d)) * sizeof(Act) +
           (size_t)parts * sizeof(Part);
}

static BackwardScratch backward_scratch(const Backward *a) {
    int64_t d = a->s->head_size, tk = a->c->k.rows, keys = block_keys(tk, BACKWARD_K);
    BackwardScratch x = {0};
    x.p = (float *)((char *)a->scratch + (size_t)omp_get_thread_num() * backward_bytes(d, tk));
    x.dp = x.p + BLOCK_Q * keys;
    x.rounded = (Act *)(x.dp + BLOCK_Q * keys);
    x.q_t = x.rounded + BLOCK_Q * keys;
    x.dout_t = x.q_t + d * BLOCK_Q;
    x.packed = (Part *)(x.dout_t + d * BLOCK_Q);
    x.k = x.packed + gemm_packed_size(BLOCK_Q, keys);
    x.k_t = x.k + packed_keys(d, keys);
    x.v_t = x.k_t + packed_keys(d, keys);
    x.left = x.v_t + packed_keys(d, keys);
    return x;
}

// Sums, delta, scratch of each thread.
size_t attention_backward_workspace(const Backend *b, const AttentionShape *s, int64_t tq, int64_t tk) {
    int64_t floats = tq * s->heads * (1 + s->head_size) + 2 * tk * s->kv_heads * s->head_size;
    return (((size_t)floats * sizeof(float) + 63) & ~(size_t)63) +
           (size_t)b->threads * backward_bytes(s->head_size, tk);
}

// Replaces a row of scores by P and a row of dP by dS.
static void row_backward(float *x, float *dp, Range seen, float lse, float delta) {
#pragma omp simd
    for (int64_t i = seen.first; i < seen.end; i++) {
        x[i] = cpu_expf(x[i] - lse);
        dp[i] = x[i] * (dp[i] - delta);
    }
}

// The same for x = y / cap.
static void capped_row_backward(float *x, float *dp, Range seen, float lse, float delta, float cap) {
#pragma omp simd
    for (int64_t i = seen.first; i < seen.end; i++) {
        float t = cpu_tanhf(x[i]);
        x[i] = cpu_expf(cap * t - lse);
        dp[i] = x[i] * (dp[i] - delta) * (1 - t * t);
    }
}

// dst [D, rows] = transposed src [rows, D].
static void transpose(Act *dst, const Act *src, int64_t ld, int64_t rows, int64_t d) {
    for (int64_t j = 0; j < d; j++)
        for (int64_t i = 0; i < rows; i++) dst[j * rows + i] = src[i * ld + j];
}

// A block of keys of one key head, and the head of queries that a task takes.
typedef struct KeyBlock {
    int64_t sample, head, k0, n;
} KeyBlock;

// Rows [q0, q0 + rows) of queries against the first n keys of the block.
static void queries_backward(const Backward *a, const BackwardScratch *x, KeyBlock b, int64_t q0, int64_t rows) {
    const AttentionShape *s = a->s;
    const AttentionCall *c = a->c;
    int64_t d = s->head_size, heads = s->heads, ld = c->q.cols, n = b.n, keys = c->k.rows;
    int64_t column = b.head * d, sum = b.head / (heads / s->kv_heads) * d * keys + s->k_start[b.sample] + b.k0;
    const Act *q = act_row(c->q, q0) + column, *dout = act_row(c->dout, q0) + column;
    Part *left = x->left;
    gemm((Output){.f32 = x->p, .stride = n},
         (Product){rows, n, d, .a = gemm_left(left, q, ld, rows, d), .b = x->k_t, .alpha = product_scale(s)});
    gemm((Output){.f32 = x->dp, .stride = n},
         (Product){rows, n, d, .a = gemm_left(left, dout, ld, rows, d), .b = x->v_t, .alpha = 1});
    for (int64_t i = 0; i < rows; i++) {
        Range seen = keys_in_block(s, b.sample, s->q_pos[q0 + i], b.k0, n);
        int64_t at = (q0 + i) * heads + b.head;
        float lse = ((float *)c->lse.data)[at], delta = a->delta[at];
        if (s->softcap == 0)
            row_backward(x->p + i * n, x->dp + i * n, seen, lse, delta);
        else
            capped_row_backward(x->p + i * n, x->dp + i * n, seen, lse, delta, s->softcap);
        round_seen(x->rounded + i * n, x->p + i * n, n, seen);
    }
    transpose(x->q_t, q, ld, rows, d);
    transpose(x->dout_t, dout, ld, rows, d);
    gemm_pack(x->packed, gemm_strip_size(rows), x->rounded, n, rows, n);
    gemm((Output){.f32 = a->dv + sum, .stride = keys, .add = true},
         (Product){d, n, rows, .a = gemm_left(left, x->dout_t, rows, d, rows), .b = x->packed, .alpha = 1});
    for (int64_t i = 0; i < rows; i++)
        round_seen(x->rounded + i * n, x->dp + i * n, n, keys_in_block(s, b.sample, s->q_pos[q0 + i], b.k0, n));
    gemm_pack(x->packed, gemm_strip_size(rows), x->rounded, n, rows, n);
    gemm((Output){.f32 = a->dk + sum, .stride = keys, .add = true},
         (Product){d, n, rows, .a = gemm_left(left, x->q_t, rows, d, rows), .b = x->packed, .alpha = 1});
    gemm((Output){.f32 = a->dq + q0 * ld + column, .stride = ld, .add = true},
         (Product){rows, d, n, .a = gemm_left(left, x->rounded, n, rows, n), .b = x->k, .alpha = 1, .strip = x->strip});
}

// Queries [first, end) of the sample.
static void keys_backward(const Backward *a, KeyBlock b, int64_t first, int64_t end) {
    const AttentionShape *s = a->s;
    const AttentionCall *c = a->c;
    int64_t d = s->head_size, column = b.head / (s->heads / s->kv_heads) * d, row = s->k_start[b.sample] + b.k0;
    BackwardScratch x = backward_scratch(a);
    int64_t packed = 0; // keys that x holds: all of the block, or those that are seen if they are no whole steps
    for (int64_t q0 = first; q0 < end; q0 += BLOCK_Q) {
        int64_t rows = min64(BLOCK_Q, end - q0);
        Range from = keys_seen(s, b.sample, s->q_pos[q0]), to = keys_seen(s, b.sample, s->q_pos[q0 + rows - 1]);
        KeyBlock seen = b; // without the keys after all of these queries
        seen.n = min64(b.n, to.end - b.k0);
        if (from.first >= b.k0 + b.n || seen.n <= 0) continue;
        int64_t wanted = seen.n % K_STEP == 0 ? b.n : seen.n;
        if (packed != wanted) {
            const Act *k = act_row(c->k, row) + column, *v = act_row(c->v, row) + column;
            gemm_pack(x.k, gemm_strip_size(wanted), k, c->k.cols, wanted, d);
            gemm_pack_transposed(x.k_t, k, c->k.cols, d, wanted);
            gemm_pack_transposed(x.v_t, v, c->v.cols, d, wanted);
            packed = wanted;
        }
        x.strip = gemm_strip_size(wanted);
        queries_backward(a, &x, seen, q0, rows);
    }
}

static void zero_sums(const Backward *a) {
    int64_t queries = a->c->q.rows * a->c->q.cols, keys = a->c->k.rows * a->c->k.cols, n = queries + 2 * keys;
    enum { STEP = 1 << 14 };
#pragma omp for nowait
    for (int64_t i = 0; i < n; i += STEP) memset(a->dq + i, 0, (size_t)min64(STEP, n - i) * sizeof(float));
}

static void compute_delta(const Backward *a) {
    int64_t d = a->s->head_size, heads = a->s->heads;
#pragma omp for
    for (int64_t i = 0; i < a->c->q.rows * heads; i++) {
        const Act *x = (Act *)a->c->dout.data + i * d, *y = (Act *)a->c->out.data + i * d;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < d; j++) sum += act_load(x[j]) * act_load(y[j]);
        a->delta[i] = sum;
    }
}

static void spawn_sample(const Backward *a, int64_t sample) {
    const AttentionShape *s = a->s;
    int64_t first = s->q_start[sample], end = s->q_start[sample + 1];
    for (int64_t k0 = 0; k0 < s->k_len[sample]; k0 += BACKWARD_K)
        for (int64_t q0 = first; q0 < end; q0 += SPAN_Q)
            for (int64_t head = 0; head < s->heads; head++) {
                KeyBlock b = {sample, head, k0, min64(BACKWARD_K, s->k_len[sample] - k0)};
                int64_t last = min64(q0 + SPAN_Q, end);
                if (keys_seen(s, sample, s->q_pos[last - 1]).end <= k0) continue;
                if (keys_seen(s, sample, s->q_pos[q0]).first >= k0 + b.n) continue;
                // Dependence tokens: one for the rows of dq, one for the keys of dk and dv, that the task adds to.
                const float *queries = a->delta + q0 * s->heads + head;
                const float *keys = a->dk + head / (s->heads / s->kv_heads) * a->c->k.rows + s->k_start[sample] + k0;
                (void)queries, (void)keys;
#pragma omp task firstprivate(a, b, q0, last) depend(inout : queries[0], keys[0])
                keys_backward(a, b, q0, last);
            }
}

// dst [rows, cols] = scale * the sums, rounded.
static void round_rows(Mat dst, const float *sums, float scale) {
    if (!dst.data) return;
#pragma omp for nowait
    for (int64_t t = 0; t < dst.rows; t++) {
        Act *to = act_row(dst, t);
        for (int64_t i = 0; i < dst.cols; i++) to[i] = act_store(scale * sums[t * dst.cols + i]);
    }
}

// The same from transposed sums [cols, rows], a block of rows at a time, which stays in cache.
static void round_columns(Mat dst, const float *sums, float scale) {
    enum { ROWS = 16 };
    if (!dst.data) return;
#pragma omp for nowait
    for (int64_t first = 0; first < dst.rows; first += ROWS)
        for (int64_t i = 0; i < dst.cols; i++)
            for (int64_t t = first; t < min64(first + ROWS, dst.rows); t++)
                act_row(dst, t)[i] = act_store(scale * sums[i * dst.rows + t]);
}

void CPU_FN(attention_backward)(Backend *b, const AttentionCall *c) {
    const AttentionShape *s = c->shape;
    host_check_attention(c, ACT_DTYPE, true);
    Backward a = {.c = c, .s = s, .dq = c->ws};
    a.dk = a.dq + c->q.rows * c->q.cols;
    a.dv = a.dk + c->k.rows * c->k.cols;
    a.delta = a.dv + c->k.rows * c->k.cols;
    size_t floats = (size_t)(a.delta + c->q.rows * s->heads - a.dq);
    a.scratch = (char *)c->ws + ((floats * sizeof(float) + 63) & ~(size_t)63);
#pragma omp parallel num_threads(b->threads)
    {
        zero_sums(&a);
        compute_delta(&a);
        // master, not single: libgomp (12) leaks the table of dependences if another thread creates the tasks.
#pragma omp master
        for (int64_t sample = 0; sample < s->samples; sample++)
            if (s->q_start[sample + 1] > s->q_start[sample]) spawn_sample(&a, sample);
#pragma omp barrier
        round_rows(c->dq, a.dq, s->scale);
        round_columns(c->dk, a.dk, s->scale);
        round_columns(c->dv, a.dv, 1);
    }
}
