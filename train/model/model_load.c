// model_load: a GGUF file as a Model. Weights stay in the map as they are stored; only norms and the RoPE table are
// copied. One table of slots says which tensors there must be and in which shape; a file that lacks one, or has one
// more (a bias, a fused qkv, an expert), is another model than the graph computes and is refused.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "gguf.h"
#include "model_config.h"
#include "problem_list.h"

struct ModelFile {
    Gguf *gguf;
    int32_t *q_rows, *k_rows; // row maps of the projections, NULL where the file is in Hugging Face order
};

// --- which tensors a model has ---

typedef struct Slot {
    char name[64];
    int n_dims;
    int64_t shape[2]; // as GGUF writes it: input dimension first
    Weight *weight;   // a matrix: left in the map
    float **vector;   // a vector: copied to device memory; with weight NULL too, the tensor is only checked here
    const int32_t *row_map;
    bool optional;
    const GgufTensor *tensor; // what the file has
} Slot;

typedef struct Loader {
    Model *m;
    Err *err;
    Slot *slots;
    size_t n_slots, capacity;
    ProblemList problems;
} Loader;

static Slot *add_slot(Loader *l, int64_t cols, int64_t rows, const char *fmt, ...) PRINTF_LIKE(4, 5);
static Slot *add_slot(Loader *l, int64_t cols, int64_t rows, const char *fmt, ...) {
    MEM_GROW(l->slots, l->capacity, l->n_slots + 1);
    Slot *s = &l->slots[l->n_slots++];
    *s = (Slot){.n_dims = rows ? 2 : 1, .shape = {cols, rows ? rows : 1}};
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->name, sizeof s->name, fmt, args);
    va_end(args);
    return s;
}

static void list_slots(Loader *l) {
    Model *m = l->m;
    const ModelConfig *c = &m->config;
    add_slot(l, c->hidden, c->vocab, "token_embd.weight")->weight = &m->embedding;
    add_slot(l, c->hidden, 0, "output_norm.weight")->vector = &m->final_norm.weight;
    if (!c->tied_head) add_slot(l, c->hidden, c->vocab, "output.weight")->weight = &m->head;
    add_slot(l, c->head_size / 2, 0, "rope_freqs.weight")->optional = true; // llama3 scaling: compute_cos_sin
    for (int i = 0; i < (int)c->layers; i++) {
        ModelLayer *layer = &m->layers[i];
        add_slot(l, c->hidden, 0, "blk.%d.attn_norm.weight", i)->vector = &layer->norms[NORM_ATTN].weight;
        add_slot(l, c->hidden, 0, "blk.%d.ffn_norm.weight", i)->vector = &layer->norms[NORM_FFN].weight;
        for (Projection p = 0; p < PROJ_COUNT; p++) {
            int64_t rows, cols;
            model_projection_shape(c, p, &rows, &cols);
            Slot *s = add_slot(l, cols, rows, "blk.%d.%s.weight", i, projection_gguf_name(p));
            s->weight = &layer->w[p];
            s->row_map = p == PROJ_Q ? m->file->q_rows : p == PROJ_K ? m->file->k_rows : NULL;
        }
    }
}

// --- checks of the file's index ---

static void check_slot(Loader *l, Slot *s) {
    const GgufTensor *t = s->tensor = gguf_tensor(l->m->file->gguf, s->name);
    if (!t) {
        if (!s->optional) problem_add(&l->problems, "%s is missing", s->name);
        return;
    }
    if (t->n_dims != s->n_dims || t->shape[0] != s->shape[0] || t->shape[1] != s->shape[1])
        problem_add(&l->problems, "%s has %d dimensions [%lld, %lld]; expected %d [%lld, %lld]", s->name, t->n_dims,
                    (long long)t->shape[0], (long long)t->shape[1], s->n_dims, (long long)s->shape[0],
                    (long long)s->shape[1]);
    else if (!dtype_is_weight(t->dtype) || (!s->weight && t->dtype > DTYPE_BF16))
        problem_add(&l->problems, "%s has type %s; expected %s", s->name, dtype_info(t->dtype)->name,
                    s->weight ? "a type of weights" : "F32, F16 or BF16");
    else
        l->m->weight_bytes += t->bytes;
}

// Tensors that no slot asked for. Only looked for when the counts differ.
static void check_strangers(Loader *l) {
    const Gguf *g = l->m->file->gguf;
    int64_t used = 0;
    for (size_t i = 0; i < l->n_slots; i++) used += l->slots[i].tensor != NULL;
    for (int64_t i = 0; i < gguf_tensor_count(g) && used < gguf_tensor_count(g); i++) {
        const GgufTensor *t = gguf_tensor_at(g, i);
        size_t s = 0;
        while (s < l->n_slots && l->slots[s].tensor != t) s++;
        if (s == l->n_slots) {
            problem_add(&l->problems, "%s is not part of the %s graph of this version", t->name,
                        l->m->config.architecture);
            used++;
        }
    }
}

