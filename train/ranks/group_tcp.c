#include "group_tcp.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef enum { BROADCAST = 1, GATHER, SUM, OUT_OF_STEP } What;

// What a rank believes that all are doing.
typedef struct Call {
    uint64_t number; // calls so far
    uint32_t what;
    int32_t from;   // BROADCAST: a rank
    uint64_t bytes; // of one rank; OUT_OF_STEP: of the message that follows
} Call;

typedef struct Tcp {
    Star star;
    uint64_t calls;
} Tcp;

enum { CHUNK = 1 << 15 }; // integers that rank 0 receives at a time

static const char *name_of(uint32_t what) {
    return what == BROADCAST ? "broadcasts" : what == GATHER ? "gathers" : what == SUM ? "adds up" : "speaks otherwise";
}

static Call next_call(Group *g, What what, int from, size_t bytes) {
    Tcp *t = g->state;
    Call c; // sent as bytes: no padding is left unset
    memset(&c, 0, sizeof c);
    c.number = ++t->calls, c.what = what, c.from = from, c.bytes = bytes;
    return c;
}

static int out_of_step(const Call *own, int peer, const Call *theirs, Err *err) {
    return err_runtime(err,
                       "ranks are out of step: rank 0 %s %" PRIu64 " bytes of rank %d (call %" PRIu64
                       "), rank %d %s %" PRIu64 " bytes of rank %d (call %" PRIu64 ")",
                       name_of(own->what), own->bytes, own->from, own->number, peer, name_of(theirs->what),
                       theirs->bytes, theirs->from, theirs->number);
}

// --- rank 0 ---

// The other ranks learn why; whoever does not listen any more need not.
static int tell_all(const Star *s, const Err *why) {
    Err ignored;
    Call c;
    memset(&c, 0, sizeof c);
    c.what = OUT_OF_STEP, c.bytes = strlen(why->msg);
    for (int r = 1; r < s->ranks; r++)
        if (!star_send(s, r, &c, sizeof c, &ignored)) (void)star_send(s, r, why->msg, c.bytes, &ignored);
    return -1;
}

static int expect(const Star *s, int peer, const Call *own, Err *err) {
    Call theirs;
    if (star_receive(s, peer, &theirs, sizeof theirs, err)) return -1;
    if (!memcmp(&theirs, own, sizeof theirs)) return 0;
    out_of_step(own, peer, &theirs, err);
    return tell_all(s, err);
}

static int reply(const Star *s, const Call *own, const void *data, size_t n, int except, Err *err) {
    for (int r = 1; r < s->ranks; r++)
        if (star_send(s, r, own, sizeof *own, err) || (r != except && star_send(s, r, data, n, err))) return -1;
    return 0;
}

// --- the others ---

static int asked_to_stop(const Star *s, const Call *c, Err *err) {
    char msg[sizeof err->msg] = "";
    if (c->bytes >= sizeof msg || star_receive(s, 0, msg, c->bytes, err))
        return err_runtime(err, "rank 0 sent no message that lorac sends");
    return err_runtime(err, "%s", msg);
}

// Says what this rank does, with its data where rank 0 needs them, and takes the result.
static int ask(const Star *s, const Call *own, const void *mine, size_t n_mine, void *result, size_t n, Err *err) {
    Err ignored; // where sending fails rank 0 has gone, and may have said why
    if (!star_send(s, 0, own, sizeof *own, &ignored)) (void)star_send(s, 0, mine, n_mine, &ignored);
    Call theirs;
    if (star_receive(s, 0, &theirs, sizeof theirs, err)) return -1;
    if (theirs.what == OUT_OF_STEP) return asked_to_stop(s, &theirs, err);
    if (memcmp(&theirs, own, sizeof theirs)) return out_of_step(&theirs, s->rank, own, err);
    return star_receive(s, 0, result, n, err);
}

// --- the calls ---

static int tcp_broadcast(Group *g, void *data, size_t n, int from, Err *err) {
    const Star *s = &((Tcp *)g->state)->star;
    Call c = next_call(g, BROADCAST, from, n);
    if (g->rank == from && from > 0) return ask(s, &c, data, n, NULL, 0, err);
    if (g->rank > 0) return ask(s, &c, NULL, 0, data, n, err);
    for (int r = 1; r < g->ranks; r++)
        if (expect(s, r, &c, err) || (r == from && star_receive(s, r, data, n, err))) return -1;
    return reply(s, &c, data, n, from, err);
}

static int tcp_gather(Group *g, void *all, const void *mine, size_t n, Err *err) {
    const Star *s = &((Tcp *)g->state)->star;
    Call c = next_call(g, GATHER, 0, n);
    size_t total;
    CHECK(size_mul(n, (size_t)g->ranks, &total), "%d ranks with %zu bytes", g->ranks, n);
    if (g->rank > 0) return ask(s, &c, mine, n, all, total, err);
    if (n) memcpy(all, mine, n);
    for (int r = 1; r < g->ranks; r++)
        if (expect(s, r, &c, err) || star_receive(s, r, (char *)all + (size_t)r * n, n, err)) return -1;
    return reply(s, &c, all, total, 0, err);
}

// data += what the peer sends. Wraps around: sums have their headroom elsewhere.
static int add_from(const Star *s, int peer, int64_t *data, int64_t n, int64_t *chunk, Err *err) {
    for (int64_t done = 0; done < n;) {
        int64_t now = n - done < CHUNK ? n - done : CHUNK;
        if (star_receive(s, peer, chunk, (size_t)now * sizeof *chunk, err)) return -1;
        for (int64_t i = 0; i < now; i++) data[done + i] = (int64_t)((uint64_t)data[done + i] + (uint64_t)chunk[i]);
        done += now;
    }
    return 0;
}

static int tcp_sum(Group *g, int64_t *data, int64_t n, Err *err) {
    const Star *s = &((Tcp *)g->state)->star;
    size_t bytes;
    CHECK(n >= 0 && size_mul((size_t)n, sizeof *data, &bytes), "%" PRId64 " integers", n);
    Call c = next_call(g, SUM, 0, bytes);
    if (g->rank > 0) return ask(s, &c, data, bytes, data, bytes, err);
    int64_t *chunk = mem_alloc(CHUNK, sizeof *chunk);
    int status = 0;
    for (int r = 1; r < g->ranks && !status; r++)
        status = expect(s, r, &c, err) || add_from(s, r, data, n, chunk, err) ? -1 : 0;
    mem_free(chunk);
    return status ? -1 : reply(s, &c, data, bytes, 0, err);
}

static void tcp_close(Group *g, bool failed) {
    (void)failed; // nothing is waited for in either case
    Tcp *t = g->state;
    star_close(&t->star);
    mem_free(t);
}

static const GroupCalls tcp_calls = {"tcp", tcp_broadcast, tcp_gather, tcp_sum, tcp_close};

void group_tcp_open(Group *g, Star *star) {
    Tcp *t = mem_calloc(1, sizeof *t);
    t->star = *star;
    *star = (Star){0};
    int rank = t->star.rank, ranks = t->star.ranks;
    *g = (Group){.calls = &tcp_calls, .state = t, .rank = rank, .ranks = ranks, .local_ranks = 1};
    g->node = rank, g->nodes = ranks;
}
