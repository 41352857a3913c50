// snapshot: a run's state on disk, output_dir/checkpoint-000050/, from which it goes on bit for bit.
//
//   checkpoint-000050/
//     optimizer.safetensors   params, m, v: the adapter's flat buffers, float32
//     device.json             what the device chose by speed (choices_get)
//     adapter/                the same adapter as a PEFT folder, for people (absent while it would do nothing)
//     manifest.json           written last: format version, identity of the run, state, size and hash of each file
//
// Written under a temporary name, every file fsync'd, renamed, the parent fsync'd (fileio.h); only then are
// older ones removed. A snapshot is hostile input: sizes, hashes and shapes are checked before anything is used.
#pragma once

#include "overwrite.h"
#include "trainer.h"

// What makes two runs the same run: name and value of each thing, compared one by one.
enum { IDENTITY_MAX = 16 };
typedef struct IdentityItem {
    const char *name;
    char value[200];
} IdentityItem;
typedef struct RunIdentity {
    IdentityItem items[IDENTITY_MAX];
    int count;
} RunIdentity;
RunIdentity run_identity(const Trainer *t);

// How the rows of a step were split when a snapshot was made: not part of the identity.
typedef struct RunSplit {
    int64_t rows_per_step; // 0: unknown
    int64_t rows_per_rank; // per_device_train_batch_size x gradient_accumulation_steps
    int64_t ranks;
} RunSplit;
// Of the snapshot that snapshot_resume would take, as far as its manifest tells; rows_per_step 0: there is none.
void snapshot_split(RunSplit *s, const char *output_dir, const char *request);
// The rows of a step of a run that goes on after `before` with rows_per_rank rows on each of `ranks`: with the same
// rows_per_rank they stay what they were, on any number of ranks; otherwise they must come to the same.
int run_rows_per_step(int64_t *rows, const RunSplit *before, int64_t rows_per_rank, int ranks, Err *err);

// Writes the trainer's state. On failure nothing is left behind and older snapshots are as they were.
int snapshot_save(const Trainer *t, const char *output_dir, const RunIdentity *id, Err *err);
// Restores it. A damaged snapshot: EXIT_INPUT, message says what; of another run: EXIT_INPUT, *other (may be NULL) is
// set to true, the message has the differences.
int snapshot_load(Trainer *t, const char *dir, const RunIdentity *id, bool *other, Err *err);

// CONTRACT section 4, "Resume": `request` is "auto", "false" or a path. *from (caller frees) is the snapshot that was
// loaded, or NULL when there is none and the run begins.
int snapshot_resume(Trainer *t, const char *output_dir, const char *request, const RunIdentity *id, char **from,
                    Err *err);

// ---- several ranks: the calls above are rank 0's alone, these are collective ----
// What rank 0 has becomes that of all: parameters, moments, state. (Device choices: autotune.h.)
int snapshot_share(Trainer *t, Err *err);
// 0: all ranks have the bits of rank 0. 1: they do not, and all have the message that names one. -1: they could not
// ask.
int snapshot_compare_ranks(const Trainer *t, Err *err);

extern const OwnFolder snapshot_own; // what of it may be replaced or removed (overwrite.h)

// Removes what exceeds `limit` (at least two stay), oldest first, never the one of best_step (-1: none), and what
// interrupted writes have left. One in which lorac did not write everything stays, with a warning.
void snapshot_prune(const char *output_dir, int64_t limit, int64_t best_step);
void snapshot_sweep(const char *output_dir); // what interrupted writes have left; the caller holds the directory's lock
bool snapshot_is_good(const char *output_dir, int64_t step); // all its files are there, with their hashes
char *snapshot_path(const char *output_dir, int64_t step);   // caller frees
// Steps of the snapshots in output_dir, ascending, by name only. The caller frees them, after an error (a directory
// that cannot be read; then there are none) too.
int snapshot_list(int64_t **steps, size_t *count, const char *output_dir, Err *err);
