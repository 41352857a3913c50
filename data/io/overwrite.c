#include "overwrite.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileio.h"
#include "path.h"
#include "temporary.h"

enum { MAX_DEPTH = 2 }; // of the folders that lorac writes

int overwrite_refuse(const char *path, const char *expected, Err *err) {
    return err_input(err, "%s: found what lorac did not write; expected %s, or nothing there", path, expected);
}

// ---- inputs ----

static void add_id(InputSet *s, const struct stat *st) {
    MEM_GROW(s->items, s->capacity, s->count + 1);
    s->items[s->count++] = (InputId){st->st_dev, st->st_ino};
}

static void add_files_in(InputSet *s, const char *path) {
    AUTO_NAMES NameList names = {0};
    dir_list(&names, path, NULL);
    for (size_t i = 0; i < names.count; i++) {
        AUTO_FREE char *file = path_join(path, names.items[i]);
        struct stat to, link;
        if (stat(file, &to) != 0 || !S_ISREG(to.st_mode) || lstat(file, &link) != 0) continue;
        add_id(s, &to);
        add_id(s, &link);
    }
}

void input_set_add(InputSet *s, const char *path) {
    struct stat to, link;
    if (!path || stat(path, &to) != 0) return;
    add_id(s, &to);
    if (lstat(path, &link) == 0) add_id(s, &link);
    if (S_ISDIR(to.st_mode)) add_files_in(s, path);
}

void input_set_clear(InputSet *s) {
    mem_free(s->items);
    *s = (InputSet){0};
}

static bool has_id(const InputSet *s, const struct stat *st) {
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].dev == st->st_dev && s->items[i].ino == st->st_ino) return true;
    return false;
}

static int no_input(const char *path, const InputSet *s, int depth, Err *err) {
    struct stat to, link;
    if (lstat(path, &link) != 0) return 0;
    bool is_input = has_id(s, &link), leads = stat(path, &to) == 0;
    if (is_input || (leads && has_id(s, &to)))
        return err_input(err, "%s: is an input of this command; expected another place to write", path);
    AUTO_NAMES NameList names = {0};
    if (leads && S_ISDIR(to.st_mode) && depth > 0) dir_list(&names, path, NULL);
    for (size_t i = 0; i < names.count; i++) {
        AUTO_FREE char *inner = path_join(path, names.items[i]);
        if (no_input(inner, s, depth - 1, err)) return -1;
    }
    return 0;
}

int overwrite_no_input(const char *path, const InputSet *inputs, Err *err) {
    return inputs ? no_input(path, inputs, MAX_DEPTH, err) : 0;
}

// ---- files ----

int overwrite_file(const char *path, OwnCheck *own, const InputSet *inputs, Err *err) {
    struct stat st;
    size_t n = strlen(path);
    if (!n || path[n - 1] == '/') // lstat("F/") fails for a file F, which a writer would replace
        return err_input(err, "\"%s\": names %s; expected the name of a file", path, n ? "a folder" : "nothing");
    if (lstat(path, &st) != 0) return 0; // the writer reports what prevents it
    if (overwrite_no_input(path, inputs, err)) return -1;
    if (stat(path, &st) != 0) return err_input(err, "%s: found a broken link; expected a file or nothing", path);
    // Renaming over a device or FIFO would replace it (think of /dev/null).
    if (!S_ISREG(st.st_mode))
        return err_runtime(err, "%s: found %s; expected a file or nothing to be there", path,
                           S_ISDIR(st.st_mode) ? "a directory" : "a pipe, socket or device");
    return own ? own(path, err) : err_input(err, "%s: already exists; expected a new name", path);
}

// ---- folders ----

// Whether `name` (of a temporary: the name that it is for) in the subfolder `below` is one of `names`.
static bool is_known(const char *below, const char *name, bool is_dir, const char *const *names) {
    size_t stem = is_dir ? 0 : temporary_stem(name), n = stem ? stem : strlen(name);
    AUTO_FREE char *full = mem_printf("%s%.*s%s", below, (int)n, name, is_dir ? "/" : "");
    while (*names && strcmp(full, *names) != 0) names++;
    return *names != NULL;
}

// A walk over a folder that holds, or should hold, only `names`; `below`: its path in them.
typedef struct FolderWalk {
    const char *const *names;
    bool remove;
    char **foreign;
    Err *err;
} FolderWalk;

static int walk_folder(const FolderWalk *w, const char *path, const char *below);

static int cannot_be_removed(const FolderWalk *w, const char *path) {
    return err_runtime(w->err, "%s: cannot be removed: %s", path, strerror(errno));
}

static int walk_entry(const FolderWalk *w, const char *path, const char *below, const char *name) {
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : err_runtime(w->err, "%s: cannot be examined: %s", path, strerror(errno));
    bool is_dir = S_ISDIR(st.st_mode);
    if ((!is_dir && !S_ISREG(st.st_mode)) || !is_known(below, name, is_dir, w->names)) {
        if (w->foreign) *w->foreign = mem_printf("%s%s", below, name);
        return 1;
    }
    if (!is_dir) return w->remove && unlink(path) ? cannot_be_removed(w, path) : 0;
    AUTO_FREE char *inner = mem_printf("%s%s/", below, name);
    return walk_folder(w, path, inner);
}

static int walk_folder(const FolderWalk *w, const char *path, const char *below) {
    AUTO_NAMES NameList names = {0};
    if (dir_list(&names, path, w->err)) return -1;
    for (size_t i = 0; i < names.count; i++) {
        AUTO_FREE char *inner = path_join(path, names.items[i]);
        int rc = walk_entry(w, inner, below, names.items[i]);
        if (rc) return rc;
    }
    return w->remove && rmdir(path) ? cannot_be_removed(w, path) : 0;
}

int folder_remove_known(const char *path, const char *const *names, char **foreign, Err *err) {
    int rc = walk_folder(&(FolderWalk){names, false, foreign, err}, path, "");
    return rc ? rc : walk_folder(&(FolderWalk){names, true, foreign, err}, path, "");
}

static int check_folder(const char *path, const OwnFolder *own, Err *err) {
    AUTO_FREE char *foreign = NULL;
    static const char *const nothing[] = {NULL};
    if (walk_folder(&(FolderWalk){.names = nothing}, path, "") == 0) return 0;
    int rc = walk_folder(&(FolderWalk){own->names, false, &foreign, err}, path, "");
    if (rc > 0)
        err_input(err, "%s: holds %s, which lorac did not write; expected a folder that lorac wrote, or nothing there",
                  path, foreign);
    return rc ? -1 : own->check(path, err);
}

// Replacing a folder removes the old one: a shell whose working directory it is would be left in a removed folder.
static bool is_working_directory(const struct stat *st) {
    struct stat here;
    return stat(".", &here) == 0 && here.st_dev == st->st_dev && here.st_ino == st->st_ino;
}

int overwrite_folder(const char *path, const OwnFolder *own, const InputSet *inputs, Err *err) {
    struct stat st;
    if (lstat(path, &st) != 0) return 0;
    if (stat(path, &st) != 0) return err_input(err, "%s: found a broken link; expected a folder or nothing", path);
    if (is_working_directory(&st))
        return err_input(err, "%s: is the working directory, which is not replaced; expected another folder", path);
    if (overwrite_no_input(path, inputs, err)) return -1;
    if (!S_ISDIR(st.st_mode))
        return err_runtime(err, "%s: found a file; expected a directory or nothing to be there", path);
    if (!own) return err_input(err, "%s: already exists; expected a new name", path);
    return check_folder(path, own, err);
}
