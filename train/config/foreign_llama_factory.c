// foreign_llama_factory: the data sets of LLaMA-Factory's configs, which dataset_info.json describes, as entries of
// train_file.
//
// Source: the parser of LLaMA-Factory's dataset_info.json and its converters.
#include <string.h>

#include "fileio.h"
#include "foreign_entry.h"
#include "json_pool.h"
#include "path.h"

enum { MAX_INFO_BYTES = 16 << 20 };

void map_max_samples(const Foreign *f, const Json *v) {
    int64_t n;
    if (json_whole(v, &n) && n >= 1)
        f->l->given.max_samples = (Given){f->from.source, f->from.line, (double)n};
    else
        foreign_refuse(f, v, "expected a number of records");
}

static void take_tags(Entry *e, const Json *tags) {
    static const char *const known[] = {[TARGET_SYSTEM] = "system_tag",
                                        [TARGET_USER] = "user_tag",
                                        [TARGET_ASSISTANT] = "assistant_tag",
                                        [TARGET_TOOL] = "observation_tag",
                                        [TARGET_FUNCTION_CALL] = "function_tag"};
    enum { KNOWN = sizeof known / sizeof *known };
    for (size_t i = 0; tags->type == JSON_OBJECT && i < tags->count; i++) {
        const char *tag = tags->keys[i].data;
        const Json *name = &tags->items[i];
        size_t t = 0;
        while (t < KNOWN && strcmp(tag, known[t]) != 0) t++;
        if (name->type == JSON_NULL) continue;
        if (is_among(tag, strlen(tag), "role_tag content_tag"))
            entry_add_column(e, tag, *tag == 'r' ? COLUMN_ROLE : COLUMN_CONTENT, name);
        else if (t == KNOWN || !json_is_text(name) || !name->str.len)
            entry_refuse(e, tag, name,
                         "expected role_tag, content_tag, or the name that user, assistant, observation, "
                         "function or system have in the data");
        else
            entry_add_role(e, (RoleTarget)t, name->str.data);
    }
    if (tags->type != JSON_OBJECT) entry_refuse(e, "tags", tags, "expected an object");
}

static void take_columns(Entry *e, const Json *columns) {
    static const struct {
        const char *name;
        RecordKey column;
    } known[] = {{"prompt", COLUMN_INSTRUCTION}, {"query", COLUMN_INPUT},   {"response", COLUMN_OUTPUT},
                 {"history", COLUMN_HISTORY},    {"system", COLUMN_SYSTEM}, {"tools", COLUMN_TOOLS},
                 {"messages", COLUMN_MESSAGES},  {"chosen", COLUMN_CHOSEN}, {"rejected", COLUMN_REJECTED},
                 {"kto_tag", COLUMN_LABEL}};
    enum { KNOWN = sizeof known / sizeof *known };
    for (size_t i = 0; columns->type == JSON_OBJECT && i < columns->count; i++) {
        size_t k = 0;
        if (columns->items[i].type == JSON_NULL) continue;
        while (k < KNOWN && !json_str_is(columns->keys[i], known[k].name)) k++;
        if (k == KNOWN)
            entry_refuse(e, columns->keys[i].data, &columns->items[i], "images and sound are not in this version");
        else
            entry_add_column(e, known[k].name, known[k].column, &columns->items[i]);
    }
    if (columns->type != JSON_OBJECT) entry_refuse(e, "columns", columns, "expected an object");
}

// The key that columns name as prompt holds the text.
static void take_text(Entry *e, const Json *formatting, const Json *columns) {
    const Json *prompt = columns ? json_given(columns, "prompt") : NULL;
    e->format = "text";
    if (formatting && !entry_is_word(formatting, "alpaca"))
        entry_refuse(e, "formatting", formatting, "with stage: pt expected alpaca, with columns: {prompt: KEY}");
    else if (!prompt || !json_is_text(prompt))
        problem(e->f->l,
                "%s%s: no column is the prompt; with stage: pt expected columns: {prompt: KEY}, the key that "
                "holds the text",
                e->f->from.where, e->f->name);
    else
        entry_add_column(e, "prompt", COLUMN_TEXT, prompt);
    for (size_t i = 0; prompt && i < columns->count; i++)
        if (columns->items[i].type != JSON_NULL && !json_str_is(columns->keys[i], "prompt"))
            entry_refuse(e, columns->keys[i].data, &columns->items[i], "with stage: pt only the prompt is learnt");
}

static void refuse_info(const Entry *e, JsonStr key, const Json *v) {
    entry_refuse(e, key.data, v,
                 json_str_is(key, "num_samples") ? "expected max_samples in the config: the first records"
                                                 : "this key of dataset_info.json is not in this version");
}

// An entry of dataset_info.json. `name` begins messages about it.
static void add_info(cJSON *list, const Foreign *f, const char *dir, const char *name, const Json *info) {
    Foreign place = {f->l, name, f->from, NULL};
    Entry e = {.f = &place};
    const Json *file = json_given(info, "file_name"), *formatting = json_given(info, "formatting");
    const Json *columns = json_given(info, "columns"), *tags = json_given(info, "tags"),
               *split = json_given(info, "split"), *hub = json_given(info, "hf_hub_url"),
               *revision = json_given(info, "revision");
    static const char known[] =
        "file_name hf_hub_url ms_hub_url om_hub_url formatting columns tags split revision ranking";
    bool alpaca = !formatting || entry_is_word(formatting, "alpaca");
    for (size_t i = 0; info->type == JSON_OBJECT && i < info->count; i++)
        if (!is_among(info->keys[i].data, info->keys[i].len, known) && !foreign_is_off(&info->items[i]) &&
            (file || hub))
            refuse_info(&e, info->keys[i], &info->items[i]);
    const Json *from = file ? file : hub;
    if (!from || !json_is_text(from) || !from->str.len) {
        problem(f->l, "%s%s: the data set %.80s is on another hub; download it, and name its file", f->from.where,
                f->name, name);
        return;
    }
    if (!alpaca && !foreign_is_pretraining(f->l) && !entry_is_one_of(formatting, "sharegpt openai"))
        entry_refuse(&e, "formatting", formatting, "expected alpaca, sharegpt or openai");
    const Json *ranking = json_given(info, "ranking"), *tag = columns ? json_given(columns, "kto_tag") : NULL;
    bool preference = (ranking && ranking->type == JSON_TRUE) || tag; // their form is found out
    if (alpaca && !preference) e.format = "alpaca";
    if (foreign_is_pretraining(f->l))
        take_text(&e, formatting, columns);
    else if (columns)
        take_columns(&e, columns);
    if (tags) take_tags(&e, tags);
    if (split) entry_take_split(&e, split);
    if (revision && json_is_text(revision)) e.revision = revision->str.data;
    AUTO_FREE char *path = file ? path_join(dir, file->str.data) : mem_strdup(hub->str.data);
    entry_add_file(list, &e, path);
    entry_clear(&e);
}

// A path, or a name of dataset_info.json.
static void add_name(cJSON *list, const Foreign *f, const char *dir, const Json *info, const char *name) {
    const Json *entry = json_given(info, name);
    if (entry) {
        add_info(list, f, dir, name, entry);
    } else if (strpbrk(name, "./")) {
        entry_add_file(list, &(Entry){.f = f, .format = foreign_is_pretraining(f->l) ? "text" : NULL}, name);
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
    entry_set_files(f, key, list, before);
}
