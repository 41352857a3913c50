// Are the ranks about to do the same? Each rank is a thread; what they exchange lies in memory.
#include <pthread.h>
#include <stdlib.h>

#include "ranks.h"
#include "test.h"
#include "train_run_internal.h"

enum { RANKS = 3, TABLE_BYTES = 1 << 16 };

typedef struct Table {
    pthread_barrier_t all_here;
    char of_rank[RANKS][TABLE_BYTES];
} Table;

typedef struct Rank {
    pthread_t thread;
    Group group;
    const char *override; // of the config
    const ConsistencyItem *items;
    int n_items, rc;
    Err err;
} Rank;

static int gather(Group *g, void *all, const void *mine, size_t n, Err *err) {
    Table *t = g->state;
    (void)err;
    CHECK(n <= TABLE_BYTES, "%zu bytes", n);
    memcpy(t->of_rank[g->rank], mine, n);
    pthread_barrier_wait(&t->all_here);
    for (int i = 0; i < g->ranks; i++) memcpy((char *)all + (size_t)i * n, t->of_rank[i], n);
    pthread_barrier_wait(&t->all_here);
    return 0;
}

static const GroupCalls thread_calls = {.name = "threads", .gather = gather};

static void *check_items(void *rank) {
    Rank *r = rank;
    r->rc = consistency_check(&r->group, r->items, r->n_items, &r->err);
    return NULL;
}

static void *check_config(void *rank) {
    Rank *r = rank;
    char path[64];
    snprintf(path, sizeof path, "--model=/machine-%d/model", r->group.rank); // may lie anywhere
    char *argv[] = {path, "--train_file=t.jsonl", "--output_dir=out", (char *)r->override};
    Config c = {0};
    r->rc = config_load(&c, r->override ? 4 : 3, argv, CONFIG_FOR_TRAIN, &r->err);
    if (!r->rc) r->rc = run_consistency_config(&r->group, &c, &r->err);
    config_clear(&c);
    return NULL;
}

static void run_all(Rank ranks[RANKS], void *(*body)(void *)) {
    Table *table = mem_calloc(1, sizeof *table);
    pthread_barrier_init(&table->all_here, NULL, RANKS);
    for (int i = 0; i < RANKS; i++) {
        ranks[i].group =
            (Group){.calls = &thread_calls, .state = table, .rank = i, .ranks = RANKS, .local_ranks = 1, .nodes = 1};
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, body, &ranks[i]), 0);
    }
    for (int i = 0; i < RANKS; i++) pthread_join(ranks[i].thread, NULL);
    pthread_barrier_destroy(&table->all_here);
    mem_free(table);
}

// All refuse; rank 0 has the message.
static void refused(const Rank ranks[RANKS], const char *front, const char *end) {
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(ranks[i].rc, -1);
        assert_int_equal(ranks[i].err.kind, ERR_INPUT);
        if (i > 0) assert_string_equal(ranks[i].err.msg, "");
    }
    const char *msg = ranks[0].err.msg;
    if (strncmp(msg, front, strlen(front)) != 0 || !strstr(msg, end))
        fail_msg("\"%s\"; expected \"%s ... %s\"", msg, front, end);
}

static void check_override(int rank, const char *override, const char *front, const char *end) {
    Rank ranks[RANKS] = {{0}};
    ranks[rank].override = override;
    run_all(ranks, check_config);
    if (front) {
        refused(ranks, front, end);
    } else {
        for (int i = 0; i < RANKS; i++) assert_int_equal(ranks[i].rc, 0);
    }
}

static void test_consistency_config_passes(void **state) {
    (void)state;
    check_override(0, NULL, NULL, NULL);
    check_override(1, "--device=cpu", NULL, NULL);
    check_override(2, "--max_memory=6GiB", NULL, NULL);
    check_override(2, "--learning_rate=0.0002", NULL, NULL); // the default, said aloud
}

