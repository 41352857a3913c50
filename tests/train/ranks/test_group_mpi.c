// The group over MPI, run by tests/train/ranks/mpirun.sh on 1 to 4 ranks: each rank runs all tests, and they meet in
// every call.
#include "test.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "group.h"
#include "module.h"

static Group g_group;

static int open_group(void **state) {
    Err err = {0};
    __typeof__(lorac_mpi_open) *open;
    int rc = module_symbol(&open, "lorac-mpi.so", "lorac_mpi_open", "libopenmpi-dev", &err);
    (void)state;
    if (!rc) rc = open(&g_group, 30, &err);
    if (rc) fprintf(stderr, "%s\n", err.msg);
    return rc;
}

static int close_group(void **state) {
    (void)state;
    group_close(&g_group, false);
    return 0;
}

static void test_group_mpi_numbers_the_ranks(void **state) {
    (void)state;
    Err err = {0};
    assert_int_equal(g_group.ranks, atoi(getenv("RANKS_EXPECTED")));
    assert_in_range(g_group.rank, 0, g_group.ranks - 1);
    const char *local = getenv("RANKS_PER_MACHINE");
    assert_int_equal(g_group.local_ranks, local ? atoi(local) : g_group.ranks);
    assert_int_equal(g_group.local_rank, g_group.rank % g_group.local_ranks);
    assert_int_equal(g_group.calls == NULL, g_group.ranks == 1);
    int all[64];
    ASSERT_OK(group_gather(&g_group, all, &g_group.rank, sizeof g_group.rank, &err), &err);
    for (int i = 0; i < g_group.ranks; i++) assert_int_equal(all[i], i);
}

static int64_t value(int rank, int64_t i) {
    return (int64_t)((uint64_t)(i + 1) * 0x9E3779B97F4A7C15u * (uint64_t)(rank + 1));
}

static void test_group_mpi_sums(void **state) {
    (void)state;
    const int64_t sizes[] = {1, 7, 1000, 1001, 300000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        Err err = {0};
        int64_t *data = mem_alloc((size_t)sizes[s], sizeof *data);
        for (int64_t i = 0; i < sizes[s]; i++) data[i] = value(g_group.rank, i);
        ASSERT_OK(group_sum(&g_group, data, sizes[s], &err), &err);
        for (int64_t i = 0; i < sizes[s]; i++) {
            uint64_t want = 0;
            for (int r = 0; r < g_group.ranks; r++) want += (uint64_t)value(r, i);
            assert_true((uint64_t)data[i] == want);
        }
        mem_free(data);
    }
}

static void test_group_mpi_broadcasts_from_each_rank(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 999, 1000, 1001, 2500003};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int from = 0; from < g_group.ranks; from++) {
            Err err = {0};
            unsigned char *data = mem_alloc(sizes[s] + 1, 1);
            for (size_t i = 0; i <= sizes[s]; i++)
                data[i] = g_group.rank == from ? (unsigned char)(i * 7 + s) : (unsigned char)~(i * 7 + s);
            ASSERT_OK(group_broadcast(&g_group, data, sizes[s], from, &err), &err);
            for (size_t i = 0; i < sizes[s]; i++) assert_int_equal(data[i], (unsigned char)(i * 7 + s));
            mem_free(data);
        }
}

static void test_group_mpi_gathers(void **state) {
    (void)state;
    const size_t sizes[] = {1, 1000, 1001, 250001};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        Err err = {0};
        size_t n = sizes[s];
        char *mine = mem_alloc(n, 1), *all = mem_calloc((size_t)g_group.ranks, n);
        memset(mine, 'a' + g_group.rank, n);
        mine[n - 1] = '!';
        ASSERT_OK(group_gather(&g_group, all, mine, n, &err), &err);
        for (int r = 0; r < g_group.ranks; r++)
            for (size_t i = 0; i < n; i++) assert_int_equal(all[(size_t)r * n + i], i == n - 1 ? '!' : 'a' + r);
        mem_free(mine);
        mem_free(all);
    }
}

