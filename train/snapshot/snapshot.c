#include "snapshot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "path.h"
#include "safetensors.h"
#include "snapshot_internal.h"

char *snapshot_path(const char *output_dir, int64_t step) {
    char name[64];
    snprintf(name, sizeof name, "checkpoint-%06ld", step);
    return path_join(output_dir, name);
}

// ---- writing ----

static int save_buffers(const Trainer *t, const char *dir, Err *err) {
    const Adapter *a = trainer_inputs(t)->adapter;
    SafetensorsEntry entries[TRAINER_BUFFERS];
    float *buffers[TRAINER_BUFFERS], *copies[TRAINER_BUFFERS];
    trainer_buffers(t, buffers);
    size_t n = 0;
    for (int i = 0; i < TRAINER_BUFFERS; i++) {
        if (!buffers[i]) continue;
        entries[n] = (SafetensorsEntry){.name = trainer_buffer_names[i],
                                        .dtype = DTYPE_F32,
                                        .n_dims = 1,
                                        .shape = {a->count},
                                        .data = adapter_on_host(a, buffers[i], &copies[n])};
        n++;
    }
    AUTO_FREE char *path = path_join(dir, "optimizer.safetensors");
    int rc = safetensors_save(path, entries, n, NULL, 0, NULL, err);
    while (n > 0) mem_free(copies[--n]);
    return rc;
}

// An adapter that has no effect yet (B is 0) is not exported; the buffers suffice to resume.
static int save_adapter(const Trainer *t, const char *dir, Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    AUTO(adapter_free) Adapter *plain = NULL;
    if (adapter_check(in->adapter, NULL)) return 0;
    if (adapter_plain(&plain, in->model, in->adapter, err)) return -1;
    AUTO_FREE char *path = path_join(dir, "adapter");
    AUTO_FREE char *card =
        mem_printf("A snapshot taken at step %ld of %ld.\n", trainer_state(t)->step, trainer_plan(t)->total_steps);
    return adapter_save_peft(plain ? plain : in->adapter, in->model, path, card, err);
}

// Results depend on the device's autotuning results: a resumed run uses the same.
static int save_choices(Backend *b, const char *dir, Err *err) {
    AUTO_STR StrBuf text = {0};
    b->k->choices_get(b, &text);
    AUTO_FREE char *path = path_join(dir, "device.json");
    return file_write_whole(path, text.data, text.len, NULL, err);
}

static int save_files(const Trainer *t, const char *dir, Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    Backend *b = in->model->backend;
    SnapshotSplit split = {trainer_plan(t)->rows_per_step, config_global_batch(in->config), ranks_pipelines(in->ranks)};
    RunIdentity id = run_identity(t);
    b->k->sync(b);
    if (save_buffers(t, dir, err) || save_choices(b, dir, err) || save_adapter(t, dir, err)) return -1;
    if (b->k->status(b, err)) return -1; // a failed device returns zeros
    return manifest_write(dir, trainer_state(t), &split, &id, err);
}

int snapshot_save(const Trainer *t, const char *output_dir, Err *err) {
    AUTO_FREE char *path = snapshot_path(output_dir, trainer_state(t)->step);
    DirWriter *w;
    int rc = dir_create(&w, path, &snapshot_own, err);
    if (!rc) {
        rc = save_files(t, dir_path(w), err);
        if (rc)
            dir_abandon(w);
        else
            rc = dir_commit(w, err);
    }
    if (rc && err) err->kind = ERR_RUNTIME; // also where a file just written could not be read back
    return rc;
}

// ---- restoring ----

static int64_t total_steps(const Manifest *m) { return strtoll(m->identity.values[IDENTITY_TOTAL_STEPS], NULL, 10); }

// A run may become longer: the steps to come have the learning rates of the longer run. It may become shorter where the
// steps done have the same learning rates in the shorter one.
static void compare_length(StrBuf *diff, const Trainer *t, const Manifest *m, const char *was) {
    int64_t before = total_steps(m), now = trainer_plan(t)->total_steps, done = m->state.step;
    const Config *c = trainer_inputs(t)->config;
    bool known = before >= done && before > 0, fits = known && done <= now;
    if (fits && (now >= before || trainer_same_rates(t, before, done))) return;
    str_printf(diff, "%stotal_steps was %s, now %ld", diff->len ? "; " : "", was, now);
    if (fits)
        str_printf(diff,
                   " (the learning rates of the %ld step%s done depend on it, unless lr_scheduler_type is constant; a "
                   "run can become longer)",
                   done, plural(done));
    else if (known)
        str_printf(diff, " (%s; %ld step%s are done: expected at least as many)",
                   c->max_steps > 0 ? "max_steps" : "num_train_epochs", done, plural(done));
}

