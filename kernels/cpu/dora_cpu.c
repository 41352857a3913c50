// dora_cpu: DoRA, lengths of the rows of W + scale B A and their magnitudes.
#include "cpu.h"

enum { COLUMNS = 64 };

static size_t row_bytes(const Weight *w) { return ((size_t)w->cols * sizeof(float) + 63) / 64 * 64; }

size_t CPU_FN(dora_workspace)(Backend *b, const Weight *w) { return (size_t)b->threads * row_bytes(w); }

// The length of row + scale b A; row is overwritten.
static float length(float *restrict row, const Lora *l, const float *b, int64_t k) {
    double squares = 0;
    for (int64_t r = 0; r < l->rank; r++) {
        const float *restrict a = l->a + r * k;
        float factor = l->scale * b[r];
#pragma omp simd
        for (int64_t i = 0; i < k; i++) row[i] += factor * a[i];
    }
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < k; i++) squares += (double)row[i] * row[i];
    return (float)sqrt(squares);
}

void CPU_FN(dora_norm)(Backend *b, float *norm, const Weight *w, const Lora *l, void *ws) {
    CHECK(l->row_offset >= 0 && l->row_offset + l->rows <= w->rows);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, l->rows * w->cols))
    for (int64_t n = 0; n < l->rows; n++) {
        float *row = (float *)((char *)ws + (size_t)omp_get_thread_num() * row_bytes(w));
        cpu_expand_rows(row, w, l->row_offset + n, 1);
        norm[n] = length(row, l, l->b + n * l->rank, w->cols);
    }
}

// Columns [first, first + n): what y - shift is multiplied by; where there is no pair 1, and a shift of 0.
typedef struct Factors {
    float g[COLUMNS], shift[COLUMNS];
} Factors;
static void set_factors(Factors *f, const Lora *l, const float *bias, int64_t first, int64_t n) {
    for (int64_t c = 0; c < n; c++) {
        int64_t i;
        const Lora *of = dora_column(l, first + c, &i);
        f->g[c] = of ? dora_over(of, i, of->magnitude[i]) : 1;
        f->shift[c] = of && bias ? bias[first + c] : 0;
    }
}

void CPU_FN(dora_forward)(Backend *b, Mat out, Mat y, const float *bias, const Lora *l) {
    CHECK_ACT(y, y.rows, y.cols);
    CHECK_ACT(out, y.rows, y.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, y.rows *y.cols))
    for (int64_t first = 0; first < y.cols; first += COLUMNS) {
        int64_t n = min64(COLUMNS, y.cols - first);
        Factors f;
        set_factors(&f, l, bias, first, n);
        for (int64_t t = 0; t < y.rows; t++) {
            const Act *from = act_row(y, t) + first;
            Act *to = act_row(out, t) + first;
#pragma omp simd
            for (int64_t c = 0; c < n; c++) to[c] = act_store(f.g[c] * (act_load(from[c]) - f.shift[c]) + f.shift[c]);
        }
    }
}

void CPU_FN(dora_backward)(Backend *b, Mat dy, Mat dout, Mat y, const float *bias, const Lora *l) {
    CHECK_ACT(y, y.rows, y.cols);
    CHECK_ACT(dout, y.rows, y.cols);
    CHECK_ACT(dy, y.rows, y.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, y.rows *y.cols))
    for (int64_t first = 0; first < y.cols; first += COLUMNS) {
        int64_t n = min64(COLUMNS, y.cols - first), i;
        Factors f;
        set_factors(&f, l, bias, first, n);
        double sum[COLUMNS] = {0};
        for (int64_t t = 0; t < y.rows; t++) {
            const Act *at = act_row(y, t) + first, *from = act_row(dout, t) + first;
            Act *to = act_row(dy, t) + first;
#pragma omp simd
            for (int64_t c = 0; c < n; c++) {
                float d = act_load(from[c]);
                sum[c] += d * (act_load(at[c]) - f.shift[c]);
                to[c] = act_store(f.g[c] * d);
            }
        }
        for (int64_t c = 0; c < n; c++) {
            const Lora *of = dora_column(l, first + c, &i);
            if (of && of->dmagnitude) of->dmagnitude[i] += dora_over(of, i, (float)sum[c]);
        }
    }
}
