// group_mpi: the group of the ranks that an MPI launcher has started (mpirun, srun with PMIx, the MPI Operator), as
// lorac-mpi.so. The only file that uses MPI.
//
// MPI spins while it waits, and ranks may share cores. So nothing here blocks inside MPI: a call first waits for the
// other ranks, polling with sleeps, and then polls until the exchange is complete, which takes milliseconds.
#include <limits.h>
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "module.h"

// Bytes per message: MPI counts in int. A test compiles this file with a small value.
#ifndef MPI_PIECE
#define MPI_PIECE (1 << 30)
#endif
// Numbers summed at once; bounds the second buffer.
enum { SUM_PIECE = MPI_PIECE < 1 << 23 ? MPI_PIECE : 1 << 23 };

typedef struct Polling {
    double busy;        // seconds of polling before the first sleep
    long longest_sleep; // nanoseconds
    double limit;       // seconds until the call fails; 0: the group's limit
} Polling;

static const Polling for_others = {.busy = 1e-4, .longest_sleep = 1000000};
static const Polling for_exchange = {.busy = 0.05, .longest_sleep = 50000};
static const Polling for_goodbye = {.busy = 1e-4, .longest_sleep = 1000000, .limit = 10};

typedef struct MpiState {
    MPI_Comm comm;
    int *counts, *starts; // [ranks] of the slices
    int64_t *slices;      // [slices_n] every rank's numbers of the slice that this rank sums
    int64_t slices_n;
} MpiState;

static MpiState *state_of(const Group *g) { return g->state; }

static MPI_Comm comm_of(const Group *g) { return state_of(g)->comm; }

static int checked(int rc, const char *what, Err *err) {
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int n = 0;
    if (rc == MPI_SUCCESS) return 0;
    MPI_Error_string(rc, text, &n);
    return err_runtime(err, "MPI: %s: %s", what, text);
}

enum { FIRST_NAP = 50000 };
typedef struct Pause {
    Polling p;
    long nap; // nanoseconds of the next sleep
} Pause;

// Between two looks at a request, after so many seconds. -1: it has timed out.
static int pause_polling(Pause *s, const Group *g, double waited, const char *what, Err *err) {
    double limit = s->p.limit > 0 ? s->p.limit : g->limit;
    if (limit > 0 && waited > limit)
        return err_runtime(err, "MPI: %s: timed out after %.1f s: another rank is stopped, hangs, or is unreachable",
                           what, waited);
    if (waited < s->p.busy) {
        sched_yield();
        return 0;
    }
    nanosleep(&(struct timespec){.tv_nsec = s->nap}, NULL);
    if (2 * s->nap <= s->p.longest_sleep) s->nap *= 2;
    return 0;
}

// `rc`: of the call that started the request.
static int finish(const Group *g, int rc, MPI_Request request, Polling p, const char *what, Err *err) {
    double start = time_now();
    Pause pause = {p, FIRST_NAP};
    for (int done = 0; !checked(rc, what, err);) {
        rc = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (rc == MPI_SUCCESS && done) return 0;
        if (pause_polling(&pause, g, time_now() - start, what, err)) return -1;
    }
    return -1;
}

static int meet(Group *g, Polling p, Err *err) {
    MPI_Request request = MPI_REQUEST_NULL;
    int rc = MPI_Ibarrier(comm_of(g), &request);
    return finish(g, rc, request, p, "waiting for the other ranks", err);
}

static int mpi_broadcast(Group *g, void *data, size_t n, int from, Err *err) {
    if (meet(g, for_others, err)) return -1;
    for (size_t done = 0, piece; done < n; done += piece) {
        MPI_Request request = MPI_REQUEST_NULL;
        piece = n - done < MPI_PIECE ? n - done : MPI_PIECE;
        int rc = MPI_Ibcast((char *)data + done, (int)piece, MPI_BYTE, from, comm_of(g), &request);
        if (finish(g, rc, request, for_exchange, "broadcast", err)) return -1;
    }
    return 0;
}

// More than a piece per rank: one rank after the other.
static int gather_large(Group *g, char *all, const void *mine, size_t n, Err *err) {
    memcpy(all + (size_t)g->rank * n, mine, n);
    for (int i = 0; i < g->ranks; i++)
        if (mpi_broadcast(g, all + (size_t)i * n, n, i, err)) return -1;
    return 0;
}

static int mpi_gather(Group *g, void *all, const void *mine, size_t n, Err *err) {
    MPI_Request request = MPI_REQUEST_NULL;
    if (n > MPI_PIECE) return gather_large(g, all, mine, n, err);
    if (meet(g, for_others, err)) return -1;
    int rc = MPI_Iallgather(mine, (int)n, MPI_BYTE, all, (int)n, MPI_BYTE, comm_of(g), &request);
    return finish(g, rc, request, for_exchange, "gather", err);
}

