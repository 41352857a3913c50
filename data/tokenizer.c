// tokenizer: see tokenizer.h. Puts the parts together: added tokens, valid stretches, NFC, pre-tokens, merges.
#include "tokenizer.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "added_tokens.h"
#include "bpe.h"
#include "pretokenize.h"
#include "unicode.h"

struct Tokenizer {
    Bpe *bpe;
    AddedTokens *added;
    Pretokenizer *pre;
    int32_t bos, eos, pad;
    bool add_bos, add_eos;
    char *kind, *chat_template;
    char fingerprint[33];
};

void token_ids_clear(TokenIds *ids) {
    mem_free(ids->ids);
    mem_free(ids->start);
    *ids = (TokenIds){0};
}

static void append_id(TokenIds *out, int32_t id, size_t start) {
    if (out->count == out->capacity) {
        out->capacity = mem_grown_capacity(out->capacity, out->count + 1);
        out->ids = mem_realloc(out->ids, out->capacity, sizeof *out->ids);
        out->start = mem_realloc(out->start, out->capacity, sizeof *out->start);
    }
    out->ids[out->count] = id;
    out->start[out->count++] = (uint32_t)start;
}

static int check_special(const char *name, int32_t id, size_t n_tokens, Err *err) {
    if (id < -1 || (id >= 0 && (size_t)id >= n_tokens))
        return err_input(err, "%s token id %d; expected an id below %zu", name, id, n_tokens);
    return 0;
}

static int check_specials(const Tokenizer *t, size_t n_tokens, Err *err) {
    if (check_special("bos", t->bos, n_tokens, err) != 0 || check_special("eos", t->eos, n_tokens, err) != 0 ||
        check_special("padding", t->pad, n_tokens, err) != 0)
        return -1;
    if (t->add_bos && t->bos < 0) return err_input(err, "add_bos_token is true, but there is no bos token id");
    if (t->add_eos && t->eos < 0) return err_input(err, "add_eos_token is true, but there is no eos token id");
    return 0;
}

static void hash_number(XXH3_state_t *h, int64_t n) {
    uint8_t bytes[8]; // little-endian on every machine
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    XXH3_128bits_update(h, bytes, sizeof bytes);
}

static void hash_text(XXH3_state_t *h, const char *s, size_t len) {
    hash_number(h, (int64_t)len); // lengths keep neighbouring texts apart
    XXH3_128bits_update(h, s, len);
}

static void set_fingerprint(Tokenizer *t) {
    XXH3_state_t *h = XXH3_createState();
    CHECK(h, "out of memory");
    XXH3_128bits_reset(h);
    hash_text(h, t->kind, strlen(t->kind));
    hash_text(h, pretokenizer_pattern(t->pre), strlen(pretokenizer_pattern(t->pre)));
    hash_number(h, pretokenizer_nfc(t->pre) | pretokenizer_whole_words(t->pre) << 1);
    hash_number(h, bpe_size(t->bpe));
    for (int32_t id = 0; id < bpe_size(t->bpe); id++) {
        size_t len;
        const char *text = bpe_text(t->bpe, id, &len);
        hash_text(h, text, len);
        hash_number(h, bpe_type(t->bpe, id));
    }
    for (int32_t rank = 0; rank < bpe_merge_count(t->bpe); rank++) {
        int32_t left, right;
        bpe_merge_at(t->bpe, rank, &left, &right);
        hash_number(h, (int64_t)left << 32 | right);
    }
    hash_number(h, t->bos);
    hash_number(h, t->eos);
    hash_number(h, t->pad);
    hash_number(h, t->add_bos | t->add_eos << 1);
    XXH128_hash_t sum = XXH3_128bits_digest(h);
    XXH3_freeState(h);
    snprintf(t->fingerprint, sizeof t->fingerprint, "%016llx%016llx", (unsigned long long)sum.high64,
             (unsigned long long)sum.low64);
}

int tokenizer_new(Tokenizer **out, const TokenizerSource *s, Err *err) {
    Tokenizer *t = mem_calloc(1, sizeof *t);
    BpeSource bpe = {s->tokens, s->types, s->n_tokens, s->merges, s->n_merges};
    if (pretokenizer_new(&t->pre, s->pre.data, s->pre.len, err) != 0) goto fail;
    t->bos = s->bos;
    t->eos = s->eos;
    t->pad = s->pad;
    t->add_bos = s->add_bos < 0 ? pretokenizer_adds_bos(t->pre) && t->bos >= 0 : s->add_bos != 0;
    t->add_eos = s->add_eos > 0;
    if (bpe_new(&t->bpe, &bpe, err) != 0 || added_tokens_new(&t->added, t->bpe, err) != 0) goto fail;
    if (check_specials(t, s->n_tokens, err) != 0) goto fail;
    t->kind = mem_printf("gpt2/%s", pretokenizer_name(t->pre));
    if (s->chat_template.data) t->chat_template = mem_strndup(s->chat_template.data, s->chat_template.len);
    set_fingerprint(t);
    *out = t;
    return 0;
fail:
    tokenizer_free(t);
    return -1;
}

