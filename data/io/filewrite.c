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

// A file or folder while it is written, under a temporary name.
typedef struct Draft {
    char *path;              // as the caller wrote it, for messages
    char *target, *tmp_path; // absolute; links followed
    int fd;                  // of the temporary: holds its lock
} Draft;

struct FileWriter {
    Draft d;
    OwnCheck *own;
    bool failed;
    Err first_error;
    size_t pending; // bytes waiting in buffer
    char buffer[WRITE_BUFFER];
};

struct DirWriter {
    Draft d;
    const OwnFolder *own;
};

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
    AUTO_FREE char *parent = path_parent(path);
    return fsync_path(parent, err);
}

// ---- temporaries ----

static bool is_name(const char *stem, const void *name) { return strcmp(stem, name) == 0; }

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

static void draft_end(Draft *d) {
    if (d->fd >= 0) close(d->fd);
    mem_free(d->path);
    mem_free(d->target);
    mem_free(d->tmp_path);
}

// First removes what killed processes left of earlier writes of the same path.
static int draft_begin(Draft *d, const char *path, int mode, const char *const *names, Err *err) {
    *d = (Draft){.path = mem_strdup(path), .target = path_absolute(path)};
    // "out/" means "out": the temporary must be next to it, not in it.
    for (size_t n = strlen(d->target); n > 1 && d->target[n - 1] == '/';) d->target[--n] = 0;
    AUTO_FREE char *dir = path_parent(d->target);
    temporary_sweep(&(Sweep){.dir = dir, .wants = is_name, .user = path_name(d->target), .names = names});
    d->fd = create_temporary(&d->tmp_path, d->target, mode);
    if (d->fd >= 0) return 0;
    err_runtime(err, "%s: cannot be created: %s", path, strerror(errno));
    draft_end(d);
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
    Draft d;
    *out = NULL;
    if (draft_begin(&d, path, mode, NULL, err)) return -1;
    FileWriter *w = *out = mem_alloc(1, sizeof *w);
    w->d = d;
    w->own = own;
    w->failed = false;
    w->pending = 0;
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
    return err_runtime(&w->first_error, "%s: cannot be %s: %s", w->d.path, what, strerror(errno));
}

