#include "gpu_table.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base.h"

#define GB *1e9
#define TFLOPS *1e12

// Sources: NVIDIA's data sheets and architecture papers, SXM variants where there are several. Values that a sheet
// states with sparsity, or for GeForce cards with fp16 accumulation, are halved.
static const GpuSpec gpus[] = {
    {"a100", "A100", 80, 80 GB, 2039 GB, 19.5 TFLOPS, 156 TFLOPS, 312 TFLOPS, 0},
    {"a10", "A10", 86, 24 GB, 600 GB, 31.2 TFLOPS, 62.5 TFLOPS, 125 TFLOPS, 0},
    {"a6000", "RTX A6000", 86, 48 GB, 768 GB, 38.7 TFLOPS, 77.4 TFLOPS, 154.8 TFLOPS, 0},
    {"rtx3090", "RTX 3090", 86, 24 GB, 936 GB, 35.6 TFLOPS, 35.6 TFLOPS, 71 TFLOPS, 0},
    {"l4", "L4", 89, 24 GB, 300 GB, 30.3 TFLOPS, 60 TFLOPS, 121 TFLOPS, 242 TFLOPS},
    {"l40s", "L40S", 89, 48 GB, 864 GB, 91.6 TFLOPS, 183 TFLOPS, 362 TFLOPS, 733 TFLOPS},
    {"rtx4090", "RTX 4090", 89, 24 GB, 1008 GB, 82.6 TFLOPS, 82.6 TFLOPS, 165.2 TFLOPS, 330.3 TFLOPS},
    {"h100", "H100", 90, 80 GB, 3350 GB, 67 TFLOPS, 494 TFLOPS, 989 TFLOPS, 1979 TFLOPS},
    {"h200", "H200", 90, 141 GB, 4800 GB, 67 TFLOPS, 494 TFLOPS, 989 TFLOPS, 1979 TFLOPS},
    {"b200", "B200", 100, 180 GB, 8000 GB, 75 TFLOPS, 1125 TFLOPS, 2250 TFLOPS, 4500 TFLOPS},
    {"rtx5090", "RTX 5090", 120, 32 GB, 1792 GB, 104.8 TFLOPS, 104.8 TFLOPS, 209.5 TFLOPS, 419 TFLOPS},
};
enum { N_GPUS = sizeof gpus / sizeof *gpus };

const GpuSpec *gpu_by_key(const char *key) {
    for (size_t i = 0; i < N_GPUS; i++)
        if (!strcasecmp(gpus[i].key, key)) return &gpus[i];
    return NULL;
}

// The name may be followed by a socket ("-SXM4-80GB") or a memory size (" 80GB HBM3"); another word is another product.
static bool ends_name(const char *rest) {
    if (strstr(rest, "MIG")) return false; // a slice of one
    return !*rest || starts_with(rest, "-SXM") || (rest[0] == ' ' && isdigit((unsigned char)rest[1]));
}

const GpuSpec *gpu_by_name(const char *name) {
    for (size_t i = 0; i < N_GPUS; i++) {
        const char *at = strstr(name, gpus[i].name);
        if (at && (at == name || at[-1] == ' ') && ends_name(at + strlen(gpus[i].name))) return &gpus[i];
    }
    return NULL;
}
