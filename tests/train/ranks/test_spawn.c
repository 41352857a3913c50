// A process that starts ranks and waits for them. The ranks are this program again: what they do is in SPAWN_TEST.
#include "test.h"

#include <errno.h>
#include <signal.h>

#include "forked.h"
#include "ranks.h"
#include "spawn.h"

// ---- a rank ----

static void write_line(const char *text) {
    FILE *f = fopen(getenv("SPAWN_LOG"), "ae");
    if (!f) _exit(9);
    fprintf(f, "%s\n", text);
    fclose(f);
}

static volatile sig_atomic_t heard;

static void on_signal(int signal) { heard = signal; }

static int meet_the_others(const Launch *l) {
    Group g;
    Err err = {0};
    int64_t sum = l->rank + 1;
    char line[200];
    if (ranks_open(&g, l, 20, &err) || group_sum(&g, &sum, 1, &err)) {
        write_line(err.msg);
        return 1;
    }
    snprintf(line, sizeof line, "rank %d of %d, local %d of %d, sum %d", g.rank, g.ranks, g.local_rank, g.local_ranks,
             (int)sum);
    write_line(line);
    group_close(&g, false);
    return 0;
}

static int wait_for_signal(void) {
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGUSR1, on_signal);
    signal(SIGHUP, on_signal);
    signal(SIGUSR2, on_signal);
    signal(SIGALRM, on_signal);
    write_line("ready");
    while (!heard) usleep(1000);
    char line[40];
    snprintf(line, sizeof line, "signal %d", (int)heard);
    write_line(line);
    return EXIT_INTERRUPTED;
}

// The others hang after a failure: one ends when it is asked to, one must be made to.
static int fail_or_hang(int rank) {
    if (rank == 0) {
        usleep(300 * 1000);
        return 1;
    }
    if (rank == 1) signal(SIGTERM, SIG_IGN);
    for (;;) pause();
}

