#include "engine.h"

#include <stdlib.h>
#include <string.h>

#include "json_save.h"
#include "module.h"

static const double CONNECT_SECONDS = 5;

int engine_open(Engine *e, const char *url, EngineKind kind, double timeout, Err *err) {
    int (*open)(Http *, Err *) = NULL;
    size_t n = strlen(url);
    while (n && url[n - 1] == '/') n--;
    *e = (Engine){.url = mem_strndup(url, n), .kind = kind, .timeout = timeout, .key = getenv(ENGINE_KEY)};
    if (e->key && !*e->key) e->key = NULL;
    for (const char *c = e->key; c && *c; c++) // it becomes a line of the request
        if ((unsigned char)*c <= 32 || *c >= 127)
            return err_input(err, ENGINE_KEY ": found white space or a character that is not ASCII; expected a key");
    return module_symbol(&open, "lorac-curl.so", "lorac_curl_open", "libcurl4-openssl-dev", err) || open(&e->http, err)
               ? -1
               : 0;
}

void engine_close(Engine *e) {
    if (e->http.client) e->http.close(e->http.client);
    mem_free(e->url);
    *e = (Engine){0};
}

const char *engine_name(const Engine *e) {
    static const char *const names[] = {"engine", "vLLM", "SGLang", "llama.cpp"};
    return e->is_lorac ? "lorac" : names[e->kind];
}

void engine_facts_clear(EngineFacts *f) {
    mem_free(f->targets);
    mem_free(f->base_model);
    *f = (EngineFacts){0};
}

void engine_list_clear(EngineList *l) {
    for (size_t i = 0; i < l->count; i++) {
        mem_free(l->items[i].name);
        mem_free(l->items[i].path);
    }
    mem_free(l->items);
    *l = (EngineList){0};
}

const EngineAdapter *engine_list_find(const EngineList *l, const char *name) {
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->items[i].name, name) == 0) return &l->items[i];
    return NULL;
}

// ---- one request ----

enum { MAX_ANSWER = 8 << 20 };

static int take(void *user, const HttpHead *head, const void *data, size_t size) {
    EngineReply *r = user;
    if (r->text.len + size > MAX_ANSWER) return -1;
    str_add(&r->text, data, size);
    return 0;
}

typedef struct Asking {
    EngineReply *reply;
    const atomic_bool *stop;
} Asking;

static int take_asked(void *user, const HttpHead *head, const void *data, size_t size) {
    return take(((Asking *)user)->reply, head, data, size);
}

static bool stop_asked(void *user) {
    const atomic_bool *stop = ((Asking *)user)->stop;
    return stop && atomic_load(stop);
}

void engine_reply_clear(EngineReply *r) {
    str_clear(&r->text);
    json_free(r->doc);
    *r = (EngineReply){0};
}

const Json *engine_root(const EngineReply *r) { return r->doc ? json_root(r->doc) : NULL; }

int engine_request(Engine *e, const char *path, cJSON *body, EngineReply *r, Err *err) {
    AUTO_FREE char *url = mem_printf("%s%s", e->url, path), *text = body ? json_line(body) : NULL;
    Asking asking = {r, e->stop};
    HttpRequest q = {.url = url,
                     .token = e->key,
                     .agent = "lorac",
                     .body = text,
                     .direct = true,
                     .connect_seconds = CONNECT_SECONDS < e->timeout ? CONNECT_SECONDS : e->timeout,
                     .stall_seconds = e->timeout,
                     .whole_seconds = e->timeout,
                     .take = take_asked,
                     .any_status = true,
                     .stop = stop_asked,
                     .user = &asking};
    HttpHead head;
    char why[256];
    engine_reply_clear(r);
    switch (e->http.get(e->http.client, &q, &head, why)) {
    case HTTP_COMPLETE: break;
    case HTTP_LOST: return err_runtime(err, "%s: %s", url, why);
    case HTTP_REFUSED: return err_input(err, "%s: %s", url, why);
    case HTTP_STOPPED:
        if (stop_asked(&asking)) return err_runtime(err, "%s: no answer before the end of the run", url);
        return err_input(err, "%s: the answer is larger than %d bytes; expected an engine's", url, MAX_ANSWER);
    }
    r->status = head.status;
    if (r->text.len && json_parse(&r->doc, r->text.data, r->text.len, url, 0, NULL)) r->doc = NULL;
    return 0;
}

// ---- refusals ----

// What the engine says of its refusal: {"error": {"message"}}, {"error": text}, {"message"}, {"error_message"},
// {"detail"}, else its text.
static void add_reason(StrBuf *out, const EngineReply *r) {
    enum { SHOWN = 300 };
    static const char *const keys[] = {"message", "error_message", "error", "detail"};
    const Json *o = engine_root(r), *inner = o ? json_get(o, "error") : NULL, *text = NULL;
    if (inner && inner->type == JSON_OBJECT) o = inner;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !text; i++) {
        const Json *v = o && o->type == JSON_OBJECT ? json_get(o, keys[i]) : NULL;
        if (v && v->type == JSON_STRING && v->str.len) text = v;
    }
    const char *data = text ? text->str.data : r->text.data;
    size_t n = text ? text->str.len : r->text.len;
    if (!n || *data == '<') return; // a page of HTML says nothing
    str_printf(out, ": %.*s%s", (int)(n < SHOWN ? n : SHOWN), data, n > SHOWN ? "..." : "");
}

static bool may_pass(int status) { return status == 408 || status == 425 || status == 429 || status >= 500; }

int engine_refuse(const Engine *e, const char *path, const EngineReply *r, const char *help, Err *err) {
    AUTO_STR StrBuf why = {0};
    str_puts(&why, "");
    if (r->status == 401 || r->status == 403)
        return err_input(err, "%s%s: the engine answers %d; expected a key that it accepts in " ENGINE_KEY " (%s)",
                         e->url, path, r->status, e->key ? "the one there is refused" : "it is not set");
    if (r->status >= 300 && r->status < 400)
        return err_input(err, "%s%s: the engine answers with a redirect (%d), which is not followed; expected its URL",
                         e->url, path, r->status);
    add_reason(&why, r);
    if (r->status == 200)
        return err_input(err, "%s%s: found another answer than %s's%s%s", e->url, path, engine_name(e), why.data, help);
    if (may_pass(r->status))
        return err_runtime(err, "%s%s: the engine answers %d%s%s", e->url, path, r->status, why.data, help);
    return err_input(err, "%s%s: the engine answers %d%s%s", e->url, path, r->status, why.data, help);
}
