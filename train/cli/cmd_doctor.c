// lorac doctor [--device D]: the machine and its libraries, for bug reports, and every op of the device checked.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <cjson/cJSON.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "kernels.h"
#include "memory_use.h"
#include "opcheck.h"
#include "run_device.h"
#include "say.h"
#include "verb_model.h"

typedef struct Options {
    LoadOptions load; // device and dtype
    char *ops;
} Options;

static const Key options[] = {
    DEVICE_OPTIONS,
    OPTION(TEXT, ops, .standard = "\"\"", .help = "Check only the ops whose names begin with this."),
};

static void print_machine(void) {
    struct utsname u;
    if (uname(&u) == 0) say("system     %s %s, %s\n", u.sysname, u.release, u.machine);
    const Kernels *best = kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, NULL);
    say("cpu        %d of %ld CPUs usable, backend %s of", threads_available(), sysconf(_SC_NPROCESSORS_ONLN),
        best->name);
    static const char *const isas[] = {"base", "v3", "v4", "avx512_bf16", "amx"};
    static const struct {
        DType activation;
        MatmulPrecision precision;
    } types[] = {{DTYPE_F32, PRECISION_HIGHEST},
                 {DTYPE_F32, PRECISION_HIGH},
                 {DTYPE_F32, PRECISION_MEDIUM},
                 {DTYPE_BF16, PRECISION_HIGHEST}};
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        for (size_t j = 0; j < sizeof types / sizeof *types; j++) {
            const Kernels *k = kernels_cpu(types[j].activation, types[j].precision, isas[i]);
            if (k) say(" %s", k->name);
        }
    double total = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    say("\nmemory     %.1f GB, %.1f GB free for this process\n", total / 1e9, (double)memory_free() / 1e9);
}

static void print_libraries(void) {
    unsigned x = XXH_versionNumber();
    char pcre[64] = "?";
    pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    pcre[strcspn(pcre, " ")] = 0; // without the date
    say("libraries  PCRE2 %s, utf8proc %s, xxHash %u.%u.%u, zlib %s, zstd %s, cJSON %s\n", pcre, utf8proc_version(),
        x / 10000, x / 100 % 100, x % 100, zlibVersion(), ZSTD_versionString(), cJSON_Version());
}

// The driver's own line, if one is loaded: "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82 ...".
static void print_driver(void) {
    AUTO_FILE FILE *f = fopen("/proc/driver/nvidia/version", "r");
    char line[256];
    if (f && fgets(line, sizeof line, f)) say("driver     %s", line);
}

static void print_device(Backend *b) {
    AUTO_STR StrBuf text = {0}, more = {0};
    run_device_describe(&text, b);
    b->k->describe(b, &more);
    say("device     %s%s%s\n", text.data, more.len ? ", " : "", more.len ? more.data : "");
}

typedef struct Tally {
    int ops, cases, wrong;
} Tally;

static void check_op(const OpCase *c, Backend *ref, Backend *b, bool gaps, Tally *t) {
    char message[1200];
    int cases;
    double start = time_now();
    bool good = op_check(c, ref, b, gaps, &cases, message, sizeof message);
    if (!cases && good) return; // needs host memory
    say("  %-28s %-4s %4d case%s %6.2f s  %s\n", c->name, run_device_dtype(b), cases, plural(cases), time_now() - start,
        good ? "agrees" : message);
    fflush(stdout); // a device may hang in the next one
    t->ops++;
    t->cases += cases;
    t->wrong += !good;
}

static void check_group(const OpCase *group, const char *only, Backend *ref, Backend *b, bool gaps, Tally *t) {
    Err err;
    for (const OpCase *c = group; c->name && !b->k->status(b, &err); c++)
        if (starts_with(c->name, only)) check_op(c, ref, b, gaps, t);
}

