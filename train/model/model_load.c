// model_load: loads a base model (see model.h and model_internal.h).
#include <string.h>

#include "hub_cache.h"
#include "hub_name.h"
#include "model_internal.h"
#include "path.h"
#include "quantized.h"
#include "tokenizer_files.h"

// ---- configuration ----

// config.json ties the head, but the file has one (merged after training it): the file's head is used, as transformers
// 5 does when the two differ.
static void find_own_head(ModelConfig *c, const WeightSource *s) {
    const TensorNames *n = &c->arch->hf;
    if (!c->tied_head || !n->head) return;
    for (const HfPrefix *p = c->arch->hf_prefixes; p->file; p++) {
        AUTO_FREE char *name = mem_printf("%s.weight", *p->head ? p->head : n->head);
        if (weight_source_get(s, name)) c->tied_head = false;
    }
    c->head_unties = !c->tied_head;
}

static int read_config(ModelConfig *c, const WeightSource *s, const ModelOptions *o, Err *err) {
    bool is_gguf = !s->dir;
    if (is_gguf ? model_config_gguf_read(c, s, err) : model_config_hf_read(c, s->dir, err)) return -1;
    if (!is_gguf) find_own_head(c, s);
    return o && o->rope_scaling != ROPE_NONE ? model_config_scale_rope(c, o->rope_scaling, o->rope_factor, err) : 0;
}

int model_read_config(ModelConfig *c, const char *path, const ModelOptions *options, Err *err) {
    AUTO_SOURCE WeightSource *s = NULL;
    return weight_source_open_outline(&s, path, err) ? -1 : read_config(c, s, options, err);
}

// ---- names of the tensors ----

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

// The prefix of the token embedding in the folder. A GGUF file has none: that of text models.
static void find_hf_prefix(Model *m) {
    const Architecture *a = m->config.arch;
    const HfPrefix *p = a->hf_prefixes;
    for (; p->file && !m->is_gguf; p++) {
        AUTO_FREE char *name = mem_printf("%s%s.weight", p->file, a->hf.embedding);
        if (weight_source_get(m->file->source, name)) break;
    }
    if (!p->file) p = a->hf_prefixes; // the checks name the missing tensors
    while (m->is_gguf && p->has_towers) p++;
    m->hf_prefix = p;
}

// ---- name and repository ----

static char *take_string(const Gguf *g, const char *key) {
    GgufStr s;
    return gguf_string(g, key, false, &s, NULL) == 0 && s.len ? mem_strndup(s.data, s.len) : NULL;
}

// "owner/name" on the hub from the metadata of a GGUF file; NULL: unknown.
static char *repository_of_gguf(const Gguf *g) {
    char *name = take_string(g, "general.source.huggingface.repository");
    if (!name) name = take_string(g, "general.source.repo_url");
    if (!name) name = take_string(g, "general.repo_url");
    static const char hub[] = HUB_PUBLIC "/";
    if (name && starts_with(name, hub)) memmove(name, name + sizeof hub - 1, strlen(name) - sizeof hub + 2);
    return name;
}

// The name that is asked for, else that in the file, else that of the hub's cache, whose revision is known.
static void find_repository(Model *m, const WeightSource *s, const ModelOptions *o) {
    AUTO_FREE char *path = s->gguf ? path_absolute_name(s->path) : path_absolute(s->dir); // a file there is a link
    m->repository = o->repository ? mem_strdup(o->repository) : s->gguf ? repository_of_gguf(s->gguf) : NULL;
    if (m->repository) return;
    m->repository = hub_repository_of(path);
    if (m->repository) m->revision = o->revision ? mem_strdup(o->revision) : hub_revision_of(path);
}

// The last part of a path, without the suffix of a file.
static char *stem(const char *path, bool is_file) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    char *name = mem_strndup(path + start, end - start), *dot = strrchr(name, '.');
    if (is_file && dot && dot > name) *dot = 0;
    return name;
}

static char *find_name(const WeightSource *s, const char *path) {
    const Gguf *g = s->gguf;
    char *name = g ? take_string(g, "general.name") : NULL;
    if (name) return name;
    if (g) return stem(path, true);
    AUTO_FREE char *dir = path_absolute(s->dir), *repository = hub_repository_of(dir);
    return repository ? mem_take(&repository) : stem(s->dir, false);
}

// ---- loading ----

static Loader loader_of(Model *m, Err *err) {
    const Architecture *a = m->config.arch;
    return (Loader){.m = m,
                    .options = &m->file->options,
                    .names = m->is_gguf ? &a->gguf_names : &a->hf,
                    .prefix = m->is_gguf ? "" : m->hf_prefix->file,
                    .err = err,
                    .slots = m->file->slots,
                    .n_slots = m->file->n_slots};
}

