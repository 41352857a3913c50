// loaded: the backend, the base model and the optional adapter that a verb works on, and the options that name them.
#pragma once

#include "adapter.h"
#include "cli.h"
#include "model.h"
#include "run_device.h"

typedef struct LoadOptions {
    char *model_name_or_path, *adapter_name_or_path; // adapter NULL: none
    char *device;                                    // NULL: "auto"
    DtypeWord dtype;
} LoadOptions;

// Rows of a table of options whose struct has the field `LoadOptions load`.
#define LOAD_OPTION(type_, name_, ...)                                                                                 \
    { .name = #name_, .type = KEY_##type_, .offset = offsetof(Options, load.name_), __VA_ARGS__ }
#define MODEL_OPTION                                                                                                   \
    LOAD_OPTION(PATH, model_name_or_path, .aliases = "base_model model", .flags = OPTION_REQUIRED,                     \
                .help = "Base model: a Hugging Face folder or a .gguf file. Required.")
#define ADAPTER_OPTION(...)                                                                                            \
    LOAD_OPTION(PATH, adapter_name_or_path, .help = "Adapter: a PEFT folder or a .gguf file." __VA_ARGS__)
#define DEVICE_OPTIONS                                                                                                 \
    LOAD_OPTION(STRING, device, .standard = "\"auto\"", .is_valid = run_device_is_word,                                \
                .expected = RUN_DEVICE_EXPECTED,                                                                       \
                .help = "cpu, cuda or cuda:N; auto: a GPU if there is one, else the CPU."),                            \
        LOAD_OPTION(CHOICE, dtype, .words = ENUM_WORDS(DTYPE_WORDS), .aliases = "torch_dtype", .standard = "\"auto\"", \
                    .help = "Type of the activations.")

typedef struct Loaded { // init with {0}
    Backend *backend;
    Model *model;
    Adapter *adapter;
} Loaded;

// options NULL: all 0. With options->classifier the verb handles classifiers and models without a language-model head;
// else both are refused. After a failure too, loaded_close is the caller's.
int loaded_open(Loaded *l, const LoadOptions *load, const ModelOptions *options, Err *err);
int loaded_refuse_classifier(const Adapter *a, const char *path, Err *err);
int loaded_check(const Loaded *l, Err *err); // fails if the device has failed: results are not valid then
void loaded_close(Loaded *l);
