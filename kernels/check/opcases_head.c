// opcases_head: the language model's head, a classifier's, losses of preferences and of vectors.
#include "opcheck.h"

// Roundings of what goes through two products, one after the other (opcases_matmul.c).
static const double TWO_PRODUCTS = 8;

static Mat absent(void) { return (Mat){.data = NULL, .dtype = DTYPE_F32}; }

static const PassState *pass_state(OpRun *r) {
    PassState state = {.grad_scale = 0.125f, .stream = 23, .nll_scale = 0.25f, .kl = 0.5f};
    return op_copy(r, &state, sizeof state);
}

// Some of the rows have fewer; of every other one the target is among them.
static SoftTargets soft_targets(OpRun *r, const int32_t *targets, int64_t m, int64_t v) {
    int64_t k = r->size.soft;
    AUTO_FREE float *values = op_input_floats(r, m * k);
    AUTO_FREE int32_t *ids = mem_alloc((size_t)(m * k), sizeof *ids);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < k; j++) {
            int64_t low = v * j / k, high = v * (j + 1) / k, at = low + (i * 31 + j * 7) % (high - low);
            if (i % 2 && targets[i] >= low && targets[i] < high) at = targets[i];
            ids[i * k + j] = j < i % 3 && j + 1 < k ? -1 : (int32_t)at;
            values[i * k + j] = 3 * values[i * k + j] - 5;
        }
    return (SoftTargets){.ids = op_copy(r, ids, (size_t)(m * k) * sizeof *ids),
                         .values = op_copy(r, values, (size_t)(m * k) * sizeof *values),
                         .k = k,
                         .temperature = r->size.temperature,
                         .hard_weight = 0.25f,
                         .soft_weight = 0.75f};
}

static void case_head_loss(OpRun *r) {
    int64_t m = r->size.t, v = r->size.n, c = r->size.k;
    Weight w = op_weight(r, v, c);
    Mat x = op_input(r, m, c);
    AUTO_FREE int32_t *targets = mem_alloc((size_t)m, sizeof *targets);
    for (int64_t i = 0; i < m; i++) targets[i] = (int32_t)(i % 5 ? i * 7919 % v : v - 1);
    HeadLoss h = {.targets = op_copy(r, targets, (size_t)m * sizeof *targets),
                  .state = pass_state(r),
                  .label_smoothing = r->size.smoothing,
                  .softcap = r->size.softcap};
    if (r->size.soft) h.soft = soft_targets(r, targets, m, v);
    // The loss is a sum of m terms, each as exact as its logits. dx mixes probabilities whose relative error is the
    // absolute error of their logits: twice a sum's; summed up over the vocabulary, the target's part among the others.
    HeadResult *result = op_workspace(r, sizeof *result);
    op_output_at(r, "loss", &result->loss, sizeof result->loss, OP_DOUBLES, 1e-6), op_rounded(r, 1);
    op_output_at(r, "correct", &result->correct, sizeof result->correct, OP_EXACT, 0), op_rounded(r, 1);
    double floor = r->size.soft ? 1e-6 : 0; // 0 without soft targets
    op_output_at(r, "sums", result->sums, sizeof result->sums, OP_DOUBLES, floor), op_rounded(r, 1);
    h.token_loss = op_output_bytes(r, "token_loss", (size_t)m * sizeof(double), OP_DOUBLES, 2 * OP_SUM(c), NULL);
    op_rounded(r, TWO_PRODUCTS);
    Mat dx = absent();
    if (!r->size.no_dx) dx = op_output(r, "dx", m, c, 2 * OP_SUM(c) + OP_SUM(v)), op_rounded(r, TWO_PRODUCTS);
    OP_CALL(r, head_loss, result, dx, x, &w, &h, OP_WORKSPACE(r, head_loss, &w, &h, m));
}

