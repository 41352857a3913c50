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

static int wrong(const Reading *r, const Json *v, const char *expected) {
    return refuse(r, v, "; expected ", expected);
}

int key_refuse_later(const Reading *r, const Json *v) { return refuse(r, v, " is not in this version", ""); }

// "`before`one, two or three"
static int wrong_word(const Reading *r, const Json *v, const char *before) {
    AUTO_STR StrBuf expected = {0};
    str_puts(&expected, before);
    for (const EnumWord *w = r->k->words; w->word; w++)
        str_printf(&expected, "%s%s", w == r->k->words ? "" : w[1].word ? ", " : " or ", w->word);
    return wrong(r, v, expected.data);
}

static bool is_number(const Json *v) { return v->type == JSON_INT || v->type == JSON_FLOAT; }

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
    return list;
}

// ---- numbers ----

static int check_range(const Reading *r, double x, const Json *v) {
    const Key *k = r->k;
    bool any = k->min == 0 && k->max == 0;
    char expected[80];
    if (isfinite(x) && (any || (x >= k->min && x <= k->max))) return 0;
    if (any) return wrong(r, v, "a finite number");
    if (k->min == ABOVE_0)
        snprintf(expected, sizeof expected, "above 0, at most %g", k->max);
    else
        snprintf(expected, sizeof expected, "%.10g to %.16g", k->min, k->max);
    return wrong(r, v, expected);
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
    if (word < 0 && !is_number(v)) return k->words ? wrong_word(r, v, "an integer or ") : wrong(r, v, "an integer");
    if (word < 0 && check_range(r, v->number, v)) return -1;
    if (word < 0 && (v->number != floor(v->number) || fabs(v->number) > 0x1p53)) return wrong(r, v, "an integer");
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
    if (!is_number(v)) return wrong(r, v, "a number");
    *(double *)r->field = v->number;
    return check_range(r, v->number, v);
}

static cJSON *write_float(const Key *k, const void *field, bool absolute_paths) {
    return number_json(k, *(const double *)field);
}

static void schema_float(cJSON *schema, const Key *k) {
    schema_add_types(schema, "number null");
    add_range(schema, k);
}

static int read_bytes(const Reading *r, const Json *v) {
    bool is_text = v->type == JSON_STRING || is_number(v); // numbers as they are written
    return is_text && word_bytes(v->str.data, r->field) ? 0 : wrong(r, v, WORD_BYTES_EXPECTED);
}

static void schema_bytes(cJSON *schema, const Key *k) {
    schema_add_types(schema, "number string null");
    cJSON_AddNumberToObject(schema, "minimum", 0x1p20); // as word_bytes
    cJSON_AddNumberToObject(schema, "maximum", 0x1p60);
    cJSON_AddStringToObject(schema, "pattern", "^[-+0-9.eE]+ *([KMG](i?B)?|Ti?B|B)?$");
}

static int read_bool(const Reading *r, const Json *v) {
    *(bool *)r->field = v->type == JSON_TRUE;
    return is_bool(v) ? 0 : wrong(r, v, "true or false");
}

static cJSON *write_bool(const Key *k, const void *field, bool absolute_paths) {
    return cJSON_CreateBool(*(const bool *)field);
}

static void schema_bool(cJSON *schema, const Key *k) { schema_add_types(schema, "boolean null"); }

// ---- text ----

static int read_choice(const Reading *r, const Json *v) {
    const char *word = as_word(r->k, v);
    int index = word ? words_index(r->k->words, word) : -1;
    if (index < 0) return word && text_has_word(r->k->later, word) ? key_refuse_later(r, v) : wrong_word(r, v, "");
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
        return k->words ? wrong_word(r, v, "a path, ") : wrong(r, v, k->expected ? k->expected : "a string");
    if (k->is_valid && !k->is_valid(word)) return wrong(r, v, k->expected);
    *(char **)r->field = mem_strdup(word);
    return 0;
}

