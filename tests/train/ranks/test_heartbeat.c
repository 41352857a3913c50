// The heartbeat over pairs of sockets, and over TCP; each rank is a process: what the others do, and how soon, when one
// of them dies, is stopped, hangs, fails or leaves.
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "group_tcp.h"
#include "heartbeat.h"
#include "side_by_side.h"
#include "signals.h"
#include "sockets.h"

enum { MAX_RANKS = 4 };
static const double TIMEOUT = 1, AT_ONCE = 0.7; // seconds; generous where it should be milliseconds

static void pause_for(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

// ---- ranks as processes ----

static int add_up(int rank, int ready); // with a heartbeat of its own

typedef int (*Role)(int rank, Heartbeat *l); // what a rank's main thread does; its exit status. NULL: add_up

typedef struct Ranks {
    int count;
    int ready[2]; // pipe: a byte from each that can be sent signals
    pid_t pids[MAX_RANKS];
    int output[MAX_RANKS]; // what they print
    RankProcess members[MAX_RANKS];
} Ranks;

// A parent writes down who the others are before it lets them go.
static void be_rank(int rank, Ranks *r, int (*pairs)[2], int go, Role role, double timeout) {
    int fds[MAX_RANKS];
    Heartbeat *l = NULL;
    Err err;
    if (!role) _exit(add_up(rank, r->ready[1]));
    for (int i = 0; i < r->count; i++) {
        fds[i] = i == 0 ? pairs[rank][1] : pairs[i][0];
        close(rank == 0 ? pairs[i][1] : pairs[i][0]);
        if (rank > 0 && i != rank) close(pairs[i][1]);
    }
    if (read(go, r->members, sizeof r->members) != sizeof r->members) _exit(99);
    if (signals_install(&err) || heartbeat_over_sockets(&l, rank, r->count, r->members, fds, timeout, &err)) _exit(98);
    if (write(r->ready[1], "", 1) != 1) _exit(97);
    _exit(role(rank, l));
}

static Ranks start_within(int count, Role role, double timeout) {
    Ranks r = {.count = count};
    int pairs[MAX_RANKS][2], go[MAX_RANKS][2], out[2];
    char byte;
    assert_int_equal(pipe(r.ready), 0);
    for (int i = 0; i < count; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);
        assert_int_equal(pipe(go[i]), 0);
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(pipe(out), 0);
        r.pids[i] = fork();
        if (r.pids[i] == 0) {
            dup2(out[1], STDERR_FILENO);
            be_rank(i, &r, pairs, go[i][0], role, timeout);
        }
        close(out[1]);
        r.output[i] = out[0];
        snprintf(r.members[i].host, sizeof r.members[i].host, "node-%d", i);
        r.members[i].process = r.pids[i];
    }
    for (int i = 0; i < count; i++) {
        close(pairs[i][0]), close(pairs[i][1]);
        assert_int_equal(write(go[i][1], r.members, sizeof r.members), sizeof r.members);
        close(go[i][0]), close(go[i][1]);
    }
    close(r.ready[1]);
    for (int i = 0; i < count && read(r.ready[0], &byte, 1) == 1; i++) continue; // some may have ended by now
    close(r.ready[0]);
    pause_for(0.05); // all beat
    return r;
}

static Ranks start(int count, Role role) { return start_within(count, role, TIMEOUT); }

