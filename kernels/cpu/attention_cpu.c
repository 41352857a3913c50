// attention_cpu: blocked attention with an online softmax (Dao et al. 2022) and its backward.
//
// Blocks begin at a sample's first query and first key, and every sum has one order, so that bits depend on the
// sample's shape alone. The keys that a query sees are a range, so masking costs nothing per element.
#include <math.h>

#include "cpu.h"
#include "sgemm.h"

enum { BLOCK_Q = 64, FORWARD_K = 512, BACKWARD_K = 256 }; // sizes of blocks of queries and keys

// Scores of one block for each thread (backward: two), then delta [Tq, H] (backward).
size_t CPU_FN(attention_workspace)(Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    (void)k;
    int64_t floats =
        backward ? b->threads * BLOCK_Q * BACKWARD_K * 2 + q.rows * s->heads : b->threads * BLOCK_Q * FORWARD_K;
    return (size_t)floats * sizeof(float);
}

// Keys [first, end) of a sample, or columns of a block of scores.
typedef struct Range {
    int64_t first, end;
} Range;

static Range keys_seen(const AttentionShape *s, int64_t sample, int64_t pos) {
    int64_t end = s->bidirectional ? s->k_len[sample] : min64(pos + 1, s->k_len[sample]);
    return (Range){s->window ? min64(max64(pos - s->window + 1, 0), end) : 0, end};
}

// The part of keys_seen in the block of n keys from k0 on, relative to k0; may be empty.
static Range keys_in_block(const AttentionShape *s, int64_t sample, int64_t pos, int64_t k0, int64_t n) {
    Range r = keys_seen(s, sample, pos);
    r.first = min64(max64(r.first - k0, 0), n);
    r.end = max64(min64(r.end - k0, n), r.first);
    return r;
}

// The factor of q k^T in the product. With a soft cap c scores are c tanh(scale q k^T / c), by the row functions.
static float product_scale(const AttentionShape *s) {
    return s->softcap == 0 ? s->scale : s->scale / s->softcap;
}

// ---- forward ----

// Rows of one product, at most BLOCK_Q: a block of queries of one head (row i is the query q0 + i), or of the heads
// that share a key head at one query (decoding: row i is head + i).
typedef struct Item {
    int64_t sample, q0, rows, head;
    bool decoding;
} Item;

static int64_t blocks_of(int64_t rows) {
    return (rows + BLOCK_Q - 1) / BLOCK_Q;
}

static int64_t items_of_sample(const AttentionShape *s, int64_t sample) {
    int64_t n = s->q_start[sample + 1] - s->q_start[sample];
    return n == 1 ? s->kv_heads * blocks_of(s->heads / s->kv_heads) : blocks_of(n) * s->heads;
}

// Item i. The last blocks of a sample come first, for load balance: they see the most keys.
static Item item_at(const AttentionShape *s, int64_t i) {
    int64_t sample = 0;
    for (; i >= items_of_sample(s, sample); sample++) i -= items_of_sample(s, sample);
    int64_t start = s->q_start[sample], n = s->q_start[sample + 1] - start, group = s->heads / s->kv_heads;
    if (n == 1) {
        int64_t first = i % blocks_of(group) * BLOCK_Q; // of the group's heads
        return (Item){sample, start, min64(BLOCK_Q, group - first), i / blocks_of(group) * group + first, true};
    }
    int64_t block = blocks_of(n) - 1 - i / s->heads;
    return (Item){sample, start + block * BLOCK_Q, min64(BLOCK_Q, n - block * BLOCK_Q), i % s->heads, false};
}

static void zero_outside(float *x, int64_t n, Range r) {
    memset(x, 0, (size_t)r.first * sizeof *x);
    memset(x + r.end, 0, (size_t)(n - r.end) * sizeof *x);
}

// The softmax of one row so far; out is relative to max.
typedef struct Running {
    float max, sum;
} Running;

// Adds a row of n scores to the softmax and replaces them by exponentials, 0 for keys that the query does not see.
static void fold_row(Running *r, float *x, int64_t n, Range seen, float *out, int64_t d) {
    float max = cpu_largest(x + seen.first, seen.end - seen.first);
    if (max > r->max) {
        float shrink = cpu_expf(r->max - max);
        r->sum *= shrink;
        r->max = max;
        for (int64_t i = 0; i < d; i++) out[i] *= shrink;
    }
    r->sum += cpu_exponentials(x + seen.first, seen.end - seen.first, r->max);
    zero_outside(x, n, seen);
}

