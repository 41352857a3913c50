// run_folder: the output_dir of a run as an argument of a verb; its config.json tells the base model, the template and
// the data, its adapter/ is the adapter.
#pragma once

#include "config.h"
#include "verb_model.h"

// Whether `path` is a folder with the config.json and the adapter/ of a run.
bool run_folder_is(const char *path);
// *names = what `given` names; base and adapter that it does not name are those of the run in `folder`, whose config is
// read into l->run. folder NULL: none, or no run folder but an adapter (`verify`, `export`). Borrows from given and l.
// Refuses a call that names no base.
int run_folder_names(LoadOptions *names, Loaded *l, const LoadOptions *given, const char *folder, Err *err);
// Each word that is a run folder becomes two: its config.json and output_dir, for config_load. Caller frees with
// run_words_clear.
typedef struct RunWords {
    char **words, **owned; // words: borrowed, or of `owned`
    int count, n_owned;
} RunWords;
RunWords run_folder_words(int argc, char **argv);
void run_words_clear(RunWords *w);
