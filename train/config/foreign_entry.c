// foreign_entry: columns, roles and splits of a data set; the entry of train_file that they become.
#include "foreign_entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "hub_cache.h"
#include "json_save.h"
#include "path.h"
#include "record_slice.h"

void entry_clear(Entry *e) {
    cJSON_Delete(e->columns);
    cJSON_Delete(e->learnt_roles);
    cJSON_Delete(e->role_names);
    cJSON_Delete(e->prompt);
    mem_free(e->split);
}

void entry_refuse(const Entry *e, const char *key, const Json *v, const char *expected) {
    AUTO_STR StrBuf text = {0}, place = {0};
    json_print(&text, v);
    if (e->number) str_printf(&place, "entry %zu: ", e->number);
    problem(e->f->l, "%s%s: %s%s: %.60s; %s", e->f->from.where, e->f->name, place.data ? place.data : "", key,
            text.data, expected);
}

bool entry_is_one_of(const Json *v, const char *words) {
    return json_is_text(v) && is_among(v->str.data, v->str.len, words);
}

bool entry_is_word(const Json *v, const char *word) { return json_is_text(v) && json_str_is(v->str, word); }

// ---- columns ----

void entry_add_column(Entry *e, const char *key, RecordKey column, const Json *name) {
    static const char *const known[RECORD_KEYS] = {[COLUMN_MESSAGES] = "messages conversations conversation",
                                                   [COLUMN_PROMPT] = "prompt question",
                                                   [COLUMN_COMPLETION] = "completion response answer",
                                                   [COLUMN_ROLE] = "role from",
                                                   [COLUMN_CONTENT] = "content value",
                                                   [COLUMN_TRAIN] = "train training trainable weight loss",
                                                   [COLUMN_REASONING] = "reasoning_content reasoning thinking"};
    if (!json_is_text(name) || !name->str.len) {
        entry_refuse(e, key, name, "expected the name of a key");
        return;
    }
    if (known[column] ? entry_is_one_of(name, known[column]) : entry_is_word(name, column_name(column))) return;
    if (!e->columns) e->columns = cJSON_CreateObject();
    cJSON_DeleteItemFromObjectCaseSensitive(e->columns, column_name(column));
    cJSON_AddStringToObject(e->columns, column_name(column), name->str.data);
}

// ---- roles ----

int entry_role_of(const Entry *e, const char *name) {
    static const char *const known[] = {
        [TARGET_SYSTEM] = "system developer",       [TARGET_USER] = "user human",
        [TARGET_ASSISTANT] = "assistant gpt model", [TARGET_TOOL] = "tool observation function_response",
        [TARGET_FUNCTION_CALL] = "function_call",
    };
    for (size_t t = 0; t < sizeof known / sizeof *known; t++) {
        const cJSON *names = cJSON_GetObjectItemCaseSensitive(e->role_names, ENUM_WORDS(ROLE_TARGETS)[t].word), *n;
        cJSON_ArrayForEach(n, names) if (strcmp(n->valuestring, name) == 0) return (int)t;
    }
    for (size_t t = 0; t < sizeof known / sizeof *known; t++)
        if (is_among(name, strlen(name), known[t])) return (int)t;
    return -1;
}

void entry_add_role(Entry *e, RoleTarget target, const char *name) {
    const char *word = ENUM_WORDS(ROLE_TARGETS)[target].word;
    if (entry_role_of(e, name) == (int)target) return;
    if (!e->role_names) e->role_names = cJSON_CreateObject();
    cJSON *names = cJSON_GetObjectItemCaseSensitive(e->role_names, word);
    if (!names) names = cJSON_AddArrayToObject(e->role_names, word);
    cJSON_AddItemToArray(names, cJSON_CreateString(name));
}

// ---- split ----

#define OF_FILES "a file is the split train: expected train, train[:100] or train[10%:20%]"

