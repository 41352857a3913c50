// signals: what would end a process from outside asks a run to save and stop: SIGTERM, SIGINT and SIGUSR1 in any case,
// SIGHUP (a terminal or ssh session that ends), SIGQUIT, SIGUSR2, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF, SIGPWR, SIGIO,
// SIGSTKFLT and the real-time signals unless they were ignored (nohup) or had a handler from the start. A second
// SIGTERM, SIGINT, SIGQUIT, SIGUSR1 or SIGUSR2 ends the process at once.
//
// What comes within a second of the first is the same request: a terminal and a launcher (torchrun, lorac itself) may
// both send it to every rank. What another rank was sent and has told us (train/ranks/heartbeat.h) is not counted.
//
// They are blocked in all threads but one that waits for them, so that no handler ever runs on a computing thread:
// the sgemm of oneDNN 2.6 keeps data below its stack pointer, which a signal's frame would overwrite (seen as heap
// corruption; OpenBLAS does not do that).
#pragma once

#include <signal.h>

#include "base.h"

void signals_stop_set(sigset_t *set); // which of them ask this process to stop
// From now on they wait, through an exec too, until signals_install takes them or the process ends.
void signals_block(void);
// Called before the first thread of anyone starts, MPI's too: threads inherit what is blocked, and one that has a
// signal open would be the one that it kills the process through.
int signals_install(Err *err);
bool signals_stop_asked(void);
void signals_ask_stop(void); // as a signal does, on behalf of another rank
// All is saved, and the ranks end one after the other: a launcher that sees the first one go with a status other than 0
// sends the rest SIGTERM, which must not change their own status any more.
void signals_ignore(void);
