// json_internal: building a document, for the readers of this room: json.c, yaml_read.c.
#pragma once

#include "json.h"

JsonDoc *json_doc_new(void);
void *json_doc_alloc(JsonDoc *doc, size_t count, size_t size); // freed with the document
JsonStr json_doc_text(JsonDoc *doc, const char *text, size_t len);
Json *json_doc_root(JsonDoc *doc);
// out->str, a number in JSON's form, to type, integer and number, which may be infinite. integral: digits only.
void json_set_number(Json *out, bool integral);
