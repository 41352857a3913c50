// json_save: JSON of our own, made with cJSON, as text or as a file. json.h reads the files of others.
#pragma once

#include <cjson/cJSON.h>

#include "overwrite.h"

// cJSON's own numbers are doubles of 15 to 17 digits.
void json_add_int(cJSON *object, const char *key, int64_t n); // exact above 2^53 too
// x with so many significant digits (17: reads back exactly); null where x is not finite, for which JSON has no number.
void json_add_number(cJSON *object, const char *key, int digits, double x);

// The text of a document. Deletes root; the caller frees with mem_free.
char *json_text(cJSON *root); // indented, with a newline at its end
char *json_line(cJSON *root); // in one line, without a newline
// Writes json_text to a file as file_write_whole does. Deletes root.
int json_save(const char *path, cJSON *root, OwnCheck *own, Err *err);
