// config_internal: private to config*.c.
#pragma once

#include "config.h"

// Flags of a key. AT_RESUME: may change when a run resumes. BY_RANK: may differ between ranks (of data and model paths
// the contents are compared instead). OF_ADAPTER: if not set, taken from the adapter of adapter_name_or_path.
enum { AT_RESUME = 1, BY_RANK = 2, OF_ADAPTER = 4 };

// Sets the keys of the one JSON object in `text`. *c has its defaults.
int config_read(Config *c, const char *text, size_t size, const char *name, Err *err);
