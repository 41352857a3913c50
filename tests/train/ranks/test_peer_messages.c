// What another rank sends may be anything: every message between ranks with random changes, texts without an end, and
// numbers that nobody has. No call may read or write past its memory (AddressSanitizer), hang, or end the process.
#include <sys/socket.h>
#include <unistd.h>

#include "cores.h"
#include "forked.h"
#include "group_tcp.h"
#include "heartbeat.h"
#include "heartbeat_wire.h"
#include "ranks.h"
#include "sockets.h"
#include "test.h"

static uint32_t next_random(uint32_t *seed) { return (*seed = *seed * 1664525 + 1013904223) >> 8; }

// In one of several ways: all ones, letters without an end, noise, some bits, no byte of 0, numbers near the limits.
static void mutate(void *data, size_t n, uint32_t *seed) {
    unsigned char *p = data;
    static const uint32_t numbers[] = {0x7fffffff, 0x80000000, 0xffffffff, 0x10000, 0};
    int way = (int)(next_random(seed) % 6);
    if (way == 0) memset(p, 0xff, n);
    if (way == 1) memset(p, 'A', n);
    for (size_t i = 0; way == 2 && i < n; i++) p[i] = (unsigned char)next_random(seed);
    for (uint32_t k = next_random(seed) % 8; way == 3 && n > 0 && k > 0; k--)
        p[next_random(seed) % n] ^= (unsigned char)(1 << next_random(seed) % 8);
    for (size_t i = 0; way == 4 && i < n; i++) p[i] = p[i] ? p[i] : 'z';
    if (way == 5 && n >= 4) memcpy(p + next_random(seed) % (n / 4) * 4, &numbers[next_random(seed) % 5], 4);
}

// ---- a group whose other ranks send anything ----

static int hostile_broadcast(Group *g, void *data, size_t n, int from, Err *err) {
    (void)err;
    if (from != g->rank) mutate(data, n, g->state);
    return 0;
}

static int hostile_gather(Group *g, void *all, const void *mine, size_t n, Err *err) {
    (void)err;
    for (int r = 0; r < g->ranks; r++) {
        if (n) memcpy((char *)all + (size_t)r * n, mine, n);
        if (r != g->rank) mutate((char *)all + (size_t)r * n, n, g->state);
    }
    return 0;
}

static int hostile_sum(Group *g, int64_t *data, int64_t n, Err *err) {
    (void)err;
    mutate(data, (size_t)n * sizeof *data, g->state);
    return 0;
}

static void hostile_close(Group *g, bool failed) { (void)g, (void)failed; }

static const GroupCalls hostile_calls = {"hostile", hostile_broadcast, hostile_gather, hostile_sum, NULL,
                                         NULL,      hostile_close};

static void check_text(const Err *err) {
    assert_true(memchr(err->msg, 0, sizeof err->msg) != NULL);
    assert_true(err->kind > ERR_NONE && err->kind < ERR_KINDS);
}

static void test_messages_of_the_set_up(void **state) {
    (void)state;
    static const ConsistencyItem items[] = {{"a", "1", NULL}, {"b", "a value", "a hint"}};
    uint32_t seed = 1;
    for (int i = 0; i < 300; i++) {
        Group g = {.calls = &hostile_calls, .state = &seed, .rank = i % 3, .ranks = 3, .local_ranks = 1, .nodes = 2};
        Err err = {0};
        int threads;
        Heartbeat *l;
        ASSERT_OK(cores_share(&g, false, &threads, &err), &err);
        assert_true(threads >= 1);
        if (group_agree(&g, i % 2 ? err_input(&err, "mine") : 0, &err)) check_text(&err);
        if (consistency_check(&g, items, 2, &err)) check_text(&err);
        if (g.rank > 0 && i % 10 == 1) { // tries to connect to wherever it is told to
            assert_int_equal(heartbeat_open(&l, &g, NULL, 0.02, &err), -1);
            check_text(&err);
        }
    }
}

// ---- the first exchanges of a run, with a rank that knows the secret ----

// The machines and the cores of ranks, texts all of one letter: the ways in which ranks.h asks for them.
static void say_letters(int rank, int ranks, void *shared, Forked *out) {
    const int *place = shared; // listener, port
    static char letters[sizeof(Cores)], all[2 * sizeof(Cores)];
    Launch l = {.kind = LAUNCH_TCP, .rank = rank, .ranks = ranks, .master = "127.0.0.1", .listener = place[0]};
    RendezvousOptions p = {.rank = rank, .ranks = ranks, .hosts = "127.0.0.1", .port = place[1], .seconds = 5};
    Group g;
    RankSockets s;
    int threads;
    l.port = place[1], l.local_rank = l.local_ranks = -1;
    if (rank == 0) {
        out->status = ranks_open(&g, &l, 5, &out->err) || cores_share(&g, true, &threads, &out->err);
        if (g.nodes != 2) out->status = err_runtime(&out->err, "%d machines", g.nodes);
        return;
    }
    close(place[0]);
    memset(letters, 'A', sizeof letters);
    if (rendezvous_open(&s, &p, &out->err)) return;
    group_tcp_open(&g, &s);
    out->status = group_gather(&g, all, letters, CORES_MACHINE + 2 * sizeof(int32_t), &out->err) ||
                  group_gather(&g, all, letters, sizeof(Cores), &out->err);
    usleep(100 * 1000);
    group_close(&g, true);
}