static const char *text_of(const Ranks *r, int rank) {
    static char text[4096];
    size_t n = 0;
    for (ssize_t got; (got = read(r->output[rank], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)got;
    text[n] = 0;
    return text;
}

// The rank has ended with `status` before `deadline` (time_now) and said `part`; "": nothing.
static void ended(const Ranks *r, int rank, double deadline, int status, const char *part) {
    int got;
    while (waitpid(r->pids[rank], &got, WNOHANG) == 0) {
        if (time_now() > deadline) {
            for (int i = 0; i < r->count; i++) kill(r->pids[i], SIGKILL);
            fail_msg("rank %d has not ended in time; expected \"%s\"", rank, part);
        }
        pause_for(0.005);
    }
    const char *text = text_of(r, rank);
    if (!WIFEXITED(got) || WEXITSTATUS(got) != status)
        fail_msg("rank %d ended with %x, expected exit status %d; it said \"%s\"", rank, got, status, text);
    if (*part ? !strstr(text, part) : *text != 0) fail_msg("rank %d said \"%s\"; expected \"%s\"", rank, text, part);
    close(r->output[rank]);
}

static void was_killed(const Ranks *r, int rank) {
    assert_int_equal(waitpid(r->pids[rank], NULL, 0), r->pids[rank]);
    close(r->output[rank]);
}

static void rank_word(char word[96], const Ranks *r, int rank, const char *rest) {
    snprintf(word, 96, "lorac: rank %d of %d (host node-%d, process %d) %s", rank, r->count, rank, (int)r->pids[rank],
             rest);
}

// ---- roles ----

static int stay(int rank, Heartbeat *l) {
    (void)rank;
    for (int i = 0; i < 1000; i++) {
        heartbeat_set_phase(l, PHASE_COMPUTING, i);
        pause_for(0.01);
    }
    return 97;
}

static int leave_after_a_while(int rank, Heartbeat *l) {
    heartbeat_set_phase(l, PHASE_COMPUTING, 1);
    pause_for(0.05 * rank);
    heartbeat_close(l, 0, "");
    return 0;
}

static void test_heartbeat_lets_all_go(void **state) {
    (void)state;
    Ranks r = start(4, leave_after_a_while);
    for (int i = 0; i < 4; i++) ended(&r, i, time_now() + 3, 0, "");
}

// Rank 0 leaves first: the others are on their own, and none is alarmed.
static int leave_in_reverse(int rank, Heartbeat *l) {
    pause_for(rank == 0 ? 0 : 0.3);
    heartbeat_close(l, EXIT_INTERRUPTED, NULL);
    return EXIT_INTERRUPTED;
}

static void test_heartbeat_lets_rank_0_go_first(void **state) {
    (void)state;
    Ranks r = start(3, leave_in_reverse);
    for (int i = 0; i < 3; i++) ended(&r, i, time_now() + 3, EXIT_INTERRUPTED, "");
}

static int go_on_without_rank_3(int rank, Heartbeat *l) {
    for (int i = 0; rank < 3 && i < 100; i++) { // longer than any limit
        heartbeat_set_phase(l, PHASE_COMPUTING, i);
        pause_for(0.01);
    }
    heartbeat_close(l, 0, NULL);
    return 0;
}

static void test_heartbeat_takes_a_goodbye_for_no_alarm(void **state) {
    (void)state;
    Ranks r = start(4, go_on_without_rank_3);
    for (int i = 3; i >= 0; i--) ended(&r, i, time_now() + 4, 0, "");
}

static void check_killed(int victim) {
    Ranks r = start(4, stay);
    char word[96];
    rank_word(word, &r, victim, "exited unexpectedly; ");
    kill(r.pids[victim], SIGKILL);
    double deadline = time_now() + AT_ONCE;
    for (int i = 0; i < 4; i++)
        if (i != victim) ended(&r, i, deadline, EXIT_RUNTIME, word);
    was_killed(&r, victim);
}

static void test_heartbeat_sees_a_killed_rank(void **state) {
    (void)state;
    check_killed(2);
}

static void test_heartbeat_sees_rank_0_killed(void **state) {
    (void)state;
    check_killed(0);
}

static void check_stopped(int victim) {
    Ranks r = start(4, stay);
    char word[96];
    rank_word(word, &r, victim, "has been silent for 0.");
    kill(r.pids[victim], SIGSTOP);
    double deadline = time_now() + TIMEOUT;
    for (int i = 0; i < 4; i++)
        if (i != victim) ended(&r, i, deadline, EXIT_RUNTIME, word);
    kill(r.pids[victim], SIGCONT); // it finds itself abandoned
    ended(&r, victim, time_now() + AT_ONCE, EXIT_RUNTIME, "lorac: rank ");
}

static void test_heartbeat_sees_a_stopped_rank(void **state) {
    (void)state;
    check_stopped(1);
}

static void test_heartbeat_sees_rank_0_stopped(void **state) {
    (void)state;
    check_stopped(0);
}

static int work_a_while(int rank, Heartbeat *l) {
    (void)rank;
    for (int i = 0; i < 50; i++) {
        heartbeat_set_phase(l, PHASE_COMPUTING, i);
        pause_for(0.01);
    }
    heartbeat_close(l, 0, NULL);
    return 0;
}

static void test_heartbeat_survives_a_suspended_job(void **state) {
    (void)state;
    Ranks r = start(3, work_a_while);
    for (int i = 0; i < 3; i++) kill(r.pids[i], SIGSTOP);
    pause_for(TIMEOUT);
    for (int i = 0; i < 3; i++) {
        kill(r.pids[i], SIGCONT);
        pause_for(0.05);
    }
    for (int i = 0; i < 3; i++) ended(&r, i, time_now() + 4, 0, "");
}

static int hang_on_rank_1(int rank, Heartbeat *l) {
    heartbeat_set_phase(l, rank == 1 ? PHASE_COMPUTING_ON_CPU : PHASE_WAITING, 17);
    pause_for(10);
    return 97;
}

static void test_heartbeat_sees_a_rank_that_hangs(void **state) {
    (void)state;
    Ranks r = start(3, hang_on_rank_1);
    double deadline = time_now() + TIMEOUT;
    char word[96];
    rank_word(word, &r, 1, "hangs: no progress in step 17");
    for (int i = 0; i < 3; i++) ended(&r, i, deadline, EXIT_RUNTIME, word);
}

// A pass that takes long is one that uses the CPU.
static int compute_long_on_rank_1(int rank, Heartbeat *l) {
    heartbeat_set_phase(l, rank == 1 ? PHASE_COMPUTING_ON_CPU : PHASE_WAITING, 17);
    volatile int64_t n = 0;
    for (double end = time_now() + 1.2 * TIMEOUT; rank == 1 && time_now() < end;) n++;
    if (rank != 1) pause_for(1.2 * TIMEOUT);
    heartbeat_close(l, 0, NULL);
    return 0;
}

static void test_heartbeat_waits_for_a_rank_that_computes(void **state) {
    (void)state;
    Ranks r = start(2, compute_long_on_rank_1);
    for (int i = 0; i < 2; i++) ended(&r, i, time_now() + 5, 0, "");
}

static int wait_for_ever(int rank, Heartbeat *l) {
    (void)rank;
    heartbeat_set_phase(l, PHASE_WAITING, 5);
    pause_for(10);
    return 97;
}

static void test_heartbeat_sees_that_all_wait(void **state) {
    (void)state;
    Ranks r = start(3, wait_for_ever);
    double deadline = time_now() + TIMEOUT;
    for (int i = 0; i < 3; i++) ended(&r, i, deadline, EXIT_RUNTIME, "lorac: all ranks have waited for each other");
}

// ---- failures ----

static int failing;

static int fail_on_one(int rank, Heartbeat *l) {
    if (rank != failing) return stay(rank, l);
    pause_for(0.2);
    heartbeat_close(l, EXIT_NO_FIT, "step 3: no \x1b memory");
    return 50; // and says so itself
}

static void check_failure(int rank) {
    failing = rank;
    Ranks r = start(4, fail_on_one);
    char word[96];
    rank_word(word, &r, rank, "has failed: step 3: no ? memory\n");
    for (int i = 0; i < 4; i++) ended(&r, i, time_now() + 1, i == rank ? 50 : EXIT_NO_FIT, i == rank ? "" : word);
}

static void test_heartbeat_passes_an_error_on(void **state) {
    (void)state;
    check_failure(2);
    check_failure(0);
}

static int agree_on_an_error(int rank, Heartbeat *l) {
    (void)rank;
    heartbeat_close(l, EXIT_INPUT, "");
    return EXIT_INPUT;
}

static void test_heartbeat_knows_what_all_agree_on(void **state) {
    (void)state;
    Ranks r = start(4, agree_on_an_error);
    for (int i = 0; i < 4; i++) ended(&r, i, time_now() + 3, EXIT_INPUT, "");
}

// What others report after a death is its consequence: the death is named.
static int notice_the_death(int rank, Heartbeat *l) {
    pause_for(0.25);
    if (rank == 1) raise(SIGKILL);
    heartbeat_close(l, EXIT_RUNTIME, "the connection is gone");
    return 50;
}

static void test_heartbeat_names_the_death_behind_errors(void **state) {
    (void)state;
    Ranks r = start(4, notice_the_death);
    char word[96];
    rank_word(word, &r, 1, "exited unexpectedly");
    for (int i = 0; i < 4; i++)
        if (i != 1) ended(&r, i, time_now() + 1, EXIT_RUNTIME, word);
    was_killed(&r, 1);
}

static int send_rubbish(int rank, Heartbeat *l) {
    if (rank == 1)
        for (int fd = 3; fd < 64; fd++) send(fd, "GET / HTTP/1.1\r\nHost: somewhere-else\r\n\r\n", 41, MSG_NOSIGNAL);
    return stay(rank, l);
}

static void test_heartbeat_turns_rubbish_away(void **state) {
    (void)state;
    Ranks r = start(3, send_rubbish);
    char word[96];
    rank_word(word, &r, 1, "sent an invalid message");
    for (int i = 0; i < 3; i++) ended(&r, i, time_now() + 1, EXIT_RUNTIME, word);
}

// ---- a stop ----

static int stop_when_asked(int rank, Heartbeat *l) {
    (void)rank;
    double end = time_now() + 3;
    while (!signals_stop_asked() && time_now() < end) pause_for(0.002);
    if (!signals_stop_asked()) return 96;
    pause_for(0.2); // saves
    signals_ignore();
    heartbeat_close(l, EXIT_INTERRUPTED, NULL);
    pause_for(0.1);
    return EXIT_INTERRUPTED;
}

static void check_stop(int rank, int signal) {
    Ranks r = start(4, stop_when_asked);
    kill(r.pids[rank], signal);
    double deadline = time_now() + 1;
    for (int i = 0; i < 4; i++) ended(&r, i, deadline, EXIT_INTERRUPTED, "");
}

static void test_heartbeat_tells_all_to_stop(void **state) {
    (void)state;
    check_stop(2, SIGTERM);
    check_stop(0, SIGUSR1);
}

// As launchers do: all ranks are sent the signal, some twice, and again when the first one has gone.
static void test_signals_that_belong_together_are_one(void **state) {
    (void)state;
    Ranks r = start(3, stop_when_asked);
    for (int again = 0; again < 30; again++) {
        for (int i = 0; i < 3; i++) kill(r.pids[i], again % 2 ? SIGTERM : SIGINT);
        pause_for(0.01);
    }
    double deadline = time_now() + 1;
    for (int i = 0; i < 3; i++) ended(&r, i, deadline, EXIT_INTERRUPTED, "");
}

static void test_a_second_signal_ends_at_once(void **state) {
    (void)state;
    Ranks r = start_within(1, stay, 10);
    kill(r.pids[0], SIGTERM);
    pause_for(1.1);
    kill(r.pids[0], SIGTERM);
    ended(&r, 0, time_now() + AT_ONCE, EXIT_RUNTIME, "");
}

// ---- over TCP, with a group beside it ----

static int listener, port;

// What a rank of a run does: an error of the group is told to the heartbeat, which knows better.
static int add_up(int rank, int ready) {
    RendezvousOptions place = {RENDEZVOUS_GROUP, rank, 4, {7}, "127.0.0.1", port, listener, 10};
    RankSockets sockets;
    Group g;
    Heartbeat *l;
    Err err;
    if (rank > 0) close(listener);
    if (rendezvous_open(&sockets, &place, &err)) return 96;
    group_tcp_open(&g, &sockets);
    if (heartbeat_open(&l, &g, NULL, TIMEOUT, &err)) return 95;
    if (write(ready, "", 1) != 1) return 93;
    for (int i = 0; i < 60; i++) {
        int64_t one = 1;
        heartbeat_set_phase(l, PHASE_WAITING, i);
        if (group_sum(&g, &one, 1, &err)) {
            heartbeat_close(l, err_exit_status(err.kind), err.msg);
            return 94;
        }
        heartbeat_set_phase(l, PHASE_COMPUTING, i);
        pause_for(0.01);
    }
    heartbeat_close(l, 0, NULL);
    group_close(&g, false);
    return 0;
}

static Ranks start_over_tcp(void) {
    Err err;
    ASSERT_OK(socket_listen(&listener, &port, "127.0.0.1", &err), &err);
    Ranks r = start_within(4, NULL, TIMEOUT);
    close(listener);
    return r;
}

static void check_over_tcp(int victim, int signal, const char *rest) {
    Ranks r = start_over_tcp();
    char word[96], front[32], back[80];
    kill(r.pids[victim], signal);
    double deadline = time_now() + (signal == SIGKILL ? AT_ONCE : TIMEOUT);
    snprintf(front, sizeof front, "lorac: rank %d of 4 (host ", victim);
    snprintf(back, sizeof back, ", process %d) %s", (int)r.pids[victim], rest);
    for (int i = 0; i < 4; i++) {
        if (i == victim) continue;
        snprintf(word, sizeof word, "%s", i % 2 ? front : back);
        ended(&r, i, deadline, EXIT_RUNTIME, word);
    }
    kill(r.pids[victim], SIGKILL);
    was_killed(&r, victim);
}

static void test_heartbeat_over_tcp_names_who_was_killed(void **state) {
    (void)state;
    check_over_tcp(2, SIGKILL, "exited unexpectedly");
    check_over_tcp(0, SIGKILL, "exited unexpectedly");
}

static void test_heartbeat_over_tcp_names_who_was_stopped(void **state) {
    (void)state;
    check_over_tcp(3, SIGSTOP, "has been silent for 0.");
}

static void test_heartbeat_over_tcp_lets_all_go(void **state) {
    (void)state;
    Ranks r = start_over_tcp();
    for (int i = 0; i < 4; i++) ended(&r, i, time_now() + 5, 0, "");
}

TEST_MAIN_SIDE_BY_SIDE(TEST(test_heartbeat_lets_all_go), TEST(test_heartbeat_lets_rank_0_go_first),
                       TEST(test_heartbeat_takes_a_goodbye_for_no_alarm), TEST(test_heartbeat_sees_a_killed_rank),
                       TEST(test_heartbeat_sees_rank_0_killed), TEST(test_heartbeat_sees_a_stopped_rank),
                       TEST(test_heartbeat_sees_rank_0_stopped), TEST(test_heartbeat_survives_a_suspended_job),
                       TEST(test_heartbeat_sees_a_rank_that_hangs), TEST(test_heartbeat_waits_for_a_rank_that_computes),
                       TEST(test_heartbeat_sees_that_all_wait), TEST(test_heartbeat_passes_an_error_on),
                       TEST(test_heartbeat_knows_what_all_agree_on), TEST(test_heartbeat_names_the_death_behind_errors),
                       TEST(test_heartbeat_turns_rubbish_away), TEST(test_heartbeat_tells_all_to_stop),
                       TEST(test_signals_that_belong_together_are_one), TEST(test_a_second_signal_ends_at_once),
                       TEST(test_heartbeat_over_tcp_names_who_was_killed),
                       TEST(test_heartbeat_over_tcp_names_who_was_stopped), TEST(test_heartbeat_over_tcp_lets_all_go))
