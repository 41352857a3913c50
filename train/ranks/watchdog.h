// watchdog: from what is known of the ranks, whether the run can go on. Decides, does nothing.
//
// Times are seconds on one clock of the caller's.
#pragma once

#include "heartbeat.h"

typedef enum {
    PEER_CONNECTED,
    PEER_LEFT,    // said goodbye
    PEER_LOST,    // its connection ended without a word
    PEER_GARBLED, // its connection brought what no rank sends
    PEER_FAILED,  // said that it has failed
} PeerState;

typedef struct PeerStatus {
    PeerState presence;
    HeartbeatPhase phase;
    int64_t step, progress;
    double heard; // when it was last heard
    double moved; // when phase, step or progress last changed
    double since; // when `presence` became what it is
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
    int rank;       // whose fault it is; FAULT_ALL_WAIT: the first that waits
    double seconds; // of silence, of no progress
} WatchdogVerdict;

// The first cause in the order above. A rank that has failed is the last one's fault: an error often is the consequence
// of another rank's death, which shows `grace` seconds later at most.
WatchdogVerdict watchdog_judge(const PeerStatus *signs, int ranks, double now, double limit, double grace);

// The line for people, without "lorac: ". reason: of FAULT_FAILED.
void watchdog_describe(Err *line, const WatchdogVerdict *v, const PeerStatus *signs, const RankProcess *members,
                       int ranks, const char *reason);
