// key_read: one value, from JSON or from text of the command line, into its field.
#include "keys.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "words.h"

// What is being read: a value for field k of fields.
typedef struct Reading {
    void *field;
    const Key *k;
    const char *where;
    Err *err;
} Reading;

// "FILE:LINE: key: 5; expected ..."
static int wrong(const Reading *r, const cJSON *v, const char *expected) {
    char *text = cJSON_PrintUnformatted(v);
    bool too_large = cJSON_IsNumber(v) && !isfinite(v->valuedouble);
    err_input(r->err, "%s%s: %.60s; expected %s", r->where, r->k->name,
              too_large ? "a number too large for a double" : text, expected);
    cJSON_free(text);
    return -1;
}

static int not_yet(const Reading *r, const cJSON *v) {
    char *text = cJSON_PrintUnformatted(v);
    err_input(r->err, "%s%s: %.60s is not in this version", r->where, r->k->name, text);
    cJSON_free(text);
    return -1;
}

// "`before`one, two or three"
static int wrong_word(const Reading *r, const cJSON *v, const char *before) {
    StrBuf expected = {0};
    str_puts(&expected, before);
    for (const EnumWord *w = r->k->words; w->word; w++)
        str_printf(&expected, "%s%s", w == r->k->words ? "" : w[1].word ? ", " : " or ", w->word);
    wrong(r, v, expected.data);
    str_clear(&expected);
    return -1;
}

// ---- numbers ----

static int check_range(const Reading *r, double x, const cJSON *v) {
    const Key *k = r->k;
    bool any = k->min == 0 && k->max == 0;
    char expected[80];
    if (isfinite(x) && (any || (x >= k->min && x <= k->max))) return 0;
    if (any)
        snprintf(expected, sizeof expected, "a finite number");
    else if (k->min == ABOVE_0)
        snprintf(expected, sizeof expected, "above 0, at most %g", k->max);
    else
        snprintf(expected, sizeof expected, "%.10g to %.16g", k->min, k->max);
    return wrong(r, v, expected);
}

static int read_number(const Reading *r, const cJSON *v) {
    const Key *k = r->k;
    const char *kind = k->type == KEY_INT ? "an integer" : "a number";
    int word = k->type == KEY_INT && cJSON_IsString(v) ? words_index(k->words, v->valuestring) : -1;
    if (word >= 0) {
        *(int64_t *)r->field = -1 - word;
        return 0;
    }
    if (!cJSON_IsNumber(v)) return k->words ? wrong_word(r, v, "an integer or ") : wrong(r, v, kind);
    double x = v->valuedouble;
    if (check_range(r, x, v)) return -1;
    if (k->type == KEY_FLOAT) {
        *(double *)r->field = x;
        return 0;
    }
    if (x != floor(x) || fabs(x) > 0x1p53) return wrong(r, v, kind);
    *(int64_t *)r->field = (int64_t)x;
    return 0;
}

static int read_bytes(const Reading *r, const cJSON *v) {
    char number[32], *text = cJSON_GetStringValue(v);
    if (cJSON_IsNumber(v)) {
        snprintf(number, sizeof number, "%.17g", v->valuedouble);
        text = number;
    }
    if (!text || !word_bytes(text, r->field)) return wrong(r, v, WORD_BYTES_EXPECTED);
    return 0;
}

// ---- text ----

// JSON true and false read as the words.
static const char *as_word(const cJSON *v) {
    if (cJSON_IsBool(v)) return cJSON_IsTrue(v) ? "true" : "false";
    return cJSON_GetStringValue(v);
}

static int read_choice(const Reading *r, const cJSON *v) {
    const char *word = as_word(v);
    int index = word ? words_index(r->k->words, word) : -1;
    if (index < 0) return word && text_has_word(r->k->later, word) ? not_yet(r, v) : wrong_word(r, v, "");
    *(int *)r->field = index;
    return 0;
}

