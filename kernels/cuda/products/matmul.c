// matmul: one plan per shape (descriptors and the chosen algorithm), found by hash.
//
// cuBLASLt counts in columns: our row-major C [M, N] is its C^T [N, M], and C^T = op(B)^T op(A)^T, so its first operand
// is our B and its second our A, with unchanged transposition flags.
#include "matmul.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fnv.h"

enum { MAX_ALGORITHMS = 8, TIMED_RUNS = 3, MAX_ALIGNMENT = 16, KEY_TEXT = 256 };

// All that an algorithm depends on; compared as bytes, so every byte of it is set.
typedef struct PlanKey {
    int64_t m, n, k, lda, ldb, ldc, ldd;
    uint8_t in, out, a_t, b_t, reads_d, bias, coarse;
    uint8_t align_a, align_b, align_c, align_d; // of the pointers, in bytes, at most MAX_ALIGNMENT
    uint8_t unused[5];
} PlanKey;
_Static_assert(sizeof(PlanKey) == 7 * 8 + 16, "no padding: keys are compared as bytes");

typedef struct Plan {
    PlanKey key;
    cublasLtMatmulDescOpaque_t op;
    cublasLtMatrixLayoutOpaque_t a, b, c, d; // in our naming
    cublasLtMatmulAlgo_t algorithm;
} Plan;

struct CudaMatmul {
    Plan *plans;
    size_t n_plans, capacity;
    int32_t *slots; // open addressing: index into plans + 1, 0: empty
    size_t n_slots;
    cudaEvent_t start, stop;
};

int cuda_matmul_open(Backend *b, Err *err) {
    CudaMatmul *m = cuda_state(b)->matmul = mem_calloc(1, sizeof *m);
    m->n_slots = 256;
    m->slots = mem_calloc(m->n_slots, sizeof *m->slots);
    m->start = cuda_new_event(b, true);
    m->stop = cuda_new_event(b, true);
    return 0;
}

void cuda_matmul_close(Backend *b) {
    CudaMatmul *m = cuda_state(b)->matmul;
    if (!m) return;
    if (m->start) cudaEventDestroy(m->start);
    if (m->stop) cudaEventDestroy(m->stop);
    mem_free(m->slots);
    mem_free(m->plans);
    mem_free(m);
}

// ---- keys ----

static uint8_t alignment(const void *p) {
    uintptr_t bits = (uintptr_t)p | MAX_ALIGNMENT;
    return (uint8_t)(bits & (~bits + 1));
}

static Mat added(const Product *p) { return p->d.data ? p->d : p->c; }

static PlanKey key_of(const Product *p) {
    Mat d = added(p);
    PlanKey key = {.m = p->c.rows,
                   .n = p->c.cols,
                   .k = p->a_t ? p->a.rows : p->a.cols,
                   .lda = mat_stride(p->a),
                   .ldb = mat_stride(p->b),
                   .ldc = mat_stride(p->c),
                   .ldd = mat_stride(d),
                   .in = (uint8_t)p->a.dtype,
                   .out = (uint8_t)p->c.dtype,
                   .a_t = p->a_t,
                   .b_t = p->b_t,
                   .reads_d = p->beta != 0,
                   .bias = p->bias != NULL,
                   .coarse = p->coarse,
                   .align_a = alignment(p->a.data),
                   .align_b = alignment(p->b.data),
                   .align_c = alignment(p->c.data),
                   .align_d = alignment(d.data)};
    return key;
}

static void check_product(const Product *p) {
    int64_t k = p->a_t ? p->a.rows : p->a.cols, m = p->a_t ? p->a.cols : p->a.rows;
    int64_t n = p->b_t ? p->b.rows : p->b.cols;
    Mat d = added(p);
    CHECK(p->a.data && p->b.data && p->c.data && m == p->c.rows && n == p->c.cols && k > 0 &&
              k == (p->b_t ? p->b.cols : p->b.rows) && d.rows == m && d.cols == n,
          "product of [%ld, %ld] and [%ld, %ld] into [%ld, %ld]", p->a.rows, p->a.cols, p->b.rows, p->b.cols, p->c.rows,
          p->c.cols);
    CHECK(p->a.dtype == p->b.dtype && d.dtype == p->c.dtype &&
              (p->c.dtype == DTYPE_F32 || p->c.dtype == p->a.dtype || p->a.dtype == DTYPE_F8_E4M3),
          "product of types %d and %d into %d", (int)p->a.dtype, (int)p->b.dtype, (int)p->c.dtype);
    if (p->a.dtype == DTYPE_F8_E4M3)
        CHECK(!p->a_t && p->b_t && n % 16 == 0 && k % 16 == 0 && p->scale_a && p->scale_b &&
                  alignment(p->a.data) == 16 && alignment(p->b.data) == 16,
              "product of F8_E4M3 [%ld, %ld, %ld]", m, n, k);
}

