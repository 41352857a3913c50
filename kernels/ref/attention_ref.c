// attention_ref: softmax(scale q k^T) v, scores soft-capped where asked, over the keys that each query sees, reference.
// Nothing is blocked: a score is computed again wherever it is needed.
#include "ref.h"

#include <math.h>

// One head of one query, and the keys [first, end) that it sees.
typedef struct Query {
    int64_t row, head, kv_head;
    int64_t first, end;
} Query;

static Query query_at(const AttentionShape *s, int64_t sample, int64_t row, int64_t head) {
    int64_t pos = s->q_pos[row];
    int64_t end = pos + 1 < s->k_len[sample] && !s->bidirectional ? pos + 1 : s->k_len[sample];
    int64_t first = s->window && pos - s->window + 1 > 0 ? pos - s->window + 1 : 0;
    return (Query){row, head, head / (s->heads / s->kv_heads), s->k_start[sample] + first, s->k_start[sample] + end};
}

static const float *head_of(Mat m, int64_t row, int64_t head, const AttentionShape *s) {
    return f32_row(m, row) + head * s->head_size;
}

static double score(const AttentionShape *s, Query i, Mat q, Mat k, int64_t key) {
    double x = s->scale * ref_dot(head_of(q, i.row, i.head, s), head_of(k, key, i.kv_head, s), s->head_size);
    return s->softcap == 0 ? x : s->softcap * tanh(x / s->softcap);
}

// Forward sums one output row of one head in double, backward all of dq, dk and dv.
size_t ref_attention_workspace(Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    (void)b;
    int64_t rows = backward ? q.rows * s->heads + 2 * k.rows * s->kv_heads : 1;
    return (size_t)(rows * s->head_size) * sizeof(double);
}

// A query that sees no key gives zeros and lse = -inf. A NaN score passes through the maximum by not being <= it.
static void attend(const AttentionShape *s, Query i, Mat out, Mat lse, Mat q, Mat k, Mat v, double *y) {
    double max = -INFINITY, sum = 0;
    for (int64_t key = i.first; key < i.end; key++) {
        double x = score(s, i, q, k, key);
        if (!(x <= max)) max = x;
        if (isnan(max)) break;
    }
    for (int64_t d = 0; d < s->head_size; d++) y[d] = 0;
    for (int64_t key = i.first; key < i.end; key++) {
        double p = exp(score(s, i, q, k, key) - max);
        sum += p;
        for (int64_t d = 0; d < s->head_size; d++) y[d] += p * head_of(v, key, i.kv_head, s)[d];
    }
    bool seen = i.first < i.end;
    for (int64_t d = 0; d < s->head_size; d++)
        f32_row(out, i.row)[i.head * s->head_size + d] = (float)(seen ? y[d] / sum : 0);
    f32_row(lse, i.row)[i.head] = (float)(seen ? max + log(sum) : -INFINITY);
}

void ref_attention_forward(Backend *b, Mat out, Mat lse, Mat q, Mat k, Mat v, const AttentionShape *s, void *ws) {
    (void)b;
    check_attention_shapes(s, q, k, v);
    CHECK_SHAPE(out, q.rows, q.cols);
    CHECK_SHAPE(lse, q.rows, s->heads);
    for (int64_t sample = 0; sample < s->samples; sample++)
        for (int64_t row = s->q_start[sample]; row < s->q_start[sample + 1]; row++)
            for (int64_t head = 0; head < s->heads; head++)
                attend(s, query_at(s, sample, row, head), out, lse, q, k, v, ws);
}

typedef struct Sums {
    double *dq, *dk, *dv;
} Sums;

// p = exp(x - lse), dp = dout . v, dx = p (dp - dout . out):  dq += scale dx k,  dk += scale dx q,  dv += p dout.
// Soft-capped, x = c tanh(y / c): dx/dy = 1 - (x / c)^2 more.
static void attend_backward(const AttentionShape *s, Query i, Sums g, Mat dout, Mat out, Mat lse, Mat q, Mat k, Mat v) {
    int64_t n = s->head_size;
    const float *dy = head_of(dout, i.row, i.head, s), *qi = head_of(q, i.row, i.head, s);
    double delta = ref_dot(dy, head_of(out, i.row, i.head, s), n);
    for (int64_t key = i.first; key < i.end; key++) {
        const float *kj = head_of(k, key, i.kv_head, s), *vj = head_of(v, key, i.kv_head, s);
        double x = score(s, i, q, k, key), p = exp(x - f32_row(lse, i.row)[i.head]);
        double dx = s->scale * p * (ref_dot(dy, vj, n) - delta);
        if (s->softcap != 0) dx *= 1 - x / s->softcap * (x / s->softcap);
        for (int64_t d = 0; d < n; d++) {
            g.dq[i.row * q.cols + i.head * n + d] += dx * kj[d];
            g.dk[key * k.cols + i.kv_head * n + d] += dx * qi[d];
            g.dv[key * k.cols + i.kv_head * n + d] += p * dy[d];
        }
    }
}

static void store(Mat dst, const double *sum) {
    for (int64_t i = 0; i < dst.rows * dst.cols; i++) ((float *)dst.data)[i] = (float)sum[i];
}

void ref_attention_backward(Backend *b, Mat dq, Mat dk, Mat dv, Mat dout, Mat out, Mat lse, Mat q, Mat k, Mat v,
                            const AttentionShape *s, void *ws) {
    check_attention_shapes(s, q, k, v);
    if (dq.data) CHECK_SHAPE(dq, q.rows, q.cols);
    CHECK_SHAPE(dout, q.rows, q.cols);
    CHECK_SHAPE(out, q.rows, q.cols);
    CHECK_SHAPE(lse, q.rows, s->heads);
    host_zero(b, ws, ref_attention_workspace(b, s, q, k, true));
    double *dq_sum = ws, *dk_sum = dq_sum + q.rows * q.cols, *dv_sum = dk_sum + k.rows * k.cols;
    Sums g = {dq_sum, dk_sum, dv_sum};
    for (int64_t sample = 0; sample < s->samples; sample++)
        for (int64_t row = s->q_start[sample]; row < s->q_start[sample + 1]; row++)
            for (int64_t head = 0; head < s->heads; head++)
                attend_backward(s, query_at(s, sample, row, head), g, dout, out, lse, q, k, v);
    if (dq.data) store(dq, g.dq);
    if (dk.data) store(dk, g.dk);
    if (dv.data) store(dv, g.dv);
}
