// inspect: the views of `lorac inspect`, one file per kind of input.
#pragma once

#include "audit.h"
#include "config.h"
#include "gguf.h"

// How many tensors, values and bytes of each dtype. Init with {0}.
typedef struct Tally {
    struct {
        const char *name;
        int64_t tensors, elements;
        size_t bytes;
    } kinds[64];
    size_t n_kinds;
} Tally;
void tally_add(Tally *t, const char *dtype, const int64_t *shape, int n_dims, size_t bytes);
void tally_print(const Tally *t);
// Prints a string key with a label; nothing when it is absent.
void inspect_gguf_key(const Gguf *g, const char *key, const char *label);

// A base model: a .gguf file (or one of a split model's), a Hugging Face folder.
int inspect_base(const char *path, Err *err);
// The config.json of a base model.
int inspect_model_config(const char *path, Err *err);
// Base model or adapter in a GGUF file, from its metadata.
int inspect_gguf(const char *path, Err *err);
int inspect_safetensors(const char *path, Err *err);
typedef struct InspectOptions {
    int64_t show; // samples or records that are printed
    bool audit;
    char *split, *format; // of the data file that is given; NULL: none
} InspectOptions;
// A folder that is no adapter, snapshot, output_dir of a run or model.
bool inspect_is_data_folder(const char *path);
int inspect_folder(const char *path, Err *err); // any other
// The files of c->train_file and c->validation_file, each and all together, without a model. given: what the user calls
// train_file; NULL: that.
int inspect_data_files(const Config *c, const char *given, const InspectOptions *o, Err *err);
// The data of a run as the trainer sees it. argv: CONFIG.json and overrides.
int inspect_run_data(int argc, char **argv, const InspectOptions *o, Err *err);
// How c says that records are read; without its chat template.
AuditOptions inspect_audit_options(const Config *c);

// ---- findings of an audit (inspect_audit.c) ----

void inspect_print_refused(const AuditCounts *c); // those after the first
// Duplicates and all others but scripts. splits: val_set_size takes the validation data from the training data.
void inspect_print_findings(const Audit *a, AuditPart part, bool splits);
void inspect_print_scripts(const ScriptCounts *c, const char *of);
