// adapter_head: a classifier's part of an adapter: the head's segments at the end of the flat buffer, its initial
// values, the names of its classes.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapter_internal.h"
#include "json_read.h"
#include "json_save.h"

static void add_layer(Adapter *a, const char *name, int64_t rows, int64_t cols, bool has_bias) {
    for (int bias = 0; bias < (has_bias ? 2 : 1); bias++) {
        AdapterSegment *s = &a->segments[a->n_segments++];
        *s = (AdapterSegment){.kind = bias ? SEGMENT_HEAD_BIAS : SEGMENT_HEAD_WEIGHT, .layer = -1, .offset = a->count};
        s->rows = rows;
        s->cols = bias ? 1 : cols;
        s->name = mem_printf("base_model.model.%s.%s", name, bias ? "bias" : "weight");
        a->count += s->rows * s->cols;
    }
}

// As transformers' classes have it.
void adapter_head_lay_out(Adapter *a, const Model *m) {
    const Architecture *arch = m->config.arch;
    bool tokens = a->config.problem == PROBLEM_TOKENS;
    int64_t hidden = m->config.hidden;
    if (arch->hf.class_dense && !tokens) add_layer(a, arch->hf.class_dense, hidden, hidden, true);
    add_layer(a, architecture_class_head(arch, tokens), a->config.labels, hidden, arch->encoder || tokens);
}

AdapterHead adapter_head(const Adapter *a) {
    const AdapterSegment *last = &a->segments[a->n_segments - 1];
    CHECK(a->config.labels && last->layer < 0, "an adapter without a classifier");
    AdapterHead head = {.weight = last};
    if (last->kind == SEGMENT_HEAD_BIAS) head = (AdapterHead){.weight = last - 1, .bias = last};
    if (a->model->arch->hf.class_dense && a->config.problem != PROBLEM_TOKENS)
        head.dense = head.weight - 2, head.dense_bias = head.weight - 1;
    return head;
}

static Weight in_params(const Adapter *a, const char *name, const AdapterSegment *weight, const AdapterSegment *bias) {
    return (Weight){.name = name,
                    .segments = {{.data = a->params + weight->offset, .rows = weight->rows}},
                    .n_segments = 1,
                    .rows = weight->rows,
                    .cols = weight->cols,
                    .bias = bias ? a->params + bias->offset : NULL};
}

void adapter_head_point(Adapter *a) {
    const Architecture *arch = a->model->arch;
    AdapterHead head = adapter_head(a);
    const char *name = architecture_class_head(arch, a->config.problem == PROBLEM_TOKENS);
    a->class_head = in_params(a, name, head.weight, head.bias);
    if (head.dense) a->class_dense = in_params(a, arch->hf.class_dense, head.dense, head.dense_bias);
}

void adapter_print_head(StrBuf *out, const Adapter *a) {
    int64_t n = a->config.labels;
    if (a->config.problem == PROBLEM_REGRESSION)
        str_printf(out, "a head of %ld number%s", n, plural(n));
    else
        str_printf(out, "a classifier of %ld class%s", n, n == 1 ? "" : "es");
}

void adapter_name_labels(Adapter *a, const LabelList *labels) {
    CHECK((int64_t)labels->count == a->config.labels, "%zu labels for %ld", labels->count, a->config.labels);
    label_list_clear(&a->labels);
    for (size_t i = 0; i < labels->count; i++) label_list_add(&a->labels, labels->names[i]);
}

// Box & Muller 1958.
void adapter_init_normal(const AdapterSegment *s, uint64_t seed, double deviation, float *host) {
    RngKey key = {.seed = seed, .module = rng_module(s->name)};
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t c = 0; c < s->cols; c++) {
            uint32_t word[4];
            rng_philox(key, (uint32_t)r, (uint32_t)c, word);
            double radius = sqrt(-2 * log(1 - (double)rng_unit(word[0])));
            host[r * s->cols + c] =
                (float)(deviation * radius * cos(2 * 3.14159265358979323846 * (double)rng_unit(word[1])));
        }
}

