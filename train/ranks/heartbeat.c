#include "heartbeat.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "heartbeat_wire.h"
#include "ranks.h"
#include "rendezvous.h"
#include "signals.h"
#include "watchdog.h"

enum { FRAMES_AT_ONCE = 16 };          // of one peer, so that none keeps the thread from the others
static const double PATIENCE = 2;      // seconds for a goodbye
static const double TICK = 0.1;        // how often a stop is looked for
static const double BUSY = 0.02;       // of a core: a pass that uses less is not computing
static const double DEATH_SHOWS = 0.2; // seconds until the end of a process is seen as the end of its connection

typedef enum { STAYS, LEAVES_WELL, LEAVES_FAULTY } Leaving;

struct Heartbeat {
    int rank, ranks;
    double limit, beat_every; // seconds
    RankProcess *members;     // [ranks]
    PeerStatus *signs;        // [ranks]; rank 0 has all, the others that of rank 0
    HeartbeatWire *wires;     // [ranks], as the signs
    struct pollfd *polls;     // [ranks + 1]
    int wake;                 // eventfd
    pthread_t thread;
    // What the main thread tells.
    atomic_int phase, leaving;
    atomic_llong step, calls;
    int status; // with `reason` written before `leaving`
    char reason[sizeof((Err *)0)->msg];
    // Of the thread alone.
    double now, real;               // seconds in which this process ran; of the machine's clock
    double beaten, left_at;         // when; left_at 0: not yet
    double cpu, cpu_at;             // seconds of CPU time at cpu_at
    int64_t cpu_ticks;              // how often enough was used
    int faulty;                     // the first rank that failed, with its
    int fault_status;               // status
    char fault[FRAME_MAX_TEXT + 1]; // and message
    bool stop_told, done;
};

static bool is_hub(const Heartbeat *l) {
    return l->rank == 0;
}

// ---- the end ----

// The main thread may hold any lock, so that nothing of stdio is used and nothing is freed.
__attribute__((noreturn)) static void end_process(const char *line, int status) {
    char text[FRAME_MAX_TEXT + 16];
    char clean[FRAME_MAX_TEXT];
    snprintf(clean, sizeof clean, "%s", line); // what a peer said may hold anything
    clean_line(clean);
    int n = snprintf(text, sizeof text, "lorac: %s\n", clean);
    ssize_t written = write(STDERR_FILENO, text, (size_t)n);
    _exit(written < 0 ? EXIT_RUNTIME : status);
}

static int known_status(int status) {
    return status == EXIT_INPUT || status == EXIT_NO_FIT ? status : EXIT_RUNTIME;
}

// ---- time ----

