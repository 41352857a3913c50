// opcases_attention: attention and short convolutions, forward and backward, over the layouts of training rows and of
// the KV cache.
//
// Tolerances: a score is a sum of D products (about sqrt(D) roundings of 2^-24, and scores of a few units), which the
// exponential turns into a relative error of a probability; sums over keys add theirs. FORWARD and BACKWARD allow about
// ten times the error that this gives for D = 128.
#include "opcheck.h"

#include <math.h>

static const double FORWARD = 5e-6, BACKWARD = 2e-5;

enum { MAX_SAMPLES = 40, MAX_QUERIES = 1200 };

// Host copy of a shape before it goes to the device.
typedef struct Layout {
    int32_t q_start[MAX_SAMPLES + 1], k_start[MAX_SAMPLES], k_len[MAX_SAMPLES], q_pos[MAX_QUERIES];
    int64_t samples, tq, tk;
} Layout;

static void add_query(Layout *l, int64_t pos) {
    CHECK(l->tq < MAX_QUERIES);
    l->q_pos[l->tq++] = (int32_t)pos;
}

static void add_sample(Layout *l, int64_t gap, int64_t keys) {
    CHECK(l->samples < MAX_SAMPLES);
    l->q_start[l->samples] = (int32_t)l->tq;
    l->k_start[l->samples] = (int32_t)(l->tk + gap);
    l->k_len[l->samples++] = (int32_t)keys;
    l->tk += gap + keys;
}

// Samples of 1, 3, 60, 1, 3, 60, ... tokens and the rest. In OP_SOME_QUERY every third position and the last one are
// queries; some samples of one token have none.
static void packed(Layout *l, int64_t t, bool some) {
    static const int64_t lengths[] = {1, 3, 60};
    for (int i = 0; l->tk < t; i++) {
        int64_t n = lengths[i % 3] < t - l->tk ? lengths[i % 3] : t - l->tk;
        if (i == 5) n = t - l->tk;
        add_sample(l, 0, n);
        for (int64_t pos = 0; pos < n; pos++)
            if (!some || pos % 3 == 2 || pos == n - 1 - i % 2) add_query(l, pos);
    }
}

// t samples of one query each at different depths of a cache, with unused rows between the samples.
static void cache(Layout *l, int64_t t) {
    for (int64_t i = 0; i < t; i++) {
        int64_t keys = 1 + i * 37 % 150;
        add_sample(l, i % 3, keys);
        add_query(l, keys - 1);
    }
    if (t > 1) l->tk += 2;
}

static Layout layout_of(const OpSize *s) {
    Layout l = {0};
    switch ((OpLayout)s->layout) {
    case OP_ONE_SAMPLE:
        add_sample(&l, 0, s->t);
        for (int64_t pos = 0; pos < s->t; pos++) add_query(&l, pos);
        break;
    case OP_PACKED: packed(&l, s->t, false); break;
    case OP_SOME_QUERY: packed(&l, s->t, true); break;
    case OP_CACHE: cache(&l, s->t); break;
    }
    l.q_start[l.samples] = (int32_t)l.tq;
    return l;
}

static AttentionShape shape_on_device(OpRun *r, const Layout *l) {
    const OpSize *s = &r->size;
    size_t samples = (size_t)l->samples;
    return (AttentionShape){
        .heads = s->heads,
        .kv_heads = s->kv,
        .head_size = s->d,
        .samples = l->samples,
        .q_start = op_copy(r, l->q_start, (samples + 1) * sizeof(int32_t)),
        .k_start = op_copy(r, l->k_start, samples * sizeof(int32_t)),
        .k_len = op_copy(r, l->k_len, samples * sizeof(int32_t)),
        .q_pos = op_copy(r, l->q_pos, (size_t)l->tq * sizeof(int32_t)),
        .window = s->window,
        .scale = 1 / sqrtf((float)s->d),
        .softcap = s->softcap,
        .bidirectional = s->bidirectional,
        .sinks = s->sinks ? op_input_f32(r, 1, s->heads).data : NULL,
        .longest = s->layout == OP_ONE_SAMPLE || s->layout == OP_PACKED ? l->tk : 0,
    };
}

// Scores and probabilities are rounded where a product takes them; with a lower precision queries, keys and values,
// too.
static Mat rounded_output(OpRun *r, const char *name, Mat like) {
    Mat m = op_output(r, name, like.rows, like.cols, FORWARD);
    op_rounded(r, 4);
    op_split(r, 12);
    return m;
}

