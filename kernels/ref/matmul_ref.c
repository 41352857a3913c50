// matmul_ref: frozen weights, the linear op, one for each expert, and LoRA, reference.
#include "ref.h"

#include <math.h>

void ref_weight_row(float *dst, const Weight *w, int64_t row) {
    WeightRow r = weight_row(w, row);
    host_expand_row(dst, &r, 0, w->cols);
}

bool ref_weight_finite(Backend *b, const Weight *w) {
    for (int64_t n = 0; n < w->rows; n++) {
        WeightRow r = weight_row(w, n);
        const DTypeInfo *info = dtype_info(r.segment->dtype);
        for (int64_t block = 0; block < w->cols / info->block; block++) {
            float elements[256]; // the largest block
            host_expand_row(elements, &r, block * info->block, info->block);
            for (int i = 0; i < info->block; i++)
                if (!isfinite(elements[i])) return false;
        }
    }
    return true;
}

size_t ref_weight_keep(Backend *b, Weight *w, void *memory, void *ws) { return 0; }

void ref_expand(Backend *b, Mat dst, const Weight *w, int64_t row) {
    CHECK_SHAPE(dst, dst.rows, w->cols);
    for (int64_t n = 0; n < dst.rows; n++) ref_weight_row(f32_row(dst, n), w, row + n);
}

// Forward keeps one expanded row; backward also sums dx in double, after that row.
size_t ref_linear_workspace(Backend *b, const Weight *w, int64_t t) {
    return (size_t)w->cols * sizeof(double) + (size_t)(t * w->cols) * sizeof(double);
}

void ref_linear_forward(Backend *b, Mat out, Mat x, const Weight *w, Mat residual, void *ws) {
    CHECK_SHAPE(x, x.rows, w->cols);
    CHECK_SHAPE(out, x.rows, w->rows);
    if (residual.data) CHECK_SHAPE(residual, x.rows, w->rows);
    for (int64_t n = 0; n < w->rows; n++) {
        ref_weight_row(ws, w, n);
        for (int64_t t = 0; t < x.rows; t++) {
            double y = ref_dot(f32_row(x, t), ws, w->cols);
            if (w->bias) y += w->bias[n];
            if (residual.data) y += f32_row(residual, t)[n];
            f32_row(out, t)[n] = (float)y;
        }
    }
}

void ref_linear_backward(Backend *b, Mat dx, Mat dout, const Weight *w, bool accumulate, void *ws) {
    CHECK_SHAPE(dout, dout.rows, w->rows);
    CHECK_SHAPE(dx, dout.rows, w->cols);
    float *row = ws;
    double *sum = (double *)ws + w->cols;
    for (int64_t i = 0; i < dx.rows * dx.cols; i++) sum[i] = accumulate ? ((float *)dx.data)[i] : 0;
    for (int64_t n = 0; n < w->rows; n++) {
        ref_weight_row(row, w, n);
        for (int64_t t = 0; t < dx.rows; t++)
            for (int64_t k = 0; k < dx.cols; k++) sum[t * dx.cols + k] += (double)f32_row(dout, t)[n] * row[k];
    }
    for (int64_t i = 0; i < dx.rows * dx.cols; i++) ((float *)dx.data)[i] = (float)sum[i];
}

void ref_linears_forward(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    for (const LinearCall *c = calls; c < calls + n; c++) ref_linear_forward(b, c->out, c->in, w, c->residual, ws);
}

void ref_linears_backward(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    for (const LinearCall *c = calls; c < calls + n; c++)
        ref_linear_backward(b, c->out, c->in, w, c->residual.data != NULL, ws);
}

size_t ref_grouped_linear_workspace(Backend *b, const Weight *experts, const MoePlan *plan) {
    return ref_linear_workspace(b, experts, plan->tokens * plan->used);
}

void ref_grouped_linear_forward(Backend *b, Mat out, Mat x, const Weight *experts, const MoePlan *plan, void *ws) {
    CHECK_SHAPE(x, plan->tokens * plan->used, experts->cols);
    CHECK_SHAPE(out, x.rows, experts->rows);
    for (int64_t e = 0; e < plan->experts; e++) {
        int32_t from = plan->offset[e], to = plan->offset[e + 1];
        ref_linear_forward(b, mat_rows(out, from, to - from), mat_rows(x, from, to - from), experts + e, (Mat){0}, ws);
    }
}

void ref_grouped_linear_backward(Backend *b, Mat dx, Mat dout, const Weight *experts, const MoePlan *plan,
                                 bool accumulate, void *ws) {
    CHECK_SHAPE(dx, plan->tokens * plan->used, experts->cols);
    CHECK_SHAPE(dout, dx.rows, experts->rows);
    for (int64_t e = 0; e < plan->experts; e++) {
        int32_t from = plan->offset[e], to = plan->offset[e + 1];
        ref_linear_backward(b, mat_rows(dx, from, to - from), mat_rows(dout, from, to - from), experts + e, accumulate,
                            ws);
    }
}

// The factor of drop(x) at row t, column k.
static double drop_factor(const Lora *l, int64_t t, int64_t k) {
    if (l->dropout == 0) return 1;
    uint32_t words[4];
    rng_philox(token_key(&l->keys, t), token_index(&l->keys, t), (uint32_t)(k / 4), words);
    return rng_keep(words[k % 4], l->dropout) ? 1 / (1 - (double)l->dropout) : 0;
}

