// gemm: the matrix product that the CPU backend is built on. Private to kernels/cpu.
//
// C [m, n] = alpha A B + bias + residual. The tile kernels (tile_*_cpu.c) multiply numbers of one type, Part, and sum
// in float32. Where it is the type of activations, A is rows of activations as they are in memory. Else (SPLIT) PARTS
// bfloat16 numbers stand for each float32 of A and of B, and K has PARTS times as many elements (operands_split_cpu.c).
//
// B is packed first: strips of STRIP columns, each [PARTS * K / PAIR][STRIP][PAIR], so that a tile kernel reads it from
// one end to the other. Weights are expanded and packed in one step and then used by all rows. Sums over K run in an
// order that depends on K alone, and are rounded once: the bits of a row of C depend neither on the other rows nor on
// how C is cut into calls at whole strips.
//
// Chosen by CMake for each copy: TILE_ROWS and STRIP, the largest tile of C; K is rounded up to K_STEP; PARTS.
#pragma once

#include "cpu.h"

// Rows of A that stay in cache: a product that threads share is cut here.
enum { GEMM_ROWS = TILE_ROWS < 32 ? 120 : 128 };
_Static_assert(GEMM_ROWS % TILE_ROWS == 0, "whole tiles");

// Parts before the row k of a packed strip, a multiple of K_STEP.
static inline int64_t gemm_strip_row(int64_t k) { return k * PARTS * STRIP; }
// Parts of a packed B [k, n], and of one of its strips.
static inline int64_t gemm_strip_size(int64_t k) { return gemm_strip_row((k + K_STEP - 1) / K_STEP * K_STEP); }
static inline int64_t gemm_packed_size(int64_t k, int64_t n) { return (n + STRIP - 1) / STRIP * gemm_strip_size(k); }

// Packs B = src [k, n], `ld` elements from row to row. strip: parts from strip to strip of dst. A B with more rows is
// packed in blocks of a multiple of K_STEP rows: the block from row k0 on goes to dst + gemm_strip_row(k0).
#define gemm_pack CPU_FN(gemm_pack)
void gemm_pack(Part *dst, int64_t strip, const Act *src, int64_t ld, int64_t k, int64_t n);
// Packs B = the transpose of src [n, k].
#define gemm_pack_transposed CPU_FN(gemm_pack_transposed)
void gemm_pack_transposed(Part *dst, const Act *src, int64_t ld, int64_t k, int64_t n);
// The same from float32 matrices, rounded to activations. scratch: 32 * n, or STRIP * k elements.
#define gemm_pack_f32 CPU_FN(gemm_pack_f32)
void gemm_pack_f32(Part *dst, const float *src, int64_t ld, int64_t k, int64_t n, Act *scratch);
#define gemm_pack_transposed_f32 CPU_FN(gemm_pack_transposed_f32)
void gemm_pack_transposed_f32(Part *dst, const float *src, int64_t ld, int64_t k, int64_t n, Act *scratch);
// Packs B [w->cols, n] = the transpose of rows [row, row + n) of W. scratch: STRIP rows of gemm_row_stride.
#define gemm_pack_weight_rows CPU_FN(gemm_pack_weight_rows)
void gemm_pack_weight_rows(Part *dst, const Weight *w, int64_t row, int64_t n, Act *scratch);
// Packs a part of W as gemm_pack does; its columns are whole blocks of any type.
typedef struct WeightPart {
    const Weight *w;
    int64_t row, rows, col, cols;
} WeightPart;
#define gemm_pack_weight_part CPU_FN(gemm_pack_weight_part)
void gemm_pack_weight_part(Part *dst, int64_t strip, WeightPart p, Act *scratch);

// Elements from row to row of rows that are read in columns: an odd number of cache lines, so that the rows do not
// share a few sets of the cache.
static inline int64_t gemm_row_stride(int64_t k) {
    int64_t line = 64 / (int64_t)sizeof(Act);
    return ((k + line - 1) / line | 1) * line;
}

// A: m rows of the parts of k elements each, `ld` parts from row to row.
typedef struct Left {
    const Part *rows;
    int64_t ld;
} Left;
// Whether rows of k activations that follow each other in memory are copied: their parts, or, if they are multiples of
// 4096 bytes, to another distance, since they would share one set of the first cache. Rows as long as a vocabulary are
// not: nothing multiplies them.
static inline bool gemm_copies(int64_t k) {
    enum { LONGEST = 32768 };
    return SPLIT || (k <= LONGEST && k * (int64_t)sizeof(Act) % 4096 == 0);
}
// Parts of such a row of A, and those that A [m, k] takes in memory: none where it is used as it is.
static inline int64_t gemm_parts(int64_t k) { return SPLIT ? gemm_strip_size(k) / STRIP : k; }
static inline int64_t gemm_left_row(int64_t k) { return SPLIT ? gemm_parts(k) : gemm_row_stride(k); }
static inline int64_t gemm_left_size(int64_t m, int64_t k) { return gemm_copies(k) ? m * gemm_left_row(k) : 0; }
// A = src [m, k], `ld` elements from row to row: as it is, or split into `memory`.
#define gemm_left CPU_FN(gemm_left)
Left gemm_left(Part *memory, const Act *src, int64_t ld, int64_t m, int64_t k);
// A = x [m, k], by all threads of a team.
#define gemm_left_by_team CPU_FN(gemm_left_by_team)
Left gemm_left_by_team(Part *memory, Mat x);
// A from row m and element k on, a multiple of K_STEP.
static inline Left gemm_left_at(Left a, int64_t m, int64_t k) {
    return (Left){a.rows + m * a.ld + (SPLIT ? k * PARTS : k), a.ld};
}

typedef struct Product {
    int64_t m, n, k;
    Left a;        // [m, k]
    const Part *b; // packed [k, n]
    float alpha;
    // Parts from strip to strip of B; 0: as packed for K = k. A multiple of K_STEP for k takes the first rows of a
    // longer B.
    int64_t strip;
} Product;

// Where the product goes: to `act`, or to `f32`.
typedef struct Output {
    Act *act;
    float *f32;
    int64_t stride;
    bool add;            // f32 += instead of =
    const float *bias;   // [n], added to each row; or NULL
    const Act *residual; // [m, n], added before rounding; NULL: none; may be `act`
    int64_t residual_stride;
} Output;

#define gemm CPU_FN(gemm)
void gemm(Output c, Product p);

// The tile kernel: C [rows, STRIP] = or += A B, 1 <= rows <= TILE_ROWS.
typedef struct Tile {
    float *c;
    int64_t ldc;
    const Part *a; // [rows, k]
    int64_t lda;
    const Part *b; // one packed strip
    int64_t k;     // parts; a multiple of K_STEP
} Tile;
#define gemm_tile CPU_FN(gemm_tile)
void gemm_tile(const Tile *t, int64_t rows, bool add); // by address: a copy of a struct just written stalls
// Before the first and after the last tile of a product, on its thread: state of tile registers.
#define gemm_tile_begin CPU_FN(gemm_tile_begin)
#define gemm_tile_end CPU_FN(gemm_tile_end)
void gemm_tile_begin(void);
void gemm_tile_end(void);
