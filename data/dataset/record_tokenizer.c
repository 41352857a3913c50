// record_tokenizer: the five kinds of dialogs to tokens.
#include "record_tokenizer.h"

#include <stdio.h>
#include <string.h>

#include "embedding_record.h"
#include "record_faults.h"
#include "tagged.h"

void record_tokens_clear(RecordTokens *e) {
    mem_free(e->ids);
    mem_free(e->supervised);
    record_labels_clear(&e->labels);
    key_notes_clear(&e->unread);
    *e = (RecordTokens){0};
}

// ---- plain text ----

static void add_id(TokenIds *t, int32_t id) {
    size_t capacity = t->capacity;
    MEM_GROW(t->ids, t->capacity, t->count + 1);
    if (t->capacity != capacity) t->start = mem_realloc(t->start, t->capacity, sizeof *t->start);
    t->start[t->count] = 0;
    t->ids[t->count++] = id;
}

static void add_bos(TokenIds *t, const Tokenizer *tokenizer) {
    if (tokenizer->add_bos && tokenizer->bos >= 0) add_id(t, tokenizer->bos);
}

// Removes the BOS of add_bos before a text that begins with its own.
static void drop_second_bos(RecordTokens *out, TokenIds *t, const Tokenizer *tokenizer) {
    int32_t bos = tokenizer->bos;
    if (!tokenizer->add_bos || bos < 0 || t->count < 2 || t->ids[1] != bos) return;
    memmove(t->ids, t->ids + 1, (t->count - 1) * sizeof *t->ids);
    t->count--;
    out->own_bos = true;
}

// EOS after a text that begins at token `from`, unless it ends with EOS.
static void add_eos(RecordTokens *out, TokenIds *t, const Tokenizer *tokenizer, size_t from) {
    int32_t eos = tokenizer->eos;
    out->cannot_stop = eos < 0;
    if (eos >= 0 && (t->count <= from || t->ids[t->count - 1] != eos)) add_id(t, eos);
}

int record_add_special(RecordTokens *out, const RecordTokenizer *e, JsonStr text, Err *err) {
    bool parse = e->parse_special != PARSE_SPECIAL_OFF;
    if (text.len >= UINT32_MAX) // the tokenizer counts bytes in 32 bits
        return err_input(err, "found a text of %zu byte%s; expected less than 4 GiB", text.len, plural(text.len));
    if (tokenizer_spells_control(e->tokenizer, text.data, text.len, NULL))
        *(parse ? &out->parsed_special : &out->plain_special) = true;
    return 0;
}

// Text of a text column, a raw prompt or completion.
static int add_text(RecordTokens *out, TokenIds *t, const RecordTokenizer *e, JsonStr text, bool continues, Err *err) {
    bool parse = e->parse_special != PARSE_SPECIAL_OFF;
    if (record_add_special(out, e, text, err)) return -1;
    if (continues)
        tokenizer_encode_rest(e->tokenizer, text.data, text.len, NULL, parse, t);
    else
        tokenizer_encode(e->tokenizer, text.data, text.len, NULL, parse, t);
    return 0;
}

int record_take_tokens(RecordTokens *out, TokenIds *t, size_t n_masked, Err *err) {
    if (token_ids_check(t, err)) return -1;
    out->count = t->count;
    out->left_out = t->left_out + t->unknown;
    out->supervised = mem_alloc(t->count + 1, 1);
    for (size_t i = 0; i < t->count; i++) out->supervised[i] = i >= n_masked;
    out->ids = mem_take(&t->ids);
    return 0;
}

static int begin_text(RecordTokens *out, TokenIds *t, const RecordTokenizer *e, JsonStr text, Err *err) {
    add_bos(t, e->tokenizer);
    if (add_text(out, t, e, text, false, err)) return -1;
    drop_second_bos(out, t, e->tokenizer);
    return 0;
}

