// faults: deliberately wrong kernels, one for each thing that the emulated device must notice
// (test_cuda_faults.c, test_cuda_races.c), and correct ones next to them.
#include "faults.h"

#include "dialect.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace {
enum { THREADS = 64 };

// ---- barriers that not all threads reach together ----

__global__ void half_at_barrier(float *) {
    if (threadIdx.x < 32) __syncthreads();
}
__global__ void early_return(float *out) {
    if (threadIdx.x == 5) return;
    __syncthreads();
    out[threadIdx.x] = 1.0f;
}
__global__ void two_barriers(float *) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}
__global__ void half_in_shuffle(float *out) {
    if (threadIdx.x % 2) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, out[threadIdx.x], 1);
}
__global__ void two_shuffles(float *out) {
    if (threadIdx.x % 2)
        out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
    else
        out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 2.0f, 1);
}
__global__ void shuffle(float *out) { out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1); }
__global__ void shuffle_against_barrier(float *out) {
    if (threadIdx.x < 16)
        __syncthreads();
    else
        out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
__global__ void lane_outside_mask(float *out) {
    if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 20);
}
__global__ void not_in_own_mask(float *) { __syncwarp(0x0000ffffu); }
__global__ void different_masks(float *) { __syncwarp(threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffffffffu); }

// ---- memory ----

__global__ void unwritten_shared(float *out) {
    SHARED(float, tile, [THREADS]);
    if (threadIdx.x != 7) tile[threadIdx.x] = 1.0f;
    __syncthreads();
    float sum = 0.0f;
    for (int i = 0; i < THREADS; i++) sum += tile[i];
    out[threadIdx.x] = sum;
}
__global__ void beyond_shared(float *out) {
    SHARED(float, tile, [THREADS]);
    SHARED(float, next, [THREADS]);
    next[threadIdx.x] = 0.0f;
    tile[threadIdx.x + 1] = 1.0f;
    out[threadIdx.x] = next[threadIdx.x];
}
__global__ void beyond_dynamic_shared(float *out) {
    DYN_SHARED(float, tile);
    tile[threadIdx.x + 1] = 1.0f;
    out[threadIdx.x] = tile[threadIdx.x];
}
__global__ void beyond_allocation(float *out) { out[threadIdx.x + 1] = 1.0f; }
__global__ void too_much_shared(float *out) {
    SHARED(float, a, [40 * 1024]);
    SHARED(float, b, [40 * 1024]);
    a[threadIdx.x] = b[threadIdx.x] = 1.0f;
    out[threadIdx.x] = a[threadIdx.x];
}

// ---- threads that do not wait for each other ----

// Shifts x by one, through shared memory.
template <bool wait> __global__ void shift(float *x) {
    SHARED(float, tile, [THREADS]);
    tile[threadIdx.x] = x[threadIdx.x];
    if (wait) __syncthreads();
    x[threadIdx.x] = tile[(threadIdx.x + 1) % THREADS];
}
// Shifts twice: the second write must wait for the first read.
template <bool wait> __global__ void shift_twice(float *x) {
    SHARED(float, tile, [THREADS]);
    float mine = x[threadIdx.x];
    for (int i = 0; i < 2; i++) {
        tile[threadIdx.x] = mine;
        __syncthreads();
        mine = tile[(threadIdx.x + 1) % THREADS];
        if (wait) __syncthreads();
    }
    x[threadIdx.x] = mine;
}
// Shifts within a warp; a shuffle orders no memory.
template <bool wait> __global__ void shift_in_warp(float *x) {
    SHARED(float, tile, [THREADS]);
    unsigned lane = threadIdx.x % 32, first = threadIdx.x - lane;
    tile[threadIdx.x] = x[threadIdx.x];
    float y = __shfl_sync(0xffffffffu, x[threadIdx.x], 0);
    if (wait) __syncwarp();
    x[threadIdx.x] = tile[first + (lane + 1) % 32] + 0.0f * y;
}
// All blocks add into one element.
template <bool atomic> __global__ void count(int *sum) {
    if (threadIdx.x) return;
    if (atomic)
        atomicAdd(sum, 1);
    else
        *sum += 1;
}

