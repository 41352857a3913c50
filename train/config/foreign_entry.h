// foreign_entry: one data set of another tool's config, as an entry of train_file.
#pragma once

#include <cjson/cJSON.h>

#include "foreign.h"
#include "json_read.h"

typedef struct Entry { // and what its keys have said so far
    const Foreign *f;
    size_t number; // from 1; 0: not one of a list
    cJSON *columns;
    double limit, weight;                      // 0: not given
    const char *format, *eos, *slice;          // slice: "[10:20]"
    cJSON *learnt_roles, *role_names, *prompt; // roles_to_train, roles, prompt_format
    char *split;                               // NULL: "train"
    const char *revision;
} Entry;
void entry_clear(Entry *e);

// "FILE:LINE: datasets: entry 2: split: "x"; expected ..."
void entry_refuse(const Entry *e, const char *key, const Json *v, const char *expected);
bool entry_is_one_of(const Json *v, const char *words);
bool entry_is_word(const Json *v, const char *word);
// Names that are read as they are get no column.
void entry_add_column(Entry *e, const char *key, RecordKey column, const Json *name);
// The name that a role has in the data. Names that lorac knows for that role are left out.
void entry_add_role(Entry *e, RoleTarget target, const char *name);
// The role that a name means, with the names of the entry; -1: none.
int entry_role_of(const Entry *e, const char *name);
// "train", "train[:100]", "train[10%:20%]"; of a folder and of a data set on the hub also another split.
void entry_take_split(Entry *e, const Json *v);
// A type of Axolotl whose text is a fixed prompt: format, prompt_format and columns. False: no such type.
bool entry_take_prompt_type(Entry *e, const char *type);
void entry_add_file(cJSON *list, const Entry *e, const char *path);
// The value of `key`: `list`, which it takes, or none where there are more problems than `before`.
void entry_set_files(const Foreign *f, ConfigKey key, cJSON *list, size_t before);
