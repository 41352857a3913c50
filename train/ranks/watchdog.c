#include "watchdog.h"

#include <math.h>
#include <stdio.h>

static bool find(WatchdogVerdict *v, RankFault cause, PeerState state, const PeerStatus *s, int ranks, double before) {
    for (int r = 0; r < ranks; r++) {
        if (s[r].state != state || s[r].since > before) continue;
        *v = (WatchdogVerdict){.cause = cause, .rank = r};
        return true;
    }
    return false;
}

static bool find_silent(WatchdogVerdict *v, const PeerStatus *s, int ranks, double now, double limit) {
    for (int r = 0; r < ranks; r++) {
        if (s[r].state != PEER_CONNECTED || now - s[r].heard <= limit) continue;
        *v = (WatchdogVerdict){FAULT_SILENT, r, now - s[r].heard};
        return true;
    }
    return false;
}

static bool computes(const PeerStatus *s) {
    return s->state == PEER_CONNECTED && (s->phase == PHASE_COMPUTING || s->phase == PHASE_COMPUTING_ON_CPU);
}

static bool waits(const PeerStatus *s) { return s->state == PEER_CONNECTED && s->phase == PHASE_WAITING; }

// The computing rank without progress for longest hangs, if another has waited for as long as the limit too.
static bool find_hanging(WatchdogVerdict *v, const PeerStatus *s, int ranks, double now, double limit) {
    int slowest = -1;
    double waited = 0;
    for (int r = 0; r < ranks; r++) {
        if (computes(&s[r]) && (slowest < 0 || s[r].moved < s[slowest].moved)) slowest = r;
        if (waits(&s[r]) && now - s[r].moved > waited) waited = now - s[r].moved;
    }
    if (slowest < 0 || waited <= limit || now - s[slowest].moved <= limit) return false;
    *v = (WatchdogVerdict){FAULT_HANGS, slowest, now - s[slowest].moved};
    return true;
}

// All connected ranks wait, and none has left, for longer than the limit.
static bool find_all_waiting(WatchdogVerdict *v, const PeerStatus *s, int ranks, double now, double limit) {
    int first = -1;
    double changed = 0;
    for (int r = ranks - 1; r >= 0; r--) {
        if (s[r].state == PEER_CONNECTED && !waits(&s[r])) return false;
        changed = fmax(changed, s[r].state == PEER_CONNECTED ? s[r].moved : s[r].since);
        if (s[r].state == PEER_CONNECTED) first = r;
    }
    if (first < 0 || now - changed <= limit) return false;
    *v = (WatchdogVerdict){FAULT_ALL_WAIT, first, now - changed};
    return true;
}

WatchdogVerdict watchdog_judge(const PeerStatus *s, int ranks, double now, double limit, double grace) {
    WatchdogVerdict v = {.cause = FAULT_NONE};
    (void)(find(&v, FAULT_LOST, PEER_LOST, s, ranks, now) || find(&v, FAULT_GARBLED, PEER_GARBLED, s, ranks, now) ||
           find(&v, FAULT_FAILED, PEER_FAILED, s, ranks, now - grace) || find_silent(&v, s, ranks, now, limit) ||
           find_hanging(&v, s, ranks, now, limit) || find_all_waiting(&v, s, ranks, now, limit));
    return v;
}

#define RERUN "; rerun the same command to resume from the last snapshot"

void watchdog_describe(Err *line, const WatchdogVerdict *v, const PeerStatus *signs, const RankProcess *members,
                       int ranks, const char *reason) {
    const RankProcess *m = &members[v->rank];
    char who[128];
    snprintf(who, sizeof who, "rank %d of %d (host %s, process %ld)", v->rank, ranks, m->host, m->process);
    switch (v->cause) {
    case FAULT_NONE: err_runtime(line, "all %d ranks are well", ranks); break;
    case FAULT_LOST: err_runtime(line, "%s exited unexpectedly" RERUN, who); break;
    case FAULT_GARBLED: err_runtime(line, "%s sent an invalid message" RERUN, who); break;
    case FAULT_FAILED: err_runtime(line, "%s has failed: %s", who, reason); break;
    case FAULT_SILENT:
        err_runtime(line, "%s has been silent for %.1f s: it was stopped, or cut off from the network" RERUN, who,
                    v->seconds);
        break;
    case FAULT_HANGS:
        err_runtime(line, "%s hangs: no progress in step %ld for %.1f s while others wait for it" RERUN, who,
                    signs[v->rank].step, v->seconds);
        break;
    case FAULT_ALL_WAIT:
        err_runtime(line, "all ranks have waited for each other for %.1f s at step %ld" RERUN, v->seconds,
                    signs[v->rank].step);
        break;
    }
}
