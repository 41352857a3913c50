// flash: what the forward and the backward kernels on tensor cores share (flash_forward.cu, flash_backward.cu).
//
// Layout of a block: warp w has the 16 M rows from 16 M w on of the block's tile, and of each 16 of them a lane has
// rows lane / 4 and lane / 4 + 8 ("upper", "lower"). Tiles are in shared memory, rows of D + ROW_PAD elements. The
// operand that the block loops over is double-buffered: the next tile is copied while one is used.
#pragma once

#include "attention.cuh"
#include "mma.cuh"

// Begins to copy ROWS rows of D elements into a tile: row i < n from at(i), which has head_size elements; the rest: 0.
template <class T, int D, int ROWS, int THREADS, class At>
static __device__ inline void copy_rows(AsyncCopies &copies, T *tile, int n, int head_size, At at) {
    constexpr int CHUNKS = D / 8;
#pragma unroll
    for (int i = 0; i < (ROWS * CHUNKS + THREADS - 1) / THREADS; i++) {
        int chunk = (int)threadIdx.x + i * THREADS, row = chunk / CHUNKS, column = chunk % CHUNKS * 8;
        if (ROWS * CHUNKS % THREADS && row >= ROWS) break;
        bool valid = row < n && column < head_size;
        copies.bytes16(tile + row * (D + ROW_PAD) + column, at(valid ? row : 0) + (valid ? column : 0), valid);
    }
}

// Rounds the warp's sums [16 M, D], times factor[m][half] of their rows, into its rows of a tile and writes row i < n
// of them to at(i). No other warp may still read these rows of the tile.
template <class T, int D, int M, class At>
static __device__ inline void write_rows(T *tile, const float (&sum)[M][D / 8][4], const float (&factor)[M][2], int n,
                                         int head_size, At at) {
    constexpr int LD = D + ROW_PAD, CHUNKS = D / 8;
    int lane = lane_of_warp();
    __syncwarp();
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int d = 0; d < D / 8; d++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                T *p = tile + (m * 16 + half * 8 + lane / 4) * LD + d * 8 + lane % 4 * 2;
                *reinterpret_cast<unsigned *>(p) =
                    Two<T>::of(sum[m][d][2 * half] * factor[m][half], sum[m][d][2 * half + 1] * factor[m][half]);
            }
    __syncwarp();
    for (int chunk = lane; chunk < M * 16 * CHUNKS; chunk += WARP) {
        int row = chunk / CHUNKS, column = chunk % CHUNKS * 8;
        if (row < n && column < head_size)
            *reinterpret_cast<uint4 *>(at(row) + column) = *reinterpret_cast<const uint4 *>(tile + row * LD + column);
    }
}

template <int M, int D> static __device__ inline void set_zero(float (&sum)[M][D][4]) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int d = 0; d < D; d++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum[m][d][i] = 0;
}

// What a score q k^T becomes: x = factor * score in units of log2, so that its exponential is 2^x.
struct Scores {
    float factor, inner, cap; // softcap: cap * tanh(inner * score) first
};
static __device__ inline Scores scores_of(const Attention &a) {
    if (a.softcap == 0) return {a.scale * LOG2_E, 0, 0};
    return {LOG2_E, a.scale / a.softcap, a.softcap};
}
// Exact to 2^-22 absolute; 2^(2x / ln 2) may overflow or vanish.
static __device__ inline float tanh_fast(float x) { return 1 - 2 / (1 + exp2_fast(2 * LOG2_E * x)); }
