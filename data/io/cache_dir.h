// cache_dir: the directory of token caches and its size limit.
//
// $XDG_CACHE_HOME/lorac, else ~/.cache/lorac. After a cache is written, the least recently used ones are removed until
// the total is within the limit; the new one always stays. A process keeps using a removed file through its map.
// Removing the directory by hand is always safe.
#pragma once

#include "overwrite.h"

#define CACHE_LIMIT (INT64_C(20) << 30)

// The path of a key's cache file; NULL, with a warning, if no directory can be used. dir NULL: the user's cache
// directory. The directory (0700) and its files (0600) are private: they hold text of the data.
char *cache_file(const char *dir, const char *key);
OwnCheck cache_own;                 // recognises the files by their names: a damaged one is replaced too
void cache_touch(const char *file); // sets its time of use to now
// Removes the least recently used token caches next to `file`, and temporaries of killed processes.
void cache_trim(const char *file, int64_t limit);
