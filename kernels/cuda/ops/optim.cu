// optim: tallies, the clock, fixed-point gradient sums, gradient norm and AdamW over flat float32 buffers.
//
// Against the CPU: fixed_add and fixed_to_f32 give the same bits (a product with a power of 2 and one rounding each).
// The norm is summed in another order. AdamW rounds in the same places but for fused multiply-add, which each compiler
// places differently.
#include <math.h>
#include <string.h>

#include "device.cuh"

enum { BLOCK = 256, NORM_PARTS = 512 }; // NORM_PARTS: partial sums of the norm, at most
static const int64_t NORM_PART = 4096;  // elements of a part, at least
static const int64_t CHUNK = 4096;      // elements of AdamW that a block handles, at most

// Where a block of AdamW works: `count` <= CHUNK elements of one segment.
typedef struct AdamwChunk {
    int64_t offset;
    int32_t count;
    float lr_factor;
} AdamwChunk;

struct CudaOptim {
    double *norm_parts; // [NORM_PARTS]
    // The segments of the last step: a run has one list.
    AdamwSegment *segments;
    int64_t n_segments;
    AdamwChunk *chunks; // on the device
    int64_t n_chunks;
};

int cuda_optim_open(Backend *b, Err *) {
    CudaOptim *o = cuda_state(b)->optim = (CudaOptim *)mem_calloc(1, sizeof *o);
    o->norm_parts = (double *)cuda_alloc(b, NORM_PARTS * sizeof *o->norm_parts);
    return 0;
}

static void forget_segments(Backend *b, CudaOptim *o) {
    cuda_free(b, o->chunks, (size_t)o->n_chunks * sizeof *o->chunks);
    mem_free(o->segments);
    o->chunks = NULL;
    o->segments = NULL;
    o->n_segments = o->n_chunks = 0;
}

void cuda_optim_close(Backend *b) {
    CudaOptim *o = cuda_state(b)->optim;
    if (!o) return;
    forget_segments(b, o);
    cuda_free(b, o->norm_parts, NORM_PARTS * sizeof *o->norm_parts);
    mem_free(o);
}

// ---- tallies and the clock ----

static __global__ void tally(HeadTally *t, const HeadResult *r) {
    t->bad += !head_result_fits(r);
    if (!head_result_fits(r)) return;
    exact_sum_add(&t->loss, __double2ll_rn(r->loss * 0x1p32));
    for (int i = 0; i < HEAD_SUMS; i++) exact_sum_add(&t->sums[i], __double2ll_rn(r->sums[i] * 0x1p32));
    t->correct += r->correct;
}

void cuda_tally(Backend *b, HeadTally *t, const HeadResult *r) { RUN(b, tally, 1, 1, 0, t, r); }

static __global__ void stamp(int64_t *ns) {
    unsigned long long now;
    DEVICE_NANOSECONDS(now);
    *ns = (int64_t)now;
}

void cuda_stamp(Backend *b, int64_t *ns) { RUN(b, stamp, 1, 1, 0, ns); }

// ---- fixed point ----

static __global__ void fixed_add(int64_t *acc, const float *g, int64_t n, float limit, float unscale, int64_t *bad) {
    int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= n) return;
    float x = g[i] * unscale;
    if (fabsf(x) < limit) // false for NaN
        acc[i] += __double2ll_rn((double)x * 0x1p44);
    else
        atomicMax((unsigned long long *)bad, 1ull); // the order does not matter
}

void cuda_fixed_add(Backend *b, int64_t *acc, const float *g, int64_t n, float limit, float unscale, int64_t *bad) {
    if (n) RUN(b, fixed_add, blocks_of(n, BLOCK), BLOCK, 0, acc, g, n, limit, unscale, bad);
}

static __global__ void fixed_to_f32(float *g, const int64_t *acc, int64_t n) {
    int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) g[i] = (float)acc[i] * 0x1p-44f;
}

void cuda_fixed_to_f32(Backend *b, float *g, const int64_t *acc, int64_t n) {
    if (n) RUN(b, fixed_to_f32, blocks_of(n, BLOCK), BLOCK, 0, g, acc, n);
}

// ---- norm ----

