// emu: CUDA C on the host. This header is put in front of every .cu file of the emulated build (-include); kernels know
// nothing of it. It gives them what nvcc would: the built-in variables, barriers, shuffles, integer atomics and
// intrinsics; half, bfloat16 and fp8 are the toolkit's own host code. What a kernel must not use is missing, so that it
// does not compile: plain __shared__ (use SHARED), float atomics (no fixed order), __activemask (implicit synchrony).
// The threads of a block are fibers of one thread (scheduler.cpp). Numbers agree with a GPU's to rounding, not in bits.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#define __shared__ shared_memory_needs_the_macro_SHARED

#include <cuda_runtime.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#define LORAC_CUDA_EMULATED 1 // for files of scalar twins of PTX instructions (mma.cuh)

namespace emu {
// Where a thread waits: the operation and its line, for reports.
struct Site {
    const char *what, *file;
    int line;
};

// What a kernel sees of its place.
struct Place {
    uint3 thread;
    const uint3 *block;
    const dim3 *block_dim, *grid_dim;
};
extern __thread Place *here __attribute__((tls_model("initial-exec")));

void barrier(Site site);
enum Vote { VOTE_COUNT, VOTE_AND, VOTE_OR };
int barrier_vote(Site site, int predicate, Vote vote);

// One lane's part in an operation of the lanes in `mask`. The last lane that arrives calls combine(lanes, mask), lanes
// [32] with NULL for lanes outside of the mask; then all go on. combine NULL: __syncwarp.
struct Exchange {
    const void *in;
    void *out;
    int size;     // bytes of *in and *out
    int argument; // shuffles: lane to read from; others: their own
};
typedef void (*Combine)(Exchange *const *lanes, unsigned mask);
void exchange(Site site, unsigned mask, Exchange *mine, Combine combine);
void copy_from_lane(Exchange *const *lanes, unsigned mask); // *out = *in of lane `argument`
unsigned lane_index();
[[noreturn]] void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

void *shared_array(const void *key, const char *name, size_t bytes, size_t align);
void *shared_dynamic(size_t align);

void launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
            std::function<void()> body);
template <class... P, class... A>
void start(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream, A... a) {
    std::tuple<std::decay_t<P>...> parameters(static_cast<std::decay_t<P>>(a)...);
    launch(name, (const void *)kernel, grid, block, shared, stream,
           [kernel, parameters] { std::apply(kernel, parameters); });
}

// The value of every lane of a full warp, for twins of instructions that many lanes work on.
template <class T> void gather(const T &mine, T (&all)[32], Site site) {
    static_assert(std::is_trivially_copyable<T>::value, "registers");
    Exchange e = {&mine, all, (int)sizeof(T), 0};
    exchange(site, ~0u, &e, [](Exchange *const *lanes, unsigned) {
        T values[32];
        for (int from = 0; from < 32; from++) memcpy(&values[from], lanes[from]->in, sizeof(T));
        for (int to = 0; to < 32; to++) memcpy(lanes[to]->out, values, sizeof values);
    });
}

template <class T> T shuffle(Site site, unsigned mask, T value, int source) {
    static_assert(std::is_trivially_copyable<T>::value && sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
    T result;
    Exchange e = {&value, &result, (int)sizeof(T), source};
    exchange(site, mask, &e, copy_from_lane);
    return result;
}

template <class T, class F> T reduce(Site site, unsigned mask, T value, F) {
    T result;
    Exchange e = {&value, &result, (int)sizeof(T), 0};
    exchange(site, mask, &e, [](Exchange *const *lanes, unsigned in) {
        bool first = true;
        T all = T();
        for (int i = 0; i < 32; i++)
            if (in >> i & 1) {
                T next = *(const T *)lanes[i]->in;
                all = first ? next : F()(all, next);
                first = false;
            }
        for (int i = 0; i < 32; i++)
            if (in >> i & 1) *(T *)lanes[i]->out = all;
    });
    return result;
}

template <class T> struct Min {
    T operator()(T a, T b) const { return a < b ? a : b; }
};
template <class T> struct Max {
    T operator()(T a, T b) const { return a > b ? a : b; }
};

template <class To, class From> To bits(From f) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To t;
    memcpy(&t, &f, sizeof t);
    return t;
}
} // namespace emu

