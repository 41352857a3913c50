// verify: proves that written adapter files are what they should be.
#pragma once

#include <stdio.h>

#include "adapter.h"

// path: a PEFT folder, a GGUF adapter, or an output_dir with adapter/ and adapter.gguf. Loads what is there (of a PEFT
// folder also the adapter.gguf beside it, of a GGUF file also the adapter/ beside it), and checks that each is finite,
// not zero and shaped for m, that it changes m's logits on a fixed sequence, and that both forms give the same logits.
// Prints what was found to `out`. EXIT_RUNTIME where a check fails.
int adapter_verify(const Model *m, const char *path, FILE *out, Err *err);
// What that takes in host memory at its peak, besides m, for files of `a`; computes nothing.
size_t adapter_verify_bytes(const Model *m, const Adapter *a);
