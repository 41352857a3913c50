// model_take: reads a model's tensors from its files (see model_internal.h). Matrices stay in the map as they are
// stored; vectors are copied as float32.
#include <math.h>
#include <string.h>

#include "fileio.h"
#include "model_internal.h"
#include "quantize.h"
#include "quantized.h"

// ---- memory ----

static void own(Model *m, void *data, size_t bytes) {
    struct ModelFile *f = m->file;
    MEM_GROW(f->owned, f->owned_capacity, f->n_owned + 1);
    f->owned[f->n_owned++] = (ModelMemory){data, bytes};
}

void *model_own(Model *m, size_t bytes) {
    void *p = mem_alloc(bytes, 1);
    own(m, p, 0);
    return p;
}

void *model_own_weights(Model *m, size_t bytes) {
    void *p = m->host->k->alloc(m->host, bytes);
    own(m, p, bytes);
    return p;
}

float *model_own_floats(Model *m, const float *host, size_t n) {
    float *copy = model_own_weights(m, n * sizeof *copy);
    memcpy(copy, host, n * sizeof *copy);
    return copy;
}

static void disown(Model *m, size_t i) {
    struct ModelFile *f = m->file;
    m->host->k->free(m->host, f->owned[i].data, f->owned[i].bytes);
    f->owned[i] = f->owned[--f->n_owned];
}

void model_disown_weights(Model *m) {
    for (size_t i = m->file->n_owned; i-- > 0;)
        if (m->file->owned[i].bytes) disown(m, i);
}

static void disown_copy(Model *m, const void *data) {
    size_t i = 0;
    while (i < m->file->n_owned && m->file->owned[i].data != data) i++;
    CHECK(i < m->file->n_owned && m->file->owned[i].bytes, "a copy that the model does not own");
    disown(m, i);
}

// ---- matrices ----

Weight weight_rows(const SourceTensor *t, const WeightSegment *stored, int64_t row, int64_t rows, int64_t cols,
                   const int32_t *row_map) {
    size_t row_bytes;
    CHECK(dtype_bytes(t->dtype, (size_t)cols, &row_bytes));
    WeightSegment part = {.data = (const char *)stored->data + (size_t)row * row_bytes,
                          .row_map = row_map,
                          .dtype = t->dtype,
                          .rows = rows,
                          .groups = dtype_groups_row(stored->groups, row)};
    return (Weight){.name = t->name, .segments = {part}, .n_segments = 1, .rows = rows, .cols = cols};
}

int model_refuse_values(Loader *l, const char *name) {
    return err_input(l->err, "%s: %s holds a value that is not finite; expected finite weights", l->m->path, name);
}

int model_check_finite(Loader *l, const Weight *w, const char *name) {
    Backend *b = l->m->host;
    if (l->options->outline || b->k->weight_finite(b, w)) return 0;
    return model_refuse_values(l, name);
}

// dst [cols, rows] = transposed src [rows, cols], in blocks that stay in the cache.
#define TRANSPOSE(name, Element)                                                                                       \
    /* NOLINTNEXTLINE(bugprone-macro-parentheses): a type */                                                           \
    static void name(Element *dst, const Element *src, int64_t rows, int64_t cols) {                                   \
        enum { BLOCK = 32 };                                                                                           \
        _Pragma("omp parallel for") for (int64_t r0 = 0; r0 < rows; r0 += BLOCK) for (int64_t c0 = 0; c0 < cols;       \
                                                                                      c0 += BLOCK) {                   \
            int64_t r1 = r0 + BLOCK < rows ? r0 + BLOCK : rows, c1 = c0 + BLOCK < cols ? c0 + BLOCK : cols;            \
            for (int64_t c = c0; c < c1; c++)                                                                          \
                for (int64_t r = r0; r < r1; r++) dst[c * rows + r] = src[r * cols + c];                               \
        }                                                                                                              \
    }
TRANSPOSE(transpose16, uint16_t)
TRANSPOSE(transpose32, uint32_t)

// A matrix stored [in, out] as [out, in], in the same dtype.
static int transposed_copy(Loader *l, const Slot *s, const void **data) {
    const SourceTensor *t = s->tensor;
    if (t->dtype > DTYPE_BF16)
        return err_input(l->err, "%s: %s has type %s; expected F32, F16 or BF16", l->m->path, s->name, t->dtype_name);
    void *copy = model_own_weights(l->m, t->bytes);
    if (t->dtype == DTYPE_F32)
        transpose32(copy, *data, s->shape[0], s->shape[1]);
    else
        transpose16(copy, *data, s->shape[0], s->shape[1]);
    *data = copy;
    return 0;
}

int model_quantize(Loader *l, Weight *w, QuantizeKind kind) {
    QuantizedMemory q;
    if (l->options->outline) {
        size_t bytes;
        if (weight_quantize_outline(w, kind, &bytes, l->err)) return err_context(l->err, "%s", l->m->path);
        l->m->weight_bytes += bytes;
        return 0;
    }
    if (weight_quantize(l->m->host, w, kind, &q, l->err)) return err_context(l->err, "%s", l->m->path);
    own(l->m, q.memory, q.bytes);
    l->m->weight_bytes += q.bytes;
    return 0;
}

