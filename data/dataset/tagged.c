#include "tagged.h"

#include <stdio.h>
#include <string.h>

#include "unicode.h"

void tagged_clear(TaggedTokens *t) {
    token_ids_clear(&t->t);
    mem_free(t->word);
    *t = (TaggedTokens){0};
}

// ---- keys ----

static const char *const word_keys[] = {"tokens", "words"};
static const char *const tag_keys[] = {"tags", "ner_tags", "labels"};

static const char *first_of(const Json *record, const char *const *keys, size_t n) {
    for (size_t i = 0; record->type == JSON_OBJECT && i < n; i++)
        if (json_given(record, keys[i])) return keys[i];
    return NULL;
}

static const char *words_of(const Json *record) { return first_of(record, word_keys, 2); }
static const char *tags_of(const Json *record) { return first_of(record, tag_keys, 3); }

bool tagged_fits(const Json *record) {
    const char *words = words_of(record), *tags = tags_of(record);
    const Json *spans =
        record->type == JSON_OBJECT && json_given(record, "text") ? json_given(record, "entities") : NULL;
    if (spans) return spans->type == JSON_ARRAY;
    return words && tags && json_get(record, words)->type == JSON_ARRAY && json_get(record, tags)->type == JSON_ARRAY;
}

void tagged_note_keys(KeyNotes *used, KeyNotes *unread, const Json *record) {
    const char *words = words_of(record), *tags = tags_of(record);
    const char *keys[] = {words ? words : "text", words ? tags : "entities"};
    for (size_t i = 0; record->type == JSON_OBJECT && i < record->count; i++) {
        bool is_used = false;
        for (int k = 0; k < 2; k++) is_used |= keys[k] && json_str_is(record->keys[i], keys[k]);
        KeyNotes *to = is_used ? used : unread;
        if (to && record->items[i].type != JSON_NULL) key_notes_add(to, "", record->keys[i]);
    }
}

static int fail_keys(const Json *record, Err *err) {
    AUTO_STR StrBuf keys = {0};
    if (record->type != JSON_OBJECT)
        return err_input(err, "found %s; expected a record, an object", json_type_name(record));
    dialog_list_keys(&keys, record);
    return err_input(err, "found a record with the keys {%s}; expected tokens + tags, or text + entities",
                     keys.data ? keys.data : "");
}

// ---- tokens ----

static void add_id(TokenIds *t, int32_t id, uint32_t start) {
    size_t capacity = t->capacity;
    MEM_GROW(t->ids, t->capacity, t->count + 1);
    if (!t->start || t->capacity != capacity) t->start = mem_realloc(t->start, t->capacity, sizeof *t->start);
    t->start[t->count] = start;
    t->ids[t->count++] = id;
}

static int add_words(TaggedTokens *out, const RecordTokenizer *e, const Json *words, Err *err) {
    size_t capacity = 0;
    out->words = words->count;
    for (size_t i = 0; i < words->count; i++) {
        const Json *word = &words->items[i];
        size_t before = out->t.count;
        if (word->type != JSON_STRING)
            return err_input(err, "%s: element %zu is %s; expected a text", out->key, i, json_type_name(word));
        tokenizer_encode(e->tokenizer, word->str.data, word->str.len, NULL, e->parse_special == PARSE_SPECIAL_ON,
                         &out->t);
        if (out->t.count == before) out->without += word->str.len ? word->str.len : 1;
        MEM_GROW(out->word, capacity, out->t.count + 1);
        for (size_t k = before; k < out->t.count; k++) out->word[k] = k == before ? (int64_t)i : -1;
    }
    return 0;
}

static int add_content(TaggedTokens *out, const RecordTokenizer *e, const Json *record, Err *err) {
    const Json *v = json_get(record, out->key);
    if (!out->of_text) {
        if (v->type != JSON_ARRAY) return dialog_fail_type(out->key, v, "a list of words", err);
        return add_words(out, e, v, err);
    }
    if (v->type != JSON_STRING) return dialog_fail_type(out->key, v, "a string", err);
    out->text = v->str;
    tokenizer_encode(e->tokenizer, v->str.data, v->str.len, NULL, e->parse_special == PARSE_SPECIAL_ON, &out->t);
    return 0;
}

// Puts the model's tokens around what out->t has, which is cut where it is too long.
static void frame(TaggedTokens *out, const RecordTokenizer *e) {
    const PostProcessor *post = &e->tokenizer->post;
    TokenIds content = out->t;
    int64_t *word = out->word;
    size_t room = e->shorten_to ? (size_t)e->shorten_to : SIZE_MAX, around = (size_t)post->n_single - 1;
    size_t keep = content.count + around <= room ? content.count : room > around ? room - around : 0;
    out->t = (TokenIds){.left_out = content.left_out, .unknown = content.unknown, .refused = content.refused};
    out->word = word ? mem_alloc(keep + around + 1, sizeof *word) : NULL;
    for (int i = 0; i < post->n_single; i++) {
        bool special = post->single[i].kind == POST_TOKEN;
        if (!special) out->first = out->t.count;
        for (size_t k = 0; k < (special ? 1 : keep); k++) {
            if (word) out->word[out->t.count] = special ? -1 : word[k];
            add_id(&out->t, special ? post->single[i].id : content.ids[k], special ? 0 : content.start[k]);
        }
    }
    out->n = keep;
    out->cut = content.count - keep;
    if (out->cut && out->text.len) out->text.len = content.start[keep]; // the last token ends there
    token_ids_clear(&content);
    mem_free(word);
}

