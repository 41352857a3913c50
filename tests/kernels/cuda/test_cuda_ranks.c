// Ranks that are processes, each with an emulated device of its own: which device that is, their sums, which are the
// bits of one rank, and one that is gone, is killed or never comes.
#include "test.h"

#include "forked.h"
#include "group_tcp.h"
#include "run_device.h"
#include "sockets.h"

enum { ROWS = 8, N = 1000, MOST_RANKS = 4 };

typedef struct Job {
    int listener, port;
    // What the launcher and the machine show each rank.
    const char *device;
    bool nodes; // each rank is on a machine of its own
    int gpus[MOST_RANKS], first_gpu[MOST_RANKS];
    void (*work)(const struct Job *job, Group *g, Backend *b, Forked *out);
    int64_t sums[MOST_RANKS][N]; // of all ranks' rows, as each rank has them
} Job;

static void set_number(const char *name, int value) {
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    setenv(name, text, 1);
}

// The device of a rank, opened as a run opens it, and connected.
static void run_rank(int rank, int ranks, void *shared, Forked *out) {
    Job *job = shared;
    RendezvousOptions place = {RENDEZVOUS_GROUP, rank, ranks, {1}, "127.0.0.1", job->port, job->listener, 20};
    RankSockets sockets;
    Group g = group_alone();
    Backend *b = NULL;
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    set_number("LORAC_EMULATED_DEVICES", job->gpus[rank]);
    set_number("LORAC_EMULATED_FIRST_DEVICE", job->first_gpu[rank]);
    setenv("LORAC_EMULATED_MEMORY", "134217728", 1);
    if (rank > 0) close(job->listener);
    if (ranks > 1) {
        out->status = rendezvous_open(&sockets, &place, &out->err);
        if (out->status) return;
        group_tcp_open(&g, &sockets);
    }
    g.local_rank = job->nodes ? 0 : rank;
    g.local_ranks = job->nodes ? 1 : ranks;
    g.node = job->nodes ? rank : 0;
    g.nodes = job->nodes ? ranks : 1;
    out->status = run_device_open_rank(&b, job->device, DTYPE_WORD_F32, 1, &g, NULL, &out->err);
    if (!out->status && job->work) job->work(job, &g, b, out);
    if (b) backend_close(b);
    group_close(&g, out->status != 0);
}

