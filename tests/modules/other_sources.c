// A module of lorac, but compiled from other headers: test_module.c.
#include "module.h"

const char lorac_module_interface[] = "of another version";

int lorac_cuda_open(Backend *b, const BackendOptions *o, const Kernels *host, Err *err) {
    (void)b;
    (void)o;
    (void)host;
    (void)err;
    return 0;
}
