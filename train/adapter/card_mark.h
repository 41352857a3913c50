// card_mark: the mark by which a README.md that lorac wrote is known.
#pragma once

#include <stddef.h>

// The text with the mark as its last line. Caller frees.
char *card_marked(const char *text);

// Who wrote a README.md. Its last line holds a hash of all before it, so that an edited one is its editor's.
typedef enum { CARD_ABSENT, CARD_FOREIGN, CARD_OWN, CARD_BEFORE_MARKS } CardOrigin;
CardOrigin card_origin(const char *text, size_t size);
