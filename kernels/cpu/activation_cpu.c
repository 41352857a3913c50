// activation_cpu: glu, activation and soft-cap.
//
// An activation consists of two inline functions, its value and its derivative; macros turn them into loops over rows,
// so that each is vectorised with its neighbours' arithmetic. Whole rows are shared by the threads.
#include <math.h>

#include "cpu.h"

// Most activations are x * s(x); slope is ds/dx.
typedef struct Gate {
    float s, slope;
} Gate;

static inline float gate_derivative(float x, Gate g) { return g.s + x * g.slope; }

// silu has the logistic function for s, s' = s (1 - s).
static inline Gate silu_gate(float x) {
    float s = cpu_logistic(x);
    return (Gate){s, s * (1 - s)};
}

// (1 + tanh(v)) / 2 is the logistic function of u = 2v = 2 sqrt(2/pi) (x + 0.044715 x^3). Beyond +-GELU_FLAT it is 0 or
// 1 and the cube must not overflow.
#define GELU_FLAT 20.0f
static inline Gate gelu_tanh_gate(float x) {
    const float k = 1.5957691216f, a = 0.044715f;
    float clamped = x > GELU_FLAT ? GELU_FLAT : x;
    clamped = clamped < -GELU_FLAT ? -GELU_FLAT : clamped;
    float square = a * clamped * clamped;
    float s = cpu_logistic(k * (clamped + square * clamped));
    return (Gate){s, s * (1 - s) * (k * (1 + 3 * square))};
}

static inline Gate gelu_gate(float x) {
    Normal n = cpu_normal(x);
    return (Gate){n.distribution, n.density};
}

#define GATE_FUNCTIONS(name)                                                                                           \
    static inline float name(float x) { return x * name##_gate(x).s; }                                                 \
    static inline float name##_derivative(float x) { return gate_derivative(x, name##_gate(x)); }
GATE_FUNCTIONS(silu)
GATE_FUNCTIONS(gelu_tanh)
GATE_FUNCTIONS(gelu)

static inline float relu(float x) { return x < 0 ? 0 : x; }

static inline float relu_derivative(float x) {
    float below = x < 0 ? 0 : 0 * x; // a NaN stays one
    return x > 0 ? 1 : below;
}

static inline float tangens(float x) { return cpu_tanhf(x); }

static inline float tangens_derivative(float x) {
    float y = cpu_tanhf(x);
    return 1 - y * y;
}

// ---- glu ----

#define GLU_ROWS(name)                                                                                                 \
    static void glu_##name(Act *out, const Act *gate, const Act *up, int64_t n) {                                      \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                                          \
            float x = act_load(gate[i]);                                                                               \
            out[i] = act_store(x * name##_gate(x).s * act_load(up[i]));                                                \
        }                                                                                                              \
    }                                                                                                                  \
    static void glu_##name##_backward(Act *dgate, Act *dup, const Act *dout, const Act *gate, const Act *up,           \
                                      int64_t n) {                                                                     \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                                          \
            float x = act_load(gate[i]), u = act_load(up[i]), d = act_load(dout[i]);                                   \
            Gate g = name##_gate(x);                                                                                   \
            dgate[i] = act_store(d * u * gate_derivative(x, g));                                                       \
            dup[i] = act_store(d * x * g.s);                                                                           \
        }                                                                                                              \
    }
GLU_ROWS(silu)
GLU_ROWS(gelu_tanh)
GLU_ROWS(gelu)

static void glu_linear(Act *out, const Act *gate, const Act *up, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = act_store(act_load(gate[i]) * act_load(up[i]));
}
static void glu_linear_backward(Act *dgate, Act *dup, const Act *dout, const Act *gate, const Act *up, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float x = act_load(gate[i]), u = act_load(up[i]), d = act_load(dout[i]);
        dgate[i] = act_store(d * u);
        dup[i] = act_store(d * x);
    }
}

// A gate beyond the limit is the limit, of slope 0; so is the other factor, from above and below.
static inline float clamp_above(float x) { return x > GLU_CLAMP_LIMIT ? GLU_CLAMP_LIMIT : x; }
static inline float clamp_both(float x) { return x < -GLU_CLAMP_LIMIT ? -GLU_CLAMP_LIMIT : clamp_above(x); }

