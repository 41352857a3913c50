// backend: opens a backend by name, and counts the threads that it may use.
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "host.h"
#include "module.h"

int threads_available(void) {
    if (getenv("OMP_NUM_THREADS")) return omp_get_max_threads();
    return (int)min64(omp_get_num_procs(), cgroup_cpus("")); // num_procs: the affinity mask
}

static void check_slots(const Kernels *k) {
#define CHECK_SLOT(slot) CHECK(k->slot, "backend %s has no %s", k->name, #slot);
    DEVICE_SLOTS(CHECK_SLOT)
    OP_SLOTS(CHECK_SLOT)
    // The checks above miss a slot that the lists do not have.
#define NUMBER_OF_SLOT(slot) NUMBER_OF_##slot,
    enum { DEVICE_SLOTS(NUMBER_OF_SLOT) OP_SLOTS(NUMBER_OF_SLOT) N_SLOTS };
    _Static_assert(sizeof(Kernels) == sizeof(char *) + N_SLOTS * sizeof(void (*)(void)),
                   "DEVICE_SLOTS and OP_SLOTS list every slot of struct Kernels");
}

int backend_open(Backend **b, const char *device, int threads, Err *err) {
    BackendOptions o = {.device = device, .threads = threads, .activation = DTYPE_F32};
    return backend_open_with(b, &o, err);
}

static int open_host(Backend *b, const BackendOptions *o, Err *err) {
    bool cpu = !strcmp(o->device, "cpu");
    if (!cpu && strcmp(o->device, "ref") != 0)
        return err_input(err, "device '%s' is unknown; expected cpu, cuda, cuda:N or ref", o->device);
    bool f32 = o->activation == DTYPE_F32, highest = o->precision == PRECISION_HIGHEST;
    if (o->fp8 || !(f32 || (cpu && o->activation == DTYPE_BF16)) || !(highest || (cpu && f32)))
        return err_input(err, "device %s computes in f32%s", o->device, cpu ? " or bf16" : "");
    b->k = cpu ? cpu_kernels_from_environment(o->activation, o->precision, err) : &kernels_ref;
    if (!b->k) return -1;
    b->activation = o->activation;
    b->precision = o->precision;
    b->attention_kind = ATTENTION_OWN;
    b->host_memory = true;
    return 0;
}

static int cuda_symbol(void *symbol, const char *name, Err *err) {
    return module_symbol(symbol, "lorac-cuda.so", name, "CUDA Toolkit", err);
}

int backend_gpus(int *count, GpuId *ids, int most, Err *err) {
    __typeof__(lorac_cuda_gpus) *gpus;
    return cuda_symbol(&gpus, "lorac_cuda_gpus", err) ? -1 : gpus(count, ids, most, err);
}

static int open_cuda(Backend *b, const BackendOptions *o, Err *err) {
    __typeof__(lorac_cuda_open) *open;
    const Kernels *host = cpu_kernels_from_environment(DTYPE_F32, PRECISION_HIGHEST, err);
    if (!host) return -1;
    if (cuda_symbol(&open, "lorac_cuda_open", err)) return err_context(err, "device %s", o->device);
    return open(b, o, host, err);
}

int backend_open_with(Backend **b, const BackendOptions *o, Err *err) {
    bool cuda = starts_with(o->device, "cuda") && (!o->device[4] || o->device[4] == ':');
    Backend *opened = mem_calloc(1, sizeof *opened);
    opened->threads = o->threads > 0 ? o->threads : threads_available();
    if ((cuda ? open_cuda : open_host)(opened, o, err)) {
        mem_free(opened);
        return -1;
    }
    check_slots(opened->k);
    *b = opened;
    return 0;
}

void backend_close(Backend *b) {
    if (b) b->k->close(b);
    mem_free(b);
}

void backend_kind(StrBuf *out, const Backend *b) { str_puts(out, b->host_memory ? b->k->name : b->name); }
