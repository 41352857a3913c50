// inspect_data: data as the trainer sees it.
#include "inspect.h"

#include <string.h>
#include <unistd.h>

#include "data_files.h"
#include "data_notes.h"
#include "model.h"
#include "run_data.h"
#include "run_model.h"
#include "say.h"
#include "subset.h"

// ---- the trainer's view ----

static double percent(int64_t part, int64_t whole) { return whole ? 100.0 * (double)part / (double)whole : 0; }

// The i-th shortest, from how many samples have each length.
static int64_t length_at(const int64_t *with_length, int64_t i) {
    int64_t length = 0;
    while (i >= with_length[length]) i -= with_length[length++];
    return length;
}

static void print_text_lengths(const Dataset *d, int64_t max_tokens) {
    say("  lengths   mean %.1f, longest %ld (max_seq_length %ld)\n", (double)d->stats.tokens / (double)dataset_texts(d),
        d->stats.longest, max_tokens);
}

static void print_lengths(const Dataset *d, int64_t max_tokens) {
    int64_t n = d->preference ? 2 * d->count : d->count;
    if (d->embedding) {
        print_text_lengths(d, max_tokens);
        return;
    }
    AUTO_FREE int64_t *with_length = mem_calloc((size_t)max_tokens + 1, sizeof *with_length);
    for (int64_t i = 0; i < d->count; i++) {
        int64_t count = dataset_size(d, i).count, second = d->preference ? dataset_sample(d, i).second : 0;
        if (second) with_length[second]++;
        with_length[count - second]++;
    }
    say("  lengths   shortest %ld, median %ld, mean %.1f, longest %ld (max_seq_length %ld)\n",
        length_at(with_length, 0), length_at(with_length, n / 2), (double)d->stats.tokens / (double)n,
        length_at(with_length, n - 1), max_tokens);
}

static int print_rows(const Dataset *d, const Config *c, const FileList *files, int64_t max_tokens, bool is_train,
                      Err *err) {
    SampleList list, from = {.count = d->count}, eval = {0};
    bool split = is_train && c->val_set_size > 0 && !c->validation_file.count;
    if (split && subset_split(d, c->val_set_size, (uint64_t)c->seed, &from, &eval, err))
        return err_context(err, "val_set_size");
    if (split) say("  held out  %ld of the samples, for evaluation (val_set_size)\n", eval.count);
    int rc = run_weigh(&list, d, files, c, from, err);
    bool weighted = list.items != NULL;
    if (!rc && !weighted) list = from, from.items = NULL;
    mem_free(eval.items);
    mem_free(from.items);
    if (rc) return -1;
    int64_t capacity = row_max_tokens(d, max_tokens);
    RowPlan *p = row_plan_new(d, list.items, list.count, capacity, c->packing);
    int64_t rows = p->count, tokens = 0;
    for (int64_t r = 0; r < rows; r++) tokens += row_plan_row(p, r).tokens;
    if (weighted) say("  weighted  %ld sample%s per epoch\n", list.count, plural(list.count));
    say("  rows      %ld (%s), %.1f%% full, at most %u %s%s and %u token%s\n", rows,
        c->packing ? "packed" : "one sample each", percent(tokens, rows * capacity), p->most.samples,
        d->preference  ? "sequence"
        : d->embedding ? "text"
                       : "sample",
        plural(p->most.samples), p->most.tokens, plural(p->most.tokens));
    row_plan_free(p);
    mem_free(list.items);
    return 0;
}

static const DataLines LINES = {.indent = "  ", .width = 9};

// The records of a list in DatasetStats, with their places where there is an audit.
static void put_records(StrBuf *out, const int64_t first[DATASET_NAMED], const Audit *a, AuditPart part) {
    for (int i = 0; i < DATASET_NAMED && first[i]; i++) {
        str_puts(out, i ? ", " : "");
        if (a)
            audit_place(out, a, part, first[i] - 1);
        else
            str_printf(out, "record %ld", first[i]);
    }
}

static void print_lost(const DatasetStats *s, const Audit *a, AuditPart part) {
    AUTO_STR StrBuf cut = {0}, dropped = {0};
    put_records(&cut, s->first_cut, a, part);
    put_records(&dropped, s->first_dropped, a, part);
    if (s->truncated)
        say("  truncated %ld sample%s, %ld token%s cut away\n", s->truncated, plural(s->truncated), s->truncated_tokens,
            plural(s->truncated_tokens));
    if (s->answers_cut)
        say("  answers   %ld cut by max_seq_length: %s%s\n", s->answers_cut, cut.data,
            s->answers_cut > DATASET_NAMED ? ", ..." : "");
    if (s->dropped_long)
        say("  dropped   %ld token%s of %s%s; the longest record has %ld\n", s->dropped_tokens,
            plural(s->dropped_tokens), dropped.data, s->dropped_long > DATASET_NAMED ? ", ..." : "", s->longest);
}

