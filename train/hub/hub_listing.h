// hub_listing: the files of a repository at one commit, read from the hub's API as hostile input; which of them lorac
// fetches.
#pragma once

#include "hub_name.h"

enum { HUB_HASH_DIGITS = 64, HUB_COMMIT_DIGITS = 40, HUB_MAX_FILES = 200000 };

typedef struct HubFile {
    char *path; // hub_path_is_valid, once it is selected
    int64_t size;
    char hash[HUB_HASH_DIGITS +
              1]; // hex: SHA-256 of the file, or Git's SHA-1 of it as a blob (40 digits); the blob's name
    bool selected;
} HubFile;

typedef struct HubListing { // init with {0}
    char commit[HUB_COMMIT_DIGITS + 1];
    HubFile *files;
    size_t count, capacity;
} HubListing;

// GET /api/models/OWNER/NAME/revision/REVISION: sets commit. `name`: of the text, for messages.
int hub_listing_read_commit(HubListing *l, const char *text, size_t len, const char *name, Err *err);
// GET /api/models/OWNER/NAME/tree/COMMIT?recursive=true: adds the files of one page.
int hub_listing_add_page(HubListing *l, const char *text, size_t len, const char *name, Err *err);
void hub_listing_clear(HubListing *l);

typedef struct HubPatterns {
    const char *const *include, *const *exclude; // of fnmatch, '*' matches '/' too; a folder with '/' at its end
    size_t n_include, n_exclude;
} HubPatterns;

// Sets `selected`. Without include: of a model what lorac reads (configuration, tokenizer, model.safetensors or its
// shards, an adapter, or else the one GGUF file); of a data set its data files. With n->path only that file, with
// n->choice of a model the GGUF files whose name holds it. Refused: none, several GGUF files, names that are not
// hub_path_is_valid, one name twice.
int hub_select(HubListing *l, const HubName *n, const HubPatterns *p, Err *err);

// "model-00001-of-00003.gguf": parts of one model have the same text before the number. 0: not a part.
size_t hub_part_stem(const char *path);
