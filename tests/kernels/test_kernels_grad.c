// Finite differences: every backward op of the reference is the derivative of its forward op (gradcheck.h).
#include "gradcheck.h"

// ---- one context for all: what an op's loss reads ----

enum { WORKSPACE_DOUBLES = 16 * MAX_ELEMENTS };
typedef struct Context {
    float x[MAX_ELEMENTS], y[MAX_ELEMENTS], z[MAX_ELEMENTS]; // inputs
    float out[MAX_ELEMENTS], saved[MAX_ELEMENTS];            // outputs
    float dout[MAX_ELEMENTS];
    float dx[MAX_ELEMENTS], dy[MAX_ELEMENTS], dz[MAX_ELEMENTS];
    double ws[WORKSPACE_DOUBLES];
    int64_t t, n, k;
    bool interleaved;
    GluKind glu;
    ActivationKind activation;
    Weight w;
    Lora lora;
    AttentionShape shape;
    HeadLoss head;
    ClassHead classes;
    PreferenceLoss preference;
    EmbeddingLoss embedding;
} Context;

static Context *new_context(int64_t t, int64_t n, int64_t k) {
    Context *c = mem_calloc(1, sizeof *c);
    fill(c->x, MAX_ELEMENTS, 1);
    fill(c->y, MAX_ELEMENTS, 2);
    fill(c->z, MAX_ELEMENTS, 3);
    fill(c->dout, MAX_ELEMENTS, 4);
    c->t = t;
    c->n = n;
    c->k = k;
    return c;
}

// With accumulation a gradient is added to the old value: 3 everywhere here, subtracted afterwards.
static void start_at_three(float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = 3;
}

static void take_three(float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] -= 3;
}

// ---- rmsnorm ----

static double rmsnorm_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    kernels_ref.rmsnorm_forward(&b, mat(c->out, c->t, c->k), mat(c->saved, c->t, 1), mat(c->x, c->t, c->k), c->y,
                                1e-2f);
    return dot(c->out, c->dout, c->t * c->k);
}

static void test_kernels_grad_rmsnorm(void **state) {
    (void)state;
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        Context *c = new_context(5, 0, 37);
        Backend b = ref();
        rmsnorm_loss(c);
        start_at_three(c->dx, 5 * 37);
        kernels_ref.rmsnorm_backward(&b, mat(c->dx, 5, 37), mat(c->dout, 5, 37), mat(c->x, 5, 37), mat(c->saved, 5, 1),
                                     c->y, accumulate);
        if (accumulate) take_three(c->dx, 5 * 37);
        check_gradient("rmsnorm dx", rmsnorm_loss, c, c->x, c->dx, 5 * 37);
        mem_free(c);
    }
}

// ---- layernorm: weight in y, bias in z ----

static double layernorm_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    kernels_ref.layernorm_forward(&b, mat(c->out, c->t, c->k), mat(c->saved, c->t, 2), mat(c->x, c->t, c->k), c->y,
                                  c->z, 1e-2f);
    return dot(c->out, c->dout, c->t * c->k);
}

static void test_kernels_grad_layernorm(void **state) {
    (void)state;
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        Context *c = new_context(5, 0, 37);
        Backend b = ref();
        layernorm_loss(c);
        start_at_three(c->dx, 5 * 37);
        kernels_ref.layernorm_backward(&b, mat(c->dx, 5, 37), mat(c->dout, 5, 37), mat(c->x, 5, 37),
                                       mat(c->saved, 5, 2), c->y, accumulate);
        if (accumulate) take_three(c->dx, 5 * 37);
        check_gradient("layernorm dx", layernorm_loss, c, c->x, c->dx, 5 * 37);
        mem_free(c);
    }
}

// ---- linear: W lies in y ----

static double linear_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    kernels_ref.linear_forward(&b, mat(c->out, c->t, c->n), mat(c->x, c->t, c->k), &c->w, mat(c->z, c->t, c->n), c->ws);
    return dot(c->out, c->dout, c->t * c->n);
}

