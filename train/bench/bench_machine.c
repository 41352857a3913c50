#include "bench_machine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "kernels.h"
#include "memory_use.h"

enum { TRIES = 5 };

// ---- the name and the instructions ----

// The value of the first line "FIELD : value"; its length, 0: absent.
static size_t cpuinfo_field(const char *text, const char *field, const char **value) {
    const char *line = strstr(text, field), *colon = line ? strchr(line, ':') : NULL;
    if (!colon || (line > text && line[-1] != '\n')) return 0;
    *value = colon + 1 + strspn(colon + 1, " ");
    return strcspn(*value, "\n");
}

static bool has_flag(const char *flags, size_t n, const char *flag) {
    size_t len = strlen(flag);
    for (const char *at = flags; (at = strstr(at, flag)) && at + len <= flags + n; at++)
        if ((at == flags || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\n')) return true;
    return false;
}

static void read_cpuinfo(BenchMachine *m) {
    static const char *const flags[] = {"avx",         "avx2",     "fma",      "avx512f", "avx512_vnni", "avx512_bf16",
                                        "avx512_fp16", "amx_tile", "amx_bf16", "asimd",   "sve",         "bf16"};
    AUTO_FREE char *text = NULL;
    const char *value = NULL;
    size_t size, n;
    snprintf(m->name, sizeof m->name, "unknown CPU");
    if (file_read(&text, &size, "/proc/cpuinfo", 64 << 20, NULL)) return;
    if ((n = cpuinfo_field(text, "model name", &value))) snprintf(m->name, sizeof m->name, "%.*s", (int)n, value);
    if (!(n = cpuinfo_field(text, "flags", &value))) n = cpuinfo_field(text, "Features", &value); // x86, ARM
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        size_t used = strlen(m->isa);
        if (n && has_flag(value, n, flags[i]))
            snprintf(m->isa + used, sizeof m->isa - used, "%s%s", used ? " " : "", flags[i]);
    }
}

// ---- memory ----

static uint64_t sum_of(const uint64_t *data, int64_t n, int threads) {
    uint64_t sum = 0;
#pragma omp parallel for simd schedule(static) num_threads(threads) reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += data[i];
    return sum;
}

static double read_rate(int threads, size_t size) {
    int64_t n = (int64_t)(size / sizeof(uint64_t));
    AUTO_FREE uint64_t *data = mem_alloc((size_t)n, sizeof *data);
    double best = INFINITY;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i++) data[i] = 1;
    for (int i = 0; i < TRIES; i++) {
        double start = time_now();
        uint64_t sum = sum_of(data, n, threads);
        best = fmin(best, time_now() - start);
        CHECK(sum == (uint64_t)n, "%lu", sum);
    }
    return (double)size / best;
}

void bench_machine(BenchMachine *m) {
    *m = (BenchMachine){.threads = threads_available()};
    size_t available = memory_free() / 4, most = (size_t)512 << 20;
    read_cpuinfo(m);
    m->read_size = available && available < most ? available / 4096 * 4096 : most;
    m->read = read_rate(m->threads, m->read_size);
}
