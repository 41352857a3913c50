// moe_ref: routing of tokens to experts, reference. The experts' products are in matmul_ref.c.
#include "ref.h"

#include <math.h>
#include <string.h>

// The `used` largest, largest first; the lower index wins ties, NaN is largest.
static void choose(int32_t *expert, const float *logits, const MoePlan *plan) {
    for (int64_t j = 0; j < plan->used; j++) {
        int32_t best = -1;
        for (int32_t e = 0; e < plan->experts; e++) {
            bool taken = false;
            for (int64_t i = 0; i < j; i++) taken |= expert[i] == e;
            if (taken) continue;
            if (best < 0 || logits[e] > logits[best] || (isnan(logits[e]) && !isnan(logits[best]))) best = e;
        }
        expert[j] = best;
    }
}

// Rows in the order of their expert, then of their token.
static void sort_rows(const MoePlan *p) {
    int32_t row = 0;
    for (int32_t e = 0; e < p->experts; e++) {
        p->offset[e] = row;
        for (int64_t i = 0; i < p->tokens * p->used; i++)
            if (p->expert[i] == e) {
                p->row[i] = row;
                p->choice[row++] = (int32_t)i;
            }
    }
    p->offset[p->experts] = row;
}

// p[e] = exp(x[e] - max) / z.
typedef struct Softmax {
    double max, z;
} Softmax;

static Softmax softmax_of(const float *x, int64_t n) {
    Softmax s = {-INFINITY, 0};
    for (int64_t i = 0; i < n; i++) s.max = fmax(s.max, x[i]);
    for (int64_t i = 0; i < n; i++) s.z += exp(x[i] - s.max);
    return s;
}

static double probability(Softmax s, float x) { return exp(x - s.max) / s.z; }

static double sigmoid(float x) { return 1 / (1 + exp(-(double)x)); }

// The sum of the probabilities of token t's choices.
static double chosen_sum(Softmax s, const float *logits, const MoePlan *p, int64_t t) {
    double sum = 0;
    for (int64_t j = 0; j < p->used; j++) sum += probability(s, logits[p->expert[t * p->used + j]]);
    return sum;
}

void ref_moe_route_forward(Backend *b, Mat weights, const MoePlan *plan, Mat logits, MoeScores scores) {
    host_check_moe(plan);
    CHECK_SHAPE(logits, plan->tokens, plan->experts);
    CHECK_SHAPE(weights, plan->tokens, plan->used);
    for (int64_t t = 0; t < plan->tokens; t++) {
        const float *x = f32_row(logits, t);
        int32_t *expert = plan->expert + t * plan->used;
        choose(expert, x, plan);
        Softmax s = softmax_of(x, plan->experts);
        double divisor = scores == MOE_RENORMALISED ? chosen_sum(s, x, plan, t) : 1;
        for (int64_t j = 0; j < plan->used; j++) {
            double p = scores == MOE_SIGMOID ? sigmoid(x[expert[j]]) : probability(s, x[expert[j]]) / divisor;
            f32_row(weights, t)[j] = (float)p;
        }
    }
    sort_rows(plan);
}

// Of a sigmoid: dx = dw w (1 - w), of the chosen alone.
static void sigmoid_backward(float *dx, const float *dw, const float *x, const int32_t *expert, const MoePlan *plan) {
    for (int64_t e = 0; e < plan->experts; e++) dx[e] = (float)(0 * sigmoid(x[e])); // a NaN shows
    for (int64_t j = 0; j < plan->used; j++) {
        double p = sigmoid(x[expert[j]]);
        dx[expert[j]] = (float)(dw[j] * p * (1 - p));
    }
}

// With w_j = p_j / S:  d(w_j)/d(x_e) = w_j ([e is j] - p_e) without renormalisation (S = 1 there), and
// w_j ([e is j] - [e chosen] p_e / S) with it.
void ref_moe_route_backward(Backend *b, Mat dlogits, Mat dweights, Mat logits, const MoePlan *plan, MoeScores scores) {
    bool renormalise = scores == MOE_RENORMALISED;
    host_check_moe(plan);
    CHECK_SHAPE(logits, plan->tokens, plan->experts);
    CHECK_SHAPE(dlogits, plan->tokens, plan->experts);
    CHECK_SHAPE(dweights, plan->tokens, plan->used);
    for (int64_t t = 0; t < plan->tokens; t++) {
        const float *x = f32_row(logits, t), *dw = f32_row(dweights, t);
        const int32_t *expert = plan->expert + t * plan->used;
        if (scores == MOE_SIGMOID) {
            sigmoid_backward(f32_row(dlogits, t), dw, x, expert, plan);
            continue;
        }
        Softmax s = softmax_of(x, plan->experts);
        double divisor = renormalise ? chosen_sum(s, x, plan, t) : 1, mean = 0;
        for (int64_t j = 0; j < plan->used; j++) mean += probability(s, x[expert[j]]) / divisor * dw[j];
        for (int64_t e = 0; e < plan->experts; e++) {
            bool chosen = false;
            double own = 0;
            for (int64_t j = 0; j < plan->used; j++)
                if (expert[j] == e) chosen = true, own = dw[j];
            double p = probability(s, x[e]) / divisor;
            f32_row(dlogits, t)[e] = chosen || !renormalise ? (float)(p * (own - mean)) : 0;
        }
    }
}

