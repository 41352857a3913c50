// star: the rendezvous, and bytes over its connections.
//
// A rank that connects says hello: the job, its rank. Rank 0 bids it welcome, or says why not. The rank confirms, and
// only then is it seated: one that gave up meanwhile, or whose first try still waits in the queue of the socket, takes
// no seat. When all are seated rank 0 says so to each.
#include "star.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sockets.h"

#define MAGIC UINT64_C(0x7261747363617231) // "1racstar" where bytes are in this machine's order
enum { MAX_GUESTS = 64 };                  // connections that have not yet said who they are
static const double HELLO_SECONDS = 5, CONNECT_SECONDS = 3, SLACK_SECONDS = 5, TELL_SECONDS = 1;

typedef struct Hello {
    uint64_t magic, token;
    int32_t channel, rank, ranks, unused;
} Hello;

typedef enum { WELCOME, COMPLETE, OTHER_JOB, OTHER_COUNT, RANK_TAKEN, RANK_MISSING } Verdict;

typedef struct Answer {
    uint64_t magic;
    int32_t verdict, number; // OTHER_COUNT: rank 0's number of ranks; RANK_MISSING: the first one
} Answer;

static int answer(int fd, Verdict verdict, int number) {
    Answer a = {MAGIC, verdict, number};
    return socket_send(fd, &a, sizeof a, time_now() + TELL_SECONDS);
}

// --- rank 0 ---

typedef struct Guest {
    int fd, rank; // rank -1: has not said hello yet
    double limit;
    size_t got;
    Hello hello;
} Guest;

typedef struct Door {
    const StarPlace *place;
    Star *star;
    int seated, n_guests;
    Guest guests[MAX_GUESTS];
} Door;

static void dismiss(Door *d, int i, bool close_it) {
    if (close_it) close(d->guests[i].fd);
    memmove(&d->guests[i], &d->guests[i + 1], (size_t)(--d->n_guests - i) * sizeof d->guests[0]);
}

static void let_in(Door *d) {
    int fd = socket_accept(d->place->listener);
    if (fd < 0) return;
    int longest = 0; // who has been silent for longest; one that has said hello is ours
    while (longest < d->n_guests - 1 && d->guests[longest].rank >= 0) longest++;
    if (d->n_guests == MAX_GUESTS) dismiss(d, longest, true);
    d->guests[d->n_guests++] = (Guest){.fd = fd, .rank = -1, .limit = time_now() + HELLO_SECONDS};
}

static void free_seats_of_the_gone(Door *d) {
    for (int r = 1; r < d->place->ranks; r++) {
        int *fd = &d->star->fds[r];
        if (*fd < 0 || !socket_is_closed(*fd)) continue;
        close(*fd);
        *fd = -1;
        d->seated--;
    }
}

// False: not one of ours, or not wanted.
static bool greet(const Door *d, Guest *g) {
    const StarPlace *p = d->place;
    const Hello *h = &g->hello;
    if (h->magic != MAGIC) return false;
    if (h->token != p->token || h->channel != (int32_t)p->channel) return answer(g->fd, OTHER_JOB, 0), false;
    if (h->ranks != p->ranks || h->rank < 1 || h->rank >= p->ranks) return answer(g->fd, OTHER_COUNT, p->ranks), false;
    g->rank = h->rank;
    g->limit += p->seconds; // it relies on us from here
    return !answer(g->fd, WELCOME, 0);
}

static void seat(Door *d, int i) {
    const Guest *g = &d->guests[i];
    int *fd = &d->star->fds[g->rank];
    bool taken = *fd >= 0;
    if (taken) answer(g->fd, RANK_TAKEN, 0);
    if (!taken) *fd = g->fd, d->seated++;
    dismiss(d, i, taken);
}

// What a guest has sent so far: its hello, then one byte that confirms. It is gone from the list when that is settled.
static void hear(Door *d, int i) {
    Guest *g = &d->guests[i];
    char byte;
    bool greeted = g->rank >= 0;
    ssize_t n = greeted ? recv(g->fd, &byte, 1, MSG_DONTWAIT)
                        : recv(g->fd, (char *)&g->hello + g->got, sizeof g->hello - g->got, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        dismiss(d, i, true);
    } else if (greeted) {
        seat(d, i);
    } else if ((g->got += (size_t)n) == sizeof g->hello && !greet(d, g)) {
        dismiss(d, i, true);
    }
}

