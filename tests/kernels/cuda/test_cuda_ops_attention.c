// The ops of opcases_attention on the emulated CUDA device against the reference.
#include "cuda_ops.h"

CUDA_OP_TESTS(op_cases_attention)
