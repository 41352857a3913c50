// key_write: a field back to JSON.
#include "keys.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "path.h"

static cJSON *path_json(const Key *k, const char *path, bool absolute) {
    bool is_path = k->type == KEY_PATH || k->type == KEY_FILES;
    if (!absolute || !is_path || words_index(k->words, path) >= 0) return cJSON_CreateString(path);
    char *full = path_absolute(path);
    cJSON *v = cJSON_CreateString(full ? full : path);
    mem_free(full);
    return v;
}

static cJSON *word_json(const char *word) {
    bool yes = strcmp(word, "true") == 0;
    return yes || strcmp(word, "false") == 0 ? cJSON_CreateBool(yes) : cJSON_CreateString(word);
}

static cJSON *files_json(const Key *k, const FileList *l, bool absolute) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) {
        cJSON *path = path_json(k, l->items[i], absolute), *weighted = NULL;
        if (l->weights[i] != 1) {
            weighted = cJSON_CreateObject();
            cJSON_AddItemToObject(weighted, "path", path);
            cJSON_AddNumberToObject(weighted, "weight", l->weights[i]);
        }
        cJSON_AddItemToArray(list, weighted ? weighted : path);
    }
    return list;
}

static cJSON *strings_json(const StrList *l) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) cJSON_AddItemToArray(list, cJSON_CreateString(l->items[i]));
    return list;
}

static cJSON *ints_json(const IntList *l) {
    if (!l->items) return cJSON_CreateNull();
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)l->items[i]));
    return list;
}

cJSON *key_json(const void *fields, const Key *k, bool absolute_paths) {
    const void *f = (const char *)fields + k->offset;
    double number = 0;
    switch (k->type) {
    case KEY_STRING:
    case KEY_PATH:
    case KEY_TEXT:
        return *(char *const *)f ? path_json(k, *(char *const *)f, absolute_paths) : cJSON_CreateNull();
    case KEY_BOOL:
        return cJSON_CreateBool(*(const bool *)f);
    case KEY_CHOICE:
        return word_json(k->words[*(const int *)f].word);
    case KEY_STRINGS:
    case KEY_TEXTS:
        return strings_json(f);
    case KEY_FILES:
        return files_json(k, f, absolute_paths);
    case KEY_INTS:
        return ints_json(f);
    case KEY_FLOAT:
        number = *(const double *)f;
        break;
    case KEY_INT:
    case KEY_BYTES:
        number = (double)*(const int64_t *)f;
        if (k->words && number < 0) return word_json(k->words[-1 - *(const int64_t *)f].word);
        break;
    }
    return !k->standard && number == 0 ? cJSON_CreateNull() : cJSON_CreateNumber(number);
}

char *key_text(const void *fields, const Key *k, bool absolute_paths) {
    cJSON *v = key_json(fields, k, absolute_paths);
    char *printed = cJSON_PrintUnformatted(v), *text = mem_strdup(printed);
    cJSON_free(printed);
    cJSON_Delete(v);
    return text;
}