// t samples, n classes.
static void case_class_loss(OpRun *r) {
    int64_t m = r->size.t, n = r->size.n, c = r->size.k;
    Mat x = op_input(r, m, c);
    AUTO_FREE float *w = op_input_floats(r, n * c);
    for (int64_t i = 0; i < n * c; i++) w[i] /= sqrtf((float)c);
    ClassHead h = {.w = op_copy(r, w, (size_t)(n * c) * sizeof *w), .classes = n, .state = pass_state(r)};
    if (r->size.bias) h.bias = op_input_f32(r, 1, n).data;
    h.label_smoothing = r->size.smoothing;
    AUTO_FREE int32_t *labels = mem_alloc((size_t)m, sizeof *labels);
    h.loss = r->size.class_loss;
    bool each = h.loss != CLASS_SOFTMAX;
    for (int64_t i = 0; i < m; i++) labels[i] = each ? 0 : (int32_t)(i * 7919 % n);
    if (each) {
        AUTO_FREE float *values = op_input_floats(r, m * n);
        for (int64_t i = 0; i < m * n && h.loss == CLASS_SIGMOID; i++) values[i] = i % 3 == 0;
        h.values = op_copy(r, values, (size_t)(m * n) * sizeof *values);
        h.logits = op_output_f32(r, "logits", m, n, OP_SUM(c)).data;
    }
    h.labels = op_copy(r, labels, (size_t)m * sizeof *labels);
    if (!r->size.no_da) h.dw = op_inout_f32(r, "dw", n, c, OP_SUM(m + c)).data;
    if (!r->size.no_db && r->size.bias) h.dbias = op_inout_f32(r, "dbias", 1, n, OP_SUM(m + c)).data;
    if (!each) h.predicted = op_output_bytes(r, "predicted", (size_t)m * sizeof *h.predicted, OP_EXACT, 0, NULL);
    HeadResult *result = op_workspace(r, sizeof *result);
    op_output_at(r, "loss", &result->loss, sizeof result->loss, OP_DOUBLES, 1e-6);
    op_output_at(r, "correct", &result->correct, sizeof result->correct, OP_EXACT, 0);
    Mat dx = r->size.no_dx ? absent() : op_output(r, "dx", m, c, 2 * OP_SUM(c + n));
    OP_CALL(r, class_loss, result, dx, x, &h, OP_WORKSPACE(r, class_loss, &h, m));
}

// t rows, n outputs.
static void case_dense_gradients(OpRun *r) {
    int64_t m = r->size.t, n = r->size.n, c = r->size.k;
    Mat dy = op_input(r, m, n), x = op_input(r, m, c);
    float *dw = op_inout_f32(r, "dw", n, c, OP_SUM(m)).data, *dbias = op_inout_f32(r, "dbias", 1, n, OP_SUM(m)).data;
    OP_CALL(r, dense_gradients, dw, dbias, dy, x);
}

// All logits are equal: only the rows whose target is 0, the lowest index, are correct.
static void case_head_ties(OpRun *r) {
    enum { M = 40 };
    Weight w = op_weight(r, r->size.n, r->size.k);
    AUTO_FREE float *zeros = mem_calloc((size_t)(M * r->size.k), sizeof *zeros);
    int32_t targets[M];
    for (int32_t i = 0; i < M; i++) targets[i] = i % 4 ? i * 73 : 0;
    Mat x = op_values(r, zeros, M, r->size.k);
    HeadLoss h = {.targets = op_copy(r, targets, sizeof targets)};
    HeadResult *result = op_workspace(r, sizeof *result);
    op_output_at(r, "correct", &result->correct, sizeof result->correct, OP_EXACT, 0);
    OP_CALL(r, head_loss, result, absent(), x, &w, &h, OP_WORKSPACE(r, head_loss, &w, &h, M));
}

// The last column is beyond those that are looked at.
static void case_top_k(OpRun *r) {
    int64_t m = r->size.t, n = r->size.n, k = r->size.k;
    Mat logits = op_input_f32(r, m, n + 1);
    int32_t *ids = op_output_bytes(r, "ids", (size_t)(m * k) * sizeof *ids, OP_EXACT, 0, NULL);
    float *values = op_output_bytes(r, "values", (size_t)(m * k) * sizeof *values, OP_EXACT, 0, NULL);
    OP_CALL(r, top_k, ids, values, logits, n, k);
}

