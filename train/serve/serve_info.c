#include "serve_info.h"

#include <stdio.h>

#include "json_save.h"
#include "serve_answer.h"

static void answer_json(HttpExchange *x, int status, char *text) {
    http_answer_text(x, status, "application/json", text);
    mem_free(text);
}

void serve_refuse(HttpExchange *x, int status, const char *message) {
    answer_json(x, status, serve_error(status, message));
}

void serve_info_models(HttpExchange *x, ServedModels *models) { answer_json(x, 200, serve_model_list(models)); }

static int no_model(const char *name, Err *err) { return err_input(err, "The model `%s` does not exist.", name); }

void serve_info_model(HttpExchange *x, ServedModels *models, const char *name) {
    Err err;
    char *text = serve_model(models, name);
    if (text) {
        answer_json(x, 200, text);
        return;
    }
    no_model(name, &err);
    serve_refuse(x, 404, err.msg);
}

static char *tokens_json(const ServeRequest *r, int64_t context) {
    cJSON *o = mem_checked(cJSON_CreateObject());
    AUTO_STR StrBuf ids = {0};
    str_puts(&ids, "[");
    for (int64_t i = 0; i < r->count; i++) str_printf(&ids, i ? ",%d" : "%d", r->ids[i]);
    str_puts(&ids, "]");
    json_add_int(o, "count", r->count);
    json_add_int(o, "max_model_len", context);
    cJSON_AddRawToObject(o, "tokens", ids.data);
    return json_line(o);
}

static int read_tokens(ServeRequest *r, HttpExchange *x, ServedModels *models, const Model *m, int *status, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    const char *name;
    *status = 400;
    if (json_parse(&doc, x->body, x->body_size, "the body", 0, err) || serve_request_model(&name, json_root(doc), err))
        return -1;
    ServedModel *served = served_models_hold(models, name);
    if (!served) {
        *status = 404;
        return no_model(name, err);
    }
    int rc = serve_request_tokens(r, json_root(doc), m, served, err);
    served_models_release(models, served);
    return rc;
}

void serve_info_tokenize(HttpExchange *x, ServedModels *models, const Model *m, int64_t context) {
    AUTO_CALL(serve_request_clear) ServeRequest r = {0};
    Err err;
    int status;
    if (read_tokens(&r, x, models, m, &status, &err))
        serve_refuse(x, status, err.msg);
    else
        answer_json(x, 200, tokens_json(&r, context));
}
