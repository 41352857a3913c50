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
int key_refuse_later(const Reading *r, const Json *v); // a value of a later version

typedef struct KeyForm {
    const char *name;                             // in the help
    size_t size;                                  // of the field
    int (*read)(const Reading *r, const Json *v); // v is not null; the field is not set
    cJSON *(*write)(const Key *k, const void *field, bool absolute_paths);
    void (*schema)(cJSON *schema, const Key *k); // adds the keywords of its values
    void (*free)(void *field);                   // what the field owns; NULL: nothing
} KeyForm;
extern const KeyForm key_forms[];

void schema_add_types(cJSON *schema, const char *names); // "type", of names separated by spaces
