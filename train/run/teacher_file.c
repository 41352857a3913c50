#include "teacher_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run_device.h"
#include "run_model.h"
#include "run_teacher.h"
#include "safetensors.h"
#include "say.h"
#include "temporary.h"

typedef struct TeacherFile {
    const Config *config;
    const char *out;
    Backend *backend;
    Model *model; // the student; without weights unless it is the teacher's base
    RunData data;
    Teacher *teacher;
    // of what is written
    int64_t samples, tokens, done;
    int64_t *hash, *start; // [samples], [samples + 1]
    SafetensorsWriter *writer;
    FILE *ids; // they follow all values; without a name
    double printed;
    // of passes
    PassInputs *inputs;
    Tape *tape;
    Row row;
    void *arena;
    size_t arena_bytes;
    int32_t *row_ids;
    float *row_values;
} TeacherFile;

static void close_file(TeacherFile *f) {
    Backend *b = f->backend;
    safetensors_abandon(f->writer);
    if (f->ids) (void)fclose(f->ids); // without a name
    if (f->arena) b->k->free(b, f->arena, f->arena_bytes);
    tape_free(f->tape);
    pass_inputs_free(f->inputs);
    row_clear(&f->row);
    teacher_free(f->teacher);
    run_data_close(&f->data);
    model_free(f->model);
    backend_close(b);
    mem_free(f->hash);
    mem_free(f->start);
    mem_free(f->row_ids);
    mem_free(f->row_values);
}

// ---- what is computed ----

static int open_teacher(TeacherFile *f, Err *err) {
    const Config *c = f->config;
    ModelOptions o;
    int64_t max_tokens;
    if (run_model_options(&o, c, &max_tokens, err) ||
        run_device_open(&f->backend, c->device, config_dtype(c), NULL, err) ||
        model_open(&f->model, c->model_name_or_path, f->backend, &o, err) ||
        run_data_open(&f->data, c, f->model, NULL, true, err) ||
        (run_teacher_is_base(c) && model_load_weights(f->model, err)) ||
        run_teacher_open(&f->teacher, c, f->model, &f->data, err))
        return -1;
    return run_device_check(f->backend, err);
}

// Each plan of the run with its data set.
typedef struct Part {
    const Dataset *dataset;
    const RowPlan *plan;
} Part;
enum { PARTS = 2 };

static Part part_at(const TeacherFile *f, int i) {
    const RunData *d = &f->data;
    return i ? (Part){d->eval_set, d->eval_rows} : (Part){d->train, d->rows};
}

static void count_samples(TeacherFile *f) {
    for (int i = 0; i < PARTS; i++) {
        const RowPlan *p = part_at(f, i).plan;
        if (p) f->samples += p->start[p->count];
    }
    f->hash = mem_alloc((size_t)f->samples, sizeof *f->hash);
    f->start = mem_calloc((size_t)f->samples + 1, sizeof *f->start);
    int64_t n = 0;
    for (int i = 0; i < PARTS; i++) {
        Part part = part_at(f, i);
        for (int64_t k = 0; part.plan && k < part.plan->start[part.plan->count]; k++, n++) {
            Sample s = dataset_sample(part.dataset, part.plan->samples[k]);
            f->hash[n] = (int64_t)teacher_sample_hash(&s);
            f->start[n + 1] = f->start[n] + s.supervised_count;
        }
        if (part.plan) dataset_release(part.dataset);
    }
    f->tokens = f->start[n];
}

static void prepare_passes(TeacherFile *f) {
    RowSize most = f->data.rows->most;
    const RowPlan *eval = f->data.eval_rows;
    int64_t tokens = most.tokens, samples = most.samples, k = f->teacher->pass.loss.k;
    if (eval) tokens = max64(tokens, eval->most.tokens), samples = max64(samples, eval->most.samples);
    f->inputs = pass_inputs_new_with(f->teacher->pass.model, tokens, samples, (PassExtras){.soft = {.k = k}});
    f->tape = tape_new(f->backend);
    f->row_ids = mem_alloc((size_t)(tokens * k), sizeof *f->row_ids);
    f->row_values = mem_alloc((size_t)(tokens * k), sizeof *f->row_values);
}

// The soft targets of the scored positions of a row, to row_ids and row_values.
static int compute_row(TeacherFile *f, Part part, int64_t r, Err *err) {
    Backend *b = f->backend;
    const PassTeacher *t = &f->teacher->pass;
    row_fill_several(&f->row, part.dataset, part.plan, &r, 1, 0);
    pass_inputs_set(f->inputs, &f->row, t->model->config.hidden, (PassState){0});
    tape_reset(f->tape);
    graph_build_top_logits(f->tape, f->inputs, t);
    size_t bytes = tape_plan(f->tape, TAPE_FORWARD);
    if (bytes > f->arena_bytes) {
        if (f->arena) b->k->free(b, f->arena, f->arena_bytes);
        f->arena = b->k->alloc(b, f->arena_bytes = bytes);
    }
    tape_run(f->tape, f->arena);
    size_t n = (size_t)(f->row.scored * t->loss.k);
    b->k->download(b, f->row_ids, f->inputs->soft_ids, n * sizeof *f->row_ids);
    b->k->download(b, f->row_values, f->inputs->soft_values, n * sizeof *f->row_values);
    b->k->sync(b);
    return b->k->status(b, err);
}

