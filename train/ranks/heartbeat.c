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

enum { FRAMES_AT_ONCE = 16 }; // read from a peer before the next one has its turn
static const double GOODBYE_SECONDS = 2;
static const double TICK = 0.1;          // seconds between checks for a stop
static const double BUSY = 0.02;         // share of a core: a pass that uses less makes no progress
static const double DEATH_SECONDS = 0.2; // from the death of a process to the end of its connection

typedef enum { STAYS, LEAVES_WELL, LEAVES_FAILED } Leaving;

struct Heartbeat {
    int rank, ranks;
    double limit, beat_every; // seconds
    RankProcess *members;     // [ranks]
    PeerStatus *peers;        // [ranks]; rank 0: all, the others: rank 0's
    HeartbeatWire *wires;     // [ranks], as peers
    struct pollfd *polls;     // [ranks + 1]
    int wake;                 // eventfd
    pthread_t thread;
    // Set by the main thread.
    atomic_int phase, leaving;
    atomic_llong step, calls;
    int status; // as `reason`, written before `leaving`
    char reason[sizeof((Err *)0)->msg];
    // Of the heartbeat thread alone.
    double now, real;                     // seconds in which this process ran; of the monotonic clock
    double beaten, left_at;               // last beat; left_at 0: not leaving yet
    double cpu, cpu_at;                   // seconds of CPU time at cpu_at
    int64_t cpu_ticks;                    // intervals with enough CPU time
    int failed;                           // the first rank that failed, -1: none; its
    int failed_status;                    // status
    char failed_text[FRAME_MAX_TEXT + 1]; // and message
    bool stop_sent, done;
};

static bool is_rank_0(const Heartbeat *h) { return h->rank == 0; }

// ---- the end ----

// The main thread may hold any lock: uses no stdio, frees nothing.
__attribute__((noreturn)) static void end_process(const char *line, int status) {
    char text[FRAME_MAX_TEXT + 16];
    char clean[FRAME_MAX_TEXT];
    snprintf(clean, sizeof clean, "%s", line); // a peer's text may hold control characters
    clean_line(clean);
    int n = snprintf(text, sizeof text, "lorac: %s\n", clean);
    ssize_t written = write(STDERR_FILENO, text, (size_t)n);
    _exit(written < 0 ? EXIT_RUNTIME : status);
}

static int known_status(int status) { return status == EXIT_INPUT || status == EXIT_NO_FIT ? status : EXIT_RUNTIME; }

// ---- time ----