// All ranks fail when one does, with its status; only rank 0 has something to print.
static void test_group_mpi_agrees(void **state) {
    (void)state;
    Err err = {0};
    int last = g_group.ranks - 1, status = 0;
    ASSERT_OK(group_agree(&g_group, 0, &err), &err);
    if (g_group.rank == last) status = err_input(&err, "epochs: got 0, expected more");
    assert_int_equal(group_agree(&g_group, status, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    if (g_group.rank > 0) {
        assert_string_equal(err.msg, "");
    } else {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "rank %d (", last);
        assert_non_null(strstr(err.msg, "epochs: got 0, expected more"));
        assert_int_equal(strncmp(err.msg, prefix, strlen(prefix)) == 0, g_group.ranks > 1);
    }
    status = err_no_fit(&err, "too large");
    assert_int_equal(group_agree(&g_group, status, &err), -1);
    assert_int_equal(err.kind, ERR_NO_FIT);
    assert_string_equal(err.msg, g_group.rank == 0 ? "too large" : "");
}

// A rank that waits leaves its core to the others.
static void test_group_mpi_waits_asleep(void **state) {
    (void)state;
    Err err = {0};
    double start = time_now();
    clock_t cpu = clock();
    if (g_group.ranks == 1) skip();
    if (g_group.rank == 0) usleep(400000);
    ASSERT_OK(group_barrier(&g_group, &err), &err);
    assert_true(time_now() - start >= 0.3);
    double used = (double)(clock() - cpu) / CLOCKS_PER_SEC;
    if (used > 0.1) fail_msg("%g seconds of computing in a wait of 0.4 seconds", used);
}

// Around a ring, with messages of several pieces in the small build.
static void test_group_mpi_exchanges(void **state) {
    (void)state;
    enum { BYTES = 4321 };
    char out[BYTES], in[BYTES] = {0};
    int n = g_group.ranks, next = (g_group.rank + 1) % n, previous = (g_group.rank + n - 1) % n;
    Err err = {0};
    if (n == 1) return;
    ASSERT_OK(group_link(&g_group, previous, next, 20, &err), &err);
    for (int i = 0; i < BYTES; i++) out[i] = (char)(g_group.rank + i % 251);
    GroupMessage to = {next, out, BYTES}, from = {previous, in, BYTES};
    ASSERT_OK(group_exchange(&g_group, &to, &from, &err), &err);
    for (int i = 0; i < BYTES; i++) assert_int_equal(in[i], (char)(previous + i % 251));
    bool sends = g_group.rank == 0, receives = g_group.rank == 1;
    to.peer = 1, from.peer = 0;
    ASSERT_OK(group_exchange(&g_group, sends ? &to : NULL, receives ? &from : NULL, &err), &err);
    if (receives) assert_int_equal(in[1], 1);
}

static uint64_t blocked_signals(const char *task) {
    char path[300], line[256];
    uint64_t mask = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", task);
    FILE *f = fopen(path, "r");
    if (!f) return ~(uint64_t)0; // a thread that has ended
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, "SigBlk:", 7)) mask = strtoull(line + 7, NULL, 16);
    fclose(f);
    return mask;
}

// A signal to the process must not end it by way of a thread of MPI: all threads but this one block it.
static void test_group_mpi_leaves_signals_alone(void **state) {
    (void)state;
    char self[32];
    snprintf(self, sizeof self, "%d", (int)getpid());
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *e; (e = readdir(tasks));) {
        if (e->d_name[0] == '.') continue;
        bool term = blocked_signals(e->d_name) >> (SIGTERM - 1) & 1,
             usr1 = blocked_signals(e->d_name) >> (SIGUSR1 - 1) & 1;
        assert_int_equal(term, strcmp(e->d_name, self) != 0);
        assert_int_equal(usr1, strcmp(e->d_name, self) != 0);
    }
    closedir(tasks);
}

TEST_MAIN_WITH(open_group, close_group, TEST(test_group_mpi_numbers_the_ranks), TEST(test_group_mpi_sums),
               TEST(test_group_mpi_broadcasts_from_each_rank), TEST(test_group_mpi_gathers),
               TEST(test_group_mpi_agrees), TEST(test_group_mpi_exchanges), TEST(test_group_mpi_waits_asleep),
               TEST(test_group_mpi_leaves_signals_alone))
