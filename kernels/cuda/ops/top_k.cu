// top_k: the largest logits of each row, a block for each: the least key that is taken is found bit by bit, then the
// columns are taken in order.
#include "rows.cuh"

enum { TOP_BLOCK = 512 };

// Orders as the number does. A NaN is above all numbers; -0 equals 0.
static __device__ inline uint32_t top_key(float x) {
    uint32_t bits = __float_as_uint(x + 0.0f);
    return isnan(x) ? UINT32_MAX : bits >> 31 ? ~bits : bits | 0x80000000u;
}

// How many columns of the row have at least that key.
static __device__ int count_at_least(const float *x, int cols, uint32_t key) {
    int n = 0;
#pragma unroll 4
    for (int c = threadIdx.x; c < cols; c += TOP_BLOCK) n += top_key(x[c]) >= key;
    return block_sum(n);
}

// The number of threads before this one for which `taken` is true; *all: of the block.
static __device__ int threads_before(bool taken, int *all) {
    SHARED(int, warps, [TOP_BLOCK / WARP]);
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP, before = 0, sum = 0;
    unsigned mine = __ballot_sync(0xffffffffu, taken);
    if (lane == 0) warps[warp] = __popc(mine);
    __syncthreads();
    for (int w = 0; w < TOP_BLOCK / WARP; w++) {
        before += w < warp ? warps[w] : 0;
        sum += warps[w];
    }
    __syncthreads(); // the next call overwrites `warps`
    *all = sum;
    return before + __popc(mine & ((1u << lane) - 1));
}

static __global__ void top_k(int32_t *ids, float *values, Rows<const float> logits, int cols, int k) {
    const float *x = logits.at(blockIdx.x, 0);
    ids += (int64_t)blockIdx.x * k;
    values += (int64_t)blockIdx.x * k;
    uint32_t least = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1)
        if (count_at_least(x, cols, least | bit) >= k) least |= bit;
    int ties = least == UINT32_MAX ? k : k - count_at_least(x, cols, least + 1), taken = 0;
    for (int first = 0; first < cols && taken < k; first += TOP_BLOCK) {
        int c = first + (int)threadIdx.x, all;
        uint32_t key = c < cols ? top_key(x[c]) : 0;
        bool tie = c < cols && key == least;
        int ties_before = threads_before(tie, &all); // by every thread
        bool takes = c < cols && (key > least || (tie && ties_before < ties));
        ties -= all;
        int at = taken + threads_before(takes, &all);
        taken += all;
        if (!takes) continue;
        ids[at] = c;
        values[at] = x[c];
    }
}

void cuda_top_k(Backend *b, int32_t *ids, float *values, Mat logits, int64_t n, int64_t k) {
    CHECK_MAT(logits, DTYPE_F32, logits.rows, logits.cols);
    CHECK(k > 0 && k <= n && n <= logits.cols && n < INT32_MAX - TOP_BLOCK, "%ld of %ld of %ld logits", k, n,
          logits.cols);
    if (logits.rows)
        RUN(b, top_k, (unsigned)logits.rows, TOP_BLOCK, 0, ids, values, rows_of<const float>(logits), (int)n, (int)k);
}
