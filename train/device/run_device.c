#include "run_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "planned.h"
#include "roofline.h"

static const struct {
    DType activation;
    MatmulPrecision precision;
    bool fp8;
} dtypes[] = {
    [DTYPE_WORD_AUTO] = {DTYPE_F32, PRECISION_HIGHEST, false}, // of the CPU; a GPU: as bf16
    [DTYPE_WORD_F32] = {DTYPE_F32, PRECISION_HIGHEST, false},
    [DTYPE_WORD_TF32] = {DTYPE_F32, PRECISION_HIGH, false},
    [DTYPE_WORD_BF16] = {DTYPE_BF16, PRECISION_HIGHEST, false},
    [DTYPE_WORD_F16] = {DTYPE_F16, PRECISION_HIGHEST, false},
    [DTYPE_WORD_FP8] = {DTYPE_BF16, PRECISION_HIGHEST, true},
    [DTYPE_WORD_F32_MEDIUM] = {DTYPE_F32, PRECISION_MEDIUM, false},
};

static const char *dtype_name(DtypeWord dtype) { return ENUM_WORDS(ALL_DTYPE_WORDS)[dtype].word; }

int run_device_set_precision(DtypeWord *dtype, MatmulPrecision precision, Err *err) {
    bool is_f32 = *dtype == DTYPE_WORD_AUTO || *dtype == DTYPE_WORD_F32;
    if (precision == PRECISION_HIGHEST || (*dtype == DTYPE_WORD_TF32 && precision == PRECISION_HIGH)) return 0;
    if (!is_f32)
        return err_input(err, "\"%s\" with dtype %s; expected dtype f32 or auto",
                         ENUM_WORDS(PRECISIONS)[precision].word, dtype_name(*dtype));
    *dtype = precision == PRECISION_HIGH ? DTYPE_WORD_TF32 : DTYPE_WORD_F32_MEDIUM;
    return 0;
}

void run_device_config_words(DtypeWord dtype, const char **word, const char **precision) {
    *precision = ENUM_WORDS(PRECISIONS)[dtypes[dtype].precision].word;
    *word = dtype_name(dtypes[dtype].precision == PRECISION_HIGHEST ? dtype : DTYPE_WORD_F32);
}

// GPUs have no products of precision medium.
static int check_gpu_dtype(DtypeWord dtype, Err *err) {
    if (dtype != DTYPE_WORD_F32_MEDIUM) return 0;
    return err_input(err, "float32_matmul_precision: \"medium\" needs the CPU; expected highest or high on a GPU");
}

DeviceWord run_device_word(const char *device) {
    if (!device || strcmp(device, "auto") == 0) return DEVICE_AUTO;
    if (strcmp(device, "cpu") == 0) return DEVICE_CPU;
    if (strcmp(device, "cuda") == 0) return DEVICE_CUDA;
    if (!starts_with(device, "cuda:")) return DEVICE_NONE;
    size_t digits = strspn(device + 5, "0123456789");
    return digits > 0 && digits <= 4 && device[5 + digits] == 0 ? DEVICE_CUDA_NUMBER : DEVICE_NONE;
}

bool run_device_is_word(const char *device) { return run_device_word(device) != DEVICE_NONE; }

int run_device_open_gpu(Backend **b, const char *device, DtypeWord dtype, AttentionKind kind, Err *err) {
    if (check_gpu_dtype(dtype, err)) return -1;
    if (dtype == DTYPE_WORD_AUTO) dtype = DTYPE_WORD_BF16;
    BackendOptions o = {.device = device,
                        .activation = dtypes[dtype].activation,
                        .precision = dtypes[dtype].precision,
                        .fp8 = dtypes[dtype].fp8,
                        .attention = kind};
    return backend_open_with(b, &o, err);
}

