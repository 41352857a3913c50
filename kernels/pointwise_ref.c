// pointwise_ref: ops that touch each element or row once, reference: embedding, NEFTune, rope, glu, rows, add, argmax.
#include "ref.h"

#include <math.h>
#include <string.h>

void ref_embed_forward(Backend *b, Mat out, const Weight *w, const int32_t *ids, float scale) {
    (void)b;
    CHECK_SHAPE(out, out.rows, w->cols);
    for (int64_t t = 0; t < out.rows; t++) {
        ref_weight_row(f32_row(out, t), w, ids[t]);
        for (int64_t c = 0; c < out.cols; c++) f32_row(out, t)[c] *= scale;
    }
}

void ref_neftune(Backend *b, Mat x, const float *magnitude, float alpha, RngKey key) {
    (void)b;
    CHECK_SHAPE(x, x.rows, x.cols);
    for (int64_t t = 0; t < x.rows; t++)
        for (int64_t c = 0; c < x.cols; c++) {
            uint32_t words[4];
            rng_philox(key, (uint32_t)t, (uint32_t)(c / 4), words);
            f32_row(x, t)[c] += alpha * magnitude[t] * rng_symmetric(words[c % 4]);
        }
}

void ref_rope(Backend *b, Mat x, const float *cos_sin, const int32_t *pos, int64_t head_size, bool inverse) {
    (void)b;
    CHECK_SHAPE(x, x.rows, x.cols);
    CHECK(head_size > 0 && head_size % 2 == 0 && x.cols % head_size == 0, "rope over %lld columns, heads of %lld",
          (long long)x.cols, (long long)head_size);
    int64_t half = head_size / 2;
    for (int64_t t = 0; t < x.rows; t++) {
        const float *cosines = cos_sin + pos[t] * head_size, *sines = cosines + half;
        for (int64_t head = 0; head < x.cols / head_size; head++) {
            float *lo = f32_row(x, t) + head * head_size, *hi = lo + half;
            for (int64_t i = 0; i < half; i++) {
                double c = cosines[i], s = inverse ? -sines[i] : sines[i], l = lo[i], h = hi[i];
                lo[i] = (float)(l * c - h * s);
                hi[i] = (float)(h * c + l * s);
            }
        }
    }
}

// Value and derivative of the gate's activation.
typedef struct Activation {
    double y, dy;
} Activation;

static Activation silu(double x) {
    double s = 1 / (1 + exp(-x));
    return (Activation){x * s, s * (1 + x * (1 - s))};
}

// gelu(x) = x/2 (1 + tanh(u)),  u = sqrt(2/pi) (x + 0.044715 x^3)  (Hendrycks & Gimpel 2016).
static Activation gelu_tanh(double x) {
    const double k = 0.79788456080286535588, a = 0.044715;
    double t = tanh(k * (x + a * x * x * x));
    return (Activation){0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * a * x * x)};
}

static Activation activation(double x, GluKind kind) {
    return kind == GLU_SILU ? silu(x) : gelu_tanh(x);
}

void ref_glu_forward(Backend *b, Mat out, Mat gate, Mat up, GluKind kind) {
    (void)b;
    CHECK_SHAPE(out, gate.rows, gate.cols);
    CHECK_SHAPE(up, gate.rows, gate.cols);
    const float *g = gate.data, *u = up.data;
    for (int64_t i = 0; i < gate.rows * gate.cols; i++)
        ((float *)out.data)[i] = (float)(activation(g[i], kind).y * u[i]);
}

void ref_glu_backward(Backend *b, Mat dgate, Mat dup, Mat dout, Mat gate, Mat up, GluKind kind) {
    (void)b;
    CHECK_SHAPE(dgate, gate.rows, gate.cols);
    CHECK_SHAPE(dup, gate.rows, gate.cols);
    CHECK_SHAPE(dout, gate.rows, gate.cols);
    CHECK_SHAPE(up, gate.rows, gate.cols);
    const float *g = gate.data, *u = up.data, *d = dout.data;
    for (int64_t i = 0; i < gate.rows * gate.cols; i++) {
        Activation act = activation(g[i], kind);
        float dg = (float)(d[i] * u[i] * act.dy), du = (float)(d[i] * act.y);
        ((float *)dgate.data)[i] = dg;
        ((float *)dup.data)[i] = du;
    }
}

void ref_gather_rows_forward(Backend *b, Mat out, Mat x, const int32_t *index) {
    (void)b;
    CHECK_SHAPE(out, out.rows, x.cols);
    for (int64_t i = 0; i < out.rows; i++)
        memcpy(f32_row(out, i), f32_row(x, index[i]), (size_t)x.cols * sizeof(float));
}

void ref_gather_rows_backward(Backend *b, Mat dx, Mat dout, const int32_t *index, bool accumulate) {
    CHECK_SHAPE(dx, dx.rows, dout.cols);
    if (!accumulate) host_zero(b, dx.data, (size_t)(dx.rows * dx.cols) * sizeof(float));
    for (int64_t i = 0; i < dout.rows; i++)
        for (int64_t c = 0; c < dout.cols; c++) f32_row(dx, index[i])[c] += f32_row(dout, i)[c];
}

void ref_scatter_rows(Backend *b, Mat dst, Mat x, const int32_t *index) {
    (void)b;
    CHECK_SHAPE(dst, dst.rows, x.cols);
    for (int64_t i = 0; i < x.rows; i++) memcpy(f32_row(dst, index[i]), f32_row(x, i), (size_t)x.cols * sizeof(float));
}

void ref_add(Backend *b, Mat dst, Mat src) {
    (void)b;
    CHECK_SHAPE(dst, src.rows, src.cols);
    for (int64_t i = 0; i < src.rows * src.cols; i++) ((float *)dst.data)[i] += ((const float *)src.data)[i];
}

void ref_argmax(Backend *b, int32_t *out, Mat logits) {
    (void)b;
    CHECK_SHAPE(logits, logits.rows, logits.cols);
    for (int64_t m = 0; m < logits.rows; m++) {
        const float *row = f32_row(logits, m);
        out[m] = 0;
        for (int64_t v = 0; v < logits.cols && out[m] >= 0; v++)
            if (isnan(row[v]))
                out[m] = -1;
            else if (row[v] > row[out[m]])
                out[m] = (int32_t)v;
    }
}