// Backward keeps dxa [T, R] in double.
size_t ref_lora_workspace(Backend *b, const Lora *l, int64_t t, int64_t k) {
    return (size_t)(t * lora_ranks(l)) * sizeof(double);
}

static void lora_forward_pair(Mat y, Mat xa, Mat x, const Lora *l) {
    CHECK_SHAPE(xa, x.rows, l->rank);
    CHECK_SHAPE(y, x.rows, y.cols);
    CHECK(l->row_offset >= 0 && l->row_offset + l->rows <= y.cols);
    for (int64_t t = 0; t < x.rows; t++) {
        for (int64_t r = 0; r < l->rank; r++) {
            double sum = 0;
            for (int64_t k = 0; k < x.cols; k++) sum += drop_factor(l, t, k) * f32_row(x, t)[k] * l->a[r * x.cols + k];
            f32_row(xa, t)[r] = (float)sum;
        }
        float *yt = f32_row(y, t) + l->row_offset;
        for (int64_t n = 0; n < l->rows; n++)
            yt[n] = (float)(yt[n] + l->scale * ref_dot(f32_row(xa, t), l->b + n * l->rank, l->rank));
    }
}

void ref_lora_forward(Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws) {
    for (int64_t e = 0; l->experts && e < l->experts->experts; e++) {
        Lora own = host_expert_lora(l, e, x.cols);
        lora_forward_pair(host_expert_rows(y, l->experts, e), host_expert_rows(xa, l->experts, e),
                          host_expert_rows(x, l->experts, e), &own);
    }
    if (l->experts) return;
    for (int i = 0; i <= l->more; i++) lora_forward_pair(y, host_lora_xa(xa, l, i), x, l + i);
}

static void lora_backward_dxa(double *dxa, Mat dy, const Lora *l) {
    for (int64_t t = 0; t < dy.rows; t++)
        for (int64_t r = 0; r < l->rank; r++) {
            double sum = 0;
            for (int64_t n = 0; n < l->rows; n++)
                sum += (double)f32_row(dy, t)[l->row_offset + n] * l->b[n * l->rank + r];
            dxa[t * l->rank + r] = l->scale * sum;
        }
}

static void lora_backward_db(Mat dy, Mat xa, const Lora *l) {
    for (int64_t n = 0; n < l->rows; n++)
        for (int64_t r = 0; r < l->rank; r++) {
            double sum = 0;
            for (int64_t t = 0; t < dy.rows; t++) sum += (double)f32_row(dy, t)[l->row_offset + n] * f32_row(xa, t)[r];
            l->db[n * l->rank + r] = (float)(l->db[n * l->rank + r] + l->scale * sum);
        }
}

static void lora_backward_da(const double *dxa, Mat x, const Lora *l) {
    for (int64_t r = 0; r < l->rank; r++)
        for (int64_t k = 0; k < x.cols; k++) {
            double sum = 0;
            for (int64_t t = 0; t < x.rows; t++) sum += dxa[t * l->rank + r] * drop_factor(l, t, k) * f32_row(x, t)[k];
            l->da[r * x.cols + k] = (float)(l->da[r * x.cols + k] + sum);
        }
}

static void lora_backward_dx(const double *dxa, Mat dx, const Lora *l) {
    for (int64_t t = 0; t < dx.rows; t++)
        for (int64_t k = 0; k < dx.cols; k++) {
            double sum = 0;
            for (int64_t r = 0; r < l->rank; r++) sum += dxa[t * l->rank + r] * l->a[r * dx.cols + k];
            f32_row(dx, t)[k] = (float)(f32_row(dx, t)[k] + drop_factor(l, t, k) * sum);
        }
}

static void lora_backward_pair(Mat dx, Mat dy, Mat x, Mat xa, const Lora *l, double *ws) {
    CHECK_SHAPE(xa, x.rows, l->rank);
    CHECK_SHAPE(dy, x.rows, dy.cols);
    CHECK(l->row_offset >= 0 && l->row_offset + l->rows <= dy.cols);
    lora_backward_dxa(ws, dy, l);
    if (l->db) lora_backward_db(dy, xa, l);
    if (l->da) lora_backward_da(ws, x, l);
    if (!dx.data) return;
    CHECK_SHAPE(dx, x.rows, x.cols);
    lora_backward_dx(ws, dx, l);
}

void ref_lora_backward(Backend *b, Mat dx, Mat dy, Mat x, Mat xa, const Lora *l, void *ws) {
    for (int64_t e = 0; l->experts && e < l->experts->experts; e++) {
        Lora own = host_expert_lora(l, e, x.cols);
        lora_backward_pair(host_expert_rows(dx, l->experts, e), host_expert_rows(dy, l->experts, e),
                           host_expert_rows(x, l->experts, e), host_expert_rows(xa, l->experts, e), &own, ws);
    }
    if (l->experts) return;
    for (int i = 0; i <= l->more; i++) lora_backward_pair(dx, dy, x, host_lora_xa(xa, l, i), l + i, ws);
}
