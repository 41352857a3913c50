// weight_source: opens the files of a model and finds its tensors (see weight_source.h).
#include "weight_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fileio.h"
#include "hash.h"
#include "hub_cache.h"
#include "json_read.h"
#include "name_index.h"
#include "path.h"
#include "quantized.h"
#include "safetensors.h"

typedef struct SourceFile {
    char *path;
    Gguf *gguf; // one of the two is set
    Safetensors *safetensors;
} SourceFile;

typedef struct SourceStamp { // of a file when it was opened
    char *path;
    FileStamp stamp;
} SourceStamp;

typedef struct SourceRange {
    void *address;
    size_t bytes;
} SourceRange;

void *weight_source_own(WeightSource *s, size_t bytes) {
    MEM_GROW(s->copies, s->copies_capacity, s->n_copies + 1);
    return s->copies[s->n_copies++] = mem_alloc(bytes, 1);
}

// ---- absent weights ----

// Addresses without memory: each tensor has its own, as those in a map do.
static int make_absent(WeightSource *s, SourceTensor *t) {
    void *at = mmap(NULL, t->bytes ? t->bytes : 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return -1;
    MEM_GROW(s->ranges, s->ranges_capacity, s->n_ranges + 1);
    s->ranges[s->n_ranges++] = (SourceRange){at, t->bytes ? t->bytes : 1};
    t->data = at;
    t->is_absent = s->lacks_weights = true;
    return 0;
}

const SourceTensor *weight_source_assume(WeightSource *s, const char *name, DType dtype, int n_dims,
                                         const int64_t *shape) {
    size_t count = 1, length = strlen(name) + 1;
    struct {
        SourceTensor tensor;
        char name[];
    } *own = weight_source_own(s, sizeof *own + length);
    memcpy(own->name, name, length);
    own->tensor = (SourceTensor){.name = own->name, .file = s->path, .dtype_name = dtype_info(dtype)->name};
    own->tensor.dtype = dtype;
    own->tensor.n_dims = n_dims;
    for (int d = 0; d < SOURCE_MAX_DIMS; d++) {
        own->tensor.shape[d] = d < n_dims ? shape[d] : 1;
        if (__builtin_mul_overflow(count, (size_t)own->tensor.shape[d], &count)) return NULL;
    }
    bool fits = dtype_bytes(dtype, count, &own->tensor.bytes);
    return fits && make_absent(s, &own->tensor) == 0 ? &own->tensor : NULL;
}

// ---- one file ----

static void add_stamp(WeightSource *s, const char *path) {
    FileStamp stamp;
    if (!file_stamp_read(&stamp, path)) return; // absent, or an error that opening it reports
    MEM_GROW(s->stamps, s->stamps_capacity, s->n_stamps + 1);
    s->stamps[s->n_stamps++] = (SourceStamp){mem_strdup(path), stamp};
}

// The small files of a Hugging Face folder that hold a model's configuration and tokenizer.
static void stamp_folder(WeightSource *s) {
    static const char *const names[] = {"config.json",
                                        "model.safetensors.index.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "chat_template.jinja"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        AUTO_FREE char *path = path_join(s->dir, names[i]);
        add_stamp(s, path);
    }
}

static SourceFile *add_file(WeightSource *s, char *path) {
    add_stamp(s, path);
    MEM_GROW(s->files, s->files_capacity, s->n_files + 1);
    SourceFile *f = &s->files[s->n_files++];
    *f = (SourceFile){.path = path};
    return f;
}

static SourceTensor *add_tensor(WeightSource *s, SourceTensor t) {
    for (int d = 0; d < SOURCE_MAX_DIMS; d++) t.shape[d] = 1;
    MEM_GROW(s->tensors, s->tensors_capacity, s->n_tensors + 1);
    s->tensors[s->n_tensors] = t;
    return &s->tensors[s->n_tensors++];
}

// In a repository cloned without git-lfs small text files replace the large ones.
static bool is_pointer(const char *path) {
    AUTO_FREE char *text = NULL;
    size_t size;
    return file_read(&text, &size, path, 4096, NULL) == 0 && starts_with(text, "version https://git-lfs");
}

static int explain_pointer(const char *path, Err *err) {
    if (is_pointer(path))
        err_input(err, "%s: a Git LFS pointer, not the file itself; fetch the file with `git lfs pull`", path);
    return -1;
}

// Both take ownership of path.
static int add_gguf(WeightSource *s, char *path, Err *err) {
    SourceFile *f = add_file(s, path);
    bool whole = true;
    if (s->may_lack_weights ? gguf_open_header(&f->gguf, path, &whole, err) : gguf_open(&f->gguf, path, err))
        return explain_pointer(path, err);
    if (!s->gguf) s->gguf = f->gguf;
    for (int64_t i = 0; i < gguf_tensor_count(f->gguf); i++) {
        const GgufTensor *t = gguf_tensor_at(f->gguf, i);
        const char *type = dtype_info(t->dtype)->name;
        SourceTensor *added = add_tensor(
            s, (SourceTensor){.name = t->name, .file = path, .dtype_name = type, .dtype = t->dtype, .data = t->data});
        added->n_dims = t->n_dims;
        added->bytes = t->bytes;
        for (int d = 0; d < t->n_dims; d++) added->shape[d] = t->shape[t->n_dims - 1 - d];
        if (!whole && make_absent(s, added)) return err_input(err, "%s: tensor \"%s\": too large", path, t->name);
    }
    return 0;
}

_Static_assert((int)SOURCE_MAX_DIMS == (int)SAFETENSORS_MAX_DIMS, "every tensor of a safetensors file has its place");

static int add_safetensors(WeightSource *s, char *path, Err *err) {
    if (s->may_lack_weights && (!path_exists(path) || is_pointer(path))) {
        s->lacks_weights = true;
        mem_free(path);
        return 0;
    }
    SourceFile *f = add_file(s, path);
    if (safetensors_open(&f->safetensors, path, err)) return explain_pointer(path, err);
    for (size_t i = 0; i < safetensors_count(f->safetensors); i++) {
        const SafetensorsTensor *t = safetensors_at(f->safetensors, i);
        SourceTensor *added = add_tensor(
            s, (SourceTensor){
                   .name = t->name, .file = path, .dtype_name = t->dtype_name, .dtype = t->dtype, .data = t->data});
        added->n_dims = t->n_dims;
        added->bytes = t->bytes;
        memcpy(added->shape, t->shape, (size_t)t->n_dims * sizeof *t->shape);
    }
    return 0;
}

// ---- a Hugging Face folder: model.safetensors, or the shards of model.safetensors.index.json ----

static const char index_name[] = "model.safetensors.index.json", single_name[] = "model.safetensors";
enum { MAX_INDEX_BYTES = 64 << 20 };

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
        return add_safetensors(s, mem_strdup(s->path), err);
    for (size_t i = 0; i < x.n_names; i++)
        if (add_safetensors(s, path_join(s->dir, x.names[i]), err)) return err_context(err, "%s", x.path);
    return 0;
}

