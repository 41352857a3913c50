// The rendezvous of ranks over TCP: who finds whom, who is turned away, and that nobody waits for ever.
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "forked.h"
#include "rendezvous.h"
#include "side_by_side.h"
#include "sockets.h"

enum { RANKS = 4 };

typedef struct Case {
    int listener, port;
    double seconds;
    int absent;                // a rank that does not come, 0: none
    int late;                  // a rank that comes after half a second, -1: none
    int twice;                 // a rank that takes the number of rank 1, 0: none
    int miscounts;             // a rank that believes in one rank more, 0: none
    int of_another_job;        // a rank with another token, 0: none
    const char *hosts;         // NULL: 127.0.0.1
    void (*disturb)(int port); // before rank 0 lets anyone in
} Case;

static Case new_case(double seconds) {
    Case c = {.seconds = seconds, .late = -1};
    Err err = {0};
    ASSERT_OK(socket_listen(&c.listener, &c.port, "127.0.0.1", &err), &err);
    return c;
}

// Each sends its rank, rank 0 answers with the double.
static int talk(const RankSockets *s, Err *err) {
    int number = s->rank;
    for (int r = 1; r < s->ranks && s->rank == 0; r++) {
        if (rank_sockets_receive(s, r, &number, sizeof number, time_now() + 20, err)) return -1;
        if (number != r) return err_runtime(err, "rank %d says that it is %d", r, number);
        number *= 2;
        if (rank_sockets_send(s, r, &number, sizeof number, time_now() + 20, err)) return -1;
    }
    if (s->rank == 0) return 0;
    if (rank_sockets_send(s, 0, &number, sizeof number, time_now() + 20, err) ||
        rank_sockets_receive(s, 0, &number, sizeof number, time_now() + 20, err))
        return -1;
    return number == 2 * s->rank ? 0 : err_runtime(err, "rank %d heard %d", s->rank, number);
}

static void meet(int rank, int ranks, void *shared, Forked *out) {
    const Case *c = shared;
    RendezvousOptions p = {RENDEZVOUS_GROUP, rank,        ranks,     {77}, c->hosts ? c->hosts : "127.0.0.1",
                           c->port,          c->listener, c->seconds};
    if (rank > 0) close(c->listener);
    if (rank == c->late) usleep(500 * 1000);
    if (rank && rank == c->absent) return;
    if (rank && rank == c->twice) p.rank = 1, usleep(200 * 1000);
    if (rank && rank == c->miscounts) p.ranks++;
    if (rank && rank == c->of_another_job) p.key[0]++;
    if (rank == 0 && c->disturb) c->disturb(c->port);
    RankSockets s = {0};
    out->status = rendezvous_open(&s, &p, &out->err);
    if (!out->status) out->status = talk(&s, &out->err);
    rank_sockets_close(&s);
}

static void assert_all_met(Case *c, int ranks) {
    Forked r[RANKS];
    run_forked(ranks, meet, c, r);
    close(c->listener);
    for (int i = 0; i < ranks; i++)
        if (r[i].status) fail_msg("rank %d: %d, %s", i, r[i].status, r[i].err.msg);
}

static void assert_said(const Forked *r, const char *part) {
    assert_int_equal(r->status, -1);
    if (!strstr(r->err.msg, part)) fail_msg("\"%s\" lacks \"%s\"", r->err.msg, part);
}

static void test_rendezvous_ranks_meet(void **state) {
    (void)state;
    Case two = new_case(10), four = new_case(10);
    assert_all_met(&two, 2);
    assert_all_met(&four, RANKS);
}

static void test_rendezvous_waits_for_late_ranks(void **state) {
    (void)state;
    Case first = new_case(10), last = new_case(10);
    first.late = 0, last.late = RANKS - 1;
    assert_all_met(&first, RANKS);
    assert_all_met(&last, RANKS);
}

static void test_rendezvous_tries_hosts_in_turn(void **state) {
    (void)state;
    Case c = new_case(10);
    c.hosts = "no-such-host.invalid,127.0.0.9,::1,localhost,127.0.0.1";
    assert_all_met(&c, 3);
}