static int tokenize_raw(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, bool learn_prompt, Err *err) {
    AUTO_IDS TokenIds t = {0};
    if (begin_text(out, &t, e, d->prompt, err)) return -1;
    size_t masked = t.count;
    if (add_text(out, &t, e, d->completion, !d->apart && d->prompt.len != 0, err)) return -1;
    add_eos(out, &t, e->tokenizer, masked);
    return record_take_tokens(out, &t, learn_prompt ? 0 : masked, err);
}

int record_tokenize_text(RecordTokens *out, const RecordTokenizer *e, JsonStr text, bool ends, Err *err) {
    AUTO_IDS TokenIds t = {0};
    if (begin_text(out, &t, e, text, err)) return -1;
    if (ends) add_eos(out, &t, e->tokenizer, 0);
    return record_take_tokens(out, &t, 0, err);
}

// ---- conversations ----

// Keys of messages, "[].name", get the name of their list as a prefix.
static void note_keys(KeyNotes *out, const char *list, const KeyNotes *unread) {
    for (const char *p = key_notes_next(unread, NULL); p; p = key_notes_next(unread, p))
        key_notes_add(out, *p == '[' ? list : "", json_str(p));
    out->more |= unread->more;
}

static int fail_unrendered(const char *list, const char *place, const Dialog *d, Err *err) {
    err_input(err,
              "%s%s: found text that the chat template does not render; expected a chat template that renders it, "
              "data without it, or unrendered: \"warn\", which trains without it",
              *place == '[' ? list : "", place);
    return d->record ? err_context(err, "record %ld", d->record) : -1;
}

int record_tokenize_chat(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, bool learn_prompt, Err *err) {
    AUTO_CALL(chat_tokens_clear) ChatTokens t = {0};
    ChatInput in = {&d->messages, d->tools, d->extra, .train_on_inputs = learn_prompt, .learnt = d->learnt_turns};
    if (chat_tokenize(&t, e->chat, e->tokenizer, &in, err)) return -1;
    const char *list = d->turns ? d->turns : "messages";
    if (*t.unrendered && e->unrendered == UNRENDERED_ERROR) return fail_unrendered(list, t.unrendered, d, err);
    *out = (RecordTokens){.count = t.count, .left_out = t.left_out, .plain_special = t.plain_control};
    out->cannot_stop = t.cannot_stop;
    out->ids = mem_take(&t.ids);
    out->supervised = mem_take(&t.supervised);
    note_keys(&out->unread, list, &t.unread);
    return 0;
}

// ---- segments ----

// As Axolotl's "type: input_output".
static int tokenize_segments(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err) {
    AUTO_IDS TokenIds t = {0};
    AUTO_STR StrBuf learnt = {0};
    str_puts(&learnt, "");
    bool open = false; // the learnt text so far does not end with a token that ends an answer
    for (size_t i = 0; i < d->segments->count; i++) {
        const Json *s = &d->segments->items[i];
        bool label = json_get(s, "label")->type == JSON_TRUE;
        size_t before = t.count;
        if (add_text(out, &t, e, json_get(s, "text")->str, false, err)) return -1;
        for (size_t k = before; k < t.count; k++) str_add(&learnt, label ? "\1" : "", 1);
        if (t.count == before) continue;
        int32_t last = t.ids[t.count - 1];
        out->cannot_stop |= open && !label;
        open = label && !tokenizer_is_control(e->tokenizer, last) && !tokenizer_is_end(e->tokenizer, last);
    }
    out->cannot_stop |= open;
    if (record_take_tokens(out, &t, 0, err)) return -1;
    for (size_t k = 0; k < out->count; k++) out->supervised[k] = e->train_on_inputs || learnt.data[k];
    return 0;
}

// ---- token ids ----

static int fail_value(const char *key, size_t i, const Json *v, const char *expected, Err *err) {
    const char *found = v->type == JSON_INT || v->type == JSON_FLOAT ? v->str.data : json_type_name(v);
    return err_input(err, "%s[%zu]: found %s; expected %s", key, i, found, expected);
}

