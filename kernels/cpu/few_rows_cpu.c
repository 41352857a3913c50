// few_rows_cpu: rows of x as float32, their dot products (stored.h), bias, residual and rounding.
#include "few_rows.h"

#include "stored.h"

// x [FEW_MOST, dot_stride(w->cols)], then a row for cpu_dots.
int64_t few_floats(const Weight *w) { return (FEW_MOST + 1) * dot_stride(w->cols); }

void few_add(FewRows *f, const LinearCall *p) {
    int64_t stride = dot_stride(f->w->cols);
    for (int64_t t = 0; t < few_of(p); t++, f->count++) {
        float *x = f->x + f->count * stride;
        for (int64_t i = 0; i < stride; i++) x[i] = i < f->w->cols ? act_load(act_row(p->in, t)[i]) : 0;
        f->rows[f->count].call = p;
        f->rows[f->count].t = t;
    }
}

void few_columns(const FewRows *f, int64_t n) {
    const Weight *w = f->w;
    float y[FEW_MOST * FEW_ROWS];
    DotRows rows = {n, min64(FEW_ROWS, w->rows - n), f->x + FEW_MOST * dot_stride(w->cols)};
    cpu_dots(y, FEW_ROWS, f->x, f->count, w, rows);
    for (int64_t k = 0; k < f->count; k++) {
        const LinearCall *p = f->rows[k].call;
        int64_t t = f->rows[k].t;
        float *sum = y + k * FEW_ROWS;
        for (int64_t i = 0; i < rows.n && w->bias; i++) sum[i] += w->bias[n + i];
        for (int64_t i = 0; i < rows.n && p->residual.data; i++) sum[i] += act_load(act_row(p->residual, t)[n + i]);
        if (p->out.dtype == DTYPE_F32)
            memcpy(f32_row(p->out, t) + n, sum, (size_t)rows.n * sizeof *sum);
        else
            act_round(act_row(p->out, t) + n, sum, rows.n);
    }
}