static void test_kernels_grad_linear(void **state) {
    (void)state;
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        Context *c = new_context(4, 21, 13);
        Backend b = ref();
        c->w = (Weight){"w", {{.data = c->y, .dtype = DTYPE_F32, .rows = 21}}, 1, 21, 13, c->saved, NULL};
        start_at_three(c->dx, 4 * 13);
        kernels_ref.linear_backward(&b, mat(c->dx, 4, 13), mat(c->dout, 4, 21), &c->w, accumulate, c->ws);
        if (accumulate) take_three(c->dx, 4 * 13);
        check_gradient("linear dx", linear_loss, c, c->x, c->dx, 4 * 13);
        mem_free(c);
    }
}

// ---- lora: A in y, B in z ----

enum { LORA_T = 6, LORA_N = 11, LORA_K = 19, LORA_R = 3 };

static double lora_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    memset(c->out, 0, sizeof c->out);
    kernels_ref.lora_forward(&b, mat(c->out, LORA_T, LORA_N + 4), mat(c->saved, LORA_T, LORA_R),
                             mat(c->x, LORA_T, LORA_K), &c->lora, c->ws);
    return dot(c->out, c->dout, LORA_T * (LORA_N + 4));
}

static void test_kernels_grad_lora(void **state) {
    (void)state;
    for (int dropout = 0; dropout < 2; dropout++) {
        Context *c = new_context(0, 0, 0);
        Backend b = ref();
        c->lora =
            (Lora){.a = c->y, .b = c->z, .da = c->dy, .db = c->dz, .rank = LORA_R, .rows = LORA_N, .row_offset = 2};
        c->lora.scale = 2;
        c->lora.dropout = dropout ? 0.4f : 0;
        lora_loss(c);
        kernels_ref.lora_backward(&b, mat(c->dx, LORA_T, LORA_K), mat(c->dout, LORA_T, LORA_N + 4),
                                  mat(c->x, LORA_T, LORA_K), mat(c->saved, LORA_T, LORA_R), &c->lora, c->ws);
        check_gradient("lora dx", lora_loss, c, c->x, c->dx, LORA_T * LORA_K);
        check_gradient("lora dA", lora_loss, c, c->y, c->dy, LORA_R * LORA_K);
        check_gradient("lora dB", lora_loss, c, c->z, c->dz, LORA_N * LORA_R);
        mem_free(c);
    }
}

// ---- dora: bias in y, magnitudes in z; the norm is a constant ----

static double dora_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    kernels_ref.dora_forward(&b, mat(c->out, LORA_T, LORA_N + 4), mat(c->x, LORA_T, LORA_N + 4), c->y, &c->lora);
    return dot(c->out, c->dout, LORA_T * (LORA_N + 4));
}

static void test_kernels_grad_dora(void **state) {
    (void)state;
    Context *c = new_context(0, 0, 0);
    Backend b = ref();
    for (int i = 0; i < LORA_N; i++) c->saved[i] = 0.5f + (float)(i % 4);
    c->lora = (Lora){.magnitude = c->z, .norm = c->saved, .dmagnitude = c->dz, .rows = LORA_N, .row_offset = 2};
    kernels_ref.dora_backward(&b, mat(c->dx, LORA_T, LORA_N + 4), mat(c->dout, LORA_T, LORA_N + 4),
                              mat(c->x, LORA_T, LORA_N + 4), c->y, &c->lora);
    check_gradient("dora dy", dora_loss, c, c->x, c->dx, LORA_T * (LORA_N + 4));
    check_gradient("dora dmagnitude", dora_loss, c, c->z, c->dz, LORA_N);
    mem_free(c);
}

// ---- rope: the backward pass is the inverse turn, in place on dout ----

static const int32_t rope_pos[] = {4, 0, 2};

static double rope_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    memcpy(c->out, c->x, sizeof c->out);
    kernels_ref.rope(&b, mat(c->out, 3, 16), &(RopeTable){c->y, rope_pos, 8, c->n, c->interleaved}, false);
    return dot(c->out, c->dout, 3 * 16);
}

