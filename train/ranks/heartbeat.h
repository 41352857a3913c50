// heartbeat: how the ranks of a run notice that one of them is gone, hangs, has failed, or was asked to stop.
//
// A thread of each rank keeps a TCP connection to rank 0, beats on it and says what its rank is at. Rank 0 tells the
// others what has happened. A peer that died (its connection ends) is noticed at once; one that is silent, or that
// makes no progress while others wait for it, before `timeout` seconds have passed. Then the thread prints one line
// that names the peer and ends the process (EXIT_RUNTIME): the main thread may be waiting inside MPI or NCCL for ever.
// What is half-written then is a temporary file, as after kill -9.
// It also carries a stop (signals.h): one rank that is asked to stop is all of them.
//
// Time in which this process itself did not run does not count: a job that was suspended as a whole goes on.
// Files: heartbeat_wire (messages), watchdog_judge (decides), heartbeat.c (the thread).
#pragma once

#include "group.h"

typedef struct Heartbeat Heartbeat; // all calls take NULL: alone

typedef enum {
    PHASE_UNTIMED,          // set-up, saving: only silence counts
    PHASE_COMPUTING,        // a pass on a device: no call for `timeout` seconds while others wait as long: it hangs
    PHASE_COMPUTING_ON_CPU, // the same, but a pass may take any time as long as it uses the CPU
    PHASE_WAITING,          // for other ranks; when all do, for `timeout` seconds, something between them is broken
} HeartbeatPhase;

// The other ranks of a run; borrowed by all that work with them.
typedef struct RankContext {
    Group *group;
    Heartbeat *heartbeat; // NULL: alone
} RankContext;

// Who a rank is, for messages.
typedef struct RankProcess {
    char host[64];
    int64_t process;
} RankProcess;

// Collective. Alone: *l = NULL.
int heartbeat_open(Heartbeat **l, Group *g, double timeout, Err *err);
// The same over connections that are there, which become its own: rank 0 has one to each of the `ranks` (fds[0] is
// unused), the others have one to rank 0.
int heartbeat_over_sockets(Heartbeat **l, int rank, int ranks, const RankProcess *members, const int *fds,
                           double timeout, Err *err);
void heartbeat_set_phase(Heartbeat *l, HeartbeatPhase phase,
                         int64_t step); // at every pass; cheap; step 0: the last one named
// Says goodbye, takes a second or two at most, frees. Without a message (status 0, EXIT_INTERRUPTED, or an error that
// all ranks have agreed on) there is no alarm; else the others end with status and message. Does not come back where
// another rank's death is the reason of that message: then the line that names it is printed instead.
void heartbeat_close(Heartbeat *l, int status, const char *msg);
