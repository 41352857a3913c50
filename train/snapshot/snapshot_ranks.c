// snapshot_ranks: snapshots with several ranks: rank 0 alone reads and writes them, the others receive and compare.
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "snapshot.h"

static Group *group_of(const Trainer *t) { return trainer_inputs(t)->ranks->group; }

// On the host in place: a copy as large as the adapter would count beside the memory that was planned.
static int share_buffer(const Adapter *a, Group *g, float *device, Err *err) {
    Backend *b = a->backend;
    size_t bytes = (size_t)a->count * sizeof *device;
    if (!device) return 0;
    if (b->host_memory) return group_broadcast(g, device, bytes, 0, err);
    AUTO_FREE float *host = mem_alloc(bytes, 1);
    b->k->download(b, host, device, bytes);
    int rc = group_broadcast(g, host, bytes, 0, err);
    if (!rc && g->rank > 0) b->k->upload(b, device, host, bytes);
    return rc;
}

int snapshot_share(Trainer *t, Err *err) {
    Group *g = group_of(t);
    int64_t total = trainer_plan(t)->total_steps;
    TrainerState s = *trainer_state(t);
    float *buffers[TRAINER_BUFFERS];
    if (g->ranks == 1) return 0;
    trainer_buffers(t, buffers);
    for (int i = 0; i < TRAINER_BUFFERS; i++)
        if (share_buffer(trainer_inputs(t)->adapter, g, buffers[i], err)) return -1;
    if (group_broadcast(g, &s, sizeof s, 0, err)) return -1;
    trainer_set_state(t, &s);
    if (s.step >= 0 && s.step <= total) return 0;
    return err_runtime(err, "rank 0 resumes at step %ld; expected 0 to %ld", s.step, total);
}

// ---- comparing ----

typedef struct BufferHashes {
    char of[TRAINER_BUFFERS][33];
} BufferHashes;

static BufferHashes hash_buffers(const Trainer *t) {
    const Adapter *a = trainer_inputs(t)->adapter;
    size_t bytes = (size_t)a->count * sizeof(float);
    float *buffers[TRAINER_BUFFERS];
    BufferHashes h = {0};
    trainer_buffers(t, buffers);
    for (int i = 0; i < TRAINER_BUFFERS; i++) {
        AUTO_FREE float *copy = NULL;
        if (!buffers[i]) continue;
        hash_bytes(h.of[i], adapter_on_host(a, buffers[i], &copy), bytes);
    }
    return h;
}

static int compare(const Trainer *t, BufferHashes *all, Err *err) {
    int ranks = group_of(t)->ranks;
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < TRAINER_BUFFERS; i++) GROUP_END_TEXT(all[r].of[i]);
    for (int r = 1; r < ranks; r++)
        for (int i = 0; i < TRAINER_BUFFERS; i++)
            if (strcmp(all[r].of[i], all[0].of[i]) != 0) {
                err_runtime(err,
                            "step %ld: rank %d has other %s than rank 0 (hash %.8s, not %.8s): the ranks no longer "
                            "train the same adapter; the last snapshot is good",
                            trainer_state(t)->step, r, trainer_buffer_names[i], all[r].of[i], all[0].of[i]);
                return 1;
            }
    return 0;
}

int snapshot_compare_ranks(const Trainer *t, Err *err) {
    Group *g = group_of(t);
    if (g->ranks == 1) return 0;
    BufferHashes mine = hash_buffers(t);
    AUTO_FREE BufferHashes *all = mem_calloc((size_t)g->ranks, sizeof *all);
    int rc = group_gather(g, all, &mine, sizeof mine, err);
    return rc ? rc : compare(t, all, err);
}
