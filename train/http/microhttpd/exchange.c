// exchange: one request and its answer, which any thread may give. While there is nothing to send, libmicrohttpd's
// connection is suspended: its thread waits for no one.
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "server_internal.h"

enum { MAX_PENDING = 4 << 20 };
static const char NOT_ANSWERED[] = "the request was not answered";

static Exchange *of(HttpExchange *x) { return (Exchange *)x; }

static struct MHD_Connection *handle_of(const Exchange *x) { return x->connection->handle; }

Exchange *exchange_new(HttpServer *s, Connection *c, const char *method, const char *path) {
    Exchange *x = mem_calloc(1, sizeof *x);
    x->server = s;
    x->method = mem_strdup(strcmp(method, "HEAD") == 0 ? "GET" : method);
    x->path = mem_strdup(path);
    x->base = (HttpExchange){.api = &exchange_api, .method = x->method, .path = x->path, .user = s->options.user};
    pthread_mutex_lock(&s->lock);
    x->connection = c;
    c->x = x;
    s->exchanges++;
    pthread_mutex_unlock(&s->lock);
    return x;
}

void exchange_free_server(HttpServer *s) {
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    mem_free(s->token);
    mem_free(s->address);
    mem_free(s);
}

static void free_exchange(Exchange *x) {
    for (size_t i = 0; i < x->n_headers; i++) {
        mem_free(x->headers[i].name);
        mem_free(x->headers[i].value);
    }
    str_clear(&x->request);
    str_clear(&x->out);
    mem_free(x->method);
    mem_free(x->path);
    mem_free(x->type);
    mem_free(x);
}

// Unlocks. The last use of x, if nobody holds it and its connection has ended.
static void unlock_and_free(Exchange *x) {
    HttpServer *s = x->server;
    bool unused = !x->holds && !x->connection, last = unused && s->ended && s->exchanges == 1;
    if (unused) s->exchanges--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (unused) free_exchange(x);
    if (last) exchange_free_server(s);
}

static void wake_locked(Exchange *x) {
    if (!x->suspended || !x->connection) return;
    x->suspended = false;
    MHD_resume_connection(handle_of(x));
}

static void suspend_locked(Exchange *x) {
    x->suspended = true;
    MHD_suspend_connection(handle_of(x));
}

void exchange_lose_locked(Exchange *x) {
    if (x->connection && !x->gone) shutdown(x->connection->fd, SHUT_RDWR);
    x->gone = true;
    wake_locked(x);
}

void exchange_detach(Exchange *x, bool complete) {
    HttpServer *s = x->server;
    pthread_mutex_lock(&s->lock);
    if (x->connection) { // a half-closed one has no next request; libmicrohttpd has forgotten that it is
        double wait = connection_has_hung_up(x->connection) ? 0 : s->options.read_seconds;
        x->connection->deadline = time_now() + wait;
    }
    if (!complete || (x->streaming && !x->finished)) x->gone = true;
    if (x->connection) x->connection->x = NULL;
    x->connection = NULL;
    unlock_and_free(x);
}

// ---- the answer ----

static void answer_locked(Exchange *x, int status, const char *type, const void *data, size_t size) {
    if (x->answered) return;
    x->answered = x->finished = true;
    x->status = status;
    x->type = mem_strdup(type);
    str_puts(&x->out, "");
    str_add(&x->out, data, size);
    wake_locked(x);
}

static void refuse_locked(Exchange *x, int status, const char *why) {
    char body[256];
    int n = snprintf(body, sizeof body, "{\"error\": {\"message\": \"%s\", \"code\": %d}}\n", why, status);
    answer_locked(x, status, "application/json", body, (size_t)n);
}

void exchange_refuse(Exchange *x) {
    pthread_mutex_lock(&x->server->lock);
    refuse_locked(x, x->refused, x->why);
    pthread_mutex_unlock(&x->server->lock);
}

static void answer(HttpExchange *base, int status, const char *type, const void *data, size_t size) {
    Exchange *x = of(base);
    pthread_mutex_lock(&x->server->lock);
    answer_locked(x, status, type, data, size);
    pthread_mutex_unlock(&x->server->lock);
}

static void add_header(HttpExchange *base, const char *name, const char *value) {
    Exchange *x = of(base);
    pthread_mutex_lock(&x->server->lock);
    if (!x->answered) {
        CHECK(x->n_headers < sizeof x->headers / sizeof *x->headers);
        x->headers[x->n_headers].name = mem_strdup(name);
        x->headers[x->n_headers++].value = mem_strdup(value);
    }
    pthread_mutex_unlock(&x->server->lock);
}

static void stream(HttpExchange *base, int status, const char *type) {
    Exchange *x = of(base);
    pthread_mutex_lock(&x->server->lock);
    if (!x->answered) {
        x->answered = x->streaming = true;
        x->beats = starts_with(type, "text/event-stream");
        x->status = status;
        x->type = mem_strdup(type);
        x->taken = x->added = time_now();
        wake_locked(x);
    }
    pthread_mutex_unlock(&x->server->lock);
}

