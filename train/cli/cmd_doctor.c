// lorac doctor [--device D]: what a report of a fault needs to know, and whether the device computes what it should.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <archive.h>
#include <cjson/cJSON.h>
#include <oneapi/dnnl/dnnl.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "cli.h"
#include "keys.h"
#include "loaded.h"
#include "memory_use.h"
#include "opcheck.h"
#include "run_device.h"
#include "say.h"
#include "threads.h"

static void print_machine(void) {
    struct utsname u;
    if (uname(&u) == 0) say("system     %s %s, %s\n", u.sysname, u.release, u.machine);
    const Kernels *best = kernels_cpu(NULL);
    say("cpu        %d of %ld CPUs usable, backend %s of", threads_available(), sysconf(_SC_NPROCESSORS_ONLN),
        best->name);
    static const char *const isas[] = {"base", "v3", "v4"};
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (kernels_cpu(isas[i])) say(" %s", kernels_cpu(isas[i])->name);
    double total = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    say("\nmemory     %.1f GB, %.1f GB free for this process\n", total / 1e9, (double)memory_free() / 1e9);
}

static void print_libraries(void) {
    const dnnl_version_t *d = dnnl_version();
    unsigned x = XXH_versionNumber();
    char pcre[64] = "?";
    pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    pcre[strcspn(pcre, " ")] = 0; // the date
    say("libraries  oneDNN %d.%d.%d, PCRE2 %s, utf8proc %s, xxHash %u.%u.%u, zlib %s, zstd %s, %s, cJSON %s\n",
        d->major, d->minor, d->patch, pcre, utf8proc_version(), x / 10000, x / 100 % 100, x % 100, zlibVersion(),
        ZSTD_versionString(), archive_version_string(), cJSON_Version());
}

// The driver's own line, where one is loaded: "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82 ...".
static void print_driver(void) {
    FILE *f = fopen("/proc/driver/nvidia/version", "r");
    char line[256];
    if (f && fgets(line, sizeof line, f)) say("driver     %s", line);
    if (f) (void)fclose(f);
}

static void print_device(Backend *b) {
    StrBuf text = {0}, more = {0};
    run_device_describe(&text, b);
    b->k->describe(b, &more);
    say("device     %s%s%s\n", text.data, more.len ? ", " : "", more.len ? more.data : "");
    str_clear(&text);
    str_clear(&more);
}

typedef struct Tally {
    int ops, cases, wrong;
} Tally;

static void check_op(const OpCase *c, Backend *ref, Backend *b, bool gaps, Tally *t) {
    char message[1200];
    int cases;
    double start = time_now();
    bool good = op_check(c, ref, b, gaps, &cases, message, sizeof message);
    if (!cases && good) return; // works in host memory, whatever the device
    say("  %-28s %-4s %4d cases %6.2f s  %s\n", c->name, run_device_dtype(b), cases, time_now() - start,
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

// Shapes whose attention was the library's, of those that the ops had.
static int shapes_of_library(Backend *b) {
    StrBuf choices = {0};
    int n = 0;
    b->k->choices_get(b, &choices);
    for (const char *at = choices.data; (at = strstr(at, ": \"cudnn")); at++) n++;
    str_clear(&choices);
    return n;
}

// Attention by the library, wherever it can: what a run uses of it depends on what is faster.
static int check_library(const char *device, const char *dtype, const char *only, Backend *ref, Tally *t, Err *err) {
    Backend *b;
    if (run_device_open_gpu(&b, device, (DtypeWord)words_index(ENUM_WORDS(DTYPE_WORDS), dtype), ATTENTION_LIBRARY, err))
        return -1;
    int ops = t->ops;
    say("attention by %s\n", b->attention);
    check_group(op_cases_attention, only, ref, b, false, t); // cuDNN writes rows back to back only
    int rc = b->k->status(b, err), shapes = shapes_of_library(b);
    if (!rc && t->ops > ops) say("  %d shapes of attention were the library's\n", shapes);
    if (!rc && t->ops > ops && !shapes) rc = err_runtime(err, "doctor: %s took none of the shapes", b->attention);
    backend_close(b);
    return rc;
}

// Every op whose name begins with `only`, in one type of activations; attention with each kind that there is. Fails
// where the device itself does.
static int check_device(const char *device, const char *dtype, const char *only, Backend *ref, Tally *t, Err *err) {
    Backend *b;
    if (device_words_open(&b, &(DeviceWords){device, dtype}, err)) return -1;
    print_device(b);
    bool library = b->attention_kind != ATTENTION_OWN;
    if (library) {
        backend_close(b);
        if (run_device_open_gpu(&b, device, (DtypeWord)words_index(ENUM_WORDS(DTYPE_WORDS), dtype), ATTENTION_OWN, err))
            return -1;
    }
    for (int g = 0; op_groups[g]; g++) check_group(op_groups[g], only, ref, b, true, t);
    int rc = b->k->status(b, err);
    backend_close(b);
    return rc || !library ? rc : check_library(device, dtype, only, ref, t, err);
}

// Without a dtype: all that ops are written for. TF32 and FP8 round inside of products, which no case allows for.
static int check_types(const char *device, const char *dtype, const char *only, Tally *t, Err *err) {
    static const char *const types[] = {"f32", "bf16", "f16"};
    Backend *ref, *first;
    if (backend_open(&ref, "ref", 1, err)) return -1;
    int rc = device_words_open(&first, &(DeviceWords){device, dtype}, err), n = 0;
    if (rc == 0) {
        n = dtype || first->host_memory ? 1 : 3;
        device = first->host_memory ? "cpu" : device && starts_with(device, "cuda") ? device : "cuda";
        backend_close(first);
    }
    for (int i = 0; i < n && rc == 0; i++) rc = check_device(device, dtype ? dtype : types[i], only, ref, t, err);
    backend_close(ref);
    return rc;
}

static int run_doctor(int argc, char **argv, Err *err) {
    const char *device = NULL, *dtype = NULL, *only = "";
    const ArgSpec specs[] = {
        {"device", ARG_STRING, &device, NULL}, {"dtype", ARG_STRING, &dtype, NULL}, {"ops", ARG_STRING, &only, NULL}};
    if (args_parse(argc, argv, specs, sizeof specs / sizeof *specs, NULL, 0, NULL, err)) return -1;
    Tally t = {0};
    print_machine();
    print_libraries();
    print_driver();
    if (check_types(device, dtype, only, &t, err)) return -1;
    if (!t.ops) return err_input(err, "--ops: no op begins with \"%s\"", only);
    say("%d checks of ops, %d cases: %d wrong\n", t.ops, t.cases, t.wrong);
    if (!t.wrong) return 0;
    return err_runtime(err, "doctor: %d ops do not compute what the reference does", t.wrong);
}

const Verb verb_doctor = {
    .name = "doctor",
    .usage = "lorac doctor [--device D] [--dtype T] [--ops NAME]",
    .summary = "The machine, the libraries, and every op of a device checked against the reference",
    .help =
        "Prints what is there, then runs each op on the device (auto, cpu, cuda, cuda:N; default auto) and on the\n"
        "naive reference, at sizes that are odd, tiny and large, and compares. On a GPU in f32, bf16 and f16 unless\n"
        "--dtype names one. --ops: only ops whose names begin so. Exit status 1: an op is wrong, or the device "
        "fails.\n",
    .run = run_doctor,
};
