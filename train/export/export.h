// export: an adapter in every form that a run leaves behind, and the text that goes with it.
#pragma once

#include "adapter.h"

// What a model card says about the run; fields that are 0 or NULL are left out.
typedef struct RunFacts {
    const char *const *data_files;
    size_t n_data_files;
    int64_t steps, tokens, supervised_tokens;
    double learning_rate, loss, eval_loss;
} RunFacts;

// README.md of a PEFT folder: front matter as the hub reads it, how it was made, how to load it. run may be NULL (an
// adapter that was only converted). Caller frees.
char *model_card_text(const Model *m, const Adapter *a, const char *name, const RunFacts *run);

// Whether adapter_export writes a Modelfile: not where it cannot hold the path of a GGUF base, which is warned of.
bool export_has_modelfile(const Model *m);
OwnCheck modelfile_own; // overwrite.h
// Writes output_dir/adapter/, output_dir/adapter.gguf and output_dir/Modelfile; of a classifier, which llama.cpp and
// Ollama have no form for, only the first.
int adapter_export(const Adapter *a, const Model *m, const char *output_dir, const char *name, const RunFacts *run,
                   Err *err);
