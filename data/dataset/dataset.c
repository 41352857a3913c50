// dataset: opens a data set from its token cache, or else from its files; reads and shows its samples.
//
// The cache's key (token_cache.h) covers all that decides the tokens: content of files, options, tokenizer, template.
#include "dataset.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "byte_stream.h"
#include "cache_dir.h"
#include "data_files.h"
#include "dataset_build.h"
#include "hash.h"
#include "say.h"
#include "token_cache.h"

// ---- the key ----

// To be raised when the same files and options give other tokens than before.
enum { READER_VERSION = 6 };

static int add_file(StrBuf *what, const char *path, Err *err) {
    char hex[33];
    size_t unused;
    if (hash_file(hex, path, err)) return -1;
    str_printf(what, "file=%s %s%s\n", hex, data_kind_name(path),
               byte_stream_is_compressed(path, &unused) ? " compressed" : "");
    return 0;
}

static int make_key(char key[TOKEN_KEY_LEN + 1], const DatasetInput *in, Err *err) {
    const DatasetOptions *o = in->options;
    const Tokenizer *t = in->tokenizer;
    const char *source = in->chat ? chat_template_source(in->chat) : "";
    char template[33];
    hash_bytes(template, source, strlen(source));
    AUTO_STR StrBuf what = {0};
    str_printf(&what, "reader=%d\nformat=%d\ntrain_on_inputs=%d\nmax_seq_length=%ld\ntruncation=%d\n", READER_VERSION,
               o->format, o->train_on_inputs, o->max_seq_length, o->truncation);
    str_printf(&what, "parse_special=%d\nunrendered=%d\n", o->parse_special, o->unrendered);
    str_printf(&what, "tokenizer=%s bos %d %d eos %d\ntemplate=%s\n", t->fingerprint, t->add_bos, t->bos, t->eos,
               template);
    if (o->classification) str_printf(&what, "classification 2, %zu labels given\n", o->labels ? o->labels->count : 0);
    for (size_t i = 0; o->classification && o->labels && i < o->labels->count; i++)
        str_add(&what, o->labels->names[i], strlen(o->labels->names[i]) + 1);
    if (o->mlm.probability > 0) str_printf(&what, "mlm %d\n", o->mlm.words);
    if (o->problem) str_printf(&what, "problem %d\n", o->problem);
    for (size_t i = 0; o->named && i < o->named->count; i++)
        str_add(&what, o->named->names[i], strlen(o->named->names[i]) + 1);
    if (o->completion_only) str_puts(&what, "completion_only\n");
    if (o->raw_pairs) str_puts(&what, "raw_pairs\n");
    if (o->preference) str_printf(&what, "preference %d %d %ld\n", o->preference, o->learn_chosen_prompt, o->kl_group);
    if (o->embedding) str_printf(&what, "embedding %d\n", o->embedding);
    if (learnt_turns_differ(o->learnt)) str_printf(&what, "learnt %u %d\n", o->learnt.roles, o->learnt.eos);
    if (o->learnt.last_only) str_puts(&what, "last_only\n");
    for (size_t i = 0; i < o->n_files; i++) {
        if (add_file(&what, o->files[i], err)) return -1;
        if (o->rules) file_rule_print(&what, &o->rules[i]);
    }
    hash_bytes(key, what.data, what.len);
    return 0;
}

// ---- opening ----

// The format of the task's records; AUTO: one of several.
static DatasetFormat own_format(const DatasetOptions *o) {
    if (o->embedding) return FORMAT_EMBEDDING;
    if (o->problem == PROBLEM_TOKENS) return FORMAT_TOKEN_CLASSIFICATION;
    return o->classification ? FORMAT_CLASSIFICATION : o->preference ? FORMAT_PREFERENCE : FORMAT_AUTO;
}

