// run_print: the lines that a run prints before its first step.
#pragma once

#include "trainer.h"

void run_print_device(Backend *b, const Err *note); // note: why not the device that was asked for, or empty
// Model, adapter, memory, data, steps and ranks; warns of what the data or the model has that training ignores.
void run_print_plan(const Trainer *t);