static void test_messages_without_an_end_over_tcp(void **state) {
    (void)state;
    int place[2] = {0};
    Err err = {0};
    Forked r[2];
    ASSERT_OK(socket_listen(&place[0], &place[1], "127.0.0.1", &err), &err);
    run_forked(2, say_letters, place, r);
    close(place[0]);
    for (int i = 0; i < 2; i++)
        if (r[i].status) fail_msg("rank %d: %d %s", i, r[i].status, r[i].err.msg);
}

// ---- the group over TCP: bytes instead of messages ----

// A group of two with rank `rank` on this end of *peer.
static Group half_a_group(int rank, int *peer) {
    int pair[2];
    RankSockets s = {.rank = rank, .ranks = 2, .fds = mem_alloc(2, sizeof(int))};
    Group g;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    s.fds[0] = rank == 0 ? -1 : pair[0];
    s.fds[1] = rank == 0 ? pair[0] : -1;
    *peer = pair[1];
    group_tcp_open(&g, &s);
    g.limit = 2;
    return g;
}

typedef struct Call {
    uint64_t number;
    uint32_t what;
    int32_t from;
    uint64_t bytes;
} Call;

static int make_call(Group *g, uint32_t what, int64_t *data, Err *err) {
    int64_t all[8];
    return what == 1   ? group_broadcast(g, data, 32, 1 - g->rank, err)
           : what == 2 ? group_gather(g, all, data, 32, err)
                       : group_sum(g, data, 4, err);
}

static void test_messages_of_a_group(void **state) {
    (void)state;
    uint32_t seed = 7;
    for (int i = 0; i < 3000; i++) {
        int peer, rank = i % 2;
        uint32_t what = 1 + (uint32_t)i % 3;
        Group g = half_a_group(rank, &peer);
        Err err = {0};
        struct {
            Call call;
            char data[2000];
        } message = {{1, what, what == 1 ? 1 - rank : 0, 32}, {0}};
        if (i % 7 == 0) message.call.what = 4, message.call.bytes = next_random(&seed) % 1100; // "gives up"
        if (i % 5) mutate(&message, i % 4 ? sizeof message.call : sizeof message, &seed);
        size_t n = i % 3 ? sizeof message : next_random(&seed) % sizeof message;
        assert_int_equal(send(peer, &message, n, 0), n);
        shutdown(peer, SHUT_WR);
        int64_t data[4] = {0};
        int status = make_call(&g, what, data, &err);
        if (status) check_text(&err);
        assert_int_equal(g.broken, status != 0);
        group_close(&g, true);
        close(peer);
    }
}

// ---- the heartbeat ----

static void test_messages_of_a_heartbeat(void **state) {
    (void)state;
    uint32_t seed = 3;
    HeartbeatWire *in = mem_calloc(1, sizeof *in), *out = mem_calloc(1, sizeof *out);
    HeartbeatFrame *f = mem_calloc(1, sizeof *f);
    char bytes[FRAME_MAX];
    for (int i = 0; i < 3000; i++) {
        int pair[2], frames = 0;
        WireEvent e;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        memset(in, 0, sizeof *in), memset(out, 0, sizeof *out);
        out->fd = pair[0];
        wire_put_text(out, (FrameKind)(1 + i % 5), 1, i % 2 ? "a reason" : NULL);
        ssize_t n = recv(pair[1], bytes, sizeof bytes, MSG_DONTWAIT);
        assert_true(n >= FRAME_HEAD);
        size_t part = i % 3 == 0 ? 16 : (size_t)n; // often the head alone, so that not all is turned away at once
        mutate(bytes + (i % 3 == 0 ? 4 : 0), part, &seed);
        assert_int_equal(send(pair[0], bytes, (size_t)n, 0), n);
        if (i % 4) shutdown(pair[0], SHUT_WR);
        in->fd = pair[1];
        while ((e = wire_get(in, f)) == WIRE_FRAME) {
            assert_true(memchr(f->text, 0, sizeof f->text) != NULL && ++frames < 100);
            assert_true(f->kind >= FRAME_BEAT && f->kind <= FRAME_ALARM && f->text_size <= FRAME_MAX_TEXT);
        }
        wire_close(in), wire_close(out);
    }
    mem_free(in), mem_free(out), mem_free(f);
}

TEST_MAIN(TEST(test_messages_of_the_set_up), TEST(test_messages_without_an_end_over_tcp),
          TEST(test_messages_of_a_group), TEST(test_messages_of_a_heartbeat))
