// snapshot_dir: the snapshots of an output directory: list, choose the one to resume from, remove old ones.
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "path.h"
#include "snapshot_internal.h"
#include "temporary.h"

enum { KEEP_AT_LEAST = 2 };

// "checkpoint-000050": true, with the step. Not "checkpoint-50", a name of Hugging Face's Trainer.
static bool parse_name(const char *name, int64_t *step) {
    static const char prefix[] = "checkpoint-";
    size_t n = sizeof prefix - 1, digits;
    if (!starts_with(name, prefix)) return false;
    digits = strspn(name + n, "0123456789");
    if (digits < 6 || digits > 15 || (digits > 6 && name[n] == '0') || name[n + digits]) return false;
    *step = strtoll(name + n, NULL, 10);
    return true;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int snapshot_list(int64_t **steps, size_t *count, const char *output_dir, Err *err) {
    AUTO_NAMES NameList names = {0};
    int rc = dir_list(&names, output_dir, err);
    *steps = mem_alloc(names.count, sizeof **steps);
    *count = 0;
    for (size_t i = 0; !rc && i < names.count; i++)
        if (parse_name(names.items[i], &(*steps)[*count])) ++*count;
    if (*count) qsort(*steps, *count, sizeof **steps, ascending);
    return rc;
}

// The newest that verifies. A snapshot of another run is an error even when an older one would fit.
static int resume_newest(Trainer *t, const char *output_dir, char **from, Err *err) {
    size_t count;
    AUTO_FREE int64_t *steps = NULL;
    int rc = snapshot_list(&steps, &count, output_dir, err);
    for (size_t i = count; i-- > 0 && !*from && !rc;) {
        AUTO_FREE char *path = snapshot_path(output_dir, steps[i]);
        bool other;
        if (snapshot_restore(t, path, &other, err) == 0)
            *from = mem_take(&path);
        else if (other)
            rc = -1;
        else
            log_warn("%s; trying an older snapshot", err->msg);
    }
    if (!rc && count && !*from)
        rc = err_input(
            err,
            "%s: has %zu snapshot%s, of which none can be read; expected one that can; remove them (checkpoint-*) "
            "to start from step 0, or choose another output_dir",
            output_dir, count, plural(count));
    return rc;
}

// Whether a path named by the user is a snapshot.
static int check_request(const char *path, Err *err) {
    static const char want[] = "expected a snapshot of a run (its folder checkpoint-000050 or the like)";
    if (!path_is_dir(path))
        return err_input(err, "resume_from_checkpoint: %s: found %s; %s", path,
                         path_exists(path) ? "a file" : "nothing there", want);
    if (dir_has(path, "manifest.json")) return 0;
    size_t count;
    AUTO_FREE int64_t *steps = NULL;
    if (snapshot_list(&steps, &count, path, err)) return -1;
    if (count) {
        AUTO_FREE char *newest = snapshot_path(path, steps[count - 1]);
        return err_input(
            err, "resume_from_checkpoint: %s: found a folder with %zu snapshot%s; expected one of them, e.g. %s", path,
            count, plural(count), newest);
    }
    if (dir_has(path, "trainer_state.json"))
        return err_input(err,
                         "resume_from_checkpoint: %s: found a checkpoint of Hugging Face's Trainer; %s; "
                         "adapter_name_or_path starts a run from its adapter",
                         path, want);
    return err_input(err, "resume_from_checkpoint: %s: found a folder without manifest.json; %s", path, want);
}

typedef enum { RESUME_NEVER, RESUME_NEWEST, RESUME_PATH } ResumeFrom;

static ResumeFrom resume_from(const char *request) {
    if (strcmp(request, "false") == 0) return RESUME_NEVER;
    return strcmp(request, "auto") == 0 || strcmp(request, "true") == 0 ? RESUME_NEWEST : RESUME_PATH;
}

static int refuse_snapshots(const char *output_dir, Err *err) {
    size_t count;
    AUTO_FREE int64_t *steps = NULL;
    int rc = snapshot_list(&steps, &count, output_dir, err);
    if (rc || count == 0) return rc;
    return err_input(
        err, "resume_from_checkpoint: false, but %s has %zu snapshot%s; expected \"auto\" or another output_dir",
        output_dir, count, plural(count));
}

int snapshot_resume(Trainer *t, const char *output_dir, const char *request, char **from, Err *err) {
    Err local;
    if (!err) err = &local;
    *from = NULL;
    switch (resume_from(request)) {
    case RESUME_NEVER: return refuse_snapshots(output_dir, err);
    case RESUME_NEWEST: return resume_newest(t, output_dir, from, err);
    case RESUME_PATH: break;
    }
    if (check_request(request, err) || snapshot_restore(t, request, NULL, err)) return -1;
    *from = mem_strdup(request);
    return 0;
}

void snapshot_split(SnapshotSplit *split, const char *output_dir, const char *request) {
    size_t count = 0;
    AUTO_FREE int64_t *steps = NULL;
    Manifest m;
    *split = (SnapshotSplit){0};
    if (resume_from(request) == RESUME_PATH && manifest_read(&m, request, false, NULL) == 0) *split = m.split;
    if (resume_from(request) == RESUME_NEWEST) // snapshot_resume reports an unreadable directory
        snapshot_list(&steps, &count, output_dir, NULL);
    for (size_t i = count; i-- > 0 && !split->rows_per_step;) {
        AUTO_FREE char *path = snapshot_path(output_dir, steps[i]);
        if (manifest_read(&m, path, false, NULL) == 0) *split = m.split;
    }
}

int snapshot_rows_per_step(int64_t *rows, const SnapshotSplit *before, int64_t rows_per_rank, int ranks, Err *err) {
    int64_t now = rows_per_rank * ranks;
    if (before->rows_per_step < 0 || before->rows_per_step > INT32_MAX)
        return err_input(err, "the run in this directory has %ld row%s per step; expected at most %d",
                         before->rows_per_step, plural(before->rows_per_step), INT32_MAX);
    bool resumes = before->rows_per_step > 0;
    *rows = resumes ? before->rows_per_step : now;
    if (!resumes || before->rows_per_rank == rows_per_rank || now == before->rows_per_step) return 0;
    return err_input(
        err,
        "the run in this directory has %ld row%s per step (%ld rank%s, %ld row%s per rank); now %d rank%s x "
        "%ld = %ld; expected %ld rows per rank (any number of ranks), or ranks x rows per rank = %ld "
        "(rows per rank: per_device_train_batch_size x gradient_accumulation_steps)",
        before->rows_per_step, plural(before->rows_per_step), before->ranks, plural(before->ranks),
        before->rows_per_rank, plural(before->rows_per_rank), ranks, plural(ranks), rows_per_rank, now,
        before->rows_per_rank, before->rows_per_step);
}

static const char *const own_names[] = {"manifest.json",
                                        "optimizer.safetensors",
                                        "device.json",
                                        "adapter/",
                                        "adapter/adapter_config.json",
                                        "adapter/adapter_model.safetensors",
                                        "adapter/labels.json",
                                        "adapter/README.md",
                                        "adapter/chat_template.jinja",
                                        NULL};

// By names alone: a damaged snapshot may have no readable content.
static int check_own(const char *path, Err *err) {
    bool own = dir_has(path, own_names[0]) || dir_has(path, own_names[1]);
    return own ? 0 : overwrite_refuse(path, "a snapshot that lorac wrote", err);
}

const OwnFolder snapshot_own = {check_own, own_names};

static bool is_stem(const char *stem, const void *user) {
    int64_t step;
    return parse_name(stem, &step);
}

void snapshot_sweep(const char *output_dir) {
    temporary_sweep(&(Sweep){.dir = output_dir, .wants = is_stem, .alone = true, .names = own_names});
}

// Two tries: a transient read error must not count as damage.
bool snapshot_is_good(const char *output_dir, int64_t step) {
    Manifest m;
    AUTO_FREE char *path = snapshot_path(output_dir, step);
    bool good = manifest_read(&m, path, true, NULL) == 0 || manifest_read(&m, path, true, NULL) == 0;
    return good;
}

static bool looks_good(const char *path) {
    Manifest m;
    return manifest_read(&m, path, false, NULL) == 0;
}

// first: of this call; a snapshot that cannot be removed is warned of once, not after every save.
static void remove_snapshot(const char *path, bool first) {
    AUTO_FREE char *foreign = NULL;
    Err err;
    int rc = snapshot_own.check(path, &err);
    if (rc && first) log_warn("%s", err.msg);
    if (rc) return;
    rc = folder_remove_known(path, snapshot_own.names, &foreign, &err);
    if (rc < 0) log_warn("%s", err.msg);
    if (rc > 0 && first) log_warn("%s: holds %s, which lorac did not write; the snapshot is kept", path, foreign);
}

void snapshot_prune(const char *output_dir, int64_t limit, int64_t best_step) {
    size_t count;
    int64_t good = 0, pruned = 0;
    AUTO_FREE int64_t *steps = NULL;
    Err err;
    if (snapshot_list(&steps, &count, output_dir, &err)) log_warn("%s; no snapshot is removed", err.msg);
    if (limit < KEEP_AT_LEAST) limit = KEEP_AT_LEAST;
    for (size_t i = count; i-- > 0;) {
        AUTO_FREE char *path = snapshot_path(output_dir, steps[i]);
        if (good >= limit && steps[i] != best_step) {
            remove_snapshot(path, pruned++ == 0);
        } else if (looks_good(path)) {
            good++;
        }
    }
    snapshot_sweep(output_dir);
}

bool snapshot_facts(SnapshotFacts *f, const char *output_dir) {
    size_t count;
    AUTO_FREE int64_t *steps = NULL;
    AUTO_FREE Manifest *m = mem_alloc(1, sizeof *m);
    if (snapshot_list(&steps, &count, output_dir, NULL)) return false;
    for (size_t i = count; i-- > 0;) {
        AUTO_FREE char *path = snapshot_path(output_dir, steps[i]);
        if (manifest_read(m, path, false, NULL) || m->is_of_another_version) continue;
        *f = (SnapshotFacts){m->state, m->identity};
        return true;
    }
    return false;
}
