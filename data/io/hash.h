// hash: XXH3-128 of bytes, files, numbers and texts, as 32 hex digits, identical on every machine. Not cryptographic:
// it distinguishes files and tokenizers and detects damage.
#pragma once

#include "base.h"

void hash_bytes(char hex[33], const void *data, size_t size);
// Of a whole file.
int hash_file(char hex[33], const char *path, Err *err);
// Of the size, the first and last 64 KiB and 64 evenly spaced blocks of 4 KiB: distinguishes base models without
// reading gigabytes.
int hash_file_sampled(char hex[33], const char *path, Err *err);

// A running hash.
typedef struct XXH3_state_s Fingerprint;
Fingerprint *fingerprint_new(void);
void fingerprint_number(Fingerprint *f, int64_t n);
void fingerprint_pair(Fingerprint *f, int32_t a, int32_t b);
// With its length, so that "ab", "c" differs from "a", "bc".
void fingerprint_text(Fingerprint *f, const char *s, size_t len);
void fingerprint_end(Fingerprint *f, char hex[33]); // frees