static void attend(Door *d, double deadline) {
    struct pollfd p[MAX_GUESTS + 1] = {{.fd = d->place->listener, .events = POLLIN}};
    for (int i = 0; i < d->n_guests; i++) p[i + 1] = (struct pollfd){.fd = d->guests[i].fd, .events = POLLIN};
    if (poll(p, (nfds_t)d->n_guests + 1, socket_milliseconds(deadline, 0.2)) < 0) return;
    for (int i = d->n_guests - 1; i >= 0; i--) { // backwards: hear() takes guests out
        if (p[i + 1].revents)
            hear(d, i);
        else if (time_now() > d->guests[i].limit)
            dismiss(d, i, true);
    }
    if (p[0].revents) let_in(d);
}

static int first_missing(const Door *d) {
    int r = 1;
    while (r < d->place->ranks && d->star->fds[r] >= 0) r++;
    return r;
}

// Tells all that are there how it ended.
static int conclude(Door *d, bool complete, Err *err) {
    int missing = first_missing(d), n = d->place->ranks, gone = n - 1 - d->seated, failed = 0;
    for (int i = 0; i < d->n_guests; i++) {
        if (!complete && d->guests[i].rank > 0) answer(d->guests[i].fd, RANK_MISSING, missing);
        close(d->guests[i].fd);
    }
    for (int r = 1; r < n; r++)
        if (d->star->fds[r] >= 0 && answer(d->star->fds[r], complete ? COMPLETE : RANK_MISSING, missing) && !failed)
            failed = r;
    if (!complete)
        return err_runtime(err, "%d of %d ranks did not connect to rank 0 within %g s: the first is rank %d", gone, n,
                           d->place->seconds, missing);
    return failed ? err_runtime(err, "rank %d is gone: its connection has ended", failed) : 0;
}

// A connection for each rank may be more than a process is allowed by default.
static void allow_files(int ranks) {
    struct rlimit limit;
    rlim_t need = (rlim_t)ranks * 2 + 512;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= need) return;
    limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
    (void)setrlimit(RLIMIT_NOFILE, &limit); // where it fails the ranks that do not come are named
}

static int gather_ranks(Star *s, const StarPlace *place, Err *err) {
    double deadline = time_now() + place->seconds;
    Door *d = mem_calloc(1, sizeof *d);
    d->place = place, d->star = s;
    allow_files(place->ranks);
    while (d->seated < place->ranks - 1 && time_now() < deadline) {
        attend(d, deadline);
        free_seats_of_the_gone(d);
    }
    int status = conclude(d, d->seated == place->ranks - 1, err);
    mem_free(d);
    return status;
}

// --- the others ---

