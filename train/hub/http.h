// http: GET and POST over HTTP and HTTPS. It is the module lorac-curl.so (curl/http_curl.c), which is loaded only by
// what was asked to use a network: hub_request.c and engine.c.
#pragma once

#include "base.h"

C_BEGIN

// What the answer's headers say, of the last one of a chain of redirects. Texts are "" and numbers -1 where absent.
typedef struct HttpHead {
    int status;
    int64_t length;                   // of what follows
    int64_t range_start, range_total; // Content-Range, of status 206
    double retry_after;               // seconds
    bool is_html;
    char message[256]; // X-Error-Message: why the hub refuses
    char next[2048];   // Link, rel="next": the next page
} HttpHead;

typedef enum {
    HTTP_COMPLETE, // the answer is complete; its status may be any
    HTTP_LOST,     // no connection, or it was cut or stalled: may be tried again
    HTTP_REFUSED,  // a bad URL, certificate or redirect
    HTTP_STOPPED   // take returned non-zero, or stop true
} HttpResult;

typedef struct HttpRequest {
    const char *url;
    const char *token; // sent as "Authorization: Bearer" to the scheme, host and port of url only; NULL: none
    const char *agent;
    const char *body; // JSON to POST; NULL: GET
    bool direct;      // only the server of url: no redirect is followed, no proxy is used
    int64_t from;     // above 0: only the bytes from there on
    double connect_seconds, stall_seconds;
    double whole_seconds; // of one request; 0: no limit
    // Bytes of an answer with status 200 or 206, with its head; what other answers hold is dropped, unless any_status.
    int (*take)(void *user, const HttpHead *head, const void *data, size_t size);
    bool any_status;
    bool (*stop)(void *user); // asked at least once a second; NULL: never
    void *user;
} HttpRequest;

typedef struct Http {
    void *client; // one at a time
    // why: one line, unless HTTP_COMPLETE or HTTP_STOPPED.
    HttpResult (*get)(void *client, const HttpRequest *r, HttpHead *head, char why[256]);
    void (*close)(void *client);
} Http;

// The entry of lorac-curl.so.
__attribute__((visibility("default"))) int lorac_curl_open(Http *h, Err *err);

C_END
