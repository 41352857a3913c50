#include "cache_dir.h"

#include <dirent.h>
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

// Restricts an existing directory to its owner, except one with setgid or sticky: that is shared on purpose.
static void make_private(const char *path) {
    struct stat st;
    if (stat(path, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & (S_ISGID | S_ISVTX)) && st.st_mode & 077)
        chmod(path, 0700); // best effort: the files are private themselves
}

static int make_dir(const char *path, Err *err) {
    const char *slash = strrchr(path, '/');
    char *parent = slash && slash > path ? mem_strndup(path, (size_t)(slash - path)) : NULL;
    int rc = parent ? dir_make_parents(parent, err) : 0;
    if (!rc && mkdir(path, 0700) != 0) {
        int why = errno;
        if (path_is_dir(path))
            make_private(path);
        else
            rc = err_runtime(err, "%s: cannot be created: %s", path, strerror(why));
    }
    mem_free(parent);
    return rc;
}

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
    if (path && make_dir(path, &err))
        log_warn("no token cache: %s", err.msg);
    else if (path)
        file = mem_printf("%s/%s%s", path, key, suffix);
    mem_free(path);
    return file;
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
    (void)user;
    return strspn(name, "0123456789abcdef") == KEY_DIGITS && strcmp(name + KEY_DIGITS, suffix) == 0;
}

int cache_own(const char *path, Err *err) {
    const char *slash = strrchr(path, '/');
    return is_cache(slash ? slash + 1 : path, NULL) ? 0 : overwrite_refuse(path, "a token cache", err);
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
    const char *slash = strrchr(file, '/');
    char *dir = slash ? mem_strndup(file, (size_t)(slash - file)) : mem_strdup(".");
    CacheList l = {0};
    temporary_sweep(&(Sweep){.dir = dir, .wants = is_cache});
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
