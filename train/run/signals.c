#include "signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

// The one global of the tree that changes: nothing else can tell the run what the waiting thread has heard.
static atomic_bool g_asked;

static void *wait_for_signals(void *set) {
    for (int signal; sigwait(set, &signal) == 0;)
        if (atomic_exchange(&g_asked, true)) _exit(EXIT_RUNTIME);
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
