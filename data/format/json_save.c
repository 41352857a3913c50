#include "json_save.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"

void json_add_int(cJSON *object, const char *key, int64_t n) {
    char text[32];
    snprintf(text, sizeof text, "%ld", n);
    cJSON_AddRawToObject(object, key, text);
}

void json_add_number(cJSON *object, const char *key, int digits, double x) {
    char text[32];
    snprintf(text, sizeof text, "%.*g", digits, x);
    cJSON_AddRawToObject(object, key, isfinite(x) ? text : "null");
}

static char *take_text(cJSON *root, char *printed, const char *end) {
    char *text = mem_printf("%s%s", (char *)mem_checked(printed), end);
    cJSON_free(printed);
    cJSON_Delete(root);
    return text;
}

char *json_text(cJSON *root) { return take_text(root, cJSON_Print(root), "\n"); }

char *json_line(cJSON *root) { return take_text(root, cJSON_PrintUnformatted(root), ""); }

int json_save(const char *path, cJSON *root, OwnCheck *own, Err *err) {
    AUTO_FREE char *text = json_text(root);
    return file_write_whole(path, text, strlen(text), own, err);
}
