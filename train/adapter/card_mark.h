// card_mark: the mark of a README.md that lorac wrote.
#pragma once

#include <stddef.h>

// The text with the mark as its last line. The caller frees.
char *card_marked(const char *text);

// The writer of a README.md. The last line has a hash of the text before it: an edited file is not lorac's.
typedef enum { CARD_ABSENT, CARD_FOREIGN, CARD_OWN, CARD_BEFORE_MARKS } CardOrigin;
CardOrigin card_origin(const char *text, size_t size);