struct Named {
    const char *name;
    void (*kernel)(float *);
    size_t shared;
};
const Named WRONG[] = {
    {"half_at_barrier", half_at_barrier, 0},
    {"early_return", early_return, 0},
    {"two_barriers", two_barriers, 0},
    {"half_in_shuffle", half_in_shuffle, 0},
    {"two_shuffles", two_shuffles, 0},
    {"shuffle_against_barrier", shuffle_against_barrier, 0},
    {"lane_outside_mask", lane_outside_mask, 0},
    {"not_in_own_mask", not_in_own_mask, 0},
    {"different_masks", different_masks, 0},
    {"unwritten_shared", unwritten_shared, 0},
    {"beyond_shared", beyond_shared, 0},
    {"beyond_dynamic_shared", beyond_dynamic_shared, THREADS * sizeof(float)},
    {"beyond_allocation", beyond_allocation, 0},
    {"too_much_shared", too_much_shared, 0},
};
const Named SHIFTS[][2] = {
    {{"shift", shift<false>, 0}, {"shift", shift<true>, 0}},
    {{"shift_twice", shift_twice<false>, 0}, {"shift_twice", shift_twice<true>, 0}},
    {{"shift_in_warp", shift_in_warp<false>, 0}, {"shift_in_warp", shift_in_warp<true>, 0}},
};

// x = 0, 1, ... goes through the kernel.
void run(const Named &k, float x[THREADS], unsigned threads) {
    float *device;
    cudaMalloc((void **)&device, THREADS * sizeof(float));
    for (int i = 0; i < THREADS; i++) x[i] = (float)i;
    cudaMemcpy(device, x, THREADS * sizeof(float), cudaMemcpyHostToDevice);
    LAUNCH(k.kernel, 1, threads, k.shared, nullptr, device);
    cudaMemcpy(x, device, THREADS * sizeof(float), cudaMemcpyDeviceToHost);
    cudaFree(device);
}
} // namespace

int fault_count(void) { return sizeof WRONG / sizeof *WRONG; }
const char *fault_name(int i) { return WRONG[i].name; }

bool fault_run(const char *name) {
    for (const Named &k : WRONG) {
        if (strcmp(k.name, name)) continue;
        float x[THREADS];
        run(k, x, THREADS);
        for (float y : x)
            if (y != y) return true;
        return false;
    }
    return false;
}

void fault_partial_warp(void) {
    float x[THREADS];
    run({"shuffle", shuffle, 0}, x, 40);
}

int shift_count(void) { return sizeof SHIFTS / sizeof *SHIFTS; }
const char *shift_name(int i) { return SHIFTS[i][0].name; }
bool shift_is_right(int i, bool wait) {
    float x[THREADS];
    run(SHIFTS[i][wait], x, THREADS);
    for (int t = 0; t < THREADS; t++) {
        int want = i == 0 ? (t + 1) % THREADS : i == 1 ? (t + 2) % THREADS : t / 32 * 32 + (t + 1) % 32;
        if (x[t] != (float)want) return false;
    }
    return true;
}

int count_blocks(bool atomic, int blocks) {
    int *sum, result = 0;
    cudaMalloc((void **)&sum, sizeof *sum);
    cudaMemset(sum, 0, sizeof *sum);
    if (atomic)
        LAUNCH(count<true>, blocks, 32, 0, nullptr, sum);
    else
        LAUNCH(count<false>, blocks, 32, 0, nullptr, sum);
    cudaMemcpy(&result, sum, sizeof result, cudaMemcpyDeviceToHost);
    cudaFree(sum);
    return result;
}

int launch_error(unsigned threads, size_t shared, bool allow) {
    if (allow && cudaFuncSetAttribute((const void *)beyond_dynamic_shared, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      (int)shared))
        return cudaGetLastError();
    LAUNCH(early_return, 1, threads, shared, nullptr, (float *)nullptr);
    return cudaGetLastError();
}
