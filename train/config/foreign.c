#include "foreign.h"

#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "json_pool.h"
#include "keys_internal.h"
#include "say.h"

// ---- the table ----

enum { ANY = 0, ALL_TOOLS = AXOLOTL | LLAMA_FACTORY | TRL, OWN_CONFIGS = 8, EVERYWHERE = ALL_TOOLS | OWN_CONFIGS };

typedef struct ForeignKey {
    const char *names;  // separated by spaces; one * stands for any letters
    unsigned marks;     // the tool whose config this key tells
    unsigned instead;   // tools in whose configs this row comes before lorac's key of that name; 0: after it
    MapFunction *map;   // mapped
    const char *values; // refused: except these; NULL: accepted
    const char *help;   // what it becomes, why it changes nothing, what to do
} ForeignKey;

#define MAPPED(tool, function, names, help) {names, tool, 0, function, NULL, help},
#define INSTEAD(tools, function, names, help) {names, NO_TOOL, tools, function, NULL, help},
#define ACCEPTED(tool, names, why) {names, tool, 0, NULL, NULL, why},
#define INSTEAD_ACCEPTED(tools, names, why) {names, NO_TOOL, tools, NULL, NULL, why},
#define REFUSED(tool, values, names, advice) {names, tool, 0, NULL, values, advice},
static const ForeignKey rows[] = {
#include "foreign_keys.def"
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool fits(const char *name, const char *pattern) {
    const char *star = strchr(pattern, '*');
    size_t before = star ? (size_t)(star - pattern) : 0, n = strlen(name), after = star ? strlen(star + 1) : 0;
    if (!star) return strcmp(name, pattern) == 0;
    return n >= before + after && strncmp(name, pattern, before) == 0 && strcmp(name + n - after, star + 1) == 0;
}

static bool has_name(const ForeignKey *k, const char *name) {
    char pattern[64];
    for (const char *names = k->names; text_next_word(&names, pattern, sizeof pattern);)
        if (fits(name, pattern)) return true;
    return false;
}

static const ForeignKey *find(const char *name, Tool tool) {
    const char *implied;
    bool own = keys_find(&config_table, name, &implied) != NULL;
    for (const ForeignKey *k = rows; k < rows + ROWS; k++)
        if ((k->instead ? (k->instead & (tool ? tool : OWN_CONFIGS)) != 0 : !own) && has_name(k, name)) return k;
    return NULL;
}

bool foreign_knows(const char *name) { return find(name, NO_TOOL) != NULL; }

// ---- the tool ----

static Tool tool_of_key(const char *name, const Json *v) {
    const char *implied;
    if (v->type == JSON_NULL) return NO_TOOL;
    if (strcmp(name, "datasets") == 0) // TRL has that key, too
        return v->type == JSON_ARRAY && v->count && json_get(&v->items[0], "type") ? AXOLOTL : NO_TOOL;
    if (keys_find(&config_table, name, &implied)) return NO_TOOL;
    for (const ForeignKey *k = rows; k < rows + ROWS; k++)
        if (!k->instead && has_name(k, name)) return (Tool)k->marks;
    return NO_TOOL;
}

void foreign_detect(Loading *l, const Json *root) {
    static const Tool tools[] = {AXOLOTL, LLAMA_FACTORY, TRL};
    const char *last[3] = {0};
    size_t keys[3] = {0};
    int most = 0, second = -1;
    l->root = root;
    for (size_t i = 0; i < root->count; i++)
        for (int t = 0; t < 3; t++)
            if (tool_of_key(root->keys[i].data, &root->items[i]) == tools[t]) {
                keys[t]++;
                last[t] = root->keys[i].data;
            }
    for (int t = 1; t < 3; t++) {
        if (keys[t] == keys[most]) second = t;
        if (keys[t] > keys[most]) most = t, second = -1;
    }
    if (keys[most] && second < 0) l->c->tool = tools[most];
    if (keys[most] && second >= 0)
        problem(l, "%s: has as many keys of %s (%s) as of %s (%s), whose defaults differ; leave out those of one",
                l->c->file, config_tool_name(tools[most]), last[most], config_tool_name(tools[second]), last[second]);
    if (!l->c->tool && json_given(root, "datasets")) l->c->tool = AXOLOTL;
}

// ---- one key ----

bool foreign_is_off(const Json *v) {
    return json_is_off(v) || json_is_string(v, "") ||
           ((v->type == JSON_INT || v->type == JSON_FLOAT) && v->number == 0);
}

void foreign_note(const Foreign *f, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    str_printf(&f->l->c->notes, "  %-28s %s\n", f->name, text);
}

void foreign_refuse(const Foreign *f, const Json *v, const char *expected) {
    AUTO_STR StrBuf text = {0};
    json_print(&text, v);
    problem(f->l, "%s%s: %.60s; %s", f->from.where, f->name, text.data, expected);
}

void foreign_set(const Foreign *f, ConfigKey key, const Json *v) {
    const Config *c = f->l->c;
    if (f->from.source == SOURCE_FILE && c->source[key] == SOURCE_FILE) {
        problem(f->l, "%s%s: sets %s, which line %d has set", f->from.where, f->name, config_table.keys[key].name,
                c->line[key]);
        return;
    }
    loading_set(f->l, key, v, f->from);
}

void foreign_set_text(const Foreign *f, ConfigKey key, const char *json) {
    AUTO_JSON JsonDoc *doc = NULL;
    Err err = {0};
    CHECK(json_parse(&doc, json, strlen(json), "", 0, &err) == 0, "%s: %s", json, err.msg);
    foreign_set(f, key, json_root(doc));
}

// One of the words that a row's refusal leaves out.
static bool is_allowed(const Json *v, const char *words) {
    const char *text = v->type == JSON_TRUE                                                     ? "true"
                       : v->type == JSON_STRING || v->type == JSON_INT || v->type == JSON_FLOAT ? v->str.data
                                                                                                : NULL;
    return text && text_has_word(words, text);
}

bool foreign_take(Loading *l, const char *name, const Json *v, Origin from) {
    const ForeignKey *k = find(name, from.source == SOURCE_FILE || from.source == SOURCE_RUN ? l->c->tool : NO_TOOL);
    if (!k) return false;
    Foreign f = {l, name, from, k->help};
    if (v->type == JSON_NULL) return true;
    if (k->map)
        k->map(&f, v);
    else if (k->values && !foreign_is_off(v) && !is_allowed(v, k->values))
        foreign_refuse(&f, v, k->help);
    else if (!k->values && !foreign_is_off(v))
        foreign_note(&f, "changes nothing here: %s", k->help);
    return true;
}

// ---- after the last key ----

// Defaults that change the result and differ from lorac's. What is printed and saved, and when, stays lorac's own.
static const struct {
    Tool tool;
    ConfigKey key;
    const char *json;
} defaults[] = {
    {AXOLOTL, CONFIG_num_train_epochs, "1"},
    {AXOLOTL, CONFIG_max_seq_length, "512"},
    {AXOLOTL, CONFIG_packing, "false"},
    {LLAMA_FACTORY, CONFIG_lora_r, "8"},
    {LLAMA_FACTORY, CONFIG_lora_target_modules, "[\"all-linear\"]"},
    {LLAMA_FACTORY, CONFIG_learning_rate, "5e-5"},
    {LLAMA_FACTORY, CONFIG_lr_scheduler_type, "\"linear\""},
    {LLAMA_FACTORY, CONFIG_warmup_ratio, "0"},
    {LLAMA_FACTORY, CONFIG_per_device_train_batch_size, "8"},
    {LLAMA_FACTORY, CONFIG_packing, "false"},
    {LLAMA_FACTORY, CONFIG_truncation, "\"truncate\""},
    {TRL, CONFIG_max_seq_length, "1024"},
    {TRL, CONFIG_learning_rate, "2e-5"},
    {TRL, CONFIG_lr_scheduler_type, "\"linear\""},
    {TRL, CONFIG_warmup_ratio, "0"},
    {TRL, CONFIG_per_device_train_batch_size, "8"},
    {TRL, CONFIG_packing, "false"},
    {TRL, CONFIG_truncation, "\"truncate\""},
    {TRL, CONFIG_lora_dropout, "0.05"},
    {TRL, CONFIG_train_on_inputs, "true"},
    {TRL, CONFIG_completion_only_loss, "true"},
    {TRL, CONFIG_raw_pairs, "true"},
};

void foreign_set_default(Loading *l, ConfigKey key, const char *json) {
    Foreign f = {l, config_table.keys[key].name, {"", SOURCE_TOOL, 0}, NULL};
    if (l->c->source[key] == SOURCE_DEFAULT && !l->wrong[key]) foreign_set_text(&f, key, json);
}

// Also while the file is read, in which stage may come after the data.
bool foreign_is_pretraining(const Loading *l) {
    const Json *stage = l->root ? json_given(l->root, "stage") : NULL;
    return l->given.pretraining.source || (stage && stage->type == JSON_STRING && json_str_is(stage->str, "pt"));
}

static void set_defaults(Loading *l) {
    if (l->c->tool) foreign_preference_defaults(l);
    if (foreign_is_pretraining(l)) foreign_set_default(l, CONFIG_packing, "true");
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (defaults[i].tool == l->c->tool) foreign_set_default(l, defaults[i].key, defaults[i].json);
    if (l->c->tool != LLAMA_FACTORY) return;
    if (l->c->init_lora_weights == INIT_LORA_PISSA) foreign_set_default(l, CONFIG_pissa_iter, "16");
    AUTO_FREE char *alpha = mem_printf("%ld", 2 * l->c->lora_r);
    if (!l->wrong[CONFIG_lora_r]) foreign_set_default(l, CONFIG_lora_alpha, alpha);
}

// A value that follows from several keys, unless the command line has set it.
static void derive(Loading *l, ConfigKey key, const Given *from, const char *json) {
    if (l->c->source[key] == SOURCE_COMMAND_LINE || l->wrong[key]) return;
    AUTO_JSON JsonDoc *doc = NULL;
    CHECK(json_parse(&doc, json, strlen(json), "", 0, NULL) == 0, "%s", json);
    loading_set(l, key, json_root(doc), (Origin){"", from->source, from->line});
}

static void derive_number(Loading *l, ConfigKey key, const Given *from, double x) {
    char json[32];
    snprintf(json, sizeof json, "%.17g", x);
    derive(l, key, from, json);
}

// A fraction below 1, rounded up to the last step of any run.
#define AT_THE_END 0.999999999

// Axolotl: every 1 / (times per epoch * epochs) of the run. One time in a run is at its end.
static void set_per_epoch(Loading *l) {
    Config *c = l->c;
    double evals = l->given.evals_per_epoch.value * c->num_train_epochs,
           saves = l->given.saves_per_epoch.value * c->num_train_epochs;
    bool evaluates = c->validation_file.count || c->val_set_size > 0;
    if (evals > 1 && evaluates) {
        derive_number(l, CONFIG_eval_steps, &l->given.evals_per_epoch, 1 / evals);
        derive(l, CONFIG_eval_strategy, &l->given.evals_per_epoch, "\"steps\"");
    }
    if (saves > 0) derive_number(l, CONFIG_save_steps, &l->given.saves_per_epoch, saves > 1 ? 1 / saves : AT_THE_END);
}

// Of Axolotl save_steps counts where both are given.
static void set_save_strategy(Loading *l) {
    const Config *c = l->c;
    bool epochs = l->given.save_strategy.value == SAVE_BY_EPOCH;
    double n = epochs && c->max_steps <= 0 ? c->num_train_epochs : 1;
    if (l->given.save_strategy.value == SAVE_BY_STEPS || (c->tool == AXOLOTL && config_is_set(c, CONFIG_save_steps)))
        return;
    derive_number(l, CONFIG_save_steps, &l->given.save_strategy, n > 1 ? 1 / n : AT_THE_END);
}

// Axolotl: the linear layers and those that are listed, which are some of them.
static void set_targets(Loading *l) {
    const StrList *listed = &l->c->lora_target_modules;
    if (!l->given.target_linear.source) return;
    for (size_t i = 0; l->c->source[CONFIG_lora_target_modules] == SOURCE_FILE && i < listed->count; i++)
        if (is_among(listed->items[i], strlen(listed->items[i]), "embed_tokens lm_head"))
            problem(l, "%s:%d: lora_target_modules: \"%s\"; only linear layers of the blocks get adapters", l->c->file,
                    l->c->line[CONFIG_lora_target_modules], listed->items[i]);
    derive(l, CONFIG_lora_target_modules, &l->given.target_linear, "[\"all-linear\"]");
}

static void set_quantization(Loading *l) {
    const Config *c = l->c;
    if (!l->given.qlora.source) return;
    if (!config_is_set(c, CONFIG_quantize_base))
        derive(l, CONFIG_quantize_base, &l->given.qlora, "\"nf4\"");
    else if (c->quantize_base == QUANTIZE_INT8 && c->source[CONFIG_quantize_base] == SOURCE_FILE)
        problem(l, "%s:%d: adapter: qlora; a base in int8 is lora, with load_in_8bit: true", c->file,
                l->given.qlora.line);
}

static void set_batch(Loading *l) {
    const Config *c = l->c;
    double steps = l->given.total_batch.value / (double)c->per_device_train_batch_size;
    if (!l->given.total_batch.source || config_is_set(c, CONFIG_gradient_accumulation_steps)) return;
    if (steps < 1 || steps != (double)(int64_t)steps)
        problem(l, "%s:%d: batch_size: %g; expected a multiple of micro_batch_size, %ld", c->file ? c->file : "",
                l->given.total_batch.line, l->given.total_batch.value, c->per_device_train_batch_size);
    else
        derive_number(l, CONFIG_gradient_accumulation_steps, &l->given.total_batch, steps);
}

static void set_files(Loading *l) {
    FileList *lists[] = {&l->c->train_file, &l->c->validation_file};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < lists[k]->count; i++) {
            FileRule *rule = &lists[k]->rules[i];
            if (l->given.max_samples.value && !rule->limit) rule->limit = l->given.max_samples.value;
            if (l->given.text_field && !rule->columns[COLUMN_TEXT])
                rule->columns[COLUMN_TEXT] = mem_strdup(l->given.text_field);
        }
}