static int read_int(int64_t *n, const char *key, const Json *list, size_t i, int64_t end, Err *err) {
    if (json_whole(&list[i], n) && *n >= 0 && *n < end) return 0;
    char below[64];
    snprintf(below, sizeof below, "a token id below %ld", end);
    return fail_value(key, i, &list[i], end == 2 ? "0 or 1" : below, err);
}

// Tokens [*begin, *end) are visible: zeros of an attention mask are padding, before or after the text.
static int visible_range(const Dialog *d, size_t *begin, size_t *end, Err *err) {
    int64_t n;
    *begin = 0;
    *end = d->ids->count;
    if (!d->visible) return 0;
    const Json *mask = d->visible->items;
    for (size_t i = 0; i < *end; i++)
        if (read_int(&n, "attention_mask", mask, i, 2, err)) return -1;
    while (*begin < *end && mask[*begin].number == 0) ++*begin;
    while (*end > *begin && mask[*end - 1].number == 0) --*end;
    for (size_t i = *begin; i < *end; i++)
        if (mask[i].number == 0)
            return fail_value("attention_mask", i, &mask[i], "zeros only before and after the text", err);
    return 0;
}

// A label is the token's own id (labels are unshifted) or -100.
static int read_label(uint8_t *supervised, const Dialog *d, size_t i, int32_t id, Err *err) {
    int64_t n;
    *supervised = 1;
    if (!d->labels) return 0;
    const Json *v = &d->labels->items[i];
    bool whole = json_whole(v, &n);
    *supervised = whole && n == id;
    if (*supervised || (whole && n == -100)) return 0;
    char expected[96];
    snprintf(expected, sizeof expected, "-100 or %d, the token at this place (labels are not shifted)", id);
    return fail_value("labels", i, v, expected, err);
}

static int read_masks(uint8_t *supervised, const Dialog *d, size_t i, Err *err) {
    for (int k = 0; k < 2; k++) {
        int64_t bit;
        if (!d->learnt[k]) continue;
        if (read_int(&bit, dialog_mask_names[k], d->learnt[k]->items, i, 2, err)) return -1;
        *supervised &= (uint8_t)bit;
    }
    return 0;
}

int record_tokenize_ids(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err) {
    size_t begin, end;
    if (visible_range(d, &begin, &end, err)) return -1;
    out->count = end - begin;
    out->ids = mem_alloc(out->count + 1, sizeof *out->ids);
    out->supervised = mem_alloc(out->count + 1, 1);
    for (size_t k = 0, i = begin; i < end; k++, i++) {
        int64_t id;
        if (read_int(&id, "input_ids", d->ids->items, i, e->tokenizer->vocab_size, err)) return -1;
        out->ids[k] = (int32_t)id;
        if (read_label(&out->supervised[k], d, i, out->ids[k], err) || read_masks(&out->supervised[k], d, i, err))
            return -1;
    }
    return 0;
}

// ---- any record ----

static int tokenize_kind(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err) {
    bool learn_prompt = e->train_on_inputs && !(e->completion_only && d->is_pair);
    if (d->preference) return preference_tokenize(out, e, d, err);
    if (e->mlm) return mlm_tokenize(out, e, d, err);
    switch (d->kind) {
    case DIALOG_CHAT: return record_tokenize_chat(out, e, d, learn_prompt, err);
    case DIALOG_RAW: return tokenize_raw(out, e, d, learn_prompt, err);
    case DIALOG_TEXT:
        out->windows = true;
        return d->completion.len ? record_tokenize_text(out, e, d->completion, true, err) : 0; // of no text no EOS
    case DIALOG_IDS: return record_tokenize_ids(out, e, d, err);
    case DIALOG_SEGMENTS: return tokenize_segments(out, e, d, err);
    }
    CHECK(false, "kind %d", d->kind);
    return -1;
}

int record_tokenize_dialog(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err) {
    *out = (RecordTokens){0};
    if (tokenize_kind(out, e, d, err)) {
        record_tokens_clear(out);
        return -1;
    }
    if (out->count && !e->mlm) out->supervised[0] = 0;
    return 0;
}

