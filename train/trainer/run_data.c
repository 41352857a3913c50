#include "run_data.h"

#include <inttypes.h>
#include <string.h>

#include "data_notes.h"
#include "file_faults.h"
#include "fileio.h"
#include "hash.h"
#include "path.h"
#include "records.h"
#include "subset.h"

enum { MAX_TEMPLATE_BYTES = 1 << 20 };

int run_max_tokens(const Config *c, const ModelConfig *m, int64_t *max_tokens, Err *err) {
    *max_tokens = c->max_seq_length;
    if (c->max_seq_length <= m->context) return 0;
    if (config_is_set(c, CONFIG_max_seq_length))
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
        if (err) err->kind = ERR_INPUT;
        return -1;
    }
    if (fault_in_file(c->chat_template, text, size, true, err)) {
        mem_free(text);
        return -1;
    }
    int rc = memchr(text, 0, size) ? err_input(err, "found a NUL byte; expected text")
                                   : chat_template_new(chat, t, text_skip_mark(text, &size), err);
    if (rc) err_context(err, "%s", c->chat_template);
    mem_free(text);
    return rc;
}

static int add_files(FileList *files, const char *pattern, double weight, Err *err) {
    size_t first = files->count;
    if (file_pattern_expand(&files->items, &files->count, pattern, err)) return -1;
    files->weights = mem_realloc(files->weights, files->count + 1, sizeof *files->weights);
    for (size_t i = first; i < files->count; i++) files->weights[i] = weight;
    return 0;
}

int run_train_files(FileList *files, const Config *c, Err *err) {
    *files = (FileList){0};
    for (size_t i = 0; i < c->train_file.count; i++)
        if (add_files(files, c->train_file.items[i], c->train_file.weights[i], err))
            return err_context(err, "train_file");
    return 0;
}

int run_validation_files(FileList *files, const Config *c, Err *err) {
    *files = (FileList){0};
    return add_files(files, c->validation_file, 1, err) ? err_context(err, "validation_file") : 0;
}

DatasetOptions run_dataset_options(const Config *c, const FileList *files, int64_t max_tokens) {
    return (DatasetOptions){.files = (const char *const *)files->items,
                            .n_files = files->count,
                            .format = (DatasetFormat)c->dataset_format,
                            .train_on_inputs = c->train_on_inputs,
                            .parse_special = (ParseSpecial)c->parse_special,
                            .unrendered = (Unrendered)c->unrendered,
                            .max_seq_length = max_tokens,
                            .truncation = (Truncation)c->truncation,
                            .classification = c->task == TASK_CLASSIFICATION};
}

int run_weigh(SampleList *out, const Dataset *d, const FileList *files, const Config *c, SampleList from, Err *err) {
    bool weighted = false;
    for (size_t i = 0; i < files->count; i++) weighted |= files->weights[i] != 1;
    *out = (SampleList){.count = from.count};
    if (!weighted) return 0;
    if (subset_weigh(d, files->weights, (uint64_t)c->seed, from, out, err)) return err_context(err, "train_file");
    return 0;
}

// Rows of the samples, weighed.
static int plan_train(RunData *d, const Config *c, const FileList *files, SampleList samples, int64_t max_tokens,
                      Err *err) {
    SampleList list;
    if (run_weigh(&list, d->train, files, c, samples, err)) return -1;
    d->train_samples = list.count;
    d->rows = row_plan_new(d->train, list.items ? list.items : samples.items, list.count, max_tokens, c->packing);
    mem_free(list.items);
    return 0;
}

static int plan_split(RunData *d, const Config *c, const FileList *files, int64_t max_tokens, Err *err) {
    SampleList train, eval;
    if (subset_split(d->train, c->val_set_size, (uint64_t)c->seed, &train, &eval, err))
        return err_context(err, "val_set_size");
    d->eval_rows = row_plan_new(d->train, eval.items, eval.count, max_tokens, c->packing);
    d->eval_samples = eval.count;
    d->eval_set = d->train;
    mem_free(eval.items);
    int rc = plan_train(d, c, files, train, max_tokens, err);
    mem_free(train.items);
    return rc;
}

