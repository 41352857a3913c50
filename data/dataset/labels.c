#include "labels.h"

#include <stdlib.h>
#include <string.h>

// ---- lists ----

void label_list_add(LabelList *l, const char *name) {
    MEM_GROW(l->names, l->capacity, l->count + 1);
    l->names[l->count++] = mem_strdup(name);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *label_list_repeated(const LabelList *l) {
    const char *found = NULL;
    char **sorted = mem_alloc(l->count, sizeof *sorted);
    if (l->count) memcpy(sorted, l->names, l->count * sizeof *sorted);
    qsort(sorted, l->count, sizeof *sorted, by_text);
    for (size_t i = 1; i < l->count && !found; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0) found = sorted[i];
    mem_free(sorted);
    return found;
}

void label_list_clear(LabelList *l) {
    for (size_t i = 0; i < l->count; i++) mem_free(l->names[i]);
    mem_free(l->names);
    *l = (LabelList){0};
}

// ---- the table ----

typedef struct Known {
    char *name;
    uint32_t id;
} Known;

struct LabelTable {
    Known *known; // sorted by name
    size_t count, capacity;
    bool fixed;
    bool integers; // of found ones, as the first is
};

// Where `name` is, or should be.
static size_t place_of(const LabelTable *t, const char *name) {
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(t->known[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const LabelTable *t, size_t at, const char *name) {
    return at < t->count && strcmp(t->known[at].name, name) == 0;
}

static void insert(LabelTable *t, size_t at, const char *name) {
    MEM_GROW(t->known, t->capacity, t->count + 1);
    memmove(t->known + at + 1, t->known + at, (t->count - at) * sizeof *t->known);
    t->known[at] = (Known){mem_strdup(name), (uint32_t)t->count};
    t->count++;
}

LabelTable *label_table_new(const LabelList *given) {
    LabelTable *t = mem_calloc(1, sizeof *t);
    t->fixed = given != NULL;
    for (size_t i = 0; given && i < given->count; i++) {
        size_t at = place_of(t, given->names[i]);
        CHECK(!is_at(t, at, given->names[i]), "label \"%s\" is there twice", given->names[i]);
        insert(t, at, given->names[i]);
    }
    return t;
}

void label_table_free(LabelTable *t) {
    if (!t) return;
    for (size_t i = 0; i < t->count; i++) mem_free(t->known[i].name);
    mem_free(t->known);
    mem_free(t);
}

static int fail_unknown(const LabelTable *t, const char *name, Err *err) {
    enum { SHOWN = 8 };
    StrBuf names = {0};
    for (size_t i = 0; i < t->count && i < SHOWN; i++) str_printf(&names, "%s%s", i ? ", " : "", t->known[i].name);
    if (t->count > SHOWN) str_puts(&names, ", ...");
    err_input(err, "label: found \"%.80s\"; expected a label of the training data: %s", name, names.data);
    str_clear(&names);
    return -1;
}

int label_table_add(LabelTable *t, const char *name, bool integer, uint32_t *id, Err *err) {
    size_t at = place_of(t, name);
    if (!is_at(t, at, name)) {
        if (t->fixed) return fail_unknown(t, name, err);
        if (t->count == LABELS_MAX) return err_input(err, "label: found more than %d different labels", LABELS_MAX);
        if (!t->count) t->integers = integer;
        insert(t, at, name);
    }
    if (!t->fixed && integer != t->integers)
        return err_input(err, "label: found %s%s%.64s%s; expected %s, as the first record has",
                         integer ? "the integer " : "the text ", integer ? "" : "\"", name, integer ? "" : "\"",
                         integer ? "text" : "an integer");
    *id = t->known[at].id;
    return 0;
}

static int by_number(const void *pa, const void *pb) {
    long a = strtol(((const Known *)pa)->name, NULL, 10), b = strtol(((const Known *)pb)->name, NULL, 10);
    return a < b ? -1 : a > b;
}

static int by_id(const void *pa, const void *pb) {
    uint32_t a = ((const Known *)pa)->id, b = ((const Known *)pb)->id;
    return a < b ? -1 : a > b;
}

static int check_found(const LabelTable *t, Err *err) {
    if (t->count < 2)
        return err_input(err, "found %s%s%s; expected at least two different labels",
                         t->count ? "only the label \"" : "no", t->count ? t->known[0].name : " label",
                         t->count ? "\"" : "");
    for (size_t i = 0; t->integers && i < t->count; i++)
        if (strtol(t->known[i].name, NULL, 10) != (long)i)
            return err_input(err,
                             "found %zu different labels up to %s, but no label %zu; expected the integers 0 to n-1 "
                             "without a gap, or labels as text",
                             t->count, t->known[t->count - 1].name, i);
    return 0;
}

int label_table_finish(LabelTable *t, LabelList *list, uint32_t **place, Err *err) {
    *list = (LabelList){0};
    *place = NULL;
    if (t->fixed)
        qsort(t->known, t->count, sizeof *t->known, by_id);
    else if (t->integers)
        qsort(t->known, t->count, sizeof *t->known, by_number);
    if (!t->fixed && check_found(t, err)) return -1;
    *place = mem_alloc(t->count + 1, sizeof **place);
    for (size_t i = 0; i < t->count; i++) {
        (*place)[t->known[i].id] = (uint32_t)i;
        label_list_add(list, t->known[i].name);
    }
    return 0;
}