static int read_text(const Reading *r, const cJSON *v) {
    const Key *k = r->k;
    const char *word = as_word(v);
    bool is_text = cJSON_IsString(v) && (*word || k->type == KEY_TEXT);
    if (!is_text && !(word && words_index(k->words, word) >= 0))
        return k->words ? wrong_word(r, v, "a path, ") : wrong(r, v, k->expected ? k->expected : "a string");
    if (k->is_valid && !k->is_valid(word)) return wrong(r, v, k->expected);
    *(char **)r->field = mem_strdup(word);
    return 0;
}

// ---- lists ----

static int read_string(const Reading *r, const cJSON *e) {
    StrList *l = r->field;
    if (!cJSON_IsString(e) || !*e->valuestring) return wrong(r, e, "a string");
    if (text_has_word(r->k->later, e->valuestring)) return not_yet(r, e);
    if (r->k->words && words_index(r->k->words, e->valuestring) < 0) return wrong_word(r, e, "");
    l->items[l->count++] = mem_strdup(e->valuestring);
    return 0;
}

static int read_file(const Reading *r, const cJSON *e) {
    FileList *l = r->field;
    const cJSON *path = cJSON_IsObject(e) ? cJSON_GetObjectItemCaseSensitive(e, "path") : e, *weight = NULL;
    for (const cJSON *m = cJSON_IsObject(e) ? e->child : NULL; m; m = m->next) {
        bool is_weight = strcmp(m->string, "weight") == 0;
        if ((!is_weight && m != path) || (is_weight && weight))
            return wrong(r, e, "no keys but one \"path\" and one \"weight\"");
        if (is_weight) weight = m;
    }
    if (!cJSON_IsString(path) || !*path->valuestring) return wrong(r, e, "a path or {\"path\": ..., \"weight\": ...}");
    if (cJSON_IsNull(weight)) weight = NULL;
    if (weight && !(cJSON_IsNumber(weight) && weight->valuedouble >= r->k->min && weight->valuedouble <= r->k->max))
        return wrong(r, e, "a weight above 0, at most 1000");
    l->weights[l->count] = weight ? weight->valuedouble : 1;
    l->items[l->count++] = mem_strdup(path->valuestring);
    return 0;
}

static int read_integer(const Reading *r, const cJSON *e) {
    IntList *l = r->field;
    double x = e->valuedouble;
    if (!cJSON_IsNumber(e) || x != floor(x)) return wrong(r, e, r->k->expected ? r->k->expected : "an integer");
    if (check_range(r, x, e)) return -1;
    l->items[l->count++] = (int64_t)x;
    return 0;
}

// A list, or one item without brackets.
static int read_list(const Reading *r, const cJSON *v) {
    bool single = cJSON_IsString(v);
    const char *expected = "a string or a list of strings";
    int (*read)(const Reading *, const cJSON *) = read_string;
    size_t n = cJSON_IsArray(v) ? (size_t)cJSON_GetArraySize(v) : 1;
    if (r->k->type == KEY_FILES) {
        single = single || cJSON_IsObject(v);
        expected = "a path or a list of paths";
        read = read_file;
        ((FileList *)r->field)->items = mem_calloc(n + 1, sizeof(char *));
        ((FileList *)r->field)->weights = mem_calloc(n + 1, sizeof(double));
    } else if (r->k->type == KEY_INTS) {
        single = cJSON_IsNumber(v);
        expected = r->k->expected ? r->k->expected : "a list of integers";
        read = read_integer;
        if (n == 0) return wrong(r, v, "at least one integer");
        ((IntList *)r->field)->items = mem_calloc(n + 1, sizeof(int64_t));
    } else {
        ((StrList *)r->field)->items = mem_calloc(n + 1, sizeof(char *));
    }
    if (single) return read(r, v);
    if (!cJSON_IsArray(v)) return wrong(r, v, expected);
    for (const cJSON *e = v->child; e; e = e->next)
        if (read(r, e)) return -1;
    return 0;
}

