#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "fileio.h"
#include "json.h"
#include "run_device.h"
#include "say.h"
#include "words.h"

enum { MAX_CONFIG_BYTES = 4 << 20 };

static void set_defaults(Config *c) {
    for (size_t i = 0; i < config_key_count(); i++) {
        cJSON *v = cJSON_Parse(config_keys[i].standard);
        Err err;
        CHECK(v && config_set(c, &config_keys[i], v, "default", &err) == 0, "default of %s", config_keys[i].name);
        cJSON_Delete(v);
    }
}

// Sets one key by any of its names. given: where keys were set before in the same place, to refuse a key and its alias.
static int set_named(Config *c, const char *name, const cJSON *v, const char *where, ConfigSource source, int line,
                     Err *err) {
    const char *implied;
    const ConfigKey *k = config_key_find(name, &implied);
    if (!k) {
        const char *near = config_key_nearest(name);
        return err_input(err, "%s: unknown key \"%.64s\"%s%s%s", where, name,
                         near ? "; the nearest known key is \"" : "",
                         near ? near : "; \"lorac help config\" lists them", near ? "\"" : "");
    }
    size_t i = (size_t)(k - config_keys);
    if (cJSON_IsNull(v) && (implied || source == SOURCE_FILE)) return 0; // as if the key were not there
    if (source == SOURCE_FILE && c->source[i] == SOURCE_FILE)
        return err_input(err, "%s: \"%s\" is another name of %s, which line %d has set", where, name, k->name,
                         c->line[i]);
    cJSON *stand_in = NULL;
    if (cJSON_IsNull(v)) { // of the command line: what the file says is taken back
        v = stand_in = cJSON_Parse(k->standard);
        source = SOURCE_DEFAULT;
    } else if (implied) { // load_in_4bit: true
        if (!cJSON_IsBool(v)) return err_input(err, "%s: %s: expected true or false", where, name);
        if (!cJSON_IsTrue(v)) return 0;
        char *word = mem_strndup(implied, strcspn(implied, " "));
        v = stand_in = cJSON_CreateString(word);
        mem_free(word);
    }
    int status = config_set(c, k, v, where, err);
    cJSON_Delete(stand_in);
    c->source[i] = source;
    c->line[i] = line;
    return status;
}

static int set_from_text(Config *c, const char *text, size_t size, const char *name, Err *err) {
    cJSON *root;
    int *lines;
    if (config_scan(&root, &lines, text, size, name, err)) return -1;
    int status = 0, i = 0;
    for (const cJSON *m = root->child; m && !status; m = m->next, i++) {
        char *where = mem_printf("%s:%d", name, lines[i]);
        status = set_named(c, m->string, m, where, SOURCE_FILE, lines[i], err);
        mem_free(where);
    }
    cJSON_Delete(root);
    mem_free(lines);
    return status;
}

static int load_file(Config *c, const char *path, Err *err) {
    if (c->file) return err_input(err, "%s: a second config file; the first is %s", path, c->file);
    char *text;
    size_t size;
    if (file_read(&text, &size, path, MAX_CONFIG_BYTES, err)) {
        if (err) err->status = EXIT_INPUT;
        return -1;
    }
    c->file = mem_strdup(path);
    int status = set_from_text(c, text, size, path, err);
    mem_free(text);
    return status;
}

// The key's value on the command line: behind '=', the next word, or true for a bare flag.
static const char *override_value(const Word *w, const ConfigKey *k, int argc, char **argv, int *i) {
    if (w->value) return w->value;
    bool next = *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0, value;
    if (k && k->type == KEY_BOOL) // `--packing CONFIG.json`: the path is no value of the flag
        return next && word_bool(argv[*i + 1], &value) ? argv[++*i] : "true";
    return next ? argv[++*i] : NULL;
}

static int apply_override(Config *c, const Word *w, int argc, char **argv, int *i, Err *err) {
    const char *implied;
    const ConfigKey *k = config_key_find(w->key, &implied);
    ConfigKey as_flag;
    if (k && implied) as_flag = *k, as_flag.type = KEY_BOOL, k = &as_flag;
    const char *text = override_value(w, k, argc, argv, i);
    if (k && !text) return err_input(err, "command line: --%s has no value", w->key);
    cJSON *v = k ? config_value_from_text(k, text) : cJSON_CreateNull();
    int status = set_named(c, w->key, v, "command line", SOURCE_COMMAND_LINE, 0, err);
    cJSON_Delete(v);
    return status;
}

