#include "life_judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static bool find(LifeVerdict *v, LifeCause cause, LifePresence presence, const LifeSign *s, int ranks, double before) {
    for (int r = 0; r < ranks; r++) {
        if (s[r].presence != presence || s[r].since > before) continue;
        *v = (LifeVerdict){.cause = cause, .rank = r};
        return true;
    }
    return false;
}

static bool find_silent(LifeVerdict *v, const LifeSign *s, int ranks, double now, double limit) {
    for (int r = 0; r < ranks; r++) {
        if (s[r].presence != LIFE_HERE || now - s[r].heard <= limit) continue;
        *v = (LifeVerdict){IS_SILENT, r, now - s[r].heard};
        return true;
    }
    return false;
}

static bool computes(const LifeSign *s) {
    return s->presence == LIFE_HERE && (s->phase == LIFE_COMPUTING || s->phase == LIFE_COMPUTING_ON_CPU);
}

static bool waits(const LifeSign *s) {
    return s->presence == LIFE_HERE && s->phase == LIFE_WAITING;
}

// Of those that compute, the one that has not moved for longest; none hangs while nobody waits for it as long.
static bool find_hanging(LifeVerdict *v, const LifeSign *s, int ranks, double now, double limit) {
    int slowest = -1;
    double waited = 0;
    for (int r = 0; r < ranks; r++) {
        if (computes(&s[r]) && (slowest < 0 || s[r].moved < s[slowest].moved)) slowest = r;
        if (waits(&s[r]) && now - s[r].moved > waited) waited = now - s[r].moved;
    }
    if (slowest < 0 || waited <= limit || now - s[slowest].moved <= limit) return false;
    *v = (LifeVerdict){HANGS, slowest, now - s[slowest].moved};
    return true;
}

// For as long as all who are here wait, and nobody has left them.
static bool find_all_waiting(LifeVerdict *v, const LifeSign *s, int ranks, double now, double limit) {
    int first = -1;
    double changed = 0;
    for (int r = ranks - 1; r >= 0; r--) {
        if (s[r].presence == LIFE_HERE && !waits(&s[r])) return false;
        changed = fmax(changed, s[r].presence == LIFE_HERE ? s[r].moved : s[r].since);
        if (s[r].presence == LIFE_HERE) first = r;
    }
    if (first < 0 || now - changed <= limit) return false;
    *v = (LifeVerdict){ALL_WAIT, first, now - changed};
    return true;
}

LifeVerdict life_judge(const LifeSign *s, int ranks, double now, double limit, double grace) {
    LifeVerdict v = {.cause = ALL_WELL};
    if (find(&v, HAS_ENDED, LIFE_ENDED, s, ranks, now) || find(&v, IS_GARBLED, LIFE_GARBLED, s, ranks, now) ||
        find(&v, HAS_FAILED, LIFE_FAULTY, s, ranks, now - grace) || find_silent(&v, s, ranks, now, limit) ||
        find_hanging(&v, s, ranks, now, limit) || find_all_waiting(&v, s, ranks, now, limit))
        return v;
    return v;
}

#define RUN_AGAIN "; the same command goes on from the last snapshot"

void life_describe(Err *line, const LifeVerdict *v, const LifeSign *signs, const LifeMember *members, int ranks,
                   const char *reason) {
    const LifeMember *m = &members[v->rank];
    char who[128];
    snprintf(who, sizeof who, "rank %d of %d (host %s, process %" PRId64 ")", v->rank, ranks, m->host, m->process);
    switch (v->cause) {
    case ALL_WELL:
        err_runtime(line, "all %d ranks are well", ranks);
        break;
    case HAS_ENDED:
        err_runtime(line, "%s has ended without a word" RUN_AGAIN, who);
        break;
    case IS_GARBLED:
        err_runtime(line, "%s: its connection brought bytes that no rank sends" RUN_AGAIN, who);
        break;
    case HAS_FAILED:
        err_runtime(line, "%s has failed: %s", who, reason);
        break;
    case IS_SILENT:
        err_runtime(line, "%s has been silent for %.1f s: it was stopped, or cut off from the network" RUN_AGAIN, who,
                    v->seconds);
        break;
    case HANGS:
        err_runtime(line, "%s hangs: nothing of step %" PRId64 " for %.1f s, and others wait for it" RUN_AGAIN, who,
                    signs[v->rank].step, v->seconds);
        break;
    case ALL_WAIT:
        err_runtime(line, "all ranks have waited for each other for %.1f s at step %" PRId64 RUN_AGAIN, v->seconds,
                    signs[v->rank].step);
        break;
    }
}
