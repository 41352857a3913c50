#include "config.h"

#include <string.h>

#include "config_internal.h"
#include "fileio.h"
#include "foreign.h"
#include "json_pool.h"
#include "path.h"
#include "record_faults.h"
#include "words.h"
#include "yaml_read.h"

// ---- the table of keys ----

#define BELOW_1 0.999999

static const Key keys[CONFIG_KEYS] = {
#define KEY(type_, name_, ...)                                                                                         \
    [CONFIG_##name_] = {.name = #name_, .type = KEY_##type_, .offset = offsetof(Config, name_), __VA_ARGS__},
#define CHOICE(Enum, name_, list_, ...) KEY(CHOICE, name_, .words = ENUM_WORDS(list_), __VA_ARGS__)
#include "config_keys.def"
};

const KeyTable config_table = {keys, CONFIG_KEYS};

// ---- loading ----

enum { MAX_CONFIG_BYTES = 4 << 20 };

static void refuse_unknown(Loading *l, const char *name, const char *where) {
    const char *near = keys_nearest(&config_table, name);
    if (near)
        problem(l, "%sunknown key \"%.64s\"; the nearest known key is \"%s\"", where, name, near);
    else
        problem(l, "%sunknown key \"%.64s\"; \"lorac help config\" lists them", where, name);
}

// null means absent: in the file the key is skipped, on the command line it resets the value of the file.
void loading_set(Loading *l, ConfigKey i, const Json *v, Origin from) {
    Config *c = l->c;
    const Key *k = &config_table.keys[i];
    Err err = {0};
    bool is_null = v->type == JSON_NULL;
    if (is_null)
        key_set_default(c, k);
    else if (key_read(c, k, v, from.where, &err))
        problem(l, "%s", err.msg);
    l->wrong[i] = err.kind != ERR_NONE;
    c->source[i] = is_null ? SOURCE_DEFAULT : from.source;
    c->line[i] = from.line;
}

void set_named(Loading *l, const char *name, const Json *v, Origin from) {
    const char *implied;
    const Key *k = keys_find(&config_table, name, &implied);
    if (foreign_take(l, name, v, from)) return;
    if (!k) {
        refuse_unknown(l, name, from.where);
        return;
    }
    size_t i = (size_t)(k - config_table.keys);
    if (v->type == JSON_NULL && (implied || from.source == SOURCE_FILE)) return;
    if (implied && v->type == JSON_FALSE) return; // load_in_4bit
    if (from.source == SOURCE_FILE && l->c->source[i] == SOURCE_FILE) {
        problem(l, "%s\"%s\" is another name of %s, which line %d has set", from.where, name, k->name, l->c->line[i]);
        return;
    }
    if (from.source == SOURCE_RUN && l->c->source[i] == SOURCE_RUN) {
        problem(l, "%s\"%s\" is another name of %s, which this run has set", from.where, name, k->name);
        return;
    }
    if (i == CONFIG_learning_rate && v->type == JSON_STRING && strchr(v->str.data, ',')) {
        set_sweep(l, v->str.data, from);
        return;
    }
    if (!implied) {
        loading_set(l, (ConfigKey)i, v, from);
        return;
    }
    AUTO_FREE char *word = mem_strndup(implied, strcspn(implied, " "));
    Json stand_in = json_string(json_str(word));
    if (v->type != JSON_TRUE)
        problem(l, "%s%s: expected true or false", from.where, name);
    else
        loading_set(l, (ConfigKey)i, &stand_in, from);
}

static int parse_config(JsonDoc **doc, const char *text, size_t size, const char *name, Err *err) {
    if (fault_in_file(name, text, size, true, err)) return -1;
    if (yaml_is_name(name)) return yaml_parse_config(doc, text, size, name, err);
    return json_parse_config(doc, text, size, name, err) ? fault_in_value(name, 1, text, size, err) : 0;
}

static int read_config(Loading *l, const char *text, size_t size, const char *name, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    if (parse_config(&doc, text, size, name, err)) return -1;
    const Json *root = json_root(doc);
    if (root->type != JSON_OBJECT)
        return err_input(err, "%s:%u: found %s; expected one %s", name, root->line, json_type_name(root),
                         yaml_is_name(name) ? "mapping of keys to values" : "JSON object");
    foreign_detect(l, root);
    for (size_t i = 0; i < root->count; i++) {
        int line = (int)root->items[i].line;
        AUTO_FREE char *where = mem_printf("%s:%d: ", name, line);
        set_named(l, root->keys[i].data, &root->items[i], (Origin){where, SOURCE_FILE, line});
    }
    l->root = NULL;
    return 0;
}

int config_read(Config *c, const char *text, size_t size, const char *name, Err *err) {
    AUTO_CALL(loading_clear) Loading l = {.c = c};
    if (read_config(&l, text, size, name, err)) return -1;
    foreign_finish(&l);
    return l.n_problems ? err_input(err, "%s", l.problems[0]) : 0;
}

static int load_file(Loading *l, const char *path, Err *err) {
    bool folder = path_is_dir(path);
    if (l->c->file) return err_input(err, "%s: a second config file; the first is %s", path, l->c->file);
    if (folder || ends_with_nocase(path, strlen(path), ".gguf"))
        return err_input(err, "%s: found a %s; expected a config file; a model is given as -m %s", path,
                         folder ? "folder" : "model", path);
    AUTO_FREE char *text = NULL;
    size_t size;
    if (file_read(&text, &size, path, MAX_CONFIG_BYTES, err)) {
        if (err) err->kind = ERR_INPUT;
        return -1;
    }
    l->c->file = mem_strdup(path);
    return read_config(l, text, size, path, err);
}

// -m stands for the model, as for the other verbs.
static Word split_word(const char *argument) {
    static const char model[] = "model_name_or_path";
    Word w = word_split(argument);
    if (w.is_letter && strcmp(w.key, "m") == 0) {
        memcpy(w.key, model, sizeof model);
        w.is_letter = false;
    }
    return w;
}

// What the value of an option is read as.
static const Key *form_of(const Word *w, const Key **k) {
    static const Key flag = {.type = KEY_BOOL}, any = {.type = KEY_TEXT};
    const char *implied;
    *k = keys_find(&config_table, w->key, &implied);
    return foreign_knows(w->key) || !*k ? &any : implied ? &flag : *k; // load_in_4bit is a flag, too
}

int config_operand(int argc, char **argv) {
    const Key *k;
    for (int i = 0; i < argc; i++) {
        Word w = split_word(argv[i]);
        if (!w.is_key) return i;
        word_value(&w, form_of(&w, &k)->type == KEY_BOOL, argc, argv, &i);
    }
    return -1;
}

// One argument. The file is read in the pass without overrides, the keys are set in the other.
static int apply_word(Loading *l, bool overrides, int argc, char **argv, int *i, Err *err) {
    static const Key any = {.type = KEY_TEXT};
    AUTO_JSON JsonDoc *doc = NULL;
    const Key *k;
    Word w = split_word(argv[*i]);
    if (!w.is_key) return overrides ? 0 : load_file(l, argv[*i], err);
    bool other = foreign_knows(w.key);
    const Key *form = form_of(&w, &k);
    const char *text = word_value(&w, form->type == KEY_BOOL, argc, argv, i);
    if (!overrides) return 0;
    if (other) {
        if (!text) text = "true"; // --do_train
        if (yaml_parse_config(&doc, text, strlen(text), "command line", NULL) && key_from_text(&doc, &any, text, err))
            return -1;
        set_named(l, w.key, json_root(doc), (Origin){"command line: ", SOURCE_COMMAND_LINE, 0});
        return 0;
    }
    if (k && !text) {
        problem(l, "command line: --%s has no value", w.key);
        return 0;
    }
    if (!k && w.is_letter) {
        problem(l, "command line: unknown option -%s", w.key);
        return 0;
    }
    if (key_from_text(&doc, form, k ? text : "", err)) return -1;
    set_named(l, w.key, json_root(doc), (Origin){"command line: ", SOURCE_COMMAND_LINE, 0});
    return 0;
}

// Keys that the command line sets.
static void note_overrides(Loading *l, int argc, char **argv) {
    const char *implied;
    for (int i = 0; i < argc; i++) {
        Word w = split_word(argv[i]);
        const Key *k = w.is_key ? keys_find(&config_table, w.key, &implied) : NULL;
        if (k) l->overridden[k - config_table.keys] = true;
    }
}

int config_load(Config *c, int argc, char **argv, ConfigPurpose purpose, Err *err) {
    AUTO_CALL(loading_clear) Loading l = {.c = c};
    keys_set_defaults(&config_table, c);
    note_overrides(&l, argc, argv);
    for (int overrides = 0; overrides < 2; overrides++) // overrides win, wherever the file is in argv
        for (int i = 0; i < argc; i++)
            if (apply_word(&l, overrides, argc, argv, &i, err)) return -1;
    foreign_finish(&l);
    if (c->dtype == DTYPE_WORD_TF32 && !config_is_set(c, CONFIG_float32_matmul_precision))
        c->float32_matmul_precision = PRECISION_HIGH;
    if (c->task == TASK_EMBEDDING && !config_is_set(c, CONFIG_packing)) c->packing = false;
    check_rules(&l, purpose);
    return problems_report(&l, err);
}

void config_clear(Config *c) {
    keys_clear(&config_table, c);
    mem_free(c->file);
    str_clear(&c->notes);
    *c = (Config){0};
}

DtypeWord config_dtype(const Config *c) {
    DtypeWord dtype = c->dtype;
    CHECK(run_device_set_precision(&dtype, c->float32_matmul_precision, NULL) == 0); // config_rules.c has checked it
    return dtype;
}

LearntTurns config_learnt(const Config *c) {
    LearntTurns l = {.eos = c->train_on_eos, .last_only = c->mask_history};
    for (size_t i = 0; i < c->roles_to_train.count; i++)
        l.roles |= 1u << words_index(ENUM_WORDS(LEARNT_ROLES), c->roles_to_train.items[i]);
    if (!l.roles) l.roles = LEARN_BY_FLAG;
    return l;
}

int64_t config_global_batch(const Config *c) { return c->per_device_train_batch_size * c->gradient_accumulation_steps; }
