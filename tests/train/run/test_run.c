// `lorac train` as a process: killed at random moments and run again, stopped by signals, run again when finished,
// refused where it must be. Argument: how many kills (default 12).
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "path.h"
#include "tiny_run.h"
#include "train_process.h"

static int kills = 12;

static void test_run_undisturbed(void **state) {
    (void)state;
    must_run("whole");
    expect_in_log("largest logit difference PEFT - GGUF");
}

// Killed at all kinds of moments and started again: the same bits as the run that no one disturbed.
static void test_run_survives_kill_9(void **state) {
    (void)state;
    int killed = 0;
    for (int i = 0; i < kills; i++) {
        pid_t pid = start("killed", NULL);
        wait_for_steps(pid, i * 7 % 10);
        sleep_for((double)(i * 7919 % 101) * 0.0004);
        kill(pid, SIGKILL);
        int status = wait_for(pid);
        killed += WIFSIGNALED(status);
        if (WIFSIGNALED(status)) continue;
        if (WEXITSTATUS(status)) show_log();
        assert_int_equal(WEXITSTATUS(status), 0);
        same_result("whole", "killed");
        begin_anew("killed");
    }
    must_run("killed");
    same_result("whole", "killed");
    printf("%d of %d were killed before their end\n", killed, kills);
    assert_true(killed > kills / 3);
}

static void test_run_stops_on_signals(void **state) {
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
    int stopped = 0;
    for (int i = 0; i < 3; i++) {
        pid_t pid = start("stopped", NULL);
        wait_for_steps(pid, 4);
        kill(pid, signals[i]);
        int status = wait_for(pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) != EXIT_INTERRUPTED) break; // it had ended before
        stopped++;
        expect_in_log("stopped by a signal after step");
    }
    assert_true(stopped > 0);
    must_run("stopped");
    same_result("whole", "stopped");
}

// A run that only a signal ends: as SIGTERM, whatever it is, its state is saved and the next one goes on from there.
static const char endless[] =
    "num_train_epochs=100000 save_steps=1000000 eval_strategy=no load_best_model_at_end=false";

static void stop_by(int signal) {
    pid_t pid = start("signals", endless);
    wait_for_steps(pid, 2);
    kill(pid, signal);
    int status = wait_for(pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_INTERRUPTED)
        fail_msg("signal %d (%s): wait status %d", signal, strsignal(signal), status);
    expect_in_log("stopped by a signal after step");
}

static void test_run_stops_on_what_would_end_it(void **state) {
    (void)state;
    const int signals[] = {SIGHUP,  SIGQUIT, SIGUSR2, SIGALRM,  SIGXCPU,   SIGVTALRM,
                           SIGPROF, SIGPWR,  SIGIO,   SIGRTMIN, SIGSTKFLT, SIGRTMAX};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        stop_by(signals[i]);
        if (i) expect_in_log("resuming from");
    }
}

// nohup leaves SIGHUP ignored; a limit of CPU time sends its signal every second, which is one request.
static void test_run_leaves_ignored_signals_ignored(void **state) {
    (void)state;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGHUP, &ignore, &before);
    pid_t pid = start("signals", endless);
    sigaction(SIGHUP, &before, NULL);
    wait_for_steps(pid, 2);
    kill(pid, SIGHUP);
    wait_for_steps(pid, steps_logged() + 20);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    kill(pid, SIGXCPU);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), EXIT_INTERRUPTED);
}

// The signals a thread of the process has blocked, as a mask; -1 when it has gone.
static int64_t blocked_signals(const char *task_dir, const char *task) {
    char *path = mem_printf("%s/%s/status", task_dir, task), *text;
    size_t size;
    int64_t mask = -1;
    FILE *f = fopen(path, "r");
    mem_free(path);
    if (!f) return -1;
    text = mem_calloc(1 << 14, 1);
    size = fread(text, 1, (1 << 14) - 1, f);
    const char *at = size ? strstr(text, "SigBlk:") : NULL;
    if (at) mask = (int64_t)(strtoull(at + 7, NULL, 16) & INT64_MAX);
    mem_free(text);
    fclose(f);
    return mask;
}

