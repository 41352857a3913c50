// peft_targets: which modules an adapter_config.json selects, with their rank and alpha (peft_internal.h).
#include <string.h>

#include "peft_internal.h"
#include "regex.h"

// A list of names, or one pattern for whole keys.
typedef struct Names {
    const Json *list;
    PyRegex *pattern;
} Names;

// Patterns of keys: rank_pattern and alpha_pattern (the first that matches wins), layers_pattern (no values).
typedef struct Patterns {
    PyRegex **items;
    size_t count;
    const Json *object; // whose keys they are
    bool *used;         // [count] has been the first to match
    double usual;       // where none matches
} Patterns;

struct PeftTargets {
    JsonReader config;
    Names targets, exclude, parameters;
    bool all, defaults; // "all-linear"; null
    bool *used, *kept;  // which of targets.list and of exclude.list have matched
    const Json *layers; // layers_to_transform: a number or a list; NULL: all
    Patterns layer_patterns, rank, alpha;
    double start; // time_now
};

// ---- reading ----

static int compile(PyRegex **r, const char *pattern, bool whole, const PeftTargets *t, const char *key) {
    if (!pyregex_new(r, pattern, whole, t->config.err)) return 0;
    return err_context(t->config.err, "%s: \"%s\"", t->config.path, key);
}

// Adds the pattern `before`TEXT`after`.
static int add_pattern(Patterns *p, JsonStr text, const char *before, const char *after, const PeftTargets *t,
                       const char *key) {
    AUTO_FREE char *pattern = mem_printf("%s%s%s", before, text.data, after);
    if (strlen(text.data) != text.len)
        return err_input(t->config.err, "%s: \"%s\" holds a pattern with a NUL character", t->config.path, key);
    return compile(&p->items[p->count++], pattern, false, t, key);
}

static int check_text(const PeftTargets *t, const char *key, const Json *v) {
    if (v->type != JSON_STRING)
        return err_input(t->config.err, "%s: \"%s\" holds %s; expected names", t->config.path, key, json_type_name(v));
    if (strlen(v->str.data) == v->str.len) return 0;
    return err_input(t->config.err, "%s: \"%s\" holds a name with a NUL character", t->config.path, key);
}

// The items of a list, or the one value.
static const Json *items_of(const Json *v, size_t *count) {
    *count = v->type == JSON_ARRAY ? v->count : 1;
    return v->type == JSON_ARRAY ? v->items : v;
}

static int read_names(Names *n, const Json *v, const char *key, const PeftTargets *t) {
    size_t count;
    const Json *items = items_of(v, &count);
    if (v->type != JSON_STRING && v->type != JSON_ARRAY)
        return json_refuse(&t->config, key, v, "a list of names or a pattern");
    for (size_t i = 0; i < count; i++)
        if (check_text(t, key, &items[i])) return -1;
    if (v->type == JSON_STRING) return compile(&n->pattern, v->str.data, true, t, key);
    n->list = v;
    return 0;
}

static bool is_all_linear(const Json *v) {
    return v->type == JSON_STRING && v->str.len == strlen("all-linear") &&
           ends_with_nocase(v->str.data, v->str.len, "all-linear");
}

// Parameters of linear layers; those of experts are the modules that target_modules names, in another release.
static int read_parameters(PeftTargets *t) {
    const Json *v = json_given(t->config.object, "target_parameters");
    if (!v) return 0;
    if (v->type != JSON_ARRAY) return json_refuse(&t->config, "target_parameters", v, "a list of names");
    if (read_names(&t->parameters, v, "target_parameters", t)) return -1;
    for (size_t i = 0; i < v->count; i++) {
        const JsonStr *name = &v->items[i].str;
        if (!ends_with_nocase(name->data, name->len, ".weight") &&
            !ends_with_nocase(name->data, name->len, "experts.gate_up_proj") &&
            !ends_with_nocase(name->data, name->len, "experts.down_proj"))
            return json_refuse(&t->config, "target_parameters", &v->items[i],
                               "weights of linear layers, or of experts");
    }
    return 0;
}