static void glu_clamped(Act *out, const Act *gate, const Act *up, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float g = clamp_above(act_load(gate[i])), s = cpu_logistic(GLU_CLAMP_SLOPE * g);
        out[i] = act_store(g * s * (clamp_both(act_load(up[i])) + 1));
    }
}
static void glu_clamped_backward(Act *dgate, Act *dup, const Act *dout, const Act *gate, const Act *up, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float x = act_load(gate[i]), u = act_load(up[i]), d = act_load(dout[i]), g = clamp_above(x);
        float s = cpu_logistic(GLU_CLAMP_SLOPE * g), slope = s * (1 + GLU_CLAMP_SLOPE * g * (1 - s));
        dgate[i] = act_store(d * (clamp_both(u) + 1) * (x > GLU_CLAMP_LIMIT ? 0.0f : slope));
        dup[i] = act_store(d * (g * s) * (u > GLU_CLAMP_LIMIT || u < -GLU_CLAMP_LIMIT ? 0.0f : 1.0f));
    }
}

typedef struct GluRows {
    void (*forward)(Act *out, const Act *gate, const Act *up, int64_t n);
    void (*backward)(Act *dgate, Act *dup, const Act *dout, const Act *gate, const Act *up, int64_t n);
} GluRows;
static const GluRows glu_rows[] = {
    [GLU_SILU] = {glu_silu, glu_silu_backward},          [GLU_GELU_TANH] = {glu_gelu_tanh, glu_gelu_tanh_backward},
    [GLU_GELU] = {glu_gelu, glu_gelu_backward},          [GLU_LINEAR] = {glu_linear, glu_linear_backward},
    [GLU_CLAMPED] = {glu_clamped, glu_clamped_backward},
};

void CPU_FN(glu_forward)(Backend *b, Mat out, Mat gate, Mat up, GluKind kind) {
    CHECK_ACT(out, gate.rows, gate.cols);
    CHECK_ACT(up, gate.rows, gate.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, gate.rows *gate.cols))
    for (int64_t t = 0; t < gate.rows; t++)
        glu_rows[kind].forward(act_row(out, t), act_row(gate, t), act_row(up, t), gate.cols);
}

void CPU_FN(glu_backward)(Backend *b, Mat dgate, Mat dup, Mat dout, Mat gate, Mat up, GluKind kind) {
    CHECK_ACT(dgate, gate.rows, gate.cols);
    CHECK_ACT(dup, gate.rows, gate.cols);
    CHECK_ACT(dout, gate.rows, gate.cols);
    CHECK_ACT(up, gate.rows, gate.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, gate.rows *gate.cols))
    for (int64_t t = 0; t < gate.rows; t++)
        glu_rows[kind].backward(act_row(dgate, t), act_row(dup, t), act_row(dout, t), act_row(gate, t), act_row(up, t),
                                gate.cols);
}

// ---- activation ----

#define ACTIVATION_ROWS(name)                                                                                          \
    static void rows_##name(Act *out, const Act *x, int64_t n) {                                                       \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) out[i] = act_store(name(act_load(x[i])));                  \
    }                                                                                                                  \
    static void rows_##name##_backward(Act *dx, const Act *dout, const Act *x, int64_t n) {                            \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dx[i] =                                                    \
            act_store(act_load(dout[i]) * name##_derivative(act_load(x[i])));                                          \
    }
ACTIVATION_ROWS(gelu_tanh)
ACTIVATION_ROWS(gelu)
ACTIVATION_ROWS(silu)
ACTIVATION_ROWS(relu)
ACTIVATION_ROWS(tangens)

typedef struct ActivationRows {
    void (*forward)(Act *out, const Act *x, int64_t n);
    void (*backward)(Act *dx, const Act *dout, const Act *x, int64_t n);
} ActivationRows;
static const ActivationRows activation_rows[] = {
    [ACTIVATION_GELU_TANH] = {rows_gelu_tanh, rows_gelu_tanh_backward},
    [ACTIVATION_GELU] = {rows_gelu, rows_gelu_backward},
    [ACTIVATION_SILU] = {rows_silu, rows_silu_backward},
    [ACTIVATION_RELU] = {rows_relu, rows_relu_backward},
    [ACTIVATION_TANH] = {rows_tangens, rows_tangens_backward},
};

void CPU_FN(activation_forward)(Backend *b, Mat out, Mat x, ActivationKind kind) {
    CHECK_ACT(out, x.rows, x.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < x.rows; t++) activation_rows[kind].forward(act_row(out, t), act_row(x, t), x.cols);
}

void CPU_FN(activation_backward)(Backend *b, Mat dx, Mat dout, Mat x, ActivationKind kind) {
    CHECK_ACT(dx, x.rows, x.cols);
    CHECK_ACT(dout, x.rows, x.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < x.rows; t++)
        activation_rows[kind].backward(act_row(dx, t), act_row(dout, t), act_row(x, t), x.cols);
}

void CPU_FN(softcap)(Backend *b, Mat x, float cap) {
    CHECK_SHAPE(x, x.rows, x.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < x.rows; t++) cpu_softcap(f32_row(x, t), x.cols, 1 / cap, cap);
}
