#include "teacher_logits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "fnv.h"
#include "hash.h"
#include "safetensors.h"

typedef struct HashedSample {
    uint64_t hash;
    int64_t start, count; // rows of the file
} HashedSample;

struct TeacherLogits {
    char *path, hash[33];
    FileStamp stamp;
    Safetensors *file;
    const char *ids, *values;  // in the file; may be unaligned
    DType type;                // of the values
    int64_t vocab, rows, k, n; // n: samples
    HashedSample *samples;     // by hash
};

enum { HIDDEN = -100 }; // the label of a token that is not supervised

uint64_t teacher_sample_hash(const Sample *s) {
    uint64_t hash = FNV64_START;
    for (int64_t i = 0; i < s->count; i++) {
        uint32_t pair[2] = {(uint32_t)s->ids[i], (uint32_t)(s->supervised[i] ? s->ids[i] : HIDDEN)};
        uint8_t bytes[8];
        for (int b = 0; b < 8; b++) bytes[b] = (uint8_t)(pair[b / 4] >> b % 4 * 8);
        hash = fnv64(hash, bytes, sizeof bytes);
    }
    return hash;
}

// ---- one row of the file ----

static float value_at(const TeacherLogits *t, int64_t i) {
    float x;
    dtype_expand(t->type, &x, t->values + i * dtype_info(t->type)->bytes, 1);
    return x;
}

// Shell's sort by id: a row may have as many tokens as the vocabulary, in any order.
static void sort_row(int32_t *ids, float *values, int64_t n) {
    int64_t gap = 1;
    while (gap < n / 3) gap = 3 * gap + 1;
    for (; gap; gap /= 3)
        for (int64_t i = gap; i < n; i++) {
            int32_t id = ids[i];
            float value = values[i];
            int64_t at = i;
            for (; at >= gap && ids[at - gap] > id; at -= gap) {
                ids[at] = ids[at - gap];
                values[at] = values[at - gap];
            }
            ids[at] = id;
            values[at] = value;
        }
}

// Row r as soft targets: by ascending id, the absent ones first. False: an id is none of the vocabulary, and left out.
static bool read_row(const TeacherLogits *t, int64_t r, int32_t *ids, float *values) {
    bool known = true;
    for (int64_t i = 0; i < t->k; i++) {
        float value = value_at(t, r * t->k + i);
        memcpy(&ids[i], t->ids + (r * t->k + i) * (int64_t)sizeof *ids, sizeof *ids);
        known &= ids[i] >= -1 && ids[i] < t->vocab;
        if (value == -INFINITY || ids[i] >= t->vocab || ids[i] < 0) ids[i] = -1;
        values[i] = ids[i] < 0 ? 0 : value;
    }
    sort_row(ids, values, t->k);
    return known;
}

static int fail_id(const TeacherLogits *t, int64_t r, Err *err) {
    int32_t id = -1;
    for (int64_t i = 0; i < t->k && id >= -1 && id < t->vocab; i++)
        memcpy(&id, t->ids + (r * t->k + i) * (int64_t)sizeof id, sizeof id);
    return err_input(err, "%s: target_token_ids: row %ld has token %d; expected tokens below %ld, or -1", t->path, r,
                     id, t->vocab);
}

static int check_row(const TeacherLogits *t, int64_t r, const int32_t *ids, const float *values, Err *err) {
    for (int64_t i = 0; i < t->k; i++) {
        if (i && ids[i] >= 0 && ids[i] == ids[i - 1])
            return err_input(err, "%s: target_token_ids: row %ld has token %d twice; expected each once", t->path, r,
                             ids[i]);
        if (!isfinite(values[i]))
            return err_input(err, "%s: target_logprobs: row %ld has %g for token %d; expected a number, or -inf",
                             t->path, r, (double)values[i], ids[i]);
    }
    return ids[t->k - 1] >= 0 ? 0 : err_input(err, "%s: row %ld has no token; expected at least one", t->path, r);
}

static int check_rows(const TeacherLogits *t, Err *err) {
    AUTO_FREE int32_t *ids = mem_alloc((size_t)t->k, sizeof *ids);
    AUTO_FREE float *values = mem_alloc((size_t)t->k, sizeof *values);
    for (int64_t r = 0; r < t->rows; r++) {
        if (!read_row(t, r, ids, values)) return fail_id(t, r, err);
        if (check_row(t, r, ids, values, err)) return -1;
    }
    return 0;
}

// ---- opening ----

