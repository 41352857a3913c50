#include "run_model.h"

#include "preference.h"

#include <math.h>
#include <string.h>

#include "json_save.h"
#include "memory_use.h"
#include "run_data.h"

// ---- the base model ----

// Positions for generation after the longest row, if the model has them.
enum { GENERATION_POSITIONS = 2048 };

static const RopeScaling scalings[] = {[ROPE_OF_MODEL] = ROPE_NONE,
                                       [ROPE_BY_LINEAR] = ROPE_LINEAR,
                                       [ROPE_BY_DYNAMIC] = ROPE_DYNAMIC,
                                       [ROPE_BY_YARN] = ROPE_YARN,
                                       [ROPE_BY_LLAMA3] = ROPE_LLAMA3};

int run_model_options(ModelOptions *o, const Config *c, int64_t *max_tokens, Err *err) {
    *o = (ModelOptions){.rope_scaling = scalings[c->rope_scaling_type],
                        .rope_factor = (float)c->rope_scaling_factor,
                        .quantize = c->quantize_base,
                        .quantize_head = c->quantize_head,
                        .memory = c->base_memory,
                        .max_memory = (size_t)c->max_memory,
                        .host_room = memory_free() / 10 * 9,
                        .repository = c->base_model_name,
                        .eos_token = c->eos_token,
                        .revision = strcmp(c->model_revision, "main") == 0 ? NULL : c->model_revision,
                        .embedder = c->task == TASK_EMBEDDING,
                        .classifier = task_classifies(c->task),
                        .masked_lm = c->task == TASK_MLM};
    ModelConfig m;
    if (model_read_config(&m, c->model_name_or_path, o, err) || run_max_tokens(c, &m, max_tokens, err)) return -1;
    // LongRoPE uses other frequencies beyond its original context.
    int64_t limit = m.context;
    if (m.rope.scaling == ROPE_LONGROPE && *max_tokens <= m.rope.original_context) limit = m.rope.original_context;
    o->max_positions = *max_tokens + GENERATION_POSITIONS;
    if (o->max_positions > limit) o->max_positions = limit;
    return 0;
}

// The tables of a model hold as many positions as the longest row needs. LongRoPE has other frequencies for long texts.
int run_model_options_for(ModelOptions *o, const Config *runs, size_t count, Err *err) {
    ModelConfig m;
    *o = (ModelOptions){0};
    for (size_t i = 0; i < count; i++) {
        ModelOptions own;
        int64_t max_tokens;
        const Config *c = &runs[i];
        if (run_model_options(&own, c, &max_tokens, err) || model_read_config(&m, c->model_name_or_path, &own, err))
            return -1;
        int64_t limit = m.rope.original_context;
        if (i && m.rope.scaling == ROPE_LONGROPE && (own.max_positions > limit) != (o->max_positions > limit))
            return err_input(
                err,
                "max_seq_length: %ld in run %s; this model has other frequencies for rows of more than %ld "
                "tokens; expected all runs below that length, or all above it",
                max_tokens, c->run_name, limit);
        own.max_positions = max64(own.max_positions, o->max_positions);
        *o = own;
    }
    return 0;
}

bool run_stream_base(Model *m, const Config *c) {
    Err cannot; // the caller has a better message
    return c->base_memory == BASE_MEMORY_AUTO && m->backend->host_memory && !m->stream && model_is_whole(m) &&
           model_stream_files(m, &cannot) == 0;
}

// ---- the adapter: its modules ----

// From names as in PEFT, or "all-linear", to a set of projections.
static int parse_targets(const StrList *names, const ModelConfig *m, uint32_t *set, Err *err) {
    uint32_t available = adapter_available(m);
    *set = 0;
    for (size_t i = 0; i < names->count; i++) {
        bool all = strcmp(names->items[i], "all-linear") == 0;
        uint32_t found = all ? adapter_all_linear(m) : architecture_targets(m->arch, names->items[i]) & available;
        if (found) {
            if (all && m->experts)
                log_warn("lora_target_modules: all-linear selects the attention projections of a mixture of experts; "
                         "experts are trained where they are named");
            *set |= found;
            continue;
        }
        AUTO_STR StrBuf known = {0};
        architecture_list_targets(&known, m->arch, available);
        return err_input(
            err, "lora_target_modules: \"%s\": this model has no such projection; expected some of %s, or all-linear",
            names->items[i], known.data);
    }
    return 0;
}