// Ties, both zeros, infinities, NaN of either sign.
static void case_top_special(OpRun *r) {
    enum { ROWS = 6, N = 600, K = 4 };
    AUTO_FREE float *x = mem_alloc(ROWS * N, sizeof *x);
    for (int i = 0; i < ROWS * N; i++) x[i] = i / N == 5 ? -INFINITY : -1;
    x[3] = x[30] = x[590] = 2;
    x[N + 5] = -0.0f, x[N + 6] = 0.0f;
    x[2 * N + 9] = x[2 * N + 599] = INFINITY;
    x[3 * N + 36] = NAN, x[3 * N + 10] = -NAN, x[3 * N + 11] = 7;
    x[4 * N] = 1e-40f;
    Mat logits = mat_of(op_copy(r, x, ROWS * N * sizeof *x), DTYPE_F32, ROWS, N);
    int32_t *ids = op_output_bytes(r, "ids", ROWS * K * sizeof *ids, OP_EXACT, 0, NULL);
    float *values = op_workspace(r, ROWS * K * sizeof *values);
    OP_CALL(r, top_k, ids, values, logits, N, K);
}

// ---- preferences: t scored positions, n the PreferenceKind; the last sequences are padding ----

// Token losses of random numbers, above 0.
static const double *token_losses(OpRun *r, int64_t m) {
    AUTO_FREE float *x = op_input_floats(r, m);
    AUTO_FREE double *losses = mem_alloc((size_t)m, sizeof *losses);
    for (int64_t i = 0; i < m; i++) losses[i] = 0.01 + (double)(x[i] * x[i]);
    return op_copy(r, losses, (size_t)m * sizeof *losses);
}

// Longer and longer ones; the chosen one of a pair begins with a position that is not of the answer.
static PreferenceLoss preferences(OpRun *r) {
    enum { SEQUENCES = 16, PADDING = 2, ALL = SEQUENCES + PADDING };
    int64_t m = r->size.t;
    int32_t start[ALL + 1], desirable[ALL];
    AUTO_FREE int32_t *answer = mem_alloc((size_t)m, sizeof *answer);
    for (int64_t i = 0; i < m; i++) answer[i] = 1;
    for (int32_t i = 0; i <= ALL; i++) start[i] = (int32_t)(i < SEQUENCES ? m * i * (i + 1) / (SEQUENCES * 18) : m);
    for (int32_t i = 0; i < ALL; i++) desirable[i] = i % 3 != 0;
    for (int32_t i = 2; i < SEQUENCES; i += 2) answer[start[i]] = 0;
    PreferenceKind kind = (PreferenceKind)r->size.n;
    return (PreferenceLoss){.kind = kind,
                            .beta = 0.3f,
                            .label_smoothing = r->size.smoothing,
                            .gamma = 0.5f,
                            .weights = {1.5f, 0.75f},
                            .sequences = ALL,
                            .start = op_copy(r, start, sizeof start),
                            .answer = op_copy(r, answer, (size_t)m * sizeof *answer),
                            .desirable = op_copy(r, desirable, sizeof desirable),
                            .policy = token_losses(r, m),
                            .reference = preference_has_reference(kind) ? token_losses(r, m) : NULL,
                            .state = pass_state(r)};
}

static void case_preference_loss(OpRun *r) {
    PreferenceLoss p = preferences(r);
    HeadResult *result = op_workspace(r, sizeof *result);
    op_output_at(r, "loss", &result->loss, sizeof result->loss, OP_DOUBLES, 1e-12);
    op_output_at(r, "correct", &result->correct, sizeof result->correct, OP_EXACT, 0);
    op_output_at(r, "sums", result->sums, sizeof result->sums, OP_DOUBLES, 1e-12);
    Mat dx = r->size.no_dx ? absent() : op_inout(r, "dx", r->size.t, r->size.k, OP_SUM(1));
    OP_CALL(r, preference_loss, result, dx, &p, OP_WORKSPACE(r, preference_loss, &p));
}

// ---- vectors: n of k columns, d of which are used; heads the EmbeddingKind ----

static void case_pool(OpRun *r) {
    enum { SAMPLES = 5, ROWS = 23, PADDING = 3 };
    static const int32_t start[SAMPLES + 1] = {0, 1, 8, 8, 20, ROWS};
    const int32_t *at = op_copy(r, start, sizeof start);
    Mat x = op_input(r, ROWS + PADDING, r->size.k), dout = op_input_f32(r, SAMPLES, r->size.k);
    Mat out = op_output_f32(r, "out", SAMPLES, r->size.k, OP_SUM(ROWS));
    Mat dx = op_output(r, "dx", ROWS + PADDING, r->size.k, OP_SUM(1));
    OP_CALL(r, pool_forward, out, x, at);
    OP_CALL(r, pool_backward, dx, dout, at);
}

