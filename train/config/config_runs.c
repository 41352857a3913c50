// config_runs: the configs of the runs of one command: a copy of the config for each object of `runs`, with its keys.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "foreign.h"
#include "path.h"

// ---- a list of learning rates ----

// Appends {"learning_rate": RATE, "run_name": "lr-RATE"}, the rate as it is written in text[0, n).
static bool add_rate(StrBuf *runs, const char *text, size_t n) {
    AUTO_FREE char *rate = mem_strndup(text, n);
    char *end;
    double x = strtod(rate, &end);
    if (end == rate || *end || !isfinite(x) || rate[strspn(rate, "0123456789.eE+-")]) return false;
    str_printf(runs, "%s{\"learning_rate\": %.17g, \"run_name\": \"lr-%s\"}", runs->len > 1 ? ", " : "", x, rate);
    return true;
}

// Two of the rates are the same number: their runs would be equal.
static bool refuse_equal(Loading *l, const char *list, const char *text, size_t n, Origin from) {
    for (const char *p = list; p < text; p += strcspn(p, ",") + 1) {
        if (strtod(p, NULL) != strtod(text, NULL)) continue;
        problem(l, "%slearning_rate: %.*s and %.*s are the same; expected different ones", from.where,
                (int)strcspn(p, ","), p, (int)n, text);
        return true;
    }
    return false;
}

void set_sweep(Loading *l, const char *list, Origin from) {
    AUTO_STR StrBuf runs = {0};
    AUTO_JSON JsonDoc *doc = NULL;
    const char *text = list;
    Err err;
    if (l->c->runs.count) {
        problem(l, "%slearning_rate: \"%.60s\", one run for each, and the config has runs; expected one of them",
                from.where, list);
        return;
    }
    str_puts(&runs, "[");
    for (bool more = true; more;) {
        size_t n = strcspn(text, ",");
        if (!add_rate(&runs, text, n)) {
            problem(l, "%slearning_rate: \"%.60s\"; expected numbers such as 1e-4,3e-4", from.where, list);
            return;
        }
        if (refuse_equal(l, list, text, n, from)) return;
        more = text[n] == ',';
        text += n + more;
    }
    str_puts(&runs, "]");
    CHECK(json_parse(&doc, runs.data, runs.len, "", 0, &err) == 0, "%s", err.msg);
    set_named(l, "runs", json_root(doc), from);
}

// ---- one run ----

static void copy(Config *to, const Config *from) {
    keys_set_defaults(&config_table, to);
    for (const Key *k = config_table.keys; k < config_table.keys + config_table.count; k++) {
        AUTO_FREE char *text = key_text(from, k, false);
        AUTO_JSON JsonDoc *doc = NULL;
        Err err = {0};
        CHECK(json_parse_config(&doc, text, strlen(text), "", &err) == 0 &&
                  key_read(to, k, json_root(doc), "", &err) == 0,
              "%s: %s", k->name, err.msg);
    }
    memcpy(to->source, from->source, sizeof to->source);
    memcpy(to->line, from->line, sizeof to->line);
    to->file = from->file ? mem_strdup(from->file) : NULL;
    to->tool = from->tool;
    to->pull = from->pull;
    if (from->notes.len) str_puts(&to->notes, from->notes.data);
    if (to->source[CONFIG_lora_alpha] == SOURCE_TOOL) to->source[CONFIG_lora_alpha] = SOURCE_DEFAULT; // follows lora_r
}

// Sets the keys of an object of `runs`. A key that the command line has set is refused: one of the two would be
// ignored.
static void set_keys(Loading *l, const Config *base, const char *object, Origin from) {
    AUTO_JSON JsonDoc *doc = NULL;
    Err err;
    CHECK(json_parse_config(&doc, object, strlen(object), "", &err) == 0, "%s", err.msg);
    const Json *root = json_root(doc);
    for (size_t i = 0; i < root->count; i++) {
        const char *implied, *name = root->keys[i].data;
        const Key *k = keys_find(&config_table, name, &implied);
        size_t id = k ? (size_t)(k - config_table.keys) : 0;
        if (k && id == CONFIG_runs)
            problem(l, "%sruns: found in a run; expected no runs there", from.where);
        else if (k && id != CONFIG_output_dir && base->source[id] == SOURCE_COMMAND_LINE)
            problem(l, "%s%s: is set on the command line, too; expected one of them", from.where, k->name);
        else
            set_named(l, name, &root->items[i], from);
    }
}

