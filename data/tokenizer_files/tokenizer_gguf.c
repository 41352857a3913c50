// tokenizer_gguf: takes a tokenizer's parts out of GGUF metadata (keys tokenizer.ggml.* and tokenizer.chat_template).
#include <string.h>

#include "bpe.h"
#include "spm.h"
#include "tokenizer_files.h"
#include "tokenizer_parts.h"

enum { SHOWN = 64 };
#define SPACE "\xE2\x96\x81" // U+2581

// ---- byte-level BPE ----

static int add_merges(Tokenizer *p, const TokenizerSource *s, bool whole_words, Err *err) {
    AUTO_FREE BpePair *merges = mem_alloc(s->n_merges + 1, sizeof *merges);
    for (size_t i = 0; i < s->n_merges; i++) {
        GgufStr merge = s->merges[i];
        if (!bpe_pair_split(&merges[i], merge))
            return err_input(err, "merge %zu \"%.*s\" has one part; expected two separated by a space", i,
                             merge.len < SHOWN ? (int)merge.len : SHOWN, merge.data);
    }
    const BpeSource bpe = {
        .vocab = p->vocab, .merges = merges, .n_merges = s->n_merges, .whole_words = whole_words, .unk = -1};
    return bpe_new(&p->model, &bpe, err);
}

static int add_bytes(Tokenizer *p, const TokenizerSource *s, Err *err) {
    PretokenizerFamily family;
    VocabSource vocab = {s->tokens, s->types, s->n_tokens, TOKEN_UNUSED};
    if (pretokenizer_add_family(p->pre, &family, s->pre, err)) return -1;
    if (family.nfc) normalizer_add(p->normalizer, &(NormalizeStep){.kind = NORMALIZE_FORM, .form = NORMAL_NFC});
    detokenizer_add(p->detokenizer, &(DetokenizerStep){.kind = DETOKENIZE_BYTE_LEVEL});
    p->add_bos = s->add_bos < 0 ? family.adds_bos && s->bos >= 0 : s->add_bos != 0;
    p->kind = mem_printf("gpt2/%s", family.name);
    if (vocab_new(&p->vocab, &vocab, err) || add_merges(p, s, family.whole_words, err)) return -1;
    return added_tokens_add_vocab(p->added, p->vocab, err);
}

// ---- SentencePiece BPE with scores ----

// All but three of Phi-3's control tokens include the white space after them; what llama.cpp knows by the model's name
// and Hugging Face by tokenizer.json.
static bool takes_space_after(GgufStr text) {
    return !json_str_is(text, "<unk>") && !json_str_is(text, "<s>") && !json_str_is(text, "<|endoftext|>");
}

// A run of spaces as a user-defined token (Gemma) is found where the text has become U+2581, as in SentencePiece.
static int add_spaces(Tokenizer *p, const AddedToken *spaces, Err *err) {
    AUTO_STR StrBuf text = {0};
    for (size_t i = 0; i < spaces->text.len; i++) str_puts(&text, SPACE);
    if (!p->normalized) p->normalized = added_tokens_new();
    return added_tokens_add(p->normalized, &(AddedToken){.text = {text.data, text.len}, .id = spaces->id}, err);
}

static int add_special(Tokenizer *p, bool strip_after, Err *err) {
    for (int32_t id = 0; id < vocab_size(p->vocab); id++) {
        int type = vocab_type(p->vocab, id);
        if (!vocab_is_control(p->vocab, id) && type != TOKEN_USER_DEFINED) continue;
        AddedToken token = {.text = vocab_text(p->vocab, id), .id = id, .control = type != TOKEN_USER_DEFINED};
        token.rstrip = strip_after && takes_space_after(token.text);
        bool spaces = !token.control && strspn(token.text.data, " ") >= token.text.len;
        if ((spaces ? add_spaces(p, &token, err) : added_tokens_add(p->added, &token, err)) != 0) return -1;
    }
    return 0;
}

