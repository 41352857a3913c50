// quantized_mxfp4: experts of gpt-oss. EXPERTS_blocks [E, out, in / 32, 16] has the numbers of 32 inputs, E2M1 floats,
// the first of a pair in the low half of its byte; EXPERTS_scales [E, out, in / 32] their exponents, E8M0 (OCP
// Microscaling Formats 1.0). They become the blocks of DTYPE_MXFP4, whose bytes have element j beside element j + 16.
// The outputs of gate_up_proj are those of gate and up by turns; here the gate's come first.
#include <string.h>

#include "quantized_internal.h"

enum { GROUP = 32, PACKED = GROUP / 2, BLOCK = PACKED + 1 };

static uint8_t number_at(const uint8_t *packed, int j) { return packed[j / 2] >> j % 2 * 4 & 15; }

static bool takes_turns(const SourceTensor *t) { return ends_with(t->name, "gate_up_proj"); }

static int read_blocks(const SourceTensor *t, QuantizedValues v, Err *err) {
    const uint8_t *packed = t->data, *scales = t->quantized->scale->data;
    int64_t outs = t->shape[1], groups = t->shape[2] / GROUP, parts = takes_turns(t) ? 2 : 1;
#pragma omp parallel for
    for (int64_t row = 0; row < t->shape[0] * outs; row++) {
        int64_t out = row % outs, to = row - out + out % parts * (outs / parts) + out / parts;
        for (int64_t g = 0; g < groups; g++) {
            const uint8_t *from = packed + (row * groups + g) * PACKED;
            uint8_t *block = v.numbers + (to * groups + g) * BLOCK;
            block[0] = scales[row * groups + g];
            for (int j = 0; j < PACKED; j++)
                block[1 + j] = (uint8_t)(number_at(from, j) | number_at(from, j + PACKED) << 4);
        }
    }
    return 0;
}

static bool is_bytes(const SourceTensor *t, int n_dims) {
    return t->n_dims == n_dims && strcmp(t->dtype_name, "U8") == 0;
}

static int join(WeightSource *s, const char *name, const QuantizedConfig *c, Err *err) {
    SourceTensor *blocks = quantized_need(s, name, "_blocks", err);
    const SourceTensor *scales = blocks ? quantized_need(s, name, "_scales", err) : NULL;
    if (!scales) return -1;
    if (!is_bytes(blocks, 4) || blocks->shape[3] != PACKED)
        return err_input(err, "%s: expected U8 [experts, outputs, inputs / 32, 16]", blocks->name);
    const int64_t *shape = blocks->shape;
    bool same = is_bytes(scales, 3);
    for (int d = 0; d < 3; d++) same = same && scales->shape[d] == shape[d] && shape[d] > 0;
    if (!same)
        return err_input(err, "%s: expected U8 [%ld, %ld, %ld], as %s has groups", scales->name, shape[0], shape[1],
                         shape[2], blocks->name);
    int64_t experts = shape[0], outs = shape[1], ins = shape[2] * GROUP;
    SourceTensor *stored = weight_source_own(s, sizeof *stored);
    *stored = *blocks;
    Quantized *q = quantized_make(s, blocks, name, c->type, outs, ins);
    size_t bytes = strlen(name) + 1;
    char *joined = weight_source_own(s, bytes);
    memcpy(joined, name, bytes);
    blocks->name = joined;
    blocks->n_dims = 3;
    blocks->shape[0] = experts;
    blocks->shape[1] = outs;
    blocks->shape[2] = ins;
    q->read = read_blocks;
    q->blocks = true;
    q->stored = stored;
    q->scale = scales;
    if (outs % 2 == 0 || !takes_turns(blocks)) return 0;
    return err_input(err, "%s_blocks has %ld outputs; expected an even number", name, outs);
}

static int configure(QuantizedConfig *q, const JsonReader *r) {
    (void)r;
    q->type = DTYPE_MXFP4;
    return 0;
}

const QuantizedMethod quantized_mxfp4 = {
    .name = "mxfp4",
    .marks = {"_blocks"},
    .configure = configure,
    .join = join,
};
