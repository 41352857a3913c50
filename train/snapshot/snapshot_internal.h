// snapshot_internal: the manifest of a snapshot, for the files of this room.
#pragma once

#include "snapshot.h"

enum { SNAPSHOT_FORMAT = 3, MANIFEST_MAX_FILES = 32, MANIFEST_MAX_BYTES = 1 << 20, MAX_CHOICES_BYTES = 4 << 20 };

typedef struct ManifestFile {
    char name[128]; // relative to the snapshot, '/' between parts
    int64_t size;
    char hash[33]; // XXH3-128
} ManifestFile;

typedef struct Manifest {
    bool is_of_another_version; // complete, in a format that this version does not read
    TrainerState state;
    SnapshotSplit split;
    RunIdentity identity;
    ManifestFile files[MANIFEST_MAX_FILES];
    int file_count;
} Manifest;

// Hashes all files of dir.
int manifest_write(const char *dir, const TrainerState *s, const SnapshotSplit *split, const RunIdentity *id, Err *err);
// Reads and checks form, sizes and (where `hashes`) contents of everything listed. *m belongs to the caller.
int manifest_read(Manifest *m, const char *dir, bool hashes, Err *err);
