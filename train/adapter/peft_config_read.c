// peft_config_read: see peft_config.h. Keys and their meaning: huggingface/peft, tuners/lora/config.py.
#include "peft_config.h"

#include <math.h>
#include <string.h>

#include "adapter_internal.h"
#include "peft_targets.h"

// Keys that are read below, and keys without effect on the output of a saved adapter.
static const char *const known_keys[] = {"peft_type",
                                         "r",
                                         "lora_alpha",
                                         "lora_dropout",
                                         "use_rslora",
                                         "target_modules",
                                         "exclude_modules",
                                         "rank_pattern",
                                         "bias",
                                         "init_lora_weights",
                                         "modules_to_save",
                                         "alpha_pattern",
                                         "layers_to_transform",
                                         "layers_pattern"};
static const char *const harmless_keys[] = {
    "auto_mapping",      "base_model_name_or_path",
    "revision",          "inference_mode",
    "megatron_core",     "peft_version",
    "task_type",         "runtime_config",
    "qalora_group_size", "eva_config",
    "loftq_config",      "fan_in_fan_out"}; // PEFT sets it from the type of the layer

static bool in_list(const char *key, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(key, list[i]) == 0) return true;
    return false;
}
#define IN_LIST(key, list) in_list(key, list, sizeof(list) / sizeof *(list))

// null, false, [] and {}: PEFT's forms of an unused option.
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

static bool is_null(const Json *v) {
    return !v || v->type == JSON_NULL;
}

static int get_dropout(const Json *root, float *out, const char *path, Err *err) {
    const Json *v = json_get(root, "lora_dropout");
    *out = 0;
    if (is_null(v)) return 0;
    if (v->type != JSON_INT && v->type != JSON_FLOAT)
        return err_input(err, "%s: \"lora_dropout\" is %s; expected a number", path, json_type_name(v));
    *out = (float)v->number;
    return 0;
}

static int get_bool(const Json *root, const char *key, bool *out, const char *path, Err *err) {
    const Json *v = json_get(root, key);
    *out = v && v->type == JSON_TRUE;
    if (!is_null(v) && v->type != JSON_TRUE && v->type != JSON_FALSE)
        return err_input(err, "%s: \"%s\" is %s; expected true or false", path, key, json_type_name(v));
    return 0;
}

// PEFT lists "classifier" and "score" for every classifier; any other module would be trained whole.
static int get_saved_modules(const Json *root, bool *has_head, const Model *m, const char *path, Err *err) {
    const Json *v = json_get(root, "modules_to_save");
    const char *head = architecture_class_head(m->config.arch);
    if (!v || is_off(v)) return 0;
    for (size_t i = 0; v->type == JSON_ARRAY && i < v->count; i++) {
        const Json *name = &v->items[i];
        if (!json_is_string(name, "classifier") && !json_is_string(name, "score"))
            return err_input(err, "%s: \"modules_to_save\" holds %s; lorac trains a classifier's head (%s) only", path,
                             name->type == JSON_STRING ? name->str.data : json_type_name(name), head);
        *has_head |= json_is_string(name, head);
    }
    if (*has_head) return 0;
    return err_input(err, "%s: \"modules_to_save\" is %s; expected a list with \"%s\", or null", path,
                     json_type_name(v), head);
}

static int check_fixed(const Json *root, const char *path, Err *err) {
    const Json *type = json_get(root, "peft_type"), *bias = json_get(root, "bias");
    if (!json_is_string(type, "LORA"))
        return err_input(err, "%s: \"peft_type\" is %s; expected \"LORA\"", path,
                         !type                       ? "missing"
                         : type->type == JSON_STRING ? type->str.data
                                                     : json_type_name(type));
    if (!is_null(bias) && !json_is_string(bias, "none"))
        return err_input(err, "%s: \"bias\" is %s; expected \"none\"", path,
                         bias->type == JSON_STRING ? bias->str.data : json_type_name(bias));
    // PiSSA, OLoRA, CorDA and LoftQ change the base; their A and B are wrong for the unchanged one.
    static const char *const starts[] = {"gaussian", "eva", "orthogonal"};
    const Json *init = json_get(root, "init_lora_weights");
    bool known = is_null(init) || init->type == JSON_TRUE || init->type == JSON_FALSE;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) known = known || json_is_string(init, starts[i]);
    if (known) return 0;
    return err_input(err,
                     "%s: \"init_lora_weights\" is %s; expected true, false, \"gaussian\", \"eva\" or \"orthogonal\"",
                     path, init->type == JSON_STRING ? init->str.data : json_type_name(init));
}

