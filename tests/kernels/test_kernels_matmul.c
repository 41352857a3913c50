// Linear, LoRA and the head of the CPU backend against the reference.
#include "test_kernels.h"

KERNEL_TESTS(op_cases_matmul)

TEST_MAIN(TEST(test_kernels_match_reference), TEST(test_kernels_ignore_threads), TEST(test_kernels_show_nan))
