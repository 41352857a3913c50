// The heartbeat's messages, and what it makes of what is known of the ranks.
#include <sys/socket.h>
#include <unistd.h>

#include "heartbeat_wire.h"
#include "test.h"
#include "watchdog.h"

// ---- messages ----

static void test_wire_takes_messages_in_pieces(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    HeartbeatWire *from = mem_calloc(1, sizeof *from), *to = mem_calloc(1, sizeof *to),
                  *half = mem_calloc(1, sizeof *half);
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    from->fd = fds[0], to->fd = ends[1], half->fd = ends[0];
    wire_put_text(from, FRAME_ALARM, 3, "what has happened");
    wire_put(from, &(HeartbeatFrame){.kind = FRAME_BEAT, .phase = 2, .step = 7, .progress = 9});
    char bytes[256];
    ssize_t n = recv(fds[1], bytes, sizeof bytes, 0);
    assert_int_equal(n, 2 * FRAME_HEAD + 17);
    HeartbeatFrame f;
    for (ssize_t i = 0; i < n; i++) {
        assert_int_equal(send(ends[0], bytes + i, 1, 0), 1);
        bool whole = i == FRAME_HEAD + 17 - 1 || i == n - 1;
        assert_int_equal(wire_get(to, &f), whole ? WIRE_FRAME : WIRE_NOTHING);
        if (whole && i < n - 1) assert_string_equal(f.text, "what has happened");
    }
    assert_int_equal(f.kind, FRAME_BEAT);
    assert_int_equal(f.step, 7);
    wire_close(half);
    assert_int_equal(wire_get(to, &f), WIRE_ENDED);
    wire_close(from), wire_close(to), close(fds[1]);
    mem_free(from), mem_free(to), mem_free(half);
}

// A peer that reads nothing costs nothing: beats are left out, and a message that finds no room is lost with it.
static void test_wire_does_not_wait_for_a_peer_that_reads_nothing(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    HeartbeatWire *w = mem_calloc(1, sizeof *w);
    w->fd = fds[0];
    for (int i = 0; i < 100000; i++)
        wire_put(w, &(HeartbeatFrame){.kind = i % 100 ? FRAME_BEAT : FRAME_STOP, .step = i});
    assert_true(w->out_size > 0 && w->out_size <= sizeof w->out);
    wire_close(w);
    close(fds[1]);
    mem_free(w);
}

static void refuse_bytes(const void *bytes, size_t n) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    HeartbeatWire *w = mem_calloc(1, sizeof *w);
    HeartbeatFrame f;
    w->fd = fds[0];
    assert_int_equal(send(fds[1], bytes, n, 0), n);
    assert_int_equal(wire_get(w, &f), WIRE_GARBAGE);
    wire_close(w);
    close(fds[1]);
    mem_free(w);
}

static void test_wire_refuses_what_is_no_message(void **state) {
    (void)state;
    struct {
        uint32_t magic;
        uint8_t kind, phase, status, zero;
        uint32_t size, zeros;
        int64_t step, progress;
    } head = {.magic = 0x74616542, .kind = FRAME_STOP, .size = FRAME_MAX_TEXT + 1};
    refuse_bytes(&head, sizeof head);
    head.size = UINT32_MAX;
    refuse_bytes(&head, sizeof head);
    head.size = 0, head.kind = 0;
    refuse_bytes(&head, sizeof head);
    head.kind = FRAME_ALARM + 1;
    refuse_bytes(&head, sizeof head);
    head.kind = FRAME_BEAT, head.magic = 0x4c696665;
    refuse_bytes(&head, sizeof head);
}

// ---- judging ----

enum { MANY = 512 };

static WatchdogVerdict judge(PeerStatus *s, int rank, PeerStatus one, double now) {
    for (int r = 0; r < MANY; r++) s[r] = (PeerStatus){.phase = PHASE_WAITING, .heard = 99, .moved = 80};
    s[rank] = one;
    return watchdog_judge(s, MANY, now, 10, 1);
}

static void expect(WatchdogVerdict v, RankFault cause, int rank) {
    assert_int_equal(v.cause, cause);
    if (cause != FAULT_NONE) assert_int_equal(v.rank, rank);
}

static void test_judge(void **state) {
    (void)state;
    static PeerStatus s[MANY];
    PeerStatus busy = {.phase = PHASE_COMPUTING, .step = 3, .heard = 99, .moved = 95};
    expect(judge(s, 300, busy, 100), FAULT_NONE, 0);
    expect(judge(s, 300, busy, 105.1), FAULT_HANGS, 300);
    busy.phase = PHASE_UNTIMED; // saves, however long
    expect(judge(s, 300, busy, 108), FAULT_NONE, 0);
    busy.phase = PHASE_WAITING;
    expect(judge(s, 300, busy, 104), FAULT_NONE, 0);
    expect(judge(s, 300, busy, 105.1), FAULT_ALL_WAIT, 0);
    busy.state = PEER_LEFT;
    expect(judge(s, 300, busy, 104), FAULT_ALL_WAIT, 0); // without the one that has left
    busy.since = 96;                                     // unless it has just done so
    expect(judge(s, 300, busy, 104), FAULT_NONE, 0);
    PeerStatus gone = {.state = PEER_LOST, .since = 100};
    expect(judge(s, 5, gone, 100), FAULT_LOST, 5);
    gone.state = PEER_GARBLED;
    expect(judge(s, 5, gone, 100), FAULT_GARBLED, 5);
    PeerStatus faulty = {.state = PEER_FAILED, .since = 85};
    expect(judge(s, 5, faulty, 85.5), FAULT_NONE, 0); // does another one's death show?
    expect(judge(s, 5, faulty, 86), FAULT_FAILED, 5);
    s[4] = gone;
    expect(watchdog_judge(s, MANY, 100, 10, 1), FAULT_GARBLED, 4);
    busy = (PeerStatus){.phase = PHASE_COMPUTING, .heard = 92, .moved = 92};
    expect(judge(s, 511, busy, 102), FAULT_NONE, 0);
    expect(judge(s, 511, busy, 102.1), FAULT_SILENT, 511);
}

// Two ranks that compute for long and alike: nobody waits, nobody hangs.
static void test_judge_lets_compute_who_nobody_waits_for(void **state) {
    (void)state;
    PeerStatus s[2] = {{.phase = PHASE_COMPUTING, .heard = 100, .moved = 10},
                       {.phase = PHASE_COMPUTING, .heard = 100, .moved = 10}};
    expect(watchdog_judge(s, 2, 100, 10, 1), FAULT_NONE, 0);
    s[0].phase = PHASE_WAITING, s[0].moved = 95; // done at last, and waits since then
    expect(watchdog_judge(s, 2, 100, 10, 1), FAULT_NONE, 0);
    s[0].heard = s[1].heard = 106;
    expect(watchdog_judge(s, 2, 106, 10, 1), FAULT_HANGS, 1);
}

TEST_MAIN(TEST(test_wire_takes_messages_in_pieces), TEST(test_wire_does_not_wait_for_a_peer_that_reads_nothing),
          TEST(test_wire_refuses_what_is_no_message), TEST(test_judge),
          TEST(test_judge_lets_compute_who_nobody_waits_for))
