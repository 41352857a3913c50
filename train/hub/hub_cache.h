// hub_cache: snapshots in huggingface_hub's cache: found without any network, and written.
//
//   models--owner--name/refs/main                a commit
//   models--owner--name/snapshots/COMMIT/FILE -> ../../blobs/HASH
#pragma once

#include "hub_listing.h"
#include "path.h"

bool hub_is_name(const char *text, HubType type); // of that type, and no existing path

// Replaces a name of hub_name.h that is no existing path by what it names in the cache: the folder of a snapshot, its
// one GGUF file (of several the one that n->choice names), or the file n->path. revision NULL: that of the name, else
// "main". Without such a snapshot *path stays. Refused: a choice among several files that is missing.
int hub_find_model(char **path, const char *revision, Err *err);

// The data files of a snapshot, sorted, absolute: of the name's path that one, else of its choice or `split` all.
// *found false: the text is an existing path or no name, or there is no such snapshot. Refused: a split without files,
// or whose files are of several kinds or folders. The caller frees with name_list_clear, after a failure too.
int hub_find_data(NameList *files, bool *found, const char *text, const char *split, Err *err);

// The commit of a folder ".../models--owner--name/snapshots/COMMIT", unless it is that of main; NULL: none. The caller
// frees.
char *hub_revision_of(const char *folder);

// ", nor in the hub's cache; \"lorac pull owner/name\" fetches it" for a text that is a name and no path, else "". The
// caller frees.
char *hub_hint(const char *text, HubType type);

// Makes the selected files of l, whose blobs are there, visible: their links, then the ref of `revision`.
int hub_snapshot_install(const char *folder, const HubListing *l, const char *revision, Err *err);
