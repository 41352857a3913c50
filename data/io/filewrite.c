// filewrite: files and directories that appear complete or not at all (the writing half of fileio.h).
//
// Order of a commit: all bytes written, fsync of the file, rename, fsync of the directory. A failure before the rename
// removes the temporary and leaves the existing file unchanged.
#include "fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "path.h"
#include "temporary.h"

enum { WRITE_BUFFER = 1 << 16 };

struct FileWriter {
    char *path;              // as the caller wrote it, for messages
    char *target, *tmp_path; // absolute; links followed
    OwnCheck *own;
    int fd;
    bool failed;
    Err first_error;
    size_t pending; // bytes waiting in buffer
    char buffer[WRITE_BUFFER];
};

static size_t without_slashes(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    return n;
}

// The absolute path with links resolved. "out/" means "out": the temporary must be next to it, not in it.
static char *target_of(const char *path) {
    char *target = path_absolute(path);
    target[without_slashes(target)] = 0;
    return target;
}

static int fsync_path(const char *path, Err *err) {
    int fd = TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0) return err_runtime(err, "%s: cannot be opened to sync it: %s", path, strerror(errno));
    int rc = TEMP_FAILURE_RETRY(fsync(fd));
    int why = errno;
    close(fd);
    // EINVAL: a file system without fsync for directories (some FUSE ones); nothing more can be done.
    if (rc && why != EINVAL) return err_runtime(err, "%s: cannot be synced: %s", path, strerror(why));
    return 0;
}

static int fsync_parent(const char *path, Err *err) {
    size_t n = without_slashes(path);
    while (n > 0 && path[n - 1] != '/') n--;
    char *parent = n ? mem_strndup(path, n) : mem_strdup(".");
    int rc = fsync_path(parent, err);
    mem_free(parent);
    return rc;
}

// ---- temporaries ----

static bool is_name(const char *stem, const void *name) {
    return strcmp(stem, name) == 0;
}

// Removes what killed processes left of earlier writes of the same target.
static void sweep_for(const char *target, const OwnFolder *own) {
    const char *slash = strrchr(target, '/');
    char *dir = slash ? mem_strndup(target, (size_t)(slash - target) + 1) : mem_strdup(".");
    temporary_sweep(
        &(Sweep){.dir = dir, .wants = is_name, .user = slash ? slash + 1 : target, .names = own ? own->names : NULL});
    mem_free(dir);
}

enum { FOLDER = -1 }; // in place of a mode

static int open_new(const char *path, int mode) {
    if (mode != FOLDER)
        return TEMP_FAILURE_RETRY(open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)mode));
    if (TEMP_FAILURE_RETRY(mkdir(path, 0777)) != 0) return -1;
    int fd = TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)), why = errno;
    if (fd < 0) rmdir(path);
    errno = why;
    return fd;
}

// A new temporary for target, held; -1 with errno.
static int create_temporary(char **tmp_path, const char *target, int mode) {
    enum { TRIES = 100 };
    for (int i = 0; i < TRIES; i++) {
        char *tmp = temporary_name(target, "tmp");
        int fd = open_new(tmp, mode), why = errno;
        if (fd >= 0 && temporary_hold(fd, tmp) == 0) {
            *tmp_path = tmp;
            return fd;
        }
        if (fd >= 0) { // a sweep may have taken it; the random name is ours: retry
            (void)remove(tmp);
            close(fd);
        }
        mem_free(tmp);
        if (fd < 0 && why != EEXIST) {
            errno = why;
            return -1;
        }
    }
    errno = EEXIST;
    return -1;
}

