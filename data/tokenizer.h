// tokenizer: text to token ids and back. Byte-level BPE read from GGUF metadata (tokenizer.ggml.model = "gpt2").
//
// Encoding: (1) split the text at added tokens (control and user-defined, leftmost-longest), (2) cut the rest into
// pre-tokens with the model's own regular expression, (3) byte-level alphabet, (4) BPE merges, lowest rank first.
// Invalid UTF-8 in text is refused by the callers that read data files; here each invalid byte is a pre-token of its
// own, so encoding never fails on any bytes, and decoding gives them back as far as the vocabulary has a token for each
// byte. (SmolLM2's lacks 21: those that no UTF-8 text has, the lead bytes of planes 4 to 11, where no character is
// assigned, and U+0004, U+0006, U+0013, U+0014, U+0016, U+001D. They are left out, as in Hugging Face tokenizers, and
// counted.) Models with an NFC normalizer (Qwen 2): what lies between added tokens is brought to NFC before step 2, and
// decoding gives the NFC form. Unknown tokenizer models or pre-tokenizers are refused by name at load. Thread-safe
// after load.
#pragma once

#include "base.h"
#include "gguf.h"

typedef struct Tokenizer Tokenizer;

typedef struct TokenIds { // grows; init with {0}, clear with token_ids_clear
    int32_t *ids;
    uint32_t *start; // byte offset in the text where each token begins: ids[i] covers [start[i], start[i+1]) or to the
                     // end. Increasing; inside a character sequence that NFC changed it may also stay the same.
    size_t count, capacity;
    size_t left_out; // bytes of all texts that the vocabulary has no token for
} TokenIds;
void token_ids_clear(TokenIds *ids);

// What a tokenizer is made of; borrowed during the call.
typedef struct TokenizerSource {
    GgufStr pre; // name of the pre-tokenizer
    const GgufStr *tokens;
    const int32_t *types; // tokenizer.ggml.token_type, one per token
    size_t n_tokens;
    const GgufStr *merges;
    size_t n_merges;
    int32_t bos, eos, pad; // -1: none
    int add_bos, add_eos;  // -1: not said, the family's default
    GgufStr chat_template; // data NULL: none
} TokenizerSource;
int tokenizer_new(Tokenizer **t, const TokenizerSource *source, Err *err);
int tokenizer_from_gguf(Tokenizer **t, const Gguf *g, Err *err);
void tokenizer_free(Tokenizer *t);

int32_t tokenizer_vocab_size(const Tokenizer *t);
const char *tokenizer_kind(const Tokenizer *t); // "gpt2/smollm": model and pre-tokenizer, for reports and cache keys
// Special ids, -1 when the model has none.
int32_t tokenizer_bos(const Tokenizer *t);
int32_t tokenizer_eos(const Tokenizer *t);
int32_t tokenizer_pad(const Tokenizer *t);
bool tokenizer_add_bos(const Tokenizer *t); // the file's own flag; without one, what llama.cpp does for the family
bool tokenizer_add_eos(const Tokenizer *t);
bool tokenizer_is_control(const Tokenizer *t, int32_t id);
int32_t tokenizer_find(const Tokenizer *t,
                       const char *piece);               // exact token text (added tokens as written), -1 when absent
const char *tokenizer_chat_template(const Tokenizer *t); // the model's own template, NULL when it has none
// The token's text: for added tokens as written, for others the raw bytes they stand for. Not NUL-terminated.
const char *tokenizer_piece(const Tokenizer *t, int32_t id, size_t *len);
// Hash of everything that changes ids (32 hex digits): part of the token cache's key.
const char *tokenizer_fingerprint(const Tokenizer *t);

// Appends the ids of text[0, len). `origin` (may be NULL: all zero) has one entry per byte; a control token is only
// recognised where every byte of it has origin 0, i.e. comes from the template or the caller, not from data.
// User-defined tokens (such as <think>) are recognised everywhere. With parse_special false no control token is
// recognised at all. No BOS or EOS is added. Text is at most UINT32_MAX - 1 bytes.
void tokenizer_encode(const Tokenizer *t, const char *text, size_t len, const uint16_t *origin, bool parse_special,
                      TokenIds *out);

// Appends the bytes of the tokens (ids must be in the vocabulary); control tokens are written as their text when
// `control` is true, else left out.
void tokenizer_decode(const Tokenizer *t, const int32_t *ids, size_t count, bool control, StrBuf *out);

// Streaming, for showing text: adds one token and appends to out only complete UTF-8 characters; the rest waits in the
// state (init with {0}). Control tokens are left out. Bytes that cannot become a character turn into U+FFFD, one for
// each longest beginning of a character, so that out is always valid UTF-8.
typedef struct TokenStream {
    uint8_t pending[4];
    int n_pending;
} TokenStream;
void token_stream_add(TokenStream *s, const Tokenizer *t, int32_t id, StrBuf *out);
void token_stream_end(TokenStream *s, StrBuf *out); // an incomplete character becomes U+FFFD
