// lorac export ADAPTER --model_name_or_path M --format peft/gguf --out P
#include <string.h>

#include "cli.h"
#include "export.h"
#include "fileio.h"
#include "loaded.h"
#include "path.h"
#include "weight_source.h"

// The last part of a path, without slashes at its end: the adapter's name.
static char *base_name(const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    return mem_strndup(path + start, end - start);
}

static int make_parent(const char *path, Err *err) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return 0;
    char *parent = mem_strndup(path, (size_t)(slash - path));
    int rc = dir_make_parents(parent, err);
    mem_free(parent);
    return rc;
}

static int save(const Loaded *l, const char *format, const char *out, Err *err) {
    char *name = base_name(out);
    int rc;
    if (strcmp(format, "gguf") == 0) {
        rc = adapter_save_gguf(l->adapter, l->model, out, name, err);
    } else {
        char *card = model_card_text(l->model, l->adapter, name, NULL);
        rc = adapter_save_peft(l->adapter, l->model, out, card, err);
        mem_free(card);
        if (rc == 0 && adapter_has_patterns(l->adapter))
            log_warn("%s: modules differ in rank or alpha; vLLM and SGLang do not read rank_pattern and alpha_pattern",
                     out);
    }
    mem_free(name);
    return rc;
}

// Before the model is loaded.
static int check_out(const char *format, const char *out, const char *model, const char *adapter, Err *err) {
    InputSet inputs = {0};
    weight_source_add_inputs(&inputs, model);
    input_set_add(&inputs, adapter);
    int rc = strcmp(format, "gguf") == 0 ? overwrite_file(out, adapter_gguf_own, &inputs, err)
                                         : overwrite_folder(out, &adapter_peft_own, &inputs, err);
    input_set_clear(&inputs);
    return rc;
}

static int run_export(int argc, char **argv, Err *err) {
    const char *model = NULL, *format = NULL, *out = NULL, *path = NULL;
    size_t n_words;
    const ArgSpec specs[] = {
        MODEL_ARGS(&model), {"format", ARG_STRING, &format, NULL}, {"out", ARG_STRING, &out, NULL}};
    if (args_parse(argc, argv, specs, sizeof specs / sizeof *specs, &path, 1, &n_words, err)) return -1;
    if (!n_words) return err_input(err, "export: no adapter named; expected a PEFT folder or a .gguf file");
    if (!out) return err_input(err, "export: --out is missing; expected where to write");
    if (!format || (strcmp(format, "peft") != 0 && strcmp(format, "gguf") != 0))
        return err_input(err, "export: --format is %s; expected peft or gguf", format ? format : "missing");
    if (check_out(format, out, model, path, err)) return -1;
    Loaded l = {0};
    int rc = loaded_open(&l, &on_the_cpu, model, path, &(ModelOptions){.classifier = true}, err);
    if (rc == 0) rc = make_parent(out, err);
    if (rc == 0) rc = save(&l, format, out, err);
    loaded_close(&l);
    return rc;
}

const Verb verb_export = {
    .name = "export",
    .usage = "lorac export ADAPTER --model_name_or_path M --format peft/gguf --out P",
    .summary = "Convert an adapter between a PEFT folder and a GGUF file",
    .help =
        "  --format peft  P becomes a folder with adapter_config.json, adapter_model.safetensors and README.md\n"
        "  --format gguf  P becomes a file that llama.cpp, LM Studio and Ollama load over the GGUF base\n\n"
        "Modules may differ in rank and alpha. A GGUF adapter has one alpha: the B of a module with another one is\n"
        "multiplied by the ratio, rounded once to float32.\n"
        "The base model M tells the order of the rows of q_proj and k_proj. Written under a temporary name and\n"
        "renamed; an adapter that is zero or not finite is refused. What is at P already is replaced only if lorac\n"
        "wrote it as such an adapter.\n",
    .run = run_export,
};