static void key_text(const Backend *b, const PlanKey *k, char text[KEY_TEXT]) {
    const char *type = k->in == DTYPE_F32 && b->precision == PRECISION_HIGH ? "TF32" : dtype_info((DType)k->in)->name;
    snprintf(text, KEY_TEXT, "%s>%s %c%c %ldx%ldx%ld rows %ld %ld %ld %ld at %d %d %d %d%s%s%s", type,
             dtype_info((DType)k->out)->name, k->a_t ? 'T' : 'N', k->b_t ? 'T' : 'N', k->m, k->n, k->k, k->lda, k->ldb,
             k->ldc, k->ldd, k->align_a, k->align_b, k->align_c, k->align_d, k->reads_d ? " add" : "",
             k->bias ? " bias" : "", k->coarse ? " coarse" : "");
}

// ---- the table of plans ----

static int32_t *slot_of(const CudaMatmul *m, const PlanKey *key) {
    size_t i = fnv64(FNV64_START, key, sizeof *key) & (m->n_slots - 1);
    while (m->slots[i] && memcmp(&m->plans[m->slots[i] - 1].key, key, sizeof *key)) i = (i + 1) & (m->n_slots - 1);
    return &m->slots[i];
}

static Plan *new_plan(CudaMatmul *m, const PlanKey *key) {
    MEM_GROW(m->plans, m->capacity, m->n_plans + 1);
    m->plans[m->n_plans] = (Plan){.key = *key};
    if (2 * (m->n_plans + 1) > m->n_slots) {
        mem_free(m->slots);
        m->n_slots *= 2;
        m->slots = mem_calloc(m->n_slots, sizeof *m->slots);
        for (size_t i = 0; i < m->n_plans; i++) *slot_of(m, &m->plans[i].key) = (int32_t)i + 1;
    }
    *slot_of(m, key) = (int32_t)++m->n_plans;
    return &m->plans[m->n_plans - 1];
}

// ---- descriptors ----

static cudaDataType_t type_of(DType t) {
    switch (t) {
    case DTYPE_F32: return CUDA_R_32F;
    case DTYPE_F16: return CUDA_R_16F;
    case DTYPE_BF16: return CUDA_R_16BF;
    default: CHECK(t == DTYPE_F8_E4M3, "product of type %d", (int)t); return CUDA_R_8F_E4M3;
    }
}

static bool set_op(Backend *b, Plan *plan, cublasLtMatmulDescAttributes_t attribute, const void *value, size_t size) {
    return cuda_check_blas(b, cublasLtMatmulDescSetAttribute(&plan->op, attribute, value, size), "product");
}

// Of a matrix as it is stored, [rows, cols] of our naming: cuBLASLt's columns are our rows.
static bool set_layout(Backend *b, cublasLtMatrixLayoutOpaque_t *layout, DType t, int64_t rows, int64_t cols,
                       int64_t stride) {
    return cuda_check_blas(b, cublasLtMatrixLayoutInit(layout, type_of(t), (uint64_t)cols, (uint64_t)rows, stride),
                           "product");
}