// Each rank sums one slice and sends it to all: two rounds, and the traffic per rank hardly grows with their number.
// (MPI_Iallreduce of Open MPI 4 in place sends the whole vector log2(ranks) times, up and down a tree.)
static int add_slices(Group *g, int64_t *data, int64_t n, Err *err) {
    MpiState *m = state_of(g);
    MPI_Request request = MPI_REQUEST_NULL;
    int mine = (int)(n / g->ranks + (g->rank < n % g->ranks)), *own_counts = m->counts + g->ranks;
    int *own_starts = m->starts + g->ranks;
    for (int r = 0; r < g->ranks; r++) {
        m->counts[r] = (int)(n / g->ranks + (r < n % g->ranks));
        m->starts[r] = r ? m->starts[r - 1] + m->counts[r - 1] : 0;
        own_counts[r] = mine;
        own_starts[r] = r * mine;
    }
    if (m->slices_n < (int64_t)mine * g->ranks) {
        m->slices_n = (int64_t)mine * g->ranks;
        m->slices = mem_realloc(m->slices, (size_t)m->slices_n, sizeof *m->slices);
    }
    int rc = MPI_Ialltoallv(data, m->counts, m->starts, MPI_INT64_T, m->slices, own_counts, own_starts, MPI_INT64_T,
                            m->comm, &request);
    if (finish(g, rc, request, for_exchange, "sum", err)) return -1;
    uint64_t *sum = (uint64_t *)data + m->starts[g->rank];
    memset(sum, 0, (size_t)mine * sizeof *sum);
    for (int r = 0; r < g->ranks; r++)
        for (int i = 0; i < mine; i++) sum[i] += (uint64_t)m->slices[(int64_t)r * mine + i];
    rc =
        MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, m->counts, m->starts, MPI_INT64_T, m->comm, &request);
    return finish(g, rc, request, for_exchange, "sum", err);
}

static int mpi_sum(Group *g, int64_t *data, int64_t n, Err *err) {
    if (meet(g, for_others, err)) return -1;
    for (int64_t done = 0, piece; done < n; done += piece) {
        piece = n - done < SUM_PIECE ? n - done : SUM_PIECE;
        if (add_slices(g, data + done, piece, err)) return -1;
    }
    return 0;
}

// ---- messages between two ranks ----

enum { TAG_MESSAGE = 1 };

static size_t pieces_of(const GroupMessage *m) { return !m ? 0 : m->bytes ? (m->bytes - 1) / MPI_PIECE + 1 : 1; }

static int piece_bytes(const GroupMessage *m, size_t piece) {
    size_t left = m->bytes - piece * MPI_PIECE;
    return (int)(left < MPI_PIECE ? left : MPI_PIECE);
}

static int start_pieces(const Group *g, const GroupMessage *m, bool sends, MPI_Request *requests, Err *err) {
    for (size_t i = 0; i < pieces_of(m); i++) {
        char *at = (char *)m->data + i * MPI_PIECE;
        int n = piece_bytes(m, i);
        int rc = sends ? MPI_Isend(at, n, MPI_BYTE, m->peer, TAG_MESSAGE, comm_of(g), &requests[i])
                       : MPI_Irecv(at, n, MPI_BYTE, m->peer, TAG_MESSAGE, comm_of(g), &requests[i]);
        if (checked(rc, "message", err)) return -1;
    }
    return 0;
}

// A message of another size than expected: the ranks are out of step. (A longer one is an error of MPI.)
static int check_sizes(const GroupMessage *in, const MPI_Status *statuses, Err *err) {
    for (size_t i = 0; i < pieces_of(in); i++) {
        int got = 0;
        MPI_Get_count(&statuses[i], MPI_BYTE, &got);
        if (got != piece_bytes(in, i))
            return err_runtime(err, "ranks are out of step: rank %d sent %d bytes; expected %d", in->peer, got,
                               piece_bytes(in, i));
    }
    return 0;
}

static int mpi_exchange(Group *g, const GroupMessage *out, const GroupMessage *in, Err *err) {
    size_t n_in = pieces_of(in), n = n_in + pieces_of(out);
    AUTO_FREE MPI_Request *requests = mem_calloc(n, sizeof *requests);
    AUTO_FREE MPI_Status *statuses = mem_calloc(n, sizeof *statuses);
    double start = time_now();
    Pause pause = {for_exchange, FIRST_NAP};
    if (start_pieces(g, in, false, requests, err) || start_pieces(g, out, true, requests + n_in, err)) return -1;
    for (int done = 0; !done;) {
        if (checked(MPI_Testall((int)n, requests, &done, statuses), "message", err)) return -1;
        if (!done && pause_polling(&pause, g, time_now() - start, "message", err)) return -1;
    }
    return check_sizes(in, statuses, err);
}

