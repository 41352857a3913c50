// foreign_data: the data sets of Axolotl's and TRL's configs as entries of train_file: path, format, columns,
// max_samples.
//
// Sources: the schema of Axolotl's data sets and its prompt strategy user_defined, TRL's DatasetMixtureConfig.
#include <string.h>

#include "foreign_entry.h"
#include "hub_cache.h"
#include "json_pool.h"
#include "path.h"

// ---- columns and roles ----

// {"role": "from", "content": "value"}; further properties under their own names.
static void take_properties(Entry *e, const char *key, const Json *map) {
    for (size_t i = 0; map->type == JSON_OBJECT && i < map->count; i++) {
        const char *property = map->keys[i].data;
        const Json *name = &map->items[i];
        if (strcmp(property, "role") == 0 || strcmp(property, "content") == 0)
            entry_add_column(e, key, *property == 'r' ? COLUMN_ROLE : COLUMN_CONTENT, name);
        else if (is_among(property, strlen(property), "reasoning_content reasoning thinking"))
            entry_add_column(e, key, COLUMN_REASONING, name);
        else if (!entry_is_word(name, property))
            entry_refuse(e, key, map, "expected role and content; other properties under their own names");
    }
    if (map->type != JSON_OBJECT) entry_refuse(e, key, map, "expected {role: ..., content: ...}");
}

static int target_of(const char *role) {
    if (is_among(role, strlen(role), "observation")) return TARGET_TOOL;
    if (is_among(role, strlen(role), "function")) return TARGET_FUNCTION_CALL;
    return words_index(ENUM_WORDS(ROLE_TARGETS), role);
}

// {"assistant": ["gpt", "bot"], ...}
static void take_roles(Entry *e, const char *key, const Json *roles) {
    bool ok = roles->type == JSON_OBJECT;
    for (size_t i = 0; ok && i < roles->count; i++) {
        const Json *names = &roles->items[i];
        bool many = names->type == JSON_ARRAY;
        int target = target_of(roles->keys[i].data);
        for (size_t k = 0; ok && k < (many ? names->count : 1); k++) {
            const Json *name = many ? &names->items[k] : names;
            ok = target >= 0 && json_is_text(name) && name->str.len;
            if (ok) entry_add_role(e, (RoleTarget)target, name->str.data);
        }
    }
    if (!ok) entry_refuse(e, key, roles, "expected lists of names, of system, user, assistant and tool");
}

// ---- a prompt of one's own ----

static void take_prompt_part(Entry *e, PromptPart p, const Json *v) {
    Err why;
    if (!json_is_text(v))
        entry_refuse(e, prompt_part_name(p), v, "expected text");
    else if (prompt_format_check(p, v->str.data, &why))
        entry_refuse(e, "type", v, why.msg);
    else
        cJSON_AddStringToObject(e->prompt, prompt_part_name(p), v->str.data);
}

static void take_prompt(Entry *e, const Json *type) {
    static const struct {
        const char *name;
        RecordKey column;
    } fields[] = {{"field_system", COLUMN_SYSTEM},
                  {"field_instruction", COLUMN_INSTRUCTION},
                  {"field_input", COLUMN_INPUT},
                  {"field_output", COLUMN_OUTPUT}};
    enum { FIELDS = sizeof fields / sizeof *fields };
    e->format = "alpaca_prompt";
    e->prompt = cJSON_CreateObject();
    for (size_t i = 0; i < type->count; i++) {
        size_t k = 0;
        PromptPart p = 0;
        const Json *v = &type->items[i];
        if (v->type == JSON_NULL) continue;
        while (k < FIELDS && !json_str_is(type->keys[i], fields[k].name)) k++;
        while (p < PROMPT_PARTS && !json_str_is(type->keys[i], prompt_part_name(p))) p++;
        if (k < FIELDS)
            entry_add_column(e, fields[k].name, fields[k].column, v);
        else if (p < PROMPT_PARTS)
            take_prompt_part(e, p, v);
        else
            entry_refuse(e, type->keys[i].data, v, "this key of a type is not in this version");
    }
    if (!e->prompt->child) cJSON_AddStringToObject(e->prompt, prompt_part_name(PROMPT_SYSTEM), "");
}

