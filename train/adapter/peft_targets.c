// peft_targets: see peft_targets.h.
#include "peft_targets.h"

#include <math.h>
#include <string.h>
#include <time.h>

// A list of names, or one pattern for whole keys.
typedef struct Names {
    const Json *list;
    PyRegex *pattern;
} Names;

// rank_pattern or alpha_pattern: the first key that matches wins.
typedef struct Pattern {
    PyRegex **keys;
    const Json *values;
    size_t n;
    double usual; // where none matches
} Pattern;

struct PeftTargets {
    const char *path;
    Names targets, exclude;
    bool all, defaults; // "all-linear"; null
    bool *used;         // of targets.list
    const Json *layers; // layers_to_transform: a number or a list; NULL: all
    PyRegex **layer_patterns;
    size_t n_layer_patterns;
    Pattern rank, alpha;
    struct timespec start;
};

// ---- reading ----

static const Json *get(const Json *config, const char *key) {
    const Json *v = json_get(config, key);
    return v && v->type == JSON_NULL ? NULL : v;
}

static int refuse(const char *path, const char *key, const Json *v, const char *expected, Err *err) {
    return err_input(err, "%s: \"%s\" is %s; expected %s", path, key, v ? json_type_name(v) : "missing", expected);
}

static int compile(PyRegex **r, const char *pattern, bool whole, const PeftTargets *t, const char *key, Err *err) {
    if (pyregex_new(r, pattern, whole, err)) return err_context(err, "%s: \"%s\"", t->path, key);
    return 0;
}

static int check_text(const Json *v, const char *path, const char *key, Err *err) {
    if (v->type != JSON_STRING)
        return err_input(err, "%s: \"%s\" holds %s; expected names", path, key, json_type_name(v));
    if (strlen(v->str.data) == v->str.len) return 0;
    return err_input(err, "%s: \"%s\" holds a name with a NUL character", path, key);
}

static int read_names(Names *n, const Json *v, const char *key, const PeftTargets *t, Err *err) {
    if (v->type == JSON_STRING)
        return check_text(v, t->path, key, err) ? -1 : compile(&n->pattern, v->str.data, true, t, key, err);
    if (v->type != JSON_ARRAY) return refuse(t->path, key, v, "a list of names or a pattern", err);
    for (size_t i = 0; i < v->count; i++)
        if (check_text(&v->items[i], t->path, key, err)) return -1;
    n->list = v;
    return 0;
}

static bool is_all_linear(const Json *v) {
    static const char word[] = "all-linear";
    if (v->type != JSON_STRING || v->str.len != sizeof word - 1) return false;
    for (size_t i = 0; i < v->str.len; i++) {
        char c = v->str.data[i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != word[i]) return false;
    }
    return true;
}

static int read_targets(PeftTargets *t, const Json *config, Err *err) {
    const Json *v = get(config, "target_modules"), *exclude = get(config, "exclude_modules");
    if (!v)
        t->defaults = true;
    else if (is_all_linear(v))
        t->all = true;
    else if (read_names(&t->targets, v, "target_modules", t, err))
        return -1;
    if (t->targets.list) t->used = mem_calloc(t->targets.list->count + 1, sizeof *t->used);
    return exclude ? read_names(&t->exclude, exclude, "exclude_modules", t, err) : 0;
}

static bool is_empty(const Json *v) {
    return !v || (v->type == JSON_ARRAY && !v->count) || (v->type == JSON_STRING && !v->str.len);
}

static int read_layer_patterns(PeftTargets *t, const Json *v, Err *err) {
    const Json *items = v->type == JSON_ARRAY ? v->items : v;
    size_t n = v->type == JSON_ARRAY ? v->count : 1;
    t->layer_patterns = mem_calloc(n + 1, sizeof(PyRegex *));
    for (size_t i = 0; i < n; i++) {
        if (check_text(&items[i], t->path, "layers_pattern", err)) return -1;
        char *pattern = mem_printf("(?:^|.*?\\.)%s\\.(?P<idx>\\d+)\\.", items[i].str.data);
        int rc = compile(&t->layer_patterns[t->n_layer_patterns++], pattern, false, t, "layers_pattern", err);
        mem_free(pattern);
        if (rc) return -1;
    }
    return 0;
}

