// name_index: finds the items of a file, or of several, by name.
#pragma once

#include "json.h"

typedef struct NamedItem {
    JsonStr name; // borrowed
    const void *item;
} NamedItem;

typedef struct NameIndex { // init with {0}
    NamedItem *items;
    size_t count, capacity;
} NameIndex;
void name_index_add(NameIndex *x, const char *name, size_t len, const void *item);
// Once all are added. Returns an item whose name the item before it has too, NULL: names are unique.
const NamedItem *name_index_sort(NameIndex *x);
const void *name_index_find(const NameIndex *x, const char *name); // NULL when absent
void name_index_clear(NameIndex *x);
