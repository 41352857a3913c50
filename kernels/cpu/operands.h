// operands: what operands_own_cpu.c and operands_split_cpu.c share: CMake chooses one of them for each copy.
#pragma once

#include "gemm.h"

enum { UNIT = 4 / sizeof(Part) }; // elements of 4 bytes: PAIR elements of K that are neighbours in a strip
_Static_assert((int)UNIT == (int)PAIR, "a strip holds 4 bytes of each column at a time");
typedef float Four __attribute__((vector_size(16), aligned(2)));
typedef struct Unit {
    Part x[PAIR];
} Unit;

// One step of K of a strip: PAIR rows side by side; rows[i] NULL: zeros.
static inline void pack_step(Part *dst, const Part *const rows[PAIR], int64_t n) {
    Unit *unit = (Unit *)dst;
    for (int i = 0; i < PAIR; i++)
        if (!rows[i] || n < STRIP) {
            memset(unit, 0, STRIP * sizeof *unit);
            for (int64_t j = 0; j < n; j++)
                for (int q = 0; q < PAIR && rows[q]; q++) unit[j].x[q] = rows[q][j];
            return;
        }
    part_interleave(dst, rows, STRIP);
}

// dst [k, STRIP] = transposed src [n, k] in units, `ld` elements from row to row of src. Blocks of 4 x 4 in registers.
static inline void transpose_units(Part *dst, const Part *src, int64_t ld, int64_t n, int64_t k) {
    int64_t n4 = n / 4 * 4, k4 = k / 4 * 4;
    for (int64_t j = 0; j < k4; j += 4)
        for (int64_t i = 0; i < n4; i += 4) {
            const Part *from = src + i * ld + j * PAIR;
            Part *to = dst + (j * STRIP + i) * PAIR;
            Four a = *(const Four *)from, b = *(const Four *)(from + ld);
            Four c = *(const Four *)(from + 2 * ld), d = *(const Four *)(from + 3 * ld);
            Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            *(Four *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(Four *)(to + STRIP * PAIR) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            *(Four *)(to + 2 * STRIP * PAIR) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(Four *)(to + 3 * STRIP * PAIR) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        }
    for (int64_t j = 0; j < k; j++)
        for (int64_t i = j < k4 ? n4 : 0; i < n; i++)
            memcpy(dst + (j * STRIP + i) * PAIR, src + i * ld + j * PAIR, sizeof(Unit));
}