static int refuse_missing(const char *path, Err *err) {
    AUTO_FREE char *hint = hub_hint(path, HUB_MODEL);
    return err_input(err, "%s: no such file or folder%s", path, hint);
}

static int refuse_without_config(const WeightSource *s, Err *err) {
    if (!path_exists(s->path)) return refuse_missing(s->path, err);
    if (dir_has(s->dir, "adapter_config.json"))
        return err_input(err, "%s: an adapter, no base model: found adapter_config.json; expected config.json", s->dir);
    return err_input(err,
                     "%s: found no config.json; expected a Hugging Face model: config.json and %s or %s (or the path "
                     "of a .gguf file)",
                     s->dir, single_name, index_name);
}

static int refuse_without_weights(WeightSource *s, Err *err) {
    static const char *const others[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (dir_has(s->dir, others[i]))
            return err_input(err,
                             "%s: found %s; expected %s: convert it with python -c \"from transformers import "
                             "AutoModelForCausalLM as M; M.from_pretrained('IN').save_pretrained('OUT')\"",
                             s->dir, others[i], single_name);
    s->lacks_weights = s->may_lack_weights;
    if (s->lacks_weights) return 0;
    return err_input(err, "%s: found config.json but no weights; expected %s or %s", s->dir, single_name, index_name);
}

// As in transformers, the single file is preferred to the index.
static int open_folder(WeightSource *s, Err *err) {
    const char *slash = strrchr(s->path, '/'), *only = path_is_dir(s->path) ? NULL : slash ? slash + 1 : s->path;
    if (!dir_has(s->dir, "config.json")) return refuse_without_config(s, err);
    if (only && strcmp(only, "config.json") == 0) only = NULL;
    if (only && (strcmp(only, single_name) == 0 || !dir_has(s->dir, index_name)))
        return add_safetensors(s, mem_strdup(s->path), err);
    if (!only && dir_has(s->dir, single_name)) return add_safetensors(s, path_join(s->dir, single_name), err);
    if (dir_has(s->dir, index_name)) return open_shards(s, only, err);
    return refuse_without_weights(s, err);
}

// ---- a GGUF file, or llama.cpp's split files NAME-00001-of-0000N.gguf. The first part has the metadata; every part
// has its number (split.no, from 0) and the number of parts (split.count) ----

typedef struct Split {
    uint64_t number, count, tensors; // count 0: not split
} Split;

static int read_split(Split *p, const Gguf *g, Err *err) {
    *p = (Split){0};
    if (gguf_u64(g, "split.count", false, &p->count, err) < 0) return -1;
    if (p->count < 2) return 0;
    if (gguf_u64(g, "split.no", true, &p->number, err) < 0 ||
        gguf_u64(g, "split.tensors.count", true, &p->tensors, err) < 0)
        return -1;
    if (p->number >= p->count || p->count > 99999)
        return err_input(err,
                         "%s: split.no is %lu and split.count %lu; expected a number below the count, which is at "
                         "most 99999",
                         gguf_path(g), p->number, p->count);
    return 0;
}

enum { SUFFIX_LENGTH = 20 }; // "-00001-of-00003.gguf"

static void print_suffix(char suffix[SUFFIX_LENGTH + 1], uint64_t number, uint64_t count) {
    snprintf(suffix, SUFFIX_LENGTH + 1, "-%05u-of-%05u.gguf", (unsigned)number + 1, (unsigned)count);
}

// The number of parts in such a suffix; 0: another suffix. Only digits: strtoul would accept a sign.
static unsigned suffix_count(const char *suffix) {
    static const char form[SUFFIX_LENGTH + 1] = "-00000-of-00000.gguf";
    unsigned count = 0;
    for (int i = 0; i < SUFFIX_LENGTH; i++) {
        bool digit = suffix[i] >= '0' && suffix[i] <= '9';
        if (form[i] == '0' ? !digit : suffix[i] != form[i]) return 0;
        if (digit && i >= 10) count = count * 10 + (unsigned)(suffix[i] - '0');
    }
    return count;
}

void weight_source_add_inputs(InputSet *inputs, const char *path) {
    char suffix[SUFFIX_LENGTH + 1];
    size_t n = path ? strlen(path) : 0;
    input_set_add(inputs, path);
    unsigned count = n < SUFFIX_LENGTH ? 0 : suffix_count(path + n - SUFFIX_LENGTH);
    for (unsigned i = 0; i < count; i++) {
        print_suffix(suffix, i % 99999, count % 100000); // for the compiler: both fit
        AUTO_FREE char *part = mem_printf("%.*s%s", (int)(n - SUFFIX_LENGTH), path, suffix);
        input_set_add(inputs, part);
    }
}

static int add_part(WeightSource *s, char *path, const Split *first, uint64_t number, Err *err) {
    Split p;
    if (add_gguf(s, path, err) || read_split(&p, s->files[number].gguf, err)) return -1;
    if (p.number != number || p.count != first->count || p.tensors != first->tensors)
        return err_input(err,
                         "%s: part %lu of %lu, %lu tensor%s; expected part %lu of %lu, %lu tensor%s (split.no, "
                         "split.count, split.tensors.count)",
                         path, p.number + 1, p.count, p.tensors, plural(p.tensors), number + 1, first->count,
                         first->tensors, plural(first->tensors));
    return 0;
}

static int open_parts(WeightSource *s, const Split *p, Err *err) {
    char suffix[SUFFIX_LENGTH + 1];
    size_t n = strlen(s->path);
    print_suffix(suffix, p->number, p->count);
    if (!ends_with(s->path, suffix))
        return err_input(err, "%s: part %lu of %lu of a split model; expected a name that ends in %s", s->path,
                         p->number + 1, p->count, suffix);
    for (uint64_t i = 0; i < p->count; i++) {
        print_suffix(suffix, i, p->count);
        if (add_part(s, mem_printf("%.*s%s", (int)(n - SUFFIX_LENGTH), s->path, suffix), p, i, err)) return -1;
    }
    if (s->n_tensors != p->tensors)
        return err_input(err, "%s: %zu tensor%s in all its parts; split.tensors.count is %lu", s->path, s->n_tensors,
                         plural(s->n_tensors), p->tensors);
    return 0;
}

// With all other parts of a split model, in order.
static int open_gguf(WeightSource *s, Err *err) {
    AUTO_GGUF Gguf *g = NULL;
    Split p;
    if (!path_exists(s->path)) return refuse_missing(s->path, err);
    bool whole;
    if (s->may_lack_weights ? gguf_open_header(&g, s->path, &whole, err) : gguf_open(&g, s->path, err))
        return add_gguf(s, mem_strdup(s->path), err);
    if (read_split(&p, g, err)) return -1;
    return p.count < 2 ? add_gguf(s, mem_strdup(s->path), err) : open_parts(s, &p, err);
}

// ---- all files ----

// A reader refuses duplicate names in its file; here a tensor in two files is refused.
static int index_names(WeightSource *s, Err *err) {
    for (size_t i = 0; i < s->n_tensors; i++)
        name_index_add(&s->by_name, s->tensors[i].name, strlen(s->tensors[i].name), &s->tensors[i]);
    const NamedItem *twice = name_index_sort(&s->by_name);
    if (!twice) return 0;
    const SourceTensor *a = twice[-1].item, *b = twice->item;
    return err_input(err, "%s: tensor \"%.200s\" is in %s too; expected it in one file", b->file, b->name, a->file);
}

int weight_source_reindex(WeightSource *s, Err *err) {
    name_index_clear(&s->by_name);
    s->by_name = (NameIndex){0};
    return index_names(s, err);
}

static int join_quantized(WeightSource *s, Err *err) {
    QuantizedConfig q;
    if (!s->dir) return 0;
    if (quantized_config_read(&q, s->dir, err)) return -1;
    if (!q.method) return 0;
    s->quantized = weight_source_own(s, sizeof q);
    *s->quantized = q;
    return quantized_join(s, &q, err);
}

char *weight_source_folder(const char *path) {
    if (path_is_dir(path)) return mem_strdup(path);
    return ends_with(path, ".safetensors") || strcmp(path_name(path), "config.json") == 0 ? path_parent(path) : NULL;
}

static int open_source(WeightSource **out, const char *path, bool may_lack_weights, Err *err) {
    AUTO_SOURCE WeightSource *s = mem_calloc(1, sizeof *s);
    *out = NULL;
    s->may_lack_weights = may_lack_weights;
    s->path = mem_strdup(path);
    s->dir = weight_source_folder(path);
    if (s->dir) stamp_folder(s);
    if ((s->dir ? open_folder(s, err) : open_gguf(s, err)) || index_names(s, err) || join_quantized(s, err)) return -1;
    *out = mem_take(&s);
    return 0;
}

int weight_source_open(WeightSource **s, const char *path, Err *err) { return open_source(s, path, false, err); }

int weight_source_open_outline(WeightSource **s, const char *path, Err *err) { return open_source(s, path, true, err); }

void weight_source_close(WeightSource *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_files; i++) {
        gguf_close(s->files[i].gguf);
        safetensors_close(s->files[i].safetensors);
        mem_free(s->files[i].path);
    }
    for (size_t i = 0; i < s->n_copies; i++) mem_free(s->copies[i]);
    for (size_t i = 0; i < s->n_ranges; i++) munmap(s->ranges[i].address, s->ranges[i].bytes);
    mem_free(s->ranges);
    for (size_t i = 0; i < s->n_stamps; i++) mem_free(s->stamps[i].path);
    mem_free(s->stamps);
    mem_free(s->copies);
    mem_free(s->files);
    mem_free(s->tensors);
    name_index_clear(&s->by_name);
    mem_free(s->dir);
    mem_free(s->path);
    mem_free(s);
}

