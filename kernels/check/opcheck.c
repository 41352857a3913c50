// opcheck: buffers, random inputs, outputs.
#include "opcheck.h"

enum { GUARD = OP_GUARD, GUARD_BYTE = 0xA5 };

void *op_buffer(OpRun *r, size_t bytes) {
    CHECK(r->n_buffers < OP_MAX_BUFFERS);
    uint8_t guard[GUARD], *data = r->b->k->alloc(r->b, bytes + GUARD);
    memset(guard, GUARD_BYTE, GUARD);
    r->b->k->upload(r->b, data + bytes, guard, GUARD);
    r->buffers[r->n_buffers].data = data;
    r->buffers[r->n_buffers++].bytes = bytes;
    return data;
}

void op_check_guards(const OpRun *r, const char *op) {
    if (r->b->k->status(r->b, NULL)) return; // a failed device has no valid data
    for (int i = 0; i < r->n_buffers; i++) {
        uint8_t guard[GUARD], want[GUARD];
        memset(want, GUARD_BYTE, GUARD);
        r->b->k->download(r->b, guard, (uint8_t *)r->buffers[i].data + r->buffers[i].bytes, GUARD);
        CHECK(memcmp(guard, want, GUARD) == 0, "%s of %s writes past its buffer %d of %zu bytes", op, r->b->k->name, i,
              r->buffers[i].bytes);
    }
}

void *op_copy(OpRun *r, const void *host, size_t bytes) {
    void *data = op_buffer(r, bytes);
    r->b->k->upload(r->b, data, host, bytes);
    return data;
}

void *op_workspace(OpRun *r, size_t bytes) {
    AUTO_FREE void *nan = mem_alloc(bytes, 1);
    memset(nan, 0xFF, bytes);
    return op_copy(r, nan, bytes);
}

// ---- numbers ----

// SplitMix64 (Steele et al. 2014) of a number: with Philox, generating inputs took a third of the time of op tests.
static uint32_t hashed(uint64_t i) {
    uint64_t z = (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

float *op_noise(int64_t n, uint32_t stream) {
    float *x = mem_alloc((size_t)n, sizeof *x);
    uint64_t start = (uint64_t)stream << 40;
    for (int64_t i = 0; i < n; i++) x[i] = 1.7320508f * rng_symmetric(hashed(start + (uint64_t)i));
    return x;
}

float *op_input_floats(OpRun *r, int64_t n) {
    float *x = op_noise(n, (uint32_t)r->n_inputs);
    // At two positions: an op may ignore one of them (rows that are not gathered).
    if (r->n_inputs++ == r->setup.poison) x[n / 3] = x[n / 2] = NAN;
    return x;
}

void op_round(DType t, float *x, int64_t n) {
    if (t == DTYPE_F32) return;
    float largest = t == DTYPE_F16 ? 65504 : 0x1.FEp127f;
    for (int64_t i = 0; i < n; i++) {
        if (fabsf(x[i]) > largest && !isinf(x[i])) x[i] = copysignf(largest, x[i]);
        x[i] = t == DTYPE_F16 ? f16_to_f32(f32_to_f16(x[i])) : bf16_to_f32(f32_to_bf16(x[i]));
    }
}

double op_unit_roundoff(DType t) { return t == DTYPE_BF16 ? 0x1p-8 : t == DTYPE_F16 ? 0x1p-11 : 0; }

// ---- matrices ----

void op_encode(DType type, uint8_t *dst, const float *x, int64_t n) {
    if (type == DTYPE_F32) {
        memcpy(dst, x, (size_t)n * sizeof *x);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = type == DTYPE_F16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
        memcpy(dst + i * 2, &h, sizeof h);
    }
}

// A matrix on the device with these values (NULL: NaN); the gaps between its rows are NaN.
static Mat matrix(OpRun *r, const float *values, int64_t rows, int64_t cols, DType type, int64_t gap) {
    int64_t stride = cols + 2 * gap, size = dtype_info(type)->bytes;
    size_t bytes = (size_t)(rows * stride * size);
    AUTO_FREE uint8_t *host = mem_alloc(bytes, 1);
    memset(host, 0xFF, bytes);
    for (int64_t i = 0; values && i < rows; i++)
        op_encode(type, host + (i * stride + gap) * size, values + i * cols, cols);
    uint8_t *data = op_copy(r, host, bytes);
    Mat m = mat_of(data + gap * size, type, rows, cols);
    if (gap) m.stride = stride;
    return m;
}

Mat op_values(OpRun *r, const float *values, int64_t rows, int64_t cols) {
    DType type = r->b->activation;
    int64_t gap = r->b->host_memory ? 0 : r->setup.gap, n = values ? rows * cols : 0;
    AUTO_FREE float *rounded = mem_alloc((size_t)n, sizeof *rounded);
    if (n) memcpy(rounded, values, (size_t)n * sizeof *rounded);
    op_round(r->setup.activation, rounded, n);
    return matrix(r, values ? rounded : NULL, rows, cols, type, gap);
}

static Mat name_output(OpRun *r, const char *name, Mat m, double tolerance) {
    op_output_at(r, name, m.data, (size_t)(m.rows * m.cols * dtype_info(m.dtype)->bytes), OP_FLOATS, tolerance);
    r->outputs[r->n_outputs - 1].mat = m;
    return m;
}

Mat op_input(OpRun *r, int64_t rows, int64_t cols) {
    AUTO_FREE float *x = op_input_floats(r, rows * cols);
    return op_values(r, x, rows, cols);
}

Mat op_output(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance) {
    return name_output(r, name, op_values(r, NULL, rows, cols), tolerance);
}

Mat op_inout(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance) {
    return name_output(r, name, op_input(r, rows, cols), tolerance);
}

Mat op_gradient(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance, bool accumulate) {
    return (accumulate ? op_inout : op_output)(r, name, rows, cols, tolerance);
}

Mat op_input_f32(OpRun *r, int64_t rows, int64_t cols) {
    AUTO_FREE float *x = op_input_floats(r, rows * cols);
    return matrix(r, x, rows, cols, DTYPE_F32, 0);
}

Mat op_output_f32(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance) {
    return name_output(r, name, matrix(r, NULL, rows, cols, DTYPE_F32, 0), tolerance);
}

Mat op_inout_f32(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance) {
    return name_output(r, name, op_input_f32(r, rows, cols), tolerance);
}

// ---- outputs ----

void op_output_at(OpRun *r, const char *name, void *data, size_t bytes, OpKind kind, double tolerance) {
    CHECK(r->n_outputs < OP_MAX_OUTPUTS);
    r->outputs[r->n_outputs++] =
        (OpOutput){.name = name, .data = data, .bytes = bytes, .kind = kind, .tolerance = tolerance};
}

void *op_output_bytes(OpRun *r, const char *name, size_t bytes, OpKind kind, double tolerance, const void *start) {
    void *data = start ? op_copy(r, start, bytes) : op_workspace(r, bytes);
    op_output_at(r, name, data, bytes, kind, tolerance);
    return data;
}

void op_rounded(OpRun *r, double roundings) { r->outputs[r->n_outputs - 1].roundings = roundings; }
void op_split(OpRun *r, double roundings) { r->outputs[r->n_outputs - 1].splits = roundings; }