// No handler runs on a computing thread (signals.h).
static void test_run_handles_no_signal_on_computing_threads(void **state) {
    (void)state;
    const int64_t wanted = 1 << (SIGTERM - 1) | 1 << (SIGINT - 1) | 1 << (SIGUSR1 - 1) | 1 << (SIGHUP - 1);
    pid_t pid = start("blocked", endless);
    wait_for_steps(pid, 2);
    char *tasks = mem_printf("/proc/%d/task", (int)pid);
    DIR *d = opendir(tasks);
    int threads = 0, waiting = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        int64_t mask = e->d_name[0] == '.' ? -1 : blocked_signals(tasks, e->d_name);
        if (mask < 0) continue;
        waiting += (mask & wanted) == 0; // the one that waits: Linux shows them as open while it does
        threads++;
    }
    if (d) closedir(d);
    mem_free(tasks);
    kill(pid, SIGKILL);
    wait_for(pid);
    assert_true(threads >= 2);
    assert_int_equal(waiting, 1);
}

static void test_run_again_when_finished(void **state) {
    (void)state;
    must_run("again");
    must_run("again");
    expect_in_log("resuming from");
    char *gguf = in_dir("again/adapter.gguf"), *peft = in_dir("again/adapter");
    unlink(gguf);
    assert_int_equal(dir_remove(peft, NULL), 0);
    must_run("again");
    same_result("whole", "again");
    mem_free(gguf);
    mem_free(peft);
}

// A learning rate that ruins the model: the run ends after two evaluations that are no better, with the best adapter.
static void test_run_stops_early(void **state) {
    (void)state;
    assert_int_equal(run("early", "learning_rate=2 max_grad_norm=0 early_stopping_patience=2 eval_steps=1"), 0);
    expect_in_log("no better eval_loss for 2 evaluations: stopping at step");
    assert_int_equal(run("early", "learning_rate=2 max_grad_norm=0 early_stopping_patience=2 eval_steps=1"), 0);
    expect_in_log("resuming from");
}

static void test_run_refuses(void **state) {
    (void)state;
    must_run("refuse");
    assert_int_equal(run("refuse", "lora_r=4"), EXIT_INPUT);
    expect_in_log("lora_r was 16, now 4");
    assert_int_equal(run("refuse", "gradient_accumulation_steps=3"), EXIT_INPUT);
    expect_in_log("gradient_accumulation_steps");
    assert_int_equal(run("refuse", "resume_from_checkpoint=false"), EXIT_INPUT);
    assert_int_equal(run("fresh", "max_memory=1MiB"), EXIT_NO_FIT);
    assert_int_equal(run("fresh", "max_seq_length=5000"), EXIT_INPUT);
    expect_in_log("max_seq_length: 5000; expected at most the context");
    assert_int_equal(run("fresh", "lora_target_modules=c_attn"), EXIT_INPUT);
    expect_in_log("\"c_attn\": this model has no such projection; expected some of q_proj, k_proj");
    assert_int_equal(run("fresh", "output_dir=/proc/nowhere"), EXIT_RUNTIME);
    char *lock = in_dir("refuse/.lock");
    int fd = open(lock, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(run("refuse", NULL), EXIT_RUNTIME);
    expect_in_log("in use by another run");
    close(fd);
    mem_free(lock);
}

static void test_run_warns_of_a_log_that_cannot_be_written(void **state) {
    (void)state;
    char *out = in_dir("full"), *log = in_dir("full/train_log.jsonl");
    assert_int_equal(dir_make_parents(out, NULL), 0);
    assert_int_equal(symlink("/dev/full", log), 0);
    assert_int_equal(run("full", NULL), 0);
    expect_in_log("training continues without it");
    mem_free(out);
    mem_free(log);
}

static void wait_for_path(pid_t pid, const char *path) {
    double end = time_now() + 30;
    while (!path_exists(path) && time_now() < end) sleep_for(0.002);
    if (path_exists(path)) return;
    kill(pid, SIGKILL);
    show_log();
    fail_msg("%s does not come", path);
}

static const char steady[] = "num_train_epochs=100000 save_steps=1 eval_strategy=no load_best_model_at_end=false";

// A folder removed during a run is recreated; only what was written to it before is lost.
static void test_run_outlives_its_directory(void **state) {
    (void)state;
    char *out = in_dir("gone"), *moved = in_dir("moved"), *config = in_dir("gone/config.json"),
         *log = in_dir("gone/train_log.jsonl");
    pid_t pid = start("gone", steady);
    wait_for_steps(pid, 2);
    assert_int_equal(rename(out, moved), 0);
    wait_for_path(pid, config);
    wait_for_path(pid, log);
    unlink(log);
    wait_for_path(pid, log);
    kill(pid, SIGTERM);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), EXIT_INTERRUPTED);
    expect_in_log("gone: was removed or moved away; it is created again");
    expect_in_log("train_log.jsonl: was removed or moved away; a new file is started");
    pid = start("gone", steady);
    wait_for_steps(pid, 2);
    kill(pid, SIGTERM);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), EXIT_INTERRUPTED);
    expect_in_log("resuming from");
    mem_free(out);
    mem_free(moved);
    mem_free(config);
    mem_free(log);
}