static void nap(double seconds, double deadline) {
    double left = deadline - time_now();
    if (left < seconds) seconds = left > 0 ? left : 0;
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

typedef enum { SEATED, TRY_AGAIN, GIVE_UP } Knock;

static Knock not_welcome(const Answer *a, const StarPlace *p, Err *err) {
    if (a->magic != MAGIC) return err_runtime(err, "something else than lorac answers there"), TRY_AGAIN;
    if (a->verdict == OTHER_JOB) return err_runtime(err, "another job of lorac answers there"), TRY_AGAIN;
    if (a->verdict == OTHER_COUNT)
        err_input(err, "rank 0 expects %d ranks, this is rank %d of %d", a->number, p->rank, p->ranks);
    else if (a->verdict == RANK_TAKEN)
        err_input(err, "rank %d is there twice: another process has connected as that rank", p->rank);
    else
        err_runtime(err, "rank %d did not connect to rank 0 within %g s", a->number, p->seconds);
    return GIVE_UP;
}

static Knock hear_answer(int fd, Answer *a, double deadline, Err *err) {
    if (!socket_receive(fd, a, sizeof *a, deadline)) return SEATED;
    err_runtime(err, "%s", errno ? strerror(errno) : "the connection was closed");
    return TRY_AGAIN;
}

static Knock introduce(int fd, const StarPlace *p, double deadline, Err *err) {
    Hello h = {MAGIC, p->token, (int32_t)p->channel, p->rank, p->ranks, 0};
    Answer a;
    double limit = time_now() + HELLO_SECONDS;
    if (socket_send(fd, &h, sizeof h, deadline)) return err_runtime(err, "%s", strerror(errno)), TRY_AGAIN;
    Knock heard = hear_answer(fd, &a, limit < deadline ? limit : deadline, err);
    if (heard != SEATED) return heard;
    if (a.magic != MAGIC || a.verdict != WELCOME) return not_welcome(&a, p, err);
    if (socket_send(fd, "", 1, deadline)) return err_runtime(err, "%s", strerror(errno)), TRY_AGAIN;
    // Rank 0 may have begun to wait just now; from here it has the word.
    if (hear_answer(fd, &a, time_now() + p->seconds + SLACK_SECONDS, err) != SEATED)
        return err_context(err, "rank 0 is gone while the other ranks are waited for"), GIVE_UP;
    return a.magic == MAGIC && a.verdict == COMPLETE ? SEATED : not_welcome(&a, p, err);
}

static Knock knock(Star *s, const StarPlace *p, const char *host, double deadline, Err *err) {
    int fd = socket_connect(host, p->port, CONNECT_SECONDS, deadline, err);
    if (fd < 0) return TRY_AGAIN;
    Knock k = introduce(fd, p, deadline, err);
    if (k == TRY_AGAIN) err_context(err, "%.255s port %d", host, p->port);
    if (k == SEATED)
        s->fds[0] = fd;
    else
        close(fd);
    return k;
}

static Knock knock_everywhere(Star *s, const StarPlace *p, double deadline, Err *err) {
    Knock k = TRY_AGAIN;
    char *hosts = mem_strdup(p->hosts), *rest = hosts;
    for (char *host; k == TRY_AGAIN && (host = strsep(&rest, ","));)
        if (time_now() < deadline) k = knock(s, p, host, deadline, err);
    mem_free(hosts);
    return k;
}

static int find_rank_0(Star *s, const StarPlace *p, Err *err) {
    double deadline = time_now() + p->seconds, pause = 0.01;
    err_runtime(err, "not tried");
    for (;;) {
        Knock k = knock_everywhere(s, p, deadline, err);
        if (k != TRY_AGAIN) return k == SEATED ? 0 : -1;
        if (time_now() >= deadline) return err_context(err, "rank 0 cannot be reached for %g s", p->seconds);
        nap(pause, deadline);
        if (pause < 0.5) pause *= 2;
    }
}

// --- both ---

int star_open(Star *s, const StarPlace *p, Err *err) {
    CHECK(p->ranks > 1 && p->rank >= 0 && p->rank < p->ranks, "rank %d of %d", p->rank, p->ranks);
    *s = (Star){.rank = p->rank, .ranks = p->ranks, .fds = mem_alloc((size_t)p->ranks, sizeof(int))};
    for (int r = 0; r < p->ranks; r++) s->fds[r] = -1;
    int status = p->rank == 0 ? gather_ranks(s, p, err) : find_rank_0(s, p, err);
    if (p->rank == 0) close(p->listener);
    if (status) star_close(s);
    return status;
}

typedef struct Offer {
    uint64_t token;
    int32_t port; // 0: rank 0 could not listen
    char hosts[1012];
} Offer;

static void make_offer(Offer *o, int *listener, const Group *g, Err *err) {
    const char *here = g->nodes == 1 ? "127.0.0.1" : NULL;
    int port = 0;
    if (getrandom(&o->token, sizeof o->token, 0) != sizeof o->token)
        err_runtime(err, "getrandom: %s", strerror(errno));
    else if (!socket_listen(listener, &port, here, err))
        o->port = port;
    if (here)
        snprintf(o->hosts, sizeof o->hosts, "%s", here);
    else
        socket_addresses(o->hosts, sizeof o->hosts);
}

int star_open_over(Star *s, Group *g, StarChannel channel, double seconds, Err *err) {
    Offer o = {0};
    int listener = -1;
    *s = (Star){0};
    if (g->rank == 0) make_offer(&o, &listener, g, err);
    if (group_broadcast(g, &o, sizeof o, 0, err)) {
        if (listener >= 0) close(listener);
        return -1;
    }
    if (!o.port) return g->rank == 0 ? -1 : err_runtime(err, "rank 0 cannot listen");
    o.hosts[sizeof o.hosts - 1] = 0;
    StarPlace p = {channel, g->rank, g->ranks, o.token, o.hosts, o.port, listener, seconds};
    return star_open(s, &p, err);
}

void star_close(Star *s) {
    for (int r = 0; r < s->ranks; r++)
        if (s->fds[r] >= 0) close(s->fds[r]);
    mem_free(s->fds);
    *s = (Star){0};
}

// --- bytes ---

static int lost(int peer, Err *err) {
    int reason = errno;
    if (reason == ETIMEDOUT)
        return err_runtime(err, "rank %d is silent: it was stopped, hangs, or is cut off from the network", peer);
    return err_runtime(err, "rank %d is gone: %s", peer, reason ? strerror(reason) : "its connection has ended");
}

static int socket_of(const Star *s, int peer) {
    CHECK(peer >= 0 && peer < s->ranks && s->fds[peer] >= 0, "peer %d of rank %d", peer, s->rank);
    return s->fds[peer];
}

int star_send(const Star *s, int peer, const void *data, size_t n, double deadline, Err *err) {
    return socket_send(socket_of(s, peer), data, n, deadline) ? lost(peer, err) : 0;
}

int star_receive(const Star *s, int peer, void *data, size_t n, double deadline, Err *err) {
    return socket_receive(socket_of(s, peer), data, n, deadline) ? lost(peer, err) : 0;
}