static int add_scored(Tokenizer *p, const TokenizerSource *s, Err *err) {
    VocabSource vocab = {s->tokens, s->types, s->n_tokens, TOKEN_BYTE};
    const JsonStr space = {" ", 1}, mark = {SPACE, 3};
    if (s->space_prefix) normalizer_add(p->normalizer, &(NormalizeStep){.kind = NORMALIZE_PREPEND, .text = mark});
    normalizer_add(p->normalizer, &(NormalizeStep){.kind = NORMALIZE_REPLACE, .from = space, .text = mark});
    detokenizer_add(p->detokenizer, &(DetokenizerStep){.kind = DETOKENIZE_REPLACE, .from = mark, .text = space});
    detokenizer_add(p->detokenizer, &(DetokenizerStep){.kind = DETOKENIZE_BYTE_FALLBACK});
    if (s->space_prefix)
        detokenizer_add(p->detokenizer, &(DetokenizerStep){.kind = DETOKENIZE_STRIP, .count = 1, .whole = true});
    p->add_bos = s->add_bos < 0 ? s->bos >= 0 : s->add_bos != 0;
    p->kind = mem_strdup("llama");
    if (vocab_new(&p->vocab, &vocab, err)) return -1;
    SpmSource spm = {p->vocab, s->scores, s->n_scores, s->unknown};
    if (spm_new(&p->model, &spm, err)) return -1;
    return add_special(p, s->strip_after, err);
}

// ---- both ----

// Files name one end token, or two; the others are known by their text, as in llama.cpp.
static void add_known_ends(Tokenizer *p) {
    static const char *const known[] = {"<|eot_id|>",    "<|eom_id|>",    "<|im_end|>",     "<|end|>",
                                        "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        int32_t id = vocab_find(p->vocab, known[i], strlen(known[i]));
        if (id >= 0 && vocab_is_control(p->vocab, id)) tokenizer_add_end(p, id);
    }
}

// An id outside the vocabulary counts as absent, with a warning; if it is used it is refused.
static int take_id(int32_t *out, const Tokenizer *p, const char *key, int32_t id, bool used, Err *err) {
    const char *more = id == INT32_MAX ? "at least " : "";
    *out = id;
    if (id < vocab_size(p->vocab)) return 0;
    *out = -1;
    if (used)
        return err_input(err, "tokenizer.ggml.%s is %s%d; expected an id below %d, as it is put around texts", key,
                         more, id, vocab_size(p->vocab));
    log_warn("tokenizer.ggml.%s is %s%d, outside the vocabulary (ids are below %d); it is ignored", key, more, id,
             vocab_size(p->vocab));
    return 0;
}

static int take_ids(Tokenizer *p, const TokenizerSource *s, Err *err) {
    int32_t eot, eom;
    if (take_id(&p->bos, p, "bos_token_id", s->bos, p->add_bos, err) ||
        take_id(&p->eos, p, "eos_token_id", s->eos, p->add_eos, err) ||
        take_id(&p->pad, p, "padding_token_id", s->pad, false, err) ||
        take_id(&eot, p, "eot_token_id", s->eot, false, err) || take_id(&eom, p, "eom_token_id", s->eom, false, err))
        return -1;
    tokenizer_add_end(p, p->eos);
    tokenizer_add_end(p, eot);
    tokenizer_add_end(p, eom);
    return 0;
}

static int add_parts(Tokenizer *p, const TokenizerSource *s, Err *err) {
    p->add_eos = s->add_eos > 0;
    if (s->chat_template.data) p->chat_template = mem_strndup(s->chat_template.data, s->chat_template.len);
    if ((s->scores ? add_scored(p, s, err) : add_bytes(p, s, err)) != 0 || take_ids(p, s, err)) return -1;
    add_known_ends(p);
    return 0;
}

int tokenizer_new(Tokenizer **out, const TokenizerSource *source, Err *err) {
    AUTO_TOKENIZER Tokenizer *t = tokenizer_begin();
    if (add_parts(t, source, err) || tokenizer_finish(t, err)) return -1;
    *out = mem_take(&t);
    return 0;
}

// ---- keys ----

static int read_model(const Gguf *g, bool *scored, Err *err) {
    GgufStr model;
    if (gguf_string(g, "tokenizer.ggml.model", true, &model, err)) return -1;
    *scored = json_str_is(model, "llama");
    if (*scored || json_str_is(model, "gpt2")) return 0;
    return err_input(err,
                     "%s: tokenizer.ggml.model: \"%.*s\" is not supported; expected gpt2 (byte-level BPE) or llama "
                     "(SentencePiece BPE)",
                     gguf_path(g), model.len < SHOWN ? (int)model.len : SHOWN, model.data);
}

// -1 (as i32 or u32) means none.
static int read_id(const Gguf *g, const char *key, int32_t absent, int32_t *id, Err *err) {
    int64_t value = 0;
    *id = absent;
    int rc = gguf_i64(g, key, false, &value, err);
    if (rc) return rc < 0 ? -1 : 0;
    *id = value < 0 || value == UINT32_MAX ? -1 : value > INT32_MAX ? INT32_MAX : (int32_t)value;
    return 0;
}

