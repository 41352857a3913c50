// nccl: RanksLibrary over NCCL. The group is made in the background (non-blocking), so that a rank that never comes is
// a message, not a process that hangs; then each call may be "in progress" for a moment.
#include <string.h>
#include <time.h>

#include <nccl.h>

#include "ranks.h"

_Static_assert(RANK_ID_BYTES == NCCL_UNIQUE_ID_BYTES, "the id of a group");

enum { CONNECT_SECONDS = 600, CALL_SECONDS = 60 };

static int failed(ncclResult_t result, ncclComm_t group, Err *err) {
    const char *detail = ncclGetLastError(group);
    return err_runtime(err, "NCCL: %s%s%s", ncclGetErrorString(result), detail && *detail ? ": " : "",
                       detail ? detail : "");
}

// Waits until what was begun on the group has been taken over, at most `seconds`.
static int settle(ncclComm_t group, ncclResult_t result, int seconds, const char *what, Err *err) {
    double end = time_now() + seconds;
    while (result == ncclInProgress) {
        ncclResult_t asked = ncclCommGetAsyncError(group, &result);
        if (asked != ncclSuccess) result = asked;
        if (result != ncclInProgress) break;
        if (time_now() > end) return err_runtime(err, "%s: not done after %d s", what, seconds);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return result == ncclSuccess ? 0 : failed(result, group, err);
}

static int rank_id(void *id, Err *err) {
    ncclUniqueId unique;
    ncclResult_t result = ncclGetUniqueId(&unique);
    if (result != ncclSuccess) return failed(result, NULL, err);
    memcpy(id, &unique, sizeof unique);
    return 0;
}

static int connect(void **group, int rank, int ranks, const void *id, Err *err) {
    ncclUniqueId unique;
    ncclComm_t comm = NULL;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    memcpy(&unique, id, sizeof unique);
    ncclResult_t result = ncclCommInitRankConfig(&comm, ranks, unique, rank, &config);
    if (settle(comm, result, CONNECT_SECONDS, "waiting for the other ranks", err)) {
        if (comm) ncclCommAbort(comm);
        return -1;
    }
    *group = comm;
    return 0;
}

static int all_reduce(void *group, int64_t *data, int64_t n, cudaStream_t stream, Err *err) {
    ncclResult_t result = ncclAllReduce(data, data, (size_t)n, ncclInt64, ncclSum, group, stream);
    return settle(group, result, CALL_SECONDS, "queueing a sum", err);
}

static int check(void *group, Err *err) {
    ncclResult_t result = ncclSuccess, asked = ncclCommGetAsyncError(group, &result);
    if (asked != ncclSuccess) result = asked;
    return result == ncclSuccess || result == ncclInProgress ? 0 : failed(result, group, err);
}

static void close(void *group, bool failed) {
    Err err;
    ncclResult_t result = failed ? ncclSystemError : ncclCommFinalize(group);
    if (!failed && !settle(group, result, CALL_SECONDS, "leaving the group", &err))
        ncclCommDestroy(group);
    else
        ncclCommAbort(group);
}

const RanksLibrary *lorac_nccl(void) {
    static const RanksLibrary library = {rank_id, connect, all_reduce, check, close};
    return &library;
}
