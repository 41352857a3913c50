// named_adapter: NAME=PATH or PATH, as chat and serve are given adapters.
#pragma once

#include "base.h"

// A path alone has the name of its last part, or of the run for RUN/adapter. *path may be owner/name, which is looked
// up in the hub's cache. The caller frees both, after a failure too.
int named_adapter_parse(char **name, char **path, const char *text, Err *err);
