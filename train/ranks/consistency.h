// consistency: checks before the first step that all ranks have the same values. Ranks that differ would train
// something unintended, or deadlock.
//
// Collective. 0: all ranks have the same; else -1 on all of them (ERR_INPUT), and on rank 0 the message names the first
// item that differs, a rank with its host, and both values (empty elsewhere, as group_agree).
#pragma once

#include "group.h"

typedef struct ConsistencyItem {
    const char *name, *value;
    const char *hint; // advice where it differs; may be NULL
} ConsistencyItem;

int consistency_check(Group *g, const ConsistencyItem *items, int n, Err *err);