static int check_tensors(Loader *l) {
    for (size_t i = 0; i < l->n_slots; i++) check_slot(l, &l->slots[i]);
    check_strangers(l);
    return problem_end(&l->problems, l->m->path, "tensors do not fit its metadata", l->err);
}

// --- taking the tensors ---

static int take_weight(Loader *l, const Slot *s) {
    Backend *b = l->m->backend;
    *s->weight = (Weight){
        .name = s->tensor->name,
        .segments = {{.data = s->tensor->data, .row_map = s->row_map, .dtype = s->tensor->dtype, .rows = s->shape[1]}},
        .n_segments = 1,
        .rows = s->shape[1],
        .cols = s->shape[0],
    };
    if (b->k->weight_finite(b, s->weight)) return 0;
    return err_input(l->err, "%s: %s holds a value that is not finite; expected finite weights", l->m->path, s->name);
}

static int take_vector(Loader *l, const Slot *s) {
    Backend *b = l->m->backend;
    size_t n = (size_t)s->shape[0];
    float *host = mem_alloc(n, sizeof *host);
    dtype_expand(s->tensor->dtype, host, s->tensor->data, n);
    bool finite = true;
    for (size_t i = 0; i < n; i++) finite = finite && isfinite(host[i]);
    *s->vector = b->k->alloc(b, n * sizeof *host);
    b->k->upload(b, *s->vector, host, n * sizeof *host);
    mem_free(host);
    if (finite) return 0;
    return err_input(l->err, "%s: %s holds a value that is not finite; expected finite weights", l->m->path, s->name);
}

static int load_tensors(Model *m, Err *err) {
    Loader l = {.m = m, .err = err};
    list_slots(&l);
    int rc = check_tensors(&l);
    for (size_t i = 0; rc == 0 && i < l.n_slots; i++) {
        const Slot *s = &l.slots[i];
        rc = s->weight ? take_weight(&l, s) : s->vector ? take_vector(&l, s) : 0;
    }
    if (m->config.tied_head) m->head = m->embedding;
    mem_free(l.slots);
    return rc;
}

// llama.cpp stores the rows of a rotated projection as interleaved pairs: row 2i + j of a head is Hugging Face's row
// j * D/2 + i.
static int32_t *permuted_rows(int64_t heads, int64_t head_size) {
    int32_t *map = mem_alloc((size_t)(heads * head_size), sizeof *map);
    int64_t half = head_size / 2;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < half; i++)
            for (int64_t j = 0; j < 2; j++) map[h * head_size + j * half + i] = (int32_t)(h * head_size + 2 * i + j);
    return map;
}

// --- RoPE ---

// 1 / base^(2i/D), divided by the factors of llama3 scaling where the file has them. float32 as in transformers: far
// positions are sensitive to the rounding of the angle.
static int rope_frequencies(float *freq, const Model *m, Err *err) {
    const ModelConfig *c = &m->config;
    int64_t half = c->head_size / 2;
    const GgufTensor *t = gguf_tensor(m->file->gguf, "rope_freqs.weight");
    float *factor = mem_alloc((size_t)half, sizeof *factor);
    for (int64_t i = 0; i < half; i++) factor[i] = 1.0f;
    if (t) dtype_expand(t->dtype, factor, t->data, (size_t)half);
    int rc = 0;
    for (int64_t i = 0; rc == 0 && i < half; i++) {
        freq[i] = 1.0f / powf(c->rope.base, (float)(2 * i) / (float)c->head_size) / factor[i] /
                  (c->rope.scaling == ROPE_LINEAR ? c->rope.factor : 1.0f);
        if (!(factor[i] > 0) || !isfinite(freq[i]))
            rc = err_input(err, "%s: rope_freqs.weight[%lld] is %g; expected a finite number above 0", m->path,
                           (long long)i, (double)factor[i]);
    }
    mem_free(factor);
    return rc;
}

static int compute_cos_sin(Model *m, Err *err) {
    enum { MAX_TABLE_BYTES = 1 << 30 };
    int64_t half = m->config.head_size / 2, positions = m->max_positions;
    size_t row = (size_t)m->config.head_size * sizeof(float);
    if ((size_t)positions > MAX_TABLE_BYTES / row)
        return err_input(err, "%s: a RoPE table of %lld positions; expected one of at most 1 GiB", m->path,
                         (long long)positions);
    float *freq = mem_alloc((size_t)half, sizeof *freq);
    int rc = rope_frequencies(freq, m, err);
    if (rc == 0) {
        float *table = mem_alloc((size_t)positions, row);
#pragma omp parallel for
        for (int64_t p = 0; p < positions; p++)
            for (int64_t i = 0; i < half; i++) {
                float angle = (float)p * freq[i];
                table[p * 2 * half + i] = cosf(angle);
                table[p * 2 * half + half + i] = sinf(angle);
            }
        Backend *b = m->backend;
        m->cos_sin = b->k->alloc(b, (size_t)positions * row);
        b->k->upload(b, m->cos_sin, table, (size_t)positions * row);
        mem_free(table);
    }
    mem_free(freq);
    return rc;
}

