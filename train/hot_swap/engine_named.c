// engine_named: adapters of vLLM and SGLang, which have names (engine.h).
#include <string.h>

#include "engine.h"
#include "json_save.h"

static const char *text_of(const Json *object, const char *key) {
    const Json *v = json_get(object, key);
    return v && v->type == JSON_STRING && strlen(v->str.data) == v->str.len ? v->str.data : NULL;
}

// /v1/models of both: {"data": [{"id", "root": path or name of the model, "parent": of an adapter its base}]}.
int engine_list(Engine *e, EngineList *l, Err *err) {
    AUTO_CALL(engine_reply_clear) EngineReply r = {0};
    *l = (EngineList){0};
    if (e->kind == ENGINE_LLAMA_CPP) return llama_cpp_list(e, l, err);
    if (engine_request(e, "/v1/models", NULL, &r, err)) return -1;
    const Json *root = engine_root(&r), *data = root && root->type == JSON_OBJECT ? json_get(root, "data") : NULL;
    if (r.status != 200 || !data || data->type != JSON_ARRAY) return engine_refuse(e, "/v1/models", &r, "", err);
    for (size_t i = 0; i < data->count; i++) {
        const Json *m = &data->items[i];
        const char *id = m->type == JSON_OBJECT ? text_of(m, "id") : NULL;
        if (!id || !text_of(m, "parent")) continue;
        const char *path = text_of(m, "root");
        MEM_GROW(l->items, l->capacity, l->count + 1);
        l->items[l->count++] = (EngineAdapter){mem_strdup(id), path ? mem_strdup(path) : NULL, 1};
    }
    return 0;
}

static const char *load_help(const Engine *e, int status) {
    if (e->kind == ENGINE_SGLANG || e->is_lorac) return "";
    if (status == 404)
        return "; expected vLLM with --enable-lora, started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and the folder "
               "at the same path on its machine";
    return status >= 500 ? "; is the rank above vLLM's --max-lora-rank?" : "";
}

int engine_load(Engine *e, const char *name, const char *path, Err *err) {
    AUTO_CALL(engine_reply_clear) EngineReply r = {0};
    const char *route = e->kind == ENGINE_SGLANG ? "/load_lora_adapter" : "/v1/load_lora_adapter";
    cJSON *body = mem_checked(cJSON_CreateObject());
    cJSON_AddStringToObject(body, "lora_name", name);
    cJSON_AddStringToObject(body, "lora_path", path);
    if (e->kind == ENGINE_SGLANG) cJSON_AddFalseToObject(body, "pinned");
    if (engine_request(e, route, body, &r, err)) return -1;
    return r.status == 200 ? 0 : engine_refuse(e, route, &r, load_help(e, r.status), err);
}

// vLLM: 404 where the name is not loaded, which is what is wanted.
int engine_unload(Engine *e, const char *name, Err *err) {
    AUTO_CALL(engine_reply_clear) EngineReply r = {0};
    const char *route = e->kind == ENGINE_SGLANG ? "/unload_lora_adapter" : "/v1/unload_lora_adapter";
    cJSON *body = mem_checked(cJSON_CreateObject());
    cJSON_AddStringToObject(body, "lora_name", name);
    if (engine_request(e, route, body, &r, err)) return -1;
    return r.status == 200 || r.status == 404 ? 0 : engine_refuse(e, route, &r, "", err);
}

// ---- answers ----

static cJSON *ids_json(const int32_t *ids, size_t n) {
    cJSON *list = mem_checked(cJSON_CreateArray());
    for (size_t i = 0; i < n; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber(ids[i]));
    return list;
}

static void add_sampling(cJSON *o, const char *longest, const EngineQuestion *q) {
    cJSON_AddNumberToObject(o, "temperature", 0);
    json_add_int(o, longest, q->max_new_tokens);
    cJSON_AddItemToObject(o, "stop_token_ids", ids_json(q->stop, q->n_stop));
    cJSON_AddTrueToObject(o, "skip_special_tokens");
}

static cJSON *question_json(const Engine *e, const EngineQuestion *q, const char **route, const char *base) {
    cJSON *o = mem_checked(cJSON_CreateObject()), *ids = ids_json(q->ids, (size_t)q->count);
    if (e->kind == ENGINE_SGLANG) {
        *route = "/generate";
        cJSON_AddItemToObject(o, "input_ids", ids);
        add_sampling(cJSON_AddObjectToObject(o, "sampling_params"), "max_new_tokens", q);
        if (q->name) cJSON_AddStringToObject(o, "lora_path", q->name);
    } else if (e->kind == ENGINE_VLLM) {
        *route = "/v1/completions";
        cJSON_AddItemToObject(o, "prompt", ids);
        add_sampling(o, "max_tokens", q);
        cJSON_AddStringToObject(o, "model", q->name ? q->name : base);
    } else {
        *route = "/completion";
        cJSON_AddItemToObject(o, "prompt", ids);
        cJSON_AddNumberToObject(o, "temperature", 0);
        json_add_int(o, "n_predict", q->max_new_tokens);
        cJSON_AddFalseToObject(o, "cache_prompt");
    }
    return o;
}

static const Json *answer_text(const Engine *e, const Json *root) {
    if (!root || root->type != JSON_OBJECT) return NULL;
    if (e->kind == ENGINE_SGLANG) return json_get(root, "text");
    if (e->kind == ENGINE_LLAMA_CPP) return json_get(root, "content");
    const Json *choices = json_get(root, "choices");
    if (!choices || choices->type != JSON_ARRAY || !choices->count || choices->items[0].type != JSON_OBJECT)
        return NULL;
    return json_get(&choices->items[0], "text");
}

int engine_answer(Engine *e, const EngineQuestion *q, StrBuf *text, Err *err) {
    AUTO_CALL(engine_reply_clear) EngineReply r = {0};
    AUTO_CALL(engine_facts_clear) EngineFacts facts = {0};
    const char *route;
    if (e->kind == ENGINE_VLLM && !q->name && engine_find(e, &facts, err)) return -1;
    cJSON *body = question_json(e, q, &route, facts.base_model ? facts.base_model : "");
    if (engine_request(e, route, body, &r, err)) return -1;
    const Json *answer = answer_text(e, engine_root(&r));
    if (r.status != 200 || !answer || answer->type != JSON_STRING) return engine_refuse(e, route, &r, "", err);
    str_add(text, answer->str.data, answer->str.len);
    return 0;
}
