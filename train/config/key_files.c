// key_files: data files as values of keys: a path, or an object with the path and the rules of its records.
#include <math.h>
#include <string.h>

#include "keys_internal.h"
#include "record_slice.h"

void file_list_add(FileList *l, const char *path, double weight, const FileRule *rule) {
    l->weights = mem_realloc(l->weights, l->count + 1, sizeof *l->weights);
    l->rules = mem_realloc(l->rules, l->count + 1, sizeof *l->rules);
    l->weights[l->count] = weight;
    l->rules[l->count] = rule ? file_rule_copy(rule) : (FileRule){0};
    texts_add(&l->items, &l->count, path);
}

// e: the value that messages show.
static int read_columns(const Reading *r, const Json *e, const Json *columns, FileRule *rule) {
    if (columns->type != JSON_OBJECT)
        return key_wrong(r, e, "columns as {\"messages\": \"its name in the file\", ...}");
    for (size_t i = 0; i < columns->count; i++) {
        const Json *name = &columns->items[i];
        RecordKey c = 0;
        while (c < RECORD_KEYS && !json_str_is(columns->keys[i], column_name(c))) c++;
        if (name->type == JSON_NULL) continue;
        if (c == RECORD_KEYS)
            return key_wrong(
                r, e,
                "columns of messages, tools, system, prompt, completion, instruction, input, output, history, "
                "text, label, chosen, rejected, anchor, positive, negative, score, tokens, tags, role, content, train "
                "or reasoning_content");
        if (name->type != JSON_STRING || !name->str.len) return key_wrong(r, e, "names of columns as text");
        rule->columns[c] = mem_strdup(name->str.data);
    }
    return 0;
}

int key_read_columns(const Reading *r, const Json *v) { return read_columns(r, v, v, r->field); }

static cJSON *columns_json(const FileRule *rule) {
    cJSON *columns = cJSON_CreateObject();
    for (RecordKey c = 0; c < RECORD_KEYS; c++)
        if (rule->columns[c]) cJSON_AddStringToObject(columns, column_name(c), rule->columns[c]);
    return columns;
}

cJSON *key_write_columns(const Key *k, const void *field, bool absolute_paths) { return columns_json(field); }

void key_schema_columns(cJSON *schema, const Key *k) {
    cJSON *names = cJSON_AddObjectToObject(schema, "properties");
    schema_add_types(schema, "object null");
    cJSON_AddFalseToObject(schema, "additionalProperties");
    for (RecordKey c = 0; c < RECORD_KEYS; c++) {
        cJSON *name = cJSON_AddObjectToObject(names, column_name(c));
        schema_add_types(name, "string null");
        cJSON_AddNumberToObject(name, "minLength", 1);
    }
}

void key_free_columns(void *field) { file_rule_clear(field); }

static int read_learnt(const Reading *r, const Json *e, FileRule *rule) {
    const Json *roles = json_given(e, "roles_to_train"), *eos = json_given(e, "train_on_eos");
    int word;
    if (roles && roles->type != JSON_ARRAY) return key_wrong(r, e, "roles_to_train as a list");
    for (size_t i = 0; roles && i < roles->count; i++) {
        const Json *role = &roles->items[i];
        word = role->type == JSON_STRING ? words_index(ENUM_WORDS(LEARNT_ROLES), role->str.data) : -1;
        if (word < 0) return key_wrong(r, e, "roles_to_train of system, user, assistant or tool");
        rule->roles |= 1u << word;
    }
    if (roles && !roles->count) rule->roles = LEARN_BY_FLAG;
    if (!eos) return 0;
    word = eos->type == JSON_STRING ? words_index(ENUM_WORDS(TRAIN_ON_EOS), eos->str.data) : -1;
    if (word < 0) return key_wrong(r, e, "train_on_eos: turn, all, last or none");
    rule->has_eos = true;
    rule->eos = (TrainOnEos)word;
    return 0;
}

static int add_role_name(const Reading *r, const Json *e, const Json *name, RoleTarget target, FileRule *rule) {
    if (name->type != JSON_STRING || !name->str.len) return key_wrong(r, e, "roles as {\"assistant\": [\"bot\"], ...}");
    file_rule_add_role(rule, name->str.data, target);
    return 0;
}

