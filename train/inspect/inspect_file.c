// inspect_file: data files as they are, without a model.
#include "inspect.h"

#include <string.h>

#include "data_files.h"
#include "data_notes.h"
#include "records.h"
#include "run_data.h"
#include "say.h"

// ---- one file ----

static void print_record(RecordSpan span) {
    enum { MAX_SHOWN = 2000 };
    size_t n = span.len < MAX_SHOWN ? span.len : MAX_SHOWN;
    say("\n%s:%zu: ", span.name, span.line);
    say_bytes(stdout, span.text, n);
    say("%s", n < span.len ? " ...\n" : "\n");
}

static int show_records(const char *path, int64_t n_shown, Err *err) {
    AUTO(records_close) RecordReader *r = NULL;
    RecordSpan span;
    int more = 1;
    if (n_shown && records_open(&r, path, err)) return -1;
    for (int64_t i = 0; i < n_shown && (more = records_next(r, &span, err)) == 1; i++) {
        print_record(span);
        records_release(r);
    }
    if (n_shown) say("\n");
    return more < 0 ? -1 : 0;
}

static void print_keys(const char *title, const KeyCounts *keys, const char *note) {
    AUTO_STR StrBuf text = {0};
    key_counts_show(&text, keys);
    if (text.len) say("  %-9s %s%s\n", title, text.data, note);
}

// With the names of the file: "frage as prompt".
static void print_used(const KeyCounts *used, const FileRule *rule) {
    AUTO_CALL(key_counts_clear) KeyCounts named = {.others = used->others};
    for (size_t i = 0; i < used->count; i++) {
        RecordKey c = 0;
        while (c < COLUMN_ROLE && strcmp(used->names[i], column_name(c)) != 0) c++;
        const char *own = rule && c < COLUMN_ROLE ? rule->columns[c] : NULL;
        AUTO_FREE char *both = mem_printf("%s%s%s", own ? own : "", own ? " as " : "", used->names[i]);
        key_counts_put(&named, both, used->records[i]);
    }
    print_keys("used", &named, "");
}

static void print_labels(const Audit *a) {
    static const DataLines lines = {.indent = "  ", .width = 9};
    AUTO_CALL(label_list_clear) LabelList list = {0};
    AUTO_FREE int64_t *counts = NULL;
    Err err;
    if (audit_labels(&list, &counts, a, AUDIT_TRAIN, &err))
        say("  labels    %s\n", err.msg);
    else
        data_notes_print_labels(audit_problem(a, AUDIT_TRAIN), &list, counts, &lines);
}

static void print_file(const Audit *a, const Config *c, const char *path, const FileRule *rule) {
    const AuditCounts *n = audit_counts(a, AUDIT_TRAIN);
    const char *format = n->format == FORMAT_AUTO ? "unknown format" : dataset_format_name(n->format);
    say("%s: data, %s, %ld record%s, %ld byte%s%s (longest record %ld)\n", path, format, n->records, plural(n->records),
        n->bytes, plural(n->bytes), data_kind(path) == DATA_PARQUET ? " as JSON" : "", n->longest);
    if (n->format == FORMAT_CLASSIFICATION && c->task != TASK_CLASSIFICATION)
        say("  task      classification (--task classification); another task does not read label\n");
    if (n->format == FORMAT_EMBEDDING && c->task != TASK_EMBEDDING)
        say("  task      embedding (--task embedding, of texts with a score --embedding_loss cosent)\n");
    if (n->format == FORMAT_TOKEN_CLASSIFICATION && c->task != TASK_TOKEN_CLASSIFICATION)
        say("  task      token_classification (--task token_classification); another task refuses these records\n");
    if (n->format == FORMAT_PREFERENCE && !config_is_set(c, CONFIG_task))
        say("  task      preference (--task preference, of answers with a label --preference_loss kto); another task "
            "refuses these records\n");
    print_used(&n->used, rule);
    print_keys("in turns", &n->of_turns, ": read where the chat template reads them");
    print_keys("not used", &n->unread, "");
    print_labels(a);
    if (!n->refused.count) return;
    say("  refused   %ld record%s; the first: %s\n", n->refused.count, plural(n->refused.count), n->refused.places[0]);
    inspect_print_refused(n);
}