// ---- access ----

const SourceTensor *weight_source_get(const WeightSource *s, const char *name) {
    return name_index_find(&s->by_name, name);
}

// GGUF aligns its tensors; safetensors pads its header to 8 bytes only since version 0.3.
const void *weight_source_aligned(WeightSource *s, const SourceTensor *t) {
    size_t alignment =
        t->dtype < DTYPE_COUNT && dtype_info(t->dtype)->block == 1 ? (size_t)dtype_info(t->dtype)->bytes : 1;
    if ((uintptr_t)t->data % alignment == 0) return t->data;
    return memcpy(weight_source_own(s, t->bytes), t->data, t->bytes);
}

void weight_source_drop_pages(const WeightSource *s) {
    for (size_t i = 0; i < s->n_tensors; i++) file_pages_drop(s->tensors[i].data, s->tensors[i].bytes);
}

int weight_source_unchanged(const WeightSource *s, Err *err) {
    for (size_t i = 0; i < s->n_stamps; i++)
        if (file_stamp_check(&s->stamps[i].stamp, s->stamps[i].path, err)) return -1;
    return 0;
}

int weight_source_fingerprint(char hex[33], const WeightSource *s, Err *err) {
    if (!s->dir && s->n_files == 1) return hash_file_sampled(hex, s->files[0].path, err);
    AUTO_STR StrBuf all = {0};
    AUTO_FREE char *config = s->dir ? path_join(s->dir, "config.json") : NULL;
    if (config && hash_file(hex, config, err)) return -1;
    if (config) str_puts(&all, hex);
    for (size_t i = 0; i < s->n_files; i++) {
        if (hash_file_sampled(hex, s->files[i].path, err)) return -1;
        str_puts(&all, hex);
    }
    hash_bytes(hex, all.data, all.len);
    return 0;
}
