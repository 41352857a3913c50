// snapshot: a run's state on disk, output_dir/checkpoint-000050/, from which it goes on bit for bit.
//
//   checkpoint-000050/
//     optimizer.safetensors   params, m, v: the adapter's flat buffers, float32
//     device.json             what the device chose by speed (choices_get)
//     adapter/                the same adapter as a PEFT folder, for people (absent while it would do nothing)
//     manifest.json           written last: format version, identity of the run, state, size and hash of each file
//
// Written to checkpoint-000050.tmp-<pid>/, every file fsync'd, renamed, the parent fsync'd (fileio.h); only then are
// older ones removed. A snapshot is hostile input: sizes, hashes and shapes are checked before anything is used.
#pragma once

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

// Writes the trainer's state. On failure nothing is left behind and older snapshots are as they were.
int snapshot_save(const Trainer *t, const char *output_dir, const RunIdentity *id, Err *err);
// Restores it. A damaged snapshot: EXIT_INPUT, message says what; of another run: EXIT_INPUT, *other (may be NULL) is
// set to true, the message has the differences.
int snapshot_load(Trainer *t, const char *dir, const RunIdentity *id, bool *other, Err *err);

// CONTRACT section 4, "Resume": `request` is "auto", "false" or a path. *from (caller frees) is the snapshot that was
// loaded, or NULL when there is none and the run begins.
int snapshot_resume(Trainer *t, const char *output_dir, const char *request, const RunIdentity *id, char **from,
                    Err *err);

// Removes what exceeds `limit` (at least two stay), oldest first, never the one of best_step (-1: none), and what
// interrupted writes have left.
void snapshot_prune(const char *output_dir, int64_t limit, int64_t best_step);
char *snapshot_path(const char *output_dir, int64_t step); // caller frees
// Steps of the snapshots in output_dir, ascending, by name only. Caller frees.
int64_t *snapshot_list(const char *output_dir, size_t *count);
