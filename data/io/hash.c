#include "hash.h"

#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "fileio.h"

static void to_hex(char hex[33], XXH128_hash_t hash) { snprintf(hex, 33, "%016lx%016lx", hash.high64, hash.low64); }

void hash_bytes(char hex[33], const void *data, size_t size) { to_hex(hex, XXH3_128bits(data, size)); }

// ---- running ----

Fingerprint *fingerprint_new(void) {
    Fingerprint *f = mem_checked(XXH3_createState());
    XXH3_128bits_reset(f);
    return f;
}

void fingerprint_number(Fingerprint *f, int64_t n) {
    uint8_t bytes[8]; // little-endian on every machine
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    XXH3_128bits_update(f, bytes, sizeof bytes);
}

void fingerprint_pair(Fingerprint *f, int32_t a, int32_t b) {
    fingerprint_number(f, (int64_t)((uint64_t)(uint32_t)a << 32 | (uint32_t)b));
}

void fingerprint_text(Fingerprint *f, const char *s, size_t len) {
    fingerprint_number(f, (int64_t)len);
    XXH3_128bits_update(f, s, len);
}

void fingerprint_end(Fingerprint *f, char hex[33]) {
    to_hex(hex, XXH3_128bits_digest(f));
    XXH3_freeState(f);
}

// ---- files ----

// Adds [offset, offset + size) piece by piece and drops the pages: hashing a model must not fill memory.
static void add_range(Fingerprint *f, const FileMap *map, size_t offset, size_t size) {
    enum { PIECE = 4 << 20 };
    while (size) {
        size_t n = size < PIECE ? size : PIECE;
        XXH3_128bits_update(f, map->data + offset, n);
        file_map_drop(map, offset, n);
        offset += n;
        size -= n;
    }
}

static void add_samples(Fingerprint *f, const FileMap *map) {
    enum { EDGE = 64 << 10, BLOCK = 4 << 10, BLOCKS = 64 };
    fingerprint_number(f, (int64_t)map->size);
    if (map->size <= 2 * EDGE + BLOCKS * BLOCK) {
        add_range(f, map, 0, map->size);
        return;
    }
    size_t between = map->size - 2 * EDGE - BLOCK; // range in which blocks begin, after the first edge
    add_range(f, map, 0, EDGE);
    for (size_t i = 0; i < BLOCKS; i++)
        add_range(f, map, EDGE + between / (BLOCKS - 1) * i + between % (BLOCKS - 1) * i / (BLOCKS - 1), BLOCK);
    add_range(f, map, map->size - EDGE, EDGE);
}

static int hash_mapped(char hex[33], const char *path, bool sampled, Err *err) {
    FileMap map;
    if (file_map(&map, path, err)) return -1;
    Fingerprint *f = fingerprint_new();
    if (sampled)
        add_samples(f, &map);
    else
        add_range(f, &map, 0, map.size);
    fingerprint_end(f, hex);
    file_unmap(&map);
    return 0;
}

int hash_file(char hex[33], const char *path, Err *err) { return hash_mapped(hex, path, false, err); }

int hash_file_sampled(char hex[33], const char *path, Err *err) { return hash_mapped(hex, path, true, err); }