// ---- writing ----

static int open_ids(TeacherFile *f, Err *err) {
    AUTO_FREE char *name = temporary_name(f->out, "tmp");
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) unlink(name);
    f->ids = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (f->ids) return 0;
    int rc = err_runtime(err, "%s: %s", name, strerror(errno));
    if (fd >= 0) close(fd);
    return rc;
}

static int begin_file(TeacherFile *f, Err *err) {
    const Model *m = f->teacher->pass.model;
    const char *const metadata[] = {"lorac.written",       "teacher_logits", "teacher",          m->name,
                                    "teacher_fingerprint", m->fingerprint,   "data_fingerprint", f->data.fingerprint};
    int64_t k = f->teacher->pass.loss.k;
    SafetensorsEntry entries[] = {{.name = "sample_hash", DTYPE_I64, 1, {f->samples}, NULL},
                                  {.name = "sample_start", DTYPE_I64, 1, {f->samples + 1}, NULL},
                                  {.name = "target_logprobs", DTYPE_F32, 2, {f->tokens, k}, NULL},
                                  {.name = "target_token_ids", DTYPE_I32, 2, {f->tokens, k}, NULL}};
    safetensors_order(entries, sizeof entries / sizeof *entries);
    return open_ids(f, err) || safetensors_begin(&f->writer, f->out, entries, 4, metadata, 4, err) ||
                   safetensors_append(f->writer, f->hash, (size_t)f->samples * sizeof *f->hash, err) ||
                   safetensors_append(f->writer, f->start, (size_t)(f->samples + 1) * sizeof *f->start, err)
               ? -1
               : 0;
}

static int ids_failed(const TeacherFile *f, Err *err) {
    return err_runtime(err, "%s: token ids in a temporary file: %s", f->out, strerror(errno));
}

static int write_row(TeacherFile *f, Err *err) {
    enum { SECONDS = 10 };
    size_t n = (size_t)(f->row.scored * f->teacher->pass.loss.k);
    if (safetensors_append(f->writer, f->row_values, n * sizeof *f->row_values, err)) return -1;
    if (fwrite(f->row_ids, sizeof *f->row_ids, n, f->ids) != n) return ids_failed(f, err);
    f->done += f->row.scored;
    if (time_now() - f->printed < SECONDS) return 0;
    f->printed = time_now();
    say("%ld of %ld supervised tokens\n", f->done, f->tokens);
    fflush(stdout);
    return 0;
}

static int write_ids(TeacherFile *f, Err *err) {
    char buffer[1 << 16];
    size_t n;
    if (fflush(f->ids) || fseek(f->ids, 0, SEEK_SET)) return ids_failed(f, err);
    while ((n = fread(buffer, 1, sizeof buffer, f->ids)) > 0)
        if (safetensors_append(f->writer, buffer, n, err)) return -1;
    return ferror(f->ids) ? ids_failed(f, err) : 0;
}

static int write_all(TeacherFile *f, Err *err) {
    if (begin_file(f, err)) return -1;
    for (int i = 0; i < PARTS; i++) {
        Part part = part_at(f, i);
        for (int64_t r = 0; part.plan && r < part.plan->count; r++)
            if (compute_row(f, part, r, err) || write_row(f, err)) return -1;
    }
    if (write_ids(f, err) || model_check_unchanged(f->teacher->pass.model, err)) return -1;
    SafetensorsWriter *w = f->writer;
    f->writer = NULL;
    return safetensors_end(w, err);
}

int teacher_file_write(const Config *config, const char *out, Err *err) {
    Config c = *config; // borrowed
    c.teacher_logits = NULL;
    AUTO_CALL(close_file) TeacherFile f = {.config = &c, .out = out, .printed = time_now()};
    if (!teacher_is_asked(&c))
        return err_input(err, "no teacher; expected teacher_model or teacher_adapter (the base model itself: "
                              "--teacher_model with its path)");
    if (overwrite_file(out, NULL, NULL, err) || open_teacher(&f, err)) return -1;
    count_samples(&f);
    prepare_passes(&f);
    if (write_all(&f, err)) return -1;
    say("%s: %ld token%s at each of %ld supervised tokens of %ld sample%s\n", out, f.teacher->pass.loss.k,
        plural(f.teacher->pass.loss.k), f.tokens, f.samples, plural(f.samples));
    return 0;
}
