// device: the op table of the CUDA backend; opening and closing a device, what it can, and its first fault.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"
#include "module.h"
#include "records.h"

#define CUDA_ENTRY(slot) .slot = cuda_##slot,
static const Kernels cuda_kernels = {.name = "cuda", DEVICE_SLOTS(CUDA_ENTRY) OP_SLOTS(CUDA_ENTRY)};

// The slots that work in host memory on every backend.
bool cuda_weight_finite(Backend *b, const Weight *w) { return cuda_state(b)->host->weight_finite(b, w); }

bool cuda_pack(Backend *b, void *dst, float *row_scale, Mat src, DType type) {
    return cuda_state(b)->host->pack(b, dst, row_scale, src, type);
}

// ---- faults ----

void cuda_fail(Backend *b, ErrKind kind, const char *fmt, ...) {
    Err *fault = &cuda_state(b)->fault;
    if (cuda_failed(b)) return;
    fault->kind = kind;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(fault->msg, sizeof fault->msg, fmt, ap);
    va_end(ap);
}

bool cuda_check(Backend *b, cudaError_t error, const char *what) {
    if (error == cudaSuccess) return true;
    bool foreign = error == cudaErrorNoKernelImageForDevice || error == cudaErrorUnsupportedPtxVersion;
    cuda_fail(b, error == cudaErrorMemoryAllocation ? ERR_MEMORY : ERR_RUNTIME, "%s: %s (%s)%s", what,
              cudaGetErrorString(error), cudaGetErrorName(error),
              foreign ? "; lorac-cuda.so was compiled for other GPUs: compile it here, or with CUDA_ARCHS=all make cuda"
                      : "");
    return false;
}

bool cuda_check_blas(Backend *b, cublasStatus_t status, const char *what) {
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    cuda_fail(b, ERR_RUNTIME, "%s: cuBLASLt: %s", what, cublasLtGetStatusString(status));
    return false;
}

cudaEvent_t cuda_new_event(Backend *b, bool timed) {
    cudaEvent_t event = NULL;
    cudaError_t error = cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming);
    return cuda_check(b, error, "creating an event") ? event : NULL;
}

int cuda_status(Backend *b, Err *err) {
    const CudaState *s = cuda_state(b);
    if (!cuda_failed(b)) return 0;
    err_runtime(err, "device cuda:%d (%s): %s", s->device, s->name, s->fault.msg);
    if (err) err->kind = s->fault.kind;
    return -1;
}

// What recorded passes may take is used, whether they have taken it yet or not.
DeviceMemory cuda_memory(Backend *b) {
    const CudaState *s = cuda_state(b);
    size_t recorded = s->graphs ? s->scratch.recorded_bytes : 0, taken = cuda_record_counts(b).bytes;
    DeviceMemory m = {.used = s->used_bytes + recorded};
    if (!cuda_failed(b)) cuda_check(b, cudaMemGetInfo(&m.free, &m.total), "asking for free memory");
    size_t open = recorded > taken ? recorded - taken : 0;
    m.free -= open < m.free ? open : m.free;
    return m;
}

void cuda_describe(Backend *b, StrBuf *out) {
    const CudaState *s = cuda_state(b);
    int driver = 0, runtime = 0;
    size_t blas = cublasLtGetVersion();
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    str_printf(out, "compute capability %d.%d, %d multiprocessors, driver for CUDA %d.%d, CUDA runtime %d.%d, ",
               s->capability / 10, s->capability % 10, s->processors, driver / 1000, driver % 1000 / 10, runtime / 1000,
               runtime % 1000 / 10);
    str_printf(out, "cuBLASLt %zu.%zu.%zu", blas / 10000, blas / 100 % 100, blas % 100);
}

// ---- opening ----

// "cuda" or "cuda:N".
static int parse_index(const char *device, int *index, Err *err) {
    *index = 0;
    const char *digits = device + strlen("cuda");
    if (!*digits) return 0;
    char *end = NULL;
    long n = digits[0] == ':' && digits[1] >= '0' && digits[1] <= '9' ? strtol(digits + 1, &end, 10) : -1;
    if (n < 0 || n > 1023 || *end) return err_input(err, "device '%s' is unknown; expected cuda or cuda:N", device);
    *index = (int)n;
    return 0;
}