static int fail_record(const RecordPlace *place, RecordSpan span, Err *err) {
    if (place->format != FORMAT_INPUT_IDS) return err_context(err, "%s:%zu", span.name, span.line);
    return err_context(err, "%s:%zu: record %ld", span.name, span.line, place->number);
}

// Where the file's first record fixed the format: the format of this record, if it has another.
static int fail_format(const Json *record, const RecordPlace *place, Err *err) {
    Err why = {0};
    if (!place->detected || place->number == 1) return -1;
    DatasetFormat other = dialog_detect(record, &why);
    if (other == place->format) return -1;
    const char *fixed = dataset_format_name(place->format);
    if (other == FORMAT_AUTO && record->type == JSON_OBJECT && !dialog_has_key_of(record, place->format))
        return err_input(err, "%s (the file's first record is %s)", why.msg, fixed);
    if (other == FORMAT_AUTO) return -1;
    return err_input(err,
                     "found a record of format %s; expected %s, the format that the file's first record has: one file, "
                     "one format",
                     dataset_format_name(other), fixed);
}

int record_read_dialog(Dialog *d, const Json *record, const RecordPlace *place, bool has_template, bool raw_pairs,
                       Err *err) {
    d->prompt_format = file_rule_prompt(place->rule);
    if (dialog_read(d, record, place->format, has_template, raw_pairs, err)) return fail_format(record, place, err);
    if (d->learnt_turns.last_only) dialog_mask_history(d);
    return 0;
}

// The keys of the record come before those of its messages.
static void put_first(KeyNotes *unread, const KeyNotes *first) {
    KeyNotes both = {0};
    note_keys(&both, "", first);
    note_keys(&both, "", unread);
    key_notes_clear(unread);
    *unread = both;
}

static int tokenize_dialogs_record(RecordTokens *out, const RecordTokenizer *e, const Json *record,
                                   const RecordPlace *place, Err *err) {
    AUTO_CALL(dialog_clear)
    Dialog d = {.template = e->chat ? chat_template_source(e->chat) : NULL,
                .record = place->number,
                .preference = e->preference,
                .learnt_turns = file_rule_learnt(place->rule, e->learnt)};
    if (record_read_dialog(&d, record, place, e->chat != NULL, e->raw_pairs, err)) return -1;
    if (dialog_check_answers(&d, err)) return err_context(err, "record %ld", place->number);
    if (record_tokenize_dialog(out, e, &d, err)) return -1;
    put_first(&out->unread, &d.unread);
    return 0;
}

int record_tokenize(RecordTokens *out, const RecordTokenizer *e, RecordSpan span, const RecordPlace *place, Err *err) {
    *out = (RecordTokens){0};
    if (place->is_text) {
        Dialog text = {.kind = DIALOG_TEXT, .completion = {span.text, span.len}};
        return record_tokenize_dialog(out, e, &text, err) ? fail_record(place, span, err) : 0;
    }
    AUTO_JSON JsonDoc *doc = NULL;
    if (record_parse(&doc, span, err)) return -1;
    AUTO_CALL(json_pool_clear) JsonPool pool = {0};
    Json record = *json_root(doc);
    int rc = place->rule ? file_rule_rename(&record, place->rule, &pool, err) : 0;
    if (!rc)
        rc = place->format == FORMAT_CLASSIFICATION         ? classify_record(out, e, &record, span.untyped, err)
             : place->format == FORMAT_TOKEN_CLASSIFICATION ? tagged_record(out, e, &record, err)
             : place->format == FORMAT_EMBEDDING            ? embedding_record(out, e, &record, span.untyped, err)
                                                            : tokenize_dialogs_record(out, e, &record, place, err);
    if (rc == 0) return 0;
    record_tokens_clear(out);
    file_rule_explain(json_root(doc), place->rule, err);
    return fail_record(place, span, err);
}
