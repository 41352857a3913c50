// One value of the config: from JSON or command line text into its field, and back to JSON.
#include "config_internal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "path.h"
#include "words.h"

static void *field(const Config *c, const ConfigKey *k) {
    return (char *)c + k->offset;
}

static void set_string(char **dst, const char *value) {
    mem_free(*dst);
    *dst = value ? mem_strdup(value) : NULL;
}

static void list_clear(StrList *l) {
    for (size_t i = 0; i < l->count; i++) mem_free(l->items[i]);
    mem_free(l->items);
    *l = (StrList){0};
}

// The value as it should read in a message, short.
static void describe(const cJSON *v, char *buf, size_t size) {
    char *text = cJSON_PrintUnformatted(v);
    if (cJSON_IsNumber(v) && !isfinite(v->valuedouble)) {
        snprintf(buf, size, "a number too large for a double");
    } else {
        snprintf(buf, size, "%.60s", text ? text : "?");
    }
    cJSON_free(text);
}

static int wrong(const ConfigKey *k, const cJSON *v, const char *where, const char *expected, Err *err) {
    char got[80];
    describe(v, got, sizeof got);
    return err_input(err, "%s: %s: %s; expected %s", where, k->name, got, expected);
}

static int not_yet(const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    char got[80];
    describe(v, got, sizeof got);
    return err_input(err, "%s: %s: %s is not in this version", where, k->name, got);
}

static int check_range(const ConfigKey *k, double x, const cJSON *v, const char *where, Err *err) {
    if (isfinite(x) && x >= k->min && x <= k->max) return 0;
    char expected[80];
    if (k->min == DBL_MIN) {
        snprintf(expected, sizeof expected, "above 0, at most %g", k->max);
    } else {
        snprintf(expected, sizeof expected, "%.10g to %.16g", k->min, k->max);
    }
    return wrong(k, v, where, expected, err);
}

static int wrong_kind_of_number(const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    char expected[80];
    snprintf(expected, sizeof expected, "%s%s%s", k->type == KEY_INT ? "an integer" : "a number",
             k->choices ? ", or one of: " : "", k->choices ? k->choices : "");
    return wrong(k, v, where, expected, err);
}

static int set_number(Config *c, const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    int word;
    if (k->type == KEY_INT && cJSON_IsString(v) && config_word_in(v->valuestring, k->choices, &word)) {
        *(int64_t *)field(c, k) = -1 - word;
        return 0;
    }
    if (!cJSON_IsNumber(v)) return wrong_kind_of_number(k, v, where, err);
    double x = v->valuedouble;
    if (check_range(k, x, v, where, err)) return -1;
    if (k->type == KEY_FLOAT) {
        *(double *)field(c, k) = x;
        return 0;
    }
    if (x != floor(x)) return wrong(k, v, where, "an integer", err);
    *(int64_t *)field(c, k) = (int64_t)x;
    return 0;
}

// JSON true and false read as the words.
static const char *as_word(const cJSON *v) {
    if (cJSON_IsBool(v)) return cJSON_IsTrue(v) ? "true" : "false";
    return cJSON_GetStringValue(v);
}

static int set_choice(Config *c, const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    const char *word = as_word(v);
    if (word && config_word_in(word, k->choices, (int *)field(c, k))) return 0;
    if (word && config_word_in(word, k->later, NULL)) return not_yet(k, v, where, err);
    char expected[200];
    snprintf(expected, sizeof expected, "one of: %s", k->choices);
    return wrong(k, v, where, expected, err);
}

static int set_path(Config *c, const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    const char *word = as_word(v);
    bool text = cJSON_IsString(v) && *word;
    if (!text && !(word && config_word_in(word, k->choices, NULL)))
        return wrong(k, v, where, k->choices ? "a path, \"auto\" or false" : "a string", err);
    set_string((char **)field(c, k), word);
    return 0;
}

static int set_bytes(Config *c, const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    char number[32], *text = cJSON_GetStringValue(v);
    if (cJSON_IsNumber(v)) {
        snprintf(number, sizeof number, "%.17g", v->valuedouble);
        text = number;
    }
    if (!text || !word_bytes(text, field(c, k))) return wrong(k, v, where, WORD_BYTES_EXPECTED, err);
    return 0;
}

static int set_strings(Config *c, const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    StrList *l = field(c, k);
    list_clear(l);
    bool single = cJSON_IsString(v);
    if (!single && !cJSON_IsArray(v)) return wrong(k, v, where, "a string or a list of strings", err);
    int n = single ? 1 : cJSON_GetArraySize(v);
    l->items = mem_calloc((size_t)n + 1, sizeof *l->items);
    for (const cJSON *e = single ? v : v->child; e; e = single ? NULL : e->next) {
        if (!cJSON_IsString(e) || !*e->valuestring) return wrong(k, e, where, "a string", err);
        l->items[l->count++] = mem_strdup(e->valuestring);
    }
    return 0;
}

