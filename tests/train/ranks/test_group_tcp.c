// A group of processes over TCP: what they exchange arrives, and whoever is gone or out of step is an error.
#include "test.h"

#include <poll.h>

#include "forked.h"
#include "group_tcp.h"
#include "sockets.h"

enum { RANKS = 4, MANY = 100003 };

typedef struct Job {
    int listener, port;
    int (*work)(Group *g, Err *err);
} Job;

static void run_rank(int rank, int ranks, void *shared, Forked *out) {
    const Job *job = shared;
    RendezvousOptions p = {RENDEZVOUS_GROUP, rank, ranks, {1}, "127.0.0.1", job->port, job->listener, 20};
    RankSockets sockets;
    Group g;
    if (rank > 0) close(job->listener);
    out->status = rendezvous_open(&sockets, &p, &out->err);
    if (out->status) return;
    group_tcp_open(&g, &sockets);
    out->status = job->work(&g, &out->err);
    group_close(&g, out->status != 0);
}

static void run_group(int ranks, int (*work)(Group *g, Err *err), Forked *results) {
    Job job = {.work = work};
    Err err = {0};
    ASSERT_OK(socket_listen(&job.listener, &job.port, "127.0.0.1", &err), &err);
    run_forked(ranks, run_rank, &job, results);
    close(job.listener);
}

static void assert_works(int (*work)(Group *g, Err *err)) {
    Forked r[RANKS];
    for (int ranks = 2; ranks <= RANKS; ranks++) {
        run_group(ranks, work, r);
        for (int i = 0; i < ranks; i++)
            if (r[i].status) fail_msg("rank %d of %d: %s", i, ranks, r[i].err.msg);
    }
}

static int64_t number_of(int rank, int64_t i) { return (rank + 1) * INT64_C(0x123456789) * (i % 2 ? i : -i); }

static int sum_many(Group *g, Err *err) {
    int64_t *v = mem_alloc(MANY, sizeof *v);
    for (int64_t i = 0; i < MANY; i++) v[i] = number_of(g->rank, i);
    int status = group_sum(g, v, MANY, err);
    for (int64_t i = 0; i < MANY && !status; i++) {
        int64_t want = 0;
        for (int r = 0; r < g->ranks; r++) want += number_of(r, i);
        if (v[i] != want) status = err_runtime(err, "integer %d is wrong", (int)i);
    }
    mem_free(v);
    return status;
}

static void test_group_tcp_sums(void **state) {
    (void)state;
    assert_works(sum_many);
}

static int gather_and_broadcast(Group *g, Err *err) {
    char mine[5], all[RANKS * 5], from[3];
    snprintf(mine, sizeof mine, "r%03d", g->rank);
    if (group_gather(g, all, mine, sizeof mine, err)) return -1;
    for (int r = 0; r < g->ranks; r++)
        if (atoi(all + 5 * r + 1) != r) return err_runtime(err, "place %d holds %s", r, all + 5 * r);
    for (int r = 0; r < g->ranks; r++) {
        snprintf(from, sizeof from, "%d", g->rank);
        if (group_broadcast(g, from, sizeof from, r, err)) return -1;
        if (atoi(from) != r) return err_runtime(err, "rank %d's is %s", r, from);
        if (group_barrier(g, err)) return -1;
    }
    return group_broadcast(g, NULL, 0, 0, err) || group_gather(g, all, NULL, 0, err) ? -1 : 0;
}

static void test_group_tcp_gathers_and_broadcasts(void **state) {
    (void)state;
    assert_works(gather_and_broadcast);
}

static int agree(Group *g, Err *err) {
    if (group_agree(g, 0, err)) return err_runtime(err, "all came with 0");
    int status = g->rank == 2 ? err_input(err, "file x: no such file") : 0;
    return group_agree(g, status, err);
}

static void test_group_tcp_agrees(void **state) {
    (void)state;
    Forked r[RANKS];
    run_group(RANKS, agree, r);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(r[i].status, -1);
        assert_int_equal(r[i].err.kind, ERR_INPUT);
        assert_int_equal(strlen(r[i].err.msg) > 0, i == 0);
    }
    assert_non_null(strstr(r[0].err.msg, "rank 2 ("));
    assert_non_null(strstr(r[0].err.msg, "file x: no such file"));
}

// ---- ranks that do not do the same ----

static void assert_all_out_of_step(int (*work)(Group *g, Err *err), const char *part) {
    Forked r[RANKS];
    run_group(RANKS, work, r);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(r[i].status, -1);
        if (!strstr(r[i].err.msg, "ranks are out of step: rank 0 ") || !strstr(r[i].err.msg, part))
            fail_msg("rank %d: \"%s\" lacks \"%s\"", i, r[i].err.msg, part);
    }
}

static int one_gathers(Group *g, Err *err) {
    int64_t v = 1, all[RANKS];
    if (group_barrier(g, err)) return -1;
    return g->rank == 2 ? group_gather(g, all, &v, sizeof v, err) : group_sum(g, &v, 1, err);
}

