// tokenizer_files: a Tokenizer read from the metadata of a GGUF file (tokenizer_gguf.c) or from a model folder of
// Hugging Face (tokenizer_hf*.c and tokenizer_json*.c, which share tokenizer_hf_internal.h).
#pragma once

#include "gguf.h"
#include "tokenizer.h"

// The tokenizer as a GGUF file's keys describe it; borrowed during the call. Two kinds: byte-level BPE with merges
// ("gpt2"), and SentencePiece BPE with scores ("llama"; merges and pre are then ignored).
typedef struct TokenizerSource {
    GgufStr pre; // name of the pre-tokenizer
    const GgufStr *tokens;
    const int32_t *types; // tokenizer.ggml.token_type, one per token
    size_t n_tokens;
    const GgufStr *merges;
    size_t n_merges;
    const float *scores; // NULL: byte-level
    size_t n_scores;
    int32_t unknown;       // with scores: id of the unknown token, -1: none
    bool space_prefix;     // with scores: a space in front of every text between control tokens
    bool strip_after;      // control tokens include the white space after them (Phi-3)
    int32_t bos, eos, pad; // -1: none
    int32_t eot, eom;      // end an answer too
    int add_bos, add_eos;  // -1: absent, the family's default
    GgufStr chat_template; // data NULL: none
} TokenizerSource;
int tokenizer_new(Tokenizer **t, const TokenizerSource *source, Err *err);
int tokenizer_from_gguf(Tokenizer **t, const Gguf *g, Err *err);

// The keys tokenizer.* of a GGUF file for a tokenizer of a Hugging Face folder, as llama.cpp's converter writes them
// (tokenizer_gguf_write.c).
typedef struct TokenizerGguf {
    int64_t rows;              // of the embedding: ids beyond are left out, ids without a token become unused ones
    bool strip_after;          // as in TokenizerSource
    const char *chat_template; // NULL: the tokenizer's own
} TokenizerGguf;
// Refused (ERR_INPUT): another model than BPE, a pre-tokenizer that GGUF has no name for, and keys that do not give the
// same tokens for texts of many kinds. Control tokens around which they do not are warned of.
int tokenizer_write_gguf(GgufWriter *w, const Tokenizer *t, const TokenizerGguf *how, Err *err);
// A model folder of Hugging Face: tokenizer.json is enough; tokenizer_config.json, special_tokens_map.json,
// generation_config.json, config.json and chat_template.jinja are read if they exist. Ids without a token are allowed,
// as in Hugging Face tokenizers; no token is added to the vocabulary (a padding token).
int tokenizer_from_hf(Tokenizer **t, const char *dir, Err *err);
