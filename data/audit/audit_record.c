// audit_record: the hash covers all that the trainer reads of a record; the signature leaves out system messages,
// tools and the fixed words of alpaca_prompt, which many records share.
#include "audit_record.h"

#include <string.h>

#include <xxhash.h>

#include "embedding_record.h"
#include "record_faults.h"
#include "tagged.h"

typedef struct Reading {
    AuditRecord *r;
    MinHash words;
    XXH3_state_t *hash;
    bool is_text; // of a .txt file: a finding has its own line
} Reading;

// ---- texts ----

static void note_secrets(Reading *g, const char *text, size_t len) {
    AuditRecord *r = g->r;
    Secret s;
    size_t line = r->span.line, counted = 0;
    for (size_t at = 0; secret_next(&s, text, len, at); at = s.end) {
        int64_t n = r->secrets[s.kind]++;
        if (n >= AUDIT_SHOWN) continue;
        for (; g->is_text && counted < s.begin; counted++) line += text[counted] == '\n';
        memcpy(r->masked[s.kind][n], s.masked, sizeof s.masked);
        r->lines[s.kind][n] = line;
    }
}

static void add_hashed(Reading *g, const void *bytes, size_t n) {
    XXH3_64bits_update(g->hash, &n, sizeof n); // so that "ab", "c" is not "a", "bc"
    XXH3_64bits_update(g->hash, bytes, n);
}

// own: not shared by many records.
static void add_text(Reading *g, const char *text, size_t len, bool own) {
    add_hashed(g, text, len);
    script_counts_add(&g->r->scripts, text, len);
    note_secrets(g, text, len);
    if (own) minhash_add(&g->words, text, len);
}

static void add_value(Reading *g, const Json *v, bool own) {
    bool number = v->type == JSON_INT || v->type == JSON_FLOAT;
    if (v->type == JSON_STRING || number) {
        add_text(g, v->str.data, v->str.len, own);
        return;
    }
    add_hashed(g, &v->type, sizeof v->type);
    for (size_t i = 0; (v->type == JSON_ARRAY || v->type == JSON_OBJECT) && i < v->count; i++) {
        bool role = v->type == JSON_OBJECT && json_str_is(v->keys[i], "role");
        if (v->type == JSON_OBJECT) add_hashed(g, v->keys[i].data, v->keys[i].len);
        if (role && v->items[i].type == JSON_STRING)
            add_hashed(g, v->items[i].str.data, v->items[i].str.len);
        else
            add_value(g, &v->items[i], own);
    }
}

static void add_messages(Reading *g, const Dialog *d) {
    for (size_t i = 0; i < d->messages.count; i++) {
        const Json *m = &d->messages.items[i], *role = json_get(m, "role");
        add_value(g, m, !json_is_string(role, "system") && !json_is_string(role, "developer"));
    }
    if (d->tools) add_value(g, d->tools, false);
    if (d->extra) add_value(g, d->extra, false);
}

static void add_ids(Reading *g, const Dialog *d) {
    const Json *const lists[] = {d->ids, d->labels, d->visible, d->learnt[0], d->learnt[1]};
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
        for (size_t i = 0; lists[k] && i < lists[k]->count; i++) {
            const Json *id = &lists[k]->items[i];
            add_hashed(g, id->str.data, id->str.len);
            if (k == 0) minhash_add_word(&g->words, (uint64_t)id->integer * UINT64_C(0x9E3779B97F4A7C15) + 1);
        }
}

// The other answer of preference data.
static void add_rejected(Reading *g, const Dialog *d) {
    if (d->kind == DIALOG_RAW) add_text(g, d->rejected.data, d->rejected.len, true);
    for (size_t i = d->n_prompt; d->kind == DIALOG_CHAT && i < d->rejected_messages.count; i++)
        add_value(g, &d->rejected_messages.items[i], true);
}

static bool is_blank(JsonStr s) { return strspn(s.data, " \t\r\n") == s.len; }

static void add_dialog(Reading *g, const Dialog *d) {
    switch (d->kind) {
    case DIALOG_CHAT: add_messages(g, d); break;
    case DIALOG_RAW:
        add_text(g, d->prompt.data, d->prompt.len, !d->own[0].len && !d->own[1].len);
        for (size_t i = 0; i < 2; i++) minhash_add(&g->words, d->own[i].data, d->own[i].len);
        add_text(g, d->completion.data, d->completion.len, true);
        break;
    case DIALOG_TEXT:
        add_text(g, d->completion.data, d->completion.len, true);
        g->r->empty = is_blank(d->completion);
        break;
    case DIALOG_IDS: add_ids(g, d); break;
    case DIALOG_SEGMENTS: add_value(g, d->segments, true); break;
    }
    if (d->preference == PREFERENCE_PAIRS) add_rejected(g, d);
    if (d->preference == PREFERENCE_LABELS) add_hashed(g, &d->desirable, sizeof d->desirable);
}

// ---- records ----

