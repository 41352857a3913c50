// grouped: one product for several experts, each on its rows. The kernels; grouped.cu launches them.
//
// The number of rows of an expert is known on the device only, so a grid has as many blocks as the worst split needs;
// blocks without rows return. C [rows, cols] (+)= A [rows, depth] B_e: forward B_e = W_e^T + bias, so W_e [cols,
// depth] is read along its rows; backward B_e = W_e [depth, cols].
#pragma once

#include "mma.cuh"

enum { GROUPED_MOST = 64 }; // experts of one launch: their pointers are arguments

template <class T> struct GroupedArgs {
    T *c;
    const T *a;
    int64_t c_stride, a_stride;
    int cols, depth;
    float alpha;           // times the product
    bool accumulate, wide; // wide: all rows begin at multiples of 16 bytes and are whole numbers of them
    int experts;           // of this launch
    const int32_t *offset; // [experts + 1]
    const T *w[GROUPED_MOST];
    int64_t w_stride;
    const float *bias[GROUPED_MOST]; // [cols] or NULL
};

// Where a block works: its expert, its rows [row, end) of at most `tile`, and its first column.
struct GroupedPlace {
    int expert, row, end, col;
};

// The columns of one tile of rows come one after the other, so that its rows of A stay in the cache. False: no work.
template <class T>
static __device__ inline bool grouped_place(const GroupedArgs<T> &args, int tile_rows, int tile_cols, GroupedPlace *p) {
    int col_tiles = (args.cols + tile_cols - 1) / tile_cols;
    int tile = (int)blockIdx.x / col_tiles, begin = args.offset[0];
    p->col = (int)blockIdx.x % col_tiles * tile_cols;
    for (p->expert = 0; p->expert < args.experts; p->expert++) {
        p->end = args.offset[p->expert + 1];
        int tiles = (p->end - begin + tile_rows - 1) / tile_rows;
        if (tile < tiles) {
            p->row = begin + tile * tile_rows;
            return true;
        }
        tile -= tiles;
        begin = p->end;
    }
    return false;
}

template <class T>
static __device__ inline void grouped_store(const GroupedArgs<T> &args, const GroupedPlace &at, int row, int col,
                                            float sum) {
    if (row >= at.end || col >= args.cols) return;
    T *c = args.c + row * args.c_stride + col;
    sum *= args.alpha;
    if (args.bias[at.expert]) sum += args.bias[at.expert][col];
    if (args.accumulate) sum += load(c);
    store(c, sum);
}

// ---- 16-bit types, on tensor cores ----

// Eight warps make a tile of 128 x 128, each 32 x 64 of it; the next 32 of the depth are copied during the products.
struct GroupedTile {
    static constexpr int ROWS = 128, COLS = 128, DEPTH = 32, THREADS = 256;
    static constexpr int A_LD = DEPTH + ROW_PAD;
    static constexpr int A_SIZE = ROWS * A_LD;
    static constexpr int FORWARD_LD = DEPTH + ROW_PAD, BACKWARD_LD = COLS + ROW_PAD; // of B
    static constexpr int B_SIZE = COLS * (DEPTH + ROW_PAD); // forward [COLS][DEPTH], backward [DEPTH][COLS], padded
};

// What copy_tile reads; zeros outside of it.
template <class T> struct GroupedMatrix {
    const T *data;
    int64_t stride, rows;
    int cols;
    bool wide; // GroupedArgs
};

// to [ROWS][COLS of LD] = m at (row, col). Every thread of the block takes its part.
template <class T, int ROWS, int COLS, int LD>
static __device__ inline void copy_tile(AsyncCopies &copies, T *to, GroupedMatrix<T> m, int64_t row, int col) {
    constexpr int CHUNKS = COLS / 8;
    for (int i = (int)threadIdx.x; i < ROWS * CHUNKS; i += GroupedTile::THREADS) {
        int r = i / CHUNKS, c = i % CHUNKS * 8;
        bool inside = row + r < m.rows;
        const T *source = m.data + (inside ? (row + r) * m.stride : 0);
        T *target = to + r * LD + c;
        if (m.wide) {
            bool valid = inside && col + c < m.cols;
            copies.bytes16(target, source + (valid ? col + c : 0), valid);
        } else {
            for (int j = 0; j < 8; j++) {
                bool valid = inside && col + c + j < m.cols;
                store(target + j, valid ? load(source + col + c + j) : 0);
            }
        }
    }
}

template <class T, bool BACKWARD>
static __device__ inline void copy_step(AsyncCopies &copies, T *a, T *b, const GroupedArgs<T> &args,
                                        const GroupedPlace &at, int depth) {
    using Tile = GroupedTile;
    constexpr int LD = BACKWARD ? Tile::BACKWARD_LD : Tile::FORWARD_LD;
    GroupedMatrix<T> left = {args.a, args.a_stride, at.end, args.depth, args.wide};
    GroupedMatrix<T> right = {args.w[at.expert], args.w_stride, BACKWARD ? args.depth : args.cols,
                              BACKWARD ? args.cols : args.depth, args.wide};
    copy_tile<T, Tile::ROWS, Tile::DEPTH, Tile::A_LD>(copies, a, left, at.row, depth);
    if (BACKWARD)
        copy_tile<T, Tile::DEPTH, Tile::COLS, LD>(copies, b, right, depth, at.col);
    else
        copy_tile<T, Tile::COLS, Tile::DEPTH, LD>(copies, b, right, at.col, depth);
}