static int be_rank(const char *what, char **argv) {
    Launch l;
    Err err = {0};
    alarm(30);
    if (launch_detect(&l, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 8;
    }
    if (!strcmp(what, "meet")) return meet_the_others(&l);
    if (!strcmp(what, "wait")) return wait_for_signal();
    if (!strcmp(what, "secret")) {
        write_line(getenv("LORAC_SECRET"));
        return 0;
    }
    if (!strcmp(what, "arguments")) {
        write_line(argv[1]);
        return 0;
    }
    if (!strcmp(what, "one fails")) return l.rank == 1 ? 3 : (usleep(150 * 1000), 1);
    if (!strcmp(what, "one is killed")) return l.rank == 0 ? raise(SIGKILL) : (usleep(300 * 1000), 1);
    if (!strcmp(what, "others hang")) return fail_or_hang(l.rank);
    if (!strcmp(what, "one stays")) return l.rank == 0 ? raise(SIGSTOP) : 0;
    return 7;
}

// ---- the parent ----

static const char *own_argument;

typedef struct Job {
    char log[64];
    const char *what;
    Launch launch;
    int ranks;
    double timeout;
} Job;

static void start(Job *j, const char *what, int ranks) {
    *j = (Job){.log = "/tmp/lorac-spawn-XXXXXX", .what = what, .ranks = ranks, .timeout = 20};
    int fd = mkstemp(j->log);
    assert_true(fd >= 0);
    close(fd);
    j->launch = (Launch){.kind = LAUNCH_ALONE, .ranks = 1, .local_rank = -1, .local_ranks = -1, .listener = -1};
}

static void parent(int rank, int ranks, void *shared, Forked *out) {
    Job *j = shared;
    (void)ranks;
    setenv("SPAWN_TEST", j->what, 1);
    setenv("SPAWN_LOG", j->log, 1);
    setenv("RANK", "77", 1); // replaced for the ranks
    if (j->launch.kind == LAUNCH_PET) j->launch.rank = rank;
    out->status = spawn_ranks(&j->launch, j->ranks, 0.3, j->timeout, &out->err);
}

// Lines of the log that are `line`, or all.
static int count_lines(const Job *j, const char *line) {
    char got[256];
    int n = 0;
    FILE *f = fopen(j->log, "re");
    assert_non_null(f);
    while (fgets(got, sizeof got, f)) {
        got[strcspn(got, "\n")] = 0;
        n += !line || !strcmp(got, line);
    }
    fclose(f);
    return n;
}

static void assert_line(const Job *j, const char *line) {
    if (count_lines(j, line) == 1) return;
    FILE *f = fopen(j->log, "re");
    for (int c; f && (c = fgetc(f)) != EOF;) fputc(c, stderr);
    fail_msg("%s: not once in what the ranks wrote", line);
}

static void test_spawn_ranks_meet(void **state) {
    (void)state;
    Job j;
    Forked r;
    start(&j, "meet", 3);
    run_forked(1, parent, &j, &r);
    if (r.status) fail_msg("%d: %s", r.status, r.err.msg);
    assert_line(&j, "rank 0 of 3, local 0 of 3, sum 6");
    assert_line(&j, "rank 1 of 3, local 1 of 3, sum 6");
    assert_line(&j, "rank 2 of 3, local 2 of 3, sum 6");
    unlink(j.log);
}

// Two pods, here two processes, each with two ranks.
static void test_spawn_pods_meet(void **state) {
    (void)state;
    Job j;
    Forked r[2];
    start(&j, "meet", 2);
    j.launch.kind = LAUNCH_PET, j.launch.ranks = 2, j.launch.local_ranks = 2, j.launch.port = 20000 + getpid() % 10000;
    strcpy(j.launch.master, "127.0.0.1");
    run_forked(2, parent, &j, r);
    for (int i = 0; i < 2; i++)
        if (r[i].status) fail_msg("pod %d: %d, %s", i, r[i].status, r[i].err.msg);
    assert_line(&j, "rank 0 of 4, local 0 of 2, sum 10");
    assert_line(&j, "rank 3 of 4, local 1 of 2, sum 10");
    assert_int_equal(count_lines(&j, NULL), 4);
    unlink(j.log);
}

// A new one each time, whatever the environment has; all ranks have the same.
static void test_spawn_makes_a_secret(void **state) {
    (void)state;
    char first[64] = "", line[64];
    setenv("LORAC_SECRET_FILE", "/nowhere", 1);
    for (int i = 0; i < 2; i++) {
        Job j;
        Forked r;
        start(&j, "secret", 2);
        run_forked(1, parent, &j, &r);
        assert_int_equal(r.status, 0);
        FILE *f = fopen(j.log, "re");
        assert_true(f && fgets(line, sizeof line, f));
        fclose(f);
        line[strcspn(line, "\n")] = 0;
        assert_int_equal(strlen(line), 32);
        assert_int_equal(strspn(line, "0123456789abcdef"), 32);
        assert_int_equal(count_lines(&j, line), 2);
        assert_string_not_equal(line, first);
        strcpy(first, line);
        unlink(j.log);
    }
    unsetenv("LORAC_SECRET_FILE");
}

static void test_spawn_hands_arguments_on(void **state) {
    (void)state;
    Job j;
    Forked r;
    start(&j, "arguments", 2);
    run_forked(1, parent, &j, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(count_lines(&j, own_argument), 2);
    unlink(j.log);
}

static void test_spawn_ends_ranks_that_hang(void **state) {
    (void)state;
    Job j;
    Forked r;
    start(&j, "others hang", 3);
    run_forked(1, parent, &j, &r);
    assert_int_equal(r.status, -1);
    assert_string_equal(r.err.msg, "rank 0 ended with status 1");
    assert_in_range((int)(r.seconds * 10), 8, 50);
    unlink(j.log);
}

// Stopped at the very end, when nobody waits for it any more.
static void test_spawn_ends_a_rank_that_stays(void **state) {
    (void)state;
    Job j;
    Forked r;
    start(&j, "one stays", 3);
    j.timeout = 0.3;
    run_forked(1, parent, &j, &r);
    assert_int_equal(r.status, -1);
    assert_string_equal(r.err.msg, "rank 0 was killed by signal 9 (Killed)");
    assert_in_range((int)(r.seconds * 10), 5, 50);
    unlink(j.log);
}

static void test_spawn_first_failure_counts(void **state) {
    (void)state;
    Job j;
    Forked r;
    start(&j, "one fails", 3);
    run_forked(1, parent, &j, &r);
    assert_int_equal(r.status, -1);
    assert_int_equal(r.err.kind, ERR_NO_FIT);
    assert_string_equal(r.err.msg, "rank 1 ended with status 3");
    unlink(j.log);
    start(&j, "one is killed", 2);
    run_forked(1, parent, &j, &r);
    assert_int_equal(r.status, -1);
    assert_int_equal(r.err.kind, ERR_RUNTIME);
    assert_string_equal(r.err.msg, "rank 0 was killed by signal 9 (Killed)");
    unlink(j.log);
}

// The parent in a process of its own, until its ranks are ready.
static pid_t parent_of_waiting_ranks(Job *j) {
    start(j, "wait", 2);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        Forked r = {0};
        alarm(60);
        parent(0, 1, j, &r);
        _exit(r.status < 0 ? err_exit_status(r.err.kind) : r.status);
    }
    assert_true(pid > 0);
    for (int i = 0; i < 10000 && count_lines(j, "ready") < 2; i++) usleep(1000);
    assert_int_equal(count_lines(j, "ready"), 2);
    return pid;
}

static void test_spawn_hands_signals_on(void **state) {
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGUSR2, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        Job j;
        char line[40];
        int how;
        pid_t pid = parent_of_waiting_ranks(&j);
        kill(pid, signals[i]);
        assert_int_equal(waitpid(pid, &how, 0), pid);
        assert_true(WIFEXITED(how));
        assert_int_equal(WEXITSTATUS(how), EXIT_INTERRUPTED);
        snprintf(line, sizeof line, "signal %d", signals[i]);
        assert_int_equal(count_lines(&j, line), 2); // each heard it, once
        unlink(j.log);
    }
}

