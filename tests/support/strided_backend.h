// strided_backend: the reference backend as a device: memory that is not the host's as far as callers know, placed
// weights, matrices whose rows have gaps where the graph makes such, and transfers beside the ops, which happen as late
// as they may. For tests of graphs as devices run them.
#pragma once

#include "kernels.h"

Backend *strided_open(void); // ends with backend_close
// Since it was opened: transfers between host and device beside the ops; gradients of keys that were asked for.
int strided_transfers(const Backend *b);
int strided_key_gradients(const Backend *b);
