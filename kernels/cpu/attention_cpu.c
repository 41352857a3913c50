// attention_cpu: blocked attention with an online softmax (Dao et al. 2022) and its backward.
//
// Blocks begin at a sample's first query and first key, and every sum has one order, so that bits depend on the
// sample's shape alone. The keys that a query sees are a range, so masking costs nothing per element, and blocks that
// no query of a block sees are not computed. Scores and sums are float32; probabilities are rounded to activations
// before they are multiplied.
#include <math.h>

#include "gemm.h"

enum { BLOCK_Q = 64, FORWARD_K = 512, BACKWARD_K = 256 }; // sizes of blocks of queries and keys

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
static float product_scale(const AttentionShape *s) { return s->softcap == 0 ? s->scale : s->scale / s->softcap; }

// ---- forward ----

// Rows of one product, at most BLOCK_Q: a block of queries of one head (row i is the query q0 + i), or of the heads
// that share a key head at one query (decoding: row i is head + i).
typedef struct Item {
    int64_t sample, q0, rows, head;
    bool decoding;
} Item;

static int64_t blocks_of(int64_t rows) { return (rows + BLOCK_Q - 1) / BLOCK_Q; }

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

// dst = src where the query sees the key, else 0.
static void round_seen(Act *dst, const float *src, int64_t n, Range seen) {
    memset(dst, 0, (size_t)seen.first * sizeof *dst);
    act_round(dst + seen.first, src + seen.first, seen.end - seen.first);
    memset(dst + seen.end, 0, (size_t)(n - seen.end) * sizeof *dst);
}

// The softmax of one row so far; out is relative to max.
typedef struct Running {
    float max, sum;
} Running;

// Adds a row of n scores to the softmax; p = exponentials, 0 for keys that the query does not see.
static void fold_row(Running *r, Act *p, float *x, int64_t n, Range seen, float *out, int64_t d) {
    float max = cpu_largest(x + seen.first, seen.end - seen.first);
    if (max > r->max) {
        float shrink = cpu_expf(r->max - max);
        r->sum *= shrink;
        r->max = max;
        for (int64_t i = 0; i < d; i++) out[i] *= shrink;
    }
    r->sum += cpu_exponentials(x + seen.first, seen.end - seen.first, r->max);
    round_seen(p, x, n, seen);
}

// Scratch of a thread in forward, in the order of the members.
typedef struct ForwardScratch {
    float *scores, *out; // [BLOCK_Q, block_keys], [BLOCK_Q, D]
    Act *p;              // [BLOCK_Q, block_keys]
    Part *k, *v;         // a block of keys and of values, packed
    Part *left;          // of the left side of a product
} ForwardScratch;

// Elements of a packed block of n keys, k^T [D, n], and of its values [n, D]: proportional to n rounded up to PACK_K,
// so that the blocks of a sample are neighbours.
enum { PACK_K = 32 };
_Static_assert(PACK_K % STRIP == 0 && PACK_K % K_STEP == 0 && FORWARD_K % PACK_K == 0, "whole strips");
static int64_t keys_size(int64_t d, int64_t n) {
    return (n + PACK_K - 1) / PACK_K * PACK_K * (gemm_strip_size(d) / STRIP);
}
static int64_t values_size(int64_t d, int64_t n) { return (n + PACK_K - 1) / PACK_K * gemm_packed_size(PACK_K, d); }

// Parts of the left side of any product: BLOCK_Q queries by D or by keys, or D by BLOCK_Q queries.
static int64_t left_size(int64_t d, int64_t keys) {
    return max64(gemm_left_size(BLOCK_Q, max64(d, keys)), gemm_left_size(d, BLOCK_Q));
}

// Keys in the largest block (`most`, or fewer in a call with only tk keys).
static int64_t block_keys(int64_t tk, int64_t most) { return min64(most, (tk + PACK_K - 1) / PACK_K * PACK_K); }

static size_t forward_bytes(int64_t d, int64_t tk) {
    int64_t keys = block_keys(tk, FORWARD_K), parts = keys_size(d, keys) + values_size(d, keys) + left_size(d, keys);
    return (size_t)(BLOCK_Q * (keys + d)) * sizeof(float) + (size_t)(BLOCK_Q * keys) * sizeof(Act) +
           (size_t)parts * sizeof(Part);
}

