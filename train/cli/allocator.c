// allocator: wrappers of malloc and its relatives for the whole process, libraries included, that never return NULL:
// when the wrapped one (of libc, or of a preloaded library) is out of memory, the process exits with one line and
// status 1. Without them libgomp prints its own message, and other libraries write through the null pointer or throw.
// Not part of builds with sanitizers, whose own allocator ends the process.
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

// The first calls come from the loader, before there are threads.
#define NEXT(function)                                                                                                 \
    static _Atomic(void *) found;                                                                                      \
    void *address = atomic_load_explicit(&found, memory_order_relaxed);                                                \
    if (!address) atomic_store_explicit(&found, address = dlsym(RTLD_NEXT, #function), memory_order_relaxed);          \
    if (!address) fatal("no " #function " in the C library");                                                          \
    __typeof__(&(function)) next;                                                                                      \
    memcpy(&next, &address, sizeof next) // ISO C has no cast from an object's address to a function's

static void *or_exhausted(void *p, size_t bytes) {
    if (!p && bytes) mem_exhausted(bytes);
    return p;
}

void *malloc(size_t bytes) {
    NEXT(malloc);
    return or_exhausted(next(bytes), bytes);
}

void *calloc(size_t count, size_t size) {
    static _Thread_local bool inside; // dlsym of glibc 2.33 and older asks for memory here; it can do without
    if (inside) return NULL;
    inside = true;
    NEXT(calloc);
    inside = false;
    void *p = next(count, size);
    size_t bytes;
    return or_exhausted(p, size_mul(count, size, &bytes) ? bytes : SIZE_MAX);
}

void *realloc(void *old, size_t bytes) {
    NEXT(realloc);
    return or_exhausted(next(old, bytes), bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    NEXT(aligned_alloc);
    return or_exhausted(next(alignment, bytes), bytes);
}

void *memalign(size_t alignment, size_t bytes) {
    NEXT(memalign);
    return or_exhausted(next(alignment, bytes), bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
    NEXT(posix_memalign);
    int rc = next(out, alignment, bytes);
    if (rc == ENOMEM) mem_exhausted(bytes);
    return rc;
}