static void attend(const AttentionCall *a, Item item, float *scores) {
    CHECK(item.rows <= BLOCK_Q);
    const AttentionShape *s = a->shape;
    Running running[BLOCK_Q];
    int64_t d = s->head_size, column = item.head / (s->heads / s->kv_heads) * d;
    int64_t ld = item.decoding ? d : a->q.cols; // from row to row of q and out
    const int32_t *pos = s->q_pos + item.q0;
    const float *q = f32_row(a->q, item.q0) + item.head * d;
    float *out = f32_row(a->out, item.q0) + item.head * d, *lse = f32_row(a->lse, item.q0) + item.head;
    for (int64_t i = 0; i < item.rows; i++) {
        running[i] = (Running){-FLT_MAX, 0};
        memset(out + i * ld, 0, (size_t)d * sizeof *out);
    }
    int64_t first = keys_seen(s, item.sample, pos[0]).first;
    int64_t end = keys_seen(s, item.sample, pos[item.decoding ? 0 : item.rows - 1]).end;
    for (int64_t k0 = first / FORWARD_K * FORWARD_K; k0 < end; k0 += FORWARD_K) {
        int64_t n = min64(FORWARD_K, end - k0), row = s->k_start[item.sample] + k0;
        Factor k = {f32_row(a->k, row) + column, a->k.cols, true}, v = {f32_row(a->v, row) + column, a->v.cols, false};
        sgemm(scores, n, (Sgemm){item.rows, n, d, .alpha = product_scale(s), .a = {q, ld, false}, .b = k});
        for (int64_t i = 0; i < item.rows; i++) {
            Range seen = keys_in_block(s, item.sample, pos[item.decoding ? 0 : i], k0, n);
            if (s->softcap != 0) cpu_softcap(scores + i * n + seen.first, seen.end - seen.first, 1, s->softcap);
            fold_row(&running[i], scores + i * n, n, seen, out + i * ld, d);
        }
        sgemm(out, ld, (Sgemm){item.rows, d, n, .alpha = 1, .a = {scores, n, false}, .b = v, .beta = 1});
    }
    for (int64_t i = 0; i < item.rows; i++) {
        Running r = running[i];
        float scale = r.sum == 0 ? 0 : 1 / r.sum; // a query that sees no key gives zeros and lse = -inf
        for (int64_t j = 0; j < d; j++) out[i * ld + j] *= scale;
        lse[item.decoding ? i : i * s->heads] = r.max + logf(r.sum);
    }
}

void CPU_FN(attention_forward)(Backend *b, const AttentionCall *c) {
    const AttentionShape *s = c->shape;
    host_check_attention(c, false);
    int64_t items = 0;
    for (int64_t sample = 0; sample < s->samples; sample++) items += items_of_sample(s, sample);
#pragma omp parallel num_threads(b->threads)
    {
        sgemm_enter();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < items; i++)
            attend(c, item_at(s, i), (float *)c->ws + omp_get_thread_num() * BLOCK_Q * FORWARD_K);
    }
}

// ---- backward ----
// With P = exp(scale q k^T - lse), dP = dout v^T, delta = sum(dout * out) and dS = P * (dP - delta):
//     dv = P^T dout,  dk = scale dS^T q,  dq = scale dS k.
// Under a soft cap the score s = c tanh(y / c) is recomputed and dS gets the factor ds/dy = 1 - tanh(y / c)^2.
// One task is a block of keys of one head. It adds to dk and dv, which the heads of a group share, and to dq, which the
// blocks of keys share; dependences between tasks keep both orders, so that no second copy of dk, dv or dq is needed.

typedef struct Backward {
    const AttentionCall *c;
    const AttentionShape *s;
    float *scores, *delta; // [threads, 2, BLOCK_Q, BACKWARD_K], [Tq, H]
} Backward;

// Replaces a row of scores by P and a row of dP by dS.
static void row_backward(float *x, float *dp, int64_t n, Range seen, float lse, float delta) {
#pragma omp simd
    for (int64_t i = seen.first; i < seen.end; i++) {
        x[i] = cpu_expf(x[i] - lse);
        dp[i] = x[i] * (dp[i] - delta);
    }
    zero_outside(x, n, seen);
    zero_outside(dp, n, seen);
}

// The same for x = y / cap.
static void capped_row_backward(float *x, float *dp, int64_t n, Range seen, float lse, float delta, float cap) {
#pragma omp simd
    for (int64_t i = seen.first; i < seen.end; i++) {
        float t = cpu_tanhf(x[i]);
        x[i] = cpu_expf(cap * t - lse);
        dp[i] = x[i] * (dp[i] - delta) * (1 - t * t);
    }
    zero_outside(x, n, seen);
    zero_outside(dp, n, seen);
}

typedef struct KeyBlock {
    int64_t sample, head, k0, n;
} KeyBlock;

