// dataset_build: reads records, tokenises them in parallel batches, and applies the length policy in their order.
#include "dataset_build.h"

#include <math.h>
#include <string.h>

#include "kl_group.h"
#include "record_faults.h"
#include "record_slice.h"
#include "record_tokenizer.h"
#include "token_cache.h"

// ---- samples of one record ----

enum { BATCH_RECORDS = 512, BATCH_BYTES = 8 << 20 };

typedef struct Slot { // one record of a batch
    RecordSpan span;
    RecordTokens tokens;
    Err err;
    int rc;
} Slot;

typedef struct Build {
    const DatasetOptions *o;
    RecordTokenizer tokenizer;
    TokenSink *sink;
    LabelTable *labels; // classification; else NULL
    size_t numbers;     // regression: of each record; 0: none so far
    uint32_t *ids;      // of the labels of one record
    size_t ids_capacity;
    DatasetStats stats;
    KeyCounts unread;
    KlGroup group;     // PREFERENCE_LABELS
    RecordPlace place; // the file being read; number: of its first record in the batch
    Slot *slots;       // [BATCH_RECORDS]
    size_t n_slots;
    Err *err;
} Build;

static void add_sample(Build *b, const RecordTokens *e, size_t begin, size_t count, int64_t record) {
    uint8_t *supervised = e->supervised + begin;
    Problem problem = e->labels.problem;
    bool two = problem || b->o->preference || b->o->embedding;
    bool first = b->o->mlm.probability > 0 || problem == PROBLEM_TOKENS;
    if (!first) supervised[0] = 0; // nothing predicts a window's first token
    token_sink_add(b->sink, &(Sample){.ids = e->ids + begin,
                                      .supervised = supervised,
                                      .count = (int64_t)count,
                                      .record = record,
                                      .desirable = e->desirable,
                                      .embedding = b->o->embedding,
                                      .score = e->score,
                                      .label = problem == PROBLEM_SINGLE_LABEL ? (int32_t)b->ids[0] : -1,
                                      .labels = token_has_place(problem) ? (const int32_t *)b->ids : NULL,
                                      .values = problem == PROBLEM_REGRESSION ? e->labels.values : NULL,
                                      .n_labels = (int64_t)e->labels.count,
                                      .second = two ? (int64_t)e->second : (int64_t)count});
    b->stats.samples++;
    b->stats.tokens += (int64_t)count;
    b->stats.supervised += problem && problem != PROBLEM_TOKENS;
    for (size_t i = 0; i < count; i++) b->stats.supervised += supervised[i] != 0;
}

// Full windows, then the rest. A rest of one token has no scored position, so the window before it is one shorter.
static void add_windows(Build *b, const RecordTokens *e) {
    size_t max = (size_t)b->o->max_seq_length;
    for (size_t at = 0; at < e->count;) {
        size_t n = e->count - at;
        if (n > max) n = n == max + 1 && max > 2 ? max - 1 : max;
        add_sample(b, e, at, n, b->stats.records);
        at += n;
    }
}

// Of masked language modelling: each window has the tokens around the text. Without a token to hide it is none.
static void add_framed_windows(Build *b, const RecordTokens *e) {
    size_t frame = e->before + e->after, end = e->count - e->after, most = (size_t)b->o->max_seq_length - frame;
    AUTO_FREE int32_t *ids = mem_alloc(most + frame, sizeof *ids);
    AUTO_FREE uint8_t *supervised = mem_calloc(most + frame, 1);
    RecordTokens window = {.ids = ids, .supervised = supervised};
    memcpy(ids, e->ids, e->before * sizeof *ids);
    for (size_t at = e->before, n; at < end; at += n) {
        n = end - at < most ? end - at : most;
        memcpy(ids + e->before, e->ids + at, n * sizeof *ids);
        memcpy(ids + e->before + n, e->ids + end, e->after * sizeof *ids);
        memcpy(supervised + e->before, e->supervised + at, n);
        memset(supervised + e->before + n, 0, e->after);
        if (supervised[e->before] == MLM_CONTINUES) supervised[e->before] = MLM_BEGINS;
        if (memchr(supervised + e->before, MLM_BEGINS, n))
            add_sample(b, &window, 0, n + frame, b->stats.records);
        else
            b->stats.dropped_tokens += (int64_t)n;
    }
}

