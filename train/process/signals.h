// signals: signals that would end the process ask a run to save and stop instead: SIGTERM, SIGINT and SIGUSR1 always;
// SIGHUP (a terminal or ssh session that ends), SIGQUIT, SIGUSR2, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF, SIGPWR, SIGIO,
// SIGSTKFLT and real-time signals unless they were ignored (nohup) or had a handler from the start. A second SIGTERM,
// SIGINT, SIGQUIT, SIGUSR1 or SIGUSR2 ends the process at once.
//
// Signals within a second of the first are the same request: a terminal and a launcher (torchrun, lorac itself) may
// both send it to every rank. Stops that the heartbeat relays from another rank (train/ranks/heartbeat.h) are not
// counted.
//
// They are blocked in all threads except one that waits for them, so that no handler runs on a computing thread.
#pragma once

#include <signal.h>

#include "base.h"

void signals_stop_set(sigset_t *set); // the signals that ask this process to stop
// Blocks them, across exec too, until signals_install handles them.
void signals_block(void);
// Before any other thread starts, MPI's included: threads inherit the mask, and a signal that one thread has not
// blocked would kill the process.
int signals_install(Err *err);
bool signals_stop_asked(void);
void signals_ask_stop(void); // on behalf of another rank
// From now on signals have no effect. All is saved, and the ranks exit one by one: a launcher that sees the first exit
// with a status other than 0 sends the others SIGTERM, which must not change their status.
void signals_ignore(void);