// ---- modules, ranks and alphas ----

static int take_match(AdapterRank *at, uint32_t parts, const PeftModule *m, const char *path, Err *err) {
    if (!(m->rank >= 1 && m->rank <= 1 << 20) || m->rank != floor(m->rank))
        return err_input(err, "%s: rank %g for %s; expected a whole number above 0", path, m->rank, m->key);
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (parts & PROJ_BIT(p)) at[p] = (AdapterRank){(int64_t)m->rank, (float)m->alpha};
    return 0;
}

static int match_module(AdapterRank *at, const Module *module, const char *key, PeftTargets *t, const char *path,
                        Err *err) {
    PeftModule m = {.key = key, .is_default = module->parts & (PROJ_BIT(PROJ_Q) | PROJ_BIT(PROJ_V))};
    int found = peft_targets_match(t, &m, err);
    return found > 0 ? take_match(at, module->parts, &m, path, err) : found;
}

static int match_all(AdapterRank *each, const Model *m, const char *prefix, PeftTargets *t, const char *path,
                     Err *err) {
    const TensorNames *names = &m->config.arch->hf;
    uint32_t available = adapter_available(&m->config);
    for (int64_t i = 0; i < m->config.layers; i++)
        for (const Module *module = names->modules; module->name; module++) {
            char layer[64];
            if (!(module->parts & available)) continue;
            architecture_layer_prefix(layer, sizeof layer, names, i);
            char *key = mem_printf("%s%s%s", prefix ? prefix : m->hf_prefix->module, layer, module->name);
            int rc = match_module(each + i * PROJ_COUNT, module, key, t, path, err);
            mem_free(key);
            if (rc) return -1;
        }
    return 0;
}

// Names that match nothing: PEFT accepts them if others match.
static int check_unmatched(const PeftTargets *t, uint32_t projections, const Model *m, const char *path, Err *err) {
    StrBuf known = {0};
    size_t i = 0;
    architecture_list_targets(&known, m->config.arch, adapter_available(&m->config));
    const char *name = peft_targets_unmatched(t, &i);
    if (!projections && name)
        err_input(err, "%s: target module \"%s\" matches no module of %s%s; expected some of %s", path, name, m->path,
                  m->config.experts ? " outside its experts" : "", known.data);
    else if (!projections)
        err_input(err,
                  "%s: target_modules, exclude_modules and layers_to_transform leave no target modules of %s; "
                  "expected some of %s",
                  path, m->path, known.data);
    for (; projections && name; name = peft_targets_unmatched(t, &i))
        log_warn("%s: target module \"%s\" matches no module that lorac adapts in %s; expected some of %s", path, name,
                 m->path, known.data);
    str_clear(&known);
    return projections ? 0 : -1;
}

static int read_targets(AdapterConfig *c, const Json *root, const Model *m, const char *prefix, const char *path,
                        Err *err) {
    PeftTargets *t;
    if (peft_targets_new(&t, root, path, err)) return -1;
    AdapterRank *each = mem_calloc((size_t)m->config.layers * PROJ_COUNT, sizeof *each);
    PeftModule usual = {.key = "\"r\"", .rank = peft_targets_rank(t), .alpha = peft_targets_alpha(t)};
    AdapterRank of_r[PROJ_COUNT] = {0};
    int rc = take_match(of_r, PROJ_BIT(0), &usual, path, err);
    if (!rc) rc = match_all(each, m, prefix, t, path, err);
    c->rank = of_r[0].rank;
    c->alpha = of_r[0].alpha;
    if (rc)
        mem_free(each);
    else
        adapter_config_set_each(c, each, m);
    if (!rc) rc = check_unmatched(t, c->projections, m, path, err);
    peft_targets_free(t);
    return rc;
}

int peft_config_read(AdapterConfig *c, bool *has_head, const Json *root, const Model *m, const char *prefix,
                     const char *path, Err *err) {
    *c = (AdapterConfig){0};
    *has_head = false;
    if (!root || root->type != JSON_OBJECT) return err_input(err, "%s: expected a JSON object", path);
    if (check_fixed(root, path, err) || refuse_unknown(root, path, err) ||
        get_saved_modules(root, has_head, m, path, err) || get_dropout(root, &c->dropout, path, err) ||
        get_bool(root, "use_rslora", &c->rslora, path, err) || read_targets(c, root, m, prefix, path, err)) {
        adapter_config_clear(c);
        return -1;
    }
    return 0;
}
