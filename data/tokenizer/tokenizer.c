// tokenizer: see tokenizer.h. Puts the parts together, answers questions about them, and decodes; encoding is in
// tokenizer_encode.c.
#include "tokenizer.h"

#include <string.h>

#include "tokenizer_parts.h"
#include "unicode.h"

// ---- parts ----

Tokenizer *tokenizer_begin(void) {
    Tokenizer *t = mem_calloc(1, sizeof *t);
    t->bos = t->eos = t->pad = t->mask = -1;
    t->added = added_tokens_new();
    t->normalizer = normalizer_new();
    t->pre = pretokenizer_new();
    t->detokenizer = detokenizer_new();
    return t;
}

void tokenizer_free(Tokenizer *t) {
    if (!t) return;
    if (t->model.kind) t->model.kind->free(t->model.data);
    added_tokens_free(t->added);
    added_tokens_free(t->normalized);
    normalizer_free(t->normalizer);
    pretokenizer_free(t->pre);
    detokenizer_free(t->detokenizer);
    vocab_free(t->vocab);
    mem_free(t->kind);
    mem_free(t->chat_template);
    mem_free(t);
}

void tokenizer_add_end(Tokenizer *t, int32_t id) {
    if (id >= 0 && !tokenizer_is_end(t, id) && t->n_ends < TOKENIZER_ENDS_MAX) t->ends[t->n_ends++] = id;
}

int32_t tokenizer_edge(const Tokenizer *t, bool first) {
    const PostProcessor *p = &t->post;
    int i = first ? 0 : p->n_single - 1;
    return p->n_single > 0 && p->single[i].kind == POST_TOKEN ? p->single[i].id : -1;
}

static int put_framed(PostItem *items, int n, const Tokenizer *t, PostKind kind, int32_t type) {
    if (t->add_bos) items[n++] = (PostItem){POST_TOKEN, t->bos, type};
    items[n++] = (PostItem){kind, -1, type};
    if (t->add_eos) items[n++] = (PostItem){POST_TOKEN, t->eos, type};
    return n;
}

static int check_special(const Tokenizer *t, const char *name, int32_t id, Err *err) {
    if (id >= -1 && id < t->vocab_size) return 0;
    return err_input(err, "%s token id %d; expected an id below %d", name, id, t->vocab_size);
}

static int check_specials(const Tokenizer *t, Err *err) {
    if (check_special(t, "bos", t->bos, err) || check_special(t, "eos", t->eos, err) ||
        check_special(t, "padding", t->pad, err))
        return -1;
    for (int i = 0; i < t->n_ends; i++)
        if (check_special(t, "end", t->ends[i], err)) return -1;
    if (t->add_bos && t->bos < 0)
        return err_input(err, "add_bos_token is true, but no token of the vocabulary is the bos token");
    if (t->add_eos && t->eos < 0)
        return err_input(err, "add_eos_token is true, but no token of the vocabulary is the eos token");
    return 0;
}

static void hash_post(const PostItem *items, int n, Fingerprint *f) {
    fingerprint_number(f, n);
    for (int i = 0; i < n; i++) {
        fingerprint_number(f, (int64_t)items[i].kind << 32 | (uint32_t)items[i].id);
        fingerprint_number(f, items[i].type);
    }
}

static void set_fingerprint(Tokenizer *t) {
    Fingerprint *f = fingerprint_new();
    fingerprint_text(f, t->kind, strlen(t->kind));
    fingerprint_number(f, t->vocab_size);
    for (int32_t id = 0; id < t->vocab_size; id++) {
        JsonStr text = vocab_text(t->vocab, id);
        fingerprint_text(f, text.data, text.len);
        fingerprint_number(f, vocab_type(t->vocab, id));
    }
    added_tokens_hash(t->added, f);
    fingerprint_number(f, t->normalized != NULL);
    if (t->normalized) added_tokens_hash(t->normalized, f);
    normalizer_hash(t->normalizer, f);
    pretokenizer_hash(t->pre, f);
    t->model.kind->hash(t->model.data, f);
    hash_post(t->post.single, t->post.n_single, f);
    hash_post(t->post.pair, t->post.n_pair, f);
    fingerprint_number(f, t->bos);
    fingerprint_number(f, t->eos);
    fingerprint_number(f, t->pad);
    fingerprint_number(f, t->add_bos | t->add_eos << 1);
    fingerprint_end(f, t->fingerprint);
}

