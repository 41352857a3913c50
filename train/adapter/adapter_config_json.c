// adapter_config_json: see adapter_config_json.h. Keys and their meaning: huggingface/peft, tuners/lora/config.py.
#include "adapter_config_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

// --- reading ---

// Keys that are read below, and keys whose value does not change what a saved adapter computes.
static const char *const known_keys[] = {
    "peft_type",           "r",    "lora_alpha",        "lora_dropout",   "use_rslora", "target_modules",
    "layers_to_transform", "bias", "init_lora_weights", "modules_to_save"};
static const char *const harmless_keys[] = {
    "auto_mapping",  "base_model_name_or_path", "revision",          "inference_mode", "megatron_core", "peft_version",
    "task_type",     "runtime_config",          "qalora_group_size", "layers_pattern", "eva_config",    "loftq_config",
    "fan_in_fan_out"}; // PEFT sets it by the kind of the layer, whatever the file says

static bool in_list(const char *key, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(key, list[i]) == 0) return true;
    return false;
}
#define IN_LIST(key, list) in_list(key, list, sizeof(list) / sizeof *(list))

// null, false, [] and {}: how PEFT writes an option that is not used.
static bool is_off(const Json *v) {
    return v->type == JSON_NULL || v->type == JSON_FALSE ||
           ((v->type == JSON_ARRAY || v->type == JSON_OBJECT) && v->count == 0);
}

static int refuse_unknown(const Json *root, const char *path, Err *err) {
    for (size_t i = 0; i < root->count; i++) {
        const char *key = root->keys[i].data;
        if (!IN_LIST(key, known_keys) && !IN_LIST(key, harmless_keys) && !is_off(&root->items[i]))
            return err_input(err, "%s: \"%s\" is set; lorac reads adapters without it", path, key);
    }
    return 0;
}

static int get_number(const Json *root, const char *key, double fallback, double *out, const char *path, Err *err) {
    const Json *v = json_get(root, key);
    if (!v && !isnan(fallback)) {
        *out = fallback;
        return 0;
    }
    if (!v || (v->type != JSON_INT && v->type != JSON_FLOAT))
        return err_input(err, "%s: \"%s\" is %s; expected a number", path, key, v ? json_type_name(v) : "missing");
    *out = v->number;
    return 0;
}

static int get_bool(const Json *root, const char *key, bool *out, const char *path, Err *err) {
    const Json *v = json_get(root, key);
    *out = v && v->type == JSON_TRUE;
    if (v && v->type != JSON_TRUE && v->type != JSON_FALSE)
        return err_input(err, "%s: \"%s\" is %s; expected true or false", path, key, json_type_name(v));
    return 0;
}

// A target stands for whole modules.
static uint32_t whole_modules(const Architecture *a, uint32_t projections) {
    uint32_t whole = 0;
    for (const Module *m = a->hf.modules; m->name; m++)
        if (m->parts & projections) whole |= m->parts;
    return whole;
}

static int refuse_target(const Model *m, const char *name, const char *path, Err *err) {
    StrBuf known = {0};
    architecture_list_targets(&known, m->config.arch, adapter_available(&m->config));
    err_input(err, "%s: target module \"%s\"; expected some of %s", path, name, known.data);
    str_clear(&known);
    return -1;
}

static bool names_a_layer(const char *name) {
    for (; *name; name++)
        if (*name == '.' && name[1] >= '0' && name[1] <= '9') return true;
    return false;
}

// A list of names, or one string: "all-linear" or a pattern.
static int get_targets(const Json *root, AdapterConfig *c, AdapterConfigGaps *gaps, const Model *m, const char *path,
                       Err *err) {
    const Json *v = json_get(root, "target_modules");
    if (v && v->type == JSON_STRING) {
        c->projections = adapter_available(&m->config);
        gaps->modules = gaps->layers = !json_is_string(v, "all-linear");
        return 0;
    }
    if (!v || v->type != JSON_ARRAY)
        return err_input(err, "%s: \"target_modules\" is %s; expected a list of names or a pattern", path,
                         v ? json_type_name(v) : "missing");
    for (size_t i = 0; i < v->count; i++) {
        if (v->items[i].type != JSON_STRING)
            return err_input(err, "%s: \"target_modules\" holds %s; expected names", path,
                             json_type_name(&v->items[i]));
        const char *name = v->items[i].str.data;
        uint32_t set = architecture_targets(m->config.arch, name);
        if (!set) return refuse_target(m, name, path, err);
        c->projections |= set;
        if (names_a_layer(name)) gaps->layers = true;
    }
    c->projections = whole_modules(m->config.arch, c->projections);
    return 0;
}