static cJSON *path_json(const Key *k, const char *path, bool absolute) {
    bool is_path = k->type == KEY_PATH || k->type == KEY_FILES;
    AUTO_FREE char *full = absolute && is_path && words_index(k->words, path) < 0 ? path_absolute(path) : NULL;
    return cJSON_CreateString(full ? full : path);
}

static cJSON *write_text(const Key *k, const void *field, bool absolute_paths) {
    const char *text = *(char *const *)field;
    return text ? path_json(k, text, absolute_paths) : cJSON_CreateNull();
}

static void schema_text(cJSON *schema, const Key *k) {
    schema_add_types(schema, k->words ? "string boolean null" : "string null");
    cJSON_AddNumberToObject(schema, "minLength", 1);
}

static void free_text(void *field) { mem_free(*(char **)field); }

// ---- lists ----

static void add_text(char ***items, size_t *count, const char *text) {
    *items = mem_realloc(*items, *count + 1, sizeof **items);
    (*items)[(*count)++] = mem_strdup(text);
}

// A list, or one item without brackets.
static int read_list(const Reading *r, const Json *v, int (*read)(const Reading *, const Json *), bool single,
                     const char *expected) {
    if (single) return read(r, v);
    if (v->type != JSON_ARRAY) return wrong(r, v, expected);
    for (size_t i = 0; i < v->count; i++)
        if (read(r, &v->items[i])) return -1;
    return 0;
}

// A list, or one item without brackets, or null.
static void add_list(cJSON *schema, const Key *k, void (*item)(cJSON *schema, const Key *k)) {
    cJSON *any = cJSON_AddArrayToObject(schema, "anyOf"), *forms[3]; // an item, a list, null
    for (int i = 0; i < 3; i++) cJSON_AddItemToArray(any, forms[i] = cJSON_CreateObject());
    item(forms[0], k);
    schema_add_types(forms[1], "array");
    if (k->type == KEY_INTS) cJSON_AddNumberToObject(forms[1], "minItems", 1);
    item(cJSON_AddObjectToObject(forms[1], "items"), k);
    schema_add_types(forms[2], "null");
}

static int read_string(const Reading *r, const Json *e) {
    StrList *l = r->field;
    if (e->type != JSON_STRING || !e->str.len) return wrong(r, e, "a string");
    if (text_has_word(r->k->later, e->str.data)) return key_refuse_later(r, e);
    if (r->k->words && words_index(r->k->words, e->str.data) < 0) return wrong_word(r, e, "");
    add_text(&l->items, &l->count, e->str.data);
    return 0;
}

