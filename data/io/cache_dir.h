// cache_dir: where token caches lie, and how much of the disk they may take.
//
// $XDG_CACHE_HOME/lorac, else ~/.cache/lorac. After a new cache was written the least recently used ones are removed
// until all together are at most the limit; the new one always stays. A process that uses a removed file goes on: its
// map lives until it ends. Removing the directory by hand is always safe.
#pragma once

#include "overwrite.h"

#define CACHE_LIMIT (INT64_C(20) << 30)

// The file of a key; NULL (with a warning) when there is no place for a cache. dir NULL: the user's cache directory.
// The directory is made for its user alone (0700), as are the files (0600): they hold what the data says.
char *cache_file(const char *dir, const char *key);
OwnCheck cache_own;                 // of its files, which are known by their names: a damaged one is replaced, too
void cache_touch(const char *file); // it was used now
// Removes the oldest token caches next to `file`, and what killed processes have left.
void cache_trim(const char *file, int64_t limit);
