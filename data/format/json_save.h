// json_save: JSON of our own as a file. Its documents are made with cJSON; json.h reads the files of others.
#pragma once

#include <cjson/cJSON.h>

#include "overwrite.h"

// The text of a document, indented, with a newline at its end. Deletes root; the caller frees with mem_free.
char *json_text(cJSON *root);
// Writes that text to a file as file_write_whole does. Deletes root.
int json_save(const char *path, cJSON *root, OwnCheck *own, Err *err);
