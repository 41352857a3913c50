// tile_amx_cpu: the tile kernel of AMX: C in four tile registers of 16 x 16, each step of 32 elements of K in two tiles
// of A, rows as they are in memory, and two of B. Products are exact, sums of pairs float32; subnormal numbers count as
// 0.
#include <immintrin.h>

#include "gemm.h"

_Static_assert(TILE_ROWS == 32 && STRIP == 32 && K_STEP == 32 && PAIR == 2, "two by two tiles");

// What LDTILECFG reads: rows and bytes of a row of each tile register.
typedef struct TileConfig {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfig;
_Static_assert(sizeof(TileConfig) == 64, "as the instruction reads it");

// Registers 0 to 3: C, two by two; 4, 5: A; 6, 7: B. `upper` and `lower` rows of the two halves of C; lower may be 0.
static void configure(int64_t upper, int64_t lower) {
    TileConfig c __attribute__((aligned(64))) = {.palette = 1};
    const int64_t rows[8] = {upper, upper, lower, lower, upper, lower, 16, 16};
    for (int i = 0; i < 8; i++) {
        c.rows[i] = (uint8_t)(rows[i] ? rows[i] : 1);
        c.row_bytes[i] = 64;
    }
    _tile_loadconfig(&c);
}

void gemm_tile_begin(void) { configure(16, 16); }
void gemm_tile_end(void) { _tile_release(); }

static void multiply_upper(Tile t, bool add) {
    int64_t ldc = t.ldc * 4, lda = t.lda * 2;
    if (add) {
        _tile_loadd(0, t.c, ldc);
        _tile_loadd(1, t.c + 16, ldc);
    } else {
        _tile_zero(0);
        _tile_zero(1);
    }
    for (int64_t p = 0; p < t.k; p += K_STEP) {
        _tile_loadd(4, t.a + p, lda);
        _tile_loadd(6, t.b + p * STRIP, STRIP * PAIR * 2);
        _tile_loadd(7, t.b + p * STRIP + 16 * PAIR, STRIP * PAIR * 2);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, t.c, ldc);
    _tile_stored(1, t.c + 16, ldc);
}

static void multiply_both(Tile t, bool add) {
    int64_t ldc = t.ldc * 4, lda = t.lda * 2;
    float *lower = t.c + 16 * t.ldc;
    if (add) {
        _tile_loadd(0, t.c, ldc);
        _tile_loadd(1, t.c + 16, ldc);
        _tile_loadd(2, lower, ldc);
        _tile_loadd(3, lower + 16, ldc);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t p = 0; p < t.k; p += K_STEP) {
        _tile_loadd(4, t.a + p, lda);
        _tile_loadd(5, t.a + 16 * t.lda + p, lda);
        _tile_loadd(6, t.b + p * STRIP, STRIP * PAIR * 2);
        _tile_loadd(7, t.b + p * STRIP + 16 * PAIR, STRIP * PAIR * 2);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, t.c, ldc);
    _tile_stored(1, t.c + 16, ldc);
    _tile_stored(2, lower, ldc);
    _tile_stored(3, lower + 16, ldc);
}

void gemm_tile(const Tile *t, int64_t rows, bool add) {
    if (rows < TILE_ROWS) configure(min64(rows, 16), max64(rows - 16, 0));
    if (rows > 16)
        multiply_both(*t, add);
    else
        multiply_upper(*t, add);
    if (rows < TILE_ROWS) configure(16, 16);
}
