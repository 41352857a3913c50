// keys: tables of keys, one value from JSON or from text of the command line, and back (see keys.h).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_save.h"
#include "keys_internal.h"
#include "words.h"

// ---- words ----

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

// ---- the table ----

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
    for (size_t i = 0; i < t->count; i++)
        if (text_has_word(t->keys[i].synonyms, name)) return t->keys[i].name;
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

// Frees what the field owns and zeroes it: not set.
static void key_clear(void *fields, const Key *k) {
    const KeyForm *form = &key_forms[k->type];
    void *field = (char *)fields + k->offset;
    if (form->free) form->free(field);
    memset(field, 0, form->size);
}

void keys_set_defaults(const KeyTable *t, void *fields) {
    for (size_t i = 0; i < t->count; i++) key_set_default(fields, &t->keys[i]);
}

void keys_clear(const KeyTable *t, void *fields) {
    for (size_t i = 0; i < t->count; i++) key_clear(fields, &t->keys[i]);
}

// ---- one value ----

void key_set_default(void *fields, const Key *k) {
    key_clear(fields, k);
    if (!k->standard) return;
    AUTO_JSON JsonDoc *doc = NULL;
    Err err = {0};
    CHECK(json_parse(&doc, k->standard, strlen(k->standard), "", 1, &err) == 0 &&
              key_read(fields, k, json_root(doc), "", &err) == 0,
          "default of %s: %s", k->name, err.msg);
}

int key_read(void *fields, const Key *k, const Json *v, const char *where, Err *err) {
    Reading r = {(char *)fields + k->offset, k, where, err};
    bool is_null = v->type == JSON_NULL;
    if (k->type != KEY_TEXTS) key_clear(fields, k);
    return is_null ? 0 : key_forms[k->type].read(&r, v);
}

cJSON *key_json(const void *fields, const Key *k, bool absolute_paths) {
    return key_forms[k->type].write(k, (const char *)fields + k->offset, absolute_paths);
}

char *key_text(const void *fields, const Key *k, bool absolute_paths) {
    return json_line(key_json(fields, k, absolute_paths));
}

// ---- text of the command line to JSON ----

// A finite number in C's form; false where text is none.
static bool put_number(StrBuf *out, const char *text) {
    char *end;
    double x = strtod(text, &end);
    end += strspn(end, " ");
    if (end == text || *end || !isfinite(x)) return false;
    char shortest[32];
    snprintf(shortest, sizeof shortest, "%.15g", x);
    str_printf(out, strtod(shortest, NULL) == x ? "%.15g" : "%.17g", x);
    return true;
}

static void put_list(StrBuf *out, const char *text, bool numbers) {
    str_puts(out, "[");
    for (const char *comma = ""; *text; comma = ",") {
        size_t n = strcspn(text, ",");
        AUTO_FREE char *part = mem_strndup(text, n);
        str_puts(out, comma);
        if (!numbers || !put_number(out, part)) json_quote(out, part, n);
        text += n + (text[n] == ',');
    }
    str_puts(out, "]");
}

int key_from_text(JsonDoc **doc, const Key *k, const char *text, Err *err) {
    AUTO_STR StrBuf out = {0};
    bool numbers = k->type == KEY_INTS || k->type == KEY_FLOATS, yes;
    bool is_list = numbers || k->type == KEY_FILES || k->type == KEY_STRINGS || k->type == KEY_OBJECTS;
    bool is_number = k->type == KEY_INT || k->type == KEY_FLOAT, is_text = k->type == KEY_TEXT || k->type == KEY_TEXTS;
    bool takes_object = k->type == KEY_COLUMNS || k->type == KEY_OBJECT;
    bool is_object = (k->type == KEY_FILES || takes_object) && *text == '{';
    bool is_json = is_object && (takes_object || strchr("\"}", text[1])); // else a pattern, {a,b}.csv
    is_json |= is_list && starts_with(text, "[{");
    if (((is_list && *text == '[') || is_object) &&
        json_parse_config(doc, text, strlen(text), k->name, is_json ? err : NULL) == 0)
        return 0;
    if (is_json) return err_context(err, "command line");
    if (!is_text && strcmp(text, "null") == 0)
        str_puts(&out, "null");
    else if (k->type == KEY_BOOL && word_bool(text, &yes))
        str_puts(&out, yes ? "true" : "false");
    else if (is_list)
        put_list(&out, text, numbers);
    else if (!is_number || !put_number(&out, text))
        json_quote(&out, text, strlen(text));
    return json_parse_config(doc, out.data, out.len, "command line", err);
}

int key_read_text(void *fields, const Key *k, const char *text, const char *where, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    return key_from_text(&doc, k, text, err) ? -1 : key_read(fields, k, json_root(doc), where, err);
}
