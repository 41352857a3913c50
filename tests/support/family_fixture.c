#include "family_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"
#include "path.h"

enum { RANK = 4, ALPHA = 6 };

static int replace_any(const char *path, Err *err) { // the files of a run before
    (void)path, (void)err;
    return 0;
}

// ---- weights from the formula ----

static uint64_t fnv1a(const char *text) {
    uint64_t h = 0xCBF29CE484222325u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001B3u;
    return h;
}

static float *formula(const FamilyTensor *t, size_t *count) {
    size_t n = 1;
    for (int i = 0; i < t->n_dims; i++) n *= (size_t)t->shape[i];
    float *values = mem_alloc(n, sizeof *values);
    static const char tower[] = "language_model."; // the same weights under a longer name
    uint64_t h = fnv1a(t->name + (strncmp(t->name, tower, sizeof tower - 1) == 0 ? sizeof tower - 1 : 0));
    for (size_t i = 0; i < n; i++) {
        uint64_t z = h + (i + 1) * 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        float u = (float)((int)(z >> 56) - 128) / 128;
        values[i] = (float)t->base + (float)t->amplitude * u;
    }
    *count = n;
    return values;
}

static bool parse_line(FamilyTensor *t, const char *line) {
    *t = (FamilyTensor){0};
    int used = 0;
    if (sscanf(line, "%159s %lf %lf%n", t->name, &t->base, &t->amplitude, &used) != 3) return false;
    for (char *end; (t->shape[t->n_dims] = strtoll(line += used, &end, 10)) > 0; t->n_dims++) used = (int)(end - line);
    return true;
}

static void read_tensors(Family *f) {
    char path[320], line[512];
    snprintf(path, sizeof path, "%s/tensors.txt", f->dir);
    FILE *in = fopen(path, "r");
    CHECK(in, "%s", path);
    size_t capacity = 0;
    while (fgets(line, sizeof line, in)) {
        MEM_GROW(f->tensors, capacity, f->n_tensors + 1);
        FamilyTensor *t = &f->tensors[f->n_tensors++];
        CHECK(parse_line(t, line), "%s: %s", path, line);
        if (strcmp(t->name, "base_model.model.score.weight") == 0 ||
            strcmp(t->name, "base_model.model.classifier.out_proj.weight") == 0 ||
            strcmp(t->name, "base_model.model.classifier.weight") == 0)
            f->labels = t->shape[0];
    }
    if (strstr(f->dir, "-multi")) f->problem = PROBLEM_MULTI_LABEL;
    if (strstr(f->dir, "-number")) f->problem = PROBLEM_REGRESSION;
    if (strstr(f->dir, "-tokens")) f->problem = PROBLEM_TOKENS;
    fclose(in);
}

// ---- the model folder ----

static void *as_f16(const float *values, size_t n) {
    uint16_t *half = mem_alloc(n, sizeof *half);
    for (size_t i = 0; i < n; i++) half[i] = f32_to_f16(values[i]);
    return half;
}

// Base tensors [from, to) of the list to one file.
static void write_shard(const Family *f, size_t from, size_t to, DType dtype, const char *file) {
    SafetensorsEntry *entries = mem_calloc(to - from, sizeof *entries);
    for (size_t i = from; i < to; i++) {
        const FamilyTensor *t = &f->tensors[i];
        SafetensorsEntry *e = &entries[i - from];
        size_t n;
        float *values = formula(t, &n);
        *e = (SafetensorsEntry){.name = t->name, .dtype = dtype, .n_dims = t->n_dims};
        memcpy(e->shape, t->shape, sizeof e->shape);
        e->data = dtype == DTYPE_F32 ? values : as_f16(values, n);
        if (e->data != values) mem_free(values);
    }
    char path[400];
    snprintf(path, sizeof path, "%s/%s", f->path, file);
    const char *const metadata[] = {"format", "pt"};
    Err err;
    CHECK(safetensors_save(path, entries, to - from, metadata, 1, replace_any, &err) == 0, "%s", err.msg);
    for (size_t i = 0; i < to - from; i++) mem_free((void *)entries[i].data);
    mem_free(entries);
}

static size_t base_tensors(const Family *f) { // they stand before the adapter's
    size_t n = 0;
    while (n < f->n_tensors && strncmp(f->tensors[n].name, "base_model.", 11) != 0) n++;
    return n;
}

static void put(const Family *f, const char *file, const char *text, size_t n) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", f->path, file);
    Err err;
    CHECK(file_write_whole(path, text, n, replace_any, &err) == 0, "%s", err.msg);
}

static void copy(const Family *f, const char *from, const char *file) {
    char *text;
    size_t n;
    Err err;
    CHECK(file_read(&text, &n, from, 1 << 20, &err) == 0, "%s", err.msg);
    put(f, file, text, n);
    mem_free(text);
}

