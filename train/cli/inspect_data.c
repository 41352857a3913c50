// inspect_data: data, as a file and as the trainer sees it.
#include "inspect.h"

#include <string.h>
#include <unistd.h>

#include "data_files.h"
#include "data_notes.h"
#include "dialog.h"
#include "model.h"
#include "record_faults.h"
#include "records.h"
#include "run_data.h"
#include "run_model.h"
#include "say.h"

// ---- a data file ----

static void print_record(RecordSpan span) {
    enum { MAX_SHOWN = 2000 };
    size_t n = span.len < MAX_SHOWN ? span.len : MAX_SHOWN;
    say("\n%s:%zu: ", span.name, span.line);
    say_bytes(stdout, span.text, n);
    say("%s", n < span.len ? " ...\n" : "\n");
}

// Result of reading a file as the trainer does, but without a model. The chat template determines which keys of
// messages are read.
typedef struct FileView {
    DatasetFormat format; // of the first record; expected of all
    KeyCounts used, of_turns, unused;
    int64_t records, bytes, longest, refused;
    Err why; // of the first refused record
} FileView;

static void count_keys(FileView *v, const Json *record, const Dialog *d) {
    KeyNotes used = {0}, of_turns = {0};
    for (size_t i = 0; record->type == JSON_OBJECT && i < record->count; i++)
        if (record->items[i].type != JSON_NULL && dialog_has_read(d, record->keys[i]))
            key_notes_add(&used, "", record->keys[i]);
    AUTO_FREE char *list = mem_printf("%s[].", d->turns ? d->turns : "");
    for (size_t i = 0; d->turns && i < d->messages.count; i++)
        for (size_t k = 0; k < d->messages.items[i].count; k++)
            if (!message_is_mask_key(d->messages.items[i].keys[k].data))
                key_notes_add(&of_turns, list, d->messages.items[i].keys[k]);
    key_counts_add(&v->used, &used);
    key_counts_add(&v->of_turns, &of_turns);
    key_counts_add(&v->unused, &d->unread);
    key_notes_clear(&used);
    key_notes_clear(&of_turns);
}

// Fails only if the first record has no known format.
static int view_record(FileView *v, RecordSpan span, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_CALL(dialog_clear) Dialog d = {.record = v->records};
    Err why;
    int rc = record_parse(&doc, span, &why);
    if (!rc && v->records == 1 && (v->format = dialog_detect(json_root(doc), &why)) == FORMAT_AUTO)
        rc = err_context(&why, "%s:%zu", span.name, span.line);
    bool fatal = rc && v->records == 1;
    if (!rc && (dialog_read(&d, json_root(doc), v->format, true, false, &why) || dialog_check_answers(&d, &why)))
        rc = err_context(&why, "%s:%zu", span.name, span.line);
    if (!rc) count_keys(v, json_root(doc), &d);
    if (rc && !v->refused++) v->why = why;
    if (fatal) *err = why;
    return fatal ? -1 : 0;
}

static void print_keys(const char *title, const KeyCounts *keys, const char *note) {
    AUTO_STR StrBuf text = {0};
    key_counts_show(&text, keys);
    if (text.len) say("  %-9s %s%s\n", title, text.data, note);
}

static void print_view_of_file(const FileView *v, const char *path, const RecordReader *r) {
    if (records_ignored(r))
        say("%s: %ld members that are links, or neither .json, .txt nor .cls, are ignored\n", path, records_ignored(r));
    say("%s: data, %s, %ld records, %ld bytes (longest record %ld)\n", path, dataset_format_name(v->format), v->records,
        v->bytes, v->longest);
    print_keys("used", &v->used, "");
    print_keys("in turns", &v->of_turns, ": read where the chat template reads them");
    print_keys("not used", &v->unused, "");
    if (v->refused)
        say("  refused   %ld record%s; the first: %s\n", v->refused, v->refused == 1 ? "" : "s", v->why.msg);
}