// Of the base where it is the same layer, else noise as in transformers.
static void start_layer(const AdapterSegment *weight, const AdapterSegment *bias, const Model *m, const Weight *own,
                        uint64_t seed, float *host) {
    float *to = host + weight->offset;
    if (own->rows != weight->rows || !ends_with(weight->name, own->name)) {
        adapter_init_normal(weight, seed, 0.02, to);
        return;
    }
    for (int64_t r = 0; r < own->rows; r++)
        dtype_expand(own->segments[0].dtype, to + r * own->cols,
                     (const char *)own->segments[0].data +
                         (size_t)r * (size_t)own->cols * (size_t)dtype_info(own->segments[0].dtype)->bytes,
                     (size_t)own->cols);
    if (bias && own->bias)
        m->backend->k->download(m->backend, host + bias->offset, own->bias, (size_t)own->rows * sizeof(float));
}

void adapter_head_start(const Adapter *a, const Model *m, uint64_t seed, float *host) {
    AdapterHead head = adapter_head(a);
    int64_t classes = m->class_head.rows;
    if (classes && classes != a->config.labels)
        log_warn("%s: its classifier has %ld classes, the data %ld; a new head is trained", m->path, classes,
                 a->config.labels);
    if (head.dense) start_layer(head.dense, head.dense_bias, m, &m->class_dense, seed, host);
    start_layer(head.weight, head.bias, m, &m->class_head, seed, host);
}

// ---- labels.json: {"id2label": {"0": "name", ...}, "problem_type": "..."}, as in Hugging Face's config.json; without
// problem_type: single_label_classification ----

int adapter_labels_save(const LabelList *labels, Problem problem, const char *path, Err *err) {
    cJSON *root = cJSON_CreateObject(), *names = cJSON_AddObjectToObject(root, "id2label");
    if (problem_is_each(problem))
        cJSON_AddStringToObject(root, "problem_type", ENUM_WORDS(PROBLEM_TYPES)[problem].word);
    for (size_t i = 0; i < labels->count; i++) {
        char id[32];
        snprintf(id, sizeof id, "%zu", i);
        cJSON_AddStringToObject(names, id, labels->names[i]);
    }
    return json_save(path, root, NULL, err);
}

static int read_problem(Problem *problem, const Json *root, const char *path, Err *err) {
    const Json *v = json_given(root, "problem_type");
    int word = v && v->type == JSON_STRING ? problem_find(v->str.data) : -1;
    if (v && (word <= PROBLEM_AUTO || *problem == PROBLEM_TOKENS))
        return err_input(err, "%s: problem_type: expected one of transformers' names, and none for TOKEN_CLS", path);
    if (*problem != PROBLEM_TOKENS) *problem = v ? (Problem)word : PROBLEM_SINGLE_LABEL;
    return 0;
}

int adapter_labels_load(LabelList *labels, Problem *problem, int64_t count, const char *path, Err *err) {
    enum { MAX_BYTES = 64 << 20 };
    AUTO_JSON JsonDoc *doc = NULL;
    if (json_load(&doc, path, MAX_BYTES, err) || read_problem(problem, json_root(doc), path, err)) return -1;
    const Json *names = json_get(json_root(doc), "id2label");
    if (!names || names->type != JSON_OBJECT || (int64_t)names->count != count)
        return err_input(err, "%s: id2label: expected an object of %ld name%s", path, count, plural(count));
    for (int64_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "%ld", i);
        // the order of lorac's own files needs no search
        const Json *v = json_str_is(names->keys[i], key) ? &names->items[i] : json_get(names, key);
        if (!v || v->type != JSON_STRING || strlen(v->str.data) != v->str.len || v->str.len > LABEL_MAX_BYTES)
            return err_input(err, "%s: id2label: \"%s\" is %s; expected a name of at most %d bytes", path, key,
                             json_type_name(v), LABEL_MAX_BYTES);
        label_list_add(labels, v->str.data);
    }
    const char *twice = label_list_repeated(labels);
    if (!twice) return 0;
    return err_input(err, "%s: id2label: two of the names are \"%s\"; expected different ones", path, twice);
}
