// bench sgemm: what the cores of this machine can do: the sgemm of a few libraries on the tile shapes of a small model.
//
// Each thread calls the library's serial sgemm on its own tile of rows against one shared B. The libraries are opened
// at run time, so that none is needed to build; lorac itself uses none (kernels/cpu/gemm.h). The best rate of dnnl
// (oneDNN) over all shapes is printed as the machine's peak: other benchmarks' percentages refer to it. usage:
// bench_sgemm [threads]
#include <dlfcn.h>

#include "bench.h"

// C [M, N] = A [M, K] B, all row-major; transposed: B is stored [N, K] (forward), else [K, N] (backward).
typedef struct Product {
    const char *operand; // "B^T" or "B"
    int64_t m, n, k;
} Product;
static const Product products[] = {
    {"B^T", 128, 192, 576}, {"B^T", 128, 576, 576}, {"B^T", 128, 1536, 576}, {"B^T", 128, 192, 1536},
    {"B^T", 64, 96, 576},   {"B^T", 16, 48, 576},   {"B^T", 8, 48, 576},     {"B^T", 1, 48, 576},
    {"B", 128, 192, 576},   {"B", 128, 576, 576},   {"B", 128, 1536, 576},   {"B", 128, 576, 256},
    {"B^T", 128, 16, 576},  {"B", 128, 576, 16},    {"B^T", 128, 128, 64},   {"B", 128, 64, 128},
    {"B^T", 64, 64, 64},    {"B", 64, 64, 64},      {"B^T", 3, 128, 64},     {"B", 3, 64, 128},
};

typedef int DnnlSgemm(char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t,
                      float, float *, int64_t);
typedef void CblasSgemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *,
                        int);

typedef struct Library {
    const char *name, *file, *symbol, *set_threads;
    DnnlSgemm *dnnl;
    CblasSgemm *cblas;
} Library;

static void library_open(Library *l) {
    void *handle = dlopen(l->file, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return;
    void (*set)(long) = NULL; // OpenBLAS takes an int, BLIS a long
    if (l->set_threads) *(void **)&set = dlsym(handle, l->set_threads);
    if (set) set(1);
    if (l->set_threads)
        *(void **)&l->cblas = dlsym(handle, l->symbol);
    else
        *(void **)&l->dnnl = dlsym(handle, l->symbol);
}

typedef struct Case {
    const Library *library;
    Product p;
    int threads, repeat;
    const float *a, *b;
    float *c;
} Case;

static void multiply(const Case *x, int thread) {
    enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
    Product p = x->p;
    bool transposed = p.operand[1] != 0;
    const float *a = x->a + thread * p.m * p.k;
    float *c = x->c + thread * p.m * p.n;
    int64_t ldb = transposed ? p.k : p.n;
    if (x->library->dnnl)
        x->library->dnnl('N', transposed ? 'T' : 'N', p.m, p.n, p.k, 1, a, p.k, x->b, ldb, 0, c, p.n);
    else
        x->library->cblas(ROW_MAJOR, NO_TRANS, transposed ? TRANS : NO_TRANS, (int)p.m, (int)p.n, (int)p.k, 1, a,
                          (int)p.k, x->b, (int)ldb, 0, c, (int)p.n);
}

static void run_case(void *arg) {
    const Case *x = arg;
#pragma omp parallel num_threads(x->threads)
    {
        omp_set_num_threads(1); // a team of one must not start more threads
        for (int i = 0; i < x->repeat; i++) multiply(x, omp_get_thread_num());
    }
}

int main(int argc, char **argv) {
    Library libraries[] = {
        {.name = "dnnl", .file = "libdnnl.so.2", .symbol = "dnnl_sgemm"},
        {.name = "openblas",
         .file = "libopenblas.so.0",
         .symbol = "cblas_sgemm",
         .set_threads = "openblas_set_num_threads"},
        {.name = "blis", .file = "libblis.so.4", .symbol = "cblas_sgemm", .set_threads = "bli_thread_set_num_threads"}};
    enum { LIBRARIES = sizeof libraries / sizeof *libraries, PRODUCTS = sizeof products / sizeof *products };
    int threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
    float *a = bench_floats((int64_t)threads * 128 * 1536), *b = bench_floats(1536 * 1536);
    float *c = bench_floats((int64_t)threads * 128 * 1536);
    double peak = 0;
    printf("sgemm, %d threads, GFLOP/s\n%5s %5s %5s %4s", threads, "M", "N", "K", "");
    for (int l = 0; l < LIBRARIES; l++) {
        library_open(&libraries[l]);
        printf(" %9s", libraries[l].name);
    }
    printf("\n");
    for (int i = 0; i < PRODUCTS; i++) {
        Product p = products[i];
        double flop = 2.0 * (double)(p.m * p.n * p.k);
        printf("%5d %5d %5d %4s", (int)p.m, (int)p.n, (int)p.k, p.operand);
        for (int l = 0; l < LIBRARIES; l++) {
            if (!libraries[l].dnnl && !libraries[l].cblas) {
                printf(" %9s", "-");
                continue;
            }
            Case x = {&libraries[l], p, threads, 1 + (int)(1e8 / flop), a, b, c};
            double rate = flop * x.repeat * threads / bench_seconds(run_case, &x, 0.05) * 1e-9;
            if (libraries[l].dnnl && rate > peak) peak = rate;
            printf(" %9.0f", rate);
        }
        printf("\n");
    }
    printf("peak %.0f GFLOP/s\n", peak);
    free(a);
    free(b);
    free(c);
    return 0;
}
