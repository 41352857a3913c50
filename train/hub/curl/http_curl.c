// http_curl: http.h by libcurl. Redirects are followed here, one request each, so that the token stays with its host.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "http.h"

enum { MAX_REDIRECTS = 10, MAX_DROPPED = 1 << 16 };

typedef struct Transfer {
    CURL *curl;
    const HttpRequest *r;
    HttpHead *head;
    curl_off_t got; // so far,
    double got_at;  // when the last of them came
    size_t dropped; // bytes of an answer that nobody wants
    bool stopped, stalled;
} Transfer;

// ---- headers ----

// The value of a header line, without white space around it; NULL: another header.
static char *value_of(char *line, const char *name) {
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':') return NULL;
    char *value = line + n + 1 + strspn(line + n + 1, " \t");
    size_t end = strlen(value);
    while (end && strchr(" \t\r\n", value[end - 1])) end--;
    value[end] = 0;
    return value;
}

// <URL>; rel="next", among other links.
static void take_link(HttpHead *h, const char *value) {
    for (const char *at = value; (at = strchr(at, '<'));) {
        const char *end = strchr(++at, '>'), *next = end ? strchr(end, '<') : NULL,
                   *rel = end ? strstr(end, "rel=\"next\"") : NULL;
        if (!end || !rel || (next && next < rel)) continue;
        if ((size_t)(end - at) < sizeof h->next) snprintf(h->next, sizeof h->next, "%.*s", (int)(end - at), at);
        return;
    }
}

// "bytes 100-199/200"
static void take_range(HttpHead *h, const char *value) {
    char *end;
    if (strncasecmp(value, "bytes ", 6) != 0) return;
    long long start = strtoll(value + 6, &end, 10);
    const char *slash = strchr(end, '/');
    if (*end != '-' || !slash || start < 0) return;
    h->range_start = start;
    if (slash[1] >= '0' && slash[1] <= '9') h->range_total = strtoll(slash + 1, NULL, 10);
}

static size_t on_header(char *data, size_t one, size_t n, void *user) {
    Transfer *t = user;
    HttpHead *h = t->head;
    char *line = mem_strndup(data, n), *value;
    if (strncmp(line, "HTTP/", 5) == 0) // of the next answer, after "100 Continue" or a proxy's
        *h = (HttpHead){.length = -1, .range_start = -1, .range_total = -1, .retry_after = -1};
    if ((value = value_of(line, "content-range"))) take_range(h, value);
    if ((value = value_of(line, "link"))) take_link(h, value);
    if ((value = value_of(line, "content-type"))) h->is_html = strncasecmp(value, "text/html", 9) == 0;
    if ((value = value_of(line, "x-error-message"))) snprintf(h->message, sizeof h->message, "%s", value);
    if ((value = value_of(line, "retry-after")) && *value >= '0' && *value <= '9') h->retry_after = strtod(value, NULL);
    mem_free(line);
    return n;
}

static void finish_head(Transfer *t) {
    long status = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->head->status = (int)status;
    t->head->length = length;
}

static size_t on_body(char *data, size_t one, size_t n, void *user) {
    Transfer *t = user;
    finish_head(t);
    if (t->r->any_status || t->head->status == 200 || t->head->status == 206) {
        t->stopped = t->r->take(t->r->user, t->head, data, n) != 0;
        return t->stopped ? 0 : n;
    }
    t->dropped += n;
    return t->dropped > MAX_DROPPED ? 0 : n; // the status is known: no need to wait for the end of a page
}

// Called at least once a second. libcurl's own limits are of a mean over several seconds.
static int on_progress(void *user, curl_off_t all, curl_off_t got, curl_off_t up, curl_off_t sent) {
    Transfer *t = user;
    double now = time_now();
    if (got != t->got) t->got = got, t->got_at = now;
    t->stalled = now - t->got_at > t->r->stall_seconds;
    if (t->r->stop && t->r->stop(t->r->user)) t->stopped = true;
    return t->stalled || t->stopped;
}

// ---- one request ----

static bool is_lost(CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_ABORTED_BY_CALLBACK: // stalled
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
    }
}

static void say_why(char why[256], const Transfer *t, CURLcode code, const char *detail) {
    curl_off_t got = 0;
    curl_easy_getinfo(t->curl, CURLINFO_SIZE_DOWNLOAD_T, &got);
    if (t->stalled)
        snprintf(why, 256, "nothing came for %.0f seconds", t->r->stall_seconds);
    else if (code == CURLE_PARTIAL_FILE || (code == CURLE_RECV_ERROR && got > 0))
        snprintf(why, 256, "the connection was cut after %lld of %lld bytes", (long long)got,
                 (long long)t->head->length);
    else if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR)
        snprintf(why, 256, "the connection was cut before an answer came");
    else
        snprintf(why, 256, "%s", *detail ? detail : curl_easy_strerror(code));
}

static struct curl_slist *add_header(struct curl_slist *headers, const char *line) {
    return mem_checked(curl_slist_append(headers, line));
}

