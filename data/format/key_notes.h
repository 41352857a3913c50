// key_notes: the keys of records that nothing reads, counted by name, so that no column is ignored silently.
//
// Names are places in a record: "context", "messages[].name", "messages[].content[].cache_control". A record notes each
// name once. Memory is bounded whatever a file holds: at most KEYS_NAMED names, each of less than KEY_NAME_BYTES bytes
// with control characters escaped; records with further ones are counted together.
#pragma once

#include "json.h"

enum { KEYS_NAMED = 64, KEY_NAME_BYTES = 96 };

typedef struct KeyNotes { // of one record; init with {0}
    StrBuf names;         // distinct, a NUL after each
    size_t count;
    bool more; // than KEYS_NAMED
} KeyNotes;
void key_notes_add(KeyNotes *n, const char *prefix, JsonStr key);
// The name after `name` (NULL: the first); NULL at the end.
const char *key_notes_next(const KeyNotes *n, const char *name);
bool key_notes_has(const KeyNotes *n, JsonStr key); // without a prefix; true where there are more than KEYS_NAMED
void key_notes_clear(KeyNotes *n);

typedef struct KeyCounts { // of all records, and of the members of archives; init with {0}
    char **names;          // in the order of their first appearance
    int64_t *records;
    size_t count, capacity, records_capacity;
    int64_t others; // records with keys beyond KEYS_NAMED
} KeyCounts;
void key_counts_add(KeyCounts *c, const KeyNotes *n);
void key_counts_join(KeyCounts *c, const KeyCounts *more);
void key_counts_put(KeyCounts *c, const char *name, int64_t records); // one more name
void key_counts_clear(KeyCounts *c);
// "context (768 records), id (768)": the first twenty.
void key_counts_show(StrBuf *out, const KeyCounts *c);
// A name that suggests text of the prompt ("context", "passage", "system_prompt", ...).
bool key_is_prompt_like(const char *name);
// Levenshtein distance of a [n] and b [m], letters of either case being the same (a swap of neighbours is two edits).
// Of names longer than 80 bytes: 80.
size_t edit_distance(const char *a, size_t n, const char *b, size_t m);
// The nearest of `known` (words with spaces between them) to a key that is likely misspelt, else NULL.
char *key_nearest(const char *key, const char *known); // mem_free
