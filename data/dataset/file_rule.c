#include "file_rule.h"

#include <string.h>

const char *column_name(RecordKey c) {
    static const char *const names[] = {
        "messages", "tools", "system",  "prompt",   "completion",       "instruction", "input",    "output", "history",
        "text",     "label", "chosen",  "rejected", "anchor",           "positive",    "negative", "score",  "tokens",
        "tags",     "role",  "content", "train",    "reasoning_content"};
    return names[c];
}

FileRule file_rule_copy(const FileRule *r) {
    FileRule copy = *r;
    copy.split = r->split ? mem_strdup(r->split) : NULL;
    copy.prompt = prompt_format_copy(&r->prompt);
    copy.role_names = NULL;
    copy.n_role_names = 0;
    for (size_t i = 0; i < r->n_role_names; i++)
        file_rule_add_role(&copy, r->role_names[i].name, r->role_names[i].target);
    for (RecordKey c = 0; c < RECORD_KEYS; c++) copy.columns[c] = r->columns[c] ? mem_strdup(r->columns[c]) : NULL;
    return copy;
}

void file_rule_add_role(FileRule *r, const char *name, RoleTarget target) {
    r->role_names = mem_realloc(r->role_names, r->n_role_names + 1, sizeof *r->role_names);
    r->role_names[r->n_role_names++] = (RoleName){mem_strdup(name), target};
}

void file_rule_clear(FileRule *r) {
    mem_free(r->split);
    prompt_format_clear(&r->prompt);
    for (size_t i = 0; i < r->n_role_names; i++) mem_free(r->role_names[i].name);
    mem_free(r->role_names);
    for (RecordKey c = 0; c < RECORD_KEYS; c++) mem_free(r->columns[c]);
    *r = (FileRule){0};
}

bool file_rule_has_columns(const FileRule *r) {
    for (RecordKey c = 0; c < RECORD_KEYS; c++)
        if (r->columns[c]) return true;
    return false;
}

LearntTurns file_rule_learnt(const FileRule *r, LearntTurns options) {
    if (r && r->roles) options.roles = r->roles;
    if (r && r->has_eos) options.eos = r->eos;
    return options;
}

const PromptFormat *file_rule_prompt(const FileRule *r) {
    return r && prompt_format_is_given(&r->prompt) ? &r->prompt : NULL;
}

void file_rule_print(StrBuf *out, const FileRule *r) {
    if (r->format != FORMAT_AUTO) str_printf(out, "format=%s\n", dataset_format_name(r->format));
    if (r->limit) str_printf(out, "limit=%.17g\n", r->limit);
    if (r->split) str_printf(out, "split=%s\n", r->split);
    if (r->roles) str_printf(out, "roles=%u\n", r->roles);
    if (r->has_eos) str_printf(out, "eos=%d\n", r->eos);
    for (size_t i = 0; i < r->n_role_names; i++)
        str_printf(out, "role %d=%zu:%s\n", r->role_names[i].target, strlen(r->role_names[i].name),
                   r->role_names[i].name);
    for (PromptPart p = 0; p < PROMPT_PARTS; p++)
        if (r->prompt.parts[p])
            str_printf(out, "%s=%zu:%s\n", prompt_part_name(p), strlen(r->prompt.parts[p]), r->prompt.parts[p]);
    for (RecordKey c = 0; c < RECORD_KEYS; c++)
        if (r->columns[c]) str_printf(out, "column %s=%s\n", column_name(c), r->columns[c]);
}

// The value of "a" or "a.b"; NULL: none. A key that has the dots in its name comes first.
static const Json *find(const Json *record, const char *name) {
    const Json *v = json_get(record, name);
    for (const char *dot = name; !v && (dot = strchr(dot, '.')); dot++) {
        AUTO_FREE char *outer = mem_strndup(name, (size_t)(dot - name));
        const Json *object = json_get(record, outer);
        if (object) v = find(object, dot + 1);
    }
    return v;
}

typedef struct Members { // of an object that is built
    JsonPool *pool;
    JsonStr *keys;
    Json *items;
    size_t count, capacity;
} Members;

static void add_member(Members *m, JsonStr key, const Json *v) {
    if (m->count == m->capacity) {
        m->capacity = 2 * m->capacity + 8;
        Json *items = json_pool_alloc(m->pool, m->capacity, sizeof *items);
        JsonStr *keys = json_pool_alloc(m->pool, m->capacity, sizeof *keys);
        if (m->count) memcpy(items, m->items, m->count * sizeof *items);
        if (m->count) memcpy(keys, m->keys, m->count * sizeof *keys);
        m->items = items;
        m->keys = keys;
    }
    m->keys[m->count] = key;
    m->items[m->count++] = *v;
}