// A gap means that this process was stopped or starved; what the others sent meanwhile has still to be read, and those
// who were stopped together with us have sent nothing.
static void advance(Heartbeat *l) {
    double real = time_now();
    l->now += fmin(real - l->real, 4 * l->beat_every);
    l->real = real;
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void count_cpu(Heartbeat *l) {
    double cpu = cpu_seconds(), span = l->now - l->cpu_at;
    if (span < l->beat_every) return;
    if (atomic_load(&l->phase) == PHASE_COMPUTING_ON_CPU && cpu - l->cpu > BUSY * span) l->cpu_ticks++;
    l->cpu = cpu;
    l->cpu_at = l->now;
}

// ---- what is known of a rank ----

static void set_presence(Heartbeat *l, int rank, PeerState p) {
    l->signs[rank].presence = p;
    l->signs[rank].since = l->now;
}

static void note_beat(Heartbeat *l, int rank, HeartbeatPhase phase, int64_t step, int64_t progress) {
    PeerStatus *s = &l->signs[rank];
    if (phase != s->phase || step != s->step || progress != s->progress) s->moved = l->now;
    s->phase = phase;
    s->step = step;
    s->progress = progress;
    s->heard = l->now;
}

static HeartbeatFrame own_beat(Heartbeat *l) {
    return (HeartbeatFrame){.kind = FRAME_BEAT,
                            .phase = (uint8_t)atomic_load(&l->phase),
                            .step = atomic_load(&l->step),
                            .progress = atomic_load(&l->calls) + l->cpu_ticks};
}

static void tell_all(Heartbeat *l, const HeartbeatFrame *f) {
    for (int r = 0; r < l->ranks; r++) wire_put(&l->wires[r], f);
}

static void beat(Heartbeat *l) {
    count_cpu(l);
    HeartbeatFrame f = own_beat(l);
    if (is_hub(l)) note_beat(l, 0, (HeartbeatPhase)f.phase, f.step, f.progress);
    if (l->now - l->beaten < l->beat_every) return;
    l->beaten = l->now;
    tell_all(l, &f);
}

// ---- hearing ----

static void hear_stop(Heartbeat *l) {
    signals_ask_stop(); // rank 0 tells the others in relay_stop
    if (!is_hub(l)) l->stop_told = true;
}

static void hear_failure(Heartbeat *l, int rank, const char *text, int status) {
    if (l->signs[rank].presence == PEER_CONNECTED) set_presence(l, rank, PEER_FAILED);
    if (l->faulty >= 0) return;
    l->faulty = rank;
    l->fault_status = known_status(status);
    snprintf(l->fault, sizeof l->fault, "%s", text);
}

static void hear_goodbye(Heartbeat *l, int rank) {
    set_presence(l, rank, PEER_LEFT);
    wire_close(&l->wires[rank]); // which is the answer
    if (!is_hub(l)) l->done = true;
}

static void hear_alarm(Heartbeat *l, int rank, const HeartbeatFrame *f) {
    if (is_hub(l)) {
        set_presence(l, rank, PEER_GARBLED);
        return;
    }
    Err line;
    err_runtime(&line, "%s", f->text); // control characters are gone
    end_process(line.msg, known_status(f->status));
}

static void hear(Heartbeat *l, int rank, const HeartbeatFrame *f) {
    l->signs[rank].heard = l->now;
    switch ((FrameKind)f->kind) {
    case FRAME_BEAT:
        if (f->phase > PHASE_WAITING) set_presence(l, rank, PEER_GARBLED);
        if (is_hub(l)) note_beat(l, rank, (HeartbeatPhase)f->phase, f->step, f->progress);
        break;
    case FRAME_STOP:
        hear_stop(l);
        break;
    case FRAME_GOODBYE:
        hear_goodbye(l, rank);
        break;
    case FRAME_FAILED:
        hear_failure(l, rank, f->text, f->status);
        break;
    case FRAME_ALARM:
        hear_alarm(l, rank, f);
        break;
    }
}

// Once we have said goodbye, the end of the connection is the answer. Who sent rubbish is still to be told the reason.
static void hear_end(Heartbeat *l, int rank, PeerState how) {
    bool answer = l->left_at > 0 && atomic_load(&l->leaving) == LEAVES_WELL;
    if (answer || how == PEER_LOST) wire_close(&l->wires[rank]);
    if (l->signs[rank].presence == PEER_CONNECTED) set_presence(l, rank, answer ? PEER_LEFT : how);
}

static void hear_one(Heartbeat *l, int rank) {
    HeartbeatFrame f;
    WireEvent e = WIRE_FRAME;
    for (int i = 0; i < FRAMES_AT_ONCE && e == WIRE_FRAME; i++) {
        e = wire_get(&l->wires[rank], &f);
        if (e == WIRE_FRAME) hear(l, rank, &f);
    }
    if (e == WIRE_ENDED) hear_end(l, rank, PEER_LOST);
    if (e == WIRE_GARBAGE) hear_end(l, rank, PEER_GARBLED);
}

static void wait_for_words(Heartbeat *l) {
    l->polls[l->ranks] = (struct pollfd){.fd = l->wake, .events = POLLIN};
    for (int r = 0; r < l->ranks; r++) { // poll leaves out negative descriptors
        short out = l->wires[r].out_size > 0 ? POLLOUT : 0;
        l->polls[r] = (struct pollfd){.fd = l->wires[r].fd, .events = (short)(POLLIN | out)};
    }
    poll(l->polls, (nfds_t)l->ranks + 1, (int)(1000 * fmin(l->beat_every, TICK)));
    uint64_t drained;
    if (l->polls[l->ranks].revents && read(l->wake, &drained, sizeof drained) < 0) return; // looked at all the same
}

static void hear_all(Heartbeat *l) {
    for (int r = 0; r < l->ranks; r++) {
        if (l->polls[r].fd < 0) continue;
        wire_flush(&l->wires[r]);
        hear_one(l, r);
    }
}

// ---- telling ----

static void relay_stop(Heartbeat *l) {
    if (l->stop_told || !signals_stop_asked()) return;
    l->stop_told = true;
    for (int r = 0; r < l->ranks; r++) wire_put_text(&l->wires[r], FRAME_STOP, 0, NULL);
}

// Until all others have closed their ends: what they have not read yet would be lost with a connection that is closed
// while there is something to read on it.
static void drain(Heartbeat *l, double seconds) {
    double end = time_now() + seconds;
    for (int r = 0; r < l->ranks; r++) {
        wire_flush(&l->wires[r]);
        l->wires[r].out_size = 0; // a peer that takes nothing
        if (l->wires[r].fd >= 0) shutdown(l->wires[r].fd, SHUT_WR);
    }
    for (bool open = true; open && time_now() < end;) {
        open = false;
        wait_for_words(l);
        for (int r = 0; r < l->ranks; r++) {
            HeartbeatFrame f;
            WireEvent e;
            while ((e = wire_get(&l->wires[r], &f)) == WIRE_FRAME) continue;
            if (e == WIRE_ENDED || e == WIRE_GARBAGE) wire_close(&l->wires[r]);
            open = open || l->wires[r].fd >= 0;
        }
    }
}

// Tells who is there. Those who have failed themselves, where that is the reason, print their own message.
static void raise_alarm(Heartbeat *l, const WatchdogVerdict *v) {
    Err line;
    watchdog_describe(&line, v, l->signs, l->members, l->ranks, l->fault);
    int status = v->cause == FAULT_FAILED ? l->fault_status : EXIT_RUNTIME;
    bool own = v->cause == FAULT_FAILED && l->signs[l->rank].presence == PEER_FAILED;
    for (int r = 0; r < l->ranks; r++) {
        bool fellow = v->cause == FAULT_FAILED && l->signs[r].presence == PEER_FAILED;
        if (is_hub(l))
            wire_put_text(&l->wires[r], fellow ? FRAME_GOODBYE : FRAME_ALARM, status, fellow ? NULL : line.msg);
    }
    if (is_hub(l)) drain(l, fmin(DEATH_SHOWS, l->limit / 16));
    if (!own) end_process(line.msg, status);
    l->done = true;
}

static void decide(Heartbeat *l) {
    if (l->done) return;
    WatchdogVerdict v = watchdog_judge(l->signs, l->ranks, l->now, l->limit, fmin(DEATH_SHOWS, l->limit / 8));
    if (v.cause != FAULT_NONE) raise_alarm(l, &v);
}

// ---- leaving ----

static bool all_closed(const Heartbeat *l) {
    for (int r = 0; r < l->ranks; r++)
        if (l->wires[r].fd >= 0) return false;
    return true;
}

static void start_leaving(Heartbeat *l, Leaving how) {
    l->left_at = l->now;
    if (how == LEAVES_FAULTY && is_hub(l))
        hear_failure(l, 0, l->reason, l->status);
    else if (how == LEAVES_FAULTY)
        wire_put_text(&l->wires[0], FRAME_FAILED, l->status, l->reason);
    else
        for (int r = 0; r < l->ranks; r++) wire_put_text(&l->wires[r], FRAME_GOODBYE, 0, NULL);
}

static void leave(Heartbeat *l) {
    Leaving how = (Leaving)atomic_load(&l->leaving);
    if (how != STAYS && l->left_at == 0) start_leaving(l, how);
    if (l->left_at > 0 && (all_closed(l) || l->now - l->left_at > PATIENCE)) l->done = true;
}

static void *watch(void *heartbeat) {
    Heartbeat *l = heartbeat;
    while (!l->done) {
        wait_for_words(l);
        advance(l);
        hear_all(l);
        relay_stop(l);
        beat(l);
        decide(l);
        leave(l);
    }
    return NULL;
}

// ---- opening ----

static void free_heartbeat(Heartbeat *l) {
    for (int r = 0; r < l->ranks; r++) wire_close(&l->wires[r]);
    if (l->wake >= 0) close(l->wake);
    mem_free(l->members);
    mem_free(l->signs);
    mem_free(l->wires);
    mem_free(l->polls);
    mem_free(l);
}

static Heartbeat *new_heartbeat(int rank, int ranks, const RankProcess *members, const int *fds, double timeout) {
    Heartbeat *l = mem_calloc(1, sizeof *l);
    size_t n = (size_t)ranks;
    l->rank = rank;
    l->ranks = ranks;
    l->limit = RANKS_TIMEOUT_SHARE * timeout;
    l->beat_every = fmin(fmax(timeout / 20, 0.05), 5);
    l->members = mem_alloc(n, sizeof *l->members);
    memcpy(l->members, members, n * sizeof *members);
    l->signs = mem_calloc(n, sizeof *l->signs);
    l->wires = mem_calloc(n, sizeof *l->wires);
    l->polls = mem_calloc(n + 1, sizeof *l->polls);
    l->real = time_now();
    l->now = l->cpu_at = 1; // no time is 0
    l->cpu = cpu_seconds();
    l->faulty = -1;
    for (int r = 0; r < ranks; r++) {
        bool connected = rank == 0 ? r > 0 : r == 0;
        l->wires[r].fd = connected ? fds[r] : -1;
        bool known = rank == 0 || r == 0;
        l->signs[r] = (PeerStatus){.presence = known ? PEER_CONNECTED : PEER_LEFT, .heard = l->now, .moved = l->now};
    }
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return l;
}

// Signals are for the thread that waits for them, whether it has been started yet or not.
static int start_thread(Heartbeat *l) {
    sigset_t all, before;
    sigfillset(&all);
    int failed = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (failed) return failed;
    failed = pthread_create(&l->thread, NULL, watch, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

int heartbeat_over_sockets(Heartbeat **l, int rank, int ranks, const RankProcess *members, const int *fds,
                           double timeout, Err *err) {
    Heartbeat *line = new_heartbeat(rank, ranks, members, fds, timeout);
    int failed = line->wake < 0 ? errno : start_thread(line);
    if (failed) {
        free_heartbeat(line); // and closes what it was given
        return err_runtime(err, "no thread to watch the other ranks: %s", strerror(failed));
    }
    *l = line;
    return 0;
}

static RankProcess own_member(void) {
    RankProcess m = {.process = getpid()};
    if (gethostname(m.host, sizeof m.host - 1)) snprintf(m.host, sizeof m.host, "?");
    return m;
}

int heartbeat_open(Heartbeat **l, Group *g, double timeout, Err *err) {
    *l = NULL;
    if (g->ranks == 1) return 0;
    RankProcess mine = own_member(), *members = mem_calloc((size_t)g->ranks, sizeof *members);
    RankSockets sockets = {0};
    int rc = group_gather(g, members, &mine, sizeof mine, err);
    for (int r = 0; r < g->ranks && !rc; r++) GROUP_END_TEXT(members[r].host);
    if (!rc)
        rc = group_agree(
            g, rendezvous_over_group(&sockets, g, RENDEZVOUS_HEARTBEAT, RANKS_TIMEOUT_SHARE * timeout, err), err);
    if (!rc) {
        rc = group_agree(g, heartbeat_over_sockets(l, g->rank, g->ranks, members, sockets.fds, timeout, err), err);
        mem_free(sockets.fds); // the connections are the heartbeat's
        if (rc) heartbeat_close(*l, 0, NULL);
        if (rc) *l = NULL;
        if (!rc) g->limit = 0; // the heartbeat watches from here
    } else {
        rank_sockets_close(&sockets);
    }
    mem_free(members);
    return rc;
}

void heartbeat_set_phase(Heartbeat *l, HeartbeatPhase phase, int64_t step) {
    if (!l) return;
    if (step > 0) atomic_store_explicit(&l->step, step, memory_order_relaxed);
    atomic_store_explicit(&l->phase, (int)phase, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->calls, 1, memory_order_relaxed);
}

void heartbeat_close(Heartbeat *l, int status, const char *msg) {
    if (!l) return;
    bool faulty = msg && *msg;
    l->status = status;
    snprintf(l->reason, sizeof l->reason, "%s", faulty ? msg : "");
    atomic_store(&l->leaving, faulty ? LEAVES_FAULTY : LEAVES_WELL);
    uint64_t one = 1;
    ssize_t written = write(l->wake, &one, sizeof one);
    CHECK(written == sizeof one, "eventfd");
    pthread_join(l->thread, NULL);
    free_heartbeat(l);
}
