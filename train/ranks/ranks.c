#include "ranks.h"

#include <string.h>

#include "cores.h"
#include "group_tcp.h"
#include "kernels.h"
#include "module.h"
#include "proof.h"
#include "sockets.h"

// ---- which ranks are on the same machine ----

typedef struct Place {
    char machine[CORES_MACHINE];
    int32_t local_rank, local_ranks; // from the launcher; -1: unknown
} Place;

static void count_machines(Group *g, Place *all) {
    for (int r = 0; r < g->ranks; r++) GROUP_END_TEXT(all[r].machine);
    AUTO_FREE int *node = mem_alloc((size_t)g->ranks, sizeof *node);
    g->nodes = g->local_rank = g->local_ranks = 0;
    for (int r = 0; r < g->ranks; r++) {
        int first = 0;
        while (strcmp(all[first].machine, all[r].machine) != 0) first++;
        node[r] = first < r ? node[first] : g->nodes++;
    }
    g->node = node[g->rank];
    for (int r = 0; r < g->ranks; r++) {
        if (node[r] != g->node) continue;
        g->local_ranks++;
        if (r < g->rank) g->local_rank++;
    }
}

// The launcher's numbers, if every rank has them: they account for GPUs that are hidden from some.
static void use_launcher_numbers(Group *g, const Place *all) {
    for (int r = 0; r < g->ranks; r++)
        if (all[r].local_rank < 0 || all[r].local_ranks <= all[r].local_rank) return;
    g->local_rank = all[g->rank].local_rank;
    g->local_ranks = all[g->rank].local_ranks;
}

static int find_machines(Group *g, const Launch *l, Err *err) {
    AUTO_FREE Place *all = mem_calloc((size_t)g->ranks, sizeof *all);
    Place mine;
    memset(&mine, 0, sizeof mine);
    cores_machine(mine.machine);
    mine.local_rank = l->local_rank, mine.local_ranks = l->local_ranks;
    if (group_gather(g, all, &mine, sizeof mine, err)) return -1;
    count_machines(g, all);
    use_launcher_numbers(g, all);
    return 0;
}

// ---- opening ----

// mpirun passes only the variables named with -x: without this check, the heartbeat would reject the rank much later.
static int same_secret(Group *g, Err *err) {
    typedef unsigned char Tag[GROUP_KEY];
    AUTO_FREE Tag *all = mem_calloc((size_t)g->ranks, sizeof *all);
    Tag mine;
    proof_key(mine, g->key, sizeof g->key, "the same?", 9);
    int rc = group_gather(g, all, mine, sizeof mine, err);
    for (int r = 1; r < g->ranks && !rc; r++)
        if (memcmp(all[r], all[0], sizeof all[0]) != 0)
            rc = err_input(
                err,
                "LORAC_SECRET: that of rank %d differs from that of rank 0, or only one of them is set; expected "
                "the same in the environment of all ranks (mpirun -x LORAC_SECRET)",
                r);
    return group_agree(g, rc, err);
}

static int open_mpi(Group *g, const Launch *l, double seconds, Err *err) {
    __typeof__(lorac_mpi_open) *open;
    if (module_symbol(&open, "lorac-mpi.so", "lorac_mpi_open", "libopenmpi-dev", err))
        return err_context(err, "started as rank %d by mpirun or srun", l->rank);
    if (open(g, seconds, err)) return -1;
    memcpy(g->key, l->key, sizeof g->key);
    int rc = g->ranks > 1 && (l->ranks == 0 || l->ranks == g->ranks) ? same_secret(g, err) : 0;
    if (l->ranks && l->ranks != g->ranks)
        rc = err_runtime(err,
                         "the launcher started %d ranks, MPI reports %d: it is not the MPI that lorac-mpi.so was "
                         "built with, or srun lacks --mpi=pmix",
                         l->ranks, g->ranks);
    if (rc) group_close(g, true);
    return rc;
}

static int open_tcp(Group *g, const Launch *l, double seconds, Err *err) {
    RankSockets sockets;
    RendezvousOptions p = {.channel = RENDEZVOUS_GROUP,
                           .rank = l->rank,
                           .ranks = l->ranks,
                           .hosts = l->master,
                           .port = l->port,
                           .listener = l->listener,
                           .seconds = seconds};
    memcpy(p.key, l->key, sizeof p.key);
    if (l->rank == 0 && p.listener < 0 && socket_listen(&p.listener, &p.port, l->master, err))
        return err_context(err, "rank 0");
    if (rendezvous_open(&sockets, &p, err)) return -1;
    group_tcp_open(g, &sockets);
    // Rank 0 gives up first: it can name the missing rank.
    g->limit = l->rank == 0 ? seconds : seconds / RANKS_TIMEOUT_SHARE;
    return 0;
}

int ranks_open(Group *g, const Launch *l, double seconds, Err *err) {
    *g = group_alone();
    if (l->kind == LAUNCH_MPI && open_mpi(g, l, seconds, err)) return -1;
    if (l->kind == LAUNCH_TCP && open_tcp(g, l, seconds, err)) return -1;
    if (g->ranks == 1) return 0;
    if (find_machines(g, l, err)) {
        group_close(g, true);
        return -1;
    }
    if (l->kind == LAUNCH_TCP && !l->secret && g->nodes > 1 && g->rank == 0)
        log_warn(
            "no LORAC_SECRET or LORAC_SECRET_FILE: any process that reaches port %d of %s while the ranks connect can "
            "join as a rank; for trusted networks only",
            l->port, l->master);
    return 0;
}
