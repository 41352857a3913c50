// keys: settings that a table names, one row each: the keys of a config (config_keys.def), the options of a verb.
// Parsing, aliases, ranges, defaults, help, saving and the JSON schema come from the table.
//
// Files: keys.c (the table, one value from and to JSON), key_types.c (a row for each KeyType), key_files.c
// (KEY_FILES), key_help.c, key_schema.c.
#pragma once

#include <float.h>
#include <stdio.h>

#include "base.h"
#include "enum_words.h"
#include "file_rule.h"
#include "json.h"

typedef enum {
    KEY_STRING,  // char *, not empty
    KEY_PATH,    // as KEY_STRING, but made absolute when saved, unless it is one of the words; JSON true and false are
                 // words, too
    KEY_TEXT,    // char *, any text of the command line, also an empty one
    KEY_TEXTS,   // StrList; each use of the option adds one text
    KEY_INT,     // int64_t; or one of the words: the first is -1, the next -2
    KEY_FLOAT,   // double
    KEY_BOOL,    // bool
    KEY_CHOICE,  // an enum: index of one of the words; JSON true and false count as the words
    KEY_BYTES,   // int64_t: a number or "6GiB"
    KEY_STRINGS, // StrList; each one of the words, if there are any
    KEY_FILES,   // FileList: paths, each with a weight and rules: text or {"path", "weight", "format", "max_samples",
                 // "columns"}
    KEY_COLUMNS, // FileRule, of which only the columns are used: {"prompt": "its name in the file", ...}
    KEY_INTS,    // IntList
    KEY_FLOATS,  // FloatList
    KEY_OBJECTS, // ObjectList: JSON objects that the table's owner reads
    KEY_OBJECT,  // the same, of one object
} KeyType;

// A range that begins above 0.
#define ABOVE_0 DBL_MIN

typedef struct Key {
    const char *name;
    const char *aliases;  // separated by spaces; "load_in_4bit=nf4": this alias set to true means that value
    const char *synonyms; // words that are not read, for which messages offer this key
    KeyType type;
    size_t offset;        // of the field, in the struct that the table fills
    const char *standard; // the default as JSON text; NULL: not set (0, NULL)
    double min, max;      // of numbers, both allowed; both 0: any
    const EnumWord *words;
    const char *other_words;        // KEY_CHOICE: "bfloat16=bf16": the first is read as the second
    bool (*is_valid)(const char *); // KEY_STRING: NULL: all text is
    const char *expected;           // what is_valid accepts, for messages
    unsigned flags;                 // of the table's owner
    const char *section, *help;     // section: title of this key and those after it
} Key;

typedef struct KeyTable {
    const Key *keys;
    size_t count;
} KeyTable;

typedef struct StrList {
    char **items;
    size_t count;
} StrList;

typedef struct FileList { // of data
    char **items;
    double *weights; // how often a file's samples are in an epoch (data/dataset/subset.h)
    FileRule *rules;
    size_t count;
} FileList;
void file_list_clear(FileList *l);
// rule: copied; NULL: none.
void file_list_add(FileList *l, const char *path, double weight, const FileRule *rule);

typedef struct IntList {
    int64_t *items;
    size_t count;
} IntList;

typedef struct FloatList {
    double *items;
    size_t count;
} FloatList;

typedef struct ObjectList {
    char **items; // JSON text in one line
    int *lines;   // where each begins
    size_t count;
} ObjectList;

// ---- the table ----

// Sets all fields of a zeroed struct to their defaults. keys_clear frees what the fields own.
void keys_set_defaults(const KeyTable *t, void *fields);
void keys_clear(const KeyTable *t, void *fields);
// By name or alias; *implied: the value that the alias implies when it is true (it ends at a space), or NULL. Returns
// NULL when unknown.
const Key *keys_find(const KeyTable *t, const char *name, const char **implied);
const char *keys_nearest(const KeyTable *t, const char *name); // NULL when no name is near

// The reference: each key with its help, type, range, default and aliases. `prefix` is put before the names.
void keys_print_help(const KeyTable *t, const char *prefix, FILE *out);
// Appends "help (integer from 1 to 65536; default 16; also lora_rank, r)"; a letter that is an option has its dash.
void key_describe(StrBuf *s, const Key *k, bool option);

// ---- one value ----

struct cJSON;
void key_set_default(void *fields, const Key *k);
// Sets the key's field. `where` begins the message: "FILE:LINE: ", "command line: " or "--".
int key_read(void *fields, const Key *k, const Json *value, const char *where, Err *err);
// As key_read, from the command line: JSON of the key's type, else text; lists may be separated by commas.
int key_read_text(void *fields, const Key *k, const char *text, const char *where, Err *err);
int key_from_text(JsonDoc **doc, const Key *k, const char *text, Err *err);    // what key_read_text reads
struct cJSON *key_json(const void *fields, const Key *k, bool absolute_paths); // the field as JSON
char *key_text(const void *fields, const Key *k, bool absolute_paths);         // the same, printed; the caller frees
// JSON Schema (draft 2020-12) of an object with these keys.
struct cJSON *keys_schema(const KeyTable *t, const char *title);

int words_index(const EnumWord *words, const char *word); // -1 where words has none such, or is NULL
bool text_has_word(const char *list, const char *word);   // in a list separated by spaces; list may be NULL
// The next word of such a list, copied to buf; false at the end.
bool text_next_word(const char **list, char *buf, size_t size);
