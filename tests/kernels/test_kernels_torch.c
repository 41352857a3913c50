// The ops of the reference and of every copy of the CPU backend against PyTorch (golden/make_kernels_golden.py).
#include <math.h>
#include <stdlib.h>

#include "kernels.h"
#include "test.h"

// Golden values have 9 digits; the float32 sums here are short. Of the root mean square of the tensor.
static const double TOLERANCE = 4e-6;
enum { MAX_ELEMENTS = 256, MAX_RESULTS = 96 };

typedef struct Golden {
    char name[32];
    int n;
    double values[MAX_ELEMENTS];
} Golden;
static Golden golden[MAX_RESULTS];
static int n_golden;

static int load_golden(void **state) {
    (void)state;
    FILE *f = fopen(TEST_DIR "/golden/kernels_torch.txt", "r");
    if (!f) return -1;
    while (fscanf(f, "#%*[^\n] ") != EOF && n_golden < MAX_RESULTS) {
        Golden *g = golden + n_golden;
        if (fscanf(f, "%31s %d", g->name, &g->n) != 2) break;
        for (int i = 0; i < g->n && i < MAX_ELEMENTS; i++)
            if (fscanf(f, "%lf", g->values + i) != 1) return -1;
        n_golden++;
    }
    fclose(f);
    return n_golden ? 0 : -1;
}

static void check(const Backend *b, const char *name, const float *got, int64_t n) {
    const Golden *g = golden;
    while (g < golden + n_golden && strcmp(g->name, name)) g++;
    if (g == golden + n_golden || g->n != n) fail_msg("no golden values %s of %lld elements", name, (long long)n);
    double squares = 0;
    for (int64_t i = 0; i < n; i++) squares += g->values[i] * g->values[i] / (double)n;
    double limit = TOLERANCE * sqrt(squares);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - g->values[i]) <= limit))
            fail_msg("%s: %s[%lld]: got %.9g, want %.9g, tolerance %.3g", b->k->name, name, (long long)i,
                     (double)got[i], g->values[i], limit);
}

// The generator's value(seed, ...).
static void fill(float *x, int n, int seed) {
    for (int i = 0; i < n; i++) x[i] = (float)((i * i * 7919 + i * 31 + seed * 104729) % 1009) / 256 - 2;
}

static Mat mat(float *data, int64_t rows, int64_t cols) { return mat_of(data, DTYPE_F32, rows, cols); }

typedef struct Buffers {
    float in[5][MAX_ELEMENTS], out[4][MAX_ELEMENTS];
    _Alignas(64) char ws[1 << 20];
} Buffers;

static void *workspace(Buffers *m, size_t bytes) {
    CHECK(bytes <= sizeof m->ws, "%zu bytes of workspace", bytes);
    return m->ws;
}

static void check_rmsnorm(Backend *b, Buffers *m) {
    fill(m->in[0], 30, 1), fill(m->in[1], 10, 2), fill(m->in[2], 30, 3);
    Mat x = mat(m->in[0], 3, 10), out = mat(m->out[0], 3, 10), dx = mat(m->out[1], 3, 10), rstd = mat(m->out[2], 3, 1);
    b->k->rmsnorm_forward(b, out, rstd, x, m->in[1], 1e-5f);
    b->k->rmsnorm_backward(b, dx, mat(m->in[2], 3, 10), x, rstd, m->in[1], false);
    check(b, "rmsnorm_out", m->out[0], 30);
    check(b, "rmsnorm_dx", m->out[1], 30);
}

static void check_layernorm(Backend *b, Buffers *m) {
    fill(m->in[0], 30, 1), fill(m->in[1], 10, 2), fill(m->in[2], 30, 3), fill(m->in[3], 10, 4);
    Mat x = mat(m->in[0], 3, 10), out = mat(m->out[0], 3, 10), dx = mat(m->out[1], 3, 10), stats = mat(m->out[2], 3, 2);
    b->k->layernorm_forward(b, out, stats, x, m->in[1], m->in[3], 1e-5f);
    b->k->layernorm_backward(b, dx, mat(m->in[2], 3, 10), x, stats, m->in[1], false);
    check(b, "layernorm_out", m->out[0], 30);
    check(b, "layernorm_dx", m->out[1], 30);
}