static int read_layers(PeftTargets *t, const Json *config, Err *err) {
    const Json *v = get(config, "layers_to_transform"), *pattern = get(config, "layers_pattern");
    if (is_empty(v)) return 0;
    const Json *items = v->type == JSON_ARRAY ? v->items : v; // PEFT also takes one number
    for (size_t i = 0; i < (v->type == JSON_ARRAY ? v->count : 1); i++)
        if (items[i].type != JSON_INT)
            return err_input(err, "%s: \"layers_to_transform\" holds %s; expected layer numbers", t->path,
                             json_type_name(&items[i]));
    if (t->all || t->targets.pattern)
        return err_input(err,
                         "%s: \"layers_to_transform\" with \"target_modules\" as one string, which PEFT refuses; "
                         "expected a list of names, or null",
                         t->path);
    t->layers = v;
    if (!is_empty(pattern)) return read_layer_patterns(t, pattern, err);
    t->layer_patterns = mem_calloc(1, sizeof(PyRegex *));
    t->n_layer_patterns = 1;
    return compile(t->layer_patterns, ".*?\\.[^.]*\\.(?P<idx>\\d+)\\.", false, t, "layers_to_transform", err);
}

static int read_number(double *out, const Json *v, const char *path, const char *key, Err *err) {
    if (!v || (v->type != JSON_INT && v->type != JSON_FLOAT)) return refuse(path, key, v, "a number", err);
    *out = v->number;
    return 0;
}

static int read_pattern(Pattern *p, const Json *config, const char *key, const PeftTargets *t, Err *err) {
    const Json *v = get(config, key);
    if (!v) return 0;
    if (v->type != JSON_OBJECT) return refuse(t->path, key, v, "an object of patterns and numbers", err);
    p->keys = mem_calloc(v->count + 1, sizeof *p->keys);
    p->values = v->items;
    for (size_t i = 0; i < v->count; i++) {
        double ignored;
        if (strlen(v->keys[i].data) != v->keys[i].len)
            return err_input(err, "%s: \"%s\" holds a pattern with a NUL character", t->path, key);
        if (read_number(&ignored, &v->items[i], t->path, key, err)) return -1;
        char *pattern = mem_printf("(.*\\.)?(%s)$", v->keys[i].data);
        int rc = compile(&p->keys[p->n++], pattern, false, t, key, err);
        mem_free(pattern);
        if (rc) return -1;
    }
    return 0;
}

static int read_all(PeftTargets *t, const Json *config, Err *err) {
    return read_number(&t->rank.usual, get(config, "r"), t->path, "r", err) ||
                   read_number(&t->alpha.usual, get(config, "lora_alpha"), t->path, "lora_alpha", err) ||
                   read_targets(t, config, err) || read_layers(t, config, err) ||
                   read_pattern(&t->rank, config, "rank_pattern", t, err) ||
                   read_pattern(&t->alpha, config, "alpha_pattern", t, err)
               ? -1
               : 0;
}

int peft_targets_new(PeftTargets **out, const Json *config, const char *path, Err *err) {
    PeftTargets *t = mem_calloc(1, sizeof *t);
    t->path = path;
    clock_gettime(CLOCK_MONOTONIC, &t->start);
    if (read_all(t, config, err)) {
        peft_targets_free(t);
        return -1;
    }
    *out = t;
    return 0;
}

static void free_regexes(PyRegex **r, size_t n) {
    for (size_t i = 0; i < n; i++) pyregex_free(r[i]);
    mem_free(r);
}

