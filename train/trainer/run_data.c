#include "run_data.h"

#include <string.h>

#include "data_notes.h"
#include "fileio.h"
#include "hash.h"
#include "hub_cache.h"
#include "logits.h"
#include "path.h"
#include "record_slice.h"
#include "records.h"
#include "sentence_folder.h"
#include "subset.h"
#include "template_check.h"
#include "vectors.h"

// KL_GROUP: records whose completions are exchanged for KTO's estimate. TRL takes those of a device's batch; a constant
// makes the data independent of how a batch is split.
enum { MAX_TEMPLATE_BYTES = 1 << 20, KL_GROUP = 16 };

int run_max_tokens(const Config *c, const ModelConfig *m, int64_t *max_tokens, Err *err) {
    *max_tokens = c->max_seq_length;
    if (c->max_seq_length <= m->context) return 0;
    if (config_is_set(c, CONFIG_max_seq_length))
        return err_input(err, "max_seq_length: %ld; expected at most the context of %s, %ld", c->max_seq_length,
                         c->model_name_or_path, m->context);
    *max_tokens = m->context;
    return 0;
}

static int load_named_template(NamedTemplate n, const Tokenizer *t, ChatTemplate **chat, Err *err) {
    AUTO_FREE char *source = NULL;
    return named_template_source(&source, n, t, err) || chat_template_new(chat, t, source, err) ? -1 : 0;
}

static int fail_template_name(const char *name, Err *err) {
    AUTO_STR StrBuf names = {0};
    for (int n = 0; n < NAMED_TEMPLATE_COUNT; n++)
        str_printf(&names, "%s%s", n ? ", " : "", ENUM_WORDS(NAMED_TEMPLATES)[n].word);
    return err_input(err, "chat_template: \"%.64s\" is neither a file nor one of %s", name, names.data);
}

static int load_chat_template(const Config *c, const Tokenizer *t, ChatTemplate **chat, Err *err) {
    *chat = NULL;
    int n = -1;
    if (c->chat_template)
        n = words_index(ENUM_WORDS(NAMED_TEMPLATES), c->chat_template);
    else if (c->template && !t->chat_template)
        n = named_template_find(c->template);
    if (n >= 0) return load_named_template((NamedTemplate)n, t, chat, err);
    if (!c->chat_template) return t->chat_template ? chat_template_new(chat, t, NULL, err) : 0;
    if (!strpbrk(c->chat_template, "./") && !path_exists(c->chat_template))
        return fail_template_name(c->chat_template, err);
    AUTO_FREE char *text = NULL;
    size_t size;
    if (file_read(&text, &size, c->chat_template, MAX_TEMPLATE_BYTES, err)) {
        if (err) err->kind = ERR_INPUT;
        return -1;
    }
    if (fault_in_file(c->chat_template, text, size, true, err)) return -1;
    int rc = memchr(text, 0, size) ? err_input(err, "found a NUL byte; expected text")
                                   : chat_template_new(chat, t, text_skip_mark(text, &size), err);
    return rc ? err_context(err, "%s", c->chat_template) : 0;
}

int run_chat_template(const Config *c, const Tokenizer *t, ChatTemplate **chat, Err *err) {
    return load_chat_template(c, t, chat, err) || template_check(c, *chat, err) ? -1 : 0;
}

DataName run_data_name(const FileList *files, size_t i) {
    DataName name = {files->items[i], files->rules[i].split, 0};
    RecordSlice unused;
    if (name.split) record_slice_parse(&unused, name.split, &name.split_len);
    return name;
}

// A folder with a split: its files of that name. A slice is of one file.
static int expand_one(NameList *found, DataName name, Err *err) {
    const char *path = name.given, *split = name.split;
    if (data_files_expand(found, name, NULL, err)) return -1;
    bool plain = split && strlen(split) == name.split_len;
    if (split && found->count > 1 && !plain)
        return err_input(err, "split: %s of %zu file%s, %s; expected the slice of one file", split, found->count,
                         plural(found->count), path);
    if (split && !path_is_dir(path) && !is_among(split, name.split_len, "train"))
        return err_input(err, "split: %s of the file %s, which is the split train; expected a folder, or train", split,
                         path);
    return 0;
}

