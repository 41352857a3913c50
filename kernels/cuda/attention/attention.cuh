// attention: shared by the attention kernels (flash_*.cu, attention_plain.cu): work division, visible keys, addresses.
//
// The queries of a sample and the heads that share a key head are one list of rows: row r of key head j is query
// r / group, head j * group + r % group. So a tile of rows reads each key once for its whole group, the gradients of
// keys are sums over rows, and a single query (decoding) still fills group rows of a tile.
// A block processes one tile of one key head, which it finds from its block number by walking the samples. So a launch
// depends on Tq, Tk, samples and heads only; blocks without work return.
#pragma once

#include "attention.h"
#include "device.cuh"

static constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

template <class T> struct Rows { // a matrix
    T *data;
    int64_t stride;
};
template <class T> static Rows<T> rows_of(Mat m) { return {(T *)m.data, mat_stride(m)}; }

struct Attention { // AttentionShape for kernels
    const int32_t *q_start, *k_start, *k_len, *q_pos;
    int samples, kv_heads, group, head_size, tq, tk;
    int ahead, behind; // a query at p sees keys [p - behind, p + ahead); FAR: all of them
    float scale, softcap;
};
static inline Attention attention_of(const AttentionCall *c) {
    constexpr int FAR = 1 << 30; // more than there are keys; position + FAR fits an int
    const AttentionShape *s = c->shape;
    int window = s->window && s->window < FAR ? (int)s->window : FAR, ahead = s->bidirectional ? window : 1;
    // clang-format off
    return {s->q_start, s->k_start, s->k_len, s->q_pos, (int)s->samples, (int)s->kv_heads,
            (int)(s->heads / s->kv_heads), (int)s->head_size, (int)c->q.rows, (int)c->k.rows, ahead,
            window - 1, s->scale, s->softcap};
    // clang-format on
}

template <class T> struct AttentionArgs : Attention { // AttentionCall for kernels
    Rows<T> q, k, v, out, dout, dq, dk, dv;
    Rows<float> lse;
    float *delta; // backward: [Tq, H]
};
template <class T> static AttentionArgs<T> args_of(const AttentionCall *c) {
    AttentionArgs<T> a;
    static_cast<Attention &>(a) = attention_of(c);
    a.q = rows_of<T>(c->q), a.k = rows_of<T>(c->k), a.v = rows_of<T>(c->v), a.out = rows_of<T>(c->out);
    a.dq = rows_of<T>(c->dq), a.dk = rows_of<T>(c->dk), a.dv = rows_of<T>(c->dv), a.dout = rows_of<T>(c->dout);
    a.lse = rows_of<float>(c->lse);
    a.delta = (float *)c->ws;
    return a;
}

