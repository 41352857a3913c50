// padding_cases: a table of op cases whose matrices have rows of padding, for test_cuda_ops.c.
#pragma once

#include "opcheck.h"

extern const OpCase padding_cases[];
