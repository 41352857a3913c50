// tile_vector_cpu: the tile kernel in float32, for any instruction set: a tile of C in registers, two vectors wide.
#include "gemm.h"

enum { LANES = STRIP / 2 };
typedef float Vector __attribute__((vector_size(LANES * 4), aligned(4)));

// Inlined once for each number of rows, so that the sums are registers.
__attribute__((always_inline)) static inline void multiply(Tile t, bool add, const int rows) {
    Vector sum[TILE_ROWS][2];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 2; j++) sum[i][j] = add ? *(const Vector *)(t.c + i * t.ldc + j * LANES) : (Vector){0};
    const Act *b = t.b;
    for (int64_t p = 0; p < t.k; p++, b += STRIP) {
        Vector left = *(const Vector *)b, right = *(const Vector *)(b + LANES);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            float x = t.a[i * t.lda + p];
            sum[i][0] += x * left;
            sum[i][1] += x * right;
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 2; j++) *(Vector *)(t.c + i * t.ldc + j * LANES) = sum[i][j];
}

void gemm_tile_begin(void) {}
void gemm_tile_end(void) {}

void gemm_tile(const Tile *t, int64_t rows, bool add) {
    // NOLINTBEGIN(bugprone-branch-clone,bugprone-macro-parentheses): cases beyond TILE_ROWS, which rows never reaches
    switch (rows) {
#define ROWS(n)                                                                                                        \
    case n: multiply(*t, add, n < TILE_ROWS ? n : TILE_ROWS); break;
        ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12)
    }
    // NOLINTEND(bugprone-branch-clone,bugprone-macro-parentheses)
}