static void test_kernels_grad_rope(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        int rotated = 8 - i / 2 * 2, half = rotated / 2;
        Context *c = new_context(3, rotated, 16);
        Backend b = ref();
        c->interleaved = i % 2;
        for (int pos = 0; pos < 5; pos++)
            for (int k = 0; k < half; k++) { // scaled, as YaRN does
                c->y[pos * rotated + k] = 1.2f * cosf((float)(pos + k));
                c->y[pos * rotated + half + k] = 1.2f * sinf((float)(pos + k));
            }
        memcpy(c->dx, c->dout, sizeof c->dx);
        kernels_ref.rope(&b, mat(c->dx, 3, 16), &(RopeTable){c->y, rope_pos, 8, rotated, c->interleaved}, true);
        check_gradient("rope dx", rope_loss, c, c->x, c->dx, 3 * 16);
        mem_free(c);
    }
}

// ---- attention: q in x, k in y, v in z ----

enum { HEADS = 4, KV_HEADS = 2, HEAD_SIZE = 6, TQ = 9, TK = 14 };

static AttentionCall attention_call(Context *c) {
    int64_t wide = HEADS * HEAD_SIZE, narrow = KV_HEADS * HEAD_SIZE;
    return (AttentionCall){.shape = &c->shape,
                           .q = mat(c->x, TQ, wide),
                           .k = mat(c->y, TK, narrow),
                           .v = mat(c->z, TK, narrow),
                           .out = mat(c->out, TQ, wide),
                           .lse = mat(c->saved, TQ, HEADS),
                           .dout = mat(c->dout, TQ, wide),
                           .dq = mat(c->dx, TQ, wide),
                           .dk = mat(c->dy, TK, narrow),
                           .dv = mat(c->dz, TK, narrow),
                           .ws = c->ws};
}

static double attention_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    AttentionCall call = attention_call(c);
    kernels_ref.attention_forward(&b, &call);
    return dot(c->out, c->dout, TQ * HEADS * HEAD_SIZE);
}

static void test_kernels_grad_attention(void **state) {
    (void)state;
    static const int32_t q_start[] = {0, 2, 5, TQ}, k_start[] = {0, 2, 6}, k_len[] = {2, 4, 8};
    static const int32_t q_pos[] = {0, 1, 1, 2, 3, 0, 3, 6, 7};
    static const float sinks[HEADS] = {-1, 0.5f, 2, 0};
    for (int variant = 0; variant < 16; variant++) {
        bool bidirectional = variant & 4;
        if (bidirectional && variant & 1) continue; // no window there
        Context *c = new_context(0, 0, 0);
        Backend b = ref();
        c->shape =
            (AttentionShape){HEADS, KV_HEADS, HEAD_SIZE, 3, q_start, k_start, k_len, q_pos, 0, 0.4f, 0, false, NULL, 0};
        c->shape.sinks = variant & 8 ? sinks : NULL;
        c->shape.window = variant & 1 ? 3 : 0;
        c->shape.softcap = variant & 2 ? 1.5f : 0;
        c->shape.bidirectional = bidirectional;
        attention_loss(c);
        AttentionCall call = attention_call(c);
        kernels_ref.attention_backward(&b, &call);
        check_gradient("attention dq", attention_loss, c, c->x, c->dx, TQ * HEADS * HEAD_SIZE);
        check_gradient("attention dk", attention_loss, c, c->y, c->dy, TK * KV_HEADS * HEAD_SIZE);
        check_gradient("attention dv", attention_loss, c, c->z, c->dz, TK * KV_HEADS * HEAD_SIZE);
        mem_free(c);
    }
}

// ---- short convolution of samples of 1, 2 and 6 tokens: weight in y ----

enum { CONV_T = 9, CONV_C = 5, CONV_TAPS = 3 };

static double conv_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    kernels_ref.short_conv_forward(&b, mat(c->out, CONV_T, CONV_C), mat(c->x, CONV_T, CONV_C), c->y, CONV_TAPS,
                                   &c->shape);
    return dot(c->out, c->dout, CONV_T * CONV_C);
}

static void test_kernels_grad_short_conv(void **state) {
    (void)state;
    static const int32_t start[] = {0, 1, 3, CONV_T}, length[] = {1, 2, 6}, pos[] = {0, 0, 1, 0, 1, 2, 3, 4, 5};
    Context *c = new_context(0, 0, 0);
    Backend b = ref();
    c->shape = (AttentionShape){.samples = 3, .q_start = start, .k_start = start, .k_len = length, .q_pos = pos};
    kernels_ref.short_conv_backward(&b, mat(c->dx, CONV_T, CONV_C), mat(c->dout, CONV_T, CONV_C), c->y, CONV_TAPS,
                                    &c->shape);
    check_gradient("short convolution dx", conv_loss, c, c->x, c->dx, CONV_T * CONV_C);
    mem_free(c);
}