static AdapterConfig adapter_config(const Config *c, uint32_t targets) {
    static const AdapterInit inits[] = {[INIT_LORA_KAIMING] = ADAPTER_UNIFORM,
                                        [INIT_LORA_GAUSSIAN] = ADAPTER_GAUSSIAN,
                                        [INIT_LORA_PISSA] = ADAPTER_PISSA,
                                        [INIT_LORA_OLORA] = ADAPTER_OLORA};
    return (AdapterConfig){.rank = c->lora_r,
                           .alpha = (float)c->lora_alpha,
                           .dropout = (float)c->lora_dropout,
                           .init = inits[c->init_lora_weights],
                           .svd_steps = c->pissa_iter,
                           .rslora = c->use_rslora,
                           .dora = c->use_dora,
                           .projections = targets,
                           .layers = c->layers_to_transform.items,
                           .n_layers = (int64_t)c->layers_to_transform.count};
}

// ---- names of single layers: "layers.3.self_attn.q_proj" ----

static bool names_a_layer(const char *name) {
    for (const char *p = name; *p; p++)
        if ((p == name || p[-1] == '.') && *p >= '0' && *p <= '9') return true;
    return false;
}

static bool in_layers(const Config *c, int64_t layer) {
    for (size_t i = 0; i < c->layers_to_transform.count; i++)
        if (c->layers_to_transform.items[i] == layer) return true;
    return !c->layers_to_transform.items;
}

// The parts of a module that a name selects. As in PEFT, layers_to_transform does not apply to a full module key.
static uint32_t named_parts(const Config *c, const Module *module, int64_t layer, const char *key, const char *name) {
    if (strcmp(name, key) == 0) return module->parts;
    if (!in_layers(c, layer)) return 0;
    if (strcmp(name, "all-linear") == 0) return module->parts & (PROJ_BIT(PROJ_DENSE) - 1);
    if (architecture_is_end_of(name, key)) return module->parts;
    uint32_t part = 0;
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (strcmp(name, projection_name(p)) == 0) part = PROJ_BIT(p);
    return module->parts & part;
}

// Adds the modules that a name selects; false: none.
static bool add_named(AdapterRank *each, const Config *c, const Model *m, const char *name) {
    const TensorNames *names = &m->config.arch->hf;
    bool found = false;
    for (int64_t layer = 0; layer < m->config.layers; layer++)
        for (const Module *module = names->modules; module->name; module++) {
            char prefix[64];
            architecture_layer_prefix(prefix, sizeof prefix, names, layer);
            AUTO_FREE char *key = mem_printf("%s%s%s", m->hf_prefix->module, prefix, module->name);
            uint32_t parts = named_parts(c, module, layer, key, name) & adapter_available(&m->config);
            for (Projection p = 0; p < PROJ_COUNT; p++) {
                if (!(parts & PROJ_BIT(p)) || !model_layer_has(&m->config, layer, p)) continue;
                each[layer * PROJ_COUNT + p] = (AdapterRank){c->lora_r, (float)c->lora_alpha};
                found = true;
            }
        }
    return found;
}

static bool has_patterns(const Config *c) {
    return c->exclude_modules.count || c->rank_pattern.count || c->alpha_pattern.count;
}

// By exclude_modules, rank_pattern and alpha_pattern.
static int refine(AdapterRank *each, const Config *c, const Model *m, Err *err) {
    cJSON *o = mem_checked(cJSON_CreateObject());
    json_add_int(o, "r", c->lora_r);
    json_add_number(o, "lora_alpha", 17, c->lora_alpha);
    cJSON_AddStringToObject(o, "target_modules", "all-linear");
    cJSON *exclude = cJSON_AddArrayToObject(o, "exclude_modules");
    for (size_t i = 0; i < c->exclude_modules.count; i++)
        cJSON_AddItemToArray(exclude, cJSON_CreateString(c->exclude_modules.items[i]));
    if (c->rank_pattern.count) cJSON_AddRawToObject(o, "rank_pattern", c->rank_pattern.items[0]);
    if (c->alpha_pattern.count) cJSON_AddRawToObject(o, "alpha_pattern", c->alpha_pattern.items[0]);
    AUTO_FREE char *text = json_line(o);
    AUTO_JSON JsonDoc *doc = NULL;
    if (json_parse(&doc, text, strlen(text), "adapter", 0, err)) return -1;
    return adapter_config_refine(each, m, json_root(doc), err);
}

