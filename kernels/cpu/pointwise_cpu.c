// pointwise_cpu: ops that touch each element or row once: embedding, NEFTune, rope, short convolution, rows, add,
// argmax, top k.
//
// Threads share whole rows, so an element is always computed at the same position of the same vector loop: its bits
// depend neither on the number of threads nor on other rows.
#include "cpu.h"

#include <math.h>

// y (+)= scale * row, a piece of whole blocks at a time.
static void embed_row(Act *y, const Weight *w, int64_t row, float scale, bool accumulate) {
    enum { PIECE = 1024 };
    float piece[PIECE];
    for (int64_t first = 0; first < w->cols; first += PIECE) {
        int64_t n = min64(PIECE, w->cols - first);
        cpu_expand_columns(piece, w, row, 1, first, n);
        for (int64_t c = 0; c < n; c++) {
            Act *to = y + first + c;
            *to = act_store(scale * piece[c] + (accumulate ? act_load(*to) : 0));
        }
    }
}

void CPU_FN(embed_forward)(Backend *b, Mat out, const Weight *w, const int32_t *ids, float scale, bool accumulate) {
    CHECK_ACT(out, out.rows, w->cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, out.rows *out.cols))
    for (int64_t t = 0; t < out.rows; t++) embed_row(act_row(out, t), w, ids[t], scale, accumulate);
}

void CPU_FN(neftune)(Backend *b, Mat x, const float *magnitude, float alpha, const TokenKeys *keys) {
    CHECK_ACT(x, x.rows, x.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < x.rows; t++) {
        Act *xt = act_row(x, t);
        float strength = alpha * magnitude[t];
        RngKey key = token_key(keys, t);
        uint32_t index = token_index(keys, t);
        for (int64_t c = 0; c < x.cols; c += 4) {
            uint32_t words[4];
            rng_philox(key, index, (uint32_t)(c / 4), words);
            for (int64_t i = 0; i < 4 && c + i < x.cols; i++)
                xt[c + i] = act_store(act_load(xt[c + i]) + strength * rng_symmetric(words[i]));
        }
    }
}

// Rotates (lo, hi) of one head by the given cosines and sines; sign -1: the inverse rotation.
static void rotate(Act *lo, Act *hi, const float *cosines, const float *sines, float sign, int64_t half) {
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        float c = cosines[i], s = sign * sines[i], l = act_load(lo[i]), h = act_load(hi[i]);
        lo[i] = act_store(l * c - h * s);
        hi[i] = act_store(h * c + l * s);
    }
}

// The same with neighbours as pairs.
static void rotate_pairs(Act *x, const float *cosines, const float *sines, float sign, int64_t half) {
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        float c = cosines[i], s = sign * sines[i], l = act_load(x[2 * i]), h = act_load(x[2 * i + 1]);
        x[2 * i] = act_store(l * c - h * s);
        x[2 * i + 1] = act_store(h * c + l * s);
    }
}

void CPU_FN(rope)(Backend *b, Mat x, const RopeTable *table, bool inverse) {
    CHECK_ACT(x, x.rows, x.cols);
    check_rope(x, table);
    int64_t half = table->rotated / 2;
    float sign = inverse ? -1 : 1;
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t t = 0; t < x.rows; t++) {
        const float *cosines = table->cos_sin + table->pos[t] * table->rotated;
        for (Act *head = act_row(x, t), *end = head + x.cols; head < end; head += table->head_size) {
            if (table->interleaved)
                rotate_pairs(head, cosines, cosines + half, sign, half);
            else
                rotate(head, head + half, cosines, cosines + half, sign, half);
        }
    }
}

// ---- short convolution: out (C) = the sum of the rows, each times its column of the weight (C x taps); NULL: zeros
// ----

static void conv_row(Act *out, const Act *const *rows, const float *weight, int64_t taps, int64_t cols) {
    for (int64_t c = 0; c < cols; c++) {
        float sum = 0;
        for (int64_t j = 0; j < taps; j++) sum += weight[c * taps + j] * (rows[j] ? act_load(rows[j][c]) : 0);
        out[c] = act_store(sum);
    }
}

void CPU_FN(short_conv_forward)(Backend *b, Mat out, Mat x, const float *weight, int64_t taps,
                                const AttentionShape *s) {
    host_check_conv(out, x, taps, ACT_DTYPE);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, out.rows *out.cols))
    for (int64_t i = 0; i < out.rows; i++) {
        const Act *rows[SHORT_CONV_MAX_TAPS] = {NULL};
        bool inside = i < s->q_start[s->samples];
        int64_t first = inside ? s->k_start[attention_sample(s, i)] : 0;
        for (int64_t j = 0; j < taps && inside; j++) {
            int64_t pos = s->q_pos[i] - (taps - 1 - j);
            if (pos >= 0) rows[j] = act_row(x, first + pos);
        }
        conv_row(act_row(out, i), rows, weight, taps, out.cols);
    }
}

