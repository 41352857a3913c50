// print_json: a result as one line of JSON on stdout.
#pragma once

#include <cjson/cJSON.h>

void print_json(cJSON *root); // frees root
