// attention_ref: softmax(scale q k^T) v over the keys that each query sees, scores optionally soft-capped, reference.
// Nothing is blocked: a score is recomputed wherever it is needed.
#include "ref.h"

#include <math.h>

// One head of one query, and the keys [first, end) that it sees.
typedef struct Query {
    int64_t row, head, kv_head;
    int64_t first, end;
} Query;

static Query query_at(const AttentionShape *s, int64_t sample, int64_t row, int64_t head) {
    int64_t pos = s->q_pos[row];
    int64_t after = !s->bidirectional ? 1 : s->window ? s->window : s->k_len[sample];
    int64_t end = pos + after < s->k_len[sample] ? pos + after : s->k_len[sample];
    int64_t first = s->window && pos - s->window + 1 > 0 ? pos - s->window + 1 : 0;
    return (Query){row, head, head / (s->heads / s->kv_heads), s->k_start[sample] + first, s->k_start[sample] + end};
}

static const float *head_of(Mat m, int64_t row, int64_t head, const AttentionShape *s) {
    return f32_row(m, row) + head * s->head_size;
}

static double score(const AttentionCall *c, Query i, int64_t key) {
    const AttentionShape *s = c->shape;
    double x = s->scale * ref_dot(head_of(c->q, i.row, i.head, s), head_of(c->k, key, i.kv_head, s), s->head_size);
    return s->softcap == 0 ? x : s->softcap * tanh(x / s->softcap);
}

// Forward sums one output row of one head in double, backward all of dq, dk and dv.
size_t ref_attention_workspace(Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    int64_t rows = backward ? q.rows * s->heads + 2 * k.rows * s->kv_heads : 1;
    return (size_t)(rows * s->head_size) * sizeof(double);
}

// The sink takes its share of the probabilities: with z the sum over the keys, out *= z / (z + exp(sink)).
static double sink_share(const AttentionShape *s, int64_t head, double *lse) {
    if (!s->sinks) return 1;
    double sink = s->sinks[head], keys = *lse, high = fmax(sink, keys);
    *lse = high + log(exp(sink - high) + exp(keys - high));
    return 1 / (1 + exp(sink - keys));
}

// A query that sees no key gives zeros and lse = -inf. A NaN score passes through the maximum by not being <= it.
static void attend(const AttentionCall *c, Query i, double *y) {
    const AttentionShape *s = c->shape;
    double max = -INFINITY, sum = 0;
    for (int64_t key = i.first; key < i.end; key++) {
        double x = score(c, i, key);
        if (!(x <= max)) max = x;
        if (isnan(max)) break;
    }
    for (int64_t d = 0; d < s->head_size; d++) y[d] = 0;
    for (int64_t key = i.first; key < i.end; key++) {
        double p = exp(score(c, i, key) - max);
        sum += p;
        for (int64_t d = 0; d < s->head_size; d++) y[d] += p * head_of(c->v, key, i.kv_head, s)[d];
    }
    bool seen = i.first < i.end;
    double lse = max + log(sum), share = seen ? sink_share(s, i.head, &lse) : 0;
    for (int64_t d = 0; d < s->head_size; d++)
        f32_row(c->out, i.row)[i.head * s->head_size + d] = (float)(seen ? y[d] / sum * share : 0);
    f32_row(c->lse, i.row)[i.head] = (float)(seen ? lse : -INFINITY);
}

void ref_attention_forward(Backend *b, const AttentionCall *c) {
    const AttentionShape *s = c->shape;
    host_check_attention(c, DTYPE_F32, false);
    for (int64_t sample = 0; sample < s->samples; sample++)
        for (int64_t row = s->q_start[sample]; row < s->q_start[sample + 1]; row++)
            for (int64_t head = 0; head < s->heads; head++) attend(c, query_at(s, sample, row, head), c->ws);
}

typedef struct Sums {
    double *dq, *dk, *dv;
} Sums;

// p = exp(x - lse), dp = dout . v, dx = p (dp - dout . out):  dq += scale dx k,  dk += scale dx q,  dv += p dout.
// With a soft cap, x = c tanh(y / c): dx is also multiplied by 1 - (x / c)^2.
static void attend_backward(const AttentionCall *c, Query i, Sums g) {
    const AttentionShape *s = c->shape;
    int64_t n = s->head_size;
    const float *dy = head_of(c->dout, i.row, i.head, s), *qi = head_of(c->q, i.row, i.head, s);
    double delta = ref_dot(dy, head_of(c->out, i.row, i.head, s), n);
    for (int64_t key = i.first; key < i.end; key++) {
        const float *kj = head_of(c->k, key, i.kv_head, s), *vj = head_of(c->v, key, i.kv_head, s);
        double x = score(c, i, key), p = exp(x - f32_row(c->lse, i.row)[i.head]);
        double dx = s->scale * p * (ref_dot(dy, vj, n) - delta);
        if (s->softcap != 0) dx *= 1 - x / s->softcap * (x / s->softcap);
        for (int64_t d = 0; d < n; d++) {
            g.dq[i.row * c->q.cols + i.head * n + d] += dx * kj[d];
            g.dk[key * c->k.cols + i.kv_head * n + d] += dx * qi[d];
            g.dv[key * c->k.cols + i.kv_head * n + d] += p * dy[d];
        }
    }
}

static void store(Mat dst, const double *sum) {
    for (int64_t i = 0; i < dst.rows * dst.cols; i++) ((float *)dst.data)[i] = (float)sum[i];
}

void ref_attention_backward(Backend *b, const AttentionCall *c) {
    const AttentionShape *s = c->shape;
    host_check_attention(c, DTYPE_F32, true);
    host_zero(b, c->ws, ref_attention_workspace(b, s, c->q, c->k, true));
    double *dq = c->ws, *dk = dq + c->q.rows * c->q.cols, *dv = dk + c->k.rows * c->k.cols;
    Sums g = {dq, dk, dv};
    for (int64_t sample = 0; sample < s->samples; sample++)
        for (int64_t row = s->q_start[sample]; row < s->q_start[sample + 1]; row++)
            for (int64_t head = 0; head < s->heads; head++) attend_backward(c, query_at(s, sample, row, head), g);
    if (c->dq.data) store(c->dq, dq);
    if (c->dk.data) store(c->dk, dk);
    if (c->dv.data) store(c->dv, dv);
}
