// norm_cpu: RMS normalisation (Zhang & Sennrich 2019) and layer normalisation (Ba et al. 2016). Rows are shared by the
// threads; a row is summed in one order.
#include "cpu.h"

#include <math.h>

void CPU_FN(rmsnorm_forward)(Backend *b, Mat out, Mat rstd, Mat x, const float *weight, float eps) {
    CHECK_GROUPS(ACT_DTYPE, out, rstd, x);
    int64_t group = x.cols / rstd.cols;
    x = host_groups(x, group), out = host_groups(out, group), rstd = host_groups(rstd, 1);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < x.rows; t++) {
        const Act *xt = act_row(x, t);
        Act *yt = act_row(out, t);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < x.cols; c++) sum += act_load(xt[c]) * act_load(xt[c]);
        float r = 1 / sqrtf(sum / (float)x.cols + eps);
#pragma omp simd
        for (int64_t c = 0; c < x.cols; c++) yt[c] = act_store(act_load(xt[c]) * r * weight[c]);
        *f32_row(rstd, t) = r;
    }
}

// With g = dout w:  dx = r g - x r^3 mean(g x).
void CPU_FN(rmsnorm_backward)(Backend *b, Mat dx, Mat dout, Mat x, Mat rstd, const float *weight, bool accumulate) {
    CHECK_GROUPS(ACT_DTYPE, dx, rstd, x);
    int64_t group = x.cols / rstd.cols;
    CHECK_ACT(dout, x.rows, x.cols);
    x = host_groups(x, group), dx = host_groups(dx, group), dout = host_groups(dout, group),
    rstd = host_groups(rstd, 1);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < x.rows; t++) {
        const Act *xt = act_row(x, t), *gt = act_row(dout, t);
        Act *dxt = act_row(dx, t);
        float r = *f32_row(rstd, t), sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < x.cols; c++) sum += act_load(gt[c]) * weight[c] * act_load(xt[c]);
        float s = r * r * r * (sum / (float)x.cols);
#pragma omp simd
        for (int64_t c = 0; c < x.cols; c++)
            dxt[c] = act_store((accumulate ? act_load(dxt[c]) : 0) +
                               (r * act_load(gt[c]) * weight[c] - s * act_load(xt[c])));
    }
}

static float row_mean(const Act *x, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < n; c++) sum += act_load(x[c]);
    return sum / (float)n;
}

// In two passes: the mean of the squares minus the square of the mean would cancel.
static float row_variance(const Act *x, int64_t n, float mean) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < n; c++) sum += (act_load(x[c]) - mean) * (act_load(x[c]) - mean);
    return sum / (float)n;
}

void CPU_FN(layernorm_forward)(Backend *b, Mat out, Mat stats, Mat x, const float *weight, const float *bias,
                               float eps) {
    CHECK_ACT(out, x.rows, x.cols);
    CHECK_SHAPE(stats, x.rows, 2);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < x.rows; t++) {
        const Act *xt = act_row(x, t);
        Act *yt = act_row(out, t);
        float mean = row_mean(xt, x.cols);
        float r = 1 / sqrtf(row_variance(xt, x.cols, mean) + eps);
#pragma omp simd
        for (int64_t c = 0; c < x.cols; c++) yt[c] = act_store((act_load(xt[c]) - mean) * r * weight[c] + bias[c]);
        f32_row(stats, t)[0] = mean;
        f32_row(stats, t)[1] = r;
    }
}

// With g = dout w and n = (x - mean) r:  dx = r (g - mean(g) - n mean(g n)).
void CPU_FN(layernorm_backward)(Backend *b, Mat dx, Mat dout, Mat x, Mat stats, const float *weight, bool accumulate) {
    CHECK_ACT(dx, x.rows, x.cols);
    CHECK_ACT(dout, x.rows, x.cols);
    CHECK_SHAPE(stats, x.rows, 2);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < x.rows; t++) {
        const Act *xt = act_row(x, t), *gt = act_row(dout, t);
        Act *dxt = act_row(dx, t);
        float mean = f32_row(stats, t)[0], r = f32_row(stats, t)[1], sum_g = 0, sum_gn = 0;
#pragma omp simd reduction(+ : sum_g, sum_gn)
        for (int64_t c = 0; c < x.cols; c++) {
            float g = act_load(gt[c]) * weight[c];
            sum_g += g;
            sum_gn += g * ((act_load(xt[c]) - mean) * r);
        }
        float mean_g = sum_g / (float)x.cols, mean_gn = sum_gn / (float)x.cols;
#pragma omp simd
        for (int64_t c = 0; c < x.cols; c++)
            dxt[c] = act_store((accumulate ? act_load(dxt[c]) : 0) +
                               r * (act_load(gt[c]) * weight[c] - mean_g - (act_load(xt[c]) - mean) * r * mean_gn));
    }
}
