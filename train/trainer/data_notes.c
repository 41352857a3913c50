#include "data_notes.h"

#include <string.h>

#include "json_pool.h"
#include "say.h"

static void add(StrBuf *out, int64_t records, const char *what) {
    if (records) str_printf(out, "%s%ld record%s %s", out->len ? "; " : "", records, plural(records), what);
}

void data_notes_show_special(StrBuf *out, const DatasetStats *s) {
    add(out, s->parsed_special, "with control tokens written in the text, parsed as tokens");
    add(out, s->plain_special, "with control tokens written in the text, kept as plain text");
    add(out, s->own_bos, "with a BOS token at the start of the text, not doubled");
    add(out, s->cannot_stop, "with an answer without an end token");
}

static void warn_special(const DatasetStats *s, const Tokenizer *t) {
    int32_t eos = t->eos;
    size_t len = 4;
    const char *piece = eos >= 0 ? tokenizer_piece(t, eos, &len) : "none";
    if (s->plain_special)
        log_warn("%ld record%s with control tokens of the model spelled in the text, kept as text: in messages only "
                 "the chat template creates control tokens (put rendered conversations into a \"text\" column); for "
                 "other texts see parse_special",
                 s->plain_special, plural(s->plain_special));
    if (s->cannot_stop)
        log_warn("%ld record%s with an answer without an end token, so the model will not learn to stop; expected %s "
                 "(the model's eos is %.*s)",
                 s->cannot_stop, plural(s->cannot_stop),
                 s->format == FORMAT_SEGMENTS ? "learnt segments that end with one"
                 : s->format == FORMAT_TEXT   ? "a model that has an eos"
                                              : "the chat template to close a turn with a control token",
                 (int)(len < 64 ? len : 64), piece);
}

static void warn_unread(const Dataset *d) {
    const KeyCounts *unread = &d->unread;
    AUTO_STR StrBuf names = {0};
    for (size_t i = 0; i < unread->count; i++)
        if (key_is_prompt_like(unread->names[i]))
            str_printf(&names, "%s%s (records: %ld)", names.len ? ", " : "", unread->names[i], unread->records[i]);
    if (names.len)
        log_warn("the model does not see %s: keys that format %s does not read, though their names suggest that they "
                 "are part of the prompt; put their text into a key that it reads, or drop them",
                 names.data, dataset_format_name(d->stats.format));
}

void data_notes_warn(const Dataset *d, const Tokenizer *t) {
    warn_special(&d->stats, t);
    warn_unread(d);
}

static void print_line(const char *title, const StrBuf *value, const DataLines *l) {
    if (value->len)
        say("%s%-*s %s%s\n", l->indent ? l->indent : "", l->width, title, value->data, l->note ? l->note : "");
}

// Names that are hardly meant so: a gap in integers, integers among texts.
static void warn_labels(const LabelList *l) {
    const char *first = l->names[0], *last = l->names[l->count - 1], *number = NULL, *text = NULL;
    int64_t missing;
    if (label_list_renumbers(l, &missing) && missing >= 0)
        log_warn("labels: found integers from %s to %s, but no %ld; each of the %zu that occur is a class of its own",
                 first, last, missing, l->count);
    for (size_t i = 0; i < l->count; i++)
        *(json_text_is_integer(l->names[i], strlen(l->names[i])) ? &number : &text) = l->names[i];
    if (number && text)
        log_warn("labels: found the integer %s and the text \"%s\"; all labels are names, sorted as text", number,
                 text);
}

void data_notes_print_labels(Problem problem, const LabelList *list, const int64_t *counts, const DataLines *l) {
    AUTO_STR StrBuf labels = {0};
    int64_t missing;
    if (!list || !list->count) return;
    if (problem == PROBLEM_REGRESSION) {
        str_printf(&labels, "%zu number%s of each record, to be predicted", list->count, plural(list->count));
        print_line("labels", &labels, l);
        return;
    }
    str_printf(&labels, "%zu%s: ", list->count,
               problem == PROBLEM_MULTI_LABEL ? ", any number of them for a text" : "");
    label_list_show(&labels, list, counts);
    if (label_list_renumbers(list, &missing))
        str_printf(&labels, "; the integers are names, their ids are 0 to %zu", list->count - 1);
    print_line("labels", &labels, l);
    warn_labels(list);
}

void data_notes_print(const Dataset *d, const Tokenizer *t, const DataLines *l) {
    AUTO_STR StrBuf unread = {0}, special = {0};
    key_counts_show(&unread, &d->unread);
    print_line("not used", &unread, l);
    data_notes_show_special(&special, &d->stats);
    print_line("special", &special, l);
    data_notes_warn(d, t);
}