// All, or those of one stage.
static int choose_layers(Model *m, Err *err) {
    int64_t first[MODEL_MAX_LAYERS + 1];
    const ModelOptions *o = &m->file->options;
    m->end_layer = m->config.layers;
    if (o->stages < 2) return 0;
    if (model_stages(first, &m->config, o->stages, err)) return err_context(err, "%s", m->path);
    m->first_layer = first[o->stage];
    m->end_layer = first[o->stage + 1];
    return 0;
}

// The tensors that the model needs, and whether the files have them.
static int list_tensors(Model *m, Err *err) {
    const ModelConfig *c = &m->config;
    m->layers = mem_calloc((size_t)c->layers, sizeof *m->layers);
    if (choose_layers(m, err)) return -1;
    if (c->permuted_qk) {
        m->file->q_rows = permuted_rows(c->heads, c->head_size);
        m->file->k_rows = permuted_rows(c->kv_heads, c->head_size);
    }
    const TensorNames *n = &c->arch->gguf_names;
    bool fused = n->fused_modules && m->is_gguf && weight_source_get(m->file->source, "blk.0.attn_qkv.weight");
    m->gguf_modules = fused ? n->fused_modules : n->modules;
    find_hf_prefix(m);
    Loader l = loader_of(m, err);
    model_list_slots(&l);
    int rc = model_check_slots(&l);
    m->file->slots = l.slots;
    m->file->n_slots = l.n_slots;
    return rc;
}

static const float *scaled(Model *m, const float *x, float factor) {
    int64_t n = m->config.hidden;
    if (!x || factor == 1) return x;
    AUTO_FREE float *copy = mem_alloc((size_t)n, sizeof *copy);
    for (int64_t i = 0; i < n; i++) copy[i] = m->outline ? 0 : x[i] * factor;
    return model_own_floats(m, copy, (size_t)n);
}

static void complete_norm(Norm *n, const float *zeros) {
    if (n->weight && !n->bias) n->bias = zeros;
}

// The kernels take norms with biases.
static void complete_norms(Model *m) {
    if (!m->config.no_norm_bias) return;
    AUTO_FREE float *none = mem_calloc((size_t)m->config.hidden, sizeof *none);
    const float *zeros = model_own_floats(m, none, (size_t)m->config.hidden);
    complete_norm(&m->embed_norm, zeros);
    complete_norm(&m->final_norm, zeros);
    complete_norm(&m->masked_norm, zeros);
    for (int64_t i = 0; i < m->config.layers; i++)
        for (NormSite n = 0; n < NORM_SITES; n++) complete_norm(&m->layers[i].norms[n], zeros);
}

static int take_tensors(Model *m, Err *err) {
    Loader l = loader_of(m, err);
    int rc = model_take_slots(&l);
    complete_norms(m);
    float factor = m->config.logit_scale;
    m->head_norm = (Norm){scaled(m, m->final_norm.weight, factor), scaled(m, m->final_norm.bias, factor)};
    if (m->config.tied_head && !m->config.arch->encoder) m->head = m->embedding;
    if (m->file->options.masked_lm && m->masked_dense.rows && !m->head.rows) {
        const float *bias = m->head.bias;
        m->head = m->embedding;
        m->head.bias = bias;
    }
    mem_free(m->file->slots);
    m->file->slots = NULL;
    return rc;
}

static int check_masked_head(const Model *m, const ModelOptions *o, Err *err) {
    if (!o->masked_lm || o->classifier || model_has_masked_head(m)) return 0;
    const char *family = m->config.arch->model_types[0];
    if (!m->config.arch->encoder)
        return err_input(err, "%s: a %s model, which predicts the next token; expected an encoder (task mlm)", m->path,
                         family);
    return err_input(err,
                     "%s: a %s model without a head of masked language modelling (%s); expected a checkpoint of "
                     "...ForMaskedLM, or another task",
                     m->path, family, m->config.arch->hf.masked.dense);
}

static int check_masked_pooler(const Model *m, bool tokens, Err *err) {
    if (m->config.mean_pooled && !tokens)
        return err_input(err,
                         "%s: classifier_pooling is not cls; a classifier that reads the mean of all tokens is not "
                         "in this version",
                         m->path);
    if (m->masked_dense.rows) return 0;
    return err_input(err, "%s: %s is missing; a %s classifier reads its output", m->path,
                     m->config.arch->hf.masked.dense, m->config.arch->model_types[0]);
}

int model_check_pooler(const Model *m, bool tokens, Err *err) {
    const char *family = m->config.arch->model_types[0];
    if (m->config.arch->masked_pooler) return check_masked_pooler(m, tokens, err);
    if (tokens || !m->config.arch->hf.pooler) return 0;
    if (m->pooler.rows && m->pooler.bias) return 0;
    return err_input(err, "%s: pooler.dense is missing; a %s classifier reads the pooler's output", m->path, family);
}

