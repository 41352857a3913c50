// engine_llama_cpp: adapters of llama.cpp's server, which have numbers and scales (engine.h).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "json_save.h"
#include "path.h"

static const char adapters[] = "/lora-adapters";

// [{"id": 0, "path": "a.gguf", "scale": 1.0}]; the ids count from 0.
int llama_cpp_list(Engine *e, EngineList *l, Err *err) {
    AUTO_CALL(engine_reply_clear) EngineReply r = {0};
    if (engine_request(e, adapters, NULL, &r, err)) return -1;
    const Json *root = engine_root(&r);
    if (r.status != 200 || !root || root->type != JSON_ARRAY) return engine_refuse(e, adapters, &r, "", err);
    for (size_t i = 0; i < root->count; i++) {
        const Json *o = root->items[i].type == JSON_OBJECT ? &root->items[i] : NULL, *id = o ? json_get(o, "id") : NULL,
                   *path = o ? json_get(o, "path") : NULL, *scale = o ? json_get(o, "scale") : NULL;
        if (!id || !path || !scale || id->type != JSON_INT || id->integer != (int64_t)i || path->type != JSON_STRING ||
            !json_is_number(scale))
            return engine_refuse(e, adapters, &r, "; expected id, path and scale of each", err);
        MEM_GROW(l->items, l->capacity, l->count + 1);
        l->items[l->count++] = (EngineAdapter){mem_strdup(path->str.data), mem_strdup(path->str.data), scale->number};
    }
    return 0;
}

static bool same_file(const char *a, const char *b) {
    AUTO_FREE char *x = path_absolute(a), *y = path_absolute(b);
    return strcmp(x, y) == 0;
}

static int post_scales(Engine *e, const EngineList *l, const char *path, Err *err) {
    AUTO_CALL(engine_reply_clear) EngineReply r = {0};
    cJSON *list = mem_checked(cJSON_CreateArray());
    for (size_t i = 0; i < l->count; i++) {
        cJSON *o = mem_checked(cJSON_CreateObject());
        json_add_int(o, "id", (int64_t)i);
        cJSON_AddNumberToObject(o, "scale", path && same_file(l->items[i].path, path));
        cJSON_AddItemToArray(list, o);
    }
    if (engine_request(e, adapters, list, &r, err)) return -1;
    return r.status == 200 ? 0 : engine_refuse(e, adapters, &r, "", err);
}

static int check_scales(const Engine *e, const EngineList *l, const char *path, Err *err) {
    for (size_t i = 0; i < l->count; i++) {
        double want = path && same_file(l->items[i].path, path);
        if (fabs(l->items[i].scale - want) < 1e-6) continue;
        return err_runtime(err, "%s%s: adapter %zu, %s, has the scale %g after it was set; expected %g", e->url,
                           adapters, i, l->items[i].path, l->items[i].scale, want);
    }
    return 0;
}

// ---- cached prompts ----

static int erase_slot(Engine *e, int64_t slot, Err *err) {
    AUTO_CALL(engine_reply_clear) EngineReply r = {0};
    AUTO_FREE char *route = mem_printf("/slots/%ld?action=erase", slot);
    if (engine_request(e, route, mem_checked(cJSON_CreateObject()), &r, err)) return -1;
    if (r.status == 200) return 0;
    engine_refuse(e, route, &r, "", err);
    return r.status == 501 || r.status == 404 || r.status == 400
               ? err_input(err,
                           "%s: cannot erase the prompts that it cached with another adapter, which would be used with "
                           "this one; expected it to be started with --slot-save-path FOLDER --cache-ram 0",
                           e->url)
               : -1;
}

static int count_slots(Engine *e, int64_t *slots, Err *err) {
    enum { MOST = 4096 };
    AUTO_CALL(engine_reply_clear) EngineReply r = {0};
    if (engine_request(e, "/props", NULL, &r, err)) return -1;
    const Json *root = engine_root(&r), *n = root && root->type == JSON_OBJECT ? json_get(root, "total_slots") : NULL;
    if (r.status != 200 || !n || n->type != JSON_INT || n->integer < 1 || n->integer > MOST)
        return engine_refuse(e, "/props", &r, "; expected total_slots", err);
    *slots = n->integer;
    return 0;
}

static int erase_slots(Engine *e, int64_t slots, Err *err) {
    for (int64_t i = 0; i < slots; i++)
        if (erase_slot(e, i, err)) return -1;
    return 0;
}

int engine_select(Engine *e, const char *path, Err *err) {
    AUTO_CALL(engine_list_clear) EngineList before = {0}, after = {0};
    int64_t slots = 0;
    bool listed = !path;
    if (llama_cpp_list(e, &before, err)) return -1;
    for (size_t i = 0; i < before.count; i++) listed |= path && same_file(before.items[i].path, path);
    if (!listed)
        return err_input(err,
                         "%s: llama.cpp loads no adapter while it runs, and was not started with this one; expected it "
                         "to be started with --lora %s --slot-save-path FOLDER --cache-ram 0",
                         e->url, path);
    if (count_slots(e, &slots, err) || erase_slot(e, 0, err)) return -1;
    if (post_scales(e, &before, path, err) || llama_cpp_list(e, &after, err)) return -1;
    if (after.count != before.count)
        return err_runtime(err, "%s%s: %zu adapters, then %zu; expected the same", e->url, adapters, before.count,
                           after.count);
    return check_scales(e, &after, path, err) || erase_slots(e, slots, err) ? -1 : 0;
}
