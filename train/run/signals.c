#include "signals.h"

#include <signal.h>
#include <unistd.h>

// The one global of the tree that changes: a signal handler has no other way to say anything.
static volatile sig_atomic_t g_asked;

static void on_signal(int signal) {
    (void)signal;
    if (g_asked) _exit(EXIT_RUNTIME);
    g_asked = 1;
}

void signals_install(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool signals_stop_asked(void) {
    return g_asked;
}