static void name_record(int64_t first[DATASET_NAMED], const Build *b) {
    for (int i = 0; i < DATASET_NAMED; i++) {
        if (first[i]) continue;
        first[i] = b->stats.records + 1;
        return;
    }
}

// longest: tokens that must fit.
static int add_too_long(Build *b, const RecordTokens *e, size_t longest, const RecordSpan *span) {
    size_t max = (size_t)b->o->max_seq_length;
    if (b->o->truncation == TRUNCATION_ERROR)
        return err_input(b->err, "%s:%zu: found a sample of %zu token%s; expected at most %zu (max_seq_length)",
                         span->name, span->line, longest, plural(longest), max);
    name_record(b->stats.first_dropped, b);
    b->stats.dropped_long++;
    b->stats.dropped_tokens += (int64_t)(e->count + e->cut);
    return 0;
}

static void count_cut(Build *b, size_t cut, bool lost) {
    b->stats.truncated += cut != 0;
    b->stats.truncated_tokens += (int64_t)cut;
    b->stats.answers_cut += lost;
    if (lost) name_record(b->stats.first_cut, b);
}

// Cuts both sequences to max_seq_length, each at its end. Returns the number of tokens; *lost: learnt ones are gone.
static size_t cut_pair(RecordTokens *e, size_t max, bool *lost) {
    size_t first = e->second, second = e->count - first, before = e->count;
    size_t keep[2] = {first < max ? first : max, second < max ? second : max};
    *lost = memchr(e->supervised + keep[0], 1, first - keep[0]) ||
            memchr(e->supervised + first + keep[1], 1, second - keep[1]);
    memmove(e->ids + keep[0], e->ids + first, keep[1] * sizeof *e->ids);
    memmove(e->supervised + keep[0], e->supervised + first, keep[1]);
    e->second = keep[0];
    e->count = keep[0] + keep[1];
    return before - e->count;
}

// As add_kept, of preference data: both sequences must fit, and have something to learn.
static int add_pair(Build *b, RecordTokens *e, const RecordSpan *span) {
    size_t max = (size_t)b->o->max_seq_length, cut = 0;
    size_t longest = e->second > e->count - e->second ? e->second : e->count - e->second;
    bool lost = false;
    if ((int64_t)longest > b->stats.longest) b->stats.longest = (int64_t)longest;
    if (longest > max && b->o->truncation == TRUNCATION_TRUNCATE) cut = cut_pair(e, longest = max, &lost);
    if (!memchr(e->supervised, 1, e->second) || !memchr(e->supervised + e->second, 1, e->count - e->second)) {
        b->stats.skipped_unsupervised++;
        return 0;
    }
    if (longest > max) return add_too_long(b, e, longest, span);
    count_cut(b, cut, lost);
    add_sample(b, e, 0, e->count, b->stats.records);
    return 0;
}

// As add_kept, of texts that belong together; longer ones were shortened when they were tokenised. Each must fit.
static int add_texts(Build *b, const RecordTokens *e, const RecordSpan *span) {
    size_t longest = 0, length = 0;
    for (size_t i = 0; i < e->count; i++) {
        length = e->supervised[i] ? 1 : length + 1;
        if (length > longest) longest = length;
    }
    if ((int64_t)longest > b->stats.longest) b->stats.longest = (int64_t)longest;
    if (!e->count) {
        b->stats.skipped_unsupervised++;
        return 0;
    }
    if (longest > (size_t)b->o->max_seq_length) return add_too_long(b, e, longest, span);
    count_cut(b, e->cut, false);
    add_sample(b, e, 0, e->count, b->stats.records);
    return 0;
}

