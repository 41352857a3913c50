#include "adapter_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void adapter_config_clear(AdapterConfig *c) {
    mem_free(c->layers);
    mem_free(c->each);
    *c = (AdapterConfig){0};
}

// c->layers from flags; all layers: NULL, as PEFT writes it.
static void set_layers(AdapterConfig *c, const bool *used, int64_t layers) {
    AUTO_FREE int64_t *list = mem_alloc((size_t)layers, sizeof *list);
    int64_t n = 0;
    for (int64_t i = 0; i < layers; i++)
        if (used[i]) list[n++] = i;
    mem_free(c->layers);
    c->layers = n < layers ? mem_take(&list) : NULL;
    c->n_layers = n < layers ? n : 0;
}

void adapter_config_set_each(AdapterConfig *c, AdapterRank *each, const Model *m) {
    int64_t layers = m->config.layers;
    AUTO_FREE bool *used = mem_calloc((size_t)layers, sizeof *used);
    bool alike = true, regular = true;
    const AdapterRank *first = NULL;
    c->projections = 0;
    for (int64_t i = 0; i < layers * PROJ_COUNT; i++) {
        if (!each[i].rank) continue;
        if (!first) first = &each[i];
        alike = alike && each[i].rank == first->rank && each[i].alpha == first->alpha;
        c->projections |= PROJ_BIT(i % PROJ_COUNT);
        used[i / PROJ_COUNT] = true;
    }
    for (int64_t i = 0; i < layers * PROJ_COUNT; i++)
        if (used[i / PROJ_COUNT] && (c->projections & PROJ_BIT(i % PROJ_COUNT)) && !each[i].rank &&
            model_layer_has(&m->config, i / PROJ_COUNT, i % PROJ_COUNT))
            regular = false;
    set_layers(c, used, layers);
    if (first && alike) c->rank = first->rank, c->alpha = first->alpha;
    mem_free(c->each);
    c->each = alike && regular ? NULL : each;
    c->n_each = c->each ? layers * PROJ_COUNT : 0;
    if (!c->each) mem_free(each);
}

AdapterRank adapter_rank_at(const AdapterConfig *c, int64_t layer, Projection p) {
    if (!(c->projections & PROJ_BIT(p))) return (AdapterRank){0};
    return c->each ? c->each[layer * PROJ_COUNT + p] : (AdapterRank){c->rank, c->alpha};
}

float adapter_rank_scale(AdapterRank r, bool rslora) {
    double rank = (double)r.rank;
    return (float)((double)r.alpha / (rslora ? sqrt(rank) : rank));
}

static void *copy_of(const void *from, int64_t n, size_t size) {
    if (!from) return NULL;
    void *to = mem_alloc((size_t)n, size);
    memcpy(to, from, (size_t)n * size);
    return to;
}

void adapter_config_copy(AdapterConfig *to, const AdapterConfig *from) {
    *to = *from;
    to->layers = copy_of(from->layers, from->n_layers, sizeof *to->layers);
    to->each = copy_of(from->each, from->n_each, sizeof *to->each);
}

// ---- checks against a model ----

static int check_layers(const AdapterConfig *c, const Model *m, Err *err) {
    for (int64_t i = 0; c->layers && i < c->n_layers; i++) {
        if (c->layers[i] < 0 || c->layers[i] >= m->config.layers)
            return err_input(err, "layer %ld for the adapter; expected 0 to %ld, the layers of %s", c->layers[i],
                             m->config.layers - 1, m->path);
        if (i > 0 && c->layers[i] <= c->layers[i - 1])
            return err_input(err, "layer %ld after layer %ld for the adapter; expected each once, in ascending order",
                             c->layers[i], c->layers[i - 1]);
    }
    return c->layers && !c->n_layers ? err_input(err, "no layers for the adapter; expected at least one") : 0;
}

static int check_rank(AdapterRank r, const char *where, Err *err) {
    if (r.rank < 1) return err_input(err, "lora_r is %ld%s; expected a whole number above 0", r.rank, where);
    if (!(r.alpha > 0) || !isfinite(r.alpha))
        return err_input(err, "lora_alpha is %g%s; expected a finite number above 0", (double)r.alpha, where);
    return 0;
}

static int check_ranks(const AdapterConfig *c, Err *err) {
    for (int64_t i = 0; i < c->n_each; i++) {
        char where[64];
        if (!c->each[i].rank) continue;
        snprintf(where, sizeof where, " for %s of layer %ld", projection_name(i % PROJ_COUNT), (i / PROJ_COUNT));
        if (check_rank(c->each[i], where, err)) return -1;
    }
    return c->each ? 0 : check_rank((AdapterRank){c->rank, c->alpha}, "", err);
}

