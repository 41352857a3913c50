// ranks: several ranks, a device each. What they add up are integers, so the order of the sum does not show in the
// bits, whatever the library does.
#include "ranks.h"

#include <time.h>

struct CudaRanks {
    const RanksLibrary *library; // NULL: alone
    void *group;
};

int cuda_ranks_open(Backend *b, Err *err) {
    (void)err;
    cuda_state(b)->ranks = mem_calloc(1, sizeof(CudaRanks));
    return 0;
}

// abort: what waits for a rank that is gone ends; until then the stream hangs, and with it whoever frees memory.
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

// Rank 0 makes the group's id and sends it to the others.
static int join(CudaRanks *r, const RanksLibrary *library, Group *g, Err *err) {
    unsigned char id[RANK_ID_BYTES] = {0};
    if (group_agree(g, g->rank == 0 ? library->id(id, err) : 0, err)) return -1;
    if (group_broadcast(g, id, sizeof id, 0, err)) return -1;
    return library->connect(&r->group, g->rank, g->ranks, id, err);
}

int cuda_connect(Backend *b, Group *g, Err *err) {
    CudaRanks *r = cuda_state(b)->ranks;
    CHECK(!r->library, "connected twice");
    if (g->ranks == 1) return 0;
    const RanksLibrary *library = cuda_ranks_library(err);
    if (group_agree(g, library ? 0 : -1, err)) return -1;
    if (join(r, library, g, err))
        return err_context(err, "rank %d of %d (cuda:%d)", g->rank, g->ranks, cuda_state(b)->device);
    r->library = library;
    return 0;
}

void cuda_all_reduce(Backend *b, int64_t *data, int64_t n) {
    CudaRanks *r = cuda_state(b)->ranks;
    Err err;
    if (!r->library || n == 0 || cuda_failed(b)) return;
    if (r->library->all_reduce(r->group, data, n, cuda_stream(b), &err)) cuda_fail(b, "adding over ranks: %s", err.msg);
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
            cuda_fail(b, "another rank has failed: %s", err.msg);
            leave_group(r, true);
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    if (!cuda_failed(b)) cuda_check(b, state, "computing");
}