static int check_format(DatasetFormat f, const DatasetOptions *o, Err *err) {
    DatasetFormat own = own_format(o);
    const char *task = own == FORMAT_AUTO ? "causal_lm" : dataset_format_name(own); // formats are named as tasks
    bool other = own == FORMAT_AUTO && (f == FORMAT_CLASSIFICATION || f == FORMAT_PREFERENCE || f == FORMAT_EMBEDDING ||
                                        f == FORMAT_TOKEN_CLASSIFICATION);
    if (f == FORMAT_AUTO || f == own || (own == FORMAT_AUTO && !other)) return 0;
    return err_input(err, "dataset_format: found \"%s\", but the task is %s%s", dataset_format_name(f), task,
                     own == FORMAT_AUTO ? "" : "; expected \"auto\"");
}

// Preference data has its own mask.
static int check_mask(const DatasetOptions *o, Err *err) {
    CHECK(o->preference != PREFERENCE_LABELS || o->kl_group > 0, "a group of %ld records", o->kl_group);
    bool turns = learnt_turns_differ(o->learnt) || o->learnt.last_only;
    for (size_t i = 0; i < o->n_files && o->rules; i++) {
        LearntTurns learnt = file_rule_learnt(&o->rules[i], o->learnt);
        turns |= learnt_turns_differ(learnt);
        if (check_format(o->rules[i].format, o, err)) return err_context(err, "%s", o->files[i]);
    }
    if (!o->train_on_inputs && !turns) return 0;
    return err_input(err, "%s: preference data is trained on its answers; expected task causal_lm for it",
                     turns ? "roles_to_train, train_on_eos, mask_history" : "train_on_inputs");
}

// Longer samples are cut into windows with the tokens around a text, and one token of it.
static int check_mlm(const DatasetOptions *o, const Tokenizer *t, Err *err) {
    if (t->mask < 0) return err_input(err, "task: mlm; expected a model whose tokenizer has a mask token");
    if (o->max_seq_length > t->post.n_single) return 0;
    return err_input(err, "max_seq_length: found %ld; expected more than the %d tokens around a text",
                     o->max_seq_length, t->post.n_single - 1);
}

static int check_options(const DatasetOptions *o, const Tokenizer *t, Err *err) {
    if (!o->n_files) return err_input(err, "train_file: found no file; expected at least one");
    if (o->max_seq_length < 2 || o->max_seq_length > INT32_MAX)
        return err_input(err, "max_seq_length: found %ld; expected at least 2", o->max_seq_length);
    if (check_format(o->format, o, err) || (o->mlm.probability > 0 && check_mlm(o, t, err))) return -1;
    return o->preference ? check_mask(o, err) : 0;
}

// Files that changed while they were read: the cache mixes two states.
static int check_unchanged(const DatasetInput *in, const char *key, const char *file, Err *err) {
    char key_after[TOKEN_KEY_LEN + 1];
    if (make_key(key_after, in, err)) return -1;
    if (strcmp(key_after, key) == 0) return 0;
    if (file && remove(file) != 0 && errno != ENOENT)
        log_warn("%s: holds data that changed while it was read, and cannot be removed: %s", file, strerror(errno));
    return err_runtime(err, "%s: the data changed while it was being read", in->options->files[0]);
}

int dataset_open(Dataset **d, const DatasetOptions *o, const Tokenizer *t, const ChatTemplate *chat, Err *err) {
    DatasetInput in = {.options = o, .tokenizer = t, .chat = chat};
    char key[TOKEN_KEY_LEN + 1];
    *d = NULL;
    if (check_options(o, t, err) || make_key(key, &in, err)) return -1;
    AUTO_FREE char *file = cache_file(o->cache_dir, key);
    bool hit = file && token_image_open(d, file, key, t->vocab_size, NULL) == 0;
    if (!hit && (dataset_build(d, &in, file, key, err) || check_unchanged(&in, key, file, err))) {
        dataset_close(mem_take(d));
        return -1;
    }
    if (file && hit) cache_touch(file);
    if (file && !hit) cache_trim(file, o->cache_limit ? o->cache_limit : CACHE_LIMIT);
    (*d)->score_first = o->score_first;
    (*d)->mlm = o->mlm;
    (*d)->mlm.mask_token = t->mask;
    if (!o->mlm.vocab) (*d)->mlm.vocab = t->vocab_size;
    (*d)->pooling = o->pooling;
    (*d)->from_cache = hit;
    return 0;
}

