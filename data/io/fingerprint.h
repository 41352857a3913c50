// fingerprint: a running XXH3-128 over numbers and texts, identical on every machine. Not cryptographic: it
// distinguishes tokenizers.
#pragma once

#include "base.h"

typedef struct Fingerprint Fingerprint;
Fingerprint *fingerprint_new(void);
void fingerprint_number(Fingerprint *f, int64_t n);
void fingerprint_pair(Fingerprint *f, int32_t a, int32_t b);
void fingerprint_text(Fingerprint *f, const char *s,
                      size_t len);                  // with its length, so that "ab", "c" differs from "a", "bc"
void fingerprint_end(Fingerprint *f, char hex[33]); // frees
