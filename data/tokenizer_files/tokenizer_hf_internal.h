// tokenizer_hf_internal: from the files of a Hugging Face folder to the parts of a tokenizer. Unknown components are
// refused by name, never approximated.
//
//   tokenizer_hf.c            the folder; special ids, end tokens, chat template
//   tokenizer_hf_named.c      tokens that tokenizer_config.json, special_tokens_map.json, added_tokens.json name
//   tokenizer_hf_vocab_txt.c  BERT's vocab.txt            (without tokenizer.json)
//   tokenizer_hf_gpt2.c       GPT-2's vocab.json, merges.txt (without tokenizer.json)
//   tokenizer_json.c          tokenizer.json: order of the components, helpers
//   tokenizer_json_input.c    normalizer, pre_tokenizer
//   tokenizer_json_model.c    model; its vocabulary with the added tokens: tokenizer_json_vocab.c
//   tokenizer_json_decoder.c  decoder, post_processor
#pragma once

#include "json.h"
#include "tokenizer_parts.h"

// An added token as a file has it.
typedef struct AddedEntry {
    JsonStr content;
    int64_t id;
    bool special, normalized, single_word, lstrip, rstrip;
    bool as_text;     // the file has a string, no object
    const char *file; // that names it; of a NamedTokens
} AddedEntry;
// Without "id"; what is absent has its default there. `special`: it is special, whatever the object says.
int added_entry_read(AddedEntry *e, const Json *v, bool special, Err *err);

// The tokens that the files next to tokenizer.json name (tokenizer_hf_named.c). Texts are borrowed.
typedef struct NamedTokens { // init with {0}
    AddedEntry *added;       // to be added, in transformers' order
    size_t n_added, added_capacity;
    JsonStr *special; // all that are named as special
    size_t n_special, special_capacity;
    const Json *bert; // flags of tokenizer_config.json that go before those of a BertNormalizer; NULL: none
} NamedTokens;
typedef struct NamingFiles { // roots, NULL: no such file
    const Json *config;      // tokenizer_config.json
    const Json *special_map; // special_tokens_map.json
    const Json *added;       // added_tokens.json
    const Json *tokenizer;   // tokenizer.json
} NamingFiles;
int named_tokens_read(NamedTokens *out, const NamingFiles *f, Err *err);
void named_tokens_clear(NamedTokens *n);
// The token of a role ("bos_token") as text, NULL: none.
const JsonStr *named_role(const NamingFiles *f, const char *role);

// Fills p (after tokenizer_parts_init) but for the special ids, the end tokens and the chat template; p->post has no
// items when the file has no post_processor.
int tokenizer_json_read(TokenizerParts *p, const Json *root, const NamedTokens *named, Err *err);

// The same of text[0, len), BERT's old vocabulary file vocab.txt (one token a line), with `config`,
// tokenizer_config.json or NULL; a BERT tokenizer as transformers makes it of them. Refused: named tokens that are not
// a line of it.
int tokenizer_vocab_txt_read(TokenizerParts *p, const char *text, size_t len, const Json *config,
                             const NamedTokens *named, Err *err);

// GPT-2's vocab.json (also as text) and merges.txt as a tokenizer.json; check: refused unless the folder is GPT-2's.
int tokenizer_gpt2_check(const Json *tokenizer_config, const Json *model_config, Err *err);
int tokenizer_gpt2_json(StrBuf *out, const Json *vocab, const char *vocab_text, size_t vocab_len, const char *merges,
                        size_t merges_len, Err *err);

// ---- one component each (an object with a "type"); messages begin with what they are given as `name` ----

// State that the readers of the components share.
typedef struct JsonTokenizer {
    TokenizerParts *parts;
    const NamedTokens *named;
    bool byte_level;  // the pre-tokenizer writes bytes in the byte-level alphabet
    bool fused;       // a decoder Fuse was read: later decoders work on the whole text
    int n_components; // of all kinds, those of Sequences too
    Err *err;
} JsonTokenizer;

int tokenizer_json_normalizer(JsonTokenizer *t, const Json *v);
int tokenizer_json_pre_tokenizer(JsonTokenizer *t, const Json *v);
int tokenizer_json_decoder(JsonTokenizer *t, const Json *v);
int tokenizer_json_post_processor(JsonTokenizer *t, const Json *v); // needs the vocabulary
// The vocabulary with the added tokens, then the model. `added` is an array of objects, or NULL.
int tokenizer_json_model(JsonTokenizer *t, const Json *model, const Json *added);
int tokenizer_json_vocab(JsonTokenizer *t, const Json *vocab, const Json *added);

// ---- helpers: 0, or -1 with a message that names the key, what was found and what was expected ----

typedef struct ComponentType {
    const char *name;
    int (*read)(JsonTokenizer *t, const Json *v);
    const char *list; // of a Sequence: the key of its components
    bool always;      // also where no other component may follow
} ComponentType;
typedef struct ComponentKind {
    const char *name; // "normalizer"
    const ComponentType *types;
    size_t n_types;
    bool (*is_complete)(const JsonTokenizer *t); // only types with `always` may follow; NULL: never
    const char *refusal;                         // the message then
} ComponentKind;
// Finds the type of v and reads it, or the components of a Sequence. Unknown types are refused.
int component_read(JsonTokenizer *t, const Json *v, const ComponentKind *kind);
int component_keys(const Json *v, const char *keys, Err *err);              // only `keys` (words) may be next to "type"
int component_text(JsonStr *out, const Json *v, const char *key, Err *err); // required
int component_content(JsonStr *out, const Json *v, Err *err);               // "content", what a Replace puts; bounded
int component_flag(bool *out, const Json *v, const char *key, bool absent, Err *err);
int component_count(int64_t *out, const Json *v, const char *key, int64_t absent, int64_t most, Err *err);
const Json *component_list(const Json *v, const char *key, Err *err); // NULL when it is no array
// {"String": s} or {"Regex": r}: the text, and in *literal which of both.
int component_pattern(JsonStr *out, bool *literal, const Json *v, Err *err);
