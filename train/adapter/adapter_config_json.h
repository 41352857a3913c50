// adapter_config_json: PEFT's adapter_config.json to and from AdapterConfig. Private to train/adapter.
#pragma once

#include "adapter.h"

// Strict: whatever would change what the adapter computes and lorac does not do (DoRA, rank patterns, saved modules,
// biases, ...), and every unknown key that is switched on, is refused by name. path: for messages.
int adapter_config_parse(AdapterConfig *c, const char *text, size_t size, const char *path, Err *err);
// The set of keys that every release of PEFT and every engine takes, laid out as json.dumps(indent=2, sort_keys=True).
void adapter_config_print(StrBuf *out, const AdapterConfig *c, const char *base_model);
