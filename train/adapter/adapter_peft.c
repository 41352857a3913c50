// adapter_peft: an adapter as a PEFT folder, adapter_config.json and adapter_model.safetensors.
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "hash.h"
#include "json_pool.h"
#include "json_save.h"
#include "path.h"
#include "peft_internal.h"
#include "unicode.h"

int adapter_peft_weights(char **path, const char *dir, Err *err) {
    AUTO_FREE char *weights = path_join(dir, "adapter_model.safetensors");
    AUTO_FREE char *pickle = path_join(dir, "adapter_model.bin");
    AUTO_FREE char *inside = path_join(dir, "adapter/adapter_model.safetensors"); // in the output_dir of a run
    if (path_exists(weights)) {
        *path = mem_take(&weights);
        return 0;
    }
    if (path_exists(pickle))
        return err_input(
            err,
            "%s: found adapter_model.bin (a pickle, which is not read); expected adapter_model.safetensors; convert "
            "it with: python3 -c \"import torch, safetensors.torch as s; s.save_file({k: v.contiguous() for k, v in "
            "torch.load('adapter_model.bin', 'cpu', weights_only=True).items()}, 'adapter_model.safetensors')\"",
            dir);
    return err_input(err, "%s: has no adapter_model.safetensors%s; expected a PEFT folder", dir,
                     path_exists(inside) ? ", but a folder adapter with one" : "");
}

// ---- reading ----

static int dims_of(const AdapterSegment *s) {
    return s->kind == SEGMENT_HEAD_BIAS || s->kind == SEGMENT_MAGNITUDE ? 1 : 2;
}

// Checks that the file has the segment in the right shape. Segments are of whole modules here.
static void check_tensor(PeftTensors *file, const AdapterSegment *s, ProblemList *problems) {
    const SafetensorsTensor *t = peft_tensors_get(file, s->name);
    if (!t) {
        problem_add(problems, "%s is missing", s->name);
    } else if (t->dtype > DTYPE_BF16) {
        problem_add(problems, "%s has type %s; expected F32, F16 or BF16", t->name, t->dtype_name);
    } else if (t->n_dims != dims_of(s) || t->shape[0] != s->rows || (t->n_dims > 1 && t->shape[1] != s->cols)) {
        problem_add(problems, "%s has shape [%ld, %ld]; expected [%ld, %ld]", t->name,
                    (t->n_dims > 0 ? t->shape[0] : 0), (t->n_dims > 1 ? t->shape[1] : 0), s->rows, s->cols);
    }
}

// Before memory is allocated: a config may ask for more than the file has. The first tensor without a segment is
// reported first: often it is the missing one under another name.
static int check_tensors(const Adapter *a, PeftTensors *file, const char *path, Err *err) {
    ProblemList problems = {0};
    size_t next = 0;
    for (int64_t i = 0; i < a->n_segments; i++) peft_tensors_get(file, a->segments[i].name);
    for (const char *name; (name = peft_tensors_unused(file, &next));) {
        problem_add(&problems, "%s belongs to no module that adapter_config.json and the base model have", name);
        if (problems.count == 1)
            for (int64_t i = 0; i < a->n_segments; i++) check_tensor(file, &a->segments[i], &problems);
    }
    if (!problems.count)
        for (int64_t i = 0; i < a->n_segments; i++) check_tensor(file, &a->segments[i], &problems);
    return problem_end(&problems, path, "tensors do not fit adapter_config.json and the base model", err);
}

static void take_tensor(PeftTensors *file, const AdapterSegment *s, float *host) {
    const SafetensorsTensor *t = peft_tensors_get(file, s->name);
    void *copy = (uintptr_t)t->data % sizeof(float) ? mem_alloc(t->bytes, 1) : NULL; // it may be unaligned in the file
    if (copy) memcpy(copy, t->data, t->bytes);
    dtype_expand(t->dtype, host + s->offset, copy ? copy : t->data, (size_t)(s->rows * s->cols));
    mem_free(copy);
}

static int fill(Adapter *a, PeftTensors *file, const char *path, Err *err) {
    AUTO_FREE float *host = mem_calloc((size_t)a->count, sizeof *host);
    for (int64_t i = 0; i < a->n_segments; i++) take_tensor(file, &a->segments[i], host);
    return adapter_upload(a, host, path, err);
}

