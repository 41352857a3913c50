// export: writes an adapter in every form of a run's output, with its model card (model_card.c).
#pragma once

#include "adapter.h"

// Facts about the run for the model card; fields that are 0 or NULL are left out.
typedef struct RunFacts {
    const char *const *data_files;
    size_t n_data_files;
    int64_t steps, tokens, supervised_tokens;
    double learning_rate, loss, eval_loss;
} RunFacts;

// README.md of a PEFT folder: front matter for the hub, facts about the run, how to load it. run NULL: the adapter was
// converted. The caller frees.
char *model_card_text(const Model *m, const Adapter *a, const char *name, const RunFacts *run);

OwnCheck modelfile_own; // overwrite.h
// Writes output_dir/adapter/, output_dir/adapter.gguf and output_dir/Modelfile; of a classifier, which llama.cpp
// cannot load, only the first; of DoRA all but the second.
int adapter_export(const Adapter *trained, const Model *m, const char *output_dir, const char *name,
                   const RunFacts *run, Err *err);
