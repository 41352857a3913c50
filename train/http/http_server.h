// http_server: an HTTP/1.1 server for other programs of this machine, or of the network if that is asked for. It is the
// module lorac-http.so (microhttpd/, by libmicrohttpd), which is loaded by the first http_server_start.
//
// One thread of the server reads and writes all connections and calls the handler, one request after the other: it must
// not wait and takes no lock that is held for long. What takes longer is answered later, from any thread: the handler
// calls http_hold, and whoever answers http_release. Every function with an HttpExchange may be called by any thread.
//
// Refused without the handler: malformed requests and those above the limits (400, 411, 413, 414, 431), a wrong token
// (401), on loopback a Host that is another name (DNS rebinding), and a change (neither GET nor HEAD) that a page of
// another origin sends (403), and all during the stop (503). The body of these answers is {"error": {"message",
// "code"}}. A connection of a client that does not send or take bytes in time is closed.
#pragma once

#include "base.h"

C_BEGIN

typedef struct HttpServer HttpServer;

// One request and its answer. These texts live as long as the exchange does.
typedef struct HttpExchange {
    const struct HttpApi *api;
    const char *method, *path; // "GET" (also for HEAD), "/v1/models": percent-decoded, without the query
    const char *body;          // NUL-terminated
    size_t body_size;
    void *user; // of the options
} HttpExchange;

typedef struct HttpServerOptions {
    const char *address; // numeric or a name; NULL: 127.0.0.1
    int port;            // 0: a free one
    const char *token;   // wanted as "Authorization: Bearer" or ?token=; NULL: none
    bool open_to_read;   // on loopback GET and HEAD need no token
    size_t max_body;     // bytes; 0: 1 MiB
    int max_connections; // 0: 128
    // 0: 10, 60, 15. A request must have come whole within read_seconds from the connection or the last answer on; an
    // answer, or what is pending of a stream, must have been taken within write_seconds. Event streams get a comment
    // each beat_seconds, by which a client that has vanished is noticed.
    double read_seconds, write_seconds, beat_seconds;
    void (*handle)(HttpExchange *x);
    void *user;
} HttpServerOptions;

// 0: *out serves. ERR_INPUT: the address is not one of this machine, or the port is taken.
int http_server_start(HttpServer **out, const HttpServerOptions *o, Err *err);

typedef struct HttpApi {
    int (*start)(HttpServer **out, const HttpServerOptions *o, Err *err);
    void (*stop)(HttpServer *s, double seconds);
    int (*port)(const HttpServer *s);
    bool (*on_loopback)(const HttpServer *s);
    const char *(*query)(HttpExchange *x, const char *name);
    const char *(*header)(HttpExchange *x, const char *name);
    void (*hold)(HttpExchange *x);
    void (*release)(HttpExchange *x);
    void (*add_header)(HttpExchange *x, const char *name, const char *value);
    void (*answer)(HttpExchange *x, int status, const char *type, const void *data, size_t size);
    void (*stream)(HttpExchange *x, int status, const char *type);
    int (*append)(HttpExchange *x, const void *data, size_t size);
    void (*finish)(HttpExchange *x);
    bool (*is_gone)(HttpExchange *x);
} HttpApi;

// Ends it: no new request is taken, those that are not answered get `seconds` to be, and all connections are closed.
// Exchanges that are held stay valid, and are gone. NULL is allowed.
void http_server_stop(HttpServer *s, double seconds);
int http_server_port(const HttpServer *s);
bool http_server_on_loopback(const HttpServer *s);

// "7860", ":7860", "127.0.0.1:7860", "[::1]:7860", "name:7860". *address: the caller frees; NULL: none was given.
int http_address_parse(char **address, int *port, const char *text, Err *err);

// ---- one exchange ----

// NULL: absent; "": without a value. For the handler only; the texts live until it returns.
static inline const char *http_query(HttpExchange *x, const char *name) { return x->api->query(x, name); }
static inline const char *http_header(HttpExchange *x, const char *name) { return x->api->header(x, name); }

// x stays valid after the handler until released as often as held. Released for the last time without an answer: 500.
static inline void http_hold(HttpExchange *x) { x->api->hold(x); }
static inline void http_release(HttpExchange *x) { x->api->release(x); }

// A header of the answer, before it. Every answer has Cache-Control: no-store and X-Content-Type-Options: nosniff.
static inline void http_add_header(HttpExchange *x, const char *name, const char *value) {
    x->api->add_header(x, name, value);
}

// The whole answer. A second one, or one after http_stream, is dropped.
static inline void http_answer(HttpExchange *x, int status, const char *type, const void *data, size_t size) {
    x->api->answer(x, status, type, data, size);
}
void http_answer_text(HttpExchange *x, int status, const char *type, const char *text);
// {"error": {"message", "code"}}
void http_answer_error(HttpExchange *x, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

// An answer of unknown length: "text/event-stream" or another type.
static inline void http_stream(HttpExchange *x, int status, const char *type) { x->api->stream(x, status, type); }
// -1: the client is gone, or has not taken the last 4 MiB: nothing more is sent.
static inline int http_append(HttpExchange *x, const void *data, size_t size) { return x->api->append(x, data, size); }
// One event: "event: name" (NULL: none), "id: id" (below 0: none) and a data line for each line of data.
int http_append_event(HttpExchange *x, const char *name, int64_t id, const char *data);
static inline void http_finish(HttpExchange *x) { x->api->finish(x); }
// The connection was closed, also in one direction, or was lost, before all was sent.
static inline bool http_is_gone(HttpExchange *x) { return x->api->is_gone(x); }

// ---- the module ----

__attribute__((visibility("default"))) int lorac_http_api(const HttpApi **api, Err *err);

C_END
