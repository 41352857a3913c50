// merge: finds the tensors with an adapter and computes their rows (see merge.h).
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"
#include "merge_internal.h"
#include "model_experts.h"
#include "quantized.h"

enum { BLOCK_FLOATS = 4 << 20, COPY_BYTES = 8 << 20, TILE = 256 };

// ---- rows ----

// Both NULL: the row is not trained.
typedef struct RowPair {
    const float *a, *b; // A [r, in]; the row of B [r]
    int64_t rank;
    float scale;
    float gain; // DoRA: magnitude over the length of the row; else 1
} RowPair;

static float row_gain(const Merge *g, const AdapterPair *pair, int64_t row) {
    if (!pair->magnitude) return 1;
    float norm = g->norms[pair->norm_offset + row];
    return norm == 0 ? 0 : g->params[pair->magnitude_offset + row] / norm;
}

static RowPair row_pair(const Merge *g, const AdapterPair *pair, int64_t row) {
    return (RowPair){g->params + pair->a->offset, g->params + pair->b_offset + row * pair->a->rows, pair->a->rows,
                     pair->a->scale, row_gain(g, pair, row)};
}

static void expert_rows(const Merge *g, const MergeTensor *t, RowPair *pairs, int64_t n) {
    int64_t at = 0, first = max64(t->expert, 0), end = t->expert < 0 ? g->m->config.experts : first + 1;
    for (int64_t e = first; e < end; e++)
        for (Projection p = PROJ_EXPERT_GATE; p <= PROJ_EXPERT_DOWN; p++) {
            AdapterPair pair;
            int64_t rows, cols;
            if (!(t->expert_parts & PROJ_BIT(p))) continue;
            model_projection_shape(&g->m->config, p, &rows, &cols);
            CHECK(at + rows <= n, "%s: row %ld of %ld", t->name, at + rows, n);
            bool trained = adapter_expert_pair(g->a, t->layer, p, e, &pair);
            for (int64_t row = 0; trained && row < rows; row++) pairs[at + row] = row_pair(g, &pair, row);
            at += rows;
        }
}

// For every output of the linear, in the file's order.
static RowPair *row_pairs(const Merge *g, const MergeTensor *t, int64_t n) {
    const ModelConfig *c = &g->m->config;
    RowPair *pairs = mem_calloc((size_t)n, sizeof *pairs);
    if (t->expert_parts) expert_rows(g, t, pairs, n);
    if (t->expert_parts) return pairs;
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        AdapterPair pair;
        if (!(t->module->parts & PROJ_BIT(p)) || !adapter_pair(g->a, t->layer, p, &pair)) continue;
        int64_t first = adapter_part_row(c, t->module->parts, p);
        for (int64_t row = 0; row < pair.rows; row++) {
            int64_t at = g->to_gguf ? adapter_gguf_row(c, t->module->parts, p, row) : first + row;
            CHECK(at < n, "%s: row %ld of %ld", t->name, at, n);
            pairs[at] = row_pair(g, &pair, row);
        }
    }
    return pairs;
}

// w [in] = gain * (w + scale * b A).
static void add_to_row(float *w, RowPair pair, int64_t in) {
    for (int64_t j0 = 0; j0 < in; j0 += TILE) {
        int64_t n = in - j0 < TILE ? in - j0 : TILE;
        float sum[TILE] = {0};
        for (int64_t k = 0; k < pair.rank; k++)
            for (int64_t j = 0; j < n; j++) sum[j] += pair.b[k] * pair.a[k * in + j0 + j];
        for (int64_t j = 0; j < n; j++) w[j0 + j] = pair.gain * (w[j0 + j] + pair.scale * sum[j]);
    }
}

// w [out] is row i of a matrix stored [in, out].
static void add_to_column(float *w, const RowPair *pairs, int64_t i, int64_t in, int64_t out) {
    for (int64_t o = 0; o < out; o++) {
        float sum = 0;
        for (int64_t k = 0; pairs[o].b && k < pairs[o].rank; k++) sum += pairs[o].b[k] * pairs[o].a[k * in + i];
        if (pairs[o].b) w[o] = pairs[o].gain * (w[o] + pairs[o].scale * sum);
    }
}

// ---- tensors ----

// A tensor as a matrix: all dimensions but the last are rows. The rows of a vector of heads are its values.
static void matrix_shape(const MergeTensor *t, int64_t *rows, int64_t *cols) {
    bool vector = t->n_dims == 1 && t->permuted;
    *rows = vector ? t->shape[0] : 1;
    *cols = !t->n_dims || vector ? 1 : t->shape[t->n_dims - 1];
    for (int d = 0; d + 1 < t->n_dims; d++) *rows *= t->shape[d];
}

