// emulation: what the parts of the emulated device share (the files of this folder, not kernels).
#pragma once

#include <cuda_runtime_api.h>
#include <functional>
#include <memory>
#include <vector>

#ifdef __has_feature // clang
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(EMU_ASAN) // gcc
#define EMU_ASAN 1
#endif
#ifdef EMU_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace emu {
// ---- the whole device (cudart.cpp) ----
// A fault that a program can see as an error of the runtime: kept, and returned by every later call (sticky).
cudaError_t fail_sticky(cudaError_t e);
cudaError_t sticky();
cudaError_t fail(cudaError_t e); // also what cudaGetLastError gives once
int current_device();
size_t allowed_dynamic_shared(const void *kernel);
// Our fault, or a kernel's: prints "emulated device: ..." and aborts.
[[noreturn]] void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

// ---- memory (memory.cpp) ----
// The pages of the device are accessible only while its work runs, so host code that follows a device pointer crashes.
void memory_enter();
void memory_leave();
struct MemoryScope {
    MemoryScope() { memory_enter(); }
    ~MemoryScope() { memory_leave(); }
};
// What was allocated and not written: NaN, -1 as an integer.
enum { POISON = 0xff };
void poison(void *p, size_t bytes);
void forbid(const void *p, size_t bytes, bool yes); // to AddressSanitizer
bool on_device(const void *p);
bool pinned(const void *p);
// [p, p + bytes) is inside one live allocation of the device (or in host memory, where `host_too`); else a fault.
void check_range(const char *what, const void *p, size_t bytes);
void check_red_zones(const char *when);
// Memory that CUDA itself takes on a device, or gives back, for graphs.
enum { GRAPH_NODE_BYTES = 1024 };
void take_hidden(int device, ptrdiff_t bytes);

// ---- streams (stream.cpp): work is put off until somebody waits for it ----
typedef std::function<void()> Work;
void enqueue(cudaStream_t stream, Work work);
bool capturing(cudaStream_t stream);
bool any_capture(); // of this thread: what allocates or waits is not allowed then
void finish_all();  // all streams
// From within work: it never ends, nor does what waits for its stream, until somebody lets go.
void hang();
void let_go(cudaStream_t stream);
void finish(cudaStream_t stream);

// ---- blocks (scheduler.cpp) ----
enum { WARP = 32, MAX_THREADS = 1024, SHARED_LIMIT = 227 * 1024, SHARED_DEFAULT = 48 * 1024 };
struct Grid {
    const char *name;
    dim3 grid, block;
    size_t shared;
    const std::function<void()> *body;
};
void run_grid(const Grid &g);

// ---- shared memory of the block that runs (shared.cpp) ----
void shared_begin(size_t dynamic);
void shared_end(); // looks for writes beyond the arrays
} // namespace emu