static int add_text(const Reading *r, const cJSON *v) {
    StrList *l = r->field;
    char **items = mem_calloc(l->count + 1, sizeof *items);
    for (size_t i = 0; i < l->count; i++) items[i] = l->items[i];
    mem_free(l->items);
    l->items = items;
    items[l->count++] = mem_strdup(v->valuestring);
    return 0;
}

// ---- the value ----

static bool is_standard(const Key *k, const cJSON *v) {
    cJSON *standard = cJSON_Parse(k->standard ? k->standard : "null");
    bool same = cJSON_Compare(standard, v, true);
    cJSON_Delete(standard);
    return same;
}

int key_read(void *fields, const Key *k, const cJSON *v, const char *where, Err *err) {
    Reading r = {(char *)fields + k->offset, k, where, err};
    if (k->later && strcmp(k->later, "*") == 0 && !is_standard(k, v)) return not_yet(&r, v);
    if (k->type == KEY_TEXTS) return add_text(&r, v);
    key_clear(fields, k);
    if (cJSON_IsNull(v)) return 0;
    switch (k->type) {
    case KEY_STRING:
    case KEY_PATH:
    case KEY_TEXT:
        return read_text(&r, v);
    case KEY_INT:
    case KEY_FLOAT:
        return read_number(&r, v);
    case KEY_CHOICE:
        return read_choice(&r, v);
    case KEY_BYTES:
        return read_bytes(&r, v);
    case KEY_STRINGS:
    case KEY_FILES:
    case KEY_INTS:
        return read_list(&r, v);
    case KEY_BOOL:
    case KEY_TEXTS:
        break;
    }
    if (!cJSON_IsBool(v)) return wrong(&r, v, "true or false");
    *(bool *)r.field = cJSON_IsTrue(v);
    return 0;
}

// ---- text of the command line to JSON ----

// A whole number or fraction in C's form; NULL where text is none.
static cJSON *number_of(const char *text) {
    char *end;
    double x = strtod(text, &end);
    end += strspn(end, " ");
    return end == text || *end || isnan(x) ? NULL : cJSON_CreateNumber(x);
}

static cJSON *split_at_commas(const char *text, bool numbers) {
    cJSON *list = cJSON_CreateArray();
    while (*text) {
        size_t n = strcspn(text, ",");
        char *part = mem_strndup(text, n);
        cJSON *number = numbers ? number_of(part) : NULL;
        cJSON_AddItemToArray(list, number ? number : cJSON_CreateString(part));
        mem_free(part);
        text += n + (text[n] == ',');
    }
    return list;
}

cJSON *key_from_text(const Key *k, const char *text) {
    bool yes;
    cJSON *v = NULL;
    switch (k->type) {
    case KEY_TEXT:
    case KEY_TEXTS:
        return cJSON_CreateString(text);
    case KEY_BOOL:
        if (word_bool(text, &yes)) return cJSON_CreateBool(yes);
        break;
    case KEY_INT:
    case KEY_FLOAT:
        v = number_of(text);
        break;
    case KEY_STRINGS:
    case KEY_INTS:
    case KEY_FILES:
        if (strcmp(text, "null") == 0) break;
        if (*text == '[' || (k->type == KEY_FILES && *text == '{')) v = cJSON_ParseWithOpts(text, NULL, true);
        return v ? v : split_at_commas(text, k->type == KEY_INTS);
    case KEY_STRING:
    case KEY_PATH:
    case KEY_CHOICE:
    case KEY_BYTES:
        break;
    }
    if (v) return v;
    return strcmp(text, "null") == 0 ? cJSON_CreateNull() : cJSON_CreateString(text);
}

int key_read_text(void *fields, const Key *k, const char *text, const char *where, Err *err) {
    cJSON *v = key_from_text(k, text);
    int rc = key_read(fields, k, v, where, err);
    cJSON_Delete(v);
    return rc;
}
