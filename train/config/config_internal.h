// Private to config*.c: the table of keys and how one value is read and written.
#pragma once

#include <cjson/cJSON.h>
#include <stddef.h>

#include "config.h"

typedef enum {
    KEY_STRING,
    KEY_PATH, // as KEY_STRING, but made absolute when saved, unless it is one of the choices
    KEY_INT,  // or one of `choices`: the first is -1, the next -2
    KEY_FLOAT,
    KEY_BOOL,
    KEY_CHOICE, // one of `choices`; JSON true and false count as the words
    KEY_BYTES,  // a number or "6GiB"
    KEY_STRINGS,
    KEY_FILES, // paths, each with a weight: text or {"path", "weight"}
    KEY_INTS,
} KeyType;

// When a key may have another value: in a later part of the same run, or on another rank of it (paths: what lies there
// is compared instead).
enum { FIXED = 0, AT_RESUME = 1, BY_RANK = 2 };

typedef struct ConfigKey {
    const char *name;
    const char *aliases; // separated by spaces; "load_in_4bit=nf4": this alias set to true means that value
    KeyType type;
    size_t offset;        // in Config
    const char *standard; // the default as JSON text; "null": not set
    double min, max;      // of numbers, both allowed
    const char *choices;  // KEY_CHOICE, KEY_PATH, KEY_INT: separated by spaces
    const char *later;    // choices of later versions; "*": anything but the default
    int may_change;       // of the bits above
    const char *help;
} ConfigKey;

extern const ConfigKey config_keys[];
size_t config_key_count(void);
// By name or alias; *implied is where the value that a true alias stands for begins (it ends at a space), or NULL. NULL
// when unknown.
const ConfigKey *config_key_find(const char *name, const char **implied);
const char *config_key_nearest(const char *name); // NULL when nothing is near

// Sets the key's field. `where` begins the message: "FILE:LINE" or "command line".
int config_set(Config *c, const ConfigKey *k, const cJSON *value, const char *where, Err *err);
// A value of the command line: JSON where it is JSON of the right kind, else text; lists also separated by commas.
cJSON *config_value_from_text(const ConfigKey *k, const char *text);
cJSON *config_value(const Config *c, const ConfigKey *k, bool absolute_paths); // the field as JSON
bool config_word_in(const char *word, const char *list, int *index);           // in a list separated by spaces

// The members of the one object in `text`, each with its line: comments blanked, one object, no duplicates, depth
// bounded. *root is to be freed with cJSON_Delete, *lines (one per member) with mem_free.
int config_scan(cJSON **root, int **lines, const char *text, size_t size, const char *name, Err *err);