static int read_role_names(const Reading *r, const Json *e, FileRule *rule) {
    const Json *roles = json_given(e, "roles");
    if (roles && roles->type != JSON_OBJECT) return key_wrong(r, e, "roles as {\"assistant\": [\"bot\"], ...}");
    for (size_t i = 0; roles && i < roles->count; i++) {
        const Json *names = &roles->items[i];
        int target = words_index(ENUM_WORDS(ROLE_TARGETS), roles->keys[i].data);
        bool many = names->type == JSON_ARRAY;
        if (target < 0) return key_wrong(r, e, "roles: names of system, user, assistant, tool or function_call");
        for (size_t k = 0; k < (many ? names->count : 1); k++)
            if (add_role_name(r, e, many ? &names->items[k] : names, (RoleTarget)target, rule)) return -1;
    }
    return 0;
}

static int read_prompt_format(const Reading *r, const Json *e, FileRule *rule) {
    const Json *prompt = json_given(e, "prompt_format");
    if (!prompt) return 0;
    if (prompt->type != JSON_OBJECT || !prompt->count)
        return key_wrong(r, e, "prompt_format as {\"format\": \"{instruction} {input}\", ...}");
    for (size_t i = 0; i < prompt->count; i++) {
        const Json *text = &prompt->items[i];
        PromptPart p = 0;
        Err why;
        while (p < PROMPT_PARTS && !json_str_is(prompt->keys[i], prompt_part_name(p))) p++;
        if (text->type == JSON_NULL) continue;
        if (p == PROMPT_PARTS || text->type != JSON_STRING)
            return key_wrong(r, e, "prompt_format of the texts system_prompt, system_format, format, no_input_format");
        if (prompt_format_check(p, text->str.data, &why)) return key_wrong(r, e, why.msg);
        rule->prompt.parts[p] = mem_strdup(text->str.data);
    }
    if (rule->format != FORMAT_AUTO && rule->format != FORMAT_ALPACA_PROMPT)
        return key_wrong(r, e, "prompt_format with the format alpaca_prompt");
    rule->format = FORMAT_ALPACA_PROMPT;
    return 0;
}

static int read_mix(const Reading *r, const Json *e, FileRule *rule) {
    const Json *split = json_given(e, "split"), *probability = json_given(e, "probability");
    RecordSlice unused;
    size_t len;
    if (split && (split->type != JSON_STRING || record_slice_parse(&unused, split->str.data, &len)))
        return key_wrong(r, e, "split as a name with a slice: \"train[:90%]\", \"train[100:200]\", \"train[-50:]\"");
    if (split) rule->split = mem_strdup(split->str.data);
    if (!probability) return 0;
    rule->probability = json_is_number(probability) ? probability->number : 0;
    return rule->probability > 0 && rule->probability < 1 ? 0 : key_wrong(r, e, "a probability above 0 and below 1");
}

static int read_rule(const Reading *r, const Json *e, FileRule *rule) {
    const Json *format = json_given(e, "format"), *limit = json_given(e, "max_samples"),
               *columns = json_given(e, "columns");
    if (format) {
        int word = format->type == JSON_STRING ? words_index(ENUM_WORDS(DATASET_FORMATS), format->str.data) : -1;
        if (word < 0) return key_wrong(r, e, "a format of dataset_format");
        rule->format = (DatasetFormat)word;
    }
    if (limit) {
        rule->limit = json_is_number(limit) ? limit->number : 0;
        if (!(rule->limit > 0 && rule->limit < 1) &&
            !(rule->limit >= 1 && rule->limit <= 0x1p53 && rule->limit == floor(rule->limit)))
            return key_wrong(r, e, "max_samples as a number of records, or a fraction below 1");
    }
    bool wrong = read_learnt(r, e, rule) || read_role_names(r, e, rule) || read_prompt_format(r, e, rule) ||
                 read_mix(r, e, rule) || (columns && read_columns(r, e, columns, rule));
    return wrong ? -1 : 0;
}

