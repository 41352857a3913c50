#include "run_data.h"

#include <stdio.h>
#include <string.h>

#include "fileio.h"

enum { MAX_TEMPLATE_BYTES = 1 << 20 };

int run_max_tokens(const Config *c, const ModelConfig *m, int64_t *max_tokens, Err *err) {
    *max_tokens = c->max_seq_length;
    if (c->max_seq_length <= m->context) return 0;
    if (config_is_set(c, "max_seq_length"))
        return err_input(err, "max_seq_length: %lld; expected at most the context of %s, %lld",
                         (long long)c->max_seq_length, c->model_name_or_path, (long long)m->context);
    *max_tokens = m->context;
    return 0;
}

int run_chat_template(const Config *c, const Tokenizer *t, ChatTemplate **chat, Err *err) {
    *chat = NULL;
    if (!c->chat_template) return tokenizer_chat_template(t) ? chat_template_new(chat, t, NULL, err) : 0;
    char *text;
    size_t size;
    if (file_read(&text, &size, c->chat_template, MAX_TEMPLATE_BYTES, err)) {
        if (err) err->status = EXIT_INPUT;
        return -1;
    }
    int status = chat_template_new(chat, t, text, err);
    if (status) err_context(err, "%s", c->chat_template);
    mem_free(text);
    return status;
}

DatasetOptions run_dataset_options(const Config *c, char *const *files, size_t n_files, int64_t max_tokens) {
    return (DatasetOptions){.files = (const char *const *)files,
                            .n_files = n_files,
                            .format = (DatasetFormat)c->dataset_format,
                            .train_on_inputs = c->train_on_inputs,
                            .max_seq_length = max_tokens,
                            .truncation = (Truncation)c->truncation,
                            .classification = c->task == TASK_CLASSIFICATION};
}

static RowPlan *plan_all(const Dataset *d, int64_t max_tokens, bool packing, int64_t *n_samples) {
    int64_t n = dataset_count(d), *all = mem_alloc((size_t)n + 1, sizeof *all);
    for (int64_t i = 0; i < n; i++) all[i] = i;
    RowPlan *p = row_plan_new(d, all, n, max_tokens, packing);
    mem_free(all);
    *n_samples = n;
    return p;
}

static int plan_split(RunData *d, const Config *c, int64_t max_tokens, Err *err) {
    int64_t *train, *eval;
    if (dataset_split(d->train, c->val_set_size, (uint64_t)c->seed, &train, &d->train_samples, &eval, &d->eval_samples,
                      err))
        return err_context(err, "val_set_size");
    d->rows = row_plan_new(d->train, train, d->train_samples, max_tokens, c->packing);
    d->eval_rows = row_plan_new(d->train, eval, d->eval_samples, max_tokens, c->packing);
    d->eval_set = d->train;
    mem_free(train);
    mem_free(eval);
    return 0;
}

static int open_validation(RunData *d, const Config *c, const Model *m, int64_t max_tokens, Err *err) {
    DatasetOptions o = run_dataset_options(c, &c->validation_file, 1, max_tokens);
    if (d->train) o.labels = dataset_labels(d->train); // a label that training does not know is refused
    if (dataset_open(&d->validation, &o, m->tokenizer, d->chat, err)) return -1;
    d->eval_set = d->validation;
    d->eval_rows = plan_all(d->validation, max_tokens, c->packing, &d->eval_samples);
    return 0;
}

static int open_train(RunData *d, const Config *c, const Model *m, int64_t max_tokens, Err *err) {
    DatasetOptions o = run_dataset_options(c, c->train_file.items, c->train_file.count, max_tokens);
    if (dataset_open(&d->train, &o, m->tokenizer, d->chat, err)) return -1;
    if (c->val_set_size > 0) return plan_split(d, c, max_tokens, err);
    d->rows = plan_all(d->train, max_tokens, c->packing, &d->train_samples);
    return 0;
}

int run_data_open(RunData *d, const Config *c, const Model *m, bool train, Err *err) {
    int64_t max_tokens;
    *d = (RunData){0};
    if (run_max_tokens(c, &m->config, &max_tokens, err) || run_chat_template(c, m->tokenizer, &d->chat, err)) return -1;
    bool from_train = c->val_set_size > 0 && !c->validation_file;
    if ((train || from_train) && open_train(d, c, m, max_tokens, err)) return -1;
    if (c->validation_file && open_validation(d, c, m, max_tokens, err)) return -1;
    char both[128];
    snprintf(both, sizeof both, "%s %s", d->train ? dataset_fingerprint(d->train) : "-",
             d->validation ? dataset_fingerprint(d->validation) : "-");
    hash_bytes(d->fingerprint, both, strlen(both));
    return 0;
}

void run_data_close(RunData *d) {
    row_plan_free(d->rows);
    row_plan_free(d->eval_rows);
    dataset_close(d->train);
    dataset_close(d->validation);
    chat_template_free(d->chat);
    *d = (RunData){0};
}
