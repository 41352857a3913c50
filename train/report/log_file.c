#include "log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// O_NONBLOCK is for the opening alone: without it, opening a pipe without a reader would block.
static FILE *open_to_append(const char *path) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0666);
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    FILE *file = flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0 ? NULL : fdopen(fd, "a");
    int why = errno;
    if (!file && fd >= 0) close(fd);
    errno = why;
    return file;
}

static void write_bytes(LogFile *l, const char *data, size_t size) {
    bool ok = fwrite(data, 1, size, l->file) == size;
    ok = fflush(l->file) == 0 && ok;
    if (ok || l->failed) return;
    l->failed = true;
    log_warn("%s: %s; training continues without it", l->path, strerror(errno));
    clearerr(l->file);
}

static void write_head(LogFile *l) {
    struct stat st;
    if (l->head && fstat(fileno(l->file), &st) == 0 && st.st_size == 0) write_bytes(l, l->head, l->head_size);
}

int log_file_open(LogFile *l, const char *path, const char *head, size_t head_size, Err *err) {
    *l = (LogFile){.file = open_to_append(path), .head = head, .head_size = head_size};
    if (!l->file && errno == ENXIO)
        return err_input(err, "%s: found a pipe without a reader; expected a file, or a pipe with one", path);
    if (!l->file) return err_runtime(err, "%s: %s; expected a file that can be written", path, strerror(errno));
    l->path = mem_strdup(path);
    write_head(l);
    return 0;
}

static void follow_path(LogFile *l) {
    struct stat open_file, there;
    if (fstat(fileno(l->file), &open_file) != 0) return;
    if (stat(l->path, &there) == 0 && there.st_dev == open_file.st_dev && there.st_ino == open_file.st_ino) return;
    FILE *file = open_to_append(l->path);
    if (!file) {
        if (!l->failed) log_warn("%s: was removed, and cannot be created: %s", l->path, strerror(errno));
        l->failed = true;
        return;
    }
    log_warn("%s: was removed or moved away; a new file is started", l->path);
    (void)fclose(l->file);
    l->file = file;
    l->failed = false;
    write_head(l);
}

void log_file_add(LogFile *l, const char *data, size_t size) {
    follow_path(l);
    write_bytes(l, data, size);
}

void log_file_sync(LogFile *l) {
    if (fsync(fileno(l->file)) && !l->failed) {
        l->failed = true;
        log_warn("%s: %s", l->path, strerror(errno));
    }
}

void log_file_close(LogFile *l) {
    if (l->file && fclose(l->file) != 0 && !l->failed)
        log_warn("%s: cannot be closed: %s; its end may be missing", l->path, strerror(errno));
    mem_free(l->path);
    *l = (LogFile){0};
}
