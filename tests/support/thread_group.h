// thread_group: threads of one process as the ranks of a group, for tests.
#pragma once

#include <pthread.h>
#include <string.h>

#include "test.h"

#include "group.h"

enum { THREAD_RANKS = 4 };
typedef struct ThreadTable { // what they exchange: each lays on the table where its own is
    pthread_barrier_t barrier;
    void *of_rank[THREAD_RANKS];
} ThreadTable;

static void thread_meet(Group *g, void *mine) {
    ThreadTable *t = g->state;
    t->of_rank[g->rank] = mine;
    pthread_barrier_wait(&t->barrier);
}

static void thread_part(Group *g) { pthread_barrier_wait(&((ThreadTable *)g->state)->barrier); }

static int thread_broadcast(Group *g, void *data, size_t n, int from, Err *err) {
    ThreadTable *t = g->state;
    (void)err;
    thread_meet(g, data);
    if (g->rank != from) memcpy(data, t->of_rank[from], n);
    thread_part(g);
    return 0;
}

static int thread_gather(Group *g, void *all, const void *mine, size_t n, Err *err) {
    ThreadTable *t = g->state;
    (void)err;
    thread_meet(g, (void *)(uintptr_t)mine);
    for (int r = 0; r < g->ranks; r++) memcpy((char *)all + (size_t)r * n, t->of_rank[r], n);
    thread_part(g);
    return 0;
}

static int thread_sum(Group *g, int64_t *data, int64_t n, Err *err) {
    ThreadTable *t = g->state;
    int64_t *sum = mem_calloc((size_t)n, sizeof *sum);
    (void)err;
    thread_meet(g, data);
    for (int r = 0; r < g->ranks; r++)
        for (int64_t i = 0; i < n; i++) sum[i] += ((const int64_t *)t->of_rank[r])[i];
    thread_part(g);
    memcpy(data, sum, (size_t)n * sizeof *sum);
    mem_free(sum);
    return 0;
}

static const GroupCalls thread_calls = {
    .name = "threads", .broadcast = thread_broadcast, .gather = thread_gather, .sum = thread_sum};

// Runs work(user, rank's group) on each of `ranks` threads.
typedef void (*RankWork)(void *user, Group *g);
typedef struct RankThread {
    RankWork work;
    void *user;
    Group group;
} RankThread;

static void *rank_main(void *thread) {
    RankThread *t = thread;
    t->work(t->user, &t->group);
    return NULL;
}

static void run_as_ranks(int ranks, RankWork work, void *user) {
    ThreadTable table = {0};
    pthread_t threads[THREAD_RANKS];
    RankThread rank[THREAD_RANKS];
    assert_true(ranks <= THREAD_RANKS);
    pthread_barrier_init(&table.barrier, NULL, (unsigned)ranks);
    for (int i = 0; i < ranks; i++) {
        rank[i] = (RankThread){work, user, {.calls = &thread_calls, .state = &table, .rank = i, .ranks = ranks}};
        rank[i].group.local_rank = i;
        rank[i].group.local_ranks = ranks;
        rank[i].group.nodes = 1;
        assert_int_equal(pthread_create(&threads[i], NULL, rank_main, &rank[i]), 0);
    }
    for (int i = 0; i < ranks; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&table.barrier);
}