static void print_counts(const Dataset *d, const Tokenizer *t) {
    const DatasetStats *s = &d->stats;
    int64_t kept = s->records - s->dropped_long - s->skipped_unsupervised;
    say("  records   %ld: %ld %s%s kept, %ld dropped (too long), %ld skipped (no %stoken)\n", s->records, kept,
        kept == s->samples ? "sample" : "record", plural(kept), s->dropped_long, s->skipped_unsupervised,
        d->embedding ? "" : "supervised ");
    if (kept != s->samples) say("  samples   %ld, windows of the kept text\n", s->samples);
    if (d->embedding)
        say("  tokens    %ld in %ld texts\n", s->tokens, dataset_texts(d));
    else
        say(d->masked ? "  tokens    %ld: %ld may be hidden (%.1f%%), %ld never\n"
                      : "  tokens    %ld: %ld supervised (%.1f%%), %ld masked\n",
            s->tokens, s->supervised, percent(s->supervised, s->tokens), s->tokens - s->supervised);
    if (s->left_out_bytes)
        say("  left out  %ld byte%s without a token in the model's vocabulary\n", s->left_out_bytes,
            plural(s->left_out_bytes));
    if (s->ignored_members)
        say("  ignored   %ld member%s of archives: links, or neither .json, .txt nor .cls\n", s->ignored_members,
            plural(s->ignored_members));
    data_notes_print(d, t, &LINES);
}

static void print_labels(const Dataset *d, const Sample *s) {
    say("=>");
    if (s->label >= 0) say(" %s", d->labels->names[s->label]);
    const char *between = d->problem == PROBLEM_TOKENS ? " " : ", ";
    for (int64_t i = 0; s->labels && i < s->n_labels; i++)
        say("%s%s", i ? between : " ", d->labels->names[dataset_label(d, s, i)]);
    for (int64_t i = 0; s->values && i < s->n_labels; i++) say("%s%g", i ? ", " : " ", (double)s->values[i]);
    if (s->labels && !s->n_labels) say(" none of the labels");
    say("\n");
}

static void print_samples(const Dataset *d, const Tokenizer *t, int64_t n_shown) {
    bool colour = isatty(STDOUT_FILENO);
    for (int64_t i = 0; i < n_shown && i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        AUTO_STR StrBuf text = {0};
        sample_show(&text, &s, t, colour ? "\x1b[32m" : "[[", colour ? "\x1b[0m" : "]]");
        say("\n--- sample %ld (record %ld): %ld token%s, %ld %s%s\n", i, s.record + 1, s.count, plural(s.count),
            s.supervised_count + (s.embedding != 0), s.embedding ? "texts" : "supervised",
            s.preference == PREFERENCE_PAIRS ? ", chosen" : "");
        say_generated(text.data, text.len, true); // escaped, but for the colours
        say("\n");
        if (s.preference == PREFERENCE_LABELS) say("=> %s\n", s.desirable ? "desirable" : "undesirable");
        if (s.embedding > EMBEDDING_RANKED) say("=> %g\n", (double)s.score);
        if (d->problem) print_labels(d, &s);
    }
}

typedef struct View {
    Config config;
    Tokenizer *tokenizer;
    ChatTemplate *chat;
    int64_t max_tokens;
    const InspectOptions *options;
    Audit *audit;     // NULL: none
    LabelList labels; // of the training data
    Problem problem;
} View;

typedef int ListFiles(FileList *files, const Config *c, Err *err);

static void keep_labels(View *v, const Dataset *d) {
    const LabelList *labels = d->labels;
    if (v->labels.count) return;
    v->problem = d->problem;
    for (size_t i = 0; labels && i < labels->count; i++) label_list_add(&v->labels, labels->names[i]);
}

static void print_names(const Dataset *d, const char *title, const FileList *given, const FileList *files) {
    enum { SHOWN = 20 };
    for (size_t i = 0; i < files->count && i < SHOWN; i++) {
        int64_t samples = d->file_ends[i] - (i ? d->file_ends[i - 1] : 0);
        say("%-12s%s", i ? "" : title, files->items[i]);
        if (files->count > 1) say(": %ld sample%s", samples, plural(samples));
        if (files->weights[i] != 1) say(", weight %g", files->weights[i]);
        if (files->rules[i].probability) say(", probability %g", files->rules[i].probability);
        say("\n");
    }
    if (files->count > SHOWN)
        say("            and %zu more file%s\n", files->count - SHOWN, plural(files->count - SHOWN));
    for (size_t i = 0; i < given->count; i++) {
        AUTO_STR StrBuf text = {0};
        data_files_show(&text, run_data_name(given, i));
        if (text.len) say("  files     %s\n", text.data);
    }
}

// ---- the audit of all data ----

AuditOptions inspect_audit_options(const Config *c) {
    return (AuditOptions){.format = (DatasetFormat)c->dataset_format,
                          .classification = task_classifies(c->task),
                          .problem = run_problem(c),
                          .raw_pairs = c->raw_pairs,
                          .preference = run_preference(c),
                          .embedding = run_embedding(c),
                          .learnt = config_learnt(c)};
}

static int read_part(View *v, AuditPart part, ListFiles *list, Err *err) {
    AUTO_CALL(file_list_clear) FileList files = {0};
    if (list(&files, &v->config, err)) return -1;
    for (size_t i = 0; i < files.count; i++)
        if (audit_read(v->audit, part, files.items[i], &files.rules[i], err)) return -1;
    return 0;
}