static bool describe(Backend *b, Plan *plan) {
    const PlanKey *k = &plan->key;
    DType in = (DType)k->in, out = (DType)k->out;
    bool tf32 = in == DTYPE_F32 && b->precision == PRECISION_HIGH;
    cublasComputeType_t compute = tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    cublasOperation_t first = k->b_t ? CUBLAS_OP_T : CUBLAS_OP_N, second = k->a_t ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = k->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    int8_t coarse = (int8_t)k->coarse;
    return cuda_check_blas(b, cublasLtMatmulDescInit(&plan->op, compute, CUDA_R_32F), "product") &&
           set_layout(b, &plan->a, in, k->a_t ? k->k : k->m, k->a_t ? k->m : k->k, k->lda) &&
           set_layout(b, &plan->b, in, k->b_t ? k->n : k->k, k->b_t ? k->k : k->n, k->ldb) &&
           set_layout(b, &plan->c, out, k->m, k->n, k->ldc) && set_layout(b, &plan->d, out, k->m, k->n, k->ldd) &&
           set_op(b, plan, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first) &&
           set_op(b, plan, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second) &&
           set_op(b, plan, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) &&
           (in != DTYPE_F8_E4M3 || set_op(b, plan, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &coarse, sizeof coarse));
}

// Sets what depends on the call, not on the shape.
static bool set_pointers(Backend *b, Plan *plan, const Product *p) {
    if (p->bias && !set_op(b, plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias)) return false;
    return p->a.dtype != DTYPE_F8_E4M3 ||
           (set_op(b, plan, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &p->scale_b, sizeof p->scale_b) &&
            set_op(b, plan, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &p->scale_a, sizeof p->scale_a));
}

static cublasStatus_t multiply(const CudaState *s, const Plan *plan, const Product *p, void *c,
                               const cublasLtMatmulAlgo_t *algorithm) {
    return cublasLtMatmul(s->blas, (cublasLtMatmulDesc_t)&plan->op, &p->alpha, p->b.data,
                          (cublasLtMatrixLayout_t)&plan->b, p->a.data, (cublasLtMatrixLayout_t)&plan->a, &p->beta,
                          added(p).data, (cublasLtMatrixLayout_t)&plan->d, c, (cublasLtMatrixLayout_t)&plan->c,
                          algorithm, s->workspace, s->scratch.workspace_bytes, s->stream);
}

// ---- autotuning ----

// Up to MAX_ALGORITHMS algorithms, in cuBLASLt's order. Split sums are added in float32, in a fixed order.
static int candidates(Backend *b, Plan *plan, cublasLtMatmulHeuristicResult_t *found) {
    CudaState *s = cuda_state(b);
    const PlanKey *k = &plan->key;
    cublasLtMatmulPreferenceOpaque_t preference;
    uint64_t bytes = s->scratch.workspace_bytes;
    uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    uint32_t align[] = {k->align_b, k->align_a, k->align_d, k->align_c};
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        const void *value;
        size_t size;
    } wanted[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes},
                  {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &align[0], sizeof *align},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &align[1], sizeof *align},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align[2], sizeof *align},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align[3], sizeof *align}};
    cublasStatus_t status = cublasLtMatmulPreferenceInit(&preference);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && !status; i++)
        status =
            cublasLtMatmulPreferenceSetAttribute(&preference, wanted[i].attribute, wanted[i].value, wanted[i].size);
    int n = 0, runnable = 0;
    if (!status)
        status = cublasLtMatmulAlgoGetHeuristic(s->blas, &plan->op, &plan->b, &plan->a, &plan->d, &plan->c, &preference,
                                                MAX_ALGORITHMS, found, &n);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) cuda_check_blas(b, status, "algorithms of a product");
    for (int i = 0; i < n; i++)
        if (!found[i].state && found[i].workspaceSize <= bytes) found[runnable++] = found[i];
    return runnable;
}

// Seconds of the fastest run; infinite when it does not run. Waits.
static float time_algorithm(CudaState *s, const Plan *plan, const Product *p, void *c, const cublasLtMatmulAlgo_t *a) {
    float best = INFINITY;
    if (multiply(s, plan, p, c, a)) return best; // the first run loads code
    for (int i = 0; i < TIMED_RUNS; i++) {
        float ms;
        cudaEventRecord(s->matmul->start, s->stream);
        if (multiply(s, plan, p, c, a)) return INFINITY;
        cudaEventRecord(s->matmul->stop, s->stream);
        if (cudaEventSynchronize(s->matmul->stop) || cudaEventElapsedTime(&ms, s->matmul->start, s->matmul->stop))
            return INFINITY;
        if (ms < best) best = ms;
    }
    return best;
}

