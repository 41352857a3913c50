// yaml_scalar: what a plain scalar of YAML means (yaml_read.h).
#pragma once

#include "json.h"

// NULL, or why the scalar is refused.
const char *yaml_scalar_resolve(Json *out, JsonDoc *doc, JsonStr text);
bool yaml_scalar_has_tag(const Json *v, const char *tag); // "int", "float", "bool", "null", "str"; "" fits all
