// scripts: in which scripts (Unicode's property Script) the characters of a text are: what languages it may have.
#pragma once

#include "dataset.h"

#define SCRIPTS(X)                                                                                                     \
    X(SCRIPT_LATIN, "Latin", "")                                                                                       \
    X(SCRIPT_GREEK, "Greek", "")                                                                                       \
    X(SCRIPT_CYRILLIC, "Cyrillic", "")                                                                                 \
    X(SCRIPT_ARMENIAN, "Armenian", "")                                                                                 \
    X(SCRIPT_GEORGIAN, "Georgian", "")                                                                                 \
    X(SCRIPT_HEBREW, "Hebrew", "")                                                                                     \
    X(SCRIPT_ARABIC, "Arabic", "")                                                                                     \
    X(SCRIPT_ETHIOPIC, "Ethiopic", "")                                                                                 \
    X(SCRIPT_DEVANAGARI, "Devanagari", "")                                                                             \
    X(SCRIPT_BENGALI, "Bengali", "")                                                                                   \
    X(SCRIPT_GURMUKHI, "Gurmukhi", "")                                                                                 \
    X(SCRIPT_GUJARATI, "Gujarati", "")                                                                                 \
    X(SCRIPT_ORIYA, "Oriya", "")                                                                                       \
    X(SCRIPT_TAMIL, "Tamil", "")                                                                                       \
    X(SCRIPT_TELUGU, "Telugu", "")                                                                                     \
    X(SCRIPT_KANNADA, "Kannada", "")                                                                                   \
    X(SCRIPT_MALAYALAM, "Malayalam", "")                                                                               \
    X(SCRIPT_SINHALA, "Sinhala", "")                                                                                   \
    X(SCRIPT_THAI, "Thai", "")                                                                                         \
    X(SCRIPT_LAO, "Lao", "")                                                                                           \
    X(SCRIPT_TIBETAN, "Tibetan", "")                                                                                   \
    X(SCRIPT_MYANMAR, "Myanmar", "")                                                                                   \
    X(SCRIPT_KHMER, "Khmer", "")                                                                                       \
    X(SCRIPT_MONGOLIAN, "Mongolian", "")                                                                               \
    X(SCRIPT_HANGUL, "Hangul", "")                                                                                     \
    X(SCRIPT_HIRAGANA, "Hiragana", "")                                                                                 \
    X(SCRIPT_KATAKANA, "Katakana", "")                                                                                 \
    X(SCRIPT_BOPOMOFO, "Bopomofo", "")                                                                                 \
    X(SCRIPT_HAN, "Han", "")                                                                                           \
    X(SCRIPT_OTHER, "other scripts", "")
typedef enum { SCRIPTS(ENUM_CONSTANT) SCRIPT_COUNT, SCRIPT_NONE = SCRIPT_COUNT } Script;

const char *script_name(Script s);
// SCRIPT_NONE: digits, punctuation, symbols and marks, which all scripts share; and what is not assigned.
Script script_of(int32_t character);
bool script_is_unspaced(Script s); // no spaces between its words: each character counts as a word

typedef struct ScriptCounts { // init with {0}
    int64_t n[SCRIPT_COUNT];
} ScriptCounts;
void script_counts_add(ScriptCounts *c, const char *text, size_t len); // characters of valid UTF-8 that have a script
void script_counts_join(ScriptCounts *c, const ScriptCounts *more);
// Tokens of all samples by the script of most of their characters, also of characters of several tokens; tokens without
// a script are not counted.
void script_counts_add_tokens(ScriptCounts *c, const Dataset *d, const Tokenizer *t);
// Appends "Latin 97.0%, Han 3.0%", the largest first; nothing where nothing was counted.
void script_counts_show(StrBuf *out, const ScriptCounts *c);