static void check_rope(Backend *b, Buffers *m) {
    static const int32_t pos[] = {5, 0, 1, 7};
    float *table = m->in[1];
    for (int rotated = 4; rotated <= 6; rotated += 2) {
        int half = rotated / 2;
        double scale = rotated == 4 ? 1.25 : 1;
        for (int p = 0; p < 8; p++)
            for (int i = 0; i < half; i++) {
                double angle = p * pow(10000, -2.0 * i / rotated);
                table[p * rotated + i] = (float)(scale * cos(angle));
                table[p * rotated + half + i] = (float)(scale * sin(angle));
            }
        fill(m->out[0], 72, 1), fill(m->out[1], 72, 2);
        RopeTable rope = {table, pos, 6, rotated, false};
        b->k->rope(b, mat(m->out[0], 4, 18), &rope, false);
        b->k->rope(b, mat(m->out[1], 4, 18), &rope, true);
        check(b, rotated == 4 ? "partial_rope_out" : "rope_out", m->out[0], 72);
        check(b, rotated == 4 ? "partial_rope_dx" : "rope_dx", m->out[1], 72);
    }
}

static void check_glu(Backend *b, Buffers *m) {
    static const char *const names[][3] = {[GLU_SILU] = {"silu_out", "silu_dgate", "silu_dup"},
                                           [GLU_GELU_TANH] = {"gelu_out", "gelu_dgate", "gelu_dup"},
                                           [GLU_GELU] = {"gelu_erf_out", "gelu_erf_dgate", "gelu_erf_dup"}};
    for (GluKind glu = GLU_SILU; glu <= GLU_GELU; glu++) {
        fill(m->in[0], 18, 1), fill(m->in[1], 18, 2), fill(m->in[2], 18, 3);
        Mat gate = mat(m->in[0], 2, 9), up = mat(m->in[1], 2, 9);
        b->k->glu_forward(b, mat(m->out[0], 2, 9), gate, up, glu);
        b->k->glu_backward(b, mat(m->out[1], 2, 9), mat(m->out[2], 2, 9), mat(m->in[2], 2, 9), gate, up, glu);
        for (int i = 0; i < 3; i++) check(b, names[glu][i], m->out[i], 18);
    }
}

static void check_activation(Backend *b, Buffers *m) {
    static const char *const names[][2] = {
        [ACTIVATION_GELU_TANH] = {"act_gelu_tanh_out", "act_gelu_tanh_dx"},
        [ACTIVATION_GELU] = {"act_gelu_out", "act_gelu_dx"},
        [ACTIVATION_SILU] = {"act_silu_out", "act_silu_dx"},
        [ACTIVATION_RELU] = {"act_relu_out", "act_relu_dx"},
        [ACTIVATION_TANH] = {"act_tanh_out", "act_tanh_dx"},
    };
    for (ActivationKind kind = ACTIVATION_GELU_TANH; kind <= ACTIVATION_TANH; kind++) {
        fill(m->in[0], 18, 1), fill(m->in[1], 18, 3);
        Mat x = mat(m->in[0], 2, 9);
        b->k->activation_forward(b, mat(m->out[0], 2, 9), x, kind);
        b->k->activation_backward(b, mat(m->out[1], 2, 9), mat(m->in[1], 2, 9), x, kind);
        for (int i = 0; i < 2; i++) check(b, names[kind][i], m->out[i], 18);
    }
}

// Pairs of neighbours are halves with the dims of each head in another order.
static void check_interleaved_rope(Backend *b, Buffers *m) {
    static const int order[] = {0, 2, 4, 1, 3, 5};
    static const int32_t pos[] = {5, 0, 1, 7};
    for (int inverse = 0; inverse <= 1; inverse++) {
        RopeTable rope = {m->in[1], pos, 6, 6, true};
        fill(m->out[0], 72, 1), fill(m->in[1], 48, 2);
        for (int i = 0; i < 72; i++) m->out[1][i] = m->out[0][i / 6 * 6 + order[i % 6]];
        b->k->rope(b, mat(m->out[0], 4, 18), &rope, inverse);
        rope.interleaved = false;
        b->k->rope(b, mat(m->out[1], 4, 18), &rope, inverse);
        for (int i = 0; i < 72; i++) assert_true(m->out[1][i] == m->out[0][i / 6 * 6 + order[i % 6]]);
    }
}