void dataset_close(Dataset *d) {
    if (!d) return;
    file_unmap(&d->image->map);
    mem_free(d->image->memory);
    mem_free(d->image);
    if (d->labels) label_list_clear(d->labels);
    mem_free(d->labels);
    mem_free(d->label_counts);
    key_counts_clear(&d->unread);
    mem_free(d);
}

// ---- samples ----

void dataset_release(const Dataset *d) {
    if (d->image->map.data) file_map_drop(&d->image->map, 0, d->image->size);
}

static const TokenEntry *entry_at(const Dataset *d, int64_t i) {
    CHECK(i >= 0 && i < d->count, "sample %ld of %ld", i, d->count);
    return &d->image->entries[i];
}

// value: of its TokenEntry.
static int64_t dataset_scored(const Dataset *d, uint32_t value) {
    return d->problem && d->problem != PROBLEM_TOKENS ? 1 : value;
}

SampleSize dataset_size(const Dataset *d, int64_t i) {
    const TokenEntry *e = entry_at(d, i);
    return (SampleSize){e->count, dataset_scored(d, e->value)};
}

Sample dataset_sample(const Dataset *d, int64_t i) {
    const TokenEntry *e = entry_at(d, i);
    const TokenHead *head = (const TokenHead *)(d->image->data + e->offset);
    const int32_t *ids = (const int32_t *)(head + 1);
    const uint8_t *supervised = (const uint8_t *)(ids + e->count);
    bool single = d->problem == PROBLEM_SINGLE_LABEL, each = d->problem && !single;
    const void *labels = each ? token_labels(supervised, e->count) : NULL;
    return (Sample){.ids = ids,
                    .supervised = supervised,
                    .count = e->count,
                    .supervised_count = dataset_scored(d, e->value),
                    .record = head->record,
                    .preference = d->preference,
                    .desirable = d->preference && head->value,
                    .embedding = d->embedding,
                    .score = bits_to_f32(head->value),
                    .label = single ? (int32_t)e->value : -1,
                    .labels = d->problem == PROBLEM_REGRESSION ? NULL : labels,
                    .values = d->problem == PROBLEM_REGRESSION ? labels : NULL,
                    .n_labels = each ? e->value : 0,
                    .second = head->second};
}

// ---- as text ----

static void show_tokens(StrBuf *out, const Sample *s, const Tokenizer *t, const char *open, const char *close) {
    for (int64_t i = 0, stop; i < s->count; i = stop) {
        AUTO_STR StrBuf text = {0};
        for (stop = i + 1; stop < s->count && s->supervised[stop] == s->supervised[i];) stop++;
        tokenizer_decode(t, s->ids + i, (size_t)(stop - i), true, &text);
        str_puts(out, s->supervised[i] ? open : "");
        say_escape(out, text.data, text.len);
        str_puts(out, s->supervised[i] ? close : "");
    }
}

// The texts of a record, each on its line.
static void show_texts(StrBuf *out, const Sample *s, const Tokenizer *t) {
    for (int64_t i = 0, stop; i < s->count; i = stop) {
        AUTO_STR StrBuf text = {0};
        for (stop = i + 1; stop < s->count && !s->supervised[stop];) stop++;
        tokenizer_decode(t, s->ids + i, (size_t)(stop - i), true, &text);
        str_puts(out, i ? "\n" : "");
        say_escape(out, text.data, text.len);
    }
}

void sample_show(StrBuf *out, const Sample *s, const Tokenizer *t, const char *open, const char *close) {
    Sample part = *s, second = *s;
    if (s->embedding) {
        show_texts(out, s, t);
        return;
    }
    if (s->preference) {
        part.count = s->second;
        second.count = s->count - s->second;
        second.ids += s->second;
        second.supervised += s->second;
    }
    show_tokens(out, &part, t, open, close);
    if (!s->preference) return;
    str_puts(out, s->preference == PREFERENCE_PAIRS ? "\n--- rejected\n" : "\n--- with another answer\n");
    show_tokens(out, &second, t, open, close);
}