// The shape of a classifier's head has the number of classes.
static int find_labels(AdapterConfig *c, const Model *m, PeftTensors *file, bool tokens, const char *path, Err *err) {
    AUTO_FREE char *name = mem_printf("base_model.model.%s.weight", architecture_class_head(m->config.arch, tokens));
    const SafetensorsTensor *t = peft_tensors_get(file, name);
    if (!t || t->n_dims != 2 || t->shape[0] < 1 || t->shape[0] > LABELS_MAX)
        return err_input(err, "%s: %s %s; expected the classifier's weight, [labels, %ld]", path, name,
                         t ? "has another shape" : "is missing", m->config.hidden);
    c->labels = t->shape[0];
    c->problem = tokens ? PROBLEM_TOKENS : PROBLEM_SINGLE_LABEL;
    return 0;
}

// An adapter of PEFT: what the base's config.json says, where that has as many classes. By transformers' rule a head
// with one output is of a number.
static int read_labels_of_base(Adapter *a, LabelList *labels, const Model *m, Err *err) {
    Problem problem;
    if (model_read_labels(labels, &problem, m, err)) return -1;
    if ((int64_t)labels->count != a->config.labels) label_list_clear(labels);
    if (a->config.problem == PROBLEM_TOKENS) return 0;
    bool of_base = problem && m->class_head.rows == a->config.labels;
    a->config.problem = of_base ? problem : a->config.labels == 1 ? PROBLEM_REGRESSION : PROBLEM_SINGLE_LABEL;
    return 0;
}

// labels.json of lorac; without one, and without names in the base, the names are numbers.
static int read_labels(Adapter *a, const Model *m, const char *dir, Err *err) {
    AUTO_FREE char *path = path_join(dir, "labels.json");
    AUTO_CALL(label_list_clear) LabelList labels = {0};
    bool own = path_exists(path);
    if (own ? adapter_labels_load(&labels, &a->config.problem, a->config.labels, path, err)
            : read_labels_of_base(a, &labels, m, err))
        return -1;
    for (int64_t i = (int64_t)labels.count; i < a->config.labels; i++) {
        char number[32];
        snprintf(number, sizeof number, "%ld", i);
        label_list_add(&labels, number);
    }
    adapter_name_labels(a, &labels);
    return 0;
}

// A copy of the base's own template is none of the adapter's.
static int read_chat_template(Adapter *a, const Model *m, const char *dir, Err *err) {
    enum { MAX_TEMPLATE = 1 << 20 };
    AUTO_FREE char *path = path_join(dir, "chat_template.jinja"), *text = NULL;
    size_t size;
    if (path_exists(path) && file_read(&text, &size, path, MAX_TEMPLATE, err)) return -1;
    const char *of_base = m->tokenizer ? m->tokenizer->chat_template : NULL;
    adapter_set_chat_template(a, text && of_base && strcmp(text, of_base) == 0 ? NULL : text);
    return 0;
}

// The adapter without values, checked against the tensors.
static int read_layout(Adapter **a, PeftTensors **file, const Model *m, const char *config, const char *path,
                       Err *err) {
    enum { MAX_CONFIG = 1 << 20 };
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_CALL(adapter_config_clear) AdapterConfig c = {0};
    bool has_head;
    if (json_load(&doc, config, MAX_CONFIG, err) || peft_tensors_open(file, path, m, err)) return -1;
    JsonReader r = {json_root(doc), config, "", err};
    if (peft_config_read(&c, &has_head, &r, m, *file) ||
        (has_head &&
         find_labels(&c, m, *file, json_is_string(json_get(r.object, "task_type"), "TOKEN_CLS"), path, err)))
        return -1;
    return adapter_outline(a, m, &c, err) ? err_context(err, "%s", path) : check_tensors(*a, *file, path, err);
}

int adapter_load_peft(Adapter **out, const Model *m, const char *dir, bool with_grad, Err *err) {
    AUTO_FREE char *config = path_join(dir, "adapter_config.json"), *weights = NULL;
    AUTO(peft_tensors_close) PeftTensors *file = NULL;
    AUTO(adapter_free) Adapter *a = NULL;
    if (adapter_peft_weights(&weights, dir, err) || read_layout(&a, &file, m, config, weights, err)) return -1;
    adapter_reserve(a, with_grad);
    if (fill(a, file, weights, err) || (a->config.labels && read_labels(a, m, dir, err)) ||
        read_chat_template(a, m, dir, err))
        return -1;
    *out = mem_take(&a);
    return 0;
}

// ---- writing ----

static const char peft_wrapper[] = "base_model.model.";

static const char *without_head(JsonPool *names, const char *name, size_t skipped) {
    StrBuf text = {0};
    str_printf(&text, "%s%s", peft_wrapper, name + sizeof peft_wrapper - 1 + skipped);
    return json_pool_text(names, &text).data;
}

