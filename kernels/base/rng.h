// rng: counter-based random numbers (Philox4x32-10, Salmon et al. 2011). There is no generator state: a number is a
// pure function of what it is for, so recomputation, resume and any split of the work see the same numbers.
#pragma once

#include "base.h"

C_BEGIN

// The purpose of numbers. `stream` is the optimizer step or another purpose's counter, `row` the index of the packed
// row in the step's global batch (never the rank's own), `module` a tensor or purpose (rng_module).
typedef struct RngKey {
    uint64_t seed;
    uint32_t stream, module, row;
} RngKey;

// A module id from a name (FNV-1a), so that A of "layers.3.q_proj" draws the same numbers whatever else is trained.
uint32_t rng_module(const char *name);

// Four 32-bit words for element group `group` (column / 4; < 2^16) of token `token` (< 2^24); rows < 2^24.
HOST_DEVICE static inline void rng_philox(RngKey key, uint32_t token, uint32_t group, uint32_t out[4]) {
    uint64_t index = (uint64_t)key.row << 40 | (uint64_t)token << 16 | group;
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = key.stream, c3 = key.module;
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

// Uniform in [0, 1) with 24 bits, and in (-1, 1).
HOST_DEVICE static inline float rng_unit(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }
HOST_DEVICE static inline float rng_symmetric(uint32_t word) {
    return ((float)(word >> 9) + 0.5f) * 0x1p-22f - 1.0f; // every step is exact: 1.0 itself is never reached
}

// Dropout's decision: true with probability 1 - p.
HOST_DEVICE static inline bool rng_keep(uint32_t word, float p) { return rng_unit(word) >= p; }

// A permutation of [0, n) as a function of the key: out[n] (Fisher-Yates with unbiased draws).
void rng_permutation(RngKey key, int64_t n, int64_t *out);

C_END
