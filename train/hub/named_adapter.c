#include "named_adapter.h"

#include <string.h>

#include "hub_cache.h"
#include "path.h"

static char *name_of(const char *path) {
    AUTO_FREE char *whole = path_absolute(path), *parent = path_parent(whole);
    return mem_strdup(path_name(strcmp(path_name(whole), "adapter") == 0 ? parent : whole));
}

int named_adapter_parse(char **name, char **path, const char *text, Err *err) {
    const char *equals = strchr(text, '=');
    *name = *path = NULL;
    if (!equals && (path_exists(text) || hub_is_name(text, HUB_MODEL))) {
        *name = name_of(text);
        *path = mem_strdup(text);
    } else {
        if (!equals || equals == text || !equals[1] || (equals - text == 4 && memcmp(text, "none", 4) == 0))
            return err_input(err, "\"%s\": expected NAME=PATH, with a name other than none", text);
        *name = mem_strndup(text, (size_t)(equals - text));
        *path = mem_strdup(equals + 1);
    }
    return hub_find_model(path, NULL, err);
}
