#include "hub_request.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "module.h"

static const double FIRST_WAIT = 0.5, LONGEST_WAIT = 300, CONNECT_SECONDS = 30;
enum { PROGRESS = 1 << 20 }; // so many new bytes make a try count as the first one

int hub_client_open(HubClient *c, int64_t retries, double timeout, Err *err) {
    int (*open)(Http *, Err *) = NULL;
    *c = (HubClient){.retries = retries, .timeout = timeout, .endpoint = hub_endpoint()};
    const char *offline = getenv("HF_HUB_OFFLINE");
    if (offline && is_among_nocase(offline, strlen(offline), "1 on yes true"))
        return err_input(err, "HF_HUB_OFFLINE is %s: nothing is fetched; expected it to be unset", offline);
    if (!starts_with(c->endpoint, "http://") && !starts_with(c->endpoint, "https://"))
        return err_input(err, "HF_ENDPOINT: \"%s\"; expected a URL, such as " HUB_PUBLIC, c->endpoint);
    if (hub_token(&c->token, err)) return -1;
    return module_symbol(&open, "lorac-curl.so", "lorac_curl_open", "libcurl4-openssl-dev", err) || open(&c->http, err)
               ? -1
               : 0;
}

void hub_client_close(HubClient *c) {
    if (c->http.client) c->http.close(c->http.client);
    mem_free(c->endpoint);
    mem_free(c->token);
    *c = (HubClient){0};
}

// ---- one try ----

typedef struct Try {
    const HubSink *sink;
    Err *err;
} Try;

static int take(void *user, const HttpHead *head, const void *data, size_t size) {
    Try *t = user;
    return t->sink->take(t->sink->user, head, data, size, t->err);
}

static bool may_pass(int status) { return status == 408 || status == 425 || status == 429 || status >= 500; }

// What the hub answers, and what to do.
static int refuse_status(const HubClient *c, const HttpHead *h, const char *what, Err *err) {
    const char *before = h->message[0] ? ": " : "",
               *token = c->token ? "the token of HF_TOKEN or HF_HOME is not accepted, or has no access"
                                 : "a private or gated one needs a token in HF_TOKEN";
    switch (h->status) {
    case 401:
        return err_input(err, "%s: the hub answers 401%s%s; expected a repository that exists; %s", what, before,
                         h->message, token);
    case 403:
        return err_input(err, "%s: the hub answers 403%s%s; expected access: accept the terms on its page at %s; %s",
                         what, before, h->message, c->endpoint, token);
    case 404:
        return err_input(err,
                         "%s: the hub answers 404%s%s; expected a repository, revision and file that exist at %s (data "
                         "sets: --type dataset)",
                         what, before, h->message, c->endpoint);
    case 429:
        return err_runtime(err, "%s: the hub answers 429, too many requests%s%s; try again later%s", what, before,
                           h->message, c->token ? "" : ", or with a token in HF_TOKEN");
    default: break;
    }
    if (may_pass(h->status))
        return err_runtime(err, "%s: the server fails with %d%s%s; try again later", what, h->status, before,
                           h->message);
    return err_input(err, "%s: the server answers %d%s%s; expected 200", what, h->status, before, h->message);
}

static void wait_for(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    nanosleep(&t, NULL);
}

int hub_request(HubClient *c, const char *url, const char *what, const HubSink *sink, HttpHead *head, Err *err) {
    Try try = {sink, err};
    HttpRequest r = {.url = url,
                     .token = c->token,
                     .agent = "lorac",
                     .connect_seconds = CONNECT_SECONDS,
                     .stall_seconds = c->timeout,
                     .take = take,
                     .user = &try};
    int64_t counted = 0;
    head->status = 0;
    for (int64_t failed = 0;; failed++) {
        char why[256];
        r.from = sink->begin(sink->user, head->status);
        if (r.from - counted >= PROGRESS) failed = 0, counted = r.from;
        HttpResult result = c->http.get(c->http.client, &r, head, why);
        if (result == HTTP_STOPPED) return -1;
        if (result == HTTP_REFUSED) return err_runtime(err, "%s: %s", what, why);
        if (result == HTTP_COMPLETE && (head->status == 200 || head->status == 206)) return 0;
        if (result == HTTP_COMPLETE) {
            Err answer;
            refuse_status(c, head, what, &answer);
            snprintf(why, sizeof why, "status %d", head->status);
            bool again = may_pass(head->status) || (head->status == 416 && r.from > 0);
            if (!again || failed >= c->retries || head->retry_after > LONGEST_WAIT) {
                if (err) *err = answer;
                return -1;
            }
        }
        if (failed >= c->retries)
            return err_runtime(err, "%s: %s (tries: %ld); the same command resumes", what, why, failed + 1);
        double wait = head->retry_after >= 0 && result == HTTP_COMPLETE ? head->retry_after
                                                                        : fmin(ldexp(FIRST_WAIT, (int)failed), 60);
        if (head->status == 416) wait = 0;
        log_warn("%s: %s; trying again in %g s", what, why, wait);
        wait_for(wait);
    }
}

// ---- text ----

typedef struct TextSink {
    StrBuf *text;
    size_t most;
    const char *what;
} TextSink;

static int64_t text_begin(void *user, int status) {
    ((TextSink *)user)->text->len = 0;
    return 0;
}

static int text_take(void *user, const HttpHead *head, const void *data, size_t size, Err *err) {
    TextSink *s = user;
    if (head->is_html)
        return err_input(
            err,
            "%s: found a page of HTML; expected the hub's JSON (is HF_ENDPOINT right, and does a proxy need a login?)",
            s->what);
    if (s->text->len + size > s->most)
        return err_input(err, "%s: the answer is larger than %zu bytes; expected at most that", s->what, s->most);
    str_add(s->text, data, size);
    return 0;
}

int hub_request_text(HubClient *c, const char *url, const char *what, StrBuf *text, size_t most, HttpHead *head,
                     Err *err) {
    TextSink to = {text, most, what};
    HttpHead own;
    str_puts(text, "");
    return hub_request(c, url, what, &(HubSink){text_begin, text_take, &to}, head ? head : &own, err);
}