// Not one record can be read.
static int fail_all(const AuditCounts *c, Err *err) {
    if (c->refused.count < c->records) return 0;
    if (c->records == 1) return err_input(err, "%s", c->refused.places[0]);
    return err_input(err, "%s (all %ld records are refused)", c->refused.places[0], c->records);
}

// A file is read as the trainer does, but for a model with any chat template, which determines the keys of messages
// that are read.
static AuditOptions file_options(const Config *c) {
    AuditOptions o = inspect_audit_options(c);
    o.has_template = true;
    o.any_task = !config_is_set(c, CONFIG_task);
    return o;
}

static int inspect_file(const Config *c, const char *path, const FileRule *rule, const InspectOptions *o, Err *err) {
    const AuditOptions options = file_options(c);
    AUTO(audit_free) Audit *a = audit_new(&options);
    const AuditCounts *n = audit_counts(a, AUDIT_TRAIN);
    if (show_records(path, o->show, err)) return -1;
    int rc = audit_read(a, AUDIT_TRAIN, path, rule, err);
    if (!rc) rc = fail_all(n, err);
    if (n->ignored)
        say("%s: %ld member%s ignored: links, or neither .json, .txt nor .cls\n", path, n->ignored, plural(n->ignored));
    if (!rc || n->refused.count > 1) print_file(a, c, path, rule);
    if (rc || !o->audit) return rc;
    audit_compare(a);
    inspect_print_findings(a, AUDIT_TRAIN, false);
    inspect_print_scripts(&n->scripts, "letters");
    return 0;
}

// ---- several files together ----

static int read_all(Audit *a, AuditPart part, const FileList *files, Err *err) {
    for (size_t i = 0; i < files->count; i++)
        if (audit_read(a, part, files->items[i], &files->rules[i], err)) return -1;
    return 0;
}

static void print_part(const Audit *a, AuditPart part, const char *title, size_t files) {
    const AuditCounts *c = audit_counts(a, part);
    say("%s: %zu file%s, %ld record%s\n", title, files, plural((int64_t)files), c->records, plural(c->records));
    inspect_print_findings(a, part, false);
    inspect_print_scripts(&c->scripts, "letters");
}

static int audit_together(const Config *c, const FileList *train, const FileList *validation, const char *title,
                          Err *err) {
    const AuditOptions options = file_options(c);
    AUTO(audit_free) Audit *a = audit_new(&options);
    if (read_all(a, AUDIT_TRAIN, train, err) || read_all(a, AUDIT_VALIDATION, validation, err)) return -1;
    audit_compare(a);
    print_part(a, AUDIT_TRAIN, title, train->count);
    if (validation->count) print_part(a, AUDIT_VALIDATION, "validation", validation->count);
    return 0;
}

static int inspect_each(const Config *c, const FileList *files, const InspectOptions *o, Err *err) {
    for (size_t i = 0; i < files->count; i++)
        if (inspect_file(c, files->items[i], &files->rules[i], o, err)) return -1;
    return 0;
}

static void print_left(const FileList *given) {
    for (size_t i = 0; i < given->count; i++) {
        AUTO_NAMES NameList found = {0};
        AUTO_STR StrBuf left = {0};
        if (data_files_expand(&found, run_data_name(given, i), &left, NULL) == 0 && left.len)
            say("%s: not read: %s\n", given->items[i], left.data);
    }
}

int inspect_data_files(const Config *c, const char *given, const InspectOptions *o, Err *err) {
    AUTO_CALL(file_list_clear) FileList train = {0};
    AUTO_CALL(file_list_clear) FileList validation = {0};
    if (c->val_set_size > 0)
        return err_input(err, "val_set_size: found no model; expected --model_name_or_path too, as samples are chosen "
                              "after they are tokenised");
    if (run_data_files(&train, &c->train_file, &c->columns, given ? NULL : "train_file", err) ||
        run_validation_files(&validation, c, err))
        return -1;
    bool together = train.count + validation.count > 1;
    const InspectOptions of_file = {.show = o->show, .audit = o->audit && !together};
    if (inspect_each(c, &train, &of_file, err) || inspect_each(c, &validation, &of_file, err)) return -1;
    if (together && o->audit && audit_together(c, &train, &validation, given ? given : "train_file", err)) return -1;
    print_left(&c->train_file);
    print_left(&c->validation_file);
    return 0;
}