// It is another run's now: this one ends, and writes nothing into it.
static void test_run_leaves_a_directory_to_its_next_run(void **state) {
    (void)state;
    char *out = in_dir("taken"), *moved = in_dir("taken_before"), *lock = in_dir("taken/.lock"),
         *log = in_dir("taken/train_log.jsonl");
    pid_t pid = start("taken", steady);
    wait_for_steps(pid, 2);
    kill(pid, SIGSTOP);
    assert_int_equal(rename(out, moved), 0);
    assert_int_equal(mkdir(out, 0777), 0);
    int fd = open(lock, O_RDWR | O_CREAT, 0644);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    kill(pid, SIGCONT);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), EXIT_RUNTIME);
    expect_in_log("the run's output_dir was removed or moved away: ");
    expect_in_log("in use by another run");
    assert_false(path_exists(log));
    close(fd);
    mem_free(out);
    mem_free(moved);
    mem_free(lock);
    mem_free(log);
}

// base_model_name: the PEFT folder names a model of the hub, and no path of this machine.
static void test_run_names_its_base(void **state) {
    (void)state;
    static const char *const files[] = {"adapter_config.json", "README.md", "adapter_model.safetensors"};
    assert_int_equal(run("named", "base_model_name=owner/base num_train_epochs=1"), 0);
    for (int i = 0; i < 3; i++) {
        char *name = mem_printf("%s/named/adapter/%s", tiny_dir, files[i]), *text;
        size_t size;
        Err err;
        ASSERT_OK(file_read(&text, &size, name, 1 << 20, &err), &err);
        assert_null(memmem(text, size, tiny_dir, strlen(tiny_dir)));
        assert_true(i == 2 || strstr(text, "\"owner/base\""));
        mem_free(text);
        mem_free(name);
    }
    assert_int_equal(run("named", "base_model_name=owner/other num_train_epochs=1"), EXIT_INPUT);
    expect_in_log("base_model_name");
}

static int run_all(int argc, char **argv) {
    if (argc > 1) kills = atoi(argv[1]);
    const struct CMUnitTest tests[] = {TEST(test_run_undisturbed),
                                       TEST(test_run_survives_kill_9),
                                       TEST(test_run_stops_on_signals),
                                       TEST(test_run_stops_on_what_would_end_it),
                                       TEST(test_run_leaves_ignored_signals_ignored),
                                       TEST(test_run_handles_no_signal_on_computing_threads),
                                       TEST(test_run_again_when_finished),
                                       TEST(test_run_stops_early),
                                       TEST(test_run_names_its_base),
                                       TEST(test_run_refuses),
                                       TEST(test_run_outlives_its_directory),
                                       TEST(test_run_leaves_a_directory_to_its_next_run),
                                       TEST(test_run_warns_of_a_log_that_cannot_be_written)};
    return cmocka_run_group_tests(tests, tiny_dir_setup, tiny_dir_teardown);
}

TEST_FILE(run_all)
