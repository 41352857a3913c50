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

// One thread per call: dnnl_sgemm starts threads of its own unless it finds itself in an active parallel region, and a
// team of one does not count as active. Every thread of a team that multiplies calls this first; it is undone at the
// end of the region.
static inline void sgemm_enter(void) {
    omp_set_num_threads(1);
}

// A factor as it is stored, row-major, `stride` elements from row to row; transposed: the product takes its transpose.
typedef struct Factor {
    const float *data;
    int64_t stride;
    bool transposed;
} Factor;
typedef struct Sgemm {
    int64_t m, n, k;
    float alpha;
    Factor a, b; // after transposition [m, k] and [k, n]
    float beta;  // 0: C may be uninitialised
} Sgemm;

// C [m, n] = alpha A B + beta C, row-major, `stride` elements from row to row.
static inline void sgemm(float *c, int64_t stride, Sgemm p) {
    int64_t m = p.m, n = p.n, k = p.k;
    dnnl_status_t status = dnnl_sgemm(p.a.transposed ? 'T' : 'N', p.b.transposed ? 'T' : 'N', m, n, k, p.alpha,
                                      p.a.data, p.a.stride, p.b.data, p.b.stride, p.beta, c, stride);
    if (status == dnnl_out_of_memory) mem_exhausted(0);
    if (status == dnnl_runtime_error) fatal("oneDNN could not make its code: no memory, or none that may be run");
    CHECK(status == dnnl_success, "sgemm [%lld, %lld, %lld]: status %d", (long long)m, (long long)n, (long long)k,
          (int)status);
}

// Code for no more than this instruction set (cpu.h) from now on; without effect once a product has been computed.
void sgemm_limit(const char *isa);
void sgemm_describe(StrBuf *out); // "oneDNN 2.6.3 with AVX-512"
