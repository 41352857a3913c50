#include "hash.h"

#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "fileio.h"

static void to_hex(char hex[33], XXH128_hash_t hash) {
    XXH128_canonical_t bytes; // the same digits on every machine
    XXH128_canonicalFromHash(&bytes, hash);
    for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", bytes.digest[i]);
}

void hash_bytes(char hex[33], const void *data, size_t size) {
    to_hex(hex, XXH3_128bits(data, size));
}

// Adds [offset, offset + size) piece by piece and drops the pages: hashing a model must not fill memory.
static void add_range(XXH3_state_t *state, const FileMap *map, size_t offset, size_t size) {
    enum { PIECE = 4 << 20 };
    while (size) {
        size_t n = size < PIECE ? size : PIECE;
        XXH3_128bits_update(state, map->data + offset, n);
        file_map_drop(map, offset, n);
        offset += n;
        size -= n;
    }
}

static void add_samples(XXH3_state_t *state, const FileMap *map) {
    enum { EDGE = 64 << 10, BLOCK = 4 << 10, BLOCKS = 64 };
    uint8_t size_le[8];
    for (int i = 0; i < 8; i++) size_le[i] = (uint8_t)((uint64_t)map->size >> 8 * i);
    XXH3_128bits_update(state, size_le, sizeof size_le);
    if (map->size <= 2 * EDGE + BLOCKS * BLOCK) {
        add_range(state, map, 0, map->size);
        return;
    }
    size_t between = map->size - 2 * EDGE - BLOCK; // range in which blocks begin, after the first edge
    add_range(state, map, 0, EDGE);
    for (size_t i = 0; i < BLOCKS; i++)
        add_range(state, map, EDGE + between / (BLOCKS - 1) * i + between % (BLOCKS - 1) * i / (BLOCKS - 1), BLOCK);
    add_range(state, map, map->size - EDGE, EDGE);
}

static int hash_mapped(char hex[33], const char *path, bool sampled, Err *err) {
    FileMap map;
    if (file_map(&map, path, err)) return -1;
    XXH3_state_t *state = mem_checked(XXH3_createState());
    XXH3_128bits_reset(state);
    if (sampled)
        add_samples(state, &map);
    else
        add_range(state, &map, 0, map.size);
    to_hex(hex, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    file_unmap(&map);
    return 0;
}

int hash_file(char hex[33], const char *path, Err *err) {
    return hash_mapped(hex, path, false, err);
}

int hash_file_sampled(char hex[33], const char *path, Err *err) {
    return hash_mapped(hex, path, true, err);
}
