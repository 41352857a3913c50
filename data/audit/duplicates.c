#include "duplicates.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef struct Key {
    uint64_t hash;
    uint32_t index;
} Key;

static int by_hash(const void *a, const void *b) {
    const Key *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

// End of the run of equal hashes that begins at `from`.
static size_t run_end(const Key *keys, size_t n, size_t from) {
    size_t end = from + 1;
    while (end < n && keys[end].hash == keys[from].hash) end++;
    return end;
}

// ---- exact ----

static void find_exact(Duplicates *d, const AuditEntry *e, size_t count) {
    AUTO_FREE Key *keys = mem_alloc(count + 1, sizeof *keys);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (e[i].readable) keys[n++] = (Key){e[i].hash, (uint32_t)i};
    qsort(keys, n, sizeof *keys, by_hash);
    for (size_t from = 0, end; from < n; from = end) {
        uint32_t first[2] = {DUPLICATE_NONE, DUPLICATE_NONE}; // of training, of validation data
        end = run_end(keys, n, from);
        for (size_t k = from; k < end; k++) {
            uint32_t i = keys[k].index;
            bool validation = e[i].validation;
            d->exact[i] = first[validation];
            if (first[validation] == DUPLICATE_NONE) first[validation] = i;
        }
        for (size_t k = from; k < end; k++)
            if (e[keys[k].index].validation) d->leaked[keys[k].index] = first[0];
    }
}

// ---- near ----

static void set_least(uint32_t *p, uint32_t value) {
    uint32_t now = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (value < now && !__atomic_compare_exchange_n(p, &now, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
}

enum { FIRST = 32 };

// The first of `list`, in the order of records, that is similar to record i, if it is before what *match has.
static void match(uint32_t *match, const AuditEntry *e, uint32_t i, const uint32_t *list, size_t n) {
    for (size_t k = 0; k < n && list[k] < __atomic_load_n(match, __ATOMIC_RELAXED); k++) {
        if (list[k] == i || minhash_similarity(e[i].signature, e[list[k]].signature) < SIMILAR) continue;
        set_least(match, list[k]);
        return;
    }
}

// Records with an equal band, in their order.
static void match_run(Duplicates *d, const AuditEntry *e, const Key *run, size_t n) {
    uint32_t first[2][FIRST];
    size_t firsts[2] = {0, 0};
    for (size_t k = 0; k < n; k++) {
        uint32_t i = run[k].index;
        bool validation = e[i].validation;
        match(&d->near[i], e, i, first[validation], firsts[validation]);
        if (firsts[validation] < FIRST) first[validation][firsts[validation]++] = i;
    }
    for (size_t k = 0; k < n; k++)
        if (e[run[k].index].validation) match(&d->leaked_near[run[k].index], e, run[k].index, first[0], firsts[0]);
}

static void find_near(Duplicates *d, const AuditEntry *e, size_t count, int band) {
    AUTO_FREE Key *keys = mem_alloc(count + 1, sizeof *keys);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (!e[i].comparable || d->exact[i] != DUPLICATE_NONE) continue;
        memcpy(&keys[n].hash, e[i].signature + (size_t)band * MINHASH_ROWS, sizeof keys[n].hash);
        keys[n++].index = (uint32_t)i;
    }
    qsort(keys, n, sizeof *keys, by_hash);
    for (size_t from = 0, end; from < n; from = end) {
        end = run_end(keys, n, from);
        if (end - from > 1) match_run(d, e, keys + from, end - from);
    }
}

static uint32_t *none(size_t count) {
    uint32_t *p = mem_alloc(count + 1, sizeof *p);
    memset(p, 0xFF, count * sizeof *p);
    return p;
}

void duplicates_find(Duplicates *d, const AuditEntry *e, size_t count) {
    enum { SORTING = 4 }; // threads at most: each has keys of all records
    *d = (Duplicates){none(count), none(count), none(count), none(count)};
    find_exact(d, e, count);
#pragma omp parallel for schedule(dynamic, 1)                                                                          \
    num_threads(omp_get_max_threads() < SORTING ? omp_get_max_threads() : SORTING)
    for (int band = 0; band < MINHASH_BANDS; band++) find_near(d, e, count, band);
    for (size_t i = 0; i < count; i++)
        if (d->leaked[i] != DUPLICATE_NONE) d->leaked_near[i] = DUPLICATE_NONE;
}

void duplicates_clear(Duplicates *d) {
    mem_free(d->exact);
    mem_free(d->near);
    mem_free(d->leaked);
    mem_free(d->leaked_near);
    *d = (Duplicates){0};
}