int inspect_data_file(const char *path, int64_t n_shown, Err *err) {
    RecordReader *r;
    RecordSpan span;
    FileView v = {.format = FORMAT_TEXT};
    if (records_open(&r, path, err)) return -1;
    int more = 0, rc = 0;
    while (!rc && (more = records_next(r, &span, err)) == 1) {
        v.records++;
        v.bytes += (int64_t)span.len;
        if ((int64_t)span.len > v.longest) v.longest = (int64_t)span.len;
        if (!records_are_text(r)) rc = view_record(&v, span, err);
        if (v.records <= n_shown && !rc) print_record(span);
        records_release(r);
    }
    if (!rc && more == 0 && !v.records) rc = records_fail_empty(r, err);
    if (!rc && more == 0) {
        if (n_shown) say("\n");
        print_view_of_file(&v, path, r);
    }
    key_counts_clear(&v.used);
    key_counts_clear(&v.of_turns);
    key_counts_clear(&v.unused);
    records_close(r);
    return rc || more < 0 ? -1 : 0;
}

int inspect_data_files(const char *given, int64_t n_shown, Err *err) {
    StrList files = {0};
    AUTO_STR StrBuf left = {0};
    int rc = data_files_expand(&files.items, &files.count, given, &left, err);
    for (size_t i = 0; i < files.count; i++) {
        if (!rc) rc = inspect_data_file(files.items[i], n_shown, err);
        mem_free(files.items[i]);
    }
    mem_free(files.items);
    if (!rc && left.len) say("%s: not read: %s\n", given, left.data);
    return rc;
}

// ---- the trainer's view ----

static double percent(int64_t part, int64_t whole) { return whole ? 100.0 * (double)part / (double)whole : 0; }

// The i-th shortest, from how many samples have each length.
static int64_t length_at(const int64_t *with_length, int64_t i) {
    int64_t length = 0;
    while (i >= with_length[length]) i -= with_length[length++];
    return length;
}

static void print_lengths(const Dataset *d, int64_t max_tokens) {
    int64_t n = d->count;
    AUTO_FREE int64_t *with_length = mem_calloc((size_t)max_tokens + 1, sizeof *with_length);
    for (int64_t i = 0; i < n; i++) with_length[dataset_size(d, i).count]++;
    say("  lengths   shortest %ld, median %ld, mean %.1f, longest %ld (max_seq_length %ld)\n",
        length_at(with_length, 0), length_at(with_length, n / 2), (double)d->stats.tokens / (double)n,
        length_at(with_length, n - 1), max_tokens);
}

static int print_rows(const Dataset *d, const Config *c, const FileList *files, int64_t max_tokens, Err *err) {
    SampleList list;
    if (run_weigh(&list, d, files, c, (SampleList){.count = d->count}, err)) return -1;
    RowPlan *p = row_plan_new(d, list.items, list.count, max_tokens, c->packing);
    int64_t rows = p->count, tokens = 0;
    for (int64_t r = 0; r < rows; r++) tokens += row_plan_row(p, r).tokens;
    if (list.items) say("  weighted  %ld samples per epoch\n", list.count);
    say("  rows      %ld (%s), %.1f%% full, at most %u samples and %u tokens\n", rows,
        c->packing ? "packed" : "one sample each", percent(tokens, rows * max_tokens), p->most.samples, p->most.tokens);
    row_plan_free(p);
    mem_free(list.items);
    return 0;
}

static const DataLines LINES = {.indent = "  ", .width = 9};

static void print_counts(const Dataset *d, const Tokenizer *t) {
    const DatasetStats *s = &d->stats;
    int64_t kept = s->records - s->dropped_long - s->skipped_unsupervised;
    say("  records   %ld: %ld %s kept, %ld dropped (too long), %ld skipped (no supervised token)\n", s->records, kept,
        kept == s->samples ? "samples" : "records", s->dropped_long, s->skipped_unsupervised);
    if (kept != s->samples) say("  samples   %ld, windows of the kept text\n", s->samples);
    say("  tokens    %ld: %ld supervised (%.1f%%), %ld masked\n", s->tokens, s->supervised,
        percent(s->supervised, s->tokens), s->tokens - s->supervised);
    if (s->truncated) say("  truncated %ld samples, %ld tokens cut away\n", s->truncated, s->truncated_tokens);
    if (s->left_out_bytes) say("  left out  %ld bytes without a token in the model's vocabulary\n", s->left_out_bytes);
    if (s->ignored_members)
        say("  ignored   %ld members of archives that are links, or neither .json, .txt nor .cls\n",
            s->ignored_members);
    data_notes_print(d, t, &LINES);
    if (s->dropped_long) say("  dropped   %ld tokens; the longest record has %ld\n", s->dropped_tokens, s->longest);
}