static int read_file(const Reading *r, const Json *e) {
    static const char *const keys[] = {"path",        "weight",         "format",       "max_samples",
                                       "columns",     "roles_to_train", "train_on_eos", "split",
                                       "probability", "roles",          "prompt_format"};
    const Json *path = e->type == JSON_OBJECT ? json_get(e, "path") : e, *weight = json_given(e, "weight");
    size_t known = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) known += json_get(e, keys[i]) != NULL;
    if (e->type == JSON_OBJECT && e->count != known)
        return key_wrong(
            r, e,
            "no keys but path, weight, format, max_samples, columns, roles, prompt_format, roles_to_train, "
            "train_on_eos, split and probability");
    if (!path || path->type != JSON_STRING || !path->str.len)
        return key_wrong(r, e, "a path or {\"path\": ..., \"weight\": ...}");
    if (weight && !(json_is_number(weight) && weight->number >= r->k->min && weight->number <= r->k->max))
        return key_wrong(r, e, r->k->max == 1 ? "no weight" : "a weight above 0, at most 1000");
    FileRule rule = {0};
    int rc = read_rule(r, e, &rule);
    if (!rc) file_list_add(r->field, path->str.data, weight ? weight->number : 1, &rule);
    file_rule_clear(&rule);
    return rc;
}

int key_read_files(const Reading *r, const Json *v) {
    return key_read_list(r, v, read_file, v->type == JSON_STRING || v->type == JSON_OBJECT,
                         "a path or a list of paths");
}

static void write_role_names(cJSON *entry, const FileRule *rule) {
    cJSON *roles = rule->n_role_names ? cJSON_AddObjectToObject(entry, "roles") : NULL;
    for (size_t i = 0; i < rule->n_role_names; i++) {
        const char *target = ENUM_WORDS(ROLE_TARGETS)[rule->role_names[i].target].word;
        cJSON *names = cJSON_GetObjectItemCaseSensitive(roles, target);
        if (!names) names = cJSON_AddArrayToObject(roles, target);
        cJSON_AddItemToArray(names, cJSON_CreateString(rule->role_names[i].name));
    }
}

static void write_prompt_format(cJSON *parts, const PromptFormat *prompt) {
    for (PromptPart p = 0; p < PROMPT_PARTS; p++)
        if (prompt->parts[p]) cJSON_AddStringToObject(parts, prompt_part_name(p), prompt->parts[p]);
}

static void write_rule(cJSON *entry, const FileRule *rule) {
    if (rule->format != FORMAT_AUTO) cJSON_AddStringToObject(entry, "format", dataset_format_name(rule->format));
    if (rule->limit) cJSON_AddNumberToObject(entry, "max_samples", rule->limit);
    if (rule->split) cJSON_AddStringToObject(entry, "split", rule->split);
    if (rule->probability) cJSON_AddNumberToObject(entry, "probability", rule->probability);
    if (rule->has_eos) cJSON_AddStringToObject(entry, "train_on_eos", ENUM_WORDS(TRAIN_ON_EOS)[rule->eos].word);
    cJSON *roles = rule->roles ? cJSON_AddArrayToObject(entry, "roles_to_train") : NULL;
    for (int k = 0; roles && k < ROLE_COUNT; k++)
        if (rule->roles & 1u << k) cJSON_AddItemToArray(roles, cJSON_CreateString(ENUM_WORDS(LEARNT_ROLES)[k].word));
    write_role_names(entry, rule);
    if (file_rule_prompt(rule)) write_prompt_format(cJSON_AddObjectToObject(entry, "prompt_format"), &rule->prompt);
    if (file_rule_has_columns(rule)) cJSON_AddItemToObject(entry, "columns", columns_json(rule));
}

cJSON *key_write_files(const Key *k, const void *field, bool absolute_paths) {
    const FileList *l = field;
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->count; i++) {
        cJSON *entry = cJSON_CreateObject(), *path = key_path_json(k, l->items[i], absolute_paths);
        cJSON_AddItemToObject(entry, "path", path);
        if (l->weights[i] != 1) cJSON_AddNumberToObject(entry, "weight", l->weights[i]);
        write_rule(entry, &l->rules[i]);
        bool plain = !path->next;
        cJSON_AddItemToArray(list, plain ? cJSON_DetachItemViaPointer(entry, path) : entry);
        if (plain) cJSON_Delete(entry);
    }
    return list;
}

