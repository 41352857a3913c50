#include "swap.h"

#include <stdio.h>
#include <string.h>

#include "path.h"

void swap_result_clear(SwapResult *r) {
    engine_list_clear(&r->list);
    *r = (SwapResult){0};
}

// A version of this line, by its folder; by its name where the engine does not tell the folder.
static bool is_of_line(const EngineAdapter *x, const SwapLine *line) {
    size_t n = strlen(line->name);
    if (strncmp(x->name, line->name, n) != 0 || x->name[n] != '-') return false;
    if (!x->path) return starts_with(x->name + n, "-step");
    AUTO_FREE char *path = path_absolute(x->path), *parent = path_parent(path);
    return strcmp(parent, line->folder) == 0;
}

static bool is_version(const EngineAdapter *x, const SwapVersion *v) {
    if (x->path) return strcmp(x->path, v->folder) == 0 || (v->gguf && strcmp(x->path, v->gguf) == 0);
    return strcmp(x->name, v->name) == 0 || strcmp(x->name, v->unique) == 0;
}

static const EngineAdapter *find_version(const EngineList *l, const SwapVersion *v) {
    for (size_t i = 0; i < l->count; i++)
        if (is_version(&l->items[i], v)) return &l->items[i];
    return NULL;
}

bool swap_has(const EngineList *l, const SwapVersion *v) { return find_version(l, v) != NULL; }

static int read_list(Engine *e, SwapResult *r, Err *err) {
    engine_list_clear(&r->list);
    r->listed = engine_list(e, &r->list, err) == 0;
    return r->listed ? 0 : -1;
}

static int load_named(Engine *e, const SwapVersion *v, SwapResult *r, Err *err) {
    Err answer = {0};
    if (read_list(e, r, err)) return -1;
    if (find_version(&r->list, v)) return 0; // of an earlier try whose answer was lost, or of an earlier process
    const char *name = engine_list_find(&r->list, v->name) ? v->unique : v->name;
    r->sent = true;
    int rc = engine_load(e, name, v->folder, &answer);
    if (read_list(e, r, err)) return -1;
    if (find_version(&r->list, v)) return 0;
    if (!rc)
        return err_runtime(err, "%s: answers that it has loaded %s, and does not list it in /v1/models", e->url, name);
    if (err) *err = answer;
    return -1;
}

// Returns what the first one fails with, after all were tried.
static int unload_others(Engine *e, const SwapVersion *v, const SwapLine *line, const EngineList *l, Err *err) {
    int rc = 0;
    for (size_t i = 0; i < l->count; i++) {
        const EngineAdapter *x = &l->items[i];
        if (!is_of_line(x, line) || (v && is_version(x, v))) continue;
        if (engine_unload(e, x->name, rc ? NULL : err)) rc = -1;
    }
    return rc;
}

int swap_load(Engine *e, const SwapVersion *v, const SwapLine *line, SwapResult *r, Err *err) {
    *r = (SwapResult){0};
    if (e->kind == ENGINE_LLAMA_CPP) {
        if (!v->gguf) return err_input(err, "%s: no GGUF file of %s was written", e->url, v->name);
        if (read_list(e, r, err) || engine_select(e, v->gguf, err)) return -1;
        snprintf(r->name, sizeof r->name, "%s", v->name);
        return 0;
    }
    if (load_named(e, v, r, err)) return -1;
    snprintf(r->name, sizeof r->name, "%s", find_version(&r->list, v)->name);
    if (unload_others(e, v, line, &r->list, err))
        return err_context(err, "%s is loaded; the version before it", r->name);
    if (read_list(e, r, err)) return -1;
    for (size_t i = 0; i < r->list.count; i++)
        if (is_of_line(&r->list.items[i], line) && !is_version(&r->list.items[i], v))
            return err_runtime(err, "%s: answers that it has unloaded %s, and lists it still", e->url,
                               r->list.items[i].name);
    return 0;
}

int swap_unload(Engine *e, const SwapLine *line, size_t *count, Err *err) {
    AUTO_CALL(engine_list_clear) EngineList before = {0}, after = {0};
    *count = 0;
    if (engine_list(e, &before, err)) return -1;
    if (e->kind == ENGINE_LLAMA_CPP) {
        for (size_t i = 0; i < before.count; i++) *count += before.items[i].scale != 0;
        return engine_select(e, NULL, err);
    }
    for (size_t i = 0; i < before.count; i++) *count += is_of_line(&before.items[i], line);
    if (unload_others(e, NULL, line, &before, err) || engine_list(e, &after, err)) return -1;
    for (size_t i = 0; i < after.count; i++)
        if (is_of_line(&after.items[i], line))
            return err_runtime(err, "%s: answers that it has unloaded %s, and lists it still", e->url,
                               after.items[i].name);
    return 0;
}