// Attention by the library, for every shape that it supports: a run uses it only where it is faster.
static int check_library(const Options *o, DtypeWord dtype, Backend *ref, Tally *t, Err *err) {
    Backend *b;
    if (run_device_open_gpu(&b, o->load.device, dtype, ATTENTION_LIBRARY, err)) return -1;
    int ops = t->ops;
    say("attention by %s\n", b->attention);
    check_group(op_cases_attention, o->ops, ref, b, false, t); // cuDNN writes rows back to back only
    int rc = b->k->status(b, err), shapes = b->library_shapes;
    if (!rc && t->ops > ops) say("  %d shapes of attention computed by the library\n", shapes);
    if (!rc && t->ops > ops && !shapes) rc = err_runtime(err, "doctor: %s took none of the shapes", b->attention);
    backend_close(b);
    return rc;
}

// Every selected op in one type of activations; attention by each implementation that exists. Fails if the device does.
static int check_device(const Options *o, DtypeWord dtype, Backend *ref, Tally *t, Err *err) {
    Backend *b;
    if (run_device_open(&b, o->load.device, dtype, NULL, err)) return -1;
    print_device(b);
    bool library = b->attention_kind != ATTENTION_OWN;
    if (library) {
        backend_close(b);
        if (run_device_open_gpu(&b, o->load.device, dtype, ATTENTION_OWN, err)) return -1;
    }
    for (int g = 0; op_groups[g]; g++) check_group(op_groups[g], o->ops, ref, b, true, t);
    int rc = b->k->status(b, err);
    backend_close(b);
    return rc || !library ? rc : check_library(o, dtype, ref, t, err);
}

// Without a dtype: F32 on the CPU, and BF16 where it has products of it; F32, BF16 and F16 on a GPU. Not FP8: its
// rounding inside products exceeds the tolerances.
static int check_types(const Options *given, Tally *t, Err *err) {
    static const DtypeWord types[] = {DTYPE_WORD_F32, DTYPE_WORD_BF16, DTYPE_WORD_F16};
    Options o = *given;
    DtypeWord dtype;
    Backend *ref, *first;
    if (load_options_dtype(&o.load, &dtype, err) || backend_open(&ref, "ref", 1, err)) return -1;
    int rc = run_device_open(&first, o.load.device, dtype, NULL, err), n = 0;
    if (!rc) {
        n = dtype != DTYPE_WORD_AUTO                           ? 1
            : !first->host_memory                              ? 3
            : kernels_cpu(DTYPE_BF16, PRECISION_HIGHEST, NULL) ? 2
                                                               : 1;
        if (first->host_memory)
            o.load.device = "cpu";
        else if (!starts_with(o.load.device, "cuda"))
            o.load.device = "cuda";
        backend_close(first);
    }
    for (int i = 0; i < n && !rc; i++) rc = check_device(&o, dtype == DTYPE_WORD_AUTO ? types[i] : dtype, ref, t, err);
    backend_close(ref);
    return rc;
}

static int run_doctor(const void *options, int argc, char **argv, Err *err) {
    const Options *o = options;
    Tally t = {0};
    print_machine();
    print_libraries();
    print_driver();
    if (check_types(o, &t, err)) return -1;
    if (!t.ops) return err_input(err, "--ops: no op begins with \"%s\"", o->ops);
    say("%d check%s of ops, %d case%s: %d wrong\n", t.ops, plural(t.ops), t.cases, plural(t.cases), t.wrong);
    return t.wrong ? err_runtime(err, "doctor: %d op%s differ%s from the reference", t.wrong, plural(t.wrong),
                                 t.wrong == 1 ? "s" : "")
                   : 0;
}

const Verb verb_doctor = {
    .name = "doctor",
    .usage = "lorac doctor [--device D] [--dtype T] [--ops NAME]",
    .summary = "Print the machine and its libraries; check every op of a device against the reference",
    .help = "Runs each op on the device and on the naive reference, at odd, tiny and large sizes, and compares the\n"
            "results; on a GPU in f32, bf16 and f16 unless --dtype names one. Exit status 1 if an op is wrong or the\n"
            "device fails.",
    OPTIONS(options),
    .run = run_doctor,
};