// The forward pass.
static AttentionCall attend(OpRun *r, const Layout *l, const AttentionShape *s) {
    AttentionCall c = {.shape = s, .q = op_input(r, l->tq, s->heads * s->head_size)};
    c.k = op_input(r, l->tk, s->kv_heads * s->head_size);
    c.v = op_input(r, l->tk, s->kv_heads * s->head_size);
    c.out = rounded_output(r, "out", c.q);
    c.lse = op_output_f32(r, "lse", l->tq, s->heads, FORWARD);
    op_split(r, 4);
    c.ws = OP_WORKSPACE(r, attention, s, c.q, c.k, false);
    OP_CALL(r, attention_forward, &c);
    return c;
}

static void case_short_conv_forward(OpRun *r) {
    Layout l = layout_of(&r->size);
    AttentionShape s = shape_on_device(r, &l);
    Mat x = op_input(r, l.tk, r->size.n), weight = op_input_f32(r, r->size.n, r->size.k);
    OP_CALL(r, short_conv_forward, op_output(r, "out", l.tq, r->size.n, OP_SUM(r->size.k)), x, weight.data, r->size.k,
            &s);
}

static void case_short_conv_backward(OpRun *r) {
    Layout l = layout_of(&r->size);
    AttentionShape s = shape_on_device(r, &l);
    Mat dout = op_input(r, l.tq, r->size.n), weight = op_input_f32(r, r->size.n, r->size.k);
    OP_CALL(r, short_conv_backward, op_output(r, "dx", l.tk, r->size.n, OP_SUM(r->size.k)), dout, weight.data,
            r->size.k, &s);
}

static void case_attention_forward(OpRun *r) {
    Layout l = layout_of(&r->size);
    AttentionShape s = shape_on_device(r, &l);
    attend(r, &l, &s);
}

// floor: a query that sees one key has gradients of exactly 0, as differences of terms of about this size. Roundings:
// dS and delta (the sum of dout * out) are rounded; a query with few keys averages over few of these roundings, and its
// gradients are several times the mean.
static Mat gradient_output(OpRun *r, const char *name, Mat like) {
    Mat m = op_output(r, name, like.rows, like.cols, BACKWARD);
    r->outputs[r->n_outputs - 1].floor = 0.3;
    op_rounded(r, 14);
    op_split(r, 14 + 4 * sqrt((double)r->size.heads / (double)r->size.kv)); // the heads of a group add to dk and dv
    return m;
}

// out and lse come from this backend's forward pass: backward reads what its own forward wrote.
static void case_attention_backward(OpRun *r) {
    Layout l = layout_of(&r->size);
    AttentionShape s = shape_on_device(r, &l);
    AttentionCall c = attend(r, &l, &s);
    c.dout = op_input(r, c.q.rows, c.q.cols);
    c.dq = gradient_output(r, "dq", c.q);
    if (!r->size.no_dx) c.dk = gradient_output(r, "dk", c.k);
    if (!r->size.no_da) c.dv = gradient_output(r, "dv", c.v);
    c.ws = OP_WORKSPACE(r, attention, &s, c.q, c.k, true);
    OP_CALL(r, attention_backward, &c);
}

