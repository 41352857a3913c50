// engine_rules: what an engine computes as lorac does (engine.h). Biases and saved modules never come so far:
// adapter_load refuses them.
#include <string.h>
#include <strings.h>

#include "engine.h"
#include "path.h"

enum { VLLM_MAX_RANK = 512 }; // the largest value of --max-lora-rank

static int check_rank(EngineKind kind, const EngineFacts *f, const Adapter *a, Err *err) {
    int64_t most = f->max_rank, rank = 0;
    for (int64_t i = 0; i < a->n_segments; i++)
        if (a->segments[i].kind == SEGMENT_A && a->segments[i].rows > rank) rank = a->segments[i].rows;
    if (kind == ENGINE_VLLM && !f->is_lorac && (!most || most > VLLM_MAX_RANK)) most = VLLM_MAX_RANK;
    if (!most || rank <= most) return 0;
    return err_input(err, "lora_r is %ld; expected at most %ld, %s", rank, most,
                     kind == ENGINE_VLLM ? "the largest --max-lora-rank of vLLM"
                                         : "the engine's --max-lora-rank, or a larger one there");
}

// The last word of a module's name: "q_proj" of "self_attn.q_proj".
static const char *leaf(const Module *m) {
    const char *dot = strrchr(m->name, '.');
    return dot ? dot + 1 : m->name;
}

static int check_targets(const EngineFacts *f, const Adapter *a, Err *err) {
    for (int64_t i = 0; f->targets && i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        if (s->kind != SEGMENT_A || is_among(leaf(s->module), strlen(leaf(s->module)), f->targets)) continue;
        return err_input(err,
                         "lora_target_modules has %s; the engine was started with --lora-target-modules %s: expected "
                         "it with %s, or with all",
                         leaf(s->module), f->targets, leaf(s->module));
    }
    return 0;
}

int engine_check_adapter(EngineKind kind, const EngineFacts *f, const Adapter *a, const Model *m, Err *err) {
    const char *family = m->config.arch->model_types[0];
    if (!adapter_generates(a))
        return err_input(err, "an encoder or a classifier cannot be swapped into an engine; expected task: causal_lm");
    if (a->config.dora && !f->is_lorac)
        return err_input(err, "the engine does not compute DoRA; expected an adapter without use_dora, or lorac merge "
                              "and the merged model in the engine");
    if (kind == ENGINE_VLLM && !f->is_lorac && strcmp(family, "gpt2") == 0)
        return err_input(err, "vLLM computes no adapters of %s models; expected another engine or base model", family);
    if (kind == ENGINE_SGLANG && adapter_has_patterns(a))
        return err_input(err, "modules differ in rank or alpha; SGLang does not read rank_pattern and alpha_pattern: "
                              "expected one lora_r and lora_alpha");
    return check_rank(kind, f, a, err) || check_targets(f, a, err) ? -1 : 0;
}

static bool is_hub_name(const char *name) {
    const char *slash = strchr(name, '/');
    return slash && slash != name && slash[1] && !strchr(slash + 1, '/') && *name != '.' && !ends_with(name, ".gguf");
}

int engine_serves(const EngineFacts *f, const Model *m) {
    const char *theirs = f->base_model;
    if (!theirs) return -1;
    if (m->repository && strcasecmp(theirs, m->repository) == 0) return 1;
    if (path_exists(theirs) && path_exists(m->path)) {
        AUTO_FREE char *a = path_absolute(theirs), *b = path_absolute(m->path);
        if (strcmp(a, b) == 0) return 1;
    }
    return m->repository && is_hub_name(theirs) && is_hub_name(m->repository) ? 0 : -1;
}