// sum += of one step of the depth; a and b: the warp's corner of the tiles.
template <class T, bool BACKWARD>
static __device__ inline void multiply_step(float (&sum)[2][8][4], const T *a, const T *b) {
    constexpr int LD = BACKWARD ? GroupedTile::BACKWARD_LD : GroupedTile::FORWARD_LD;
    int lane = lane_of_warp();
    const T *a_row = a + lane % 16 * GroupedTile::A_LD + lane / 16 * 8;
    const T *b_row =
        BACKWARD ? b + lane % 16 * LD + lane / 16 * 8 : b + (lane % 8 + lane / 16 * 8) * LD + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < GroupedTile::DEPTH; k += 16) {
        unsigned left[2][4];
#pragma unroll
        for (int m = 0; m < 2; m++) load_matrices(left[m], a_row + m * 16 * GroupedTile::A_LD + k);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            unsigned right[4];
            if (BACKWARD)
                load_transposed(right, b_row + k * LD + n * 16);
            else
                load_matrices(right, b_row + n * 16 * LD + k);
#pragma unroll
            for (int m = 0; m < 2; m++) {
                Mma<T>::add(sum[m][2 * n], left[m], right[0], right[1]);
                Mma<T>::add(sum[m][2 * n + 1], left[m], right[2], right[3]);
            }
        }
    }
}

template <class T, bool BACKWARD>
static __global__ void __launch_bounds__(GroupedTile::THREADS) grouped_product(GroupedArgs<T> args) {
    using Tile = GroupedTile;
    SHARED(uint4, memory, [2 * (Tile::A_SIZE + Tile::B_SIZE) / 8]);
    T *a = reinterpret_cast<T *>(&memory[0]), *b = a + 2 * Tile::A_SIZE;
    GroupedPlace at;
    if (!grouped_place(args, Tile::ROWS, Tile::COLS, &at)) return;
    int warp = (int)threadIdx.x / WARP, row = warp % 4 * 32, col = warp / 4 * 64;
    float sum[2][8][4] = {};
    AsyncCopies copies;
    copy_step<T, BACKWARD>(copies, a, b, args, at, 0);
    for (int depth = 0, turn = 0; depth < args.depth; depth += Tile::DEPTH, turn ^= 1) {
        copies.wait();
        __syncthreads(); // this step is loaded, and no warp reads the other buffer any more
        if (depth + Tile::DEPTH < args.depth)
            copy_step<T, BACKWARD>(copies, a + (turn ^ 1) * Tile::A_SIZE, b + (turn ^ 1) * Tile::B_SIZE, args, at,
                                   depth + Tile::DEPTH);
        multiply_step<T, BACKWARD>(sum, a + turn * Tile::A_SIZE + row * Tile::A_LD,
                                   b + turn * Tile::B_SIZE + (BACKWARD ? col : col * Tile::FORWARD_LD));
    }
    int lane = lane_of_warp();
    row += at.row + lane / 4;
    col += at.col + lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                grouped_store(args, at, row + m * 16 + i / 2 * 8, col + n * 8 + i % 2, sum[m][n][i]);
}

// ---- float32, by plain multiplication ----

// 256 threads make a tile of 64 x 64, each 4 x 4 elements 16 apart.
struct GroupedPlainTile {
    static constexpr int SIZE = 64, DEPTH = 16, THREADS = 256, LD = SIZE + 1;
};

template <bool BACKWARD>
static __global__ void __launch_bounds__(GroupedPlainTile::THREADS) grouped_product_plain(GroupedArgs<float> args) {
    using Tile = GroupedPlainTile;
    SHARED(float, a, [Tile::DEPTH][Tile::LD]);
    SHARED(float, b, [Tile::DEPTH][Tile::LD]);
    GroupedPlace at;
    if (!grouped_place(args, Tile::SIZE, Tile::SIZE, &at)) return;
    const float *w = args.w[at.expert];
    int row = (int)threadIdx.x / 16, col = (int)threadIdx.x % 16;
    float sum[4][4] = {};
    for (int depth = 0; depth < args.depth; depth += Tile::DEPTH) {
        for (int i = (int)threadIdx.x; i < Tile::SIZE * Tile::DEPTH; i += Tile::THREADS) {
            int d = i % Tile::DEPTH, r = i / Tile::DEPTH; // neighbours read along rows
            bool inside = at.row + r < at.end && depth + d < args.depth;
            a[d][r] = inside ? args.a[(at.row + r) * args.a_stride + depth + d] : 0;
            if (BACKWARD) d = i / Tile::SIZE, r = i % Tile::SIZE;
            inside = at.col + r < args.cols && depth + d < args.depth;
            int64_t from =
                BACKWARD ? (depth + d) * args.w_stride + at.col + r : (at.col + r) * args.w_stride + depth + d;
            b[d][r] = inside ? w[from] : 0;
        }
        __syncthreads();
        for (int d = 0; d < Tile::DEPTH; d++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += a[d][row + 16 * i] * b[d][col + 16 * j];
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) grouped_store(args, at, at.row + row + 16 * i, at.col + col + 16 * j, sum[i][j]);
}
