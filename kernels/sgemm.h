// sgemm: the one matrix product that the CPU backend is built on. Private to kernels/.
//
// A serial call of oneDNN's dnnl_sgemm (run-time code for the machine it runs on). Of the libraries at hand it is the
// fastest inside our own threads on our tiles, see tests/bench/sgemm.c; two threads of a Zen 4, peak 230 GFLOP/s:
//     [M, N, K]            dnnl  OpenBLAS  BLIS
//     128  576  576 B^T     217       196   149
//     128  576  576 B       228       204   179
//     128 1536  576 B^T     179       195   150   (hence tiles of 192 columns: 212)
//       8   48  576 B^T     198       217   123
//       1   48  576 B^T      71        95    85
//     128   16  576 B^T     139       149   142
//      64   64   64 B^T     132       133    77
// A call costs no more than a microsecond, so that even a single row of x goes through it. At M = 16 it falls to 80:
// few rows are multiplied in tiles of 8.
//
// A row's bits depend on the tile it lies in: who calls this keeps tiles fixed by shape.
#pragma once

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include "base.h"

enum { PLAIN = 'N', TRANSPOSED = 'T' };

// One thread per call: dnnl_sgemm starts threads of its own unless it finds itself in an active parallel region, and a
// team of one does not count as active. Every thread of a team that multiplies calls this first; it is undone at the
// end of the region.
static inline void sgemm_enter(void) {
    omp_set_num_threads(1);
}

// C [m, n] = alpha op(A) op(B) + beta C, row-major; op(A) [m, k], op(B) [k, n]; with beta = 0 C may be uninitialised.
static inline void sgemm(char op_a, char op_b, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                         int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
    dnnl_status_t status = dnnl_sgemm(op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    CHECK(status == dnnl_success, "sgemm [%lld, %lld, %lld]: status %d", (long long)m, (long long)n, (long long)k,
          (int)status);
}