// Where timed runs write: C itself, unless a product also reads it. NULL: out of memory. *own: to be freed.
static void *timing_output(const Product *p, void **own) {
    *own = NULL;
    if (p->beta == 0 || added(p).data != p->c.data) return p->c.data;
    size_t bytes = (size_t)(p->c.rows * mat_stride(p->c)) * cuda_element(p->c.dtype);
    if (cudaMalloc(own, bytes)) {
        cudaGetLastError(); // clears it: the first candidate is used untimed
        return NULL;
    }
    return *own;
}

static int fastest(Backend *b, const Plan *plan, const Product *p, const cublasLtMatmulHeuristicResult_t *found,
                   int n) {
    CudaState *s = cuda_state(b);
    if (n < 2 || !cuda_choices_by_speed(b)) return 0;
    void *own, *c = timing_output(p, &own);
    int best = 0;
    float best_time = INFINITY;
    for (int i = 0; i < n && c; i++) {
        float time = time_algorithm(s, plan, p, c, &found[i].algo);
        if (time < best_time) best = i, best_time = time;
    }
    cuda_check(b, cudaStreamSynchronize(s->stream), "timing of a product");
    if (own) cuda_check(b, cudaFree(own), "timing of a product");
    return best;
}

static void write_choice(Backend *b, const char *key, const cublasLtMatmulAlgo_t *a) {
    enum { WORDS = sizeof a->data / sizeof *a->data };
    char text[WORDS * 16 + 1];
    for (int i = 0; i < WORDS; i++) snprintf(text + i * 16, 17, "%016" PRIx64, a->data[i]);
    cuda_choice_set(b, key, text);
}

static bool read_choice(const char *text, cublasLtMatmulAlgo_t *a) {
    enum { WORDS = sizeof a->data / sizeof *a->data };
    if (strlen(text) != WORDS * 16 || strspn(text, "0123456789abcdef") != WORDS * 16) return false;
    for (int i = 0; i < WORDS; i++) sscanf(text + i * 16, "%16" SCNx64, &a->data[i]);
    return true;
}

// The stored algorithm of a resumed run or of rank 0.
static void take_choice(Backend *b, Plan *plan, const char *key, const char *text) {
    CudaState *s = cuda_state(b);
    cublasLtMatmulHeuristicResult_t result;
    if (!read_choice(text, &plan->algorithm) ||
        cublasLtMatmulAlgoCheck(s->blas, &plan->op, &plan->b, &plan->a, &plan->d, &plan->c, &plan->algorithm,
                                &result) ||
        result.workspaceSize > s->scratch.workspace_bytes)
        cuda_fail(b, ERR_RUNTIME, "the stored algorithm for the product %s does not run here", key);
}

static void choose(Backend *b, Plan *plan, const Product *p) {
    char key[KEY_TEXT];
    key_text(b, &plan->key, key);
    const char *known = cuda_choice_get(b, key);
    if (known) {
        take_choice(b, plan, key, known);
        return;
    }
    cublasLtMatmulHeuristicResult_t found[MAX_ALGORITHMS];
    int n = candidates(b, plan, found);
    if (cuda_failed(b)) return;
    if (!n) {
        cuda_fail(b, ERR_RUNTIME, "cuBLASLt has no algorithm for the product %s", key);
        return;
    }
    plan->algorithm = found[fastest(b, plan, p, found, n)].algo;
    write_choice(b, key, &plan->algorithm);
}

void cuda_product(Backend *b, const Product *p) {
    if (cuda_failed(b) || p->c.rows == 0) return;
    check_product(p);
    CudaState *s = cuda_state(b);
    PlanKey key = key_of(p);
    int32_t at = *slot_of(s->matmul, &key);
    Plan *plan = at ? &s->matmul->plans[at - 1] : new_plan(s->matmul, &key);
    if (!at && !describe(b, plan)) return;
    if (!set_pointers(b, plan, p)) return;
    if (!at) choose(b, plan, p);
    if (!cuda_failed(b)) cuda_check_blas(b, multiply(s, plan, p, p->c.data, &plan->algorithm), "product");
}
