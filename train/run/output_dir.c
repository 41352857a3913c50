// output_dir: the lock of a run's directory, what the run may not overwrite there, and the directory created again if
// it is removed (train_run_internal.h).
#include "train_run_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter.h"
#include "event_file.h"
#include "export.h"
#include "fileio.h"
#include "path.h"
#include "profile_report.h"
#include "report.h"
#include "run_data.h"
#include "snapshot.h"
#include "temporary.h"
#include "train_log.h"
#include "weight_source.h"

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
    AUTO_FREE char *path = path_join(d->path, ".lock");
    if (open_lock(d, path, err)) return -1;
    if (flock(d->lock, LOCK_EX | LOCK_NB) != 0) return refuse_held(d, errno, path, err);
    if (ftruncate(d->lock, 0) == 0 && dprintf(d->lock, "%ld", (long)getpid()) >= 0) return 0;
    return err_runtime(err, "%s: %s", path, strerror(errno));
}

// ---- what may be overwritten ----

static void add_files(InputSet *s, FileList *files) {
    for (size_t i = 0; i < files->count; i++) input_set_add(s, files->items[i]);
    file_list_clear(files);
}

// Every file that a run reads, except its config and its own snapshots. Patterns without a match are refused when the
// data is read.
static void add_inputs_of(InputSet *s, const Config *c) {
    FileList files;
    weight_source_add_inputs(s, c->model_name_or_path);
    weight_source_add_inputs(s, c->teacher_model);
    input_set_add(s, c->adapter_name_or_path);
    input_set_add(s, c->teacher_adapter);
    input_set_add(s, c->teacher_logits);
    bool named = c->chat_template && words_index(ENUM_WORDS(NAMED_TEMPLATES), c->chat_template) >= 0;
    if (!named) input_set_add(s, c->chat_template);
    run_train_files(&files, c, NULL);
    add_files(s, &files);
    if (!c->validation_file.count) return;
    run_validation_files(&files, c, NULL);
    add_files(s, &files);
}

static void add_inputs(InputSet *s, const ConfigList *runs) {
    for (size_t i = 0; i < runs->count; i++) add_inputs_of(s, &runs->items[i]);
}

static int check_file(const Config *c, const char *name, OwnCheck *own, const InputSet *inputs, Err *err) {
    AUTO_FREE char *path = path_join(c->output_dir, name);
    return overwrite_file(path, own, inputs, err);
}

