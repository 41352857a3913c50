#include "serve_answer.h"

#include <string.h>

#include "json_save.h"

// Generated text may hold NUL characters, which cJSON's strings cannot.
static void add_text(cJSON *o, const char *key, const char *text, size_t len) {
    AUTO_STR StrBuf quoted = {0};
    json_quote(&quoted, text ? text : "", len);
    cJSON_AddRawToObject(o, key, quoted.data);
}

static cJSON *head(const ServeJob *j, const char *object) {
    cJSON *o = mem_checked(cJSON_CreateObject());
    cJSON_AddStringToObject(o, "id", j->id);
    cJSON_AddStringToObject(o, "object", object);
    json_add_int(o, "created", j->created);
    cJSON_AddStringToObject(o, "model", j->model->name);
    return o;
}

// NULL: not at its end yet.
static const char *finish_reason(const ServeJob *j) { return j->cut || j->answer.stopped ? "stop" : "length"; }

static cJSON *add_choice(cJSON *o, const char *finish) {
    cJSON *choice = mem_checked(cJSON_CreateObject());
    cJSON_AddNumberToObject(choice, "index", 0);
    cJSON_AddNullToObject(choice, "logprobs");
    if (finish)
        cJSON_AddStringToObject(choice, "finish_reason", finish);
    else
        cJSON_AddNullToObject(choice, "finish_reason");
    cJSON_AddItemToArray(cJSON_AddArrayToObject(o, "choices"), choice);
    return choice;
}

static void add_usage(cJSON *o, const ServeJob *j) {
    cJSON *usage = cJSON_AddObjectToObject(o, "usage");
    json_add_int(usage, "prompt_tokens", j->request.count);
    json_add_int(usage, "completion_tokens", j->answer.count);
    json_add_int(usage, "total_tokens", j->request.count + j->answer.count);
}

char *serve_whole(const ServeJob *j) {
    bool chat = j->request.chat;
    cJSON *o = head(j, chat ? "chat.completion" : "text_completion"), *choice = add_choice(o, finish_reason(j));
    if (chat) {
        cJSON *message = cJSON_AddObjectToObject(choice, "message");
        cJSON_AddStringToObject(message, "role", "assistant");
        add_text(message, "content", j->text.data, j->text.len);
    } else {
        add_text(choice, "text", j->text.data, j->text.len);
    }
    add_usage(o, j);
    return json_line(o);
}

static cJSON *chunk_head(const ServeJob *j) {
    return head(j, j->request.chat ? "chat.completion.chunk" : "text_completion");
}

char *serve_chunk_role(const ServeJob *j) {
    cJSON *o = chunk_head(j), *delta = cJSON_AddObjectToObject(add_choice(o, NULL), "delta");
    cJSON_AddStringToObject(delta, "role", "assistant");
    cJSON_AddStringToObject(delta, "content", "");
    return json_line(o);
}

char *serve_chunk_text(const ServeJob *j, JsonStr text) {
    cJSON *o = chunk_head(j), *choice = add_choice(o, NULL);
    if (j->request.chat)
        add_text(cJSON_AddObjectToObject(choice, "delta"), "content", text.data, text.len);
    else
        add_text(choice, "text", text.data, text.len);
    return json_line(o);
}

char *serve_chunk_end(const ServeJob *j) {
    cJSON *o = chunk_head(j), *choice = add_choice(o, finish_reason(j));
    if (j->request.chat)
        cJSON_AddObjectToObject(choice, "delta");
    else
        cJSON_AddStringToObject(choice, "text", "");
    return json_line(o);
}

char *serve_chunk_usage(const ServeJob *j) {
    cJSON *o = chunk_head(j);
    cJSON_AddArrayToObject(o, "choices");
    add_usage(o, j);
    return json_line(o);
}

char *serve_error(int status, const char *message) {
    cJSON *o = mem_checked(cJSON_CreateObject()), *e = cJSON_AddObjectToObject(o, "error");
    cJSON_AddStringToObject(e, "message", message);
    cJSON_AddStringToObject(e, "type",
                            status == 404   ? "NotFoundError"
                            : status >= 500 ? "InternalServerError"
                                            : "BadRequestError");
    cJSON_AddNumberToObject(e, "code", status);
    return json_line(o);
}

typedef struct ModelList {
    cJSON *data;      // an array
    const char *only; // the name of one; NULL: all
    const char *base;
} ModelList;

static void add_model(void *list, const ServedModel *m) {
    ModelList *l = list;
    if (!m->adapter) l->base = m->name;
    if (l->only && strcmp(l->only, m->name) != 0) return;
    cJSON *o = mem_checked(cJSON_CreateObject());
    cJSON_AddStringToObject(o, "id", m->name);
    cJSON_AddStringToObject(o, "object", "model");
    json_add_int(o, "created", m->created);
    cJSON_AddStringToObject(o, "owned_by", "lorac");
    cJSON_AddStringToObject(o, "root", m->path);
    if (m->adapter)
        cJSON_AddStringToObject(o, "parent", l->base);
    else
        cJSON_AddNullToObject(o, "parent");
    cJSON_AddItemToArray(l->data, o);
}

char *serve_model_list(ServedModels *models) {
    cJSON *o = mem_checked(cJSON_CreateObject());
    cJSON_AddStringToObject(o, "object", "list");
    ModelList l = {.data = cJSON_AddArrayToObject(o, "data")};
    served_models_each(models, add_model, &l);
    return json_line(o);
}

char *serve_model(ServedModels *models, const char *name) {
    ModelList l = {.data = mem_checked(cJSON_CreateArray()), .only = name};
    served_models_each(models, add_model, &l);
    cJSON *o = cJSON_DetachItemFromArray(l.data, 0);
    cJSON_Delete(l.data);
    return o ? json_line(o) : NULL;
}