// Launches a kernel that needs more dynamic shared memory than the default limit.
#define RUN_WIDE(b, kernel, blocks, threads, bytes, ...)                                                               \
    do {                                                                                                               \
        const void *address = reinterpret_cast<const void *>(kernel);                                                  \
        cudaError_t allowed =                                                                                          \
            cudaFuncSetAttribute(address, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes));                  \
        if (cuda_check(b, allowed, #kernel)) RUN(b, (kernel), blocks, threads, bytes, __VA_ARGS__);                    \
    } while (0)

// ---- division of the work ----

// Tiles of `size` rows of all key heads, the queries after the last sample included; tiles of `size` keys.
static inline unsigned query_blocks(const Attention &a, int size) {
    return (unsigned)(((int64_t)a.tq * a.group / size + a.samples + 1) * a.kv_heads);
}
static inline unsigned key_blocks(const Attention &a, int size) {
    return (unsigned)((a.tk / size + a.samples) * a.kv_heads);
}

struct Tile {
    int list, first, n; // elements [first, first + n) of a list; n 0: no work for this block
};

// Tile number `number` of `lists` lists of length(i) elements, the last list first, in each list the last tile first
// where `last_first`. Every warp of the block searches for itself.
template <class Length>
static __device__ Tile find_tile(int number, int lists, int size, bool last_first, Length length) {
    int lane = (int)threadIdx.x % WARP;
    for (int base = 0; base < lists; base += WARP) {
        int list = lists - 1 - base - lane, n = list >= 0 ? length(list) : 0;
        int tiles = (n + size - 1) / size, end = tiles; // end: sum up to this lane
        for (int step = 1; step < WARP; step *= 2) {
            int below = __shfl_up_sync(0xffffffffu, end, (unsigned)step);
            if (lane >= step) end += below;
        }
        unsigned after = __ballot_sync(0xffffffffu, end > number);
        if (after) {
            int at = __ffs((int)after) - 1;
            n = __shfl_sync(0xffffffffu, n, at);
            tiles = __shfl_sync(0xffffffffu, tiles, at);
            int tile = number - (__shfl_sync(0xffffffffu, end, at) - tiles);
            if (last_first) tile = tiles - 1 - tile;
            return {lists - 1 - base - at, tile * size, min(size, n - tile * size)};
        }
        number -= __shfl_sync(0xffffffffu, end, WARP - 1);
    }
    return {0, 0, 0};
}

// ---- which keys a query sees ----

struct Range { // [first, end)
    int first, end;
};
static __device__ inline Range keys_seen(const Attention &a, int pos, int k_len) {
    int end = min(pos + a.ahead, k_len);
    return {min(max(pos - a.behind, 0), end), end};
}
static __device__ inline bool in_range(Range r, int i) { return i >= r.first && i < r.end; }

// A tile of rows of one sample and key head, and the sample's keys.
struct QueryTile {
    int kv_head, q0, row, n; // rows [row, row + n) of the sample's, whose first query is q0
    int k0, k_len;           // keys [k0, k0 + k_len)
};
// List a.samples holds the queries after the last sample, which see no key. The last rows see most keys and come first.
static __device__ inline QueryTile query_tile(const Attention &a, int size) {
    Tile t = find_tile((int)(blockIdx.x / (unsigned)a.kv_heads), a.samples + 1, size, true,
                       [&](int i) { return ((i < a.samples ? a.q_start[i + 1] : a.tq) - a.q_start[i]) * a.group; });
    int kv_head = (int)(blockIdx.x % (unsigned)a.kv_heads);
    if (t.n == 0) return {kv_head, 0, 0, 0, 0, 0};
    bool in_sample = t.list < a.samples;
    return {
        kv_head, a.q_start[t.list], t.first, t.n, in_sample ? a.k_start[t.list] : 0, in_sample ? a.k_len[t.list] : 0};
}
// Row i of the tile: its query, its place in [Tq, H] and its first element in [Tq, H * D]; key `key` of its sample.
static __device__ inline int query_of(const Attention &a, const QueryTile &t, int i) {
    return t.q0 + (t.row + i) / a.group;
}
static __device__ inline int head_of(const Attention &a, const QueryTile &t, int i) {
    return t.kv_head * a.group + (t.row + i) % a.group;
}
template <class T> static __device__ inline float *lse_at(const AttentionArgs<T> &a, const QueryTile &t, int i) {
    return a.lse.data + query_of(a, t, i) * a.lse.stride + head_of(a, t, i);
}
template <class T> static __device__ inline float *delta_at(const AttentionArgs<T> &a, const QueryTile &t, int i) {
    return a.delta + (int64_t)query_of(a, t, i) * a.kv_heads * a.group + head_of(a, t, i);
}
template <class T> static __device__ inline T *row_at(const Attention &a, const QueryTile &t, Rows<T> m, int i) {
    return m.data + query_of(a, t, i) * m.stride + head_of(a, t, i) * a.head_size;
}
template <class T> static __device__ inline T *key_at(const Attention &a, const QueryTile &t, Rows<T> m, int key) {
    return m.data + (int64_t)(t.k0 + key) * m.stride + t.kv_head * a.head_size;
}
// Keys that row i sees; none for a row after the tile.
static __device__ inline Range row_sees(const Attention &a, const QueryTile &t, int i) {
    if (i >= t.n || t.k_len == 0) return {0, 0};
    return keys_seen(a, a.q_pos[query_of(a, t, i)], t.k_len);
}
// Keys that some row of [i, i + n) sees, and the keys that all of them see: positions ascend.
static __device__ inline Range some_row_sees(const Attention &a, const QueryTile &t, int i, int n) {
    if (i >= t.n) return {0, 0};
    return {row_sees(a, t, i).first, row_sees(a, t, min(i + n, t.n) - 1).end};
}
static __device__ inline Range all_rows_see(const Attention &a, const QueryTile &t, int i, int n) {
    if (i >= t.n) return {0, 0};
    return {row_sees(a, t, min(i + n, t.n) - 1).first, row_sees(a, t, i).end};
}

// A tile of keys of one sample and key head, and the rows of queries that see some of them.
struct KeyTile {
    int kv_head, key, n, k0, k_len; // keys [key, key + n) of the sample's, whose first is k0
    int q0;                         // the sample's first query
    Range rows;                     // of the sample's rows
};
// The first of n ascending numbers that is at least x, by the warp together.
static __device__ inline int first_at_least(const int32_t *numbers, int n, int x) {
    int lane = (int)threadIdx.x % WARP, low = 0, high = n; // the answer is in [low, high]
    while (low < high) {
        int step = (high - low + WARP - 1) / WARP, i = low + lane * step;
        unsigned less = __ballot_sync(0xffffffffu, i < high && numbers[i] < x);
        if (!less) return low;
        int last = 31 - __clz((int)less); // the last probe that is less
        high = min(high, low + (last + 1) * step);
        low += last * step + 1;
    }
    return low;
}
static __device__ inline KeyTile key_tile(const Attention &a, int size) {
    Tile t =
        find_tile((int)(blockIdx.x / (unsigned)a.kv_heads), a.samples, size, false, [&](int i) { return a.k_len[i]; });
    int kv_head = (int)(blockIdx.x % (unsigned)a.kv_heads);
    if (t.n == 0) return {kv_head, 0, 0, 0, 0, 0, {0, 0}};
    int q0 = a.q_start[t.list], queries = a.q_start[t.list + 1] - q0;
    int first = first_at_least(a.q_pos + q0, queries, t.first - a.ahead + 1);
    int end = first_at_least(a.q_pos + q0, queries, t.first + t.n + a.behind);
    return {kv_head, t.first, t.n, a.k_start[t.list], a.k_len[t.list], q0, {first * a.group, end * a.group}};
}
template <class T> static __device__ inline T *key_at(const Attention &a, const KeyTile &t, Rows<T> m, int i) {
    return m.data + (int64_t)(t.k0 + t.key + i) * m.stride + t.kv_head * a.head_size;
}
// The n rows of its sample from `row` on, as a tile of rows.
static __device__ inline QueryTile rows_for(const KeyTile &t, int row, int n) {
    return {t.kv_head, t.q0, row, n, t.k0, t.k_len};
}
