// quantized_packed: the library compressed-tensors. Its formats float-quantized, int-quantized and naive-quantized are
// read as in quantized_fp8.c; in pack-quantized M.weight_packed [out, in * B / 32] has the numbers of a row one behind
// the other, lowest bits first, with 2^(B - 1) added; weight_scale is [out, groups]; weight_zero_point [out / P,
// groups], packed along the outputs in the same way, P = 32 / B; weight_g_idx [in] the group of each input.
#include <string.h>

#include "quantized_internal.h"

static int zero_at(const Quantized *q, int64_t row, int64_t g) {
    if (!q->zero) return 1 << (q->bits - 1);
    if (q->zero->dtype != DTYPE_I32) return ((const int8_t *)q->zero->data)[row * q->groups + g] + (1 << (q->bits - 1));
    int64_t in_word = 32 / q->bits;
    uint32_t w;
    memcpy(&w, (const char *)q->zero->data + (row / in_word * q->groups + g) * 4, sizeof w);
    return (int)(w >> row % in_word * q->bits & ((1u << q->bits) - 1));
}

static int read_packed(const SourceTensor *t, QuantizedValues v, Err *err) {
    const Quantized *q = t->quantized;
    for (int64_t n = 0; n < t->shape[0]; n++)
        for (int64_t g = 0; g < q->groups; g++) {
            v.scale[n * q->groups + g] = quantized_float(q->scale, n * q->groups + g);
            v.zero[n * q->groups + g] = (int16_t)(zero_at(q, n, g) - (q->bits == 8 ? 128 : 0));
        }
    if (v.of_column) memcpy(v.of_column, q->index->data, (size_t)t->shape[1] * sizeof *v.of_column);
    const uint8_t *stored = t->data;
    for (size_t i = 0; v.numbers && i < t->bytes; i++) v.numbers[i] = stored[i] ^ 0x80; // signed bytes
    return 0;
}

static int read_shape(int64_t shape[2], const SourceTensor *t, Err *err) {
    for (int i = 0; i < 2; i++) {
        int32_t narrow;
        if (t->dtype == DTYPE_I64 && t->bytes == 16) {
            memcpy(&shape[i], (const char *)t->data + i * 8, sizeof shape[i]);
        } else if (t->dtype == DTYPE_I32 && t->bytes == 8) {
            memcpy(&narrow, (const char *)t->data + i * 4, sizeof narrow);
            shape[i] = narrow;
        } else {
            return err_input(err, "%s has type %s and %zu bytes; expected I64 [2]", t->name, t->dtype_name, t->bytes);
        }
    }
    return 0;
}

static int check_zero(const Quantized *q, int64_t rows, Err *err) {
    int64_t in_word = 32 / q->bits;
    if (!q->zero) return 0;
    if (q->zero->dtype == DTYPE_I32)
        return quantized_check_words(q->zero, (rows + in_word - 1) / in_word * q->groups, err);
    if (strcmp(q->zero->dtype_name, "I8") == 0 && (int64_t)q->zero->bytes == rows * q->groups) return 0;
    return err_input(err, "%s has type %s and %zu bytes; expected packed numbers or I8 [%ld, %ld]", q->zero->name,
                     q->zero->dtype_name, q->zero->bytes, rows, q->groups);
}

static int join_packed(WeightSource *s, const char *name, const QuantizedConfig *c, Err *err) {
    int64_t shape[2] = {0};
    SourceTensor *numbers = quantized_need(s, name, ".weight_packed", err);
    const SourceTensor *size = numbers ? quantized_need(s, name, ".weight_shape", err) : NULL,
                       *scale = size ? quantized_need(s, name, ".weight_scale", err) : NULL,
                       *zero = quantized_part(s, name, ".weight_zero_point"),
                       *index = quantized_part(s, name, ".weight_g_idx");
    if (!scale || read_shape(shape, size, err) || quantized_check_bytes(numbers, shape[0], shape[1], c->bits, err))
        return -1;
    Quantized *q = quantized_make(s, numbers, name, c->type, shape[0], shape[1]);
    q->read = read_packed;
    q->bits = c->bits;
    q->scale = scale;
    q->zero = zero;
    q->has_zero = true;
    q->copied = c->bits == 8;
    if (quantized_find_groups(q, scale, scale->n_dims == 2 ? scale->shape[1] : 1, shape[1],
                              c->group ? c->group : shape[1], err) ||
        quantized_check_floats(scale, shape[0] * q->groups, err) || check_zero(q, shape[0], err))
        return -1;
    return quantized_find_index(q, index, shape[1], err);
}

