// pretokenize: cuts text into the pieces inside which the model works, by a list of steps as in tokenizer.json
// (pre_tokenizer), or as llama.cpp names them (tokenizer.ggml.pre; an unknown name is refused, never approximated).
// A step cuts each piece of the step before it; Metaspace and the prefix space also change the text.
#pragma once

#include "hash.h"
#include "json.h"
#include "regex.h"
#include "unicode.h"

typedef struct Pretokenizer Pretokenizer; // read-only after it was made: shared by all threads

Pretokenizer *pretokenizer_new(void); // without a step the text stays one piece
void pretokenizer_free(Pretokenizer *p);

// What becomes of matches when a text is cut at them, as Hugging Face tokenizers names it.
typedef enum { CUT_ISOLATED, CUT_REMOVED, CUT_MERGED_WITH_PREVIOUS, CUT_MERGED_WITH_NEXT, CUT_CONTIGUOUS } CutBehavior;
// At the matches of an expression; with invert at the text between them. Takes the regex.
void pretokenizer_add_split(Pretokenizer *p, Regex *pattern, CutBehavior behavior, bool invert);
int pretokenizer_add_pattern(Pretokenizer *p, const char *pattern, CutBehavior behavior, bool invert, Err *err);
typedef enum { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS } PrependScheme;
// Spaces become `replacement` (one character), which is also put in front of pieces that do not begin with it: of those
// at the beginning of the source, of all, of none; split: cut in front of each.
void pretokenizer_add_metaspace(Pretokenizer *p, const char *replacement, PrependScheme scheme, bool split);
void pretokenizer_add_prefix_space(Pretokenizer *p); // in front of each piece that does not begin with one

// BERT's: at white space, which is removed, and around punctuation.
int pretokenizer_add_bert(Pretokenizer *p, Err *err);

// The families known to GGUF by name. Unknown: error ERR_INPUT naming it and the known
// ones.
typedef struct PretokenizerFamily {
    const char *name; // the row's own; aliases give the same one
    bool nfc;         // text is brought to NFC first
    bool whole_words; // a piece that is a token is taken as it is, without merging
    bool adds_bos;    // what the family does when the file has no add_bos_token
} PretokenizerFamily;
int pretokenizer_add_family(Pretokenizer *p, PretokenizerFamily *family, JsonStr name, Err *err);
// The family whose pieces those of p (read from a Hugging Face file) are for every text; NULL: none that is known.
const PretokenizerFamily *pretokenizer_family_of(const Pretokenizer *p, bool nfc, bool whole_words);
void pretokenizer_list_families(StrBuf *out); // "gpt-2, llama-bpe, ..." for messages
// Has p these steps and no other: splits at the expressions (NULL ends the list) whose matches are pieces?
bool pretokenizer_is(const Pretokenizer *p, const char *const *patterns);

void pretokenizer_hash(const Pretokenizer *p, Fingerprint *f);

typedef struct Piece {
    uint32_t begin, end;
} Piece;

// Result and work space of one thread, reused; init with {.limit = ...}.
typedef struct Pieces {
    size_t limit;        // bytes that a text may grow to
    const char *refused; // as in NormalizeWork
    TextView view;       // what the pieces count in: the text given, or an own changed one
    Piece *items;        // in order, none empty, not overlapping
    size_t count, capacity;
    Piece *next; // of the step being made
    size_t next_count, next_capacity;
    MappedText texts[2]; // changed texts, used alternately
    int turn;
    RegexWalk walk;
} Pieces;
void pieces_clear(Pieces *w);
// The place of a text: at the beginning of the source, inside it, or at the beginning of a source that continues
// another text, where nothing is prepended.
typedef enum { TEXT_BEGINS, TEXT_INSIDE, TEXT_CONTINUES } TextPlace;
// Valid UTF-8, at most UINT32_MAX - 1 bytes; borrowed until w is used again.
void pretokenizer_run(const Pretokenizer *p, Pieces *w, const TextView *in, TextPlace place);
