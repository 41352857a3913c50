// amx_on_cpu: the tile registers of AMX in C, put in front of kernels/cpu/tile_amx_cpu.c (-include), so that its copy
// of the backend runs on any machine. The registers belong to a thread; an access outside a tile, or without a
// configuration, ends the program, as it would on silicon.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "base.h"

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig emulated_loadconfig
#define _tile_release emulated_release
#define _tile_loadd emulated_loadd
#define _tile_stored emulated_stored
#define _tile_zero emulated_zero
#define _tile_dpbf16ps emulated_dpbf16ps

typedef struct EmulatedTiles {
    uint8_t config[64]; // palette in byte 0, bytes of a row from byte 16 on, rows from byte 48 on
    uint32_t data[8][16][16];
} EmulatedTiles;
static _Thread_local EmulatedTiles g_tiles;

static inline int emulated_rows(int tile) {
    CHECK(g_tiles.config[0] == 1 && tile >= 0 && tile < 8, "tile %d without a configuration", tile);
    return g_tiles.config[48 + tile];
}
static inline int emulated_bytes(int tile) {
    uint16_t bytes;
    memcpy(&bytes, g_tiles.config + 16 + 2 * tile, sizeof bytes);
    CHECK(emulated_rows(tile) >= 1 && emulated_rows(tile) <= 16 && bytes > 0 && bytes <= 64 && bytes % 4 == 0,
          "tile %d: %d rows of %d bytes", tile, emulated_rows(tile), bytes);
    return bytes;
}

static inline void emulated_loadconfig(const void *config) {
    memcpy(g_tiles.config, config, sizeof g_tiles.config);
    memset(g_tiles.data, 0, sizeof g_tiles.data);
}
static inline void emulated_release(void) { memset(&g_tiles, 0, sizeof g_tiles); }
static inline void emulated_zero(int tile) { memset(g_tiles.data[tile], 0, sizeof g_tiles.data[tile]); }

static inline void emulated_loadd(int tile, const void *base, int64_t stride) {
    int bytes = emulated_bytes(tile);
    emulated_zero(tile);
    for (int i = 0; i < emulated_rows(tile); i++)
        memcpy(g_tiles.data[tile][i], (const char *)base + i * stride, (size_t)bytes);
}
static inline void emulated_stored(int tile, void *base, int64_t stride) {
    int bytes = emulated_bytes(tile);
    for (int i = 0; i < emulated_rows(tile); i++)
        memcpy((char *)base + i * stride, g_tiles.data[tile][i], (size_t)bytes);
}

static inline float emulated_bf16(uint32_t bits) {
    uint32_t wide = bits << 16;
    float f;
    memcpy(&f, &wide, sizeof f);
    return f;
}

// C += A B: element pairs of a row of A times pairs of a column of B (Intel's manual, TDPBF16PS), but for subnormals.
static inline void emulated_dpbf16ps(int c, int a, int b) {
    int columns = emulated_bytes(c) / 4, pairs = emulated_bytes(a) / 4;
    CHECK(emulated_rows(c) == emulated_rows(a) && pairs == emulated_rows(b) && emulated_bytes(b) / 4 == columns,
          "tiles %d, %d, %d do not fit", c, a, b);
    for (int i = 0; i < emulated_rows(c); i++)
        for (int j = 0; j < columns; j++) {
            float even = 0, odd = 0, sum;
            for (int p = 0; p < pairs; p++) {
                uint32_t x = g_tiles.data[a][i][p], y = g_tiles.data[b][p][j];
                even += emulated_bf16(x & 0xFFFF) * emulated_bf16(y & 0xFFFF);
                odd += emulated_bf16(x >> 16) * emulated_bf16(y >> 16);
            }
            memcpy(&sum, &g_tiles.data[c][i][j], sizeof sum);
            sum += even + odd;
            memcpy(&g_tiles.data[c][i][j], &sum, sizeof sum);
        }
}