// The heads that the task needs; what a classifier reads is checked with its head (adapter_config_check).
static int check_heads(const Model *m, const ModelOptions *o, Err *err) {
    if (o->embedder || o->classifier || m->head.rows || !model_is_last(m)) return 0;
    return err_input(err,
                     "%s: a %s model without a language-model head; expected task classification, mlm or embedding",
                     m->path, m->config.arch->model_types[0]);
}

// NULL if each pass has its own (PassArrays).
static int make_table(const float **out, Model *m, const RopeConfig *r, Err *err) {
    AUTO_FREE float *table = NULL;
    bool by_length = rope_is_by_length(r);
    if (by_length ? rope_check(r, m->max_positions, err) : rope_table(&table, r, m->max_positions, err))
        return err_context(err, "%s", m->path);
    if (by_length) return 0;
    *out = model_own_floats(m, table, (size_t)(m->max_positions * r->rotated));
    return 0;
}

// The rotation of queries is followed by their scale.
static void make_query_table(Model *m) {
    const RopeConfig *r = &m->config.rope;
    if (r->query_growth == 0 || m->max_positions <= r->original_context) return;
    AUTO_FREE float *table = mem_alloc((size_t)(m->max_positions * r->rotated), sizeof *table);
    for (int64_t p = 0; p < m->max_positions; p++) {
        float scale = rope_query_scale(r, p);
        for (int64_t i = p * r->rotated; i < (p + 1) * r->rotated; i++) table[i] = m->cos_sin[i] * scale;
    }
    m->cos_sin_query = model_own_floats(m, table, (size_t)(m->max_positions * r->rotated));
}

static int make_tables(Model *m, Err *err) {
    const ModelConfig *c = &m->config;
    if (c->rope.scaling != ROPE_NONE && make_table(&m->cos_sin, m, &c->rope, err)) return -1;
    make_query_table(m);
    m->cos_sin_local = m->cos_sin;
    return c->rope_local.scaling != ROPE_NONE ? make_table(&m->cos_sin_local, m, &c->rope_local, err) : 0;
}

// LongRoPE without max_positions: the context of its short list, because the long list computes short texts
// differently.
static int choose_positions(Model *m, int64_t asked, Err *err) {
    const ModelConfig *c = &m->config;
    m->max_positions = asked ? asked : c->context;
    if (!asked && c->rope.scaling == ROPE_LONGROPE && c->rope.original_context < c->context)
        m->max_positions = c->rope.original_context;
    if (m->max_positions <= c->context) return 0;
    return err_input(err, "%s: %ld position%s requested; the model's context is %ld", m->path, m->max_positions,
                     plural(m->max_positions), c->context);
}

static bool has_tokenizer(const WeightSource *s) {
    return !s->dir || dir_has(s->dir, "tokenizer.json") || dir_has(s->dir, "vocab.json") ||
           dir_has(s->dir, "vocab.txt");
}

static int load_tokenizer(Tokenizer **t, const WeightSource *s, const char *path, Err *err) {
    if (s->dir) return tokenizer_from_hf(t, s->dir, err);
    return tokenizer_from_gguf(t, s->gguf, err) ? err_context(err, "%s", path) : 0;
}

// Control tokens may have ids beyond the embedding: Gemma 3's text models use the tokenizer of the multimodal ones, and
// a padding token is often added without a row for it. Data and prompts with such a token are refused later.
static int check_vocabulary(const Model *m, Err *err) {
    int32_t size = m->tokenizer->vocab_size;
    for (int64_t id = m->config.vocab; id < size; id++)
        if (!tokenizer_is_control(m->tokenizer, (int32_t)id)) {
            size_t len;
            const char *text = tokenizer_piece(m->tokenizer, (int32_t)id, &len);
            return err_input(err,
                             "%s: token \"%.*s\" of the tokenizer has id %ld (of %d token%s); expected ids below the "
                             "%ld row%s of the embedding",
                             m->path, (int)(len < 64 ? len : 64), text, id, size, plural(size), m->config.vocab,
                             plural(m->config.vocab));
        }
    return 0;
}

// load_in_4bit is in the configs of checkpoints that are quantised already: these stay as they are.
static void keep_quantized(Model *m) {
    ModelOptions *o = &m->file->options;
    DType asked = o->quantize == QUANTIZE_INT8 ? DTYPE_Q8_0 : DTYPE_NF4;
    if (o->quantize != QUANTIZE_NONE && quantized_has_bits_of(m->file->source, asked)) o->quantize = QUANTIZE_NONE;
}

