// lorac export ADAPTER [--model_name_or_path M] --format peft/gguf --out P
#include <string.h>

#include "export.h"
#include "fileio.h"
#include "hub_cache.h"
#include "path.h"
#include "run_folder.h"
#include "weight_source.h"

#define EXPORT_FORMATS(X)                                                                                              \
    X(EXPORT_PEFT, "peft", "a folder: adapter_config.json, adapter_model.safetensors, README.md")                      \
    X(EXPORT_GGUF, "gguf", "a file for llama.cpp, to load over the GGUF base")
typedef enum { EXPORT_FORMATS(ENUM_CONSTANT) } ExportFormat;

#define EXPORT_ENGINES(X)                                                                                              \
    X(EXPORT_FOR_ALL, "all", NULL)                                                                                     \
    X(EXPORT_FOR_SGLANG, "sglang",                                                                                     \
      "a PEFT folder in which the siblings of stacked modules (q and v, gate and up) that were not trained are zero")
typedef enum { EXPORT_ENGINES(ENUM_CONSTANT) } ExportEngine;

typedef struct Options {
    LoadOptions load;
    ExportFormat format;
    ExportEngine for_engine;
    char *out, *base_model_name;
} Options;

static const Key options[] = {
    MODEL_OPTION,
    OPTION_CHOICE(format, EXPORT_FORMATS, .flags = OPTION_REQUIRED, .help = "What is written. Required."),
    {.name = "for",
     .type = KEY_CHOICE,
     .offset = offsetof(Options, for_engine),
     .words = ENUM_WORDS(EXPORT_ENGINES),
     .standard = "\"all\"",
     .help = "The engine that is to load it."},
    OPTION(PATH, out, .flags = OPTION_REQUIRED,
           .help =
               "Where it is written. An existing P is replaced only if lorac wrote it as such an adapter. Required."),
    OPTION(STRING, base_model_name, .aliases = "base_name",
           .help = "Name of the base model on the hub, \"owner/name\", for base_model_name_or_path and model card of a "
                   "PEFT folder."),
};

// Last part of a path without trailing slashes: the adapter's name.
static char *base_name(const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    return mem_strndup(path + start, end - start);
}

static int for_sglang(Loaded *l, const char *path, Err *err) {
    Adapter *filled;
    if (l->adapter->config.dora)
        return err_input(err, "%s: SGLang does not compute DoRA; expected an adapter without it, or lorac merge", path);
    if (adapter_has_patterns(l->adapter))
        return err_input(err,
                         "%s: modules differ in rank or alpha; SGLang does not read rank_pattern and alpha_pattern: "
                         "expected one rank and alpha",
                         path);
    if (adapter_fill_siblings(&filled, l->model, l->adapter, err)) return -1;
    if (!filled) return 0;
    adapter_free(l->adapter);
    l->adapter = filled;
    return 0;
}

static int save(const Loaded *l, ExportFormat format, const char *out, Err *err) {
    AUTO_FREE char *name = base_name(out), *parent = path_parent(out);
    if (dir_make_parents(parent, err)) return -1;
    if (format == EXPORT_GGUF) return adapter_save_gguf(l->adapter, l->model, out, name, err);
    AUTO_FREE char *card = model_card_text(l->model, l->adapter, name, NULL);
    if (adapter_save_peft_whole(l->adapter, l->model, out, card, err)) return -1;
    if (adapter_has_patterns(l->adapter))
        log_warn("%s: modules differ in rank or alpha; SGLang does not read rank_pattern and alpha_pattern", out);
    return 0;
}

// Before the model is loaded.
static int check_out(ExportFormat format, const char *out, const char *model, const char *adapter, Err *err) {
    AUTO_INPUTS InputSet inputs = {0};
    weight_source_add_inputs(&inputs, model);
    input_set_add(&inputs, adapter);
    return format == EXPORT_GGUF ? overwrite_file(out, adapter_gguf_own, &inputs, err)
                                 : overwrite_folder(out, &adapter_peft_own, &inputs, err);
}

static int run_export(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_CALL(loaded_close) Loaded l = {0};
    LoadOptions load;
    AUTO_FREE char *adapter = mem_strdup(argv[0]);
    if (hub_find_model(&adapter, NULL, err)) return -1;
    if (o->format == EXPORT_GGUF && o->for_engine == EXPORT_FOR_SGLANG)
        return err_input(err, "--for sglang: with --format gguf; expected --format peft");
    if (run_folder_names(&load, &l, &o->load, adapter, err)) return -1;
    if (!load.adapter_name_or_path) load.adapter_name_or_path = adapter;
    if (check_out(o->format, o->out, load.model_name_or_path, load.adapter_name_or_path, err)) return -1;
    load.device = "cpu";
    ModelOptions options = {.classifier = true, .repository = o->base_model_name};
    if (loaded_open(&l, &load, &options, err) ||
        (o->for_engine == EXPORT_FOR_SGLANG && for_sglang(&l, load.adapter_name_or_path, err)))
        return -1;
    return save(&l, o->format, o->out, err);
}

const Verb verb_export = {
    .name = "export",
    .usage = "lorac export ADAPTER [--model_name_or_path M] --format peft/gguf --out P [--for sglang]",
    .summary = "Convert an adapter between a PEFT folder and a GGUF file",
    .help =
        "ADAPTER is a PEFT folder, a GGUF adapter, or the output_dir of a run, whose base model is then known.\n"
        "Modules may differ in rank and alpha. A GGUF adapter has one alpha: the B of a module with another one is\n"
        "multiplied by the ratio, rounded once to float32. The base model determines the order of the rows of\n"
        "q_proj and k_proj. A PEFT folder has rank-stabilised scaling as alpha * sqrt(r), without use_rslora.\n"
        "The result is written under a temporary name and renamed. An adapter that is zero or\n"
        "not finite is refused.",
    .example = "lorac export out/run/adapter --model_name_or_path base.gguf --format gguf --out adapter.gguf",
    OPTIONS(options),
    .operand = "ADAPTER",
    .run = run_export,
};
