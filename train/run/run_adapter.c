#include "run_adapter.h"

#include <math.h>
#include <string.h>

// "q_proj" and such, or "all-linear", to a set of projections.
static int parse_targets(const StrList *names, uint32_t *set, Err *err) {
    *set = 0;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        Projection p = projection_from_name(name);
        if (strcmp(name, "all-linear") == 0) {
            *set |= (1u << PROJ_COUNT) - 1;
        } else if (p != PROJ_COUNT) {
            *set |= 1u << p;
        } else {
            return err_input(err,
                             "lora_target_modules: \"%s\": this model has no such projection; expected some of "
                             "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or all-linear",
                             name);
        }
    }
    return 0;
}

static AdapterConfig adapter_config(const Config *c, uint32_t targets) {
    return (AdapterConfig){.rank = c->lora_r,
                           .alpha = (float)c->lora_alpha,
                           .dropout = (float)c->lora_dropout,
                           .rslora = c->use_rslora,
                           .projections = targets,
                           .layers = c->layers_to_transform.items,
                           .n_layers = (int64_t)c->layers_to_transform.count};
}

static int refuse(const char *key, const char *path, Err *err) {
    return err_input(err, "%s: differs from that of the adapter %s; expected the same, or the key left out", key, path);
}

static bool same_layers(const AdapterConfig *a, const IntList *l) {
    return a->layers && a->n_layers == (int64_t)l->count &&
           memcmp(a->layers, l->items, l->count * sizeof *l->items) == 0;
}

static int check_loaded(const Adapter *a, const Config *c, uint32_t targets, Err *err) {
    const char *path = c->adapter_name_or_path;
    if (config_is_set(c, "lora_r") && c->lora_r != a->config.rank) return refuse("lora_r", path, err);
    if (config_is_set(c, "lora_alpha") && fabs(c->lora_alpha - (double)a->config.alpha) > 1e-5 * c->lora_alpha)
        return refuse("lora_alpha", path, err);
    if (config_is_set(c, "lora_target_modules") && targets != a->config.projections)
        return refuse("lora_target_modules", path, err);
    if (config_is_set(c, "use_rslora") && c->use_rslora != a->config.rslora) return refuse("use_rslora", path, err);
    if (config_is_set(c, "layers_to_transform") && !same_layers(&a->config, &c->layers_to_transform))
        return refuse("layers_to_transform", path, err);
    return 0;
}

int run_adapter_new(Adapter **a, const Config *c, const Model *m, Err *err) {
    uint32_t targets;
    *a = NULL;
    if (parse_targets(&c->lora_target_modules, &targets, err)) return -1;
    if (!c->adapter_name_or_path) {
        AdapterConfig ac = adapter_config(c, targets);
        return adapter_new(a, m, &ac, (uint64_t)c->seed, true, err);
    }
    if (adapter_load(a, m, c->adapter_name_or_path, true, err)) return -1;
    (*a)->config.dropout = (float)c->lora_dropout;
    return check_loaded(*a, c, targets, err);
}