static int read_targets(PeftTargets *t) {
    const Json *v = json_given(t->config.object, "target_modules");
    const Json *exclude = json_given(t->config.object, "exclude_modules");
    t->defaults = !v;
    t->all = v && is_all_linear(v);
    if (v && !t->all && read_names(&t->targets, v, "target_modules", t)) return -1;
    if (t->targets.list) t->used = mem_calloc(t->targets.list->count + 1, sizeof *t->used);
    if (exclude && read_names(&t->exclude, exclude, "exclude_modules", t)) return -1;
    if (read_parameters(t)) return -1;
    if (t->exclude.list) t->kept = mem_calloc(t->exclude.list->count + 1, sizeof *t->kept);
    return 0;
}

static bool is_empty(const Json *v) {
    return !v || (v->type == JSON_ARRAY && !v->count) || (v->type == JSON_STRING && !v->str.len);
}

static int read_layers(PeftTargets *t) {
    const Json *v = json_given(t->config.object, "layers_to_transform");
    const Json *pattern = json_given(t->config.object, "layers_pattern");
    if (is_empty(v)) return 0;
    size_t n;
    const Json *items = items_of(v, &n); // PEFT also takes one number
    for (size_t i = 0; i < n; i++)
        if (items[i].type != JSON_INT)
            return err_input(t->config.err, "%s: \"layers_to_transform\" holds %s; expected layer numbers",
                             t->config.path, json_type_name(&items[i]));
    if (t->all || t->targets.pattern)
        return err_input(t->config.err,
                         "%s: \"layers_to_transform\" with \"target_modules\" as one string, which PEFT refuses; "
                         "expected a list of names, or null",
                         t->config.path);
    t->layers = v;
    const Json any_word = {.type = JSON_STRING, .str = {"[^.]*", 5}};
    bool any = is_empty(pattern);
    items = items_of(any ? &any_word : pattern, &n);
    t->layer_patterns.items = mem_calloc(n + 1, sizeof(PyRegex *));
    for (size_t i = 0; i < n; i++)
        if (check_text(t, "layers_pattern", &items[i]) ||
            add_pattern(&t->layer_patterns, items[i].str, any ? ".*?\\." : "(?:^|.*?\\.)", "\\.(?P<idx>\\d+)\\.", t,
                        "layers_pattern"))
            return -1;
    return 0;
}

static int read_pattern(Patterns *p, const char *key, const PeftTargets *t) {
    const Json *v;
    if (json_read_object(&t->config, key, &v)) return -1;
    if (!v) return 0;
    p->items = mem_calloc(v->count + 1, sizeof *p->items);
    p->used = mem_calloc(v->count + 1, sizeof *p->used);
    p->object = v;
    for (size_t i = 0; i < v->count; i++) {
        if (v->items[i].type != JSON_INT && v->items[i].type != JSON_FLOAT)
            return json_refuse(&t->config, key, &v->items[i], "a number for each pattern");
        if (add_pattern(p, v->keys[i], "(.*\\.)?(", ")$", t, key)) return -1;
    }
    return 0;
}

int peft_targets_new(PeftTargets **out, const JsonReader *config) {
    AUTO(peft_targets_free) PeftTargets *t = mem_calloc(1, sizeof *t);
    t->config = *config;
    t->start = time_now();
    if (json_read_number(config, "r", &t->rank.usual) || json_read_number(config, "lora_alpha", &t->alpha.usual) ||
        read_targets(t) || read_layers(t) || read_pattern(&t->rank, "rank_pattern", t) ||
        read_pattern(&t->alpha, "alpha_pattern", t))
        return -1;
    *out = mem_take(&t);
    return 0;
}

static void free_patterns(Patterns *p) {
    for (size_t i = 0; i < p->count; i++) pyregex_free(p->items[i]);
    mem_free(p->items);
    mem_free(p->used);
}

void peft_targets_free(PeftTargets *t) {
    if (!t) return;
    pyregex_free(t->targets.pattern);
    pyregex_free(t->exclude.pattern);
    mem_free(t->used);
    mem_free(t->kept);
    free_patterns(&t->layer_patterns);
    free_patterns(&t->rank);
    free_patterns(&t->alpha);
    mem_free(t);
}

