// adapter_peft: an adapter as a PEFT folder, adapter_config.json and adapter_model.safetensors.
#include <stdio.h>
#include <string.h>

#include "adapter_internal.h"
#include "fileio.h"
#include "json_save.h"
#include "path.h"
#include "peft_config.h"
#include "peft_tensors.h"
#include "unicode.h"

int adapter_peft_weights(char **path, const char *dir, Err *err) {
    char *weights = path_join(dir, "adapter_model.safetensors"), *pickle = path_join(dir, "adapter_model.bin");
    char *inside = path_join(dir, "adapter/adapter_model.safetensors"); // in the output_dir of a run
    bool found = path_exists(weights);
    int rc = 0;
    if (!found && path_exists(pickle))
        rc = err_input(err,
                       "%s: found adapter_model.bin (a pickle, which is not read); expected adapter_model.safetensors; "
                       "convert it with: python3 -c \"import torch, safetensors.torch as s; s.save_file({k: "
                       "v.contiguous() for k, v in torch.load('adapter_model.bin', 'cpu', weights_only=True).items()}, "
                       "'adapter_model.safetensors')\"",
                       dir);
    else if (!found)
        rc = err_input(err, "%s: has no adapter_model.safetensors%s; expected a PEFT folder", dir,
                       path_exists(inside) ? ", but a folder adapter with one" : "");
    mem_free(pickle);
    mem_free(inside);
    if (rc) mem_free(weights);
    if (!rc) *path = weights;
    return rc;
}

static int read_config(JsonDoc **doc, const char *path, Err *err) {
    enum { MAX_CONFIG = 1 << 20 };
    char *text = NULL;
    size_t size = 0;
    int rc = file_read(&text, &size, path, MAX_CONFIG, err);
    if (rc == 0) rc = json_parse_data(doc, text, size, path, 1, err);
    mem_free(text);
    return rc;
}

// ---- reading ----

static int dims_of(const AdapterSegment *s) {
    return s->kind == SEGMENT_HEAD_BIAS ? 1 : 2;
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
    float *host = mem_calloc((size_t)a->count, sizeof *host);
    for (int64_t i = 0; i < a->n_segments; i++) take_tensor(file, &a->segments[i], host);
    int rc = adapter_upload(a, host, path, err);
    mem_free(host);
    return rc;
}

// The shape of a classifier's head has the number of classes.
static int find_labels(AdapterConfig *c, const Model *m, PeftTensors *file, const char *path, Err *err) {
    char *name = mem_printf("base_model.model.%s.weight", architecture_class_head(m->config.arch));
    const SafetensorsTensor *t = peft_tensors_get(file, name);
    int rc = 0;
    if (t && t->n_dims == 2 && t->shape[0] >= 1 && t->shape[0] <= LABELS_MAX)
        c->labels = t->shape[0];
    else
        rc = err_input(err, "%s: %s %s; expected the classifier's weight, [labels, %ld]", path, name,
                       t ? "has another shape" : "is missing", m->config.hidden);
    mem_free(name);
    return rc;
}

static int build(Adapter **a, const Model *m, const AdapterConfig *c, PeftTensors *file, const char *path,
                 bool with_grad, Err *err) {
    if (adapter_outline(a, m, c, err)) return err_context(err, "%s", path);
    int rc = check_tensors(*a, file, path, err);
    if (!rc) {
        adapter_reserve(*a, with_grad);
        rc = fill(*a, file, path, err);
    }
    if (rc) adapter_free(*a);
    return rc;
}

// labels.json of lorac; without one (an adapter of PEFT) the names are numbers.
static int read_labels(Adapter *a, const char *dir, Err *err) {
    enum { MAX_LABELS_JSON = 64 << 20 };
    char *path = path_join(dir, "labels.json"), *text = NULL;
    size_t size = 0;
    LabelList labels = {0};
    int rc = 0;
    if (path_exists(path)) {
        rc = file_read(&text, &size, path, MAX_LABELS_JSON, err);
        if (rc == 0) rc = adapter_labels_parse(&labels, a->config.labels, text, size, path, err);
    } else {
        for (int64_t i = 0; i < a->config.labels; i++) {
            char number[32];
            snprintf(number, sizeof number, "%ld", i);
            label_list_add(&labels, number);
        }
    }
    if (rc == 0) adapter_name_labels(a, &labels);
    label_list_clear(&labels);
    mem_free(text);
    mem_free(path);
    return rc;
}

