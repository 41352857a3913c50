// merge_hf: writes a merged model as a Hugging Face folder (see merge.h): shards as in transformers, config.json with
// the new type, and all other small files of the base.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"
#include "json_save.h"
#include "merge_internal.h"
#include "path.h"
#include "quantized.h"
#include "safetensors.h"

static const size_t SHARD_BYTES = 5000000000; // transformers' "5GB"

// ---- weights ----

static bool is_ignored_buffer(const Merge *g, const char *name) {
    for (const char *const *end = g->m->config.arch->hf_ignored; *end; end++)
        if (ends_with(name, *end)) return true;
    return false;
}

static MergeTensor as_stored(const SourceTensor *s) {
    MergeTensor t = {.source = s, .name = s->name, .dtype = s->dtype, .n_dims = s->n_dims};
    memcpy(t.shape, s->shape, sizeof t.shape);
    return t;
}

// Drops unused buffers and expands quantised matrices; refuses types that cannot be written.
static int choose_types(Merge *g, Err *err) {
    size_t kept = 0;
    DType named = model_config_hf_dtype(g->files->dir), plain = named == DTYPE_COUNT ? DTYPE_BF16 : named;
    for (size_t i = 0; i < g->n; i++) {
        MergeTensor t = g->tensors[i];
        if ((t.source->is_part && !g->is_packed) || is_ignored_buffer(g, t.source->name)) continue;
        if (g->is_packed && t.source->quantized)
            t = as_stored(t.source->quantized->stored);
        else if (t.source->quantized)
            t.dtype = plain;
        if (t.dtype == DTYPE_COUNT)
            return err_input(err, "%s: %s has type %s; expected one that merge can write", t.source->file,
                             t.source->name, t.source->dtype_name);
        if (g->dtype != DTYPE_COUNT && t.dtype <= DTYPE_BF16) t.dtype = g->dtype;
        g->tensors[kept++] = t;
    }
    g->n = kept;
    return 0;
}

// The tensors of one shard, [begin, end).
typedef struct Shard {
    size_t begin, end;
    char name[64];
} Shard;

static size_t plan_shards(const Merge *g, Shard **out) {
    Shard *shards = NULL;
    size_t n = 0, capacity = 0, bytes = 0, most = g->shard_bytes ? g->shard_bytes : SHARD_BYTES;
    for (size_t i = 0; i < g->n; i++) {
        size_t size = merge_bytes(&g->tensors[i]);
        if (n == 0 || (bytes + size > most && shards[n - 1].begin < i)) {
            MEM_GROW(shards, capacity, n + 1);
            shards[n++] = (Shard){.begin = i};
            bytes = 0;
        }
        shards[n - 1].end = i + 1;
        bytes += size;
    }
    for (size_t i = 0; i < n; i++) {
        if (n == 1)
            snprintf(shards[i].name, sizeof shards[i].name, "model.safetensors");
        else
            snprintf(shards[i].name, sizeof shards[i].name, "model-%05zu-of-%05zu.safetensors", i + 1, n);
    }
    *out = shards;
    return n;
}

static int append(void *to, const void *data, size_t bytes, Err *err) {
    return safetensors_append(to, data, bytes, err);
}

static int write_shard(const Merge *g, const Shard *shard, const char *dir, Err *err) {
    static const char *const metadata[] = {"format", "pt"};
    size_t n = shard->end - shard->begin;
    AUTO_FREE SafetensorsEntry *entries = mem_alloc(n, sizeof *entries);
    for (size_t i = 0; i < n; i++) {
        const MergeTensor *t = &g->tensors[shard->begin + i];
        entries[i] = (SafetensorsEntry){
            .name = t->name, .dtype = t->dtype, .n_dims = t->source->n_dims, .data = t}; // to find it after sorting
        memcpy(entries[i].shape, t->source->shape, sizeof entries[i].shape);
    }
    safetensors_order(entries, n);
    AUTO_FREE char *path = path_join(dir, shard->name);
    SafetensorsWriter *w;
    int rc = safetensors_begin(&w, path, entries, n, metadata, 1, err);
    for (size_t i = 0; i < n && !rc; i++) rc = merge_write(g, entries[i].data, (MergeSink){append, w}, err);
    if (rc)
        safetensors_abandon(w);
    else
        rc = safetensors_end(w, err);
    return rc;
}

typedef struct IndexLine {
    const char *tensor, *file;
} IndexLine;

static int compare_lines(const void *a, const void *b) {
    return strcmp(((const IndexLine *)a)->tensor, ((const IndexLine *)b)->tensor);
}

static int write_index(const Merge *g, const Shard *shards, size_t n, const char *dir, Err *err) {
    double total = 0;
    AUTO_FREE IndexLine *lines = mem_alloc(g->n, sizeof *lines);
    for (size_t s = 0; s < n; s++)
        for (size_t i = shards[s].begin; i < shards[s].end; i++) {
            lines[i] = (IndexLine){g->tensors[i].name, shards[s].name};
            total += (double)merge_bytes(&g->tensors[i]);
        }
    qsort(lines, g->n, sizeof *lines, compare_lines);
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(cJSON_AddObjectToObject(root, "metadata"), "total_size", total);
    cJSON *map = cJSON_AddObjectToObject(root, "weight_map");
    for (size_t i = 0; i < g->n; i++) cJSON_AddStringToObject(map, lines[i].tensor, lines[i].file);
    AUTO_FREE char *path = path_join(dir, "model.safetensors.index.json");
    return json_save(path, root, NULL, err);
}