// Part p is the sum over elements [p * size, (p + 1) * size).
static __global__ void norm_parts(double *parts, const float *g, int64_t n, int64_t size) {
    int64_t first = blockIdx.x * size, end = first + size < n ? first + size : n;
    double sum = 0;
    for (int64_t i = first + threadIdx.x; i < end; i += BLOCK) sum += (double)g[i] * (double)g[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

static __global__ void norm_total(double *out, const double *parts, int n) {
    double sum = 0;
    for (int i = threadIdx.x; i < n; i += BLOCK) sum += parts[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *out = sum;
}

void cuda_sqnorm(Backend *b, double *out, const float *g, int64_t n) {
    double *parts = cuda_state(b)->optim->norm_parts;
    int64_t most = min64(NORM_PARTS, ceil_div(n, NORM_PART)), size = n ? ceil_div(n, most) : 0;
    int64_t count = n ? ceil_div(n, size) : 0;
    if (count) RUN(b, norm_parts, (unsigned)count, BLOCK, 0, parts, g, n, size);
    RUN(b, norm_total, 1, BLOCK, 0, out, parts, (int)count);
}

// ---- AdamW ----

// The step's constants, the same for all elements. Double until the segment's factor of the learning rate is known.
typedef struct AdamwStep {
    double lr, weight_decay, correction1, max_grad_norm;
    float beta1, one_minus_beta1, beta2, one_minus_beta2, root, epsilon;
    const double *square;
    const int64_t *bad;
} AdamwStep;

// The factor that clips the gradient; NaN: the step is skipped. As adamw_clip (host.h), which reads host memory only.
static __device__ float clip(const AdamwStep &s) {
    double norm = sqrt(*s.square);
    if (*s.bad || !isfinite(norm)) return NAN;
    return s.max_grad_norm > 0 ? (float)fmin(s.max_grad_norm / (norm + 1e-6), 1.0) : 1;
}

static __global__ void adamw(float *p, float *m, float *v, const float *g, const AdamwChunk *chunks, AdamwStep s) {
    SHARED(float, shared, [3]); // of the chunk: clip, decay, size
    AdamwChunk chunk = chunks[blockIdx.x];
    if (threadIdx.x == 0) {
        double lr = s.lr * (double)chunk.lr_factor;
        shared[0] = clip(s);
        shared[1] = (float)(1 - lr * s.weight_decay);
        shared[2] = (float)(lr / s.correction1);
    }
    __syncthreads();
    float scale = shared[0], decay = shared[1], size = shared[2];
    if (isnan(scale)) return;
    for (int64_t i = chunk.offset + threadIdx.x; i < chunk.offset + chunk.count; i += BLOCK) {
        float grad = g[i] * scale;
        float mi = s.beta1 * m[i] + s.one_minus_beta1 * grad;
        float vi = s.beta2 * v[i] + s.one_minus_beta2 * grad * grad;
        m[i] = mi;
        v[i] = vi;
        p[i] = p[i] * decay - size * mi / (sqrtf(vi) / s.root + s.epsilon);
    }
}

static bool same_segments(const CudaOptim *o, const Adamw *a) {
    if (o->n_segments != a->n_segments) return false;
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdamwSegment *x = o->segments + i, *y = a->segments + i;
        if (x->offset != y->offset || x->count != y->count || x->lr_factor != y->lr_factor) return false;
    }
    return true;
}

static void keep_segments(Backend *b, CudaOptim *o, const Adamw *a) {
    CHECK(!cuda_state(b)->recording, "a new list of AdamW's segments in a recording");
    cuda_sync(b); // the list that is freed
    forget_segments(b, o);
    o->n_segments = a->n_segments;
    o->segments = (AdamwSegment *)mem_alloc((size_t)a->n_segments, sizeof *o->segments);
    if (a->n_segments) memcpy(o->segments, a->segments, (size_t)a->n_segments * sizeof *o->segments);
    for (int64_t i = 0; i < a->n_segments; i++) o->n_chunks += ceil_div(a->segments[i].count, CHUNK);
    AdamwChunk *chunks = (AdamwChunk *)mem_alloc((size_t)o->n_chunks, sizeof *chunks), *next = chunks;
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdamwSegment *s = a->segments + i;
        for (int64_t at = 0; at < s->count; at += CHUNK) {
            *next++ = {s->offset + at, (int32_t)min64(CHUNK, s->count - at), s->lr_factor};
        }
    }
    o->chunks = (AdamwChunk *)cuda_alloc(b, (size_t)o->n_chunks * sizeof *chunks);
    cuda_upload(b, o->chunks, chunks, (size_t)o->n_chunks * sizeof *chunks);
    mem_free(chunks);
}

void cuda_adamw(Backend *b, float *p, float *m, float *v, const float *g, const Adamw *a) {
    CudaOptim *o = cuda_state(b)->optim;
    if (cuda_failed(b)) return;
    if (!same_segments(o, a)) keep_segments(b, o, a);
    if (!o->n_chunks) return;
    AdamwStep s = {
        .lr = a->lr,
        .weight_decay = a->weight_decay,
        .correction1 = 1 - pow(a->beta1, (double)a->step),
        .max_grad_norm = a->max_grad_norm,
        .beta1 = (float)a->beta1,
        .one_minus_beta1 = (float)(1 - a->beta1),
        .beta2 = (float)a->beta2,
        .one_minus_beta2 = (float)(1 - a->beta2),
        .root = (float)sqrt(1 - pow(a->beta2, (double)a->step)),
        .epsilon = (float)a->epsilon,
        .square = a->square,
        .bad = a->bad,
    };
    RUN(b, adamw, (unsigned)o->n_chunks, BLOCK, 0, p, m, v, g, (const AdamwChunk *)o->chunks, s);
}
