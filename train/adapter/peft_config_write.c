// peft_config_write: adapter_config.json as PEFT reads it (see peft_internal.h).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peft_internal.h"

// The number that a person typed: the shortest digits that give the same float.
static double typed(float v) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v) break;
    }
    return strtod(text, NULL);
}

static double written_alpha(const Adapter *a, float alpha, int64_t rank) {
    return a->config.rslora ? typed(alpha) * sqrt((double)rank) : typed(alpha);
}

static int64_t trained_layers(const Adapter *a, const Module *module) {
    int64_t n = 0;
    for (int64_t i = 0; i < a->n_segments; i++)
        n += a->segments[i].kind == SEGMENT_A && a->segments[i].module == module && !a->segments[i].expert;
    return n;
}

// The layers that have a module: all, or of those that are listed.
static int64_t layers_with(const ModelConfig *c, const Module *module, const int64_t *list, int64_t n) {
    int64_t count = 0;
    Projection p = 0;
    while (!(module->parts & PROJ_BIT(p))) p++;
    for (int64_t i = 0; i < (list ? n : c->layers); i++) count += model_layer_has(c, list ? list[i] : i, p);
    return count;
}

// All modules are trained in the same layers: layers_to_transform can list them.
static bool is_regular(const Adapter *a) {
    const AdapterConfig *c = &a->config;
    for (const Module *m = a->model->arch->hf.modules; m->name; m++)
        if ((m->parts & c->projections) && trained_layers(a, m) != layers_with(a->model, m, c->layers, c->n_layers))
            return false;
    return true;
}

static cJSON *layers_to_transform(const Adapter *a) {
    const AdapterConfig *c = &a->config;
    if (!c->layers || !is_regular(a)) return cJSON_CreateNull();
    cJSON *list = cJSON_CreateArray();
    for (int64_t i = 0; i < c->n_layers; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)c->layers[i]));
    return list;
}

static const char *leaf_of(const Module *module) {
    const char *dot = strrchr(module->name, '.');
    return dot ? dot + 1 : module->name;
}

// The module of a segment by PEFT's full name; the caller frees. skipped: peft_name_skips.
static char *module_path(const AdapterSegment *s, size_t skipped) {
    static const size_t before = sizeof "base_model.model." - 1, after = sizeof ".lora_A.weight" - 1;
    const char *name = s->name + before + skipped;
    return mem_strndup(name, strlen(name) - after);
}

size_t peft_name_skips(const Adapter *a, const Model *m) {
    return a->config.embedding ? strcspn(m->hf_prefix->module, ".") + 1 : 0;
}

// ---- target_modules ----

// Trained in every layer that layers_to_transform admits.
static bool is_complete(const Adapter *a, const Module *m) {
    if (!(m->parts & a->config.projections)) return false;
    return is_regular(a) || trained_layers(a, m) == layers_with(a->model, m, NULL, 0);
}

// True when PEFT finds only trained modules by this name.
static bool is_exact(const Adapter *a, const Architecture *arch, const char *name) {
    for (const Module *m = arch->hf.modules; m->name; m++)
        if (architecture_is_end_of(name, m->name) && layers_with(a->model, m, NULL, 0) && !is_complete(a, m))
            return false;
    for (const char *const *other = arch->hf_linears; *other; other++)
        if (architecture_is_end_of(name, *other)) return false;
    return true;
}

// The shortest name that is exact; NULL: only the paths of single layers are.
static const char *short_target(const Adapter *a, const Model *m, const Module *module) {
    const Architecture *arch = m->config.arch;
    if (m->hf_prefix->has_towers) return NULL;
    if (is_exact(a, arch, leaf_of(module))) return leaf_of(module);
    return !module_is_expert(module) && is_exact(a, arch, module->name) ? module->name : NULL;
}

// A short name may match several modules: GPT-2's c_proj.
static void add_once(cJSON *list, const char *name) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) if (strcmp(item->valuestring, name) == 0) return;
    cJSON_AddItemToArray(list, cJSON_CreateString(name));
}

static cJSON *target_modules(const Adapter *a, const Model *m) {
    cJSON *list = cJSON_CreateArray();
    for (const Module *module = m->config.arch->hf.modules; module->name; module++) {
        if (!(module->parts & a->config.projections)) continue;
        const char *name = short_target(a, m, module);
        if (name) add_once(list, name);
        for (int64_t i = 0; !name && i < a->n_segments; i++) {
            if (a->segments[i].kind != SEGMENT_A || a->segments[i].module != module) continue;
            AUTO_FREE char *path = module_is_expert(module) && is_complete(a, module)
                                       ? module_name(module, a->segments[i].expert)
                                       : module_path(&a->segments[i], peft_name_skips(a, m));
            add_once(list, path);
        }
    }
    return list;
}

// PEFT (0.21) makes target_parameters of the experts' names itself where transformers 5 has fused them, but for
// qwen2_moe. The pairs of gate and up are one of twice the rank there.
static bool needs_parameters(const Adapter *a) {
    return a->config.projections & PROJ_EXPERT_BITS && a->model->arch->hf.shared_gate;
}
#define GATE_UP "mlp.experts.gate_up_proj"

