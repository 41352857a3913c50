#include "run_folder.h"

#include "path.h"

bool run_folder_is(const char *path) {
    return dir_has(path, "config.json") && dir_has(path, "adapter/adapter_config.json");
}

static int read_config(Loaded *l, const char *folder, Err *err) {
    AUTO_FREE char *file = path_join(folder, "config.json");
    return config_load(&l->run, 1, &file, CONFIG_FOR_BENCH, err);
}

int run_folder_names(LoadOptions *names, Loaded *l, const LoadOptions *given, const char *folder, Err *err) {
    *names = *given;
    if (folder && run_folder_is(folder)) {
        if (read_config(l, folder, err)) return -1;
        l->run_adapter = path_join(folder, "adapter");
        if (!names->model_name_or_path) names->model_name_or_path = l->run.model_name_or_path;
        if (!names->adapter_name_or_path) names->adapter_name_or_path = l->run_adapter;
    }
    if (names->model_name_or_path) return 0;
    if (folder)
        return err_input(err,
                         "%s: no config.json with adapter/ beside it; expected the output_dir of a finished run, or "
                         "--model_name_or_path",
                         folder);
    return err_input(err, "--model_name_or_path is missing; expected it, or the output_dir of a run");
}

static char *own(RunWords *w, char *word) { return w->owned[w->n_owned++] = word; }

RunWords run_folder_words(int argc, char **argv) {
    size_t most = (size_t)argc * 2 + 1;
    RunWords w = {mem_calloc(most, sizeof *w.words), mem_calloc(most, sizeof *w.owned), 0, 0};
    for (int i = 0; i < argc; i++) {
        if (!run_folder_is(argv[i])) {
            w.words[w.count++] = argv[i];
            continue;
        }
        w.words[w.count++] = own(&w, path_join(argv[i], "config.json"));
        w.words[w.count++] = own(&w, mem_printf("--output_dir=%s", argv[i]));
    }
    return w;
}

void run_words_clear(RunWords *w) {
    for (int i = 0; i < w->n_owned; i++) mem_free(w->owned[i]);
    mem_free(w->owned);
    mem_free(w->words);
}
