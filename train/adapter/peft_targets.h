// peft_targets: the modules of an adapter_config.json with their rank and alpha, by PEFT's rules
// (check_target_module_exists and get_pattern_key, PEFT 0.21).
#pragma once

#include "json.h"
#include "pyregex.h"

typedef struct PeftTargets PeftTargets;

typedef struct PeftModule {
    const char *key; // PEFT's name: "model.layers.0.self_attn.q_proj"
    bool is_default; // a default target of this family (target_modules null)
    // set for a target:
    double rank, alpha;
} PeftModule;

// Reads r, lora_alpha, target_modules, exclude_modules, layers_to_transform, layers_pattern, rank_pattern and
// alpha_pattern. config is borrowed; path: for messages.
int peft_targets_new(PeftTargets **t, const Json *config, const char *path, Err *err);
void peft_targets_free(PeftTargets *t); // NULL is allowed
// 1: a target, rank and alpha are set; 0: none; -1: a pattern is refused.
int peft_targets_match(PeftTargets *t, PeftModule *m, Err *err);
// The next name of target_modules, from *i on, that has matched no key so far; NULL: no more.
const char *peft_targets_unmatched(const PeftTargets *t, size_t *i);
double peft_targets_rank(const PeftTargets *t);  // r
double peft_targets_alpha(const PeftTargets *t); // lora_alpha