static JsonStr longer(JsonPool *pool, const char *prefix, JsonStr key, const char *suffix) {
    StrBuf whole = {0};
    str_puts(&whole, prefix);
    str_add(&whole, key.data, key.len);
    str_puts(&whole, suffix);
    return json_pool_text(pool, &whole);
}

// The members of `object` but `name`; of an object that has `name`, "a.b", inside the others by their whole names,
// "a.x": what is left of it is still there to be found, and listed where nothing reads it. prefix: "" or "a.".
static void add_others(Members *m, const Json *object, const char *name, const char *prefix) {
    bool own = json_get(object, name) != NULL;
    for (size_t i = 0; i < object->count; i++) {
        JsonStr key = object->keys[i];
        const Json *v = &object->items[i];
        if (json_str_is(key, name)) continue;
        bool outer =
            !own && strncmp(name, key.data, key.len) == 0 && name[key.len] == '.' && find(v, name + key.len + 1);
        if (*prefix || outer) key = longer(m->pool, prefix, key, outer ? "." : "");
        if (outer)
            add_others(m, v, name + object->keys[i].len + 1, key.data);
        else
            add_member(m, key, v);
    }
}

// `object` without what `name` names, and with `to` set to v.
static Json renamed(JsonPool *pool, const Json *object, const char *name, const char *to, const Json *v) {
    Members all = {.pool = pool}, m = {.pool = pool};
    add_others(&all, object, name, "");
    for (size_t i = 0; i < all.count; i++)
        if (!json_str_is(all.keys[i], to)) add_member(&m, all.keys[i], &all.items[i]);
    add_member(&m, json_str(to), v);
    return (Json){.type = JSON_OBJECT, .line = object->line, .count = m.count, .items = m.items, .keys = m.keys};
}

static int rename_key(Json *object, const char *name, const char *to, JsonPool *pool, Err *err) {
    const Json *v = object->type == JSON_OBJECT ? find(object, name) : NULL;
    if (!v || strcmp(name, to) == 0) return 0;
    if (json_given(object, to))
        return err_input(err, "found a record with both \"%.64s\" and \"%.64s\", which columns names %s", to, name, to);
    *object = renamed(pool, object, name, to, v);
    return 0;
}

// The role's own name, of a turn with another.
static void rename_role(Json *turn, const FileRule *r, JsonPool *pool) {
    const char *key = json_get(turn, "role") ? "role" : "from";
    const Json *name = json_get(turn, key);
    for (size_t i = 0; name && i < r->n_role_names; i++)
        if (json_is_string(name, r->role_names[i].name)) {
            const char *target = ENUM_WORDS(ROLE_TARGETS)[r->role_names[i].target].word;
            *turn = json_with(pool, turn, key, json_string(json_str(target)));
            return;
        }
}

// The list of turns of a record, and its key; NULL: none.
static const Json *turns_of(const Json *record, const char **key) {
    static const char *const keys[] = {"messages", "conversations", "conversation"};
    if (record->type == JSON_ARRAY) return record;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_given(record, *key = keys[i])) return json_get(record, keys[i]);
    return NULL;
}

static int rename_turn(Json *turn, const FileRule *r, JsonPool *pool, Err *err) {
    for (RecordKey c = COLUMN_ROLE; c < RECORD_KEYS; c++)
        if (r->columns[c] && rename_key(turn, r->columns[c], column_name(c), pool, err)) return -1;
    rename_role(turn, r, pool);
    return 0;
}

static int rename_list(Json *out, const Json *turns, const FileRule *r, JsonPool *pool, Err *err) {
    Json *items = json_pool_alloc(pool, turns->count, sizeof *items);
    for (size_t i = 0; i < turns->count; i++) {
        items[i] = turns->items[i];
        if (rename_turn(&items[i], r, pool, err)) return -1;
    }
    *out = json_list(items, turns->count);
    return 0;
}