static void check_of_base(Loading *l, const Config *base, const char *where) {
    for (ConfigKey i = 0; i < CONFIG_KEYS; i++) {
        const Key *k = &config_table.keys[i];
        if (!(k->flags & OF_BASE) || l->c->source[i] != SOURCE_RUN || l->wrong[i]) continue;
        AUTO_FREE char *own = key_text(l->c, k, false), *of_base = key_text(base, k, false);
        if (strcmp(own, of_base) != 0)
            problem(l, "%s%s: %.60s in this run, %.60s in the config; expected the same for all runs", where, k->name,
                    own, of_base);
    }
}

// run_name, and output_dir under that of the config.
static void name_run(Loading *l, const Config *base, size_t index, const char *where) {
    Config *c = l->c;
    if (c->source[CONFIG_run_name] != SOURCE_RUN) {
        mem_free(c->run_name);
        c->run_name = mem_printf("run-%zu", index + 1);
    }
    if (c->source[CONFIG_output_dir] == SOURCE_RUN || !base->output_dir || !c->run_name) return;
    if (strchr(c->run_name, '/') || c->run_name[0] == '.')
        problem(l, "%srun_name: \"%.60s\"; expected the name of a folder, or an output_dir", where, c->run_name);
    mem_free(c->output_dir);
    c->output_dir = path_join(base->output_dir, c->run_name);
}

static void check_folders(Loading *l, const ConfigList *runs, const Config *base) {
    AUTO_FREE char *report = path_absolute(base->output_dir);
    for (size_t i = 0; i < runs->count; i++) {
        if (!runs->items[i].output_dir) continue;
        AUTO_FREE char *own = path_absolute(runs->items[i].output_dir);
        if (strcmp(own, report) == 0)
            problem(l, "runs: %s has the output_dir of the report of all runs, %s; expected another",
                    runs->items[i].run_name, own);
        for (size_t k = 0; k < i; k++) {
            AUTO_FREE char *other = path_absolute(runs->items[k].output_dir);
            if (strcmp(own, other) == 0)
                problem(l, "runs: %s and %s have the same output_dir, %s; expected one for each run",
                        runs->items[k].run_name, runs->items[i].run_name, own);
        }
    }
}

// l->c: the run's config, zeroed.
static void make_run(Loading *l, const Config *base, size_t index) {
    Config *c = l->c;
    bool file = base->source[CONFIG_runs] == SOURCE_FILE;
    int line = file ? base->runs.lines[index] : 0;
    AUTO_FREE char *where = file ? mem_printf("%s:%d: runs[%zu]: ", base->file, line, index)
                                 : mem_printf("command line: runs[%zu]: ", index);
    copy(c, base);
    key_set_default(c, &config_table.keys[CONFIG_runs]);
    c->source[CONFIG_runs] = SOURCE_DEFAULT;
    memset(l->wrong, 0, sizeof l->wrong);
    mem_free(l->given.text_field);
    l->given = (GivenKeys){0};
    set_keys(l, base, base->runs.items[index], (Origin){where, SOURCE_RUN, line});
    foreign_finish(l);
    check_of_base(l, base, where);
    name_run(l, base, index, where);
    l->run = c->run_name;
    check_rules(l, CONFIG_FOR_TRAIN);
    l->run = NULL;
}

int config_runs(ConfigList *runs, const Config *c, Err *err) {
    AUTO_CALL(loading_clear) Loading l = {0};
    runs->count = c->runs.count ? c->runs.count : 1;
    runs->items = mem_calloc(runs->count, sizeof *runs->items);
    if (!c->runs.count) {
        l.c = runs->items;
        copy(runs->items, c);
        foreign_finish(&l);
        return 0;
    }
    for (size_t i = 0; i < runs->count; i++) {
        l.c = &runs->items[i];
        make_run(&l, c, i);
    }
    if (!c->output_dir) problem(&l, "output_dir: is missing; expected the folder of the report of all runs");
    if (c->profile) refuse_key(&l, CONFIG_profile, "true, with runs; expected a profile of one run");
    if (!l.n_problems) check_folders(&l, runs, c);
    return problems_report(&l, err);
}

void config_list_clear(ConfigList *l) {
    for (size_t i = 0; i < l->count; i++) config_clear(&l->items[i]);
    mem_free(l->items);
    *l = (ConfigList){0};
}
