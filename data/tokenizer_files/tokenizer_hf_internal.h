// tokenizer_hf_internal: from the files of a Hugging Face folder to the parts of a tokenizer. Unknown components are
// refused by name, never approximated.
//
//   tokenizer_hf.c            the folder; special ids, end tokens, chat template
//   tokenizer_hf_named.c      tokens that tokenizer_config.json, special_tokens_map.json, added_tokens.json name
//   tokenizer_hf_older.c      older files as a tokenizer.json: BERT's vocab.txt, GPT-2's vocab.json and merges.txt
//   tokenizer_json.c          tokenizer.json: order of the components, helpers
//   tokenizer_json_input.c    normalizer, pre_tokenizer
//   tokenizer_json_model.c    model; its vocabulary with the added tokens: tokenizer_json_vocab.c
//   tokenizer_json_decoder.c  decoder, post_processor
#pragma once

#include "json_read.h"
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

// Fills t (after tokenizer_begin) but for the special ids, the end tokens and the chat template; t->post has no items
// when the file has no post_processor.
int tokenizer_json_read(Tokenizer *t, const Json *root, const NamedTokens *named, Err *err);

// BERT's old vocabulary file vocab.txt (one token a line) with tokenizer_config.json (NULL: none) as the tokenizer.json
// that transformers makes of them. Refused: named tokens that are not a line of it.
int tokenizer_vocab_txt_json(StrBuf *out, JsonStr vocab, const Json *config, const NamedTokens *named, Err *err);

// GPT-2's vocab.json (also as text) and merges.txt as a tokenizer.json; check: refused unless the folder is GPT-2's.
int tokenizer_gpt2_check(const Json *tokenizer_config, const Json *model_config, Err *err);
int tokenizer_gpt2_json(StrBuf *out, const Json *vocab, JsonStr vocab_text, JsonStr merges, Err *err);

// ---- one component each (an object with a "type"); messages begin with its name ----

// State that the readers of the components share.
typedef struct JsonTokenizer {
    Tokenizer *out;
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

typedef struct ComponentType {
    const char *name;
    int (*read)(JsonTokenizer *t, const JsonReader *r, int variant);
    int variant;
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
int component_keys(const JsonReader *r, const char *keys);        // only `keys` (words) may be next to "type"
int component_content(JsonStr *out, const JsonReader *r);         // "content", what a Replace puts; bounded
const Json *component_list(const JsonReader *r, const char *key); // NULL with a message when it is no array
// {"String": s} or {"Regex": r}: the text, and in *literal which of both.
int component_pattern(JsonStr *out, bool *literal, const JsonReader *r);
int component_id(int32_t *out, const JsonTokenizer *t, const Json *v, const char *what);