void CPU_FN(short_conv_backward)(Backend *b, Mat dx, Mat dout, const float *weight, int64_t taps,
                                 const AttentionShape *s) {
    host_check_conv(dout, dx, taps, ACT_DTYPE);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, dx.rows *dx.cols))
    for (int64_t k = 0; k < dx.rows; k++) {
        const Act *rows[SHORT_CONV_MAX_TAPS] = {NULL};
        for (int64_t j = 0; j < taps; j++) {
            int64_t after = taps - 1 - j, i = k + after; // a later token of the same sample?
            if (i < s->q_start[s->samples] && s->q_pos[i] == s->q_pos[k] + after) rows[j] = act_row(dout, i);
        }
        conv_row(act_row(dx, k), rows, weight, taps, dx.cols);
    }
}

void CPU_FN(gather_rows_forward)(Backend *b, Mat out, Mat x, const int32_t *index) {
    CHECK_ACT(out, out.rows, x.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, out.rows *out.cols))
    for (int64_t i = 0; i < out.rows; i++) memcpy(act_row(out, i), act_row(x, index[i]), (size_t)x.cols * sizeof(Act));
}

static void add_row(Act *dst, const Act *src, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) dst[i] = act_store(act_load(dst[i]) + act_load(src[i]));
}

void CPU_FN(gather_rows_backward)(Backend *b, Mat dx, Mat dout, const int32_t *index, bool accumulate) {
    CHECK_ACT(dx, dx.rows, dout.cols);
    if (!accumulate) host_zero(b, dx.data, (size_t)(dx.rows * dx.cols) * sizeof(Act));
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, dout.rows *dout.cols))
    for (int64_t i = 0; i < dout.rows; i++) add_row(act_row(dx, index[i]), act_row(dout, i), dout.cols);
}

void CPU_FN(scatter_rows)(Backend *b, Mat dst, Mat x, const int32_t *index) {
    CHECK_ACT(dst, dst.rows, x.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t i = 0; i < x.rows; i++) memcpy(act_row(dst, index[i]), act_row(x, i), (size_t)x.cols * sizeof(Act));
}

void CPU_FN(add)(Backend *b, Mat dst, Mat src) {
    CHECK_ACT(dst, src.rows, src.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, src.rows *src.cols))
    for (int64_t t = 0; t < src.rows; t++) add_row(act_row(dst, t), act_row(src, t), src.cols);
}

static int32_t row_argmax(const float *x, int64_t n) {
    int32_t max = INT32_MIN, min = INT32_MAX;
#pragma omp simd reduction(max : max) reduction(min : min)
    for (int64_t i = 0; i < n; i++) {
        int32_t key = cpu_order_key(x[i]);
        max = key > max ? key : max;
        min = key < min ? key : min;
    }
    if (max > cpu_order_key(INFINITY) || min < cpu_order_key(-INFINITY)) return -1;
    int64_t i = 0;
    while (cpu_order_key(x[i]) != max) i++;
    return (int32_t)i;
}

void CPU_FN(argmax)(Backend *b, int32_t *out, Mat logits) {
    CHECK_SHAPE(logits, logits.rows, logits.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, logits.rows *logits.cols))
    for (int64_t m = 0; m < logits.rows; m++) out[m] = row_argmax(f32_row(logits, m), logits.cols);
}

// ---- the largest logits of each row: a heap of their k largest keys gives the least that is taken, a second sweep
// takes them in order ----

static int32_t key_of(float x) { return isnan(x) ? INT32_MAX : cpu_order_key(x); }

// heap[0] is the least of n; sinks it.
static void sink(int32_t *heap, int64_t n) {
    int32_t key = heap[0];
    int64_t at = 0;
    for (int64_t child = 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= key) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = key;
}

static void rise(int32_t *heap, int64_t at) {
    int32_t key = heap[at];
    for (; at > 0 && heap[(at - 1) / 2] > key; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = key;
}

static void row_top_k(int32_t *ids, float *values, const float *x, int64_t n, int64_t k) {
    int32_t *heap = ids, least; // ids are written when the heap is done
    int64_t ties = k, taken = 0;
    for (int64_t i = 0; i < k; i++) {
        heap[i] = key_of(x[i]);
        rise(heap, i);
    }
    for (int64_t i = k; i < n; i++) {
        int32_t key = key_of(x[i]);
        if (key <= heap[0]) continue;
        heap[0] = key;
        sink(heap, k);
    }
    least = heap[0];
    for (int64_t i = 0; i < k; i++) ties -= heap[i] > least;
    for (int64_t i = 0; i < n && taken < k; i++) {
        int32_t key = key_of(x[i]);
        if (key < least || (key == least && ties-- <= 0)) continue;
        ids[taken] = (int32_t)i;
        values[taken++] = x[i];
    }
}

void CPU_FN(top_k)(Backend *b, int32_t *ids, float *values, Mat logits, int64_t n, int64_t k) {
    CHECK_SHAPE(logits, logits.rows, logits.cols);
    CHECK(k > 0 && k <= n && n <= logits.cols, "%ld of %ld of %ld logits", k, n, logits.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, logits.rows *n))
    for (int64_t m = 0; m < logits.rows; m++) row_top_k(ids + m * k, values + m * k, f32_row(logits, m), n, k);
}
