// consistency: are the ranks of a run about to do the same? Asked before the first step: ranks that differ would train
// something that nobody asked for, or wait for each other for ever.
//
// All calls are collective. 0 where all ranks came with the same; else -1 on all of them, EXIT_INPUT, and on rank 0 the
// message names the first key that differs, a rank with its host, and both values (empty elsewhere, as group_agree).
#pragma once

#include "group.h"

typedef struct ConsistencyItem {
    const char *name, *value;
    const char *hint; // what to do where it differs; NULL: nothing to be said
} ConsistencyItem;

int consistency_check(Group *g, const ConsistencyItem *items, int n, Err *err);
