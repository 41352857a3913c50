#include "group.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

Group group_alone(void) { return (Group){.ranks = 1, .local_ranks = 1, .nodes = 1}; }

static int note(Group *g, int rc) {
    g->broken = g->broken || rc;
    return rc;
}

static int refuse_broken(Err *err) { return err_runtime(err, "an earlier exchange between the ranks has failed"); }

int group_broadcast(Group *g, void *data, size_t n, int from, Err *err) {
    CHECK(from >= 0 && from < g->ranks, "from rank %d of %d", from, g->ranks);
    if (g->broken) return refuse_broken(err);
    return g->ranks == 1 || n == 0 ? 0 : note(g, g->calls->broadcast(g, data, n, from, err));
}

int group_gather(Group *g, void *all, const void *mine, size_t n, Err *err) {
    if (g->broken) return refuse_broken(err);
    if (g->ranks > 1) return note(g, g->calls->gather(g, all, mine, n, err));
    memcpy(all, mine, n);
    return 0;
}

int group_sum(Group *g, int64_t *data, int64_t n, Err *err) {
    if (g->broken) return refuse_broken(err);
    return g->ranks == 1 || n == 0 ? 0 : note(g, g->calls->sum(g, data, n, err));
}

int group_barrier(Group *g, Err *err) {
    int64_t nothing = 0;
    return group_sum(g, &nothing, 1, err);
}

int group_link(Group *g, int previous, int next, double seconds, Err *err) {
    CHECK(previous < g->ranks && next < g->ranks, "neighbours %d and %d of %d ranks", previous, next, g->ranks);
    if (g->broken) return refuse_broken(err);
    return g->ranks == 1 || !g->calls->link ? 0 : note(g, g->calls->link(g, previous, next, seconds, err));
}

int group_exchange(Group *g, const GroupMessage *out, const GroupMessage *in, Err *err) {
    if (g->broken) return refuse_broken(err);
    return out || in ? note(g, g->calls->exchange(g, out, in, err)) : 0;
}

// ---- agreeing ----

typedef struct Verdict {
    int kind; // ErrKind; ERR_NONE: this rank has not failed
    char host[64], msg[sizeof((Err *)0)->msg];
} Verdict;

static Verdict own_verdict(int status, const Err *err) {
    Verdict v = {.kind = status ? err->kind : ERR_NONE};
    if (gethostname(v.host, sizeof v.host - 1)) snprintf(v.host, sizeof v.host, "?");
    if (status) memcpy(v.msg, err->msg, sizeof v.msg);
    return v;
}

static bool all_say(const Verdict *v, int ranks) {
    for (int i = 1; i < ranks; i++)
        if (v[i].kind != v[0].kind || strcmp(v[i].msg, v[0].msg) != 0) return false;
    return true;
}

static ErrKind known_kind(int kind) { return kind > ERR_NONE && kind < ERR_KINDS ? (ErrKind)kind : ERR_RUNTIME; }

static int settle(const Group *g, Verdict *v, Err *err) {
    int first = 0;
    for (int i = 0; i < g->ranks; i++) GROUP_END_TEXT(v[i].host), GROUP_END_TEXT(v[i].msg);
    while (first < g->ranks && v[first].kind == ERR_NONE) first++;
    if (first == g->ranks) return 0;
    err_runtime(err, "%s", g->rank > 0 ? "" : v[first].msg);
    err->kind = known_kind(v[first].kind);
    if (g->rank > 0) return -1;
    return all_say(v, g->ranks) ? -1 : err_context(err, "rank %d (%s)", first, v[first].host);
}

int group_agree(Group *g, int status, Err *err) {
    if (g->ranks == 1 || (g->broken && status)) return status ? -1 : 0; // broken: err has the message
    Verdict mine = own_verdict(status, err), *all = mem_calloc((size_t)g->ranks, sizeof *all);
    int rc = group_gather(g, all, &mine, sizeof mine, err);
    if (!rc) rc = settle(g, all, err);
    mem_free(all);
    return rc;
}

void group_close(Group *g, bool failed) {
    if (g->calls) g->calls->close(g, failed);
    *g = group_alone();
}