static void end_group(Build *b) {
    for (size_t i = 0; i < b->group.count; i++) {
        AUTO_CALL(record_tokens_clear) RecordTokens e;
        kl_group_get(&e, &b->group, i, (size_t)b->o->max_seq_length);
        add_sample(b, &e, 0, e.count, b->group.records[i]);
    }
    kl_group_clear(&b->group);
}

// As add_kept, of an answer with a label; the sequences are made when the group is full. Takes the tokens.
static int add_labelled(Build *b, RecordTokens *e, const RecordSpan *span) {
    size_t max = (size_t)b->o->max_seq_length, keep = e->count;
    if ((int64_t)keep > b->stats.longest) b->stats.longest = (int64_t)keep;
    if (keep > max && b->o->truncation == TRUNCATION_TRUNCATE) keep = max;
    if (!memchr(e->supervised, 1, keep)) {
        b->stats.skipped_unsupervised++;
        return 0;
    }
    if (keep > max) return add_too_long(b, e, keep, span);
    count_cut(b, e->count - keep, memchr(e->supervised + keep, 1, e->count - keep) != NULL);
    kl_group_put(&b->group, e, b->stats.records);
    if (b->group.count == b->group.size) end_group(b);
    return 0;
}

static void count_notes(Build *b, const RecordTokens *e) {
    DatasetStats *s = &b->stats;
    s->left_out_bytes += (int64_t)e->left_out;
    s->parsed_special += e->parsed_special;
    s->plain_special += e->plain_special;
    s->own_bos += e->own_bos;
    s->cannot_stop += e->cannot_stop;
    key_counts_add(&b->unread, &e->unread);
}

// The numbers of a record's labels, into b->ids.
static int number_labels(Build *b, const RecordLabels *l) {
    MEM_GROW(b->ids, b->ids_capacity, l->count + 1);
    if (l->problem == PROBLEM_REGRESSION) {
        if (!b->numbers) b->numbers = l->count;
        if (b->numbers == l->count) return 0;
        return err_input(b->err, "label: found %zu number%s; expected %zu, as in the records before it", l->count,
                         plural(l->count), b->numbers);
    }
    for (size_t i = 0; i < l->count; i++)
        if (label_table_add(b->labels, l->names[i], l->kind, &b->ids[i], b->err)) return -1;
    return 0;
}

// Labelled samples were shortened when they were tokenised, so that special tokens stay (classify.c); other samples are
// cut here.
static int add_kept(Build *b, const RecordTokens *e, const RecordSpan *span) {
    size_t max = (size_t)b->o->max_seq_length, keep = e->count, cut = e->cut;
    DatasetStats *s = &b->stats;
    bool labelled = e->labels.problem != PROBLEM_AUTO;
    if ((int64_t)(keep + cut) > s->longest) s->longest = (int64_t)(keep + cut);
    if (labelled && number_labels(b, &e->labels)) return err_context(b->err, "%s:%zu", span->name, span->line);
    if (!labelled && !e->windows && keep > max && b->o->truncation == TRUNCATION_TRUNCATE) {
        cut = keep - max;
        keep = max;
    }
    bool tokens = e->labels.problem == PROBLEM_TOKENS, none = !keep || !memchr(e->supervised, 1, keep);
    bool nothing = tokens ? none && !e->lost_labels : labelled ? !keep && !cut : none;
    if (nothing) {
        s->skipped_unsupervised++;
    } else if (e->windows) {
        (b->o->mlm.probability > 0 ? add_framed_windows : add_windows)(b, e);
    } else if (!keep || keep > max || (tokens && none)) {
        return add_too_long(b, e, e->count + e->cut, span);
    } else {
        count_cut(b, cut, e->lost_labels || (keep < e->count && memchr(e->supervised + keep, 1, e->count - keep)));
        add_sample(b, e, 0, keep, b->stats.records);
    }
    return 0;
}

// Each record becomes exactly one of: sample(s), skipped, dropped.
static int add_record(Build *b, RecordTokens *e, const RecordSpan *span) {
    count_notes(b, e);
    int rc = b->o->embedding                         ? add_texts(b, e, span)
             : b->o->preference == PREFERENCE_LABELS ? add_labelled(b, e, span)
             : b->o->preference == PREFERENCE_PAIRS  ? add_pair(b, e, span)
                                                     : add_kept(b, e, span);
    b->stats.records++;
    return rc;
}