static int count_devices(int *count, Err *err) {
    int driver = 0, runtime = 0;
    *count = 0;
    cudaGetLastError(); // of an attempt before this one
    if (cudaDriverGetVersion(&driver) != cudaSuccess || !driver)
        return err_runtime(err, "this machine has no NVIDIA driver");
    cudaError_t error = cudaGetDeviceCount(count);
    if (error == cudaErrorNoDevice) return *count = 0;
    if (error == cudaErrorInsufficientDriver && cudaRuntimeGetVersion(&runtime) == cudaSuccess)
        return err_runtime(err, "the NVIDIA driver is too old: it serves CUDA %d.%d, expected %d.%d", driver / 1000,
                           driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (error != cudaSuccess) return err_runtime(err, "%s (%s)", cudaGetErrorString(error), cudaGetErrorName(error));
    return 0;
}

int lorac_cuda_gpus(int *count, GpuId *ids, int most, Err *err) {
    if (count_devices(count, err)) return -1;
    for (int i = 0; i < *count && i < most; i++) {
        struct cudaDeviceProp p;
        cudaError_t error = cudaGetDeviceProperties(&p, i);
        if (error != cudaSuccess)
            return err_runtime(err, "device cuda:%d: %s (%s)", i, cudaGetErrorString(error), cudaGetErrorName(error));
        _Static_assert(sizeof p.uuid == sizeof *ids, "the id of a GPU");
        memcpy(&ids[i], &p.uuid, sizeof ids[i]);
    }
    return 0;
}

static int find_device(const char *device, int index, Err *err) {
    int count;
    if (count_devices(&count, err)) return err_context(err, "device %s", device);
    if (!count)
        return err_runtime(err, "device %s: no NVIDIA GPU is visible (CUDA_VISIBLE_DEVICES, permissions)", device);
    if (index >= count) return err_runtime(err, "device %s: this machine has %d GPU(s), from cuda:0 on", device, count);
    return 0;
}

static int take_properties(CudaState *s, const BackendOptions *o, Err *err) {
    struct cudaDeviceProp p;
    cudaError_t error = cudaSetDevice(s->device);
    if (error == cudaSuccess) error = cudaGetDeviceProperties(&p, s->device);
    if (error != cudaSuccess)
        return err_runtime(err, "device %s: %s (%s)", o->device, cudaGetErrorString(error), cudaGetErrorName(error));
    snprintf(s->name, sizeof s->name, "%.*s", (int)sizeof s->name - 1, p.name);
    s->emulated = cuda_emulated;
    s->capability = p.major * 10 + p.minor;
    s->processors = p.multiProcessorCount;
    s->shared_bytes = p.sharedMemPerBlockOptin;
    if (s->capability < CUDA_OLDEST_CAPABILITY)
        return err_runtime(err, "device %s (%s): compute capability %d.%d, expected 8.0 or higher", o->device, s->name,
                           p.major, p.minor);
    if (o->fp8 && s->capability < CUDA_FP8_CAPABILITY)
        return err_runtime(err, "device %s (%s): dtype fp8 needs compute capability 8.9, the device has %d.%d",
                           o->device, s->name, p.major, p.minor);
    s->scratch = cuda_scratch(s->capability, p.totalGlobalMem);
    return 0;
}

static int check_types(const BackendOptions *o, Err *err) {
    bool known = o->activation == DTYPE_F32 || o->activation == DTYPE_BF16 || o->activation == DTYPE_F16;
    bool tf32 = o->precision == PRECISION_HIGH, medium = o->precision == PRECISION_MEDIUM;
    if (!known || medium || (tf32 && o->activation != DTYPE_F32) || (o->fp8 && o->activation != DTYPE_BF16))
        return err_input(err, "device %s: activations of type %s%s%s are unknown", o->device,
                         dtype_info(o->activation)->name,
                         tf32     ? " with TF32 products"
                         : medium ? " with BF16 products"
                                  : "",
                         o->fp8 ? " with FP8 weights" : "");
    return 0;
}

static void open_streams(Backend *b) {
    CudaState *s = cuda_state(b);
    // Blocking streams would wait for the legacy default stream, which nothing here uses.
    cuda_check(b, cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking), "creating a stream");
    cuda_check(b, cudaStreamCreateWithFlags(&s->side_stream, cudaStreamNonBlocking), "creating a stream");
    cuda_check_blas(b, cublasLtCreate(&s->blas), "opening");
}

static int open_areas(Backend *b, Err *err) {
    CudaState *s = cuda_state(b);
#define OPEN_CUDA_AREA(name, type)                                                                                     \
    if (cuda_##name##_open(b, err)) return -1;
    CUDA_AREAS(OPEN_CUDA_AREA)
    s->workspace = cuda_alloc(b, s->scratch.workspace_bytes);
    for (int i = 0; i < 2; i++) s->expanded[i] = cuda_alloc(b, s->scratch.expanded_bytes);
    cuda_try_kernel(b);
    cuda_sync(b);
    return 0;
}

int lorac_cuda_open(Backend *b, const BackendOptions *o, const Kernels *host, Err *err) {
    int index;
    if (parse_index(o->device, &index, err) || check_types(o, err) || find_device(o->device, index, err)) return -1;
    CudaState *s = mem_calloc(1, sizeof *s);
    s->device = index;
    s->host = host;
    b->state = s;
    if (cuda_environment(b, o->attention, err) || take_properties(s, o, err)) {
        mem_free(s);
        b->state = NULL;
        return -1;
    }
    b->k = &cuda_kernels;
    b->activation = o->activation;
    b->host_memory = false;
    b->precision = o->precision;
    b->fp8 = o->fp8;
    snprintf(b->name, sizeof b->name, "%.*s", (int)sizeof b->name - 1, s->name);
    open_streams(b);
    if (cuda_status(b, err) || open_areas(b, err) || cuda_status(b, err) || cuda_environment_check(b, err)) {
        cuda_close(b);
        return -1;
    }
    return 0;
}

void cuda_close(Backend *b) {
    CudaState *s = cuda_state(b);
    cuda_ranks_close(b); // first: a sum that a dead rank never joins blocks the stream until the group is closed
    if (s->stream) cudaStreamSynchronize(s->stream);
    for (int i = 0; i < 2; i++) cuda_free(b, s->expanded[i], s->scratch.expanded_bytes);
    cuda_free(b, s->workspace, s->scratch.workspace_bytes);
#define CLOSE_CUDA_AREA(name, type) cuda_##name##_close(b);
    CUDA_AREAS(CLOSE_CUDA_AREA)
    if (s->blas) cublasLtDestroy(s->blas);
    if (s->side_stream) cudaStreamDestroy(s->side_stream);
    if (s->stream) cudaStreamDestroy(s->stream);
    mem_free(s);
    b->state = NULL;
}
