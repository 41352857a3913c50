// Who may take part in a run: the secret, the proofs that are made with it, and what strangers try at the listener.
#include <errno.h>
#include <sys/stat.h>

#include "forked.h"
#include "launcher.h"
#include "proof.h"
#include "rendezvous.h"
#include "scratch.h"
#include "sockets.h"

// ---- proofs ----

// RFC 4231, test case 2.
static void test_proof_key_is_hmac_sha256(void **state) {
    (void)state;
    static const unsigned char want[GROUP_KEY] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                                  0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                                  0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    unsigned char key[GROUP_KEY];
    proof_key(key, "Jefe", 4, "what do ya want for nothing?", 28);
    assert_memory_equal(key, want, sizeof key);
}

// Each bit of what a proof is over counts, and so does the side.
static void test_proof_is_of_one_connection_and_side(void **state) {
    (void)state;
    struct {
        unsigned char key[GROUP_KEY], nonce[PROOF_NONCE], proof[PROOF_SIZE];
        Hello hello;
    } a = {{1}, {2}, {0}, {.magic = 3, .channel = 1, .rank = 2, .ranks = 4, .nonce = {5}}}, b;
    for (int side = 0; side < 2; side++) {
        proof_make(a.proof, a.key, (Side)side, &a.hello, a.nonce);
        assert_true(proof_matches(a.proof, a.key, (Side)side, &a.hello, a.nonce));
        assert_false(proof_matches(a.proof, a.key, (Side)!side, &a.hello, a.nonce));
        for (size_t bit = 0; bit < 8 * sizeof a; bit++) {
            b = a;
            ((unsigned char *)&b)[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_false(proof_matches(b.proof, b.key, (Side)side, &b.hello, b.nonce));
        }
    }
}

// ---- the secret ----

static void set_secret(const char *text, const char *file) {
    unsetenv("LORAC_SECRET");
    unsetenv("LORAC_SECRET_FILE");
    if (text) setenv("LORAC_SECRET", text, 1);
    if (file) setenv("LORAC_SECRET_FILE", file, 1);
}

static void test_secret_makes_the_key(void **state) {
    (void)state;
    Err err = {0};
    bool secret;
    unsigned char none[GROUP_KEY], other[GROUP_KEY], text[GROUP_KEY], file[GROUP_KEY];
    set_secret(NULL, NULL);
    ASSERT_OK(secret_key(none, &secret, "none", &err), &err);
    assert_false(secret);
    ASSERT_OK(secret_key(other, &secret, "x", &err), &err); // another job
    assert_memory_not_equal(none, other, GROUP_KEY);
    set_secret("0123456789abcdef0123456789abcdef", "");
    ASSERT_OK(secret_key(text, &secret, "none", &err), &err);
    assert_true(secret);
    assert_memory_not_equal(none, text, GROUP_KEY);
    scratch_put("s", "0123456789abcdef0123456789abcdef \r\n", 35);
    chmod("s", 0400);
    set_secret(NULL, "s");
    ASSERT_OK(secret_key(file, &secret, "none", &err), &err);
    assert_true(secret);
    assert_memory_equal(text, file, GROUP_KEY);
    set_secret(NULL, NULL);
}

static void refused(const char *text, const char *file, const char *part) {
    Err err = {0};
    bool secret;
    unsigned char key[GROUP_KEY];
    set_secret(text, file);
    ASSERT_REFUSED(secret_key(key, &secret, NULL, &err), &err, part);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_null(strstr(err.msg, "0123456"));
    set_secret(NULL, NULL);
}

static void test_secret_refuses(void **state) {
    (void)state;
    static char large[SECRET_MOST + 2];
    memset(large, 'a', sizeof large - 1);
    scratch_put("s", "0123456789abcdef", 16);
    scratch_put("short", "0123456\n\n\n\n\n\n\n\n\n\n\n\n", 19);
    scratch_put("large", large, sizeof large - 1);
    chmod("short", 0600), chmod("large", 0600);
    static const mode_t modes[] = {0640, 0604, 0660, 0602, 0644, 0610};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        chmod("s", modes[i]);
        refused(NULL, "s", "other users may access it (mode 06");
    }
    mkdir("d", 0700);
    mkfifo("f", 0600);
    refused("0123456789abcdef", "s", "are both set");
    refused("0123456", NULL, "a secret of 7 bytes; expected at least 16");
    refused(large, NULL, "more than 4096 bytes");
    refused(NULL, "short", "a secret of 7 bytes");
    refused(NULL, "large", "more than 4096 bytes");
    refused(NULL, "nowhere", "No such file");
    refused(NULL, "d", "not a regular file");
    refused(NULL, "f", "not a regular file"); // and is not waited for
    if (geteuid() == 0) {
        chmod("s", 0600);
        assert_int_equal(chown("s", 12345, 12345), 0);
        refused(NULL, "s", "belongs to user 12345");
    }
}