static int write_fully(FileWriter *w, const char *p, size_t size) {
    while (size) {
        ssize_t n = TEMP_FAILURE_RETRY(write(w->d.fd, p, size));
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

static int sync_file(FileWriter *w) {
    if (w->failed || flush_pending(w)) return -1;
    return TEMP_FAILURE_RETRY(fsync(w->d.fd)) ? remember_failure(w, "synced to disk") : 0;
}

// Checks the target again: hours may have passed since file_create.
static int put_file_in_place(FileWriter *w) {
    struct stat st;
    if (lstat(w->d.target, &st) != 0)
        return rename_new(w->d.tmp_path, w->d.target) ? remember_failure(w, "renamed to its final name") : 0;
    w->failed = overwrite_file(w->d.target, w->own, NULL, &w->first_error) != 0;
    if (w->failed) return -1;
    return TEMP_FAILURE_RETRY(rename(w->d.tmp_path, w->d.target)) ? remember_failure(w, "renamed to its final name")
                                                                  : 0;
}

// Closes fd last: it holds the lock of the temporary. Network file systems report write errors here.
static int finish_file(FileWriter *w) {
    if (sync_file(w) || put_file_in_place(w)) return -1;
    int fd = w->d.fd;
    w->d.fd = -1;
    return close(fd) != 0 && errno != EINTR ? remember_failure(w, "closed") : 0;
}

int file_commit(FileWriter *w, Err *err) {
    if (finish_file(w)) {
        give_error(w, err);
        file_abandon(w);
        return -1;
    }
    int rc = fsync_parent(w->d.target, err);
    draft_end(&w->d);
    mem_free(w);
    return rc;
}

void file_abandon(FileWriter *w) {
    if (!w) return;
    unlink(w->d.tmp_path);
    draft_end(&w->d);
    mem_free(w);
}

int file_write_whole(const char *path, const void *data, size_t size, OwnCheck *own, Err *err) {
    FileWriter *w;
    if (file_create(&w, path, own, err)) return -1;
    file_write(w, data, size, NULL); // file_commit returns its error
    return file_commit(w, err);
}

int dir_probe(const char *dir, Err *err) {
    FileWriter *w;
    AUTO_FREE char *path = path_join(dir, ".probe");
    if (create(&w, path, NULL, 0600, err)) return -1;
    file_write(w, "probe\n", 6, NULL);
    int rc = sync_file(w) ? give_error(w, err) : 0;
    file_abandon(w);
    return rc;
}

// ---- directories ----

int dir_create(DirWriter **out, const char *path, const OwnFolder *own, Err *err) {
    Draft d;
    *out = NULL;
    if (overwrite_folder(path, own, NULL, err) || draft_begin(&d, path, FOLDER, own ? own->names : NULL, err))
        return -1;
    *out = mem_alloc(1, sizeof **out);
    **out = (DirWriter){d, own};
    return 0;
}

const char *dir_path(const DirWriter *w) { return w->d.tmp_path; }

void dir_abandon(DirWriter *w) {
    if (!w) return;
    dir_remove(w->d.tmp_path, NULL);
    draft_end(&w->d);
    mem_free(w);
}

static int rename_failed(const char *path, Err *err) {
    return err_runtime(err, "%s: cannot be put in place: %s", path, strerror(errno));
}

// For file systems without RENAME_EXCHANGE: the target is missing for a moment.
static int replace_by_moving_aside(const DirWriter *w, const char *aside, Err *err) {
    if (TEMP_FAILURE_RETRY(rename(w->d.target, aside)) != 0) return rename_failed(w->d.path, err);
    if (TEMP_FAILURE_RETRY(rename(w->d.tmp_path, w->d.target)) == 0) return 0;
    rename_failed(w->d.path, err);
    if (rename(aside, w->d.target) != 0) err_context(err, "the former directory is now %s", aside);
    return -1;
}

// Moves the new folder to its final name; *old: the path of the former one, NULL: none.
static int replace_dir(const DirWriter *w, char **old, Err *err) {
    struct stat st;
    *old = NULL;
    if (lstat(w->d.target, &st) != 0)
        return rename_new(w->d.tmp_path, w->d.target) == 0 ? 0 : rename_failed(w->d.path, err);
    if (overwrite_folder(w->d.target, w->own, NULL, err)) return -1;
    if (TEMP_FAILURE_RETRY(renameat2(AT_FDCWD, w->d.tmp_path, AT_FDCWD, w->d.target, RENAME_EXCHANGE)) == 0) {
        *old = mem_strdup(w->d.tmp_path);
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) return rename_failed(w->d.path, err);
    AUTO_FREE char *aside = temporary_name(w->d.target, "old");
    if (replace_by_moving_aside(w, aside, err)) return -1;
    *old = mem_take(&aside);
    return 0;
}

// If a foreign file was added to the old folder in the meantime, the folder is kept, under a name that no sweep
// removes.
static int remove_old(const DirWriter *w, const char *old, Err *err) {
    AUTO_FREE char *foreign = NULL;
    int rc = folder_remove_known(old, w->own->names, &foreign, err);
    if (rc <= 0) return rc;
    AUTO_FREE char *kept = temporary_name(w->d.target, "old");
    if (rename(old, kept) == 0)
        log_warn("%s: held %s, which lorac did not write; it is kept as %s", w->d.path, foreign, kept);
    return 0;
}

int dir_commit(DirWriter *w, Err *err) {
    AUTO_FREE char *old = NULL;
    if (fsync_path(w->d.tmp_path, err) || replace_dir(w, &old, err)) {
        dir_abandon(w);
        return -1;
    }
    int rc = fsync_parent(w->d.target, err);
    if (old && remove_old(w, old, rc ? NULL : err)) rc = -1;
    draft_end(&w->d);
    mem_free(w);
    return rc;
}
