// sgemm: the one matrix product that the CPU backend is built on. Private to kernels/.
//
// A serial call of oneDNN's dnnl_sgemm (code generated at run time for the machine). It is the fastest library inside
// our own threads on the tiles that take most of the time (tests/bench/sgemm.c). GFLOP/s on two threads of a Zen 4 with
// a peak of 230:
//     [M, N, K]            dnnl  OpenBLAS  BLIS
//     128  576  576 B       225       201   178
//     128 1536  576 B       230       206   156
//     128  192  576 B^T     211       188   153
//     128 1536  576 B^T     174       191   145
//     128   16  576 B^T     148       162   187   (LoRA)
//      64   64   64 B       189       229   168   (attention)
//       8   48  576 B^T     198       217   123
//       1   48  576 B^T      71        95    85   (decoding)
// A call costs at most a microsecond, so it serves single rows too. A transposed B is slower, hence linear_forward
// transposes while it expands. At M = 16 the speed falls to 80, so few rows go in tiles of 8.
//
// It stores data below the stack pointer: no signal handler may run on a computing thread (train/process/signals.h).
//
// A row's bits depend on the shape of its tile, so tiles must depend on shapes alone.
#pragma once

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include "base.h"

// dnnl_sgemm starts threads unless it is called in an active parallel region, and a team of one does not count as
// active. Every thread of a team calls this before its first product; the end of the region undoes it.
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

// Limits the generated code to this instruction set (cpu.h); no effect after the first product.
void sgemm_limit(const char *isa);
void sgemm_describe(StrBuf *out); // "oneDNN 2.6.3 with AVX-512"
