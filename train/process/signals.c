#include "signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

// The only mutable globals: a signal concerns the whole process.
static atomic_bool g_asked, g_over;

static const double ONE_REQUEST = 1; // seconds

// Sent by a user: a second one ends the process. Others repeat by themselves: SIGXCPU every second, timers, SIGHUP from
// shell and kernel.
static bool is_a_command(int signal) {
    return signal == SIGTERM || signal == SIGINT || signal == SIGQUIT || signal == SIGUSR1 || signal == SIGUSR2;
}

static void *wait_for_signals(void *set) {
    double first = 0;
    for (int signal; sigwait(set, &signal) == 0;) {
        double now = time_now();
        if (atomic_load(&g_over)) continue;
        if (first > 0 && now - first > ONE_REQUEST && is_a_command(signal)) _exit(EXIT_RUNTIME);
        if (first == 0) first = now;
        signals_ask_stop();
    }
    return NULL;
}

// True if the signal has its default action: it is neither ignored (nohup) nor used by a library (a profiler's timer).
static bool ends_the_process(int signal) {
    struct sigaction now;
    return sigaction(signal, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL;
}

void signals_stop_set(sigset_t *set) {
    static const int always[] = {SIGTERM, SIGINT, SIGUSR1};
    static const int others[] = {SIGHUP,    SIGQUIT, SIGUSR2, SIGALRM, SIGXCPU,
                                 SIGVTALRM, SIGPROF, SIGPWR,  SIGIO,   SIGSTKFLT};
    sigemptyset(set);
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) sigaddset(set, always[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ends_the_process(others[i])) sigaddset(set, others[i]);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
        if (ends_the_process(signal)) sigaddset(set, signal);
}

void signals_block(void) {
    sigset_t set;
    signals_stop_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int signals_install(Err *err) {
    static sigset_t set; // outlives this call: the thread reads it
    signals_stop_set(&set);
    pthread_t thread;
    int failed = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (!failed) failed = pthread_create(&thread, NULL, wait_for_signals, &set);
    if (failed) return err_runtime(err, "no thread to wait for signals: error %d", failed);
    pthread_detach(thread);
    return 0;
}

bool signals_stop_asked(void) { return atomic_load_explicit(&g_asked, memory_order_relaxed); }

void signals_ask_stop(void) { atomic_store_explicit(&g_asked, true, memory_order_relaxed); }

void signals_ignore(void) { atomic_store(&g_over, true); }
