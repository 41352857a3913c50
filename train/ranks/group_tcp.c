#include "group_tcp.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "links.h"

typedef enum { BROADCAST = 1, GATHER, SUM, GIVE_UP } CallKind;

// The header of a call.
typedef struct Call {
    uint64_t number; // calls so far
    uint32_t what;
    int32_t from;   // BROADCAST: a rank
    uint64_t bytes; // of one rank; GIVE_UP: of the message that follows
} Call;

typedef struct Tcp {
    RankSockets sockets;
    uint64_t calls;
    double deadline; // of the current call
    int torn;        // rank with a partially sent message, 0: none
    Links links;
} Tcp;

enum { CHUNK = 1 << 15 };             // integers that rank 0 receives at a time
static const double TELL_SECONDS = 1; // deadline for the last message to a rank

static const char *name_of(uint32_t what) {
    static const char *const names[] = {[BROADCAST] = "broadcasts", [GATHER] = "gathers", [SUM] = "sums"};
    return what >= BROADCAST && what <= SUM ? names[what] : "sent an unknown call of";
}

static Call next_call(Group *g, CallKind what, int from, size_t bytes) {
    Tcp *t = g->state;
    Call c; // sent as bytes: sets the padding too
    memset(&c, 0, sizeof c);
    c.number = ++t->calls, c.what = what, c.from = from, c.bytes = bytes;
    t->deadline = g->limit > 0 ? time_now() + g->limit : INFINITY;
    return c;
}

static int out_of_step(const Call *own, int peer, const Call *theirs, Err *err) {
    return err_runtime(
        err,
        "ranks are out of step: rank 0 %s %lu bytes of rank %d (call %lu), rank %d %s %lu bytes of rank %d (call %lu)",
        name_of(own->what), own->bytes, own->from, own->number, peer, name_of(theirs->what), theirs->bytes,
        theirs->from, theirs->number);
}

static int get(const Tcp *t, int peer, void *data, size_t n, Err *err) {
    return rank_sockets_receive(&t->sockets, peer, data, n, t->deadline, err);
}

static int put(Tcp *t, int peer, const void *data, size_t n, Err *err) {
    if (!rank_sockets_send(&t->sockets, peer, data, n, t->deadline, err)) return 0;
    t->torn = peer;
    return -1;
}

// ---- rank 0 ----

// Sends the others the error, except a rank that would read it as the rest of a torn message.
static int tell_all(const Tcp *t, const Err *why) {
    Err ignored;
    Call c;
    double deadline = time_now() + TELL_SECONDS;
    memset(&c, 0, sizeof c);
    c.what = GIVE_UP, c.bytes = strlen(why->msg);
    for (int r = 1; r < t->sockets.ranks; r++)
        if (r != t->torn && !rank_sockets_send(&t->sockets, r, &c, sizeof c, deadline, &ignored))
            (void)rank_sockets_send(&t->sockets, r, why->msg, c.bytes, deadline, &ignored);
    return -1;
}

static int expect(const Tcp *t, int peer, const Call *own, Err *err) {
    Call theirs;
    if (get(t, peer, &theirs, sizeof theirs, err)) return -1;
    return memcmp(&theirs, own, sizeof theirs) == 0 ? 0 : out_of_step(own, peer, &theirs, err);
}

static int reply(Tcp *t, const Call *own, const void *data, size_t n, int except, Err *err) {
    for (int r = 1; r < t->sockets.ranks; r++)
        if (put(t, r, own, sizeof *own, err) || (r != except && put(t, r, data, n, err))) return -1;
    return 0;
}

// ---- the others ----

static int told_why(const Tcp *t, const Call *c, Err *err) {
    char msg[sizeof err->msg] = "";
    if (c->bytes >= sizeof msg || get(t, 0, msg, c->bytes, err))
        return err_runtime(err, "rank 0 sent an invalid message");
    return err_runtime(err, "%s", msg);
}

// Sends the header and, where rank 0 needs it, this rank's data; receives the result.
static int ask(Tcp *t, const Call *own, const void *mine, size_t n_mine, void *result, size_t n, Err *err) {
    Err ignored; // rank 0 may have sent an error before it closed the connection
    if (!put(t, 0, own, sizeof *own, &ignored)) (void)put(t, 0, mine, n_mine, &ignored);
    Call theirs;
    if (get(t, 0, &theirs, sizeof theirs, err)) return -1;
    if (theirs.what == GIVE_UP) return told_why(t, &theirs, err);
    if (memcmp(&theirs, own, sizeof theirs) != 0) return out_of_step(&theirs, t->sockets.rank, own, err);
    return get(t, 0, result, n, err);
}

// ---- the calls ----