// names: of out, dq, dk, dv.
static void check_attention(Backend *b, Buffers *m, float softcap, bool bidirectional, const char *const names[4]) {
    static const int32_t q_start[] = {0, 3, 8}, k_start[] = {0, 3}, k_len[] = {3, 5};
    static const int32_t q_pos[] = {0, 1, 2, 0, 1, 2, 3, 4};
    AttentionShape s = {4, 2, 6, 2, q_start, k_start, k_len, q_pos, 0, 1 / sqrtf(6), softcap, bidirectional, NULL, 0};
    fill(m->in[0], 192, 1), fill(m->in[1], 96, 2), fill(m->in[2], 96, 3), fill(m->in[3], 192, 4);
    AttentionCall c = {.shape = &s,
                       .q = mat(m->in[0], 8, 24),
                       .k = mat(m->in[1], 8, 12),
                       .v = mat(m->in[2], 8, 12),
                       .out = mat(m->out[0], 8, 24),
                       .lse = mat(m->in[4], 8, 4),
                       .dout = mat(m->in[3], 8, 24),
                       .dq = mat(m->out[1], 8, 24),
                       .dk = mat(m->out[2], 8, 12),
                       .dv = mat(m->out[3], 8, 12)};
    c.ws = workspace(m, b->k->attention_workspace(b, &s, c.q, c.k, false));
    b->k->attention_forward(b, &c);
    c.ws = workspace(m, b->k->attention_workspace(b, &s, c.q, c.k, true));
    b->k->attention_backward(b, &c);
    for (int i = 0; i < 4; i++) check(b, names[i], m->out[i], i < 2 ? 192 : 96);
}

static void check_attentions(Backend *b, Buffers *m) {
    static const char *const plain[] = {"attention_out", "attention_dq", "attention_dk", "attention_dv"};
    static const char *const capped[] = {"capped_out", "capped_dq", "capped_dk", "capped_dv"};
    static const char *const both[] = {"bidirectional_out", "bidirectional_dq", "bidirectional_dk", "bidirectional_dv"};
    check_attention(b, m, 0, false, plain);
    check_attention(b, m, 2, false, capped);
    check_attention(b, m, 0, true, both);
}

static void check_lora(Backend *b, Buffers *m) {
    fill(m->in[0], 60, 1), fill(m->in[1], 36, 2), fill(m->in[2], 21, 3), fill(m->out[0], 35, 4), fill(m->in[3], 35, 5);
    memset(m->out[1], 0, sizeof m->out[1] * 3);
    Lora l = {.a = m->in[1], .b = m->in[2], .da = m->out[2], .db = m->out[3], .rank = 3, .rows = 7, .scale = 2};
    Mat x = mat(m->in[0], 5, 12), xa = mat(m->in[4], 5, 3);
    void *ws = workspace(m, b->k->lora_workspace(b, &l, 5, 12));
    b->k->lora_forward(b, mat(m->out[0], 5, 7), xa, x, &l, ws);
    b->k->lora_backward(b, mat(m->out[1], 5, 12), mat(m->in[3], 5, 7), x, xa, &l, ws);
    check(b, "lora_out", m->out[0], 35);
    check(b, "lora_dx", m->out[1], 60);
    check(b, "lora_da", m->out[2], 36);
    check(b, "lora_db", m->out[3], 21);
}

static void check_head(Backend *b, Buffers *m) {
    static const int32_t targets[] = {0, 10, 3, 3};
    static const char *const names[][2] = {{"head_loss", "head_dx"},
                                           {"smooth_loss", "smooth_dx"},
                                           {"capped_head_loss", "capped_head_dx"},
                                           {"capped_smooth_loss", "capped_smooth_dx"}};
    for (int variant = 0; variant < 4; variant++) {
        fill(m->in[0], 32, 1), fill(m->in[1], 88, 2);
        Weight w = {"head", {{.data = m->in[1], .dtype = DTYPE_F32, .rows = 11}}, 1, 11, 8, NULL, NULL};
        PassState pass = {.grad_scale = 0.25f};
        HeadLoss h = {.targets = targets, .state = &pass};
        h.label_smoothing = variant & 1 ? 0.1f : 0;
        h.softcap = variant & 2 ? 5.0f : 0;
        HeadResult result;
        b->k->head_loss(b, &result, mat(m->out[0], 4, 8), mat(m->in[0], 4, 8), &w, &h,
                        workspace(m, b->k->head_loss_workspace(b, &w, &h, 4)));
        float loss = (float)result.loss;
        check(b, names[variant][0], &loss, 1);
        check(b, names[variant][1], m->out[0], 32);
    }
}