// PEFT (0.21, transformers 5) loads experts of the rank r and of lora_alpha alone.
static int check_experts(const AdapterConfig *ac, Err *err) {
    for (int64_t i = 0; i < ac->n_each; i++) {
        const AdapterRank *r = &ac->each[i];
        if (i % PROJ_COUNT < PROJ_EXPERT_GATE || !r->rank || (r->rank == ac->rank && r->alpha == ac->alpha)) continue;
        return err_input(err,
                         "rank_pattern, alpha_pattern: rank %ld, alpha %g of %s of layer %ld; expected lora_r %ld and "
                         "lora_alpha %g for experts",
                         r->rank, (double)r->alpha, projection_name(i % PROJ_COUNT), i / PROJ_COUNT, ac->rank,
                         (double)ac->alpha);
    }
    return 0;
}

// Sets rank and alpha of each module, owned by ac.
static int target_layers(AdapterConfig *ac, const Config *c, const Model *m, Err *err) {
    const StrList *names = &c->lora_target_modules;
    AUTO_FREE AdapterRank *each = mem_calloc((size_t)m->config.layers * PROJ_COUNT, sizeof *each);
    ac->layers = NULL;
    for (size_t i = 0; i < names->count; i++) {
        if (add_named(each, c, m, names->items[i])) continue;
        return err_input(err,
                         "lora_target_modules: \"%s\": no such module in %s (layers 0 to %ld, layers_to_transform); "
                         "expected names as %s...",
                         names->items[i], m->path, m->config.layers - 1, m->hf_prefix->module);
    }
    if (has_patterns(c) && refine(each, c, m, err)) return -1;
    adapter_config_set_each(ac, mem_take(&each), m);
    if (ac->projections) return check_experts(ac, err);
    return err_input(err, "exclude_modules: no module of %s is left; expected one that gets an adapter", m->path);
}

// ---- a loaded adapter ----

static int refuse(const char *key, const char *path, Err *err) {
    return err_input(err, "%s: differs from that of the adapter %s; expected the same, or the key left out", key, path);
}

static bool same_layers(const AdapterConfig *a, const IntList *l) {
    return a->layers && a->n_layers == (int64_t)l->count &&
           memcmp(a->layers, l->items, l->count * sizeof *l->items) == 0;
}

// The files that lorac writes have use_rslora as alpha * sqrt(r) (peft_config_write).
static bool same_alpha(const AdapterConfig *a, const Config *c) {
    double folded = c->use_rslora && !a->rslora ? sqrt((double)a->rank) : 1, alpha = c->lora_alpha * folded;
    return fabs(alpha - (double)a->alpha) <= 1e-5 * alpha;
}

static int check_loaded(const Adapter *a, const Config *c, const Model *m, uint32_t targets, Err *err) {
    const char *path = c->adapter_name_or_path;
    if (adapter_config_check(&a->config, m, err)) return -1; // lora_dropout is that of the run
    if (config_is_set(c, CONFIG_lora_r) && c->lora_r != a->config.rank) return refuse("lora_r", path, err);
    if (config_is_set(c, CONFIG_lora_alpha) && !same_alpha(&a->config, c)) return refuse("lora_alpha", path, err);
    if (config_is_set(c, CONFIG_lora_target_modules) && targets != a->config.projections)
        return refuse("lora_target_modules", path, err);
    if (config_is_set(c, CONFIG_use_rslora) && !c->use_rslora && a->config.rslora)
        return refuse("use_rslora", path, err);
    if (config_is_set(c, CONFIG_use_dora) && c->use_dora != a->config.dora) return refuse("use_dora", path, err);
    if (c->layers_to_transform.items && !same_layers(&a->config, &c->layers_to_transform))
        return refuse("layers_to_transform", path, err);
    if (has_patterns(c) || c->init_lora_weights != INIT_LORA_KAIMING)
        return err_input(err,
                         "exclude_modules, rank_pattern, alpha_pattern and init_lora_weights are for a new adapter; "
                         "leave them out with adapter_name_or_path");
    return 0;
}