void peft_targets_free(PeftTargets *t) {
    if (!t) return;
    pyregex_free(t->targets.pattern);
    pyregex_free(t->exclude.pattern);
    mem_free(t->used);
    free_regexes(t->layer_patterns, t->n_layer_patterns);
    free_regexes(t->rank.keys, t->rank.n);
    free_regexes(t->alpha.keys, t->alpha.n);
    mem_free(t);
}

double peft_targets_rank(const PeftTargets *t) {
    return t->rank.usual;
}

double peft_targets_alpha(const PeftTargets *t) {
    return t->alpha.usual;
}

// ---- matching ----

// key is name, or ends with it after a dot.
static bool names_key(const Json *name, const char *key) {
    size_t n = strlen(key), m = name->str.len;
    return n >= m && memcmp(key + n - m, name->str.data, m) == 0 && (n == m || key[n - m - 1] == '.');
}

static int matches_names(const Names *n, const char *key, bool *used, Err *err) {
    if (n->pattern) return pyregex_match(n->pattern, key, NULL, err);
    int found = 0;
    for (size_t i = 0; n->list && i < n->list->count; i++) {
        if (!names_key(&n->list->items[i], key)) continue;
        if (used) used[i] = true;
        found = 1;
    }
    return found;
}

static bool is_whole_name(const Names *n, const char *key) {
    for (size_t i = 0; n->list && i < n->list->count; i++)
        if (json_is_string(&n->list->items[i], key)) return true;
    return false;
}

static int in_layers(const PeftTargets *t, const char *key, Err *err) {
    int64_t layer = -1;
    for (size_t i = 0; i < t->n_layer_patterns; i++) {
        int found = pyregex_match(t->layer_patterns[i], key, &layer, err);
        if (found < 0) return -1;
        if (found) break;
    }
    if (t->layers->type == JSON_INT) return layer >= 0 && t->layers->integer == layer;
    for (size_t i = 0; i < t->layers->count; i++)
        if (layer >= 0 && t->layers->items[i].integer == layer) return 1;
    return 0;
}

static int is_target(const PeftTargets *t, const PeftModule *m, Err *err) {
    int excluded = matches_names(&t->exclude, m->key, NULL, err);
    if (excluded) return excluded < 0 ? -1 : 0;
    if (t->all) return 1;
    int found = t->defaults ? m->is_default : matches_names(&t->targets, m->key, t->used, err);
    if (found <= 0 || !t->layers || is_whole_name(&t->targets, m->key)) return found; // whole names ignore layers
    return in_layers(t, m->key, err);
}

static int find_value(double *value, const Pattern *p, const char *key, Err *err) {
    *value = p->usual;
    for (size_t i = 0; i < p->n; i++) {
        int found = pyregex_match(p->keys[i], key, NULL, err);
        if (found < 0) return -1;
        if (!found) continue;
        *value = p->values[i].number;
        return 0;
    }
    return 0;
}

// Each match is bounded; their number is bounded only by the size of the config.
static int check_time(const PeftTargets *t, Err *err) {
    enum { SECONDS = 10 };
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - t->start.tv_sec < SECONDS) return 0;
    return err_input(err, "its patterns take more than %d seconds", SECONDS);
}

int peft_targets_match(PeftTargets *t, PeftModule *m, Err *err) {
    int found = check_time(t, err) ? -1 : is_target(t, m, err);
    if (found > 0 && (find_value(&m->rank, &t->rank, m->key, err) || find_value(&m->alpha, &t->alpha, m->key, err)))
        found = -1;
    return found < 0 ? err_context(err, "%s", t->path) : found;
}

const char *peft_targets_unmatched(const PeftTargets *t, size_t *i) {
    for (; t->targets.list && *i < t->targets.list->count; ++*i)
        if (!t->used[*i]) return t->targets.list->items[(*i)++].str.data;
    return NULL;
}
