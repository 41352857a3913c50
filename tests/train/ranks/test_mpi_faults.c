// The same faults under mpirun, which has a will of its own: it ends all ranks a second after the first has failed.
// Skipped where there is no mpirun.
#include "test.h"

#include "rank_job.h"

static const double AT_ONCE = 4; // seconds: mpirun waits for one before it ends the others, and takes its time to start

// mpirun as the one process of a job: it prints what all ranks print. `other`: overrides of the last rank, a program of
// its own in the same job.
static RankJob mpi_start_with(int ranks, const char *out, const char *extra, const char *other) {
    RankJob job = {.ranks = 1};
    char *path = job_output_path(0);
    unlink(path);
    mem_free(path);
    fflush(stdout);
    job.pids[0] = fork();
    CHECK(job.pids[0] >= 0, "fork");
    if (job.pids[0]) return job;
    char *words[3 * JOB_MAX_WORDS] = {"sh", TEST_DIR "/train/ranks/mpirun.sh",
                                      mem_printf("%d", other ? ranks - 1 : ranks)};
    int n = job_words(words, 3, ranks, out, extra);
    if (other) {
        words[n++] = ":";
        words[n++] = "-np";
        words[n++] = "1";
        job_words(words, n, ranks, out, other);
    }
    job_redirect(0);
    setenv("OMP_NUM_THREADS", "1", 1);
    execvp("sh", words);
    _exit(127);
}

static RankJob mpi_start(int ranks, const char *out, const char *other) {
    return mpi_start_with(ranks, out, NULL, other);
}

// mpirun ends with `status` before `deadline` and `part` has been printed. Of ranks that end in different ways it takes
// the status of the one that it notices first: of a rank that was killed, or (1) of another that has noticed it.
static void expect_end(RankJob *job, double deadline, int status, const char *part) {
    int got = job_wait(job, 0, deadline);
    char *text = job_output(0);
    bool as_told = got == status || (status == 128 + SIGKILL && got == EXIT_RUNTIME);
    if (!as_told || !strstr(text, part)) {
        job_show(job);
        if (got < 0) kill(job->pids[0], SIGTERM); // it takes its ranks along
        fail_msg("mpirun: status %d, expected %d and \"%s\"", got, status, part);
    }
    mem_free(text);
}

// The process of a rank: mpirun's children in the order in which it has started them.
static pid_t rank_of(const RankJob *job, int rank) {
    char *path = mem_printf("/proc/%d/task/%d/children", (int)job->pids[0], (int)job->pids[0]);
    FILE *f = fopen(path, "r");
    int pid = 0;
    mem_free(path);
    if (!f) return 0;
    for (int i = 0; i <= rank; i++)
        if (fscanf(f, "%d", &pid) != 1) pid = 0;
    fclose(f);
    return pid;
}

static int count(const char *part) {
    char *text = job_output(0);
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) n++;
    mem_free(text);
    return n;
}

static void finish_and_compare(int ranks, const char *out) {
    RankJob job = mpi_start(ranks, out, NULL);
    expect_end(&job, time_now() + 60, 0, "resuming from");
    assert_true(job_same_result("whole", out));
}

static void test_mpirun_names_the_key_that_differs(void **state) {
    (void)state;
    RankJob job = mpi_start(2, "other", "learning_rate=0.001");
    expect_end(&job, time_now() + 20, 2, ") has 0.001, rank 0 (host ");
    assert_int_equal(count("lorac: learning_rate: rank 1 (host "), 1);
    assert_int_equal(count("lorac: "), 1);
}

static void test_mpirun_with_a_killed_rank(void **state) {
    (void)state;
    RankJob job = mpi_start(3, "killed", NULL);
    job_wait_for_steps(&job, 9);
    pid_t victim = rank_of(&job, 1);
    char part[64];
    snprintf(part, sizeof part, ", process %d) exited unexpectedly", (int)victim);
    if (!victim || job_has_ended(&job)) fail_msg("rank 1 is not to be found");
    kill(victim, SIGKILL);
    expect_end(&job, time_now() + AT_ONCE, 128 + SIGKILL, part);
    assert_true(count("lorac: rank 1 of 3 (host ") >= 1);
    finish_and_compare(2, "killed");
}

// A child that is stopped before its exec stops mpirun, too, which waits for that.
static bool runs_lorac(pid_t pid) {
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    return strcmp(path, LORAC) == 0;
}

// While MPI starts, which has no time limit of its own.
static void test_mpirun_with_a_rank_stopped_at_once(void **state) {
    (void)state;
    RankJob job = mpi_start_with(3, "early", "ddp_timeout=1", NULL);
    pid_t victim = 0;
    for (double end = time_now() + 10; !runs_lorac(victim) && time_now() < end; job_pause(0.002))
        victim = rank_of(&job, 2);
    kill(victim, SIGSTOP);
    expect_end(&job, time_now() + 1 + AT_ONCE, EXIT_RUNTIME, "lorac: ");
}

static void check_stop(int rank, int signal, const char *out) {
    RankJob job = mpi_start(3, out, NULL);
    job_wait_for_steps(&job, 9);
    pid_t victim = rank < 0 ? job.pids[0] : rank_of(&job, rank); // -1: mpirun itself
    if (!victim || job_has_ended(&job)) fail_msg("rank %d is not to be found", rank);
    kill(victim, signal);
    expect_end(&job, time_now() + AT_ONCE, EXIT_INTERRUPTED, "stopped by a signal after step");
    assert_int_equal(count("stopped by a signal after step"), 1);
    finish_and_compare(4, out);
}

static void test_mpirun_with_a_signal_to_one_rank(void **state) {
    (void)state;
    check_stop(2, SIGTERM, "term");
}

static void test_mpirun_passes_usr1_on(void **state) {
    (void)state;
    check_stop(-1, SIGUSR1, "usr1");
}

static int set_up(void **state) {
    tiny_dir_setup(state);
    RankJob job = job_start(1, "whole", NULL);
    return job_wait(&job, 0, time_now() + 60);
}

static int run_all(int argc, char **argv) {
    if (system("command -v mpirun >/dev/null 2>&1") != 0) {
        printf("skipped: no mpirun (Debian: openmpi-bin)\n");
        return TEST_SKIPPED;
    }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_mpirun_names_the_key_that_differs),
        TEST(test_mpirun_with_a_killed_rank),
        TEST(test_mpirun_with_a_rank_stopped_at_once),
        TEST(test_mpirun_with_a_signal_to_one_rank),
        TEST(test_mpirun_passes_usr1_on),
    };
    return cmocka_run_group_tests(tests, set_up, tiny_dir_teardown);
}

TEST_FILE(run_all)
