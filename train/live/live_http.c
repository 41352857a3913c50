// live_http: the server's side (live.h). Everything here runs on the server's thread, but live_tell.
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "json.h"
#include "json_save.h"
#include "live_internal.h"
#include "signals.h"

enum { LONGEST_PROMPT = 4000 };

// A client that is gone leaves its place.
void live_tell(Live *l, const char *event, cJSON *data) {
    AUTO_FREE char *text = json_line(data);
    size_t kept = 0;
    for (size_t i = 0; i < l->n_clients; i++) {
        HttpExchange *x = l->clients[i];
        if (http_append_event(x, event, -1, text))
            http_release(x);
        else
            l->clients[kept++] = x;
    }
    l->n_clients = kept;
}

static void remove_gone(Live *l) {
    size_t kept = 0;
    for (size_t i = 0; i < l->n_clients; i++) {
        if (http_is_gone(l->clients[i]))
            http_release(l->clients[i]);
        else
            l->clients[kept++] = l->clients[i];
    }
    l->n_clients = kept;
}

static void follow(Live *l, HttpExchange *x) {
    pthread_mutex_lock(&l->lock);
    remove_gone(l);
    if (l->closing || l->n_clients == CLIENTS) {
        http_answer_error(x, 503, l->closing ? "the run has ended" : "%d pages follow this run already", CLIENTS);
    } else {
        AUTO_FREE char *all = json_line(live_json_all(l));
        http_stream(x, 200, "text/event-stream");
        http_hold(x);
        http_append_event(x, "all", -1, all);
        l->clients[l->n_clients++] = x;
    }
    pthread_mutex_unlock(&l->lock);
}

// The page has its style and script in it: the policy allows these, by a number of this answer, and nothing else.
static void send_page(HttpExchange *x) {
    unsigned char bytes[16];
    char nonce[33];
    AUTO_STR StrBuf page = {0};
    CHECK(getrandom(bytes, sizeof bytes, 0) == sizeof bytes, "no random bytes");
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
    for (const char *at = live_page, *next; *at; at = next + strlen("NONCE")) {
        next = strstr(at, "NONCE");
        str_add(&page, at, next ? (size_t)(next - at) : strlen(at));
        if (!next) break;
        str_puts(&page, nonce);
    }
    AUTO_FREE char *policy = mem_printf("default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src "
                                        "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                                        nonce, nonce);
    http_add_header(x, "Content-Security-Policy", policy);
    http_add_header(x, "Referrer-Policy", "no-referrer"); // the address may have the token
    http_answer_text(x, 200, "text/html; charset=utf-8", page.data);
}

static void send_metrics(Live *l, HttpExchange *x) {
    AUTO_STR StrBuf text = {0};
    pthread_mutex_lock(&l->lock);
    live_metrics(&text, l);
    pthread_mutex_unlock(&l->lock);
    http_answer_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", text.data);
}

static void stop(HttpExchange *x) {
    signals_ask_stop();
    http_answer_text(x, 200, "application/json",
                     "{\"message\": \"the run saves its state and ends; the same command resumes it\"}");
}

// NULL, with the answer given: it is refused.
static char *read_prompt(Live *l, HttpExchange *x, size_t *run) {
    AUTO_JSON JsonDoc *doc = NULL;
    Err err;
    if (json_parse(&doc, x->body, x->body_size, "the body", 0, &err)) {
        http_answer_error(x, 400, "%s", err.msg);
        return NULL;
    }
    const Json *root = json_root(doc), *o = root->type == JSON_OBJECT ? root : NULL;
    const Json *prompt = json_get(o, "prompt"), *index = json_get(o, "run");
    *run = index && index->type == JSON_INT && index->integer >= 0 ? (size_t)index->integer : 0;
    if (!prompt || prompt->type != JSON_STRING || !prompt->str.len || prompt->str.len > LONGEST_PROMPT ||
        strlen(prompt->str.data) != prompt->str.len || *run >= l->n_runs) {
        http_answer_error(x, 400, "expected a prompt of 1 to %d bytes, and a run of %zu", LONGEST_PROMPT, l->n_runs);
        return NULL;
    }
    return mem_strdup(prompt->str.data);
}

static void ask(Live *l, HttpExchange *x) {
    size_t run;
    char *prompt = read_prompt(l, x, &run);
    if (!prompt) return;
    pthread_mutex_lock(&l->lock);
    bool running = strcmp(l->runs[run].state, "running") == 0;
    if (l->closing || !running) {
        http_answer_error(x, 503, "the run is not at its steps");
    } else if (l->n_questions == QUESTIONS) {
        http_answer_error(x, 429, "%d questions wait already", QUESTIONS);
    } else {
        http_hold(x);
        l->questions[l->n_questions++] = (Question){x, mem_take(&prompt), run};
        atomic_store(&l->waiting, l->n_questions);
    }
    pthread_mutex_unlock(&l->lock);
    mem_free(prompt);
}

void live_handle(HttpExchange *x) {
    Live *l = x->user;
    bool get = strcmp(x->method, "GET") == 0, post = strcmp(x->method, "POST") == 0;
    if (get && strcmp(x->path, "/") == 0)
        send_page(x);
    else if (get && strcmp(x->path, "/events") == 0)
        follow(l, x);
    else if (get && strcmp(x->path, "/metrics") == 0)
        send_metrics(l, x);
    else if (post && strcmp(x->path, "/stop") == 0)
        stop(x);
    else if (post && strcmp(x->path, "/ask") == 0)
        ask(l, x);
    else
        http_answer_error(x, 404, "%s: expected GET /, /events or /metrics, POST /stop or /ask", x->path);
}
