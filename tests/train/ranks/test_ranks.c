// Opening the group that a launcher speaks of: machines are counted, cores are shared.
#include "test.h"

#include <omp.h>
#include <sched.h>

#include "cores.h"
#include "forked.h"
#include "ranks.h"
#include "rendezvous.h"
#include "sockets.h"

enum { RANKS = 3 };

typedef struct Job {
    int port, listener;
    bool told;       // local ranks are the launcher's
    int omp_threads; // of rank 1; 0: not set

    int threads[RANKS]; // what came out
    char stderr_of_0[512];
} Job;

static Job *new_job(void) {
    Job *j = mmap(NULL, sizeof *j, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Err err = {0};
    memset(j, 0, sizeof *j);
    ASSERT_OK(socket_listen(&j->listener, &j->port, "localhost", &err), &err);
    return j;
}

static Launch launch_of(int rank, int ranks, const Job *j) {
    Launch l = {LAUNCH_TCP, rank, ranks, -1, -1, "localhost", j->port, rank ? -1 : j->listener, {5}, false};
    if (j->told) l.local_rank = 10 + rank, l.local_ranks = 20;
    return l;
}

static void threads_with_stderr(Group *g, Job *j, Forked *out) {
    char path[] = "/tmp/lorac-ranks-XXXXXX";
    int fd = mkstemp(path), before = dup(2);
    unlink(path);
    fflush(stderr);
    dup2(fd, 2);
    out->status = cores_share(g, true, &j->threads[g->rank], &out->err);
    fflush(stderr);
    dup2(before, 2);
    if (g->rank == 0 && pread(fd, j->stderr_of_0, sizeof j->stderr_of_0 - 1, 0) < 0) out->status = -1;
    close(fd);
    close(before);
}

static void open_ranks(int rank, int ranks, void *shared, Forked *out) {
    Job *j = shared;
    Group g;
    Launch l = launch_of(rank, ranks, j);
    unsetenv("OMP_NUM_THREADS");
    if (rank == 1 && j->omp_threads) { // libgomp has read the variable before main
        setenv("OMP_NUM_THREADS", "set", 1);
        omp_set_num_threads(j->omp_threads);
    }
    out->status = ranks_open(&g, &l, 10, &out->err);
    if (out->status) return;
    bool right = g.ranks == ranks && g.rank == rank && g.nodes == 1 && g.node == 0 &&
                 g.local_rank == (j->told ? 10 + rank : rank) && g.local_ranks == (j->told ? 20 : ranks);
    threads_with_stderr(&g, j, out);
    if (!right)
        out->status = err_runtime(&out->err, "rank %d of %d, local %d of %d, node %d of %d", g.rank, g.ranks,
                                  g.local_rank, g.local_ranks, g.node, g.nodes);
    group_close(&g, false);
}

static void run_job(int ranks, Job *j) {
    Forked r[RANKS];
    run_forked(ranks, open_ranks, j, r);
    close(j->listener);
    for (int i = 0; i < ranks; i++)
        if (r[i].status) fail_msg("rank %d: %s", i, r[i].err.msg);
}

static void test_ranks_counts_machines(void **state) {
    (void)state;
    Job *j = new_job();
    run_job(RANKS, j);
    munmap(j, sizeof *j);
}

static void test_ranks_takes_local_ranks_of_the_launcher(void **state) {
    (void)state;
    Job *j = new_job();
    j->told = true;
    run_job(RANKS, j);
    munmap(j, sizeof *j);
}

// CPUs of this test, at most `most`.
static int own_cpus(int *cpus, int most) {
    cpu_set_t set;
    int n = 0;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    for (int i = 0; i < CPU_SETSIZE && n < most; i++)
        if (CPU_ISSET(i, &set)) cpus[n++] = i;
    return n;
}

static void test_ranks_share_cores(void **state) {
    (void)state;
    Job *j = new_job();
    int cpus[1024], n = own_cpus(cpus, 1024), each = n / RANKS > 0 ? n / RANKS : 1;
    run_job(RANKS, j);
    for (int r = 0; r < RANKS; r++) assert_in_range(j->threads[r], 1, each); // a quota may make it fewer
    assert_string_equal(j->stderr_of_0, "");
    munmap(j, sizeof *j);
}

// Two machines, here of the same address: only a name apart. `secret`: the launcher's word on it.
static void open_on_two_machines(int rank, int ranks, void *shared, Forked *out) {
    Job *j = shared;
    Group g;
    Launch l = launch_of(rank, ranks, j);
    char path[] = "/tmp/lorac-ranks-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    l.secret = j->told, l.local_rank = l.local_ranks = -1;
    if (rank == 1 && (unshare(CLONE_NEWUTS) || sethostname("elsewhere", 9))) exit(TEST_SKIPPED);
    fflush(stderr);
    if (rank == 0) dup2(fd, 2);
    out->status = ranks_open(&g, &l, 3, &out->err);
    fflush(stderr);
    if (rank == 0 && pread(fd, j->stderr_of_0, sizeof j->stderr_of_0 - 1, 0) < 0) out->status = -1;
    if (!out->status) group_close(&g, false);
}

static void test_ranks_on_two_machines_warn_without_a_secret(void **state) {
    (void)state;
    for (int secret = 0; secret < 2; secret++) {
        Job *j = new_job();
        Forked r[2];
        j->told = secret;
        run_forked(2, open_on_two_machines, j, r);
        close(j->listener);
        if (r[1].status == -2) skip(); // no name of its own for a process here
        for (int i = 0; i < 2; i++)
            if (r[i].status) fail_msg("rank %d: %s", i, r[i].err.msg);
        if (secret) assert_string_equal(j->stderr_of_0, "");
        if (!secret)
            assert_non_null(strstr(j->stderr_of_0, "lorac: no LORAC_SECRET or LORAC_SECRET_FILE: any process"));
        munmap(j, sizeof *j);
    }
}

static void test_ranks_respect_the_users_threads(void **state) {
    (void)state;
    Job *j = new_job();
    j->omp_threads = 7;
    run_job(2, j);
    assert_int_equal(j->threads[1], 7);
    assert_true(j->threads[0] < 7 || own_cpus((int[8]){0}, 8) > 7);
    munmap(j, sizeof *j);
}

static void test_ranks_nobody_else(void **state) {
    (void)state;
    Group g;
    Err err = {0};
    int threads;
    Launch alone = {.kind = LAUNCH_ALONE, .ranks = 1};
    ASSERT_OK(ranks_open(&g, &alone, 1, &err), &err);
    assert_true(g.ranks == 1 && g.local_ranks == 1 && g.nodes == 1 && !g.calls);
    ASSERT_OK(cores_share(&g, true, &threads, &err), &err);
    assert_true(threads >= 1);
    setenv("LORAC_MODULES", "/nowhere", 1);
    Launch mpi = {.kind = LAUNCH_MPI, .rank = 1, .ranks = 2};
    ASSERT_REFUSED(ranks_open(&g, &mpi, 1, &err), &err,
                   "started as rank 1 by mpirun or srun: lorac-mpi.so not found (searched: /nowhere/lorac-mpi.so)");
    unsetenv("LORAC_MODULES");
}

// ---- started by mpirun ----

static int ranks_of_mpirun(void) {
    const char *ranks = getenv("RANKS_EXPECTED"); // tests/train/ranks/mpirun.sh
    return ranks ? atoi(ranks) : 0;
}

static void test_ranks_of_mpirun(void **state) {
    (void)state;
    if (ranks_of_mpirun() < 2) skip();
    Launch l;
    Group g;
    RankSockets s;
    Err err = {0};
    int threads;
    ASSERT_OK(launch_detect(&l, &err), &err);
    assert_true(l.kind == LAUNCH_MPI && l.ranks == ranks_of_mpirun());
    ASSERT_OK(ranks_open(&g, &l, 10, &err), &err);
    assert_true(g.rank == l.rank && g.ranks == l.ranks && g.local_rank == g.rank && g.local_ranks == g.ranks);
    assert_true(g.node == 0 && g.nodes == 1);
    ASSERT_OK(cores_share(&g, false, &threads, &err), &err);
    assert_true(threads >= 1);
    ASSERT_OK(rendezvous_over_group(&s, &g, RENDEZVOUS_HEARTBEAT, 10, &err), &err);
    ASSERT_OK(group_barrier(&g, &err), &err);
    rank_sockets_close(&s);
    group_close(&g, false);
}

// The launcher speaks of more ranks than MPI knows of: another MPI, or srun without PMIx.
static void test_ranks_of_another_mpi(void **state) {
    (void)state;
    if (ranks_of_mpirun() != 1) skip();
    Launch l = {.kind = LAUNCH_MPI, .rank = 1, .ranks = 4};
    Group g;
    Err err = {0};
    ASSERT_REFUSED(ranks_open(&g, &l, 10, &err), &err,
                   "the launcher started 4 ranks, MPI reports 1: it is not the MPI");
}

TEST_MAIN(TEST(test_ranks_counts_machines), TEST(test_ranks_takes_local_ranks_of_the_launcher),
          TEST(test_ranks_share_cores), TEST(test_ranks_on_two_machines_warn_without_a_secret),
          TEST(test_ranks_respect_the_users_threads), TEST(test_ranks_nobody_else), TEST(test_ranks_of_mpirun),
          TEST(test_ranks_of_another_mpi))