static void write_sharded(const Family *f) {
    size_t n = base_tensors(f), half = n / 2;
    write_shard(f, 0, half, DTYPE_F16, "model-00001-of-00002.safetensors");
    write_shard(f, half, n, DTYPE_F16, "model-00002-of-00002.safetensors");
    StrBuf index = {0};
    str_puts(&index, "{\"metadata\": {}, \"weight_map\": {");
    for (size_t i = 0; i < n; i++)
        str_printf(&index, "%s\"%s\": \"model-0000%d-of-00002.safetensors\"", i ? ", " : "", f->tensors[i].name,
                   i < half ? 1 : 2);
    str_puts(&index, "}}\n");
    put(f, "model.safetensors.index.json", index.data, index.len);
    str_clear(&index);
}

// The names of multimodal checkpoints on the hub, and their nested configuration.
static void write_towers(Family *f) {
    size_t n = base_tensors(f);
    FamilyTensor *tensors = f->tensors;
    f->tensors = mem_alloc(n + 1, sizeof *f->tensors);
    for (size_t i = 0; i < n; i++) {
        f->tensors[i] = tensors[i];
        int len = snprintf(f->tensors[i].name, sizeof f->tensors[i].name, "language_model.%.140s", tensors[i].name);
        CHECK(len < (int)sizeof f->tensors[i].name);
    }
    f->tensors[n] =
        (FamilyTensor){.name = "vision_tower.vision_model.post_layernorm.weight", .n_dims = 1, .shape = {8}};
    write_shard(f, 0, n + 1, DTYPE_F32, "model.safetensors");
    mem_free(f->tensors);
    f->tensors = tensors;
    char *config, path[320];
    size_t size;
    Err err;
    snprintf(path, sizeof path, "%s/config.json", f->dir);
    CHECK(file_read(&config, &size, path, 1 << 20, &err) == 0, "%s", err.msg);
    char *nested = mem_printf("{\"model_type\": \"gemma3\", \"text_config\": %s}", config);
    put(f, "config.json", nested, strlen(nested));
    mem_free(nested);
    mem_free(config);
}

static void write_folder(Family *f, FamilyFile kind) {
    char path[400];
    CHECK(mkdir(f->path, 0777) == 0, "%s", f->path);
    snprintf(path, sizeof path, "%s/config.json", f->dir);
    copy(f, path, "config.json");
    copy(f, TEST_DIR "/golden/families/tokenizer.json", "tokenizer.json");
    if (kind == FAMILY_HF)
        write_shard(f, 0, base_tensors(f), DTYPE_F32, "model.safetensors");
    else if (kind == FAMILY_HF_TOWERS)
        write_towers(f);
    else
        write_sharded(f);
}

// ---- the case ----

static uint32_t set_of(const char *target) {
    static const struct {
        const char *name;
        uint32_t set;
    } fused[] = {{"c_attn", 1u << PROJ_Q | 1u << PROJ_K | 1u << PROJ_V},
                 {"qkv_proj", 1u << PROJ_Q | 1u << PROJ_K | 1u << PROJ_V},
                 {"gate_up_proj", 1u << PROJ_GATE | 1u << PROJ_UP},
                 {"input_linear", 1u << PROJ_GATE | 1u << PROJ_UP},
                 {"output_linear", 1u << PROJ_DOWN},
                 {"c_proj", 1u << PROJ_O | 1u << PROJ_DOWN},
                 {"c_fc", 1u << PROJ_UP},
                 {"mlp.c_proj", 1u << PROJ_DOWN},
                 {"dense", 1u << PROJ_O},
                 {"fc1", 1u << PROJ_UP},
                 {"fc2", 1u << PROJ_DOWN},
                 {"q_lin", 1u << PROJ_Q},
                 {"v_lin", 1u << PROJ_V},
                 {"out_lin", 1u << PROJ_O},
                 {"lin1", 1u << PROJ_UP},
                 {"lin2", 1u << PROJ_DOWN},
                 {"in_proj", 7u << PROJ_CONV_B},
                 {"out_proj", 1u << PROJ_O | 1u << PROJ_CONV_OUT},
                 {"w1", 1u << PROJ_GATE},
                 {"Wqkv", 1u << PROJ_Q | 1u << PROJ_K | 1u << PROJ_V},
                 {"Wi", 1u << PROJ_GATE | 1u << PROJ_UP},
                 {"Wo", 1u << PROJ_O | 1u << PROJ_DOWN},
                 {"attn.Wo", 1u << PROJ_O},
                 {"mlp.Wo", 1u << PROJ_DOWN},
                 {"query", 1u << PROJ_Q},
                 {"key", 1u << PROJ_K},
                 {"value", 1u << PROJ_V},
                 {"attention.output.dense", 1u << PROJ_O},
                 {"intermediate.dense", 1u << PROJ_UP},
                 {"output.dense", 1u << PROJ_DOWN}};
    for (size_t i = 0; i < sizeof fused / sizeof *fused; i++)
        if (strcmp(target, fused[i].name) == 0) return fused[i].set;
    Projection p = 0;
    while (strcmp(target, projection_name(p)) != 0) p++;
    return 1u << p;
}