// ---- the dialect (kernels/cuda/dialect.h defines these for nvcc where they are not yet defined) ----

#define LAUNCH(kernel, grid, block, shared, stream, ...)                                                               \
    emu::start(#kernel, kernel, grid, block, shared, stream, ##__VA_ARGS__)
#define SHARED(T, name, ...)                                                                                           \
    using name##_type = T __VA_ARGS__;                                                                                 \
    static const char name##_key = 0;                                                                                  \
    name##_type &name =                                                                                                \
        *static_cast<name##_type *>(emu::shared_array(&name##_key, #name, sizeof(name##_type), alignof(name##_type)))
#define DEVICE_NANOSECONDS(now)                                                                                        \
    ((now) = (unsigned long long)std::chrono::steady_clock::now().time_since_epoch().count())
#define DYN_SHARED(T, name) T *const name = static_cast<T *>(emu::shared_dynamic(alignof(T)))

// ---- built-in variables ----

#define threadIdx (emu::here->thread)
#define blockIdx (*emu::here->block)
#define blockDim (*emu::here->block_dim)
#define gridDim (*emu::here->grid_dim)
constexpr int warpSize = 32;

// ---- barriers, shuffles, votes. Every call knows its line, for reports. ----

#define EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define EMU_HERE(what)                                                                                                 \
    emu::Site { what, file, line }

inline void __syncthreads(EMU_SITE) { emu::barrier(EMU_HERE("__syncthreads")); }
inline int __syncthreads_count(int p, EMU_SITE) {
    return emu::barrier_vote(EMU_HERE("__syncthreads_count"), p, emu::VOTE_COUNT);
}
inline int __syncthreads_and(int p, EMU_SITE) {
    return emu::barrier_vote(EMU_HERE("__syncthreads_and"), p, emu::VOTE_AND);
}
inline int __syncthreads_or(int p, EMU_SITE) {
    return emu::barrier_vote(EMU_HERE("__syncthreads_or"), p, emu::VOTE_OR);
}
inline void __syncwarp(unsigned mask = ~0u, EMU_SITE) {
    emu::Exchange e = {nullptr, nullptr, 0, 0};
    emu::exchange(EMU_HERE("__syncwarp"), mask, &e, nullptr);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T> T __shfl_sync(unsigned mask, T v, int source, int width = 32, EMU_SITE) {
    int lane = (int)emu::lane_index(), from = (lane & ~(width - 1)) + (source & (width - 1));
    return emu::shuffle(EMU_HERE("__shfl_sync"), mask, v, from);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, EMU_SITE) {
    int lane = (int)emu::lane_index(), from = lane - (int)delta;
    return emu::shuffle(EMU_HERE("__shfl_up_sync"), mask, v, from < (lane & ~(width - 1)) ? lane : from);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, EMU_SITE) {
    int lane = (int)emu::lane_index(), from = lane + (int)delta;
    return emu::shuffle(EMU_HERE("__shfl_down_sync"), mask, v, from > (lane | (width - 1)) ? lane : from);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int with, int width = 32, EMU_SITE) {
    int lane = (int)emu::lane_index(), from = lane ^ with;
    return emu::shuffle(EMU_HERE("__shfl_xor_sync"), mask, v, from > (lane | (width - 1)) ? lane : from);
}
inline unsigned __ballot_sync(unsigned mask, int p, EMU_SITE) {
    return emu::reduce(EMU_HERE("__ballot_sync"), mask, p ? 1u << emu::lane_index() : 0u, std::bit_or<unsigned>());
}
inline int __any_sync(unsigned mask, int p, EMU_SITE) {
    return emu::reduce(EMU_HERE("__any_sync"), mask, (int)(p != 0), std::bit_or<int>());
}
inline int __all_sync(unsigned mask, int p, EMU_SITE) {
    return emu::reduce(EMU_HERE("__all_sync"), mask, (int)(p != 0), std::bit_and<int>());
}
#define EMU_REDUCE(name, T, F)                                                                                         \
    inline T name(unsigned mask, T v, EMU_SITE) { return emu::reduce(EMU_HERE(#name), mask, v, F<T>()); }
EMU_REDUCE(__reduce_add_sync, unsigned, std::plus)
EMU_REDUCE(__reduce_min_sync, unsigned, emu::Min)
EMU_REDUCE(__reduce_max_sync, unsigned, emu::Max)
EMU_REDUCE(__reduce_min_sync, int, emu::Min)
EMU_REDUCE(__reduce_max_sync, int, emu::Max)
EMU_REDUCE(__reduce_and_sync, unsigned, std::bit_and)
EMU_REDUCE(__reduce_or_sync, unsigned, std::bit_or)
EMU_REDUCE(__reduce_xor_sync, unsigned, std::bit_xor)
inline int __reduce_add_sync(unsigned mask, int v, EMU_SITE) { // wraps
    return (int)emu::reduce(EMU_HERE("__reduce_add_sync"), mask, (unsigned)v, std::plus<unsigned>());
}

// ---- atomics: integers only ----

#define EMU_ATOMICS(T)                                                                                                 \
    inline T atomicAdd(T *p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }                               \
    inline T atomicOr(T *p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }                                 \
    inline T atomicAnd(T *p, T v) { return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); }                               \
    inline T atomicXor(T *p, T v) { return __atomic_fetch_xor(p, v, __ATOMIC_RELAXED); }                               \
    inline T atomicExch(T *p, T v) { return __atomic_exchange_n(p, v, __ATOMIC_RELAXED); }                             \
    inline T atomicCAS(T *p, T expected, T v) {                                                                        \
        __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                       \
        return expected;                                                                                               \
    }                                                                                                                  \
    inline T atomicMax(T *p, T v) {                                                                                    \
        T old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                                  \
        while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {       \
        }                                                                                                              \
        return old;                                                                                                    \
    }                                                                                                                  \
    inline T atomicMin(T *p, T v) {                                                                                    \
        T old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                                  \
        while (old > v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {       \
        }                                                                                                              \
        return old;                                                                                                    \
    }
EMU_ATOMICS(int)
EMU_ATOMICS(unsigned)
EMU_ATOMICS(unsigned long long)

// ---- loads and stores with cache hints ----

template <class T> T __ldg(const T *p) { return *p; }
template <class T> T __ldcs(const T *p) { return *p; }
template <class T> T __ldcg(const T *p) { return *p; }
template <class T> void __stcs(T *p, T v) { *p = v; }
template <class T> void __stcg(T *p, T v) { *p = v; }

// ---- arithmetic ----

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return sqrt(a); }
inline int __float2int_rn(float x) { return (int)nearbyintf(x); }
inline int __float2int_rz(float x) { return (int)x; }
inline int __float2int_rd(float x) { return (int)floorf(x); }
inline unsigned __float2uint_rn(float x) { return (unsigned)nearbyintf(x); }
inline long long __float2ll_rn(float x) { return (long long)nearbyintf(x); }
inline long long __double2ll_rn(double x) { return (long long)nearbyint(x); }
inline float __double2float_rn(double x) { return (float)x; }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline float __ll2float_rn(long long x) { return (float)x; }
inline double __ll2double_rn(long long x) { return (double)x; }
inline int __float_as_int(float x) { return emu::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emu::bits<unsigned>(x); }
inline float __int_as_float(int x) { return emu::bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emu::bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu::bits<double>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    uint64_t both = (uint64_t)b << 32 | a;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        unsigned s = selector >> 4 * i & 15, byte = (unsigned)(both >> 8 * (s & 7)) & 255;
        result |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
    }
    return result;
}
[[noreturn]] inline void __trap(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    emu::fault("__trap at %s:%d", file, line);
}

#define EMU_MIN_MAX(T)                                                                                                 \
    inline T min(T a, T b) { return a < b ? a : b; }                                                                   \
    inline T max(T a, T b) { return a > b ? a : b; }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); } // NaN loses, as on the device
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
