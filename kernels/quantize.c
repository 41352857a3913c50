// quantize: dense segments to blocks, a few hundred rows at a time, so that little memory is expanded at once.
#include "quantize.h"

enum { CHUNK_FLOATS = 1 << 18 }; // per thread; expanding and packing share a cache

static DType target_type(QuantizeKind kind) {
    CHECK(kind == QUANTIZE_INT8 || kind == QUANTIZE_NF4, "quantisation %d", (int)kind);
    return kind == QUANTIZE_INT8 ? DTYPE_Q8_0 : DTYPE_NF4;
}

static int check_weight(const Weight *w, DType t, Err *err) {
    for (int i = 0; i < w->n_segments; i++)
        if (w->segments[i].dtype > DTYPE_BF16)
            return err_input(err,
                             "%s is %s, and a quantised base keeps its own blocks; expected \"none\" for "
                             "quantize_base, quantize_head or quantize_teacher",
                             w->name, dtype_info(w->segments[i].dtype)->name);
    if (w->cols % dtype_info(t)->block)
        return err_input(err, "%s has %ld columns; expected a multiple of %d for %s", w->name, w->cols,
                         dtype_info(t)->block, t == DTYPE_NF4 ? "nf4" : "int8");
    return 0;
}

// A quantised segment holds the segment's rows only, so its row map must stay within them.
static void check_row_map(const Weight *w, const WeightSegment *s) {
    for (int64_t i = 0; s->row_map && i < s->rows; i++)
        CHECK(s->row_map[i] >= 0 && s->row_map[i] < s->rows, "%s: row %ld is stored as %d of %ld", w->name, i,
              s->row_map[i], s->rows);
}

static size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Bytes of the blocks of `rows` rows, and of the scales of these rows.
static size_t block_bytes(DType t, int64_t rows, int64_t cols) {
    size_t bytes;
    CHECK(dtype_bytes(t, (size_t)rows * (size_t)cols, &bytes), "[%ld, %ld]", rows, cols);
    return aligned(bytes);
}

static size_t scale_bytes(DType t, int64_t rows) { return t == DTYPE_NF4 ? aligned((size_t)rows * sizeof(float)) : 0; }

// The stored rows of one segment; scratch [chunk, K].
static bool quantize_segment(Backend *b, const WeightSegment *s, const Weight *w, DType t, char *dst, float *scales,
                             Mat scratch) {
    Weight stored = {.name = w->name,
                     .segments = {{.data = s->data, .dtype = s->dtype, .rows = s->rows}},
                     .n_segments = 1,
                     .rows = s->rows,
                     .cols = w->cols};
    size_t row_bytes;
    CHECK(dtype_bytes(t, (size_t)w->cols, &row_bytes));
    check_row_map(w, s);
    int64_t chunk = scratch.rows;
    bool ok = true;
    for (int64_t row = 0; ok && row < s->rows; row += chunk) {
        scratch.rows = chunk < s->rows - row ? chunk : s->rows - row;
        b->k->expand(b, scratch, &stored, row);
        ok = b->k->pack(b, dst + (size_t)row * row_bytes, scales ? scales + row : NULL, scratch, t);
    }
    return ok;
}

static size_t quantized_bytes(const Weight *w, DType t) {
    size_t bytes = 0;
    for (int i = 0; i < w->n_segments; i++)
        bytes += block_bytes(t, w->segments[i].rows, w->cols) + scale_bytes(t, w->segments[i].rows);
    return bytes;
}

int weight_quantize_outline(Weight *w, QuantizeKind kind, size_t *bytes, Err *err) {
    DType t = target_type(kind);
    if (check_weight(w, t, err)) return -1;
    *bytes = quantized_bytes(w, t);
    for (int i = 0; i < w->n_segments; i++) {
        w->segments[i].dtype = t;
        w->segments[i].row_scale = t == DTYPE_NF4 ? w->segments[i].data : NULL;
    }
    return 0;
}

int weight_quantize(Backend *b, Weight *w, QuantizeKind kind, QuantizedMemory *memory, Err *err) {
    DType t = target_type(kind);
    *memory = (QuantizedMemory){0};
    if (check_weight(w, t, err)) return -1;
    memory->bytes = quantized_bytes(w, t);
    memory->memory = b->k->alloc(b, memory->bytes);
    int64_t chunk = (int64_t)CHUNK_FLOATS * b->threads / w->cols;
    Mat scratch = {.dtype = DTYPE_F32, .rows = chunk > 0 ? chunk : 1, .cols = w->cols};
    scratch.data = b->k->alloc(b, (size_t)(scratch.rows * w->cols) * sizeof(float));
    bool ok = true;
    char *at = memory->memory;
    for (int i = 0; i < w->n_segments; i++) {
        WeightSegment *s = w->segments + i;
        char *data = at + scale_bytes(t, s->rows);
        float *scales = t == DTYPE_NF4 ? (float *)(void *)at : NULL;
        ok = ok && quantize_segment(b, s, w, t, data, scales, scratch);
        *s = (WeightSegment){.data = data, .row_map = s->row_map, .dtype = t, .rows = s->rows, .row_scale = scales};
        at = data + block_bytes(t, s->rows, w->cols);
    }
    b->k->free(b, scratch.data, (size_t)(scratch.rows * w->cols) * sizeof(float));
    if (ok) return 0;
    b->k->free(b, memory->memory, memory->bytes);
    *memory = (QuantizedMemory){0};
    return err_input(err, "%s holds a value that is not finite or too large for %s; expected finite weights", w->name,
                     dtype_info(t)->name);
}
