// peft_config_write: writes adapter_config.json (see peft_config.h).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "peft_config.h"

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

// PEFT declares alphas as integers.
static void print_alpha(StrBuf *out, float v) {
    if (v == floorf(v) && v < 1e9f)
        str_printf(out, "%.0f", (double)v);
    else
        print_float(out, v);
}

static int64_t trained_layers(const Adapter *a, const Module *module) {
    int64_t n = 0;
    for (int64_t i = 0; i < a->n_segments; i++)
        n += a->segments[i].kind == SEGMENT_A && a->segments[i].module == module;
    return n;
}

// All modules are trained in the same layers, so that layers_to_transform can say which.
static bool is_regular(const Adapter *a) {
    const AdapterConfig *c = &a->config;
    int64_t layers = c->layers ? c->n_layers : a->model->layers;
    for (const Module *m = a->model->arch->hf.modules; m->name; m++)
        if ((m->parts & c->projections) && trained_layers(a, m) != layers) return false;
    return true;
}

static void print_layers(StrBuf *out, const Adapter *a) {
    const AdapterConfig *c = &a->config;
    if (!c->layers || !is_regular(a)) {
        str_puts(out, "null");
        return;
    }
    for (int64_t i = 0; i < c->n_layers; i++) str_printf(out, "%s    %lld", i ? ",\n" : "[\n", (long long)c->layers[i]);
    str_puts(out, "\n  ]");
}

// ---- target_modules ----

// Trained wherever layers_to_transform lets PEFT look.
static bool is_complete(const Adapter *a, const Module *m) {
    if (!(m->parts & a->config.projections)) return false;
    return is_regular(a) || trained_layers(a, m) == a->model->layers;
}

// True when PEFT would find only trained modules by this name.
static bool is_exact(const Adapter *a, const Architecture *arch, const char *name) {
    for (const Module *m = arch->hf.modules; m->name; m++)
        if (architecture_is_end_of(name, m->name) && !is_complete(a, m)) return false;
    for (const char *const *other = arch->hf_linears; *other; other++)
        if (architecture_is_end_of(name, *other)) return false;
    return true;
}

static const char *leaf_of(const Module *module) {
    const char *dot = strrchr(module->name, '.');
    return dot ? dot + 1 : module->name;
}

// The shortest name that is exact; NULL: only the paths of single layers are.
static const char *short_target(const Adapter *a, const Model *m, const Module *module) {
    const Architecture *arch = m->config.arch;
    if (m->hf_prefix->has_towers) return NULL;
    return is_exact(a, arch, leaf_of(module)) ? leaf_of(module) : is_exact(a, arch, module->name) ? module->name : NULL;
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

// A segment's module, as PEFT calls it.
static const char *module_path(const AdapterSegment *s, size_t *len) {
    static const size_t before = sizeof "base_model.model." - 1, behind = sizeof ".lora_A.weight" - 1;
    *len = strlen(s->name) - before - behind;
    return s->name + before;
}

static void print_targets(StrBuf *out, const Adapter *a, const Model *m) {
    str_puts(out, "[");
    for (const Module *module = m->config.arch->hf.modules; module->name; module++) {
        if (!(module->parts & a->config.projections)) continue;
        const char *name = short_target(a, m, module);
        if (name && !printed_before(a, m, module, name)) print_target(out, name, strlen(name));
        for (int64_t i = 0; !name && i < a->n_segments; i++) {
            const AdapterSegment *s = &a->segments[i];
            size_t len;
            if (s->kind != SEGMENT_A || s->module != module) continue;
            const char *path = module_path(s, &len);
            print_target(out, path, len);
        }
    }
    str_puts(out, "\n  ]");
}

// ---- rank_pattern and alpha_pattern ----

typedef struct PatternKind {
    const char *key;
    float (*value)(const AdapterSegment *s);
    void (*print)(StrBuf *out, float value);
    float usual;
} PatternKind;

static float rank_value(const AdapterSegment *s) {
    return (float)s->rows;
}

static float alpha_value(const AdapterSegment *s) {
    return s->alpha;
}

static void print_rank(StrBuf *out, float v) {
    str_printf(out, "%.0f", (double)v);
}

// True when all trained layers of all modules that end with `name` have this value.
static bool is_shared(const Adapter *a, const PatternKind *k, const char *name, float value) {
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        if (s->kind == SEGMENT_A && architecture_is_end_of(name, s->module->name) && k->value(s) != value) return false;
    }
    return true;
}