// PEFT lists "classifier" and "score" for every classifier, whichever the model has; any other module would be trained
// whole.
static int get_saved_modules(const Json *root, AdapterConfigGaps *gaps, const Model *m, const char *path, Err *err) {
    const Json *v = json_get(root, "modules_to_save");
    const char *head = architecture_class_head(m->config.arch);
    if (!v || is_off(v)) return 0;
    for (size_t i = 0; v->type == JSON_ARRAY && i < v->count; i++) {
        const Json *name = &v->items[i];
        if (!json_is_string(name, "classifier") && !json_is_string(name, "score"))
            return err_input(err, "%s: \"modules_to_save\" holds %s; lorac trains a classifier's head (%s) only", path,
                             name->type == JSON_STRING ? name->str.data : json_type_name(name), head);
        gaps->labels |= json_is_string(name, head);
    }
    if (gaps->labels) return 0;
    return err_input(err, "%s: \"modules_to_save\" is %s; expected a list with \"%s\", or null", path,
                     json_type_name(v), head);
}

static int compare_layers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int get_layers(const Json *root, AdapterConfig *c, const char *path, Err *err) {
    const Json *v = json_get(root, "layers_to_transform");
    if (!v || v->type == JSON_NULL) return 0;
    const Json *items = v->type == JSON_ARRAY ? v->items : v; // PEFT also takes one number
    size_t n = v->type == JSON_ARRAY ? v->count : 1;
    c->layers = mem_alloc(n + 1, sizeof *c->layers);
    for (size_t i = 0; i < n; i++) {
        if (items[i].type != JSON_INT)
            return err_input(err, "%s: \"layers_to_transform\" holds %s; expected layer numbers", path,
                             json_type_name(&items[i]));
        c->layers[c->n_layers++] = items[i].integer;
    }
    qsort(c->layers, n, sizeof *c->layers, compare_layers);
    return 0;
}

static int check_fixed(const Json *root, const char *path, Err *err) {
    const Json *type = json_get(root, "peft_type"), *bias = json_get(root, "bias");
    if (!json_is_string(type, "LORA"))
        return err_input(err, "%s: \"peft_type\" is %s; expected \"LORA\"", path,
                         type && type->type == JSON_STRING ? type->str.data : "missing");
    if (bias && !json_is_string(bias, "none"))
        return err_input(err, "%s: \"bias\" is %s; expected \"none\"", path,
                         bias->type == JSON_STRING ? bias->str.data : json_type_name(bias));
    // PiSSA, OLoRA and LoftQ start from a changed base: over the unchanged one their A and B mean something else.
    const Json *init = json_get(root, "init_lora_weights");
    if (init && init->type != JSON_TRUE && init->type != JSON_FALSE && !json_is_string(init, "gaussian"))
        return err_input(err, "%s: \"init_lora_weights\" is %s; expected true, false or \"gaussian\"", path,
                         init->type == JSON_STRING ? init->str.data : json_type_name(init));
    return 0;
}

static int read_config(AdapterConfig *c, AdapterConfigGaps *gaps, const Json *root, const Model *m, const char *path,
                       Err *err) {
    double rank, alpha, dropout;
    if (!root || root->type != JSON_OBJECT) return err_input(err, "%s: expected a JSON object", path);
    if (check_fixed(root, path, err) || refuse_unknown(root, path, err) ||
        get_saved_modules(root, gaps, m, path, err) || get_number(root, "r", NAN, &rank, path, err) ||
        get_number(root, "lora_alpha", NAN, &alpha, path, err) ||
        get_number(root, "lora_dropout", 0, &dropout, path, err) ||
        get_bool(root, "use_rslora", &c->rslora, path, err) || get_targets(root, c, gaps, m, path, err) ||
        get_layers(root, c, path, err))
        return -1;
    if (!(rank >= 1 && rank <= 1 << 20) || rank != floor(rank))
        return err_input(err, "%s: \"r\" is %g; expected a whole number above 0", path, rank);
    c->rank = (int64_t)rank;
    c->alpha = (float)alpha;
    c->dropout = (float)dropout;
    if (c->layers) gaps->layers = false;
    return 0;
}

int adapter_config_parse(AdapterConfig *c, AdapterConfigGaps *gaps, const char *text, size_t size, const Model *m,
                         const char *path, Err *err) {
    *c = (AdapterConfig){0};
    *gaps = (AdapterConfigGaps){0};
    JsonDoc *doc;
    if (json_parse(&doc, text, size, path, 1, err)) return -1;
    int rc = read_config(c, gaps, json_root(doc), m, path, err);
    json_free(doc);
    if (rc) adapter_config_clear(c);
    return rc;
}

// --- writing ---

// A float as Python would print the number a person typed: the shortest digits that give the same float back.
static void print_float(StrBuf *out, float v) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v) break;
    }
    str_puts(out, text);
    if (!strpbrk(text, ".e")) str_puts(out, ".0");
}