static int read_strings(const Reading *r, const Json *v) {
    return read_list(r, v, read_string, v->type == JSON_STRING, "a string or a list of strings");
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

static void schema_strings(cJSON *schema, const Key *k) { add_list(schema, k, schema_string); }

static void free_strings(void *field) {
    StrList *l = field;
    for (size_t i = 0; i < l->count; i++) mem_free(l->items[i]);
    mem_free(l->items);
}

// Of the command line, where each use of the option adds one.
static int read_texts(const Reading *r, const Json *v) {
    StrList *l = r->field;
    add_text(&l->items, &l->count, v->str.data);
    return 0;
}

void file_list_add(FileList *l, const char *path, double weight, const FileRule *rule) {
    l->weights = mem_realloc(l->weights, l->count + 1, sizeof *l->weights);
    l->rules = mem_realloc(l->rules, l->count + 1, sizeof *l->rules);
    l->weights[l->count] = weight;
    l->rules[l->count] = rule ? file_rule_copy(rule) : (FileRule){0};
    add_text(&l->items, &l->count, path);
}

static int read_columns(const Reading *r, const Json *e, const Json *columns, FileRule *rule) {
    if (columns->type != JSON_OBJECT) return wrong(r, e, "columns as {\"messages\": \"its name in the file\", ...}");
    for (size_t i = 0; i < columns->count; i++) {
        const Json *name = &columns->items[i];
        RecordKey c = 0;
        while (c < RECORD_KEYS && !json_str_is(columns->keys[i], column_name(c))) c++;
        if (name->type == JSON_NULL) continue;
        if (c == RECORD_KEYS)
            return wrong(r, e,
                         "columns of messages, tools, system, prompt, completion, instruction, input, output, history, "
                         "text, role or content");
        if (name->type != JSON_STRING || !name->str.len) return wrong(r, e, "names of columns as text");
        rule->columns[c] = mem_strdup(name->str.data);
    }
    return 0;
}

static int read_rule(const Reading *r, const Json *e, FileRule *rule) {
    const Json *format = json_given(e, "format"), *limit = json_given(e, "max_samples"),
               *columns = json_given(e, "columns");
    if (format) {
        int word = format->type == JSON_STRING ? words_index(ENUM_WORDS(DATASET_FORMATS), format->str.data) : -1;
        if (word < 0) return wrong(r, e, "a format of dataset_format");
        rule->format = (DatasetFormat)word;
    }
    if (limit) {
        rule->limit = is_number(limit) ? limit->number : 0;
        if (!(rule->limit > 0 && rule->limit < 1) &&
            !(rule->limit >= 1 && rule->limit <= 0x1p53 && rule->limit == floor(rule->limit)))
            return wrong(r, e, "max_samples as a number of records, or a fraction below 1");
    }
    return columns ? read_columns(r, e, columns, rule) : 0;
}

static int read_file(const Reading *r, const Json *e) {
    static const char *const keys[] = {"path", "weight", "format", "max_samples", "columns"};
    const Json *path = e->type == JSON_OBJECT ? json_get(e, "path") : e, *weight = json_given(e, "weight");
    size_t known = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) known += json_get(e, keys[i]) != NULL;
    if (e->type == JSON_OBJECT && e->count != known)
        return wrong(r, e, "no keys but \"path\", \"weight\", \"format\", \"max_samples\" and \"columns\"");
    if (!path || path->type != JSON_STRING || !path->str.len)
        return wrong(r, e, "a path or {\"path\": ..., \"weight\": ...}");
    if (weight && !(is_number(weight) && weight->number >= r->k->min && weight->number <= r->k->max))
        return wrong(r, e, r->k->max == 1 ? "no weight" : "a weight above 0, at most 1000");
    FileRule rule = {0};
    int rc = read_rule(r, e, &rule);
    if (!rc) file_list_add(r->field, path->str.data, weight ? weight->number : 1, &rule);
    file_rule_clear(&rule);
    return rc;
}

static int read_files(const Reading *r, const Json *v) {
    return read_list(r, v, read_file, v->type == JSON_STRING || v->type == JSON_OBJECT, "a path or a list of paths");
}

static void write_rule(cJSON *entry, const FileRule *rule) {
    if (rule->format != FORMAT_AUTO) cJSON_AddStringToObject(entry, "format", dataset_format_name(rule->format));
    if (rule->limit) cJSON_AddNumberToObject(entry, "max_samples", rule->limit);
    cJSON *columns = file_rule_has_columns(rule) ? cJSON_AddObjectToObject(entry, "columns") : NULL;
    for (RecordKey c = 0; columns && c < RECORD_KEYS; c++)
        if (rule->columns[c]) cJSON_AddStringToObject(columns, column_name(c), rule->columns[c]);
}

static cJSON *write_files(const Key *k, const void *field, bool absolute_paths) {
    const FileList *l = field;
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) {
        cJSON *entry = cJSON_CreateObject(), *path = path_json(k, l->items[i], absolute_paths);
        cJSON_AddItemToObject(entry, "path", path);
        if (l->weights[i] != 1) cJSON_AddNumberToObject(entry, "weight", l->weights[i]);
        write_rule(entry, &l->rules[i]);
        bool plain = !path->next;
        cJSON_AddItemToArray(list, plain ? cJSON_DetachItemViaPointer(entry, path) : entry);
        if (plain) cJSON_Delete(entry);
    }
    return list;
}