static int by_hash(const void *a, const void *b) {
    const HashedSample *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static const SafetensorsTensor *tensor(const TeacherLogits *t, const char *name, int n_dims, DType type, DType other,
                                       Err *err) {
    const SafetensorsTensor *x = safetensors_get(t->file, name);
    if (!x) {
        err_input(err, "%s: no tensor %s; expected a file of teacher logits (lorac logits CONFIG --out FILE)", t->path,
                  name);
        return NULL;
    }
    if (x->n_dims == n_dims && (x->dtype == type || x->dtype == other)) return x;
    err_input(err, "%s: %s: %s with %d dimension%s; expected %s%s%s with %d", t->path, name, x->dtype_name, x->n_dims,
              plural(x->n_dims), dtype_info(type)->name, type == other ? "" : " or ",
              type == other ? "" : dtype_info(other)->name, n_dims);
    return NULL;
}

static int64_t long_at(const SafetensorsTensor *x, int64_t i) {
    int64_t n;
    memcpy(&n, (const char *)x->data + i * (int64_t)sizeof n, sizeof n);
    return n;
}

static int read_samples(TeacherLogits *t, const SafetensorsTensor *hash, const SafetensorsTensor *start, Err *err) {
    t->n = hash->shape[0];
    if (start->shape[0] - 1 != t->n)
        return err_input(err, "%s: sample_start has %ld elements; expected one more than sample_hash, which has %ld",
                         t->path, start->shape[0], t->n);
    t->samples = mem_alloc((size_t)t->n + 1, sizeof *t->samples);
    int64_t before = long_at(start, 0);
    for (int64_t i = 0; i < t->n && long_at(start, 0) == 0; i++) {
        int64_t next = long_at(start, i + 1);
        if (next < before || next > t->rows) break;
        t->samples[i] = (HashedSample){(uint64_t)long_at(hash, i), before, next - before};
        before = next;
    }
    if (long_at(start, 0) != 0 || before != t->rows)
        return err_input(err, "%s: sample_start: expected ascending rows from 0 to %ld", t->path, t->rows);
    qsort(t->samples, (size_t)t->n, sizeof *t->samples, by_hash);
    return 0;
}

static int open_file(TeacherLogits *t, const char *path, int64_t vocab, Err *err) {
    t->path = mem_strdup(path);
    t->vocab = vocab;
    file_stamp_read(&t->stamp, path);
    if (safetensors_open(&t->file, path, err)) return -1;
    const SafetensorsTensor *hash = tensor(t, "sample_hash", 1, DTYPE_I64, DTYPE_I64, err);
    const SafetensorsTensor *start = hash ? tensor(t, "sample_start", 1, DTYPE_I64, DTYPE_I64, err) : NULL;
    const SafetensorsTensor *ids = start ? tensor(t, "target_token_ids", 2, DTYPE_I32, DTYPE_I32, err) : NULL;
    const SafetensorsTensor *values = ids ? tensor(t, "target_logprobs", 2, DTYPE_F16, DTYPE_F32, err) : NULL;
    if (!values) return -1;
    t->rows = ids->shape[0];
    t->k = ids->shape[1];
    if (values->shape[0] != t->rows || values->shape[1] != t->k || t->k < 1 || t->k > vocab)
        return err_input(
            err,
            "%s: target_token_ids [%ld, %ld], target_logprobs [%ld, %ld]; expected the same shape, with at "
            "most %ld tokens in a row",
            path, t->rows, t->k, values->shape[0], values->shape[1], vocab);
    t->ids = ids->data;
    t->values = values->data;
    t->type = values->dtype;
    return read_samples(t, hash, start, err) || check_rows(t, err) || hash_file(t->hash, path, err) ? -1 : 0;
}

int teacher_logits_open(TeacherLogits **t, const char *path, int64_t vocab, Err *err) {
    TeacherLogits *new = mem_calloc(1, sizeof *new);
    int rc = open_file(new, path, vocab, err);
    if (rc) teacher_logits_close(new);
    *t = rc ? NULL : new;
    return rc ? err_context(err, "teacher_logits") : 0;
}

void teacher_logits_close(TeacherLogits *t) {
    if (!t) return;
    safetensors_close(t->file);
    mem_free(t->samples);
    mem_free(t->path);
    mem_free(t);
}

int teacher_logits_unchanged(const TeacherLogits *t, Err *err) { return file_stamp_check(&t->stamp, t->path, err); }

int64_t teacher_logits_k(const TeacherLogits *t) { return t->k; }

const char *teacher_logits_hash(const TeacherLogits *t) { return t->hash; }

// ---- samples ----

static const HashedSample *find(const TeacherLogits *t, const Sample *s) {
    HashedSample key = {.hash = teacher_sample_hash(s)};
    return bsearch(&key, t->samples, (size_t)t->n, sizeof key, by_hash);
}

int teacher_logits_check(const TeacherLogits *t, const Dataset *d, const RowPlan *plan, Err *err) {
    for (int64_t r = 0; plan && r < plan->count; r++)
        for (uint32_t i = plan->start[r]; i < plan->start[r + 1]; i++) {
            Sample s = dataset_sample(d, plan->samples[i]);
            const HashedSample *found = find(t, &s);
            if (!found)
                return err_input(err,
                                 "teacher_logits: %s has no logits for record %ld of the data (%ld tokens, %ld "
                                 "supervised); expected a file that was written for the same tokens and masks",
                                 t->path, s.record, s.count, s.supervised_count);
            if (found->count != s.supervised_count)
                return err_input(err, "teacher_logits: %s has %ld rows for record %ld of the data; expected %ld",
                                 t->path, found->count, s.record, s.supervised_count);
        }
    dataset_release(d);
    return 0;
}

void teacher_logits_fill(const TeacherLogits *t, const Dataset *d, const RowPlan *plan, const int64_t *rows, int64_t n,
                         int32_t *ids, float *values) {
    for (int64_t r = 0; r < n; r++)
        for (uint32_t i = plan->start[rows[r]]; i < plan->start[rows[r] + 1]; i++) {
            Sample s = dataset_sample(d, plan->samples[i]);
            const HashedSample *found = find(t, &s);
            CHECK(found && found->count == s.supervised_count, "%s: no logits of record %ld", t->path, s.record);
            for (int64_t p = 0; p < found->count; p++, ids += t->k, values += t->k)
                read_row(t, found->start + p, ids, values);
        }
}