void tokenizer_free(Tokenizer *t) {
    if (!t) return;
    bpe_free(t->bpe);
    added_tokens_free(t->added);
    pretokenizer_free(t->pre);
    mem_free(t->kind);
    mem_free(t->chat_template);
    mem_free(t);
}

int32_t tokenizer_vocab_size(const Tokenizer *t) {
    return bpe_size(t->bpe);
}

const char *tokenizer_kind(const Tokenizer *t) {
    return t->kind;
}

int32_t tokenizer_bos(const Tokenizer *t) {
    return t->bos;
}

int32_t tokenizer_eos(const Tokenizer *t) {
    return t->eos;
}

int32_t tokenizer_pad(const Tokenizer *t) {
    return t->pad;
}

bool tokenizer_add_bos(const Tokenizer *t) {
    return t->add_bos;
}

bool tokenizer_add_eos(const Tokenizer *t) {
    return t->add_eos;
}

bool tokenizer_is_control(const Tokenizer *t, int32_t id) {
    int type = bpe_type(t->bpe, id);
    return type == TOKEN_CONTROL || type == TOKEN_UNKNOWN;
}

int32_t tokenizer_find(const Tokenizer *t, const char *piece) {
    return bpe_find(t->bpe, piece, strlen(piece));
}

const char *tokenizer_chat_template(const Tokenizer *t) {
    return t->chat_template;
}

const char *tokenizer_piece(const Tokenizer *t, int32_t id, size_t *len) {
    return bpe_piece(t->bpe, id, len);
}

const char *tokenizer_fingerprint(const Tokenizer *t) {
    return t->fingerprint;
}

// One call of tokenizer_encode: its work space and where the ids go.
typedef struct Encoder {
    const Tokenizer *t;
    Splitter *splitter;
    BpeWork work;
    NfcText nfc;
    TokenIds *out;
} Encoder;

// One pre-token. `at`: where its text stands in the source; with a map: where each byte came from, relative to at.
static void encode_word(Encoder *e, const char *word, size_t len, size_t at, const uint32_t *map) {
    bpe_encode(e->t->bpe, &e->work, word, len, pretokenizer_whole_words(e->t->pre));
    e->out->left_out += e->work.left_out;
    for (size_t i = 0; i < e->work.n_tokens; i++) {
        uint32_t begin = e->work.begin[i];
        append_id(e->out, e->work.ids[i], at + (map ? map[begin] : begin));
    }
}

// Valid UTF-8 without added tokens.
static void encode_valid(Encoder *e, const char *text, size_t len, size_t at) {
    const uint32_t *map = NULL;
    if (pretokenizer_nfc(e->t->pre) && nfc_normalize(text, len, &e->nfc)) {
        text = e->nfc.text.data;
        len = e->nfc.text.len;
        map = e->nfc.origin;
    }
    splitter_text(e->splitter, text, len);
    for (size_t begin, end; splitter_next(e->splitter, &begin, &end);) {
        if (map)
            encode_word(e, text + begin, end - begin, at, map + begin);
        else
            encode_word(e, text + begin, end - begin, at + begin, NULL);
    }
}

// Any bytes without added tokens.
static void encode_stretch(Encoder *e, const char *text, size_t from, size_t end) {
    while (from < end) {
        size_t valid = utf8_valid_prefix(text + from, end - from);
        encode_valid(e, text + from, valid, from);
        from += valid;
        if (from < end) encode_word(e, text + from, 1, from, NULL);
        from++;
    }
}

void tokenizer_encode(const Tokenizer *t, const char *text, size_t len, const uint16_t *origin, bool parse_special,
                      TokenIds *out) {
    CHECK(len < UINT32_MAX, "text of %zu bytes", len);
    Encoder e = {.t = t, .splitter = splitter_new(t->pre), .out = out};
    size_t from = 0, at = 0;
    while ((at = added_token_next(t->added, text, len, at)) < len) {
        size_t n = 0;
        int32_t id = added_token_at(t->added, text, len, at, origin, parse_special, &n);
        if (id < 0) {
            at++;
            continue;
        }
        encode_stretch(&e, text, from, at);
        append_id(out, id, at);
        from = at += n;
    }
    encode_stretch(&e, text, from, len);
    splitter_free(e.splitter);
    bpe_work_clear(&e.work);
    nfc_clear(&e.nfc);
}

void tokenizer_decode(const Tokenizer *t, const int32_t *ids, size_t count, bool control, StrBuf *out) {
    for (size_t i = 0; i < count; i++) {
        if (!control && tokenizer_is_control(t, ids[i])) continue;
        size_t len;
        const char *piece = bpe_piece(t->bpe, ids[i], &len);
        str_add(out, piece, len);
    }
}