static void schema_file(cJSON *schema, const Key *k) {
    schema_add_types(schema, "string object");
    cJSON_AddNumberToObject(schema, "minLength", 1);
    cJSON *members = cJSON_AddObjectToObject(schema, "properties"), *path = cJSON_AddObjectToObject(members, "path");
    schema_add_types(path, "string");
    cJSON_AddNumberToObject(path, "minLength", 1);
    schema_float(cJSON_AddObjectToObject(members, "weight"), k);
    cJSON *format = cJSON_AddArrayToObject(cJSON_AddObjectToObject(members, "format"), "enum");
    for (int f = 0; f < FORMAT_COUNT; f++) cJSON_AddItemToArray(format, cJSON_CreateString(dataset_format_name(f)));
    cJSON_AddItemToArray(format, cJSON_CreateNull());
    cJSON *limit = cJSON_AddObjectToObject(members, "max_samples");
    schema_add_types(limit, "number null");
    cJSON_AddNumberToObject(limit, "exclusiveMinimum", 0);
    cJSON *columns = cJSON_AddObjectToObject(members, "columns"),
          *names = cJSON_AddObjectToObject(columns, "properties");
    schema_add_types(columns, "object null");
    cJSON_AddFalseToObject(columns, "additionalProperties");
    for (RecordKey c = 0; c < RECORD_KEYS; c++)
        schema_add_types(cJSON_AddObjectToObject(names, column_name(c)), "string null");
    cJSON_AddItemToObject(schema, "required", cJSON_CreateStringArray((const char *const[]){"path"}, 1));
    cJSON_AddFalseToObject(schema, "additionalProperties");
}

static void schema_files(cJSON *schema, const Key *k) { add_list(schema, k, schema_file); }

static void free_files(void *field) {
    FileList *l = field;
    for (size_t i = 0; i < l->count; i++) {
        mem_free(l->items[i]);
        file_rule_clear(&l->rules[i]);
    }
    mem_free(l->items);
    mem_free(l->weights);
    mem_free(l->rules);
}

void file_list_clear(FileList *l) {
    free_files(l);
    *l = (FileList){0};
}

static int read_integer(const Reading *r, const Json *e) {
    IntList *l = r->field;
    if (!is_number(e) || e->number != floor(e->number))
        return wrong(r, e, r->k->expected ? r->k->expected : "an integer");
    if (check_range(r, e->number, e)) return -1;
    l->items = mem_realloc(l->items, l->count + 1, sizeof *l->items);
    l->items[l->count++] = (int64_t)e->number;
    return 0;
}

static int read_ints(const Reading *r, const Json *v) {
    if (v->type == JSON_ARRAY && !v->count) return wrong(r, v, "at least one integer");
    return read_list(r, v, read_integer, is_number(v), r->k->expected ? r->k->expected : "a list of integers");
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

static void schema_ints(cJSON *schema, const Key *k) { add_list(schema, k, schema_integer); }

static void free_ints(void *field) { mem_free(((IntList *)field)->items); }

static int read_objects(const Reading *r, const Json *v) {
    ObjectList *l = r->field;
    bool fits = v->type == JSON_ARRAY && v->count > 0;
    for (size_t i = 0; fits && i < v->count; i++) fits = v->items[i].type == JSON_OBJECT;
    if (!fits) return wrong(r, v, r->k->expected);
    l->lines = mem_alloc(v->count, sizeof *l->lines);
    for (size_t i = 0; i < v->count; i++) {
        AUTO_STR StrBuf text = {0};
        json_print(&text, &v->items[i]);
        l->lines[i] = (int)v->items[i].line;
        add_text(&l->items, &l->count, text.data);
    }
    return 0;
}

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
    [KEY_FILES]   = {"list",             sizeof(FileList), read_files,   write_files,   schema_files,   free_files},
    [KEY_INTS]    = {"list of integers", sizeof(IntList),  read_ints,    write_ints,    schema_ints,    free_ints},
    [KEY_OBJECTS] = {"list of objects",  sizeof(ObjectList), read_objects, write_objects, schema_objects, free_objects},
};
