// cuda_ranks: several ranks, one device each. They sum integers, so the result does not depend on the library's order.
#include "cuda_ranks.h"

#include <time.h>

struct CudaRanks {
    const RanksLibrary *library; // NULL: alone
    void *group;
};

int cuda_ranks_open(Backend *b, Err *err) {
    cuda_state(b)->ranks = mem_calloc(1, sizeof(CudaRanks));
    return 0;
}

// abort: releases collectives blocked on a dead rank; until then the stream hangs, and with it cudaFree.
static void leave_group(CudaRanks *r, bool abort) {
    if (r->library) r->library->close(r->group, abort);
    r->library = NULL;
}

void cuda_ranks_close(Backend *b) {
    CudaRanks *r = cuda_state(b)->ranks;
    if (!r) return;
    leave_group(r, cuda_failed(b));
    mem_free(r);
    cuda_state(b)->ranks = NULL;
}

// Rank 0 creates the group's id and broadcasts it.
static int join(Backend *b, const RanksLibrary *library, Group *g, double seconds, Err *err) {
    CudaRanks *r = cuda_state(b)->ranks;
    unsigned char id[RANK_ID_BYTES] = {0};
    if (group_agree(g, g->rank == 0 ? library->id(id, err) : 0, err)) return -1;
    if (group_broadcast(g, id, sizeof id, 0, err)) return -1;
    int rc = library->connect(&r->group, g->rank, g->ranks, id, seconds, err);
    if (!rc) r->library = library;
    return group_agree(g, rc, err);
}

// Libraries connect devices at the first sum: a connection that does not work fails here, not in the first step.
static int try_sum(Backend *b, Group *g, Err *err) {
    int64_t sum = 0, mine = g->rank + 1, want = (int64_t)g->ranks * (g->ranks + 1) / 2;
    int64_t *on_device = cuda_alloc(b, sizeof mine);
    cuda_upload(b, on_device, &mine, sizeof mine);
    cuda_all_reduce(b, on_device, 1);
    cuda_download(b, &sum, on_device, sizeof sum);
    cuda_free(b, on_device, sizeof mine);
    int rc = cuda_status(b, err);
    if (!rc && sum != want)
        rc = err_runtime(err, "device cuda:%d: the ranks' sum is %ld, expected %ld", cuda_state(b)->device, sum, want);
    return group_agree(g, rc, err);
}

int cuda_connect(Backend *b, Group *g, double seconds, Err *err) {
    CHECK(!cuda_state(b)->ranks->library, "connected twice");
    if (g->ranks == 1) return 0;
    const RanksLibrary *library = cuda_ranks_library(err);
    if (group_agree(g, library ? 0 : -1, err) || join(b, library, g, seconds, err)) return -1;
    return try_sum(b, g, err);
}

void cuda_all_reduce(Backend *b, int64_t *data, int64_t n) {
    CudaRanks *r = cuda_state(b)->ranks;
    Err err;
    CHECK(!cuda_state(b)->recording, "a sum over ranks in a recording");
    if (!r->library || n == 0 || cuda_failed(b)) return;
    if (r->library->all_reduce(r->group, data, n, cuda_stream(b), &err))
        cuda_fail(b, ERR_RUNTIME, "adding over ranks: %s", err.msg);
}

void cuda_ranks_wait(Backend *b) {
    CudaRanks *r = cuda_state(b)->ranks;
    cudaError_t state = cudaSuccess;
    Err err;
    if (!r || !r->library) {
        cuda_check(b, cudaStreamSynchronize(cuda_stream(b)), "computing");
        return;
    }
    while (!cuda_failed(b) && (state = cudaStreamQuery(cuda_stream(b))) == cudaErrorNotReady) {
        if (r->library->check(r->group, &err)) {
            cuda_fail(b, ERR_RUNTIME, "another rank has failed: %s", err.msg);
            leave_group(r, true);
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    if (!cuda_failed(b)) cuda_check(b, state, "computing");
}
