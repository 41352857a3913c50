// Private to config*.c.
#pragma once

#include <cjson/cJSON.h>

#include "config.h"

// Flags of a key. AT_RESUME: may change when a run resumes. BY_RANK: may differ between ranks (of data and model paths
// the contents are compared instead). OF_ADAPTER: if not set, taken from the adapter of adapter_name_or_path.
enum { AT_RESUME = 1, BY_RANK = 2, OF_ADAPTER = 4 };

// The members of the one object in `text`, each with its line: comments blanked, one object, no duplicates, depth
// bounded. *root is to be freed with cJSON_Delete, *lines (one per member) with mem_free.
int config_scan(cJSON **root, int **lines, const char *text, size_t size, const char *name, Err *err);
// Sets the keys of such an object. *c has its defaults.
int config_read(Config *c, const char *text, size_t size, const char *name, Err *err);
// The rules between keys.
int config_check(const Config *c, ConfigPurpose purpose, Err *err);