// The shortest name that means this value only; NULL: the path of the layer.
static const char *short_pattern(const Adapter *a, const PatternKind *k, const AdapterSegment *s) {
    float v = k->value(s);
    if (is_shared(a, k, leaf_of(s->module), v)) return leaf_of(s->module);
    return is_shared(a, k, s->module->name, v) ? s->module->name : NULL;
}

// A name that is shared stands at its first module.
static bool named_before(const Adapter *a, int64_t segment, const char *name) {
    for (int64_t i = 0; i < segment; i++) {
        const AdapterSegment *s = &a->segments[i];
        if (s->kind == SEGMENT_A && architecture_is_end_of(name, s->module->name)) return true;
    }
    return false;
}

static void print_pattern(StrBuf *out, const Adapter *a, const PatternKind *k) {
    const char *separator = "\n    ";
    str_printf(out, "  \"%s\": {", k->key);
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        if (s->kind != SEGMENT_A || k->value(s) == k->usual) continue;
        const char *name = short_pattern(a, k, s), *path = name;
        size_t len = name ? strlen(name) : 0;
        if (name && named_before(a, i, name)) continue;
        if (!name) path = module_path(s, &len);
        str_puts(out, separator);
        json_quote(out, path, len);
        str_puts(out, ": ");
        k->print(out, k->value(s));
        separator = ",\n    ";
    }
    str_puts(out, separator[0] == ',' ? "\n  }" : "}");
}

void peft_config_write(StrBuf *out, const Adapter *a, const Model *m, const char *base_model) {
    const AdapterConfig *c = &a->config;
    str_puts(out, "{\n");
    print_pattern(out, a, &(PatternKind){"alpha_pattern", alpha_value, print_alpha, c->alpha});
    str_puts(out, ",\n  \"auto_mapping\": null,\n  \"base_model_name_or_path\": ");
    json_quote(out, base_model, strlen(base_model));
    str_printf(out, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": %s", m->config.arch->hf_conv1d ? "true" : "false");
    str_puts(out, ",\n  \"inference_mode\": true,\n"
                  "  \"init_lora_weights\": true,\n  \"layer_replication\": null,\n  \"layers_pattern\": null,\n"
                  "  \"layers_to_transform\": ");
    print_layers(out, a);
    str_puts(out, ",\n  \"loftq_config\": {},\n  \"lora_alpha\": ");
    print_alpha(out, c->alpha);
    str_puts(out, ",\n  \"lora_dropout\": ");
    print_float(out, c->dropout);
    str_puts(out, ",\n  \"megatron_config\": null,\n  \"megatron_core\": \"megatron.core\",\n"
                  "  \"modules_to_save\": ");
    if (c->labels)
        str_printf(out, "[\n    \"%s\"\n  ]", architecture_class_head(m->config.arch));
    else
        str_puts(out, "null");
    str_puts(out, ",\n  \"peft_type\": \"LORA\",\n");
    str_printf(out, "  \"r\": %lld,\n", (long long)c->rank);
    print_pattern(out, a, &(PatternKind){"rank_pattern", rank_value, print_rank, (float)c->rank});
    str_puts(out, ",\n  \"revision\": null,\n  \"target_modules\": ");
    print_targets(out, a, m);
    str_printf(out, ",\n  \"task_type\": \"%s\",\n  \"use_dora\": false,\n  \"use_rslora\": %s\n}",
               c->labels ? "SEQ_CLS" : "CAUSAL_LM", c->rslora ? "true" : "false");
}