static void check_class_loss(Backend *b, Buffers *m, ClassLoss kind) {
    static const int32_t classes[] = {0, 4, 3, 3}, none[4] = {0};
    static const char *const names[][4] = {{"class_loss", "class_dx", "class_dw", "class_dbias"},
                                           {"sigmoid_loss", "sigmoid_dx", "sigmoid_dw", "sigmoid_dbias"},
                                           {"squares_loss", "squares_dx", "squares_dw", "squares_dbias"}};
    float y[20];
    for (int i = 0; i < 20; i++) y[i] = kind == CLASS_SQUARES ? (float)i / 4 - 2 : i % 3 == 0;
    fill(m->in[0], 32, 1), fill(m->in[1], 40, 2), fill(m->in[2], 5, 3);
    memset(m->out[1], 0, sizeof m->out[1] * 2);
    ClassHead h = {.w = m->in[1], .bias = m->in[2], .dw = m->out[1], .dbias = m->out[2], .classes = 5};
    h.loss = kind;
    h.labels = kind == CLASS_SOFTMAX ? classes : none;
    h.values = kind == CLASS_SOFTMAX ? NULL : y;
    PassState pass = {.grad_scale = 0.25f};
    h.state = &pass;
    h.label_smoothing = 0.1f;
    HeadResult result;
    b->k->class_loss(b, &result, mat(m->out[0], 4, 8), mat(m->in[0], 4, 8), &h,
                     workspace(m, b->k->class_loss_workspace(b, &h, 4)));
    float loss = (float)result.loss;
    check(b, names[kind][0], &loss, 1);
    check(b, names[kind][1], m->out[0], 32);
    check(b, names[kind][2], m->out[1], 40);
    check(b, names[kind][3], m->out[2], 5);
}

static void check_adamw(Backend *b, Buffers *m) {
    AdamwSegment segment = {0, 20, 1};
    double square = 1;
    int64_t bad = 0;
    fill(m->out[0], 20, 1);
    memset(m->out[1], 0, sizeof m->out[1] * 2);
    for (int step = 0; step < 3; step++) {
        Adamw o = {1e-2, 0.9, 0.999, 1e-8, 0.1, 0, &square, &bad, step + 1, &segment, 1};
        fill(m->in[0], 20, 10 + step);
        b->k->adamw(b, m->out[0], m->out[1], m->out[2], m->in[0], &o);
    }
    check(b, "adamw_p", m->out[0], 20);
    check(b, "adamw_m", m->out[1], 20);
    check(b, "adamw_v", m->out[2], 20);
}

static void check_backend(const Kernels *k) {
    if (!k) return;
    Backend b = {.k = k, .threads = 2};
    static Buffers m;
    check_rmsnorm(&b, &m);
    check_layernorm(&b, &m);
    check_rope(&b, &m);
    check_interleaved_rope(&b, &m);
    check_glu(&b, &m);
    check_activation(&b, &m);
    check_attentions(&b, &m);
    check_lora(&b, &m);
    check_head(&b, &m);
    for (ClassLoss kind = CLASS_SOFTMAX; kind <= CLASS_SQUARES; kind++) check_class_loss(&b, &m, kind);
    check_adamw(&b, &m);
}

static void test_kernels_torch_reference(void **state) {
    (void)state;
    check_backend(&kernels_ref);
}

static void test_kernels_torch_cpu(void **state) {
    (void)state;
    check_backend(kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, "base"));
    check_backend(kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, "v3"));
    check_backend(kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, "v4"));
}

TEST_MAIN_WITH(load_golden, NULL, TEST(test_kernels_torch_reference), TEST(test_kernels_torch_cpu))
