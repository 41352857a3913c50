// merge: finds the tensors with an adapter and computes their rows (see merge.h).
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"
#include "merge_internal.h"

enum { BLOCK_FLOATS = 4 << 20, COPY_BYTES = 8 << 20, TILE = 256 };

// ---- rows ----

// Both NULL: the row is not trained.
typedef struct RowPair {
    const float *a, *b; // A [r, in]; the row of B [r]
    int64_t rank;
    float scale;
} RowPair;

// For every output of the linear, in the file's order.
static RowPair *row_pairs(const Merge *g, const MergeTensor *t, int64_t n) {
    const ModelConfig *c = &g->m->config;
    RowPair *pairs = mem_calloc((size_t)n, sizeof *pairs);
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        AdapterPair pair;
        if (!(t->module->parts & PROJ_BIT(p)) || !adapter_pair(g->a, t->layer, p, &pair)) continue;
        int64_t first = adapter_part_row(c, t->module->parts, p);
        for (int64_t row = 0; row < pair.rows; row++) {
            int64_t at = g->m->is_gguf ? adapter_gguf_row(c, t->module->parts, p, row) : first + row;
            CHECK(at < n, "%s: row %ld of %ld", t->source->name, at, n);
            pairs[at] = (RowPair){g->params + pair.a->offset, g->params + pair.b_offset + row * pair.a->rows,
                                  pair.a->rows, pair.a->scale};
        }
    }
    return pairs;
}

// w [in] += scale * b A.
static void add_to_row(float *w, RowPair pair, int64_t in) {
    for (int64_t j0 = 0; j0 < in; j0 += TILE) {
        int64_t n = in - j0 < TILE ? in - j0 : TILE;
        float sum[TILE] = {0};
        for (int64_t k = 0; k < pair.rank; k++)
            for (int64_t j = 0; j < n; j++) sum[j] += pair.b[k] * pair.a[k * in + j0 + j];
        for (int64_t j = 0; j < n; j++) w[j0 + j] += pair.scale * sum[j];
    }
}

// w [out] is row i of a matrix stored [in, out].
static void add_to_column(float *w, const RowPair *pairs, int64_t i, int64_t in, int64_t out) {
    for (int64_t o = 0; o < out; o++) {
        float sum = 0;
        for (int64_t k = 0; pairs[o].b && k < pairs[o].rank; k++) sum += pairs[o].b[k] * pairs[o].a[k * in + i];
        w[o] += pairs[o].scale * sum;
    }
}

// ---- tensors ----

// A tensor as a matrix: all dimensions but the last are rows.
static void matrix_shape(const SourceTensor *s, int64_t *rows, int64_t *cols) {
    *rows = 1;
    *cols = s->n_dims ? s->shape[s->n_dims - 1] : 1;
    for (int d = 0; d + 1 < s->n_dims; d++) *rows *= s->shape[d];
}

size_t merge_bytes(const MergeTensor *t) {
    size_t bytes;
    int64_t rows, cols;
    matrix_shape(t->source, &rows, &cols);
    if (t->dtype == t->source->dtype) return t->source->bytes;
    CHECK(dtype_bytes(t->dtype, (size_t)rows * (size_t)cols, &bytes), "%s", t->source->name);
    return bytes;
}

static int copy_tensor(const SourceTensor *s, MergeSink sink, Err *err) {
    for (size_t at = 0; at < s->bytes; at += COPY_BYTES) {
        size_t n = s->bytes - at < COPY_BYTES ? s->bytes - at : COPY_BYTES;
        if (sink.write(sink.to, (const char *)s->data + at, n, err)) return -1;
    }
    return 0;
}

// A block of stored rows from `row` on: as stored (the file may misalign them), as float32, as written.
typedef struct Block {
    const RowPair *pairs; // of the whole tensor; NULL: it has no adapter
    int64_t row;
    Mat values;
    void *stored, *packed;
    size_t stored_row, packed_row; // bytes
} Block;

static Block new_block(const MergeTensor *t, int64_t most, int64_t cols) {
    Block b = {.values = {.dtype = DTYPE_F32, .cols = cols}};
    size_t n = (size_t)most;
    CHECK(dtype_bytes(t->source->dtype, (size_t)cols, &b.stored_row) &&
              dtype_bytes(t->dtype, (size_t)cols, &b.packed_row),
          "%s: %ld columns", t->source->name, cols);
    b.values.data = mem_alloc(n * (size_t)cols, sizeof(float));
    b.stored = mem_alloc(n, b.stored_row);
    b.packed = mem_alloc(n, b.packed_row);
    return b;
}

static void free_block(Block *b) {
    mem_free(b->values.data);
    mem_free(b->stored);
    mem_free(b->packed);
}

static void add_adapter(const Merge *g, const MergeTensor *t, const Block *b) {
    bool transposed = g->m->config.arch->hf_conv1d && !g->m->is_gguf;
    int64_t in = t->source->shape[transposed ? 0 : 1];
#pragma omp parallel for schedule(static) num_threads(g->m->backend->threads)
    for (int64_t i = 0; i < b->values.rows; i++) {
        float *w = (float *)b->values.data + i * b->values.cols;
        if (transposed)
            add_to_column(w, b->pairs, b->row + i, in, b->values.cols);
        else if (b->pairs[b->row + i].b)
            add_to_row(w, b->pairs[b->row + i], in);
    }
}

