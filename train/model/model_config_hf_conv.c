// model_config_hf_conv: LFM2's keys: which layers have a short convolution, its taps, the size of the feed-forward, as
// transformers' Lfm2Config and Lfm2MLP have them.
#include "model_config_hf_internal.h"

static int read_kinds(ModelConfig *c, const JsonReader *j) {
    const Json *types, *full;
    int64_t attentions = 0;
    if (json_read_array(j, "layer_types", &types) || json_read_array(j, "full_attn_idxs", &full)) return -1;
    if (types && types->count != (size_t)c->layers)
        return err_input(j->err, "%slayer_types has %zu entries; expected one for each of the %ld layer%s", j->prefix,
                         types->count, c->layers, plural(c->layers));
    for (int64_t i = 0; i < c->layers; i++) {
        const Json *kind = types ? &types->items[i] : NULL;
        c->layer_conv[i] = types ? json_is_string(kind, "conv") : full != NULL;
        if (kind && !c->layer_conv[i] && !json_is_string(kind, "full_attention"))
            return json_refuse(j, "layer_types", kind, "full_attention or conv (layer %ld)", i);
    }
    for (size_t i = 0; !types && full && i < full->count; i++) {
        int64_t layer;
        if (!json_whole(&full->items[i], &layer) || layer < 0 || layer >= c->layers)
            return json_refuse(j, "full_attn_idxs", &full->items[i], "numbers of layers, from 0 to %ld", c->layers - 1);
        c->layer_conv[layer] = 0;
    }
    for (int64_t i = 0; i < c->layers; i++) attentions += !c->layer_conv[i];
    if (attentions == c->layers) c->conv_taps = 0;
    return attentions ? 0 : err_input(j->err, "%sno layer has attention; expected at least one", j->prefix);
}

// The rows of w1: the size in the file, or two thirds of it times a factor, rounded up to a multiple.
static int read_ffn(ModelConfig *c, const JsonReader *j) {
    enum { MAX_FFN = 1 << 20 };
    int64_t multiple;
    float factor;
    bool adjust;
    if (json_read_int(j, &(JsonIntRule){"block_ff_dim", NULL, c->ffn, c->ffn, 1, MAX_FFN}, &c->ffn) ||
        json_read_int(j, &(JsonIntRule){"block_multiple_of", NULL, 256, JSON_AS_ABSENT, 1, MAX_FFN}, &multiple) ||
        json_read_positive(j, &(JsonPositiveRule){"block_ffn_dim_multiplier", 1, 0}, &factor) ||
        json_read_flag(j, "block_auto_adjust_ff_dim", true, &adjust))
        return -1;
    if (!adjust) return 0;
    int64_t two_thirds = 2 * c->ffn / 3; // whole
    double size = (double)two_thirds;
    if (factor > 0) size = (double)(int64_t)(size * (double)factor);
    if (!(size >= 1 && size <= MAX_FFN))
        return err_input(j->err, "%sa feed-forward of %g rows; expected 1 to %d", j->prefix, size, MAX_FFN);
    c->ffn = (int64_t)size;
    if (factor > 0) c->ffn = (c->ffn + multiple - 1) / multiple * multiple;
    return 0;
}

int model_config_hf_read_conv(ModelConfig *c, const JsonReader *j) {
    bool bias;
    if (json_read_int(j, &(JsonIntRule){"conv_L_cache", NULL, 3, JSON_AS_ABSENT, 1, SHORT_CONV_MAX_TAPS},
                      &c->conv_taps) ||
        json_read_flag(j, "conv_bias", false, &bias) || json_read_flag(j, "tie_embedding", c->tied_head, &c->tied_head))
        return -1;
    if (bias) return json_refuse(j, "conv_bias", NULL, "false");
    return read_ffn(c, j) || read_kinds(c, j) ? -1 : 0;
}