// Of a prompt and its answers: a list, or one message.
static int rename_answers(Json *record, const FileRule *r, JsonPool *pool, Err *err) {
    static const char *const keys[] = {"prompt", "completion", "chosen", "rejected"};
    for (size_t i = 0; record->type == JSON_OBJECT && i < sizeof keys / sizeof *keys; i++) {
        const Json *v = json_given(record, keys[i]);
        if (!v || (v->type != JSON_ARRAY && v->type != JSON_OBJECT)) continue;
        Json named = *v;
        if (v->type == JSON_ARRAY ? rename_list(&named, v, r, pool, err) : rename_turn(&named, r, pool, err)) return -1;
        *record = json_with(pool, record, keys[i], named);
    }
    return 0;
}

static int rename_turns(Json *record, const FileRule *r, JsonPool *pool, Err *err) {
    const char *key = "messages";
    const Json *turns = turns_of(record, &key);
    Json list;
    if (turns && turns->type == JSON_STRING && turns->str.data[strspn(turns->str.data, " \t\r\n")] == '[' &&
        !(turns = json_pool_parse(pool, turns->str, key, err)))
        return -1;
    if (turns && turns->type == JSON_ARRAY) {
        if (rename_list(&list, turns, r, pool, err)) return -1;
        *record = record->type == JSON_ARRAY ? list : json_with(pool, record, key, list);
    }
    return rename_answers(record, r, pool, err);
}

// ---- names that the first record lacks ----

static int fail_name(const Json *object, const char *what, const char *name, RecordKey c, Err *err) {
    AUTO_STR StrBuf keys = {0};
    for (size_t i = 0; i < object->count && i < 12; i++)
        str_printf(&keys, "%s%.64s", i ? ", " : "", object->keys[i].data);
    return err_input(err, "columns: %s: found no \"%.64s\" in %s; its keys are {%s%s}", column_name(c), name, what,
                     keys.len ? keys.data : "", object->count > 12 ? ", ..." : "");
}

// A wrong name of the mask's key would let masked turns be learnt.
static void warn_mask(const Json *turns, const FileRule *r) {
    const char *name = r->columns[COLUMN_TRAIN];
    Err why;
    for (size_t i = 0; name && i < turns->count; i++)
        if (turns->items[i].type == JSON_OBJECT && find(&turns->items[i], name)) return;
    if (!name) return;
    fail_name(&turns->items[0], "the messages of the first record", name, COLUMN_TRAIN, &why);
    log_warn("%s", why.msg);
}

static int check_turn_names(const Json *record, const FileRule *r, Err *err) {
    const char *name = r->columns[COLUMN_MESSAGES];
    const char *key;
    const Json *turns = name && record->type != JSON_ARRAY ? find(record, name) : NULL;
    if (!turns) turns = turns_of(record, &key);
    if (!turns || turns->type != JSON_ARRAY || !turns->count || turns->items[0].type != JSON_OBJECT) return 0;
    for (RecordKey c = COLUMN_ROLE; c <= COLUMN_CONTENT; c++)
        if (r->columns[c] && !find(&turns->items[0], r->columns[c]))
            return fail_name(&turns->items[0], "the first message", r->columns[c], c, err);
    warn_mask(turns, r);
    return 0;
}

int file_rule_check(const Json *record, const FileRule *r, Err *err) {
    for (RecordKey c = 0; c < COLUMN_ROLE && record->type == JSON_OBJECT; c++) {
        bool optional = c == COLUMN_TOOLS || c == COLUMN_SYSTEM || c == COLUMN_INPUT || c == COLUMN_HISTORY;
        if (!r->columns[c] || find(record, r->columns[c])) continue;
        if (!optional) return fail_name(record, "the first record", r->columns[c], c, err);
        Err why = {0};
        fail_name(record, "the first record", r->columns[c], c, &why);
        log_warn("%s", why.msg);
    }
    return check_turn_names(record, r, err);
}

void file_rule_add_columns(FileRule *r, const FileRule *others) {
    for (RecordKey c = 0; c < RECORD_KEYS; c++)
        if (others->columns[c] && !r->columns[c]) r->columns[c] = mem_strdup(others->columns[c]);
}

int file_rule_rename(Json *record, const FileRule *r, JsonPool *pool, Err *err) {
    for (RecordKey c = 0; c < COLUMN_ROLE; c++)
        if (r->columns[c] && rename_key(record, r->columns[c], column_name(c), pool, err)) return -1;
    bool of_turns = r->n_role_names > 0;
    for (RecordKey c = COLUMN_ROLE; c < RECORD_KEYS; c++) of_turns |= r->columns[c] != NULL;
    return of_turns ? rename_turns(record, r, pool, err) : 0;
}