// ---- a deadline for MPI calls that have none ----

typedef struct Watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool over;
    double seconds;
    const char *what;
} Watch;

// Counts ticks of this process, so that a job suspended as a whole is not ended.
static void *watch(void *user) {
    Watch *w = user;
    char line[160];
    pthread_mutex_lock(&w->lock);
    for (int ticks = (int)(w->seconds * 10) + 1; ticks > 0 && !w->over; ticks--) {
        struct timespec end;
        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_nsec += 100000000;
        if (end.tv_nsec >= 1000000000) end.tv_sec++, end.tv_nsec -= 1000000000;
        pthread_cond_timedwait(&w->change, &w->lock, &end);
    }
    bool over = w->over;
    pthread_mutex_unlock(&w->lock);
    if (over) return NULL;
    int n = snprintf(line, sizeof line,
                     "lorac: MPI: %s: timed out after %.1f s: another rank is stopped, hangs, or is unreachable\n",
                     w->what, w->seconds);
    if (write(STDERR_FILENO, line, (size_t)n) < 0) _exit(EXIT_RUNTIME);
    _exit(EXIT_RUNTIME); // the main thread is blocked inside MPI
}

static void watch_start(Watch *w, double seconds, const char *what) {
    sigset_t all, before;
    *w = (Watch){.lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER, .over = true};
    if (seconds <= 0) return;
    w->seconds = seconds, w->what = what, w->over = false;
    sigfillset(&all); // signals belong to the thread of signals.c
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&w->thread, NULL, watch, w)) w->over = true; // without a thread: no deadline
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void watch_end(Watch *w) {
    if (w->over) return;
    pthread_mutex_lock(&w->lock);
    w->over = true;
    pthread_cond_signal(&w->change);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
}

// ---- the end ----

// MPI_Finalize waits for every rank, so a barrier with a deadline precedes it. A failed rank exits without it: then the
// launcher ends the whole job.
static void mpi_close(Group *g, bool failed) {
    MpiState *m = state_of(g);
    if (!failed && !meet(g, for_goodbye, NULL)) {
        Watch w;
        watch_start(&w, for_goodbye.limit, "end");
        MPI_Comm_free(&m->comm);
        MPI_Finalize();
        watch_end(&w);
    }
    mem_free(m->counts);
    mem_free(m->starts);
    mem_free(m->slices);
    mem_free(m);
}

static const GroupCalls mpi_calls = {
    .name = "mpi",
    .broadcast = mpi_broadcast,
    .gather = mpi_gather,
    .sum = mpi_sum,
    .exchange = mpi_exchange,
    .close = mpi_close,
};

// Defaults for Open MPI that its user can override. Over TCP, "put" makes two ranks that exchange much data take turns:
// a sum takes 1.4 times as long. On one machine ranks would read each other's memory, which containers forbid, with a
// warning for every message.
static void set_defaults(void) {
    setenv("OMPI_MCA_btl_tcp_flags", "send", 0);
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
}

// With all signals blocked, so that threads of MPI do not receive them.
static int start_mpi(int *provided) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, provided);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

// The ranks of this machine: those that can share memory.
static int number_local_ranks(Group *g, MPI_Comm comm, Err *err) {
    MPI_Comm machine;
    int rc = MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, g->rank, MPI_INFO_NULL, &machine);
    if (checked(rc, "ranks of this machine", err)) return -1;
    MPI_Comm_rank(machine, &g->local_rank);
    MPI_Comm_size(machine, &g->local_ranks);
    MPI_Comm_free(&machine);
    return 0;
}

static int open_group(Group *g, Err *err) {
    MPI_Comm comm;
    int provided = 0;
    set_defaults();
    if (checked(start_mpi(&provided), "start", err)) return -1;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &g->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &g->ranks);
    if (provided < MPI_THREAD_FUNNELED) return err_runtime(err, "MPI: this build does not support threads");
    if (g->ranks == 1) return checked(MPI_Finalize(), "end", err);
    if (checked(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "start", err) || number_local_ranks(g, comm, err)) return -1;
    MpiState *m = g->state = mem_calloc(1, sizeof *m);
    g->calls = &mpi_calls;
    m->comm = comm;
    m->counts = mem_calloc(2 * (size_t)g->ranks, sizeof *m->counts);
    m->starts = mem_calloc(2 * (size_t)g->ranks, sizeof *m->starts);
    return 0;
}

int lorac_mpi_open(Group *g, double seconds, Err *err) {
    Watch w;
    *g = group_alone();
    watch_start(&w, seconds, "start");
    int rc = open_group(g, err);
    watch_end(&w);
    g->limit = seconds;
    return rc;
}