static int check_identity(const Trainer *t, const Manifest *m, Err *err) {
    AUTO_STR StrBuf diff = {0};
    RunIdentity now = run_identity(t);
    for (int i = 0; i < IDENTITY_KEYS; i++) {
        const char *was = m->identity.values[i][0] ? m->identity.values[i] : "missing";
        if (!now.values[i][0] || strcmp(was, now.values[i]) == 0) continue;
        if (i == IDENTITY_TOTAL_STEPS)
            compare_length(&diff, t, m, was);
        else
            str_printf(&diff, "%s%s was %s, now %s", diff.len ? "; " : "", identity_names[i], was, now.values[i]);
    }
    return diff.len ? err_input(err, "a snapshot of another run: %s", diff.data) : 0;
}

// Of one buffer, checked; the caller frees *host.
static int read_buffer(float **host, const Safetensors *s, const char *name, int64_t count, Err *err) {
    const SafetensorsTensor *t = safetensors_get(s, name);
    if (!t || t->dtype != DTYPE_F32 || t->n_dims != 1 || t->shape[0] != count)
        return err_input(err, "optimizer.safetensors: %s: %s; expected F32 [%ld]", name,
                         t ? "another dtype or shape" : "missing", count);
    *host = mem_alloc((size_t)count, sizeof **host);
    memcpy(*host, t->data, t->bytes);
    for (int64_t i = 0; i < count; i++)
        if (!isfinite((*host)[i]))
            return err_input(err, "optimizer.safetensors: %s: found a value that is not finite", name);
    return 0;
}

static int read_buffers(float *host[TRAINER_BUFFERS], const char *dir, const Adapter *a, Err *err) {
    AUTO_FREE char *path = path_join(dir, "optimizer.safetensors");
    AUTO_SAFETENSORS Safetensors *s = NULL;
    int rc = safetensors_open(&s, path, err);
    for (int i = 0; i < TRAINER_BUFFERS && !rc; i++)
        if (i != TRAINER_START || a->start) rc = read_buffer(&host[i], s, trainer_buffer_names[i], a->count, err);
    return rc;
}

static int set_choices(Backend *b, const char *dir, Err *err) {
    AUTO_FREE char *path = path_join(dir, "device.json"), *text = NULL;
    size_t size;
    if (file_read(&text, &size, path, MAX_CHOICES_BYTES, err)) return -1;
    return b->k->choices_set(b, text, err) ? err_context(err, "device.json") : 0;
}

static void set_state(Trainer *t, const Manifest *m, float *host[TRAINER_BUFFERS]) {
    const Adapter *a = trainer_inputs(t)->adapter;
    TrainerState s = m->state;
    int64_t before = total_steps(m);
    if (before < trainer_plan(t)->total_steps && !s.stopped_early) s.grown_from = before, s.grown_at = s.step;
    Backend *b = a->backend;
    float *device[TRAINER_BUFFERS];
    trainer_buffers(t, device);
    for (int i = 0; i < TRAINER_BUFFERS; i++)
        if (host[i]) b->k->upload(b, device[i], host[i], (size_t)a->count * sizeof *host[i]);
    trainer_set_state(t, &s);
}

int snapshot_restore(Trainer *t, const char *dir, bool *other, Err *err) {
    Manifest m;
    const Adapter *a = trainer_inputs(t)->adapter;
    float *host[TRAINER_BUFFERS] = {0};
    int rc = manifest_read(&m, dir, true, err);
    bool of_another_run = m.is_of_another_version;
    if (!rc) of_another_run = (rc = check_identity(t, &m, err)) != 0;
    if (!rc && m.state.step > trainer_plan(t)->total_steps)
        rc = err_input(err, "manifest.json: step %ld of %ld", m.state.step, trainer_plan(t)->total_steps);
    if (!rc) rc = read_buffers(host, dir, a, err);
    if (!rc) of_another_run = (rc = set_choices(a->backend, dir, err)) != 0;
    if (!rc) set_state(t, &m, host);
    for (int i = 0; i < TRAINER_BUFFERS; i++) mem_free(host[i]);
    if (other) *other = of_another_run;
    if (rc && err) err->kind = ERR_INPUT;
    return rc ? err_context(err, "%s", dir) : 0;
}
