// peft_config_read: see peft_internal.h. Keys and their meaning: huggingface/peft, tuners/lora/config.py.
#include <math.h>
#include <string.h>

#include "peft_internal.h"

// Keys that are read below, and keys without effect on the output of a saved adapter (fan_in_fan_out: PEFT sets it from
// the type of the layer).
static const char keys[] =
    "peft_type r lora_alpha lora_dropout use_rslora target_modules target_parameters exclude_modules rank_pattern bias "
    "use_dora init_lora_weights modules_to_save alpha_pattern layers_to_transform layers_pattern "
    "auto_mapping base_model_name_or_path revision inference_mode megatron_core peft_version task_type runtime_config "
    "qalora_group_size eva_config loftq_config fan_in_fan_out";

static int refuse_unknown(const JsonReader *r) {
    for (size_t i = 0; i < r->object->count; i++) {
        const char *key = r->object->keys[i].data;
        if (!json_is_off(&r->object->items[i]) && !is_among(key, r->object->keys[i].len, keys))
            return err_input(r->err, "%s: \"%s\" is set; lorac reads adapters without it", r->path, key);
    }
    return 0;
}

// A module of the model with a layer that is trained before a classifier's head.
static bool is_dense_module(const Json *name, const Architecture *a) {
    AUTO_FREE char *module = a->hf.class_dense ? mem_strndup(a->hf.class_dense, strcspn(a->hf.class_dense, ".")) : NULL;
    return module && json_is_string(name, module);
}

// PEFT lists "classifier" and "score" for every classifier; any other module would be trained whole.
static int read_saved_modules(bool *has_head, const JsonReader *r, const Model *m) {
    const Json *v = json_get(r->object, "modules_to_save");
    const char *head = m->config.arch->encoder ? "classifier" : "score";
    if (json_is_off(v)) return 0;
    for (size_t i = 0; v->type == JSON_ARRAY && i < v->count; i++) {
        const Json *name = &v->items[i];
        if (!json_is_string(name, "classifier") && !json_is_string(name, "score") &&
            !is_dense_module(name, m->config.arch))
            return json_refuse(r, "modules_to_save", name, "a list with the classifier's head (%s) only", head);
        *has_head |= json_is_string(name, head);
    }
    return *has_head ? 0 : json_refuse(r, "modules_to_save", v, "a list with \"%s\", or null", head);
}

static int check_fixed(const JsonReader *r) {
    const Json *type = json_get(r->object, "peft_type"), *bias = json_given(r->object, "bias");
    const Json *init = json_given(r->object, "init_lora_weights");
    if (!json_is_string(type, "LORA")) return json_refuse(r, "peft_type", NULL, "\"LORA\"");
    if (bias && !json_is_string(bias, "none")) return json_refuse(r, "bias", NULL, "\"none\"");
    // PiSSA, OLoRA, CorDA and LoftQ change the base; their A and B are wrong for the unchanged one.
    if (!init || init->type == JSON_TRUE || init->type == JSON_FALSE || json_is_string(init, "gaussian") ||
        json_is_string(init, "eva") || json_is_string(init, "orthogonal"))
        return 0;
    return json_refuse(r, "init_lora_weights", NULL, "true, false, \"gaussian\", \"eva\" or \"orthogonal\"");
}

// ---- modules, ranks and alphas ----

static int take_match(AdapterRank *at, uint32_t parts, const PeftModule *m, const JsonReader *r) {
    if (!(m->rank >= 1 && m->rank <= 1 << 20) || m->rank != floor(m->rank))
        return err_input(r->err, "%s: rank %g for %s; expected a whole number above 0", r->path, m->rank, m->key);
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (parts & PROJ_BIT(p)) at[p] = (AdapterRank){(int64_t)m->rank, (float)m->alpha};
    return 0;
}

static bool layer_has(const ModelConfig *c, int64_t layer, const Module *module) {
    uint32_t available = adapter_available(c);
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (module->parts & available & PROJ_BIT(p) && model_layer_has(c, layer, p)) return true;
    return false;
}

// By the names in a config experts may be targets of one release of PEFT and none of another.
static bool is_absent(const PeftTensors *file, const Module *module, const char *key) {
    AUTO_FREE char *name = mem_printf("base_model.model.%s.lora_A.weight", key);
    return file && module->parts >= PROJ_BIT(PROJ_DENSE) && !peft_tensors_has(file, name);
}

// The same for all experts. before: the part of keys before the module's name.
static int match_module(PeftTargets *t, const Module *module, const char *before, const Model *m, PeftModule *found) {
    int first = 0;
    for (int64_t e = 0, n = adapter_module_count(&m->config, module); e < n; e++) {
        AUTO_FREE char *name = module_name(module, e), *key = mem_printf("%s%s", before, name);
        PeftModule own = *found;
        own.key = key;
        int matches = peft_targets_match(t, &own);
        if (matches < 0) return -1;
        if (e && (matches != first || (matches && (own.rank != found->rank || own.alpha != found->alpha))))
            return peft_targets_refuse(t, key, "is no target as expert 0 is; expected the same for all experts");
        first = matches;
        found->rank = own.rank, found->alpha = own.alpha;
    }
    return first;
}

