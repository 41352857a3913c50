#include "tiny_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fileio.h"
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

void tiny_dir_new(char dir[64]) {
    snprintf(dir, 64, "/tmp/lorac_tiny_XXXXXX");
    CHECK(mkdtemp(dir), "%s", dir);
    char *model = path_join(dir, "tiny.gguf"), *data = path_join(dir, "data.jsonl");
    TinyModel m = TINY_MODEL;
    tiny_model_write(model, &m);
    write_data(data);
    mem_free(model);
    mem_free(data);
    setenv("XDG_CACHE_HOME", dir, 1); // the token cache stays in here too
}

void tiny_dir_remove(const char *dir) {
    dir_remove(dir, NULL);
}

static void load_config(TinyRun *r, const char *dir, const char *const *overrides, int n) {
    char *words[MAX_WORDS];
    int argc = 0;
    CHECK(n + 4 <= MAX_WORDS);
    words[argc++] = mem_printf("--model=%s/tiny.gguf", dir);
    words[argc++] = mem_printf("--train_file=%s/data.jsonl", dir);
    words[argc++] = mem_printf("--output_dir=%s/out", dir);
    words[argc++] = mem_strdup("--max_seq_length=48");
    for (int i = 0; i < n; i++) words[argc++] = mem_strdup(overrides[i]);
    Err err;
    CHECK(config_load(&r->config, argc, words, CONFIG_FOR_TRAIN, &err) == 0, "%s", err.msg);
    for (int i = 0; i < argc; i++) mem_free(words[i]);
}

static int open_cpu(Backend **b, void *threads, Err *err) {
    return backend_open(b, "cpu", *(int *)threads, err);
}

void tiny_run_open(TinyRun *r, const char *dir, int threads, const char *const *overrides, int n) {
    tiny_run_open_on(r, dir, open_cpu, &threads, overrides, n);
}

void tiny_run_open_on(TinyRun *r, const char *dir, TinyOpen open, void *user, const char *const *overrides, int n) {
    *r = (TinyRun){0};
    Err err;
    snprintf(r->dir, sizeof r->dir, "%s", dir);
    load_config(r, dir, overrides, n);
    CHECK(open(&r->backend, user, &err) == 0, "%s", err.msg);
    ModelOptions o = {.quantize = r->config.quantize_base};
    CHECK(model_load(&r->model, r->config.model_name_or_path, r->backend, &o, &err) == 0, "%s", err.msg);
    CHECK(run_data_open(&r->data, &r->config, r->model, NULL, true, &err) == 0, "%s", err.msg);
    CHECK(run_adapter_new(&r->adapter, &r->config, r->model, dataset_labels(r->data.train), &err) == 0, "%s", err.msg);
    r->trainer = trainer_new(&r->config, r->model, r->adapter, &r->data);
    CHECK(trainer_fit_memory(r->trainer, &err) == 0, "%s", err.msg);
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
