// merge_gguf: a merged model as one GGUF file, with the base's metadata (see merge.h).
#include <stdio.h>
#include <string.h>

#include "json_read.h"
#include "merge_internal.h"
#include "path.h"
#include "tokenizer_files.h"

// ---- of a GGUF base ----

// Keys that are true of the base's files only.
static bool is_outdated(GgufStr name) {
    static const char *const prefixes[] = {"general.file_type", "general.quantization_version", "general.alignment",
                                           "split.", "quantize.imatrix."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i]);
        bool whole = prefixes[i][n - 1] != '.';
        if (name.len >= n && (!whole || name.len == n) && memcmp(name.data, prefixes[i], n) == 0) return true;
    }
    return false;
}

// template: of the adapter, replaces the base's; NULL: none.
static void add_base_keys(GgufWriter *w, const Gguf *base, const char *template) {
    static const char template_key[] = "tokenizer.chat_template";
    char ignored[8];
    for (size_t i = 0; i < gguf_key_count(base); i++) {
        GgufStr key = gguf_key_at(base, i, ignored, sizeof ignored);
        bool replaced = template && key.len == strlen(template_key) && memcmp(key.data, template_key, key.len) == 0;
        if (!is_outdated(key) && !replaced) gguf_writer_key(w, gguf_key_raw(base, i));
    }
    if (template) gguf_writer_string(w, template_key, template);
}

// ---- of a Hugging Face folder ----

// "135M", "8x7.2B": the number of weights as llama.cpp's converter writes it; of a mixture, those of one expert.
static void size_label(char out[32], const Merge *g) {
    static const char units[] = "KMBT";
    double n = 0, unit = 1e3;
    int64_t experts = g->m->config.experts;
    for (size_t i = 0; i < g->n; i++) {
        const MergeTensor *t = &g->tensors[i];
        double count = 1;
        for (int d = 0; d < t->n_dims; d++) count *= (double)t->shape[d];
        n += strstr(t->name, "_exps.") ? count / (double)experts : count;
    }
    int u = 0;
    for (; u < 3 && n > unit * 1e3; u++) unit *= 1e3;
    int digits = n / unit < 9.5 ? 1 : 0;
    if (experts)
        snprintf(out, 32, "%ldx%.*f%c", experts, digits, n / unit, units[u]);
    else
        snprintf(out, 32, "%.*f%c", digits, n / unit, units[u]);
}

// How to sample, from generation_config.json: llama.cpp takes it as its default.
static int add_sampling(GgufWriter *w, const char *dir, Err *err) {
    enum { MAX_BYTES = 1 << 20 };
    static const char *const keys[][2] = {
        {"top_p", "top_p"}, {"min_p", "min_p"}, {"temperature", "temp"}, {"repetition_penalty", "penalty_repeat"}};
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_FREE char *path = path_join(dir, "generation_config.json");
    if (!path_exists(path)) return 0;
    if (json_load(&doc, path, MAX_BYTES, err)) return -1;
    const JsonReader r = {json_root(doc), path, "", err};
    int64_t top_k;
    if (json_read_int(&r, &(JsonIntRule){"top_k", NULL, -1, JSON_AS_ABSENT, 0, INT32_MAX}, &top_k)) return -1;
    if (top_k >= 0) gguf_writer_i32(w, "general.sampling.top_k", (int32_t)top_k);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        float value;
        char name[64];
        const Json *v = json_given(r.object, keys[i][0]);
        if (!v || v->number == 0) continue; // temperature 0: greedy, which is for the user to say
        if (json_read_positive(&r, &(JsonPositiveRule){keys[i][0], 0, 0}, &value)) return -1;
        snprintf(name, sizeof name, "general.sampling.%s", keys[i][1]);
        gguf_writer_f32(w, name, value);
    }
    return 0;
}

static int add_converted_keys(GgufWriter *w, const Merge *g, const char *template, Err *err) {
    const Model *m = g->m;
    const TokenizerGguf how = {
        .rows = m->config.vocab, .strip_after = strcmp(m->config.architecture, "phi3") == 0, .chat_template = template};
    char label[32];
    size_label(label, g);
    gguf_writer_string(w, "general.type", "model");
    gguf_writer_string(w, "general.name", m->name);
    gguf_writer_string(w, "general.size_label", label);
    model_config_gguf_write(w, &m->config);
    return add_sampling(w, g->files->dir, err) || tokenizer_write_gguf(w, m->tokenizer, &how, err)
               ? err_context(err, "%s", m->path)
               : 0;
}

// ---- both ----

static int add_keys(GgufWriter *w, const Merge *g, uint32_t file_type, Err *err) {
    const char *template = g->a ? g->a->chat_template : NULL;
    if (g->files->gguf)
        add_base_keys(w, g->files->gguf, template);
    else if (add_converted_keys(w, g, template, err))
        return -1;
    gguf_writer_u32(w, "general.file_type", file_type);
    gguf_writer_u32(w, "general.quantization_version", 2);
    return 0;
}

static void add_tensor(GgufWriter *w, const MergeTensor *t) {
    int64_t shape[4];
    for (int d = 0; d < t->n_dims; d++) shape[d] = t->shape[t->n_dims - 1 - d]; // GGUF: fastest first
    gguf_writer_tensor(w, t->name, t->dtype, t->n_dims, shape, NULL);
}

static int append(void *to, const void *data, size_t bytes, Err *err) {
    return gguf_writer_append(to, data, bytes, err);
}

int merge_write_gguf(Merge *g, const char *out, Err *err) {
    AUTO_GGUF_WRITER GgufWriter *w = gguf_writer_new();
    if (add_keys(w, g, merge_choose_types(g), err)) return -1;
    for (size_t i = 0; i < g->n; i++) add_tensor(w, &g->tensors[i]);
    int rc = gguf_writer_begin(w, out, NULL, err);
    for (size_t i = 0; i < g->n && !rc; i++) rc = merge_write(g, &g->tensors[i], (MergeSink){append, w}, err);
    if (!rc) rc = model_check_unchanged(g->m, err);
    if (!rc) rc = gguf_writer_end(w, err);
    return rc;
}
