// moe_cpu: routing of tokens to experts. The experts' products are in matmul_cpu.c.
//
// Threads share tokens or rows; sums over a token's choices run in the order of the choices. Sorting the rows is
// serial: a few integers per token.
#include "cpu.h"

#include <math.h>

static bool ranks_before(float a, float b) { return a > b || (isnan(a) && !isnan(b)); }

// The `used` largest of n, largest first; of equal values the lower index first.
static void choose(int32_t *expert, const Act *x, int64_t n, int64_t used) {
    int64_t count = 0;
    for (int32_t e = 0; e < n; e++) {
        float own = act_load(x[e]);
        if (count == used && !ranks_before(own, act_load(x[expert[used - 1]]))) continue;
        if (count < used) count++;
        int64_t at = count - 1;
        for (; at > 0 && ranks_before(own, act_load(x[expert[at - 1]])); at--) expert[at] = expert[at - 1];
        expert[at] = e;
    }
}

// Counting sort: counts in offset[e + 1], prefix sums as starts, each start advances to its expert's end.
static void sort_rows(const MoePlan *p) {
    int64_t rows = p->tokens * p->used;
    int32_t *offset = p->offset;
    memset(offset, 0, (size_t)(p->experts + 1) * sizeof *offset);
    for (int64_t i = 0; i < rows; i++) offset[p->expert[i] + 1]++;
    for (int64_t e = 0; e < p->experts; e++) offset[e + 1] += offset[e];
    for (int64_t i = 0; i < rows; i++) {
        int32_t row = offset[p->expert[i]]++;
        p->row[i] = row;
        p->choice[row] = (int32_t)i;
    }
    memmove(offset + 1, offset, (size_t)p->experts * sizeof *offset);
    offset[0] = 0;
}

// p[e] = exp(x[e] - max) / z.
typedef struct Softmax {
    float max, z;
} Softmax;

static Softmax softmax_of(const Act *x, int64_t n) {
    float max = act_load(x[0]);
    for (int64_t i = 1; i < n; i++) max = act_load(x[i]) > max ? act_load(x[i]) : max; // a NaN shows in z
    float z = 0;
#pragma omp simd reduction(+ : z)
    for (int64_t i = 0; i < n; i++) z += cpu_expf(act_load(x[i]) - max);
    return (Softmax){max, z};
}

static float probability(Softmax s, Act x) { return cpu_expf(act_load(x) - s.max) / s.z; }

static float sigmoid(Act x) { return cpu_logistic(act_load(x)); }

// w = the weights of one token's choices.
static void route_weights(float *w, const Act *x, const int32_t *expert, const MoePlan *plan, MoeScores scores) {
    int64_t used = plan->used;
    if (scores == MOE_SIGMOID) {
        for (int64_t j = 0; j < used; j++) w[j] = sigmoid(x[expert[j]]);
        return;
    }
    Softmax s = softmax_of(x, plan->experts);
    float sum = 0;
    for (int64_t j = 0; j < used; j++) {
        w[j] = probability(s, x[expert[j]]);
        sum += w[j];
    }
    for (int64_t j = 0; j < used && scores == MOE_RENORMALISED; j++) w[j] /= sum;
}

void CPU_FN(moe_route_forward)(Backend *b, Mat weights, const MoePlan *plan, Mat logits, MoeScores scores) {
    host_check_moe(plan);
    CHECK_ACT(logits, plan->tokens, plan->experts);
    CHECK_SHAPE(weights, plan->tokens, plan->used);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, logits.rows *logits.cols))
    for (int64_t t = 0; t < plan->tokens; t++) {
        const Act *x = act_row(logits, t);
        int32_t *expert = plan->expert + t * plan->used;
        choose(expert, x, plan->experts, plan->used);
        route_weights(f32_row(weights, t), x, expert, plan, scores);
    }
    sort_rows(plan);
}

// Of a sigmoid: dx = dw w (1 - w), of the chosen alone.
static void sigmoid_backward(Act *dx, const float *dw, const Act *x, const int32_t *expert, const MoePlan *plan) {
    for (int64_t e = 0; e < plan->experts; e++) dx[e] = act_store(0 * sigmoid(x[e])); // a NaN shows
    for (int64_t j = 0; j < plan->used; j++) {
        float p = sigmoid(x[expert[j]]);
        dx[expert[j]] = act_store(dw[j] * p * (1 - p));
    }
}

// One token. dx = p_e ([e chosen] dw_j - mean), or with the p of the chosen divided by their sum, where all others
// get none; mean = sum of p dw over the choices.
static void route_backward(Act *dx, const float *dw, const Act *x, const int32_t *expert, const MoePlan *plan,
                           MoeScores scores) {
    bool renormalise = scores == MOE_RENORMALISED;
    if (scores == MOE_SIGMOID) {
        sigmoid_backward(dx, dw, x, expert, plan);
        return;
    }
    Softmax s = softmax_of(x, plan->experts);
    float sum = 0, mean = 0;
    for (int64_t j = 0; j < plan->used; j++) {
        float p = probability(s, x[expert[j]]);
        sum += p;
        mean += p * dw[j];
    }
    float divisor = renormalise ? sum : 1;
    mean /= divisor;
    for (int64_t e = 0; e < plan->experts; e++) dx[e] = act_store(renormalise ? 0 : -mean * probability(s, x[e]));
    for (int64_t j = 0; j < plan->used; j++)
        dx[expert[j]] = act_store((dw[j] - mean) * (probability(s, x[expert[j]]) / divisor));
}