static void read_case(Family *f) {
    char path[320], word[64];
    snprintf(path, sizeof path, "%s/case.txt", f->dir);
    FILE *in = fopen(path, "r");
    CHECK(in, "%s", path);
    while (fscanf(in, "%63s", word) == 1) {
        if (strcmp(word, "-") == 0) {
            f->projections &= ~(1u << PROJ_K); // "- k" is all there is
            break;
        }
        f->projections |= set_of(word);
    }
    fclose(in);
}

bool family_has_gguf(const char *name) {
    char path[320];
    snprintf(path, sizeof path, TEST_DIR "/golden/families/%s/base.gguf", name);
    return path_exists(path);
}

void family_open(Family *f, const char *name, FamilyFile kind) {
    *f = (Family){0};
    snprintf(f->dir, sizeof f->dir, TEST_DIR "/golden/families/%s", name);
    read_tensors(f);
    read_case(f);
    if (kind == FAMILY_GGUF || kind == FAMILY_GGUF_FUSED) {
        snprintf(f->path, sizeof f->path, "%s/%s.gguf", f->dir, kind == FAMILY_GGUF ? "base" : "fused");
    } else {
        const char *slash = strrchr(name, '/');
        snprintf(f->path, sizeof f->path, "%s-%d", slash ? slash + 1 : name, (int)kind);
        CHECK(!path_exists(f->path) || dir_remove(f->path, NULL) == 0);
        write_folder(f, kind);
    }
    char path[320];
    snprintf(path, sizeof path, "%s/golden.safetensors", f->dir);
    Err err;
    CHECK(safetensors_open(&f->golden, path, &err) == 0, "%s", err.msg);
}

void family_close(Family *f) {
    safetensors_close(f->golden);
    mem_free(f->tensors);
}

// ---- the adapter ----

// Rows of PEFT's matrix that the segment has: all, or all but the keys' rows of a fused projection.
static void take_rows(float *to, const float *from, int64_t all_rows, const AdapterSegment *s, const ModelConfig *c) {
    int64_t skip = all_rows - s->rows, before = skip ? c->heads * c->head_size : s->rows;
    CHECK(skip == 0 || skip == c->kv_heads * c->head_size);
    memcpy(to, from, (size_t)(before * s->cols) * sizeof *to);
    memcpy(to + before * s->cols, from + (before + skip) * s->cols,
           (size_t)((s->rows - before) * s->cols) * sizeof *to);
}

static const FamilyTensor *find_tensor(const Family *f, const char *name) {
    for (size_t i = 0; i < f->n_tensors; i++)
        if (strcmp(f->tensors[i].name, name) == 0) return &f->tensors[i];
    CHECK(false, "%s has no %s", f->dir, name);
    return NULL;
}

Adapter *family_adapter(const Family *f, const Model *m) {
    AdapterConfig c = {.rank = RANK, .alpha = ALPHA, .projections = f->projections, .labels = f->labels};
    c.problem = f->problem;
    Adapter *a;
    Err err;
    CHECK(adapter_new(&a, m, &c, 1, true, &err) == 0, "%s", err.msg);
    float *host = mem_calloc((size_t)a->count, sizeof *host);
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        size_t n;
        const FamilyTensor *t = find_tensor(f, s->name);
        float *values = formula(t, &n);
        CHECK(s->kind == SEGMENT_HEAD_BIAS ? t->n_dims == 1 : t->shape[1] == s->cols, "%s", s->name);
        take_rows(host + s->offset, values, t->shape[0], s, &m->config);
        mem_free(values);
    }
    m->backend->k->upload(m->backend, a->params, host, (size_t)a->count * sizeof *host);
    mem_free(host);
    return a;
}

void *family_golden(const Family *f, const char *name, size_t *n) {
    const SafetensorsTensor *t = safetensors_get(f->golden, name);
    CHECK(t, "%s has no %s", f->dir, name);
    void *values = mem_alloc(t->bytes, 1);
    memcpy(values, t->data, t->bytes);
    if (n) *n = t->bytes / 4;
    return values;
}

float *family_segment(const Family *f, const Model *m, const AdapterSegment *s, const char *prefix) {
    char name[200];
    snprintf(name, sizeof name, "%s.%s", prefix, s->name);
    size_t n;
    float *all = family_golden(f, name, &n), *values = mem_alloc((size_t)(s->rows * s->cols), sizeof *values);
    take_rows(values, all, (int64_t)n / s->cols, s, &m->config);
    mem_free(all);
    return values;
}