int tokenizer_finish(Tokenizer *t, Err *err) {
    PostProcessor *p = &t->post;
    t->vocab_size = vocab_size(t->vocab);
    if (check_specials(t, err) || detokenizer_finish(t->detokenizer, t->vocab, err)) return -1;
    tokenizer_add_end(t, t->eos);
    if (p->n_single == 0) {
        p->n_single = put_framed(p->single, 0, t, POST_TEXT_A, 0);
        p->n_pair = put_framed(p->pair, 0, t, POST_TEXT_A, 0);
        p->n_pair = put_framed(p->pair, p->n_pair, t, POST_TEXT_B, 1);
    }
    set_fingerprint(t);
    return 0;
}

int tokenizer_set_eos(Tokenizer *t, const char *piece, Err *err) {
    int32_t id = piece ? tokenizer_find(t, piece) : t->eos;
    if (!piece) return 0;
    if (id < 0) return err_input(err, "eos_token: \"%.64s\"; expected a token of the model's vocabulary", piece);
    t->eos = id;
    tokenizer_add_end(t, id);
    set_fingerprint(t);
    return 0;
}

// ---- questions ----

bool tokenizer_is_control(const Tokenizer *t, int32_t id) { return vocab_is_control(t->vocab, id); }

bool tokenizer_is_end(const Tokenizer *t, int32_t id) {
    for (int i = 0; i < t->n_ends; i++)
        if (t->ends[i] == id) return true;
    return false;
}

int32_t tokenizer_find(const Tokenizer *t, const char *piece) { return vocab_find(t->vocab, piece, strlen(piece)); }

const char *tokenizer_piece(const Tokenizer *t, int32_t id, size_t *len) {
    JsonStr piece = tokenizer_is_control(t, id) ? vocab_text(t->vocab, id) : detokenizer_piece(t->detokenizer, id);
    *len = piece.len;
    return piece.data;
}

// ---- decoding ----

void tokenizer_decode_next(const Tokenizer *t, DetokenizerState *state, int32_t id, StrBuf *out) {
    detokenizer_add_token(t->detokenizer, state, id, out);
}

void tokenizer_decode(const Tokenizer *t, const int32_t *ids, size_t count, bool control, StrBuf *out) {
    DetokenizerState state = {0};
    for (size_t i = 0; i < count; i++)
        if (control || !tokenizer_is_control(t, ids[i])) tokenizer_decode_next(t, &state, ids[i], out);
}

// ---- streams: byte by byte through a UTF-8 state of at most 3 bytes ----

#define REPLACEMENT "\xEF\xBF\xBD" // U+FFFD

// Can `byte` follow the pending bytes of a character? The second byte has a narrower range after some lead bytes.
static bool continues(const TokenStream *s, uint8_t byte) {
    if (s->n_pending > 1) return byte >= 0x80 && byte <= 0xBF;
    uint8_t lead = s->pending[0];
    uint8_t least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80; // no overlong forms
    uint8_t most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;  // no surrogates; at most U+10FFFF
    return byte >= least && byte <= most;
}

static void add_byte(TokenStream *s, uint8_t byte, StrBuf *out) {
    if (s->n_pending > 0 && !continues(s, byte)) token_stream_end(s, out);
    if (s->n_pending == 0 && !utf8_char_len(byte)) {
        str_puts(out, REPLACEMENT);
        return;
    }
    s->pending[s->n_pending++] = byte;
    if (s->n_pending == utf8_char_len(s->pending[0])) {
        str_add(out, (const char *)s->pending, (size_t)s->n_pending);
        s->n_pending = 0;
    }
}

void token_stream_add(TokenStream *s, const Tokenizer *t, int32_t id, StrBuf *out) {
    if (tokenizer_is_control(t, id)) return;
    AUTO_STR StrBuf piece = {0};
    tokenizer_decode_next(t, &s->state, id, &piece);
    for (size_t i = 0; i < piece.len; i++) add_byte(s, (uint8_t)piece.data[i], out);
}

void token_stream_end(TokenStream *s, StrBuf *out) {
    if (s->n_pending > 0) str_puts(out, REPLACEMENT);
    s->n_pending = 0;
}