static int apply_words(Config *c, int argc, char **argv, Err *err) {
    for (int i = 0; i < argc; i++) { // the file first: overrides beat it wherever they stand
        Word w = word_split(argv[i]);
        const char *implied;
        if (w.is_key) {
            override_value(&w, config_key_find(w.key, &implied), argc, argv, &i);
        } else if (load_file(c, argv[i], err)) {
            return -1;
        }
    }
    for (int i = 0; i < argc; i++) {
        Word w = word_split(argv[i]);
        if (w.is_key && apply_override(c, &w, argc, argv, &i, err)) return -1;
    }
    return 0;
}

// ---- rules between keys ----

static size_t index_of(const char *name) {
    const char *implied;
    const ConfigKey *k = config_key_find(name, &implied);
    CHECK(k, "%s", name);
    return (size_t)(k - config_keys);
}

bool config_is_set(const Config *c, const char *key) {
    return c->source[index_of(key)] != SOURCE_DEFAULT;
}

// "FILE:LINE: key", "command line: key" or "key": the front of a message about a key.
static int refuse_key(const Config *c, const char *key, const char *what, Err *err) {
    size_t i = index_of(key);
    if (c->source[i] == SOURCE_FILE) return err_input(err, "%s:%d: %s: %s", c->file, c->line[i], key, what);
    return err_input(err, "%s%s: %s", c->source[i] == SOURCE_COMMAND_LINE ? "command line: " : "", key, what);
}

static int check_required(const Config *c, ConfigPurpose purpose, Err *err) {
    const char *missing = NULL;
    if (purpose == CONFIG_FOR_TRAIN && !c->output_dir) missing = "output_dir";
    if (purpose == CONFIG_FOR_EVAL && !c->validation_file && !c->val_set_size) missing = "validation_file";
    if (purpose != CONFIG_FOR_EVAL && c->train_file.count == 0) missing = "train_file";
    if (!c->model_name_or_path) missing = "model_name_or_path";
    if (!missing) return 0;
    return err_input(err, "%s: required key %s is missing", c->file ? c->file : "command line", missing);
}

static int check_reports(const Config *c, Err *err) {
    for (size_t i = 0; i < c->report_to.count; i++) {
        const char *r = c->report_to.items[i];
        if (strcmp(r, "html") == 0 || strcmp(r, "none") == 0) continue;
        if (strcmp(r, "tensorboard") == 0 || strcmp(r, "prometheus") == 0)
            return refuse_key(c, "report_to", "tensorboard and prometheus are not in this version", err);
        char what[96];
        snprintf(what, sizeof what, "\"%.40s\"; expected \"html\" or \"none\"", r);
        return refuse_key(c, "report_to", what, err);
    }
    return 0;
}

static int check_evaluation(const Config *c, Err *err) {
    bool data = c->validation_file || c->val_set_size > 0;
    if (c->validation_file && c->val_set_size > 0)
        return refuse_key(c, "val_set_size", "validation_file is set too; expected one of them", err);
    if (c->val_set_size >= 1 && c->val_set_size != (double)(int64_t)c->val_set_size)
        return refuse_key(c, "val_set_size", "expected a fraction below 1 or a whole number of samples", err);
    if (c->eval_strategy != EVAL_NO && !data)
        return refuse_key(c, "eval_strategy", "needs validation_file or val_set_size", err);
    if (c->eval_strategy == EVAL_NO && c->early_stopping_patience > 0)
        return refuse_key(c, "early_stopping_patience", "needs eval_strategy \"steps\" or \"epoch\"", err);
    if (c->eval_strategy == EVAL_NO && c->load_best_model_at_end)
        return refuse_key(c, "load_best_model_at_end", "needs eval_strategy \"steps\" or \"epoch\"", err);
    return 0;
}

static int check_whole_steps(const Config *c, const char *key, double steps, Err *err) {
    if (steps < 1 || steps == (double)(int64_t)steps) return 0;
    char what[128];
    snprintf(what, sizeof what, "%g; expected a whole number of steps or a fraction of the run below 1", steps);
    return refuse_key(c, key, what, err);
}

static int check_layers(const Config *c, Err *err) {
    for (size_t i = 1; i < c->layers_to_transform.count; i++) {
        if (c->layers_to_transform.items[i - 1] >= c->layers_to_transform.items[i])
            return refuse_key(c, "layers_to_transform", "expected layer numbers in ascending order, each once", err);
    }
    return 0;
}

static int check_rope(const Config *c, Err *err) {
    bool scaled = c->rope_scaling_type != ROPE_OF_MODEL;
    if (scaled && c->rope_scaling_factor == 1)
        return refuse_key(c, "rope_scaling_type", "needs rope_scaling_factor above 1", err);
    if (!scaled && c->rope_scaling_factor != 1)
        return refuse_key(c, "rope_scaling_factor", "needs rope_scaling_type \"linear\" or \"yarn\"", err);
    return 0;
}

