#include "intern.h"

#include <string.h>
#include <xxhash.h>

JsonStr intern_key(const Intern *x, uint32_t number) {
    return (JsonStr){x->bytes.data + x->at[number], x->at[number + 1] - x->at[number]};
}

static size_t slot_of(const Intern *x, const void *key, size_t len) {
    size_t i = XXH3_64bits(key, len) & (x->n_slots - 1);
    for (; x->slots[i]; i = (i + 1) & (x->n_slots - 1)) {
        JsonStr k = intern_key(x, x->slots[i] - 1);
        if (k.len == len && (len == 0 || memcmp(k.data, key, len) == 0)) break;
    }
    return i;
}

static void grow(Intern *x) {
    mem_free(x->slots);
    x->n_slots = x->n_slots ? 2 * x->n_slots : 64;
    x->slots = mem_calloc(x->n_slots, sizeof *x->slots);
    for (uint32_t n = 0; n < x->count; n++) {
        JsonStr k = intern_key(x, n);
        x->slots[slot_of(x, k.data, k.len)] = n + 1;
    }
}

uint32_t intern_add(Intern *x, const void *key, size_t len, bool *is_new) {
    if (2 * ((size_t)x->count + 1) > x->n_slots) grow(x);
    size_t slot = slot_of(x, key, len);
    if (is_new) *is_new = !x->slots[slot];
    if (x->slots[slot]) return x->slots[slot] - 1;
    MEM_GROW(x->at, x->capacity, (size_t)x->count + 2);
    x->at[x->count] = x->bytes.len;
    str_add(&x->bytes, key, len);
    x->at[++x->count] = x->bytes.len;
    x->slots[slot] = x->count;
    return x->count - 1;
}

size_t intern_bytes(const Intern *x) {
    return x->bytes.capacity + x->capacity * sizeof *x->at + x->n_slots * sizeof *x->slots;
}

void intern_clear(Intern *x) {
    str_clear(&x->bytes);
    mem_free(x->at);
    mem_free(x->slots);
    *x = (Intern){0};
}