static cJSON *target_parameters(const Adapter *a) {
    cJSON *list = cJSON_CreateArray();
    if (a->config.projections & PROJ_BIT(PROJ_EXPERT_GATE)) cJSON_AddItemToArray(list, cJSON_CreateString(GATE_UP));
    if (a->config.projections & PROJ_BIT(PROJ_EXPERT_DOWN))
        cJSON_AddItemToArray(list, cJSON_CreateString("mlp.experts.down_proj"));
    return list;
}

// ---- rank_pattern and alpha_pattern ----

static double pattern_value(const Adapter *a, const AdapterSegment *s, bool is_alpha) {
    return is_alpha ? written_alpha(a, s->alpha, s->rows) : (double)s->rows;
}

// True when all trained layers of all modules that end with `name` have this value.
static bool is_shared(const Adapter *a, bool is_alpha, const char *name, double value) {
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        if (s->kind == SEGMENT_A && architecture_is_end_of(name, s->module->name) &&
            pattern_value(a, s, is_alpha) != value)
            return false;
    }
    return true;
}

// The values that differ from `usual`, each under the shortest name that has this value only: the module's last word,
// its name, or the path of one layer.
static cJSON *pattern(const Adapter *a, const Model *m, bool is_alpha, double usual) {
    cJSON *object = cJSON_CreateObject();
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        double value = pattern_value(a, s, is_alpha);
        if (s->kind != SEGMENT_A || value == usual) continue;
        AUTO_FREE char *path = module_path(s, peft_name_skips(a, m));
        const char *name = is_shared(a, is_alpha, leaf_of(s->module), value) ? leaf_of(s->module)
                           : !module_is_expert(s->module) && is_shared(a, is_alpha, s->module->name, value)
                               ? s->module->name
                               : path;
        if (!cJSON_GetObjectItemCaseSensitive(object, name)) cJSON_AddNumberToObject(object, name, value);
    }
    if (needs_parameters(a) && a->config.projections & PROJ_BIT(PROJ_EXPERT_GATE))
        cJSON_AddNumberToObject(object, GATE_UP, 2 * usual);
    return object;
}

// The modules of the model that hold the head's layers: of RoBERTa's "classifier.dense" and "classifier.out_proj" one.
static cJSON *modules_to_save(const Adapter *a) {
    cJSON *list = cJSON_CreateArray();
    AdapterHead head = adapter_head(a);
    const char *const names[] = {a->class_head.name, head.dense ? a->class_dense.name : NULL};
    for (int i = 0; i < 2 && names[i]; i++) {
        AUTO_FREE char *module = mem_strndup(names[i], strcspn(names[i], "."));
        add_once(list, module);
    }
    return list;
}

cJSON *peft_config_write(const Adapter *a, const Model *m, const char *base_model) {
    const AdapterConfig *c = &a->config;
    double alpha = written_alpha(a, c->alpha, c->rank);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "alpha_pattern", pattern(a, m, true, alpha));
    cJSON_AddNullToObject(o, "auto_mapping");
    cJSON_AddStringToObject(o, "base_model_name_or_path", base_model);
    cJSON_AddStringToObject(o, "bias", "none");
    cJSON_AddBoolToObject(o, "fan_in_fan_out", m->config.arch->hf_conv1d);
    cJSON_AddTrueToObject(o, "inference_mode");
    cJSON_AddTrueToObject(o, "init_lora_weights");
    cJSON_AddNullToObject(o, "layer_replication");
    cJSON_AddNullToObject(o, "layers_pattern");
    cJSON_AddItemToObject(o, "layers_to_transform", layers_to_transform(a));
    cJSON_AddObjectToObject(o, "loftq_config");
    cJSON_AddNumberToObject(o, "lora_alpha", alpha);
    bool none = c->projections & PROJ_EXPERT_BITS; // PEFT refuses any other there
    cJSON_AddNumberToObject(o, "lora_dropout", none ? 0 : typed(c->dropout));
    cJSON_AddNullToObject(o, "megatron_config");
    cJSON_AddStringToObject(o, "megatron_core", "megatron.core");
    cJSON_AddItemToObject(o, "modules_to_save", c->labels ? modules_to_save(a) : cJSON_CreateNull());
    cJSON_AddStringToObject(o, "peft_type", "LORA");
    cJSON_AddNumberToObject(o, "r", (double)c->rank);
    cJSON_AddItemToObject(o, "rank_pattern", pattern(a, m, false, (double)c->rank));
    cJSON_AddItemToObject(o, "revision", m->revision ? cJSON_CreateString(m->revision) : cJSON_CreateNull());
    cJSON_AddItemToObject(o, "target_modules", target_modules(a, m));
    if (needs_parameters(a)) cJSON_AddItemToObject(o, "target_parameters", target_parameters(a));
    const char *task = c->embedding                   ? "FEATURE_EXTRACTION"
                       : !c->labels                   ? "CAUSAL_LM"
                       : c->problem == PROBLEM_TOKENS ? "TOKEN_CLS"
                                                      : "SEQ_CLS";
    bool named = c->labels || c->embedding || adapter_generates(a); // PEFT has none for masked language modelling
    cJSON_AddItemToObject(o, "task_type", named ? cJSON_CreateString(task) : cJSON_CreateNull());
    cJSON_AddBoolToObject(o, "use_dora", c->dora);
    cJSON_AddFalseToObject(o, "use_rslora");
    return o;
}
