// byte_alphabet: the 256 printable characters in which byte-level vocabularies write bytes (GPT-2's bytes_to_unicode):
// printable bytes of Latin-1 are themselves, the other 68 are U+0100 and up in order.
#pragma once

#include "base.h"

// The UTF-8 of a byte's character: 1 or 2 bytes, their number returned.
int byte_spell(uint8_t byte, char out[2]);
void bytes_spell(const char *bytes, size_t len, StrBuf *out); // appends
// Appends the bytes that valid UTF-8 spells; false (and nothing appended) when a character is not of the alphabet.
bool bytes_unspell(const char *text, size_t len, StrBuf *out);
