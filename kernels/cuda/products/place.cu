// place: copies a frozen weight from its mapped file to the device.
//
// The copy goes through the pinned ring and puts rows in logical order, so the host never holds more than the ring.
// Dense rows of another type than the activation type are converted on the device, from the first of the two tiles.
#include "fp8.h"

#include "device.cuh"

template <class To, class From> static __global__ void convert(To *dst, const From *src, int64_t n) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) store(dst + i, load(src + i));
}

static void convert_elements(Backend *b, void *dst, DType to, const void *src, DType from, int64_t n) {
    enum { THREADS = 256 };
    unsigned blocks = blocks_of(n, THREADS);
    DISPATCH(to, To,
             DISPATCH(from, From, RUN(b, (convert<To, From>), blocks, THREADS, 0, (To *)dst, (const From *)src, n)));
}

void cuda_try_kernel(Backend *b) {
    convert_elements(b, cuda_state(b)->workspace, DTYPE_F32, cuda_state(b)->workspace, DTYPE_F32, 1);
}

// Rows [row, row + n) of a dense segment, in logical order, as `type`.
static void place_dense(Backend *b, char *dst, DType type, const Weight *w, const WeightSegment *s, int64_t row,
                        int64_t n) {
    const CudaState *state = cuda_state(b);
    size_t from = cuda_row_bytes(w, s->dtype), to = cuda_row_bytes(w, type);
    if (s->dtype == type) {
        cuda_upload_rows(b, dst, s->data, from, s->row_map, row, n);
        return;
    }
    int64_t most = (int64_t)(state->scratch.expanded_bytes / from);
    CHECK(most > 0, "%s: rows of %zu bytes", w->name, from);
    for (int64_t done = 0; done < n; done += most) {
        int64_t rows = min64(most, n - done);
        cuda_upload_rows(b, state->expanded[0], s->data, from, s->row_map, row + done, rows);
        convert_elements(b, dst + (size_t)done * to, type, state->expanded[0], s->dtype, rows * w->cols);
    }
}

// In two walks: the largest magnitude is known before the first element is rounded. A tile of rows at a time.
static void place_fp8(Backend *b, const Weight *w, const PlacedPart *part, char *data, float *scale) {
    CudaState *state = cuda_state(b);
    int64_t most = (int64_t)(state->scratch.expanded_bytes / cuda_row_bytes(w, DTYPE_BF16));
    cuda_zero(b, scale, sizeof *scale);
    for (int walk = 0; walk < 2; walk++) {
        int64_t at = 0; // rows of the segments before
        for (int i = part->first; i <= part->last; at += w->segments[i++].rows) {
            const WeightSegment *s = &w->segments[i];
            for (int64_t row = 0; row < s->rows; row += most) {
                Mat tile = mat_of(state->expanded[1], DTYPE_BF16, min64(most, s->rows - row), w->cols);
                place_dense(b, (char *)tile.data, DTYPE_BF16, w, s, row, tile.rows);
                if (walk == 0)
                    cuda_fp8_measure(b, scale, tile);
                else
                    cuda_fp8_store(b, data, scale, tile, at + row, part->rows);
            }
        }
        if (walk == 0) cuda_fp8_scale(b, scale);
    }
}

static void place_rows(Backend *b, const Weight *w, const PlacedPart *part, char *data) {
    for (int i = part->first; i <= part->last; i++) {
        const WeightSegment *s = &w->segments[i];
        if (cuda_is_dense(part->type))
            place_dense(b, data, part->type, w, s, 0, s->rows);
        else
            cuda_upload_rows(b, data, s->data, cuda_row_bytes(w, s->dtype), s->row_map, 0, s->rows);
        data += (size_t)s->rows * cuda_row_bytes(w, part->type);
    }
}

static DTypeGroups place_groups(Backend *b, const WeightSegment *s, const PlacedPart *part, char *memory,
                                int64_t cols) {
    DTypeGroups g = s->groups;
    size_t n = (size_t)g.n;
    cuda_upload_rows(b, memory + part->scale, g.scale, n * sizeof *g.scale, s->row_map, 0, s->rows);
    g.scale = (const float *)(memory + part->scale);
    if (g.zero) {
        cuda_upload_rows(b, memory + part->zero, g.zero, n * sizeof *g.zero, s->row_map, 0, s->rows);
        g.zero = (const int16_t *)(memory + part->zero);
    }
    if (g.of_column) {
        cuda_upload(b, memory + part->of_column, g.of_column, (size_t)cols * sizeof *g.of_column);
        g.of_column = (const int32_t *)(memory + part->of_column);
    }
    return g;
}

static WeightSegment place_part(Backend *b, const Weight *w, const PlacedPart *part, char *memory) {
    char *data = memory + part->data;
    float *scale = (float *)(memory + part->scale);
    const WeightSegment *s = &w->segments[part->first];
    WeightSegment placed = {};
    placed.data = data;
    placed.dtype = part->type;
    placed.rows = part->rows;
    if (part->type == DTYPE_F8_E4M3)
        place_fp8(b, w, part, data, scale);
    else
        place_rows(b, w, part, data);
    if (part->type == DTYPE_NF4) cuda_upload_rows(b, scale, s->row_scale, sizeof(float), s->row_map, 0, s->rows);
    if (part->type == DTYPE_NF4 || part->type == DTYPE_F8_E4M3) placed.row_scale = scale;
    if (dtype_is_grouped(part->type)) placed.groups = place_groups(b, s, part, memory, w->cols);
    return placed;
}

void cuda_weight_place(Backend *b, Weight *w, bool fp8, void *memory) {
    PlacedWeight l = cuda_placed(b->activation, w, fp8);
    Weight placed = *w;
    CHECK((uintptr_t)memory % 256 == 0, "%s: a place that is not aligned", w->name);
    if (fp8 && cuda_is_dense(l.part[0].type))
        log_warn("%s [%ld, %ld] stays in %s: fp8 takes dense rows and columns in multiples of 16", w->name, w->rows,
                 w->cols, dtype_info(b->activation)->name);
    placed.n_segments = l.n;
    for (int i = 0; i < l.n; i++) placed.segments[i] = place_part(b, w, &l.part[i], (char *)memory);
    if (w->bias) {
        cuda_upload(b, (char *)memory + l.bias, w->bias, (size_t)w->rows * sizeof(float));
        placed.bias = (const float *)((char *)memory + l.bias);
    }
    *w = placed;
    cuda_state(b)->epoch++; // the tiles were used on another stream than usual: see tiles.h
}
