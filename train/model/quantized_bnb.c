// quantized_bnb: checkpoints of bitsandbytes.
//
// 4 bits: M.weight holds the elements of the matrix one row behind the other, each block of them under one scale,
// M.weight.absmax; quant_state.bitsandbytes__nf4 or __fp4 is JSON with shape and block. Double quantisation: absmax
// holds bytes, and a scale is nested_quant_map[byte] * nested_absmax[block of scales] + nested_offset.
// 8 bits (LLM.int8): M.weight int8, and row n is M.weight * SCB[n] / 127. These weights are what lorac computes with;
// bitsandbytes rounds activations to int8 too, but for outliers.
#include "quantized_internal.h"

#include <math.h>
#include <string.h>

enum { LEVELS = 16, MAX_STATE_BYTES = 1 << 16 };

static const struct {
    const char *name, *part;
    DType type;
    float levels[LEVELS];
} types4[] = {
    {"nf4", ".weight.quant_state.bitsandbytes__nf4", DTYPE_NF4_G, {DTYPE_NF4_LEVELS}},
    {"fp4", ".weight.quant_state.bitsandbytes__fp4", DTYPE_FP4_G, {DTYPE_FP4_LEVELS}},
};

// ---- 4 bits ----

static int64_t blocks_of(int64_t n, int64_t block) {
    CHECK(block > 0, "blocks of %ld numbers", block);
    return (n + block - 1) / block;
}

static float scale_at(const Quantized *q, int64_t i) {
    if (!q->nested_scale) return quantized_float(q->scale, i);
    uint8_t code = ((const uint8_t *)q->scale->data)[i];
    return quantized_float(q->map, code) * quantized_float(q->nested_scale, i / q->nested_block) + q->nested_offset;
}

static int read_scales4(const SourceTensor *t, QuantizedValues v, Err *err) {
    const Quantized *q = t->quantized;
    for (int64_t i = 0; i < t->shape[0] * q->groups; i++) v.scale[i] = scale_at(q, i * q->columns / q->block);
    return 0;
}

// The levels that the file names must be those of the type.
static int check_levels(const SourceTensor *map, int type, Err *err) {
    if (quantized_check_floats(map, LEVELS, err)) return -1;
    for (int i = 0; i < LEVELS; i++) {
        float found = quantized_float(map, i), want = types4[type].levels[i];
        if (!(fabsf(found - want) < 1e-6f))
            return err_input(err, "%s: level %d is %g; expected %g of %s", map->name, i, (double)found, (double)want,
                             types4[type].name);
    }
    return 0;
}