static void case_embedding_loss(OpRun *r) {
    EmbeddingKind kind = (EmbeddingKind)r->size.heads;
    int64_t n = r->size.n, records = 0;
    AUTO_FREE int32_t *start = mem_alloc((size_t)n + 1, sizeof *start);
    AUTO_FREE float *score = mem_alloc((size_t)n, sizeof *score);
    for (int64_t v = 0; v + 1 < n; records++) { // some records have a third or a fourth vector
        score[records] = (float)(records * 7 % 5) / 4;
        start[records] = (int32_t)v;
        v += kind == EMBEDDING_RANKING ? min64(2 + records % 3, n - v) : 2;
        if (v + 1 == n) v = n;
    }
    start[records] = (int32_t)n;
    EmbeddingLoss l = {.kind = kind,
                       .cosine = r->size.bias,
                       .scale = r->size.softcap,
                       .weight = 0.75f,
                       .grad_scale = 0.5f,
                       .dims = r->size.d,
                       .records = records,
                       .start = op_copy(r, start, (size_t)(records + 1) * sizeof *start),
                       .score = op_copy(r, score, (size_t)records * sizeof *score)};
    Mat e = op_input_f32(r, n, r->size.k), de = absent();
    HeadResult *result = op_workspace(r, sizeof *result);
    op_output_at(r, "loss", &result->loss, sizeof result->loss, OP_DOUBLES, 1e-9);
    op_output_at(r, "correct", &result->correct, sizeof result->correct, OP_EXACT, 0);
    float *s = op_output_bytes(r, "similarity", (size_t)records * sizeof *s, OP_FLOATS, OP_SUM(1), NULL);
    if (!r->size.no_dx) de = op_inout_f32(r, "de", n, r->size.k, OP_SUM(n));
    OP_CALL(r, embedding_loss, result, s, de, e, &l, OP_WORKSPACE(r, embedding_loss, &l, n));
}

// ---- sizes ----

static const OpSize heads[] = {
    {.t = 1, .n = 1000, .k = 576, .dtype = DTYPE_Q8_0},
    {.t = 3, .n = 4099, .k = 96, .dtype = DTYPE_Q8_0, .smoothing = 0.1f},
    {.t = 127, .n = 300, .k = 100, .dtype = DTYPE_F32, .bias = true},
    {.t = 128, .n = 1001, .k = 64, .dtype = DTYPE_Q4_1, .no_dx = true},
    {.t = 300, .n = 257, .k = 256, .dtype = DTYPE_Q6_K, .smoothing = 0.3f},
    {.t = 513, .n = 1, .k = 32, .dtype = DTYPE_F16},
    {.t = 5, .n = 9000, .k = 64, .dtype = DTYPE_BF16, .no_dx = true, .smoothing = 0.1f},
    {.t = 1, .n = 1000, .k = 576, .dtype = DTYPE_Q8_0, .softcap = 30},
    {.t = 67, .n = 4099, .k = 96, .dtype = DTYPE_Q8_0, .softcap = 1.5f},
    {.t = 127, .n = 300, .k = 100, .dtype = DTYPE_F32, .bias = true, .softcap = 2, .smoothing = 0.2f},
    {.t = 5, .n = 9000, .k = 64, .dtype = DTYPE_BF16, .softcap = 3, .smoothing = 0.1f},
    {.t = 5, .n = 9000, .k = 64, .dtype = DTYPE_BF16, .no_dx = true, .softcap = 1, .smoothing = 0.1f},
};

static const OpSize soft_heads[] = {
    {.t = 1, .n = 1000, .k = 576, .dtype = DTYPE_Q8_0, .soft = 8, .temperature = 1},
    {.t = 67, .n = 4099, .k = 96, .dtype = DTYPE_Q8_0, .soft = 64, .temperature = 2},
    {.t = 127, .n = 300, .k = 100, .dtype = DTYPE_F32, .bias = true, .soft = 300, .temperature = 0.5f},
    {.t = 5, .n = 9000, .k = 64, .dtype = DTYPE_BF16, .soft = 1, .temperature = 1, .softcap = 3},
    {.t = 37, .n = 257, .k = 256, .dtype = DTYPE_Q6_K, .soft = 20, .temperature = 3, .softcap = 2},
    {.t = 128, .n = 1001, .k = 64, .dtype = DTYPE_Q4_1, .no_dx = true, .soft = 100, .temperature = 1.5f},
};
static const OpSize tops[] = {
    {.t = 3, .n = 1, .k = 1},     {.t = 5, .n = 1000, .k = 1}, {.t = 4, .n = 1237, .k = 64},
    {.t = 2, .n = 700, .k = 700}, {.t = 37, .n = 40, .k = 7},
};
static const OpSize ties[] = {
    {.t = 1000, .n = 3000, .k = 32, .dtype = DTYPE_Q8_0}}; // t: a NaN in W would hide in 0 * W
