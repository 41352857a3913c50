#include "profile.h"

#include <string.h>
#include <time.h>

const char *profile_row_name(ProfileRow row) {
#define NAME_OF_SLOT(slot) [PROFILE_##slot] = #slot,
#define NAME_OF_SPAN(id, name) [PROFILE_##id] = (name),
    static const char *const names[] = {PROFILE_OPS(NAME_OF_SLOT) PROFILE_TRANSFERS(NAME_OF_SLOT)
                                            PROFILE_SPANS(NAME_OF_SPAN)};
    return names[row];
}

bool profile_row_is_parallel(ProfileRow row) { return row < PROFILE_upload && row != PROFILE_tally; }

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void charge(Profile *p, int64_t time) {
    p->rows[p->stack[p->depth - 1].row].ns += time - p->charged;
    p->charged = time;
}

static void add_event(Profile *p, ProfileEvent event) {
    if (p->n_events == PROFILE_EVENTS)
        p->lost_events++;
    else
        p->events[p->n_events++] = event;
}

void profile_enter(Profile *p, ProfileRow row) {
    int64_t time = now();
    CHECK(p->depth < PROFILE_DEPTH, "%s", profile_row_name(row));
    if (!p->whole) charge(p, time);
    p->stack[p->depth].row = row;
    p->stack[p->depth++].start = time;
    p->whole |= row == PROFILE_EVALUATION || row == PROFILE_SNAPSHOT;
}

void profile_leave(Profile *p, ProfileCost cost) {
    CHECK(p->depth > 1, "more ends than begins");
    int64_t time = now(), start = p->stack[p->depth - 1].start;
    ProfileRow row = p->stack[p->depth - 1].row;
    if (row == PROFILE_EVALUATION || row == PROFILE_SNAPSHOT) p->whole = false;
    if (!p->whole) {
        charge(p, time);
        p->rows[row].calls++;
        p->rows[row].flop += cost.flop;
        p->rows[row].bytes += cost.bytes;
    }
    p->depth--;
    add_event(p, (ProfileEvent){start - p->begun, time - start, cost, row});
}

static void timed_close(Backend *b);

static Profile *profile(const Backend *b) { return b->k->close == timed_close ? (Profile *)b->k : NULL; }

static void timed_close(Backend *b) {
    Profile *p = profile(b);
    p->inner->close(b);
    mem_free(p->events);
    mem_free(p);
}

void profile_start(Backend *b) {
    CHECK(!profile(b), "profiled twice");
    Profile *p = mem_calloc(1, sizeof *p);
    p->inner = b->k;
    p->timed = *b->k;
    p->timed.close = timed_close;
    profile_time_slots(&p->timed);
    p->events = mem_alloc(PROFILE_EVENTS, sizeof *p->events);
    b->k = &p->timed;
    profile_reset(b);
}

void profile_reset(Backend *b) {
    Profile *p = profile(b);
    CHECK(p && p->depth <= 1, "a profile is reset inside %s", profile_row_name(p->stack[p->depth - 1].row));
    memset(p->rows, 0, sizeof p->rows);
    p->n_events = p->lost_events = 0;
    p->depth = 1;
    p->stack[0].row = PROFILE_OTHER;
    p->begun = p->charged = now();
}

const Profile *profile_of(const Backend *b) { return profile(b); }

void profile_begin(const Backend *b, ProfileRow span) {
    Profile *p = profile(b);
    if (p) profile_enter(p, span);
}

void profile_end(const Backend *b) {
    Profile *p = profile(b);
    if (p) profile_leave(p, (ProfileCost){0});
}
