// norm_ref: RMS normalisation (Zhang & Sennrich 2019) and layer normalisation (Ba et al. 2016), reference.
#include "ref.h"

#include <math.h>

void ref_rmsnorm_forward(Backend *b, Mat out, Mat rstd, Mat x, const float *weight, float eps) {
    CHECK_GROUPS(DTYPE_F32, out, rstd, x);
    int64_t group = x.cols / rstd.cols;
    x = host_groups(x, group), out = host_groups(out, group), rstd = host_groups(rstd, 1);
    for (int64_t t = 0; t < x.rows; t++) {
        const float *xt = f32_row(x, t);
        double r = 1 / sqrt(ref_dot(xt, xt, x.cols) / (double)x.cols + (double)eps);
        for (int64_t c = 0; c < x.cols; c++) f32_row(out, t)[c] = (float)(xt[c] * r * weight[c]);
        *f32_row(rstd, t) = (float)r;
    }
}

// With n = x r and g = dout w:  d(x_c r)/dx_j = r (delta_cj - n_c n_j / C),  so  dx = r (g - n mean(g n)).
void ref_rmsnorm_backward(Backend *b, Mat dx, Mat dout, Mat x, Mat rstd, const float *weight, bool accumulate) {
    CHECK_GROUPS(DTYPE_F32, dx, rstd, x);
    int64_t group = x.cols / rstd.cols;
    CHECK_SHAPE(dout, x.rows, x.cols);
    x = host_groups(x, group), dx = host_groups(dx, group), dout = host_groups(dout, group),
    rstd = host_groups(rstd, 1);
    for (int64_t t = 0; t < x.rows; t++) {
        const float *xt = f32_row(x, t), *gt = f32_row(dout, t);
        float *dxt = f32_row(dx, t);
        double r = *f32_row(rstd, t), mean = 0;
        for (int64_t c = 0; c < x.cols; c++) mean += (double)gt[c] * weight[c] * xt[c] * r / (double)x.cols;
        for (int64_t c = 0; c < x.cols; c++) {
            double d = r * ((double)gt[c] * weight[c] - xt[c] * r * mean);
            dxt[c] = (float)(accumulate ? dxt[c] + d : d);
        }
    }
}

void ref_layernorm_forward(Backend *b, Mat out, Mat stats, Mat x, const float *weight, const float *bias, float eps) {
    CHECK_SHAPE(out, x.rows, x.cols);
    CHECK_SHAPE(stats, x.rows, 2);
    for (int64_t t = 0; t < x.rows; t++) {
        const float *xt = f32_row(x, t);
        double n = (double)x.cols, mean = 0, variance = 0;
        for (int64_t c = 0; c < x.cols; c++) mean += xt[c] / n;
        for (int64_t c = 0; c < x.cols; c++) variance += (xt[c] - mean) * (xt[c] - mean) / n;
        double r = 1 / sqrt(variance + (double)eps);
        for (int64_t c = 0; c < x.cols; c++) f32_row(out, t)[c] = (float)((xt[c] - mean) * r * weight[c] + bias[c]);
        f32_row(stats, t)[0] = (float)mean;
        f32_row(stats, t)[1] = (float)r;
    }
}

// With n = (x - mean) r and g = dout w:  dn_c/dx_j = r (delta_cj - 1/C - n_c n_j / C),  so
// dx = r (g - mean(g) - n mean(g n)).
void ref_layernorm_backward(Backend *b, Mat dx, Mat dout, Mat x, Mat stats, const float *weight, bool accumulate) {
    CHECK_SHAPE(dx, x.rows, x.cols);
    CHECK_SHAPE(dout, x.rows, x.cols);
    CHECK_SHAPE(stats, x.rows, 2);
    for (int64_t t = 0; t < x.rows; t++) {
        const float *xt = f32_row(x, t), *gt = f32_row(dout, t);
        float *dxt = f32_row(dx, t);
        double mean = f32_row(stats, t)[0], r = f32_row(stats, t)[1], mean_g = 0, mean_gn = 0;
        for (int64_t c = 0; c < x.cols; c++) {
            double g = (double)gt[c] * weight[c] / (double)x.cols;
            mean_g += g;
            mean_gn += g * (xt[c] - mean) * r;
        }
        for (int64_t c = 0; c < x.cols; c++) {
            double d = r * ((double)gt[c] * weight[c] - mean_g - (xt[c] - mean) * r * mean_gn);
            dxt[c] = (float)(accumulate ? dxt[c] + d : d);
        }
    }
}
