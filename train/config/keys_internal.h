// keys_internal: what each KeyType is (key_types.c), for the files key*.c.
#pragma once

#include <cjson/cJSON.h>

#include "keys.h"

// A value that is read into the field of key k. where: begins messages.
typedef struct Reading {
    void *field;
    const Key *k;
    const char *where;
    Err *err;
} Reading;
int key_wrong(const Reading *r, const Json *v, const char *expected);
// A list, or one item without brackets.
int key_read_list(const Reading *r, const Json *v, int (*read)(const Reading *, const Json *), bool single,
                  const char *expected);

typedef struct KeyForm {
    const char *name;                             // in the help
    size_t size;                                  // of the field
    int (*read)(const Reading *r, const Json *v); // v is not null; the field is not set
    cJSON *(*write)(const Key *k, const void *field, bool absolute_paths);
    void (*schema)(cJSON *schema, const Key *k); // adds the keywords of its values
    void (*free)(void *field);                   // what the field owns; NULL: nothing
} KeyForm;
extern const KeyForm key_forms[];

// ---- for the files key*.c ----

void texts_add(char ***items, size_t *count, const char *text);
cJSON *key_path_json(const Key *k, const char *path, bool absolute);
void schema_float(cJSON *schema, const Key *k);
// A list, or one item without brackets, or null.
void schema_add_list(cJSON *schema, const Key *k, void (*item)(cJSON *schema, const Key *k));

// KEY_FILES and KEY_COLUMNS (key_files.c).
int key_read_files(const Reading *r, const Json *v);
cJSON *key_write_files(const Key *k, const void *field, bool absolute_paths);
void key_schema_files(cJSON *schema, const Key *k);
void key_free_files(void *field);
int key_read_columns(const Reading *r, const Json *v);
cJSON *key_write_columns(const Key *k, const void *field, bool absolute_paths);
void key_schema_columns(cJSON *schema, const Key *k);
void key_free_columns(void *field);

void schema_add_types(cJSON *schema, const char *names); // "type", of names separated by spaces
