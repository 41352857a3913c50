// tokenizer_gguf_write: GGUF metadata of a tokenizer that was read from a Hugging Face folder. What llama.cpp's
// converter does with tokenizer.json is done with the parts of the Tokenizer; the tokenizer of the new keys is then
// compared with the old one (tokenizer_same.c).
#include <stdio.h>
#include <string.h>

#include "bpe.h"
#include "tokenizer_files.h"
#include "tokenizer_parts.h"
#include "tokenizer_same.h"

#define SPACE "\xE2\x96\x81" // U+2581

typedef struct Writing {
    const Tokenizer *t;
    const TokenizerGguf *how;
    BpeForm form;
    TokenizerSource source;
    GgufStr *tokens, *merges;
    int32_t *types;
    float *scores;
    char **owned; // texts of tokens that the vocabulary does not have so
    size_t n_owned, owned_capacity;
    char *merge_text;
} Writing;

static void clear(Writing *w) {
    for (size_t i = 0; i < w->n_owned; i++) mem_free(w->owned[i]);
    mem_free(w->owned);
    mem_free(w->tokens);
    mem_free(w->merges);
    mem_free(w->types);
    mem_free(w->scores);
    mem_free(w->merge_text);
}

static GgufStr own(Writing *w, char *text) {
    MEM_GROW(w->owned, w->owned_capacity, w->n_owned + 1);
    w->owned[w->n_owned++] = text;
    return (GgufStr){text, strlen(text)};
}

// ---- tokens ----

// Added tokens that the converter takes for control tokens, whatever their file says.
static bool looks_special(GgufStr s) {
    static const char *const whole[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    static const char *const ends[][2] = {{"<|", "|>"}, {"<\xEF\xBD\x9C", "\xEF\xBD\x9C>"}, {"<unused", ">"}}; // U+FF5C
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (json_str_is(s, whole[i])) return true;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i][0]), m = strlen(ends[i][1]);
        if (s.len >= n && s.len >= m && memcmp(s.data, ends[i][0], n) == 0 &&
            memcmp(s.data + s.len - m, ends[i][1], m) == 0)
            return true;
    }
    return false;
}

// U+2581 of a user-defined token as spaces.
static GgufStr with_spaces(Writing *w, GgufStr s) {
    if (!memmem(s.data, s.len, SPACE, 3)) return s;
    AUTO_STR StrBuf text = {0};
    for (size_t i = 0; i < s.len;) {
        bool mark = s.len - i >= 3 && memcmp(s.data + i, SPACE, 3) == 0;
        str_add(&text, mark ? " " : s.data + i, 1);
        i += mark ? 3 : 1;
    }
    return own(w, mem_strndup(text.data, text.len));
}

static void put_token(Writing *w, int32_t id) {
    const Vocab *v = w->t->vocab;
    int type = id < vocab_size(v) ? vocab_type(v, id) : TOKEN_ABSENT;
    GgufStr text = type == TOKEN_ABSENT ? own(w, mem_printf("[PAD%d]", id)) : vocab_text(v, id);
    if (type == TOKEN_ABSENT) type = TOKEN_UNUSED;
    if (type == TOKEN_USER_DEFINED && looks_special(text)) type = TOKEN_CONTROL;
    if (type == TOKEN_USER_DEFINED) text = with_spaces(w, text);
    if (w->form.chars && type == TOKEN_NORMAL && id == w->form.unk) type = TOKEN_UNKNOWN;
    if (w->form.chars && type == TOKEN_NORMAL && vocab_byte_of(text.data, text.len) >= 0) type = TOKEN_BYTE;
    w->tokens[id] = text;
    w->types[id] = type;
}

static void put_tokens(Writing *w) {
    size_t n = (size_t)w->how->rows;
    w->tokens = mem_calloc(n, sizeof *w->tokens);
    w->types = mem_calloc(n, sizeof *w->types);
    for (size_t i = 0; i < n; i++) put_token(w, (int32_t)i);
    w->source.tokens = w->tokens;
    w->source.types = w->types;
    w->source.n_tokens = n;
}