static void listen_later(int rank, int ranks, void *shared, Forked *out) {
    Case c = *(Case *)shared;
    if (rank == 0) {
        usleep(300 * 1000); // until then nobody listens
        out->status = socket_listen(&c.listener, &c.port, NULL, &out->err);
        if (out->status) return;
    }
    RendezvousOptions p = {RENDEZVOUS_HEARTBEAT, rank, ranks, {0}, "localhost", c.port, c.listener, 10};
    RankSockets s = {0};
    out->status = rendezvous_open(&s, &p, &out->err);
    rank_sockets_close(&s);
}

static void test_rendezvous_rank_0_starts_last_on_all_addresses(void **state) {
    (void)state;
    Case c = new_case(10);
    close(c.listener); // its port is free again
    Forked r[3];
    run_forked(3, listen_later, &c, r);
    for (int i = 0; i < 3; i++)
        if (r[i].status) fail_msg("rank %d: %s", i, r[i].err.msg);
}

// ---- what else may connect ----

static int stranger(int port, const void *bytes, size_t n) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&a, sizeof a) || socket_send(fd, bytes, n, time_now() + 5)) _exit(3);
    return fd;
}

static void knock_and_stay(int port) {
    char noise[400];
    memset(noise, 0xa5, sizeof noise);
    close(stranger(port, "", 0));                        // a port scanner
    stranger(port, "", 0);                               // says nothing and stays
    stranger(port, noise, 7);                            // stops in the middle
    stranger(port, noise, sizeof noise);                 // too much
    close(stranger(port, "GET / HTTP/1.1\r\n\r\n", 18)); // a browser
}

static void knock_often(int port) {
    for (int i = 0; i < 200; i++) stranger(port, "half a hel", 10);
}

static void test_rendezvous_strangers_hold_nobody_up(void **state) {
    (void)state;
    Case few = new_case(10), many = new_case(10);
    few.disturb = knock_and_stay;
    assert_all_met(&few, RANKS);
    many.disturb = knock_often;
    assert_all_met(&many, RANKS);
}

// A rank whose first try waits in the queue, already given up, when rank 0 begins to listen.
static void knock_as_rank_2(int port) {
    struct {
        uint64_t magic;
        int32_t channel, rank, ranks, zero;
        char nonce[16];
    } hello = {UINT64_C(0x32767a65646e6572), RENDEZVOUS_GROUP, 2, RANKS, 0, "0123456789abcde"};
    close(stranger(port, &hello, sizeof hello));
}

static void test_rendezvous_a_try_that_was_given_up_takes_no_seat(void **state) {
    (void)state;
    Case c = new_case(10);
    c.disturb = knock_as_rank_2;
    assert_all_met(&c, RANKS);
}

// ---- failures ----

static void test_rendezvous_names_a_rank_that_does_not_come(void **state) {
    (void)state;
    Case c = new_case(0.6);
    c.absent = 2;
    Forked r[RANKS];
    run_forked(RANKS, meet, &c, r);
    close(c.listener);
    assert_said(&r[0], "1 of 4 ranks did not connect to rank 0 within 0.6 s: the first is rank 2");
    assert_said(&r[1], "rank 2 did not connect to rank 0 within 0.6 s");
    assert_said(&r[3], "rank 2 did not connect to rank 0 within 0.6 s");
    for (int i = 0; i < RANKS; i++) assert_true(r[i].seconds < 5);
}

static void test_rendezvous_no_rank_0(void **state) {
    (void)state;
    Case c = new_case(0.3);
    close(c.listener); // its port is free again
    Err err = {0};
    RankSockets s = {0};
    RendezvousOptions p = {RENDEZVOUS_GROUP, 1, 2, {77}, "127.0.0.1", c.port, -1, c.seconds};
    ASSERT_REFUSED(rendezvous_open(&s, &p, &err), &err, "rank 0 was not reachable for 0.3 s: 127.0.0.1 port");
    ASSERT_REFUSED(rendezvous_open(&s, &p, &err), &err, "Connection refused");
}

