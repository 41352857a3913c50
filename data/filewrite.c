// filewrite: files and directories that appear whole or not at all (the writing half of fileio.h).
//
// Order of a commit: all bytes written, fsync of the file, rename, fsync of the directory. Whatever fails before the
// rename removes the temporary name and leaves what was there before untouched.
#include "fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE_BUFFER = 1 << 16 };

struct FileWriter {
    char *path;              // as the caller wrote it, for messages
    char *target, *tmp_path; // absolute; links followed
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

// "out/" means "out": the temporary name must lie beside it, not in it.
static char *temporary_name(const char *path, const char *tag) {
    return mem_printf("%.*s.%s-%ld", (int)without_slashes(path), path, tag, (long)getpid());
}

static int fsync_path(const char *path, Err *err) {
    int fd = TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0) return err_runtime(err, "%s: cannot be opened to sync it: %s", path, strerror(errno));
    int rc = TEMP_FAILURE_RETRY(fsync(fd));
    int why = errno;
    close(fd);
    // EINVAL: a file system that has no fsync for directories (some FUSE ones); nothing more can be done there.
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

// ---- files ----

// Renaming over a device or FIFO would replace it (think of /dev/null), so only regular files may stand there.
static int check_target(const char *path, Err *err) {
    struct stat st;
    if (stat(path, &st) != 0 || S_ISREG(st.st_mode)) return 0;
    return err_runtime(err, "%s: found %s; expected a file or nothing to be there", path,
                       S_ISDIR(st.st_mode) ? "a directory" : "a pipe, socket or device");
}

static int open_new(const char *path) {
    return TEMP_FAILURE_RETRY(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
}

int file_create(FileWriter **out, const char *path, Err *err) {
    *out = NULL;
    if (check_target(path, err)) return -1;
    char *target = path_absolute(path), *tmp_path = temporary_name(target, "tmp");
    int fd = open_new(tmp_path);
    if (fd < 0 && errno == EEXIST && unlink(tmp_path) == 0) fd = open_new(tmp_path); // left by a killed process
    if (fd < 0) {
        err_runtime(err, "%s: cannot be created: %s", path, strerror(errno));
        mem_free(target);
        mem_free(tmp_path);
        return -1;
    }
    FileWriter *w = mem_alloc(1, sizeof *w);
    w->path = mem_strdup(path);
    w->target = target;
    w->tmp_path = tmp_path;
    w->fd = fd;
    w->failed = false;
    w->pending = 0;
    *out = w;
    return 0;
}

static int remember_failure(FileWriter *w, const char *what) {
    w->failed = true;
    return err_runtime(&w->first_error, "%s: cannot be %s: %s", w->path, what, strerror(errno));
}

static int write_fully(FileWriter *w, const char *p, size_t size) {
    while (size) {
        ssize_t n = TEMP_FAILURE_RETRY(write(w->fd, p, size));
        if (n == 0) errno = ENOSPC; // no progress and no reason: as good as full
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

static int finish_file(FileWriter *w) {
    if (w->failed || flush_pending(w)) return -1;
    if (TEMP_FAILURE_RETRY(fsync(w->fd)) != 0) return remember_failure(w, "synced to disk");
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0 && errno != EINTR) return remember_failure(w, "closed"); // network disks report errors here
    if (rename(w->tmp_path, w->target) != 0) return remember_failure(w, "renamed to its final name");
    return 0;
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

int file_write_whole(const char *path, const void *data, size_t size, Err *err) {
    FileWriter *w;
    if (file_create(&w, path, err)) return -1;
    file_write(w, data, size, NULL); // its error stays in the writer and comes out of the commit
    return file_commit(w, err);
}

// ---- directories ----

int dir_create(char **tmp_path, const char *path, Err *err) {
    *tmp_path = NULL;
    if (path_exists(path) && !path_is_dir(path))
        return err_runtime(err, "%s: found a file; expected a directory or nothing to be there", path);
    char *target = path_absolute(path), *tmp = temporary_name(target, "tmp");
    mem_free(target);
    if (dir_remove(tmp, err)) { // left by a killed process
        mem_free(tmp);
        return -1;
    }
    if (mkdir(tmp, 0777) != 0) {
        err_runtime(err, "%s: cannot be created: %s", path, strerror(errno));
        mem_free(tmp);
        return -1;
    }
    *tmp_path = tmp;
    return 0;
}

static int rename_failed(const char *path, Err *err) {
    return err_runtime(err, "%s: cannot be put in place: %s", path, strerror(errno));
}

// For file systems without an exchange of names: for a moment nothing stands at `path`.
static int replace_by_moving_aside(const char *tmp_path, const char *path, const char *aside, Err *err) {
    if (rename(path, aside) != 0) return rename_failed(path, err);
    if (rename(tmp_path, path) == 0) return 0;
    rename_failed(path, err);
    if (rename(aside, path) != 0) err_context(err, "the former directory is now %s", aside);
    return -1;
}

// Puts tmp_path at path; *old is where the former directory is now, NULL when there was none.
static int replace_dir(const char *tmp_path, const char *path, char **old, Err *err) {
    *old = NULL;
    if (!path_exists(path)) return rename(tmp_path, path) == 0 ? 0 : rename_failed(path, err);
    if (renameat2(AT_FDCWD, tmp_path, AT_FDCWD, path, RENAME_EXCHANGE) == 0) {
        *old = mem_strdup(tmp_path);
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) return rename_failed(path, err);
    char *aside = temporary_name(path, "old");
    int rc = dir_remove(aside, err);
    if (!rc) rc = replace_by_moving_aside(tmp_path, path, aside, err);
    if (!rc) *old = mem_strdup(aside);
    mem_free(aside);
    return rc;
}

int dir_commit(const char *tmp_path, const char *path, Err *err) {
    char *target = path_absolute(path), *old = NULL;
    int rc = fsync_path(tmp_path, err);
    if (!rc) rc = replace_dir(tmp_path, target, &old, err);
    if (rc) {
        dir_remove(tmp_path, NULL);
    } else {
        rc = fsync_parent(target, err);
        if (old && dir_remove(old, rc ? NULL : err)) rc = -1;
    }
    mem_free(target);
    mem_free(old);
    return rc;
}