static int ranks_of(const Job *j) {
    char command[200];
    int n = -1;
    snprintf(command, sizeof command, "grep -lzs 'SPAWN_LOG=%s' /proc/[0-9]*/environ | wc -l", j->log);
    FILE *f = popen(command, "r");
    assert_true(f && fscanf(f, "%d", &n) == 1);
    pclose(f);
    return n;
}

static void test_spawn_ranks_die_with_their_parent(void **state) {
    (void)state;
    Job j;
    int how, left = 0;
    pid_t pid = parent_of_waiting_ranks(&j);
    assert_int_equal(ranks_of(&j), 2);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &how, 0), pid);
    for (int i = 0; i < 100 && (left = ranks_of(&j)) > 0; i++) usleep(20 * 1000);
    assert_int_equal(left, 0);
    unlink(j.log);
}

// ---- how many ----

static void test_spawn_count(void **state) {
    (void)state;
    Err err = {0};
    int n;
    Launch alone = {.kind = LAUNCH_ALONE, .ranks = 1}, mpi = {.kind = LAUNCH_MPI, .ranks = 4};
    setenv("LORAC_MODULES", "/nowhere", 1); // no GPU for anybody
    ASSERT_OK(spawn_count(&n, &alone, 1, "cuda", &err), &err);
    assert_int_equal(n, 0);
    ASSERT_OK(spawn_count(&n, &mpi, 8, "cpu", &err), &err); // the launcher's ranks are all there are
    assert_int_equal(n, 0);
    ASSERT_OK(spawn_count(&n, &alone, NUM_GPUS_ALL, "auto", &err), &err);
    assert_int_equal(n, 0);
    ASSERT_REFUSED(spawn_count(&n, &alone, NUM_GPUS_ALL, "cuda", &err), &err, "num_gpus: this process sees 0 GPUs");
    ASSERT_REFUSED(spawn_count(&n, &alone, 2, "auto", &err), &err, "num_gpus: this process sees 0 GPUs");
    ASSERT_REFUSED(spawn_count(&n, &alone, 2, "cuda:1", &err), &err, "device cuda:1 is one GPU");
    ASSERT_REFUSED(spawn_count(&n, &alone, 2, "cpu", &err), &err, "mpirun -np N lorac train");
    assert_int_equal(err.kind, ERR_INPUT);
    ASSERT_REFUSED(spawn_count(&n, &alone, NUM_GPUS_ALL, "cpu", &err), &err, "mpirun -np N lorac train");
    unsetenv("LORAC_MODULES");
}

static void test_spawn_count_of_a_pod(void **state) {
    (void)state;
    Err err = {0};
    int n;
    setenv("LORAC_MODULES", "/nowhere", 1);
    Launch pod = {.kind = LAUNCH_PET, .ranks = 1, .local_ranks = 4};
    ASSERT_OK(spawn_count(&n, &pod, 1, "cpu", &err), &err);
    assert_int_equal(n, 4);
    pod.local_ranks = 0; // one for each GPU
    ASSERT_OK(spawn_count(&n, &pod, 1, "auto", &err), &err);
    assert_int_equal(n, 0);
    pod.ranks = 2;
    ASSERT_OK(spawn_count(&n, &pod, 1, "auto", &err), &err);
    assert_int_equal(n, 1); // it must be told its rank among the pods
    unsetenv("LORAC_MODULES");
}

static int run_all(int argc, char **argv) {
    const struct CMUnitTest tests[] = {TEST(test_spawn_ranks_meet),
                                       TEST(test_spawn_pods_meet),
                                       TEST(test_spawn_makes_a_secret),
                                       TEST(test_spawn_hands_arguments_on),
                                       TEST(test_spawn_ends_ranks_that_hang),
                                       TEST(test_spawn_ends_a_rank_that_stays),
                                       TEST(test_spawn_first_failure_counts),
                                       TEST(test_spawn_hands_signals_on),
                                       TEST(test_spawn_ranks_die_with_their_parent),
                                       TEST(test_spawn_count),
                                       TEST(test_spawn_count_of_a_pod)};
    if (getenv("SPAWN_TEST")) return be_rank(getenv("SPAWN_TEST"), argv);
    if (argc == 1) return execl("/proc/self/exe", argv[0], "*test_spawn*", NULL); // an argument to be handed on
    own_argument = argv[1];
    cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_all)
