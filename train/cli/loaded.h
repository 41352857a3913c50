// loaded: the backend, the base model and maybe an adapter that a verb works on.
#pragma once

#include "adapter.h"
#include "model.h"

// The option that names the base model, with its aliases, in a list of ArgSpecs; out: const char **.
#define MODEL_ARGS(out)                                                                                                \
    {"model_name_or_path", ARG_STRING, (out), NULL}, {"base_model", ARG_STRING, (out), NULL}, {                        \
        "model", ARG_STRING, (out), NULL                                                                               \
    }

typedef struct Loaded { // init with {0}
    Backend *backend;
    Model *model;
    Adapter *adapter;
} Loaded;

// model_path is required (NULL: EXIT_INPUT names the option); adapter_path NULL: none; options NULL: all 0. With
// options->classifier the verb knows what to do with classifiers and with models that have no language-model head; else
// both are refused. After a failure too, loaded_close is the caller's.
int loaded_open(Loaded *l, const char *model_path, const char *adapter_path, const ModelOptions *options, Err *err);
int loaded_refuse_classifier(const Adapter *a, const char *path, Err *err);
void loaded_close(Loaded *l);