int run_data_files(FileList *files, const FileList *given, const FileRule *columns, const char *key, Err *err) {
    *files = (FileList){0};
    for (size_t i = 0; i < given->count; i++) {
        AUTO_NAMES NameList found = {0};
        AUTO_FREE char *hint = hub_hint(given->items[i], HUB_DATASET);
        int rc = *hint ? err_input(err, "%s: no such file%s", given->items[i], hint) : 0;
        if (!rc) rc = expand_one(&found, run_data_name(given, i), err);
        for (size_t k = 0; k < found.count; k++) {
            file_list_add(files, found.items[k], given->weights[i], &given->rules[i]);
            file_rule_add_columns(&files->rules[files->count - 1], columns);
            files->rules[files->count - 1].entry = i;
        }
        if (rc) return key ? err_context(err, "%s", key) : -1;
    }
    return 0;
}

int run_train_files(FileList *files, const Config *c, Err *err) {
    return run_data_files(files, &c->train_file, &c->columns, "train_file", err);
}

int run_validation_files(FileList *files, const Config *c, Err *err) {
    return run_data_files(files, &c->validation_file, &c->columns, "validation_file", err);
}

// A file that is missing is found before the training data is read.
static int check_validation(const Config *c, Err *err) {
    AUTO_CALL(file_list_clear) FileList files = {0};
    if (!c->validation_file.count) return 0;
    int rc = run_validation_files(&files, c, err);
    for (size_t i = 0; i < files.count && !rc; i++)
        if (!path_exists(files.items[i]))
            rc = err_input(err, "validation_file: %s: no such file; expected a data file", files.items[i]);
    return rc;
}

PreferenceData run_preference(const Config *c) {
    if (c->task != TASK_PREFERENCE) return PREFERENCE_NONE;
    return c->preference_loss == LOSS_KTO ? PREFERENCE_LABELS : PREFERENCE_PAIRS;
}

static MlmRule mlm_rule(const Config *c) {
    if (c->task != TASK_MLM) return (MlmRule){0};
    return (MlmRule){.probability = (float)c->mlm_probability,
                     .replaced = (float)c->mask_replace_prob,
                     .random = (float)c->random_replace_prob,
                     .words = c->whole_word_mask,
                     .seed = (uint64_t)c->seed};
}

EmbeddingData run_embedding(const Config *c) {
    if (c->task != TASK_EMBEDDING) return EMBEDDING_NONE;
    return c->embedding_loss == LOSS_RANKING  ? EMBEDDING_RANKED
           : c->embedding_loss == LOSS_COSINE ? EMBEDDING_COSINES
                                              : EMBEDDING_SCORED;
}
Problem run_problem(const Config *c) { return c->task == TASK_TOKEN_CLASSIFICATION ? PROBLEM_TOKENS : c->problem_type; }

DatasetOptions run_dataset_options(const Config *c, const FileList *files, int64_t max_tokens) {
    return (DatasetOptions){.files = (const char *const *)files->items,
                            .n_files = files->count,
                            .format = (DatasetFormat)c->dataset_format,
                            .rules = files->rules,
                            .train_on_inputs = c->train_on_inputs,
                            .completion_only = c->completion_only_loss,
                            .raw_pairs = c->raw_pairs,
                            .learnt = config_learnt(c),
                            .parse_special = (ParseSpecial)c->parse_special,
                            .unrendered = (Unrendered)c->unrendered,
                            .max_seq_length = max_tokens,
                            .truncation = (Truncation)c->truncation,
                            .preference = run_preference(c),
                            .learn_chosen_prompt = c->preference_loss == LOSS_ORPO,
                            .kl_group = KL_GROUP,
                            .embedding = run_embedding(c),
                            .pooling = c->pooling ? c->pooling : POOLING_MEAN,
                            .mlm = mlm_rule(c),
                            .classification = task_classifies(c->task),
                            .problem = run_problem(c)};
}

// The entries of train_file, interleaved.
static int interleave(SampleList *out, const Dataset *d, const FileList *files, const Config *c, SampleList from,
                      Err *err) {
    AUTO_FREE size_t *source = mem_alloc(files->count + 1, sizeof *source);
    AUTO_FREE double *probabilities = mem_calloc(files->count + 1, sizeof *probabilities);
    Interleaving x = {.source = source, .until_all = c->mix_strategy == MIX_INTERLEAVE_OVER, .seed = (uint64_t)c->seed};
    bool given = false;
    for (size_t i = 0; i < files->count; i++) {
        const FileRule *rule = &files->rules[i];
        source[i] = rule->entry;
        probabilities[rule->entry] = rule->probability;
        x.sources = rule->entry + 1;
        given |= rule->probability > 0;
    }
    x.probabilities = given ? probabilities : NULL;
    return subset_interleave(d, &x, from, out, err) ? err_context(err, "mix_strategy") : 0;
}

