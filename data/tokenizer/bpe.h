// bpe: byte-pair encoding with a list of merges; the symbols it begins with are bytes (GPT-2 and its heirs) or
// characters (models that came from SentencePiece). Merging works on token ids alone: a pair of ids has a rank and a
// result.
//
// Bytes: in the vocabulary every token is written in the alphabet of byte_alphabet.h; a byte without a token becomes
// unk, and without unk it is left out, as Hugging Face tokenizers does. Characters: one without a token becomes the
// tokens <0xNN> of its bytes (byte_fallback, if all of them exist), else unk (fuse_unk: one for a run of them), else it
// is left out.
#pragma once

#include "token_model.h"

typedef struct BpePair {
    GgufStr left, right;
} BpePair;
// "left right" at the first space after the first byte; false: there are not two parts.
bool bpe_pair_split(BpePair *p, GgufStr merge);

typedef struct BpeSource { // borrowed during bpe_new, but for the vocabulary
    const Vocab *vocab;    // must outlive the model
    const BpePair *merges; // lowest rank first
    size_t n_merges;
    bool chars;       // symbols are characters, else bytes
    bool whole_words; // a pre-token that is a normal token is taken as it is, without merging (ignore_merges)
    bool byte_fallback, fuse_unk;
    int32_t unk; // -1: none
    // Merges that make a control token are left out (they never apply where such tokens are cut out of text first, as
    // in Hugging Face tokenizers; files converted from SentencePiece may have them); else they are refused.
    bool skip_control;
} BpeSource;

// Refused, naming the merge or token: merges whose parts or result are not tokens, duplicate merges, and (unless
// skip_control) merges or bytes that would make a control token out of ordinary text.
int bpe_new(TokenModel *m, const BpeSource *source, Err *err);

// What a model was made of, to write it to a file.
typedef struct BpeForm {
    bool chars, whole_words, byte_fallback;
    int32_t unk, n_merges;
} BpeForm;
bool bpe_form(BpeForm *form, const TokenModel *m); // false: not a BPE
typedef struct BpeMerge {
    int32_t left, right, result;
} BpeMerge;
bool bpe_merge(BpeMerge *merge, const TokenModel *m, int32_t rank); // false: this merge was left out
