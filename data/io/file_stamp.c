#include "file_stamp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int64_t nanoseconds(struct timespec t) {
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

bool file_stamp_read(FileStamp *s, const char *path) {
    struct stat st;
    *s = (FileStamp){0};
    if (stat(path, &st) != 0) return false;
    *s = (FileStamp){st.st_dev, st.st_ino, st.st_size, nanoseconds(st.st_mtim), nanoseconds(st.st_ctim)};
    return true;
}

static int changed(const char *path, const char *what, Err *err) {
    return err_runtime(err,
                       "%s: the file was changed while it was in use (%s); nothing is written from it; expected it to "
                       "stay as it is until the end",
                       path, what);
}

int file_stamp_check(const FileStamp *s, const char *path, Err *err) {
    FileStamp now;
    if (!file_stamp_read(&now, path) && !file_stamp_read(&now, path)) return changed(path, strerror(errno), err);
    if (now.device != s->device || now.inode != s->inode) return changed(path, "another file is there now", err);
    if (now.size != s->size) {
        char what[80];
        snprintf(what, sizeof what, "%" PRId64 " bytes, was %" PRId64, now.size, s->size);
        return changed(path, what, err);
    }
    if (now.mtime_ns != s->mtime_ns) return changed(path, "it has another time of modification", err);
    if (now.ctime_ns != s->ctime_ns) return changed(path, "it has another time of change", err);
    return 0;
}
