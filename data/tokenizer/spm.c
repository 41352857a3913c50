// spm: see spm.h. Ranks are made of the scores once, so that the merge loops compare integers.
//
// Most vocabularies have no token with U+2581 (a space) after another character. Nothing merges across such a place,
// so text is cut there and merged word by word, which keeps the work in cache; the result is the same.
#include "spm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "symbol_merge.h"
#include "unicode.h"

#define SPACE "\xE2\x96\x81"

typedef struct Spm {
    const Vocab *vocab;
    uint32_t *rank; // by id: 0 is the highest score; NO_RANK: a token that text must not become
    size_t longest; // bytes of the longest token with a rank
    bool words;     // no token with a rank crosses from another character into U+2581
    int32_t byte_token[256], unknown;
} Spm;

// ---- made once ----

typedef struct Scored {
    float score;
    int32_t id;
} Scored;

static int by_score(const void *a, const void *b) {
    float x = ((const Scored *)a)->score, y = ((const Scored *)b)->score;
    return (x < y) - (x > y);
}

static bool crosses_words(const char *text, size_t len) {
    for (size_t i = 1; i + 3 <= len; i++)
        if (memcmp(text + i, SPACE, 3) == 0 && (i < 3 || memcmp(text + i - 3, SPACE, 3) != 0)) return true;
    return false;
}

static void rank_tokens(Spm *s, const float *scores, int32_t n) {
    AUTO_FREE Scored *order = mem_alloc((size_t)n, sizeof *order);
    int32_t count = 0;
    s->words = true;
    for (int32_t id = 0; id < n; id++) {
        s->rank[id] = NO_RANK;
        if (vocab_type(s->vocab, id) != TOKEN_NORMAL) continue;
        JsonStr text = vocab_text(s->vocab, id);
        if (text.len > s->longest) s->longest = text.len;
        if (crosses_words(text.data, text.len)) s->words = false;
        order[count++] = (Scored){scores[id], id};
    }
    qsort(order, (size_t)count, sizeof *order, by_score);
    for (int32_t i = 0; i < count; i++) {
        bool equal = i > 0 && order[i].score == order[i - 1].score;
        s->rank[order[i].id] = equal ? s->rank[order[i - 1].id] : (uint32_t)i;
    }
}

static void spm_free(void *model) {
    Spm *s = model;
    if (!s) return;
    mem_free(s->rank);
    mem_free(s);
}

static void spm_hash(const void *model, Fingerprint *f) {
    const Spm *s = model;
    for (int32_t id = 0; id < vocab_size(s->vocab); id++) fingerprint_number(f, s->rank[id]);
    fingerprint_number(f, s->unknown);
}

// ---- symbols ----

static int32_t token_of(const Spm *s, const char *text, size_t len) {
    if (len > s->longest) return -1;
    int32_t id = vocab_find(s->vocab, text, len);
    return id >= 0 && s->rank[id] != NO_RANK ? id : -1;
}

// The character of `len` bytes at text + at. `after_unknown`: the symbol before it is the unknown token.
static void add_character(const Spm *s, TokenWork *w, const char *text, size_t at, size_t len, bool *after_unknown) {
    int32_t id = token_of(s, text + at, len);
    bool fuse = *after_unknown;
    *after_unknown = false;
    if (id >= 0) {
        token_work_add(w, id, at);
    } else if (!token_work_add_bytes(w, s->byte_token, text, at, len)) {
        token_work_add_unknown(w, s->unknown, at, len, fuse);
        *after_unknown = s->unknown >= 0;
    }
}

// ---- merging ----

typedef struct Text {
    const Spm *s;
    const char *text;
} Text;

static uint32_t pair_rank(const void *model, const TokenWork *w, size_t i, size_t j, uint32_t end) {
    const Text *t = model;
    const uint32_t *rank = t->s->rank;
    if (rank[w->ids[i]] == NO_RANK || rank[w->ids[j]] == NO_RANK) return NO_RANK; // bytes and unknown characters
    int32_t id = token_of(t->s, t->text + w->begin[i], end - w->begin[i]);
    return id < 0 ? NO_RANK : rank[id];
}

static int32_t pair_result(const void *model, const TokenWork *w, size_t i, uint32_t end) {
    const Text *t = model;
    return token_of(t->s, t->text + w->begin[i], end - w->begin[i]);
}

// The symbols from w->ids[first] on, which end with the text at `end`.
static void merge_run(const Spm *s, TokenWork *w, const char *text, size_t first, size_t end) {
    const Text t = {s, text};
    merge_symbols(&(MergeRule){pair_rank, pair_result, &t, (uint32_t)end}, w, first);
}

static void spm_tokenize(const void *model, TokenWork *w, const char *text, size_t len) {
    const Spm *s = model;
    token_work_reserve(w, len);
    w->n_tokens = w->left_out = w->unknown = 0;
    size_t first = 0;
    bool after_unknown = false, was_space = true;
    for (size_t i = 0, n; i < len; i += n) {
        n = (size_t)utf8_char_len((uint8_t)text[i]);
        if (n == 0 || n > len - i) n = 1; // an invalid byte is a symbol by itself
        bool space = n == 3 && memcmp(text + i, SPACE, 3) == 0;
        if (s->words && space && !was_space) {
            merge_run(s, w, text, first, i);
            first = w->n_tokens;
        }
        was_space = space;
        add_character(s, w, text, i, n, &after_unknown);
    }
    merge_run(s, w, text, first, len);
}

static const TokenModelKind KIND = {"SPM", spm_tokenize, spm_hash, spm_free};

int spm_new(TokenModel *m, const SpmSource *source, Err *err) {
    int32_t n = vocab_size(source->vocab);
    if (source->n_scores != (size_t)n)
        return err_input(err, "%zu scores; expected %d, one per token", source->n_scores, n);
    if (source->unknown < -1 || source->unknown >= n)
        return err_input(err, "unknown token id %d; expected an id below %d", source->unknown, n);
    for (int32_t id = 0; id < n; id++)
        if (!isfinite(source->scores[id])) return err_input(err, "the score of token %d is not a finite number", id);
    Spm *s = mem_calloc(1, sizeof *s);
    *s = (Spm){.vocab = source->vocab, .rank = mem_alloc((size_t)n, sizeof *s->rank), .unknown = source->unknown};
    vocab_byte_tokens(s->vocab, s->byte_token);
    for (int byte = 0; byte < 256; byte++)
        if (s->byte_token[byte] >= 0 && vocab_type(s->vocab, s->byte_token[byte]) != TOKEN_BYTE)
            s->byte_token[byte] = -1;
    rank_tokens(s, source->scores, n);
    *m = (TokenModel){&KIND, s};
    return 0;
}