size_t merge_bytes(const MergeTensor *t) {
    size_t bytes;
    int64_t rows, cols;
    matrix_shape(t, &rows, &cols);
    if (!t->converted && t->dtype == t->source->dtype) return t->source->bytes;
    CHECK(dtype_bytes(t->dtype, (size_t)rows * (size_t)cols, &bytes), "%s", t->name);
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
    const SourceTensor *quantized; // whose scales were read; NULL: none
    WeightSegment segment;         // of it
    void *scales;
} Block;

static Block new_block(const MergeTensor *t, int64_t most, int64_t cols) {
    Block b = {.values = {.dtype = DTYPE_F32, .cols = cols}};
    size_t n = (size_t)most;
    CHECK(dtype_bytes(t->source->dtype, (size_t)cols, &b.stored_row) &&
              dtype_bytes(t->dtype, (size_t)cols, &b.packed_row),
          "%s: %ld columns", t->name, cols);
    b.values.data = mem_alloc(n * (size_t)cols, sizeof(float));
    b.stored = mem_alloc(n, b.stored_row);
    b.packed = mem_alloc(n, b.packed_row);
    return b;
}

static void free_block(Block *b) {
    mem_free(b->values.data);
    mem_free(b->stored);
    mem_free(b->packed);
    mem_free(b->scales);
}

static void add_adapter(const Merge *g, const MergeTensor *t, const Block *b) {
    bool transposed = g->m->config.arch->hf_conv1d && !g->to_gguf;
    int64_t in = transposed ? t->shape[0] : b->values.cols;
#pragma omp parallel for schedule(static) num_threads(g->m->backend->threads)
    for (int64_t i = 0; i < b->values.rows; i++) {
        float *w = (float *)b->values.data + i * b->values.cols;
        if (transposed)
            add_to_column(w, b->pairs, b->row + i, in, b->values.cols);
        else if (b->pairs[b->row + i].b)
            add_to_row(w, b->pairs[b->row + i], in);
    }
}

// Which row of which tensor a row of the written one is.
static const SourceTensor *stored_row(const MergeTensor *t, int64_t *of_written) {
    const SourceTensor *s = t->source;
    int64_t row = *of_written;
    if (t->permuted) {
        int64_t head = row / t->permuted, i = row % t->permuted;
        row = head * t->permuted + i % 2 * (t->permuted / 2) + i / 2;
    } else if (t->rows) {
        int64_t expert = row / t->rows;
        if (t->experts) s = t->experts[expert];
        row = (t->experts ? 0 : expert * t->stride) + t->first + row % t->rows;
    }
    *of_written = row;
    return s;
}

// Rows that are columns of the source.
static void read_columns(const MergeTensor *t, const Block *b) {
    size_t size = (size_t)dtype_info(t->source->dtype)->bytes, out = (size_t)t->shape[0];
    for (int64_t i = 0; i < b->values.rows; i++)
        for (size_t j = 0; j < (size_t)b->values.cols; j++)
            memcpy((char *)b->stored + ((size_t)i * (size_t)b->values.cols + j) * size,
                   (const char *)t->source->data + (j * out + (size_t)(b->row + i)) * size, size);
}

static void read_rows(const MergeTensor *t, const Block *b) {
    size_t n = b->stored_row;
    if (t->transposed) {
        read_columns(t, b);
        return;
    }
    for (int64_t i = 0; i < b->values.rows; i++) {
        int64_t row = b->row + i;
        const SourceTensor *s = stored_row(t, &row);
        memcpy((char *)b->stored + (size_t)i * n, (const char *)s->data + (size_t)row * n, n);
    }
}

// Of a matrix with scales apart from its numbers, one after the other.
static int expand_quantized(const Merge *g, const MergeTensor *t, Block *b, Err *err) {
    Backend *backend = g->m->backend;
    for (int64_t i = 0; i < b->values.rows; i++) {
        int64_t row = b->row + i;
        const SourceTensor *s = stored_row(t, &row);
        if (s != b->quantized) {
            mem_free(b->scales);
            b->quantized = s;
            b->scales = mem_alloc(quantized_bytes(s), 1);
            if (quantized_read(&b->segment, s, b->scales, err)) return -1;
        }
        Weight w = {
            .name = s->name, .segments = {b->segment}, .n_segments = 1, .rows = s->shape[0], .cols = s->shape[1]};
        Mat to = mat_of((float *)b->values.data + i * b->values.cols, DTYPE_F32, 1, b->values.cols);
        backend->k->expand(backend, to, &w, row);
    }
    return 0;
}

