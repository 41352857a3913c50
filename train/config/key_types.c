// key_types: one row for each KeyType: how its values are read, written, described in JSON Schema and freed.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "keys_internal.h"
#include "path.h"
#include "words.h"

// "FILE:LINE: key: 5; expected ..."
static int refuse(const Reading *r, const Json *v, const char *why, const char *expected) {
    AUTO_STR StrBuf text = {0};
    json_print(&text, v);
    return err_input(r->err, "%s%s: %.60s%s%s", r->where, r->k->name, text.data, why, expected);
}

int key_wrong(const Reading *r, const Json *v, const char *expected) { return refuse(r, v, "; expected ", expected); }

// "`before`one, two or three"
static int wrong_word(const Reading *r, const Json *v, const char *before) {
    AUTO_STR StrBuf expected = {0};
    str_puts(&expected, before);
    for (const EnumWord *w = r->k->words; w->word; w++)
        str_printf(&expected, "%s%s", w == r->k->words ? "" : w[1].word ? ", " : " or ", w->word);
    return key_wrong(r, v, expected.data);
}

static bool is_bool(const Json *v) { return v->type == JSON_TRUE || v->type == JSON_FALSE; }

// true and false read as the words; YAML's `no` as the word that it is written as, where the key knows that.
static const char *as_word(const Key *k, const Json *v) {
    if (is_bool(v) && v->str.len && words_index(k->words, v->str.data) >= 0) return v->str.data;
    return v->type == JSON_TRUE     ? "true"
           : v->type == JSON_FALSE  ? "false"
           : v->type == JSON_STRING ? v->str.data
                                    : NULL;
}

static cJSON *word_json(const char *word) {
    bool yes = strcmp(word, "true") == 0;
    return yes || strcmp(word, "false") == 0 ? cJSON_CreateBool(yes) : cJSON_CreateString(word);
}

void schema_add_types(cJSON *schema, const char *names) {
    char name[16];
    cJSON *types = cJSON_AddArrayToObject(schema, "type");
    while (text_next_word(&names, name, sizeof name)) cJSON_AddItemToArray(types, cJSON_CreateString(name));
}

// The words as values; "true" and "false" also as JSON's own.
static cJSON *add_words(cJSON *schema, const Key *k) {
    cJSON *list = cJSON_AddArrayToObject(schema, "enum");
    for (const EnumWord *w = k->words; w->word; w++) {
        cJSON *as_bool = word_json(w->word);
        cJSON_AddItemToArray(list, cJSON_CreateString(w->word));
        if (cJSON_IsBool(as_bool))
            cJSON_AddItemToArray(list, as_bool);
        else
            cJSON_Delete(as_bool);
    }
    char pair[64];
    for (const char *pairs = k->other_words; pairs && text_next_word(&pairs, pair, sizeof pair);) {
        pair[strcspn(pair, "=")] = 0;
        cJSON_AddItemToArray(list, cJSON_CreateString(pair));
    }
    return list;
}

// ---- numbers ----

static int check_range(const Reading *r, double x, const Json *v) {
    const Key *k = r->k;
    bool any = k->min == 0 && k->max == 0;
    char expected[80];
    if (isfinite(x) && (any || (x >= k->min && x <= k->max))) return 0;
    if (any) return key_wrong(r, v, "a finite number");
    if (k->min == ABOVE_0)
        snprintf(expected, sizeof expected, "above 0, at most %g", k->max);
    else
        snprintf(expected, sizeof expected, "%.10g to %.16g", k->min, k->max);
    return key_wrong(r, v, expected);
}

static void add_range(cJSON *schema, const Key *k) {
    if (k->min == 0 && k->max == 0) return;
    bool above = k->min == ABOVE_0;
    cJSON_AddNumberToObject(schema, above ? "exclusiveMinimum" : "minimum", above ? 0 : k->min);
    cJSON_AddNumberToObject(schema, "maximum", k->max);
}

// null where 0 means that it is not set.
static cJSON *number_json(const Key *k, double x) {
    return !k->standard && x == 0 ? cJSON_CreateNull() : cJSON_CreateNumber(x);
}

static int read_int(const Reading *r, const Json *v) {
    const Key *k = r->k;
    int word = v->type == JSON_STRING ? words_index(k->words, v->str.data) : -1;
    if (word < 0 && !json_is_number(v))
        return k->words ? wrong_word(r, v, "an integer or ") : key_wrong(r, v, "an integer");
    if (word < 0 && check_range(r, v->number, v)) return -1;
    if (word < 0 && (v->number != floor(v->number) || fabs(v->number) > 0x1p53)) return key_wrong(r, v, "an integer");
    *(int64_t *)r->field = word < 0 ? (int64_t)v->number : -1 - word;
    return 0;
}