static HttpResult perform(Transfer *t, const char *url, bool with_token, char why[256]) {
    const HttpRequest *r = t->r;
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    char *authorization = with_token ? mem_printf("Authorization: Bearer %s", r->token) : NULL;
    char *range = r->from > 0 ? mem_printf("%ld-", r->from) : NULL;
    const char *certificates = getenv("SSL_CERT_FILE");
    if (authorization) headers = add_header(headers, authorization);
    curl_easy_reset(t->curl); // keeps the connections
    if (r->body) {
        headers = add_header(headers, "Content-Type: application/json");
        headers = add_header(headers, "Expect:"); // no wait for "100 Continue"
        curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, r->body);
        curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(r->body));
    }
    if (r->direct) curl_easy_setopt(t->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, (long)(r->whole_seconds * 1000));
    curl_easy_setopt(t->curl, CURLOPT_URL, url);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(t->curl, CURLOPT_RANGE, range);
    curl_easy_setopt(t->curl, CURLOPT_USERAGENT, r->agent);
    curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->connect_seconds * 1000));
    curl_easy_setopt(t->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(t->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(t->curl, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(t->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(t->curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, detail);
    if (certificates && *certificates) curl_easy_setopt(t->curl, CURLOPT_CAINFO, certificates);
    *t->head = (HttpHead){.length = -1, .range_start = -1, .range_total = -1, .retry_after = -1};
    t->got = 0;
    t->got_at = time_now();
    CURLcode code = curl_easy_perform(t->curl);
    if (t->dropped > MAX_DROPPED && code == CURLE_WRITE_ERROR) code = CURLE_OK;
    t->dropped = 0;
    finish_head(t);
    curl_slist_free_all(headers);
    mem_free(authorization);
    mem_free(range);
    if (code == CURLE_OK) return HTTP_COMPLETE;
    if (t->stopped) return HTTP_STOPPED;
    say_why(why, t, code, detail);
    return is_lost(code) ? HTTP_LOST : HTTP_REFUSED;
}

// ---- redirects ----

typedef struct Origin {
    char *scheme, *host, *port;
} Origin;

static void origin_clear(Origin *o) {
    curl_free(o->scheme);
    curl_free(o->host);
    curl_free(o->port);
}

static bool origin_read(Origin *o, const char *url) {
    CURLU *u = mem_checked(curl_url());
    *o = (Origin){0};
    bool ok = !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_get(u, CURLUPART_SCHEME, &o->scheme, 0) &&
              !curl_url_get(u, CURLUPART_HOST, &o->host, 0) &&
              !curl_url_get(u, CURLUPART_PORT, &o->port, CURLU_DEFAULT_PORT);
    curl_url_cleanup(u);
    return ok && (strcmp(o->scheme, "http") == 0 || strcmp(o->scheme, "https") == 0);
}

// 1: same scheme, host and port; 0: another; -1: `url` may not be used after `first`.
static int compare_origins(const char *first, const char *url) {
    Origin a, b;
    bool both = origin_read(&a, first), other = !origin_read(&b, url);
    int rc = 0;
    if (!both || other || (strcmp(a.scheme, "https") == 0 && strcmp(b.scheme, "http") == 0))
        rc = -1;
    else if (strcmp(a.scheme, b.scheme) == 0 && strcasecmp(a.host, b.host) == 0 && strcmp(a.port, b.port) == 0)
        rc = 1;
    origin_clear(&a);
    origin_clear(&b);
    return rc;
}

static HttpResult get(void *client, const HttpRequest *r, HttpHead *head, char why[256]) {
    Transfer t = {.curl = client, .r = r, .head = head};
    AUTO_FREE char *url = mem_strdup(r->url);
    *why = 0;
    for (int hop = 0; hop <= MAX_REDIRECTS; hop++) {
        char *to = NULL;
        int origin = compare_origins(r->url, url);
        if (origin < 0) {
            snprintf(why, 256, "%s to %.160s; expected %s", hop ? "a redirect" : "the URL leads", url,
                     strncmp(r->url, "https:", 6) == 0 ? "an https URL" : "an http or https URL");
            return HTTP_REFUSED;
        }
        HttpResult result = perform(&t, url, r->token && origin == 1, why);
        if (result != HTTP_COMPLETE || r->direct || head->status < 300 || head->status >= 400) return result;
        curl_easy_getinfo(t.curl, CURLINFO_REDIRECT_URL, &to);
        if (!to) return result;
        mem_free(url);
        url = mem_strdup(to);
    }
    snprintf(why, 256, "more than %d redirects; the last one is to %.160s", MAX_REDIRECTS, url);
    return HTTP_REFUSED;
}

static void close_client(void *client) { curl_easy_cleanup(client); }

int lorac_curl_open(Http *h, Err *err) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return err_runtime(err, "libcurl cannot be initialised");
    *h = (Http){mem_checked(curl_easy_init()), get, close_client};
    return 0;
}
