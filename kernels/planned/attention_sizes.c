// attention_sizes: which calls of attention cuDNN computes, and their workspace.
#include "sizes.h"

enum { TILE = 64, FIXED_BYTES = 1 << 16, SAMPLE_BYTES = 1 << 10 };

size_t cuda_attention_delta_bytes(const AttentionShape *s, Mat q) {
    return (size_t)(q.rows * s->heads) * sizeof(float);
}

const char *cuda_cudnn_refusal(DType activation, int capability) {
    int generation = capability / 10;
    if (activation == DTYPE_F32) return "cuDNN has none in f32";
    if (generation != 9 && generation != 10) return "cuDNN's takes packed samples on Hopper and B100 to B300 only";
    return NULL;
}

// cuDNN has no backward pass of heads of 136 to 248 on Blackwell.
static bool head_fits(int capability, int64_t size, bool backward) {
    bool wide = size > 128 && size < 256;
    return size % 16 == 0 && size <= 256 && !(wide && backward && capability / 10 == 10);
}

// Every token of a sample is a query and a key, there is no soft cap, no sink and no window on both sides, and rows are
// copied by 16 bytes.
static bool fits(const Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    const CudaScratch *scratch = b->state;
    return b->attention_kind != ATTENTION_OWN && !cuda_cudnn_refusal(b->activation, scratch->capability) &&
           head_fits(scratch->capability, s->head_size, backward) && s->longest && q.rows == k.rows &&
           s->softcap == 0 && !s->sinks && !(s->bidirectional && s->window) && mat_stride(q) % 8 == 0 &&
           mat_stride(k) % 8 == 0 && s->window <= INT32_MAX;
}

// float64: batch times longest squared overflows integers.
static double tiles(int64_t tokens, int64_t tile) { return (double)(ceil_div(tokens, tile) * tile); }

// An upper bound. Backward: dQ of each head in float32; with grouped heads dK and dV, too; the row sums; counters of
// each tile of queries; on Hopper, if it is deterministic, dS instead of dQ where that is small.
static double own_bytes(const Backend *b, const AttentionShape *s, int64_t rows, bool backward) {
    double bytes = FIXED_BYTES + (double)s->samples * SAMPLE_BYTES, heads = (double)s->heads;
    if (!backward) return bytes;
    double sums = s->kv_heads < s->heads ? 3 : 1;
    bytes += (double)rows * heads * (sums * (double)s->head_size + 1) * sizeof(float);
    bytes += (double)s->samples * heads * tiles(s->longest, TILE) / TILE * 2 * sizeof(float);
    double ds = (double)s->samples * heads * tiles(s->longest, TILE) * tiles(s->longest, 2 * TILE) * 2;
    bool hopper = ((const CudaScratch *)b->state)->capability / 10 == 9;
    return bytes + (hopper && !b->nondeterministic && ds <= CUDNN_DS_BYTES ? ds : 0);
}

static size_t next(CudnnSpace *space, int64_t n, size_t size) {
    size_t at = space->bytes;
    space->bytes += cuda_align((size_t)n * size);
    return at;
}

bool cuda_cudnn_space(CudnnSpace *space, const Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    if (!fits(b, s, q, k, backward)) return false;
    double own = own_bytes(b, s, q.rows, backward);
    if (own > (double)((const CudaScratch *)b->state)->cudnn_bytes) return false;
    *space = (CudnnSpace){.own = cuda_align((size_t)own), .bytes = cuda_align((size_t)own)};
    for (int m = 0; m < CUDNN_MATS; m++) space->offset[m] = next(space, s->samples + 1, sizeof(int64_t));
    space->length = next(space, s->samples, sizeof(int32_t));
    for (int i = 0; backward && i < CUDNN_MATS - CUDNN_DQ; i++)
        space->gradient[i] =
            next(space, q.rows * (i ? s->kv_heads : s->heads) * s->head_size, cuda_element(b->activation));
    return true;
}

// Enough for the own kernels (backward: delta [Tq, H] float32) and for cuDNN: the choice is made later.
size_t cuda_attention_workspace(Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    CudnnSpace space;
    size_t own = backward ? cuda_attention_delta_bytes(s, q) : 0;
    size_t cudnn = cuda_cudnn_space(&space, b, s, q, k, backward) ? space.bytes : 0;
    return own > cudnn ? own : cudnn;
}
