// choices: autotuning results, on which the bits of results depend: saved by choices_get, restored by choices_set. One
// JSON object of texts {"device": ..., "cublaslt": ..., key: value, ...}; the first two name the device and the library
// version that the choices are valid for. LORAC_ATTENTION decides for shapes that have no choice yet, so it is one too.
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "cuda.h"

DEFINE_AUTO(cJSON, cJSON_Delete)

static const char *const ASKED = "LORAC_ATTENTION";

struct CudaChoices {
    cJSON *list;
    char library[32]; // version of cuBLASLt
    bool settled;     // by choices_set
};

int cuda_choices_open(Backend *b, Err *err) {
    CudaChoices *c = cuda_state(b)->choices = mem_calloc(1, sizeof *c);
    size_t version = cublasLtGetVersion();
    snprintf(c->library, sizeof c->library, "%zu.%zu.%zu", version / 10000, version / 100 % 100, version % 100);
    c->list = mem_checked(cJSON_CreateObject());
    return 0;
}

void cuda_choices_close(Backend *b) {
    CudaChoices *c = cuda_state(b)->choices;
    if (!c) return;
    cJSON_Delete(c->list);
    mem_free(c);
}

const char *cuda_choice_get(const Backend *b, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(cuda_state(b)->choices->list, key));
}

void cuda_choice_set(Backend *b, const char *key, const char *value) {
    cJSON *list = cuda_state(b)->choices->list;
    cJSON_DeleteItemFromObjectCaseSensitive(list, key);
    mem_checked(cJSON_AddStringToObject(list, key, value));
}

bool cuda_choices_by_speed(const Backend *b) {
    const CudaState *s = cuda_state(b);
    return !s->choices->settled && !s->emulated && !s->recording;
}

// ---- in and out ----

void cuda_choices_get(Backend *b, StrBuf *json) {
    const CudaState *s = cuda_state(b);
    AUTO(cJSON_Delete) cJSON *all = mem_checked(cJSON_CreateObject());
    mem_checked(cJSON_AddStringToObject(all, "device", s->name));
    mem_checked(cJSON_AddStringToObject(all, "cublaslt", s->choices->library));
    if (s->attention_asked) mem_checked(cJSON_AddStringToObject(all, ASKED, s->attention_asked));
    for (const cJSON *item = s->choices->list->child; item; item = item->next)
        mem_checked(cJSON_AddStringToObject(all, item->string, item->valuestring));
    char *text = mem_checked(cJSON_Print(all));
    str_puts(json, text);
    cJSON_free(text);
}

// The text that the header `key` must have; NULL: `key` is a choice.
static const char *header_here(const CudaState *s, const char *key) {
    return !strcmp(key, "device") ? s->name : !strcmp(key, "cublaslt") ? s->choices->library : NULL;
}

// A run whose attention is cuDNN's needs the same version of cuDNN.
static int check_item(const Backend *b, const cJSON *item, Err *err) {
    const char *value = cJSON_GetStringValue(item), *header = header_here(cuda_state(b), item->string);
    const char *library = cuda_attention_library(b);
    if (!value) return err_input(err, "stored choices of the device: %s: expected a text", item->string);
    if (header && strcmp(value, header) != 0)
        return err_input(err, "the run was made with %s %s, this is %s: the run cannot be resumed bit-identically here",
                         item->string, value, header);
    if (header || !starts_with(value, "cudnn ") || (library && !strcmp(value, library))) return 0;
    return err_input(
        err, "the run was made with attention by %s, here it is %s: the run cannot be resumed bit-identically here",
        value, library ? library : "none");
}

static int check_asked(const CudaState *s, const cJSON *stored, Err *err) {
    const char *was = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(stored, ASKED)), *now = s->attention_asked;
    if (was && now ? !strcmp(was, now) : was == now) return 0;
    return err_input(err, "the run was made %s%s, here it is %s: the run cannot be resumed bit-identically here",
                     was ? "with LORAC_ATTENTION=" : "without LORAC_ATTENTION", was ? was : "", now ? now : "not set");
}

int cuda_choices_set(Backend *b, const char *json, Err *err) {
    CudaState *s = cuda_state(b);
    const char *end = json;
    AUTO(cJSON_Delete) cJSON *stored = cJSON_ParseWithOpts(json, &end, true);
    if (!cJSON_IsObject(stored))
        return err_input(err, "stored choices of the device: byte %zu: expected a JSON object",
                         stored ? (size_t)0 : (size_t)(end - json));
    int headers = 0;
    for (const cJSON *item = stored->child; item; item = item->next) {
        if (check_item(b, item, err)) return -1;
        headers += header_here(s, item->string) != NULL;
    }
    if (check_asked(s, stored, err)) return -1;
    if (headers != 2) return err_input(err, "the run was made on another kind of device than %s", b->k->name);
    for (const cJSON *item = stored->child; item; item = item->next)
        if (!header_here(s, item->string) && strcmp(item->string, ASKED) != 0)
            cuda_choice_set(b, item->string, item->valuestring);
    s->choices->settled = true;
    return 0;
}
