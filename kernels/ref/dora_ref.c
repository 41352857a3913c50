// dora_ref: DoRA, lengths of the rows of W + scale B A and their magnitudes, reference.
#include "ref.h"

size_t ref_dora_workspace(Backend *b, const Weight *w) { return (size_t)w->cols * sizeof(float); }

void ref_dora_norm(Backend *b, float *norm, const Weight *w, const Lora *l, void *ws) {
    const float *row = ws;
    CHECK(l->row_offset >= 0 && l->row_offset + l->rows <= w->rows);
    for (int64_t n = 0; n < l->rows; n++) {
        double squares = 0;
        ref_weight_row(ws, w, l->row_offset + n);
        for (int64_t k = 0; k < w->cols; k++) {
            double sum = 0;
            for (int64_t r = 0; r < l->rank; r++) sum += (double)l->b[n * l->rank + r] * l->a[r * w->cols + k];
            squares += (row[k] + l->scale * sum) * (row[k] + l->scale * sum);
        }
        norm[n] = (float)sqrt(squares);
    }
}

void ref_dora_forward(Backend *b, Mat out, Mat y, const float *bias, const Lora *l) {
    CHECK_SHAPE(y, y.rows, y.cols);
    CHECK_SHAPE(out, y.rows, y.cols);
    for (int64_t t = 0; t < y.rows; t++)
        for (int64_t n = 0; n < y.cols; n++) {
            double x = f32_row(y, t)[n], shift = bias ? bias[n] : 0;
            int64_t i;
            const Lora *of = dora_column(l, n, &i);
            f32_row(out, t)[n] = (float)(of ? (double)dora_over(of, i, of->magnitude[i]) * (x - shift) + shift : x);
        }
}

void ref_dora_backward(Backend *b, Mat dy, Mat dout, Mat y, const float *bias, const Lora *l) {
    CHECK_SHAPE(y, y.rows, y.cols);
    CHECK_SHAPE(dout, y.rows, y.cols);
    CHECK_SHAPE(dy, y.rows, y.cols);
    for (int64_t n = 0; n < y.cols; n++) {
        int64_t i;
        const Lora *of = dora_column(l, n, &i);
        double shift = bias ? bias[n] : 0, sum = 0;
        for (int64_t t = 0; t < y.rows; t++) {
            double d = f32_row(dout, t)[n];
            if (of) sum += d * (f32_row(y, t)[n] - shift);
            f32_row(dy, t)[n] = (float)(of ? (double)dora_over(of, i, of->magnitude[i]) * d : d);
        }
        if (of && of->dmagnitude) of->dmagnitude[i] = of->dmagnitude[i] + dora_over(of, i, (float)sum);
    }
}
