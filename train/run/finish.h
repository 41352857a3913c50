// finish: the output of a run after its last step: adapter/, adapter.gguf, Modelfile, report.html; verified.
#pragma once

#include "trainer.h"

// did_steps: everything is written; else only what is missing or damaged. ERR_RUNTIME if the adapter fails its checks.
int finish_run(Trainer *t, const char *output_dir, bool did_steps, Err *err);