static int read_chat_template(Adapter *a, const char *dir, Err *err) {
    enum { MAX_TEMPLATE = 1 << 20 };
    char *path = path_join(dir, "chat_template.jinja"), *text = NULL;
    size_t size;
    int rc = path_exists(path) ? file_read(&text, &size, path, MAX_TEMPLATE, err) : 0;
    if (rc == 0) adapter_set_chat_template(a, text);
    mem_free(text);
    mem_free(path);
    return rc;
}

// Paths of both files of the folder.
typedef struct PeftFolder {
    char *config, *weights;
} PeftFolder;

static int load(Adapter **a, const Model *m, const PeftFolder *f, bool with_grad, Err *err) {
    JsonDoc *doc;
    PeftTensors *file;
    AdapterConfig c;
    bool has_head;
    if (read_config(&doc, f->config, err)) return -1;
    int rc = peft_tensors_open(&file, f->weights, m, err);
    if (!rc) {
        rc = peft_config_read(&c, &has_head, json_root(doc), m, peft_tensors_prefix(file), f->config, err);
        if (!rc && has_head) rc = find_labels(&c, m, file, f->weights, err);
        if (!rc) rc = build(a, m, &c, file, f->weights, with_grad, err);
        adapter_config_clear(&c);
        peft_tensors_close(file);
    }
    json_free(doc);
    return rc;
}

int adapter_load_peft(Adapter **out, const Model *m, const char *dir, bool with_grad, Err *err) {
    PeftFolder f;
    Adapter *a;
    if (adapter_peft_weights(&f.weights, dir, err)) return -1;
    f.config = path_join(dir, "adapter_config.json");
    int rc = load(&a, m, &f, with_grad, err);
    mem_free(f.config);
    mem_free(f.weights);
    if (rc == 0 && ((a->config.labels && read_labels(a, dir, err)) || read_chat_template(a, dir, err))) {
        adapter_free(a);
        rc = -1;
    }
    if (rc == 0) *out = a;
    return rc;
}

// ---- writing ----

static int save_tensors(const Adapter *a, const char *path, Err *err) {
    size_t n = (size_t)a->n_segments;
    float *copy, **modules = mem_calloc(n, sizeof *modules);
    const float *host = adapter_on_host(a, a->params, &copy);
    SafetensorsEntry *entries = mem_alloc(n, sizeof *entries);
    for (size_t i = 0; i < n; i++) {
        const AdapterSegment *s = &a->segments[i];
        int64_t rows = adapter_module_rows(a->model, s);
        const float *data = host + s->offset;
        if (rows != s->rows) {
            modules[i] = mem_alloc((size_t)(rows * s->cols), sizeof(float));
            adapter_b_to_module(a->model, s, data, modules[i]);
            data = modules[i];
        }
        entries[i] = (SafetensorsEntry){s->name, DTYPE_F32, dims_of(s), {rows, s->cols}, data};
    }
    static const char *const metadata[] = {"format", "pt", ADAPTER_MARK_KEY, ADAPTER_MARK};
    int rc = safetensors_save(path, entries, n, metadata, 2, NULL, err);
    for (size_t i = 0; i < n; i++) mem_free(modules[i]);
    mem_free(modules);
    mem_free(entries);
    mem_free(copy);
    return rc;
}

static int save_text(const char *dir, const char *name, const char *text, Err *err) {
    char *path = path_join(dir, name);
    int rc = file_write_whole(path, text, strlen(text), NULL, err);
    mem_free(path);
    return rc;
}

static int save_files(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err) {
    char *tensors = path_join(dir, "adapter_model.safetensors"), *config = path_join(dir, "adapter_config.json");
    char *labels = path_join(dir, "labels.json"), *base = utf8_replaced(m->repository ? m->repository : m->path);
    int rc = save_tensors(a, tensors, err);
    if (rc == 0) rc = json_save(config, peft_config_write(a, m, base), NULL, err);
    if (rc == 0 && a->config.labels) rc = adapter_labels_save(&a->labels, labels, err);
    if (rc == 0 && a->chat_template) rc = save_text(dir, "chat_template.jinja", a->chat_template, err);
    if (rc == 0 && model_card) rc = save_text(dir, "README.md", model_card, err);
    mem_free(base);
    mem_free(labels);
    mem_free(config);
    mem_free(tensors);
    return rc;
}

int adapter_save_peft(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err) {
    if (adapter_check(a, err)) return -1;
    DirWriter *w;
    if (dir_create(&w, dir, &adapter_peft_own, err)) return -1;
    if (save_files(a, m, dir_path(w), model_card, err) == 0) return dir_commit(w, err);
    dir_abandon(w);
    return -1;
}