int tagged_tokenize(TaggedTokens *out, const RecordTokenizer *e, const Json *record, Err *err) {
    const char *words = words_of(record);
    *out = (TaggedTokens){.key = words ? words : "text", .of_text = !words};
    if (!words && (record->type != JSON_OBJECT || !json_given(record, "text"))) return fail_keys(record, err);
    int rc = add_content(out, e, record, err);
    if (!rc) rc = token_ids_check(&out->t, err);
    if (!rc) frame(out, e);
    if (rc) tagged_clear(out);
    return rc;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

void tagged_span(const TaggedTokens *t, size_t i, size_t *begin, size_t *end) {
    *begin = t->t.start[i];
    *end = i + 1 < t->first + t->n ? t->t.start[i + 1] : t->text.len;
    while (*begin < *end && is_space(t->text.data[*begin])) ++*begin;
    while (*begin < *end && is_space(t->text.data[*end - 1])) --*end;
}

// ---- labels of words ----

enum { IGNORED = -100 }; // PyTorch's

static int add_tag(RecordLabels *out, const Json *v, const ListedLabel *at, bool *none, Err *err) {
    int64_t n;
    *none = json_whole(v, &n) && n == IGNORED;
    return *none ? 0 : record_labels_add_listed(out, v, at, err);
}

// NULL: an error.
static const Json *find_tags(const Json *record, size_t words, Err *err) {
    const char *key = tags_of(record);
    const Json *v = key ? json_get(record, key) : NULL;
    if (v && v->type == JSON_ARRAY && v->count == words) return v;
    if (!v)
        fail_keys(record, err);
    else if (v->type != JSON_ARRAY)
        dialog_fail_type(key, v, "a list with a tag for each word", err);
    else
        err_input(err, "%s: found %zu tag%s for %zu word%s; expected one for each", key, v->count, plural(v->count),
                  words, plural(words));
    return NULL;
}

// The tag of a word without a token would be lost: it must say that nothing is there, O or, as a number, 0 or -100.
static int check_unread(const Json *tag, const char *key, size_t i, Err *err) {
    int64_t n;
    if (json_is_string(tag, "O") || (json_whole(tag, &n) && (n == 0 || n == IGNORED))) return 0;
    return err_input(
        err, "%s: element %zu is of a word without a token; expected O, or a word that the tokenizer reads", key, i);
}

static int label_words(RecordTokens *out, const TaggedTokens *t, const RecordTokenizer *e, const Json *record,
                       const Json *tags, Err *err) {
    const char *key = tags_of(record);
    size_t seen = 0;
    bool none;
    for (size_t i = 0; i < t->t.count; i++) {
        if (t->word[i] < 0) continue;
        size_t word = (size_t)t->word[i];
        for (; seen < word; seen++)
            if (check_unread(&tags->items[seen], key, seen, err)) return -1;
        ListedLabel at = {key, word, e->named};
        if (add_tag(&out->labels, &tags->items[word], &at, &none, err)) return -1;
        out->supervised[i] = !none;
        seen = word + 1;
    }
    // Labels of what was cut are read too: they count, and may be wrong.
    for (size_t i = seen; i < tags->count; i++) {
        AUTO_CALL(record_labels_clear) RecordLabels rest = {.key = key};
        if (add_tag(&rest, &tags->items[i], &(ListedLabel){key, i, e->named}, &none, err) ||
            (!t->cut && check_unread(&tags->items[i], key, i, err)))
            return -1;
        out->lost_labels |= !none && t->cut;
    }
    return 0;
}

// ---- labels of spans ----

typedef struct Entity {
    size_t begin, end; // bytes
    JsonStr label;
    bool has_token;
} Entity;

static int read_place(int64_t *out, const Json *v, const char *key, size_t i, Err *err) {
    if (json_whole(json_get(v, key), out) && *out >= 0) return 0;
    return err_input(err, "entities: %s of element %zu is %s; expected a number of characters", key, i,
                     json_type_name(json_get(v, key)));
}

// The byte where character n begins; SIZE_MAX: the text is shorter.
static size_t byte_of(JsonStr text, int64_t n) {
    size_t at = 0;
    for (; n > 0 && at < text.len; n--) at += (size_t)utf8_char_len((uint8_t)text.data[at]);
    return n ? SIZE_MAX : at;
}

static int read_entity(Entity *out, const Json *v, JsonStr text, size_t i, Err *err) {
    int64_t begin, end;
    if (v->type != JSON_OBJECT)
        return err_input(err, "entities: element %zu is %s; expected {start, end, label}", i, json_type_name(v));
    const Json *label = json_given(v, "label");
    if (read_place(&begin, v, "start", i, err) || read_place(&end, v, "end", i, err)) return -1;
    if (!label || label->type != JSON_STRING || !label->str.len || label->str.len > LABEL_MAX_BYTES - 3)
        return err_input(err, "entities: label of element %zu is %s; expected a text of 1 to %d bytes", i,
                         json_type_name(label), LABEL_MAX_BYTES - 3);
    *out = (Entity){byte_of(text, begin), byte_of(text, end), label->str, false};
    if (begin < end && out->end != SIZE_MAX) return 0;
    return err_input(err, "entities: element %zu is characters %ld to %ld; expected a part of the text", i, begin, end);
}

static int check_apart(const Entity *e, size_t i, Err *err) {
    for (size_t k = 0; k < i; k++)
        if (e[k].begin < e[i].end && e[i].begin < e[k].end)
            return err_input(err, "entities: elements %zu and %zu overlap; expected entities apart from each other", k,
                             i);
    return 0;
}

static int read_entities(Entity **out, size_t *n, const Json *record, JsonStr text, Err *err) {
    const Json *list = json_given(record, "entities");
    if (!list) return fail_keys(record, err);
    if (list->type != JSON_ARRAY || list->count > 4096)
        return dialog_fail_type("entities", list, "a list of at most 4096 entities", err);
    *n = list->count;
    *out = mem_alloc(*n, sizeof **out);
    for (size_t i = 0; i < *n; i++)
        if (read_entity(&(*out)[i], &list->items[i], text, i, err) || check_apart(*out, i, err)) return -1;
    return 0;
}

static int add_part(RecordLabels *out, const Entity *e, bool begins, Err *err) {
    AUTO_FREE char *name = e ? mem_printf("%c-%s", begins ? 'B' : 'I', e->label.data) : mem_strdup("O");
    const Json v = {.type = JSON_STRING, .str = json_str(name)};
    return record_labels_add_listed(out, &v, &(ListedLabel){"entities", 0, NULL}, err);
}

static int label_spans(RecordTokens *out, const TaggedTokens *t, const Json *record, Err *err) {
    AUTO_FREE Entity *entities = NULL;
    size_t n = 0;
    const Entity *before = NULL;
    JsonStr text = json_get(record, "text")->str;
    if (read_entities(&entities, &n, record, text, err)) return -1;
    out->labels.key = "entities";
    for (size_t i = t->first; i < t->first + t->n; i++) {
        size_t begin, end;
        Entity *in = NULL;
        tagged_span(t, i, &begin, &end);
        for (size_t k = 0; k < n && !in; k++)
            if (entities[k].begin < end && begin < entities[k].end) in = &entities[k];
        if (add_part(&out->labels, in, in != before, err)) return -1;
        out->supervised[i] = 1;
        if (in) in->has_token = true;
        before = in;
    }
    for (size_t k = 0; k < n; k++)
        if (!entities[k].has_token && (!t->cut || entities[k].end <= t->text.len))
            return err_input(err, "entities: element %zu has no token; expected text that the tokenizer reads", k);
    out->lost_labels = t->cut != 0;
    return 0;
}

// ---- the record ----

int tagged_record(RecordTokens *out, const RecordTokenizer *e, const Json *record, Err *err) {
    AUTO_CALL(tagged_clear) TaggedTokens t = {0};
    const Json *tags = NULL;
    if (tagged_tokenize(&t, e, record, err)) return -1;
    if (!t.of_text && !(tags = find_tags(record, t.words, err))) return -1;
    out->labels = (RecordLabels){.problem = PROBLEM_TOKENS, .key = tags_of(record)};
    out->cut = t.cut;
    if (!t.n) { // nothing of the text fits, or it has no token
        out->lost_labels = t.cut != 0;
        return 0;
    }
    if (record_take_tokens(out, &t.t, SIZE_MAX, err)) return -1;
    out->second = out->count;
    out->left_out += t.without;
    tagged_note_keys(NULL, &out->unread, record);
    return tags ? label_words(out, &t, e, record, tags, err) : label_spans(out, &t, record, err);
}

int tagged_read_labels(RecordLabels *out, const Json *record, const LabelList *named, Err *err) {
    const char *words = words_of(record), *key = tags_of(record);
    const Json *tags = NULL, *v = words ? json_get(record, words) : NULL;
    bool none;
    *out = (RecordLabels){.problem = PROBLEM_TOKENS, .key = key};
    if (!words && (record->type != JSON_OBJECT || !json_given(record, "text"))) return fail_keys(record, err);
    if (!words) {
        AUTO_FREE Entity *entities = NULL;
        size_t n;
        const Json *text = json_get(record, "text");
        if (text->type != JSON_STRING) return dialog_fail_type("text", text, "a string", err);
        return read_entities(&entities, &n, record, text->str, err);
    }
    if (v->type != JSON_ARRAY) return dialog_fail_type(words, v, "a list of words", err);
    if (!(tags = find_tags(record, v->count, err))) return -1;
    for (size_t i = 0; i < tags->count; i++)
        if (add_tag(out, &tags->items[i], &(ListedLabel){key, i, named}, &none, err)) return -1;
    return 0;
}
