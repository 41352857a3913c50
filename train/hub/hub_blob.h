// hub_blob: one file of a repository into the blobs of the hub's cache, complete or not at all.
//
// It grows as blobs/HASH.incomplete, which a later try and a later process resume, and gets its name when its size and
// hash are those of the listing. A lock (flock on .locks/FOLDER/HASH.lock, as in huggingface_hub) keeps other processes
// away until then.
#pragma once

#include "hub_listing.h"
#include "hub_request.h"

typedef struct HubBlob {
    const HubFile *file;
    const char *folder;     // of the repository in the cache (hub_folder)
    const char *url, *what; // what: begins messages
} HubBlob;

// True if it is there already.
bool hub_blob_exists(const char *folder, const HubFile *f);
// *fetched: bytes that came over the network; 0: another process was quicker.
int hub_blob_get(HubClient *c, const HubBlob *b, int64_t *fetched, Err *err);