void CPU_FN(moe_route_backward)(Backend *b, Mat dlogits, Mat dweights, Mat logits, const MoePlan *plan,
                                MoeScores scores) {
    host_check_moe(plan);
    CHECK_ACT(logits, plan->tokens, plan->experts);
    CHECK_ACT(dlogits, plan->tokens, plan->experts);
    CHECK_SHAPE(dweights, plan->tokens, plan->used);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, logits.rows *logits.cols))
    for (int64_t t = 0; t < plan->tokens; t++)
        route_backward(act_row(dlogits, t), f32_row(dweights, t), act_row(logits, t), plan->expert + t * plan->used,
                       plan, scores);
}

void CPU_FN(moe_gather)(Backend *b, Mat out, Mat x, const MoePlan *plan) {
    CHECK_ACT(x, plan->tokens, x.cols);
    CHECK_ACT(out, plan->tokens * plan->used, x.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, out.rows *out.cols))
    for (int64_t row = 0; row < out.rows; row++)
        memcpy(act_row(out, row), act_row(x, plan->choice[row] / plan->used), (size_t)x.cols * sizeof(Act));
}

void CPU_FN(moe_combine)(Backend *b, Mat out, Mat x, Mat residual, const MoePlan *plan) {
    CHECK_ACT(out, plan->tokens, out.cols);
    CHECK_ACT(x, plan->tokens * plan->used, out.cols);
    if (residual.data) CHECK_ACT(residual, plan->tokens, out.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < out.rows; t++) {
        Act *y = act_row(out, t);
        const Act *start = residual.data ? act_row(residual, t) : NULL;
        const int32_t *row = plan->row + t * plan->used;
        for (int64_t c = 0; c < out.cols; c++) {
            float sum = start ? act_load(start[c]) : 0;
            for (int64_t j = 0; j < plan->used; j++) sum += act_load(act_row(x, row[j])[c]);
            y[c] = act_store(sum);
        }
    }
}

void CPU_FN(moe_scale_forward)(Backend *b, Mat x, Mat weights, const MoePlan *plan) {
    CHECK_SHAPE(weights, plan->tokens, plan->used);
    CHECK_ACT(x, plan->tokens * plan->used, x.cols);
    const float *weight = weights.data;
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t row = 0; row < x.rows; row++) {
        Act *y = act_row(x, row);
        float w = weight[plan->choice[row]];
#pragma omp simd
        for (int64_t c = 0; c < x.cols; c++) y[c] = act_store(act_load(y[c]) * w);
    }
}

void CPU_FN(moe_scale_backward)(Backend *b, Mat dx, Mat dweights, Mat x, Mat weights, const MoePlan *plan) {
    CHECK_SHAPE(weights, plan->tokens, plan->used);
    CHECK_SHAPE(dweights, plan->tokens, plan->used);
    CHECK_ACT(x, plan->tokens * plan->used, x.cols);
    CHECK_ACT(dx, x.rows, x.cols);
    const float *weight = weights.data;
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t row = 0; row < x.rows; row++) {
        Act *d = act_row(dx, row);
        const Act *y = act_row(x, row);
        float w = weight[plan->choice[row]], dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t c = 0; c < x.cols; c++) {
            dot += act_load(d[c]) * act_load(y[c]);
            d[c] = act_store(act_load(d[c]) * w);
        }
        ((float *)dweights.data)[plan->choice[row]] = dot;
    }
}

void CPU_FN(moe_bias_forward)(Backend *b, Mat out, Mat x, Mat weights, const float *bias, const MoePlan *plan) {
    CHECK_ACT(x, plan->tokens, out.cols);
    CHECK_ACT(out, plan->tokens, out.cols);
    CHECK_SHAPE(weights, plan->tokens, plan->used);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, out.rows *out.cols))
    for (int64_t t = 0; t < out.rows; t++) {
        const Act *from = act_row(x, t);
        const float *w = f32_row(weights, t);
        const int32_t *expert = plan->expert + t * plan->used;
        Act *y = act_row(out, t);
        for (int64_t c = 0; c < out.cols; c++) {
            float sum = act_load(from[c]);
            for (int64_t j = 0; j < plan->used; j++) sum += w[j] * bias[expert[j] * out.cols + c];
            y[c] = act_store(sum);
        }
    }
}

void CPU_FN(moe_bias_backward)(Backend *b, Mat dweights, Mat dout, const float *bias, const MoePlan *plan) {
    CHECK_ACT(dout, plan->tokens, dout.cols);
    CHECK_SHAPE(dweights, plan->tokens, plan->used);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, dout.rows *dout.cols))
    for (int64_t i = 0; i < plan->tokens * plan->used; i++) {
        const Act *d = act_row(dout, i / plan->used);
        const float *row = bias + plan->expert[i] * dout.cols;
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t c = 0; c < dout.cols; c++) dot += act_load(d[c]) * row[c];
        ((float *)dweights.data)[i] += dot;
    }
}