// Tokenises the batch in parallel; of several bad records, the first in order is reported.
static int run_batch(Build *b) {
    int rc = 0;
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t i = 0; i < b->n_slots; i++) {
        Slot *s = &b->slots[i];
        RecordPlace place = b->place;
        place.number += (int64_t)i;
        s->rc = record_tokenize(&s->tokens, &b->tokenizer, s->span, &place, &s->err);
    }
    for (size_t i = 0; i < b->n_slots; i++) {
        Slot *s = &b->slots[i];
        if (!rc && s->rc) *b->err = s->err;
        if (!rc) rc = s->rc ? -1 : add_record(b, &s->tokens, &s->span);
        record_tokens_clear(&s->tokens);
    }
    b->place.number += (int64_t)b->n_slots;
    b->n_slots = 0;
    return rc;
}

static int check_columns(const Build *b, RecordSpan first) {
    AUTO_JSON JsonDoc *doc = NULL;
    if (!b->place.rule || !file_rule_has_columns(b->place.rule) || b->place.is_text) return 0;
    if (record_parse(&doc, first, b->err)) return -1;
    return file_rule_check(json_root(doc), b->place.rule, b->err)
               ? err_context(b->err, "%s:%zu", first.name, first.line)
               : 0;
}

// The first record shows what is predicted.
static int choose_problem(Build *b, RecordSpan first) {
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_CALL(json_pool_clear) JsonPool pool = {0};
    if (!b->o->classification || b->tokenizer.problem) return 0;
    if (record_parse(&doc, first, b->err)) return -1;
    Json record = *json_root(doc);
    b->tokenizer.problem = PROBLEM_SINGLE_LABEL; // a record that cannot be read is refused with its number later
    if (b->place.rule && file_rule_rename(&record, b->place.rule, &pool, NULL)) return 0;
    int rc = record_labels_choose(&b->tokenizer.problem, &record, first.untyped, b->err);
    return rc ? err_context(b->err, "%s:%zu", first.name, first.line) : 0;
}

static int choose_format(Build *b, RecordSpan first) {
    bool own = b->o->classification || b->o->preference || b->o->embedding; // format
    if (own && b->place.is_text)
        return err_input(b->err, "%s: found plain text; expected records with %s", b->place.path,
                         b->o->embedding                   ? "texts that belong together"
                         : b->o->preference                ? "answers and a verdict"
                         : b->o->problem == PROBLEM_TOKENS ? "tokens and tags"
                                                           : "text and label");
    b->place.format = b->o->embedding                   ? FORMAT_EMBEDDING
                      : b->o->preference                ? FORMAT_PREFERENCE
                      : b->o->problem == PROBLEM_TOKENS ? FORMAT_TOKEN_CLASSIFICATION
                                                        : FORMAT_CLASSIFICATION;
    if (own) return choose_problem(b, first);
    if (b->place.is_text) {
        b->place.format = FORMAT_TEXT;
        if (b->o->format == FORMAT_AUTO || b->o->format == FORMAT_TEXT) return 0;
        return err_input(b->err, "%s: a .txt file is text; dataset_format says %s", b->place.path,
                         dataset_format_name(b->o->format));
    }
    b->place.format = b->place.rule && b->place.rule->format != FORMAT_AUTO ? b->place.rule->format : b->o->format;
    if (b->place.format != FORMAT_AUTO) return 0;
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_CALL(json_pool_clear) JsonPool pool = {0};
    if (record_parse(&doc, first, b->err)) return -1;
    Json record = *json_root(doc);
    if (b->place.rule && file_rule_rename(&record, b->place.rule, &pool, b->err))
        return err_context(b->err, "%s:%zu", first.name, first.line);
    b->place.format = dialog_detect(&record, b->err);
    b->place.detected = true;
    if (b->place.format != FORMAT_AUTO) return 0;
    file_rule_explain(json_root(doc), b->place.rule, b->err);
    return err_context(b->err, "%s:%zu", first.name, first.line);
}

