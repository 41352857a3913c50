#include "keys.h"

#include <string.h>

#include "words.h"

int words_index(const EnumWord *words, const char *word) {
    for (int i = 0; words && words[i].word; i++)
        if (strcmp(words[i].word, word) == 0) return i;
    return -1;
}

bool text_next_word(const char **list, char *buf, size_t size) {
    *list += strspn(*list, " ");
    size_t n = strcspn(*list, " ");
    if (n == 0) return false;
    CHECK(n < size);
    memcpy(buf, *list, n);
    buf[n] = 0;
    *list += n;
    return true;
}

bool text_has_word(const char *list, const char *word) {
    char buf[WORD_MAX_KEY];
    while (list && text_next_word(&list, buf, sizeof buf))
        if (strcmp(buf, word) == 0) return true;
    return false;
}

// True when `name` is one of the key's aliases; an alias "name=value" yields the value.
static bool has_alias(const Key *k, const char *name, const char **implied) {
    size_t n = strlen(name);
    for (const char *a = k->aliases; a && (a = strstr(a, name)); a += n) {
        bool starts = a == k->aliases || a[-1] == ' ';
        if (starts && (a[n] == 0 || a[n] == ' ')) return true;
        if (starts && a[n] == '=') {
            *implied = a + n + 1;
            return true;
        }
    }
    return false;
}

const Key *keys_find(const KeyTable *t, const char *name, const char **implied) {
    *implied = NULL;
    for (size_t i = 0; *name && i < t->count; i++)
        if (strcmp(t->keys[i].name, name) == 0 || has_alias(&t->keys[i], name, implied)) return &t->keys[i];
    return NULL;
}

const char *keys_nearest(const KeyTable *t, const char *name) {
    char best[WORD_MAX_KEY], alias[WORD_MAX_KEY];
    const char *found = NULL;
    Nearest near = nearest_start(name);
    for (size_t i = 0; i < t->count; i++) {
        const char *aliases = t->keys[i].aliases;
        nearest_try(&near, t->keys[i].name);
        if (near.name == t->keys[i].name) found = near.name;
        while (aliases && text_next_word(&aliases, alias, sizeof alias)) {
            alias[strcspn(alias, "=")] = 0;
            nearest_try(&near, alias);
            if (near.name != alias) continue;
            found = t->keys[i].name; // offered by its own name
            near.name = memcpy(best, alias, strlen(alias) + 1);
        }
    }
    return found;
}

void key_set_default(void *fields, const Key *k) {
    key_clear(fields, k);
    if (!k->standard) return;
    AUTO_JSON JsonDoc *doc = NULL;
    Err err = {0};
    CHECK(json_parse(&doc, k->standard, strlen(k->standard), "", 1, &err) == 0 &&
              key_read(fields, k, json_root(doc), "", &err) == 0,
          "default of %s: %s", k->name, err.msg);
}

void keys_set_defaults(const KeyTable *t, void *fields) {
    for (size_t i = 0; i < t->count; i++) key_set_default(fields, &t->keys[i]);
}

void file_list_clear(FileList *l) {
    for (size_t i = 0; i < l->count; i++) mem_free(l->items[i]);
    mem_free(l->items);
    mem_free(l->weights);
    *l = (FileList){0};
}

static void str_list_clear(StrList *l) {
    for (size_t i = 0; i < l->count; i++) mem_free(l->items[i]);
    mem_free(l->items);
    *l = (StrList){0};
}

void key_clear(void *fields, const Key *k) {
    void *field = (char *)fields + k->offset;
    switch (k->type) {
    case KEY_STRING:
    case KEY_PATH:
    case KEY_TEXT:
        mem_free(*(char **)field);
        *(char **)field = NULL;
        break;
    case KEY_TEXTS:
    case KEY_STRINGS:
        str_list_clear(field);
        break;
    case KEY_FILES:
        file_list_clear(field);
        break;
    case KEY_INTS:
        mem_free(((IntList *)field)->items);
        *(IntList *)field = (IntList){0};
        break;
    case KEY_BOOL:
        *(bool *)field = false;
        break;
    case KEY_CHOICE:
        *(int *)field = 0;
        break;
    case KEY_FLOAT:
        *(double *)field = 0;
        break;
    case KEY_INT:
    case KEY_BYTES:
        *(int64_t *)field = 0;
        break;
    }
}

void keys_clear(const KeyTable *t, void *fields) {
    for (size_t i = 0; i < t->count; i++) key_clear(fields, &t->keys[i]);
}
