#include "run_outputs.h"

#include <string.h>
#include <sys/stat.h>

#include "export.h"
#include "fileio.h"
#include "path.h"
#include "profile_report.h"
#include "report.h"
#include "run_data.h"
#include "snapshot.h"
#include "train_log.h"
#include "weight_source.h"

static void add_files(InputSet *s, FileList *files) {
    for (size_t i = 0; i < files->count; i++) input_set_add(s, files->items[i]);
    file_list_clear(files);
}

// Patterns without a match are refused when the data is read.
static void add_all_but_config(InputSet *s, const Config *c) {
    FileList files;
    weight_source_add_inputs(s, c->model_name_or_path);
    input_set_add(s, c->adapter_name_or_path);
    input_set_add(s, c->chat_template);
    run_train_files(&files, c, NULL);
    add_files(s, &files);
    if (!c->validation_file) return;
    run_validation_files(&files, c, NULL);
    add_files(s, &files);
}

void run_inputs(InputSet *s, const Config *c) {
    add_all_but_config(s, c);
    input_set_add(s, c->file);
}

bool run_is_config_file(const Config *c, const char *path) {
    struct stat a, b;
    return c->file && stat(c->file, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int check_file(const Config *c, const char *name, OwnCheck *own, const InputSet *inputs, Err *err) {
    char *path = path_join(c->output_dir, name);
    int rc = overwrite_file(path, own, inputs, err);
    mem_free(path);
    return rc;
}

// `lorac train out/config.json` reruns with the config that it wrote: that input may be at an output's name.
static int check_config(const Config *c, Err *err) {
    InputSet inputs = {0};
    add_all_but_config(&inputs, c);
    int rc = check_file(c, "config.json", config_own, &inputs, err);
    input_set_clear(&inputs);
    return rc;
}

// May be a pipe or a device, which has no content to lose.
static int check_log(const Config *c, const InputSet *inputs, Err *err) {
    char *path = path_join(c->output_dir, "train_log.jsonl");
    struct stat st;
    bool is_stream = stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
    int rc = is_stream ? 0 : overwrite_file(path, train_log_own, inputs, err);
    mem_free(path);
    return rc;
}

int run_logs_check(const Config *c, Err *err) {
    InputSet inputs = {0};
    run_inputs(&inputs, c);
    char *lock = path_join(c->output_dir, ".lock");
    int rc = overwrite_no_input(lock, &inputs, err) || check_config(c, err) || check_log(c, &inputs, err) ? -1 : 0;
    mem_free(lock);
    input_set_clear(&inputs);
    return rc;
}

// Snapshots are removed in rotation: none may contain an input of this run.
static int check_snapshots(const Config *c, const InputSet *inputs, Err *err) {
    size_t count;
    int64_t *steps;
    int rc = snapshot_list(&steps, &count, c->output_dir, err);
    for (size_t i = 0; i < count && !rc; i++) {
        char *path = snapshot_path(c->output_dir, steps[i]);
        rc = overwrite_no_input(path, inputs, err);
        mem_free(path);
    }
    mem_free(steps);
    return rc;
}

int run_outputs_check(const Config *c, Err *err) {
    InputSet inputs = {0};
    bool classifier = c->task == TASK_CLASSIFICATION;
    run_inputs(&inputs, c);
    char *adapter = path_join(c->output_dir, "adapter");
    int rc = overwrite_folder(adapter, &adapter_peft_own, &inputs, err);
    if (!rc && !classifier) rc = check_file(c, "adapter.gguf", adapter_gguf_own, &inputs, err);
    if (!rc && !classifier) rc = check_file(c, "Modelfile", modelfile_own, &inputs, err);
    if (!rc && report_wanted(c)) rc = check_file(c, "report.html", report_own, &inputs, err);
    if (!rc && c->profile) rc = check_file(c, "profile.json", profile_own, &inputs, err);
    if (!rc && c->profile) rc = check_file(c, "trace.json", trace_own, &inputs, err);
    if (!rc) rc = check_snapshots(c, &inputs, err);
    mem_free(adapter);
    input_set_clear(&inputs);
    return rc;
}
