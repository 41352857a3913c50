// unicode: UTF-8 validation, texts with a map back to the bytes they came from, and the Unicode normal forms.
#pragma once

#include "base.h"

// Length of the longest prefix of text[0, len) that is well-formed UTF-8 (no surrogates, no overlong forms, at most
// U+10FFFF, no cut-off character at the end).
size_t utf8_valid_prefix(const char *text, size_t len);
// A copy with U+FFFD in place of each byte that is no UTF-8: for paths in files of text. Caller frees.
char *utf8_replaced(const char *text);
// Bytes of the character that a lead byte begins: 1 to 4, 0 for a byte that cannot begin one.
int utf8_char_len(uint8_t lead);
// The character at text[0, len) of valid UTF-8 (len > 0), its length in *n.
int32_t utf8_decode(const char *text, size_t len, size_t *n);
bool unicode_is_space(int32_t c); // White_Space

// Why a tokenizer gives a text up; both make hostile tokenizers fail soon and with little memory.
#define TEXT_GROWS "the tokenizer's rules rewrite the text to more than 64 times its size and 64 KB"
#define REGEX_FAILED "a regular expression of the tokenizer backtracks without an end in the text"

// A borrowed text that was changed on its way from a source: origin[k] is the byte of the source that byte k came from,
// never decreasing; NULL: byte k itself.
typedef struct TextView {
    const char *text;
    size_t len;
    const uint32_t *origin;
} TextView;

// Such a text while it is made. Init with {0}; may be reused; clear with mapped_text_clear.
typedef struct MappedText {
    StrBuf text;
    uint32_t *origin; // text.len entries
    size_t capacity;
} MappedText;
void mapped_text_clear(MappedText *m);
TextView mapped_text_view(const MappedText *m);
// Appends bytes[0, n) in place of from->text[at, at + source_len): the k-th byte maps to where the k-th byte of those
// came from, or the last one. source_len 0: something put in before `at`.
void mapped_text_add(MappedText *m, const char *bytes, size_t n, const TextView *from, size_t at, size_t source_len);

typedef enum { NORMAL_NFC, NORMAL_NFD, NORMAL_NFKC, NORMAL_NFKD } NormalForm;
// A normal form of valid UTF-8. false: text has it already and *out was left alone. true: *out holds the normalised
// text and its map, exact outside the character sequences that changed.
bool unicode_normalize(const TextView *in, NormalForm form, MappedText *out);
