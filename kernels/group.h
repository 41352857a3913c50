// group: the ranks of a run, one process each, and their collective operations in host memory.
//
// All calls but group_exchange are collective: every rank makes the same calls in the same order, from one thread.
// Before heartbeat_open (train/ranks/heartbeat.h) a call times out after `limit` seconds. Afterwards the heartbeat ends
// ranks that wait for a dead or hung rank. After a call has failed, all later calls fail immediately.
#pragma once

#include "base.h"

C_BEGIN

typedef struct Group Group;

enum { GROUP_KEY = 32, GROUP_ADDRESS = 64 };

// A message between two ranks, of a size that both know.
typedef struct GroupMessage {
    int peer;
    void *data;
    size_t bytes;
} GroupMessage;

typedef struct GroupCalls {
    const char *name; // "mpi", "tcp"
    int (*broadcast)(Group *g, void *data, size_t n, int from, Err *err);
    int (*gather)(Group *g, void *all, const void *mine, size_t n, Err *err);
    int (*sum)(Group *g, int64_t *data, int64_t n, Err *err);
    int (*link)(Group *g, int previous, int next, double seconds, Err *err); // NULL: exchange needs nothing
    int (*exchange)(Group *g, const GroupMessage *out, const GroupMessage *in, Err *err);
    void (*close)(Group *g, bool failed); // failed: without waiting for other ranks
} GroupCalls;

struct Group {
    const GroupCalls *calls; // NULL: alone
    void *state;             // of the calls
    int rank, ranks;
    int local_rank, local_ranks;  // among the ranks on the same machine
    int node, nodes;              // machines, in the order of their lowest rank
    double limit;                 // seconds that a call may wait for other ranks; 0: the heartbeat bounds the wait
    bool broken;                  // a call has failed: all later calls fail
    unsigned char key[GROUP_KEY]; // shared by all ranks; derived from the run's secret, if set
    char address[GROUP_ADDRESS];  // rank 0: where it listened; "": unknown, or on all interfaces
};

// Terminates a text that another rank has sent.
#define GROUP_END_TEXT(text) ((text)[sizeof(text) - 1] = 0)

Group group_alone(void);
int group_broadcast(Group *g, void *data, size_t n, int from, Err *err);
int group_gather(Group *g, void *all, const void *mine, size_t n, Err *err); // all [ranks * n] on every rank
int group_sum(Group *g, int64_t *data, int64_t n, Err *err);                 // data [n] = sum over the ranks
int group_barrier(Group *g, Err *err);
// Before the first group_exchange: its neighbours in chains of ranks, which all name each other; -1: none. seconds:
// deadline for them.
int group_link(Group *g, int previous, int next, double seconds, Err *err);
// Sends one message to a neighbour and receives another at the same time; NULL: none. Not collective: a rank that sends
// and the one that receives call it. Neighbours exchange their messages in one order.
int group_exchange(Group *g, const GroupMessage *out, const GroupMessage *in, Err *err);
// 0 if every rank passed 0. Else -1 on all ranks with the status of the lowest rank that failed. Rank 0 gets its
// message and prints it ("rank 3 (host b): ..." unless the ranks' messages are equal); the others' are empty.
int group_agree(Group *g, int status, Err *err);
void group_close(Group *g, bool failed);

C_END