static cJSON *write_int(const Key *k, const void *field, bool absolute_paths) {
    int64_t n = *(const int64_t *)field;
    return k->words && n < 0 ? word_json(k->words[-1 - n].word) : number_json(k, (double)n);
}

static void schema_int(cJSON *schema, const Key *k) {
    schema_add_types(schema, k->words ? "integer string null" : "integer null");
    add_range(schema, k);
    if (!k->words) return;
    AUTO_STR StrBuf pattern = {0}; // "^(all)$"
    for (const EnumWord *w = k->words; w->word; w++) str_printf(&pattern, "%s%s", w == k->words ? "^(" : "|", w->word);
    str_puts(&pattern, ")$");
    cJSON_AddStringToObject(schema, "pattern", pattern.data);
}

static int read_float(const Reading *r, const Json *v) {
    if (!json_is_number(v)) return key_wrong(r, v, "a number");
    *(double *)r->field = v->number;
    return check_range(r, v->number, v);
}

static cJSON *write_float(const Key *k, const void *field, bool absolute_paths) {
    return number_json(k, *(const double *)field);
}

void schema_float(cJSON *schema, const Key *k) {
    schema_add_types(schema, "number null");
    add_range(schema, k);
}

static int read_bytes(const Reading *r, const Json *v) {
    bool is_text = v->type == JSON_STRING || json_is_number(v); // numbers as they are written
    return is_text && word_bytes(v->str.data, r->field) ? 0 : key_wrong(r, v, WORD_BYTES_EXPECTED);
}

static void schema_bytes(cJSON *schema, const Key *k) {
    schema_add_types(schema, "number string null");
    cJSON_AddNumberToObject(schema, "minimum", 0x1p20); // as word_bytes
    cJSON_AddNumberToObject(schema, "maximum", 0x1p60);
    cJSON_AddStringToObject(schema, "pattern", "^[-+0-9.eE]+ *([KMG](i?B)?|Ti?B|B)?$");
}

static int read_bool(const Reading *r, const Json *v) {
    *(bool *)r->field = v->type == JSON_TRUE;
    return is_bool(v) ? 0 : key_wrong(r, v, "true or false");
}

static cJSON *write_bool(const Key *k, const void *field, bool absolute_paths) {
    return cJSON_CreateBool(*(const bool *)field);
}

static void schema_bool(cJSON *schema, const Key *k) { schema_add_types(schema, "boolean null"); }

// ---- text ----

// The index of a word, also of one that other_words names; -1: none.
static int choice_index(const Key *k, const char *word) {
    char pair[64];
    size_t n = strlen(word);
    for (const char *pairs = k->other_words; pairs && text_next_word(&pairs, pair, sizeof pair);)
        if (strncmp(pair, word, n) == 0 && pair[n] == '=') return words_index(k->words, pair + n + 1);
    return words_index(k->words, word);
}

static int read_choice(const Reading *r, const Json *v) {
    const char *word = as_word(r->k, v);
    int index = word ? choice_index(r->k, word) : -1;
    if (index < 0) return wrong_word(r, v, "");
    *(int *)r->field = index;
    return 0;
}

static cJSON *write_choice(const Key *k, const void *field, bool absolute_paths) {
    return word_json(k->words[*(const int *)field].word);
}

static void schema_choice(cJSON *schema, const Key *k) {
    cJSON_AddItemToArray(add_words(schema, k), cJSON_CreateNull());
}

static int read_text(const Reading *r, const Json *v) {
    const Key *k = r->k;
    const char *word = as_word(k, v);
    bool is_text = v->type == JSON_STRING && (*word || k->type == KEY_TEXT);
    if (!is_text && !(word && words_index(k->words, word) >= 0))
        return k->words ? wrong_word(r, v, "a path, ") : key_wrong(r, v, k->expected ? k->expected : "a string");
    if (k->is_valid && !k->is_valid(word)) return key_wrong(r, v, k->expected);
    *(char **)r->field = mem_strdup(word);
    return 0;
}

cJSON *key_path_json(const Key *k, const char *path, bool absolute) {
    bool is_path = k->type == KEY_PATH || k->type == KEY_FILES;
    AUTO_FREE char *full = absolute && is_path && words_index(k->words, path) < 0 ? path_absolute_name(path) : NULL;
    return cJSON_CreateString(full ? full : path);
}

static cJSON *write_text(const Key *k, const void *field, bool absolute_paths) {
    const char *text = *(char *const *)field;
    return text ? key_path_json(k, text, absolute_paths) : cJSON_CreateNull();
}

static void schema_text(cJSON *schema, const Key *k) {
    schema_add_types(schema, words_index(k->words, "true") >= 0 ? "string boolean null" : "string null");
    cJSON_AddNumberToObject(schema, "minLength", 1);
}

