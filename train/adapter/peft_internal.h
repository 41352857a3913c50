// peft_internal: what the files peft_*.c and adapter_peft.c share.
#pragma once

#include <cjson/cJSON.h>

#include "adapter_internal.h"
#include "json_read.h"
#include "problem_list.h"
#include "safetensors.h"

// ---- peft_config_read.c, peft_config_write.c: adapter_config.json to and from AdapterConfig ----

typedef struct PeftTensors PeftTensors;
// Strict: refuses by name every option that lorac does not compute (saved modules, biases, ...) and every unknown
// key that is switched on. file: the adapter's tensors; NULL: unknown. *has_head: the adapter has a classifier's head.
int peft_config_read(AdapterConfig *c, bool *has_head, const JsonReader *config, const Model *m, PeftTensors *file);
// The keys that every release of PEFT and every engine takes, sorted. PEFT resolves the names in target_modules,
// rank_pattern and alpha_pattern to exactly the trained modules. The caller deletes it (cJSON_Delete).
// Rank-stabilised scaling is written as alpha * sqrt(r) without use_rslora, which SGLang does not read: the same scale
// everywhere, to one rounding.
cJSON *peft_config_write(const Adapter *a, const Model *m, const char *base_model);
// Characters after "base_model.model." that the names of an adapter of the model without a head do not have: "model.",
// "bert.", by which models with heads hold the one without.
size_t peft_name_skips(const Adapter *a, const Model *m);

// ---- peft_targets.c: modules with their rank and alpha, by PEFT's rules (check_target_module_exists and
// get_pattern_key, PEFT 0.21) ----

typedef struct PeftTargets PeftTargets;

typedef struct PeftModule {
    const char *key; // PEFT's name: "model.layers.0.self_attn.q_proj"
    bool is_default; // a default target of this family (target_modules null)
    bool is_expert;  // no target of "all-linear"
    // set for a target:
    double rank, alpha;
} PeftModule;

// Reads r, lora_alpha, target_modules, target_parameters (of linear layers: "....weight"; of experts: no other than
// target_modules names), exclude_modules, layers_to_transform, layers_pattern, rank_pattern and alpha_pattern. What
// config points to is borrowed.
int peft_targets_new(PeftTargets **t, const JsonReader *config);
void peft_targets_free(PeftTargets *t); // NULL is allowed
DEFINE_AUTO(PeftTargets, peft_targets_free)
// 1: a target, rank and alpha are set; 0: none; -1: a pattern is refused.
int peft_targets_match(PeftTargets *t, PeftModule *m);
int peft_targets_refuse(const PeftTargets *t, const char *key, const char *what); // -1, "PATH: KEY WHAT"
PeftModule peft_targets_usual(const PeftTargets *t);                              // key "r", with r and lora_alpha
// The next name of target_modules, from *i on, that has matched no key so far; NULL: no more.
const char *peft_targets_unmatched(const PeftTargets *t, size_t *i);
// A name of exclude_modules, or a pattern, that has matched no key; *key: of which. NULL: none.
const char *peft_targets_unused(const PeftTargets *t, const char **key);

// ---- peft_tensors.c: the tensors of an adapter_model.safetensors by their standard names ----

// Accepted names: with or without "base_model.model.", with "module." (DDP) or "_orig_mod." (torch.compile), with the
// adapter's name ("lora_A.default.weight"), or as in a state dict ("score.modules_to_save.default.weight").
// The model determines the prefixes of its layers. Two tensors of one name, or two adapters in one file, are refused.
int peft_tensors_open(PeftTensors **t, const char *path, const Model *m, Err *err);
void peft_tensors_close(PeftTensors *t); // NULL is allowed
DEFINE_AUTO(PeftTensors, peft_tensors_close)
// By a name as lorac writes it; NULL: absent.
const SafetensorsTensor *peft_tensors_get(PeftTensors *t, const char *name);
bool peft_tensors_has(const PeftTensors *t, const char *name); // does not count as peft_tensors_get
// The prefix of the layers in the model that the adapter was trained on, without PEFT's own: "model."; NULL: no LoRA
// tensor.
const char *peft_tensors_prefix(const PeftTensors *t);
// The next tensor, from *i on, that peft_tensors_get has not returned; NULL: no more.
const char *peft_tensors_unused(const PeftTensors *t, size_t *i);
