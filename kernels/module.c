// module: finds and loads modules.
#include "module.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PATH = 4096, MAX_PLACES = 2 };

// The folder of the running program, without a trailing slash.
static int program_folder(char folder[MAX_PATH], Err *err) {
    ssize_t n = readlink("/proc/self/exe", folder, MAX_PATH - 1);
    if (n <= 0) return err_runtime(err, "/proc/self/exe cannot be read: LORAC_MODULES must name the modules' folder");
    folder[n] = 0;
    *strrchr(folder, '/') = 0;
    return 0;
}

// The paths where `file` may be; free each. Returns how many.
static int candidates(char *paths[MAX_PLACES], const char *file, Err *err) {
    const char *set = getenv("LORAC_MODULES");
    char folder[MAX_PATH];
    if (set) {
        paths[0] = mem_printf("%s/%s", set, file);
        return 1;
    }
    if (program_folder(folder, err)) return -1;
    paths[0] = mem_printf("%s/%s", folder, file);
    paths[1] = mem_printf("%s/../lib/lorac/%s", folder, file);
    return 2;
}

static int symbol_of(void *symbol, const char *path, const char *name, Err *err) {
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) return err_runtime(err, "%s cannot be loaded: %s; is that library installed?", path, dlerror());
    const char *interface = dlsym(module, MODULE_INTERFACE_SYMBOL);
    void *address = dlsym(module, name);
    if (!interface || !address) return err_runtime(err, "%s is not a module of lorac: symbol %s not found", path, name);
    if (strcmp(interface, lorac_module_interface) != 0)
        return err_runtime(err, "%s was built from other sources than this program: rebuild both", path);
    memcpy(symbol, &address, sizeof address); // ISO C has no cast from an object's address to a function's
    return 0;
}

int module_symbol(void *symbol, const char *file, const char *name, const char *library, Err *err) {
    char *paths[MAX_PLACES];
    int n = candidates(paths, file, err), rc = -1;
    if (n < 0) return -1;
    const char *found = NULL;
    for (int i = n - 1; i >= 0; i--)
        if (!access(paths[i], F_OK)) found = paths[i];
    if (found)
        rc = symbol_of(symbol, found, name, err);
    else
        err_runtime(err, "%s not found (searched: %s%s%s); it is built if cmake finds %s", file, paths[0],
                    n > 1 ? ", " : "", n > 1 ? paths[1] : "", library);
    for (int i = 0; i < n; i++) mem_free(paths[i]);
    return rc;
}
