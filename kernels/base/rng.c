// rng: names to module ids, and permutations.
#include "rng.h"

#include "fnv.h"

uint32_t rng_module(const char *name) { return fnv32(name); }

__extension__ typedef unsigned __int128 u128;

// Uniform in [0, range), from the words of (key, i) alone (Lemire 2019: multiply, reject the biased low part). Each
// further attempt is as rare as range / 2^64 and takes its words from another module id.
static uint64_t draw(RngKey key, uint64_t i, uint64_t range) {
    for (;; key.module += 0x9E3779B9u) {
        uint32_t w[4];
        rng_philox(key, (uint32_t)(i >> 16), (uint32_t)(i & 0xFFFF), w);
        u128 product = (u128)((uint64_t)w[1] << 32 | w[0]) * range;
        if ((uint64_t)product >= -range % range) return (uint64_t)(product >> 64);
    }
}

void rng_permutation(RngKey key, int64_t n, int64_t *out) {
    CHECK(n >= 0 && n <= (int64_t)1 << 40, "permutation of %ld elements", n);
    for (int64_t i = 0; i < n; i++) {
        int64_t j = (int64_t)draw(key, (uint64_t)i, (uint64_t)i + 1);
        if (j != i) out[i] = out[j]; // "inside-out" shuffle: i is put at j, what was there moves to the end
        out[j] = i;
    }
}