void ref_moe_gather(Backend *b, Mat out, Mat x, const MoePlan *plan) {
    CHECK_SHAPE(x, plan->tokens, x.cols);
    CHECK_SHAPE(out, plan->tokens * plan->used, x.cols);
    for (int64_t i = 0; i < out.rows; i++)
        memcpy(f32_row(out, plan->row[i]), f32_row(x, i / plan->used), (size_t)x.cols * sizeof(float));
}

void ref_moe_combine(Backend *b, Mat out, Mat x, Mat residual, const MoePlan *plan) {
    CHECK_SHAPE(out, plan->tokens, out.cols);
    CHECK_SHAPE(x, plan->tokens * plan->used, out.cols);
    if (residual.data) CHECK_SHAPE(residual, plan->tokens, out.cols);
    for (int64_t t = 0; t < plan->tokens; t++)
        for (int64_t c = 0; c < out.cols; c++) {
            double sum = residual.data ? f32_row(residual, t)[c] : 0;
            for (int64_t j = 0; j < plan->used; j++) sum += f32_row(x, plan->row[t * plan->used + j])[c];
            f32_row(out, t)[c] = (float)sum;
        }
}

void ref_moe_scale_forward(Backend *b, Mat x, Mat weights, const MoePlan *plan) {
    CHECK_SHAPE(weights, plan->tokens, plan->used);
    CHECK_SHAPE(x, plan->tokens * plan->used, x.cols);
    for (int64_t i = 0; i < x.rows; i++)
        for (int64_t c = 0; c < x.cols; c++) f32_row(x, plan->row[i])[c] *= ((const float *)weights.data)[i];
}

void ref_moe_scale_backward(Backend *b, Mat dx, Mat dweights, Mat x, Mat weights, const MoePlan *plan) {
    CHECK_SHAPE(weights, plan->tokens, plan->used);
    CHECK_SHAPE(dweights, plan->tokens, plan->used);
    CHECK_SHAPE(x, plan->tokens * plan->used, x.cols);
    CHECK_SHAPE(dx, x.rows, x.cols);
    for (int64_t i = 0; i < x.rows; i++) {
        float *d = f32_row(dx, plan->row[i]);
        ((float *)dweights.data)[i] = (float)ref_dot(d, f32_row(x, plan->row[i]), x.cols);
        for (int64_t c = 0; c < x.cols; c++) d[c] *= ((const float *)weights.data)[i];
    }
}

void ref_moe_bias_forward(Backend *b, Mat out, Mat x, Mat weights, const float *bias, const MoePlan *plan) {
    CHECK_SHAPE(x, plan->tokens, out.cols);
    CHECK_SHAPE(out, plan->tokens, out.cols);
    CHECK_SHAPE(weights, plan->tokens, plan->used);
    for (int64_t t = 0; t < plan->tokens; t++)
        for (int64_t c = 0; c < out.cols; c++) {
            double sum = f32_row(x, t)[c];
            for (int64_t j = 0; j < plan->used; j++)
                sum += (double)f32_row(weights, t)[j] * bias[plan->expert[t * plan->used + j] * out.cols + c];
            f32_row(out, t)[c] = (float)sum;
        }
}

void ref_moe_bias_backward(Backend *b, Mat dweights, Mat dout, const float *bias, const MoePlan *plan) {
    CHECK_SHAPE(dout, plan->tokens, dout.cols);
    CHECK_SHAPE(dweights, plan->tokens, plan->used);
    for (int64_t i = 0; i < plan->tokens * plan->used; i++)
        f32_row(dweights, i / plan->used)[i % plan->used] +=
            (float)ref_dot(f32_row(dout, i / plan->used), bias + plan->expert[i] * dout.cols, dout.cols);
}
