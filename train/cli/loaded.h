// loaded: the backend, the base model and maybe an adapter that a verb works on.
#pragma once

#include "adapter.h"
#include "model.h"

// The option that names the base model, with its aliases, in a list of ArgSpecs; out: const char **.
#define MODEL_ARGS(out)                                                                                                \
    {"model_name_or_path", ARG_STRING, (out), NULL}, {"base_model", ARG_STRING, (out), NULL}, {                        \
        "model", ARG_STRING, (out), NULL                                                                               \
    }

// What to compute on, as on the command line; NULL: auto.
typedef struct DeviceWords {
    const char *device, *dtype;
} DeviceWords;
#define DEVICE_ARGS(words)                                                                                             \
    {"device", ARG_STRING, &(words)->device, NULL}, {"dtype", ARG_STRING, &(words)->dtype, NULL}, {                    \
        "torch_dtype", ARG_STRING, &(words)->dtype, NULL                                                               \
    }
#define DEVICE_HELP                                                                                                    \
    "  --device D, --dtype T   cpu, cuda or cuda:N (auto: a GPU where there is one); auto, f32, tf32, bf16, f16, "     \
    "fp8\n"
extern const DeviceWords on_the_cpu;
int device_words_open(Backend **b, const DeviceWords *on, Err *err);

typedef struct Loaded { // init with {0}
    Backend *backend;
    Model *model;
    Adapter *adapter;
} Loaded;

// model_path is required (NULL: EXIT_INPUT names the option); adapter_path NULL: none; options NULL: all 0. With
// options->classifier the verb knows what to do with classifiers and with models that have no language-model head; else
// both are refused. After a failure too, loaded_close is the caller's.
int loaded_open(Loaded *l, const DeviceWords *on, const char *model_path, const char *adapter_path,
                const ModelOptions *options, Err *err);
int loaded_refuse_classifier(const Adapter *a, const char *path, Err *err);
int loaded_check(const Loaded *l, Err *err); // whether the device has failed: then its results mean nothing
void loaded_close(Loaded *l);