static void test_launcher_reads_the_secret(void **state) {
    (void)state;
    Launch a, b, mpi;
    Err err = {0};
    clearenv();
    setenv("RANK", "1", 1), setenv("WORLD_SIZE", "2", 1), setenv("LOCAL_WORLD_SIZE", "2", 1);
    setenv("MASTER_ADDR", "node-0", 1), setenv("MASTER_PORT", "29500", 1);
    ASSERT_OK(launch_detect(&a, &err), &err);
    assert_string_equal(a.master, "127.0.0.1"); // all ranks are here
    setenv("LORAC_SECRET", "0123456789abcdef", 1);
    ASSERT_OK(launch_detect(&b, &err), &err);
    assert_true(!a.secret && b.secret && memcmp(a.key, b.key, GROUP_KEY) != 0);
    setenv("LORAC_SECRET", "0123", 1);
    ASSERT_REFUSED(launch_detect(&b, &err), &err, "LORAC_SECRET: a secret of 4 bytes");
    clearenv();
    setenv("OMPI_COMM_WORLD_RANK", "1", 1), setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    setenv("LORAC_SECRET", "0123456789abcdef", 1);
    ASSERT_OK(launch_detect(&mpi, &err), &err);
    assert_true(mpi.kind == LAUNCH_MPI && mpi.secret);
    clearenv();
}

// ---- at the listener ----

enum { CHALLENGE = 56 };

typedef struct Job {
    int listener, port;
    void (*visit)(int port); // of a stranger, before rank 1 comes
} Job;

static const unsigned char job_key[GROUP_KEY] = "only the ranks know this";

static RendezvousOptions place_of(int rank, const Job *j, double seconds) {
    RendezvousOptions p = {
        .channel = RENDEZVOUS_GROUP, .rank = rank, .ranks = 2, .hosts = "127.0.0.1", .port = j->port};
    memcpy(p.key, job_key, sizeof p.key);
    p.listener = j->listener, p.seconds = seconds;
    return p;
}

static Hello hello_of(int rank) {
    return (Hello){.magic = UINT64_C(0x32767a65646e6572), .channel = RENDEZVOUS_GROUP, .rank = rank, .ranks = 2};
}

static int connect_to(int port) {
    Err err;
    int fd = socket_connect("127.0.0.1", port, 2, time_now() + 2, &err);
    if (fd < 0) _exit(3);
    return fd;
}

// True when rank 0 has closed the connection, within a second.
static bool is_shown_out(int fd) {
    char byte;
    bool closed = socket_receive(fd, &byte, 1, time_now() + 1) && errno != ETIMEDOUT;
    close(fd);
    return closed;
}

static void expect_out(int fd, const char *who) {
    if (is_shown_out(fd)) return;
    fprintf(stderr, "%s is not shown out\n", who);
    _exit(4);
}

static int greet(int port, unsigned char challenge[CHALLENGE]) {
    Hello h = hello_of(1);
    int fd = connect_to(port);
    if (socket_send(fd, &h, sizeof h, time_now() + 1) || socket_receive(fd, challenge, CHALLENGE, time_now() + 1))
        _exit(5);
    return fd;
}

// Sends rank 0's own proof back, guesses, or knows the run's public name only.
static void try_without_the_key(int port) {
    unsigned char challenge[CHALLENGE], proof[PROOF_SIZE] = {0}, public[GROUP_KEY];
    Hello h = hello_of(1);
    int reflect = greet(port, challenge);
    socket_send(reflect, challenge + 24, PROOF_SIZE, time_now() + 1);
    expect_out(reflect, "a reflected proof");
    int guess = greet(port, challenge);
    socket_send(guess, proof, PROOF_SIZE, time_now() + 1);
    expect_out(guess, "a guess");
    int known = greet(port, challenge);
    proof_key(public, "", 0, "none", 4);
    proof_make(proof, public, SIDE_PEER, &h, challenge + 8);
    socket_send(known, proof, PROOF_SIZE, time_now() + 1);
    expect_out(known, "the key of a public name");
}

// The right key, but made for another connection: the nonce of an earlier challenge.
static void try_an_old_proof(int port) {
    unsigned char challenge[CHALLENGE], proof[PROOF_SIZE];
    Hello h = hello_of(1);
    close(greet(port, challenge));
    proof_make(proof, job_key, SIDE_PEER, &h, challenge + 8);
    int fd = greet(port, challenge);
    socket_send(fd, proof, PROOF_SIZE, time_now() + 1);
    expect_out(fd, "a replayed proof");
}

