// cudart: the rest of the CUDA runtime over the emulated devices: errors, properties of fictitious GPUs, launches.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "emu.h"

#include "emulation.h"
#include "settings.h"

namespace emu {
namespace {
std::atomic<int> sticky_error; // of the process: a fault of a device spoils its context
thread_local int last_error, device;

std::mutex &shared_lock() {
    static std::mutex lock;
    return lock;
}
std::map<const void *, size_t> &shared_allowed() { // by kernel: set by cudaFuncSetAttribute
    static std::map<const void *, size_t> map;
    return map;
}

bool valid_launch(dim3 grid, dim3 block, size_t shared, const void *kernel) {
    if (!grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z || grid.x > 0x7fffffffu || grid.y > 65535 ||
        grid.z > 65535 || block.z > 64 || (uint64_t)block.x * block.y * block.z > MAX_THREADS) {
        fail(cudaErrorInvalidConfiguration);
        return false;
    }
    if (shared > allowed_dynamic_shared(kernel)) {
        fail(cudaErrorInvalidValue);
        return false;
    }
    return true;
}
} // namespace

void fault(const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "emulated device: %s\n", text);
    abort();
}

cudaError_t fail_sticky(cudaError_t e) {
    int none = 0;
    sticky_error.compare_exchange_strong(none, e);
    return sticky();
}
cudaError_t sticky() { return (cudaError_t)sticky_error.load(); }
cudaError_t fail(cudaError_t e) {
    last_error = e;
    return e;
}
int current_device() { return device; }
size_t allowed_dynamic_shared(const void *kernel) {
    std::lock_guard<std::mutex> hold(shared_lock());
    auto at = shared_allowed().find(kernel);
    return at == shared_allowed().end() ? (size_t)SHARED_DEFAULT : at->second;
}

void launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
            std::function<void()> body) {
    if (sticky() || !valid_launch(grid, block, shared, kernel)) return;
    enqueue(stream, [=] {
        Settings &s = settings();
        uint64_t number = ++s.launches;
        if (s.fail_at && number == s.fail_at) {
            fail_sticky(cudaErrorLaunchFailure);
            return;
        }
        run_grid({name, grid, block, shared, &body});
    });
}
} // namespace emu

using namespace emu;

cudaError_t cudaGetLastError(void) {
    if (sticky()) return sticky();
    cudaError_t e = (cudaError_t)last_error;
    last_error = cudaSuccess;
    return e;
}
cudaError_t cudaPeekAtLastError(void) { return sticky() ? sticky() : (cudaError_t)last_error; }
const char *cudaGetErrorString(cudaError_t e) {
    switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorECCUncorrectable: return "uncorrectable ECC error encountered";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "an error of the emulated device";
    }
}
const char *cudaGetErrorName(cudaError_t e) { return cudaGetErrorString(e); }

cudaError_t cudaGetDeviceCount(int *n) {
    *n = settings().devices;
    return *n ? cudaSuccess : fail(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int i) {
    if (i < 0 || i >= settings().devices) return fail(cudaErrorInvalidDevice);
    device = i;
    return sticky();
}
cudaError_t cudaGetDevice(int *i) {
    *i = device;
    return sticky();
}
cudaError_t cudaSetDeviceFlags(unsigned) { return sticky(); }
cudaError_t cudaInitDevice(int, unsigned, unsigned) { return sticky(); }
cudaError_t cudaDeviceReset(void) { return sticky(); }
cudaError_t cudaDriverGetVersion(int *v) {
    *v = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *v) {
    *v = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int i) {
    if (i < 0 || i >= settings().devices) return fail(cudaErrorInvalidDevice);
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "emulated device");
    p->major = settings().major;
    p->minor = settings().minor;
    p->totalGlobalMem = settings().memory;
    p->sharedMemPerBlock = SHARED_DEFAULT;
    p->sharedMemPerBlockOptin = SHARED_LIMIT;
    p->sharedMemPerMultiprocessor = SHARED_LIMIT + 1024;
    p->reservedSharedMemPerBlock = 1024;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = WARP;
    p->maxThreadsPerBlock = MAX_THREADS;
    p->maxThreadsPerMultiProcessor = 2048;
    p->maxBlocksPerMultiProcessor = 32;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = MAX_THREADS;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 0x7fffffff;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->multiProcessorCount = 2;
    p->concurrentKernels = p->unifiedAddressing = p->canMapHostMemory = p->asyncEngineCount = 1;
    p->l2CacheSize = 50 << 20;
    p->memoryBusWidth = 5120;
    p->pciBusID = i;
    p->uuid.bytes[0] = (char)(settings().first_device + i);
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr a, int i) {
    cudaDeviceProp p;
    if (cudaError_t e = cudaGetDeviceProperties(&p, i)) return e;
    switch (a) {
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)p.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)p.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMemoryPoolsSupported: *value = 0; break;
    default: fault("cudaDeviceGetAttribute: attribute %d is not emulated", (int)a);
    }
    return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char *id, int n, int i) {
    snprintf(id, (size_t)n, "0000:%02x:00.0", (unsigned)i & 255);
    return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = *greatest = 0;
    return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute a, int value) {
    if (a != cudaFuncAttributeMaxDynamicSharedMemorySize) return sticky();
    if (value < 0 || value > SHARED_LIMIT) return fail(cudaErrorInvalidValue);
    std::lock_guard<std::mutex> hold(shared_lock());
    shared_allowed()[kernel] = (size_t)value;
    return sticky();
}
