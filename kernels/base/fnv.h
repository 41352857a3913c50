// fnv: the FNV-1a hash, for keys in memory and ids of names. Hashes in files are those of data/io/hash.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FNV64_START UINT64_C(14695981039346656037)

static inline uint64_t fnv64(uint64_t hash, const void *bytes, size_t n) {
    // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): loses track of arrays that are hashed whole
    for (const unsigned char *p = bytes, *end = p + n; p < end; p++) hash = (hash ^ *p) * UINT64_C(1099511628211);
    return hash;
}

static inline uint32_t fnv32(const char *text) {
    uint32_t hash = 2166136261u;
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}