static int set_file(FileList *l, const ConfigKey *k, const cJSON *e, const char *where, Err *err) {
    const cJSON *path = cJSON_IsObject(e) ? cJSON_GetObjectItemCaseSensitive(e, "path") : e, *weight = NULL;
    for (const cJSON *m = cJSON_IsObject(e) ? e->child : NULL; m; m = m->next) {
        bool is_weight = strcmp(m->string, "weight") == 0;
        if ((!is_weight && m != path) || (is_weight && weight))
            return wrong(k, e, where, "no keys but one \"path\" and one \"weight\"", err);
        if (is_weight) weight = m;
    }
    if (!cJSON_IsString(path) || !*path->valuestring)
        return wrong(k, e, where, "a path or {\"path\": ..., \"weight\": ...}", err);
    if (cJSON_IsNull(weight)) weight = NULL;
    if (weight && !(cJSON_IsNumber(weight) && weight->valuedouble >= k->min && weight->valuedouble <= k->max))
        return wrong(k, e, where, "a weight above 0, at most 1000", err);
    l->weights[l->count] = weight ? weight->valuedouble : 1;
    l->items[l->count++] = mem_strdup(path->valuestring);
    return 0;
}

static int set_files(Config *c, const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    FileList *l = field(c, k);
    file_list_clear(l);
    bool single = cJSON_IsString(v) || cJSON_IsObject(v);
    if (!single && !cJSON_IsArray(v)) return wrong(k, v, where, "a path or a list of paths", err);
    size_t n = single ? 1 : (size_t)cJSON_GetArraySize(v);
    l->items = mem_calloc(n + 1, sizeof *l->items);
    l->weights = mem_calloc(n + 1, sizeof *l->weights);
    for (const cJSON *e = single ? v : v->child; e; e = single ? NULL : e->next)
        if (set_file(l, k, e, where, err)) return -1;
    return 0;
}

static int set_ints(Config *c, const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    IntList *l = field(c, k);
    mem_free(l->items);
    *l = (IntList){0};
    bool single = cJSON_IsNumber(v);
    if (!single && !cJSON_IsArray(v)) return wrong(k, v, where, "a list of integers", err);
    int n = single ? 1 : cJSON_GetArraySize(v);
    if (n == 0) return wrong(k, v, where, "at least one integer", err);
    l->items = mem_calloc((size_t)n, sizeof *l->items);
    for (const cJSON *e = single ? v : v->child; e; e = single ? NULL : e->next) {
        double x = e->valuedouble;
        if (!cJSON_IsNumber(e) || x != floor(x)) return wrong(k, e, where, "an integer", err);
        if (check_range(k, x, e, where, err)) return -1;
        l->items[l->count++] = (int64_t)x;
    }
    return 0;
}

// The default of some keys.
static int set_null(Config *c, const ConfigKey *k) {
    switch (k->type) {
    case KEY_STRING:
    case KEY_PATH:
        set_string((char **)field(c, k), NULL);
        break;
    case KEY_INTS:
        mem_free(((IntList *)field(c, k))->items), *(IntList *)field(c, k) = (IntList){0};
        break;
    case KEY_FLOAT:
        *(double *)field(c, k) = 0;
        break;
    default:
        *(int64_t *)field(c, k) = 0;
        break;
    }
    return 0;
}

static bool is_standard(const ConfigKey *k, const cJSON *v) {
    cJSON *standard = cJSON_Parse(k->standard);
    bool same = cJSON_Compare(standard, v, true);
    cJSON_Delete(standard);
    return same;
}

int config_set(Config *c, const ConfigKey *k, const cJSON *v, const char *where, Err *err) {
    if (k->later && strcmp(k->later, "*") == 0 && !is_standard(k, v)) return not_yet(k, v, where, err);
    if (cJSON_IsNull(v)) return set_null(c, k);
    switch (k->type) {
    case KEY_STRING:
    case KEY_PATH:
        return set_path(c, k, v, where, err);
    case KEY_INT:
    case KEY_FLOAT:
        return set_number(c, k, v, where, err);
    case KEY_CHOICE:
        return set_choice(c, k, v, where, err);
    case KEY_BYTES:
        return set_bytes(c, k, v, where, err);
    case KEY_STRINGS:
        return set_strings(c, k, v, where, err);
    case KEY_FILES:
        return set_files(c, k, v, where, err);
    case KEY_INTS:
        return set_ints(c, k, v, where, err);
    case KEY_BOOL:
        break;
    }
    if (!cJSON_IsBool(v)) return wrong(k, v, where, "true or false", err);
    *(bool *)field(c, k) = cJSON_IsTrue(v);
    return 0;
}

