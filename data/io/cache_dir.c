#include "cache_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileio.h"
#include "path.h"
#include "temporary.h"

static const char suffix[] = ".tokens";
enum { KEY_DIGITS = 32 };

static int make_dir(const char *path, Err *err) {
    AUTO_FREE char *parent = path_parent(path);
    if (dir_make_parents(parent, err)) return -1;
    if (mkdir(path, 0700) == 0 || path_is_dir(path)) return 0;
    return err_runtime(err, "%s: cannot be created: %s", path, strerror(errno));
}

char *cache_file(const char *dir, const char *key) {
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    AUTO_FREE char *path = NULL;
    Err err;
    if (dir)
        path = mem_strdup(dir);
    else if (xdg && xdg[0] == '/')
        path = path_join(xdg, "lorac");
    else if (home && home[0] == '/')
        path = path_join(home, ".cache/lorac");
    if (!path) return NULL;
    if (!make_dir(path, &err)) return mem_printf("%s/%s%s", path, key, suffix);
    log_warn("no token cache: %s", err.msg);
    return NULL;
}

void cache_touch(const char *file) {
    utimensat(AT_FDCWD, file, NULL, 0); // if it fails, the cache is only removed earlier
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

static bool is_cache(const char *name, const void *user) {
    return strspn(name, "0123456789abcdef") == KEY_DIGITS && strcmp(name + KEY_DIGITS, suffix) == 0;
}

int cache_own(const char *path, Err *err) {
    return is_cache(path_name(path), NULL) ? 0 : overwrite_refuse(path, "a token cache", err);
}

static void look_at(CacheList *l, const char *dir, const char *name) {
    if (!is_cache(name, NULL)) return;
    char *path = path_join(dir, name);
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
        mem_free(path);
        return;
    }
    MEM_GROW(l->items, l->capacity, l->count + 1);
    l->items[l->count++] = (CacheEntry){path, st.st_size, st.st_mtim};
    l->bytes += st.st_size;
}

void cache_trim(const char *file, int64_t limit) {
    AUTO_FREE char *dir = path_parent(file);
    AUTO_NAMES NameList names = {0};
    CacheList l = {0};
    temporary_sweep(&(Sweep){.dir = dir, .wants = is_cache});
    dir_list(&names, dir, NULL); // what cannot be listed stays
    for (size_t i = 0; i < names.count; i++) look_at(&l, dir, names.items[i]);
    if (l.count) qsort(l.items, l.count, sizeof *l.items, oldest_first);
    for (size_t i = 0; i < l.count; i++) {
        if (l.bytes > limit && strcmp(l.items[i].path, file) != 0 && unlink(l.items[i].path) == 0)
            l.bytes -= l.items[i].size;
        mem_free(l.items[i].path);
    }
    mem_free(l.items);
}