static int read_audit(View *v, Err *err) {
    const Config *c = &v->config;
    AuditOptions o = inspect_audit_options(c);
    o.has_template = v->chat != NULL;
    o.template = v->chat ? chat_template_source(v->chat) : NULL;
    if (!v->options->audit) return 0;
    v->audit = audit_new(&o);
    if (read_part(v, AUDIT_TRAIN, run_train_files, err)) return -1;
    return c->validation_file.count ? read_part(v, AUDIT_VALIDATION, run_validation_files, err) : 0;
}

// The data cannot be opened: which other records are refused.
static void print_refused(const View *v, AuditPart part, const char *title) {
    const AuditCounts *c = v->audit ? audit_counts(v->audit, part) : NULL;
    if (!c || c->refused.count < 2) return;
    say("%-12s%ld of %ld records are refused; %s\n", title, c->refused.count, c->records, c->refused.places[0]);
    inspect_print_refused(c);
}

static int hold_out(View *v, const Dataset *d, Err *err) {
    SampleList train, held;
    if (subset_split(d, v->config.val_set_size, (uint64_t)v->config.seed, &train, &held, err))
        return err_context(err, "val_set_size");
    for (int64_t i = 0; i < held.count; i++) audit_hold_out(v->audit, dataset_sample(d, held.items[i]).record);
    mem_free(held.items);
    mem_free(train.items);
    dataset_release(d);
    return 0;
}

static int print_audit(View *v, AuditPart part, const Dataset *d, Err *err) {
    ScriptCounts scripts = {0};
    bool splits = part == AUDIT_TRAIN && v->config.val_set_size > 0;
    if (!v->audit) return 0;
    if (splits && hold_out(v, d, err)) return -1;
    if (part == AUDIT_TRAIN) audit_compare(v->audit);
    inspect_print_findings(v->audit, part, splits);
    script_counts_add_tokens(&scripts, d, v->tokenizer);
    inspect_print_scripts(&scripts, "tokens with letters");
    return 0;
}

// ---- the whole ----

static int print_set(View *v, AuditPart part, const FileList *given, const FileList *files, Err *err) {
    const char *title = part == AUDIT_TRAIN ? "train" : "validation";
    DatasetOptions o = run_dataset_options(&v->config, files, v->max_tokens);
    Dataset *d;
    const LabelList named = {v->config.label_list.items, v->config.label_list.count, v->config.label_list.count};
    if (named.count) o.named = &named;
    if (v->labels.count) o.labels = &v->labels;
    if (v->problem) o.problem = v->problem;
    if (dataset_open(&d, &o, v->tokenizer, v->chat, err)) {
        print_refused(v, part, title);
        return -1;
    }
    keep_labels(v, d);
    print_names(d, title, given, files);
    DatasetFormat f = d->stats.format;
    say("  format    %s%s\n", f == FORMAT_AUTO ? "several" : dataset_format_name(f),
        d->from_cache ? " (tokens from the cache)" : "");
    print_counts(d, v->tokenizer);
    print_lost(&d->stats, v->audit, part);
    data_notes_print_labels(d->problem, d->labels, d->label_counts, &LINES);
    print_lengths(d, v->max_tokens);
    int rc = print_rows(d, &v->config, files, v->max_tokens, part == AUDIT_TRAIN, err);
    if (!rc) rc = print_audit(v, part, d, err);
    if (!rc) print_samples(d, v->tokenizer, v->options->show);
    say("\n");
    dataset_close(d);
    return rc;
}

static int print_files(View *v, AuditPart part, ListFiles *list, Err *err) {
    AUTO_CALL(file_list_clear) FileList files = {0};
    const FileList *given = part == AUDIT_TRAIN ? &v->config.train_file : &v->config.validation_file;
    return list(&files, &v->config, err) || print_set(v, part, given, &files, err) ? -1 : 0;
}

static int print_view(View *v, int argc, char **argv, Err *err) {
    ModelOptions options;
    Config *c = &v->config;
    if (config_load(c, argc, argv, CONFIG_FOR_DATA, err) || run_model_options(&options, c, &v->max_tokens, err) ||
        model_load_tokenizer(&v->tokenizer, c->model_name_or_path, err) ||
        tokenizer_set_eos(v->tokenizer, c->eos_token, err) || run_chat_template(c, v->tokenizer, &v->chat, err) ||
        read_audit(v, err) || print_files(v, AUDIT_TRAIN, run_train_files, err))
        return -1;
    return c->validation_file.count ? print_files(v, AUDIT_VALIDATION, run_validation_files, err) : 0;
}

int inspect_run_data(int argc, char **argv, const InspectOptions *o, Err *err) {
    View v = {.options = o};
    int rc = print_view(&v, argc, argv, err);
    audit_free(v.audit);
    chat_template_free(v.chat);
    tokenizer_free(v.tokenizer);
    label_list_clear(&v.labels);
    config_clear(&v.config);
    return rc;
}
