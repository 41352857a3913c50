// memory: of the emulated devices. One range of addresses, without access while no work of a device runs, so that host
// code that follows a device pointer crashes. Addresses are not given out twice. What was allocated is NaN at first and
// has a red zone after it: AddressSanitizer watches it, without it writes are found after the next grid.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <sys/mman.h>

#include "emulated.h"
#include "emulation.h"
#include "settings.h"

namespace emu {
namespace {
enum { PAGE = 4096, RED_ZONE = 256 };
const size_t SPACE = (size_t)1 << 38;

struct Allocation {
    size_t bytes;
    int device;
};
struct Memory {
    std::mutex lock;
    char *base = nullptr;
    size_t high = 0; // first address never given out
    int users = 0;   // threads that run work of a device
    std::map<const char *, Allocation> live;
    std::map<const char *, size_t> pinned;
    std::map<int, size_t> used, hidden; // by device; hidden: of graphs
};
Memory &memory() {
    static Memory *m = new Memory; // for good: streams may be finished while the process ends
    return *m;
}

void protect(Memory &m, int access) {
    if (m.high && mprotect(m.base, m.high, access)) fault("mprotect of %zu bytes failed", m.high);
}

// Room for an allocation with its red zone, rounded to pages, so that pages of what is freed can be given back.
size_t room(size_t bytes) { return (bytes + RED_ZONE + PAGE - 1) / PAGE * PAGE; }

void check_red_zone(const char *p, const Allocation &a, const char *when) {
#ifndef EMU_ASAN
    const unsigned char *zone = (const unsigned char *)p + a.bytes;
    for (size_t i = 0; i < RED_ZONE; i++)
        if (zone[i] != POISON)
            fault("%s: something was written %zu bytes beyond the end of an allocation of %zu bytes", when, i, a.bytes);
#else
    (void)p, (void)a, (void)when;
#endif
}

// The allocation that contains p, or the end of the map.
std::map<const char *, Allocation>::iterator find(Memory &m, const void *p) {
    auto at = m.live.upper_bound((const char *)p);
    if (at == m.live.begin()) return m.live.end();
    --at;
    return (const char *)p < at->first + at->second.bytes ? at : m.live.end();
}
bool in_range(const Memory &m, const void *p) {
    return m.base && (const char *)p >= m.base && (const char *)p < m.base + SPACE;
}
} // namespace

// A loop that is not turned into memset, which ThreadSanitizer would watch.
void poison(void *p, size_t bytes) {
    volatile uint64_t *words = (volatile uint64_t *)p;
    for (size_t i = 0; i < bytes / sizeof *words; i++) words[i] = ~(uint64_t)0;
    for (size_t i = bytes - bytes % sizeof *words; i < bytes; i++) ((volatile unsigned char *)p)[i] = POISON;
}

void forbid(const void *p, size_t bytes, bool yes) {
#ifdef EMU_ASAN
    if (yes)
        ASAN_POISON_MEMORY_REGION(p, bytes);
    else
        ASAN_UNPOISON_MEMORY_REGION(p, bytes);
#else
    (void)p, (void)bytes, (void)yes;
#endif
}

void memory_enter() {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    if (m.users++ == 0) protect(m, PROT_READ | PROT_WRITE);
}
void memory_leave() {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    if (--m.users == 0) protect(m, PROT_NONE);
}

bool on_device(const void *p) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    return in_range(m, p);
}

bool pinned(const void *p) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    auto at = m.pinned.upper_bound((const char *)p);
    if (at == m.pinned.begin()) return false;
    --at;
    return (const char *)p < at->first + at->second;
}

void check_range(const char *what, const void *p, size_t bytes) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    if (!in_range(m, p) || !bytes) return;
    auto at = find(m, p);
    if (at == m.live.end()) fault("%s: %p is not in an allocation (freed?)", what, p);
    size_t left = (size_t)(at->first + at->second.bytes - (const char *)p);
    if (bytes > left)
        fault("%s: %zu bytes, %zu bytes before the end of an allocation of %zu bytes", what, bytes, left,
              at->second.bytes);
}

void check_red_zones(const char *when) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    for (auto &a : m.live) check_red_zone(a.first, a.second, when);
}
} // namespace emu

using namespace emu;

cudaError_t cudaMalloc(void **p, size_t bytes) {
    *p = nullptr;
    if (sticky()) return sticky();
    if (any_capture()) return fail(cudaErrorStreamCaptureUnsupported);
    if (!bytes) return cudaSuccess;
    MemoryScope scope;
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    if (!m.base) {
        void *space = mmap(nullptr, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (space == MAP_FAILED) fault("no range of addresses for device memory");
        // Its protection changes at every launch: a hundredth of the page table entries to walk.
        madvise(space, SPACE, MADV_HUGEPAGE);
        m.base = (char *)space;
    }
    size_t &used = m.used[current_device()], size = room(bytes), taken = used + m.hidden[current_device()];
    if (bytes > settings().memory || size > settings().memory - std::min(taken, settings().memory))
        return fail(cudaErrorMemoryAllocation);
    if (size > SPACE - m.high) fault("all addresses of device memory are used up");
    char *at = m.base + m.high;
    m.high += size;
    protect(m, PROT_READ | PROT_WRITE);
    poison(at, bytes + RED_ZONE);
    forbid(at + bytes, size - bytes, true);
    m.live[at] = {bytes, current_device()};
    used += size;
    *p = at;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p) {
    if (!p) return cudaSuccess;
    if (any_capture()) return fail(cudaErrorStreamCaptureUnsupported);
    finish_all();
    MemoryScope scope;
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    auto at = m.live.find((const char *)p);
    if (at == m.live.end()) fault("cudaFree of %p, which is not the start of an allocation", p);
    check_red_zone(at->first, at->second, "cudaFree");
    size_t size = room(at->second.bytes);
    m.used[at->second.device] -= size;
    m.live.erase(at);
    forbid(p, size, true);
    madvise(p, size, MADV_DONTNEED);
    return sticky();
}

void emu::take_hidden(int device, ptrdiff_t bytes) {
    std::lock_guard<std::mutex> hold(memory().lock);
    memory().hidden[device] += (size_t)bytes;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    *total = settings().memory;
    *free = *total - std::min(*total, m.used[current_device()] + m.hidden[current_device()]);
    return sticky();
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
    if (any_capture()) return fail(cudaErrorStreamCaptureUnsupported);
    if (posix_memalign(p, PAGE, bytes ? bytes : 1)) return fail(cudaErrorMemoryAllocation);
    poison(*p, bytes);
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    m.pinned[(const char *)*p] = bytes;
    return sticky();
}
cudaError_t cudaMallocHost(void **p, size_t bytes) { return cudaHostAlloc(p, bytes, 0); }
cudaError_t cudaFreeHost(void *p) {
    if (!p) return cudaSuccess;
    finish_all();
    {
        Memory &m = memory();
        std::lock_guard<std::mutex> hold(m.lock);
        if (!m.pinned.erase((const char *)p)) fault("cudaFreeHost of %p, which cudaHostAlloc did not give", p);
    }
    free(p);
    return sticky();
}
cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    m.pinned[(const char *)p] = bytes;
    return sticky();
}
cudaError_t cudaHostUnregister(void *p) {
    finish_all();
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    if (!m.pinned.erase((const char *)p)) fault("cudaHostUnregister of %p, which was not registered", p);
    return sticky();
}

size_t emulated_memory_used(void) {
    Memory &m = memory();
    std::lock_guard<std::mutex> hold(m.lock);
    size_t all = 0;
    for (auto &u : m.used) all += u.second;
    return all;
}
