#include "tiny_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "hash.h"
#include "path.h"
#include "tiny_model.h"

enum { SAMPLES = 24, MAX_WORDS = 24 };

// Lengths and masks differ; tokens follow a pattern that can be learnt.
static void write_data(const char *path) {
    FILE *f = fopen(path, "w");
    CHECK(f, "%s", path);
    for (int s = 0; s < SAMPLES; s++) {
        int n = 6 + s * 7 % 23, masked = 1 + s % 4;
        fprintf(f, "{\"input_ids\": [");
        for (int i = 0; i < n; i++) fprintf(f, "%s%d", i ? ", " : "", 97 + (s + 3 * i) % 26);
        fprintf(f, "], \"labels\": [");
        for (int i = 0; i < n; i++) fprintf(f, "%s%d", i ? ", " : "", i < masked ? -100 : 97 + (s + 3 * i) % 26);
        fprintf(f, "]}\n");
    }
    CHECK(fclose(f) == 0);
}

char tiny_dir[64];

int tiny_dir_setup(void **state) {
    (void)state;
    const char *parent = getenv("TMPDIR"); // the sweeps' is in memory
    snprintf(tiny_dir, sizeof tiny_dir, "%s/lorac_tiny_XXXXXX", parent ? parent : "/tmp");
    CHECK(mkdtemp(tiny_dir), "%s", tiny_dir);
    char *model = path_join(tiny_dir, "tiny.gguf"), *data = path_join(tiny_dir, "data.jsonl");
    TinyModel m = TINY_MODEL;
    tiny_model_write(model, &m);
    write_data(data);
    mem_free(model);
    mem_free(data);
    setenv("XDG_CACHE_HOME", tiny_dir, 1); // the token cache stays in here too
    return 0;
}

int tiny_dir_teardown(void **state) {
    (void)state;
    return dir_remove(tiny_dir, NULL);
}

static void load_config(TinyRun *r, const char *const *overrides, int n) {
    char *words[MAX_WORDS];
    int argc = 0;
    CHECK(n + 4 <= MAX_WORDS);
    AUTO_STR StrBuf given = {0};
    for (int i = 0; i < n; i++) {
        words[argc++] = mem_strdup(overrides[i]);
        str_printf(&given, "%s ", overrides[i] + 2 * starts_with(overrides[i], "--"));
    }
    char *standard[] = {mem_printf("model=%s/tiny.gguf", tiny_dir), mem_printf("train_file=%s/data.jsonl", tiny_dir),
                        mem_printf("output_dir=%s/out", tiny_dir), mem_strdup("max_seq_length=48")};
    for (int i = 0; i < 4; i++) {
        if (!sets_key_of(given.data, standard[i])) words[argc++] = mem_strdup(standard[i]);
        mem_free(standard[i]);
    }
    Err err;
    CHECK(config_load(&r->config, argc, words, CONFIG_FOR_TRAIN, &err) == 0, "%s", err.msg);
    for (int i = 0; i < argc; i++) mem_free(words[i]);
}

int tiny_open_cpu(Backend **b, void *threads, Err *err) { return backend_open(b, "cpu", *(int *)threads, err); }

static void open_all(TinyRun *r, TinyOpen open, void *user, const char *const *overrides, int n) {
    *r = (TinyRun){0};
    Err err;
    load_config(r, overrides, n);
    CHECK(open(&r->backend, user, &err) == 0, "%s", err.msg);
    ModelOptions o = {.quantize = r->config.quantize_base};
    CHECK(model_load(&r->model, r->config.model_name_or_path, r->backend, &o, &err) == 0, "%s", err.msg);
    CHECK(run_data_open(&r->data, &r->config, r->model, NULL, true, &err) == 0, "%s", err.msg);
    RunLabels labels = run_labels(r->data.train);
    CHECK(run_adapter_new(&r->adapter, &r->config, r->model, labels.names ? &labels : NULL, &err) == 0, "%s", err.msg);
}

static void open_trainer(TinyRun *r, Group *g, int64_t rows_per_step) {
    Err err;
    r->ranks.group = g;
    TrainerInputs in = {.config = &r->config,
                        .model = r->model,
                        .adapter = r->adapter,
                        .data = &r->data,
                        .ranks = g ? &r->ranks : NULL};
    r->trainer = trainer_new(&in, rows_per_step);
    CHECK(trainer_fit_memory(r->trainer, &err) == 0, "%s", err.msg);
}

void tiny_run_open(TinyRun *r, int threads, const char *const *overrides, int n) {
    tiny_run_open_on(r, tiny_open_cpu, &threads, overrides, n);
}

void tiny_run_open_on(TinyRun *r, TinyOpen open, void *user, const char *const *overrides, int n) {
    open_all(r, open, user, overrides, n);
    open_trainer(r, NULL, 0);
}

void tiny_run_open_rank(TinyRun *r, int threads, Group *g, int64_t rows_per_step, const char *const *overrides, int n) {
    Err err;
    open_all(r, tiny_open_cpu, &threads, overrides, n);
    CHECK(r->backend->k->connect(r->backend, g, 60, &err) == 0, "%s", err.msg);
    open_trainer(r, g, rows_per_step);
}

void tiny_run_close(TinyRun *r) {
    trainer_free(r->trainer);
    adapter_free(r->adapter);
    run_data_close(&r->data);
    model_free(r->model);
    backend_close(r->backend);
    config_clear(&r->config);
}

void tiny_run_steps(TinyRun *r, int64_t n, double *losses) {
    for (int64_t i = 0; i < n; i++) {
        StepReport report;
        Err err;
        CHECK(trainer_step(r->trainer, NULL, &report, &err) == 0, "%s", err.msg);
        if (losses) losses[i] = report.loss;
    }
}

float *tiny_run_train(TinyOpen open, void *user, const char *const *overrides, int n_overrides, int64_t n,
                      double *losses, int64_t *count) {
    TinyRun r;
    tiny_run_open_on(&r, open, user, overrides, n_overrides);
    tiny_run_steps(&r, n, losses);
    float *params = adapter_download(r.adapter);
    if (count) *count = r.adapter->count;
    tiny_run_close(&r);
    return params;
}

static bool same_file(const char *dir_a, const char *dir_b, const char *name) {
    char hash_a[33], hash_b[33], *a = path_join(dir_a, name), *b = path_join(dir_b, name);
    Err err;
    CHECK(hash_file(hash_a, a, &err) == 0, "%s", err.msg);
    CHECK(hash_file(hash_b, b, &err) == 0, "%s", err.msg);
    mem_free(a);
    mem_free(b);
    return strcmp(hash_a, hash_b) == 0;
}

bool tiny_same_adapter(const char *out_a, const char *out_b) {
    bool gguf = dir_has(out_a, "adapter.gguf");
    return same_file(out_a, out_b, "adapter/adapter_model.safetensors") && gguf == dir_has(out_b, "adapter.gguf") &&
           (!gguf || same_file(out_a, out_b, "adapter.gguf"));
}

char *tiny_losses(const char *out) {
    char *path = path_join(out, "train_log.jsonl"), *text;
    size_t size;
    Err err;
    CHECK(file_read(&text, &size, path, 1 << 20, &err) == 0, "%s", err.msg);
    for (char *cut = text; (cut = strstr(cut, ",\"tokens_per_second\""));) {
        size_t n = strcspn(cut, "\n");
        memmove(cut, cut + n, strlen(cut + n) + 1);
    }
    mem_free(path);
    return text;
}
