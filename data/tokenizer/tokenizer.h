// tokenizer: text to token ids and back. The readers of GGUF and Hugging Face files are in data/tokenizer_files; the
// parts that they put together are in tokenizer_parts.h.
//
// Encoding: (1) cut the text at added tokens (control and user-defined, leftmost-longest), (2) normalise the rest,
// (3) cut it into pre-tokens, (4) run the model on each. Invalid UTF-8 in text is refused by the callers that read data
// files; here each invalid byte is a pre-token by itself, so encoding accepts any bytes. Text without a token is
// counted: bytes left out (byte-level models, as in Hugging Face tokenizers: SmolLM2's lacks 21, those
// that no UTF-8 text has, the lead bytes of planes 4 to 11, where no character is assigned, and U+0004, U+0006, U+0013,
// U+0014, U+0016, U+001D) and bytes that became the unknown token. Models with byte_fallback lose nothing. Anything
// that cannot be done exactly is refused by name at load. Thread-safe after load.
#pragma once

#include "detokenizer.h"
#include "token_model.h"

// The tokens that a model wants around one text or two (tokenizer.json's post_processor): a list of the texts and of
// token ids, each with a type (0 for the first text, 1 for the second).
typedef enum { POST_TEXT_A, POST_TEXT_B, POST_TOKEN } PostKind;
typedef struct PostItem {
    PostKind kind;
    int32_t id; // POST_TOKEN
    int32_t type;
} PostItem;
enum { POST_ITEMS_MAX = 16, TOKENIZER_ENDS_MAX = 32 };
typedef struct PostProcessor {
    PostItem single[POST_ITEMS_MAX], pair[POST_ITEMS_MAX];
    int n_single, n_pair;
} PostProcessor;

typedef struct Tokenizer { // read-only after load
    char *kind;            // "gpt2/smollm": model and pre-tokenizer, for reports and cache keys
    int32_t vocab_size;
    int32_t bos, eos, pad, mask;      // -1: none
    bool add_bos, add_eos;            // the file's own flags; without them, what llama.cpp does for the family
    int32_t ends[TOKENIZER_ENDS_MAX]; // tokens that end an answer, eos among them: generation stops there
    int n_ends;
    char *chat_template;  // the model's own, NULL: none
    char fingerprint[33]; // hash of everything that changes ids: part of the token cache's key
    PostProcessor post;
    // Encoding goes through the parts in this order; decoding through the detokenizer alone.
    struct AddedTokens *added; // searched in the text as it is
    struct Normalizer *normalizer;
    struct AddedTokens *normalized; // searched in the normalised text; NULL: none
    struct Pretokenizer *pre;
    TokenModel model;
    Vocab *vocab;
    Detokenizer *detokenizer;
} Tokenizer;

typedef struct TokenIds { // grows; init with {0}, clear with token_ids_clear
    int32_t *ids;
    uint32_t *start; // byte offset in the text where each token begins: ids[i] covers [start[i], start[i+1]) or to the
                     // end. Increasing; where normalisation changed the text it may also stay the same.
    size_t count, capacity;
    size_t left_out; // bytes of all texts for which the vocabulary has no token
    size_t unknown;  // bytes of all texts that became the unknown token
    // Set if the tokenizer's own rules grew a text beyond its limit, or a match ran into that of regex.h: the ids are
    // then invalid. Callers use token_ids_check after encoding.
    const char *refused;
} TokenIds;
int token_ids_check(const TokenIds *ids, Err *err); // ERR_INPUT if the text was refused
void token_ids_clear(TokenIds *ids);
#define AUTO_IDS AUTO_CALL(token_ids_clear)

void tokenizer_free(Tokenizer *t);
DEFINE_AUTO(Tokenizer, tokenizer_free)
#define AUTO_TOKENIZER AUTO(tokenizer_free)

// Another token for eos, before anything is encoded; NULL: it stays. An error where the vocabulary does not have it.
int tokenizer_set_eos(Tokenizer *t, const char *piece, Err *err);
bool tokenizer_is_control(const Tokenizer *t, int32_t id);
bool tokenizer_is_end(const Tokenizer *t, int32_t id);
// By exact token text (added tokens as written), -1 when absent.
int32_t tokenizer_find(const Tokenizer *t, const char *piece);
// The token's text: for control tokens as written, for others the bytes that they add to a text. Not NUL-terminated.
const char *tokenizer_piece(const Tokenizer *t, int32_t id, size_t *len);

// Appends the ids of text[0, len). `origin` (may be NULL: all zero) has one entry per byte; a control token is only
// recognised where every byte of it has origin 0, i.e. comes from the template or the caller, not from data.
// User-defined tokens (such as <think>) are recognised everywhere. With parse_special false no control token is
// recognised at all. No BOS or EOS is added. Text is at most UINT32_MAX - 1 bytes.
void tokenizer_encode(const Tokenizer *t, const char *text, size_t len, const uint32_t *origin, bool parse_special,
                      TokenIds *out);

// The same for a text that continues another one (a completion after its prompt): models that prepend a space to a text
// do not prepend it here.
void tokenizer_encode_rest(const Tokenizer *t, const char *text, size_t len, const uint32_t *origin, bool parse_special,
                           TokenIds *out);
// Is a control token spelt in the text, of which at least one byte comes from data (origin; NULL: all do)?
bool tokenizer_spells_control(const Tokenizer *t, const char *text, size_t len, const uint32_t *origin);
// One text with the tokens that the model wants around it (<s> text, [CLS] text [SEP], ...).
void tokenizer_encode_framed(const Tokenizer *t, const char *text, size_t len, bool parse_special, TokenIds *out);
// One text (b NULL) or two with the tokens that the model wants around them ([CLS] a [SEP] b [SEP], <s> a, ...).
// *second (may be NULL): index of the first token of the second text's type, out's count if there is none. start counts
// in a, for tokens of the second text in b.
typedef struct TokenizerPair {
    const char *a, *b;
    size_t a_len, b_len;
    bool parse_special;
} TokenizerPair;
void tokenizer_encode_pair(const Tokenizer *t, const TokenizerPair *pair, TokenIds *out, size_t *second);

// Appends the text of the tokens (ids must be in the vocabulary) as the model's detokenizer makes it; control tokens
// are written too when `control` is true, else left out.
void tokenizer_decode(const Tokenizer *t, const int32_t *ids, size_t count, bool control, StrBuf *out);

// One token at a time; state: init with {0}.
void tokenizer_decode_next(const Tokenizer *t, DetokenizerState *state, int32_t id, StrBuf *out);

// Generated tokens as text while they come. Only complete UTF-8 characters are appended; an incomplete one waits in the
// state. Control tokens are left out. Bytes that cannot become a character turn into U+FFFD, one for each longest
// beginning of a character, so that the output is always valid UTF-8.
typedef struct TokenStream { // init with {0}
    uint8_t pending[4];
    int n_pending;
    DetokenizerState state;
} TokenStream;
void token_stream_add(TokenStream *s, const Tokenizer *t, int32_t id, StrBuf *out);
void token_stream_end(TokenStream *s, StrBuf *out); // an incomplete character becomes U+FFFD