void model_drop_stored(Loader *l, const Slot *s, const void *data) {
    l->m->weight_bytes -= s->tensor->bytes;
    if (l->options->outline) return;
    if (s->transposed)
        disown_copy(l->m, data);
    else if (data == s->tensor->data)
        file_pages_drop(data, s->tensor->bytes);
}

static int quantize_parts(Loader *l, const Slot *s, const void *data) {
    for (int i = 0; i < s->n_parts; i++)
        if (model_quantize(l, s->parts[i], s->quantize)) return -1;
    model_drop_stored(l, s, data);
    return 0;
}

int model_stored(WeightSegment *stored, Loader *l, const Slot *s) {
    const SourceTensor *t = s->tensor;
    bool outline = l->options->outline;
    if (t->quantized) {
        size_t bytes = quantized_bytes(t);
        l->m->weight_bytes += bytes;
        if (t->quantized->copied || t->quantized->blocks) l->m->weight_bytes -= t->bytes;
        void *memory = outline ? NULL : model_own_weights(l->m, bytes);
        return quantized_read(stored, t, memory, l->err) ? err_context(l->err, "%s", l->m->path) : 0;
    }
    *stored = (WeightSegment){.data = outline ? t->data : weight_source_aligned(l->m->file->source, t),
                              .dtype = t->dtype,
                              .rows = s->shape[0]};
    return 0;
}

int model_take_matrix(Loader *l, const Slot *s) {
    WeightSegment stored;
    if (model_stored(&stored, l, s)) return -1;
    if (s->transposed && !l->options->outline && transposed_copy(l, s, &stored.data)) return -1;
    int64_t rows = s->shape[s->transposed], cols = s->shape[!s->transposed], row = s->first_row;
    bool quantize = s->quantize != QUANTIZE_NONE; // it refuses non-finite values itself
    Weight whole = weight_rows(s->tensor, &stored, 0, rows, cols, NULL);
    if (!quantize && model_check_finite(l, &whole, s->name)) return -1;
    for (int i = 0; i < s->n_parts; i++) {
        const float *bias = s->parts[i]->bias;
        *s->parts[i] = weight_rows(s->tensor, &stored, row, s->part_rows[i], cols, s->row_map[i]);
        s->parts[i]->bias = bias;
        row += s->part_rows[i];
    }
    return quantize ? quantize_parts(l, s, stored.data) : 0;
}

// ---- vectors ----

static size_t vector_size(const Slot *s) {
    size_t n = 1;
    for (int d = 0; d < s->n_dims; d++) n *= (size_t)s->shape[d];
    return n;
}

// The checked values in host memory; the caller frees.
static int read_vector(Loader *l, const Slot *s, float **out) {
    size_t n = vector_size(s);
    float *host = *out = mem_alloc(n, sizeof *host);
    dtype_expand(s->tensor->dtype, host, weight_source_aligned(l->m->file->source, s->tensor), n);
    bool finite = true;
    for (size_t i = 0; i < n; i++) finite = finite && isfinite(host[i]);
    return finite ? 0 : model_refuse_values(l, s->name);
}

int model_take_vector(Loader *l, const Slot *s) {
    AUTO_FREE float *host = NULL;
    if (l->options->outline) {
        *s->vector = model_own_weights(l->m, vector_size(s) * sizeof(float));
        return 0;
    }
    if (read_vector(l, s, &host)) return -1;
    for (int64_t i = 0; s->plus_one && i < s->shape[0]; i++) host[i] += 1.0f;
    *s->vector = model_own_floats(l->m, host, vector_size(s));
    return 0;
}

// A bias is stored in file order and kept in the order of the logical rows.
int model_take_bias(Loader *l, const Slot *s) {
    AUTO_FREE float *host = NULL;
    if (l->options->outline) {
        for (int i = 0; i < s->n_parts; i++)
            s->parts[i]->bias = model_own_weights(l->m, (size_t)s->part_rows[i] * sizeof(float));
        return 0;
    }
    if (read_vector(l, s, &host)) return -1;
    int64_t row = 0;
    for (int i = 0; i < s->n_parts; i++) {
        int64_t n = s->part_rows[i];
        AUTO_FREE float *part = mem_alloc((size_t)n, sizeof *part);
        for (int64_t r = 0; r < n; r++) part[r] = host[row + (s->row_map[i] ? s->row_map[i][r] : r)];
        s->parts[i]->bias = model_own_floats(l->m, part, (size_t)n);
        row += n;
    }
    return 0;
}

int model_take_slots(Loader *l) {
    for (size_t i = 0; i < l->n_slots; i++) {
        const Slot *s = &l->slots[i];
        if (!s->take || !s->tensor || s->elsewhere) continue;
        if (s->take(l, s)) return -1;
        // Placing it, or the layer's turn, reads it once more.
        bool again = l->m->host != l->m->backend || l->options->memory == BASE_MEMORY_DISK;
        if (again && !l->options->outline) file_pages_drop(s->tensor->data, s->tensor->bytes);
    }
    return 0;
}
