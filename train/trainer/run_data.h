// run_data: the training and evaluation data of a run as rows.
#pragma once

#include "config.h"
#include "data_files.h"
#include "dataset.h"
#include "model.h"
#include "prompt_cases.h"
#include "rows.h"
#include "subset.h"

typedef struct RunData {
    ChatTemplate *chat; // NULL: the model has none
    Dataset *train;     // NULL when only evaluation data was opened
    Dataset *validation;
    const Dataset *eval_set; // validation, or train when val_set_size takes from it; NULL: no evaluation data
    RowPlan *rows, *eval_rows;
    int64_t train_samples, eval_samples;
    int64_t *held_out, n_held_out; // val_set_size: records with a sample in eval_rows (Sample.record), ascending
    int64_t max_tokens;            // of a row (run_max_tokens)
    Pooling pooling;               // of embeddings: not AUTO
    bool normalize;                // of embeddings
    char fingerprint[33];          // of all data that affects results
} RunData;

// Longest row: max_seq_length; only its default is clamped to the model's context.
int run_max_tokens(const Config *c, const ModelConfig *m, int64_t *max_tokens, Err *err);
// The chat template: the config's file or name, else the model's own, else that of `template`; *chat stays NULL where
// there is none.
int run_chat_template(const Config *c, const Tokenizer *t, ChatTemplate **chat, Err *err);
// A path of train_file or validation_file with its split, whose text was checked with the config.
DataName run_data_name(const FileList *files, size_t i);
// Expands names, folders and patterns (data_files.h) to files with weights; the caller calls file_list_clear. key:
// begins messages; NULL: none.
int run_data_files(FileList *files, const FileList *given, const FileRule *columns, const char *key, Err *err);
int run_train_files(FileList *files, const Config *c, Err *err);
int run_validation_files(FileList *files, const Config *c, Err *err);
// The files that evaluation data comes from, and which of their records it is. Borrows from d.
int run_eval_files(FileList *files, CaseChoice *choice, const RunData *d, const Config *c, Err *err);
// Borrows the list.
PreferenceData run_preference(const Config *c); // what the task reads
EmbeddingData run_embedding(const Config *c);
Problem run_problem(const Config *c); // likewise
DatasetOptions run_dataset_options(const Config *c, const FileList *files, int64_t max_tokens);
// The samples of an epoch: those of `from`, weighed by their files. out->items is NULL where all weights are 1.
int run_weigh(SampleList *out, const Dataset *d, const FileList *files, const Config *c, SampleList from, Err *err);

typedef struct RunLabels {
    const LabelList *names;
    Problem problem;
} RunLabels;
static inline RunLabels run_labels(const Dataset *d) { // names NULL: other data, or none
    return (RunLabels){d ? d->labels : NULL, d ? d->problem : PROBLEM_AUTO};
}
// train false: only evaluation data. labels: allowed classes of classification data, NULL: those of the training data.
// The caller calls run_data_close, also after a failure.
int run_data_open(RunData *d, const Config *c, const Model *m, const RunLabels *labels, bool train, Err *err);
// Instead of data, for sizes alone: `rows` rows of the length that the config allows, all supervised; as many for
// evaluations, if the config has any.
int run_data_assume(RunData *d, const Config *c, const Model *m, int64_t rows, Err *err);
void run_data_close(RunData *d);