static const OpSize classes[] = {
    {.t = 1, .n = 2, .k = 64},
    {.t = 3, .n = 3, .k = 100, .bias = true},
    {.t = 37, .n = 7, .k = 33, .bias = true, .smoothing = 0.1f},
    {.t = 130, .n = 1, .k = 16, .no_dx = true},
    {.t = 20, .n = 2, .k = 768, .bias = true, .no_da = true, .no_db = true},
    {.t = 9, .n = 1000, .k = 64, .smoothing = 0.2f},
    {.t = 37, .n = 7, .k = 33, .bias = true, .class_loss = CLASS_SIGMOID},
    {.t = 3, .n = 1000, .k = 64, .class_loss = CLASS_SIGMOID, .no_dx = true},
    {.t = 130, .n = 1, .k = 64, .class_loss = CLASS_SIGMOID},
    {.t = 130, .n = 1, .k = 64, .bias = true, .class_loss = CLASS_SQUARES},
    {.t = 5, .n = 3, .k = 100, .class_loss = CLASS_SQUARES, .no_da = true},
};
static const OpSize dense_sizes[] = {{.t = 1, .n = 32, .k = 32}, {.t = 37, .n = 100, .k = 33}};
static const OpSize preference_sizes[] = {
    {.t = 127, .n = PREFERENCE_DPO, .k = 33},  {.t = 300, .n = PREFERENCE_DPO, .k = 64, .smoothing = 0.1f},
    {.t = 127, .n = PREFERENCE_IPO, .k = 33},  {.t = 127, .n = PREFERENCE_SIMPO, .k = 100, .smoothing = 0.2f},
    {.t = 127, .n = PREFERENCE_ORPO, .k = 33}, {.t = 127, .n = PREFERENCE_ORPO, .k = 33, .no_dx = true},
    {.t = 127, .n = PREFERENCE_KTO, .k = 33},  {.t = 300, .n = PREFERENCE_KL, .k = 1, .no_dx = true},
};

static const OpSize pools[] = {{.k = 33}, {.k = 576}};
static const OpSize embeddings[] = {
    {.heads = EMBEDDING_RANKING, .n = 2, .k = 8, .d = 8, .softcap = 20, .bias = true},
    {.heads = EMBEDDING_RANKING, .n = 61, .k = 33, .d = 33, .softcap = 20, .bias = true},
    {.heads = EMBEDDING_RANKING, .n = 61, .k = 33, .d = 7, .softcap = 5, .bias = true, .no_dx = true},
    {.heads = EMBEDDING_RANKING, .n = 40, .k = 300, .d = 300, .softcap = 0.1f},
    {.heads = EMBEDDING_COSINE, .n = 40, .k = 48, .d = 32, .bias = true},
    {.heads = EMBEDDING_COSENT, .n = 60, .k = 48, .d = 48, .softcap = 20, .bias = true},
    {.heads = EMBEDDING_COSENT, .n = 20, .k = 16, .d = 16, .softcap = 0.5f},
};

const OpCase op_cases_head[] = {
    OP_CASE(head_loss, heads),
    {"soft_targets", case_head_loss, soft_heads, (int)(sizeof soft_heads / sizeof *soft_heads), false},
    OP_CASE(head_ties, ties),
    OP_CASE(top_k, tops),
    OP_CASE(top_special, ties),
    OP_CASE(class_loss, classes),
    {"dense_gradients", case_dense_gradients, dense_sizes, 2, false},
    OP_CASE(preference_loss, preference_sizes),
    OP_CASE(pool, pools),
    OP_CASE(embedding_loss, embeddings),
    {0},
};
