// finish: what a run leaves behind when its last step is done: adapter/, adapter.gguf, Modelfile, report.html;
// verified.
#pragma once

#include "trainer.h"

// fresh: the steps were done just now, so everything is written; else only what is missing. EXIT_RUNTIME where the
// adapter fails its checks.
int finish_run(Trainer *t, const char *output_dir, bool fresh, Err *err);
