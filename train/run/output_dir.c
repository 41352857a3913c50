#include "output_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "fileio.h"

enum { MAX_CONFIG_BYTES = 4 << 20 };

// The lock file stays behind; the lock itself ends with the process, however it ends.
static int take_lock(OutputDir *d, Err *err) {
    char *path = path_join(d->path, ".lock");
    int status = 0;
    d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (d->lock < 0) {
        status = err_runtime(err, "%s: %s; expected a directory that can be written", path, strerror(errno));
    } else if (flock(d->lock, LOCK_EX | LOCK_NB) != 0) {
        char pid[32] = {0};
        ssize_t n = read(d->lock, pid, sizeof pid - 1);
        status = errno == EWOULDBLOCK
                     ? err_runtime(err, "%s: in use by another run (process %s)", d->path, n > 0 ? pid : "unknown")
                     : err_runtime(err, "%s: cannot be locked: %s", path, strerror(errno));
    } else if (ftruncate(d->lock, 0) || dprintf(d->lock, "%ld", (long)getpid()) < 0) {
        status = err_runtime(err, "%s: %s", path, strerror(errno));
    }
    mem_free(path);
    return status;
}

// A write that fails should fail now, not after hours.
static int probe(const OutputDir *d, Err *err) {
    char *path = path_join(d->path, ".probe");
    int status = file_write_whole(path, "probe\n", 6, err);
    if (!status) unlink(path);
    mem_free(path);
    return status;
}

static int check_config(const OutputDir *d, const Config *c, Err *err) {
    char *path = path_join(d->path, "config.json"), *text = NULL;
    size_t size;
    int status = 0;
    if (path_exists(path)) {
        status = file_read(&text, &size, path, MAX_CONFIG_BYTES, err);
        if (status) err_context(err, "the config of the run in this directory cannot be read (restore or remove it)");
        if (!status) status = config_check_same_run(c, text, path, err);
    }
    mem_free(text);
    mem_free(path);
    return status;
}

int output_dir_open(OutputDir *d, const Config *c, Err *err) {
    *d = (OutputDir){.path = c->output_dir, .lock = -1};
    if (dir_make_parents(d->path, err) || take_lock(d, err) || probe(d, err)) return -1;
    return check_config(d, c, err);
}

void output_dir_close(OutputDir *d) {
    if (d->lock >= 0) close(d->lock);
    d->lock = -1;
}

int output_dir_save_config(const OutputDir *d, const Config *c, Err *err) {
    char *path = path_join(d->path, "config.json"), *text = config_json(c);
    int status = file_write_whole(path, text, strlen(text), err);
    mem_free(text);
    mem_free(path);
    return status;
}