static int read_flag(const Gguf *g, const char *key, int *flag, Err *err) {
    bool value = false;
    *flag = -1;
    int rc = gguf_bool(g, key, false, &value, err);
    if (!rc) *flag = value;
    return rc < 0 ? -1 : 0;
}

// The ids that llama.cpp takes for a SentencePiece model whose file does not say.
enum { SPM_UNKNOWN = 0, SPM_BOS = 1, SPM_EOS = 2 };

static int read_small_keys(const Gguf *g, TokenizerSource *s, bool scored, Err *err) {
    if (read_id(g, "tokenizer.ggml.bos_token_id", scored ? SPM_BOS : -1, &s->bos, err) ||
        read_id(g, "tokenizer.ggml.eos_token_id", scored ? SPM_EOS : -1, &s->eos, err) ||
        read_id(g, "tokenizer.ggml.padding_token_id", -1, &s->pad, err) ||
        read_id(g, "tokenizer.ggml.eot_token_id", -1, &s->eot, err) ||
        read_id(g, "tokenizer.ggml.eom_token_id", -1, &s->eom, err) ||
        read_flag(g, "tokenizer.ggml.add_bos_token", &s->add_bos, err) ||
        read_flag(g, "tokenizer.ggml.add_eos_token", &s->add_eos, err))
        return -1;
    GgufStr *chat = &s->chat_template;
    if (gguf_string(g, "tokenizer.chat_template", false, chat, err) < 0) return -1;
    if (chat->data && memchr(chat->data, 0, chat->len))
        return err_input(err, "%s: tokenizer.chat_template has a NUL byte; expected text", gguf_path(g));
    return 0;
}

static int read_scored_keys(const Gguf *g, TokenizerSource *s, float **scores, Err *err) {
    int prefix, extra;
    GgufStr architecture;
    if (read_id(g, "tokenizer.ggml.unknown_token_id", SPM_UNKNOWN, &s->unknown, err) ||
        read_flag(g, "tokenizer.ggml.add_space_prefix", &prefix, err) ||
        read_flag(g, "tokenizer.ggml.remove_extra_whitespaces", &extra, err) ||
        gguf_f32_array(g, "tokenizer.ggml.scores", true, scores, &s->n_scores, err))
        return -1;
    if (extra > 0)
        return err_input(err, "%s: tokenizer.ggml.remove_extra_whitespaces is true; expected false", gguf_path(g));
    s->scores = *scores;
    s->space_prefix = prefix != 0;
    int rc = gguf_string(g, "general.architecture", false, &architecture, err);
    s->strip_after = !rc && json_str_is(architecture, "phi3");
    return rc < 0 ? -1 : 0;
}

static int read_keys(const Gguf *g, TokenizerSource *s, GgufStr **merges, float **scores, Err *err) {
    bool scored;
    if (read_model(g, &scored, err) || read_small_keys(g, s, scored, err)) return -1;
    if (scored) return read_scored_keys(g, s, scores, err);
    if (gguf_string(g, "tokenizer.ggml.pre", true, &s->pre, err) ||
        gguf_string_array(g, "tokenizer.ggml.merges", true, merges, &s->n_merges, err))
        return -1;
    s->merges = *merges;
    return 0;
}

int tokenizer_from_gguf(Tokenizer **t, const Gguf *g, Err *err) {
    TokenizerSource s = {0};
    AUTO_FREE GgufStr *tokens = NULL, *merges = NULL;
    AUTO_FREE int32_t *types = NULL;
    AUTO_FREE float *scores = NULL;
    size_t n_types = 0;
    if (read_keys(g, &s, &merges, &scores, err) ||
        gguf_string_array(g, "tokenizer.ggml.tokens", true, &tokens, &s.n_tokens, err) ||
        gguf_i32_array(g, "tokenizer.ggml.token_type", true, &types, &n_types, err))
        return -1;
    if (n_types != s.n_tokens)
        return err_input(err, "%s: tokenizer.ggml.token_type has %zu entries; expected %zu, one per token",
                         gguf_path(g), n_types, s.n_tokens);
    s.tokens = tokens;
    s.types = types;
    return tokenizer_new(t, &s, err) ? err_context(err, "%s", gguf_path(g)) : 0;
}
