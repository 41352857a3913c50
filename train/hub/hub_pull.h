// hub_pull: fetches a model or a data set from the hub into huggingface_hub's cache.
//
// First all blobs, then the links of the snapshot, then the ref: what hub_cache.h finds is complete. Two processes may
// fetch the same; a stopped one is resumed by the same command. Prints what it does on stdout.
#pragma once

#include "hub_listing.h"

typedef struct HubPull {
    const HubName *name;
    HubPatterns patterns;
    bool list_only;  // print the files, fetch nothing
    int64_t retries; // after the first try of a request
    double timeout;  // seconds without a byte after which a connection is lost
} HubPull;
#define HUB_RETRIES "5"
#define HUB_TIMEOUT "30"

int hub_pull(const HubPull *p, Err *err);
// The same with the defaults, for what a config names: a text of hub_name.h that is no path. revision NULL: of the
// text.
int hub_pull_named(const char *text, HubType type, const char *revision, Err *err);
