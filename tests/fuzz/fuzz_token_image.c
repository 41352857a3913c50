// Bytes as a file of the token cache (token_cache.h) whose hash is right, as another user of a shared cache could put
// there: they are refused, or every sample can be read and planned.
#include <xxhash.h>

#include "fuzz.h"
#include "rows.h"
#include "token_cache.h"

enum { VOCAB = 300, KEY_AT = sizeof TOKEN_MAGIC };

static void set_hash(uint8_t *data, size_t size) {
    XXH128_hash_t h = XXH3_128bits(data, size - 16);
    memcpy(data + size - 16, &h.low64, 8);
    memcpy(data + size - 8, &h.high64, 8);
}

static void use(const Dataset *d) {
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        fuzz_touch(s.supervised, (size_t)s.count);
        for (int64_t k = 0; k < s.count; k++) CHECK(s.ids[k] >= 0 && s.ids[k] < VOCAB);
        for (int64_t k = 0; s.labels && k < s.n_labels; k++) CHECK((size_t)s.labels[k] < d->labels->count);
    }
    if (d->problem == PROBLEM_SINGLE_LABEL && !d->embedding) {
        RowPlan *p = row_plan_new(d, NULL, d->count, row_max_tokens(d, 1 << 16), true);
        row_plan_free(p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < sizeof(TokenHeader) + sizeof(TokenFooter)) return 0;
    AUTO_FREE uint8_t *copy = mem_alloc(size, 1);
    memcpy(copy, data, size);
    set_hash(copy, size);
    char key[TOKEN_KEY_LEN + 1] = {0};
    memcpy(key, copy + KEY_AT, TOKEN_KEY_LEN);
    AUTO_FREE char *path = fuzz_put("x.tokens", copy, size);
    Dataset *d;
    Err err;
    if (token_image_open(&d, path, key, VOCAB, &err) == 0) {
        use(d);
        dataset_close(d);
    }
    return 0;
}
