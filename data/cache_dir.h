// cache_dir: where token caches lie, and how much of the disk they may take.
//
// $XDG_CACHE_HOME/lorac, else ~/.cache/lorac. After a new cache was written the least recently used ones are removed
// until all together are at most the limit; the new one always stays. A process that uses a removed file goes on: its
// map lives until it ends. Removing the directory by hand is always safe.
#pragma once

#include "base.h"

#define CACHE_LIMIT (INT64_C(20) << 30)

// The file of a key; NULL (with a warning) when there is no place for a cache. dir NULL: the user's cache directory.
char *cache_file(const char *dir, const char *key);
void cache_touch(const char *file); // it was used now
// Removes the oldest token caches beside `file`, and what killed processes left behind a day ago.
void cache_trim(const char *file, int64_t limit);
