// engine_find: which engine answers at a URL, and what it says of itself (engine.h).
#include <stdio.h>
#include <string.h>

#include "engine.h"

static void take_text(char **to, const Json *object, const char *key) {
    const Json *v = object && object->type == JSON_OBJECT ? json_get(object, key) : NULL;
    if (*to || !v || v->type != JSON_STRING || !v->str.len) return;
    *to = mem_strdup(v->str.data);
}

static bool has_text(const Json *object, const char *key) {
    const Json *v = object && object->type == JSON_OBJECT ? json_get(object, key) : NULL;
    return v && v->type == JSON_STRING;
}

static void take_version(Engine *e, const Json *object, const char *key) {
    if (has_text(object, key)) snprintf(e->version, sizeof e->version, "%s", json_get(object, key)->str.data);
    clean_line(e->version);
}

// Of an engine of kind `kind`, or of any. 1: it answers there; 0: it does not.
typedef struct Probe {
    EngineKind kind;
    const char *path;
    bool (*is)(const Json *root);
} Probe;

static bool is_sglang(const Json *root) { return has_text(root, "model_path"); }
static bool is_vllm(const Json *root) { return has_text(root, "version"); }
static bool is_llama_cpp(const Json *root) {
    return root && root->type == JSON_OBJECT && json_get(root, "default_generation_settings");
}

static const Probe probes[] = {{ENGINE_VLLM, "/version", is_vllm},
                               {ENGINE_LLAMA_CPP, "/props", is_llama_cpp},
                               {ENGINE_SGLANG, "/get_server_info", is_sglang},
                               {ENGINE_SGLANG, "/get_model_info", is_sglang},
                               {ENGINE_SGLANG, "/server_info", is_sglang},
                               {ENGINE_SGLANG, "/model_info", is_sglang}};

// ---- facts ----

static void take_targets(EngineFacts *f, const Json *list) {
    AUTO_STR StrBuf names = {0};
    if (!list || list->type != JSON_ARRAY) return;
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].type != JSON_STRING) return;
        if (strcmp(list->items[i].str.data, "all") == 0) return;
        str_printf(&names, "%s%s", names.len ? " " : "", list->items[i].str.data);
    }
    if (names.len) f->targets = mem_strdup(names.data);
}

// The arguments of SGLang's server; /get_model_info has only the model's path.
static int take_sglang(Engine *e, const Json *root, EngineFacts *f, Err *err) {
    const Json *lora = json_get(root, "enable_lora"), *rank = json_get(root, "max_lora_rank");
    take_version(e, root, "version");
    take_text(&f->base_model, root, "model_path");
    if (lora && lora->type == JSON_FALSE)
        return err_input(err,
                         "%s: SGLang runs without adapters; expected it to be started with --enable-lora "
                         "--max-lora-rank R --lora-target-modules all",
                         e->url);
    if (rank && rank->type == JSON_INT) f->max_rank = rank->integer;
    take_targets(f, json_get(root, "lora_target_modules"));
    return 0;
}

#define LORAC "lorac " // the version of lorac serve begins with it

// vLLM: the first model that is no adapter; its root is the model's path or name.
static int take_vllm(Engine *e, EngineFacts *f, Err *err) {
    AUTO_CALL(engine_reply_clear) EngineReply r = {0};
    if (engine_request(e, "/v1/models", NULL, &r, err)) return -1;
    const Json *root = engine_root(&r), *data = root && root->type == JSON_OBJECT ? json_get(root, "data") : NULL;
    if (r.status != 200 || !data || data->type != JSON_ARRAY) return engine_refuse(e, "/v1/models", &r, "", err);
    for (size_t i = 0; i < data->count; i++) {
        const Json *m = &data->items[i];
        if (m->type != JSON_OBJECT || has_text(m, "parent")) continue;
        take_text(&f->base_model, m, "root");
        take_text(&f->base_model, m, "id");
    }
    return 0;
}

static int take_facts(Engine *e, const Json *root, EngineFacts *f, Err *err) {
    if (e->kind == ENGINE_SGLANG) return take_sglang(e, root, f, err);
    if (e->kind == ENGINE_LLAMA_CPP) {
        take_version(e, root, "build_info");
        take_text(&f->base_model, root, "model_path");
        return 0;
    }
    take_version(e, root, "version");
    if (starts_with(e->version, LORAC)) {
        memmove(e->version, e->version + strlen(LORAC), strlen(e->version + strlen(LORAC)) + 1);
        e->is_lorac = f->is_lorac = true;
    }
    return take_vllm(e, f, err);
}

int engine_find(Engine *e, EngineFacts *f, Err *err) {
    Err refused = {0};
    *f = (EngineFacts){0};
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        const Probe *p = &probes[i];
        AUTO_CALL(engine_reply_clear) EngineReply r = {0};
        if (e->kind != ENGINE_AUTO && e->kind != p->kind) continue;
        if (engine_request(e, p->path, NULL, &r, err)) return -1;
        if (r.status == 200 && p->is(engine_root(&r))) {
            e->kind = p->kind;
            return take_facts(e, engine_root(&r), f, err);
        }
        if (r.status != 404 && r.status != 405 && r.status != 200) engine_refuse(e, p->path, &r, "", &refused);
    }
    if (refused.kind) {
        if (err) *err = refused;
        return -1;
    }
    return err_input(err, "%s: found no %s%s; expected the URL of its server", e->url,
                     e->kind ? engine_name(e) : "vLLM, SGLang or llama.cpp", e->kind ? " there" : "");
}
