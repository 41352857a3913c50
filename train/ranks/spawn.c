#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fileio.h"
#include "run_device.h"
#include "signals.h"
#include "sockets.h"

// ---- how many ----

static int gpus_of(int *ranks, int64_t num_gpus, const char *device, Err *err) {
    DeviceWord word = run_device_word(device);
    if (word == DEVICE_CPU)
        return err_input(err, "num_gpus: the device is the CPU, where ranks are started by mpirun: mpirun -np N lorac "
                              "train ...");
    if (word == DEVICE_CUDA_NUMBER)
        return err_input(err, "num_gpus: device %s is one GPU; expected cuda or auto", device);
    int gpus = run_device_gpus();
    if (num_gpus == NUM_GPUS_ALL && (gpus > 0 || word == DEVICE_AUTO)) {
        *ranks = gpus;
        return 0;
    }
    if (num_gpus != NUM_GPUS_ALL && num_gpus <= gpus) {
        *ranks = (int)num_gpus;
        return 0;
    }
    return err_input(err, "num_gpus: this process sees %d GPU%s; see \"lorac doctor\"", gpus, plural(gpus));
}

// As torchrun would start in this pod.
static int ranks_of_pod(const Launch *l, const char *device) {
    if (l->local_ranks > 0) return l->local_ranks;
    int gpus = run_device_word(device) != DEVICE_CPU ? run_device_gpus() : 0;
    return gpus > 0 ? gpus : 1;
}

int spawn_count(int *ranks, const Launch *l, int64_t num_gpus, const char *device, Err *err) {
    *ranks = 0;
    if (l->kind == LAUNCH_PET) *ranks = ranks_of_pod(l, device);
    if (l->kind == LAUNCH_ALONE && num_gpus != 1 && gpus_of(ranks, num_gpus, device, err)) return -1;
    if (*ranks == 1 && l->ranks == 1) *ranks = 0; // a run of one process
    return 0;
}

// ---- one rank ----

typedef struct Spawn {
    const Launch *launch;
    int ranks; // started here
    char **argv, *arguments, host[256];
    int port, listener;
    char secret[33]; // "": from the environment
    pid_t *children; // [ranks] 0: exited
    int alive;
    int failed, status;       // the first rank that failed here, -1: none; its exit status
    int signal;               // that ended it, 0: none
    bool interrupted;         // a rank has stopped with its state saved
    int signals_sent;         // to the remaining ranks
    double grace;             // seconds from a failure to the first signal, and between signals
    double timeout;           // seconds from the first rank that exited well
    double next_signal;       // 0: not yet
    sigset_t awaited, before; // signals that this process waits for; the mask before
} Spawn;

// This process's command line.
static int own_arguments(Spawn *s, Err *err) {
    size_t size, words = 0;
    if (file_read(&s->arguments, &size, "/proc/self/cmdline", 1 << 22, err)) return -1;
    for (size_t i = 0; i < size; i++) words += s->arguments[i] == 0;
    s->argv = mem_calloc(words + 1, sizeof *s->argv);
    char *word = s->arguments;
    for (size_t i = 0; i < words; i++, word += strlen(word) + 1) s->argv[i] = word;
    return 0;
}

static bool is_replaced(const Spawn *s, const char *entry) {
    static const char own[] = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT LORAC_PORT "
                              "LORAC_RUN_ID LORAC_LISTENER";
    size_t n = strcspn(entry, "=");
    return is_among(entry, n, own) || (s->secret[0] && is_among(entry, n, "LORAC_SECRET LORAC_SECRET_FILE"));
}

enum { OWN_ENTRIES = 9 };

// The environment of a rank: this process's, with the variables of the rank. Made before the fork: another thread may
// hold malloc's lock in the child.
static char **environment_of(const Spawn *s, int local_rank, char *own[OWN_ENTRIES + 1]) {
    int first = s->launch->kind == LAUNCH_PET ? s->launch->rank * s->ranks : 0, n = 0, inherited = 0;
    own[n++] = mem_printf("RANK=%d", first + local_rank);
    own[n++] = mem_printf("WORLD_SIZE=%d", s->launch->ranks * s->ranks);
    own[n++] = mem_printf("LOCAL_RANK=%d", local_rank);
    own[n++] = mem_printf("LOCAL_WORLD_SIZE=%d", s->ranks);
    own[n++] = mem_printf("MASTER_ADDR=%s", s->host);
    own[n++] = mem_printf("MASTER_PORT=%d", s->port);
    const char *job = getenv("PET_RDZV_ID");
    own[n++] = mem_printf("LORAC_RUN_ID=%s", job && *job ? job : "lorac");
    if (s->secret[0]) own[n++] = mem_printf("LORAC_SECRET=%s", s->secret);
    if (first + local_rank == 0) own[n++] = mem_printf("LORAC_LISTENER=%d", s->listener);
    own[n] = NULL;
    while (environ[inherited]) inherited++;
    char **all = mem_calloc((size_t)(inherited + n) + 1, sizeof *all);
    memcpy(all, own, (size_t)n * sizeof *all);
    for (int i = 0; i < inherited; i++)
        if (!is_replaced(s, environ[i])) all[n++] = environ[i];
    return all;
}