void entry_take_split(Entry *e, const Json *v) {
    const char *text = json_is_text(v) ? v->str.data : "", *slice = strchr(text, '[');
    size_t n = slice ? (size_t)(slice - text) : strlen(text);
    char *end = NULL;
    double count =
        slice && starts_with(slice, "[:") && slice[2] >= '0' && slice[2] <= '9' ? strtod(slice + 2, &end) : 0;
    bool percent = end && *end == '%';
    if (percent) count /= 100;
    bool sliced =
        end && strcmp(end + percent, "]") == 0 && count > 0 && (percent ? count <= 1 : count == (double)(int64_t)count);
    RecordSlice parsed;
    size_t len;
    if (!n || strcspn(text, "+:/@") < n || record_slice_parse(&parsed, text, &len)) {
        entry_refuse(e, "split", v, OF_FILES);
        return;
    }
    if (slice && !sliced) e->slice = slice;
    if (sliced && (!percent || count < 1)) e->limit = count;
    mem_free(e->split);
    e->split = n == 5 && starts_with(text, "train") ? NULL : mem_strndup(text, n);
}

// path, with the split and the revision of a data set on the hub.
static char *with_split(const Entry *e, const char *path) {
    AUTO_HUB_NAME HubName n = {0};
    if (!hub_is_name(path, HUB_DATASET) || !hub_name_read(&n, path, HUB_DATASET) || n.choice || n.path) {
        Json split = json_string(json_str(e->split ? e->split : ""));
        if (e->split && !path_is_dir(path)) entry_refuse(e, "split", &split, OF_FILES);
        return mem_strdup(path);
    }
    AUTO_FREE char *at = e->revision && !n.revision ? mem_printf("%s@%s", path, e->revision) : mem_strdup(path);
    return e->split ? mem_printf("%s:%s", at, e->split) : mem_take(&at);
}

// Of a folder the split with its slice, else the slice alone; NULL: neither.
static char *slice_of(const Entry *e, const char *path) {
    bool folder = path_is_dir(path);
    if (!folder && !e->slice) return NULL;
    return mem_printf("%s%s", folder && e->split ? e->split : "train", e->slice ? e->slice : "");
}

// ---- the entry ----

static bool is_default(const cJSON *roles) {
    return cJSON_GetArraySize(roles) == 1 && strcmp(cJSON_GetArrayItem(roles, 0)->valuestring, "assistant") == 0;
}

void entry_add_file(cJSON *list, const Entry *e, const char *path) {
    cJSON *file = cJSON_CreateObject();
    AUTO_FREE char *whole = with_split(e, path);
    cJSON_AddStringToObject(file, "path", whole);
    if (e->format) cJSON_AddStringToObject(file, "format", e->format);
    if (e->limit) cJSON_AddNumberToObject(file, "max_samples", e->limit);
    if (e->weight > 0) cJSON_AddNumberToObject(file, "weight", e->weight);
    AUTO_FREE char *split = slice_of(e, path);
    if (split) cJSON_AddStringToObject(file, "split", split);
    if (e->columns) cJSON_AddItemToObject(file, "columns", cJSON_Duplicate(e->columns, true));
    if (e->role_names) cJSON_AddItemToObject(file, "roles", cJSON_Duplicate(e->role_names, true));
    if (e->prompt) cJSON_AddItemToObject(file, "prompt_format", cJSON_Duplicate(e->prompt, true));
    if (e->learnt_roles && !is_default(e->learnt_roles))
        cJSON_AddItemToObject(file, "roles_to_train", cJSON_Duplicate(e->learnt_roles, true));
    if (e->eos && strcmp(e->eos, "turn") != 0) cJSON_AddStringToObject(file, "train_on_eos", e->eos);
    cJSON_AddItemToArray(list, file);
}

void entry_set_files(const Foreign *f, ConfigKey key, cJSON *list, size_t before) {
    bool whole = f->l->n_problems == before;
    AUTO_FREE char *text = whole ? json_line(list) : NULL;
    f->l->wrong[key] |= !whole;
    if (whole)
        foreign_set_text(f, key, text);
    else
        cJSON_Delete(list);
}