static void set_probabilities(Loading *l) {
    FileList *files = &l->c->train_file;
    const Given *given = &l->given.probabilities;
    if (!l->given.n_probs || !files->count) return;
    if (l->given.n_probs != files->count)
        problem(l, "%s:%d: interleave_probs: found %zu; expected %zu, one for each data set",
                l->c->file ? l->c->file : "", given->line, l->given.n_probs, files->count);
    for (size_t i = 0; i < files->count && i < l->given.n_probs; i++)
        files->rules[i].probability = l->given.interleave_probs[i];
}

static void set_schedule(Loading *l) {
    if (!l->given.min_lr_ratio.source || l->c->lr_scheduler_type != LR_COSINE) return;
    derive(l, CONFIG_lr_scheduler_type, &l->given.min_lr_ratio, "\"cosine_with_min_lr\"");
    derive_number(l, CONFIG_min_lr_ratio, &l->given.min_lr_ratio, l->given.min_lr_ratio.value);
}

static void check_packing(Loading *l) {
    if (!l->given.packing.source || l->given.neat_packing.source || foreign_is_pretraining(l)) return;
    problem(l,
            "%s:%d: packing: true; in LLaMA-Factory samples of a row then attend to each other, here they do not; "
            "expected neat_packing: true",
            l->c->file ? l->c->file : "", l->given.packing.line);
}

