// peft_config: PEFT's adapter_config.json to and from AdapterConfig: peft_config_read.c, peft_config_write.c.
#pragma once

#include <cjson/cJSON.h>

#include "adapter.h"
#include "json.h"

// Strict: refuses by name every option that lorac does not compute (DoRA, saved modules, biases, ...) and every unknown
// key that is switched on. prefix: of the layers' names in the model that the adapter was trained on; NULL: that of the
// base model. *has_head: the adapter has a classifier's head. path: for messages.
int peft_config_read(AdapterConfig *c, bool *has_head, const Json *root, const Model *m, const char *prefix,
                     const char *path, Err *err);
// The keys that every release of PEFT and every engine takes, sorted. PEFT resolves the names in target_modules,
// rank_pattern and alpha_pattern to exactly the trained modules. The caller deletes it (cJSON_Delete).
cJSON *peft_config_write(const Adapter *a, const Model *m, const char *base_model);
