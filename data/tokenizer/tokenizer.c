// tokenizer: see tokenizer.h. Holds the parts and answers questions about them; encoding is in tokenizer_encode.c.
#include "tokenizer.h"

#include <string.h>

#include "tokenizer_internal.h"

// ---- parts ----

void tokenizer_parts_init(TokenizerParts *p) {
    *p = (TokenizerParts){.bos = -1, .eos = -1, .pad = -1};
    p->added = added_tokens_new();
    p->normalizer = normalizer_new();
    p->pre = pretokenizer_new();
    p->detokenizer = detokenizer_new();
}

void tokenizer_parts_clear(TokenizerParts *p) {
    if (p->model.kind) p->model.kind->free(p->model.data);
    added_tokens_free(p->added);
    added_tokens_free(p->normalized);
    normalizer_free(p->normalizer);
    pretokenizer_free(p->pre);
    detokenizer_free(p->detokenizer);
    vocab_free(p->vocab);
    mem_free(p->kind);
    mem_free(p->chat_template);
    *p = (TokenizerParts){0};
}

void tokenizer_parts_add_end(TokenizerParts *p, int32_t id) {
    for (int i = 0; i < p->n_ends; i++)
        if (p->ends[i] == id) return;
    if (id >= 0 && p->n_ends < TOKENIZER_ENDS_MAX) p->ends[p->n_ends++] = id;
}

static int check_special(const char *name, int32_t id, int32_t n_tokens, Err *err) {
    if (id < -1 || id >= n_tokens) return err_input(err, "%s token id %d; expected an id below %d", name, id, n_tokens);
    return 0;
}

static int check_specials(const TokenizerParts *p, Err *err) {
    int32_t n = vocab_size(p->vocab);
    if (check_special("bos", p->bos, n, err) || check_special("eos", p->eos, n, err) ||
        check_special("padding", p->pad, n, err))
        return -1;
    for (int i = 0; i < p->n_ends; i++)
        if (check_special("end", p->ends[i], n, err)) return -1;
    if (p->add_bos && p->bos < 0)
        return err_input(err, "add_bos_token is true, but no token of the vocabulary is the bos token");
    if (p->add_eos && p->eos < 0)
        return err_input(err, "add_eos_token is true, but no token of the vocabulary is the eos token");
    return 0;
}

static void hash_vocab(const Vocab *v, Fingerprint *f) {
    fingerprint_number(f, vocab_size(v));
    for (int32_t id = 0; id < vocab_size(v); id++) {
        size_t len;
        const char *text = vocab_text(v, id, &len);
        fingerprint_text(f, text, len);
        fingerprint_number(f, vocab_type(v, id));
    }
}

static void set_fingerprint(Tokenizer *t) {
    const TokenizerParts *p = &t->p;
    Fingerprint *f = fingerprint_new();
    fingerprint_text(f, p->kind, strlen(p->kind));
    hash_vocab(p->vocab, f);
    added_tokens_hash(p->added, f);
    fingerprint_number(f, p->normalized != NULL);
    if (p->normalized) added_tokens_hash(p->normalized, f);
    normalizer_hash(p->normalizer, f);
    pretokenizer_hash(p->pre, f);
    p->model.kind->hash(p->model.data, f);
    post_processor_hash(&p->post, f);
    fingerprint_number(f, p->bos);
    fingerprint_number(f, p->eos);
    fingerprint_number(f, p->pad);
    fingerprint_number(f, p->add_bos | p->add_eos << 1);
    fingerprint_end(f, t->fingerprint);
}

int tokenizer_assemble(Tokenizer **out, TokenizerParts *p, Err *err) {
    if (check_specials(p, err) || detokenizer_finish(p->detokenizer, p->vocab, err)) {
        tokenizer_parts_clear(p);
        return -1;
    }
    tokenizer_parts_add_end(p, p->eos);
    if (p->post.n_single == 0) post_processor_default(&p->post, p->add_bos ? p->bos : -1, p->add_eos ? p->eos : -1);
    Tokenizer *t = mem_calloc(1, sizeof *t);
    t->p = *p;
    *p = (TokenizerParts){0};
    set_fingerprint(t);
    *out = t;
    return 0;
}

void tokenizer_free(Tokenizer *t) {
    if (!t) return;
    tokenizer_parts_clear(&t->p);
    mem_free(t);
}

// ---- questions ----

int32_t tokenizer_vocab_size(const Tokenizer *t) {
    return vocab_size(t->p.vocab);
}

const char *tokenizer_kind(const Tokenizer *t) {
    return t->p.kind;
}

int32_t tokenizer_bos(const Tokenizer *t) {
    return t->p.bos;
}

int32_t tokenizer_eos(const Tokenizer *t) {
    return t->p.eos;
}

int32_t tokenizer_pad(const Tokenizer *t) {
    return t->p.pad;
}

bool tokenizer_add_bos(const Tokenizer *t) {
    return t->p.add_bos;
}

bool tokenizer_add_eos(const Tokenizer *t) {
    return t->p.add_eos;
}

bool tokenizer_is_control(const Tokenizer *t, int32_t id) {
    return vocab_is_control(t->p.vocab, id);
}

size_t tokenizer_ends(const Tokenizer *t, const int32_t **ids) {
    *ids = t->p.ends;
    return (size_t)t->p.n_ends;
}

bool tokenizer_is_end(const Tokenizer *t, int32_t id) {
    for (int i = 0; i < t->p.n_ends; i++)
        if (t->p.ends[i] == id) return true;
    return false;
}

int32_t tokenizer_find(const Tokenizer *t, const char *piece) {
    return vocab_find(t->p.vocab, piece, strlen(piece));
}

const char *tokenizer_chat_template(const Tokenizer *t) {
    return t->p.chat_template;
}

const char *tokenizer_piece(const Tokenizer *t, int32_t id, size_t *len) {
    return tokenizer_is_control(t, id) ? vocab_text(t->p.vocab, id, len) : detokenizer_piece(t->p.detokenizer, id, len);
}

const char *tokenizer_fingerprint(const Tokenizer *t) {
    return t->fingerprint;
}

// ---- decoding ----

void tokenizer_decode_next(const Tokenizer *t, DetokenizerState *state, int32_t id, StrBuf *out) {
    detokenizer_add_token(t->p.detokenizer, state, id, out);
}

void tokenizer_decode(const Tokenizer *t, const int32_t *ids, size_t count, bool control, StrBuf *out) {
    DetokenizerState state = {0};
    for (size_t i = 0; i < count; i++)
        if (control || !tokenizer_is_control(t, ids[i])) tokenizer_decode_next(t, &state, ids[i], out);
}
