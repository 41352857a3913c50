// words: splits `--key value`, `--key=value`, `key=value` and `-k value`; finds the known name nearest to a misspelt
// one.
#pragma once

#include "base.h"

enum { WORD_MAX_KEY = 64 };

typedef struct Word {
    bool is_key;            // false: a plain word (a path)
    bool is_letter;         // "-k": a key of one letter
    char key[WORD_MAX_KEY]; // without dashes in front, '-' inside replaced by '_'; cut at WORD_MAX_KEY - 1
    const char *value;      // after '=', or NULL: the next argument, if the key takes one
} Word;
Word word_split(const char *word);
// The value of argv[*i], which w is: after '=', else the next argument (*i moves), unless that begins with --. For a
// flag the next argument counts only if it is a truth value (`--packing CONFIG.json`), else the value is "true". NULL:
// none.
const char *word_value(const Word *w, bool flag, int argc, char **argv, int *i);
// "true", "false", "1" or "0"; returns false for any other text.
bool word_bool(const char *text, bool *value);
// "6GiB", "500 MB", "1073741824"; returns false unless it is an amount from 1 MiB to 2^60.
bool word_bytes(const char *text, int64_t *bytes);
#define WORD_BYTES_EXPECTED "bytes or text such as \"6GiB\", at least 1 MiB"

// Nearest name by edit distance; none if more than a third of the letters differ.
typedef struct Nearest {
    const char *wanted, *name; // name: the best so far, or NULL
    size_t distance;
} Nearest;
Nearest nearest_start(const char *wanted);
void nearest_try(Nearest *n, const char *name);
