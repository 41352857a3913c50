// peft_config: PEFT's adapter_config.json to and from AdapterConfig. Private to train/adapter.
#pragma once

#include "adapter.h"
#include "json.h"

// Strict: whatever would change what the adapter computes and lorac does not do (DoRA, saved modules, biases, ...), and
// every unknown key that is switched on, is refused by name. prefix: in front of the layers' names in the model that it
// was trained on; NULL: as the base model has it. *has_head: it has a classifier's head. path: for messages.
int peft_config_read(AdapterConfig *c, bool *has_head, const Json *root, const Model *m, const char *prefix,
                     const char *path, Err *err);
// The set of keys that every release of PEFT and every engine takes, laid out as json.dumps(indent=2, sort_keys=True).
// target_modules, rank_pattern and alpha_pattern are names that PEFT resolves to exactly the trained modules.
void peft_config_write(StrBuf *out, const Adapter *a, const Model *m, const char *base_model);
