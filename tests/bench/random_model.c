// bench random_model: a Hugging Face folder of random weights in the shape of a config.json, for measuring speed where
// the real weights are not at hand. Llama and Qwen3. The weights are bf16, uniform with the usual deviation of 0.02:
// zeros would let a GPU run faster than real weights do.
// usage: bench_random_model CONFIG.json OUT_DIR
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fileio.h"
#include "json.h"
#include "path.h"
#include "rng.h"
#include "safetensors.h"

enum { MAX_LAYERS = 128, PER_LAYER = 11, CHUNK = 1 << 22, NAME = 96 };
enum { MAX_TENSORS = MAX_LAYERS * PER_LAYER + 3 };

typedef struct Shape {
    int64_t hidden, ffn, layers, heads, kv_heads, head_size, vocab;
    bool head_norms, tied;
} Shape;

typedef struct Plan {
    SafetensorsEntry entries[MAX_TENSORS];
    char names[MAX_TENSORS][NAME];
    size_t n;
} Plan;

static void fail(const Err *err) {
    fprintf(stderr, "bench_random_model: %s\n", err->msg);
    exit(err_exit_status(err->kind));
}

static int64_t number(const Json *config, const char *key) {
    const Json *v = json_get(config, key);
    CHECK(v && v->type == JSON_INT && v->integer > 0 && v->integer < 1 << 20, "%s in config.json", key);
    return v->integer;
}

static Shape read_shape(const Json *config) {
    const Json *tied = json_get(config, "tie_word_embeddings");
    return (Shape){.hidden = number(config, "hidden_size"),
                   .ffn = number(config, "intermediate_size"),
                   .layers = number(config, "num_hidden_layers"),
                   .heads = number(config, "num_attention_heads"),
                   .kv_heads = number(config, "num_key_value_heads"),
                   .head_size = number(config, "head_dim"),
                   .vocab = number(config, "vocab_size"),
                   .head_norms = json_is_string(json_get(config, "model_type"), "qwen3"),
                   .tied = tied && tied->type == JSON_TRUE};
}

// cols 0: a vector.
static void tensor(Plan *p, int64_t rows, int64_t cols, const char *prefix, const char *name) {
    CHECK(p->n < MAX_TENSORS);
    snprintf(p->names[p->n], NAME, "%s%s.weight", prefix, name);
    p->entries[p->n] =
        (SafetensorsEntry){.name = p->names[p->n], .dtype = DTYPE_BF16, .n_dims = cols ? 2 : 1, .shape = {rows, cols}};
    p->n++;
}

static void layer(Plan *p, const Shape *c, int64_t i) {
    char prefix[32];
    int64_t q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    snprintf(prefix, sizeof prefix, "model.layers.%d.", (int)i);
    tensor(p, c->hidden, 0, prefix, "input_layernorm");
    tensor(p, c->hidden, 0, prefix, "post_attention_layernorm");
    tensor(p, q, c->hidden, prefix, "self_attn.q_proj");
    tensor(p, kv, c->hidden, prefix, "self_attn.k_proj");
    tensor(p, kv, c->hidden, prefix, "self_attn.v_proj");
    tensor(p, c->hidden, q, prefix, "self_attn.o_proj");
    tensor(p, c->ffn, c->hidden, prefix, "mlp.gate_proj");
    tensor(p, c->ffn, c->hidden, prefix, "mlp.up_proj");
    tensor(p, c->hidden, c->ffn, prefix, "mlp.down_proj");
    if (!c->head_norms) return;
    tensor(p, c->head_size, 0, prefix, "self_attn.q_norm");
    tensor(p, c->head_size, 0, prefix, "self_attn.k_norm");
}

// Elements of chunk number `chunk` of a tensor: ones for a norm.
static void fill(uint16_t *out, int64_t n, const SafetensorsEntry *e, uint32_t chunk) {
    RngKey key = {.module = rng_module(e->name), .row = chunk};
    float width = e->n_dims == 1 ? 0 : 0.02f * sqrtf(3), middle = e->n_dims == 1 ? 1 : 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t words[4];
        rng_philox(key, (uint32_t)(i >> 16), (uint32_t)(i / 4 % (1 << 14)), words);
        for (int64_t j = 0; j < 4 && i + j < n; j++) out[i + j] = f32_to_bf16(middle + width * rng_symmetric(words[j]));
    }
}

static int write_weights(Plan *p, const char *path, Err *err) {
    static const char *const metadata[] = {"format", "pt"};
    SafetensorsWriter *w;
    uint16_t *chunk = mem_alloc(CHUNK, sizeof *chunk);
    safetensors_order(p->entries, p->n);
    int status = safetensors_begin(&w, path, p->entries, p->n, metadata, 1, err);
    for (size_t i = 0; !status && i < p->n; i++) {
        const SafetensorsEntry *e = &p->entries[i];
        int64_t left = e->shape[0] * (e->n_dims == 2 ? e->shape[1] : 1);
        for (uint32_t k = 0; !status && left > 0; k++, left -= CHUNK) {
            int64_t n = left < CHUNK ? left : CHUNK;
            fill(chunk, n, e, k);
            status = safetensors_append(w, chunk, (size_t)n * sizeof *chunk, err);
        }
    }
    mem_free(chunk);
    return status ? -1 : safetensors_end(w, err);
}

static int write_file(const char *dir, const char *name, const void *data, size_t bytes, Err *err) {
    char *path = mem_printf("%s/%s", dir, name);
    int status = file_write_whole(path, data, bytes, NULL, err);
    mem_free(path);
    return status;
}

// Rows of token ids are not tokenised, but their ids are checked against the vocabulary.
static int write_tokenizer(const char *dir, int64_t vocab, Err *err) {
    StrBuf text = {0};
    str_puts(&text, "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
    for (int64_t i = 0; i < vocab; i++) str_printf(&text, "%s\"t%d\":%d", i ? "," : "", (int)i, (int)i);
    str_puts(&text, "}}}\n");
    int status = write_file(dir, "tokenizer.json", text.data, text.len, err);
    str_clear(&text);
    return status;
}

int main(int argc, char **argv) {
    static Plan plan;
    if (argc != 3) {
        fprintf(stderr, "usage: bench_random_model CONFIG.json OUT_DIR\n");
        return EXIT_INPUT;
    }
    Err err = {0};
    char *config;
    size_t bytes;
    JsonDoc *doc;
    if (file_read(&config, &bytes, argv[1], 1 << 20, &err) || json_parse(&doc, config, bytes, argv[1], 1, &err) ||
        dir_make_parents(argv[2], &err) || write_file(argv[2], "config.json", config, bytes, &err))
        fail(&err);
    Shape c = read_shape(json_root(doc));
    if (write_tokenizer(argv[2], c.vocab, &err)) fail(&err);
    CHECK(c.layers <= MAX_LAYERS, "%d layers", (int)c.layers);
    tensor(&plan, c.vocab, c.hidden, "model.", "embed_tokens");
    for (int64_t i = 0; i < c.layers; i++) layer(&plan, &c, i);
    tensor(&plan, c.hidden, 0, "model.", "norm");
    if (!c.tied) tensor(&plan, c.vocab, c.hidden, "", "lm_head");
    char *path = mem_printf("%s/model.safetensors", argv[2]);
    if (write_weights(&plan, path, &err)) fail(&err);
    mem_free(path);
    mem_free(config);
    json_free(doc);
    return 0;
}
