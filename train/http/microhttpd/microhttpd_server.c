// microhttpd_server: the start and the end of a server, and its requests as libmicrohttpd brings them.
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server_internal.h"

enum { MAX_BODY = 1 << 20, MAX_CONNECTIONS = 128, HEADER_MEMORY = 32 << 10, MAX_DROPPED = 64 << 20 };

// ---- requests ----

// Whether an answer may come before the body: a client that does not wait for it would see a cut connection.
static bool waits_with_its_body(struct MHD_Connection *handle) {
    const char *length = MHD_lookup_connection_value(handle, MHD_HEADER_KIND, "Content-Length");
    return MHD_lookup_connection_value(handle, MHD_HEADER_KIND, "Expect") ||
           (length && strtoull(length, NULL, 10) > MAX_DROPPED);
}

static enum MHD_Result begin(HttpServer *s, struct MHD_Connection *handle, Exchange *x) {
    x->refused = s->stopping ? 503 : guard_request(s, handle, x->method, &x->why);
    if (!x->refused || !waits_with_its_body(handle)) return MHD_YES;
    exchange_refuse(x);
    return exchange_deliver(x); // and the connection is closed, rather than the body read
}

// Part by part of what a client sends; then once more, complete.
static enum MHD_Result on_request(void *user, struct MHD_Connection *handle, const char *path, const char *method,
                                  const char *version, const char *part, size_t *size, void **context) {
    HttpServer *s = user;
    Exchange *x = *context;
    if (!x) {
        Connection *c = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        *context = x = exchange_new(s, c, method, path);
        return begin(s, handle, x);
    }
    if (*size) {
        if (x->refused || x->dropped || *size > s->options.max_body - x->request.len)
            x->dropped += *size;
        else
            str_add(&x->request, part, *size);
        *size = 0;
        return x->dropped > MAX_DROPPED ? MHD_NO : MHD_YES;
    }
    if (!x->called) {
        x->called = true;
        str_puts(&x->request, "");
        x->base.body = x->request.data;
        x->base.body_size = x->request.len;
        if (x->dropped && !x->refused) x->refused = 413, x->why = BODY_TOO_LARGE;
        if (x->refused)
            exchange_refuse(x);
        else
            s->options.handle(&x->base);
    }
    return exchange_deliver(x);
}

static void on_completed(void *user, struct MHD_Connection *handle, void **context,
                         enum MHD_RequestTerminationCode code) {
    Exchange *x = *context;
    *context = NULL;
    if (x) exchange_detach(x, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

// ---- the start ----

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static int listen_on(HttpServer *s, const struct addrinfo *a) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_storage own = {0};
    socklen_t size = sizeof own;
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 128) || getsockname(fd, (struct sockaddr *)&own, &size)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    s->loopback = is_loopback((struct sockaddr *)&own);
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): own begins as zeros, and getsockname has filled it
    s->port = ntohs(own.ss_family == AF_INET ? ((struct sockaddr_in *)&own)->sin_port
                                             : ((struct sockaddr_in6 *)&own)->sin6_port);
    return fd;
}

static int open_socket(HttpServer *s, Err *err) {
    const char *address = s->address ? s->address : "127.0.0.1";
    char port[8];
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    snprintf(port, sizeof port, "%d", s->options.port);
    int rc = getaddrinfo(address, port, &hints, &list);
    if (rc) return err_input(err, "%s: %s; expected an address of this machine", address, gai_strerror(rc));
    int fd = listen_on(s, list), why = errno;
    freeaddrinfo(list);
    if (fd >= 0) return fd;
    if (why == EADDRINUSE)
        return err_input(err, "%s, port %d: in use by another program; expected a free port (0: any)", address,
                         s->options.port);
    if (why == EADDRNOTAVAIL)
        return err_input(err, "%s: not an address of this machine; expected one, or 127.0.0.1", address);
    return err_input(err, "%s, port %d: cannot be listened on: %s", address, s->options.port, strerror(why));
}

static int start_daemon(HttpServer *s, int fd, Err *err) {
    s->daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->options.max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEADER_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, connection_notify, s, MHD_OPTION_END);
    if (!s->daemon) return err_runtime(err, "the HTTP server cannot be started: %s", strerror(errno));
    return connection_watch(s, err);
}

static void end_daemon(HttpServer *s) {
    pthread_mutex_lock(&s->lock);
    s->cutting = true; // from now on nothing is suspended
    for (Connection *c = s->connections; c; c = c->next)
        if (c->x) exchange_lose_locked(c->x);
    pthread_mutex_unlock(&s->lock);
    if (s->daemon) MHD_stop_daemon(s->daemon);
}

static HttpServer *new_server(const HttpServerOptions *o) {
    HttpServer *s = mem_calloc(1, sizeof *s);
    pthread_condattr_t monotonic;
    s->api = &exchange_api;
    s->options = *o;
    if (!o->max_body) s->options.max_body = MAX_BODY;
    if (!o->max_connections) s->options.max_connections = MAX_CONNECTIONS;
    if (!(o->read_seconds > 0)) s->options.read_seconds = 10;
    if (!(o->write_seconds > 0)) s->options.write_seconds = 60;
    if (!(o->beat_seconds > 0)) s->options.beat_seconds = 15;
    s->token = o->token ? mem_strdup(o->token) : NULL;
    s->address = o->address ? mem_strdup(o->address) : NULL;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

int server_start(HttpServer **out, const HttpServerOptions *o, Err *err) {
    sigset_t all, before;
    HttpServer *s = new_server(o);
    int fd = open_socket(s, err);
    if (fd < 0) {
        exchange_free_server(s);
        return -1;
    }
    s->options.open_to_read = o->open_to_read && s->loopback;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); // signals are the main thread's
    int rc = start_daemon(s, fd, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        end_daemon(s); // closes the socket, if it was started
        if (!s->daemon) close(fd);
        exchange_free_server(s);
        return -1;
    }
    *out = s;
    return 0;
}

int server_port(const HttpServer *s) { return s->port; }

bool server_on_loopback(const HttpServer *s) { return s->loopback; }

// ---- the end ----

static struct timespec at(double seconds) {
    double whole = floor(seconds);
    return (struct timespec){(time_t)whole, (long)((seconds - whole) * 1e9)};
}

static bool any_running(const HttpServer *s) {
    for (const Connection *c = s->connections; c; c = c->next)
        if (c->x) return true;
    return false;
}

void server_stop(HttpServer *s, double seconds) {
    double end = time_now() + seconds;
    struct timespec until = at(end);
    int fd = MHD_quiesce_daemon(s->daemon);
    if (fd >= 0) close(fd);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    while (any_running(s) && time_now() < end) pthread_cond_timedwait(&s->changed, &s->lock, &until);
    pthread_mutex_unlock(&s->lock);
    end_daemon(s);
    pthread_join(s->watcher, NULL);
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    bool last = s->exchanges == 0;
    pthread_mutex_unlock(&s->lock);
    if (last) exchange_free_server(s);
}

int lorac_http_api(const HttpApi **api, Err *err) {
    if (MHD_is_feature_supported(MHD_FEATURE_THREADS) != MHD_YES)
        return err_runtime(err, "libmicrohttpd was built without threads");
    *api = &exchange_api;
    return 0;
}
