// edit_distance: how far a misspelt name is from a known one.
#pragma once

#include <stddef.h>

// Levenshtein distance of a [n] and b [m], letters of either case being the same (a swap of neighbours is two edits).
// Of names longer than 80 bytes: 80.
size_t edit_distance(const char *a, size_t n, const char *b, size_t m);
