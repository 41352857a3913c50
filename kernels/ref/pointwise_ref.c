// pointwise_ref: ops that touch each element or row once, reference: embedding, NEFTune, rope, short
// convolution, rows, add, argmax, top_k.
#include "ref.h"

#include <math.h>
#include <string.h>

// Element (row, c) of W, by expanding the block that holds it.
static float weight_element(const Weight *w, int64_t row, int64_t c) {
    float block[256]; // the largest
    WeightRow r = weight_row(w, row);
    int64_t size = dtype_info(r.segment->dtype)->block;
    host_expand_row(block, &r, c / size * size, size);
    return block[c % size];
}

void ref_embed_forward(Backend *b, Mat out, const Weight *w, const int32_t *ids, float scale, bool accumulate) {
    CHECK_SHAPE(out, out.rows, w->cols);
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t c = 0; c < out.cols; c++) {
            double e = (double)scale * (double)weight_element(w, ids[t], c);
            f32_row(out, t)[c] = (float)(accumulate ? f32_row(out, t)[c] + e : e);
        }
}

void ref_neftune(Backend *b, Mat x, const float *magnitude, float alpha, const TokenKeys *keys) {
    CHECK_SHAPE(x, x.rows, x.cols);
    for (int64_t t = 0; t < x.rows; t++)
        for (int64_t c = 0; c < x.cols; c++) {
            uint32_t words[4];
            rng_philox(token_key(keys, t), token_index(keys, t), (uint32_t)(c / 4), words);
            f32_row(x, t)[c] += alpha * magnitude[t] * rng_symmetric(words[c % 4]);
        }
}

void ref_rope(Backend *b, Mat x, const RopeTable *table, bool inverse) {
    CHECK_SHAPE(x, x.rows, x.cols);
    check_rope(x, table);
    int64_t half = table->rotated / 2;
    for (int64_t t = 0; t < x.rows; t++) {
        const float *cosines = table->cos_sin + table->pos[t] * table->rotated, *sines = cosines + half;
        for (int64_t head = 0; head < x.cols / table->head_size; head++)
            for (int64_t i = 0; i < half; i++) {
                float *first = f32_row(x, t) + head * table->head_size + (table->interleaved ? 2 * i : i);
                float *second = first + (table->interleaved ? 1 : half);
                double c = cosines[i], s = inverse ? -sines[i] : sines[i], l = *first, h = *second;
                *first = (float)(l * c - h * s);
                *second = (float)(h * c + l * s);
            }
    }
}

static double conv_at(Mat x, int64_t row, int64_t c) { return row < 0 ? 0 : (double)f32_row(x, row)[c]; }

void ref_short_conv_forward(Backend *b, Mat out, Mat x, const float *weight, int64_t taps, const AttentionShape *s) {
    host_check_conv(out, x, taps, DTYPE_F32);
    for (int64_t i = 0; i < out.rows; i++)
        for (int64_t c = 0; c < out.cols; c++) {
            double sum = 0;
            for (int64_t j = 0; j < taps; j++) {
                bool inside = i < s->q_start[s->samples];
                int64_t pos = inside ? s->q_pos[i] - (taps - 1 - j) : -1;
                int64_t row = pos < 0 ? -1 : s->k_start[attention_sample(s, i)] + pos;
                sum += (double)weight[c * taps + j] * conv_at(x, row, c);
            }
            f32_row(out, i)[c] = (float)sum;
        }
}

void ref_short_conv_backward(Backend *b, Mat dx, Mat dout, const float *weight, int64_t taps, const AttentionShape *s) {
    host_check_conv(dout, dx, taps, DTYPE_F32);
    int64_t end = s->q_start[s->samples];
    for (int64_t k = 0; k < dx.rows; k++)
        for (int64_t c = 0; c < dx.cols; c++) {
            double sum = 0;
            for (int64_t j = 0; j < taps; j++) {
                int64_t i = k + taps - 1 - j;
                bool same = i < end && attention_sample(s, i) == attention_sample(s, k);
                sum += (double)weight[c * taps + j] * conv_at(dout, same ? i : -1, c);
            }
            f32_row(dx, k)[c] = (float)sum;
        }
}

void ref_gather_rows_forward(Backend *b, Mat out, Mat x, const int32_t *index) {
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
    CHECK_SHAPE(dst, dst.rows, x.cols);
    for (int64_t i = 0; i < x.rows; i++) memcpy(f32_row(dst, index[i]), f32_row(x, i), (size_t)x.cols * sizeof(float));
}

void ref_add(Backend *b, Mat dst, Mat src) {
    CHECK_SHAPE(dst, src.rows, src.cols);
    for (int64_t i = 0; i < src.rows * src.cols; i++) ((float *)dst.data)[i] += ((const float *)src.data)[i];
}

void ref_argmax(Backend *b, int32_t *out, Mat logits) {
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

static bool is_before(const float *row, int64_t a, int64_t b) {
    float x = row[a], y = row[b];
    if (isnan(x) || isnan(y)) return isnan(x) && (!isnan(y) || a < b);
    return x > y || (x == y && a < b);
}

void ref_top_k(Backend *b, int32_t *ids, float *values, Mat logits, int64_t n, int64_t k) {
    CHECK_SHAPE(logits, logits.rows, logits.cols);
    CHECK(k > 0 && k <= n && n <= logits.cols, "%ld of %ld of %ld logits", k, n, logits.cols);
    for (int64_t m = 0; m < logits.rows; m++)
        for (int64_t v = 0, at = m * k; v < n; v++) {
            const float *row = f32_row(logits, m);
            int64_t before = 0;
            for (int64_t u = 0; u < n && before < k; u++) before += is_before(row, u, v);
            if (before == k) continue;
            ids[at] = (int32_t)v;
            values[at++] = row[v];
        }
}
