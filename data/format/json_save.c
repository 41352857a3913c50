#include "json_save.h"

#include <string.h>

#include "fileio.h"

char *json_text(cJSON *root) {
    char *printed = cJSON_Print(root), *text = mem_printf("%s\n", printed);
    cJSON_free(printed);
    cJSON_Delete(root);
    return text;
}

int json_save(const char *path, cJSON *root, OwnCheck *own, Err *err) {
    char *text = json_text(root);
    int rc = file_write_whole(path, text, strlen(text), own, err);
    mem_free(text);
    return rc;
}