// sums are written by the children.
static Job *new_job(const char *device) {
    Job *job = mmap(NULL, sizeof *job, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(job != MAP_FAILED);
    job->device = device;
    for (int r = 0; r < MOST_RANKS; r++) job->gpus[r] = MOST_RANKS;
    return job;
}

static void run_job(Job *job, int ranks, Forked results[MOST_RANKS]) {
    Err err = {0};
    ASSERT_OK(socket_listen(&job->listener, &job->port, "127.0.0.1", &err), &err);
    run_forked(ranks, run_rank, job, results);
    close(job->listener);
}

static void end_job(Job *job) { munmap(job, sizeof *job); }

static void assert_all_well(const Forked *results, int ranks) {
    for (int r = 0; r < ranks; r++)
        if (results[r].status) fail_msg("rank %d of %d: %d: %s", r, ranks, results[r].status, results[r].err.msg);
}

// ---- sums ----

static float gradient(int row, int i) { return (float)((row * 7919 + i * 104729) % 1009) / 997.0f - 0.5f; }

// Rows rank, rank + ranks, ... are this rank's.
static void add_rows(Backend *b, const Group *g, int64_t *sum, int64_t *bad) {
    float host[N], *grad = b->k->alloc(b, sizeof host);
    for (int row = g->rank; row < ROWS; row += g->ranks) {
        for (int i = 0; i < N; i++) host[i] = gradient(row, i);
        b->k->upload(b, grad, host, sizeof host);
        b->k->fixed_add(b, sum, grad, N, 1e4f, 1, bad);
    }
    b->k->free(b, grad, sizeof host);
}

static void sum_rows(const Job *job, Group *g, Backend *b, Forked *out) {
    int64_t *sum = b->k->alloc(b, sizeof job->sums[0]), *bad = b->k->alloc(b, sizeof *bad);
    add_rows(b, g, sum, bad);
    b->k->all_reduce(b, sum, N);
    b->k->download(b, (void *)job->sums[g->rank], sum, sizeof job->sums[0]);
    out->status = b->k->status(b, &out->err);
    b->k->free(b, sum, sizeof job->sums[0]);
    b->k->free(b, bad, sizeof *bad);
}

static void connect_and_sum(const Job *job, Group *g, Backend *b, Forked *out) {
    out->status = b->k->connect(b, g, 20, &out->err);
    if (!out->status) sum_rows(job, g, b, out);
}

static void test_cuda_ranks_add_up_to_one(void **state) {
    (void)state;
    static const int counts[] = {1, 2, 4};
    Job *one = new_job("cuda");
    for (int i = 0; i < 3; i++) {
        Forked results[MOST_RANKS];
        Job *job = i == 0 ? one : new_job("auto");
        job->work = connect_and_sum;
        run_job(job, counts[i], results);
        assert_all_well(results, counts[i]);
        for (int r = 0; r < counts[i]; r++) assert_memory_equal(job->sums[r], one->sums[0], sizeof one->sums[0]);
        if (i > 0) end_job(job);
    }
    end_job(one);
}

// ---- ranks that are lost ----

enum { LOST = 1 };

static void lose_one(const Job *job, Group *g, Backend *b, Forked *out) {
    out->status = b->k->connect(b, g, 20, &out->err);
    if (g->rank == LOST && !out->status) kill(getpid(), SIGKILL);
    if (!out->status) sum_rows(job, g, b, out);
}

static void test_cuda_ranks_miss_one_that_is_killed(void **state) {
    (void)state;
    Forked results[MOST_RANKS];
    Job *job = new_job("cuda");
    job->work = lose_one;
    run_job(job, MOST_RANKS, results);
    for (int r = 0; r < MOST_RANKS; r++) {
        if (r == LOST) continue;
        assert_int_equal(results[r].status, -1);
        assert_int_equal(results[r].err.kind, ERR_RUNTIME);
        if (!strstr(results[r].err.msg, "another rank has failed: NCCL: a remote process exited"))
            fail_msg("rank %d: %s", r, results[r].err.msg);
        assert_true(results[r].seconds < 10);
    }
    assert_int_equal(results[LOST].status, -2);
    end_job(job);
}

// Rank LOST takes part in what the group says, and then not in what NCCL does.
static void come_not(const Job *job, Group *g, Backend *b, Forked *out) {
    char id[128];
    (void)job;
    if (g->rank != LOST) {
        out->status = b->k->connect(b, g, 0.5, &out->err);
        return;
    }
    out->status = group_agree(g, 0, &out->err) || group_agree(g, 0, &out->err) ||
                  group_broadcast(g, id, sizeof id, 0, &out->err) || group_agree(g, 0, &out->err);
}

static void test_cuda_ranks_do_not_wait_for_ever(void **state) {
    (void)state;
    Forked results[MOST_RANKS];
    Job *job = new_job("cuda");
    job->work = come_not;
    run_job(job, 3, results);
    for (int r = 0; r < 3; r++) {
        assert_int_not_equal(results[r].status, 0);
        assert_int_equal(results[r].err.kind, ERR_RUNTIME);
        assert_true(results[r].seconds < 10);
    }
    if (!strstr(results[0].err.msg, "waiting for the other ranks: not done after 1 s"))
        fail_msg("%s", results[0].err.msg);
    end_job(job);
}

// ---- whose device is whose ----

static void is_a_gpu(const Job *job, Group *g, Backend *b, Forked *out) {
    (void)job, (void)g;
    if (b->host_memory) out->status = err_runtime(&out->err, "the CPU");
}

static void is_the_cpu(const Job *job, Group *g, Backend *b, Forked *out) {
    (void)job, (void)g;
    if (!b->host_memory || b->threads != 1) out->status = err_runtime(&out->err, "%d threads", b->threads);
}

// The message is rank 0's; the others have the kind.
static void assert_refused(Job *job, int ranks, ErrKind kind, const char *part) {
    Forked results[MOST_RANKS];
    run_job(job, ranks, results);
    for (int r = 0; r < ranks; r++) {
        assert_int_equal(results[r].status, -1);
        assert_int_equal(results[r].err.kind, kind);
    }
    if (!strstr(results[0].err.msg, part)) fail_msg("\"%s\" lacks \"%s\"", results[0].err.msg, part);
    end_job(job);
}

static void assert_opens(Job *job, int ranks, void (*work)(const Job *, Group *, Backend *, Forked *)) {
    Forked results[MOST_RANKS];
    job->work = work;
    run_job(job, ranks, results);
    assert_all_well(results, ranks);
    end_job(job);
}

static void test_cuda_ranks_see_one_gpu_each(void **state) {
    (void)state;
    Job *job = new_job("cuda"); // srun --gpus-per-task=1
    for (int r = 0; r < MOST_RANKS; r++) job->gpus[r] = 1, job->first_gpu[r] = 3 - r;
    assert_opens(job, MOST_RANKS, is_a_gpu);
    job = new_job("auto"); // the GPU of each machine
    for (int r = 0; r < MOST_RANKS; r++) job->gpus[r] = 1;
    job->nodes = true;
    assert_opens(job, MOST_RANKS, is_a_gpu);
    job = new_job("cuda:1"); // of each machine
    job->nodes = true;
    assert_opens(job, 2, is_a_gpu);
}

static void test_cuda_ranks_share_no_gpu(void **state) {
    (void)state;
    Job *job = new_job("auto");
    for (int r = 0; r < MOST_RANKS; r++) job->gpus[r] = 2;
    assert_refused(job, 3, ERR_RUNTIME, "ranks 0 and 2 have the same GPU (cuda:0 of the 2 that rank 2 sees)");
    job = new_job("cuda");
    for (int r = 0; r < MOST_RANKS; r++) job->gpus[r] = 1;
    assert_refused(job, 2, ERR_RUNTIME, "ranks 0 and 1 have the same GPU");
    assert_refused(new_job("cuda:0"), 2, ERR_INPUT, "would be used by all 2 ranks of this machine");
}

static void test_cuda_ranks_compute_on_one_kind_of_device(void **state) {
    (void)state;
    Job *job = new_job("auto");
    job->gpus[1] = 0;
    assert_refused(job, 2, ERR_RUNTIME, "device auto: rank 1 sees no GPU, rank 0 has one");
    job = new_job("cuda");
    job->gpus[1] = 0;
    assert_refused(job, 2, ERR_RUNTIME, "device cuda: no NVIDIA GPU is visible");
    job = new_job("auto");
    for (int r = 0; r < MOST_RANKS; r++) job->gpus[r] = 0;
    assert_opens(job, 2, is_the_cpu);
    assert_opens(new_job("cpu"), 2, is_the_cpu);
}

TEST_MAIN(TEST(test_cuda_ranks_add_up_to_one), TEST(test_cuda_ranks_miss_one_that_is_killed),
          TEST(test_cuda_ranks_do_not_wait_for_ever), TEST(test_cuda_ranks_see_one_gpu_each),
          TEST(test_cuda_ranks_share_no_gpu), TEST(test_cuda_ranks_compute_on_one_kind_of_device))