// ---- glu: gate in x, up in y ----

static double glu_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    kernels_ref.glu_forward(&b, mat(c->out, 3, 33), mat(c->x, 3, 33), mat(c->y, 3, 33), c->glu);
    return dot(c->out, c->dout, 3 * 33);
}

static void test_kernels_grad_glu(void **state) {
    (void)state;
    for (GluKind kind = GLU_SILU; kind <= GLU_CLAMPED; kind++) {
        Context *c = new_context(3, 33, 0);
        Backend b = ref();
        c->glu = kind;
        kernels_ref.glu_backward(&b, mat(c->dx, 3, 33), mat(c->dy, 3, 33), mat(c->dout, 3, 33), mat(c->x, 3, 33),
                                 mat(c->y, 3, 33), c->glu);
        check_gradient("glu dgate", glu_loss, c, c->x, c->dx, 3 * 33);
        check_gradient("glu dup", glu_loss, c, c->y, c->dy, 3 * 33);
        mem_free(c);
    }
}

// ---- activation ----

static double activation_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    kernels_ref.activation_forward(&b, mat(c->out, 3, 33), mat(c->x, 3, 33), c->activation);
    return dot(c->out, c->dout, 3 * 33);
}

static void test_kernels_grad_activation(void **state) {
    (void)state;
    for (ActivationKind kind = ACTIVATION_GELU_TANH; kind <= ACTIVATION_TANH; kind++) {
        Context *c = new_context(3, 33, 0);
        Backend b = ref();
        c->activation = kind;
        for (int i = 0; i < 3 * 33 && kind == ACTIVATION_RELU; i++) // away from the kink
            if (fabsf(c->x[i]) < 2 * H) c->x[i] = 1;
        kernels_ref.activation_backward(&b, mat(c->dx, 3, 33), mat(c->dout, 3, 33), mat(c->x, 3, 33), kind);
        check_gradient("activation dx", activation_loss, c, c->x, c->dx, 3 * 33);
        mem_free(c);
    }
}

// ---- gather ----

static const int32_t gathered[] = {1, 2, 5};

static double gather_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    kernels_ref.gather_rows_forward(&b, mat(c->out, 3, 7), mat(c->x, 6, 7), gathered);
    return dot(c->out, c->dout, 3 * 7);
}

static void test_kernels_grad_gather_rows(void **state) {
    (void)state;
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        Context *c = new_context(3, 0, 7);
        Backend b = ref();
        start_at_three(c->dx, 6 * 7);
        kernels_ref.gather_rows_backward(&b, mat(c->dx, 6, 7), mat(c->dout, 3, 7), gathered, accumulate);
        if (accumulate) take_three(c->dx, 6 * 7);
        check_gradient("gather dx", gather_loss, c, c->x, c->dx, 6 * 7);
        mem_free(c);
    }
}

// ---- head: W in y; the loss is the op's own, scaled ----

static const PassState QUARTER = {.grad_scale = 0.25f};

static double head_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    HeadResult result;
    kernels_ref.head_loss(&b, &result, (Mat){0}, mat(c->x, c->t, c->k), &c->w, &c->head, c->ws);
    return result.loss * (double)c->head.state->grad_scale;
}

static void test_kernels_grad_head_loss(void **state) {
    (void)state;
    static const int32_t targets[] = {0, 16, 3, 3};
    for (int variant = 0; variant < 4; variant++) {
        Context *c = new_context(4, 17, 9);
        Backend b = ref();
        HeadResult result;
        c->w = (Weight){"head", {{.data = c->y, .dtype = DTYPE_F32, .rows = 17}}, 1, 17, 9, NULL, NULL};
        c->head = (HeadLoss){.targets = targets, .state = &QUARTER};
        c->head.label_smoothing = variant & 1 ? 0.2f : 0;
        c->head.softcap = variant & 2 ? 2.5f : 0;
        kernels_ref.head_loss(&b, &result, mat(c->dx, 4, 9), mat(c->x, 4, 9), &c->w, &c->head, c->ws);
        check_gradient("head dx", head_loss, c, c->x, c->dx, 4 * 9);
        mem_free(c);
    }
}