void foreign_finish(Loading *l) {
    set_defaults(l);
    set_targets(l);
    set_quantization(l);
    set_batch(l);
    set_files(l);
    set_probabilities(l);
    set_schedule(l);
    check_packing(l);
    set_per_epoch(l);
    if (l->given.save_strategy.source) set_save_strategy(l);
}

// ---- help and schema ----

static void print_rows(FILE *out, const char *title, int kind) {
    enum { HELP_COLUMN = 32, COLUMNS = 110 };
    say_to(out, "\n%s\n", title);
    for (const ForeignKey *k = rows; k < rows + ROWS; k++) {
        if (kind != (k->map ? 0 : k->values ? 2 : 1)) continue;
        int column = say_to(out, " ");
        char name[64];
        for (const char *names = k->names; text_next_word(&names, name, sizeof name);) {
            if (column + (int)strlen(name) > COLUMNS) column = say_to(out, "\n ") - 1;
            column += say_to(out, " %s", name);
        }
        if (column >= HELP_COLUMN) column = say_to(out, "\n") - 1;
        say_to(out, "%*s%s\n", HELP_COLUMN - column, "", k->help);
    }
}

void foreign_print_help(FILE *out) {
    say_to(out,
           "Keys of Axolotl, LLaMA-Factory and TRL. A config is read as that of the tool whose own keys it has, with "
           "the\ndefaults of that tool. Of these keys null, false, \"\", [] and {} mean that they are not used.\n");
    print_rows(out, "They become keys of lorac", 0);
    print_rows(out, "They change nothing here", 1);
    print_rows(out, "They are refused where they are used", 2);
}

// Their values are not described: the tools' own documents do that.
void foreign_add_schema(cJSON *properties) {
    for (const ForeignKey *k = rows; k < rows + ROWS; k++) {
        char name[64];
        for (const char *names = k->names; text_next_word(&names, name, sizeof name);) {
            if (strchr(name, '*') || cJSON_GetObjectItemCaseSensitive(properties, name)) continue;
            cJSON *s = cJSON_AddObjectToObject(properties, name);
            AUTO_FREE char *text =
                mem_printf("Of other tools: %s%s", k->map || k->values ? "" : "changes nothing here: ", k->help);
            cJSON_AddStringToObject(s, "description", text);
        }
    }
}
