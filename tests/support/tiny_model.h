// tiny_model: a llama GGUF of a few hundred kilobytes with random weights and a byte-level vocabulary, for tests.
//
// The file is put together byte by byte here, so that readers are not tested against our own writer.
// Vocabulary: 256 bytes, "he", "in", then the control tokens <|endoftext|>, <|im_start|>, <|im_end|> (EOS: <|im_end|>);
// pre-tokenizer "smollm"; the template is ChatML.
#pragma once

#include "base.h"

typedef struct TinyModel {
    int64_t layers, hidden, heads, kv_heads, ffn, context;
    uint64_t seed;
    float scale;      // weights are U(-scale, scale); norms are 1
    bool no_template; // leave the chat template out
    bool vocab_only;  // no tensors
    // 0: hidden / heads; no experts; no window; none more
    int64_t head_size, experts, experts_used, window, more_tokens;
} TinyModel;

#define TINY_MODEL                                                                                                     \
    (TinyModel) {                                                                                                      \
        .layers = 2, .hidden = 32, .heads = 4, .kv_heads = 2, .ffn = 64, .context = 256, .seed = 1, .scale = 0.2f      \
    }
enum { TINY_VOCAB = 261, TINY_IM_START = 259, TINY_IM_END = 260 };

void tiny_model_write(const char *path, const TinyModel *m); // CHECKs that it could