int run_weigh(SampleList *out, const Dataset *d, const FileList *files, const Config *c, SampleList from, Err *err) {
    bool weighted = false;
    if (c->mix_strategy != MIX_CONCAT) return interleave(out, d, files, c, from, err);
    for (size_t i = 0; i < files->count; i++) weighted |= files->weights[i] != 1;
    *out = (SampleList){.count = from.count};
    if (!weighted) return 0;
    return subset_weigh(d, files->weights, (uint64_t)c->seed, from, out, err) ? err_context(err, "train_file") : 0;
}

// Rows of the training samples, weighed.
static int plan_train(RunData *d, const Config *c, const FileList *files, SampleList samples, Err *err) {
    SampleList list;
    if (run_weigh(&list, d->train, files, c, samples, err)) return -1;
    d->train_samples = list.count;
    d->rows = row_plan_new(d->train, list.items ? list.items : samples.items, list.count,
                           row_max_tokens(d->train, d->max_tokens), c->packing);
    mem_free(list.items);
    return 0;
}

static void plan_eval(RunData *d, const Config *c, const Dataset *from, SampleList samples) {
    d->eval_set = from;
    d->eval_samples = samples.count;
    d->eval_rows = row_plan_new(from, samples.items, samples.count, row_max_tokens(from, d->max_tokens), c->packing);
}

static void note_held_out(RunData *d, SampleList eval) {
    d->held_out = mem_alloc((size_t)eval.count, sizeof *d->held_out);
    for (int64_t i = 0; i < eval.count; i++) {
        int64_t record = dataset_sample(d->train, eval.items[i]).record;
        if (!d->n_held_out || d->held_out[d->n_held_out - 1] != record) d->held_out[d->n_held_out++] = record;
    }
    dataset_release(d->train);
}

static int plan_split(RunData *d, const Config *c, const FileList *files, Err *err) {
    SampleList train, eval;
    if (subset_split(d->train, c->val_set_size, (uint64_t)c->seed, &train, &eval, err))
        return err_context(err, "val_set_size");
    plan_eval(d, c, d->train, eval);
    note_held_out(d, eval);
    int rc = plan_train(d, c, files, train, err);
    mem_free(eval.items);
    mem_free(train.items);
    return rc;
}

// Label smoothing is of one label of several, and config.c cannot know what the data shows.
static int check_smoothing(const Dataset *d, const Config *c, Err *err) {
    if (!problem_is_each(d->problem) || c->label_smoothing_factor == 0) return 0;
    return err_input(err, "label_smoothing_factor: %g with problem_type %s; expected 0", c->label_smoothing_factor,
                     problem_name(d->problem));
}

// Classification: a sample is scored where the model's head looks. What the config does not say the base's head does.
static int open_dataset(Dataset **to, const RunData *d, const Config *c, const Model *m, const FileList *files,
                        const RunLabels *labels, Err *err) {
    DatasetOptions o = run_dataset_options(c, files, d->max_tokens);
    AUTO_CALL(label_list_clear) LabelList of_base = {0};
    const LabelList of_config = {c->label_list.items, c->label_list.count, c->label_list.count};
    Problem problem = PROBLEM_AUTO;
    if (o.classification && model_read_labels(&of_base, &problem, m, err)) return -1;
    if (!o.problem) o.problem = problem;
    if (labels) {
        o.labels = labels->names;
        o.problem = labels->problem;
    }
    o.named = of_config.count ? &of_config : of_base.count ? &of_base : NULL;
    o.score_first = m->config.arch->encoder;
    o.pooling = d->pooling;
    o.mlm.vocab = (int32_t)min64(m->tokenizer->vocab_size, m->config.vocab);
    if (dataset_open(to, &o, m->tokenizer, d->chat, err) || check_smoothing(*to, c, err)) return -1;
    return (*to)->masked ? model_check_ids(m, &(*to)->mlm.mask_token, 1, err) : 0;
}

static int open_validation(RunData *d, const Config *c, const Model *m, const RunLabels *labels, Err *err) {
    AUTO_CALL(file_list_clear) FileList files = {0};
    RunLabels own = run_labels(d->train);
    if (own.names) labels = &own; // a label that training does not know is refused
    if (run_validation_files(&files, c, err) || open_dataset(&d->validation, d, c, m, &files, labels, err)) return -1;
    plan_eval(d, c, d->validation, (SampleList){.count = d->validation->count});
    return 0;
}

