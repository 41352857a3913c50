// weight_source: the tensors of all files; hf_folder.c and gguf_split.c find the files.
#include "weight_source_internal.h"

#include <string.h>

#include "fileio.h"
#include "hash.h"
#include "path.h"

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
static int explain_pointer(const char *path, Err *err) {
    static const char pointer[] = "version https://git-lfs";
    AUTO_FREE char *text = NULL;
    size_t size;
    if (!file_read(&text, &size, path, 4096, NULL) && starts_with(text, pointer))
        err_input(err, "%s: a Git LFS pointer, not the file itself; fetch the file with `git lfs pull`", path);
    return -1;
}

int weight_source_add_gguf(WeightSource *s, char *path, Err *err) {
    SourceFile *f = add_file(s, path);
    if (gguf_open(&f->gguf, path, err)) return explain_pointer(path, err);
    for (int64_t i = 0; i < gguf_tensor_count(f->gguf); i++) {
        const GgufTensor *t = gguf_tensor_at(f->gguf, i);
        const char *type = dtype_info(t->dtype)->name;
        SourceTensor *added =
            add_tensor(s, (SourceTensor){t->name, path, type, t->dtype, t->n_dims, {0}, t->data, t->bytes});
        for (int d = 0; d < t->n_dims; d++) added->shape[d] = t->shape[t->n_dims - 1 - d];
    }
    return 0;
}

_Static_assert((int)SOURCE_MAX_DIMS == (int)SAFETENSORS_MAX_DIMS, "every tensor of a safetensors file has its place");

int weight_source_add_safetensors(WeightSource *s, char *path, Err *err) {
    SourceFile *f = add_file(s, path);
    if (safetensors_open(&f->safetensors, path, err)) return explain_pointer(path, err);
    for (size_t i = 0; i < safetensors_count(f->safetensors); i++) {
        const SafetensorsTensor *t = safetensors_at(f->safetensors, i);
        SourceTensor *added =
            add_tensor(s, (SourceTensor){t->name, path, t->dtype_name, t->dtype, t->n_dims, {0}, t->data, t->bytes});
        memcpy(added->shape, t->shape, (size_t)t->n_dims * sizeof *t->shape);
    }
    return 0;
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

char *weight_source_folder(const char *path) {
    if (path_is_dir(path)) return mem_strdup(path);
    return ends_with(path, ".safetensors") ? path_parent(path) : NULL;
}

int weight_source_open(WeightSource **out, const char *path, Err *err) {
    AUTO_SOURCE WeightSource *s = mem_calloc(1, sizeof *s);
    *out = NULL;
    s->path = mem_strdup(path);
    s->dir = weight_source_folder(path);
    if (s->dir) stamp_folder(s);
    if ((s->dir ? hf_folder_open(s, err) : gguf_split_open(s, err)) || index_names(s, err)) return -1;
    *out = mem_take(&s);
    return 0;
}

void weight_source_close(WeightSource *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_files; i++) {
        gguf_close(s->files[i].gguf);
        safetensors_close(s->files[i].safetensors);
        mem_free(s->files[i].path);
    }
    for (size_t i = 0; i < s->n_copies; i++) mem_free(s->copies[i]);
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

size_t weight_source_count(const WeightSource *s) {
    return s->n_tensors;
}

const SourceTensor *weight_source_at(const WeightSource *s, size_t i) {
    CHECK(i < s->n_tensors);
    return &s->tensors[i];
}

const SourceTensor *weight_source_get(const WeightSource *s, const char *name) {
    return name_index_find(&s->by_name, name);
}

// GGUF aligns its tensors; safetensors pads its header to 8 bytes only since version 0.3.
const void *weight_source_aligned(WeightSource *s, const SourceTensor *t) {
    size_t alignment =
        t->dtype < DTYPE_COUNT && dtype_info(t->dtype)->block == 1 ? (size_t)dtype_info(t->dtype)->bytes : 1;
    if ((uintptr_t)t->data % alignment == 0) return t->data;
    MEM_GROW(s->copies, s->copies_capacity, s->n_copies + 1);
    s->copies[s->n_copies] = mem_alloc(t->bytes, 1);
    memcpy(s->copies[s->n_copies], t->data, t->bytes);
    return s->copies[s->n_copies++];
}

void weight_source_drop_pages(const WeightSource *s) {
    for (size_t i = 0; i < s->n_tensors; i++) file_pages_drop(s->tensors[i].data, s->tensors[i].bytes);
}

bool weight_source_is_gguf(const WeightSource *s) {
    return s->dir == NULL;
}

const Gguf *weight_source_gguf(const WeightSource *s) {
    return s->dir ? NULL : s->files[0].gguf;
}

const char *weight_source_dir(const WeightSource *s) {
    return s->dir;
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