static int open_parts(Model *m, Err *err) {
    const WeightSource *s = m->file->source;
    const ModelOptions *o = &m->file->options;
    if (read_config(&m->config, s, o, err) || choose_positions(m, o->max_positions, err)) return -1;
    m->is_gguf = !s->dir;
    keep_quantized(m);
    find_repository(m, s, o);
    m->name = find_name(s, m->path);
    m->lacks_weights = s->lacks_weights;
    m->assumed_dtype = s->dir ? model_config_hf_dtype(s->dir) : DTYPE_COUNT;
    m->dtype_is_named = m->assumed_dtype != DTYPE_COUNT;
    if (!m->dtype_is_named) m->assumed_dtype = o->absent_dtype;
    if (list_tensors(m, err) || check_masked_head(m, o, err)) return -1;
    if (m->lacks_weights && !has_tokenizer(s)) return 0;
    if (load_tokenizer(&m->tokenizer, s, m->path, err) || tokenizer_set_eos(m->tokenizer, o->eos_token, err)) return -1;
    return check_vocabulary(m, err);
}

int model_open(Model **out, const char *path, Backend *b, const ModelOptions *options, Err *err) {
    AUTO_MODEL Model *m = mem_calloc(1, sizeof *m);
    m->backend = m->host = b;
    m->path = mem_strdup(path);
    m->file = mem_calloc(1, sizeof *m->file);
    if (options) m->file->options = *options;
    m->outline = m->file->options.outline;
    if ((m->outline ? weight_source_open_outline : weight_source_open)(&m->file->source, path, err) ||
        (!b->host_memory && backend_open(&m->host, "cpu", 0, err)) || open_parts(m, err))
        return -1;
    m->file->options.repository = m->file->options.revision = m->file->options.eos_token = NULL; // borrowed
    *out = mem_take(&m);
    return 0;
}

// What does not fit anyway is streamed from the start: reading all of it would take the memory. Quantised copies may
// fit.
static void choose_memory(Model *m) {
    ModelOptions *o = &m->file->options;
    size_t room = o->max_memory ? o->max_memory : o->host_room;
    bool large = room && m->weight_bytes > room && o->quantize == QUANTIZE_NONE;
    if (o->memory == BASE_MEMORY_AUTO && m->backend->host_memory && large) o->memory = BASE_MEMORY_DISK;
}

int model_load_weights(Model *m, Err *err) {
    const ModelOptions *o = &m->file->options;
    bool on_device = !m->backend->host_memory, asked = o->memory == BASE_MEMORY_DISK;
    choose_memory(m);
    if (take_tensors(m, err) || check_heads(m, o, err) || make_tables(m, err) ||
        (!o->outline && weight_source_fingerprint(m->fingerprint, m->file->source, err)) ||
        (on_device && model_place(m, err)))
        return -1;
    if (on_device || o->memory != BASE_MEMORY_DISK) return 0;
    return model_stream_files(m, err) && asked ? -1 : 0;
}

int model_load(Model **out, const char *path, Backend *b, const ModelOptions *options, Err *err) {
    AUTO_MODEL Model *m = NULL;
    if (model_open(&m, path, b, options, err) || model_load_weights(m, err)) return -1;
    *out = mem_take(&m);
    return 0;
}

int model_check_unchanged(const Model *m, Err *err) { return weight_source_unchanged(m->file->source, err); }

void model_free(Model *m) {
    if (!m) return;
    struct ModelFile *f = m->file;
    model_disown_weights(m);
    if (m->kept) m->backend->k->free(m->backend, m->kept, m->kept_bytes);
    for (size_t i = 0; i < f->n_owned; i++) mem_free(f->owned[i].data);
    mem_free(f->owned);
    model_stream_free(m->stream);
    if (m->device_memory) m->backend->k->free(m->backend, m->device_memory, m->device_bytes);
    if (m->host != m->backend) backend_close(m->host);
    mem_free(f->slots);
    mem_free(f->q_rows);
    mem_free(f->k_rows);
    tokenizer_free(m->tokenizer);
    weight_source_close(f->source);
    mem_free(f);
    mem_free(m->layers);
    mem_free(m->path);
    mem_free(m->repository);
    mem_free(m->revision);
    mem_free(m->name);
    mem_free(m);
}

int model_load_tokenizer(Tokenizer **t, const char *path, Err *err) {
    AUTO_SOURCE WeightSource *s = NULL;
    AUTO_FREE char *folder = weight_source_folder(path);
    if (folder) return tokenizer_from_hf(t, folder, err); // needs no weights and no config.json
    return weight_source_open(&s, path, err) ? -1 : load_tokenizer(t, s, path, err);
}
