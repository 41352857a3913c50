#include "embedding_record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void embedding_texts_clear(EmbeddedTexts *t) {
    mem_free(t->texts);
    key_notes_clear(&t->read);
    *t = (EmbeddedTexts){0};
}

// ---- the record ----

static const char *const pairs[][2] = {
    {"anchor", "positive"}, {"query", "positive"},    {"question", "positive"},   {"query", "pos"},
    {"query", "answer"},    {"query", "passage"},     {"query", "document"},      {"query", "response"},
    {"question", "answer"}, {"question", "passage"},  {"sentence1", "sentence2"}, {"sentence_A", "sentence_B"},
    {"text1", "text2"},     {"premise", "hypothesis"}};

static const char *const *find_pair(const Json *record) {
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (json_given(record, pairs[i][0]) && json_given(record, pairs[i][1])) return pairs[i];
    return NULL;
}

// "negative", "negatives", "neg", "hard_negative", "negative_3", ...
static bool names_negatives(JsonStr key) {
    size_t n = key.len;
    while (n && key.data[n - 1] >= '0' && key.data[n - 1] <= '9') n--;
    if (n && n < key.len && key.data[n - 1] == '_') n--;
    return is_among(key.data, n,
                    n < key.len ? "negative neg hard_negative" : "negative negatives neg hard_negative hard_negatives");
}

static const Json *find_score(const Json *record, const char **key) {
    static const char *const keys[] = {"score", "similarity_score", "similarity", "label"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_given(record, *key = keys[i])) return json_get(record, keys[i]);
    return NULL;
}

static int add_text(EmbeddedTexts *t, const char *key, const Json *v, Err *err) {
    if (!json_is_text(v)) return dialog_fail_type(key, v, "a text", err);
    t->texts = mem_realloc(t->texts, t->count + 1, sizeof *t->texts);
    t->texts[t->count++] = v->str;
    return 0;
}

// A text, or a list of `least` to `most` texts.
static int add_texts(EmbeddedTexts *t, const char *key, const Json *v, size_t least, size_t most, Err *err) {
    key_notes_add(&t->read, "", json_str(key));
    if (v->type != JSON_ARRAY) return add_text(t, key, v, err);
    if (v->count < least || v->count > most)
        return err_input(err, "%s: found a list of %zu texts; expected one", key, v->count);
    for (size_t i = 0; i < v->count; i++)
        if (add_text(t, key, &v->items[i], err)) return -1;
    return 0;
}

static int read_score(EmbeddedTexts *t, const Json *record, EmbeddingData kind, bool untyped, Err *err) {
    const char *key;
    const Json *v = find_score(record, &key);
    AUTO_JSON JsonDoc *doc = NULL;
    if (!v) return err_input(err, "found a record without a score; expected score, label or similarity, a number");
    key_notes_add(&t->read, "", json_str(key));
    if (untyped && json_is_text(v) && json_parse(&doc, v->str.data, v->str.len, "", 0, NULL) == 0) v = json_root(doc);
    bool truth = v->type == JSON_TRUE || v->type == JSON_FALSE;
    double x = truth ? v->type == JSON_TRUE : json_is_number(v) ? v->number : NAN;
    t->score = (float)x;
    if (!isfinite(t->score)) return dialog_fail_type(key, v, "a number", err);
    if (kind != EMBEDDING_COSINES || fabs(x) <= 1) return 0;
    return err_input(err, "%s: found %g; expected a cosine, -1 to 1 (divide scores by the largest)", key, x);
}

static int fail_keys(const Json *record, Err *err) {
    AUTO_STR StrBuf keys = {0};
    dialog_list_keys(&keys, record);
    return err_input(err,
                     "found a record with the keys {%s}; expected anchor + positive, query + answer, sentence1 + "
                     "sentence2 or the like, or their names in columns",
                     keys.data ? keys.data : "");
}

static int refuse_score(const char *key, Err *err) {
    return err_input(err,
                     "found a score (%s), which multiple_negatives_ranking does not read; expected embedding_loss: "
                     "\"cosent\" or \"cosine_similarity\", or records without it",
                     key);
}

int embedding_read(EmbeddedTexts *t, const Json *record, EmbeddingData kind, bool untyped, Err *err) {
    const char *key;
    if (record->type != JSON_OBJECT)
        return err_input(err, "found %s; expected a record, an object", json_type_name(record));
    const char *const *pair = find_pair(record);
    if (!pair) return fail_keys(record, err);
    if (add_texts(t, pair[0], json_get(record, pair[0]), 1, 1, err) ||
        add_texts(t, pair[1], json_get(record, pair[1]), 1, 1, err))
        return -1;
    for (size_t i = 0; i < record->count; i++) {
        const Json *v = &record->items[i];
        if (!names_negatives(record->keys[i]) || v->type == JSON_NULL) continue;
        if (kind != EMBEDDING_RANKED)
            return err_input(err, "found negatives (%.64s) beside a score; expected pairs of texts",
                             record->keys[i].data);
        if (add_texts(t, record->keys[i].data, v, 0, SIZE_MAX, err)) return -1;
    }
    if (kind == EMBEDDING_RANKED) return find_score(record, &key) ? refuse_score(key, err) : 0;
    return read_score(t, record, kind, untyped, err);
}

EmbeddingData embedding_kind(const Json *record) {
    const char *key;
    if (record->type != JSON_OBJECT || !find_pair(record)) return EMBEDDING_NONE;
    return find_score(record, &key) ? EMBEDDING_SCORED : EMBEDDING_RANKED;
}

// ---- tokens ----

static void note_unread(RecordTokens *out, const Json *record, const EmbeddedTexts *t) {
    for (size_t i = 0; i < record->count; i++)
        if (record->items[i].type != JSON_NULL && !key_notes_has(&t->read, record->keys[i]))
            key_notes_add(&out->unread, "", record->keys[i]);
}

static void append(RecordTokens *out, size_t *capacity, const RecordTokens *t) {
    size_t at = out->count, needed = at + t->count + 1;
    if (needed > *capacity) {
        *capacity = 2 * needed;
        out->ids = mem_realloc(out->ids, *capacity, sizeof *out->ids);
        out->supervised = mem_realloc(out->supervised, *capacity, 1);
    }
    memcpy(out->ids + at, t->ids, t->count * sizeof *t->ids);
    memset(out->supervised + at, 0, t->count);
    out->supervised[at] = at > 0;
    out->count += t->count;
    out->parsed_special |= t->parsed_special;
    out->plain_special |= t->plain_special;
    out->left_out += t->left_out;
    out->cut += t->cut;
}

// Nothing stays of a record with a text that has no token.
static int tokenize_texts(RecordTokens *out, const RecordTokenizer *e, const EmbeddedTexts *texts, Err *err) {
    size_t capacity = 0;
    for (size_t i = 0; i < texts->count; i++) {
        AUTO_CALL(record_tokens_clear) RecordTokens t = {0};
        ClassifiedText text = {.first = texts->texts[i]};
        if (classify_tokenize(&t, e, &text, err)) return -1;
        if (i == 1) out->second = out->count;
        append(out, &capacity, &t);
        if (t.count) continue;
        out->count = 0;
        return 0;
    }
    return 0;
}

int embedding_record(RecordTokens *out, const RecordTokenizer *e, const Json *record, bool untyped, Err *err) {
    AUTO_CALL(embedding_texts_clear) EmbeddedTexts texts = {0};
    if (embedding_read(&texts, record, e->embedding, untyped, err)) return -1;
    note_unread(out, record, &texts);
    out->score = texts.score;
    return tokenize_texts(out, e, &texts, err);
}