// ---- byte-level BPE ----

static bool is_written(const Writing *w, const BpeMerge *m) {
    return m->left < w->how->rows && m->right < w->how->rows && m->result < w->how->rows;
}

static void put_merges(Writing *w) {
    const Vocab *v = w->t->vocab;
    size_t bytes = 0;
    BpeMerge m;
    for (int32_t rank = 0; rank < w->form.n_merges; rank++)
        if (bpe_merge(&m, &w->t->model, rank)) bytes += vocab_text(v, m.result).len + 1;
    char *end = w->merge_text = mem_alloc(bytes + 1, 1);
    w->merges = mem_calloc((size_t)w->form.n_merges + 1, sizeof *w->merges);
    for (int32_t rank = 0; rank < w->form.n_merges; rank++) {
        if (!bpe_merge(&m, &w->t->model, rank) || !is_written(w, &m)) continue;
        GgufStr left = vocab_text(v, m.left), right = vocab_text(v, m.right), *out = &w->merges[w->source.n_merges++];
        *out = (GgufStr){end, left.len + 1 + right.len};
        memcpy(end, left.data, left.len);
        end[left.len] = ' ';
        memcpy(end + left.len + 1, right.data, right.len);
        end += out->len;
    }
    w->source.merges = w->merges;
}

static int put_bytes(Writing *w, Err *err) {
    const Normalizer *n = w->t->normalizer;
    bool nfc = normalizer_is_form(n, NORMAL_NFC);
    const PretokenizerFamily *family =
        nfc || normalizer_is_empty(n) ? pretokenizer_family_of(w->t->pre, nfc, w->form.whole_words) : NULL;
    if (!family) {
        AUTO_STR StrBuf known = {0};
        pretokenizer_list_families(&known);
        return err_input(err,
                         "the tokenizer's normalizer and pre_tokenizer have no name in GGUF that lorac knows "
                         "(tokenizer.ggml.pre); expected those of %s",
                         known.data);
    }
    w->source.pre = (GgufStr){family->name, strlen(family->name)};
    put_merges(w);
    return 0;
}

// ---- SentencePiece BPE ----

// Hugging Face's list of merges is in the order of the scores of what they make; only this order counts.
static void put_scores(Writing *w) {
    size_t n = w->source.n_tokens;
    w->scores = mem_calloc(n, sizeof *w->scores);
    BpeMerge m;
    for (size_t i = 0; i < n; i++) w->scores[i] = w->types[i] == TOKEN_NORMAL ? -(float)w->form.n_merges - 1 : 0;
    for (int32_t rank = w->form.n_merges - 1; rank >= 0; rank--)
        if (bpe_merge(&m, &w->t->model, rank) && m.result < w->how->rows) w->scores[m.result] = -(float)rank;
    w->source.scores = w->scores;
    w->source.n_scores = n;
}

// Does a text begin with the space that is not in it?
static bool prepends_space(const Tokenizer *t) {
    AUTO_IDS TokenIds ids = {0}, rest = {0};
    tokenizer_encode(t, "a", 1, NULL, false, &ids);
    tokenizer_encode_rest(t, "a", 1, NULL, false, &rest);
    return ids.count != rest.count || (ids.count && memcmp(ids.ids, rest.ids, ids.count * sizeof *ids.ids) != 0);
}

static int put_characters(Writing *w, Err *err) {
    if (!w->form.byte_fallback)
        return err_input(err, "the tokenizer is a BPE of characters without byte_fallback; GGUF has none of this kind");
    w->source.unknown = w->form.unk < w->how->rows ? w->form.unk : -1;
    w->source.space_prefix = prepends_space(w->t);
    w->source.strip_after = w->how->strip_after;
    put_scores(w);
    return 0;
}

// ---- ids and flags ----

static int32_t within(const Writing *w, int32_t id) { return id < w->how->rows ? id : -1; }