static int conclude(const Tcp *t, int rc, Err *err) { return rc ? tell_all(t, err) : 0; }

static int broadcast_from_0(Tcp *t, const Call *c, void *data, size_t n, Err *err) {
    for (int r = 1; r < t->sockets.ranks; r++)
        if (expect(t, r, c, err) || (r == c->from && get(t, r, data, n, err))) return -1;
    return reply(t, c, data, n, c->from, err);
}

static int tcp_broadcast(Group *g, void *data, size_t n, int from, Err *err) {
    Tcp *t = g->state;
    Call c = next_call(g, BROADCAST, from, n);
    if (g->rank == from && from > 0) return ask(t, &c, data, n, NULL, 0, err);
    if (g->rank > 0) return ask(t, &c, NULL, 0, data, n, err);
    return conclude(t, broadcast_from_0(t, &c, data, n, err), err);
}

static int gather_at_0(Tcp *t, const Call *c, char *all, size_t n, Err *err) {
    for (int r = 1; r < t->sockets.ranks; r++)
        if (expect(t, r, c, err) || get(t, r, all + (size_t)r * n, n, err)) return -1;
    return reply(t, c, all, (size_t)t->sockets.ranks * n, 0, err);
}

static int tcp_gather(Group *g, void *all, const void *mine, size_t n, Err *err) {
    Tcp *t = g->state;
    Call c = next_call(g, GATHER, 0, n);
    size_t total;
    CHECK(size_mul(n, (size_t)g->ranks, &total), "%d ranks with %zu bytes", g->ranks, n);
    if (g->rank > 0) return ask(t, &c, mine, n, all, total, err);
    if (n) memcpy(all, mine, n);
    return conclude(t, gather_at_0(t, &c, all, n, err), err);
}

// data += the peer's numbers. Wraps around: the caller ensures headroom.
static int add_from(const Tcp *t, int peer, int64_t *data, int64_t n, int64_t *chunk, Err *err) {
    for (int64_t done = 0; done < n;) {
        int64_t now = n - done < CHUNK ? n - done : CHUNK;
        if (get(t, peer, chunk, (size_t)now * sizeof *chunk, err)) return -1;
        for (int64_t i = 0; i < now; i++) data[done + i] = (int64_t)((uint64_t)data[done + i] + (uint64_t)chunk[i]);
        done += now;
    }
    return 0;
}

static int sum_at_0(Tcp *t, const Call *c, int64_t *data, int64_t n, Err *err) {
    AUTO_FREE int64_t *chunk = mem_alloc(CHUNK, sizeof *chunk);
    for (int r = 1; r < t->sockets.ranks; r++)
        if (expect(t, r, c, err) || add_from(t, r, data, n, chunk, err)) return -1;
    return reply(t, c, data, c->bytes, 0, err);
}

static int tcp_sum(Group *g, int64_t *data, int64_t n, Err *err) {
    Tcp *t = g->state;
    size_t bytes;
    CHECK(n >= 0 && size_mul((size_t)n, sizeof *data, &bytes), "%ld integers", n);
    Call c = next_call(g, SUM, 0, bytes);
    if (g->rank > 0) return ask(t, &c, data, bytes, data, bytes, err);
    return conclude(t, sum_at_0(t, &c, data, n, err), err);
}

static int tcp_link(Group *g, int previous, int next, double seconds, Err *err) {
    Tcp *t = g->state;
    return links_open(&t->links, g, (const int[]){previous, next}, seconds, err);
}

static int tcp_exchange(Group *g, const GroupMessage *out, const GroupMessage *in, Err *err) {
    Tcp *t = g->state;
    return links_exchange(&t->links, out, in, g->limit > 0 ? time_now() + g->limit : INFINITY, err);
}

static void tcp_close(Group *g, bool failed) {
    Tcp *t = g->state;
    links_close(&t->links);
    rank_sockets_close(&t->sockets);
    mem_free(t);
}

static const GroupCalls tcp_calls = {"tcp", tcp_broadcast, tcp_gather, tcp_sum, tcp_link, tcp_exchange, tcp_close};

void group_tcp_open(Group *g, RankSockets *sockets) {
    Tcp *t = mem_calloc(1, sizeof *t);
    t->sockets = *sockets;
    *sockets = (RankSockets){0};
    t->links = (Links){.peers = {-1, -1}, .fds = {-1, -1}};
    int rank = t->sockets.rank, ranks = t->sockets.ranks;
    *g = (Group){.calls = &tcp_calls, .state = t, .rank = rank, .ranks = ranks, .local_ranks = 1};
    g->node = rank, g->nodes = ranks;
    memcpy(g->key, t->sockets.key, sizeof g->key);
    memcpy(g->address, t->sockets.address, sizeof g->address);
}
