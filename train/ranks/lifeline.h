// lifeline: how the ranks of a run notice that one of them is gone, hangs, has failed, or was asked to stop.
//
// A thread of each rank keeps a TCP connection to rank 0, beats on it and says what its rank is at. Rank 0 tells the
// others what has happened. A peer that died (its connection ends) is noticed at once; one that is silent, or that
// makes no progress while others wait for it, before `timeout` seconds have passed. Then the thread prints one line
// that names the peer and ends the process (EXIT_RUNTIME): the main thread may be waiting inside MPI or NCCL for ever.
// What is half-written then is a temporary file, as after kill -9.
// It also carries a stop (signals.h): one rank that is asked to stop is all of them.
#pragma once

#include "group.h"

typedef struct Lifeline Lifeline; // all calls take NULL: alone

typedef enum {
    LIFE_ANY_TIME,  // set-up, evaluation, saving: only silence counts
    LIFE_COMPUTING, // a step: no call for `timeout` seconds while others wait means that it hangs
    LIFE_WAITING,   // for other ranks
} LifePhase;

// Collective. Alone: *l = NULL.
int lifeline_open(Lifeline **l, Group *g, double timeout, Err *err);
void lifeline_at(Lifeline *l, LifePhase phase, int64_t step); // called at every pass; cheap
// Says goodbye. status 0 or EXIT_INTERRUPTED: no alarm; else the others end with the message.
void lifeline_close(Lifeline *l, int status, const char *msg);