// In the child: only async-signal-safe calls between fork and exec.
__attribute__((noreturn)) static void become_rank(const Spawn *s, pid_t parent, char **environment, int listener) {
    setpgid(0, 0); // Ctrl-C reaches the parent alone, which relays it: a second one would kill a rank
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_RUNTIME);
    if (listener >= 0) fcntl(listener, F_SETFD, 0);
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
    execve("/proc/self/exe", s->argv, environment);
    _exit(127);
}

static int start_rank(Spawn *s, int local_rank, Err *err) {
    char *own[OWN_ENTRIES + 1];
    char **environment = environment_of(s, local_rank, own);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) become_rank(s, parent, environment, local_rank == 0 ? s->listener : -1);
    int reason = errno;
    for (int i = 0; own[i]; i++) mem_free(own[i]);
    mem_free(environment);
    if (pid < 0) return err_runtime(err, "rank %d cannot be started: %s", local_rank, strerror(reason));
    s->children[local_rank] = pid;
    s->alive++;
    return 0;
}

// ---- all of them ----

// 128 bits. Passed in the environment, which only the user's own processes can read, not as an argument.
static int make_secret(char secret[33], Err *err) {
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return err_runtime(err, "getrandom: %s", strerror(errno));
    for (int i = 0; i < 16; i++) snprintf(secret + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

// The address of rank 0: on one machine a free port, in a group of pods the configured one.
static int set_address(Spawn *s, Err *err) {
    const Launch *l = s->launch;
    bool pods = l->ranks > 1;
    s->listener = -1;
    s->port = pods ? l->port : 0;
    snprintf(s->host, sizeof s->host, "%s", pods ? l->master : "127.0.0.1");
    if (!pods && make_secret(s->secret, err)) return -1;
    return l->rank == 0 ? socket_listen(&s->listener, &s->port, s->host, err) : 0;
}

static void signal_all(const Spawn *s, int signal) {
    for (int r = 0; r < s->ranks; r++)
        if (s->children[r] > 0) kill(s->children[r], signal);
}

static void note_end(Spawn *s, int rank, int how) {
    int status = WIFEXITED(how) ? WEXITSTATUS(how) : EXIT_RUNTIME;
    s->children[rank] = 0;
    s->alive--;
    if (status == EXIT_INTERRUPTED) s->interrupted = true;
    if (s->next_signal == 0) s->next_signal = time_now() + s->timeout;
    if (status == 0 || status == EXIT_INTERRUPTED || s->failed >= 0) return;
    s->failed = rank, s->status = status;
    s->signal = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
    s->next_signal = time_now() + s->grace;
}

static void reap(Spawn *s) {
    for (int r = 0, how; r < s->ranks; r++)
        if (s->children[r] > 0 && waitpid(s->children[r], &how, WNOHANG) > 0) note_end(s, r, how);
}

static void signal_remaining(Spawn *s) {
    if (s->next_signal == 0 || time_now() < s->next_signal) return;
    signal_all(s, s->signals_sent++ ? SIGKILL : SIGTERM);
    s->next_signal = time_now() + s->grace;
}

static void wait_for_all(Spawn *s) {
    while (s->alive > 0) {
        struct timespec a_moment = {0, 200 * 1000 * 1000};
        int signal = sigtimedwait(&s->awaited, NULL, &a_moment);
        if (signal > 0 && signal != SIGCHLD) signal_all(s, signal);
        reap(s);
        signal_remaining(s);
    }
}

static int outcome(const Spawn *s, Err *err) {
    if (s->failed < 0) return s->interrupted ? EXIT_INTERRUPTED : 0;
    int rank = s->failed + (s->launch->kind == LAUNCH_PET ? s->launch->rank * s->ranks : 0);
    if (s->signal)
        err_runtime(err, "rank %d was killed by signal %d (%s)", rank, s->signal, strsignal(s->signal));
    else
        err_runtime(err, "rank %d ended with status %d", rank, s->status);
    err->kind = err_kind_of_status(s->status);
    return -1;
}

static void block_signals(Spawn *s) {
    (void)signal(SIGCHLD, SIG_DFL); // if inherited as ignored, waitpid would not work
    signals_stop_set(&s->awaited);
    sigaddset(&s->awaited, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &s->awaited, &s->before);
}

static int run_all(Spawn *s, Err *err) {
    int status = 0;
    for (int r = 0; r < s->ranks && !status; r++) status = start_rank(s, r, err);
    if (s->listener >= 0) close(s->listener); // inherited by rank 0
    if (status) signal_all(s, SIGKILL);
    wait_for_all(s);
    return status ? -1 : outcome(s, err);
}

int spawn_ranks(const Launch *l, int ranks, double grace, double timeout, Err *err) {
    CHECK(ranks > 0, "%d ranks", ranks);
    Spawn s = {.launch = l, .ranks = ranks, .failed = -1, .grace = grace, .timeout = timeout};
    s.children = mem_calloc((size_t)ranks, sizeof *s.children);
    fflush(NULL); // else each child would flush it too
    block_signals(&s);
    int rc = own_arguments(&s, err) || set_address(&s, err) ? -1 : run_all(&s, err);
    pthread_sigmask(SIG_SETMASK, &s.before, NULL);
    mem_free(s.children);
    mem_free(s.argv);
    mem_free(s.arguments);
    return rc;
}
