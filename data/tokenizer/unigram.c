#include "unigram.h"

#include <stdlib.h>
#include <string.h>

#include "unicode.h"

enum { LONGEST = 1024 }; // bytes of a token, so that the time of a text is linear; SentencePiece's have 16 characters

typedef struct Unigram {
    const Vocab *vocab;
    double *scores;
    double unknown_score;
    int32_t unknown;
    bool byte_fallback;
    int32_t byte_token[256];
    int32_t *order;    // ids that a text may become, by their bytes
    size_t first[257]; // in order: the tokens that begin with each byte
} Unigram;

static void unigram_hash(const void *model, Fingerprint *f) {
    const Unigram *u = model;
    fingerprint_number(f, u->unknown);
    fingerprint_number(f, u->byte_fallback);
    fingerprint_text(f, (const char *)u->scores, (size_t)vocab_size(u->vocab) * sizeof *u->scores);
}

static void unigram_free(void *model) {
    Unigram *u = model;
    if (!u) return;
    mem_free(u->scores);
    mem_free(u->order);
    mem_free(u);
}

// ---- the tokens that a text begins with, shortest first ----

// Those with the first n bytes of the text: order[low, high), which is sorted by the byte at n.
typedef struct Prefixes {
    size_t low, high, n;
} Prefixes;

// The first token in [low, high) whose byte at n is at least `byte`.
static size_t lower_bound(const Unigram *u, Prefixes p, unsigned byte) {
    while (p.low < p.high) {
        size_t middle = p.low + (p.high - p.low) / 2;
        if ((uint8_t)vocab_text(u->vocab, u->order[middle]).data[p.n] < byte)
            p.low = middle + 1;
        else
            p.high = middle;
    }
    return p.low;
}

// The next longer token of text[0, len), -1: no more. *p begins with {0}.
static int32_t next_token(const Unigram *u, Prefixes *p, const char *text, size_t len) {
    while (p->n < len) {
        uint8_t byte = (uint8_t)text[p->n];
        Prefixes next = {u->first[byte], u->first[byte + 1], 1};
        if (p->n) next = (Prefixes){lower_bound(u, *p, byte), lower_bound(u, *p, byte + 1u), p->n + 1};
        *p = next;
        if (p->low == p->high) return -1;
        if (vocab_text(u->vocab, u->order[p->low]).len == p->n) return u->order[p->low++];
    }
    return -1;
}

// ---- the best path: the last token of that to byte i begins at w->next[i] and is w->previous[i] ----

static const uint32_t UNREACHED = UINT32_MAX;

static void reach(TokenWork *w, size_t from, size_t to, int32_t id, double score) {
    double sum = score + w->score[from];
    if (w->next[to] != UNREACHED && !(sum > w->score[to])) return;
    w->score[to] = sum;
    w->next[to] = (uint32_t)from;
    w->previous[to] = (uint32_t)id;
}

// An invalid byte is a character by itself.
static size_t char_bytes(const char *text, size_t len) {
    size_t n = (size_t)utf8_char_len((uint8_t)*text);
    return n && n <= len ? n : 1;
}

static void find_path(const Unigram *u, TokenWork *w, const char *text, size_t len) {
    for (size_t i = 0; i <= len; i++) w->next[i] = UNREACHED;
    w->score[0] = 0;
    for (size_t at = 0, n; at < len; at += n) {
        bool single = false;
        Prefixes p = {0};
        n = char_bytes(text + at, len - at);
        for (int32_t id; (id = next_token(u, &p, text + at, len - at)) >= 0;) {
            reach(w, at, at + p.n, id, u->scores[id]);
            single = single || p.n == n;
        }
        if (!single) reach(w, at, at + n, u->unknown, u->unknown_score);
    }
}

// Unknown text as a whole may be a token or the tokens of its bytes.
static void add_unknown(const Unigram *u, TokenWork *w, const char *text, size_t at, size_t n) {
    int32_t id = vocab_find(u->vocab, text + at, n);
    if (id >= 0 && !vocab_is_control(u->vocab, id))
        token_work_add(w, id, at);
    else if (!u->byte_fallback || !token_work_add_bytes(w, u->byte_token, text, at, n))
        token_work_add_unknown(w, u->unknown, at, n, false);
}

static void unigram_tokenize(const void *model, TokenWork *w, const char *text, size_t len) {
    const Unigram *u = model;
    token_work_reserve(w, len + 1);
    token_work_reserve_scores(w);
    w->n_tokens = w->left_out = w->unknown = 0;
    find_path(u, w, text, len);
    size_t first = len; // of the path, in w->rank: where its tokens end, from the last on
    for (size_t end = len; end > 0; end = w->next[end]) w->rank[--first] = (uint32_t)end;
    for (size_t i = first, at = 0; i < len; i++) {
        bool unknown = (int32_t)w->previous[w->rank[i]] == u->unknown;
        while (unknown && i + 1 < len && (int32_t)w->previous[w->rank[i + 1]] == u->unknown) i++;
        size_t end = w->rank[i];
        if (unknown)
            add_unknown(u, w, text, at, end - at);
        else
            token_work_add(w, (int32_t)w->previous[end], at);
        at = end;
    }
}

// ---- making it ----

typedef struct Sorted {
    JsonStr text;
    int32_t id;
} Sorted;

static int compare_texts(const void *a, const void *b) {
    JsonStr x = ((const Sorted *)a)->text, y = ((const Sorted *)b)->text;
    int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

// The model never makes a control token of text.
static int sort_tokens(Unigram *u, Err *err) {
    int32_t n = vocab_size(u->vocab);
    AUTO_FREE Sorted *sorted = mem_alloc((size_t)n, sizeof *sorted);
    size_t count = 0, at = 0;
    for (int32_t id = 0; id < n; id++) {
        JsonStr text = vocab_text(u->vocab, id);
        if (text.len > LONGEST)
            return err_input(err, "token %d has %zu bytes; expected at most %d", id, text.len, LONGEST);
        if (text.len && !vocab_is_control(u->vocab, id)) sorted[count++] = (Sorted){text, id};
    }
    qsort(sorted, count, sizeof *sorted, compare_texts);
    u->order = mem_alloc(count + 1, sizeof *u->order);
    for (size_t i = 0; i < count; i++) u->order[i] = sorted[i].id;
    for (int byte = 0; byte <= 256; byte++) {
        while (at < count && (uint8_t)sorted[at].text.data[0] < byte) at++;
        u->first[byte] = at;
    }
    return 0;
}

static const TokenModelKind KIND = {"Unigram", unigram_tokenize, unigram_hash, unigram_free};

int unigram_new(TokenModel *m, const UnigramSource *source, Err *err) {
    int32_t n = vocab_size(source->vocab);
    Unigram *u = mem_calloc(1, sizeof *u);
    *u = (Unigram){.vocab = source->vocab, .scores = source->scores, .unknown = source->unknown};
    *m = (TokenModel){&KIND, u};
    if (source->unknown < 0 || source->unknown >= n)
        return err_input(err, "unk_id %d; expected an id from 0 to %d", source->unknown, n - 1);
    u->byte_fallback = source->byte_fallback;
    vocab_byte_tokens(u->vocab, u->byte_token);
    double least = 0;
    for (int32_t id = 0; id < n; id++) least = id && u->scores[id] >= least ? least : u->scores[id];
    u->unknown_score = least - 10;
    return sort_tokens(u, err);
}
