// rendezvous: the handshake of the ranks with rank 0, and bytes over the connections that it leaves.
//
//   a rank                                rank 0
//   hello: its rank, a nonce        ->
//                                   <-    challenge: a nonce, the proof that it knows the key (proof.h)
//   its own proof                   ->    only now the rank has its slot
//                                   <-    answer: all are connected, or the error
//
// A rank that gave up meanwhile, or whose earlier attempt is still in the socket's queue, sends no proof and takes no
// slot. Unproved connections are closed after 5 s, or when 64 newer ones exist.
#include "rendezvous.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proof.h"
#include "sockets.h"

#define MAGIC UINT64_C(0x32767a65646e6572) // "rendezv2" in little-endian order
enum { MAX_PEERS = 64 };                   // unproved connections
static const double HELLO_SECONDS = 5, CONNECT_SECONDS = 3, SLACK_SECONDS = 5, TELL_SECONDS = 1;

typedef struct Challenge {
    uint64_t magic;
    unsigned char nonce[PROOF_NONCE], proof[PROOF_SIZE];
} Challenge;

typedef enum { COMPLETE, OTHER_COUNT, RANK_TAKEN, RANK_MISSING } AnswerKind;

typedef struct Answer {
    uint64_t magic;
    int32_t kind, number; // OTHER_COUNT: rank 0's number of ranks; RANK_MISSING: the first one
} Answer;

static int answer(int fd, AnswerKind kind, int number) {
    Answer a = {MAGIC, kind, number};
    return socket_send(fd, &a, sizeof a, time_now() + TELL_SECONDS);
}

// ---- rank 0 ----

typedef struct Peer {
    int fd;
    bool challenged; // has sent a hello
    double limit;
    size_t got; // bytes of the hello, then of the proof
    Hello hello;
    unsigned char nonce[PROOF_NONCE], proof[PROOF_SIZE];
} Peer;

typedef struct Handshakes {
    const RendezvousOptions *place;
    RankSockets *sockets;
    int connected, n_peers;
    int unproved; // connections that sent a hello and did not know the key
    Peer peers[MAX_PEERS];
} Handshakes;

static void drop_peer(Handshakes *e, int i, bool close_it) {
    if (close_it) close(e->peers[i].fd);
    memmove(&e->peers[i], &e->peers[i + 1], (size_t)(--e->n_peers - i) * sizeof e->peers[0]);
}

static void accept_connection(Handshakes *e) {
    int fd = socket_accept(e->place->listener);
    if (fd < 0) return;
    int oldest = 0; // one that has sent no hello, if any
    while (oldest < e->n_peers && e->peers[oldest].challenged) oldest++;
    if (e->n_peers == MAX_PEERS) drop_peer(e, oldest == MAX_PEERS ? 0 : oldest, true);
    e->peers[e->n_peers++] = (Peer){.fd = fd, .limit = time_now() + HELLO_SECONDS};
}

static void free_lost_slots(Handshakes *e) {
    for (int r = 1; r < e->place->ranks; r++) {
        int *fd = &e->sockets->fds[r];
        if (*fd < 0 || !socket_is_closed(*fd)) continue;
        close(*fd);
        *fd = -1;
        e->connected--;
    }
}

// False: not a rank of this job.
static bool challenge(const Handshakes *e, Peer *p) {
    Challenge c = {.magic = MAGIC};
    if (p->hello.magic != MAGIC || p->hello.channel != (int32_t)e->place->channel || proof_nonce(p->nonce, NULL))
        return false;
    memcpy(c.nonce, p->nonce, sizeof c.nonce);
    proof_make(c.proof, e->place->key, SIDE_RANK_0, &p->hello, p->nonce);
    p->challenged = true;
    p->got = 0;
    return !socket_send(p->fd, &c, sizeof c, time_now() + TELL_SECONDS);
}

// True: the rank has its slot.
static bool take_slot(Handshakes *e, const Peer *p) {
    const Hello *h = &p->hello;
    int ranks = e->place->ranks;
    if (!proof_matches(p->proof, e->place->key, SIDE_PEER, h, p->nonce)) {
        e->unproved++;
        return false;
    }
    if (h->ranks != ranks || h->rank < 1 || h->rank >= ranks) {
        answer(p->fd, OTHER_COUNT, ranks);
        return false;
    }
    if (e->sockets->fds[h->rank] >= 0) {
        answer(p->fd, RANK_TAKEN, 0);
        return false;
    }
    e->sockets->fds[h->rank] = p->fd;
    e->connected++;
    return true;
}

