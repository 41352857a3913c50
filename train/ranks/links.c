#include "links.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockets.h"

typedef struct LinkHeader {
    uint64_t number, bytes; // messages of this direction so far
} LinkHeader;

// A message on its way, in one direction.
typedef struct Flow {
    int peer, fd;
    LinkHeader header, got; // got: of a message that is received
    char *data;
    size_t done, total; // with the header
} Flow;

int links_open(Links *l, Group *g, const int neighbours[NEIGHBOURS], double seconds, Err *err) {
    links_close(l);
    memcpy(l->peers, neighbours, sizeof l->peers);
    return rendezvous_neighbours(l->fds, g, neighbours, seconds, err);
}

void links_close(Links *l) {
    for (int i = 0; i < NEIGHBOURS; i++)
        if (l->fds[i] >= 0) close(l->fds[i]);
    *l = (Links){.peers = {-1, -1}, .fds = {-1, -1}};
}

static Flow flow_of(const Links *l, uint64_t counts[NEIGHBOURS], const GroupMessage *m) {
    if (!m) return (Flow){.fd = -1};
    int side = m->peer == l->peers[NEXT] ? NEXT : PREVIOUS;
    CHECK(m->peer >= 0 && m->peer == l->peers[side] && l->fds[side] >= 0, "rank %d is no neighbour", m->peer);
    return (Flow){.peer = m->peer,
                  .fd = l->fds[side],
                  .header = {++counts[side], m->bytes},
                  .data = m->data,
                  .total = sizeof(LinkHeader) + m->bytes};
}

static bool is_open(const Flow *f) { return f->fd >= 0 && f->done < f->total; }

static int lost(const Flow *f, int reason, Err *err) {
    if (reason == ETIMEDOUT)
        return err_runtime(err, "rank %d is silent: it was stopped, hangs, or is cut off from the network", f->peer);
    return err_runtime(err, "rank %d is lost: %s", f->peer, reason ? strerror(reason) : "its connection has ended");
}

// The part of the flow that is next: of the header, or of the data.
static char *next_part(Flow *f, LinkHeader *header, size_t *n) {
    bool in_header = f->done < sizeof *header;
    *n = (in_header ? sizeof *header : f->total) - f->done;
    return in_header ? (char *)header + f->done : f->data + (f->done - sizeof *header);
}

static int push(Flow *f, Err *err) {
    size_t n;
    const char *from = next_part(f, &f->header, &n);
    ssize_t sent = send(f->fd, from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return lost(f, errno, err);
    if (sent > 0) f->done += (size_t)sent;
    return 0;
}

static int pull(Flow *f, Err *err) {
    size_t n;
    char *to = next_part(f, &f->got, &n);
    ssize_t got = recv(f->fd, to, n, MSG_DONTWAIT);
    if (got == 0) return lost(f, 0, err);
    if (got < 0) return errno == EAGAIN || errno == EINTR ? 0 : lost(f, errno, err);
    f->done += (size_t)got;
    if (f->done != sizeof f->header || memcmp(&f->got, &f->header, sizeof f->header) == 0) return 0;
    return err_runtime(err,
                       "ranks are out of step: rank %d sends message %lu of %lu bytes; expected message %lu of %lu",
                       f->peer, f->got.number, f->got.bytes, f->header.number, f->header.bytes);
}

int links_exchange(Links *l, const GroupMessage *out, const GroupMessage *in, double deadline, Err *err) {
    Flow to = flow_of(l, l->sent, out), from = flow_of(l, l->received, in);
    while (is_open(&to) || is_open(&from)) {
        struct pollfd p[2] = {{is_open(&to) ? to.fd : -1, POLLOUT, 0}, {is_open(&from) ? from.fd : -1, POLLIN, 0}};
        int ready = poll(p, 2, socket_milliseconds(deadline, 60));
        if (ready < 0 && errno != EINTR) return err_runtime(err, "poll: %s", strerror(errno));
        if (ready > 0 && ((p[0].revents && push(&to, err)) || (p[1].revents && pull(&from, err)))) return -1;
        if (ready <= 0 && time_now() >= deadline) return lost(is_open(&from) ? &from : &to, ETIMEDOUT, err);
    }
    return 0;
}
