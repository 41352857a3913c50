// intern: byte strings as numbers: equal strings have the same number, counted from 0.
#pragma once

#include "json.h"

typedef struct Intern { // init with {0}
    StrBuf bytes;       // of all keys, in the order of their numbers
    size_t *at;         // [count + 1] where each begins
    uint32_t count;
    size_t capacity;
    uint32_t *slots; // [n_slots] number + 1; 0: free
    size_t n_slots;
} Intern;

// *is_new (may be NULL): no equal key was there.
uint32_t intern_add(Intern *x, const void *key, size_t len, bool *is_new);
JsonStr intern_key(const Intern *x, uint32_t number); // valid until the next intern_add
size_t intern_bytes(const Intern *x);                 // of memory
void intern_clear(Intern *x);
