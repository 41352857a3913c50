// strided_backend: the reference backend as a device: memory that is not the host's as far as callers know, placed
// weights, and matrices whose rows have gaps where the graph makes such. For tests of graphs as devices run them.
#pragma once

#include "kernels.h"

Backend *strided_open(void); // ends with backend_close
