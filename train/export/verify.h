// verify: checks written adapter files.
#pragma once

#include <stdio.h>

#include "adapter.h"

// path: a PEFT folder, a GGUF adapter, or an output_dir with adapter/ and adapter.gguf. Loads both forms if both exist
// (the adapter.gguf next to a PEFT folder, the adapter/ next to a GGUF file), and checks that each is finite, not zero
// and of m's shapes, that it changes m's logits on a fixed sequence, and that both forms give the same logits. Prints
// the results to `out`. ERR_RUNTIME: a check fails.
int adapter_verify(const Model *m, const char *path, FILE *out, Err *err);
// The same of files that this process has written from `want`, without the logits, where m is one stage: they load, and
// the PEFT folder has the parameters of `want`.
int adapter_verify_files(const Model *m, const char *path, const Adapter *want, FILE *out, Err *err);
// Peak host memory of that for files of `a`, besides m; computes nothing. 0 where m is on a device.
size_t adapter_verify_bytes(const Model *m, const Adapter *a);
