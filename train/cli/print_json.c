// print_json: a result as one line of JSON on stdout.
#include "cli.h"

#include <string.h>

#include "json.h"
#include "say.h"

// json_print escapes control characters as JSON; say would print \x7F, which is none.
void print_json(cJSON *root) {
    char *text = cJSON_PrintUnformatted(root);
    StrBuf line = {0};
    JsonDoc *doc;
    Err err;
    int rc = json_parse(&doc, text, strlen(text), "result", 0, &err);
    CHECK(rc == 0, "%s", err.msg);
    json_print(&line, json_root(doc));
    say("%s\n", line.data);
    json_free(doc);
    str_clear(&line);
    cJSON_free(text);
    cJSON_Delete(root);
}
