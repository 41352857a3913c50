// Private to config*.c.
#pragma once

#include <cjson/cJSON.h>

#include "config.h"

// Flags of a key: when it may have another value, in a later part of the same run or on another rank of it (paths:
// their content is compared instead); and whether an adapter to start from determines it.
enum { AT_RESUME = 1, BY_RANK = 2, OF_ADAPTER = 4 };

// The members of the one object in `text`, each with its line: comments blanked, one object, no duplicates, depth
// bounded. *root is to be freed with cJSON_Delete, *lines (one per member) with mem_free.
int config_scan(cJSON **root, int **lines, const char *text, size_t size, const char *name, Err *err);
// Sets the keys of such an object. *c has its defaults.
int config_read(Config *c, const char *text, size_t size, const char *name, Err *err);
// The rules between keys.
int config_check(const Config *c, ConfigPurpose purpose, Err *err);