static int check_device(const Config *c, Err *err) {
    if (run_device_is_word(c->device)) return 0;
    return refuse_key(c, "device", "expected \"auto\", \"cpu\", \"cuda\" or \"cuda:N\"", err);
}

static int cross_check(const Config *c, ConfigPurpose purpose, Err *err) {
    if (check_required(c, purpose, err) || check_reports(c, err) || check_layers(c, err) || check_rope(c, err) ||
        check_device(c, err))
        return -1;
    if (c->max_steps == 0) return refuse_key(c, "max_steps", "0 steps; expected -1 (by epochs) or more than 0", err);
    if (c->lora_target_modules.count == 0) return refuse_key(c, "lora_target_modules", "an empty list", err);
    if (config_global_batch(c) >= 1 << 24)
        return refuse_key(c, "gradient_accumulation_steps", "more than 2^24 rows per optimizer step", err);
    if (check_whole_steps(c, "save_steps", c->save_steps, err)) return -1;
    if (check_whole_steps(c, "eval_steps", c->eval_steps, err)) return -1;
    if (check_whole_steps(c, "warmup_steps", c->warmup_steps, err)) return -1;
    return purpose == CONFIG_FOR_TRAIN ? check_evaluation(c, err) : 0;
}

int config_load(Config *c, int argc, char **argv, ConfigPurpose purpose, Err *err) {
    set_defaults(c);
    if (apply_words(c, argc, argv, err)) return -1;
    return cross_check(c, purpose, err);
}

void file_list_clear(FileList *l) {
    for (size_t i = 0; i < l->count; i++) mem_free(l->items[i]);
    mem_free(l->items);
    mem_free(l->weights);
    *l = (FileList){0};
}

void config_clear(Config *c) {
    for (size_t i = 0; i < config_key_count(); i++) {
        const ConfigKey *k = &config_keys[i];
        void *f = (char *)c + k->offset;
        if (k->type == KEY_STRING || k->type == KEY_PATH) mem_free(*(char **)f);
        if (k->type == KEY_INTS) mem_free(((IntList *)f)->items);
        if (k->type == KEY_FILES) file_list_clear(f);
        if (k->type == KEY_STRINGS) {
            StrList *l = f;
            for (size_t j = 0; j < l->count; j++) mem_free(l->items[j]);
            mem_free(l->items);
        }
    }
    mem_free(c->file);
    *c = (Config){0};
}

int64_t config_global_batch(const Config *c) {
    return c->per_device_train_batch_size * c->gradient_accumulation_steps;
}

// ---- showing and saving ----

static bool is_later_key(const ConfigKey *k) {
    return k->later && strcmp(k->later, "*") == 0;
}

enum { PRINT_COLUMNS = 110 };

// Keys that someone has set, a line each.
static void print_given(const Config *c, FILE *out) {
    for (size_t i = 0; i < config_key_count(); i++) {
        if (c->source[i] == SOURCE_DEFAULT) continue;
        cJSON *v = config_value(c, &config_keys[i], false);
        char *text = cJSON_PrintUnformatted(v);
        say_to(out, "  %-28s %-40s ", config_keys[i].name, text);
        if (c->source[i] == SOURCE_FILE) {
            say_to(out, "%s:%d\n", c->file, c->line[i]);
        } else {
            say_to(out, "command line\n");
        }
        cJSON_free(text);
        cJSON_Delete(v);
    }
}

// What an adapter that is trained on brings along, unless it is given: its own values, which the defaults are not.
static bool is_of_adapter(const Config *c, const ConfigKey *k) {
    static const char *const keys[] = {"lora_r", "lora_alpha", "lora_target_modules", "use_rslora",
                                       "layers_to_transform"};
    if (!c->adapter_name_or_path || config_is_set(c, k->name)) return false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(k->name, keys[i]) == 0) return true;
    return false;
}

// The others as one paragraph.
static void print_defaults(const Config *c, FILE *out) {
    int column = say_to(out, "  default:");
    for (size_t i = 0; i < config_key_count(); i++) {
        if (c->source[i] != SOURCE_DEFAULT || is_later_key(&config_keys[i]) || is_of_adapter(c, &config_keys[i]))
            continue;
        cJSON *v = config_value(c, &config_keys[i], false);
        char *text = cJSON_PrintUnformatted(v);
        int width = 2 + (int)(strlen(config_keys[i].name) + strlen(text));
        if (column + width > PRINT_COLUMNS) column = say_to(out, "\n          ") - 1;
        column += say_to(out, " %s=%s", config_keys[i].name, text);
        cJSON_free(text);
        cJSON_Delete(v);
    }
    say_to(out, "\n");
}