// Targets of 3 of 17 tokens, one of them absent in the second row; the last row's target is among them.
static void test_kernels_grad_soft_targets(void **state) {
    (void)state;
    static const int32_t targets[] = {0, 16, 5, 9}, ids[] = {1, 2, 16, -1, 3, 4, 0, 5, 10, 0, 8, 9};
    static const float values[] = {1, -0.5f, 0.25f, 9, -1, 2, 0, 0, 3, -2, 1, 1};
    for (int variant = 0; variant < 4; variant++) {
        Context *c = new_context(4, 17, 9);
        Backend b = ref();
        HeadResult result;
        c->w = (Weight){"head", {{.data = c->y, .dtype = DTYPE_F32, .rows = 17}}, 1, 17, 9, NULL, NULL};
        c->head = (HeadLoss){.targets = targets, .state = &QUARTER};
        c->head.soft = (SoftTargets){ids, values, 3, variant & 1 ? 2 : 1, 0.3f, 1.2f};
        c->head.softcap = variant & 2 ? 2.5f : 0;
        kernels_ref.head_loss(&b, &result, mat(c->dx, 4, 9), mat(c->x, 4, 9), &c->w, &c->head, c->ws);
        check_gradient("soft dx", head_loss, c, c->x, c->dx, 4 * 9);
        double parts = 0.3f * result.sums[SUM_HARD] + 1.2f * result.sums[SUM_SOFT];
        ASSERT_NEAR(result.loss, parts, 1e-12 * parts);
        assert_true(result.sums[SUM_SOFT] > 0);
        mem_free(c);
    }
}

// ---- class head: W in y, bias in z ----

enum { CLASSES = 5 };

static double class_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    HeadResult result;
    ClassHead evaluation = c->classes;
    evaluation.dw = evaluation.dbias = NULL;
    kernels_ref.class_loss(&b, &result, (Mat){0}, mat(c->x, c->t, c->k), &evaluation, c->ws);
    return result.loss * (double)c->classes.state->grad_scale;
}

static void test_kernels_grad_class_loss(void **state) {
    (void)state;
    static const int32_t labels[] = {0, 4, 2, 2};
    for (int smoothing = 0; smoothing < 2; smoothing++) {
        Context *c = new_context(4, 0, 9);
        Backend b = ref();
        HeadResult result;
        c->classes = (ClassHead){.w = c->y, .bias = c->z, .dw = c->dy, .dbias = c->dz, .labels = labels};
        c->classes.classes = CLASSES;
        c->classes.state = &QUARTER;
        c->classes.label_smoothing = smoothing ? 0.2f : 0;
        start_at_three(c->dy, CLASSES * 9);
        start_at_three(c->dz, CLASSES);
        kernels_ref.class_loss(&b, &result, mat(c->dx, 4, 9), mat(c->x, 4, 9), &c->classes, c->ws);
        take_three(c->dy, CLASSES * 9);
        take_three(c->dz, CLASSES);
        check_gradient("class dx", class_loss, c, c->x, c->dx, 4 * 9);
        check_gradient("class dw", class_loss, c, c->y, c->dy, CLASSES * 9);
        check_gradient("class dbias", class_loss, c, c->z, c->dz, CLASSES);
        mem_free(c);
    }
}

// ---- preferences: token losses x; dx, one column, begins as the gradient of their sum: 1 ----

enum { SCORED = 11 };

static double preference_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    HeadResult result;
    double policy[SCORED];
    for (int i = 0; i < SCORED; i++) policy[i] = (double)c->x[i];
    PreferenceLoss p = c->preference;
    p.policy = policy;
    kernels_ref.preference_loss(&b, &result, (Mat){0}, &p, c->ws);
    return result.loss;
}

