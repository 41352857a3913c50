// detokenizer: the bytes that each token adds are computed once, at load; only the first token of a text is computed
// again.
#include "detokenizer.h"

#include <string.h>

#include "byte_alphabet.h"

enum { PIECE_MAX = 1 << 20, TEXT_FACTOR = 64 }; // bytes of a token after any step, and of all together

struct Detokenizer {
    DetokenizerStep *steps;
    size_t count, capacity;
    const Vocab *vocab;
    StrBuf pieces;    // of all tokens, concatenated
    size_t *piece_at; // where token i begins; one more entry than tokens
    size_t strip;     // spaces taken from the beginning of the whole text
    bool first_differs;
};

Detokenizer *detokenizer_new(void) {
    return mem_calloc(1, sizeof(Detokenizer));
}

void detokenizer_add(Detokenizer *d, const DetokenizerStep *step) {
    if (step->kind == DETOKENIZE_STRIP && step->whole) {
        d->strip += step->count;
        return;
    }
    MEM_GROW(d->steps, d->capacity, d->count + 1);
    DetokenizerStep *s = &d->steps[d->count++];
    *s = *step;
    s->from = s->from ? mem_strndup(s->from, s->from_len) : NULL;
    s->text = s->text ? mem_strndup(s->text, s->text_len) : NULL;
    if ((s->kind == DETOKENIZE_METASPACE && s->whole) || s->kind == DETOKENIZE_WORDPIECE) d->first_differs = true;
}

void detokenizer_free(Detokenizer *d) {
    if (!d) return;
    for (size_t i = 0; i < d->count; i++) {
        mem_free((char *)d->steps[i].from);
        mem_free((char *)d->steps[i].text);
    }
    mem_free(d->steps);
    mem_free(d->piece_at);
    str_clear(&d->pieces);
    mem_free(d);
}

// ---- steps: from `in` to `out`, which is empty ----

// Stops after PIECE_MAX bytes, which add_token then refuses.
static void replace(StrBuf *out, const StrBuf *in, const char *from, size_t from_len, const char *text, size_t len) {
    size_t at = 0;
    for (const char *hit; out->len <= PIECE_MAX && (hit = memmem(in->data + at, in->len - at, from, from_len));) {
        size_t begin = (size_t)(hit - in->data);
        str_add(out, in->data + at, begin - at);
        str_add(out, text, len);
        at = begin + from_len;
    }
    str_add(out, in->data + at, in->len - at);
}

// A token of WordPiece with the space in front of it, but for English punctuation and suffixes when they are cleaned
// up.
static void join_word(const DetokenizerStep *s, const StrBuf *in, bool first, StrBuf *out) {
    static const char *const attached[] = {" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're"};
    bool inside = !first && in->len >= s->from_len && memcmp(in->data, s->from, s->from_len) == 0;
    StrBuf text = {0};
    if (!first && !inside) str_puts(&text, " ");
    str_add(&text, in->data + (inside ? s->from_len : 0), in->len - (inside ? s->from_len : 0));
    size_t begin = 0;
    for (size_t i = 0; s->cleanup && i < sizeof attached / sizeof *attached; i++)
        if (starts_with(text.data, attached[i])) begin = 1;
    str_add(out, text.data + begin, text.len - begin);
    str_clear(&text);
}

static void run_step(const DetokenizerStep *s, const StrBuf *in, bool added, bool first, StrBuf *out) {
    int byte;
    char one;
    size_t skip = 0;
    switch (s->kind) {
    case DETOKENIZE_BYTE_LEVEL:
        if (added || !bytes_unspell(in->data, in->len, out)) str_add(out, in->data, in->len);
        break;
    case DETOKENIZE_REPLACE:
        replace(out, in, s->from, s->from_len, s->text, s->text_len);
        break;
    case DETOKENIZE_BYTE_FALLBACK:
        byte = vocab_byte_of(in->data, in->len);
        one = (char)byte;
        str_add(out, byte < 0 ? in->data : &one, byte < 0 ? in->len : 1);
        break;
    case DETOKENIZE_STRIP:
        while (skip < s->count && skip < in->len && in->data[skip] == ' ') skip++;
        str_add(out, in->data + skip, in->len - skip);
        break;
    case DETOKENIZE_METASPACE:
        replace(out, in, s->from, s->from_len, " ", first && s->whole ? 0 : 1);
        break;
    case DETOKENIZE_WORDPIECE:
        join_word(s, in, first, out);
        break;
    }
}

// The token through all steps, appended to out; a and b are room to work in. False when it grows too large.
static bool add_token(const Detokenizer *d, int32_t id, bool first, StrBuf *a, StrBuf *b, StrBuf *out) {
    size_t len;
    const char *text = vocab_text(d->vocab, id, &len);
    int type = vocab_type(d->vocab, id);
    bool added = type != TOKEN_NORMAL && type != TOKEN_UNUSED && type != TOKEN_BYTE;
    a->len = 0;
    if (d->count == 0 && !first && len) str_puts(a, " ");
    str_add(a, text, len);
    for (size_t i = 0; i < d->count && len; i++) {
        StrBuf in = *a;
        b->len = 0;
        str_add(b, "", 0);
        run_step(&d->steps[i], &in, added, first, b);
        *a = *b;
        *b = in;
        if (a->len > PIECE_MAX) return false;
    }
    str_add(out, a->data, a->len);
    return true;
}

int detokenizer_finish(Detokenizer *d, const Vocab *v, Err *err) {
    StrBuf a = {0}, b = {0};
    size_t most = PIECE_MAX, len;
    int rc = 0;
    d->vocab = v;
    d->first_differs = d->first_differs || d->count == 0;
    d->piece_at = mem_alloc((size_t)vocab_size(v) + 1, sizeof *d->piece_at);
    str_add(&d->pieces, "", 0);
    for (int32_t id = 0; id < vocab_size(v) && !rc; id++) {
        vocab_text(v, id, &len);
        most += TEXT_FACTOR * len;
        d->piece_at[id] = d->pieces.len;
        if (!add_token(d, id, false, &a, &b, &d->pieces) || d->pieces.len > most)
            rc = err_input(err,
                           "decoder: its rules expand token %d too far; expected at most %d bytes, and %d times "
                           "the size of all tokens",
                           id, PIECE_MAX, TEXT_FACTOR);
    }
    d->piece_at[vocab_size(v)] = d->pieces.len;
    str_clear(&a);
    str_clear(&b);
    return rc;
}

const char *detokenizer_piece(const Detokenizer *d, int32_t id, size_t *len) {
    *len = d->piece_at[id + 1] - d->piece_at[id];
    return d->pieces.data + d->piece_at[id];
}

static void add_first(const Detokenizer *d, int32_t id, StrBuf *out) {
    StrBuf a = {0}, b = {0};
    add_token(d, id, true, &a, &b, out);
    str_clear(&a);
    str_clear(&b);
}

void detokenizer_add_token(const Detokenizer *d, DetokenizerState *s, int32_t id, StrBuf *out) {
    size_t begin = out->len, len;
    if (!s->begun && d->first_differs) {
        add_first(d, id, out);
    } else {
        const char *piece = detokenizer_piece(d, id, &len);
        str_add(out, piece, len);
    }
    s->begun = true;
    if (s->stripped) return;
    size_t at = begin;
    while (at < out->len && s->n_stripped < d->strip && out->data[at] == ' ') at++, s->n_stripped++;
    s->stripped = at < out->len || s->n_stripped == d->strip;
    if (at > begin) memmove(out->data + begin, out->data + at, out->len - at);
    out->len -= at - begin;
}