void config_print(const Config *c, FILE *out) {
    print_given(c, out);
    print_defaults(c, out);
}

void config_print_help(FILE *out) {
    say_to(out, "Keys of a config file (one flat JSON object, // comments allowed) and of the command line\n"
                "(--key value, --key=value or key=value), each with its default:\n\n");
    for (size_t i = 0; i < config_key_count(); i++) {
        const ConfigKey *k = &config_keys[i];
        if (is_later_key(k)) continue;
        say_to(out, "  %-28s %-24s %s\n", k->name, strcmp(k->standard, "null") ? k->standard : "-", k->help);
        if (k->type == KEY_CHOICE) say_to(out, "  %-53s (%s)\n", "", k->choices);
        if (k->aliases[0] && !strchr(k->aliases, '=')) say_to(out, "  %-53s also: %s\n", "", k->aliases);
    }
}

char *config_json(const Config *c) {
    cJSON *root = cJSON_CreateObject();
    for (size_t i = 0; i < config_key_count(); i++) {
        if (!is_later_key(&config_keys[i]) && !is_of_adapter(c, &config_keys[i]))
            cJSON_AddItemToObject(root, config_keys[i].name, config_value(c, &config_keys[i], true));
    }
    char *printed = cJSON_Print(root), *text = mem_printf("%s\n", printed);
    cJSON_free(printed);
    cJSON_Delete(root);
    return text;
}

// A resolved config has nearly every key, none by an alias; what a user writes has not.
static bool is_resolved(const Json *root) {
    enum { LEAST_KEYS = 40 };
    if (root->type != JSON_OBJECT || root->count < LEAST_KEYS) return false;
    for (size_t i = 0; i < root->count; i++) {
        const char *implied;
        const ConfigKey *k = config_key_find(root->keys[i].data, &implied);
        if (!k || strcmp(k->name, root->keys[i].data) != 0) return false;
    }
    return true;
}

int config_own(const char *path, Err *err) {
    enum { MAX_BYTES = 4 << 20 };
    char *text;
    size_t size;
    JsonDoc *doc = NULL;
    bool own = file_read(&text, &size, path, MAX_BYTES, NULL) == 0;
    if (own) {
        own = json_parse(&doc, text, size, path, 1, NULL) == 0 && is_resolved(json_root(doc));
        json_free(doc);
        mem_free(text);
    }
    return own ? 0 : overwrite_refuse(path, "the config.json of a run", err);
}

// ---- is it the same run? ----

static void note_difference(StrBuf *s, const ConfigKey *k, const cJSON *before, const cJSON *now) {
    char *a = cJSON_PrintUnformatted(before), *b = cJSON_PrintUnformatted(now);
    str_printf(s, "%s%s was %.80s, now %.80s", s->len ? "; " : "", k->name, a, b);
    cJSON_free(a);
    cJSON_free(b);
}

int config_check_same_run(const Config *now, const char *text, const char *name, Err *err) {
    Config before = {0};
    StrBuf diff = {0};
    set_defaults(&before);
    int status = set_from_text(&before, text, strlen(text), name, err);
    if (status)
        err_context(err, "the config of the run in this directory is damaged (restore it, or remove it to go on with "
                         "the one of this command, or take another output_dir)");
    for (size_t i = 0; i < config_key_count() && !status; i++) {
        cJSON *a = config_value(&before, &config_keys[i], true), *b = config_value(now, &config_keys[i], true);
        if (!(config_keys[i].may_change & AT_RESUME) && !cJSON_Compare(a, b, true))
            note_difference(&diff, &config_keys[i], a, b);
        cJSON_Delete(a);
        cJSON_Delete(b);
    }
    if (diff.len)
        status = err_input(err,
                           "%s: another config than the run in this directory: %s; expected the same, or another "
                           "output_dir",
                           name, diff.data);
    str_clear(&diff);
    config_clear(&before);
    return status;
}

void config_each_shared(const Config *c, void (*take)(void *user, const char *name, const char *value), void *user) {
    for (size_t i = 0; i < config_key_count(); i++) {
        const ConfigKey *k = &config_keys[i];
        if (k->may_change & BY_RANK) continue;
        cJSON *v = config_value(c, k, false);
        char *text = cJSON_PrintUnformatted(v);
        take(user, k->name, text);
        cJSON_free(text);
        cJSON_Delete(v);
    }
}
