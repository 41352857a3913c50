// unicode: UTF-8 validation and NFC with a map back to the bytes it came from.
#pragma once

#include "base.h"

// Length of the longest prefix of text[0, len) that is well-formed UTF-8 (no surrogates, no overlong forms, at most
// U+10FFFF, no cut-off character at the end).
size_t utf8_valid_prefix(const char *text, size_t len);
// Bytes of the character that a lead byte begins: 1 to 4, 0 for a byte that cannot begin one.
int utf8_char_len(uint8_t lead);

// NFC of one piece of valid UTF-8. Init with {0}; may be reused for any number of pieces; clear with nfc_clear.
typedef struct NfcText {
    StrBuf text;
    uint32_t *origin; // text.len entries: byte offset in the source where the byte came from, never decreasing
    size_t capacity;
} NfcText;
// false: text is in NFC already and *out was left alone. true: *out holds the normalised text and its map. Inside a
// character sequence that changed, the k-th byte of the result maps to the k-th byte of the sequence or its last one.
bool nfc_normalize(const char *text, size_t len, NfcText *out);
void nfc_clear(NfcText *n);