int run_device_plan(Backend **b, const struct GpuSpec *gpu, DtypeWord dtype, Err *err) {
    if (check_gpu_dtype(dtype, err)) return -1;
    if (dtype == DTYPE_WORD_AUTO) dtype = DTYPE_WORD_BF16;
    BackendOptions o = {.device = "cuda",
                        .activation = dtypes[dtype].activation,
                        .precision = dtypes[dtype].precision,
                        .fp8 = dtypes[dtype].fp8};
    PlannedDevice d = {.name = gpu->name, .capability = gpu->capability, .memory = (size_t)gpu->memory};
    return backend_open_planned(b, &d, &o, err);
}

static int open_cpu(Backend **b, DtypeWord dtype, int threads, Err *err) {
    if (dtype == DTYPE_WORD_F16 || dtype == DTYPE_WORD_FP8)
        return err_input(err, "dtype: %s needs a GPU; expected auto, f32, tf32 or bf16 on device cpu",
                         dtype_name(dtype));
    BackendOptions o = {.device = "cpu",
                        .activation = dtypes[dtype].activation,
                        .precision = dtypes[dtype].precision,
                        .threads = threads};
    return backend_open_with(b, &o, err);
}

// One of these files exists where there is a driver, also in containers and under WSL. Checked first because loading
// CUDA's libraries takes a tenth of a second. If LORAC_MODULES is set, CUDA is tried even without them.
static bool has_driver(void) {
    static const char *const files[] = {"/dev/nvidiactl", "/dev/dxg", "/dev/nvgpu"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (access(files[i], F_OK) == 0) return true;
    return getenv("LORAC_MODULES") != NULL;
}

static int open_best(Backend **b, DtypeWord dtype, Err *note, Err *err) {
    Err why = {0};
    bool gpu = has_driver() && !check_gpu_dtype(dtype, &why);
    if (gpu && run_device_open_gpu(b, "cuda", dtype, ATTENTION_FASTER, &why) == 0) return 0;
    if (gpu && why.kind == ERR_INPUT) { // the environment is wrong, not the GPU
        *err = why;
        return -1;
    }
    if (note) *note = why;
    if (open_cpu(b, dtype, 0, err) == 0) return 0;
    return why.msg[0] ? err_context(err, "no GPU (%s)", why.msg) : -1;
}

int run_device_open(Backend **b, const char *device, DtypeWord dtype, Err *note, Err *err) {
    *b = NULL;
    if (note) *note = (Err){0};
    DeviceWord word = run_device_word(device);
    if (word == DEVICE_AUTO) return open_best(b, dtype, note, err);
    return word == DEVICE_CPU ? open_cpu(b, dtype, 0, err)
                              : run_device_open_gpu(b, device, dtype, ATTENTION_FASTER, err);
}

// ---- a device of each rank ----

int run_device_gpus(void) {
    int count;
    Err absent;
    return has_driver() && backend_gpus(&count, NULL, 0, &absent) == 0 ? count : 0;
}

// The device that a rank is about to open.
typedef struct RankDevice {
    int32_t gpu, gpus, node; // gpu -1: the CPU
    GpuId id;
} RankDevice;

enum { MOST_GPUS = 64 }; // of a machine

static int choose_gpu(RankDevice *d, const char *device, const Group *g, Err *err) {
    GpuId ids[MOST_GPUS];
    int gpus = 0;
    DeviceWord word = run_device_word(device);
    bool best = word == DEVICE_AUTO, numbered = word == DEVICE_CUDA_NUMBER;
    *d = (RankDevice){.gpu = -1, .node = g->node};
    if (word == DEVICE_CPU) return 0;
    if (numbered && g->local_ranks > 1)
        return err_input(err, "device: \"%s\" would be used by all %d ranks of this machine; expected \"cuda\"", device,
                         g->local_ranks);
    if (best && !run_device_gpus()) return 0;
    if (backend_gpus(&gpus, ids, MOST_GPUS, err)) return err_context(err, "device %s", best ? "auto" : device);
    if (!gpus)
        return err_runtime(err, "device %s: no NVIDIA GPU is visible (CUDA_VISIBLE_DEVICES, permissions)", device);
    if (gpus > MOST_GPUS) gpus = MOST_GPUS;
    d->gpus = gpus;
    d->gpu = numbered ? (int)strtol(device + 5, NULL, 10) : g->local_rank % gpus;
    if (d->gpu < gpus) d->id = ids[d->gpu]; // else opening it reports the error
    return 0;
}

static bool same_gpu(const RankDevice *a, const RankDevice *b) {
    return a->gpu >= 0 && b->gpu >= 0 && a->node == b->node && memcmp(&a->id, &b->id, sizeof a->id) == 0;
}

static int check_devices(const RankDevice *all, int ranks, Err *err) {
    for (int r = 0; r < ranks; r++) {
        if ((all[r].gpu < 0) != (all[0].gpu < 0))
            return err_runtime(err,
                               "device auto: rank %d sees no GPU, rank %d has one; expected one on each rank, or none",
                               all[r].gpu < 0 ? r : 0, all[r].gpu < 0 ? 0 : r);
        for (int other = 0; other < r; other++)
            if (same_gpu(&all[r], &all[other]))
                return err_runtime(err,
                                   "ranks %d and %d have the same GPU (cuda:%d of the %d that rank %d sees); expected "
                                   "one GPU per rank: start fewer ranks on that machine, or with device cpu",
                                   other, r, all[r].gpu, all[r].gpus, r);
    }
    return 0;
}

static int choose_device(RankDevice *mine, const char *device, Group *g, Err *err) {
    if (group_agree(g, choose_gpu(mine, device, g, err), err)) return -1;
    AUTO_FREE RankDevice *all = mem_calloc((size_t)g->ranks, sizeof *all);
    if (group_gather(g, all, mine, sizeof *mine, err)) return -1;
    return group_agree(g, check_devices(all, g->ranks, err), err);
}

int run_device_open_rank(Backend **b, const char *device, DtypeWord dtype, int threads, Group *g, Err *note, Err *err) {
    RankDevice mine;
    char name[16];
    *b = NULL;
    if (g->ranks == 1) return run_device_open(b, device, dtype, note, err);
    if (choose_device(&mine, device, g, err)) return -1;
    if (note) *note = (Err){0};
    snprintf(name, sizeof name, "cuda:%d", mine.gpu);
    int rc =
        mine.gpu < 0 ? open_cpu(b, dtype, threads, err) : run_device_open_gpu(b, name, dtype, ATTENTION_FASTER, err);
    return group_agree(g, rc, err);
}

int run_device_check(Backend *b, Err *err) {
    Err fault;
    if (b->k->status(b, &fault) == 0) return 0;
    return fault.kind == ERR_MEMORY ? err_no_fit(err, "%s", fault.msg) : err_runtime(err, "%s", fault.msg);
}

const char *run_device_kind(const Backend *b) { return b->host_memory ? "cpu" : b->k->name; }

const char *run_device_dtype(const Backend *b) {
    for (DtypeWord i = DTYPE_WORD_F32; i < N_DTYPE_WORDS; i++)
        if (dtypes[i].activation == b->activation && dtypes[i].precision == b->precision && dtypes[i].fp8 == b->fp8)
            return dtype_name(i);
    return dtype_info(b->activation)->name;
}

static void describe_gpu(StrBuf *out, Backend *b) {
    DeviceMemory m = b->k->memory(b);
    str_printf(out, "%s (%s), %s, %.1f of %.1f GB free", b->k->name, b->name, run_device_dtype(b), (double)m.free / 1e9,
               (double)m.total / 1e9);
    if (b->attention[0]) str_printf(out, ", attention by %s", b->attention); // "": a device that is only planned for
}

void run_device_describe(StrBuf *out, Backend *b) {
    if (b->host_memory)
        str_printf(out, "cpu (%s), %s, %d thread%s", b->k->name, run_device_dtype(b), b->threads, plural(b->threads));
    else
        describe_gpu(out, b);
    if (!b->nondeterministic) return;
    bool varies = !b->host_memory && b->attention_kind != ATTENTION_OWN;
    str_puts(out, varies ? "; deterministic: false, the same run may give other last bits"
                         : "; deterministic: false changes nothing on this device");
}
