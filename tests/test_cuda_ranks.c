// Two ranks, each a thread with an emulated device of its own: their gradients add up to the bits of one rank, and a
// rank that is gone is a message.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "emulated.h"

enum { RANKS = 2, ROWS = 6, N = 1000 };

// What threads that are ranks exchange: each lays its own on the table.
enum { TABLE_BYTES = 2048 };
typedef struct Table {
    pthread_barrier_t all_here;
    char of_rank[RANKS][TABLE_BYTES];
} Table;

typedef struct Rank {
    Table *table;
    int number, ranks;
    int rows_done;  // leaves after so many; ROWS: stays
    int64_t sum[N]; // of all ranks' rows
    Err err;
    bool failed;
} Rank;

static int gather(Group *g, void *all, const void *mine, size_t n, Err *err) {
    Table *t = ((Rank *)g->state)->table;
    (void)err;
    assert_true(n <= TABLE_BYTES);
    memcpy(t->of_rank[g->rank], mine, n);
    pthread_barrier_wait(&t->all_here);
    for (int i = 0; i < g->ranks; i++) memcpy((char *)all + (size_t)i * n, t->of_rank[i], n);
    pthread_barrier_wait(&t->all_here);
    return 0;
}

static int broadcast(Group *g, void *data, size_t n, int from, Err *err) {
    char all[RANKS][TABLE_BYTES];
    if (gather(g, all, data, n, err)) return -1;
    memcpy(data, (char *)all + (size_t)from * n, n);
    return 0;
}

static const GroupCalls thread_calls = {.name = "threads", .broadcast = broadcast, .gather = gather};

static float gradient(int row, int i) {
    return (float)((row * 7919 + i * 104729) % 1009) / 997.0f - 0.5f;
}

// Rows number, number + ranks, ... are this rank's.
static void add_rows(Backend *b, const Rank *r, int64_t *sum, int64_t *bad) {
    float host[N], *g = b->k->alloc(b, sizeof host);
    for (int row = r->number; row < ROWS; row += r->ranks) {
        for (int i = 0; i < N; i++) host[i] = gradient(row, i);
        b->k->upload(b, g, host, sizeof host);
        b->k->fixed_add(b, sum, g, N, 1e4f, 1, bad);
    }
    b->k->free(b, g, sizeof host);
}

static int run_rank(Rank *r) {
    char device[16];
    Backend *b;
    snprintf(device, sizeof device, "cuda:%d", r->number);
    if (emulated_open_with(&b, &(BackendOptions){.device = device, .activation = DTYPE_F32}, &r->err)) return -1;
    int64_t *sum = b->k->alloc(b, sizeof r->sum), *bad = b->k->alloc(b, sizeof *bad);
    Group group = {.calls = &thread_calls, .state = r, .rank = r->number, .ranks = r->ranks};
    int rc = b->k->connect(b, &group, 60, &r->err);
    if (rc == 0 && r->rows_done == ROWS) {
        add_rows(b, r, sum, bad);
        b->k->all_reduce(b, sum, N);
        b->k->download(b, r->sum, sum, sizeof r->sum);
        rc = b->k->status(b, &r->err);
    }
    b->k->free(b, sum, sizeof r->sum);
    b->k->free(b, bad, sizeof *bad);
    backend_close(b);
    return rc;
}

static void *rank_thread(void *rank) {
    Rank *r = rank;
    r->failed = run_rank(r) != 0;
    return NULL;
}

static void run_ranks(Rank ranks[RANKS]) {
    Table table = {0};
    pthread_t threads[RANKS];
    emulated_set_devices(RANKS);
    pthread_barrier_init(&table.all_here, NULL, RANKS);
    for (int i = 0; i < RANKS; i++) {
        ranks[i].table = &table;
        ranks[i].number = i;
        ranks[i].ranks = RANKS;
        assert_int_equal(pthread_create(&threads[i], NULL, rank_thread, &ranks[i]), 0);
    }
    for (int i = 0; i < RANKS; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&table.all_here);
    emulated_set_devices(1);
}

static void test_cuda_ranks_add_up_to_one(void **state) {
    (void)state;
    static Rank one = {.ranks = 1, .rows_done = ROWS}, two[RANKS] = {{.rows_done = ROWS}, {.rows_done = ROWS}};
    ASSERT_OK(run_rank(&one), &one.err);
    run_ranks(two);
    for (int r = 0; r < RANKS; r++) {
        if (two[r].failed) fail_msg("rank %d: %s", r, two[r].err.msg);
        assert_memory_equal(two[r].sum, one.sum, sizeof one.sum);
    }
}

static void test_cuda_ranks_miss_one_that_is_gone(void **state) {
    (void)state;
    static Rank two[RANKS] = {{.rows_done = ROWS}, {.rows_done = 0}};
    run_ranks(two);
    assert_false(two[1].failed);
    assert_true(two[0].failed);
    assert_non_null(strstr(two[0].err.msg, "remote process exited"));
}

TEST_MAIN(TEST(test_cuda_ranks_add_up_to_one), TEST(test_cuda_ranks_miss_one_that_is_gone))