// Texts of end tokens that llama.cpp recognises by themselves.
static bool is_known_end(const Writing *w, int32_t id) {
    static const char *const known[] = {"<|eot_id|>",    "<|eom_id|>",    "<|im_end|>",     "<|end|>",
                                        "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (json_str_is(w->tokens[id], known[i])) return true;
    return false;
}

static void put_ids(Writing *w) {
    const Tokenizer *t = w->t;
    TokenizerSource *s = &w->source;
    s->bos = within(w, t->bos);
    s->eos = within(w, t->eos);
    s->pad = within(w, t->pad);
    s->eot = s->eom = -1;
    for (int i = 0; i < t->n_ends; i++) {
        int32_t id = t->ends[i];
        if (id == s->eos || id >= w->how->rows || is_known_end(w, id)) continue;
        if (s->eot >= 0 && s->eom >= 0)
            log_warn("GGUF has no key for a fourth token that ends an answer: \"%.*s\" is not written as one",
                     (int)w->tokens[id].len, w->tokens[id].data);
        *(s->eot < 0 ? &s->eot : &s->eom) = id;
    }
    s->add_bos = t->add_bos;
    s->add_eos = t->add_eos;
    const char *chat = w->how->chat_template ? w->how->chat_template : t->chat_template;
    if (chat) s->chat_template = (GgufStr){chat, strlen(chat)};
}

// ---- writing ----

static void write_id(GgufWriter *g, const char *key, int32_t id) {
    if (id >= 0) gguf_writer_u32(g, key, (uint32_t)id);
}

static void write_text(GgufWriter *g, const char *key, GgufStr text) {
    AUTO_FREE char *copy = mem_strndup(text.data, text.len);
    gguf_writer_string(g, key, copy);
}

static void write_keys(GgufWriter *g, const TokenizerSource *s) {
    gguf_writer_string(g, "tokenizer.ggml.model", s->scores ? "llama" : "gpt2");
    write_text(g, "tokenizer.ggml.pre", s->scores ? (GgufStr){"default", 7} : s->pre);
    gguf_writer_strings(g, "tokenizer.ggml.tokens", s->tokens, s->n_tokens);
    gguf_writer_i32s(g, "tokenizer.ggml.token_type", s->types, s->n_tokens);
    if (s->scores)
        gguf_writer_f32s(g, "tokenizer.ggml.scores", s->scores, s->n_scores);
    else
        gguf_writer_strings(g, "tokenizer.ggml.merges", s->merges, s->n_merges);
    write_id(g, "tokenizer.ggml.bos_token_id", s->bos);
    write_id(g, "tokenizer.ggml.eos_token_id", s->eos);
    write_id(g, "tokenizer.ggml.padding_token_id", s->pad);
    write_id(g, "tokenizer.ggml.eot_token_id", s->eot);
    write_id(g, "tokenizer.ggml.eom_token_id", s->eom);
    if (s->scores) write_id(g, "tokenizer.ggml.unknown_token_id", s->unknown);
    gguf_writer_bool(g, "tokenizer.ggml.add_bos_token", s->add_bos);
    gguf_writer_bool(g, "tokenizer.ggml.add_eos_token", s->add_eos);
    if (s->scores) gguf_writer_bool(g, "tokenizer.ggml.add_space_prefix", s->space_prefix);
    if (s->chat_template.data) write_text(g, "tokenizer.chat_template", s->chat_template);
}

static int fill(Writing *w, Err *err) {
    const char *kind = w->t->model.kind->name;
    if (!bpe_form(&w->form, &w->t->model))
        return err_input(err, "the tokenizer's model is %s; expected BPE, as GGUF files of language models have it",
                         kind);
    put_tokens(w);
    put_ids(w);
    return w->form.chars ? put_characters(w, err) : put_bytes(w, err);
}

int tokenizer_write_gguf(GgufWriter *g, const Tokenizer *t, const TokenizerGguf *how, Err *err) {
    AUTO_CALL(clear) Writing w = {.t = t, .how = how};
    AUTO_TOKENIZER Tokenizer *written = NULL;
    if (fill(&w, err) || tokenizer_new(&written, &w.source, err) || tokenizer_check_same(t, written, err)) return -1;
    write_keys(g, &w.source);
    return 0;
}