static int expand_block(const Merge *g, const MergeTensor *t, Block *b, Err *err) {
    if (t->source->quantized) return expand_quantized(g, t, b, err);
    read_rows(t, b);
    Weight w = {.name = t->name,
                .segments = {{.data = b->stored, .dtype = t->source->dtype, .rows = b->values.rows}},
                .n_segments = 1,
                .rows = b->values.rows,
                .cols = b->values.cols};
    g->m->backend->k->expand(g->m->backend, b->values, &w, 0);
    return 0;
}

static int write_block(const Merge *g, const MergeTensor *t, Block *b, MergeSink sink, Err *err) {
    Backend *backend = g->m->backend;
    Mat values = b->values;
    if (expand_block(g, t, b, err)) return -1;
    if (b->pairs) add_adapter(g, t, b);
    for (int64_t i = 0; t->plus_one && i < values.rows * values.cols; i++) ((float *)values.data)[i] += 1;
    if (!backend->k->pack(backend, b->packed, NULL, values, t->dtype))
        return err_runtime(err, "%s: a merged value is not finite, or too large for %s", t->name,
                           dtype_info(t->dtype)->name);
    return sink.write(sink.to, b->packed, (size_t)values.rows * b->packed_row, err);
}

static int write_blocks(const Merge *g, const MergeTensor *t, MergeSink sink, Err *err) {
    int rc = 0;
    int64_t rows, cols;
    matrix_shape(t, &rows, &cols);
    int64_t most = BLOCK_FLOATS / (cols > 0 ? cols : 1);
    most = most < 1 ? 1 : most < rows ? most : rows;
    Block b = new_block(t, most, cols);
    bool transposed = g->m->config.arch->hf_conv1d && !g->to_gguf;
    RowPair *pairs = t->module || t->expert_parts ? row_pairs(g, t, transposed ? cols : rows) : NULL;
    for (b.pairs = pairs; b.row < rows && !rc; b.row += most) {
        b.values.rows = most < rows - b.row ? most : rows - b.row;
        rc = write_block(g, t, &b, sink, err);
    }
    mem_free(pairs);
    free_block(&b);
    return rc;
}

static void drop_pages(const Merge *g, const MergeTensor *t) {
    file_pages_drop(t->source->data, t->source->bytes);
    for (int64_t i = 0; t->experts && i < g->m->config.experts; i++)
        file_pages_drop(t->experts[i]->data, t->experts[i]->bytes);
}

int merge_write(const Merge *g, const MergeTensor *t, MergeSink sink, Err *err) {
    if (t->values) return sink.write(sink.to, t->values, merge_bytes(t), err);
    bool copied = !t->module && !t->expert_parts && !t->converted && t->dtype == t->source->dtype;
    int rc = copied ? copy_tensor(t->source, sink, err) : write_blocks(g, t, sink, err);
    drop_pages(g, t);
    return rc;
}

// ---- the model ----

static void list_tensors(Merge *g) {
    g->n = g->files->n_tensors;
    g->tensors = mem_calloc(g->n, sizeof *g->tensors);
    for (size_t i = 0; i < g->n; i++) {
        const SourceTensor *s = &g->files->tensors[i];
        g->tensors[i] = (MergeTensor){.source = s, .name = s->name, .dtype = s->dtype, .n_dims = s->n_dims};
        memcpy(g->tensors[i].shape, s->shape, sizeof s->shape);
    }
}

