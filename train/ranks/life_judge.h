// life_judge: from what is known of the ranks, whether the run can go on. Decides, does nothing.
//
// Times are seconds on one clock of the caller's.
#pragma once

#include "lifeline.h"

typedef enum {
    LIFE_HERE,
    LIFE_LEFT,    // said goodbye
    LIFE_ENDED,   // its connection ended without a word
    LIFE_GARBLED, // its connection brought what no rank sends
    LIFE_FAULTY,  // said that it has failed
} LifePresence;

typedef struct LifeSign {
    LifePresence presence;
    LifePhase phase;
    int64_t step, progress;
    double heard; // when it was last heard
    double moved; // when phase, step or progress last changed
    double since; // when `presence` became what it is
} LifeSign;

typedef enum { ALL_WELL, HAS_ENDED, IS_GARBLED, HAS_FAILED, IS_SILENT, HANGS, ALL_WAIT } LifeCause;

typedef struct LifeVerdict {
    LifeCause cause;
    int rank;       // whose fault it is; ALL_WAIT: the first that waits
    double seconds; // of silence, of no progress
} LifeVerdict;

// The first cause in the order above. A rank that has failed is the last one's fault: an error often is the consequence
// of another rank's death, which shows `grace` seconds later at most.
LifeVerdict life_judge(const LifeSign *signs, int ranks, double now, double limit, double grace);

// The line for people, without "lorac: ". reason: of HAS_FAILED.
void life_describe(Err *line, const LifeVerdict *v, const LifeSign *signs, const LifeMember *members, int ranks,
                   const char *reason);
