#include "labels.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "json_pool.h"

const char *problem_name(Problem p) {
    return p == PROBLEM_TOKENS ? "token_classification" : ENUM_WORDS(PROBLEM_TYPES)[p].word;
}

int problem_find(const char *name) {
    const EnumWord *words = ENUM_WORDS(PROBLEM_TYPES);
    for (int i = 0; words[i].word; i++)
        if (strcmp(words[i].word, name) == 0) return i;
    return -1;
}

// ---- lists ----

void label_list_add(LabelList *l, const char *name) {
    MEM_GROW(l->names, l->capacity, l->count + 1);
    l->names[l->count++] = mem_strdup(name);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

const char *label_list_repeated(const LabelList *l) {
    AUTO_FREE char **sorted = mem_alloc(l->count, sizeof *sorted);
    if (l->count) memcpy(sorted, l->names, l->count * sizeof *sorted);
    qsort(sorted, l->count, sizeof *sorted, by_text);
    for (size_t i = 1; i < l->count; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0) return sorted[i];
    return NULL;
}

// *n: of digits without a zero before them.
static bool is_integer(const char *name, int64_t *n) {
    *n = strtol(name, NULL, 10);
    return json_text_is_integer(name, strlen(name)) && *n >= 0;
}

bool label_list_renumbers(const LabelList *l, int64_t *missing) {
    int64_t before = -1, n;
    *missing = -1;
    for (size_t i = 0; i < l->count; i++, before = n) {
        if (!is_integer(l->names[i], &n) || n <= before) return false;
        if (i && *missing < 0 && n > before + 1) *missing = before + 1;
    }
    return l->count && before != (int64_t)l->count - 1;
}

void label_list_clear(LabelList *l) {
    for (size_t i = 0; i < l->count; i++) mem_free(l->names[i]);
    mem_free(l->names);
    *l = (LabelList){0};
}

void label_list_show(StrBuf *out, const LabelList *l, const int64_t *counts) {
    enum { SHOWN = 20 };
    for (size_t i = 0; i < l->count && i < SHOWN; i++)
        str_printf(out, "%s%s (%ld)", i ? ", " : "", l->names[i], counts[i]);
    if (l->count > SHOWN) str_puts(out, ", ...");
}

// ---- the table ----

enum { SLOTS = 2 * LABELS_MAX };

struct LabelTable {
    LabelList list;        // in the order of ids
    uint32_t slots[SLOTS]; // hash table: a label's id + 1; 0: free
    bool fixed;
    bool found[LABEL_EITHER + 1]; // labels of that kind
    const LabelList *suggested;   // or NULL
};

// The slot that a label has, or would have.
static uint32_t *slot_of(LabelTable *t, const char *name) {
    size_t i = XXH3_64bits(name, strlen(name)) % SLOTS;
    while (t->slots[i] && strcmp(t->list.names[t->slots[i] - 1], name) != 0) i = (i + 1) % SLOTS;
    return &t->slots[i];
}

static void add(LabelTable *t, uint32_t *slot, const char *name) {
    CHECK(!*slot && t->list.count < LABELS_MAX, "label %zu is \"%s\"", t->list.count, name);
    label_list_add(&t->list, name);
    *slot = (uint32_t)t->list.count;
}

LabelTable *label_table_new(const LabelList *given) {
    LabelTable *t = mem_calloc(1, sizeof *t);
    t->fixed = given != NULL;
    for (size_t i = 0; given && i < given->count; i++) add(t, slot_of(t, given->names[i]), given->names[i]);
    return t;
}

void label_table_suggest(LabelTable *t, const LabelList *names) { t->suggested = names; }

void label_table_free(LabelTable *t) {
    if (t) label_list_clear(&t->list);
    mem_free(t);
}

static int fail_unknown(const LabelList *l, const char *name, Err *err) {
    enum { SHOWN = 8 };
    AUTO_STR StrBuf names = {0};
    for (size_t i = 0; i < l->count && i < SHOWN; i++) str_printf(&names, "%s%s", i ? ", " : "", l->names[i]);
    if (l->count > SHOWN) str_puts(&names, ", ...");
    return err_input(err, "label: found \"%.80s\"; expected a label of the training data: %s", name, names.data);
}

static int fail_mix(const char *name, LabelKind kind, Err *err) {
    if (kind == LABEL_INTEGER)
        return err_input(err, "label: found the integer %s; expected text, as the labels before it are", name);
    return err_input(err, "label: found the text \"%.64s\"; expected an integer, as the labels before it are", name);
}

int label_table_add(LabelTable *t, const char *name, LabelKind kind, uint32_t *id, Err *err) {
    uint32_t *slot = slot_of(t, name);
    if (!*slot && t->fixed) return fail_unknown(&t->list, name, err);
    if (!t->fixed && kind != LABEL_EITHER && t->found[kind == LABEL_TEXT ? LABEL_INTEGER : LABEL_TEXT])
        return fail_mix(name, kind, err);
    if (!*slot && t->list.count == LABELS_MAX)
        return err_input(err, "label: found more than %d different labels", LABELS_MAX);
    if (!*slot) add(t, slot, name);
    t->found[kind] = true;
    *id = *slot - 1;
    return 0;
}

static int by_number(const void *a, const void *b) {
    long x = strtol(*(char *const *)a, NULL, 10), y = strtol(*(char *const *)b, NULL, 10);
    return x < y ? -1 : x > y;
}

static int check_found(const LabelList *l, size_t least, Err *err) {
    const char *expected = least == 1 ? "at least one" : "at least two different labels";
    if (l->count >= least) return 0;
    if (l->count == 0) return err_input(err, "found no label; expected %s", expected);
    return err_input(err, "found only the label \"%s\"; expected %s", l->names[0], expected);
}

// All labels are among the suggested ones; the others are added.
static bool take_suggested(LabelTable *t) {
    const LabelList *names = t->suggested;
    size_t known = 0;
    for (size_t i = 0; names && i < names->count; i++) known += *slot_of(t, names->names[i]) != 0;
    if (t->fixed || !names || known != t->list.count) return false;
    for (size_t i = 0; i < names->count; i++)
        if (!*slot_of(t, names->names[i])) add(t, slot_of(t, names->names[i]), names->names[i]);
    return true;
}

int label_table_finish(LabelTable *t, size_t least, LabelList *list, uint32_t **place, Err *err) {
    *list = (LabelList){0};
    *place = NULL;
    bool suggested = take_suggested(t);
    const LabelList *from = suggested ? t->suggested : &t->list;
    for (size_t i = 0; i < from->count; i++) label_list_add(list, from->names[i]);
    if (!t->fixed && !suggested && list->count)
        qsort(list->names, list->count, sizeof *list->names, t->found[LABEL_TEXT] ? by_text : by_number);
    if (!t->fixed && check_found(list, least, err)) return -1;
    *place = mem_alloc(list->count + 1, sizeof **place);
    for (size_t i = 0; i < list->count; i++) (*place)[*slot_of(t, list->names[i]) - 1] = (uint32_t)i;
    return 0;
}
