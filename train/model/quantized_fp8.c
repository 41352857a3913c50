// quantized_fp8: a matrix M.weight of float8 e4m3 (or of int8) and its scales M.weight_scale_inv or M.weight_scale,
// which multiply: one of the tensor, one for each row, or one for each block of rows and columns (DeepSeek-V3 and
// transformers' FineGrainedFP8: 128 by 128). Scales of activations are not needed: lorac does not round these.
#include <string.h>

#include "quantized_internal.h"

static int read_scales(const SourceTensor *t, QuantizedValues v, Err *err) {
    const Quantized *q = t->quantized;
    for (int64_t n = 0; n < t->shape[0]; n++)
        for (int64_t g = 0; g < q->groups; g++) {
            int64_t at = n / q->block * q->groups + g;
            v.scale[n * q->groups + g] = quantized_float(q->scale, at);
            // NOLINTNEXTLINE(bugprone-signed-char-misuse,cert-str34-c): a zero point has a sign
            if (q->has_zero) v.zero[n * q->groups + g] = ((const int8_t *)q->zero->data)[at];
        }
    return 0;
}

static int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

// Rows and columns under one scale, by the number of scales.
static int find_blocks(Quantized *q, const SourceTensor *scale, int64_t rows, int64_t cols, const QuantizedConfig *c,
                       Err *err) {
    int64_t count = 1, first = scale->n_dims ? scale->shape[0] : 1;
    for (int d = 0; d < scale->n_dims; d++) count *= scale->shape[d];
    q->block = count == 1 ? rows : 1;
    q->columns = cols;
    if (count != 1 && count != rows) {
        q->block = first == rows ? 1 : c->block[0];
        q->columns = c->block[1];
    }
    if (q->block < 1 || q->columns < 8 || q->columns % 8)
        return err_input(
            err,
            "%s has %ld scales for a matrix [%ld, %ld], of blocks [%ld, %ld] by config.json; expected one, "
            "one for each row, or blocks of a multiple of 8 columns",
            scale->name, count, rows, cols, c->block[0], c->block[1]);
    q->groups = pieces(cols, q->columns);
    return quantized_check_floats(scale, pieces(rows, q->block) * q->groups, err);
}

int quantized_join_scaled(WeightSource *s, const char *name, const QuantizedConfig *c, Err *err) {
    static const char *const unused[] = {".input_scale", ".activation_scale", ".input_zero_point"};
    const SourceTensor *scale = quantized_part(s, name, ".weight_scale_inv");
    if (!scale) scale = quantized_need(s, name, ".weight_scale", err);
    SourceTensor *numbers = scale ? quantized_need(s, name, ".weight", err) : NULL;
    if (!numbers) return -1;
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++) quantized_part(s, name, unused[i]);
    bool is_int = strcmp(numbers->dtype_name, "I8") == 0;
    if (numbers->n_dims != 2 || (!is_int && strcmp(numbers->dtype_name, "F8_E4M3") != 0))
        return err_input(err, "%s has type %s and %d dimensions; expected a matrix of F8_E4M3 or I8", numbers->name,
                         numbers->dtype_name, numbers->n_dims);
    int64_t rows = numbers->shape[0], cols = numbers->shape[1];
    if (quantized_check_bytes(numbers, rows, cols, 8, err)) return -1;
    Quantized *q = quantized_make(s, numbers, name, is_int ? DTYPE_I8_G : DTYPE_F8_G, rows, cols);
    q->read = read_scales;
    q->scale = scale;
    q->zero = is_int ? quantized_part(s, name, ".weight_zero_point") : NULL;
    q->has_zero = q->zero;
    if (find_blocks(q, scale, rows, cols, c, err)) return -1;
    if (!q->zero) return 0;
    size_t count = (size_t)(pieces(rows, q->block) * q->groups);
    if (strcmp(q->zero->dtype_name, "I8") == 0 && q->zero->bytes == count) return 0;
    return err_input(err, "%s has %zu bytes of type %s; expected I8 [%zu]", q->zero->name, q->zero->bytes,
                     q->zero->dtype_name, count);
}

int quantized_read_block(QuantizedConfig *q, const JsonReader *r, const char *key) {
    const Json *block;
    if (json_read_array(r, key, &block)) return -1;
    if (!block) return 0;
    if (block->count != 2 || !json_whole(&block->items[0], &q->block[0]) ||
        !json_whole(&block->items[1], &q->block[1]) || q->block[0] < 1 || q->block[1] < 8 || q->block[1] % 8)
        return json_refuse(r, key, NULL, "rows and columns of a block, a multiple of 8 columns");
    q->group = q->block[1];
    return 0;
}

static int configure(QuantizedConfig *q, const JsonReader *r) {
    q->type = DTYPE_F8_G;
    return quantized_read_block(q, r, "weight_block_size");
}

const QuantizedMethod quantized_fp8 = {
    .name = "fp8",
    .marks = {".weight_scale_inv", ".weight_scale"},
    .configure = configure,
    .join = quantized_join_scaled,
};
const QuantizedMethod quantized_fbgemm = {
    .name = "fbgemm_fp8",
    .marks = {".weight_scale"},
    .configure = configure,
    .join = quantized_join_scaled,
};
