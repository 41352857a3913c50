// hooks: what a library does where memory is exhausted or a C++ exception is not caught.
#include <dlfcn.h>
#include <string.h>

#include "cli.h"

static void *take(size_t bytes) { return mem_alloc(bytes, 1); }

static void no_memory(void) { mem_exhausted(0); }

static void exception(void) { fatal("a library failed: uncaught C++ exception"); }

// Libraries may be C++ (ICU, MPI), lorac is C: std::set_new_handler and std::set_terminate are looked up by their
// mangled names (Itanium ABI), if libstdc++ is loaded.
static void set_handler(const char *setter, void (*handler)(void)) {
    void (*(*set)(void (*)(void)))(void);
    void *address = dlsym(RTLD_DEFAULT, setter);
    if (!address) return;
    memcpy(&set, &address, sizeof set); // ISO C has no cast from an object's address to a function's
    set(handler);
}

void hooks_install(void) {
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = take, .free_fn = mem_free});
    set_handler("_ZSt15set_new_handlerPFvvE", no_memory);
    set_handler("_ZSt13set_terminatePFvvE", exception);
}
