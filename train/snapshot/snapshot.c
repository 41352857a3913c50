#include "snapshot.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "hash.h"
#include "path.h"
#include "run_device.h"
#include "safetensors.h"
#include "snapshot_internal.h"

// ---- identity ----

static void identify(RunIdentity *id, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void identify(RunIdentity *id, const char *name, const char *fmt, ...) {
    CHECK(id->count < IDENTITY_MAX);
    IdentityItem *item = &id->items[id->count++];
    item->name = name;
    va_list args;
    va_start(args, fmt);
    vsnprintf(item->value, sizeof item->value, fmt, args);
    va_end(args);
}

// One rank, alpha and set of layers for all modules; or r and lora_alpha, and what each module has as a hash.
static void identify_ranks(RunIdentity *id, const AdapterConfig *a) {
    char hash[33] = "", each[64] = "";
    if (a->each) {
        StrBuf text = {0};
        for (int64_t i = 0; i < a->n_each; i++)
            str_printf(&text, "%" PRId64 " %.9g,", a->each[i].rank, a->each[i].rank ? (double)a->each[i].alpha : 0.0);
        hash_bytes(hash, text.data, text.len);
        str_clear(&text);
        snprintf(each, sizeof each, ", by module %s", hash);
    }
    identify(id, "rank", "%" PRId64 "%s", a->rank, each);
    identify(id, "alpha", "%.9g%s", (double)a->alpha, a->rslora ? " / sqrt(r)" : "");
}

// The layers as a hash: a list of any length in few characters.
static void identify_layers(RunIdentity *id, const AdapterConfig *a) {
    char hash[33] = "all";
    if (a->layers) hash_bytes(hash, a->layers, (size_t)a->n_layers * sizeof *a->layers);
    identify(id, "layers", "%s", hash);
}

static void identify_targets(RunIdentity *id, const AdapterConfig *a) {
    StrBuf names = {0};
    for (int p = 0; p < PROJ_COUNT; p++) {
        if (a->projections >> p & 1) str_printf(&names, "%s%s", names.len ? "," : "", projection_name((Projection)p));
    }
    identify(id, "targets", "%s", names.data);
    str_clear(&names);
}

RunIdentity run_identity(const Trainer *t) {
    RunIdentity id = {0};
    const AdapterConfig *a = &t->adapter->config;
    identify(&id, "base", "%s", t->model->fingerprint);
    identify(&id, "data", "%s", t->data->fingerprint);
    identify_ranks(&id, a);
    identify_targets(&id, a);
    identify_layers(&id, a);
    if (a->labels) identify(&id, "labels", "%" PRId64, a->labels);
    identify(&id, "device", "%s", run_device_kind(t->model->backend));
    identify(&id, "dtype", "%s", run_device_dtype(t->model->backend));
    identify(&id, "rows_per_step", "%" PRId64, t->rows_per_step);
    identify(&id, "rows", "%" PRId64, row_plan_count(t->data->rows));
    identify(&id, "total_steps", "%" PRId64, t->total_steps);
    identify(&id, "seed", "%" PRId64, t->config->seed);
    return id;
}

// A run may become longer or shorter where the steps done do not depend on its length.
static void compare_length(StrBuf *diff, const Trainer *t, const Manifest *m, const char *was) {
    int64_t total = strtoll(was, NULL, 10), done = m->state.step;
    bool known = total >= done && total > 0 && done <= t->total_steps;
    if (known && trainer_same_rates(t, total, done)) return;
    str_printf(diff, "%stotal_steps was %s, now %" PRId64, diff->len ? "; " : "", was, t->total_steps);
    if (known)
        str_printf(diff,
                   " (the learning rates of the %" PRId64
                   " steps done depend on it; with lr_scheduler_type constant they "
                   "would not; adapter_name_or_path begins a new run from an adapter)",
                   done);
    else if (done > t->total_steps)
        str_printf(diff, " (%" PRId64 " steps are done)", done);
}

static int check_identity(const Trainer *t, const RunIdentity *now, const Manifest *m, Err *err) {
    StrBuf diff = {0};
    for (int i = 0; i < now->count; i++) {
        const char *was = "missing", *name = now->items[i].name;
        for (int j = 0; j < m->identity_count; j++) {
            if (strcmp(m->identity[j].name, name) == 0) was = m->identity[j].value;
        }
        if (strcmp(was, now->items[i].value) == 0) continue;
        if (strcmp(name, "total_steps") == 0)
            compare_length(&diff, t, m, was);
        else
            str_printf(&diff, "%s%s was %s, now %s", diff.len ? "; " : "", name, was, now->items[i].value);
    }
    int status = diff.len ? err_input(err, "a snapshot of another run: %s", diff.data) : 0;
    str_clear(&diff);
    return status;
}

// ---- writing ----

static int save_buffers(const Trainer *t, const char *dir, Err *err) {
    const float *buffers[3] = {t->adapter->params, t->optimizer->m, t->optimizer->v};
    static const char *const names[3] = {"params", "m", "v"};
    SafetensorsEntry entries[3];
    float *copies[3];
    for (int i = 0; i < 3; i++)
        entries[i] = (SafetensorsEntry){.name = names[i],
                                        .dtype = DTYPE_F32,
                                        .n_dims = 1,
                                        .shape = {t->adapter->count},
                                        .data = adapter_on_host(t->adapter, buffers[i], &copies[i])};
    char *path = path_join(dir, "optimizer.safetensors");
    int status = safetensors_save(path, entries, 3, NULL, 0, NULL, err);
    mem_free(path);
    for (int i = 0; i < 3; i++) mem_free(copies[i]);
    return status;
}

// An adapter that would do nothing yet (B is 0) has no export; the buffers have all that a resume needs.
static int save_adapter(const Trainer *t, const char *dir, Err *err) {
    if (adapter_check(t->adapter, NULL)) return 0;
    char *path = path_join(dir, "adapter");
    char *card = mem_printf("A snapshot taken at step %" PRId64 " of %" PRId64 ".\n", t->state.step, t->total_steps);
    int status = adapter_save_peft(t->adapter, t->model, path, card, err);
    mem_free(card);
    mem_free(path);
    return status;
}

// What the device chose by speed and bits depend on: a run goes on with the same choices.
static int save_choices(const Trainer *t, const char *dir, Err *err) {
    Backend *b = t->model->backend;
    StrBuf text = {0};
    b->k->choices_get(b, &text);
    char *path = path_join(dir, "device.json");
    int status = file_write_whole(path, text.data, text.len, NULL, err);
    mem_free(path);
    str_clear(&text);
    return status;
}

static int load_choices(Trainer *t, const char *dir, Err *err) {
    Backend *b = t->model->backend;
    char *path = path_join(dir, "device.json"), *text = NULL;
    size_t size;
    int status = file_read(&text, &size, path, MAX_CHOICES_BYTES, err);
    if (!status && b->k->choices_set(b, text, err)) status = err_context(err, "device.json");
    mem_free(text);
    mem_free(path);
    return status;
}

char *snapshot_path(const char *output_dir, int64_t step) {
    char name[64];
    snprintf(name, sizeof name, "checkpoint-%06" PRId64, step);
    return path_join(output_dir, name);
}

int snapshot_save(const Trainer *t, const char *output_dir, const RunIdentity *id, Err *err) {
    char *path = snapshot_path(output_dir, t->state.step);
    DirWriter *w;
    int status = dir_create(&w, path, &snapshot_own, err);
    if (!status) {
        const char *tmp = dir_path(w);
        t->adapter->backend->k->sync(t->adapter->backend);
        status = save_buffers(t, tmp, err);
        if (!status) status = save_choices(t, tmp, err);
        if (!status) status = save_adapter(t, tmp, err);
        // A device that has failed gave zeros.
        if (!status) status = t->model->backend->k->status(t->model->backend, err);
        RunSplit split = {t->rows_per_step, config_global_batch(t->config), t->group->ranks};
        if (!status) status = manifest_write(tmp, &t->state, &split, id, err);
        if (!status) {
            status = dir_commit(w, err);
        } else {
            dir_abandon(w);
        }
    }
    if (status && err) err->kind = ERR_RUNTIME; // also where a file just written could not be read back
    mem_free(path);
    return status;
}

// ---- reading ----

static bool all_finite(const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return false;
    }
    return true;
}