static void free_text(void *field) { mem_free(*(char **)field); }

// ---- lists ----

void texts_add(char ***items, size_t *count, const char *text) {
    *items = mem_realloc(*items, *count + 1, sizeof **items);
    (*items)[(*count)++] = mem_strdup(text);
}

// A list, or one item without brackets.
int key_read_list(const Reading *r, const Json *v, int (*read)(const Reading *, const Json *), bool single,
                  const char *expected) {
    if (single) return read(r, v);
    if (v->type != JSON_ARRAY) return key_wrong(r, v, expected);
    for (size_t i = 0; i < v->count; i++)
        if (read(r, &v->items[i])) return -1;
    return 0;
}

// A list, or one item without brackets, or null.
void schema_add_list(cJSON *schema, const Key *k, void (*item)(cJSON *schema, const Key *k)) {
    cJSON *any = cJSON_AddArrayToObject(schema, "anyOf"), *forms[3]; // an item, a list, null
    for (int i = 0; i < 3; i++) cJSON_AddItemToArray(any, forms[i] = cJSON_CreateObject());
    item(forms[0], k);
    schema_add_types(forms[1], "array");
    if (k->type == KEY_INTS || k->type == KEY_FLOATS) cJSON_AddNumberToObject(forms[1], "minItems", 1);
    item(cJSON_AddObjectToObject(forms[1], "items"), k);
    schema_add_types(forms[2], "null");
}

static int read_string(const Reading *r, const Json *e) {
    StrList *l = r->field;
    if (e->type != JSON_STRING || !e->str.len) return key_wrong(r, e, "a string");
    if (r->k->words && words_index(r->k->words, e->str.data) < 0) return wrong_word(r, e, "");
    texts_add(&l->items, &l->count, e->str.data);
    return 0;
}

static int read_strings(const Reading *r, const Json *v) {
    return key_read_list(r, v, read_string, v->type == JSON_STRING, "a string or a list of strings");
}

static cJSON *write_strings(const Key *k, const void *field, bool absolute_paths) {
    const StrList *l = field;
    return l->count ? cJSON_CreateStringArray((const char *const *)l->items, (int)l->count) : cJSON_CreateArray();
}

static void schema_string(cJSON *schema, const Key *k) {
    if (k->words) {
        add_words(schema, k);
        return;
    }
    schema_add_types(schema, "string");
    cJSON_AddNumberToObject(schema, "minLength", 1);
}

static void schema_strings(cJSON *schema, const Key *k) { schema_add_list(schema, k, schema_string); }

static void free_strings(void *field) {
    StrList *l = field;
    for (size_t i = 0; i < l->count; i++) mem_free(l->items[i]);
    mem_free(l->items);
}

// Of the command line, where each use of the option adds one.
static int read_texts(const Reading *r, const Json *v) {
    StrList *l = r->field;
    texts_add(&l->items, &l->count, v->str.data);
    return 0;
}

static int read_integer(const Reading *r, const Json *e) {
    IntList *l = r->field;
    if (!json_is_number(e) || e->number != floor(e->number))
        return key_wrong(r, e, r->k->expected ? r->k->expected : "an integer");
    if (check_range(r, e->number, e)) return -1;
    l->items = mem_realloc(l->items, l->count + 1, sizeof *l->items);
    l->items[l->count++] = (int64_t)e->number;
    return 0;
}

static int read_ints(const Reading *r, const Json *v) {
    if (v->type == JSON_ARRAY && !v->count) return key_wrong(r, v, "at least one integer");
    return key_read_list(r, v, read_integer, json_is_number(v), r->k->expected ? r->k->expected : "a list of integers");
}

static cJSON *write_ints(const Key *k, const void *field, bool absolute_paths) {
    const IntList *l = field;
    if (!l->items) return cJSON_CreateNull();
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)l->items[i]));
    return list;
}

static void schema_integer(cJSON *schema, const Key *k) {
    schema_add_types(schema, "integer");
    add_range(schema, k);
}

static void schema_ints(cJSON *schema, const Key *k) { schema_add_list(schema, k, schema_integer); }

static int read_number(const Reading *r, const Json *e) {
    FloatList *l = r->field;
    if (!json_is_number(e)) return key_wrong(r, e, "a number");
    if (check_range(r, e->number, e)) return -1;
    l->items = mem_realloc(l->items, l->count + 1, sizeof *l->items);
    l->items[l->count++] = e->number;
    return 0;
}

static int read_floats(const Reading *r, const Json *v) {
    if (v->type == JSON_ARRAY && !v->count) return key_wrong(r, v, "at least one number");
    return key_read_list(r, v, read_number, json_is_number(v), "a list of numbers");
}

