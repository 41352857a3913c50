#include "wordpiece.h"

#include <string.h>

#include "unicode.h"

enum { MAX_PREFIX = 64, MAX_CHARS = 1000 };

typedef struct WordPiece {
    const Vocab *vocab;
    char prefix[MAX_PREFIX];
    size_t prefix_len;
    size_t longest; // bytes of the longest token
    int64_t max_chars;
    int32_t unknown;
} WordPiece;

static void wordpiece_hash(const void *model, Fingerprint *f) {
    const WordPiece *p = model;
    fingerprint_text(f, p->prefix, p->prefix_len);
    fingerprint_number(f, p->max_chars);
    fingerprint_number(f, p->unknown);
}

// Length of the longest token that text[0, len) begins with (after the prefix when `inside`), its id in *id; 0: none.
static size_t longest_token(const WordPiece *p, StrBuf *spelled, const char *text, size_t len, bool inside,
                            int32_t *id) {
    size_t prefix = inside ? p->prefix_len : 0;
    if (prefix > p->longest) return 0;
    if (len > p->longest - prefix) len = p->longest - prefix;
    spelled->len = 0;
    str_add(spelled, p->prefix, prefix);
    str_add(spelled, text, len);
    for (size_t n = len; n > 0; n--) {
        if (n < len && ((uint8_t)text[n] & 0xC0) == 0x80) continue; // would cut a character
        *id = vocab_find(p->vocab, spelled->data, prefix + n);
        if (*id >= 0 && !vocab_is_control(p->vocab, *id)) return n;
    }
    return 0;
}

static int64_t count_chars(const char *text, size_t len) {
    int64_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((uint8_t)text[i] & 0xC0) != 0x80;
    return n;
}

static void make_unknown(const WordPiece *p, TokenWork *w, size_t len) {
    w->ids[0] = p->unknown;
    w->begin[0] = 0;
    w->n_tokens = 1;
    w->unknown = len;
}

static void wordpiece_tokenize(const void *model, TokenWork *w, const char *text, size_t len) {
    const WordPiece *p = model;
    token_work_reserve(w, len);
    w->n_tokens = w->left_out = w->unknown = 0;
    if (count_chars(text, len) > p->max_chars) {
        make_unknown(p, w, len);
        return;
    }
    for (size_t at = 0, n; at < len; at += n) {
        int32_t id = -1;
        n = longest_token(p, &w->spelled, text + at, len - at, at > 0, &id);
        if (n == 0) {
            make_unknown(p, w, len);
            return;
        }
        token_work_add(w, id, at);
    }
}

static const TokenModelKind KIND = {"WordPiece", wordpiece_tokenize, wordpiece_hash, mem_free};

int wordpiece_new(TokenModel *m, const WordPieceSource *source, Err *err) {
    int32_t n = vocab_size(source->vocab);
    size_t prefix = strlen(source->prefix);
    if (prefix > MAX_PREFIX)
        return err_input(err, "continuing_subword_prefix of %zu bytes; expected at most %d", prefix, MAX_PREFIX);
    if (source->max_chars < 1 || source->max_chars > MAX_CHARS)
        return err_input(err, "max_input_chars_per_word %ld; expected 1 to %d", source->max_chars, MAX_CHARS);
    if (source->unknown < 0 || source->unknown >= n)
        return err_input(err, "unknown token id %d; expected an id from 0 to %d", source->unknown, n - 1);
    WordPiece *p = mem_calloc(1, sizeof *p);
    p->vocab = source->vocab;
    memcpy(p->prefix, source->prefix, prefix);
    p->prefix_len = prefix;
    p->max_chars = source->max_chars;
    p->unknown = source->unknown;
    for (int32_t id = 0; id < n; id++) {
        size_t len = vocab_text(p->vocab, id).len;
        if (len > p->longest) p->longest = len;
    }
    *m = (TokenModel){&KIND, p};
    return 0;
}