static int save_tensors(const Adapter *a, const Model *m, const char *path, Err *err) {
    size_t skipped = peft_name_skips(a, m);
    AUTO_CALL(json_pool_clear) JsonPool names = {0};
    size_t n = (size_t)a->n_segments, modules = 0;
    AUTO_FREE float *copy = NULL, *whole = NULL; // whole: the B's of modules that are trained in part
    const float *host = adapter_on_host(a, a->params, &copy);
    AUTO_FREE SafetensorsEntry *entries = mem_alloc(n, sizeof *entries);
    for (size_t i = 0; i < n; i++) {
        const AdapterSegment *s = &a->segments[i];
        int64_t rows = adapter_module_rows(a->model, s);
        const char *name = skipped ? without_head(&names, s->name, skipped) : s->name;
        entries[i] = (SafetensorsEntry){name, DTYPE_F32, dims_of(s), {rows, s->cols}, host + s->offset};
        if (rows != s->rows) modules += (size_t)(rows * s->cols);
    }
    whole = mem_alloc(modules, sizeof *whole);
    float *next = whole;
    for (size_t i = 0; i < n; i++) {
        const AdapterSegment *s = &a->segments[i];
        if (entries[i].shape[0] == s->rows) continue;
        adapter_b_to_module(a->model, s, host + s->offset, next);
        entries[i].data = next;
        next += entries[i].shape[0] * s->cols;
    }
    static const char *const metadata[] = {"format", "pt", ADAPTER_MARK_KEY, ADAPTER_MARK};
    return safetensors_save(path, entries, n, metadata, 2, NULL, err);
}

static int save_text(const char *dir, const char *name, const char *text, Err *err) {
    AUTO_FREE char *path = path_join(dir, name);
    return text ? file_write_whole(path, text, strlen(text), NULL, err) : 0;
}

static int save_files(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err) {
    AUTO_FREE char *tensors = path_join(dir, "adapter_model.safetensors");
    AUTO_FREE char *config = path_join(dir, "adapter_config.json"), *labels = path_join(dir, "labels.json");
    const AdapterConfig *c = &a->config;
    AUTO_FREE char *base = utf8_replaced(m->repository ? m->repository : m->path);
    if (save_tensors(a, m, tensors, err) || json_save(config, peft_config_write(a, m, base), NULL, err) ||
        (c->labels && adapter_labels_save(&a->labels, c->problem, labels, err)) ||
        save_text(dir, "chat_template.jinja", a->chat_template, err) || save_text(dir, "README.md", model_card, err))
        return -1;
    return 0;
}

// Adds "NAME HASH" to list if the base has such a file.
static int copy_file(const char *from_dir, const char *to_dir, const char *name, StrBuf *list, Err *err) {
    AUTO_FREE char *from = path_join(from_dir, name), *to = path_join(to_dir, name);
    AUTO_MAP FileMap map = {0};
    char hash[33];
    if (!path_exists(from)) return 0;
    if (file_map(&map, from, err) || file_write_whole(to, map.data, map.size, NULL, err)) return -1;
    hash_bytes(hash, map.data, map.size);
    str_printf(list, "%s%s %s", list->len ? ", " : "", name, hash);
    return 0;
}

static int save_whole(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err) {
    AUTO_FREE char *base = m->is_gguf ? NULL : weight_source_folder(m->path), *card = NULL;
    AUTO_STR StrBuf list = {0};
    for (const char *const *name = adapter_tokenizer_names; base && *name; name++)
        if (copy_file(base, dir, *name, &list, err)) return -1;
    if (list.len && model_card) card = adapter_card_with_files(model_card, list.data);
    const char *template = m->tokenizer && !a->chat_template ? m->tokenizer->chat_template : NULL;
    return save_files(a, m, dir, card ? card : model_card, err) || save_text(dir, "chat_template.jinja", template, err)
               ? -1
               : 0;
}

typedef int Save(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err);

static int save_folder(const Adapter *a, const Model *m, const char *dir, const char *model_card, Save *save,
                       Err *err) {
    if (adapter_check(a, err)) return -1;
    DirWriter *w;
    if (dir_create(&w, dir, &adapter_peft_own, err)) return -1;
    if (save(a, m, dir_path(w), model_card, err) == 0) return dir_commit(w, err);
    dir_abandon(w);
    return -1;
}

int adapter_save_peft(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err) {
    return save_folder(a, m, dir, model_card, save_files, err);
}

int adapter_save_peft_whole(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err) {
    return save_folder(a, m, dir, model_card, save_whole, err);
}