// Reads available bytes, without waiting.
static void read_peer(Handshakes *e, int i) {
    Peer *p = &e->peers[i];
    char *to = p->challenged ? (char *)p->proof : (char *)&p->hello;
    size_t size = p->challenged ? sizeof p->proof : sizeof p->hello;
    ssize_t n = recv(p->fd, to + p->got, size - p->got, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0 && (p->got += (size_t)n) < size) return;
    if (n <= 0 && p->challenged) e->unproved++;
    if (n > 0 && p->challenged)
        drop_peer(e, i, !take_slot(e, p));
    else if (n <= 0 || !challenge(e, p))
        drop_peer(e, i, true);
}

static void poll_peers(Handshakes *e, double deadline) {
    struct pollfd p[MAX_PEERS + 1] = {{.fd = e->place->listener, .events = POLLIN}};
    for (int i = 0; i < e->n_peers; i++) p[i + 1] = (struct pollfd){.fd = e->peers[i].fd, .events = POLLIN};
    if (poll(p, (nfds_t)e->n_peers + 1, socket_milliseconds(deadline, 0.2)) < 0) return;
    for (int i = e->n_peers - 1; i >= 0; i--) { // backwards: read_peer() removes peers
        if (time_now() > e->peers[i].limit)
            drop_peer(e, i, true);
        else if (p[i + 1].revents)
            read_peer(e, i);
    }
    if (p[0].revents) accept_connection(e);
}

static int first_missing(const Handshakes *e) {
    int r = 1;
    while (r < e->place->ranks && e->sockets->fds[r] >= 0) r++;
    return r;
}

// Sends the outcome to all connected ranks.
static int conclude(Handshakes *e, bool complete, Err *err) {
    int missing = first_missing(e), n = e->place->ranks, absent = n - 1 - e->connected, failed = 0;
    for (int i = 0; i < e->n_peers; i++) close(e->peers[i].fd);
    for (int r = 1; r < n; r++)
        if (e->sockets->fds[r] >= 0 && answer(e->sockets->fds[r], complete ? COMPLETE : RANK_MISSING, missing) &&
            !failed)
            failed = r;
    if (complete) return failed ? err_runtime(err, "rank %d is lost: its connection has ended", failed) : 0;
    return err_runtime(err, "%d of %d ranks did not connect to rank 0 within %g s: the first is rank %d%s", absent, n,
                       e->place->seconds, missing,
                       e->unproved ? "; other peers were rejected that do not know the run's secret (LORAC_SECRET)"
                                   : "");
}

// One connection per rank may exceed the default limit of open files.
static void allow_files(int ranks) {
    struct rlimit limit;
    rlim_t need = (rlim_t)ranks * 2 + 512;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= need) return;
    limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
    (void)setrlimit(RLIMIT_NOFILE, &limit); // on failure the missing ranks are named
}

static int accept_ranks(RankSockets *s, const RendezvousOptions *place, Err *err) {
    double deadline = time_now() + place->seconds;
    AUTO_FREE Handshakes *e = mem_calloc(1, sizeof *e);
    e->place = place, e->sockets = s;
    allow_files(place->ranks);
    socket_own_address(s->address, sizeof s->address, place->listener);
    while (e->connected < place->ranks - 1 && time_now() < deadline) {
        poll_peers(e, deadline);
        free_lost_slots(e);
    }
    return conclude(e, e->connected == place->ranks - 1, err);
}

// ---- the others ----

