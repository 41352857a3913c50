#include "signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

// The globals of the tree that change: nothing else can tell the run what the waiting thread has heard.
static atomic_bool g_asked, g_over;

static const double ONE_REQUEST = 1; // seconds

static void *wait_for_signals(void *set) {
    double first = 0;
    for (int signal; sigwait(set, &signal) == 0;) {
        double now = time_now();
        if (atomic_load(&g_over)) continue;
        if (first > 0 && now - first > ONE_REQUEST) _exit(EXIT_RUNTIME);
        if (first == 0) first = now;
        signals_ask_stop();
    }
    return NULL;
}

int signals_install(Err *err) {
    static sigset_t set; // outlives this call: the thread reads it
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    pthread_t thread;
    int failed = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (!failed) failed = pthread_create(&thread, NULL, wait_for_signals, &set);
    if (failed) return err_runtime(err, "no thread to wait for signals: error %d", failed);
    pthread_detach(thread);
    return 0;
}

bool signals_stop_asked(void) {
    return atomic_load_explicit(&g_asked, memory_order_relaxed);
}

void signals_ask_stop(void) {
    atomic_store_explicit(&g_asked, true, memory_order_relaxed);
}

void signals_run_is_over(void) {
    atomic_store(&g_over, true);
}