// The classes of the data must be those of the loaded adapter.
static int check_labels(const Adapter *a, const RunLabels *labels, const char *path, Err *err) {
    size_t n = labels ? labels->names->count : 0;
    if ((size_t)a->config.labels != n)
        return err_input(
            err, "%s: the adapter has %ld classes, the data has %zu (0: language model); expected the same number",
            path, a->config.labels, n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(a->labels.names[i], labels->names->names[i]) != 0)
            return err_input(err, "%s: class %zu is \"%s\", in the data \"%s\"; expected the same classes", path, i,
                             a->labels.names[i], labels->names->names[i]);
    if (n && a->config.problem != labels->problem)
        return err_input(err, "problem_type: the data is of %s; expected that of the adapter %s, %s",
                         problem_name(labels->problem), path, problem_name(a->config.problem));
    return 0;
}

// ---- a new adapter ----

// lora_r is limited by memory only: parameters, gradients, their sum and two moments.
static int check_room(const Config *c, const Model *m, const AdapterConfig *ac, Err *err) {
    const Backend *b = m->backend;
    int64_t count = adapter_count_for(m, ac);
    size_t bytes = (size_t)count * (4 * sizeof(float) + sizeof(int64_t)), limit = (size_t)c->max_memory;
    if (!limit) limit = b->host_memory ? memory_free() : b->k->memory(m->backend).free;
    if (!limit || bytes <= limit) return 0;
    return err_no_fit(err,
                      "lora_r %ld gives an adapter of %ld parameter%s, %.1f MB with gradients and moments; expected at "
                      "most %.1f MB (%s)",
                      ac->rank, count, plural(count), (double)bytes / 1e6, (double)limit / 1e6,
                      c->max_memory ? "max_memory" : "what is free");
}

// A pattern is the word before the number in the names of layers: "layers" of "layers.3.".
static int check_layers_pattern(const Config *c, const Model *m, Err *err) {
    const char *layer = m->config.arch->hf.layer, *end = strchr(layer, '%') - 1, *word = end;
    const StrList *names = &c->layers_pattern;
    while (word > layer && word[-1] != '.') word--;
    for (size_t i = 0; i < names->count; i++)
        if (strlen(names->items[i]) == (size_t)(end - word) && starts_with(word, names->items[i])) return 0;
    if (!names->count) return 0;
    return err_input(err, "layers_pattern: \"%s\": no list of layers in %s; expected \"%.*s\"", names->items[0],
                     m->path, (int)(end - word), word);
}

static int new_adapter(Adapter **a, const Config *c, const Model *m, uint32_t targets, const RunLabels *labels,
                       Err *err) {
    if (check_layers_pattern(c, m, err)) return -1;
    AdapterConfig ac = adapter_config(c, targets);
    bool by_layer = has_patterns(c);
    for (size_t i = 0; i < c->lora_target_modules.count; i++)
        by_layer |= names_a_layer(c->lora_target_modules.items[i]);
    if (labels) ac.labels = (int64_t)labels->names->count;
    if (labels) ac.problem = labels->problem;
    ac.embedding = c->task == TASK_EMBEDDING;
    int rc = by_layer ? target_layers(&ac, c, m, err) : 0;
    if (!rc) rc = check_room(c, m, &ac, err);
    if (!rc) rc = adapter_new(a, m, &ac, (uint64_t)c->seed, true, err);
    if (by_layer) adapter_config_clear(&ac);
    if (!rc && labels) adapter_name_labels(*a, labels->names);
    return rc;
}

int run_adapter_new(Adapter **a, const Config *c, const Model *m, const RunLabels *labels, Err *err) {
    uint32_t targets;
    *a = NULL;
    if (parse_targets(&c->lora_target_modules, &m->config, &targets, err)) return -1;
    if (!c->adapter_name_or_path) return new_adapter(a, c, m, targets, labels, err);
    if (adapter_load(a, m, c->adapter_name_or_path, true, err)) return -1;
    if (config_is_set(c, CONFIG_lora_target_modules)) adapter_narrow(a, m, targets);
    (*a)->config.dropout = (float)c->lora_dropout;
    (*a)->config.embedding = c->task == TASK_EMBEDDING;
    return check_loaded(*a, c, m, targets, err) || check_labels(*a, labels, c->adapter_name_or_path, err) ? -1 : 0;
}

int run_reference_new(Adapter **a, const Config *c, const Model *m, Err *err) {
    *a = NULL;
    bool none = c->task != TASK_PREFERENCE || !preference_has_reference(preference_of(c, NULL).loss.kind);
    if (none || c->reference == REFERENCE_BASE || !c->adapter_name_or_path) return 0;
    return adapter_load(a, m, c->adapter_name_or_path, false, err);
}
