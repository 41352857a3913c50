// server_internal: the state of a server, its connections and exchanges.
//
// One lock for all of it. libmicrohttpd's own locks are taken inside it (MHD_suspend_connection,
// MHD_resume_connection); it calls none of our functions with one of its locks held, except that of a response, which
// nothing else takes.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <microhttpd.h>

#include "http_server.h"

#define BODY_TOO_LARGE "the body is too large"

typedef struct Exchange Exchange;

// One socket, from accept to close.
typedef struct Connection {
    struct Connection *next, *before;
    struct MHD_Connection *handle;
    int fd;
    double deadline; // of what the client has to do; INFINITY: nothing
    Exchange *x;     // its request; NULL: none is complete
} Connection;

struct HttpServer {
    const HttpApi *api; // first: http_server.c
    HttpServerOptions options;
    char *token, *address;
    bool loopback;
    int port;
    struct MHD_Daemon *daemon;
    pthread_t watcher;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Connection *connections;
    size_t exchanges;     // that are not freed
    atomic_bool stopping; // no new request is taken
    bool cutting;         // what runs is cut
    bool ended;           // http_server_stop has returned, or is about to: the last exchange frees the server
};

struct Exchange {
    HttpExchange base; // first
    HttpServer *server;
    Connection *connection; // NULL: it is closed, or its answer is complete
    StrBuf request;         // the body
    size_t dropped;         // bytes above max_body
    size_t holds;
    char *method, *path;
    int refused;     // the status, 0: not
    const char *why; // without quotes
    bool called;     // the handler
    bool suspended, answered, streaming, beats, finished, gone;
    int status;
    char *type;
    StrBuf out; // the answer, or what is pending of a stream: [sent, len)
    size_t sent;
    double taken, added; // when the client last took a part of a stream, and when the last was added
    struct {
        char *name, *value;
    } headers[8];
    size_t n_headers;
};

// ---- exchange.c; `locked`: with the lock ----

Exchange *exchange_new(HttpServer *s, Connection *c, const char *method, const char *path);
void exchange_detach(Exchange *x, bool complete); // its answer has been sent, or its connection closed; x may be freed
void exchange_lose_locked(Exchange *x);           // the client is gone
void exchange_beat_locked(Exchange *x, double now);
void exchange_refuse(Exchange *x); // answers with refused and why
// Called by libmicrohttpd's thread once the request is complete, and again after each suspension.
enum MHD_Result exchange_deliver(Exchange *x);
void exchange_free_server(HttpServer *s);
extern const HttpApi exchange_api;

// ---- microhttpd_server.c ----

int server_start(HttpServer **out, const HttpServerOptions *o, Err *err);
void server_stop(HttpServer *s, double seconds);
int server_port(const HttpServer *s);
bool server_on_loopback(const HttpServer *s);

// ---- guard.c ----

// The status with which a request is refused, and why; 0: it may be handled.
int guard_request(const HttpServer *s, struct MHD_Connection *c, const char *method, const char **why);

// ---- connections.c ----

void connection_notify(void *user, struct MHD_Connection *handle, void **context,
                       enum MHD_ConnectionNotificationCode code);
bool connection_has_hung_up(const Connection *c); // the client, at least in its direction
int connection_watch(HttpServer *s, Err *err);    // starts the thread that ends slow and lost connections
