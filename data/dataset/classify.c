// classify: one record of classification data to tokens and a label.
#include "record_tokenizer.h"

#include <string.h>

// ---- the record ----

static int read_text(JsonStr *out, const Json *record, const char *key, Err *err) {
    const Json *v = json_get(record, key);
    if (!v || v->type != JSON_STRING) return dialog_fail_type(key, v, "a string", err);
    *out = v->str;
    return 0;
}

static int fail_keys(const Json *record, Err *err) {
    AUTO_STR StrBuf keys = {0};
    dialog_list_keys(&keys, record);
    return err_input(err,
                     "found a record with the keys {%s}; expected label and text, sentence or content, or a pair such "
                     "as sentence1 + sentence2",
                     keys.data ? keys.data : "");
}

static int read_texts(ClassifiedText *t, const Json *record, Err *err) {
    static const char *const pairs[][2] = {{"sentence1", "sentence2"}, {"premise", "hypothesis"},
                                           {"question1", "question2"}, {"question", "sentence"},
                                           {"question", "passage"},    {"text", "text_pair"}};
    static const char *const single[] = {"text", "sentence", "content"};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!json_given(record, pairs[i][0]) || !json_given(record, pairs[i][1])) continue;
        t->pair = true;
        t->keys[0] = pairs[i][0];
        t->keys[1] = pairs[i][1];
        return read_text(&t->first, record, t->keys[0], err) ? -1 : read_text(&t->second, record, t->keys[1], err);
    }
    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        if (json_given(record, single[i])) return read_text(&t->first, record, t->keys[0] = single[i], err);
    return fail_keys(record, err);
}

void classify_note_keys(KeyNotes *used, KeyNotes *unread, const Json *record, const ClassifiedText *t,
                        const char *label) {
    for (size_t i = 0; i < record->count; i++) {
        JsonStr key = record->keys[i];
        bool is_used =
            json_str_is(key, label) || json_str_is(key, t->keys[0]) || (t->keys[1] && json_str_is(key, t->keys[1]));
        KeyNotes *to = is_used ? used : unread;
        if (to && record->items[i].type != JSON_NULL) key_notes_add(to, "", key);
    }
}

// ---- tokens ----

static bool parses(const RecordTokenizer *e) { return e->parse_special == PARSE_SPECIAL_ON; }

static void note_special(RecordTokens *out, const RecordTokenizer *e, JsonStr text) {
    if (tokenizer_spells_control(e->tokenizer, text.data, text.len, NULL))
        *(parses(e) ? &out->parsed_special : &out->plain_special) = true;
}

typedef struct Range {
    size_t begin, count;
} Range;

// The place of a text's tokens in the sample, from `from` on.
static Range find_text(const TokenIds *all, size_t from, const RecordTokenizer *e, JsonStr text) {
    AUTO_IDS TokenIds alone = {0};
    tokenizer_encode(e->tokenizer, text.data, text.len, NULL, parses(e), &alone);
    for (Range r = {from, alone.count}; r.count && r.begin + r.count <= all->count; r.begin++)
        if (memcmp(all->ids + r.begin, alone.ids, r.count * sizeof *alone.ids) == 0) return r;
    return (Range){from, 0};
}

// Shortens two texts to `room`: the shorter one stays whole where that fits, else both get half.
static void share_room(size_t *first, size_t *second, size_t room) {
    size_t *low = *first > *second ? second : first, *high = low == first ? second : first;
    if (*low + *high <= room) return;
    *high = *low > room ? *low : *low > room - *low ? *low : room - *low;
    if (*low + *high > room) {
        *low = room / 2;
        *high = room - *low;
    }
}

static size_t remove_tokens(TokenIds *t, size_t begin, size_t count) {
    memmove(t->ids + begin, t->ids + begin + count, (t->count - begin - count) * sizeof *t->ids);
    t->count -= count;
    return count;
}

// Returns the number of removed tokens; all of them if no text would be left.
static size_t shorten(TokenIds *t, size_t *second, const RecordTokenizer *e, const ClassifiedText *texts, size_t max) {
    Range a = find_text(t, 0, e, texts->first), b = {t->count, 0};
    if (texts->pair) b = find_text(t, a.begin + a.count, e, texts->second);
    size_t special = t->count - a.count - b.count, keep_a = a.count, keep_b = b.count;
    if (special >= max) return remove_tokens(t, 0, t->count);
    if (texts->pair)
        share_room(&keep_a, &keep_b, max - special);
    else
        keep_a = max - special;
    if (*second >= b.begin + b.count) *second -= b.count - keep_b;
    if (*second >= a.begin + a.count) *second -= a.count - keep_a;
    size_t cut = remove_tokens(t, b.begin + keep_b, b.count - keep_b);
    return cut + remove_tokens(t, a.begin + keep_a, a.count - keep_a);
}

int classify_read(ClassifiedText *t, const Json *record, Err *err) {
    *t = (ClassifiedText){0};
    if (record->type != JSON_OBJECT)
        return err_input(err, "found %s; expected a record, an object", json_type_name(record));
    return read_texts(t, record, err);
}

bool classify_fits(const Json *record) {
    ClassifiedText t;
    const Json *label = json_given(record, "label"), *labels = json_given(record, "labels");
    bool fits = label ? label->type != JSON_OBJECT : labels && labels->type == JSON_ARRAY;
    DatasetFormat f = fits && classify_read(&t, record, NULL) == 0 ? dialog_detect(record, NULL) : FORMAT_MESSAGES;
    return f == FORMAT_TEXT || f == FORMAT_AUTO;
}

int classify_tokenize(RecordTokens *out, const RecordTokenizer *e, const ClassifiedText *texts, Err *err) {
    AUTO_IDS TokenIds t = {0};
    TokenizerPair pair = {.a = texts->first.data,
                          .b = texts->pair ? texts->second.data : NULL,
                          .a_len = texts->first.len,
                          .b_len = texts->second.len,
                          .parse_special = parses(e)};
    tokenizer_encode_pair(e->tokenizer, &pair, &t, &out->second);
    note_special(out, e, texts->first);
    if (texts->pair) note_special(out, e, texts->second);
    if (e->shorten_to && t.count > (size_t)e->shorten_to)
        out->cut = shorten(&t, &out->second, e, texts, (size_t)e->shorten_to);
    return record_take_tokens(out, &t, SIZE_MAX, err);
}

int classify_record(RecordTokens *out, const RecordTokenizer *e, const Json *record, bool untyped, Err *err) {
    ClassifiedText texts;
    RecordLabelRule rule = {e->problem, untyped, e->named};
    if (classify_read(&texts, record, err) || record_labels_read(&out->labels, record, &rule, err)) return -1;
    classify_note_keys(NULL, &out->unread, record, &texts, out->labels.key);
    return classify_tokenize(out, e, &texts, err);
}