// Says nothing, a byte now and then, too much, nonsense of every length; more of them than there are places.
static void try_to_hold_up(int port) {
    unsigned char noise[200];
    uint32_t random = 1;
    for (int i = 0; i < 150; i++) {
        int fd = connect_to(port);
        Hello h = hello_of(1);
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (unsigned char)((random = random * 1664525 + 1013904223) >> 24);
        if (i % 3 == 0) memcpy(noise, &h, sizeof h);
        if (i % 5 == 0) noise[random % sizeof h] ^= (unsigned char)(1 << i % 8);
        (void)socket_send(fd, noise, random % (sizeof noise + 1), time_now() + 1);
    }
    for (int i = 0, fd = connect_to(port); i < 20; i++, usleep(10 * 1000))
        (void)socket_send(fd, "2", 1, time_now() + 1);
}

static void meet(int rank, int ranks, void *shared, Forked *out) {
    Job *j = shared;
    RankSockets s = {0};
    (void)ranks;
    if (rank != 0) close(j->listener);
    if (rank == 2) { // the stranger; rank 1 comes when it is through
        j->visit(j->port);
        out->status = 0;
        return;
    }
    if (rank == 1) usleep(400 * 1000);
    RendezvousOptions p = place_of(rank, j, 10);
    out->status = rendezvous_open(&s, &p, &out->err);
    rank_sockets_close(&s);
}

static void check_visit(void (*visit)(int port)) {
    Job j = {.visit = visit};
    Forked r[3];
    Err err = {0};
    ASSERT_OK(socket_listen(&j.listener, &j.port, "127.0.0.1", &err), &err);
    run_forked(3, meet, &j, r);
    close(j.listener);
    for (int i = 0; i < 3; i++)
        if (r[i].status) fail_msg("%s %d: %d, %s", i == 2 ? "the stranger" : "rank", i, r[i].status, r[i].err.msg);
    assert_true(r[0].seconds < 4);
}

static void test_handshake_strangers_take_no_slot(void **state) {
    (void)state;
    check_visit(try_without_the_key);
    check_visit(try_an_old_proof);
}

static void test_handshake_strangers_hold_nobody_up(void **state) {
    (void)state;
    check_visit(try_to_hold_up);
}

// Somebody else listens at rank 0's port: sends the hello back, or a challenge without the key.
static void test_handshake_rank_0_must_prove_itself(void **state) {
    (void)state;
    for (int reflect = 0; reflect < 2; reflect++) {
        Job j = {0};
        Err err = {0};
        RankSockets s;
        ASSERT_OK(socket_listen(&j.listener, &j.port, "127.0.0.1", &err), &err);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            for (;;) {
                unsigned char bytes[CHALLENGE + PROOF_SIZE] = {0};
                Hello h;
                int fd = socket_accept(j.listener);
                if (fd < 0) {
                    usleep(1000);
                    continue;
                }
                if (socket_receive(fd, &h, sizeof h, time_now() + 1)) continue;
                memcpy(bytes, &h.magic, sizeof h.magic);
                if (reflect) memcpy(bytes + 8, &h.nonce, sizeof h.nonce);
                (void)socket_send(fd, bytes, CHALLENGE, time_now() + 1);
                if (!socket_receive(fd, bytes, 1, time_now() + 1)) _exit(6); // it has proved itself to anybody
                close(fd);
            }
        }
        RendezvousOptions p = place_of(1, &j, 0.3);
        ASSERT_REFUSED(rendezvous_open(&s, &p, &err), &err, "another job of lorac, or one with another LORAC_SECRET");
        int how = 0;
        pid_t ended = waitpid(pid, &how, WNOHANG);
        kill(pid, SIGKILL);
        if (!ended) waitpid(pid, NULL, 0);
        assert_int_equal(ended, 0);
        close(j.listener);
    }
}

// ---- where rank 0 listens ----

static void assert_listens_at(const char *host, const char *want) {
    char text[GROUP_ADDRESS];
    int fd, port = 0;
    Err err = {0};
    ASSERT_OK(socket_listen(&fd, &port, host, &err), &err);
    socket_own_address(text, sizeof text, fd);
    assert_string_equal(text, want);
    close(fd);
}

static void test_listener_is_on_one_interface(void **state) {
    (void)state;
    char list[1024], *rest = list;
    assert_listens_at("127.0.0.1", "127.0.0.1");
    assert_listens_at("localhost", "127.0.0.1");
    assert_listens_at("127.0.0.9", "127.0.0.9");
    socket_addresses(list, sizeof list);
    for (const char *address; (address = strsep(&rest, ","));) assert_listens_at(address, address);
    assert_listens_at(NULL, "");
    assert_listens_at("192.0.2.1", ""); // nobody's: where else should the others find it
}

TEST_MAIN(TEST(test_proof_key_is_hmac_sha256), TEST(test_proof_is_of_one_connection_and_side),
          SCRATCH_TEST(test_secret_makes_the_key), SCRATCH_TEST(test_secret_refuses),
          TEST(test_launcher_reads_the_secret), TEST(test_handshake_strangers_take_no_slot),
          TEST(test_handshake_strangers_hold_nobody_up), TEST(test_handshake_rank_0_must_prove_itself),
          TEST(test_listener_is_on_one_interface))