static int read_records(Build *b, RecordReader *r, RecordRange range) {
    RecordSpan span;
    int more = 0;
    size_t bytes = 0;
    int64_t n = 0;
    while (n < range.to && (more = records_next(r, &span, b->err)) == 1) {
        if (n++ < range.from) {
            if (n % BATCH_RECORDS == 0) records_release(r);
            continue;
        }
        if (n == range.from + 1 && (check_columns(b, span) || choose_format(b, span))) return -1;
        b->slots[b->n_slots++].span = span;
        bytes += span.len;
        if (b->n_slots < BATCH_RECORDS && bytes < BATCH_BYTES) continue;
        if (run_batch(b)) return -1;
        records_release(r);
        bytes = 0;
    }
    // Tokenise the records before a broken one first: an error in them takes precedence.
    Err why = *b->err;
    if (run_batch(b)) return -1;
    *b->err = why;
    if (more == 0 && n > 0 && n <= range.from) return dataset_fail_slice(b->place.path, b->place.rule, n, b->err);
    return more == 0 && n == 0 ? records_fail_empty(r, b->err) : more < 0 ? -1 : 0;
}

static int count_records(int64_t *n, const char *path, Err *err) {
    AUTO(records_close) RecordReader *r = NULL;
    RecordSpan span;
    int more;
    *n = 0;
    if (records_open(&r, path, err)) return -1;
    for (; (more = records_next(r, &span, err)) == 1; ++*n)
        if (*n % BATCH_RECORDS == 0) records_release(r);
    return more;
}

int dataset_fail_slice(const char *path, const FileRule *rule, int64_t n, Err *err) {
    return err_input(err, "%s: split %s: found %ld record%s in the file, none of them in the slice", path, rule->split,
                     n, plural(n));
}

int dataset_record_range(RecordRange *range, const char *path, const FileRule *rule, Err *err) {
    RecordSlice slice = {0};
    size_t unused;
    int64_t n = INT64_MAX;
    *range = (RecordRange){0, INT64_MAX};
    if (!rule || (!rule->limit && !rule->split)) return 0;
    if (rule->split && record_slice_parse(&slice, rule->split, &unused))
        return err_input(err, "%s: split: found \"%s\"; expected a name with a slice: train[:90%%]", path, rule->split);
    bool fraction = rule->limit > 0 && rule->limit < 1;
    if ((fraction || record_slice_counts(&slice)) && count_records(&n, path, err)) return -1;
    record_slice_bounds(&slice, n, &range->from, &range->to);
    if (range->from >= range->to) return n ? dataset_fail_slice(path, rule, n, err) : 0;
    double count = (double)(range->to - range->from);
    int64_t limit = fraction ? llround(rule->limit * count) : (int64_t)rule->limit;
    if (rule->limit && limit < range->to - range->from) range->to = range->from + limit;
    if (rule->limit && n && !limit)
        return err_input(err, "%s: found %ld record%s, of which max_samples %g are none", path, n, plural(n),
                         rule->limit);
    return 0;
}

static int read_file(Build *b, size_t i) {
    AUTO(records_close) RecordReader *r = NULL;
    const char *path = b->o->files[i];
    const FileRule *rule = b->o->rules ? &b->o->rules[i] : NULL;
    RecordRange range;
    if (dataset_record_range(&range, path, rule, b->err) || records_open(&r, path, b->err)) return -1;
    b->place = (RecordPlace){.path = path, .number = range.from + 1, .is_text = records_are_text(r), .rule = rule};
    int rc = read_records(b, r, range);
    end_group(b); // of records of one file
    b->stats.ignored_members += records_ignored(r);
    key_counts_join(&b->unread, records_ignored_kinds(r));
    token_sink_end_file(b->sink);
    b->stats.format = i == 0 || b->stats.format == b->place.format ? b->place.format : FORMAT_AUTO;
    return rc;
}

