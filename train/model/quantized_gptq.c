// quantized_gptq: GPTQ and AWQ, whose numbers are stored by columns: words of 32 bits along the inputs (GPTQ) or the
// outputs (AWQ) of a matrix [out, in]. They are copied into rows.
//
// GPTQ, B bits, P = 32 / B: qweight [in / P, out], lowest bits first; qzeros [groups, out / P], the zero less 1, but in
// checkpoint_format gptq_v2; scales [groups, out]; g_idx [in], the group of each input (desc_act).
// AWQ ("gemm"), 4 bits: qweight [in, out / 8], qzeros [groups, out / 8], scales [groups, out]; the outputs of a word
// are in the order 0, 2, 4, 6, 1, 3, 5, 7.
#include <string.h>

#include "quantized_internal.h"

static uint32_t word(const SourceTensor *t, int64_t i) {
    uint32_t w;
    memcpy(&w, (const char *)t->data + i * 4, sizeof w);
    return w;
}

// Number n of a row of numbers packed in words along n.
static int packed(const Quantized *q, const SourceTensor *t, int64_t row, int64_t cols, int64_t n) {
    static const int awq_place[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    int64_t in_word = 32 / q->bits;
    int place = q->is_awq ? awq_place[n % 8] : (int)(n % in_word);
    return (int)(word(t, row * (cols / in_word) + n / in_word) >> place * q->bits & ((1u << q->bits) - 1));
}

static void read_scales(const SourceTensor *t, QuantizedValues v) {
    const Quantized *q = t->quantized;
    int64_t rows = t->shape[0];
    for (int64_t n = 0; n < rows; n++)
        for (int64_t g = 0; g < q->groups; g++) {
            v.scale[n * q->groups + g] = quantized_float(q->scale, g * rows + n);
            int zero = packed(q, q->zero, g, rows, n) + q->zero_less;
            v.zero[n * q->groups + g] = (int16_t)(q->bits == 8 ? zero - 128 : zero);
        }
}

// Tiles of rows, so that the words of a cache line are read together.
enum { TILE = 16 };

// A word has consecutive inputs of one output: words are transposed. Bytes become signed.
static void read_gptq(uint8_t *out, const SourceTensor *t) {
    const Quantized *q = t->quantized;
    int64_t rows = t->shape[0], words = t->shape[1] / (32 / q->bits);
    uint32_t flip = q->bits == 8 ? 0x80808080u : 0;
#pragma omp parallel for
    for (int64_t n0 = 0; n0 < rows; n0 += TILE)
        for (int64_t w = 0; w < words; w++)
            for (int64_t n = n0; n < rows && n < n0 + TILE; n++) {
                uint32_t x = word(t, w * rows + n) ^ flip;
                memcpy(out + (n * words + w) * 4, &x, sizeof x);
            }
}

static void read_awq(uint8_t *out, const SourceTensor *t) {
    const Quantized *q = t->quantized;
    int64_t rows = t->shape[0], cols = t->shape[1];
#pragma omp parallel for
    for (int64_t n0 = 0; n0 < rows; n0 += TILE)
        for (int64_t k = 0; k < cols; k += 2)
            for (int64_t n = n0; n < rows && n < n0 + TILE; n++)
                out[(n * cols + k) / 2] = (uint8_t)(packed(q, t, k, rows, n) | packed(q, t, k + 1, rows, n) << 4);
}

static int read_values(const SourceTensor *t, QuantizedValues v, Err *err) {
    const Quantized *q = t->quantized;
    read_scales(t, v);
    for (int64_t k = 0; v.of_column && k < t->shape[1]; k++) v.of_column[k] = (int32_t)word(q->index, k);
    if (q->is_awq)
        read_awq(v.numbers, t);
    else
        read_gptq(v.numbers, t);
    return 0;
}

// ---- joining ----

int quantized_check_words(const SourceTensor *t, int64_t count, Err *err) {
    if (t->dtype == DTYPE_I32 && (int64_t)t->bytes / 4 == count) return 0;
    return err_input(err, "%s has type %s and %zu bytes; expected I32 [%ld]", t->name, t->dtype_name, t->bytes, count);
}

int quantized_find_groups(Quantized *q, const SourceTensor *scale, int64_t groups, int64_t cols, int64_t group,
                          Err *err) {
    q->groups = groups;
    q->columns = groups == 1 ? cols : group;
    bool whole = q->columns >= 8 && q->columns % 8 == 0 && (cols + q->columns - 1) / q->columns == groups;
    if (whole) return 0;
    return err_input(err, "%s has %ld group%s of a row of %ld; group_size is %ld; expected a multiple of 8 that fits",
                     scale->name, groups, plural(groups), cols, group);
}

// An index that only says k / columns is not kept.
int quantized_find_index(Quantized *q, const SourceTensor *index, int64_t cols, Err *err) {
    if (!index) return 0;
    if (quantized_check_words(index, cols, err)) return -1;
    for (int64_t k = 0; k < cols; k++) {
        int32_t g = (int32_t)word(index, k);
        if (g < 0 || g >= q->groups)
            return err_input(err, "%s: column %ld is in group %d of %ld", index->name, k, g, q->groups);
        q->has_index |= g != k / q->columns;
    }
    q->index = index;
    return 0;
}

static int check_sizes(const SourceTensor *numbers, int64_t rows, int64_t cols, int bits, Err *err) {
    if (numbers->dtype != DTYPE_I32 || numbers->n_dims != 2)
        return err_input(err, "%s has type %s and %d dimensions; expected a matrix of I32", numbers->name,
                         numbers->dtype_name, numbers->n_dims);
    if (quantized_check_bytes(numbers, rows, cols, bits, err)) return -1;
    if (rows % (32 / bits) == 0) return 0;
    return err_input(err, "%s: %ld outputs; expected a multiple of %d", numbers->name, rows, 32 / bits);
}

static int join(WeightSource *s, const char *name, const QuantizedConfig *c, Err *err) {
    SourceTensor *numbers = quantized_need(s, name, ".qweight", err);
    const SourceTensor *zero = numbers ? quantized_need(s, name, ".qzeros", err) : NULL,
                       *scale = zero ? quantized_need(s, name, ".scales", err) : NULL,
                       *index = quantized_part(s, name, ".g_idx");
    int in_word = 32 / c->bits;
    if (!scale) return -1;
    int64_t wide = numbers->shape[1], rows, cols;
    if (__builtin_mul_overflow(wide, c->is_awq ? in_word : 1, &rows) ||
        __builtin_mul_overflow(numbers->shape[0], c->is_awq ? 1 : in_word, &cols))
        return err_input(err, "%s is too large", numbers->name);
    if (check_sizes(numbers, rows, cols, c->bits, err)) return -1;
    Quantized *q = quantized_make(s, numbers, name, c->type, rows, cols);
    q->read = read_values;
    q->bits = c->bits;
    q->is_awq = c->is_awq;
    q->zero_less = c->zero_less;
    q->has_zero = q->copied = true;
    q->scale = scale;
    q->zero = zero;
    if (quantized_find_groups(q, scale, scale->shape[0], cols, c->group ? c->group : cols, err) ||
        quantized_check_floats(scale, q->groups * rows, err) ||
        quantized_check_words(zero, q->groups * (rows / in_word), err))
        return -1;
    return quantized_find_index(q, index, cols, err);
}

// ---- configuration ----

int quantized_read_group(QuantizedConfig *q, const JsonReader *r, const char *key, const char *alias) {
    int64_t group;
    const JsonIntRule rule = {key, alias, -1, -1, -1, 1 << 20};
    if (json_read_int(r, &rule, &group)) return -1;
    q->group = group > 0 ? group : 0;
    return 0;
}

static int read_bits(QuantizedConfig *q, const JsonReader *r, bool has8) {
    int64_t bits;
    if (json_read_int(r, &(JsonIntRule){"bits", "w_bit", JSON_REQUIRED, JSON_NOT_NULL, 1, 32}, &bits)) return -1;
    if (bits != 4 && (bits != 8 || !has8)) return json_refuse(r, "bits", NULL, has8 ? "4 or 8" : "4");
    q->bits = (int)bits;
    q->type = bits == 4 ? DTYPE_U4_G : DTYPE_I8_G;
    q->has_zero = true;
    return quantized_read_group(q, r, "group_size", "q_group_size");
}

static int configure_gptq(QuantizedConfig *q, const JsonReader *r) {
    const char *format;
    if (read_bits(q, r, true) || json_read_string(r, "checkpoint_format", "gptq", &format)) return -1;
    if (strcmp(format, "gptq") != 0 && strcmp(format, "gptq_v2") != 0)
        return json_refuse(r, "checkpoint_format", NULL, "\"gptq\" or \"gptq_v2\"");
    if (!json_is_off(json_get(r->object, "dynamic")))
        return json_refuse(r, "dynamic", NULL, "the same for all modules");
    q->zero_less = strcmp(format, "gptq") == 0;
    return 0;
}

static int configure_awq(QuantizedConfig *q, const JsonReader *r) {
    const char *version;
    if (read_bits(q, r, false) || json_read_string(r, "version", "gemm", &version)) return -1;
    if (strcmp(version, "gemm") != 0 && strcmp(version, "GEMM") != 0)
        return json_refuse(r, "version", NULL, "\"gemm\"");
    q->is_awq = true;
    return 0;
}

const QuantizedMethod quantized_gptq = {
    .name = "gptq", .marks = {".qweight"}, .configure = configure_gptq, .join = join};
const QuantizedMethod quantized_awq = {.name = "awq", .marks = {".qweight"}, .configure = configure_awq, .join = join};