static int open_train(RunData *d, const Config *c, const Model *m, const RunLabels *labels, StrBuf *identity,
                      Err *err) {
    AUTO_CALL(file_list_clear) FileList files = {0};
    if (run_train_files(&files, c, err) || open_dataset(&d->train, d, c, m, &files, labels, err)) return -1;
    for (size_t i = 0; i < files.count; i++)
        if (files.weights[i] != 1) str_printf(identity, "%zu %.17g ", i, files.weights[i]);
    for (size_t i = 0; c->mix_strategy != MIX_CONCAT && i < files.count; i++)
        str_printf(identity, "mix %d %zu %.17g ", c->mix_strategy, files.rules[i].entry, files.rules[i].probability);
    if (c->val_set_size > 0) return plan_split(d, c, &files, err);
    return plan_train(d, c, &files, (SampleList){.count = d->train->count}, err);
}

// A tokenizer may have control tokens without an embedding in the model.
static int check_ids(const Dataset *d, const Model *m, Err *err) {
    if (!d || m->tokenizer->vocab_size <= m->config.vocab) return 0;
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        if (model_check_ids(m, s.ids, s.count, err)) return err_context(err, "record %ld of the data", s.record);
    }
    dataset_release(d);
    return 0;
}

// How the model's folder makes vectors, where the config does not say it.
static int choose_pooling(RunData *d, const Config *c, const Model *m, Err *err) {
    AUTO_CALL(sentence_folder_clear) SentenceFolder s = {0};
    if (c->task != TASK_EMBEDDING) return 0;
    if (sentence_folder_read(&s, m, err) || sentence_pooling(&d->pooling, c->pooling, &s, m, err)) return -1;
    d->normalize = c->normalize_embeddings ? c->normalize_embeddings == NORMALIZE_ON : s.normalize;
    VectorLoss loss = vector_loss_of(c, d->normalize);
    return vector_loss_check(&loss, m->config.hidden, err);
}

int run_data_open(RunData *d, const Config *c, const Model *m, const RunLabels *labels, bool train, Err *err) {
    *d = (RunData){0};
    AUTO_STR StrBuf identity = {0};
    bool from_train = c->val_set_size > 0 && !c->validation_file.count;
    if (run_max_tokens(c, &m->config, &d->max_tokens, err) || check_validation(c, err) ||
        choose_pooling(d, c, m, err) || run_chat_template(c, m->tokenizer, &d->chat, err) ||
        ((train || from_train) && open_train(d, c, m, labels, &identity, err)) ||
        (c->validation_file.count && open_validation(d, c, m, labels, err)) || check_ids(d->train, m, err) ||
        check_ids(d->validation, m, err))
        return -1;
    str_printf(&identity, "%s %s", d->train ? d->train->fingerprint : "-",
               d->validation ? d->validation->fingerprint : "-");
    hash_bytes(d->fingerprint, identity.data, identity.len);
    if (!train && d->validation) data_notes_warn(d->validation, m->tokenizer);
    return 0;
}

int run_data_assume(RunData *d, const Config *c, const Model *m, int64_t rows, Err *err) {
    *d = (RunData){0};
    if (run_max_tokens(c, &m->config, &d->max_tokens, err) || choose_pooling(d, c, m, err)) return -1;
    int64_t sequences = run_preference(c) == PREFERENCE_PAIRS || run_embedding(c) ? 2 : 1;
    d->rows = row_plan_assumed(rows, sequences, d->max_tokens);
    if (c->validation_file.count || c->val_set_size > 0)
        d->eval_rows = row_plan_assumed(rows, sequences, d->max_tokens);
    return 0;
}

int run_eval_files(FileList *files, CaseChoice *choice, const RunData *d, const Config *c, Err *err) {
    choice->records = d->held_out;
    choice->n_records = d->n_held_out;
    return d->held_out ? run_train_files(files, c, err) : run_validation_files(files, c, err);
}

void run_data_close(RunData *d) {
    mem_free(d->held_out);
    row_plan_free(d->rows);
    row_plan_free(d->eval_rows);
    dataset_close(d->train);
    dataset_close(d->validation);
    chat_template_free(d->chat);
    *d = (RunData){0};
}
