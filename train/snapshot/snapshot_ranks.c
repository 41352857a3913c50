// What a snapshot needs of the other ranks of a run: rank 0 alone reads and writes it.
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "snapshot.h"

enum { BUFFERS = 3 };
static const char *const buffer_names[BUFFERS] = {"params", "m", "v"};

static void get_buffers(const Trainer *t, float *buffers[BUFFERS]) {
    buffers[0] = t->adapter->params;
    buffers[1] = t->optimizer->m;
    buffers[2] = t->optimizer->v;
}

static int share_buffer(Trainer *t, float *device, Err *err) {
    Backend *b = t->model->backend;
    size_t bytes = (size_t)t->adapter->count * sizeof *device;
    float *host = mem_alloc(bytes, 1);
    b->k->download(b, host, device, bytes);
    int status = group_broadcast(t->group, host, bytes, 0, err);
    if (!status && t->group->rank > 0) b->k->upload(b, device, host, bytes);
    mem_free(host);
    return status;
}

int snapshot_share(Trainer *t, Err *err) {
    float *buffers[BUFFERS];
    if (t->group->ranks == 1) return 0;
    get_buffers(t, buffers);
    int status = 0;
    for (int i = 0; i < BUFFERS && !status; i++) status = share_buffer(t, buffers[i], err);
    if (status || group_broadcast(t->group, &t->state, sizeof t->state, 0, err)) return -1;
    if (t->state.step >= 0 && t->state.step <= t->total_steps) return 0;
    return err_runtime(err, "rank 0 resumes at step %lld; expected 0 to %lld", (long long)t->state.step,
                       (long long)t->total_steps);
}

// ---- is what the ranks have the same? ----

typedef struct BufferHashes {
    char of[BUFFERS][33];
} BufferHashes;

static BufferHashes hash_buffers(const Trainer *t) {
    Backend *b = t->model->backend;
    size_t bytes = (size_t)t->adapter->count * sizeof(float);
    float *host = mem_alloc(bytes, 1), *buffers[BUFFERS];
    BufferHashes h = {0};
    get_buffers(t, buffers);
    for (int i = 0; i < BUFFERS; i++) {
        b->k->download(b, host, buffers[i], bytes);
        hash_bytes(h.of[i], host, bytes);
    }
    mem_free(host);
    return h;
}

static int compare(const Trainer *t, BufferHashes *all, Err *err) {
    for (int r = 0; r < t->group->ranks; r++)
        for (int i = 0; i < BUFFERS; i++) GROUP_END_TEXT(all[r].of[i]);
    for (int r = 1; r < t->group->ranks; r++)
        for (int i = 0; i < BUFFERS; i++)
            if (strcmp(all[r].of[i], all[0].of[i]) != 0) {
                err_runtime(err,
                            "step %lld: rank %d has other %s than rank 0 (hash %.8s, not %.8s): the ranks no "
                            "longer train the same adapter; the last snapshot is good",
                            (long long)t->state.step, r, buffer_names[i], all[r].of[i], all[0].of[i]);
                return 1;
            }
    return 0;
}

int snapshot_compare_ranks(const Trainer *t, Err *err) {
    if (t->group->ranks == 1) return 0;
    BufferHashes mine = hash_buffers(t), *all = mem_calloc((size_t)t->group->ranks, sizeof *all);
    int status = group_gather(t->group, all, &mine, sizeof mine, err);
    if (!status) status = compare(t, all, err);
    mem_free(all);
    return status;
}