static void test_kernels_grad_preference_loss(void **state) {
    (void)state;
    static const int32_t start[] = {0, 4, 7, 9, 11}, desirable[] = {1, 0, 0, 1};
    static const int32_t answer[SCORED] = {0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1};
    static const PassState pass = {.nll_scale = 0.25f, .kl = 0.5f};
    static const double reference[SCORED] = {1, 0.5, 0.25, 2, 1, 1, 3, 2, 0.5, 1, 1};
    for (int kind = PREFERENCE_DPO; kind <= PREFERENCE_KTO; kind++) {
        Context *c = new_context(SCORED, 0, 1);
        Backend b = ref();
        HeadResult result;
        double policy[SCORED];
        for (int i = 0; i < SCORED; i++) policy[i] = (double)(c->x[i] = 0.5f + c->x[i] * c->x[i]), c->dx[i] = 1;
        c->preference = (PreferenceLoss){kind,  0.4f,   0.1f,      0.5f,   {1.5f, 0.75f}, 4,
                                         start, answer, desirable, policy, reference,     &pass};
        kernels_ref.preference_loss(&b, &result, mat(c->dx, SCORED, 1), &c->preference, c->ws);
        check_gradient("preference", preference_loss, c, c->x, c->dx, SCORED);
        mem_free(c);
    }
}

// ---- vectors: pooling x to out; losses of x ----

static double pool_loss(void *context) {
    static const int32_t start[] = {0, 1, 1, 4, 5};
    Context *c = context;
    Backend b = ref();
    kernels_ref.pool_forward(&b, mat(c->out, 4, c->k), mat(c->x, c->t, c->k), start);
    kernels_ref.pool_backward(&b, mat(c->dx, c->t, c->k), mat(c->dout, 4, c->k), start);
    return dot(c->out, c->dout, 4 * c->k);
}

static void test_kernels_grad_pool(void **state) {
    (void)state;
    Context *c = new_context(6, 0, 7); // the last row is padding
    pool_loss(c);
    check_gradient("pool", pool_loss, c, c->x, c->dx, 6 * 7);
    mem_free(c);
}

static double embedding_loss(void *context) {
    Context *c = context;
    Backend b = ref();
    HeadResult result;
    kernels_ref.embedding_loss(&b, &result, NULL, (Mat){0}, mat(c->x, c->t, c->k), &c->embedding, c->ws);
    return result.loss * (double)c->embedding.grad_scale;
}

static void test_kernels_grad_embedding_loss(void **state) {
    (void)state;
    static const int32_t mixed[] = {0, 2, 5, 8}, pairs[] = {0, 2, 4, 6, 8};
    static const float score[] = {0.25f, 1, 0.25f, 0};
    for (int variant = 0; variant < 6; variant++) {
        Context *c = new_context(8, 0, 6);
        Backend b = ref();
        HeadResult result;
        bool ranks = variant / 2 == EMBEDDING_RANKING;
        c->embedding = (EmbeddingLoss){.kind = (EmbeddingKind)(variant / 2),
                                       .cosine = variant % 2,
                                       .scale = 2,
                                       .weight = 0.5f,
                                       .grad_scale = 0.25f,
                                       .dims = variant % 2 ? 6 : 5};
        c->embedding.records = ranks ? 3 : 4;
        c->embedding.start = ranks ? mixed : pairs;
        c->embedding.score = score;
        start_at_three(c->dx, 8 * 6);
        kernels_ref.embedding_loss(&b, &result, NULL, mat(c->dx, 8, 6), mat(c->x, 8, 6), &c->embedding, c->ws);
        take_three(c->dx, 8 * 6);
        check_gradient("embedding", embedding_loss, c, c->x, c->dx, 8 * 6);
        mem_free(c);
    }
}

TEST_MAIN(TEST(test_kernels_grad_rmsnorm), TEST(test_kernels_grad_layernorm), TEST(test_kernels_grad_linear),
          TEST(test_kernels_grad_lora), TEST(test_kernels_grad_dora), TEST(test_kernels_grad_rope),
          TEST(test_kernels_grad_attention), TEST(test_kernels_grad_short_conv), TEST(test_kernels_grad_glu),
          TEST(test_kernels_grad_activation), TEST(test_kernels_grad_gather_rows), TEST(test_kernels_grad_head_loss),
          TEST(test_kernels_grad_soft_targets), TEST(test_kernels_grad_class_loss),
          TEST(test_kernels_grad_preference_loss), TEST(test_kernels_grad_pool), TEST(test_kernels_grad_embedding_loss))