// Caps a gap in which this process was stopped or starved: messages sent meanwhile are still unread, and ranks stopped
// together with this one have sent none.
static void advance(Heartbeat *h) {
    double real = time_now();
    h->now += fmin(real - h->real, 4 * h->beat_every);
    h->real = real;
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void count_cpu(Heartbeat *h) {
    double cpu = cpu_seconds(), span = h->now - h->cpu_at;
    if (span < h->beat_every) return;
    if (atomic_load(&h->phase) == PHASE_COMPUTING_ON_CPU && cpu - h->cpu > BUSY * span) h->cpu_ticks++;
    h->cpu = cpu;
    h->cpu_at = h->now;
}

// ---- status of a peer ----

static void set_peer_state(Heartbeat *h, int rank, PeerState p) {
    h->peers[rank].state = p;
    h->peers[rank].since = h->now;
}

static void note_beat(Heartbeat *h, int rank, const HeartbeatFrame *f) {
    PeerStatus *s = &h->peers[rank];
    if (f->phase != s->phase || f->step != s->step || f->progress != s->progress) s->moved = h->now;
    s->phase = (HeartbeatPhase)f->phase;
    s->step = f->step;
    s->progress = f->progress;
    s->heard = h->now;
}

static void beat(Heartbeat *h) {
    count_cpu(h);
    HeartbeatFrame f = {.kind = FRAME_BEAT, .phase = (uint8_t)atomic_load(&h->phase), .step = atomic_load(&h->step)};
    f.progress = atomic_load(&h->calls) + h->cpu_ticks;
    if (is_rank_0(h)) note_beat(h, 0, &f);
    if (h->now - h->beaten < h->beat_every) return;
    h->beaten = h->now;
    for (int r = 0; r < h->ranks; r++) wire_put(&h->wires[r], &f);
}

// ---- receiving ----

static void on_failure(Heartbeat *h, int rank, const char *text, int status) {
    if (h->peers[rank].state == PEER_CONNECTED) set_peer_state(h, rank, PEER_FAILED);
    if (h->failed >= 0) return;
    h->failed = rank;
    h->failed_status = known_status(status);
    snprintf(h->failed_text, sizeof h->failed_text, "%s", text);
}

static void on_frame(Heartbeat *h, int rank, const HeartbeatFrame *f) {
    h->peers[rank].heard = h->now;
    switch ((FrameKind)f->kind) {
    case FRAME_BEAT:
        if (f->phase > PHASE_WAITING) set_peer_state(h, rank, PEER_GARBLED);
        if (is_rank_0(h)) note_beat(h, rank, f);
        break;
    case FRAME_STOP:
        signals_ask_stop(); // rank 0 relays it in relay_stop
        if (!is_rank_0(h)) h->stop_sent = true;
        break;
    case FRAME_GOODBYE:
        set_peer_state(h, rank, PEER_LEFT);
        wire_close(&h->wires[rank]); // acknowledges it
        if (!is_rank_0(h)) h->done = true;
        break;
    case FRAME_FAILED: on_failure(h, rank, f->text, f->status); break;
    case FRAME_ALARM:
        if (!is_rank_0(h)) end_process(f->text, known_status(f->status));
        set_peer_state(h, rank, PEER_GARBLED); // only rank 0 raises alarms
        break;
    }
}

// After FRAME_GOODBYE, the end of the connection is its acknowledgement. The connection of a peer that sent garbage
// stays open, so that it receives the reason.
static void on_end(Heartbeat *h, int rank, PeerState how) {
    bool answer = h->left_at > 0 && atomic_load(&h->leaving) == LEAVES_WELL;
    if (answer || how == PEER_LOST) wire_close(&h->wires[rank]);
    if (h->peers[rank].state == PEER_CONNECTED) set_peer_state(h, rank, answer ? PEER_LEFT : how);
}

static void read_peer(Heartbeat *h, int rank) {
    HeartbeatFrame f;
    WireEvent e = WIRE_FRAME;
    for (int i = 0; i < FRAMES_AT_ONCE && e == WIRE_FRAME; i++) {
        e = wire_get(&h->wires[rank], &f);
        if (e == WIRE_FRAME) on_frame(h, rank, &f);
    }
    if (e == WIRE_ENDED) on_end(h, rank, PEER_LOST);
    if (e == WIRE_GARBAGE) on_end(h, rank, PEER_GARBLED);
}

static void wait_for_input(Heartbeat *h) {
    h->polls[h->ranks] = (struct pollfd){.fd = h->wake, .events = POLLIN};
    for (int r = 0; r < h->ranks; r++) { // poll ignores negative descriptors
        short out = h->wires[r].out_size > 0 ? POLLOUT : 0;
        h->polls[r] = (struct pollfd){.fd = h->wires[r].fd, .events = (short)(POLLIN | out)};
    }
    poll(h->polls, (nfds_t)h->ranks + 1, (int)(1000 * fmin(h->beat_every, TICK)));
    uint64_t drained;
    if (h->polls[h->ranks].revents && read(h->wake, &drained, sizeof drained) < 0)
        return; // the eventfd only wakes the thread
}

static void read_all(Heartbeat *h) {
    for (int r = 0; r < h->ranks; r++) {
        if (h->polls[r].fd < 0) continue;
        wire_flush(&h->wires[r]);
        read_peer(h, r);
    }
}

// ---- sending ----

static void relay_stop(Heartbeat *h) {
    if (h->stop_sent || !signals_stop_asked()) return;
    h->stop_sent = true;
    for (int r = 0; r < h->ranks; r++) wire_put_text(&h->wires[r], FRAME_STOP, 0, NULL);
}

// Waits until the peers have closed their ends: closing a connection with unread input would discard what they have not
// read yet.
static void drain(Heartbeat *h, double seconds) {
    double end = time_now() + seconds;
    for (int r = 0; r < h->ranks; r++) {
        wire_flush(&h->wires[r]);
        h->wires[r].out_size = 0; // a peer that reads nothing
        if (h->wires[r].fd >= 0) shutdown(h->wires[r].fd, SHUT_WR);
    }
    for (bool open = true; open && time_now() < end;) {
        open = false;
        wait_for_input(h);
        for (int r = 0; r < h->ranks; r++) {
            HeartbeatFrame f;
            WireEvent e;
            while ((e = wire_get(&h->wires[r], &f)) == WIRE_FRAME) continue;
            if (e == WIRE_ENDED || e == WIRE_GARBAGE) wire_close(&h->wires[r]);
            open = open || h->wires[r].fd >= 0;
        }
    }
}

// Sends the verdict to all peers. Ranks that have failed themselves get a goodbye: they print their own message.
static void raise_alarm(Heartbeat *h, const WatchdogVerdict *v) {
    Err line;
    watchdog_describe(&line, v, h->peers, h->members, h->ranks, h->failed_text);
    int status = v->cause == FAULT_FAILED ? h->failed_status : EXIT_RUNTIME;
    bool own = v->cause == FAULT_FAILED && h->peers[h->rank].state == PEER_FAILED;
    for (int r = 0; r < h->ranks; r++) {
        bool failed = v->cause == FAULT_FAILED && h->peers[r].state == PEER_FAILED;
        if (is_rank_0(h))
            wire_put_text(&h->wires[r], failed ? FRAME_GOODBYE : FRAME_ALARM, status, failed ? NULL : line.msg);
    }
    if (is_rank_0(h)) drain(h, fmin(DEATH_SECONDS, h->limit / 16));
    if (!own) end_process(line.msg, status);
    h->done = true;
}

static void decide(Heartbeat *h) {
    if (h->done) return;
    WatchdogVerdict v = watchdog_judge(h->peers, h->ranks, h->now, h->limit, fmin(DEATH_SECONDS, h->limit / 8));
    if (v.cause != FAULT_NONE) raise_alarm(h, &v);
}

// ---- leaving ----

static bool all_closed(const Heartbeat *h) {
    for (int r = 0; r < h->ranks; r++)
        if (h->wires[r].fd >= 0) return false;
    return true;
}

static void start_leaving(Heartbeat *h, Leaving how) {
    h->left_at = h->now;
    if (how == LEAVES_FAILED && is_rank_0(h))
        on_failure(h, 0, h->reason, h->status);
    else if (how == LEAVES_FAILED)
        wire_put_text(&h->wires[0], FRAME_FAILED, h->status, h->reason);
    else
        for (int r = 0; r < h->ranks; r++) wire_put_text(&h->wires[r], FRAME_GOODBYE, 0, NULL);
}

static void leave(Heartbeat *h) {
    Leaving how = (Leaving)atomic_load(&h->leaving);
    if (how != STAYS && h->left_at == 0) start_leaving(h, how);
    if (h->left_at > 0 && (all_closed(h) || h->now - h->left_at > GOODBYE_SECONDS)) h->done = true;
}

static void *watch(void *heartbeat) {
    Heartbeat *h = heartbeat;
    while (!h->done) {
        wait_for_input(h);
        advance(h);
        read_all(h);
        relay_stop(h);
        beat(h);
        decide(h);
        leave(h);
    }
    return NULL;
}

// ---- opening ----

static void free_heartbeat(Heartbeat *h) {
    for (int r = 0; r < h->ranks; r++) wire_close(&h->wires[r]);
    if (h->wake >= 0) close(h->wake);
    mem_free(h->members);
    mem_free(h->peers);
    mem_free(h->wires);
    mem_free(h->polls);
    mem_free(h);
}

static Heartbeat *new_heartbeat(int rank, int ranks, const RankProcess *members, const int *fds, double timeout) {
    Heartbeat *h = mem_calloc(1, sizeof *h);
    size_t n = (size_t)ranks;
    h->rank = rank;
    h->ranks = ranks;
    h->limit = RANKS_TIMEOUT_SHARE * timeout;
    h->beat_every = fmin(fmax(timeout / 20, 0.05), 5);
    h->members = mem_alloc(n, sizeof *h->members);
    memcpy(h->members, members, n * sizeof *members);
    h->peers = mem_calloc(n, sizeof *h->peers);
    h->wires = mem_calloc(n, sizeof *h->wires);
    h->polls = mem_calloc(n + 1, sizeof *h->polls);
    h->real = time_now();
    h->now = h->cpu_at = 1; // 0 means never
    h->cpu = cpu_seconds();
    h->failed = -1;
    for (int r = 0; r < ranks; r++) {
        bool connected = rank == 0 ? r > 0 : r == 0;
        h->wires[r].fd = connected ? fds[r] : -1;
        bool known = rank == 0 || r == 0;
        h->peers[r] = (PeerStatus){.state = known ? PEER_CONNECTED : PEER_LEFT, .heard = h->now, .moved = h->now};
    }
    h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return h;
}

// With all signals blocked: they belong to the thread of signals.c.
static int start_thread(Heartbeat *h) {
    sigset_t all, before;
    sigfillset(&all);
    int failed = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (failed) return failed;
    failed = pthread_create(&h->thread, NULL, watch, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

int heartbeat_over_sockets(Heartbeat **h, int rank, int ranks, const RankProcess *members, const int *fds,
                           double timeout, Err *err) {
    Heartbeat *new = new_heartbeat(rank, ranks, members, fds, timeout);
    int failed = new->wake < 0 ? errno : start_thread(new);
    if (failed) {
        free_heartbeat(new); // closes fds
        return err_runtime(err, "no thread to watch the other ranks: %s", strerror(failed));
    }
    *h = new;
    return 0;
}

static RankProcess own_member(const char *role) {
    RankProcess m = {.process = getpid()};
    char host[40] = "";
    if (gethostname(m.host, sizeof m.host - 1)) snprintf(m.host, sizeof m.host, "?");
    if (!role) return m;
    snprintf(host, sizeof host, "%.39s", m.host);
    snprintf(m.host, sizeof m.host, "%s, %.20s", host, role);
    return m;
}

int heartbeat_open(Heartbeat **h, Group *g, const char *role, double timeout, Err *err) {
    *h = NULL;
    if (g->ranks == 1) return 0;
    RankProcess mine = own_member(role);
    AUTO_FREE RankProcess *members = mem_calloc((size_t)g->ranks, sizeof *members);
    AUTO_CALL(rank_sockets_close) RankSockets sockets = {0};
    if (group_gather(g, members, &mine, sizeof mine, err)) return -1;
    for (int r = 0; r < g->ranks; r++) GROUP_END_TEXT(members[r].host);
    int rc = rendezvous_over_group(&sockets, g, RENDEZVOUS_HEARTBEAT, RANKS_TIMEOUT_SHARE * timeout, err);
    if (group_agree(g, rc, err)) return -1;
    sockets.ranks = 0; // the connections belong to the heartbeat
    rc = heartbeat_over_sockets(h, g->rank, g->ranks, members, sockets.fds, timeout, err);
    if (group_agree(g, rc, err) == 0) {
        g->limit = 0; // from here the heartbeat bounds the waiting
        return 0;
    }
    heartbeat_close(*h, 0, NULL);
    *h = NULL;
    return -1;
}

void heartbeat_set_phase(Heartbeat *h, HeartbeatPhase phase, int64_t step) {
    if (!h) return;
    if (step > 0) atomic_store_explicit(&h->step, step, memory_order_relaxed);
    atomic_store_explicit(&h->phase, (int)phase, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->calls, 1, memory_order_relaxed);
}

void heartbeat_close(Heartbeat *h, int status, const char *msg) {
    if (!h) return;
    bool failed = msg && *msg;
    h->status = status;
    snprintf(h->reason, sizeof h->reason, "%s", failed ? msg : "");
    atomic_store(&h->leaving, failed ? LEAVES_FAILED : LEAVES_WELL);
    uint64_t one = 1;
    ssize_t written = write(h->wake, &one, sizeof one);
    CHECK(written == sizeof one, "eventfd");
    pthread_join(h->thread, NULL);
    free_heartbeat(h);
}