// Renames without replacing an existing file.
static int rename_new(const char *from, const char *to) {
    if (TEMP_FAILURE_RETRY(renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE)) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    struct stat st;
    if (lstat(to, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    return TEMP_FAILURE_RETRY(rename(from, to));
}

// ---- files ----

static int create(FileWriter **out, const char *path, OwnCheck *own, int mode, Err *err) {
    *out = NULL;
    char *target = target_of(path), *tmp_path;
    sweep_for(target, NULL);
    int fd = create_temporary(&tmp_path, target, mode);
    if (fd < 0) {
        err_runtime(err, "%s: cannot be created: %s", path, strerror(errno));
        mem_free(target);
        return -1;
    }
    FileWriter *w = mem_alloc(1, sizeof *w);
    w->path = mem_strdup(path);
    w->target = target;
    w->tmp_path = tmp_path;
    w->own = own;
    w->fd = fd;
    w->failed = false;
    w->pending = 0;
    *out = w;
    return 0;
}

int file_create(FileWriter **w, const char *path, OwnCheck *own, Err *err) {
    *w = NULL;
    return overwrite_file(path, own, NULL, err) ? -1 : create(w, path, own, 0666, err);
}

int file_create_private(FileWriter **w, const char *path, OwnCheck *own, Err *err) {
    *w = NULL;
    return overwrite_file(path, own, NULL, err) ? -1 : create(w, path, own, 0600, err);
}

static int remember_failure(FileWriter *w, const char *what) {
    w->failed = true;
    return err_runtime(&w->first_error, "%s: cannot be %s: %s", w->path, what, strerror(errno));
}

static int write_fully(FileWriter *w, const char *p, size_t size) {
    while (size) {
        ssize_t n = TEMP_FAILURE_RETRY(write(w->fd, p, size));
        if (n == 0) errno = ENOSPC; // no progress without an error: treated as a full disk
        if (n <= 0) return remember_failure(w, "written");
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

static int flush_pending(FileWriter *w) {
    size_t n = w->pending;
    w->pending = 0;
    return write_fully(w, w->buffer, n);
}

static int give_error(const FileWriter *w, Err *err) {
    if (err) *err = w->first_error;
    return -1;
}

int file_write(FileWriter *w, const void *data, size_t size, Err *err) {
    if (w->failed) return give_error(w, err);
    if (size > sizeof w->buffer - w->pending && flush_pending(w)) return give_error(w, err);
    if (size >= sizeof w->buffer) return write_fully(w, data, size) ? give_error(w, err) : 0;
    if (size) memcpy(w->buffer + w->pending, data, size);
    w->pending += size;
    return 0;
}

static void writer_free(FileWriter *w) {
    mem_free(w->path);
    mem_free(w->target);
    mem_free(w->tmp_path);
    mem_free(w);
}

static int sync_file(FileWriter *w) {
    if (w->failed || flush_pending(w)) return -1;
    return TEMP_FAILURE_RETRY(fsync(w->fd)) ? remember_failure(w, "synced to disk") : 0;
}

// Checks the target again: hours may have passed since file_create.
static int put_file_in_place(FileWriter *w) {
    struct stat st;
    if (lstat(w->target, &st) != 0)
        return rename_new(w->tmp_path, w->target) ? remember_failure(w, "renamed to its final name") : 0;
    w->failed = overwrite_file(w->target, w->own, NULL, &w->first_error) != 0;
    if (w->failed) return -1;
    return TEMP_FAILURE_RETRY(rename(w->tmp_path, w->target)) ? remember_failure(w, "renamed to its final name") : 0;
}

// Closes fd last: it holds the lock of the temporary. Network file systems report write errors here.
static int finish_file(FileWriter *w) {
    if (sync_file(w) || put_file_in_place(w)) return -1;
    int fd = w->fd;
    w->fd = -1;
    return close(fd) != 0 && errno != EINTR ? remember_failure(w, "closed") : 0;
}

int file_commit(FileWriter *w, Err *err) {
    if (finish_file(w)) {
        give_error(w, err);
        file_abandon(w);
        return -1;
    }
    int rc = fsync_parent(w->target, err);
    writer_free(w);
    return rc;
}

void file_abandon(FileWriter *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    unlink(w->tmp_path);
    writer_free(w);
}

int file_write_whole(const char *path, const void *data, size_t size, OwnCheck *own, Err *err) {
    FileWriter *w;
    if (file_create(&w, path, own, err)) return -1;
    file_write(w, data, size, NULL); // file_commit returns its error
    return file_commit(w, err);
}

int dir_probe(const char *dir, Err *err) {
    FileWriter *w;
    char *path = path_join(dir, ".probe");
    int rc = create(&w, path, NULL, 0600, err);
    if (!rc) {
        file_write(w, "probe\n", 6, NULL);
        if (sync_file(w)) rc = give_error(w, err);
        file_abandon(w);
    }
    mem_free(path);
    return rc;
}

// ---- directories ----

struct DirWriter {
    char *path; // as the caller wrote it
    char *target, *tmp_path;
    const OwnFolder *own;
    int fd; // of the temporary, for its lock
};

static void dir_writer_free(DirWriter *w) {
    if (w->fd >= 0) close(w->fd);
    mem_free(w->path);
    mem_free(w->target);
    mem_free(w->tmp_path);
    mem_free(w);
}

int dir_create(DirWriter **out, const char *path, const OwnFolder *own, Err *err) {
    *out = NULL;
    if (overwrite_folder(path, own, NULL, err)) return -1;
    char *target = target_of(path), *tmp;
    sweep_for(target, own);
    int fd = create_temporary(&tmp, target, FOLDER);
    if (fd < 0) {
        err_runtime(err, "%s: cannot be created: %s", path, strerror(errno));
        mem_free(target);
        return -1;
    }
    DirWriter *w = *out = mem_alloc(1, sizeof *w);
    *w = (DirWriter){.path = mem_strdup(path), .target = target, .tmp_path = tmp, .own = own, .fd = fd};
    return 0;
}

const char *dir_path(const DirWriter *w) {
    return w->tmp_path;
}

void dir_abandon(DirWriter *w) {
    if (!w) return;
    dir_remove(w->tmp_path, NULL);
    dir_writer_free(w);
}

static int rename_failed(const char *path, Err *err) {
    return err_runtime(err, "%s: cannot be put in place: %s", path, strerror(errno));
}

// For file systems without RENAME_EXCHANGE: the target is missing for a moment.
static int replace_by_moving_aside(const DirWriter *w, const char *aside, Err *err) {
    if (TEMP_FAILURE_RETRY(rename(w->target, aside)) != 0) return rename_failed(w->path, err);
    if (TEMP_FAILURE_RETRY(rename(w->tmp_path, w->target)) == 0) return 0;
    rename_failed(w->path, err);
    if (rename(aside, w->target) != 0) err_context(err, "the former directory is now %s", aside);
    return -1;
}

// Moves the new folder to its final name; *old: the path of the former one, NULL: none.
static int replace_dir(const DirWriter *w, char **old, Err *err) {
    struct stat st;
    *old = NULL;
    if (lstat(w->target, &st) != 0) return rename_new(w->tmp_path, w->target) == 0 ? 0 : rename_failed(w->path, err);
    if (overwrite_folder(w->target, w->own, NULL, err)) return -1;
    if (TEMP_FAILURE_RETRY(renameat2(AT_FDCWD, w->tmp_path, AT_FDCWD, w->target, RENAME_EXCHANGE)) == 0) {
        *old = mem_strdup(w->tmp_path);
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) return rename_failed(w->path, err);
    char *aside = temporary_name(w->target, "old");
    int rc = replace_by_moving_aside(w, aside, err);
    if (!rc) *old = mem_strdup(aside);
    mem_free(aside);
    return rc;
}

// If a foreign file was added to the old folder in the meantime, the folder is kept, under a name that no sweep
// removes.
static int remove_old(const DirWriter *w, const char *old, Err *err) {
    char *foreign = NULL;
    int rc = folder_remove_known(old, w->own->names, &foreign);
    if (rc < 0) return err_runtime(err, "%s: cannot be removed: %s", old, strerror(errno));
    if (rc > 0) {
        char *kept = temporary_name(w->target, "old");
        if (rename(old, kept) == 0)
            log_warn("%s: held %s, which lorac did not write; it is kept as %s", w->path, foreign, kept);
        mem_free(kept);
    }
    mem_free(foreign);
    return 0;
}

int dir_commit(DirWriter *w, Err *err) {
    char *old = NULL;
    int rc = fsync_path(w->tmp_path, err);
    if (!rc) rc = replace_dir(w, &old, err);
    if (rc) {
        dir_abandon(w);
        return -1;
    }
    rc = fsync_parent(w->target, err);
    if (old && remove_old(w, old, rc ? NULL : err)) rc = -1;
    mem_free(old);
    dir_writer_free(w);
    return rc;
}
