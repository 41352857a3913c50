// foreign_data: data sets of other tools' configs as entries of train_file: path, format, columns, max_samples.
//
// Sources: the schema of Axolotl's data sets, the parser of LLaMA-Factory's dataset_info.json, TRL's
// DatasetMixtureConfig.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "fileio.h"
#include "foreign.h"
#include "hub_cache.h"
#include "json_pool.h"
#include "json_read.h"
#include "json_save.h"
#include "path.h"
#include "record_slice.h"

enum { MAX_INFO_BYTES = 16 << 20 };

// One entry that is being mapped, and what its keys have said so far.
typedef struct Entry {
    const Foreign *f;
    size_t number; // from 1; 0: not one of a list
    cJSON *columns;
    double limit;
    const char *format, *eos, *slice; // slice: "[10:20]"
    cJSON *roles;
    char *split; // NULL: "train"
    const char *revision;
} Entry;

static void entry_clear(Entry *e) {
    cJSON_Delete(e->columns);
    cJSON_Delete(e->roles);
    mem_free(e->split);
}

// "FILE:LINE: datasets: entry 2: split: "x"; expected ..."
static void refuse(const Entry *e, const char *key, const Json *v, const char *expected) {
    AUTO_STR StrBuf text = {0}, place = {0};
    json_print(&text, v);
    if (e->number) str_printf(&place, "entry %zu: ", e->number);
    problem(e->f->l, "%s%s: %s%s: %.60s; %s", e->f->from.where, e->f->name, place.data ? place.data : "", key,
            text.data, expected);
}

static bool is_one_of(const Json *v, const char *words) {
    return json_is_text(v) && is_among(v->str.data, v->str.len, words);
}

static bool is_word(const Json *v, const char *word) { return json_is_text(v) && json_str_is(v->str, word); }

// ---- columns ----

// Names that are read as they are get no column.
static void add_column(Entry *e, const char *key, RecordKey column, const Json *name) {
    static const char *const known[RECORD_KEYS] = {[COLUMN_MESSAGES] = "messages conversations conversation",
                                                   [COLUMN_PROMPT] = "prompt question",
                                                   [COLUMN_COMPLETION] = "completion response answer",
                                                   [COLUMN_ROLE] = "role from",
                                                   [COLUMN_CONTENT] = "content value",
                                                   [COLUMN_TRAIN] = "train training trainable weight loss",
                                                   [COLUMN_REASONING] = "reasoning_content reasoning thinking"};
    if (!json_is_text(name) || !name->str.len) {
        refuse(e, key, name, "expected the name of a key");
        return;
    }
    if (known[column] ? is_one_of(name, known[column]) : is_word(name, column_name(column))) return;
    if (!e->columns) e->columns = cJSON_CreateObject();
    cJSON_DeleteItemFromObjectCaseSensitive(e->columns, column_name(column));
    cJSON_AddStringToObject(e->columns, column_name(column), name->str.data);
}

// {"role": "from", "content": "value"}; further properties under their own names.
static void take_properties(Entry *e, const char *key, const Json *map) {
    for (size_t i = 0; map->type == JSON_OBJECT && i < map->count; i++) {
        const char *property = map->keys[i].data;
        const Json *name = &map->items[i];
        if (strcmp(property, "role") == 0 || strcmp(property, "content") == 0)
            add_column(e, key, *property == 'r' ? COLUMN_ROLE : COLUMN_CONTENT, name);
        else if (is_among(property, strlen(property), "reasoning_content reasoning thinking"))
            add_column(e, key, COLUMN_REASONING, name);
        else if (!is_word(name, property))
            refuse(e, key, map, "expected role and content; other properties under their own names");
    }
    if (map->type != JSON_OBJECT) refuse(e, key, map, "expected {role: ..., content: ...}");
}