static void sleep_until(double seconds, double deadline) {
    double left = deadline - time_now();
    if (left < seconds) seconds = left > 0 ? left : 0;
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

// UNREACHABLE: nothing listens there. DROPPED: rank 0 closed the connection after this rank's proof: it has exited, or
// had too many connections.
typedef enum { CONNECTED, UNREACHABLE, TRY_AGAIN, DROPPED, GIVE_UP } Outcome;

static Outcome refused(const Answer *a, const RendezvousOptions *p, Err *err) {
    if (a->magic != MAGIC)
        err_runtime(err, "rank 0 sent an invalid answer");
    else if (a->kind == OTHER_COUNT)
        err_input(err, "rank 0 expects %d ranks, this is rank %d of %d", a->number, p->rank, p->ranks);
    else if (a->kind == RANK_TAKEN)
        err_input(err, "rank %d connected twice: another process has connected as that rank", p->rank);
    else
        err_runtime(err, "rank %d did not connect to rank 0 within %g s", a->number, p->seconds);
    return GIVE_UP;
}

static int receive(int fd, void *data, size_t n, double deadline, Err *err) {
    if (!socket_receive(fd, data, n, deadline)) return 0;
    return err_runtime(err, "%s", errno ? strerror(errno) : "the connection was closed");
}

static int send_all(int fd, const void *data, size_t n, double deadline, Err *err) {
    return socket_send(fd, data, n, deadline) ? err_runtime(err, "%s", strerror(errno)) : 0;
}

static Outcome connect_as_rank(int fd, const RendezvousOptions *p, double deadline, Err *err) {
    Hello h = {.magic = MAGIC, .channel = (int32_t)p->channel, .rank = p->rank, .ranks = p->ranks};
    Challenge c;
    Answer a;
    unsigned char proof[PROOF_SIZE];
    double limit = time_now() + HELLO_SECONDS;
    if (limit > deadline) limit = deadline;
    if (proof_nonce(h.nonce, err)) return GIVE_UP;
    if (send_all(fd, &h, sizeof h, limit, err) || receive(fd, &c, sizeof c, limit, err)) return TRY_AGAIN;
    if (c.magic != MAGIC) {
        err_runtime(err, "the server there is not lorac");
        return TRY_AGAIN;
    }
    if (!proof_matches(c.proof, p->key, SIDE_RANK_0, &h, c.nonce)) {
        err_runtime(err, "another job of lorac, or one with another LORAC_SECRET, listens there");
        return TRY_AGAIN;
    }
    proof_make(proof, p->key, SIDE_PEER, &h, c.nonce);
    if (send_all(fd, proof, sizeof proof, limit, err)) return TRY_AGAIN;
    // Rank 0's own deadline may have started only now; its answer decides.
    if (socket_receive(fd, &a, sizeof a, time_now() + p->seconds + SLACK_SECONDS)) {
        Outcome o = errno == ETIMEDOUT ? GIVE_UP : DROPPED;
        err_runtime(err, "rank 0 was lost while waiting for the other ranks: %s",
                    errno ? strerror(errno) : "the connection was closed");
        return o;
    }
    return a.magic == MAGIC && a.kind == COMPLETE ? CONNECTED : refused(&a, p, err);
}

static Outcome try_host(RankSockets *s, const RendezvousOptions *p, const char *host, double deadline, Err *err) {
    int fd = socket_connect(host, p->port, CONNECT_SECONDS, deadline, err);
    if (fd < 0) return UNREACHABLE;
    Outcome o = connect_as_rank(fd, p, deadline, err);
    if (o == TRY_AGAIN) err_context(err, "%.255s port %d", host, p->port);
    if (o == CONNECTED)
        s->fds[0] = fd;
    else
        close(fd);
    return o;
}

static Outcome try_hosts(RankSockets *s, const RendezvousOptions *p, double deadline, Err *err) {
    Outcome o = UNREACHABLE;
    AUTO_FREE char *hosts = mem_strdup(p->hosts);
    char *rest = hosts;
    for (char *host; o <= TRY_AGAIN && o != CONNECTED && (host = strsep(&rest, ","));) {
        if (time_now() >= deadline) break;
        Outcome here = try_host(s, p, host, deadline, err);
        if (here != UNREACHABLE) o = here;
    }
    return o;
}

static int connect_to_rank_0(RankSockets *s, const RendezvousOptions *p, Err *err) {
    double deadline = time_now() + p->seconds, pause = 0.01;
    Err dropped = {0};
    err_runtime(err, "not tried");
    for (;;) {
        Outcome o = try_hosts(s, p, deadline, err);
        if (o == CONNECTED) return 0;
        if (o == GIVE_UP) return -1;
        if (o == DROPPED) dropped = *err;
        if (o == UNREACHABLE && dropped.kind) {
            *err = dropped;
            return -1;
        }
        if (time_now() >= deadline) return err_context(err, "rank 0 was not reachable for %g s", p->seconds);
        sleep_until(pause, deadline);
        if (pause < 0.5) pause *= 2;
    }
}

// ---- both ----

int rendezvous_open(RankSockets *s, const RendezvousOptions *p, Err *err) {
    CHECK(p->ranks > 1 && p->rank >= 0 && p->rank < p->ranks, "rank %d of %d", p->rank, p->ranks);
    *s = (RankSockets){.rank = p->rank, .ranks = p->ranks, .fds = mem_alloc((size_t)p->ranks, sizeof(int))};
    for (int r = 0; r < p->ranks; r++) s->fds[r] = -1;
    memcpy(s->key, p->key, sizeof s->key);
    int rc = p->rank == 0 ? accept_ranks(s, p, err) : connect_to_rank_0(s, p, err);
    if (p->rank == 0) close(p->listener);
    if (rc) rank_sockets_close(s);
    return rc;
}

typedef struct Offer {
    unsigned char use[GROUP_KEY]; // random, for the key of these connections
    int32_t port;                 // 0: rank 0 could not listen
    char hosts[988];
} Offer;

// On the interface where the group connected, if known.
static void make_offer(Offer *o, int *listener, const Group *g, Err *err) {
    const char *here = g->nodes == 1 ? "127.0.0.1" : g->address[0] ? g->address : NULL;
    int port = 0;
    if (getrandom(o->use, sizeof o->use, 0) != sizeof o->use)
        err_runtime(err, "getrandom: %s", strerror(errno));
    else if (!socket_listen(listener, &port, here, err))
        o->port = port;
    if (here)
        snprintf(o->hosts, sizeof o->hosts, "%s", here);
    else
        socket_addresses(o->hosts, sizeof o->hosts);
}

int rendezvous_over_group(RankSockets *s, Group *g, RendezvousChannel channel, double seconds, Err *err) {
    Offer o = {0};
    int listener = -1;
    *s = (RankSockets){0};
    if (g->rank == 0) make_offer(&o, &listener, g, err);
    if (group_broadcast(g, &o, sizeof o, 0, err)) {
        if (listener >= 0) close(listener);
        return -1;
    }
    if (o.port < 1 || o.port > UINT16_MAX)
        return g->rank == 0 ? -1 : err_runtime(err, "rank 0 cannot listen on a port");
    GROUP_END_TEXT(o.hosts);
    RendezvousOptions p = {.channel = channel,
                           .rank = g->rank,
                           .ranks = g->ranks,
                           .hosts = o.hosts,
                           .port = o.port,
                           .listener = listener,
                           .seconds = seconds};
    proof_key(p.key, g->key, sizeof g->key, o.use, sizeof o.use);
    return rendezvous_open(s, &p, err);
}

// One of the two ends of a link: `place` as in a rendezvous of two ranks.
static int open_link(int *fd, const Group *g, const Offer *offer, RendezvousOptions *place, Err *err) {
    RankSockets s;
    if (offer->port < 1 || offer->port > UINT16_MAX) return err_runtime(err, "a rank cannot listen on a port");
    place->channel = RENDEZVOUS_LINK;
    place->ranks = 2;
    place->hosts = offer->hosts;
    place->port = offer->port;
    proof_key(place->key, g->key, sizeof g->key, offer->use, sizeof offer->use);
    if (rendezvous_open(&s, place, err)) return -1;
    *fd = s.fds[!place->rank];
    s.ranks = 0; // the connection is the caller's
    rank_sockets_close(&s);
    return 0;
}

// Each rank first connects to the one before it, which accepts as soon as it has its own.
static int open_links(int fds[NEIGHBOURS], const Group *g, const int neighbours[NEIGHBOURS], Offer *offers,
                      RendezvousOptions own, Err *err) {
    RendezvousOptions other = {.rank = 1, .listener = -1, .seconds = own.seconds};
    int before = neighbours[PREVIOUS];
    for (int r = 0; r < g->ranks; r++) GROUP_END_TEXT(offers[r].hosts);
    if (before >= 0 && open_link(&fds[PREVIOUS], g, &offers[before], &other, err)) {
        if (own.listener >= 0) close(own.listener);
        return err_context(err, "link to rank %d", before);
    }
    if (neighbours[NEXT] < 0 || !open_link(&fds[NEXT], g, &offers[g->rank], &own, err)) return 0;
    return err_context(err, "link to rank %d", neighbours[NEXT]);
}

int rendezvous_neighbours(int fds[NEIGHBOURS], Group *g, const int neighbours[NEIGHBOURS], double seconds, Err *err) {
    Offer mine = {0};
    AUTO_FREE Offer *offers = mem_calloc((size_t)g->ranks, sizeof *offers);
    RendezvousOptions own = {.listener = -1, .seconds = seconds};
    fds[PREVIOUS] = fds[NEXT] = -1;
    if (neighbours[NEXT] >= 0) make_offer(&mine, &own.listener, g, err);
    if (group_gather(g, offers, &mine, sizeof mine, err)) {
        if (own.listener >= 0) close(own.listener);
        return -1;
    }
    return open_links(fds, g, neighbours, offers, own, err);
}

void rank_sockets_close(RankSockets *s) {
    for (int r = 0; r < s->ranks; r++)
        if (s->fds[r] >= 0) close(s->fds[r]);
    mem_free(s->fds);
    *s = (RankSockets){0};
}

// ---- bytes ----

static int lost(int peer, Err *err) {
    int reason = errno;
    if (reason == ETIMEDOUT)
        return err_runtime(err, "rank %d is silent: it was stopped, hangs, or is cut off from the network", peer);
    return err_runtime(err, "rank %d is lost: %s", peer, reason ? strerror(reason) : "its connection has ended");
}

static int socket_of(const RankSockets *s, int peer) {
    CHECK(peer >= 0 && peer < s->ranks && s->fds[peer] >= 0, "peer %d of rank %d", peer, s->rank);
    return s->fds[peer];
}

int rank_sockets_send(const RankSockets *s, int peer, const void *data, size_t n, double deadline, Err *err) {
    return socket_send(socket_of(s, peer), data, n, deadline) ? lost(peer, err) : 0;
}

int rank_sockets_receive(const RankSockets *s, int peer, void *data, size_t n, double deadline, Err *err) {
    return socket_receive(socket_of(s, peer), data, n, deadline) ? lost(peer, err) : 0;
}