static int append_locked(Exchange *x, const void *data, size_t size) {
    if (x->gone || x->finished || !x->streaming) return -1;
    if (x->out.len - x->sent + size > MAX_PENDING) {
        exchange_lose_locked(x);
        return -1;
    }
    if (x->sent == x->out.len) x->out.len = x->sent = 0, x->taken = time_now();
    if (x->sent > MAX_PENDING) { // of a client that is slow, but takes something
        memmove(x->out.data, x->out.data + x->sent, x->out.len - x->sent);
        x->out.len -= x->sent;
        x->sent = 0;
    }
    str_add(&x->out, data, size);
    x->added = time_now();
    wake_locked(x);
    return 0;
}

static int append(HttpExchange *base, const void *data, size_t size) {
    Exchange *x = of(base);
    pthread_mutex_lock(&x->server->lock);
    int rc = append_locked(x, data, size);
    pthread_mutex_unlock(&x->server->lock);
    return rc;
}

void exchange_beat_locked(Exchange *x, double now) {
    if (x->beats && now - x->added >= x->server->options.beat_seconds) append_locked(x, ":\n\n", 3);
}

static void finish(HttpExchange *base) {
    Exchange *x = of(base);
    pthread_mutex_lock(&x->server->lock);
    if (x->streaming) x->finished = true;
    wake_locked(x);
    pthread_mutex_unlock(&x->server->lock);
}

static bool is_gone(HttpExchange *base) {
    Exchange *x = of(base);
    pthread_mutex_lock(&x->server->lock);
    bool gone = x->gone;
    pthread_mutex_unlock(&x->server->lock);
    return gone;
}

// ---- who holds it ----

static void hold(HttpExchange *base) {
    Exchange *x = of(base);
    pthread_mutex_lock(&x->server->lock);
    x->holds++;
    pthread_mutex_unlock(&x->server->lock);
}

static void release(HttpExchange *base) {
    Exchange *x = of(base);
    pthread_mutex_lock(&x->server->lock);
    CHECK(x->holds > 0);
    x->holds--;
    if (!x->holds && x->suspended && !x->answered) refuse_locked(x, 500, NOT_ANSWERED);
    if (!x->holds && x->streaming && !x->finished && x->connection) exchange_lose_locked(x);
    unlock_and_free(x);
}

static const char *query(HttpExchange *base, const char *name) {
    const char *value = NULL;
    struct MHD_Connection *c = handle_of(of(base));
    if (!MHD_lookup_connection_value_n(c, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, NULL)) return NULL;
    return value ? value : "";
}

static const char *header(HttpExchange *base, const char *name) {
    return MHD_lookup_connection_value(handle_of(of(base)), MHD_HEADER_KIND, name);
}

// ---- libmicrohttpd's side ----

static ssize_t read_stream(void *user, uint64_t position, char *buffer, size_t most) {
    Exchange *x = user;
    ssize_t n = 0;
    pthread_mutex_lock(&x->server->lock);
    size_t pending = x->out.len - x->sent;
    if (x->gone || x->server->cutting) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (pending) {
        n = (ssize_t)(pending < most ? pending : most);
        memcpy(buffer, x->out.data + x->sent, (size_t)n);
        x->sent += (size_t)n;
        x->taken = time_now();
    } else if (x->finished) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        suspend_locked(x);
    }
    pthread_mutex_unlock(&x->server->lock);
    return n;
}

static enum MHD_Result queue(Exchange *x) {
    struct MHD_Connection *c = handle_of(x);
    struct MHD_Response *r = x->streaming
                                 ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream, x, NULL)
                                 : MHD_create_response_from_buffer(x->out.len, x->out.data, MHD_RESPMEM_PERSISTENT);
    mem_checked(r);
    MHD_add_response_header(r, "Content-Type", x->type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (x->status == 401) MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
    if (x->server->stopping) MHD_add_response_header(r, "Connection", "close");
    for (size_t i = 0; i < x->n_headers; i++) MHD_add_response_header(r, x->headers[i].name, x->headers[i].value);
    enum MHD_Result rc = MHD_queue_response(c, (unsigned)x->status, r);
    MHD_destroy_response(r); // the connection has its own reference
    return rc;
}

enum MHD_Result exchange_deliver(Exchange *x) {
    HttpServer *s = x->server;
    pthread_mutex_lock(&s->lock);
    if (!x->answered && !x->holds) refuse_locked(x, 500, NOT_ANSWERED);
    bool lost = x->gone || s->cutting, waits = !lost && !x->answered;
    if (waits) suspend_locked(x);
    x->connection->deadline = waits || x->streaming ? INFINITY : time_now() + s->options.write_seconds;
    pthread_mutex_unlock(&s->lock);
    if (waits) return MHD_YES;
    return lost ? MHD_NO : queue(x);
}

const HttpApi exchange_api = {
    .start = server_start,
    .stop = server_stop,
    .port = server_port,
    .on_loopback = server_on_loopback,
    .query = query,
    .header = header,
    .hold = hold,
    .release = release,
    .add_header = add_header,
    .answer = answer,
    .stream = stream,
    .append = append,
    .finish = finish,
    .is_gone = is_gone,
};
