// hf_folder: the files of a Hugging Face model folder: model.safetensors, or the shards of
// model.safetensors.index.json.
#include "weight_source_internal.h"

#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "path.h"

static const char index_name[] = "model.safetensors.index.json", single_name[] = "model.safetensors";
enum { MAX_INDEX_BYTES = 64 << 20 };

// ---- the index ----

typedef struct ShardIndex {
    char *path;
    JsonDoc *doc;
    const Json *weight_map;
    const char **names; // of the shards, sorted, each once; they belong to doc
    size_t n_names;
} ShardIndex;

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// A shard is next to its index: a name with a path in it could read other files.
static int check_shard_name(const char *tensor, const Json *v, Err *err) {
    if (v->type != JSON_STRING)
        return err_input(err, "weight_map: \"%.200s\" is %s; expected the name of a file", tensor, json_type_name(v));
    const char *name = v->str.data;
    if (!*name || strlen(name) != v->str.len || strpbrk(name, "/\\") || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0)
        return err_input(err, "weight_map: \"%.200s\" is in \"%.200s\"; expected a plain file name in the same folder",
                         tensor, name);
    return 0;
}

static int list_shards(ShardIndex *x, Err *err) {
    x->weight_map = json_get(json_root(x->doc), "weight_map");
    if (!x->weight_map || x->weight_map->type != JSON_OBJECT || !x->weight_map->count)
        return err_input(err, "weight_map is %s; expected an object that names the file of each tensor",
                         x->weight_map && x->weight_map->type == JSON_OBJECT ? "empty" : json_type_name(x->weight_map));
    size_t n = x->weight_map->count;
    x->names = mem_alloc(n, sizeof *x->names);
    for (size_t i = 0; i < n; i++) {
        const JsonStr *tensor = &x->weight_map->keys[i];
        if (strlen(tensor->data) != tensor->len)
            return err_input(err, "weight_map: the name \"%.80s\" holds a NUL character", tensor->data);
        if (check_shard_name(tensor->data, &x->weight_map->items[i], err)) return -1;
        x->names[i] = x->weight_map->items[i].str.data;
    }
    qsort(x->names, n, sizeof *x->names, compare_strings);
    for (size_t i = 0; i < n; i++)
        if (!i || strcmp(x->names[i], x->names[i - 1]) != 0) x->names[x->n_names++] = x->names[i];
    return 0;
}

static int read_index(ShardIndex *x, const char *dir, Err *err) {
    x->path = path_join(dir, index_name);
    if (json_load(&x->doc, x->path, MAX_INDEX_BYTES, err)) return -1;
    return list_shards(x, err) ? err_context(err, "%s", x->path) : 0;
}

static void free_index(ShardIndex *x) {
    json_free(x->doc);
    mem_free(x->names);
    mem_free(x->path);
}

// only: the file that the user named, NULL for the folder. A file that is no shard of the index is opened alone.
// As in transformers, the index only names the files. Entries without a tensor (a tied head, a buffer) are ignored;
// model_slots.c refuses missing tensors that the graph needs.
static int open_shards(WeightSource *s, const char *only, Err *err) {
    AUTO_CALL(free_index) ShardIndex x = {0};
    if (read_index(&x, s->dir, err)) return -1;
    if (only && !bsearch(&only, x.names, x.n_names, sizeof *x.names, compare_strings))
        return weight_source_add_safetensors(s, mem_strdup(s->path), err);
    for (size_t i = 0; i < x.n_names; i++)
        if (weight_source_add_safetensors(s, path_join(s->dir, x.names[i]), err)) return err_context(err, "%s", x.path);
    return 0;
}

// ---- the folder ----

static int refuse_without_config(const WeightSource *s, Err *err) {
    if (!path_exists(s->path)) return err_input(err, "%s: no such file or folder", s->path);
    if (dir_has(s->dir, "adapter_config.json"))
        return err_input(err, "%s: an adapter, no base model: found adapter_config.json; expected config.json", s->dir);
    return err_input(err,
                     "%s: found no config.json; expected a Hugging Face model: config.json and %s or %s (or the path "
                     "of a .gguf file)",
                     s->dir, single_name, index_name);
}

static int refuse_without_weights(const WeightSource *s, Err *err) {
    static const char *const others[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (dir_has(s->dir, others[i]))
            return err_input(err,
                             "%s: found %s; expected %s: convert it with python -c \"from transformers import "
                             "AutoModelForCausalLM as M; M.from_pretrained('IN').save_pretrained('OUT')\"",
                             s->dir, others[i], single_name);
    return err_input(err, "%s: found config.json but no weights; expected %s or %s", s->dir, single_name, index_name);
}

// As in transformers, the single file is preferred to the index.
int hf_folder_open(WeightSource *s, Err *err) {
    const char *slash = strrchr(s->path, '/'), *only = path_is_dir(s->path) ? NULL : slash ? slash + 1 : s->path;
    if (!dir_has(s->dir, "config.json")) return refuse_without_config(s, err);
    if (only && (strcmp(only, single_name) == 0 || !dir_has(s->dir, index_name)))
        return weight_source_add_safetensors(s, mem_strdup(s->path), err);
    if (!only && dir_has(s->dir, single_name))
        return weight_source_add_safetensors(s, path_join(s->dir, single_name), err);
    if (dir_has(s->dir, index_name)) return open_shards(s, only, err);
    return refuse_without_weights(s, err);
}