static int write_weights(Merge *g, const char *dir, Err *err) {
    AUTO_FREE Shard *shards = NULL;
    size_t n = plan_shards(g, &shards);
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) rc = write_shard(g, &shards[i], dir, err);
    if (!rc && n > 1) rc = write_index(g, shards, n, dir, err);
    return rc;
}

// ---- other files ----

// The text with the values of the keys dtype and torch_dtype changed and all other bytes kept.
static void set_dtype(StrBuf *out, const char *text, const char *name) {
    static const char *const keys[] = {"\"dtype\"", "\"torch_dtype\""};
    bool found = false;
    for (const char *p = text; *p;) {
        size_t key = 0;
        for (int i = 0; i < 2; i++)
            if (starts_with(p, keys[i])) key = strlen(keys[i]);
        size_t colon = key + strspn(p + key, " \t\r\n");
        if (!key || p[colon] != ':') {
            str_add(out, p++, 1);
            continue;
        }
        size_t value = colon + 1 + strspn(p + colon + 1, " \t\r\n");
        str_add(out, p, value);
        str_printf(out, "\"%s\"", name);
        p += value + strcspn(p + value, ",}\r\n");
        found = true;
    }
    if (found) return;
    const char *brace = strchr(text, '{');
    CHECK(brace, "config.json was read before");
    str_clear(out);
    str_printf(out, "%.*s\n  \"torch_dtype\": \"%s\",%s", (int)(brace + 1 - text), text, name, brace + 1);
}

// The text without the key "quantization_config" and its value: the weights are written expanded.
static void drop_quantization(StrBuf *out, const char *text) {
    const char *key = strstr(text, "\"quantization_config\""), *begin = key, *end;
    if (!key) {
        str_puts(out, text);
        return;
    }
    int depth = 0;
    bool quoted = false;
    for (end = strchr(key, ':'); *end; end++) {
        if (quoted && *end == '\\' && end[1])
            end++;
        else if (*end == '"')
            quoted = !quoted;
        else if (!quoted && *end == '{')
            depth++;
        else if (!quoted && *end == '}' && --depth == 0)
            break;
    }
    end += *end == '}';
    size_t space = strspn(end, " \t\r\n");
    while (begin > text && strchr(" \t\r\n", begin[-1])) begin--;
    if (end[space] == ',')
        end += space + 1;
    else if (begin > text && begin[-1] == ',')
        begin--;
    str_add(out, text, (size_t)(begin - text));
    str_puts(out, end);
}

static int write_config(const Merge *g, const char *from, const char *to, Err *err) {
    enum { MAX_CONFIG = 64 << 20 };
    AUTO_FREE char *text = NULL;
    size_t size;
    if (file_read(&text, &size, from, MAX_CONFIG, err)) return -1;
    AUTO_STR StrBuf changed = {0}, plain = {0};
    if (g->is_quantized) {
        drop_quantization(&plain, text);
        size = plain.len;
    }
    const char *old = g->is_quantized ? plain.data : text;
    if (g->dtype == DTYPE_COUNT)
        str_add(&changed, old, size);
    else
        set_dtype(&changed, old, g->dtype == DTYPE_F32 ? "float32" : g->dtype == DTYPE_F16 ? "float16" : "bfloat16");
    return file_write_whole(to, changed.data, changed.len, NULL, err);
}

static int copy_file(const char *from, const char *to, Err *err) {
    AUTO_MAP FileMap map = {0};
    if (file_map(&map, from, err)) return -1;
    return file_write_whole(to, map.data, map.size, NULL, err);
}

// Weights in any format (PyTorch, TensorFlow, Flax, ONNX, ...), their indexes, and optimizer states.
static bool is_weights(const char *name) {
    static const char *const ends[] = {".safetensors", ".bin",  ".pt",   ".pth",        ".ckpt", ".h5",
                                       ".msgpack",     ".onnx", ".gguf", ".index.json", ".ot",   ".tflite"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i])) return true;
    return false;
}

static int copy_entry(const Merge *g, const char *dir, const char *name, const char *to_dir, Err *err) {
    struct stat st;
    AUTO_FREE char *from = path_join(dir, name), *to = path_join(to_dir, name);
    if (stat(from, &st) || !S_ISREG(st.st_mode)) return 0;
    return strcmp(name, "config.json") == 0 ? write_config(g, from, to, err) : copy_file(from, to, err);
}

static int copy_others(const Merge *g, const char *to, Err *err) {
    static const char template_name[] = "chat_template.jinja";
    const char *dir = g->files->dir, *own = g->a ? g->a->chat_template : NULL;
    NameList names = {0};
    int rc = dir_list(&names, dir, err);
    for (size_t i = 0; i < names.count && !rc; i++) {
        const char *name = names.items[i];
        if (name[0] != '.' && !is_weights(name) && !(own && strcmp(name, template_name) == 0))
            rc = copy_entry(g, dir, name, to, err);
    }
    name_list_clear(&names);
    if (rc || !own) return rc;
    AUTO_FREE char *path = path_join(to, template_name); // overrides the one in tokenizer_config.json
    rc = file_write_whole(path, own, strlen(own), NULL, err);
    return rc;
}

int merge_write_hf(Merge *g, const char *out, Err *err) {
    DirWriter *w;
    if (choose_types(g, err) || dir_create(&w, out, NULL, err)) return -1;
    if (copy_others(g, dir_path(w), err) == 0 && write_weights(g, dir_path(w), err) == 0 &&
        model_check_unchanged(g->m, err) == 0)
        return dir_commit(w, err);
    dir_abandon(w);
    return -1;
}
