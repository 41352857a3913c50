#include "name_index.h"

#include <stdlib.h>
#include <string.h>

void name_index_add(NameIndex *x, const char *name, size_t len, const void *item) {
    MEM_GROW(x->items, x->capacity, x->count + 1);
    x->items[x->count++] = (NamedItem){{name, len}, item};
}

static int compare(const void *pa, const void *pb) {
    const JsonStr *a = &((const NamedItem *)pa)->name, *b = &((const NamedItem *)pb)->name;
    int order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

const NamedItem *name_index_sort(NameIndex *x) {
    if (x->count) qsort(x->items, x->count, sizeof *x->items, compare);
    for (size_t i = 1; i < x->count; i++)
        if (compare(&x->items[i - 1], &x->items[i]) == 0) return &x->items[i];
    return NULL;
}

const void *name_index_find(const NameIndex *x, const char *name) {
    const NamedItem wanted = {{name, strlen(name)}, NULL};
    const NamedItem *hit = x->count ? bsearch(&wanted, x->items, x->count, sizeof *x->items, compare) : NULL;
    return hit ? hit->item : NULL;
}

void name_index_clear(NameIndex *x) {
    mem_free(x->items);
    *x = (NameIndex){0};
}
