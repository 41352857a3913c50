// connections: what libmicrohttpd does not notice. Its timeouts count from the last byte, so that a client may send a
// header byte by byte for hours; and the socket of a suspended connection is not polled.
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "server_internal.h"

enum { LOOK_MILLISECONDS = 200 };

void connection_notify(void *user, struct MHD_Connection *handle, void **context,
                       enum MHD_ConnectionNotificationCode code) {
    HttpServer *s = user;
    Connection *c = *context;
    pthread_mutex_lock(&s->lock);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = c = mem_calloc(1, sizeof *c);
        c->handle = handle;
        c->fd = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->deadline = time_now() + s->options.read_seconds;
        c->next = s->connections;
        if (c->next) c->next->before = c;
        s->connections = c;
    } else if (c) {
        if (c->next) c->next->before = c->before;
        *(c->before ? &c->before->next : &s->connections) = c->next;
        *context = NULL;
        mem_free(c);
    }
    pthread_mutex_unlock(&s->lock);
}

bool connection_has_hung_up(const Connection *c) {
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void look_locked(HttpServer *s, Connection *c, double now) {
    Exchange *x = c->x;
    if (now > c->deadline) {
        shutdown(c->fd, SHUT_RDWR); // its thread closes it
        c->deadline = INFINITY;
    }
    if (!x || x->gone || !(x->suspended || x->streaming)) return;
    bool stalled = x->sent < x->out.len && now - x->taken > s->options.write_seconds;
    if (stalled || connection_has_hung_up(c))
        exchange_lose_locked(x);
    else
        exchange_beat_locked(x, now);
}

static void *watch(void *arg) {
    HttpServer *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->cutting) {
        double now = time_now();
        for (Connection *c = s->connections; c; c = c->next) look_locked(s, c, now);
        pthread_mutex_unlock(&s->lock);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MILLISECONDS * 1000000L}, NULL);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int connection_watch(HttpServer *s, Err *err) {
    int rc = pthread_create(&s->watcher, NULL, watch, s);
    return rc ? err_runtime(err, "a thread for the HTTP server cannot be started: %s", strerror(rc)) : 0;
}
