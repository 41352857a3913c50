// watchdog: judges from the status of all ranks whether the run can continue. Pure: no I/O.
//
// Times are seconds on one clock, which the caller chooses.
#pragma once

#include "heartbeat.h"

typedef enum {
    PEER_CONNECTED,
    PEER_LEFT,    // sent FRAME_GOODBYE
    PEER_LOST,    // its connection ended before a goodbye
    PEER_GARBLED, // sent an invalid message
    PEER_FAILED,  // sent FRAME_FAILED
} PeerState;

typedef struct PeerStatus {
    PeerState state;
    HeartbeatPhase phase;
    int64_t step, progress;
    double heard; // last message
    double moved; // last change of phase, step or progress
    double since; // last change of state
} PeerStatus;

typedef enum {
    FAULT_NONE,
    FAULT_LOST,
    FAULT_GARBLED,
    FAULT_FAILED,
    FAULT_SILENT,
    FAULT_HANGS,
    FAULT_ALL_WAIT
} RankFault;

typedef struct WatchdogVerdict {
    RankFault cause;
    int rank;       // the faulty one; FAULT_ALL_WAIT: the first that waits
    double seconds; // of silence, of no progress
} WatchdogVerdict;

// The first fault in the order of RankFault. A failed rank is reported only `grace` seconds after its message: its
// error is often the consequence of another rank's death, which is detected within that time.
WatchdogVerdict watchdog_judge(const PeerStatus *signs, int ranks, double now, double limit, double grace);

// The message for the user, without "lorac: ". reason: of FAULT_FAILED.
void watchdog_describe(Err *line, const WatchdogVerdict *v, const PeerStatus *signs, const RankProcess *members,
                       int ranks, const char *reason);