static int64_t greatest_divisor(int64_t a, int64_t b) {
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static int find_scales4(Quantized *q, WeightSource *s, const char *name, int64_t elements, Err *err) {
    int64_t blocks = blocks_of(elements, q->block);
    SourceTensor *scale = quantized_need(s, name, ".weight.absmax", err);
    if (!scale) return -1;
    q->scale = scale;
    q->nested_scale = quantized_part(s, name, ".weight.nested_absmax");
    if (!q->nested_scale) return quantized_check_floats(scale, blocks, err);
    q->map = quantized_need(s, name, ".weight.nested_quant_map", err);
    if (!q->map || quantized_check_floats(q->map, 256, err) ||
        quantized_check_floats(q->nested_scale, blocks_of(blocks, q->nested_block), err))
        return -1;
    if (scale->dtype == DTYPE_U8 && (int64_t)scale->bytes == blocks) return 0;
    return err_input(err, "%s: %zu bytes of type %s; expected U8 [%ld], for nested scales", scale->name, scale->bytes,
                     scale->dtype_name, blocks);
}

// What quant_state.* says of the matrix.
typedef struct State4 {
    int64_t shape[2], block, nested_block;
    float nested_offset;
} State4;

static int read_state(State4 *out, const JsonReader *r) {
    const Json *shape;
    double offset = 0;
    if (json_read_int(r, &(JsonIntRule){"blocksize", NULL, JSON_REQUIRED, JSON_NOT_NULL, 8, 1 << 20}, &out->block) ||
        json_read_int(r, &(JsonIntRule){"nested_blocksize", NULL, 256, 256, 1, 1 << 20}, &out->nested_block) ||
        json_read_array(r, "shape", &shape))
        return -1;
    if (out->block % 8) return json_refuse(r, "blocksize", NULL, "a multiple of 8");
    if (json_given(r->object, "nested_offset") && json_read_number(r, "nested_offset", &offset)) return -1;
    out->nested_offset = (float)offset;
    if (!shape || shape->count != 2 || !json_whole(&shape->items[0], &out->shape[0]) ||
        !json_whole(&shape->items[1], &out->shape[1]))
        return json_refuse(r, "shape", NULL, "the rows and columns of a matrix");
    return 0;
}

static int parse_state(State4 *out, const SourceTensor *t, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    if (t->bytes > MAX_STATE_BYTES)
        return err_input(err, "%s has %zu bytes; expected at most %d", t->name, t->bytes, MAX_STATE_BYTES);
    if (json_parse(&doc, t->data, t->bytes, t->name, 0, err)) return -1;
    return read_state(out, &(JsonReader){json_root(doc), t->name, "", err});
}

static int join4(WeightSource *s, const char *name, int type, Err *err) {
    State4 state = {0};
    const SourceTensor *text = quantized_part(s, name, types4[type].part),
                       *map = quantized_need(s, name, ".weight.quant_map", err);
    SourceTensor *numbers = map ? quantized_need(s, name, ".weight", err) : NULL;
    if (!numbers || check_levels(map, type, err) || parse_state(&state, text, err) ||
        quantized_check_bytes(numbers, state.shape[0], state.shape[1], 4, err))
        return -1;
    Quantized *q = quantized_make(s, numbers, name, types4[type].type, state.shape[0], state.shape[1]);
    q->read = read_scales4;
    q->block = state.block;
    q->nested_block = state.nested_block;
    q->nested_offset = state.nested_offset;
    q->columns = greatest_divisor(state.shape[1], state.block);
    q->groups = state.shape[1] / q->columns;
    return find_scales4(q, s, name, state.shape[0] * state.shape[1], err);
}

// ---- 8 bits ----

static int read_scales8(const SourceTensor *t, QuantizedValues v, Err *err) {
    for (int64_t n = 0; n < t->shape[0]; n++) v.scale[n] = quantized_float(t->quantized->scale, n) / 127;
    return 0;
}

static int join8(WeightSource *s, const char *name, Err *err) {
    const SourceTensor *scale = quantized_part(s, name, ".SCB"), *format = quantized_part(s, name, ".weight_format");
    SourceTensor *numbers = quantized_need(s, name, ".weight", err);
    if (!numbers) return -1;
    int64_t rows = numbers->shape[0], cols = numbers->shape[1];
    if (strcmp(numbers->dtype_name, "I8") != 0 || numbers->n_dims != 2)
        return err_input(err, "%s has type %s and %d dimensions; expected a matrix of I8", numbers->name,
                         numbers->dtype_name, numbers->n_dims);
    if (format && (format->bytes != 1 || *(const uint8_t *)format->data))
        return err_input(err, "%s: expected 0, rows one behind the other", format->name);
    if (quantized_check_bytes(numbers, rows, cols, 8, err) || quantized_check_floats(scale, rows, err)) return -1;
    Quantized *q = quantized_make(s, numbers, name, DTYPE_I8_G, rows, cols);
    q->read = read_scales8;
    q->scale = scale;
    q->groups = 1;
    q->columns = cols;
    return 0;
}

static int configure(QuantizedConfig *q, const JsonReader *r) {
    bool four, eight;
    const char *type;
    if (json_read_flag(r, "load_in_4bit", false, &four) || json_read_flag(r, "load_in_8bit", false, &eight) ||
        json_read_string(r, "bnb_4bit_quant_type", "fp4", &type))
        return -1;
    if (four == eight) return json_refuse(r, "load_in_4bit", NULL, "true, or load_in_8bit true");
    q->type = eight ? DTYPE_I8_G : strcmp(type, "nf4") == 0 ? DTYPE_NF4_G : DTYPE_FP4_G;
    q->group = eight ? 0 : 64;
    return 0;
}

static int join(WeightSource *s, const char *name, const QuantizedConfig *config, Err *err) {
    for (int type = 0; type < 2; type++) {
        AUTO_FREE char *state = mem_printf("%s%s", name, types4[type].part);
        if (weight_source_get(s, state)) return join4(s, name, type, err);
    }
    return join8(s, name, err);
}

const QuantizedMethod quantized_bnb = {
    .name = "bitsandbytes",
    .marks = {".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4", ".SCB"},
    .configure = configure,
    .join = join,
};
