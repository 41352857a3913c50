// tokenizer_gguf: takes a tokenizer's parts out of GGUF metadata (keys tokenizer.ggml.* and tokenizer.chat_template).
#include <string.h>

#include "bpe.h"
#include "tokenizer_parts.h"

enum { SHOWN = 64 };

// ---- byte-level BPE ----

static int add_merges(TokenizerParts *p, const TokenizerSource *s, bool whole_words, Err *err) {
    BpePair *merges = mem_alloc(s->n_merges + 1, sizeof *merges);
    BpeSource bpe = {
        .vocab = p->vocab, .merges = merges, .n_merges = s->n_merges, .whole_words = whole_words, .unk = -1};
    int rc = 0;
    for (size_t i = 0; i < s->n_merges && rc == 0; i++) {
        GgufStr merge = s->merges[i];
        if (!bpe_pair_split(&merges[i], merge))
            rc = err_input(err, "merge %zu \"%.*s\" has one part; expected two separated by a space", i,
                           merge.len < SHOWN ? (int)merge.len : SHOWN, merge.data);
    }
    if (rc == 0) rc = bpe_new(&p->model, &bpe, err);
    mem_free(merges);
    return rc;
}

static int add_parts(TokenizerParts *p, const TokenizerSource *s, Err *err) {
    PretokenizerFamily family;
    VocabSource vocab = {s->tokens, s->types, s->n_tokens, TOKEN_UNUSED};
    if (pretokenizer_add_family(p->pre, &family, s->pre.data, s->pre.len, err) != 0) return -1;
    if (family.nfc) normalizer_add(p->normalizer, &(NormalizeStep){.kind = NORMALIZE_FORM, .form = NORMAL_NFC});
    decoder_add(p->decoder, &(DecodeStep){.kind = DECODE_BYTE_LEVEL});
    p->bos = s->bos;
    p->eos = s->eos;
    p->pad = s->pad;
    p->add_bos = s->add_bos < 0 ? family.adds_bos && p->bos >= 0 : s->add_bos != 0;
    p->add_eos = s->add_eos > 0;
    p->kind = mem_printf("gpt2/%s", family.name);
    if (s->chat_template.data) p->chat_template = mem_strndup(s->chat_template.data, s->chat_template.len);
    if (vocab_new(&p->vocab, &vocab, err) != 0 || add_merges(p, s, family.whole_words, err) != 0) return -1;
    return added_tokens_add_vocab(p->added, p->vocab, err);
}

int tokenizer_new(Tokenizer **t, const TokenizerSource *source, Err *err) {
    TokenizerParts p;
    tokenizer_parts_init(&p);
    if (add_parts(&p, source, err) == 0) return tokenizer_assemble(t, &p, err);
    tokenizer_parts_clear(&p);
    return -1;
}

// ---- keys ----

static int read_model(const Gguf *g, Err *err) {
    GgufStr model;
    if (gguf_string(g, "tokenizer.ggml.model", true, &model, err) != 0) return -1;
    if (model.len == 4 && memcmp(model.data, "gpt2", 4) == 0) return 0;
    int shown = model.len < 64 ? (int)model.len : 64;
    return err_input(err, "%s: tokenizer.ggml.model: \"%.*s\" is not supported; expected gpt2 (byte-level BPE)",
                     gguf_path(g), shown, model.data);
}

static int read_id(const Gguf *g, const char *key, int32_t *id, Err *err) {
    uint64_t value = 0;
    *id = -1;
    int rc = gguf_u64(g, key, false, &value, err);
    if (rc != 0) return rc < 0 ? -1 : 0;
    if (value > INT32_MAX) return err_input(err, "%s: %s: %ju is no token id", gguf_path(g), key, (uintmax_t)value);
    *id = (int32_t)value;
    return 0;
}

static int read_flag(const Gguf *g, const char *key, int *flag, Err *err) {
    bool value = false;
    *flag = -1;
    int rc = gguf_bool(g, key, false, &value, err);
    if (rc == 0) *flag = value;
    return rc < 0 ? -1 : 0;
}

static int read_small_keys(const Gguf *g, TokenizerSource *s, Err *err) {
    if (read_model(g, err) != 0 || gguf_string(g, "tokenizer.ggml.pre", true, &s->pre, err) != 0 ||
        read_id(g, "tokenizer.ggml.bos_token_id", &s->bos, err) != 0 ||
        read_id(g, "tokenizer.ggml.eos_token_id", &s->eos, err) != 0 ||
        read_id(g, "tokenizer.ggml.padding_token_id", &s->pad, err) != 0 ||
        read_flag(g, "tokenizer.ggml.add_bos_token", &s->add_bos, err) != 0 ||
        read_flag(g, "tokenizer.ggml.add_eos_token", &s->add_eos, err) != 0)
        return -1;
    GgufStr *chat = &s->chat_template;
    if (gguf_string(g, "tokenizer.chat_template", false, chat, err) < 0) return -1;
    if (chat->data && memchr(chat->data, 0, chat->len))
        return err_input(err, "%s: tokenizer.chat_template has a NUL byte; expected text", gguf_path(g));
    return 0;
}

int tokenizer_from_gguf(Tokenizer **t, const Gguf *g, Err *err) {
    TokenizerSource s = {0};
    GgufStr *tokens = NULL, *merges = NULL;
    int32_t *types = NULL;
    size_t n_types = 0;
    int rc = -1;
    if (read_small_keys(g, &s, err) != 0 ||
        gguf_string_array(g, "tokenizer.ggml.tokens", true, &tokens, &s.n_tokens, err) != 0 ||
        gguf_i32_array(g, "tokenizer.ggml.token_type", true, &types, &n_types, err) != 0 ||
        gguf_string_array(g, "tokenizer.ggml.merges", true, &merges, &s.n_merges, err) != 0)
        goto done;
    if (n_types != s.n_tokens) {
        err_input(err, "%s: tokenizer.ggml.token_type has %zu entries; expected %zu, one per token", gguf_path(g),
                  n_types, s.n_tokens);
        goto done;
    }
    s.tokens = tokens;
    s.types = types;
    s.merges = merges;
    rc = tokenizer_new(t, &s, err);
    if (rc != 0) err_context(err, "%s", gguf_path(g));
done:
    mem_free(tokens);
    mem_free(types);
    mem_free(merges);
    return rc;
}
