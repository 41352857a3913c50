// mlm_record: one record of masked language modelling to tokens, and which of them may be hidden (mlm.h).
#include "mlm.h"
#include "record_tokenizer.h"
#include "unicode.h"

static bool is_inside_character(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

// Does white space precede the token that begins at `start` in the text, or begin it? Byte-level tokens may begin
// inside a character.
static bool begins_word(JsonStr text, size_t start) {
    size_t before = start, n;
    if (start >= text.len || start == 0) return true;
    if (is_inside_character(text.data[start])) return false;
    do before--;
    while (before && is_inside_character(text.data[before]));
    return unicode_is_space(utf8_decode(text.data + before, start - before, &n)) ||
           unicode_is_space(utf8_decode(text.data + start, text.len - start, &n));
}

// Control tokens are never hidden, nor is the unknown one. starts: of the tokens in text; NULL: no whole words.
static void mark(RecordTokens *out, const Tokenizer *t, JsonStr text, const uint32_t *starts) {
    for (size_t i = 0; i < out->count; i++) {
        bool first = !starts || i == 0 || !out->supervised[i - 1] || begins_word(text, starts[i]);
        if (tokenizer_is_control(t, out->ids[i])) out->supervised[i] = 0;
        if (out->supervised[i]) out->supervised[i] = first ? MLM_BEGINS : MLM_CONTINUES;
    }
}

// The tokens of the tokenizer's own around a text.
static void count_frame(RecordTokens *out, const PostProcessor *post) {
    bool after = false;
    for (int i = 0; i < post->n_single; i++) {
        if (post->single[i].kind != POST_TOKEN)
            after = true;
        else
            ++*(after ? &out->after : &out->before);
    }
}

static int tokenize_text(RecordTokens *out, const RecordTokenizer *e, JsonStr text, Err *err) {
    AUTO_IDS TokenIds t = {0};
    out->windows = true;
    if (!text.len) return 0;
    if (record_add_special(out, e, text, err)) return -1;
    tokenizer_encode_framed(e->tokenizer, text.data, text.len, e->parse_special != PARSE_SPECIAL_OFF, &t);
    if (record_take_tokens(out, &t, 0, err)) return -1;
    count_frame(out, &e->tokenizer->post);
    mark(out, e->tokenizer, text, e->mlm_words ? t.start : NULL);
    return 0;
}

int mlm_tokenize(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err) {
    if (d->kind == DIALOG_TEXT) return tokenize_text(out, e, d->completion, err);
    if (d->kind != DIALOG_IDS)
        return err_input(err, "found a record of prompts and answers; expected text or input_ids (task mlm)");
    if (e->mlm_words)
        return err_input(err, "input_ids: found token ids; expected text, in which whole_word_mask finds the words");
    if (record_tokenize_ids(out, e, d, err)) return -1;
    mark(out, e->tokenizer, (JsonStr){0}, NULL);
    return 0;
}