static void test_rendezvous_other_jobs_are_turned_away(void **state) {
    (void)state;
    Case c = new_case(0.8);
    c.of_another_job = 1;
    Forked r[3];
    run_forked(3, meet, &c, r);
    close(c.listener);
    assert_said(&r[0], "the first is rank 1; other peers were rejected that do not know the run's secret");
    assert_said(&r[1], "rank 0 was not reachable for 0.8 s: 127.0.0.1 port");
    assert_said(&r[2], "rank 1 did not connect");
}

static void test_rendezvous_a_rank_twice_is_refused(void **state) {
    (void)state;
    Case c = new_case(0.8);
    c.twice = 2;
    Forked r[3];
    run_forked(3, meet, &c, r);
    close(c.listener);
    assert_said(&r[2], "rank 1 connected twice");
    assert_int_equal(r[2].err.kind, ERR_INPUT);
    assert_said(&r[0], "the first is rank 2");
}

static void test_rendezvous_another_number_of_ranks_is_refused(void **state) {
    (void)state;
    Case c = new_case(0.8);
    c.miscounts = 2;
    Forked r[3];
    run_forked(3, meet, &c, r);
    close(c.listener);
    assert_said(&r[2], "rank 0 expects 3 ranks, this is rank 2 of 4");
}

static void test_rendezvous_a_taken_port(void **state) {
    (void)state;
    Case c = new_case(1);
    Err err = {0};
    int fd, port = c.port;
    ASSERT_REFUSED(socket_listen(&fd, &port, "127.0.0.1", &err), &err, "Address already in use");
    close(c.listener);
}

static void die_early(int rank, int ranks, void *shared, Forked *out) {
    const Case *c = shared;
    RendezvousOptions p = {RENDEZVOUS_GROUP, rank, ranks, {77}, "127.0.0.1", c->port, c->listener, c->seconds};
    RankSockets s = {0};
    char byte;
    if (rank > 0) close(c->listener);
    out->status = rendezvous_open(&s, &p, &out->err);
    if (out->status || rank == 1) return; // its connection ends with its process
    out->status = rank_sockets_receive(&s, rank == 0 ? 1 : 0, &byte, 1, time_now() + 20, &out->err);
    rank_sockets_close(&s);
}

static void test_rendezvous_a_peer_that_ends(void **state) {
    (void)state;
    Case c = new_case(10);
    Forked r[3];
    run_forked(3, die_early, &c, r);
    close(c.listener);
    assert_said(&r[0], "rank 1 is lost: its connection has ended");
    assert_said(&r[2], "rank 0 is lost: its connection has ended");
}

static void test_rendezvous_addresses_end_with_loopback(void **state) {
    (void)state;
    char list[512], little[12];
    socket_addresses(list, sizeof list);
    const char *loopback = strstr(list, "127.0.0.1");
    assert_non_null(loopback);
    assert_true(!strchr(loopback, ',') || !strcmp(strchr(loopback, ','), ",::1"));
    socket_addresses(little, sizeof little);
    assert_true(strlen(little) < sizeof little);
}

TEST_MAIN_SIDE_BY_SIDE(TEST(test_rendezvous_ranks_meet), TEST(test_rendezvous_waits_for_late_ranks),
                       TEST(test_rendezvous_tries_hosts_in_turn),
                       TEST(test_rendezvous_rank_0_starts_last_on_all_addresses),
                       TEST(test_rendezvous_strangers_hold_nobody_up),
                       TEST(test_rendezvous_a_try_that_was_given_up_takes_no_seat),
                       TEST(test_rendezvous_names_a_rank_that_does_not_come), TEST(test_rendezvous_no_rank_0),
                       TEST(test_rendezvous_other_jobs_are_turned_away), TEST(test_rendezvous_a_rank_twice_is_refused),
                       TEST(test_rendezvous_another_number_of_ranks_is_refused), TEST(test_rendezvous_a_taken_port),
                       TEST(test_rendezvous_a_peer_that_ends), TEST(test_rendezvous_addresses_end_with_loopback))
