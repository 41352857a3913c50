#include "config.h"

#include <string.h>

#include "config_internal.h"
#include "fileio.h"
#include "json_pool.h"
#include "record_faults.h"
#include "words.h"

// ---- the table of keys ----

#define BELOW_1 0.999999

static const Key keys[CONFIG_KEYS] = {
#define KEY(type_, name_, ...)                                                                                         \
    [CONFIG_##name_] = {.name = #name_, .type = KEY_##type_, .offset = offsetof(Config, name_), __VA_ARGS__},
#define CHOICE(Enum, name_, list_, ...) KEY(CHOICE, name_, .words = ENUM_WORDS(list_), __VA_ARGS__)
#include "config_keys.def"
};

const KeyTable config_table = {keys, CONFIG_KEYS};

// ---- rules between keys ----

// "FILE:LINE: key", "command line: key" or "key": the start of a message about a key.
static int refuse_key(const Config *c, ConfigKey key, const char *what, Err *err) {
    const char *name = config_table.keys[key].name;
    if (c->source[key] == SOURCE_FILE) return err_input(err, "%s:%d: %s: %s", c->file, c->line[key], name, what);
    return err_input(err, "%s%s: %s", c->source[key] == SOURCE_COMMAND_LINE ? "command line: " : "", name, what);
}

static int check_required(const Config *c, ConfigPurpose purpose, Err *err) {
    const char *missing = NULL;
    if (purpose == CONFIG_FOR_BENCH) return 0;
    if (purpose == CONFIG_FOR_TRAIN && !c->output_dir) missing = "output_dir";
    if (purpose == CONFIG_FOR_EVAL && !c->validation_file && !c->val_set_size) missing = "validation_file";
    if (purpose != CONFIG_FOR_EVAL && c->train_file.count == 0) missing = "train_file";
    if (!c->model_name_or_path) missing = "model_name_or_path";
    if (!missing) return 0;
    return err_input(err, "%s: required key %s is missing", c->file ? c->file : "command line", missing);
}

static int check_evaluation(const Config *c, Err *err) {
    bool data = c->validation_file || c->val_set_size > 0;
    if (c->validation_file && c->val_set_size > 0)
        return refuse_key(c, CONFIG_val_set_size, "validation_file is set too; expected one of them", err);
    if (c->val_set_size >= 1 && c->val_set_size != (double)(int64_t)c->val_set_size)
        return refuse_key(c, CONFIG_val_set_size, "expected a fraction below 1 or a whole number of samples", err);
    if (c->eval_strategy != EVAL_NO && !data)
        return refuse_key(c, CONFIG_eval_strategy, "needs validation_file or val_set_size", err);
    if (c->eval_strategy == EVAL_NO && c->early_stopping_patience > 0)
        return refuse_key(c, CONFIG_early_stopping_patience, "needs eval_strategy \"steps\" or \"epoch\"", err);
    if (c->eval_strategy == EVAL_NO && c->load_best_model_at_end)
        return refuse_key(c, CONFIG_load_best_model_at_end, "needs eval_strategy \"steps\" or \"epoch\"", err);
    return 0;
}

static int check_whole_steps(const Config *c, ConfigKey key, double steps, Err *err) {
    if (steps < 1 || steps == (double)(int64_t)steps) return 0;
    char what[128];
    snprintf(what, sizeof what, "%g; expected a whole number of steps or a fraction of the run below 1", steps);
    return refuse_key(c, key, what, err);
}

static int check_layers(const Config *c, Err *err) {
    for (size_t i = 1; i < c->layers_to_transform.count; i++) {
        if (c->layers_to_transform.items[i - 1] >= c->layers_to_transform.items[i])
            return refuse_key(c, CONFIG_layers_to_transform, "expected layer numbers in ascending order, each once",
                              err);
    }
    return 0;
}

static int check_rope(const Config *c, Err *err) {
    bool scaled = c->rope_scaling_type != ROPE_OF_MODEL;
    if (scaled && c->rope_scaling_factor == 1)
        return refuse_key(c, CONFIG_rope_scaling_type, "needs rope_scaling_factor above 1", err);
    if (!scaled && c->rope_scaling_factor != 1)
        return refuse_key(c, CONFIG_rope_scaling_factor, "needs rope_scaling_type \"linear\" or \"yarn\"", err);
    return 0;
}

static int check_rules(const Config *c, ConfigPurpose purpose, Err *err) {
    if (check_required(c, purpose, err) || check_layers(c, err) || check_rope(c, err)) return -1;
    if (c->max_steps == 0)
        return refuse_key(c, CONFIG_max_steps, "0 steps; expected -1 (by epochs) or more than 0", err);
    if (c->lora_target_modules.count == 0) return refuse_key(c, CONFIG_lora_target_modules, "an empty list", err);
    if (config_global_batch(c) >= 1 << 24)
        return refuse_key(c, CONFIG_gradient_accumulation_steps, "more than 2^24 rows per optimizer step", err);
    if (check_whole_steps(c, CONFIG_save_steps, c->save_steps, err)) return -1;
    if (check_whole_steps(c, CONFIG_eval_steps, c->eval_steps, err)) return -1;
    if (check_whole_steps(c, CONFIG_warmup_steps, c->warmup_steps, err)) return -1;
    return purpose == CONFIG_FOR_TRAIN ? check_evaluation(c, err) : 0;
}

// ---- loading ----

enum { MAX_CONFIG_BYTES = 4 << 20 };

// What a value comes from, and how messages about it begin.
typedef struct Origin {
    const char *where;
    ConfigSource source;
    int line;
} Origin;

// Sets one key by any of its names. null means absent: in the file the key is skipped, on the command line it resets
// the value of the file.
static int set_named(Config *c, const char *name, const Json *v, Origin from, Err *err) {
    const char *implied;
    const Key *k = keys_find(&config_table, name, &implied);
    if (!k) {
        const char *near = keys_nearest(&config_table, name);
        return err_input(err, "%sunknown key \"%.64s\"%s%s%s", from.where, name,
                         near ? "; the nearest known key is \"" : "",
                         near ? near : "; \"lorac help config\" lists them", near ? "\"" : "");
    }
    size_t i = (size_t)(k - config_table.keys);
    bool is_null = v->type == JSON_NULL;
    if (is_null && (implied || from.source == SOURCE_FILE)) return 0;
    if (from.source == SOURCE_FILE && c->source[i] == SOURCE_FILE)
        return err_input(err, "%s\"%s\" is another name of %s, which line %d has set", from.where, name, k->name,
                         c->line[i]);
    AUTO_FREE char *word = implied ? mem_strndup(implied, strcspn(implied, " ")) : NULL;
    Json stand_in;
    if (implied) { // load_in_4bit: true
        if (v->type == JSON_FALSE) return 0;
        if (v->type != JSON_TRUE) return err_input(err, "%s%s: expected true or false", from.where, name);
        stand_in = json_string(json_str(word));
        v = &stand_in;
    }
    int rc = 0;
    if (is_null)
        key_set_default(c, k);
    else
        rc = key_read(c, k, v, from.where, err);
    c->source[i] = is_null ? SOURCE_DEFAULT : from.source;
    c->line[i] = from.line;
    return rc;
}

int config_read(Config *c, const char *text, size_t size, const char *name, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    if (fault_in_file(name, text, size, true, err)) return -1;
    if (json_parse_config(&doc, text, size, name, err)) return fault_in_value(name, text, size, err);
    const Json *root = json_root(doc);
    if (root->type != JSON_OBJECT)
        return err_input(err, "%s:%u: found %s; expected one JSON object", name, root->line, json_type_name(root));
    for (size_t i = 0; i < root->count; i++) {
        int line = (int)root->items[i].line;
        AUTO_FREE char *where = mem_printf("%s:%d: ", name, line);
        if (set_named(c, root->keys[i].data, &root->items[i], (Origin){where, SOURCE_FILE, line}, err)) return -1;
    }
    return 0;
}

static int load_file(Config *c, const char *path, Err *err) {
    if (c->file) return err_input(err, "%s: a second config file; the first is %s", path, c->file);
    AUTO_FREE char *text = NULL;
    size_t size;
    if (file_read(&text, &size, path, MAX_CONFIG_BYTES, err)) {
        if (err) err->kind = ERR_INPUT;
        return -1;
    }
    c->file = mem_strdup(path);
    return config_read(c, text, size, path, err);
}

// One argument. The file is read in the pass without overrides, the keys are set in the other.
static int apply_word(Config *c, bool overrides, int argc, char **argv, int *i, Err *err) {
    static const Key flag = {.type = KEY_BOOL}, any = {.type = KEY_TEXT};
    AUTO_JSON JsonDoc *doc = NULL;
    const char *implied;
    Word w = word_split(argv[*i]);
    if (!w.is_key) return overrides ? 0 : load_file(c, argv[*i], err);
    const Key *k = keys_find(&config_table, w.key, &implied);
    const Key *form = !k ? &any : implied ? &flag : k; // load_in_4bit is a flag, too
    const char *text = word_value(&w, form->type == KEY_BOOL, argc, argv, i);
    if (!overrides) return 0;
    if (k && !text) return err_input(err, "command line: --%s has no value", w.key);
    if (key_from_text(&doc, form, k ? text : "", err)) return -1;
    return set_named(c, w.key, json_root(doc), (Origin){"command line: ", SOURCE_COMMAND_LINE, 0}, err);
}

int config_load(Config *c, int argc, char **argv, ConfigPurpose purpose, Err *err) {
    keys_set_defaults(&config_table, c);
    for (int overrides = 0; overrides < 2; overrides++) // overrides win, wherever the file is in argv
        for (int i = 0; i < argc; i++)
            if (apply_word(c, overrides, argc, argv, &i, err)) return -1;
    return check_rules(c, purpose, err);
}

void config_clear(Config *c) {
    keys_clear(&config_table, c);
    mem_free(c->file);
    *c = (Config){0};
}

int64_t config_global_batch(const Config *c) { return c->per_device_train_batch_size * c->gradient_accumulation_steps; }
