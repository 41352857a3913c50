// heartbeat: detects that another rank has died, hangs, has failed, or was asked to stop.
//
// A thread of each rank keeps a TCP connection to rank 0 and sends beats with the rank's phase and progress; rank 0
// relays events to the others. A dead peer (its connection ends) is detected at once; one that is silent, or makes no
// progress while others wait for it, within `timeout` seconds. Then the thread prints one line that names the peer and
// ends the process (EXIT_RUNTIME), since the main thread may be blocked inside MPI or NCCL. Files written at that
// moment are temporary ones, as after kill -9. It also relays a stop (signals.h): asking one rank to stop stops all.
//
// Time in which this process itself did not run does not count, so a job suspended as a whole can continue.
// Files: heartbeat.c (the thread), heartbeat_wire.c (messages), watchdog.c (finds the faulty rank).
#pragma once

#include "group.h"

typedef struct Heartbeat Heartbeat; // all calls take NULL: alone

typedef enum {
    PHASE_UNTIMED,          // set-up, saving: only silence is a fault
    PHASE_COMPUTING,        // a pass on a device: hangs without a call for `timeout` seconds while others wait
    PHASE_COMPUTING_ON_CPU, // the same, but CPU time counts as progress
    PHASE_WAITING,          // for other ranks; a fault if all do so for `timeout` seconds
} HeartbeatPhase;

// Identifies a rank in messages.
typedef struct RankProcess {
    char host[64];
    int64_t process;
} RankProcess;

// Collective. Alone: *h = NULL. role: of this rank, for messages ("stage 1 of 2"); NULL: none.
int heartbeat_open(Heartbeat **h, Group *g, const char *role, double timeout, Err *err);
// The same over open connections, whose ownership passes to it: rank 0 has one to each rank (fds[0] is unused), the
// others have one to rank 0 in fds[0].
int heartbeat_over_sockets(Heartbeat **h, int rank, int ranks, const RankProcess *members, const int *fds,
                           double timeout, Err *err);
// Before every pass; cheap. step 0: as before.
void heartbeat_set_phase(Heartbeat *h, HeartbeatPhase phase, int64_t step);
// Sends a goodbye, waits for the peers at most two seconds, frees. msg NULL: no alarm (status 0, EXIT_INTERRUPTED, or
// an error that all ranks have agreed on). Otherwise the other ranks print msg and exit with `status`. If another
// rank's death caused msg, this call does not return: it prints the line that names that rank and ends the process.
void heartbeat_close(Heartbeat *h, int status, const char *msg);
