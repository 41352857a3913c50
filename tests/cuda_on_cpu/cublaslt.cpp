// cublaslt: cuBLASLt over the emulated devices: the products that the backend asks for, summed in float32 on the host.
//
// As strict as the library where its documentation is: combinations of types, transposes of FP8, alignment and
// workspace that an algorithm was chosen for. Three algorithms: 0 sums each element in one go; 1 in two halves of K,
// through the workspace (other bits than 0, so that a forgotten choice shows); 2 as 1 in place, which is only offered
// where the mask of reduction schemes allows it. What nobody here needs is NOT_SUPPORTED.
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <oneapi/dnnl/dnnl.h>

#include <cstring>
#include <type_traits>

#include "emulation.h"
#include "settings.h"

struct cublasLtContext {
    int device;
};

namespace {
struct Desc {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int pointer_mode, transpose_a, transpose_b, epilogue, bias_type;
    const void *bias;
    const float *scale_a, *scale_b;
    int8_t coarse;
};
struct Layout {
    int type, order;
    uint64_t rows, cols;
    int64_t ld, batch_stride;
    int32_t batch;
};
struct Preference {
    uint64_t workspace;
    uint32_t schemes, align[4];
    int search_mode;
};
struct Algorithm {
    uint64_t magic;
    int32_t id;
    uint32_t align[4];
    uint64_t workspace;
};
const uint64_t MAGIC = 0x6c6f7261636c7401;
enum { ALGORITHMS = 3, WORKSPACE = 64 * 1024 };

// The library's descriptors are plain memory of a fixed size, which its users may keep by value.
template <class T, class Opaque> T &as(Opaque *p) {
    static_assert(sizeof(T) <= sizeof(std::remove_const_t<Opaque>), "fits");
    return *reinterpret_cast<T *>(p);
}
template <class T, class Opaque> const T &as_const(const Opaque *p) {
    static_assert(sizeof(T) <= sizeof(Opaque), "fits");
    return *reinterpret_cast<const T *>(p);
}

template <class T> cublasStatus_t take(T &field, const void *value, size_t size) {
    if (size != sizeof field || !value) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&field, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

size_t element(int type) {
    switch (type) {
    case CUDA_R_32F: return 4;
    case CUDA_R_16F:
    case CUDA_R_16BF: return 2;
    default: return 1;
    }
}

float load(const void *p, int type, size_t i) {
    switch (type) {
    case CUDA_R_32F: return ((const float *)p)[i];
    case CUDA_R_16F: return __half2float(((const __half *)p)[i]);
    case CUDA_R_16BF: return __bfloat162float(((const __nv_bfloat16 *)p)[i]);
    default: return (float)((const __nv_fp8_e4m3 *)p)[i];
    }
}
void store(void *p, int type, size_t i, float x) {
    switch (type) {
    case CUDA_R_32F: ((float *)p)[i] = x; break;
    case CUDA_R_16F: ((__half *)p)[i] = __float2half_rn(x); break;
    default: ((__nv_bfloat16 *)p)[i] = __float2bfloat16_rn(x); break;
    }
}

float to_tf32(float x) { // 10 bits of mantissa, to nearest
    uint32_t u;
    memcpy(&u, &x, 4);
    if ((u >> 23 & 255) == 255) return x;
    u = (u + 0xfff + (u >> 13 & 1)) & ~0x1fffu;
    memcpy(&x, &u, 4);
    return x;
}

size_t at(const Layout &l, uint64_t row, uint64_t col) {
    return l.order == CUBLASLT_ORDER_ROW ? row * (uint64_t)l.ld + col : col * (uint64_t)l.ld + row;
}
size_t bytes_of(const Layout &l) {
    if (!l.rows || !l.cols) return 0;
    return ((size_t)(l.batch - 1) * (size_t)l.batch_stride + at(l, l.rows - 1, l.cols - 1) + 1) * element(l.type);
}
bool good(const Layout &l) {
    uint64_t lead = l.order == CUBLASLT_ORDER_ROW ? l.cols : l.rows;
    return l.ld >= (int64_t)lead && l.batch >= 1 && (l.batch == 1 || l.batch_stride >= 0);
}

struct Shape {
    uint64_t m, n, k;
};

cublasStatus_t check(const Desc &d, const Layout &a, const Layout &b, const Layout &c, const Layout &out, Shape *s) {
    bool ta = d.transpose_a == CUBLAS_OP_T, tb = d.transpose_b == CUBLAS_OP_T;
    *s = {ta ? a.cols : a.rows, tb ? b.rows : b.cols, ta ? a.rows : a.cols};
    if (!good(a) || !good(b) || !good(c) || !good(out) || (tb ? b.cols : b.rows) != s->k || out.rows != s->m ||
        out.cols != s->n || c.rows != s->m || c.cols != s->n || a.batch != out.batch || b.batch != out.batch)
        return CUBLAS_STATUS_INVALID_VALUE;
    bool fp8 = a.type == CUDA_R_8F_E4M3, half = a.type == CUDA_R_16F || a.type == CUDA_R_16BF;
    bool tf32 = d.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if (a.type != b.type || c.type != out.type || d.scale != CUDA_R_32F || (!fp8 && !half && a.type != CUDA_R_32F) ||
        (d.compute != CUBLAS_COMPUTE_32F && !(tf32 && a.type == CUDA_R_32F)) ||
        (!fp8 && out.type != CUDA_R_32F && out.type != a.type) || (fp8 && out.type == CUDA_R_8F_E4M3))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const emu::Settings &set = emu::settings();
    // The rows of B, tokens here, may be any number, as PyTorch relies on too (its pull request 108308).
    if (fp8 && (!ta || tb || s->m % 16 || s->k % 16 || a.ld % 16 || b.ld % 16 || set.major * 10 + set.minor < 89))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    bool bias = d.epilogue == CUBLASLT_EPILOGUE_BIAS;
    if (!bias && d.epilogue != CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (bias && d.bias_type >= 0 && d.bias_type != out.type) return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

// One product as it will run.
struct Call {
    Desc d;
    Layout a, b, c, out;
    Shape s;
    float alpha, beta;
    const void *A, *B, *C;
    void *D;
    bool halves;
};

std::vector<float> dense(const Call &call, const void *p, const Layout &l, bool transposed, size_t batch) {
    uint64_t rows = transposed ? l.cols : l.rows, cols = transposed ? l.rows : l.cols;
    std::vector<float> m(rows * cols);
    const char *base = (const char *)p + batch * (size_t)l.batch_stride * element(l.type);
    bool tf32 = call.d.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t j = 0; j < cols; j++) {
            float x = load(base, l.type, transposed ? at(l, j, i) : at(l, i, j));
            m[i * cols + j] = tf32 ? to_tf32(x) : x;
        }
    return m;
}

void gemm(const float *a, const float *b, float *c, Shape s, uint64_t k0, uint64_t k1, float beta) {
    if (k0 == k1) {
        if (!beta) memset(c, 0, s.m * s.n * sizeof *c);
        return;
    }
    dnnl_sgemm('N', 'N', (dnnl_dim_t)s.m, (dnnl_dim_t)s.n, (dnnl_dim_t)(k1 - k0), 1.0f, a + k0, (dnnl_dim_t)s.k,
               b + k0 * s.n, (dnnl_dim_t)s.n, beta, c, (dnnl_dim_t)s.n);
}

void run(const Call &call) {
    const Shape &s = call.s;
    std::vector<float> sum(s.m * s.n);
    float scale = call.alpha * (call.d.scale_a ? *call.d.scale_a : 1.0f) * (call.d.scale_b ? *call.d.scale_b : 1.0f);
    for (int32_t batch = 0; batch < call.out.batch; batch++) {
        std::vector<float> a = dense(call, call.A, call.a, call.d.transpose_a == CUBLAS_OP_T, (size_t)batch);
        std::vector<float> b = dense(call, call.B, call.b, call.d.transpose_b == CUBLAS_OP_T, (size_t)batch);
        uint64_t middle = call.halves ? s.k / 2 : s.k;
        gemm(a.data(), b.data(), sum.data(), s, 0, middle, 0.0f);
        if (middle < s.k) gemm(a.data(), b.data(), sum.data(), s, middle, s.k, 1.0f);
        const char *c = (const char *)call.C + (size_t)batch * (size_t)call.c.batch_stride * element(call.c.type);
        char *out = (char *)call.D + (size_t)batch * (size_t)call.out.batch_stride * element(call.out.type);
        for (uint64_t i = 0; i < s.m; i++)
            for (uint64_t j = 0; j < s.n; j++) {
                float x = scale * sum[i * s.n + j];
                if (call.beta != 0.0f) x += call.beta * load(c, call.c.type, at(call.c, i, j));
                if (call.d.epilogue == CUBLASLT_EPILOGUE_BIAS) x += load(call.d.bias, call.out.type, i);
                store(out, call.out.type, at(call.out, i, j), x);
            }
    }
}

Algorithm algorithm_of(int id, const Preference &p) {
    Algorithm a = {MAGIC, id, {p.align[0], p.align[1], p.align[2], p.align[3]}, id == 1 ? (uint64_t)WORKSPACE : 0};
    return a;
}
bool offered(int id, const Preference &p) {
    if (id == 1) return p.schemes & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE && p.workspace >= WORKSPACE;
    return id == 0 || p.schemes & CUBLASLT_REDUCTION_SCHEME_INPLACE;
}
bool aligned(const void *p, uint32_t bytes) { return !bytes || (uintptr_t)p % bytes == 0; }
} // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h) {
    *h = new cublasLtContext{emu::current_device()};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) {
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }
const char *cublasLtGetStatusString(cublasStatus_t s) {
    switch (s) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_INVALID_VALUE: return "invalid value";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "not supported";
    default: return "an error of the emulated cuBLASLt";
    }
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t d, size_t, cublasComputeType_t compute,
                                               cudaDataType_t scale) {
    memset(d, 0, sizeof *d);
    Desc &desc = as<Desc>(d);
    desc.compute = compute;
    desc.scale = scale;
    desc.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    desc.bias_type = -1;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute, cudaDataType_t scale) {
    *d = new cublasLtMatmulDescOpaque_t;
    return cublasLtMatmulDescInit_internal(*d, sizeof **d, compute, scale);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
    delete d;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a,
                                              const void *value, size_t size) {
    Desc &desc = as<Desc>(d);
    switch (a) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return take(desc.transpose_a, value, size);
    case CUBLASLT_MATMUL_DESC_TRANSB: return take(desc.transpose_b, value, size);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE: return take(desc.pointer_mode, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return take(desc.epilogue, value, size);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return take(desc.bias, value, size);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return take(desc.bias_type, value, size);
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER: return take(desc.scale_a, value, size);
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER: return take(desc.scale_b, value, size);
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM: return take(desc.coarse, value, size);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t l, size_t, cudaDataType type, uint64_t rows,
                                                 uint64_t cols, int64_t ld) {
    memset(l, 0, sizeof *l);
    as<Layout>(l) = {type, CUBLASLT_ORDER_COL, rows, cols, ld, 0, 1};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType type, uint64_t rows, uint64_t cols,
                                          int64_t ld) {
    *l = new cublasLtMatrixLayoutOpaque_t;
    return cublasLtMatrixLayoutInit_internal(*l, sizeof **l, type, rows, cols, ld);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
    delete l;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t a,
                                                const void *value, size_t size) {
    Layout &layout = as<Layout>(l);
    switch (a) {
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return take(layout.order, value, size);
    case CUBLASLT_MATRIX_LAYOUT_ROWS: return take(layout.rows, value, size);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return take(layout.cols, value, size);
    case CUBLASLT_MATRIX_LAYOUT_LD: return take(layout.ld, value, size);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return take(layout.batch, value, size);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return take(layout.batch_stride, value, size);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t p, size_t) {
    memset(p, 0, sizeof *p);
    as<Preference>(p) = {0, CUBLASLT_REDUCTION_SCHEME_MASK, {256, 256, 256, 256}, 0}; // the library's defaults
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p) {
    *p = new cublasLtMatmulPreferenceOpaque_t;
    return cublasLtMatmulPreferenceInit_internal(*p, sizeof **p);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
    delete p;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t a, const void *value,
                                                    size_t size) {
    Preference &preference = as<Preference>(p);
    switch (a) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return take(preference.workspace, value, size);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return take(preference.schemes, value, size);
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE: return take(preference.search_mode, value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return take(preference.align[0], value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return take(preference.align[1], value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return take(preference.align[2], value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return take(preference.align[3], value, size);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t out, cublasLtMatmulPreference_t p, int wanted,
                                              cublasLtMatmulHeuristicResult_t *results, int *n) {
    Shape s;
    *n = 0;
    cublasStatus_t status = check(as<Desc>(d), as<Layout>(a), as<Layout>(b), as<Layout>(c), as<Layout>(out), &s);
    if (status) return status;
    const Preference &preference = as<Preference>(p);
    for (int id = 0; id < ALGORITHMS && *n < wanted; id++) {
        if (!offered(id, preference)) continue;
        Algorithm chosen = algorithm_of(id, preference);
        results[*n] = cublasLtMatmulHeuristicResult_t();
        memcpy(&results[*n].algo, &chosen, sizeof chosen);
        static_assert(sizeof chosen <= sizeof results[0].algo, "fits");
        results[*n].workspaceSize = chosen.workspace;
        results[*n].state = CUBLAS_STATUS_SUCCESS;
        results[*n].wavesCount = 1.0f;
        ++*n;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t out,
                                       const cublasLtMatmulAlgo_t *algorithm, cublasLtMatmulHeuristicResult_t *result) {
    Shape s;
    const Algorithm &chosen = as_const<Algorithm>(algorithm);
    if (chosen.magic != MAGIC || chosen.id < 0 || chosen.id >= ALGORITHMS) return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t status = check(as<Desc>(d), as<Layout>(a), as<Layout>(b), as<Layout>(c), as<Layout>(out), &s);
    if (status) return status;
    *result = cublasLtMatmulHeuristicResult_t();
    result->algo = *algorithm;
    result->workspaceSize = chosen.workspace;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void *alpha, const void *A,
                              cublasLtMatrixLayout_t a, const void *B, cublasLtMatrixLayout_t b, const void *beta,
                              const void *C, cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t out,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
    if (emu::sticky()) return CUBLAS_STATUS_EXECUTION_FAILED;
    Call call = {as<Desc>(d),
                 as<Layout>(a),
                 as<Layout>(b),
                 as<Layout>(c),
                 as<Layout>(out),
                 {},
                 *(const float *)alpha,
                 *(const float *)beta,
                 A,
                 B,
                 C,
                 D,
                 false};
    cublasStatus_t status = check(call.d, call.a, call.b, call.c, call.out, &call.s);
    if (status) return status;
    if (call.d.pointer_mode != CUBLASLT_POINTER_MODE_HOST) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (call.d.epilogue == CUBLASLT_EPILOGUE_BIAS && !call.d.bias) return CUBLAS_STATUS_INVALID_VALUE;
    if (C == D && (call.c.ld != call.out.ld || call.c.order != call.out.order)) return CUBLAS_STATUS_INVALID_VALUE;
    if (algorithm) {
        const Algorithm &chosen = as_const<Algorithm>(algorithm);
        if (chosen.magic != MAGIC || chosen.workspace > workspace_bytes || !aligned(A, chosen.align[0]) ||
            !aligned(B, chosen.align[1]) || !aligned(C, chosen.align[2]) || !aligned(D, chosen.align[3]))
            return CUBLAS_STATUS_INVALID_VALUE;
        call.halves = chosen.id != 0;
        if (chosen.workspace) {
            size_t bytes = chosen.workspace;
            emu::check_range("cublasLtMatmul: workspace", workspace, bytes);
            emu::enqueue(stream, [workspace, bytes] { memset(workspace, 0xff, bytes); });
        }
    }
    emu::check_range("cublasLtMatmul: A", A, bytes_of(call.a));
    emu::check_range("cublasLtMatmul: B", B, bytes_of(call.b));
    if (call.beta != 0.0f) emu::check_range("cublasLtMatmul: C", C, bytes_of(call.c));
    emu::check_range("cublasLtMatmul: D", D, bytes_of(call.out));
    emu::enqueue(stream, [call] { run(call); });
    return CUBLAS_STATUS_SUCCESS;
}