static int check_not_empty(const Build *b) {
    const DatasetStats *s = &b->stats;
    if (s->samples) return 0;
    return err_input(b->err,
                     "%s: found no sample to train on in %ld record%s: %ld without a supervised token, %ld longer than "
                     "max_seq_length %ld (the longest has %ld token%s)",
                     b->o->files[0], s->records, plural(s->records), s->skipped_unsupervised, s->dropped_long,
                     b->o->max_seq_length, s->longest, plural(s->longest));
}

// ---- all files ----

// As transformers names them, where nothing else does.
static void name_numbers(LabelList *list, const Build *b) {
    const LabelList *own = b->o->labels ? b->o->labels : b->o->named;
    for (size_t i = 0; i < b->numbers; i++) {
        AUTO_FREE char *name = mem_printf("LABEL_%zu", i);
        label_list_add(list, own && own->count == b->numbers ? own->names[i] : name);
    }
}

static int finish(Dataset **d, Build *b) {
    AUTO_CALL(label_list_clear) LabelList labels = {0};
    AUTO_FREE uint32_t *place = NULL;
    Problem problem = b->tokenizer.problem;
    if (problem == PROBLEM_REGRESSION)
        name_numbers(&labels, b);
    else if (b->labels && label_table_finish(b->labels, label_least(problem), &labels, &place, b->err))
        return err_context(b->err, "%s", b->o->files[0]);
    TokenTables tables = {.stats = &b->stats,
                          .preference = b->o->preference,
                          .embedding = b->o->embedding,
                          .masked = b->o->mlm.probability > 0,
                          .problem = problem,
                          .unread = &b->unread,
                          .labels = &labels,
                          .place = place};
    return token_sink_finish(d, b->sink, &tables, b->tokenizer.tokenizer->vocab_size, b->err);
}

static int build(Dataset **d, Build *b) {
    for (size_t i = 0; i < b->o->n_files; i++)
        if (token_sink_failed(b->sink, b->err) || read_file(b, i)) return -1;
    return check_not_empty(b) ? -1 : finish(d, b);
}

int dataset_build(Dataset **d, const DatasetInput *in, const char *file, const char *key, Err *err) {
    const DatasetOptions *o = in->options;
    RecordTokenizer tokenizer = {.tokenizer = in->tokenizer,
                                 .chat = in->chat,
                                 .train_on_inputs = o->train_on_inputs,
                                 .completion_only = o->completion_only,
                                 .raw_pairs = o->raw_pairs,
                                 .learnt = o->learnt,
                                 .parse_special = o->parse_special,
                                 .unrendered = o->unrendered,
                                 .preference = o->preference,
                                 .learn_chosen_prompt = o->learn_chosen_prompt,
                                 .mlm = o->mlm.probability > 0,
                                 .mlm_words = o->mlm.words,
                                 .problem = o->classification ? o->problem : PROBLEM_AUTO,
                                 .named = o->named,
                                 .embedding = o->embedding,
                                 .shorten_to = o->truncation == TRUNCATION_TRUNCATE ? o->max_seq_length : 0};
    AUTO_FREE Slot *slots = mem_calloc(BATCH_RECORDS, sizeof *slots);
    for (;; file = NULL) {
        Build b = {.o = o, .tokenizer = tokenizer, .slots = slots, .err = err};
        b.group.size = (size_t)o->kl_group;
        b.sink = token_sink_new(file, key);
        b.labels = o->classification ? label_table_new(o->labels) : NULL;
        if (b.labels) label_table_suggest(b.labels, o->named);
        if (o->problem == PROBLEM_REGRESSION && o->labels) b.numbers = o->labels->count;
        Err why;
        int rc = build(d, &b);
        bool again = rc && token_sink_failed(b.sink, &why);
        label_table_free(b.labels);
        mem_free(b.ids);
        key_counts_clear(&b.unread);
        kl_group_free(&b.group);
        token_sink_free(b.sink);
        if (!again) return rc;
        log_warn("no token cache: %s", why.msg);
    }
}