// One buffer, checked, to a host copy that the caller frees.
static int read_buffer(float **host, const Safetensors *s, const char *name, int64_t count, Err *err) {
    const SafetensorsTensor *t = safetensors_get(s, name);
    if (!t || t->dtype != DTYPE_F32 || t->n_dims != 1 || t->shape[0] != count)
        return err_input(err, "optimizer.safetensors: %s: %s; expected F32 [%" PRId64 "]", name,
                         t ? "another dtype or shape" : "missing", count);
    *host = mem_alloc((size_t)count, sizeof **host);
    memcpy(*host, t->data, t->bytes);
    if (all_finite(*host, count)) return 0;
    return err_input(err, "optimizer.safetensors: %s: holds values that are not finite", name);
}

static int load_buffers(Trainer *t, const char *dir, Err *err) {
    float *device[3] = {t->adapter->params, t->optimizer->m, t->optimizer->v}, *host[3] = {0};
    static const char *const names[3] = {"params", "m", "v"};
    char *path = path_join(dir, "optimizer.safetensors");
    Safetensors *s = NULL;
    Backend *b = t->adapter->backend;
    int status = safetensors_open(&s, path, err);
    for (int i = 0; i < 3 && !status; i++) status = read_buffer(&host[i], s, names[i], t->adapter->count, err);
    for (int i = 0; i < 3; i++) { // only when all of them are good
        if (!status) b->k->upload(b, device[i], host[i], (size_t)t->adapter->count * sizeof(float));
        mem_free(host[i]);
    }
    safetensors_close(s);
    mem_free(path);
    return status;
}

int snapshot_load(Trainer *t, const char *dir, const RunIdentity *id, bool *other, Err *err) {
    Manifest m;
    int status = manifest_read(&m, dir, true, err);
    if (other) *other = m.is_of_another_version;
    if (!status && (check_identity(t, id, &m, err) || load_choices(t, dir, err))) {
        if (other) *other = true;
        status = -1;
    }
    if (!status && m.state.step > t->total_steps) status = err_input(err, "manifest.json: a step behind the run's end");
    if (!status) status = load_buffers(t, dir, err);
    if (status) {
        if (err) err->kind = ERR_INPUT;
        return err_context(err, "%s", dir);
    }
    t->state = m.state;
    return 0;
}