static void add_enum(cJSON *schema, const EnumWord *words, bool may_be_null) {
    cJSON *list = cJSON_AddArrayToObject(schema, "enum");
    for (; words->word; words++) cJSON_AddItemToArray(list, cJSON_CreateString(words->word));
    if (may_be_null) cJSON_AddItemToArray(list, cJSON_CreateNull());
}

static void schema_role_names(cJSON *schema) {
    schema_add_types(schema, "object null");
    cJSON_AddFalseToObject(schema, "additionalProperties");
    cJSON *members = cJSON_AddObjectToObject(schema, "properties");
    for (const EnumWord *target = ENUM_WORDS(ROLE_TARGETS); target->word; target++) {
        cJSON *names = cJSON_AddObjectToObject(members, target->word);
        schema_add_types(names, "string array");
        cJSON_AddNumberToObject(names, "minLength", 1);
        cJSON *name = cJSON_AddObjectToObject(names, "items");
        schema_add_types(name, "string");
        cJSON_AddNumberToObject(name, "minLength", 1);
    }
}

static void schema_prompt_format(cJSON *schema) {
    schema_add_types(schema, "object null");
    cJSON_AddNumberToObject(schema, "minProperties", 1);
    cJSON_AddFalseToObject(schema, "additionalProperties");
    cJSON *members = cJSON_AddObjectToObject(schema, "properties");
    for (PromptPart p = 0; p < PROMPT_PARTS; p++)
        schema_add_types(cJSON_AddObjectToObject(members, prompt_part_name(p)), "string null");
}

static void schema_file(cJSON *schema, const Key *k) {
    schema_add_types(schema, "string object");
    cJSON_AddNumberToObject(schema, "minLength", 1);
    cJSON *members = cJSON_AddObjectToObject(schema, "properties"), *path = cJSON_AddObjectToObject(members, "path");
    schema_add_types(path, "string");
    cJSON_AddNumberToObject(path, "minLength", 1);
    schema_float(cJSON_AddObjectToObject(members, "weight"), k);
    add_enum(cJSON_AddObjectToObject(members, "format"), ENUM_WORDS(DATASET_FORMATS), true);
    cJSON *limit = cJSON_AddObjectToObject(members, "max_samples");
    schema_add_types(limit, "number null");
    cJSON_AddNumberToObject(limit, "exclusiveMinimum", 0);
    schema_add_types(cJSON_AddObjectToObject(members, "split"), "string null");
    cJSON *probability = cJSON_AddObjectToObject(members, "probability");
    schema_add_types(probability, "number null");
    cJSON_AddNumberToObject(probability, "exclusiveMinimum", 0);
    cJSON_AddNumberToObject(probability, "exclusiveMaximum", 1);
    cJSON *roles = cJSON_AddObjectToObject(members, "roles_to_train");
    schema_add_types(roles, "array null");
    add_enum(cJSON_AddObjectToObject(roles, "items"), ENUM_WORDS(LEARNT_ROLES), false);
    add_enum(cJSON_AddObjectToObject(members, "train_on_eos"), ENUM_WORDS(TRAIN_ON_EOS), true);
    schema_role_names(cJSON_AddObjectToObject(members, "roles"));
    schema_prompt_format(cJSON_AddObjectToObject(members, "prompt_format"));
    key_schema_columns(cJSON_AddObjectToObject(members, "columns"), k);
    cJSON_AddItemToObject(schema, "required", cJSON_CreateStringArray((const char *const[]){"path"}, 1));
    cJSON_AddFalseToObject(schema, "additionalProperties");
}

void key_schema_files(cJSON *schema, const Key *k) { schema_add_list(schema, k, schema_file); }

void key_free_files(void *field) {
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
    key_free_files(l);
    *l = (FileList){0};
}
