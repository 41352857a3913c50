// merge_gguf: a merged model as one GGUF file, with the base's metadata (see merge.h).
#include <string.h>

#include "gguf.h"
#include "merge_internal.h"

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
static void add_keys(GgufWriter *w, const Gguf *base, uint32_t file_type, const char *template) {
    static const char template_key[] = "tokenizer.chat_template";
    char ignored[8];
    for (size_t i = 0; i < gguf_key_count(base); i++) {
        GgufStr key = gguf_key_at(base, i, ignored, sizeof ignored);
        bool replaced = template && key.len == strlen(template_key) && memcmp(key.data, template_key, key.len) == 0;
        if (!is_outdated(key) && !replaced) gguf_writer_key(w, gguf_key_raw(base, i));
    }
    if (template) gguf_writer_string(w, template_key, template);
    gguf_writer_u32(w, "general.file_type", file_type);
    gguf_writer_u32(w, "general.quantization_version", 2);
}

static void add_tensor(GgufWriter *w, const MergeTensor *t) {
    const SourceTensor *s = t->source;
    int64_t shape[4];
    for (int d = 0; d < s->n_dims; d++) shape[d] = s->shape[s->n_dims - 1 - d]; // GGUF: fastest first
    gguf_writer_tensor(w, s->name, t->dtype, s->n_dims, shape, NULL);
}

static int append(void *to, const void *data, size_t bytes, Err *err) {
    return gguf_writer_append(to, data, bytes, err);
}

int merge_write_gguf(Merge *g, const char *out, Err *err) {
    AUTO_GGUF_WRITER GgufWriter *w = gguf_writer_new();
    add_keys(w, g->files->gguf, merge_choose_types(g), g->a->chat_template);
    for (size_t i = 0; i < g->n; i++) add_tensor(w, &g->tensors[i]);
    int rc = gguf_writer_begin(w, out, NULL, err);
    for (size_t i = 0; i < g->n && !rc; i++) rc = merge_write(g, &g->tensors[i], (MergeSink){append, w}, err);
    if (!rc) rc = model_check_unchanged(g->m, err);
    if (!rc) rc = gguf_writer_end(w, err);
    return rc;
}
