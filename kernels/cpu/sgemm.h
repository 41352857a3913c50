// sgemm: the one matrix product that the CPU backend is built on. Private to kernels/.
//
// A serial call of oneDNN's dnnl_sgemm (run-time code for the machine it runs on). Of the libraries at hand it is the
// fastest inside our own threads on the tiles that take most of the time, see tests/bench/sgemm.c; GFLOP/s on two
// threads of a Zen 4, peak 230:
//     [M, N, K]            dnnl  OpenBLAS  BLIS
//     128  576  576 B       225       201   178
//     128 1536  576 B       230       206   156
//     128  192  576 B^T     211       188   153
//     128 1536  576 B^T     174       191   145
//     128   16  576 B^T     148       162   187   (LoRA)
//      64   64   64 B       189       229   168   (attention)
//       8   48  576 B^T     198       217   123
//       1   48  576 B^T      71        95    85   (decoding)
// A call costs no more than a microsecond, so that even a single row of x goes through it. A transposed B is slower,
// hence linear_forward transposes while it expands; and at M = 16 it falls to 80: few rows go in tiles of 8.
//
// It keeps data below the stack pointer: no signal handler may run on a thread that computes (train/process/signals.h).
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
    if (status == dnnl_out_of_memory) mem_exhausted(0);
    if (status == dnnl_runtime_error) fatal("oneDNN could not make its code: no memory, or none that may be run");
    CHECK(status == dnnl_success, "sgemm [%lld, %lld, %lld]: status %d", (long long)m, (long long)n, (long long)k,
          (int)status);
}

// Code for no more than this instruction set (cpu.h) from now on; without effect once a product has been computed.
void sgemm_limit(const char *isa);
void sgemm_describe(StrBuf *out); // "oneDNN 2.6.3 with AVX-512"