// --- names ---

static char *take_string(const Gguf *g, const char *key) {
    GgufStr s;
    return gguf_string(g, key, false, &s, NULL) == 0 && s.len ? mem_strndup(s.data, s.len) : NULL;
}

// "owner/name" of the hub, if the file says where it comes from.
static char *find_repository(const Gguf *g) {
    char *name = take_string(g, "general.source.huggingface.repository");
    if (!name) name = take_string(g, "general.source.repo_url");
    if (!name) name = take_string(g, "general.repo_url");
    static const char hub[] = "https://huggingface.co/";
    if (name && strncmp(name, hub, sizeof hub - 1) == 0)
        memmove(name, name + sizeof hub - 1, strlen(name) - sizeof hub + 2);
    return name;
}

static char *find_name(const Gguf *g, const char *path) {
    char *name = take_string(g, "general.name");
    if (name) return name;
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    const char *dot = strrchr(base, '.');
    return mem_strndup(base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

// --- the whole ---

static int open_file(Gguf **g, const char *path, Err *err) {
    size_t n = strlen(path);
    if (path_is_dir(path) || (n > 12 && strcmp(path + n - 12, ".safetensors") == 0))
        return err_input(err, "%s: a Hugging Face model; not in this version, expected a .gguf file", path);
    return gguf_open(g, path, err);
}

static int load_parts(Model *m, int64_t max_positions, Err *err) {
    const ModelConfig *c = &m->config;
    if (model_config_read_gguf(&m->config, m->file->gguf, err)) return -1;
    m->max_positions = max_positions ? max_positions : c->context;
    if (m->max_positions > c->context)
        return err_input(err, "%s: %lld positions asked for; the model's context is %lld", m->path,
                         (long long)m->max_positions, (long long)c->context);
    m->repository = find_repository(m->file->gguf);
    m->name = find_name(m->file->gguf, m->path);
    m->layers = mem_calloc((size_t)c->layers, sizeof *m->layers);
    if (c->permuted_qk) {
        m->file->q_rows = permuted_rows(c->heads, c->head_size);
        m->file->k_rows = permuted_rows(c->kv_heads, c->head_size);
    }
    if (load_tensors(m, err) || compute_cos_sin(m, err) || hash_file_sampled(m->fingerprint, m->path, err)) return -1;
    if (tokenizer_from_gguf(&m->tokenizer, m->file->gguf, err)) return err_context(err, "%s", m->path);
    if (tokenizer_vocab_size(m->tokenizer) > c->vocab)
        return err_input(err, "%s: %d tokens in the tokenizer; expected at most the %lld rows of token_embd.weight",
                         m->path, tokenizer_vocab_size(m->tokenizer), (long long)c->vocab);
    return 0;
}

int model_load(Model **out, const char *path, Backend *b, const ModelOptions *options, Err *err) {
    Gguf *g;
    if (open_file(&g, path, err)) return -1;
    Model *m = mem_calloc(1, sizeof *m);
    m->backend = b;
    m->path = mem_strdup(path);
    m->file = mem_calloc(1, sizeof *m->file);
    m->file->gguf = g;
    if (load_parts(m, options ? options->max_positions : 0, err)) {
        model_free(m);
        return -1;
    }
    *out = m;
    return 0;
}

static void free_device(const Model *m, float *p, int64_t n) {
    if (p) m->backend->k->free(m->backend, p, (size_t)n * sizeof *p);
}

void model_free(Model *m) {
    if (!m) return;
    const ModelConfig *c = &m->config;
    for (int64_t i = 0; m->layers && i < c->layers; i++) {
        free_device(m, m->layers[i].norms[NORM_ATTN].weight, c->hidden);
        free_device(m, m->layers[i].norms[NORM_FFN].weight, c->hidden);
    }
    free_device(m, m->final_norm.weight, c->hidden);
    free_device(m, m->cos_sin, m->max_positions * c->head_size);
    mem_free(m->layers);
    tokenizer_free(m->tokenizer);
    gguf_close(m->file->gguf);
    mem_free(m->file->q_rows);
    mem_free(m->file->k_rows);
    mem_free(m->file);
    mem_free(m->path);
    mem_free(m->repository);
    mem_free(m->name);
    mem_free(m);
}

int model_read_config(ModelConfig *c, const char *path, const ModelOptions *options, Err *err) {
    (void)options;
    Gguf *g;
    if (open_file(&g, path, err)) return -1;
    int rc = model_config_read_gguf(c, g, err);
    gguf_close(g);
    return rc;
}

int model_load_tokenizer(Tokenizer **t, const char *path, Err *err) {
    Gguf *g;
    if (open_file(&g, path, err)) return -1;
    int rc = tokenizer_from_gguf(t, g, err);
    gguf_close(g);
    return rc ? err_context(err, "%s", path) : 0;
}