static cJSON *write_floats(const Key *k, const void *field, bool absolute_paths) {
    const FloatList *l = field;
    if (!l->items) return cJSON_CreateNull();
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) cJSON_AddItemToArray(list, write_float(k, &l->items[i], absolute_paths));
    return list;
}

static void schema_floats(cJSON *schema, const Key *k) { schema_add_list(schema, k, schema_float); }

static void free_floats(void *field) { mem_free(((FloatList *)field)->items); }

static void free_ints(void *field) { mem_free(((IntList *)field)->items); }

static void add_objects(ObjectList *l, const Json *items, size_t count) {
    l->lines = mem_alloc(count, sizeof *l->lines);
    for (size_t i = 0; i < count; i++) {
        AUTO_STR StrBuf text = {0};
        json_print(&text, &items[i]);
        l->lines[i] = (int)items[i].line;
        texts_add(&l->items, &l->count, text.data);
    }
}

static int read_objects(const Reading *r, const Json *v) {
    bool fits = v->type == JSON_ARRAY && v->count > 0;
    for (size_t i = 0; fits && i < v->count; i++) fits = v->items[i].type == JSON_OBJECT;
    if (!fits) return key_wrong(r, v, r->k->expected);
    add_objects(r->field, v->items, v->count);
    return 0;
}

static int read_object(const Reading *r, const Json *v) {
    if (v->type != JSON_OBJECT) return key_wrong(r, v, r->k->expected);
    if (v->count) add_objects(r->field, v, 1); // {}: as without it
    return 0;
}

static cJSON *write_object(const Key *k, const void *field, bool absolute_paths) {
    const ObjectList *l = field;
    return l->count ? cJSON_Parse(l->items[0]) : cJSON_CreateNull();
}

static void schema_object(cJSON *schema, const Key *k) { schema_add_types(schema, "object null"); }

static cJSON *write_objects(const Key *k, const void *field, bool absolute_paths) {
    const ObjectList *l = field;
    if (!l->count) return cJSON_CreateNull();
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) cJSON_AddItemToArray(list, cJSON_Parse(l->items[i]));
    return list;
}

static void schema_objects(cJSON *schema, const Key *k) {
    schema_add_types(schema, "array null");
    schema_add_types(cJSON_AddObjectToObject(schema, "items"), "object");
    cJSON_AddNumberToObject(schema, "minItems", 1);
}

static void free_objects(void *field) {
    ObjectList *l = field;
    for (size_t i = 0; i < l->count; i++) mem_free(l->items[i]);
    mem_free(l->items);
    mem_free(l->lines);
}

// clang-format off
const KeyForm key_forms[] = {
    [KEY_STRING]  = {"text",             sizeof(char *),   read_text,    write_text,    schema_text,    free_text},
    [KEY_PATH]    = {"path",             sizeof(char *),   read_text,    write_text,    schema_text,    free_text},
    [KEY_TEXT]    = {"text",             sizeof(char *),   read_text,    write_text,    schema_text,    free_text},
    [KEY_TEXTS]   = {"repeatable",       sizeof(StrList),  read_texts,   write_strings, schema_text,    free_strings},
    [KEY_INT]     = {"integer",          sizeof(int64_t),  read_int,     write_int,     schema_int,     NULL},
    [KEY_FLOAT]   = {"number",           sizeof(double),   read_float,   write_float,   schema_float,   NULL},
    [KEY_BOOL]    = {"true or false",    sizeof(bool),     read_bool,    write_bool,    schema_bool,    NULL},
    [KEY_CHOICE]  = {"one of",           sizeof(int),      read_choice,  write_choice,  schema_choice,  NULL},
    [KEY_BYTES]   = {"bytes",            sizeof(int64_t),  read_bytes,   write_int,     schema_bytes,   NULL},
    [KEY_STRINGS] = {"list",             sizeof(StrList),  read_strings, write_strings, schema_strings, free_strings},
    [KEY_FILES]   = {"list",             sizeof(FileList), key_read_files, key_write_files, key_schema_files,
                     key_free_files},
    [KEY_COLUMNS] = {"object",           sizeof(FileRule), key_read_columns, key_write_columns, key_schema_columns,
                     key_free_columns},
    [KEY_INTS]    = {"list of integers", sizeof(IntList),  read_ints,    write_ints,    schema_ints,    free_ints},
    [KEY_FLOATS]  = {"list of numbers",  sizeof(FloatList), read_floats, write_floats,  schema_floats,  free_floats},
    [KEY_OBJECTS] = {"list of objects",  sizeof(ObjectList), read_objects, write_objects, schema_objects, free_objects},
    [KEY_OBJECT]  = {"object",           sizeof(ObjectList), read_object,  write_object,  schema_object,  free_objects},
};
