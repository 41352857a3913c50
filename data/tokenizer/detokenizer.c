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

Detokenizer *detokenizer_new(void) { return mem_calloc(1, sizeof(Detokenizer)); }

void detokenizer_add(Detokenizer *d, const DetokenizerStep *step) {
    if (step->kind == DETOKENIZE_STRIP && step->whole) {
        d->strip += step->count;
        return;
    }
    MEM_GROW(d->steps, d->capacity, d->count + 1);
    DetokenizerStep *s = &d->steps[d->count++];
    *s = *step;
    s->from.data = mem_strndup(s->from.data, s->from.len);
    s->text.data = mem_strndup(s->text.data, s->text.len);
    if ((s->kind == DETOKENIZE_METASPACE && s->whole) || s->kind == DETOKENIZE_WORDPIECE) d->first_differs = true;
}

void detokenizer_free(Detokenizer *d) {
    if (!d) return;
    for (size_t i = 0; i < d->count; i++) {
        mem_free((char *)d->steps[i].from.data);
        mem_free((char *)d->steps[i].text.data);
    }
    mem_free(d->steps);
    mem_free(d->piece_at);
    str_clear(&d->pieces);
    mem_free(d);
}

// ---- steps: from `in` to `out`, which is empty ----

// Stops after PIECE_MAX bytes, which add_token then refuses.
static void replace(StrBuf *out, const StrBuf *in, JsonStr from, JsonStr text) {
    size_t at = 0;
    for (const char *hit; out->len <= PIECE_MAX && (hit = memmem(in->data + at, in->len - at, from.data, from.len));) {
        size_t begin = (size_t)(hit - in->data);
        str_add(out, in->data + at, begin - at);
        str_add(out, text.data, text.len);
        at = begin + from.len;
    }
    str_add(out, in->data + at, in->len - at);
}

// A token of WordPiece with the space in front of it, but for English punctuation and suffixes when they are cleaned
// up.
static void join_word(const DetokenizerStep *s, const StrBuf *in, bool first, StrBuf *out) {
    static const char *const attached[] = {" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're"};
    bool inside = !first && in->len >= s->from.len && memcmp(in->data, s->from.data, s->from.len) == 0;
    AUTO_STR StrBuf text = {0};
    if (!first && !inside) str_puts(&text, " ");
    str_add(&text, in->data + (inside ? s->from.len : 0), in->len - (inside ? s->from.len : 0));
    size_t begin = 0;
    for (size_t i = 0; s->cleanup && i < sizeof attached / sizeof *attached; i++)
        if (starts_with(text.data, attached[i])) begin = 1;
    str_add(out, text.data + begin, text.len - begin);
}

static void run_step(const DetokenizerStep *s, const StrBuf *in, bool added, bool first, StrBuf *out) {
    int byte;
    char one;
    size_t skip = 0;
    switch (s->kind) {
    case DETOKENIZE_BYTE_LEVEL:
        if (added || !bytes_unspell(in->data, in->len, out)) str_add(out, in->data, in->len);
        break;
    case DETOKENIZE_REPLACE: replace(out, in, s->from, s->text); break;
    case DETOKENIZE_BYTE_FALLBACK:
        byte = vocab_byte_of(in->data, in->len);
        one = (char)byte;
        str_add(out, byte < 0 ? in->data : &one, byte < 0 ? in->len : 1);
        break;
    case DETOKENIZE_STRIP:
        while (skip < s->count && skip < in->len && in->data[skip] == ' ') skip++;
        str_add(out, in->data + skip, in->len - skip);
        break;
    case DETOKENIZE_METASPACE: replace(out, in, s->from, (JsonStr){" ", first && s->whole ? 0 : 1}); break;
    case DETOKENIZE_WORDPIECE: join_word(s, in, first, out); break;
    }
}

// The token through all steps, appended to out; a and b are room to work in. False when it grows too large.
static bool add_token(const Detokenizer *d, int32_t id, bool first, StrBuf *a, StrBuf *b, StrBuf *out) {
    JsonStr text = vocab_text(d->vocab, id);
    int type = vocab_type(d->vocab, id);
    bool added = type != TOKEN_NORMAL && type != TOKEN_UNUSED && type != TOKEN_BYTE;
    a->len = 0;
    if (d->count == 0 && !first && text.len) str_puts(a, " ");
    str_add(a, text.data, text.len);
    for (size_t i = 0; i < d->count && text.len; i++) {
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
    AUTO_STR StrBuf a = {0}, b = {0};
    size_t most = PIECE_MAX;
    int32_t n = vocab_size(v);
    d->vocab = v;
    d->first_differs = d->first_differs || d->count == 0;
    d->piece_at = mem_alloc((size_t)n + 1, sizeof *d->piece_at);
    str_add(&d->pieces, "", 0);
    for (int32_t id = 0; id < n; id++) {
        most += TEXT_FACTOR * vocab_text(v, id).len;
        d->piece_at[id] = d->pieces.len;
        if (!add_token(d, id, false, &a, &b, &d->pieces) || d->pieces.len > most)
            return err_input(err,
                             "decoder: its rules expand token %d too far; expected at most %d bytes, and %d times "
                             "the size of all tokens",
                             id, PIECE_MAX, TEXT_FACTOR);
    }
    d->piece_at[n] = d->pieces.len;
    return 0;
}

JsonStr detokenizer_piece(const Detokenizer *d, int32_t id) {
    return (JsonStr){d->pieces.data + d->piece_at[id], d->piece_at[id + 1] - d->piece_at[id]};
}

void detokenizer_add_token(const Detokenizer *d, DetokenizerState *s, int32_t id, StrBuf *out) {
    size_t begin = out->len;
    if (!s->begun && d->first_differs) {
        AUTO_STR StrBuf a = {0}, b = {0};
        add_token(d, id, true, &a, &b, out);
    } else {
        JsonStr piece = detokenizer_piece(d, id);
        str_add(out, piece.data, piece.len);
    }
    s->begun = true;
    if (s->stripped) return;
    size_t at = begin;
    while (at < out->len && s->n_stripped < d->strip && out->data[at] == ' ') at++, s->n_stripped++;
    s->stripped = at < out->len || s->n_stripped == d->strip;
    if (at > begin) memmove(out->data + begin, out->data + at, out->len - at);
    out->len -= at - begin;
}
