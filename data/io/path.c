#include "path.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk) {
    return remove(path) == 0 || errno == ENOENT ? 0 : errno;
}

int dir_remove(const char *path, Err *err) {
    enum { OPEN_DIRS = 16 };
    struct stat st;
    if (lstat(path, &st) != 0) {
        if (errno == ENOENT) return 0;
        return err_runtime(err, "%s: cannot be examined: %s", path, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode)) return err_runtime(err, "%s: found no directory there; expected one to remove", path);
    int why = nftw(path, remove_entry, OPEN_DIRS, FTW_DEPTH | FTW_PHYS);
    if (why == 0) return 0;
    return err_runtime(err, "%s: cannot be removed: %s", path, strerror(why > 0 ? why : errno));
}

static int cannot_be_made(const char *path, int why, Err *err) {
    if (why != EEXIST) return err_runtime(err, "%s: cannot be created: %s", path, strerror(why));
    return err_runtime(err, "%s: found %s; expected a folder, or nothing there", path,
                       path_exists(path) ? "a file" : "a broken link");
}

int dir_make_parents(const char *path, Err *err) {
    AUTO_FREE char *partial = mem_strdup(path);
    for (char *p = partial; *p; p++) {
        bool end_of_name = p[0] != '/' && (p[1] == '/' || !p[1]);
        if (!end_of_name) continue;
        char rest = p[1];
        p[1] = 0;
        int why = mkdir(partial, 0777) ? errno : 0;
        if (why && !path_is_dir(partial)) return cannot_be_made(partial, why, err);
        p[1] = rest;
    }
    return 0;
}

bool path_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

bool path_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *path_join(const char *a, const char *b) {
    size_t n = strlen(a);
    if (!n || b[0] == '/') return mem_strdup(b);
    return mem_printf("%s%s%s", a, a[n - 1] == '/' ? "" : "/", b);
}

bool dir_has(const char *dir, const char *name) {
    AUTO_FREE char *path = path_join(dir, name);
    return path_exists(path);
}

char *path_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
}

const char *path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// realpath, in our memory; NULL: nothing is there.
static char *resolve(const char *path) {
    char *resolved = realpath(path, NULL);
    if (!resolved && errno == ENOMEM) mem_exhausted(0);
    char *copy = resolved ? mem_strdup(resolved) : NULL;
    free(resolved); // it comes from libc
    return copy;
}

// Appends a name to the absolute path `whole`, whose first `there` bytes exist. Links of what exists are resolved.
static void append_name(StrBuf *whole, size_t *there, const char *name, size_t n) {
    bool up = n == 2 && memcmp(name, "..", 2) == 0, exists = *there == whole->len;
    if (n == 0 || (n == 1 && *name == '.')) return;
    if (up) {
        while (whole->len > 1 && whole->data[--whole->len] != '/') {
        }
        whole->data[whole->len] = 0;
        *there = whole->len < *there ? whole->len : *there;
        return;
    }
    str_printf(whole, "%s%.*s", whole->len == 1 ? "" : "/", (int)n, name);
    AUTO_FREE char *resolved = exists ? resolve(whole->data) : NULL;
    if (!resolved) return;
    whole->len = 0;
    str_puts(whole, resolved);
    *there = whole->len;
}

char *path_absolute(const char *path) {
    char *absolute = resolve(path), *cwd;
    if (absolute) return absolute;
    StrBuf whole = {0};
    if (path[0] == '/')
        str_puts(&whole, "/");
    else if ((cwd = resolve(".")))
        str_puts(&whole, cwd), mem_free(cwd);
    else
        return mem_strdup(path); // the directory was removed
    size_t there = whole.len;
    for (size_t n; *path; path += n + (path[n] == '/')) append_name(&whole, &there, path, n = strcspn(path, "/"));
    return whole.data;
}

char *path_absolute_name(const char *path) {
    struct stat st;
    if (lstat(path, &st) || !S_ISLNK(st.st_mode) || path_is_dir(path)) return path_absolute(path);
    AUTO_FREE char *parent = path_parent(path), *folder = path_absolute(parent);
    return path_join(folder, path_name(path));
}