static int match_all(AdapterRank *each, PeftTargets *t, const JsonReader *r, const Model *m, PeftTensors *file) {
    const TensorNames *names = &m->config.arch->hf;
    const char *prefix = file ? peft_tensors_prefix(file) : NULL;
    for (int64_t i = 0; i < m->config.layers; i++)
        for (const Module *module = names->modules; module->name; module++) {
            char layer[64];
            if (!layer_has(&m->config, i, module)) continue;
            architecture_layer_prefix(layer, sizeof layer, names, i);
            AUTO_FREE char *before = mem_printf("%s%s", prefix ? prefix : m->hf_prefix->module, layer);
            AUTO_FREE char *name = module_name(module, 0), *key = mem_printf("%s%s", before, name);
            PeftModule found = {.key = key,
                                .is_default = module->parts & (PROJ_BIT(PROJ_Q) | PROJ_BIT(PROJ_V)),
                                .is_expert = module->parts >= PROJ_BIT(PROJ_DENSE)};
            int matches = match_module(t, module, before, m, &found);
            if (matches > 0 && is_absent(file, module, key)) continue;
            if (matches < 0 || (matches && take_match(each + i * PROJ_COUNT, module->parts, &found, r))) return -1;
        }
    return 0;
}

// Ranks and alphas of the chosen parts of a module; none if it is excluded.
static int refine_module(AdapterRank *at, const Module *module, const char *before, const Model *m, PeftTargets *t,
                         const JsonReader *r) {
    AUTO_FREE char *name = module_name(module, 0), *key = mem_printf("%s%s", before, name);
    PeftModule found = {.key = key};
    uint32_t chosen = 0;
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (module->parts & PROJ_BIT(p) && at[p].rank) chosen |= PROJ_BIT(p);
    if (!chosen) return 0;
    int matches = match_module(t, module, before, m, &found);
    for (Projection p = 0; p < PROJ_COUNT && matches == 0; p++)
        if (chosen & PROJ_BIT(p)) at[p] = (AdapterRank){0};
    return matches <= 0 ? matches : take_match(at, chosen, &found, r);
}

int adapter_config_refine(AdapterRank *each, const Model *m, const Json *object, Err *err) {
    JsonReader r = {.path = "adapter", .object = object, .err = err};
    AUTO(peft_targets_free) PeftTargets *t = NULL;
    const TensorNames *names = &m->config.arch->hf;
    if (peft_targets_new(&t, &r)) return -1;
    for (int64_t i = 0; i < m->config.layers; i++)
        for (const Module *module = names->modules; module->name; module++) {
            char layer[64];
            architecture_layer_prefix(layer, sizeof layer, names, i);
            AUTO_FREE char *before = mem_printf("%s%s", m->hf_prefix->module, layer);
            if (refine_module(each + i * PROJ_COUNT, module, before, m, t, &r)) return -1;
        }
    const char *key, *pattern = peft_targets_unused(t, &key);
    if (!pattern) return 0;
    return err_input(err, "%s: \"%s\" matches none of the modules that lora_target_modules names in %s", key, pattern,
                     m->path);
}

// Names that match nothing: PEFT accepts them if others match.
static int check_unmatched(const PeftTargets *t, uint32_t projections, const JsonReader *r, const Model *m) {
    AUTO_STR StrBuf known = {0};
    size_t i = 0;
    architecture_list_targets(&known, m->config.arch, adapter_available(&m->config));
    const char *name = peft_targets_unmatched(t, &i);
    if (!projections && name)
        return err_input(r->err, "%s: target module \"%s\" matches no module of %s; expected some of %s", r->path, name,
                         m->path, known.data);
    if (!projections)
        return err_input(r->err,
                         "%s: target_modules, exclude_modules and layers_to_transform leave no target modules of %s; "
                         "expected some of %s",
                         r->path, m->path, known.data);
    for (; name; name = peft_targets_unmatched(t, &i))
        log_warn("%s: target module \"%s\" matches no module that lorac adapts in %s; expected some of %s", r->path,
                 name, m->path, known.data);
    return 0;
}

static int read_targets(AdapterConfig *c, const JsonReader *r, const Model *m, PeftTensors *file) {
    AUTO(peft_targets_free) PeftTargets *t = NULL;
    AdapterRank of_r[PROJ_COUNT] = {0};
    if (peft_targets_new(&t, r)) return -1;
    AUTO_FREE AdapterRank *each = mem_calloc((size_t)m->config.layers * PROJ_COUNT, sizeof *each);
    PeftModule usual = peft_targets_usual(t);
    if (take_match(of_r, PROJ_BIT(0), &usual, r) || match_all(each, t, r, m, file)) return -1;
    c->rank = of_r[0].rank;
    c->alpha = of_r[0].alpha;
    adapter_config_set_each(c, mem_take(&each), m);
    return check_unmatched(t, c->projections, r, m);
}

int peft_config_read(AdapterConfig *c, bool *has_head, const JsonReader *r, const Model *m, PeftTensors *file) {
    double dropout = 0;
    *c = (AdapterConfig){0};
    *has_head = false;
    if (!r->object || r->object->type != JSON_OBJECT) return err_input(r->err, "%s: expected a JSON object", r->path);
    if (check_fixed(r) || refuse_unknown(r) || read_saved_modules(has_head, r, m) ||
        (json_given(r->object, "lora_dropout") && json_read_number(r, "lora_dropout", &dropout)) ||
        json_read_flag(r, "use_rslora", false, &c->rslora) || json_read_flag(r, "use_dora", false, &c->dora) ||
        read_targets(c, r, m, file)) {
        adapter_config_clear(c);
        return -1;
    }
    c->dropout = c->projections & PROJ_EXPERT_BITS ? 0 : (float)dropout; // of training alone
    c->embedding = json_is_string(json_get(r->object, "task_type"), "FEATURE_EXTRACTION");
    return 0;
}