// The log may be a pipe or a device, which has no content to lose.
static bool log_is_stream(const Config *c) {
    AUTO_FREE char *path = path_join(c->output_dir, "train_log.jsonl");
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

// Of names that a finished run writes too. `lorac train out/config.json` reruns with the config that it wrote: that
// input may be at an output's name.
static int check_start(const Config *c, const ConfigList *runs, Err *err) {
    AUTO_INPUTS InputSet inputs = {0};
    AUTO_FREE char *lock = path_join(c->output_dir, ".lock");
    add_inputs(&inputs, runs);
    if (check_file(c, "config.json", config_own, &inputs, err)) return -1;
    input_set_add(&inputs, c->file);
    if (overwrite_no_input(lock, &inputs, err)) return -1;
    if (event_file_wanted(c) && check_file(c, EVENT_FILE, event_file_own, &inputs, err)) return -1;
    return log_is_stream(c) ? 0 : check_file(c, "train_log.jsonl", train_log_own, &inputs, err);
}

// Snapshots are removed in rotation: none may contain an input of this run.
static int check_snapshots(const Config *c, const InputSet *inputs, Err *err) {
    size_t count;
    AUTO_FREE int64_t *steps = NULL;
    int rc = snapshot_list(&steps, &count, c->output_dir, err);
    for (size_t i = 0; i < count && !rc; i++) {
        AUTO_FREE char *path = snapshot_path(c->output_dir, steps[i]);
        rc = overwrite_no_input(path, inputs, err);
    }
    return rc;
}

int output_dir_check_end(const Config *c, const ConfigList *runs, Err *err) {
    AUTO_INPUTS InputSet inputs = {0};
    AUTO_FREE char *adapter = path_join(c->output_dir, "adapter");
    bool folder_only = task_classifies(c->task) || c->task == TASK_MLM || c->task == TASK_EMBEDDING;
    add_inputs(&inputs, runs);
    input_set_add(&inputs, c->file);
    if (overwrite_folder(adapter, &adapter_peft_own, &inputs, err) ||
        (!folder_only && check_file(c, "adapter.gguf", adapter_gguf_own, &inputs, err)) ||
        (!folder_only && check_file(c, "Modelfile", modelfile_own, &inputs, err)) ||
        (report_wanted(c) && check_file(c, "report.html", report_own, &inputs, err)) ||
        (c->profile && check_file(c, "profile.json", profile_own, &inputs, err)) ||
        (c->profile && check_file(c, "trace.json", trace_own, &inputs, err)))
        return -1;
    return check_snapshots(c, &inputs, err);
}

static int check_new_run(const Config *c, const ConfigList *runs, Err *err) {
    size_t snapshots;
    AUTO_FREE int64_t *steps = NULL;
    int rc = snapshot_list(&steps, &snapshots, c->output_dir, err);
    return rc || snapshots ? rc : output_dir_check_end(c, runs, err);
}

static int check_config(const OutputDir *d, const Config *c, Err *err) {
    AUTO_FREE char *path = path_join(d->path, "config.json"), *text = NULL;
    size_t size;
    if (!path_exists(path)) return 0;
    if (file_read(&text, &size, path, MAX_CONFIG_BYTES, err))
        return err_context(err, "the config of the run in this directory cannot be read (restore or remove it)");
    return config_check_same_run(c, text, path, err);
}

// ---- opening ----

static bool is_written_here(const char *stem, const void *user) {
    static const char *const stems[] = {".probe",    "config.json", "train_log.jsonl", "report.html", "adapter.gguf",
                                        "Modelfile", "adapter",     "profile.json",    "trace.json"};
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++)
        if (strcmp(stem, stems[i]) == 0) return true;
    return false;
}

static void sweep(const OutputDir *d) {
    temporary_sweep(&(Sweep){.dir = d->path, .wants = is_written_here, .alone = true, .names = adapter_peft_own.names});
    snapshot_sweep(d->path);
}

int output_dir_open(OutputDir *d, const Config *c, const ConfigList *runs, Err *err) {
    *d = (OutputDir){.path = c->output_dir, .lock = -1};
    if (dir_make_parents(d->path, err) || check_start(c, runs, err) || take_lock(d, err)) return -1;
    sweep(d);
    // Fails now instead of at the first write, hours later.
    return dir_probe(d->path, err) || check_config(d, c, err) || check_new_run(c, runs, err) ? -1 : 0;
}

void output_dir_close(OutputDir *d) {
    if (d->lock >= 0) close(d->lock);
    d->lock = -1;
}

// ---- during the run ----

static bool holds(const char *path, const char *text) {
    AUTO_FREE char *now = NULL;
    size_t size;
    return file_read(&now, &size, path, MAX_CONFIG_BYTES, NULL) == 0 && strcmp(now, text) == 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int output_dir_save_config(const OutputDir *d, const Config *c, Err *err) {
    AUTO_FREE char *path = path_join(d->path, "config.json"), *text = config_json(c);
    struct stat given, here;
    if (holds(path, text)) return 0;
    if (!c->file || stat(c->file, &given) || stat(path, &here) || !is_same_file(&given, &here))
        return file_write_whole(path, text, strlen(text), config_own, err);
    log_warn("%s: is the config of this command and is kept as it is, without the overrides of the command line", path);
    return 0;
}

// The locked file is still the one at the path of the lock file.
bool output_dir_is_in_place(const OutputDir *d) {
    struct stat held, there;
    AUTO_FREE char *path = path_join(d->path, ".lock");
    return fstat(d->lock, &held) == 0 && lstat(path, &there) == 0 && is_same_file(&held, &there);
}

int output_dir_keep(OutputDir *d, const Config *c, Err *err) {
    OutputDir again = {.path = d->path, .lock = -1};
    bool was_there = path_is_dir(d->path);
    if (output_dir_is_in_place(d) || dir_make_parents(d->path, NULL)) return 0;
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