int dir_list(NameList *names, const char *path, Err *err) {
    DIR *dir = opendir(path);
    if (!dir) return errno == ENOENT ? 0 : err_runtime(err, "%s: cannot be listed: %s", path, strerror(errno));
    for (struct dirent *e; errno = 0, (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        name_list_add(names, mem_strdup(e->d_name));
    }
    int why = errno;
    closedir(dir);
    return why ? err_runtime(err, "%s: cannot be listed: %s", path, strerror(why)) : 0;
}

void name_list_add(NameList *names, char *name) {
    MEM_GROW(names->items, names->capacity, names->count + 1);
    names->items[names->count++] = name;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void name_list_sort(NameList *names, size_t first) {
    if (names->count > first) qsort(names->items + first, names->count - first, sizeof *names->items, by_bytes);
}

void name_list_clear(NameList *names) {
    for (size_t i = 0; i < names->count; i++) mem_free(names->items[i]);
    mem_free(names->items);
    *names = (NameList){0};
}

// ---- patterns ----

typedef struct Expansion {
    NameList *names;
    size_t first; // of this pattern
} Expansion;

static int add_name(Expansion *x, const char *name, Err *err) {
    if (x->names->count - x->first == PATTERN_MAX_FILES)
        return err_input(err, "%s: found a pattern for more than %d files; expected at most that", name,
                         PATTERN_MAX_FILES);
    name_list_add(x->names, mem_strdup(name));
    return 0;
}

typedef struct Brace {
    size_t begin, end; // of "{A..B}" in the text
    long from, to;
    int digits;
} Brace;

// Reads 1 to 9 digits; returns their count, 0 for anything else.
static size_t read_number(const char *p, long *out) {
    size_t n = strspn(p, "0123456789");
    *out = n && n <= 9 ? strtol(p, NULL, 10) : 0;
    return n <= 9 ? n : 0;
}

// The first {A..B} with A <= B; braces around anything else are part of the name.
static bool find_brace(Brace *b, const char *text) {
    for (const char *open = text; (open = strchr(open, '{')); open++) {
        size_t n = read_number(open + 1, &b->from), m;
        const char *p = open + 1 + n;
        if (!n || strncmp(p, "..", 2) != 0 || !(m = read_number(p + 2, &b->to)) || p[2 + m] != '}') continue;
        if (b->from > b->to) continue;
        b->begin = (size_t)(open - text);
        b->end = (size_t)(p - text) + 2 + m + 1;
        b->digits = (int)n;
        return true;
    }
    return false;
}

// Existing names that match; how many, or -1.
static int add_matches(Expansion *x, const char *pattern, Err *err) {
    glob_t found;
    int rc = glob(pattern, GLOB_ERR, NULL, &found); // GLOB_ERR: an unreadable folder may hold matches
    if (rc == GLOB_NOMATCH) return 0;
    if (rc) return err_runtime(err, "%s: a folder of the pattern cannot be read: %s", pattern, strerror(errno));
    for (size_t i = 0; i < found.gl_pathc && !rc; i++) rc = add_name(x, found.gl_pathv[i], err);
    int count = rc ? -1 : (int)found.gl_pathc;
    globfree(&found);
    return count;
}

// The last `n` names of a path.
static const char *last_names(const char *path, size_t n) {
    const char *p = path + strlen(path);
    while (p > path && (p[-1] != '/' || --n)) p--;
    return p;
}

// Not hidden files in a walk that match; folders that are links are not entered.
static int add_walked(Expansion *x, FTS *walk, const char *names, Err *err) {
    size_t depth = 1;
    for (const char *p = names; *p; p++) depth += *p == '/';
    for (FTSENT *e; errno = 0, (e = fts_read(walk));) {
        if (e->fts_info == FTS_ERR || e->fts_info == FTS_DNR)
            return err_runtime(err, "%s: cannot be listed: %s", e->fts_path, strerror(e->fts_errno));
        if (e->fts_level > 0 && e->fts_name[0] == '.') fts_set(walk, e, FTS_SKIP);
        if (e->fts_level < (int)depth || (e->fts_info != FTS_F && e->fts_info != FTS_SL)) continue;
        if (fnmatch(names, last_names(e->fts_path, depth), FNM_PATHNAME | FNM_PERIOD)) continue;
        if (add_name(x, strncmp(e->fts_path, "./", 2) == 0 ? e->fts_path + 2 : e->fts_path, err)) return -1;
    }
    return errno ? err_runtime(err, "%s: cannot be listed: %s", walk->fts_path, strerror(errno)) : 0;
}

// "FOLDER/**/names", `stars` in it: how many, or -1.
static int add_deep_matches(Expansion *x, const char *pattern, const char *stars, Err *err) {
    size_t before = x->names->count;
    AUTO_FREE char *folder = stars == pattern ? mem_strdup("./") : mem_strndup(pattern, (size_t)(stars - pattern));
    if (!path_is_dir(folder)) return 0;
    FTS *walk = fts_open((char *[]){folder, NULL}, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
    if (!walk) return err_runtime(err, "%s: cannot be listed: %s", folder, strerror(errno));
    int rc = add_walked(x, walk, stars + 3, err);
    fts_close(walk);
    name_list_sort(x->names, before);
    return rc ? -1 : (int)(x->names->count - before);
}

static int expand_glob(Expansion *x, const char *pattern, Err *err) {
    if (path_exists(pattern) || !strpbrk(pattern, "*?[")) return add_name(x, pattern, err);
    const char *stars = strncmp(pattern, "**/", 3) == 0 ? pattern : strstr(pattern, "/**/");
    if (stars && stars != pattern) stars++;
    int count = stars ? add_deep_matches(x, pattern, stars, err) : add_matches(x, pattern, err);
    if (count) return count < 0 ? -1 : 0;
    return err_input(err, "%s: found no file of that pattern; expected at least one", pattern);
}

static int expand(Expansion *x, const char *pattern, Err *err) {
    Brace b;
    int rc = 0;
    if (path_exists(pattern) || !find_brace(&b, pattern)) return expand_glob(x, pattern, err);
    for (long k = b.from; k <= b.to && !rc; k++) {
        AUTO_FREE char *name = mem_printf("%.*s%0*ld%s", (int)b.begin, pattern, b.digits, k, pattern + b.end);
        rc = expand(x, name, err);
    }
    return rc;
}

int file_pattern_expand(NameList *names, const char *pattern, Err *err) {
    return expand(&(Expansion){names, names->count}, pattern, err);
}
