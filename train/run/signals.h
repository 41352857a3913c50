// signals: SIGTERM, SIGINT and SIGUSR1 ask a run to save and stop; the second one ends the process at once.
//
// They are blocked in all threads but one that waits for them, so that no handler ever runs on a computing thread:
// the sgemm of oneDNN 2.6 keeps data below its stack pointer, which a signal's frame would overwrite (seen as heap
// corruption; OpenBLAS does not do that).
#pragma once

#include "base.h"

// Called before the first computing thread starts: threads inherit what is blocked.
int signals_install(Err *err);
bool signals_stop_asked(void);