int peft_targets_refuse(const PeftTargets *t, const char *key, const char *what) {
    return err_input(t->config.err, "%s: %s %s", t->config.path, key, what);
}

PeftModule peft_targets_usual(const PeftTargets *t) {
    return (PeftModule){.key = "\"r\"", .rank = t->rank.usual, .alpha = t->alpha.usual};
}

// ---- matching ----

// key is name, or ends with it after a dot.
static bool names_key(const Json *name, const char *key) {
    size_t n = strlen(key), m = name->str.len;
    return n >= m && memcmp(key + n - m, name->str.data, m) == 0 && (n == m || key[n - m - 1] == '.');
}

static int matches_names(const Names *n, const char *key, bool *used, const PeftTargets *t) {
    if (n->pattern) return pyregex_match(n->pattern, key, NULL, t->config.err);
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

static int in_layers(const PeftTargets *t, const char *key) {
    int64_t layer = -1;
    for (size_t i = 0, n = t->layer_patterns.count; i < n; i++) {
        int found = pyregex_match(t->layer_patterns.items[i], key, &layer, t->config.err);
        if (found < 0) return -1;
        if (found) break;
    }
    size_t n;
    const Json *items = items_of(t->layers, &n);
    for (size_t i = 0; i < n; i++)
        if (layer >= 0 && items[i].integer == layer) return 1;
    return 0;
}

static int is_target(const PeftTargets *t, const PeftModule *m) {
    int excluded = matches_names(&t->exclude, m->key, t->kept, t);
    if (excluded) return excluded < 0 ? -1 : 0;
    if (t->all) return !m->is_expert;
    int found = t->defaults ? m->is_default : matches_names(&t->targets, m->key, t->used, t);
    if (found <= 0 || !t->layers || is_whole_name(&t->targets, m->key)) return found; // whole names ignore layers
    return in_layers(t, m->key);
}

static int find_value(double *value, Patterns *p, const char *key, const PeftTargets *t) {
    *value = p->usual;
    for (size_t i = 0; i < p->count; i++) {
        int found = pyregex_match(p->items[i], key, NULL, t->config.err);
        if (found > 0) *value = p->object->items[i].number;
        if (found > 0) p->used[i] = true;
        if (found) return found < 0 ? -1 : 0;
    }
    return 0;
}

// Each match is bounded; their number is bounded only by the size of the config.
static int check_time(const PeftTargets *t) {
    enum { SECONDS = 10 };
    if (time_now() - t->start < SECONDS) return 0;
    return err_input(t->config.err, "its patterns take more than %d seconds", SECONDS);
}

int peft_targets_match(PeftTargets *t, PeftModule *m) {
    AUTO_FREE char *parameter = mem_printf("%s.weight", m->key);
    bool by_parameter = matches_names(&t->parameters, parameter, NULL, t);
    int found = check_time(t) ? -1 : by_parameter ? 1 : is_target(t, m);
    const char *key = by_parameter ? parameter : m->key;
    if (found > 0 && (find_value(&m->rank, &t->rank, key, t) || find_value(&m->alpha, &t->alpha, key, t))) found = -1;
    return found < 0 ? err_context(t->config.err, "%s", t->config.path) : found;
}

const char *peft_targets_unmatched(const PeftTargets *t, size_t *i) {
    for (; t->targets.list && *i < t->targets.list->count; ++*i)
        if (!t->used[*i]) return t->targets.list->items[(*i)++].str.data;
    return NULL;
}

static const char *unused(const Patterns *p) {
    for (size_t i = 0; i < p->count; i++)
        if (!p->used[i]) return p->object->keys[i].data;
    return NULL;
}

const char *peft_targets_unused(const PeftTargets *t, const char **key) {
    const char *pattern;
    *key = "exclude_modules";
    for (size_t i = 0; t->exclude.list && i < t->exclude.list->count; i++)
        if (!t->kept[i]) return t->exclude.list->items[i].str.data;
    *key = "rank_pattern";
    if ((pattern = unused(&t->rank))) return pattern;
    *key = "alpha_pattern";
    return unused(&t->alpha);
}
