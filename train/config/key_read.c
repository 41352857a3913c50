// key_read: one value, from JSON or from text of the command line, into its field.
#include "keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "words.h"

// What is being read: a value for field k of fields.
typedef struct Reading {
    void *field;
    const Key *k;
    const char *where;
    Err *err;
} Reading;

// "FILE:LINE: key: 5; expected ..."
static int wrong(const Reading *r, const Json *v, const char *expected) {
    AUTO_STR StrBuf text = {0};
    json_print(&text, v);
    return err_input(r->err, "%s%s: %.60s; expected %s", r->where, r->k->name, text.data, expected);
}

static int not_yet(const Reading *r, const Json *v) {
    AUTO_STR StrBuf text = {0};
    json_print(&text, v);
    return err_input(r->err, "%s%s: %.60s is not in this version", r->where, r->k->name, text.data);
}

// "`before`one, two or three"
static int wrong_word(const Reading *r, const Json *v, const char *before) {
    AUTO_STR StrBuf expected = {0};
    str_puts(&expected, before);
    for (const EnumWord *w = r->k->words; w->word; w++)
        str_printf(&expected, "%s%s", w == r->k->words ? "" : w[1].word ? ", " : " or ", w->word);
    return wrong(r, v, expected.data);
}

// ---- numbers ----