static ForwardScratch forward_scratch(const AttentionCall *a) {
    int64_t d = a->shape->head_size, keys = block_keys(a->k.rows, FORWARD_K);
    float *scores = (float *)((char *)a->ws + (size_t)omp_get_thread_num() * forward_bytes(d, a->k.rows));
    float *out = scores + BLOCK_Q * keys;
    Act *p = (Act *)(out + BLOCK_Q * d);
    Part *k = (Part *)(p + BLOCK_Q * keys), *v = k + keys_size(d, keys);
    return (ForwardScratch){scores, out, p, k, v, v + values_size(d, keys)};
}

// Packed keys and values of samples that have several blocks of queries, which share them: [KV, keys] each. A sample
// begins at a multiple of PACK_K keys and has more than 2 PACK_K, so that 1.5 Tk hold all of them, unless samples have
// keys in common: those that do not fit are packed by each block of queries.
typedef struct SharedKeys {
    Part *k, *v;
    int64_t keys;
} SharedKeys;

static SharedKeys shared_keys(const AttentionShape *s, int64_t keys, Part *ws) {
    int64_t most = (keys + keys / 2 + PACK_K) / PACK_K * PACK_K;
    return (SharedKeys){ws, ws + s->kv_heads * keys_size(s->head_size, most), most};
}

// The place of a sample's first key among the shared ones; -1: it has none there.
static int64_t shared_start(const AttentionShape *s, SharedKeys shared, int64_t sample) {
    int64_t end = 0, keys = 0;
    for (int64_t i = 0; i <= sample; i++) {
        keys = (s->k_len[i] + PACK_K - 1) / PACK_K * PACK_K;
        if (s->q_start[i + 1] - s->q_start[i] <= BLOCK_Q || s->k_len[i] <= BLOCK_Q || end + keys > shared.keys)
            keys = 0;
        end += keys;
    }
    return keys ? end - keys : -1;
}

// Keys [k0, k0 + n) of a sample, packed.
static void pack_block(const AttentionCall *a, int64_t sample, int64_t kv_head, int64_t k0, int64_t n, Part *k,
                       Part *v) {
    int64_t d = a->shape->head_size, row = a->shape->k_start[sample] + k0, column = kv_head * d;
    gemm_pack_transposed(k, act_row(a->k, row) + column, a->k.cols, d, n);
    gemm_pack(v, gemm_strip_size(n), act_row(a->v, row) + column, a->v.cols, n, d);
}

// The packed block of keys, and of values, that begins at shared key `at` of a head.
static Part *shared_k(const AttentionShape *s, SharedKeys shared, int64_t kv_head, int64_t at) {
    return shared.k + keys_size(s->head_size, kv_head * shared.keys + at);
}
static Part *shared_v(const AttentionShape *s, SharedKeys shared, int64_t kv_head, int64_t at) {
    return shared.v + values_size(s->head_size, kv_head * shared.keys + at);
}

static void pack_shared(const AttentionCall *a, SharedKeys shared) {
    const AttentionShape *s = a->shape;
#pragma omp for collapse(2) schedule(dynamic)
    for (int64_t sample = 0; sample < s->samples; sample++)
        for (int64_t kv_head = 0; kv_head < s->kv_heads; kv_head++) {
            int64_t start = shared_start(s, shared, sample);
            for (int64_t k0 = 0; start >= 0 && k0 < s->k_len[sample]; k0 += FORWARD_K)
                pack_block(a, sample, kv_head, k0, min64(FORWARD_K, s->k_len[sample] - k0),
                           shared_k(s, shared, kv_head, start + k0), shared_v(s, shared, kv_head, start + k0));
        }
}