static void note_keys(AuditRecord *r, const Json *record, const Dialog *d) {
    for (size_t i = 0; record->type == JSON_OBJECT && i < record->count; i++)
        if (record->items[i].type != JSON_NULL && dialog_has_read(d, record->keys[i]))
            key_notes_add(&r->used, "", record->keys[i]);
    AUTO_FREE char *list = mem_printf("%s[].", d->turns ? d->turns : "");
    for (size_t i = 0; d->turns && i < d->messages.count; i++)
        for (size_t k = 0; k < d->messages.items[i].count; k++)
            if (!message_is_mask_key(d->messages.items[i].keys[k].data))
                key_notes_add(&r->of_turns, list, d->messages.items[i].keys[k]);
    for (const char *p = key_notes_next(&d->unread, NULL); p; p = key_notes_next(&d->unread, p))
        key_notes_add(&r->unread, "", json_str(p));
}

static int read_classified(Reading *g, const AuditOptions *o, const Json *record, Err *err) {
    ClassifiedText t;
    RecordLabelRule rule = {o->problem, g->r->span.untyped, o->named};
    if (classify_read(&t, record, err) || record_labels_read(&g->r->labels, record, &rule, err)) return -1;
    add_text(g, t.first.data, t.first.len, true);
    if (t.pair) add_text(g, t.second.data, t.second.len, true);
    g->r->empty = is_blank(t.first) && (!t.pair || is_blank(t.second));
    classify_note_keys(&g->r->used, &g->r->unread, record, &t, g->r->labels.key);
    return 0;
}

static int read_embedded(Reading *g, const AuditOptions *o, const Json *record, Err *err) {
    AUTO_CALL(embedding_texts_clear) EmbeddedTexts t = {0};
    EmbeddingData kind = o->embedding ? o->embedding : embedding_kind(record);
    if (embedding_read(&t, record, kind, g->r->span.untyped, err)) return -1;
    for (size_t i = 0; i < t.count; i++) {
        add_text(g, t.texts[i].data, t.texts[i].len, true);
        g->r->empty |= is_blank(t.texts[i]);
    }
    add_hashed(g, &t.score, sizeof t.score);
    for (size_t i = 0; i < record->count; i++) {
        bool read = key_notes_has(&t.read, record->keys[i]);
        if (record->items[i].type != JSON_NULL) key_notes_add(read ? &g->r->used : &g->r->unread, "", record->keys[i]);
    }
    return 0;
}

// Words and their tags, or a text and its entities.
static int read_tagged(Reading *g, const AuditOptions *o, const Json *record, Err *err) {
    if (tagged_read_labels(&g->r->labels, record, o->named, err)) return -1;
    const char *const keys[] = {"tokens", "words", "text"};
    for (size_t i = 0; i < 3; i++) {
        const Json *v = json_given(record, keys[i]);
        if (v) add_value(g, v, true);
    }
    tagged_note_keys(&g->r->used, &g->r->unread, record);
    return 0;
}

static int read_dialog(Reading *g, const AuditOptions *o, const Json *record, const RecordPlace *place, Err *err) {
    AUTO_CALL(dialog_clear)
    Dialog d = {.template = o->template,
                .record = place->number,
                .preference = o->preference,
                .learnt_turns = file_rule_learnt(place->rule, o->learnt)};
    if (!d.preference && place->format == FORMAT_PREFERENCE)
        d.preference = dialog_is_pair(record) ? PREFERENCE_PAIRS : PREFERENCE_LABELS;
    if (record_read_dialog(&d, record, place, o->has_template, o->raw_pairs, err)) return -1;
    if (dialog_check_answers(&d, err)) {
        g->r->empty = true;
        return err_context(err, "record %ld", place->number);
    }
    note_keys(g->r, record, &d);
    add_dialog(g, &d);
    return 0;
}

static int read_json(Reading *g, const AuditOptions *o, const RecordPlace *place, Err *err) {
    RecordSpan span = g->r->span;
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_CALL(json_pool_clear) JsonPool pool = {0};
    if (record_parse(&doc, span, err)) return -1;
    Json record = *json_root(doc);
    int rc = place->rule ? file_rule_rename(&record, place->rule, &pool, err) : 0;
    if (!rc && place->format == FORMAT_AUTO) // no record so far has a known format
        rc = dialog_detect(&record, err) == FORMAT_AUTO ? -1 : 0;
    else if (!rc)
        rc = place->format == FORMAT_CLASSIFICATION         ? read_classified(g, o, &record, err)
             : place->format == FORMAT_TOKEN_CLASSIFICATION ? read_tagged(g, o, &record, err)
             : place->format == FORMAT_EMBEDDING            ? read_embedded(g, o, &record, err)
                                                            : read_dialog(g, o, &record, place, err);
    if (!rc) return 0;
    file_rule_explain(json_root(doc), place->rule, err);
    return err_context(err, "%s:%zu", span.name, span.line);
}

void audit_record(AuditRecord *r, const AuditOptions *o, const MinHashFamily *f, const RecordPlace *place) {
    Reading g = {.r = r, .hash = mem_checked(XXH3_createState()), .is_text = place->is_text};
    XXH3_64bits_reset(g.hash);
    minhash_begin(&g.words, f);
    if (place->is_text)
        add_text(&g, r->span.text, r->span.len, true);
    else
        r->readable = read_json(&g, o, place, &r->why) == 0;
    r->readable |= place->is_text;
    r->hash = XXH3_64bits_digest(g.hash);
    r->comparable = minhash_end(&g.words, r->signature) && r->readable;
    XXH3_freeState(g.hash);
}

void audit_record_clear(AuditRecord *r) {
    key_notes_clear(&r->used);
    key_notes_clear(&r->of_turns);
    key_notes_clear(&r->unread);
    record_labels_clear(&r->labels);
}
