// adapter_config_json: PEFT's adapter_config.json to and from AdapterConfig. Private to train/adapter.
#pragma once

#include "adapter.h"

// What adapter_config.json leaves to the tensors beside it.
typedef struct AdapterConfigGaps {
    bool modules; // target_modules is a pattern: the tensors tell which modules
    bool layers;  // target_modules names single layers: the tensors tell which
    bool labels;  // the adapter has a classifier's head: the tensors tell how many classes
} AdapterConfigGaps;

// Strict: whatever would change what the adapter computes and lorac does not do (DoRA, rank patterns, saved modules,
// biases, ...), and every unknown key that is switched on, is refused by name. path: for messages. Targets become the
// projections of whole modules.
int adapter_config_parse(AdapterConfig *c, AdapterConfigGaps *gaps, const char *text, size_t size, const Model *m,
                         const char *path, Err *err);
// The set of keys that every release of PEFT and every engine takes, laid out as json.dumps(indent=2, sort_keys=True).
// target_modules are names that PEFT resolves to exactly the trained modules.
void adapter_config_print(StrBuf *out, const Adapter *a, const Model *m, const char *base_model);
