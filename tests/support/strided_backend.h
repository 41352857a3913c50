// strided_backend: the reference backend posing as a device, for tests of graphs as devices run them: device memory,
// placed weights, matrices with gaps between rows, and asynchronous transfers, done as late as the contract allows.
#pragma once

#include "kernels.h"

Backend *strided_open(void); // ends with backend_close
// Since it was opened: asynchronous transfers; gradients of keys requested.
int strided_transfers(const Backend *b);
int strided_key_gradients(const Backend *b);
