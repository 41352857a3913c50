#include "cache_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fileio.h"

static const char suffix[] = ".tokens";

char *cache_file(const char *dir, const char *key) {
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *path = NULL, *file = NULL;
    Err err;
    if (dir)
        path = mem_strdup(dir);
    else if (xdg && xdg[0] == '/')
        path = path_join(xdg, "lorac");
    else if (home && home[0] == '/')
        path = path_join(home, ".cache/lorac");
    if (path && dir_make_parents(path, &err))
        log_warn("no token cache: %s", err.msg);
    else if (path)
        file = mem_printf("%s/%s%s", path, key, suffix);
    mem_free(path);
    return file;
}

void cache_touch(const char *file) {
    utimensat(AT_FDCWD, file, NULL, 0); // a cache that cannot be marked as used is only removed earlier
}

typedef struct CacheEntry {
    char *path;
    int64_t size;
    struct timespec used;
} CacheEntry;

typedef struct CacheList {
    CacheEntry *items;
    size_t count, capacity;
    int64_t bytes;
} CacheList;

static int oldest_first(const void *pa, const void *pb) {
    const CacheEntry *a = pa, *b = pb;
    if (a->used.tv_sec != b->used.tv_sec) return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
    return a->used.tv_nsec < b->used.tv_nsec ? -1 : a->used.tv_nsec > b->used.tv_nsec;
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

// A temporary file of filewrite.c that nobody can be writing any more.
static bool is_left_over(const char *name, const struct stat *st) {
    enum { DAY = 24 * 60 * 60 };
    const char *tmp = strstr(name, ".tokens.tmp-");
    return tmp && st->st_mtim.tv_sec + DAY < time(NULL);
}

static void look_at(CacheList *l, const char *dir, const char *name) {
    char *path = path_join(dir, name);
    struct stat st;
    bool regular = lstat(path, &st) == 0 && S_ISREG(st.st_mode);
    if (regular && is_left_over(name, &st)) unlink(path);
    if (!regular || !ends_with(name, suffix)) {
        mem_free(path);
        return;
    }
    MEM_GROW(l->items, l->capacity, l->count + 1);
    l->items[l->count++] = (CacheEntry){path, st.st_size, st.st_mtim};
    l->bytes += st.st_size;
}

void cache_trim(const char *file, int64_t limit) {
    const char *slash = strrchr(file, '/');
    char *dir = slash ? mem_strndup(file, (size_t)(slash - file)) : mem_strdup(".");
    CacheList l = {0};
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) look_at(&l, dir, e->d_name);
    if (d) closedir(d);
    if (l.count) qsort(l.items, l.count, sizeof *l.items, oldest_first);
    for (size_t i = 0; i < l.count; i++) {
        if (l.bytes > limit && strcmp(l.items[i].path, file) != 0 && unlink(l.items[i].path) == 0)
            l.bytes -= l.items[i].size;
        mem_free(l.items[i].path);
    }
    mem_free(l.items);
    mem_free(dir);
}