// no_dx: no dk; no_da: no dv.
static const OpSize shapes[] = {
    {.t = 1, .heads = 9, .kv = 3, .d = 64},
    {.t = 3, .heads = 9, .kv = 3, .d = 64},
    {.t = 127, .heads = 9, .kv = 3, .d = 64},
    {.t = 128, .heads = 2, .kv = 2, .d = 80},
    {.t = 100, .heads = 4, .kv = 1, .d = 128, .window = 17, .no_dx = true},
    {.t = 65, .heads = 2, .kv = 1, .d = 256},
    {.t = 33, .heads = 2, .kv = 1, .d = 10, .no_da = true},
    {.t = 64, .heads = 6, .kv = 3, .d = 32, .no_dx = true, .no_da = true},
    {.t = 513, .heads = 3, .kv = 3, .d = 64},
    {.t = 1100, .heads = 1, .kv = 1, .d = 16}, // the maximum grows from block to block of keys
    {.t = 513, .heads = 3, .kv = 1, .d = 64, .window = 100},
    {.t = 513, .heads = 3, .kv = 1, .d = 64, .layout = OP_PACKED},
    {.t = 120, .heads = 9, .kv = 3, .d = 64, .layout = OP_PACKED},
    {.t = 120, .heads = 6, .kv = 3, .d = 80, .layout = OP_PACKED, .window = 1},
    {.t = 129, .heads = 9, .kv = 3, .d = 64, .layout = OP_SOME_QUERY},
    {.t = 300, .heads = 3, .kv = 3, .d = 128, .layout = OP_SOME_QUERY, .window = 31},
    {.t = 1, .heads = 9, .kv = 3, .d = 64, .layout = OP_CACHE},
    {.t = 16, .heads = 9, .kv = 3, .d = 64, .layout = OP_CACHE},
    {.t = 2, .heads = 65, .kv = 1, .d = 8, .layout = OP_CACHE}, // more heads to a key head than a block has rows
    {.t = 3, .heads = 390, .kv = 3, .d = 8, .layout = OP_CACHE},
    {.t = 9, .heads = 130, .kv = 1, .d = 8, .layout = OP_SOME_QUERY},
    {.t = 33, .heads = 4, .kv = 4, .d = 80, .layout = OP_CACHE, .window = 50},
    {.t = 127, .heads = 4, .kv = 2, .d = 64, .softcap = 2},
    {.t = 513, .heads = 2, .kv = 1, .d = 64, .softcap = 50, .window = 100},
    {.t = 300, .heads = 3, .kv = 1, .d = 80, .softcap = 1, .layout = OP_SOME_QUERY, .window = 31},
    {.t = 33, .heads = 4, .kv = 2, .d = 64, .softcap = 3, .layout = OP_CACHE, .window = 50},
    {.t = 127, .heads = 6, .kv = 3, .d = 64, .sinks = true},
    {.t = 300, .heads = 4, .kv = 1, .d = 80, .sinks = true, .window = 31, .layout = OP_PACKED},
    {.t = 129, .heads = 3, .kv = 1, .d = 10, .sinks = true, .softcap = 2, .layout = OP_SOME_QUERY},
    {.t = 33, .heads = 8, .kv = 2, .d = 64, .sinks = true, .window = 50, .layout = OP_CACHE},
    {.t = 33, .heads = 2, .kv = 2, .d = 64, .bidirectional = true},
    {.t = 600, .heads = 2, .kv = 1, .d = 16, .bidirectional = true, .no_dx = true},
    {.t = 300, .heads = 4, .kv = 2, .d = 80, .bidirectional = true, .layout = OP_PACKED},
    {.t = 129, .heads = 3, .kv = 1, .d = 64, .bidirectional = true, .softcap = 2, .layout = OP_SOME_QUERY},
    {.t = 9, .heads = 3, .kv = 1, .d = 64, .bidirectional = true, .layout = OP_CACHE},
    {.t = 513, .heads = 2, .kv = 2, .d = 64, .bidirectional = true, .window = 65},
    {.t = 300, .heads = 4, .kv = 2, .d = 80, .bidirectional = true, .window = 17, .layout = OP_PACKED},
    {.t = 300, .heads = 2, .kv = 1, .d = 64, .bidirectional = true, .window = 31, .layout = OP_SOME_QUERY},
};

// n columns, k taps.
static const OpSize every_query[] = {
    {.t = 1, .n = 64, .k = 3},
    {.t = 100, .n = 97, .k = 3},
    {.t = 127, .n = 32, .k = 4, .layout = OP_PACKED},
    {.t = 513, .n = 64, .k = 16, .layout = OP_PACKED},
    {.t = 5, .n = 1, .k = 1},
};
static const OpSize some_queries[] = {
    {.t = 1, .n = 64, .k = 3},
    {.t = 100, .n = 97, .k = 3},
    {.t = 513, .n = 64, .k = 16, .layout = OP_PACKED},
    {.t = 129, .n = 32, .k = 4, .layout = OP_SOME_QUERY},
    {.t = 3, .n = 64, .k = 3, .layout = OP_CACHE},
};

const OpCase op_cases_attention[] = {
    OP_CASE(attention_forward, shapes),
    OP_CASE(attention_backward, shapes),
    OP_CASE(short_conv_forward, some_queries),
    OP_CASE(short_conv_backward, every_query),
    {0},
};
