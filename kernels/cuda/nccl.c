// nccl: RanksLibrary over NCCL, non-blocking, so that a missing rank gives a message instead of a hang; each call may
// return "in progress".
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <nccl.h>

#include "cuda_ranks.h"

_Static_assert(RANK_ID_BYTES == NCCL_UNIQUE_ID_BYTES, "the id of a group");

typedef struct NcclGroup {
    ncclComm_t comm;
    double seconds; // limit of waiting for other ranks
} NcclGroup;

// comm may be NULL. Takes the first line of NCCL's message.
static int failed(ncclResult_t result, ncclComm_t comm, Err *err) {
    char detail[256] = "";
    const char *words = ncclGetLastError(comm);
    if (words) snprintf(detail, sizeof detail, "%.*s", (int)strcspn(words, "\n"), words);
    return err_runtime(err, "NCCL: %s%s%s (NCCL_DEBUG=INFO prints more)", ncclGetErrorString(result),
                       detail[0] ? ": " : "", detail);
}

// Waits until a non-blocking call has completed.
static int settle(const NcclGroup *g, ncclResult_t result, const char *what, Err *err) {
    double end = time_now() + g->seconds;
    while (result == ncclInProgress) {
        ncclResult_t asked = ncclCommGetAsyncError(g->comm, &result);
        if (asked != ncclSuccess) result = asked;
        if (result != ncclInProgress) break;
        if (time_now() > end)
            return err_runtime(err, "NCCL: %s: not done after %.0f s (NCCL_DEBUG=INFO prints more)", what,
                               ceil(g->seconds));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return result == ncclSuccess ? 0 : failed(result, g->comm, err);
}

static int rank_id(void *id, Err *err) {
    ncclUniqueId unique;
    ncclResult_t result = ncclGetUniqueId(&unique);
    if (result != ncclSuccess) return failed(result, NULL, err);
    memcpy(id, &unique, sizeof unique);
    return 0;
}

static int connect(void **group, int rank, int ranks, const void *id, double seconds, Err *err) {
    ncclUniqueId unique;
    NcclGroup g = {.seconds = seconds};
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    memcpy(&unique, id, sizeof unique);
    ncclResult_t result = ncclCommInitRankConfig(&g.comm, ranks, unique, rank, &config);
    if (settle(&g, result, "waiting for the other ranks", err)) {
        if (g.comm) ncclCommAbort(g.comm);
        return -1;
    }
    *group = mem_alloc(1, sizeof g);
    memcpy(*group, &g, sizeof g);
    return 0;
}

static int all_reduce(void *group, int64_t *data, int64_t n, cudaStream_t stream, Err *err) {
    NcclGroup *g = group;
    ncclResult_t result = ncclAllReduce(data, data, (size_t)n, ncclInt64, ncclSum, g->comm, stream);
    return settle(g, result, "queueing a sum", err);
}

static int check(void *group, Err *err) {
    NcclGroup *g = group;
    ncclResult_t result = ncclSuccess, asked = ncclCommGetAsyncError(g->comm, &result);
    if (asked != ncclSuccess) result = asked;
    return result == ncclSuccess || result == ncclInProgress ? 0 : failed(result, g->comm, err);
}

// Finalizing is collective; if it fails, the communicator is aborted.
static void close(void *group, bool failed) {
    NcclGroup *g = group;
    Err err;
    if (!failed && !settle(g, ncclCommFinalize(g->comm), "leaving the group", &err))
        ncclCommDestroy(g->comm);
    else
        ncclCommAbort(g->comm);
    mem_free(g);
}

const RanksLibrary *lorac_nccl(void) {
    static const RanksLibrary library = {rank_id, connect, all_reduce, check, close};
    return &library;
}