bool merge_has_adapter(const Merge *g, int64_t layer, const Module *module) {
    AdapterPair pair;
    for (Projection p = 0; g->a && p < PROJ_COUNT; p++)
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

void merge_mark_experts(const Merge *g, MergeTensor *t, int64_t layer, uint32_t parts, int64_t expert) {
    if (!merge_has_adapter(g, layer, &(Module){t->name, parts})) return;
    t->layer = layer;
    t->expert_parts = parts;
    t->expert = expert;
}

static void mark_tensor(Merge *g, int64_t layer, const char *prefix, const char *name, uint32_t parts) {
    const char *number = name ? strstr(name, "%d") : NULL;
    for (int64_t e = 0; name && e < (number ? g->m->config.experts : 1); e++) {
        AUTO_FREE char *full = number ? mem_printf("%s%.*s%ld%s", prefix, (int)(number - name), name, e, number + 2)
                                      : mem_printf("%s%s", prefix, name);
        const SourceTensor *s = weight_source_get(g->files, full);
        CHECK(s, "%s is in the model and not in its files", full);
        merge_mark_experts(g, &g->tensors[s - g->files->tensors], layer, parts, number ? e : -1);
    }
}

// The tensors of routed experts, in any of their layouts.
static void mark_experts(Merge *g, int64_t layer) {
    const Architecture *arch = g->m->config.arch;
    const TensorNames *names = g->m->is_gguf ? &arch->gguf_names : &arch->hf;
    const uint32_t gate = PROJ_BIT(PROJ_EXPERT_GATE), up = PROJ_BIT(PROJ_EXPERT_UP), down = PROJ_BIT(PROJ_EXPERT_DOWN);
    char inner[64];
    if (!model_layer_has(&g->m->config, layer, PROJ_EXPERT_GATE)) return;
    architecture_layer_prefix(inner, sizeof inner, names, layer);
    AUTO_FREE char *prefix = mem_printf("%s%s", g->m->is_gguf ? "" : g->m->hf_prefix->file, inner);
    const ExpertNames *n = model_expert_names(g->files, names->router, prefix);
    mark_tensor(g, layer, prefix, n->gate ? n->gate : n->gates, gate);
    mark_tensor(g, layer, prefix, n->up ? n->up : n->ups, up);
    mark_tensor(g, layer, prefix, n->down ? n->down : n->downs, down);
    mark_tensor(g, layer, prefix, n->gate_ups, gate | up);
}

static void mark_adapters(Merge *g) {
    const Module *modules = g->m->is_gguf ? g->m->gguf_modules : g->m->config.arch->hf.modules;
    for (int64_t layer = 0; layer < g->m->config.layers; layer++) {
        for (const Module *module = modules; module->name; module++)
            if (!module_is_expert(module) && merge_has_adapter(g, layer, module)) mark_module(g, layer, module);
        mark_experts(g, layer);
    }
}

static bool is_gguf_name(const char *path) { return ends_with(path, ".gguf"); }

int model_merge_check(const Model *m, const char *out, const MergeOptions *o, Err *err) {
    struct stat st; // also of a dangling link
    if (lstat(out, &st) == 0) return err_input(err, "%s: already exists; expected a new name", out);
    if (m->is_gguf && !is_gguf_name(out))
        return err_input(err, "%s: the base is GGUF and merges into GGUF; expected a name that ends in .gguf", out);
    if (!m->is_gguf && is_gguf_name(out) && model_config_gguf_check(&m->config, err))
        return err_context(err, "%s as a GGUF file", m->path);
    if (!is_gguf_name(out) && o->dtype != DTYPE_COUNT && o->dtype > DTYPE_BF16)
        return err_input(err,
                         "%s is a type of GGUF files; expected f32, f16 or bf16 for a Hugging Face folder, or a name "
                         "that ends in .gguf",
                         dtype_info(o->dtype)->name);
    return 0;
}

static int write_all(Merge *g, const char *out, Err *err) {
    if (!g->m->is_gguf && g->to_gguf) {
        if (merge_list_converted(g, err)) return -1;
    } else {
        list_tensors(g);
        mark_adapters(g);
    }
    return g->to_gguf ? merge_write_gguf(g, out, err) : merge_write_hf(g, out, err);
}

int model_merge(const Model *m, const Adapter *a, const char *out, const MergeOptions *o, Err *err) {
    if (model_merge_check(m, out, o, err) || (a && adapter_check(a, err))) return -1;
    AUTO_STR StrBuf head = {0};
    if (a && a->config.labels) adapter_print_head(&head, a);
    if (head.len)
        return err_input(err, "%s: it has no place in the files of %s; expected the adapter of a language model",
                         head.data, m->path);
    Merge g = {.m = m, .a = a, .dtype = o->dtype, .shard_bytes = o->shard_bytes, .to_gguf = is_gguf_name(out)};
    if (weight_source_open(&g.files, m->path, err)) return -1;
    AUTO_FREE float *params = a ? adapter_download(a) : NULL;
    AUTO_FREE float *norms = a ? adapter_download_norms(a) : NULL;
    g.params = params;
    g.norms = norms;
    for (size_t i = 0; i < g.files->n_tensors; i++) {
        const Quantized *q = g.files->tensors[i].quantized;
        g.is_quantized |= q && !q->blocks;
        g.is_packed |= q && q->blocks;
    }
    int rc = write_all(&g, out, err);
    for (size_t i = 0; i < g.n_owned; i++) mem_free(g.owned[i]);
    mem_free(g.owned);
    mem_free(g.tensors);
    weight_source_close(g.files);
    return rc;
}