static int other_lengths(Group *g, Err *err) {
    static int64_t v[MANY];
    return group_sum(g, v, g->rank == 3 ? MANY - 1 : MANY, err);
}

static int one_is_ahead(Group *g, Err *err) {
    int64_t v[2] = {0};
    if (g->rank == 1 && group_sum(g, v, 2, err)) return -1;
    return group_broadcast(g, v, sizeof v, 1, err);
}

static void test_group_tcp_out_of_step(void **state) {
    (void)state;
    assert_all_out_of_step(one_gathers, "sums 8 bytes of rank 0 (call 2), rank 2 gathers 8 bytes of rank 0 (call 2)");
    assert_all_out_of_step(other_lengths, "sums 800024 bytes of rank 0 (call 1), rank 3 sums 800016 bytes");
    assert_all_out_of_step(one_is_ahead, "broadcasts 16 bytes of rank 1 (call 1), rank 1 sums 16 bytes");
}

// ---- ranks that are gone ----

static int rank_1_ends(Group *g, Err *err) {
    static int64_t v[MANY];
    if (g->rank == 1) return 0;
    return group_sum(g, v, MANY, err);
}

static int rank_0_ends(Group *g, Err *err) {
    static int64_t v[MANY];
    if (g->rank == 0) return 0;
    return group_sum(g, v, MANY, err);
}

static int rank_1_is_killed(Group *g, Err *err) {
    static int64_t v[MANY];
    for (int i = 0; i < 100; i++) {
        if (group_sum(g, v, MANY, err)) return -1;
        if (g->rank == 1 && i == 3) raise(SIGKILL);
    }
    return 0;
}

static void assert_gone(const Forked *r, const char *who) {
    assert_int_equal(r->status, -1);
    if (!strstr(r->err.msg, who)) fail_msg("\"%s\" lacks \"%s\"", r->err.msg, who);
}

static void test_group_tcp_a_rank_is_gone(void **state) {
    (void)state;
    Forked r[RANKS];
    run_group(RANKS, rank_1_ends, r);
    for (int i = 0; i < RANKS; i++)
        if (i != 1) assert_gone(&r[i], "rank 1 is lost: "); // rank 0 tells the others
    run_group(RANKS, rank_0_ends, r);
    for (int i = 1; i < RANKS; i++) assert_gone(&r[i], "rank 0 is lost: ");
    run_group(2, rank_1_is_killed, r);
    assert_gone(&r[0], "rank 1 is lost: ");
    assert_int_equal(r[1].status, -2);
}

// Without a heartbeat each call has its own limit; afterwards nothing is waited for any more.
static int rank_2_is_silent(Group *g, Err *err) {
    int64_t v[RANKS] = {0};
    Err later = {0};
    g->limit = g->rank == 0 ? 0.3 : 0.6;
    if (g->rank == 2) {
        usleep(900 * 1000);
        return 0;
    }
    int status = group_gather(g, v, v, sizeof *v, err);
    double start = time_now();
    bool refused = group_sum(g, v, 1, &later) && group_gather(g, v, v, sizeof *v, &later) && group_barrier(g, &later) &&
                   group_broadcast(g, v, sizeof *v, 1, &later) && group_agree(g, 0, &later);
    if (!refused || !strstr(later.msg, "an earlier exchange between the ranks has failed") || time_now() - start > 0.1)
        return err_runtime(err, "a broken group: %s", later.msg);
    later = (Err){ERR_INPUT, "the reason"};
    if (!group_agree(g, -1, &later) || strcmp(later.msg, "the reason") != 0) return err_runtime(err, "%s", later.msg);
    return status;
}

static int rank_0_is_silent(Group *g, Err *err) {
    int64_t v = 0;
    g->limit = 0.3;
    return g->rank == 0 ? usleep(600 * 1000) : group_sum(g, &v, 1, err);
}

// Takes nothing, so that rank 0 gets stuck while it sends.
static int rank_1_takes_nothing(Group *g, Err *err) {
    size_t n = (size_t)64 << 20;
    char *data = mem_calloc(n, 1);
    g->limit = g->rank == 0 ? 0.4 : 5;
    int status = g->rank == 1 ? (usleep(900 * 1000), 0) : group_broadcast(g, data, n, 0, err);
    mem_free(data);
    return status;
}

static void test_group_tcp_a_rank_is_silent(void **state) {
    (void)state;
    Forked r[RANKS];
    run_group(RANKS, rank_2_is_silent, r);
    for (int i = 0; i < RANKS; i++)
        if (i != 2) assert_gone(&r[i], "rank 2 is silent: it was stopped, hangs, or is cut off from the network");
    run_group(3, rank_0_is_silent, r);
    for (int i = 1; i < 3; i++) assert_gone(&r[i], "rank 0 is silent: ");
    run_group(3, rank_1_takes_nothing, r);
    assert_gone(&r[0], "rank 1 is silent: ");
    assert_gone(&r[2], "rank 1 is silent: ");
}

