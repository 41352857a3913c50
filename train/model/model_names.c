// model_names: a model's name and its repository on the hub (see model_internal.h).
#include <string.h>

#include "model_internal.h"
#include "path.h"

static char *take_string(const Gguf *g, const char *key) {
    GgufStr s;
    return gguf_string(g, key, false, &s, NULL) == 0 && s.len ? mem_strndup(s.data, s.len) : NULL;
}

// "owner/name" from a folder of the hub's cache, ".../models--owner--name/snapshots/REVISION".
static char *cached_repository(const char *dir) {
    static const char start[] = "models--", end[] = "/snapshots/";
    const char *name = strstr(dir, start), *stop = name ? strstr(name, end) : NULL;
    if (!stop || memchr(name, '/', (size_t)(stop - name))) return NULL;
    name += sizeof start - 1;
    const char *dashes = strstr(name, "--");
    if (!dashes || dashes >= stop) return NULL;
    return mem_printf("%.*s/%.*s", (int)(dashes - name), name, (int)(stop - dashes - 2), dashes + 2);
}

char *model_find_repository(const WeightSource *s) {
    const Gguf *g = weight_source_gguf(s);
    if (!g) {
        char *dir = path_absolute(weight_source_dir(s)), *name = cached_repository(dir);
        mem_free(dir);
        return name;
    }
    char *name = take_string(g, "general.source.huggingface.repository");
    if (!name) name = take_string(g, "general.source.repo_url");
    if (!name) name = take_string(g, "general.repo_url");
    static const char hub[] = "https://huggingface.co/";
    if (name && starts_with(name, hub)) memmove(name, name + sizeof hub - 1, strlen(name) - sizeof hub + 2);
    return name;
}

// The last part of a path, without the suffix of a file.
static char *stem(const char *path, bool is_file) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    char *name = mem_strndup(path + start, end - start), *dot = strrchr(name, '.');
    if (is_file && dot && dot > name) *dot = 0;
    return name;
}

char *model_find_name(const WeightSource *s, const char *path) {
    const Gguf *g = weight_source_gguf(s);
    char *name = g ? take_string(g, "general.name") : NULL;
    if (name) return name;
    return g ? stem(path, true) : stem(weight_source_dir(s), false);
}