static int check_range(const Reading *r, double x, const Json *v) {
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

static bool is_number(const Json *v) {
    return v->type == JSON_INT || v->type == JSON_FLOAT;
}

static int read_number(const Reading *r, const Json *v) {
    const Key *k = r->k;
    const char *kind = k->type == KEY_INT ? "an integer" : "a number";
    int word = k->type == KEY_INT && v->type == JSON_STRING ? words_index(k->words, v->str.data) : -1;
    if (word >= 0) {
        *(int64_t *)r->field = -1 - word;
        return 0;
    }
    if (!is_number(v)) return k->words ? wrong_word(r, v, "an integer or ") : wrong(r, v, kind);
    double x = v->number;
    if (check_range(r, x, v)) return -1;
    if (k->type == KEY_FLOAT) {
        *(double *)r->field = x;
        return 0;
    }
    if (x != floor(x) || fabs(x) > 0x1p53) return wrong(r, v, kind);
    *(int64_t *)r->field = (int64_t)x;
    return 0;
}

static int read_bytes(const Reading *r, const Json *v) {
    bool is_text = v->type == JSON_STRING || is_number(v); // numbers as they are written
    if (!is_text || !word_bytes(v->str.data, r->field)) return wrong(r, v, WORD_BYTES_EXPECTED);
    return 0;
}

// ---- text ----

// JSON true and false read as the words.
static const char *as_word(const Json *v) {
    if (v->type == JSON_TRUE || v->type == JSON_FALSE) return v->type == JSON_TRUE ? "true" : "false";
    return v->type == JSON_STRING ? v->str.data : NULL;
}

static int read_choice(const Reading *r, const Json *v) {
    const char *word = as_word(v);
    int index = word ? words_index(r->k->words, word) : -1;
    if (index < 0) return word && text_has_word(r->k->later, word) ? not_yet(r, v) : wrong_word(r, v, "");
    *(int *)r->field = index;
    return 0;
}

static int read_text(const Reading *r, const Json *v) {
    const Key *k = r->k;
    const char *word = as_word(v);
    bool is_text = v->type == JSON_STRING && (*word || k->type == KEY_TEXT);
    if (!is_text && !(word && words_index(k->words, word) >= 0))
        return k->words ? wrong_word(r, v, "a path, ") : wrong(r, v, k->expected ? k->expected : "a string");
    if (k->is_valid && !k->is_valid(word)) return wrong(r, v, k->expected);
    *(char **)r->field = mem_strdup(word);
    return 0;
}

// ---- lists ----

static int read_string(const Reading *r, const Json *e) {
    StrList *l = r->field;
    if (e->type != JSON_STRING || !e->str.len) return wrong(r, e, "a string");
    if (text_has_word(r->k->later, e->str.data)) return not_yet(r, e);
    if (r->k->words && words_index(r->k->words, e->str.data) < 0) return wrong_word(r, e, "");
    l->items[l->count++] = mem_strdup(e->str.data);
    return 0;
}

static int read_file(const Reading *r, const Json *e) {
    FileList *l = r->field;
    const Json *path = e->type == JSON_OBJECT ? json_get(e, "path") : e, *weight = json_given(e, "weight");
    size_t known = (path != NULL) + (json_get(e, "weight") != NULL);
    if (e->type == JSON_OBJECT && e->count != known) return wrong(r, e, "no keys but \"path\" and \"weight\"");
    if (!path || path->type != JSON_STRING || !path->str.len)
        return wrong(r, e, "a path or {\"path\": ..., \"weight\": ...}");
    if (weight && !(is_number(weight) && weight->number >= r->k->min && weight->number <= r->k->max))
        return wrong(r, e, "a weight above 0, at most 1000");
    l->weights[l->count] = weight ? weight->number : 1;
    l->items[l->count++] = mem_strdup(path->str.data);
    return 0;
}

static int read_integer(const Reading *r, const Json *e) {
    IntList *l = r->field;
    double x = e->number;
    if (!is_number(e) || x != floor(x)) return wrong(r, e, r->k->expected ? r->k->expected : "an integer");
    if (check_range(r, x, e)) return -1;
    l->items[l->count++] = (int64_t)x;
    return 0;
}

// A list, or one item without brackets.
static int read_list(const Reading *r, const Json *v) {
    bool single = v->type == JSON_STRING;
    const char *expected = "a string or a list of strings";
    int (*read)(const Reading *, const Json *) = read_string;
    size_t n = v->type == JSON_ARRAY ? v->count : 1;
    if (r->k->type == KEY_FILES) {
        single = single || v->type == JSON_OBJECT;
        expected = "a path or a list of paths";
        read = read_file;
        ((FileList *)r->field)->items = mem_calloc(n + 1, sizeof(char *));
        ((FileList *)r->field)->weights = mem_calloc(n + 1, sizeof(double));
    } else if (r->k->type == KEY_INTS) {
        single = is_number(v);
        expected = r->k->expected ? r->k->expected : "a list of integers";
        read = read_integer;
        if (n == 0) return wrong(r, v, "at least one integer");
        ((IntList *)r->field)->items = mem_calloc(n + 1, sizeof(int64_t));
    } else {
        ((StrList *)r->field)->items = mem_calloc(n + 1, sizeof(char *));
    }
    if (single) return read(r, v);
    if (v->type != JSON_ARRAY) return wrong(r, v, expected);
    for (size_t i = 0; i < n; i++)
        if (read(r, &v->items[i])) return -1;
    return 0;
}

static int add_text(const Reading *r, const Json *v) {
    StrList *l = r->field;
    char **items = mem_calloc(l->count + 1, sizeof *items);
    for (size_t i = 0; i < l->count; i++) items[i] = l->items[i];
    mem_free(l->items);
    l->items = items;
    items[l->count++] = mem_strdup(v->str.data);
    return 0;
}

// ---- the value ----

int key_read(void *fields, const Key *k, const Json *v, const char *where, Err *err) {
    Reading r = {(char *)fields + k->offset, k, where, err};
    if (k->later && strcmp(k->later, "*") == 0 && v->type != JSON_NULL) return not_yet(&r, v);
    if (k->type == KEY_TEXTS) return add_text(&r, v);
    key_clear(fields, k);
    if (v->type == JSON_NULL) return 0;
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
    if (v->type != JSON_TRUE && v->type != JSON_FALSE) return wrong(&r, v, "true or false");
    *(bool *)r.field = v->type == JSON_TRUE;
    return 0;
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
    bool is_list = k->type == KEY_FILES || k->type == KEY_INTS || k->type == KEY_STRINGS, yes;
    bool is_number = k->type == KEY_INT || k->type == KEY_FLOAT, is_text = k->type == KEY_TEXT || k->type == KEY_TEXTS;
    if (is_list && (*text == '[' || (k->type == KEY_FILES && *text == '{')) &&
        json_parse_config(doc, text, strlen(text), "", NULL) == 0)
        return 0;
    if (!is_text && strcmp(text, "null") == 0)
        str_puts(&out, "null");
    else if (k->type == KEY_BOOL && word_bool(text, &yes))
        str_puts(&out, yes ? "true" : "false");
    else if (is_list)
        put_list(&out, text, k->type == KEY_INTS);
    else if (!is_number || !put_number(&out, text))
        json_quote(&out, text, strlen(text));
    return json_parse_config(doc, out.data, out.len, "command line", err);
}

int key_read_text(void *fields, const Key *k, const char *text, const char *where, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    return key_from_text(&doc, k, text, err) ? -1 : key_read(fields, k, json_root(doc), where, err);
}