uint32_t adapter_available(const ModelConfig *c) {
    uint32_t set = 0;
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (model_has_projection(c, p)) set |= PROJ_BIT(p);
    return set;
}

uint32_t adapter_all_linear(const ModelConfig *c) { return adapter_available(c) & (PROJ_BIT(PROJ_DENSE) - 1); }

// What PEFT has for experts (0.21, ParamWrapper), and llama.cpp.
static int check_experts(const AdapterConfig *c, const Model *m, Err *err) {
    uint32_t gate_up = c->projections & (PROJ_BIT(PROJ_EXPERT_GATE) | PROJ_BIT(PROJ_EXPERT_UP));
    if (!(c->projections & PROJ_EXPERT_BITS)) return 0;
    if (m->fused_experts)
        return err_input(err,
                         "%s: its experts' gate and up are one tensor (ffn_gate_up_exps); adapters on such experts "
                         "are not in this version",
                         m->path);
    if (gate_up && (gate_up & (gate_up - 1)) == 0)
        return err_input(err,
                         "a target is %s alone; expected the experts' gate and up both, which are one tensor in "
                         "transformers 5 and PEFT",
                         projection_name(gate_up == PROJ_BIT(PROJ_EXPERT_UP) ? PROJ_EXPERT_UP : PROJ_EXPERT_GATE));
    if (c->dropout != 0)
        return err_input(err, "lora_dropout is %g with targets among routed experts; expected 0 (PEFT has none there)",
                         (double)c->dropout);
    if (adapter_takes_part(c))
        return err_input(err,
                         "init_lora_weights pissa or olora with targets among routed experts: not in this version");
    return 0;
}

static int check_projections(const AdapterConfig *c, const Model *m, Err *err) {
    uint32_t available = adapter_available(&m->config);
    if (c->projections && !(c->projections & ~available)) return 0;
    AUTO_STR StrBuf names = {0};
    architecture_list_targets(&names, m->config.arch, available);
    Projection p = 0;
    while (p < PROJ_COUNT && !(c->projections & ~available & PROJ_BIT(p))) p++;
    if (p == PROJ_COUNT) return err_input(err, "no target modules for the adapter; expected some of %s", names.data);
    return err_input(err, "target module %s: this model has none; expected some of %s", projection_name(p), names.data);
}

// A file has magnitudes of whole modules: rows that are not trained would need the lengths of the base's.
static int check_dora(const AdapterConfig *c, const Model *m, Err *err) {
    if (c->dora && c->projections >= PROJ_BIT(PROJ_DENSE))
        return err_input(err,
                         "use_dora with a target among experts: PEFT loads no such adapter; expected plain LoRA, or "
                         "targets in attention");
    for (const Module *module = m->config.arch->hf.modules; c->dora && module->name; module++)
        if ((module->parts & c->projections) && (module->parts & ~c->projections))
            return err_input(err, "use_dora: %s is one matrix, of which some projections are targets; expected all",
                             module->name);
    return 0;
}

// No part of W has a rank above its smaller side.
static int check_start(const AdapterConfig *c, const Model *m, Err *err) {
    if (adapter_takes_part(c) && c->dora)
        return err_input(err,
                         "use_dora with init_lora_weights pissa or olora: not in this version; expected one of them");
    for (int64_t layer = 0; adapter_takes_part(c) && layer < m->config.layers; layer++)
        for (Projection p = 0; p < PROJ_COUNT; p++) {
            int64_t rank = adapter_rank_at(c, layer, p).rank, rows, cols;
            if (!rank || !model_layer_has(&m->config, layer, p)) continue;
            model_projection_shape(&m->config, p, &rows, &cols);
            if (rank > min64(rows, cols))
                return err_input(err,
                                 "lora_r is %ld, and %s of layer %ld [%ld, %ld]; init_lora_weights pissa and olora "
                                 "expect a rank of at most its smaller side",
                                 rank, projection_name(p), layer, rows, cols);
        }
    return 0;
}

int adapter_config_check(const AdapterConfig *c, const Model *m, Err *err) {
    if ((c->labels && model_check_pooler(m, c->problem == PROBLEM_TOKENS, err)) || check_projections(c, m, err) ||
        check_experts(c, m, err) || check_dora(c, m, err) || check_start(c, m, err))
        return -1;
    if (!(c->dropout >= 0 && c->dropout < 1))
        return err_input(err, "lora_dropout is %g; expected 0 <= dropout < 1", (double)c->dropout);
    return check_ranks(c, err) || check_layers(c, m, err) ? -1 : 0;
}