static cJSON *split_at_commas(const char *text, bool numbers) {
    cJSON *list = cJSON_CreateArray();
    while (*text) {
        size_t n = strcspn(text, ",");
        char *part = mem_strndup(text, n);
        cJSON *number = numbers ? cJSON_ParseWithOpts(part, NULL, true) : NULL;
        cJSON_AddItemToArray(list, number ? number : cJSON_CreateString(part));
        mem_free(part);
        text += n + (text[n] == ',');
    }
    return list;
}

cJSON *config_value_from_text(const ConfigKey *k, const char *text) {
    bool is_text = k->type == KEY_STRING || k->type == KEY_PATH || k->type == KEY_CHOICE, yes;
    if (k->type == KEY_BOOL && word_bool(text, &yes)) return cJSON_CreateBool(yes);
    if (strcmp(text, "null") == 0) return cJSON_CreateNull();
    if (is_text) return cJSON_CreateString(text);
    if (k->type == KEY_STRINGS || k->type == KEY_FILES || k->type == KEY_INTS) {
        cJSON *list =
            *text == '[' || (k->type == KEY_FILES && *text == '{') ? cJSON_ParseWithOpts(text, NULL, true) : NULL;
        return list ? list : split_at_commas(text, k->type == KEY_INTS);
    }
    cJSON *v = cJSON_ParseWithOpts(text, NULL, true);
    return v ? v : cJSON_CreateString(text);
}

static cJSON *path_value(const ConfigKey *k, const char *path, bool absolute) {
    bool is_path = k->type == KEY_PATH || k->type == KEY_FILES;
    if (!absolute || !is_path || config_word_in(path, k->choices, NULL)) return cJSON_CreateString(path);
    char *full = path_absolute(path);
    cJSON *v = cJSON_CreateString(full ? full : path);
    mem_free(full);
    return v;
}

static cJSON *choice_value(const ConfigKey *k, int index) {
    const char *word = k->choices;
    for (; index > 0; index--) word += strcspn(word, " ") + 1;
    size_t n = strcspn(word, " ");
    if (n == 4 && memcmp(word, "true", n) == 0) return cJSON_CreateTrue();
    if (n == 5 && memcmp(word, "false", n) == 0) return cJSON_CreateFalse();
    char buf[WORD_MAX_KEY];
    snprintf(buf, sizeof buf, "%.*s", (int)n, word);
    return cJSON_CreateString(buf);
}

static cJSON *strings_value(const StrList *l) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) cJSON_AddItemToArray(list, cJSON_CreateString(l->items[i]));
    return list;
}

static cJSON *files_value(const ConfigKey *k, const FileList *l, bool absolute) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) {
        cJSON *path = path_value(k, l->items[i], absolute), *weighted = NULL;
        if (l->weights[i] != 1) {
            weighted = cJSON_CreateObject();
            cJSON_AddItemToObject(weighted, "path", path);
            cJSON_AddNumberToObject(weighted, "weight", l->weights[i]);
        }
        cJSON_AddItemToArray(list, weighted ? weighted : path);
    }
    return list;
}

static cJSON *ints_value(const IntList *l) {
    if (!l->items) return cJSON_CreateNull();
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)l->items[i]));
    return list;
}

cJSON *config_value(const Config *c, const ConfigKey *k, bool absolute_paths) {
    const void *f = field(c, k);
    bool unset_is_null = strcmp(k->standard, "null") == 0;
    double number = 0;
    int64_t integer;
    switch (k->type) {
    case KEY_STRING:
    case KEY_PATH:
        return *(char *const *)f ? path_value(k, *(char *const *)f, absolute_paths) : cJSON_CreateNull();
    case KEY_BOOL:
        return cJSON_CreateBool(*(const bool *)f);
    case KEY_CHOICE:
        return choice_value(k, *(const int *)f);
    case KEY_STRINGS:
        return strings_value(f);
    case KEY_FILES:
        return files_value(k, f, absolute_paths);
    case KEY_INTS:
        return ints_value(f);
    case KEY_FLOAT:
        number = *(const double *)f;
        break;
    case KEY_INT:
    case KEY_BYTES:
        integer = *(const int64_t *)f;
        if (k->choices && integer < 0) return choice_value(k, (int)(-1 - integer));
        number = (double)integer;
        break;
    }
    return unset_is_null && number == 0 ? cJSON_CreateNull() : cJSON_CreateNumber(number);
}