static void print_samples(const Dataset *d, const Tokenizer *t, int64_t n_shown) {
    bool colour = isatty(STDOUT_FILENO);
    for (int64_t i = 0; i < n_shown && i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        AUTO_STR StrBuf text = {0};
        sample_show(&text, &s, t, colour ? "\x1b[32m" : "[[", colour ? "\x1b[0m" : "]]");
        say("\n--- sample %ld (record %ld): %ld tokens, %ld supervised\n", i, s.record + 1, s.count,
            s.supervised_count);
        say_generated(text.data, text.len, true); // escaped, but for the colours
        say("\n");
        if (s.label >= 0) say("=> %s\n", d->labels->names[s.label]);
    }
}

typedef struct View {
    Config config;
    Tokenizer *tokenizer;
    ChatTemplate *chat;
    int64_t max_tokens, n_shown;
    LabelList labels; // of the training data
} View;

static void keep_labels(View *v, const Dataset *d) {
    const LabelList *labels = d->labels;
    if (v->labels.count) return;
    for (size_t i = 0; labels && i < labels->count; i++) label_list_add(&v->labels, labels->names[i]);
}

static void print_names(const Dataset *d, const char *title, const FileList *given, const FileList *files) {
    enum { SHOWN = 20 };
    for (size_t i = 0; i < files->count && i < SHOWN; i++) {
        int64_t samples = d->file_ends[i] - (i ? d->file_ends[i - 1] : 0);
        say("%-12s%s", i ? "" : title, files->items[i]);
        if (files->count > 1) say(": %ld samples", samples);
        if (files->weights[i] != 1) say(", weight %g", files->weights[i]);
        say("\n");
    }
    if (files->count > SHOWN) say("            and %zu more files\n", files->count - SHOWN);
    for (size_t i = 0; i < given->count; i++) {
        AUTO_STR StrBuf text = {0};
        data_files_show(&text, given->items[i]);
        if (text.len) say("  files     %s\n", text.data);
    }
}

static int print_set(View *v, const char *title, const FileList *given, const FileList *files, Err *err) {
    DatasetOptions o = run_dataset_options(&v->config, files, v->max_tokens);
    Dataset *d;
    if (v->labels.count) o.labels = &v->labels;
    if (dataset_open(&d, &o, v->tokenizer, v->chat, err)) return -1;
    keep_labels(v, d);
    print_names(d, title, given, files);
    DatasetFormat f = d->stats.format;
    say("  format    %s%s\n", f == FORMAT_AUTO ? "several" : dataset_format_name(f),
        d->from_cache ? " (tokens from the cache)" : "");
    print_counts(d, v->tokenizer);
    data_notes_print_labels(d, &LINES);
    print_lengths(d, v->max_tokens);
    int rc = print_rows(d, &v->config, files, v->max_tokens, err);
    if (!rc) print_samples(d, v->tokenizer, v->n_shown);
    say("\n");
    dataset_close(d);
    return rc;
}

static int print_files(View *v, const char *title, int (*list)(FileList *, const Config *, Err *), Err *err) {
    AUTO_CALL(file_list_clear) FileList files = {0};
    const FileList *given = list == run_train_files ? &v->config.train_file : &v->config.validation_file;
    return list(&files, &v->config, err) || print_set(v, title, given, &files, err) ? -1 : 0;
}

static int print_view(View *v, int argc, char **argv, Err *err) {
    ModelOptions options;
    Config *c = &v->config;
    if (config_load(c, argc, argv, CONFIG_FOR_DATA, err) || run_model_options(&options, c, &v->max_tokens, err) ||
        model_load_tokenizer(&v->tokenizer, c->model_name_or_path, err) ||
        run_chat_template(c, v->tokenizer, &v->chat, err) || print_files(v, "train", run_train_files, err))
        return -1;
    return c->validation_file.count ? print_files(v, "validation", run_validation_files, err) : 0;
}

int inspect_run_data(int argc, char **argv, int64_t n_shown, Err *err) {
    View v = {.n_shown = n_shown};
    int rc = print_view(&v, argc, argv, err);
    chat_template_free(v.chat);
    tokenizer_free(v.tokenizer);
    label_list_clear(&v.labels);
    config_clear(&v.config);
    return rc;
}
