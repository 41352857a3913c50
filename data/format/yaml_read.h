// yaml_read: a YAML file of settings as a tree of JSON values, from the events of libyaml.
//
// Plain scalars mean what they mean to PyYAML (YAML 1.1), whose loader the usual configs are written for: yes, no, on
// and off are booleans (Json.str keeps the word), 1_000 and 0x10 are numbers, ~ and nothing are null. Exceptions: 1e-4
// is a number, and 010 and 1:30, which YAML 1.1 and 1.2 read as different values, are refused. Quoted scalars are text.
// Anchors, aliases and merge keys (<<) are read. Refused: a second document, duplicate keys, tags other than those of
// the core schema, nesting deeper than JSON_MAX_DEPTH, more than YAML_MAX_VALUES values with those that aliases repeat.
#pragma once

#include "json.h"

enum { YAML_MAX_BYTES = 1 << 20, YAML_MAX_VALUES = 1 << 17, YAML_MAX_KEYS = 1000, YAML_MAX_ANCHORS = 1000 };

bool yaml_is_name(const char *path); // ends with .yaml or .yml
// As json_parse_config. `text` is UTF-8.
int yaml_parse_config(JsonDoc **doc, const char *text, size_t len, const char *name, Err *err);