// Classification: a sample is scored where the model's head looks.
static DatasetOptions options_for(const Config *c, const Model *m, const FileList *files, const LabelList *labels,
                                  int64_t max_tokens) {
    DatasetOptions o = run_dataset_options(c, files, max_tokens);
    o.labels = labels;
    o.score_first = m->config.arch->encoder;
    return o;
}

static int open_validation(RunData *d, const Config *c, const Model *m, const LabelList *labels, int64_t max_tokens,
                           Err *err) {
    FileList files;
    int rc = run_validation_files(&files, c, err);
    if (d->train) labels = d->train->labels; // a label that training does not know is refused
    DatasetOptions o = options_for(c, m, &files, labels, max_tokens);
    if (!rc) rc = dataset_open(&d->validation, &o, m->tokenizer, d->chat, err);
    file_list_clear(&files);
    if (rc) return -1;
    d->eval_set = d->validation;
    d->eval_samples = d->validation->count;
    d->eval_rows = row_plan_new(d->validation, NULL, d->eval_samples, max_tokens, c->packing);
    return 0;
}

static int open_train(RunData *d, const Config *c, const Model *m, const LabelList *labels, int64_t max_tokens,
                      StrBuf *identity, Err *err) {
    FileList files;
    int rc = run_train_files(&files, c, err);
    DatasetOptions o = options_for(c, m, &files, labels, max_tokens);
    if (!rc) rc = dataset_open(&d->train, &o, m->tokenizer, d->chat, err);
    for (size_t i = 0; i < files.count; i++)
        if (files.weights[i] != 1) str_printf(identity, "%zu %.17g ", i, files.weights[i]);
    if (!rc && c->val_set_size > 0)
        rc = plan_split(d, c, &files, max_tokens, err);
    else if (!rc)
        rc = plan_train(d, c, &files, (SampleList){.count = d->train->count}, max_tokens, err);
    file_list_clear(&files);
    return rc;
}

// A tokenizer may have control tokens without an embedding in the model.
static int check_ids(const Dataset *d, const Model *m, Err *err) {
    if (!d || tokenizer_vocab_size(m->tokenizer) <= m->config.vocab) return 0;
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        for (int64_t t = 0; t < s.count; t++)
            if (s.ids[t] >= m->config.vocab) {
                size_t len;
                const char *text = tokenizer_piece(m->tokenizer, s.ids[t], &len);
                return err_input(err,
                                 "record %" PRId64 " of the data: token \"%.*s\" (id %d) at position %" PRId64
                                 "; expected ids below %" PRId64 ", the model's vocabulary",
                                 s.record, (int)(len < 64 ? len : 64), text, s.ids[t], t, m->config.vocab);
            }
    }
    dataset_release(d);
    return 0;
}

int run_data_open(RunData *d, const Config *c, const Model *m, const LabelList *labels, bool train, Err *err) {
    int64_t max_tokens;
    *d = (RunData){0};
    if (run_max_tokens(c, &m->config, &max_tokens, err) || run_chat_template(c, m->tokenizer, &d->chat, err)) return -1;
    bool from_train = c->val_set_size > 0 && !c->validation_file;
    StrBuf identity = {0};
    int rc = 0;
    if (train || from_train) rc = open_train(d, c, m, labels, max_tokens, &identity, err);
    if (!rc && c->validation_file) rc = open_validation(d, c, m, labels, max_tokens, err);
    if (!rc) rc = check_ids(d->train, m, err) || check_ids(d->validation, m, err) ? -1 : 0;
    if (!rc) {
        str_printf(&identity, "%s %s", d->train ? d->train->fingerprint : "-",
                   d->validation ? d->validation->fingerprint : "-");
        hash_bytes(d->fingerprint, identity.data, identity.len);
    }
    str_clear(&identity);
    if (!rc && !train && d->validation) data_notes_warn(d->validation, m->tokenizer);
    return rc;
}

void run_data_close(RunData *d) {
    row_plan_free(d->rows);
    row_plan_free(d->eval_rows);
    dataset_close(d->train);
    dataset_close(d->validation);
    chat_template_free(d->chat);
    *d = (RunData){0};
}