static void attend(const AttentionCall *a, SharedKeys shared, Item item) {
    CHECK(item.rows <= BLOCK_Q);
    const AttentionShape *s = a->shape;
    Running running[BLOCK_Q];
    int64_t d = s->head_size, kv_head = item.head / (s->heads / s->kv_heads), rows = item.rows;
    int64_t ld = item.decoding ? d : a->q.cols; // from row to row of q and out
    const int32_t *pos = s->q_pos + item.q0;
    const Act *q = act_row(a->q, item.q0) + item.head * d;
    ForwardScratch f = forward_scratch(a);
    for (int64_t i = 0; i < rows; i++) running[i] = (Running){-FLT_MAX, 0};
    memset(f.out, 0, (size_t)(rows * d) * sizeof *f.out);
    int64_t first = keys_seen(s, item.sample, pos[0]).first;
    int64_t end = keys_seen(s, item.sample, pos[item.decoding ? 0 : rows - 1]).end;
    int64_t start = shared_start(s, shared, item.sample);
    for (int64_t k0 = first / FORWARD_K * FORWARD_K; k0 < end; k0 += FORWARD_K) {
        int64_t n = min64(FORWARD_K, end - k0), of_sample = min64(FORWARD_K, s->k_len[item.sample] - k0);
        Part *k = f.k, *v = f.v;
        bool use_shared = start >= 0 && (n == of_sample || n % K_STEP == 0);
        if (use_shared) {
            k = shared_k(s, shared, kv_head, start + k0);
            v = shared_v(s, shared, kv_head, start + k0);
        } else {
            pack_block(a, item.sample, kv_head, k0, n, k, v);
        }
        gemm((Output){.f32 = f.scores, .stride = n},
             (Product){rows, n, d, .a = gemm_left(f.left, q, ld, rows, d), .b = k, .alpha = product_scale(s)});
        for (int64_t i = 0; i < rows; i++) {
            Range seen = keys_in_block(s, item.sample, pos[item.decoding ? 0 : i], k0, n);
            float *x = f.scores + i * n;
            if (s->softcap != 0) cpu_softcap(x + seen.first, seen.end - seen.first, 1, s->softcap);
            fold_row(&running[i], f.p + i * n, x, n, seen, f.out + i * d, d);
        }
        gemm((Output){.f32 = f.out, .stride = d, .add = true},
             (Product){rows, d, n, .a = gemm_left(f.left, f.p, n, rows, n), .b = v, .alpha = 1,
                       .strip = gemm_strip_size(use_shared ? of_sample : n)});
    }
    for (int64_t i = 0; i < rows; i++) {
        Running r = running[i];
        float scale = r.sum == 0 ? 0 : 1 / r.sum; // a query that sees no key gives zeros and lse = -inf
        Act *out = act_row(a->out, item.q0) + item.head * d + i * ld;
        for (int64_t j = 0; j < d; j++) out[j] = act_store(f.out[i * d + j] * scale);
        f32_row(a->lse, item.q0)[item.head + (item.decoding ? i : i * s->heads)] = r.max + logf(r.sum);
    }
}

void CPU_FN(attention_forward)(Backend *b, const AttentionCall *c) {
    const AttentionShape *s = c->shape;
    host_check_attention(c, ACT_DTYPE, false);
    int64_t items = 0;
    for (int64_t sample = 0; sample < s->samples; sample++) items += items_of_sample(s, sample);
    SharedKeys shared = shared_keys(
        s, c->k.rows, (Part *)((char *)c->ws + (size_t)b->threads * forward_bytes(s->head_size, c->k.rows)));
#pragma omp parallel num_threads(b->threads)
    {
        pack_shared(c, shared);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < items; i++) attend(c, shared, item_at(s, i));
    }
}

// ---- backward ----
// With P = exp(scale q k^T - lse), dP = dout v^T, delta = sum(dout * out) and dS = P * (dP - delta):
//     dv = P^T dout,  dk = scale dS^T q,  dq = scale dS k.
// Under a soft cap the score s = c tanh(y / c) is recomputed and dS gets the factor ds/dy = 1 - tanh(y / c)^2.
// One task is a block of keys of one head and a span of its queries. It adds to the sums of dk and dv, which the heads
// of a group and the spans share, and to those of dq, which the blocks of keys share; dependences between tasks keep
// both orders. The sums are float32; those of dk and dv are transposed, so that P and dS are always on the right or the
// rows of a product: dv^T = dout^T P.

enum { SPAN_Q = 8 * BLOCK_Q }; // queries of a task

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

// Forward: scratch of each thread, shared keys and values. Backward: sums, delta, scratch of each thread.
size_t CPU_FN(attention_workspace)(Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    SharedKeys shared = shared_keys(s, k.rows, NULL);
    int64_t parts = s->kv_heads * (keys_size(s->head_size, shared.keys) + values_size(s->head_size, shared.keys));
    if (!backward) return (size_t)b->threads * forward_bytes(s->head_size, k.rows) + (size_t)parts * sizeof(Part);
    int64_t floats = q.rows * s->heads * (1 + s->head_size) + 2 * k.rows * s->kv_heads * s->head_size;
    return (((size_t)floats * sizeof(float) + 63) & ~(size_t)63) +
           (size_t)b->threads * backward_bytes(s->head_size, k.rows);
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
