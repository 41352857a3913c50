// config_show: a config printed, saved, and compared with a saved one.
#include <string.h>
#include <unistd.h>

#include "foreign.h"
#include "json_read.h"
#include "json_save.h"
#include "keys_internal.h"
#include "say.h"

static const Key *key_of(ConfigKey i) { return &config_table.keys[i]; }

// Not given and determined by the adapter to start from: the default would be wrong.
static bool is_of_adapter(const Config *c, ConfigKey i) {
    return c->adapter_name_or_path && !config_is_set(c, i) && key_of(i)->flags & OF_ADAPTER;
}

// ---- printing ----

const char *config_tool_name(Tool tool) {
    return tool == AXOLOTL ? "Axolotl" : tool == LLAMA_FACTORY ? "LLaMA-Factory" : "TRL";
}

// Keys that the user has set, a line each.
static void print_given(const Config *c, FILE *out) {
    for (ConfigKey i = 0; i < CONFIG_KEYS; i++) {
        if (c->source[i] == SOURCE_DEFAULT || (c->source[i] == SOURCE_TOOL && is_of_adapter(c, i))) continue;
        AUTO_FREE char *text = key_text(c, key_of(i), false);
        say_to(out, "  %-28s %-40s ", key_of(i)->name, text);
        if (c->source[i] == SOURCE_FILE || (c->source[i] == SOURCE_RUN && c->line[i]))
            say_to(out, "%s:%d\n", c->file, c->line[i]);
        else if (c->source[i] == SOURCE_TOOL)
            say_to(out, "default of %s\n", config_tool_name(c->tool));
        else
            say_to(out, "command line\n");
    }
}

// The others as one paragraph.
static void print_defaults(const Config *c, FILE *out) {
    enum { COLUMNS = 110 };
    int column = say_to(out, "  default:");
    for (ConfigKey i = 0; i < CONFIG_KEYS; i++) {
        if (c->source[i] != SOURCE_DEFAULT || is_of_adapter(c, i)) continue;
        AUTO_FREE char *text = key_text(c, key_of(i), false);
        int width = 2 + (int)(strlen(key_of(i)->name) + strlen(text));
        if (column + width > COLUMNS) column = say_to(out, "\n          ") - 1;
        column += say_to(out, " %s=%s", key_of(i)->name, text);
    }
    say_to(out, "\n");
}

void config_print(const Config *c, FILE *out) {
    if (c->tool) say_to(out, "  reads as a config of %s\n", config_tool_name(c->tool));
    print_given(c, out);
    if (c->notes.len) say_to(out, "%s", c->notes.data);
    if (isatty(fileno(out)))
        say_to(out, "  the other keys have their defaults: config.json in output_dir\n");
    else
        print_defaults(c, out);
}

void config_print_help(FILE *out) {
    say_to(out, "Keys of a config file (YAML, or one flat JSON object with // comments) and of the command line\n"
                "(--key value, --key=value or key=value). \"lorac help config --json\" prints them as JSON Schema.\n");
    keys_print_help(&config_table, "", out);
    say_to(
        out,
        "\nConfigs of Axolotl, LLaMA-Factory and TRL are read, too: \"lorac help config --tools\" lists their keys.\n");
}

void config_print_schema(FILE *out) {
    cJSON *schema = keys_schema(&config_table, "Config of lorac train");
    foreign_add_schema(cJSON_GetObjectItemCaseSensitive(schema, "properties"));
    AUTO_FREE char *text = json_text(schema);
    say_to(out, "%s", text);
}

// ---- the saved form ----

// The default of max_seq_length is cut to the model's context; as a value that is given it would be refused.
static bool is_saved(const Config *c, ConfigKey i) {
    bool cut = i == CONFIG_max_seq_length && c->source[i] == SOURCE_DEFAULT;
    return !cut && !is_of_adapter(c, i);
}

char *config_json(const Config *c) {
    cJSON *root = cJSON_CreateObject();
    for (ConfigKey i = 0; i < CONFIG_KEYS; i++)
        if (is_saved(c, i)) cJSON_AddItemToObject(root, key_of(i)->name, key_json(c, key_of(i), true));
    return json_text(root);
}

// A resolved config has nearly every key and no alias; one that a user wrote does not.
static bool is_resolved(const Json *root) {
    enum { LEAST_KEYS = 40 };
    if (root->type != JSON_OBJECT || root->count < LEAST_KEYS) return false;
    for (size_t i = 0; i < root->count; i++) {
        const char *implied;
        const Key *k = keys_find(&config_table, root->keys[i].data, &implied);
        if (!k || strcmp(k->name, root->keys[i].data) != 0) return false;
    }
    return true;
}

int config_own(const char *path, Err *err) {
    enum { MAX_BYTES = 4 << 20 };
    AUTO_JSON JsonDoc *doc = NULL;
    bool own = json_load(&doc, path, MAX_BYTES, NULL) == 0 && is_resolved(json_root(doc));
    return own ? 0 : overwrite_refuse(path, "the config.json of a run", err);
}

// ---- comparing ----

int config_check_same_run(const Config *now, const char *text, const char *name, Err *err) {
    AUTO_CALL(config_clear) Config before = {0};
    AUTO_STR StrBuf diff = {0};
    keys_set_defaults(&config_table, &before);
    if (config_read(&before, text, strlen(text), name, err))
        return err_context(
            err, "the config of the run in this directory is damaged (restore it, or remove it to continue with "
                 "the one of this command, or choose another output_dir)");
    for (ConfigKey i = 0; i < CONFIG_KEYS; i++) {
        AUTO_FREE char *was = key_text(&before, key_of(i), true), *is = key_text(now, key_of(i), true);
        if (!(key_of(i)->flags & AT_RESUME) && strcmp(was, is) != 0)
            str_printf(&diff, "%s%s was %.80s, now %.80s", diff.len ? "; " : "", key_of(i)->name, was, is);
    }
    if (!diff.len) return 0;
    return err_input(err,
                     "%s: another config than the run in this directory: %s; expected the same, or another output_dir",
                     name, diff.data);
}

void config_each_shared(const Config *c, void (*take)(void *user, const char *name, const char *value), void *user) {
    for (ConfigKey i = 0; i < CONFIG_KEYS; i++) {
        if (key_of(i)->flags & BY_RANK) continue;
        AUTO_FREE char *text = key_text(c, key_of(i), false);
        take(user, key_of(i)->name, text);
    }
}
