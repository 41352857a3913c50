// signals: SIGTERM, SIGINT and SIGUSR1 ask a run to save and stop; the second one ends the process at once.
#pragma once

#include "base.h"

void signals_install(void);
bool signals_stop_asked(void);