static int write_block(const Merge *g, const MergeTensor *t, const Block *b, MergeSink sink, Err *err) {
    Backend *backend = g->m->backend;
    Mat values = b->values;
    memcpy(b->stored, (const char *)t->source->data + (size_t)b->row * b->stored_row,
           (size_t)values.rows * b->stored_row);
    Weight w = {.name = t->source->name,
                .segments = {{.data = b->stored, .dtype = t->source->dtype, .rows = values.rows}},
                .n_segments = 1,
                .rows = values.rows,
                .cols = values.cols};
    backend->k->expand(backend, values, &w, 0);
    if (b->pairs) add_adapter(g, t, b);
    if (!backend->k->pack(backend, b->packed, NULL, values, t->dtype))
        return err_runtime(err, "%s: a merged value is not finite, or too large for %s", t->source->name,
                           dtype_info(t->dtype)->name);
    return sink.write(sink.to, b->packed, (size_t)values.rows * b->packed_row, err);
}

int merge_write(const Merge *g, const MergeTensor *t, MergeSink sink, Err *err) {
    int rc = 0;
    if (!t->module && t->dtype == t->source->dtype) {
        rc = copy_tensor(t->source, sink, err);
    } else {
        int64_t rows, cols;
        matrix_shape(t->source, &rows, &cols);
        int64_t most = BLOCK_FLOATS / (cols > 0 ? cols : 1);
        most = most < 1 ? 1 : most < rows ? most : rows;
        Block b = new_block(t, most, cols);
        bool transposed = g->m->config.arch->hf_conv1d && !g->m->is_gguf;
        RowPair *pairs = t->module ? row_pairs(g, t, transposed ? cols : rows) : NULL;
        for (b.pairs = pairs; b.row < rows && !rc; b.row += most) {
            b.values.rows = most < rows - b.row ? most : rows - b.row;
            rc = write_block(g, t, &b, sink, err);
        }
        mem_free(pairs);
        free_block(&b);
    }
    file_pages_drop(t->source->data, t->source->bytes);
    return rc;
}

// ---- the model ----

static void list_tensors(Merge *g) {
    g->n = g->files->n_tensors;
    g->tensors = mem_calloc(g->n, sizeof *g->tensors);
    for (size_t i = 0; i < g->n; i++) {
        const SourceTensor *s = &g->files->tensors[i];
        g->tensors[i] = (MergeTensor){.source = s, .dtype = s->dtype};
    }
}

static bool has_adapter(const Merge *g, int64_t layer, const Module *module) {
    AdapterPair pair;
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if ((module->parts & PROJ_BIT(p)) && adapter_pair(g->a, layer, p, &pair)) return true;
    return false;
}

static void mark_module(Merge *g, int64_t layer, const Module *module) {
    const Architecture *arch = g->m->config.arch;
    char prefix[64];
    architecture_layer_prefix(prefix, sizeof prefix, g->m->is_gguf ? &arch->gguf_names : &arch->hf, layer);
    AUTO_FREE char *name =
        mem_printf("%s%s%s.weight", g->m->is_gguf ? "" : g->m->hf_prefix->file, prefix, module->name);
    const SourceTensor *s = weight_source_get(g->files, name);
    CHECK(s, "%s is in the model and not in its files", name);
    MergeTensor *t = &g->tensors[s - g->files->tensors];
    t->module = module;
    t->layer = layer;
}

static void mark_adapters(Merge *g) {
    const Module *modules = g->m->is_gguf ? g->m->gguf_modules : g->m->config.arch->hf.modules;
    for (int64_t layer = 0; layer < g->m->config.layers; layer++)
        for (const Module *module = modules; module->name; module++)
            if (has_adapter(g, layer, module)) mark_module(g, layer, module);
}

int model_merge_check(const Model *m, const char *out, const MergeOptions *o, Err *err) {
    struct stat st; // also of a dangling link
    if (lstat(out, &st) == 0) return err_input(err, "%s: already exists; expected a new name", out);
    if (m->is_gguf && !ends_with(out, ".gguf"))
        return err_input(err, "%s: the base is GGUF and merges into GGUF; expected a name that ends in .gguf", out);
    if (!m->is_gguf && ends_with(out, ".gguf"))
        return err_input(
            err, "%s: the base is a Hugging Face folder and merges into one; expected the name of a folder", out);
    if (!m->is_gguf && o->dtype != DTYPE_COUNT && o->dtype > DTYPE_BF16)
        return err_input(err, "%s is a type of GGUF files; expected f32, f16 or bf16 for a Hugging Face folder",
                         dtype_info(o->dtype)->name);
    return 0;
}

int model_merge(const Model *m, const Adapter *a, const char *out, const MergeOptions *o, Err *err) {
    if (model_merge_check(m, out, o, err) || adapter_check(a, err)) return -1;
    if (a->config.labels)
        return err_input(err,
                         "a classifier of %ld classes: its head has no place in the files of %s; expected the adapter "
                         "of a language model",
                         a->config.labels, m->path);
    Merge g = {.m = m, .a = a, .dtype = o->dtype, .shard_bytes = o->shard_bytes};
    if (weight_source_open(&g.files, m->path, err)) return -1;
    AUTO_FREE float *params = adapter_download(a);
    g.params = params;
    list_tensors(&g);
    mark_adapters(&g);
    int rc = m->is_gguf ? merge_write_gguf(&g, out, err) : merge_write_hf(&g, out, err);
    mem_free(g.tensors);
    weight_source_close(g.files);
    return rc;
}
