// attention_forward_cpu: attention and the workspace of both directions (attention_cpu.h).
#include <math.h>

#include "attention_cpu.h"

enum { FORWARD_K = 512 }; // keys of a block
_Static_assert(FORWARD_K % PACK_K == 0, "whole packed blocks");

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

// The softmax of one row so far; `out`, its sum of values, is relative to max.
typedef struct Running {
    float max, sum, *out;
} Running;

// Adds a row of n scores to the softmax; p = exponentials, 0 for keys that the query does not see.
static void fold_row(Running *r, Act *p, float *x, int64_t n, Range seen, int64_t d) {
    float max = cpu_largest(x + seen.first, seen.end - seen.first);
    if (max > r->max) {
        float shrink = cpu_expf(r->max - max);
        r->sum *= shrink;
        r->max = max;
        for (int64_t i = 0; i < d; i++) r->out[i] *= shrink;
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

// Elements of a packed block of n keys, k^T [D, n], and of its values [n, D].
static int64_t keys_size(int64_t d, int64_t n) {
    return (n + PACK_K - 1) / PACK_K * PACK_K * (gemm_strip_size(d) / STRIP);
}
static int64_t values_size(int64_t d, int64_t n) { return (n + PACK_K - 1) / PACK_K * gemm_packed_size(PACK_K, d); }

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

// The share of the keys beside a head's sink; *lse, of the keys, becomes that of both.
static float keys_share(const AttentionShape *s, int64_t head, float *lse) {
    float sink = s->sinks[head], keys = *lse, high = sink > keys ? sink : keys;
    *lse = high + logf(expf(sink - high) + expf(keys - high));
    return 1 / (1 + expf(sink - keys));
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
    for (int64_t i = 0; i < rows; i++) running[i] = (Running){-FLT_MAX, 0, f.out + i * d};
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
            fold_row(&running[i], f.p + i * n, x, n, seen, d);
        }
        gemm((Output){.f32 = f.out, .stride = d, .add = true},
             (Product){rows, d, n, .a = gemm_left(f.left, f.p, n, rows, n), .b = v, .alpha = 1,
                       .strip = gemm_strip_size(use_shared ? of_sample : n)});
    }
    for (int64_t i = 0; i < rows; i++) {
        Running r = running[i];
        float scale = r.sum == 0 ? 0 : 1 / r.sum; // a query that sees no key gives zeros and lse = -inf
        float lse = r.max + logf(r.sum);
        int64_t other = item.decoding ? i : 0; // heads after the item's
        if (s->sinks && r.sum != 0) scale *= keys_share(s, item.head + other, &lse);
        Act *out = act_row(a->out, item.q0) + item.head * d + i * ld;
        for (int64_t j = 0; j < d; j++) out[j] = act_store(f.out[i * d + j] * scale);
        f32_row(a->lse, item.q0)[item.head + (item.decoding ? i : i * s->heads)] = lse;
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

// Scratch of each thread, shared keys and values.
size_t attention_forward_workspace(const Backend *b, const AttentionShape *s, int64_t tk) {
    SharedKeys shared = shared_keys(s, tk, NULL);
    int64_t parts = s->kv_heads * (keys_size(s->head_size, shared.keys) + values_size(s->head_size, shared.keys));
    return (size_t)b->threads * forward_bytes(s->head_size, tk) + (size_t)parts * sizeof(Part);
}

size_t CPU_FN(attention_workspace)(Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    return backward ? attention_backward_workspace(b, s, q.rows, k.rows) : attention_forward_workspace(b, s, k.rows);
}
