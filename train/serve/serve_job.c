#include "serve_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "serve_answer.h"

// ---- text ----

static size_t longest_stop(const ServeRequest *r) {
    size_t longest = 0;
    for (size_t i = 0; i < r->n_stops; i++)
        if (r->stops[i].len > longest) longest = r->stops[i].len;
    return longest;
}

// Cuts the text before the first stop text that begins at `from` or later.
static bool cut_at_stop(ServeJob *j, size_t from) {
    const char *first = NULL;
    for (size_t i = 0; i < j->request.n_stops; i++) {
        const StrBuf *s = &j->request.stops[i];
        const char *at = memmem(j->text.data + from, j->text.len - from, s->data, s->len);
        if (at && (!first || at < first)) first = at;
    }
    if (!first) return false;
    j->text.len = (size_t)(first - j->text.data);
    return true;
}

// Bytes at the end that may be the beginning of a stop text.
static size_t held_back(const ServeJob *j) {
    size_t most = 0;
    for (size_t i = 0; i < j->request.n_stops; i++) {
        const StrBuf *s = &j->request.stops[i];
        size_t n = s->len - 1 < j->text.len - j->sent ? s->len - 1 : j->text.len - j->sent;
        while (n > most && memcmp(j->text.data + j->text.len - n, s->data, n) != 0) n--;
        if (n > most) most = n;
    }
    return most;
}

// `size` bytes more of the text, as an event.
static void send_text(ServeJob *j, size_t size) {
    if (!size || j->gone) return;
    AUTO_FREE char *event = serve_chunk_text(j, (JsonStr){j->text.data + j->sent, size});
    j->gone = http_append_event(j->x, NULL, -1, event) != 0;
    j->sent += size;
}

static void send_rest(ServeJob *j) {
    if (j->text.len > j->sent) send_text(j, j->text.len - j->sent);
}

static int add_token(void *job, int64_t prompt, int32_t id) {
    ServeJob *j = job;
    size_t longest = longest_stop(&j->request), before = j->text.len;
    (void)prompt;
    token_stream_add(&j->stream, j->tokenizer, id, &j->text);
    if (j->text.len == before) return j->gone;
    j->cut = cut_at_stop(j, before > longest ? before - longest : 0);
    if (j->request.stream && !j->cut) send_text(j, j->text.len - j->sent - held_back(j));
    return j->cut || j->gone;
}

// ---- a job ----

static int read_body(ServeJob *j, int64_t context, int *status, Err *err) {
    const char *name;
    AUTO_JSON JsonDoc *doc = NULL; // up to 100 times as large as its text: it does not wait with the job
    if (json_parse(&doc, j->x->body, j->x->body_size, "the body", 0, err)) return -1;
    const Json *root = json_root(doc);
    if (serve_request_model(&name, root, err)) return -1;
    j->model = served_models_hold(j->models, name);
    if (!j->model) {
        *status = 404;
        return err_input(err, "The model `%s` does not exist.", name);
    }
    return serve_request_read(&j->request, root, j->models, j->model, context, err);
}

ServeJob *serve_job_new(HttpExchange *x, ServedModels *models, const Model *m, int64_t context, bool chat, int *status,
                        Err *err) {
    ServeJob *j = mem_calloc(1, sizeof *j);
    uint64_t random;
    CHECK(getrandom(&random, sizeof random, 0) == sizeof random, "no random bytes");
    snprintf(j->id, sizeof j->id, "%s-%016" PRIx64, chat ? "chatcmpl" : "cmpl", random);
    http_hold(x);
    j->x = x;
    j->models = models;
    j->tokenizer = m->tokenizer;
    j->created = (int64_t)time(NULL);
    j->request.chat = chat;
    *status = 400;
    if (read_body(j, context, status, err)) {
        serve_job_free(j);
        return NULL;
    }
    j->request.how.on_token = add_token;
    j->request.how.user = j;
    j->decode = (DecodeRequest){.adapter = j->model->adapter,
                                .prompt = {j->request.ids, j->request.count},
                                .how = &j->request.how,
                                .answer = &j->answer};
    return j;
}

void serve_job_free(ServeJob *j) {
    if (j->model) served_models_release(j->models, j->model);
    generation_clear(&j->answer);
    serve_request_clear(&j->request);
    str_clear(&j->text);
    http_release(j->x);
    mem_free(j);
}

void serve_job_begin(ServeJob *j) {
    if (!j->request.stream) return;
    http_stream(j->x, 200, "text/event-stream");
    if (!j->request.chat) return;
    AUTO_FREE char *event = serve_chunk_role(j);
    j->gone = http_append_event(j->x, NULL, -1, event) != 0;
}

static void end_stream(ServeJob *j, const char *fault) {
    AUTO_FREE char *end = fault ? serve_error(500, fault) : serve_chunk_end(j);
    send_rest(j);
    http_append_event(j->x, NULL, -1, end);
    if (!fault && j->request.include_usage) {
        AUTO_FREE char *usage = serve_chunk_usage(j);
        http_append_event(j->x, NULL, -1, usage);
    }
    http_append_event(j->x, NULL, -1, "[DONE]");
    http_finish(j->x);
}

void serve_job_end(ServeJob *j, const char *fault) {
    if (!j->cut) token_stream_end(&j->stream, &j->text);
    if (j->request.stream) {
        end_stream(j, fault);
        return;
    }
    AUTO_FREE char *body = fault ? serve_error(500, fault) : serve_whole(j);
    http_answer_text(j->x, fault ? 500 : 200, "application/json", body);
}
