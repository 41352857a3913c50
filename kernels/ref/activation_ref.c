// activation_ref: glu, activation and soft-cap, reference.
#include "ref.h"

#include <math.h>

// Value and derivative of an activation.
typedef struct Activation {
    double y, dy;
} Activation;

static Activation silu(double x) {
    double s = 1 / (1 + exp(-x));
    return (Activation){x * s, s * (1 + x * (1 - s))};
}

// gelu_tanh(x) = x/2 (1 + tanh(u)),  u = sqrt(2/pi) (x + 0.044715 x^3)  (Hendrycks & Gimpel 2016).
static Activation gelu_tanh(double x) {
    const double k = 0.79788456080286535588, a = 0.044715;
    double t = tanh(k * (x + a * x * x * x));
    return (Activation){0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * a * x * x)};
}

// gelu(x) = x Phi(x), Phi(x) = erfc(-x / sqrt(2)) / 2;  Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi).
static Activation gelu(double x) {
    double phi = 0.5 * erfc(-x * 0.70710678118654752440), density = 0.39894228040143267794 * exp(-0.5 * x * x);
    return (Activation){x * phi, phi + x * density};
}

// A NaN is neither above nor below 0: it stays one in both.
static Activation relu(double x) { return (Activation){x < 0 ? 0 : x, x > 0 ? 1 : x < 0 ? 0 : 0 * x}; }

static Activation identity(double x) { return (Activation){x, 1}; }

// Of gpt-oss: a clamped gate, and what the other factor becomes.
static Activation clamped(double x) {
    bool above = x > (double)GLU_CLAMP_LIMIT;
    double g = above ? (double)GLU_CLAMP_LIMIT : x, a = (double)GLU_CLAMP_SLOPE, s = 1 / (1 + exp(-a * g));
    return (Activation){g * s, above ? 0 : s * (1 + a * g * (1 - s))};
}

static Activation factor(double x, GluKind kind) {
    const double limit = (double)GLU_CLAMP_LIMIT;
    if (kind != GLU_CLAMPED) return (Activation){x, 1};
    bool beyond = x > limit || x < -limit;
    return (Activation){(x > limit ? limit : x < -limit ? -limit : x) + 1, beyond ? 0 : 1};
}

static Activation tangens(double x) {
    double t = tanh(x);
    return (Activation){t, 1 - t * t};
}

typedef Activation ActivationFunction(double x);
static ActivationFunction *const glu_functions[] = {[GLU_SILU] = silu,
                                                    [GLU_GELU_TANH] = gelu_tanh,
                                                    [GLU_GELU] = gelu,
                                                    [GLU_LINEAR] = identity,
                                                    [GLU_CLAMPED] = clamped};
static ActivationFunction *const activation_functions[] = {[ACTIVATION_GELU_TANH] = gelu_tanh,
                                                           [ACTIVATION_GELU] = gelu,
                                                           [ACTIVATION_SILU] = silu,
                                                           [ACTIVATION_RELU] = relu,
                                                           [ACTIVATION_TANH] = tangens};

void ref_glu_forward(Backend *b, Mat out, Mat gate, Mat up, GluKind kind) {
    CHECK_SHAPE(out, gate.rows, gate.cols);
    CHECK_SHAPE(up, gate.rows, gate.cols);
    const float *g = gate.data, *u = up.data;
    for (int64_t i = 0; i < gate.rows * gate.cols; i++)
        ((float *)out.data)[i] = (float)(glu_functions[kind](g[i]).y * factor(u[i], kind).y);
}

void ref_glu_backward(Backend *b, Mat dgate, Mat dup, Mat dout, Mat gate, Mat up, GluKind kind) {
    CHECK_SHAPE(dgate, gate.rows, gate.cols);
    CHECK_SHAPE(dup, gate.rows, gate.cols);
    CHECK_SHAPE(dout, gate.rows, gate.cols);
    CHECK_SHAPE(up, gate.rows, gate.cols);
    const float *g = gate.data, *u = up.data, *d = dout.data;
    for (int64_t i = 0; i < gate.rows * gate.cols; i++) {
        Activation act = glu_functions[kind](g[i]), other = factor(u[i], kind);
        float dg = (float)(d[i] * other.y * act.dy), du = (float)(d[i] * act.y * other.dy);
        ((float *)dgate.data)[i] = dg;
        ((float *)dup.data)[i] = du;
    }
}

void ref_activation_forward(Backend *b, Mat out, Mat x, ActivationKind kind) {
    CHECK_SHAPE(out, x.rows, x.cols);
    for (int64_t i = 0; i < x.rows * x.cols; i++)
        ((float *)out.data)[i] = (float)activation_functions[kind](((float *)x.data)[i]).y;
}

void ref_activation_backward(Backend *b, Mat dx, Mat dout, Mat x, ActivationKind kind) {
    CHECK_SHAPE(dx, x.rows, x.cols);
    CHECK_SHAPE(dout, x.rows, x.cols);
    for (int64_t i = 0; i < x.rows * x.cols; i++) {
        double d = ((float *)dout.data)[i];
        ((float *)dx.data)[i] = (float)(d * activation_functions[kind](((float *)x.data)[i]).dy);
    }
}

void ref_softcap(Backend *b, Mat x, float cap) {
    CHECK_SHAPE(x, x.rows, x.cols);
    float *v = x.data;
    for (int64_t i = 0; i < x.rows * x.cols; i++) v[i] = (float)(cap * tanh((double)v[i] / (double)cap));
}