// ---- Axolotl's and TRL's entries ----

typedef enum {
    TAKE_NOTHING,
    TAKE_COLUMN,
    TAKE_PROPERTIES,
    TAKE_SPLIT,
    TAKE_REVISION,
    TAKE_TYPE,
    TAKE_LEARNT_ROLES,
    TAKE_EOS,
    TAKE_WEIGHT,
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
    {"weight", TAKE_WEIGHT, 0, NULL, NULL}, // lorac's own
    {"ds_type", TAKE_IF, 0, "json text csv parquet", "expected json, text, csv or parquet"},
    {"field_messages", TAKE_COLUMN, COLUMN_MESSAGES, NULL, NULL},
    {"field_tools", TAKE_COLUMN, COLUMN_TOOLS, NULL, NULL},
    {"field_chosen", TAKE_COLUMN, COLUMN_CHOSEN, NULL, NULL},
    {"field_rejected", TAKE_COLUMN, COLUMN_REJECTED, NULL, NULL},
    {"field_system", TAKE_COLUMN, COLUMN_SYSTEM, NULL, NULL},
    {"field_instruction", TAKE_COLUMN, COLUMN_INSTRUCTION, NULL, NULL},
    {"field_input", TAKE_COLUMN, COLUMN_INPUT, NULL, NULL},
    {"field_output", TAKE_COLUMN, COLUMN_OUTPUT, NULL, NULL},
    {"field", TAKE_COLUMN, COLUMN_TEXT, NULL, NULL},
    {"message_field_role", TAKE_COLUMN, COLUMN_ROLE, NULL, NULL},
    {"message_field_content", TAKE_COLUMN, COLUMN_CONTENT, NULL, NULL},
    {"message_property_mappings", TAKE_PROPERTIES, 0, NULL, NULL},
    {"roles", TAKE_NOTHING, 0, NULL, NULL}, // taken first
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

// What to do about a type that is not in this version.
static const char *type_advice(const Json *v) {
    const char *text = json_is_text(v) ? v->str.data : "";
    size_t n = strcspn(text, ".:");
    if (is_among(text, n, "bradley_terry stepwise_supervised ebft")) return "reward models are not in this version";
    if (is_among(text, n, "dpo kto orpo chatml llama3 zephyr user_defined passthrough"))
        return "expected chat_template.default, with field_messages, field_chosen and field_rejected";
    if (is_among(text, n, "sharegpt llama2_chat messages chat_template"))
        return "expected chat_template as the type, and the format as chat_template outside the entry";
    return "expected chat_template, alpaca, completion, input_output (which can hold the text of any type), or "
           "{format: ...}";
}

static void take_type(Entry *e, const Json *v) {
    if (v->type == JSON_OBJECT)
        take_prompt(e, v);
    else if (entry_is_one_of(v, "chat_template sharegpt chat_template.default chat_template.argilla"))
        e->format = NULL; // messages, in either form
    else if (entry_is_one_of(v, "completion input_output"))
        e->format = *v->str.data == 'c' ? "text" : "segments";
    else if (!json_is_text(v) || !entry_take_prompt_type(e, v->str.data))
        entry_refuse(e, "type", v, type_advice(v));
}

static void take_if(Entry *e, const EntryKey *k, const Json *v) {
    bool ok = foreign_is_off(v) || entry_is_one_of(v, k->values);
    if (v->type == JSON_ARRAY)
        for (size_t i = 0; i < v->count; i++) ok = (i == 0 || ok) && entry_is_one_of(&v->items[i], k->values);
    if (!ok) entry_refuse(e, k->name, v, k->advice);
}

static void take_learnt_roles(Entry *e, const Json *v) {
    bool many = v->type == JSON_ARRAY;
    e->learnt_roles = cJSON_CreateArray();
    for (size_t i = 0; i < (many ? v->count : 1); i++) {
        const Json *name = many ? &v->items[i] : v;
        int role = json_is_text(name) ? entry_role_of(e, name->str.data) : -1;
        if (role < 0 || role >= ROLE_COUNT)
            entry_refuse(e, "roles_to_train", v, "expected roles of system, user, assistant and tool");
        else
            cJSON_AddItemToArray(e->learnt_roles, cJSON_CreateString(ENUM_WORDS(LEARNT_ROLES)[role].word));
    }
}

static void take_eos(Entry *e, const char *key, const Json *v) {
    if (!entry_is_one_of(v, "turn all last none"))
        entry_refuse(e, key, v, "expected turn, all, last or none");
    else if (e->eos && !entry_is_word(v, e->eos))
        entry_refuse(e, key, v, "expected the same of train_on_eos and train_on_eot");
    else
        e->eos = v->str.data;
}

static void take_weight(Entry *e, const Json *v) {
    if (json_is_number(v) && v->number > 0 && v->number <= 1000)
        e->weight = v->number;
    else
        entry_refuse(e, "weight", v, "expected a number above 0, at most 1000");
}

static void take_entry_key(Entry *e, const char *name, const Json *v) {
    const EntryKey *k = entry_keys, *end = entry_keys + sizeof entry_keys / sizeof *entry_keys;
    while (k < end && strcmp(k->name, name) != 0) k++;
    if (v->type == JSON_NULL) return;
    if (k == end) {
        if (!foreign_is_off(v)) entry_refuse(e, name, v, "this key of an entry is not in this version");
        return;
    }
    switch (k->take) {
    case TAKE_NOTHING: return;
    case TAKE_COLUMN: entry_add_column(e, name, k->column, v); return;
    case TAKE_PROPERTIES: take_properties(e, name, v); return;
    case TAKE_SPLIT: entry_take_split(e, v); return;
    case TAKE_REVISION: e->revision = json_is_text(v) ? v->str.data : NULL; return;
    case TAKE_TYPE: take_type(e, v); return;
    case TAKE_LEARNT_ROLES: take_learnt_roles(e, v); return;
    case TAKE_EOS: take_eos(e, name, v); return;
    case TAKE_WEIGHT: take_weight(e, v); return;
    case TAKE_IF: take_if(e, k, v); return;
    }
}

// The path, or the files that data_files names in it.
static void add_paths(cJSON *list, const Entry *e, const Json *path, const Json *files) {
    bool many = files && files->type == JSON_ARRAY;
    bool ok = !path || (json_is_text(path) && path->str.len);
    if (!files && path && ok) entry_add_file(list, e, path->str.data);
    for (size_t i = 0; files && ok && i < (many ? files->count : 1); i++) {
        const Json *file = many ? &files->items[i] : files;
        ok = json_is_text(file) && file->str.len;
        if (!ok) break;
        bool within = path && (path_is_dir(path->str.data) || hub_is_name(path->str.data, HUB_DATASET));
        AUTO_FREE char *inside = within ? path_join(path->str.data, file->str.data) : NULL;
        entry_add_file(list, e, inside ? inside : file->str.data);
    }
    if (!ok || (!path && !files)) entry_refuse(e, "path", path ? path : &(Json){0}, "expected the path of a file");
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
        const Json *roles = json_given(item, "roles");
        if (roles) take_roles(&e, "roles", roles); // names that roles_to_train may have
        for (size_t k = 0; k < item->count; k++) take_entry_key(&e, item->keys[k].data, &item->items[k]);
        add_paths(list, &e, json_given(item, "path"), json_given(item, "data_files"));
        entry_clear(&e);
    }
    if (v->type != JSON_ARRAY) foreign_refuse(f, v, "expected a list of data sets");
    entry_set_files(f, key, list, before);
}

void map_datasets(const Foreign *f, const Json *v) { map_entries(f, v, CONFIG_train_file); }
void map_test_datasets(const Foreign *f, const Json *v) { map_entries(f, v, CONFIG_validation_file); }
