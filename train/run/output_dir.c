#include "output_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter.h"
#include "fileio.h"
#include "path.h"
#include "run_outputs.h"
#include "snapshot.h"
#include "temporary.h"

enum { MAX_CONFIG_BYTES = 4 << 20 };

// Without following a link; accepts only a lock file: empty, or a process id.
static int open_lock(OutputDir *d, const char *path, Err *err) {
    struct stat st;
    char pid[32];
    d->lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
    if (d->lock < 0 && errno == ELOOP)
        return err_input(err, "%s: found a link; expected lorac's lock file, or nothing there", path);
    if (d->lock < 0 && errno == EISDIR)
        return err_input(err, "%s: found a folder; expected lorac's lock file, or nothing there", path);
    if (d->lock < 0) return err_runtime(err, "%s: %s; expected a directory that can be written", path, strerror(errno));
    ssize_t n = fstat(d->lock, &st) == 0 && S_ISREG(st.st_mode) ? pread(d->lock, pid, sizeof pid, 0) : -1;
    for (ssize_t i = 0; i < n; i++)
        if (pid[i] < '0' || pid[i] > '9') n = -1;
    return n >= 0 && n < (ssize_t)sizeof pid ? 0 : overwrite_refuse(path, "lorac's lock file", err);
}

static int refuse_held(const OutputDir *d, int why, const char *path, Err *err) {
    char pid[32] = {0};
    if (why != EWOULDBLOCK) return err_runtime(err, "%s: cannot be locked: %s", path, strerror(why));
    ssize_t n = pread(d->lock, pid, sizeof pid - 1, 0);
    return err_runtime(err, "%s: in use by another run (process %s)", d->path, n > 0 ? pid : "unknown");
}

// The lock file remains; the lock itself ends with the process.
static int take_lock(OutputDir *d, Err *err) {
    char *path = path_join(d->path, ".lock");
    int rc = open_lock(d, path, err);
    if (!rc && flock(d->lock, LOCK_EX | LOCK_NB) != 0)
        rc = refuse_held(d, errno, path, err);
    else if (!rc && (ftruncate(d->lock, 0) || dprintf(d->lock, "%ld", (long)getpid()) < 0))
        rc = err_runtime(err, "%s: %s", path, strerror(errno));
    mem_free(path);
    return rc;
}

static bool is_written_here(const char *stem, const void *user) {
    static const char *const stems[] = {".probe",    "config.json", "train_log.jsonl", "report.html", "adapter.gguf",
                                        "Modelfile", "adapter",     "profile.json",    "trace.json"};
    (void)user;
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++)
        if (strcmp(stem, stems[i]) == 0) return true;
    return false;
}

static void sweep(const OutputDir *d) {
    temporary_sweep(&(Sweep){.dir = d->path, .wants = is_written_here, .alone = true, .names = adapter_peft_own.names});
    snapshot_sweep(d->path);
}

// For a new run. A run with snapshots is checked once it is known whether it has steps to do (train_setup.c).
static int check_outputs(const Config *c, Err *err) {
    size_t snapshots;
    int64_t *steps;
    int rc = snapshot_list(&steps, &snapshots, c->output_dir, err);
    mem_free(steps);
    return rc || snapshots ? rc : run_outputs_check(c, err);
}

static int check_config(const OutputDir *d, const Config *c, Err *err) {
    char *path = path_join(d->path, "config.json"), *text = NULL;
    size_t size;
    int rc = 0;
    if (path_exists(path)) {
        rc = file_read(&text, &size, path, MAX_CONFIG_BYTES, err);
        if (rc) err_context(err, "the config of the run in this directory cannot be read (restore or remove it)");
        if (!rc) rc = config_check_same_run(c, text, path, err);
    }
    mem_free(text);
    mem_free(path);
    return rc;
}

int output_dir_open(OutputDir *d, const Config *c, Err *err) {
    *d = (OutputDir){.path = c->output_dir, .lock = -1};
    if (dir_make_parents(d->path, err) || run_logs_check(c, err) || take_lock(d, err)) return -1;
    sweep(d);
    // Fails now instead of at the first write, hours later.
    return dir_probe(d->path, err) || check_config(d, c, err) || check_outputs(c, err) ? -1 : 0;
}

void output_dir_close(OutputDir *d) {
    if (d->lock >= 0) close(d->lock);
    d->lock = -1;
}

static bool holds(const char *path, const char *text) {
    char *now = NULL;
    size_t size;
    bool same = file_read(&now, &size, path, MAX_CONFIG_BYTES, NULL) == 0 && strcmp(now, text) == 0;
    mem_free(now);
    return same;
}

int output_dir_save_config(const OutputDir *d, const Config *c, Err *err) {
    char *path = path_join(d->path, "config.json"), *text = config_json(c);
    int rc = 0;
    if (!holds(path, text)) {
        if (run_is_config_file(c, path))
            log_warn(
                "%s: is the config of this command and is kept as it is, without the overrides of the command line",
                path);
        else
            rc = file_write_whole(path, text, strlen(text), config_own, err);
    }
    mem_free(text);
    mem_free(path);
    return rc;
}

// The locked file is still the one at the path of the lock file.
static bool is_in_place(const OutputDir *d) {
    struct stat held, there;
    char *path = path_join(d->path, ".lock");
    bool same = fstat(d->lock, &held) == 0 && lstat(path, &there) == 0 && held.st_dev == there.st_dev &&
                held.st_ino == there.st_ino;
    mem_free(path);
    return same;
}

int output_dir_keep(OutputDir *d, const Config *c, Err *err) {
    OutputDir again = {.path = d->path, .lock = -1};
    bool was_there = path_is_dir(d->path);
    if (is_in_place(d) || dir_make_parents(d->path, NULL)) return 0;
    if (take_lock(&again, err) || check_config(&again, c, err)) {
        bool opened = again.lock >= 0;
        output_dir_close(&again);
        return opened ? err_context(err, "the run's output_dir was removed or moved away") : 0;
    }
    log_warn("%s: %s; it is created again and receives all further output", d->path,
             was_there ? "its lock file was removed" : "was removed or moved away");
    output_dir_close(d);
    *d = again;
    if (output_dir_save_config(d, c, err)) log_warn("%s", err->msg);
    return 0;
}
