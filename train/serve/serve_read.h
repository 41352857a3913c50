// serve_read: fields of a request's object by name; null is absence. Refusals name the field and what it holds.
#pragma once

#include "json.h"

// *out keeps its value where the field is absent.
int serve_read_int(int64_t *out, const Json *o, const char *key, int64_t least, int64_t most, Err *err);
int serve_read_number(double *out, const Json *o, const char *key, double least, double most, Err *err);
int serve_read_bool(bool *out, const Json *o, const char *key, Err *err);
int serve_read_text(const char **out, const Json *o, const char *key, Err *err); // without NUL characters
int serve_refuse_field(const Json *o, const char *key, const char *expected, Err *err);
