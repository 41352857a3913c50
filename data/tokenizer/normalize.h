// normalize: the steps of tokenizer.json's normalizer: what is done to text between added tokens before it is cut into
// pre-tokens.
#pragma once

#include "charsmap.h"
#include "hash.h"
#include "json.h"
#include "regex.h"
#include "unicode.h"

typedef enum {
    NORMALIZE_FORM,       // .form
    NORMALIZE_LOWERCASE,  // of every character
    NORMALIZE_PREPEND,    // .text in front of a non-empty text
    NORMALIZE_REPLACE,    // matches of .pattern, or of the literal .from, by .text
    NORMALIZE_CHARSMAP,   // what .charsmap replaces
    NORMALIZE_STRIP,      // white space at .left and .right ends
    NORMALIZE_BERT_CLEAN, // .clean_text: no control characters, white space as spaces; .ideographs: spaces around CJK
    NORMALIZE_BERT_MARKS  // without non-spacing marks
} NormalizeKind;

typedef struct NormalizeStep {
    NormalizeKind kind;
    NormalForm form;
    Regex *pattern;     // taken over
    Charsmap *charsmap; // taken over
    JsonStr from, text; // copied
    bool left, right;
    bool clean_text, ideographs;
} NormalizeStep;

typedef struct Normalizer Normalizer; // read-only after it was made: shared by all threads
Normalizer *normalizer_new(void);
void normalizer_add(Normalizer *n, const NormalizeStep *step);
// The steps of BertNormalizer; strip_accents null in a file means that of lowercase.
typedef struct BertNormalizer {
    bool clean_text, handle_chinese_chars, strip_accents, lowercase;
} BertNormalizer;
void normalizer_add_bert(Normalizer *n, const BertNormalizer *bert);
void normalizer_free(Normalizer *n);
bool normalizer_is_empty(const Normalizer *n);
bool normalizer_is_form(const Normalizer *n, NormalForm form); // this form and no other step
void normalizer_hash(const Normalizer *n, Fingerprint *f);

// Work space of one thread, reused; init with {.limit = ...}.
typedef struct NormalizeWork {
    size_t limit;        // bytes that a text may grow to
    const char *refused; // why a text was given up: it grew beyond the limit, or a match ran into that of regex.h
    MappedText texts[2]; // used alternately
    int turn;
    RegexWalk walk;
} NormalizeWork;
void normalize_work_clear(NormalizeWork *w);

// *view (valid UTF-8) becomes its normal form: itself if no step changed it, else a text in w. If w->refused is set,
// *view is invalid. With `continues` the text continues another one: nothing is prepended.
void normalizer_run(const Normalizer *n, NormalizeWork *w, TextView *view, bool continues);
