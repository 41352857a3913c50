// fingerprint: see fingerprint.h.
#include "fingerprint.h"

#include <stdio.h>
#include <xxhash.h>

struct Fingerprint {
    XXH3_state_t *state;
};

Fingerprint *fingerprint_new(void) {
    Fingerprint *f = mem_alloc(1, sizeof *f);
    f->state = mem_checked(XXH3_createState());
    XXH3_128bits_reset(f->state);
    return f;
}

void fingerprint_number(Fingerprint *f, int64_t n) {
    uint8_t bytes[8]; // little-endian on every machine
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    XXH3_128bits_update(f->state, bytes, sizeof bytes);
}

void fingerprint_pair(Fingerprint *f, int32_t a, int32_t b) {
    fingerprint_number(f, (int64_t)((uint64_t)(uint32_t)a << 32 | (uint32_t)b));
}

void fingerprint_text(Fingerprint *f, const char *s, size_t len) {
    fingerprint_number(f, (int64_t)len);
    XXH3_128bits_update(f->state, s, len);
}

void fingerprint_end(Fingerprint *f, char hex[33]) {
    XXH128_hash_t sum = XXH3_128bits_digest(f->state);
    XXH3_freeState(f->state);
    mem_free(f);
    snprintf(hex, 33, "%016llx%016llx", (unsigned long long)sum.high64, (unsigned long long)sum.low64);
}