// {"assistant": ["gpt", "model"], ...}: roles under names that mean the same to lorac.
static bool role_is_known(const char *role, const Json *name) {
    static const struct {
        const char *role, *names;
    } known[] = {{"system", "system"},
                 {"user", "user human"},
                 {"assistant", "assistant gpt model"},
                 {"tool", "tool observation function_response"},
                 {"observation", "observation tool"},
                 {"function", "function_call"},
                 {"function_call", "function_call"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].role, role) == 0) return is_one_of(name, known[i].names);
    return false;
}

static void take_roles(Entry *e, const char *key, const Json *roles) {
    bool ok = roles->type == JSON_OBJECT;
    for (size_t i = 0; ok && i < roles->count; i++) {
        const Json *names = &roles->items[i];
        for (size_t k = 0; ok && names->type == JSON_ARRAY && k < names->count; k++)
            ok = role_is_known(roles->keys[i].data, &names->items[k]);
        ok = ok && (names->type == JSON_ARRAY || role_is_known(roles->keys[i].data, names));
    }
    if (!ok)
        refuse(e, key, roles,
               "other names of roles than human, user, gpt, assistant, model, system, tool; rename them in the data");
}

// ---- split ----

#define OF_FILES "a file is the split train: expected train, train[:100] or train[10%:20%]"