static void print_layers(StrBuf *out, const AdapterConfig *c) {
    if (!c->layers) {
        str_puts(out, "null");
        return;
    }
    for (int64_t i = 0; i < c->n_layers; i++) str_printf(out, "%s    %lld", i ? ",\n" : "[\n", (long long)c->layers[i]);
    str_puts(out, "\n  ]");
}

// True when PEFT would find only trained modules by this name.
static bool is_exact(const Adapter *a, const Architecture *arch, const char *name) {
    for (const Module *m = arch->hf.modules; m->name; m++)
        if (!(m->parts & a->config.projections) && architecture_is_end_of(name, m->name)) return false;
    for (const char *const *other = arch->hf_linears; *other; other++)
        if (architecture_is_end_of(name, *other)) return false;
    return true;
}

// The shortest name that is exact; NULL: only the paths of single layers are.
static const char *short_target(const Adapter *a, const Model *m, const Module *module) {
    const Architecture *arch = m->config.arch;
    if (m->hf_prefix->has_towers) return NULL;
    const char *dot = strrchr(module->name, '.'), *leaf = dot ? dot + 1 : module->name;
    return is_exact(a, arch, leaf) ? leaf : is_exact(a, arch, module->name) ? module->name : NULL;
}

static void print_target(StrBuf *out, const char *name, size_t len) {
    str_printf(out, "%s    ", out->data[out->len - 1] == '[' ? "\n" : ",\n");
    json_quote(out, name, len);
}

// A short name may stand for several modules: GPT-2's c_proj.
static bool printed_before(const Adapter *a, const Model *m, const Module *module, const char *name) {
    for (const Module *other = m->config.arch->hf.modules; other < module; other++) {
        const char *was = other->parts & a->config.projections ? short_target(a, m, other) : NULL;
        if (was && strcmp(was, name) == 0) return true;
    }
    return false;
}

static void print_targets(StrBuf *out, const Adapter *a, const Model *m) {
    static const size_t before = sizeof "base_model.model." - 1, behind = sizeof ".lora_A.weight" - 1;
    str_puts(out, "[");
    for (const Module *module = m->config.arch->hf.modules; module->name; module++) {
        if (!(module->parts & a->config.projections)) continue;
        const char *name = short_target(a, m, module);
        if (name && !printed_before(a, m, module, name)) print_target(out, name, strlen(name));
        for (int64_t i = 0; !name && i < a->n_segments; i++) {
            const AdapterSegment *s = &a->segments[i];
            if (s->kind == SEGMENT_A && s->module == module)
                print_target(out, s->name + before, strlen(s->name) - before - behind);
        }
    }
    str_puts(out, "\n  ]");
}

void adapter_config_print(StrBuf *out, const Adapter *a, const Model *m, const char *base_model) {
    const AdapterConfig *c = &a->config;
    str_puts(out, "{\n  \"alpha_pattern\": {},\n  \"auto_mapping\": null,\n  \"base_model_name_or_path\": ");
    json_quote(out, base_model, strlen(base_model));
    str_printf(out, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": %s", m->config.arch->hf_conv1d ? "true" : "false");
    str_puts(out, ",\n  \"inference_mode\": true,\n"
                  "  \"init_lora_weights\": true,\n  \"layer_replication\": null,\n  \"layers_pattern\": null,\n"
                  "  \"layers_to_transform\": ");
    print_layers(out, c);
    str_puts(out, ",\n  \"loftq_config\": {},\n  \"lora_alpha\": ");
    if (c->alpha == floorf(c->alpha) && c->alpha < 1e9f)
        str_printf(out, "%.0f", (double)c->alpha); // PEFT declares an integer
    else
        print_float(out, c->alpha);
    str_puts(out, ",\n  \"lora_dropout\": ");
    print_float(out, c->dropout);
    str_puts(out, ",\n  \"megatron_config\": null,\n  \"megatron_core\": \"megatron.core\",\n"
                  "  \"modules_to_save\": ");
    if (c->labels)
        str_printf(out, "[\n    \"%s\"\n  ]", architecture_class_head(m->config.arch));
    else
        str_puts(out, "null");
    str_puts(out, ",\n  \"peft_type\": \"LORA\",\n");
    str_printf(out, "  \"r\": %lld,\n  \"rank_pattern\": {},\n  \"revision\": null,\n  \"target_modules\": ",
               (long long)c->rank);
    print_targets(out, a, m);
    str_printf(out, ",\n  \"task_type\": \"%s\",\n  \"use_dora\": false,\n  \"use_rslora\": %s\n}",
               c->labels ? "SEQ_CLS" : "CAUSAL_LM", c->rslora ? "true" : "false");
}