static void queries_backward(const Backward *a, KeyBlock b, int64_t q0, int64_t rows) {
    const AttentionShape *s = a->s;
    const AttentionCall *c = a->c;
    int64_t d = s->head_size, heads = s->heads, ld = c->q.cols, ldk = c->k.cols, n = b.n;
    int64_t column = b.head * d, key = (s->k_start[b.sample] + b.k0) * ldk + b.head / (heads / s->kv_heads) * d;
    Factor q = {f32_row(c->q, q0) + column, ld, false}, dout = {f32_row(c->dout, q0) + column, ld, false};
    Factor k = {(float *)c->k.data + key, ldk, false}, v = {(float *)c->v.data + key, ldk, true};
    Factor k_transposed = {k.data, ldk, true};
    float *p = a->scores + omp_get_thread_num() * 2 * BLOCK_Q * BACKWARD_K, *ds = p + BLOCK_Q * BACKWARD_K;
    sgemm(p, n, (Sgemm){rows, n, d, .alpha = product_scale(s), .a = q, .b = k_transposed});
    sgemm(ds, n, (Sgemm){rows, n, d, .alpha = 1, .a = dout, .b = v});
    for (int64_t i = 0; i < rows; i++) {
        Range seen = keys_in_block(s, b.sample, s->q_pos[q0 + i], b.k0, n);
        int64_t at = (q0 + i) * heads + b.head;
        float lse = ((float *)c->lse.data)[at], delta = a->delta[at];
        if (s->softcap == 0)
            row_backward(p + i * n, ds + i * n, n, seen, lse, delta);
        else
            capped_row_backward(p + i * n, ds + i * n, n, seen, lse, delta, s->softcap);
    }
    Factor pt = {p, n, true}, dst = {ds, n, true};
    Sgemm dv = {n, d, rows, .alpha = 1, .a = pt, .b = dout, .beta = 1};
    Sgemm dk = {n, d, rows, .alpha = s->scale, .a = dst, .b = q, .beta = 1};
    Sgemm dq = {rows, d, n, .alpha = s->scale, .a = {ds, n, false}, .b = k, .beta = 1};
    if (c->dv.data) sgemm((float *)c->dv.data + key, ldk, dv);
    if (c->dk.data) sgemm((float *)c->dk.data + key, ldk, dk);
    if (c->dq.data) sgemm(f32_row(c->dq, q0) + column, ld, dq);
}

static void keys_backward(const Backward *a, KeyBlock b) {
    const AttentionShape *s = a->s;
    int64_t end = s->q_start[b.sample + 1];
    for (int64_t q0 = s->q_start[b.sample]; q0 < end; q0 += BLOCK_Q) {
        int64_t rows = min64(BLOCK_Q, end - q0);
        Range from = keys_seen(s, b.sample, s->q_pos[q0]), to = keys_seen(s, b.sample, s->q_pos[q0 + rows - 1]);
        KeyBlock seen = b; // without the keys after all of these queries
        seen.n = min64(b.n, to.end - b.k0);
        if (from.first < b.k0 + b.n && seen.n > 0) queries_backward(a, seen, q0, rows);
    }
}

static void zero_rows(Mat m) {
    if (!m.data) return;
#pragma omp for nowait
    for (int64_t i = 0; i < m.rows; i++) memset(f32_row(m, i), 0, (size_t)m.cols * sizeof(float));
}

static void compute_delta(const Backward *a) {
    int64_t d = a->s->head_size, heads = a->s->heads;
#pragma omp for
    for (int64_t i = 0; i < a->c->q.rows * heads; i++) {
        const float *x = (float *)a->c->dout.data + i * d, *y = (float *)a->c->out.data + i * d;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < d; j++) sum += x[j] * y[j];
        a->delta[i] = sum;
    }
}

static void spawn_sample(const Backward *a, int64_t sample) {
    const AttentionShape *s = a->s;
    for (int64_t k0 = 0; k0 < s->k_len[sample]; k0 += BACKWARD_K)
        for (int64_t head = 0; head < s->heads; head++) {
            KeyBlock b = {sample, head, k0, min64(BACKWARD_K, s->k_len[sample] - k0)};
            int64_t kv_head = head / (s->heads / s->kv_heads);
            // Dependence tokens: one for the rows of dq, one for the rows of dk and dv, that the task adds to.
            const float *queries = f32_row(a->c->q, s->q_start[sample]) + head;
            const float *keys = f32_row(a->c->k, s->k_start[sample] + k0) + kv_head;
            (void)queries, (void)keys;
#pragma omp task firstprivate(a, b) depend(inout : queries[0], keys[0])
            keys_backward(a, b);
        }
}

void CPU_FN(attention_backward)(Backend *b, const AttentionCall *c) {
    const AttentionShape *s = c->shape;
    host_check_attention(c, true);
    Backward a = {c, s, c->ws, (float *)c->ws + b->threads * 2 * BLOCK_Q * BACKWARD_K};
#pragma omp parallel num_threads(b->threads)
    {
        sgemm_enter();
        zero_rows(c->dq);
        zero_rows(c->dk);
        zero_rows(c->dv);
        compute_delta(&a);
        // master, not single: libgomp (12) leaks the table of dependences if another thread creates the tasks.
#pragma omp master
        for (int64_t sample = 0; sample < s->samples; sample++)
            if (s->q_start[sample + 1] > s->q_start[sample]) spawn_sample(&a, sample);
    }
}