static int join(WeightSource *s, const char *name, const QuantizedConfig *c, Err *err) {
    if (!c->is_packed) return quantized_join_scaled(s, name, c, err);
    AUTO_FREE char *packed = mem_printf("%s.weight_packed", name);
    const SourceTensor *t = weight_source_get(s, packed);
    return t && t->quantized ? 0 : join_packed(s, name, c, err); // found by another mark
}

// ---- configuration ----

static int read_weights(QuantizedConfig *q, const Json *weights, Err *err) {
    JsonReader r = {weights, NULL, "quantization_config.config_groups.*.weights.", err};
    int64_t bits;
    if (json_read_int(&r, &(JsonIntRule){"num_bits", NULL, JSON_REQUIRED, JSON_NOT_NULL, 1, 32}, &bits) ||
        quantized_read_group(q, &r, "group_size", NULL) || quantized_read_block(q, &r, "block_structure"))
        return -1;
    if (bits != 8 && (bits != 4 || !q->is_packed))
        return json_refuse(&r, "num_bits", NULL, q->is_packed ? "4 or 8" : "8");
    if (q->group % 8) return json_refuse(&r, "group_size", NULL, "a multiple of 8");
    if (!q->block[1]) q->block[0] = 1, q->block[1] = q->group;
    const char *type;
    if (json_read_string(&r, "type", "int", &type)) return -1;
    bool is_float = strcmp(type, "float") == 0;
    if (is_float && q->is_packed) return json_refuse(&r, "type", NULL, "\"int\"");
    q->bits = (int)bits;
    q->type = bits == 4 ? DTYPE_U4_G : is_float ? DTYPE_F8_G : DTYPE_I8_G;
    q->has_zero = q->is_packed;
    return 0;
}

// All groups of modules must be stored alike.
static int read_groups(QuantizedConfig *q, const JsonReader *r) {
    const Json *groups;
    if (json_read_object(r, "config_groups", &groups)) return -1;
    if (!groups || !groups->count) return json_refuse(r, "config_groups", groups, "a group of modules");
    for (size_t i = 0; i < groups->count; i++) {
        QuantizedConfig other = {.method = q->method, .is_packed = q->is_packed};
        const Json *weights = json_get(&groups->items[i], "weights");
        if (!weights || weights->type != JSON_OBJECT)
            return err_input(r->err, "quantization_config.config_groups.%.80s.weights is %s; expected an object",
                             groups->keys[i].data, json_type_name(weights));
        if (read_weights(&other, weights, r->err)) return -1;
        if (i && (other.bits != q->bits || other.group != q->group || other.type != q->type))
            return json_refuse(r, "config_groups", groups, "groups with the same bits, type and group_size");
        *q = other;
    }
    return 0;
}

static int configure(QuantizedConfig *q, const JsonReader *r) {
    static const char *const formats[] = {"pack-quantized", "float-quantized", "int-quantized", "naive-quantized"};
    const char *format;
    bool known = false;
    if (json_read_string(r, "format", "", &format)) return -1;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) known |= strcmp(format, formats[i]) == 0;
    if (!known)
        return json_refuse(r, "format", NULL, "pack-quantized, float-quantized, int-quantized or naive-quantized");
    if (!json_is_off(json_get(r->object, "transform_config"))) return json_refuse(r, "transform_config", NULL, "none");
    const Json *sparsity = json_get(r->object, "sparsity_config");
    if (!json_is_off(sparsity) && !json_is_string(json_get(sparsity, "format"), "dense"))
        return json_refuse(r, "sparsity_config", NULL, "none, or of format dense");
    q->is_packed = strcmp(format, "pack-quantized") == 0;
    return read_groups(q, r);
}

const QuantizedMethod quantized_packed = {
    .name = "compressed-tensors",
    .marks = {".weight_packed", ".weight_scale"},
    .configure = configure,
    .join = join,
};
