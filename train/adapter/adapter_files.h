// adapter_files: what the two file formats of an adapter share. Private to train/adapter.
#pragma once

#include "adapter.h"

// adapter_new without the initialisation: all parameters are 0.
int adapter_alloc(Adapter **a, const Model *m, const AdapterConfig *c, bool with_grad, Err *err);
// All parameters on the host; the caller frees.
float *adapter_download(const Adapter *a);
// Replaces all parameters; refuses (EXIT_INPUT, naming `path` and the tensor) what is not finite.
int adapter_upload(Adapter *a, const float *host, const char *path, Err *err);
