// group: the processes of a run, one for each rank, as each of them sees the others: who they are, and what they
// exchange in host memory.
//
// All calls are collective: every rank makes the same ones in the same order, from one thread. Until the heartbeat runs
// (train/ranks/heartbeat.h) a call waits for `limit` seconds at most; from then on the heartbeat ends the ranks that
// wait for one that is gone or hangs. After a call has failed all others fail at once.
#pragma once

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Group Group;

enum { GROUP_KEY = 32, GROUP_ADDRESS = 64 };

typedef struct GroupCalls {
    const char *name; // "mpi", "tcp"
    int (*broadcast)(Group *g, void *data, size_t n, int from, Err *err);
    int (*gather)(Group *g, void *all, const void *mine, size_t n, Err *err);
    int (*sum)(Group *g, int64_t *data, int64_t n, Err *err);
    void (*close)(Group *g, bool failed); // failed: without waiting for anyone
} GroupCalls;

struct Group {
    const GroupCalls *calls; // NULL: alone
    void *state;             // of the calls
    int rank, ranks;
    int local_rank, local_ranks;  // among the ranks on the same machine
    int node, nodes;              // machines, in the order of their lowest rank
    double limit;                 // seconds that a call may wait for other ranks; 0: as long as the heartbeat lets it
    bool broken;                  // a call has failed: the ranks do not know of each other any more
    unsigned char key[GROUP_KEY]; // the same on all ranks, of the run's secret where there is one
    char address[GROUP_ADDRESS];  // rank 0: where the others have connected, "": unknown
};

// What another rank has sent need not end: every text in it is made to.
#define GROUP_END_TEXT(text) ((text)[sizeof(text) - 1] = 0)

Group group_alone(void);
int group_broadcast(Group *g, void *data, size_t n, int from, Err *err);
int group_gather(Group *g, void *all, const void *mine, size_t n, Err *err); // all [ranks * n] on every rank
int group_sum(Group *g, int64_t *data, int64_t n, Err *err);                 // data [n] = sum over the ranks
int group_barrier(Group *g, Err *err);
// 0 where every rank came with 0. Else -1 on all of them with the status of the lowest rank that failed; its message is
// left where it is to be printed, on rank 0 ("rank 3 (host b): ..." unless all ranks say the same), empty elsewhere.
int group_agree(Group *g, int status, Err *err);
void group_close(Group *g, bool failed);

#ifdef __cplusplus
}
#endif