// "train", "train[:100]", "train[10%:20%]"; of a folder and of a data set on the hub also another split.
static void take_split(Entry *e, const Json *v) {
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
        refuse(e, "split", v, OF_FILES);
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
        if (e->split && !path_is_dir(path)) refuse(e, "split", &split, OF_FILES);
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

// ---- Axolotl's and TRL's entries ----

typedef enum {
    TAKE_NOTHING,
    TAKE_COLUMN,
    TAKE_PROPERTIES,
    TAKE_ROLES,
    TAKE_SPLIT,
    TAKE_REVISION,
    TAKE_TYPE,
    TAKE_LEARNT_ROLES,
    TAKE_EOS,
    TAKE_IF
} Take;
typedef struct EntryKey {
    const char *name;
    Take take;
    RecordKey column;
    const char *values, *advice; // TAKE_IF: only these
} EntryKey;

// clang-format off
static const EntryKey entry_keys[] = {
    {"path", TAKE_NOTHING, 0, NULL, NULL},
    {"data_files", TAKE_NOTHING, 0, NULL, NULL},
    {"data_dir", TAKE_IF, 0, "", "expected path as a file"},
    {"name", TAKE_IF, 0, "default", "a part of a data set on a hub; expected path as a file"},
    {"type", TAKE_TYPE, 0, NULL, NULL},
    {"split", TAKE_SPLIT, 0, NULL, NULL},
    {"ds_type", TAKE_IF, 0, "json text csv parquet", "expected json, text, csv or parquet"},
    {"field_messages", TAKE_COLUMN, COLUMN_MESSAGES, NULL, NULL},
    {"field_tools", TAKE_COLUMN, COLUMN_TOOLS, NULL, NULL},
    {"field_system", TAKE_COLUMN, COLUMN_SYSTEM, NULL, NULL},
    {"field_instruction", TAKE_COLUMN, COLUMN_INSTRUCTION, NULL, NULL},
    {"field_input", TAKE_COLUMN, COLUMN_INPUT, NULL, NULL},
    {"field_output", TAKE_COLUMN, COLUMN_OUTPUT, NULL, NULL},
    {"field", TAKE_COLUMN, COLUMN_TEXT, NULL, NULL},
    {"message_field_role", TAKE_COLUMN, COLUMN_ROLE, NULL, NULL},
    {"message_field_content", TAKE_COLUMN, COLUMN_CONTENT, NULL, NULL},
    {"message_property_mappings", TAKE_PROPERTIES, 0, NULL, NULL},
    {"roles", TAKE_ROLES, 0, NULL, NULL},
    {"roles_to_train", TAKE_LEARNT_ROLES, 0, NULL, NULL},
    {"train_on_eos", TAKE_EOS, 0, NULL, NULL},
    {"train_on_eot", TAKE_EOS, 0, NULL, NULL},
    {"message_field_training", TAKE_COLUMN, COLUMN_TRAIN, NULL, NULL},
    {"field_thinking", TAKE_COLUMN, COLUMN_REASONING, NULL, NULL},
    {"template_thinking_key", TAKE_IF, 0, "reasoning_content reasoning thinking",
     "expected reasoning_content, reasoning or thinking"},
    {"message_field_training_detail", TAKE_IF, 0, "", "parts of a turn are not masked in this version"},
    {"chat_template", TAKE_IF, 0, "tokenizer_default", "expected chat_template outside the entry, for all data"},
    {"conversation", TAKE_IF, 0, "", "expected chat_template outside the entry, for all data"},
    {"columns", TAKE_NOTHING, 0, NULL, NULL},  // of TRL: which are loaded
    {"trust_remote_code", TAKE_NOTHING, 0, NULL, NULL},
    {"revision", TAKE_REVISION, 0, NULL, NULL},
    {"preprocess_shards", TAKE_NOTHING, 0, NULL, NULL},
};
// clang-format on

static void take_type(Entry *e, const Json *v) {
    if (is_one_of(v, "chat_template sharegpt"))
        e->format = NULL; // messages, in either form
    else if (is_one_of(v, "alpaca completion input_output"))
        e->format = *v->str.data == 'a' ? "alpaca_prompt" : *v->str.data == 'c' ? "text" : "segments";
    else
        refuse(e, "type", v, "expected chat_template, alpaca, completion or input_output");
}

static void take_if(Entry *e, const EntryKey *k, const Json *v) {
    bool ok = foreign_is_off(v) || is_one_of(v, k->values);
    if (v->type == JSON_ARRAY)
        for (size_t i = 0; i < v->count; i++) ok = (i == 0 || ok) && is_one_of(&v->items[i], k->values);
    if (!ok) refuse(e, k->name, v, k->advice);
}

static void take_learnt_roles(Entry *e, const Json *v) {
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    bool many = v->type == JSON_ARRAY;
    e->roles = cJSON_CreateArray();
    for (size_t i = 0; i < (many ? v->count : 1); i++) {
        const Json *name = many ? &v->items[i] : v;
        size_t k = 0;
        while (k < 4 && !role_is_known(names[k], name)) k++;
        if (k == 4)
            refuse(e, "roles_to_train", v, "expected roles of system, user, assistant and tool");
        else
            cJSON_AddItemToArray(e->roles, cJSON_CreateString(names[k]));
    }
}

static void take_eos(Entry *e, const char *key, const Json *v) {
    if (!is_one_of(v, "turn all last none"))
        refuse(e, key, v, "expected turn, all, last or none");
    else if (e->eos && !is_word(v, e->eos))
        refuse(e, key, v, "expected the same of train_on_eos and train_on_eot");
    else
        e->eos = v->str.data;
}

static void take_entry_key(Entry *e, const char *name, const Json *v) {
    const EntryKey *k = entry_keys, *end = entry_keys + sizeof entry_keys / sizeof *entry_keys;
    while (k < end && strcmp(k->name, name) != 0) k++;
    if (v->type == JSON_NULL) return;
    if (k == end) {
        if (!foreign_is_off(v)) refuse(e, name, v, "this key of an entry is not in this version");
        return;
    }
    switch (k->take) {
    case TAKE_NOTHING: return;
    case TAKE_COLUMN: add_column(e, name, k->column, v); return;
    case TAKE_PROPERTIES: take_properties(e, name, v); return;
    case TAKE_ROLES: take_roles(e, name, v); return;
    case TAKE_SPLIT: take_split(e, v); return;
    case TAKE_REVISION: e->revision = json_is_text(v) ? v->str.data : NULL; return;
    case TAKE_TYPE: take_type(e, v); return;
    case TAKE_LEARNT_ROLES: take_learnt_roles(e, v); return;
    case TAKE_EOS: take_eos(e, name, v); return;
    case TAKE_IF: take_if(e, k, v); return;
    }
}

static bool is_default(const cJSON *roles) {
    return cJSON_GetArraySize(roles) == 1 && strcmp(cJSON_GetArrayItem(roles, 0)->valuestring, "assistant") == 0;
}

static void add_file(cJSON *list, const Entry *e, const char *path) {
    cJSON *file = cJSON_CreateObject();
    AUTO_FREE char *whole = with_split(e, path);
    cJSON_AddStringToObject(file, "path", whole);
    if (e->format) cJSON_AddStringToObject(file, "format", e->format);
    if (e->limit) cJSON_AddNumberToObject(file, "max_samples", e->limit);
    AUTO_FREE char *split = slice_of(e, path);
    if (split) cJSON_AddStringToObject(file, "split", split);
    if (e->columns) cJSON_AddItemToObject(file, "columns", cJSON_Duplicate(e->columns, true));
    if (e->roles && !is_default(e->roles))
        cJSON_AddItemToObject(file, "roles_to_train", cJSON_Duplicate(e->roles, true));
    if (e->eos && strcmp(e->eos, "turn") != 0) cJSON_AddStringToObject(file, "train_on_eos", e->eos);
    cJSON_AddItemToArray(list, file);
}

// The path, or the files that data_files names in it.
static void add_paths(cJSON *list, const Entry *e, const Json *path, const Json *files) {
    bool many = files && files->type == JSON_ARRAY;
    bool ok = !path || (json_is_text(path) && path->str.len);
    if (!files && path && ok) add_file(list, e, path->str.data);
    for (size_t i = 0; files && ok && i < (many ? files->count : 1); i++) {
        const Json *file = many ? &files->items[i] : files;
        ok = json_is_text(file) && file->str.len;
        if (!ok) break;
        bool within = path && (path_is_dir(path->str.data) || hub_is_name(path->str.data, HUB_DATASET));
        AUTO_FREE char *inside = within ? path_join(path->str.data, file->str.data) : NULL;
        add_file(list, e, inside ? inside : file->str.data);
    }
    if (!ok || (!path && !files)) refuse(e, "path", path ? path : &(Json){0}, "expected the path of a file");
}

static void set_files(const Foreign *f, ConfigKey key, cJSON *list) {
    AUTO_FREE char *text = json_line(list);
    foreign_set_text(f, key, text);
}

static void map_entries(const Foreign *f, const Json *v, ConfigKey key) {
    if (f->from.source == SOURCE_FILE && f->l->overridden[key]) return;
    cJSON *list = cJSON_CreateArray();
    size_t before = f->l->n_problems;
    for (size_t i = 0; v->type == JSON_ARRAY && i < v->count; i++) {
        const Json *item = &v->items[i];
        Entry e = {.f = f, .number = i + 1};
        if (item->type != JSON_OBJECT) {
            problem(f->l, "%s%s: entry %zu: expected {path: ..., type: ...}", f->from.where, f->name, i + 1);
            continue;
        }
        for (size_t k = 0; k < item->count; k++) take_entry_key(&e, item->keys[k].data, &item->items[k]);
        add_paths(list, &e, json_given(item, "path"), json_given(item, "data_files"));
        entry_clear(&e);
    }
    if (v->type != JSON_ARRAY) foreign_refuse(f, v, "expected a list of data sets");
    f->l->wrong[key] |= f->l->n_problems != before;
    if (f->l->n_problems == before)
        set_files(f, key, list);
    else
        cJSON_Delete(list);
}

void map_datasets(const Foreign *f, const Json *v) { map_entries(f, v, CONFIG_train_file); }
void map_test_datasets(const Foreign *f, const Json *v) { map_entries(f, v, CONFIG_validation_file); }

// ---- LLaMA-Factory ----

void map_max_samples(const Foreign *f, const Json *v) {
    int64_t n;
    if (json_whole(v, &n) && n >= 1)
        f->l->given.max_samples = (Given){f->from.source, f->from.line, (double)n};
    else
        foreign_refuse(f, v, "expected a number of records");
}

static void take_tags(Entry *e, const Json *tags) {
    for (size_t i = 0; tags->type == JSON_OBJECT && i < tags->count; i++) {
        const char *tag = tags->keys[i].data;
        const Json *name = &tags->items[i];
        AUTO_FREE char *role = mem_strndup(tag, strcspn(tag, "_"));
        if (name->type == JSON_NULL) continue;
        if (is_among(tag, strlen(tag), "role_tag content_tag"))
            add_column(e, tag, *tag == 'r' ? COLUMN_ROLE : COLUMN_CONTENT, name);
        else if (!role_is_known(role, name))
            refuse(e, tag, name, "another name of the role; rename it in the data");
    }
    if (tags->type != JSON_OBJECT) refuse(e, "tags", tags, "expected an object");
}

static void take_columns(Entry *e, const Json *columns) {
    static const struct {
        const char *name;
        RecordKey column;
    } known[] = {{"prompt", COLUMN_INSTRUCTION}, {"query", COLUMN_INPUT},   {"response", COLUMN_OUTPUT},
                 {"history", COLUMN_HISTORY},    {"system", COLUMN_SYSTEM}, {"tools", COLUMN_TOOLS},
                 {"messages", COLUMN_MESSAGES}};
    enum { KNOWN = sizeof known / sizeof *known };
    for (size_t i = 0; columns->type == JSON_OBJECT && i < columns->count; i++) {
        size_t k = 0;
        if (columns->items[i].type == JSON_NULL) continue;
        while (k < KNOWN && !json_str_is(columns->keys[i], known[k].name)) k++;
        if (k == KNOWN)
            refuse(e, columns->keys[i].data, &columns->items[i],
                   "images, sound and preference data are not in this version");
        else
            add_column(e, known[k].name, known[k].column, &columns->items[i]);
    }
    if (columns->type != JSON_OBJECT) refuse(e, "columns", columns, "expected an object");
}

// The key that columns name as prompt holds the text.
static void take_text(Entry *e, const Json *formatting, const Json *columns) {
    const Json *prompt = columns ? json_given(columns, "prompt") : NULL;
    e->format = "text";
    if (formatting && !is_word(formatting, "alpaca"))
        refuse(e, "formatting", formatting, "with stage: pt expected alpaca, with columns: {prompt: KEY}");
    else if (!prompt || !json_is_text(prompt))
        problem(e->f->l,
                "%s%s: no column is the prompt; with stage: pt expected columns: {prompt: KEY}, the key that "
                "holds the text",
                e->f->from.where, e->f->name);
    else
        add_column(e, "prompt", COLUMN_TEXT, prompt);
    for (size_t i = 0; prompt && i < columns->count; i++)
        if (columns->items[i].type != JSON_NULL && !json_str_is(columns->keys[i], "prompt"))
            refuse(e, columns->keys[i].data, &columns->items[i], "with stage: pt only the prompt is learnt");
}

// An entry of dataset_info.json. `name` begins messages about it.
static void add_info(cJSON *list, const Foreign *f, const char *dir, const char *name, const Json *info) {
    Foreign place = {f->l, name, f->from, NULL};
    Entry e = {.f = &place};
    const Json *file = json_given(info, "file_name"), *formatting = json_given(info, "formatting");
    const Json *columns = json_given(info, "columns"), *tags = json_given(info, "tags"),
               *split = json_given(info, "split"), *hub = json_given(info, "hf_hub_url");
    bool alpaca = !formatting || is_word(formatting, "alpaca");
    for (size_t i = 0; info->type == JSON_OBJECT && i < info->count; i++)
        if (!is_among(info->keys[i].data, info->keys[i].len, "file_name hf_hub_url formatting columns tags split") &&
            !foreign_is_off(&info->items[i]) && (file || hub))
            refuse(&e, info->keys[i].data, &info->items[i], "this key of dataset_info.json is not in this version");
    const Json *from = file ? file : hub;
    if (!from || !json_is_text(from) || !from->str.len) {
        problem(f->l, "%s%s: the data set %.80s is on another hub; download it, and name its file", f->from.where,
                f->name, name);
        return;
    }
    if (!alpaca && !foreign_is_pretraining(f->l) && !is_one_of(formatting, "sharegpt openai"))
        refuse(&e, "formatting", formatting, "expected alpaca, sharegpt or openai");
    if (alpaca) e.format = "alpaca";
    if (foreign_is_pretraining(f->l))
        take_text(&e, formatting, columns);
    else if (columns)
        take_columns(&e, columns);
    if (tags) take_tags(&e, tags);
    if (split) take_split(&e, split);
    AUTO_FREE char *path = file ? path_join(dir, file->str.data) : mem_strdup(hub->str.data);
    add_file(list, &e, path);
    entry_clear(&e);
}

// A path, or a name of dataset_info.json.
static void add_name(cJSON *list, const Foreign *f, const char *dir, const Json *info, const char *name) {
    const Json *entry = json_given(info, name);
    if (entry) {
        add_info(list, f, dir, name, entry);
    } else if (strpbrk(name, "./")) {
        add_file(list, &(Entry){.f = f, .format = foreign_is_pretraining(f->l) ? "text" : NULL}, name);
    } else {
        problem(
            f->l,
            "%s%s: %.80s is neither a path nor in %s/dataset_info.json%s; expected paths of data files, or dataset_dir",
            f->from.where, f->name, name, dir, info ? "" : ", which cannot be read");
    }
}

// Names with commas between them, or a list.
static void add_names(cJSON *list, const Foreign *f, const char *dir, const Json *info, const Json *v) {
    bool many = v->type == JSON_ARRAY;
    for (size_t i = 0; i < (many ? v->count : 1); i++) {
        const Json *item = many ? &v->items[i] : v;
        if (!json_is_text(item)) foreign_refuse(f, v, "expected names of data sets, or paths");
        for (const char *p = json_is_text(item) ? item->str.data : ""; *p;) {
            size_t n = strcspn(p, ","), begin = strspn(p, " "), end = n;
            while (end > begin && p[end - 1] == ' ') end--;
            AUTO_FREE char *name = mem_strndup(p + begin, end > begin ? end - begin : 0);
            if (*name) add_name(list, f, dir, info, name);
            p += n + (p[n] == ',');
        }
    }
}

void map_dataset_names(const Foreign *f, const Json *v) {
    AUTO_JSON JsonDoc *doc = NULL;
    ConfigKey key = *f->name == 'e' ? CONFIG_validation_file : CONFIG_train_file;
    if (f->from.source == SOURCE_FILE && f->l->overridden[key]) return;
    const Json *given = json_given(f->l->root, "dataset_dir");
    const char *dir = given && json_is_text(given) ? given->str.data : "data";
    AUTO_FREE char *path = path_join(dir, "dataset_info.json");
    size_t before = f->l->n_problems;
    Err err = {0};
    if (path_exists(path) && json_load(&doc, path, MAX_INFO_BYTES, &err))
        problem(f->l, "%s%s: %s", f->from.where, f->name, err.msg);
    cJSON *list = cJSON_CreateArray();
    if (!err.kind) add_names(list, f, dir, doc ? json_root(doc) : NULL, v);
    f->l->wrong[key] |= f->l->n_problems != before;
    if (f->l->n_problems == before)
        set_files(f, key, list);
    else
        cJSON_Delete(list);
}
