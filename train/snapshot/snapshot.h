// snapshot: a run's state on disk, output_dir/checkpoint-000050/, from which it resumes bit-identically.
//
//   checkpoint-000050/
//     optimizer.safetensors   params, m, v: the adapter's flat buffers, float32
//     device.json             the device's autotuning results (choices_get)
//     adapter/                the same adapter as a PEFT folder, for other tools (absent while it has no effect)
//     manifest.json           written last: format version, identity of the run, state, size and hash of each file
//
// Written under a temporary name, every file fsync'd, renamed, the parent fsync'd (fileio.h); only then are older ones
// removed. A snapshot is hostile input: sizes, hashes and shapes are checked before anything is used.
// Files: snapshot.c (write, restore), snapshot_dir.c (list, resume, prune), snapshot_ranks.c, manifest.c,
// run_identity.c.
#pragma once

#include "overwrite.h"
#include "trainer.h"

// ---- run_identity.c: what makes two runs the same run, compared value by value ----

#define IDENTITY_LIST(X)                                                                                               \
    X(BASE, "base")                                                                                                    \
    X(DATA, "data")                                                                                                    \
    X(RANK, "rank")                                                                                                    \
    X(ALPHA, "alpha")                                                                                                  \
    X(TARGETS, "targets")                                                                                              \
    X(LAYERS, "layers")                                                                                                \
    X(LABELS, "labels")                                                                                                \
    X(PREFERENCE, "preference")                                                                                        \
    X(TEACHER, "teacher")                                                                                              \
    X(DEVICE, "device")                                                                                                \
    X(DTYPE, "dtype")                                                                                                  \
    X(ROWS_PER_STEP, "rows_per_step")                                                                                  \
    X(ROWS, "rows")                                                                                                    \
    X(TOTAL_STEPS, "total_steps")                                                                                      \
    X(SEED, "seed")
#define IDENTITY_CONSTANT(key, name) IDENTITY_##key,
typedef enum { IDENTITY_LIST(IDENTITY_CONSTANT) IDENTITY_KEYS } IdentityKey;
extern const char *const identity_names[IDENTITY_KEYS];

typedef struct RunIdentity {
    char values[IDENTITY_KEYS][200]; // "": the run has no such value
} RunIdentity;
RunIdentity run_identity(const Trainer *t);

// ---- the rows of a step ----

// How the rows of a step were split over the ranks when a snapshot was made; not part of the identity.
typedef struct SnapshotSplit {
    int64_t rows_per_step; // 0: unknown
    int64_t rows_per_rank; // per_device_train_batch_size x gradient_accumulation_steps
    int64_t ranks;
} SnapshotSplit;
// Of the snapshot that snapshot_resume would take, judged by its manifest alone; rows_per_step 0: none.
void snapshot_split(SnapshotSplit *s, const char *output_dir, const char *request);
// The rows per step of a run that resumes after `before` with rows_per_rank rows on each of `ranks`: the same as before
// if rows_per_rank is the same, on any number of ranks; otherwise rows_per_rank x ranks must equal it.
int snapshot_rows_per_step(int64_t *rows, const SnapshotSplit *before, int64_t rows_per_rank, int ranks, Err *err);

// ---- one snapshot ----

// Writes the trainer's state. After a failure nothing of it is left on disk, and older snapshots are unchanged.
int snapshot_save(const Trainer *t, const char *output_dir, Err *err);
// Sets the trainer's state, adapter, moments and device choices, after all of the snapshot is verified. A damaged
// snapshot: ERR_INPUT; one of another run: ERR_INPUT with the differences, and *other (may be NULL) = true. One of the
// same run with fewer total_steps is taken: then TrainerState.grown_at is its step.
int snapshot_restore(Trainer *t, const char *dir, bool *other, Err *err);

// `request`: "auto" or "true": the newest snapshot that can be restored, if any exist; "false": none, and output_dir
// must have none; else the path of a snapshot. *from (caller frees) is the restored snapshot, NULL: none, and the run
// starts from step 0.
int snapshot_resume(Trainer *t, const char *output_dir, const char *request, char **from, Err *err);

// ---- several ranks: the calls above are rank 0's alone, these are collective ----

// All ranks take rank 0's parameters, moments and state. (Device choices: autotune.h.)
int snapshot_share(Trainer *t, Err *err);
// 0: all ranks are bit-identical to rank 0. 1: they are not, and err names one of them on all ranks. -1: the exchange
// failed.
int snapshot_compare_ranks(const Trainer *t, Err *err);

// ---- the snapshots of an output directory ----

// What the newest readable manifest says, for display: nothing is verified. False: there is none.
typedef struct SnapshotFacts {
    TrainerState state;
    RunIdentity identity;
} SnapshotFacts;
bool snapshot_facts(SnapshotFacts *f, const char *output_dir);

extern const OwnFolder snapshot_own; // what of it may be replaced or removed (overwrite.h)

// Removes what exceeds `limit` (at least two stay), oldest first, never the one of best_step (-1: none), and the
// leftovers of interrupted writes. One that holds a file that lorac did not write stays, with a warning.
void snapshot_prune(const char *output_dir, int64_t limit, int64_t best_step);
void snapshot_sweep(const char *output_dir); // leftovers of interrupted writes; the caller holds the directory's lock
bool snapshot_is_good(const char *output_dir, int64_t step); // all its files exist and match their hashes
char *snapshot_path(const char *output_dir, int64_t step);   // caller frees
// Steps of the snapshots in output_dir, ascending, by name only. The caller frees them, after an error (a directory
// that cannot be read; then there are none) too.
int snapshot_list(int64_t **steps, size_t *count, const char *output_dir, Err *err);