// A second rendezvous over the group, as the heartbeat has it.
static int rendezvous_over(Group *g, Err *err) {
    RankSockets s;
    for (int nodes = 1; nodes <= 2; nodes++) { // on one machine; on several
        g->nodes = nodes;
        if (rendezvous_over_group(&s, g, RENDEZVOUS_HEARTBEAT, 10, err)) return -1;
        int number = g->rank, status = 0;
        if (g->rank > 0) status = rank_sockets_send(&s, 0, &number, sizeof number, time_now() + 20, err);
        for (int r = 1; r < g->ranks && g->rank == 0 && !status; r++) {
            status = rank_sockets_receive(&s, r, &number, sizeof number, time_now() + 20, err);
            if (!status && number != r) status = err_runtime(err, "rank %d says %d", r, number);
        }
        if (!status) status = group_barrier(g, err);
        rank_sockets_close(&s);
        if (status) return -1;
    }
    return 0;
}

static void test_group_tcp_carries_another_star(void **state) {
    (void)state;
    assert_works(rendezvous_over);
}

// Both directions of a chain of all ranks at once, more bytes than a socket holds.
enum { MESSAGE = 3000001 };

static char byte_of(int from, int round, size_t i) { return (char)(from * 7 + round * 3 + (int)(i % 251)); }

static int exchange_with(Group *g, int out, int in, int round, Err *err) {
    char *sent = mem_alloc(MESSAGE, 1), *got = mem_calloc(MESSAGE, 1);
    for (size_t i = 0; i < MESSAGE; i++) sent[i] = byte_of(g->rank, round, i);
    GroupMessage to = {out, sent, MESSAGE}, from = {in, got, MESSAGE};
    int status = group_exchange(g, out >= 0 ? &to : NULL, in >= 0 ? &from : NULL, err);
    for (size_t i = 0; i < MESSAGE && in >= 0 && !status; i++)
        if (got[i] != byte_of(in, round, i)) status = err_runtime(err, "byte %zu of rank %d is wrong", i, in);
    mem_free(sent);
    mem_free(got);
    return status;
}

static int exchange_along_a_chain(Group *g, Err *err) {
    int previous = g->rank - 1, next = g->rank + 1 < g->ranks ? g->rank + 1 : -1;
    if (group_link(g, previous, next, 20, err)) return -1;
    for (int round = 0; round < 3; round++)
        if (exchange_with(g, next, previous, round, err) || exchange_with(g, previous, next, round, err) ||
            exchange_with(g, g->rank % 2 ? previous : next, g->rank % 2 ? previous : next, round, err))
            return -1;
    return group_barrier(g, err);
}

static void test_group_tcp_exchanges_along_a_chain(void **state) {
    (void)state;
    Forked r[RANKS];
    run_group(2, exchange_along_a_chain, r); // of even length: the third exchange has pairs
    for (int i = 0; i < 2; i++) ASSERT_OK(r[i].status, &r[i].err);
    run_group(4, exchange_along_a_chain, r);
    for (int i = 0; i < 4; i++) ASSERT_OK(r[i].status, &r[i].err);
}

// Rank 1 sends a byte less than rank 0 expects.
static int exchange_out_of_step(Group *g, Err *err) {
    char data[8] = {0};
    GroupMessage out = {0, data, 7}, in = {1, data, 8};
    if (group_link(g, g->rank - 1, g->rank ? -1 : 1, 20, err)) return -1;
    return g->rank ? group_exchange(g, &out, NULL, err) : group_exchange(g, NULL, &in, err);
}

// And one that leaves instead.
static int exchange_with_a_leaver(Group *g, Err *err) {
    char data[8];
    GroupMessage in = {1, data, sizeof data};
    if (group_link(g, g->rank - 1, g->rank ? -1 : 1, 20, err)) return -1;
    return g->rank ? 0 : group_exchange(g, NULL, &in, err);
}

static int exchange_with_a_silent_one(Group *g, Err *err) {
    char data[8];
    GroupMessage in = {1, data, sizeof data};
    if (group_link(g, g->rank - 1, g->rank ? -1 : 1, 20, err)) return -1;
    g->limit = 0.2;
    if (g->rank) poll(NULL, 0, 1000);
    return g->rank ? 0 : group_exchange(g, NULL, &in, err);
}

static void test_group_tcp_an_exchange_fails(void **state) {
    (void)state;
    Forked r[RANKS];
    run_group(2, exchange_out_of_step, r);
    assert_gone(&r[0], "ranks are out of step: rank 1 sends message 1 of 7 bytes; expected message 1 of 8");
    run_group(2, exchange_with_a_leaver, r);
    assert_gone(&r[0], "rank 1 is lost: ");
    run_group(2, exchange_with_a_silent_one, r);
    assert_gone(&r[0], "rank 1 is silent: ");
}

TEST_MAIN(TEST(test_group_tcp_exchanges_along_a_chain), TEST(test_group_tcp_an_exchange_fails),
          TEST(test_group_tcp_sums), TEST(test_group_tcp_gathers_and_broadcasts), TEST(test_group_tcp_agrees),
          TEST(test_group_tcp_out_of_step), TEST(test_group_tcp_a_rank_is_gone), TEST(test_group_tcp_a_rank_is_silent),
          TEST(test_group_tcp_carries_another_star))