static void test_consistency_config_names_the_key(void **state) {
    (void)state;
    check_override(1, "--learning_rate=0.001", "learning_rate: rank 1 (host ", ") has 0.001, rank 0 (host ");
    check_override(1, "--learning_rate=0.001", "learning_rate: rank 1 (host ", ") has 0.0002");
    check_override(2, "--packing=false", "packing: rank 2 (host ", ") has false, rank 0 (host ");
    check_override(0, "--seed=7", "seed: rank 1 (host ", ") has 7");
    check_override(2, "--eval_steps=5", "eval_steps: rank 2 (host ", ") has 5, rank 0 (host ");
    check_override(2, "--ddp_timeout=5", "ddp_timeout: rank 2 (host ", ") has 5, rank 0 (host ");
}

static void test_consistency_items_names_all_that_differ(void **state) {
    (void)state;
    const ConsistencyItem a[] = {
        {"colour", "red", NULL}, {"size", "9", "buy one"}, {"taste", "", NULL}, {"x", "1", NULL}};
    const ConsistencyItem b[] = {
        {"colour", "red", NULL}, {"size", "8", "buy one"}, {"taste", "sweet", NULL}, {"x", "2", NULL}};
    Rank ranks[RANKS] = {{0}};
    for (int i = 0; i < RANKS; i++) ranks[i].items = i == 2 ? b : a, ranks[i].n_items = 4;
    run_all(ranks, check_items);
    refused(ranks, "size: rank 2 (host ", ") has 9; they also differ in taste, x; buy one");
}

// Values whose texts together are the same are not the same.
static void test_consistency_items_tells_neighbours_apart(void **state) {
    (void)state;
    const ConsistencyItem a[] = {{"one", "ab", NULL}, {"two", "c", NULL}},
                          b[] = {{"one", "a", NULL}, {"two", "bc", NULL}};
    Rank ranks[RANKS] = {{0}};
    for (int i = 0; i < RANKS; i++) ranks[i].items = i == 1 ? b : a, ranks[i].n_items = 2;
    run_all(ranks, check_items);
    refused(ranks, "one: rank 1 (host ", "has a, rank 0");
}

static void test_consistency_items_refuses_other_names(void **state) {
    (void)state;
    const ConsistencyItem a[] = {{"one", "1", NULL}, {"two", "2", NULL}}, b[] = {{"one", "1", NULL}};
    Rank ranks[RANKS] = {{0}};
    for (int i = 0; i < RANKS; i++) ranks[i].items = i == 1 ? b : a, ranks[i].n_items = i == 1 ? 1 : 2;
    run_all(ranks, check_items);
    refused(ranks, "what is compared: rank 1 (host ", ") has ");
}

static void test_consistency_shortens_long_values(void **state) {
    (void)state;
    char long_a[400], long_b[400];
    memset(long_a, 'a', 399), memset(long_b, 'b', 399), long_a[399] = long_b[399] = 0;
    const ConsistencyItem a = {"list", long_a, NULL}, b = {"list", long_b, NULL};
    Rank ranks[RANKS] = {{0}};
    for (int i = 0; i < RANKS; i++) ranks[i].items = i == 1 ? &b : &a, ranks[i].n_items = 1;
    run_all(ranks, check_items);
    refused(ranks, "list: rank 1 (host ", "has ...bbb");
}

static void test_consistency_alone_is_the_same(void **state) {
    (void)state;
    Group g = group_alone();
    Err err;
    ASSERT_OK(consistency_check(&g, NULL, 0, &err), &err);
    ASSERT_OK(run_consistency_config(&g, NULL, &err), &err);
    ASSERT_OK(run_consistency_run(&g, NULL, &err), &err);
}

TEST_MAIN(TEST(test_consistency_config_passes), TEST(test_consistency_config_names_the_key),
          TEST(test_consistency_items_names_all_that_differ), TEST(test_consistency_items_tells_neighbours_apart),
          TEST(test_consistency_items_refuses_other_names), TEST(test_consistency_shortens_long_values),
          TEST(test_consistency_alone_is_the_same))
