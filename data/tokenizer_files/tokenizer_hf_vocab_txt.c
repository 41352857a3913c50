// tokenizer_hf_vocab_txt: BERT's vocab.txt. The parts are those that transformers' conversion of BertTokenizer writes.
#include <string.h>

#include "tokenizer_hf_internal.h"
#include "wordpiece.h"

enum { MAX_CHARS = 100 }; // of a word, as in BertTokenizer

// The special tokens and their roles in tokenizer_config.json.
enum { UNKNOWN, SEPARATOR, PADDING, CLASS, MASK, N_SPECIAL };
static const struct {
    const char *role, *text;
} SPECIAL[N_SPECIAL] = {[UNKNOWN] = {"unk_token", "[UNK]"},
                        [SEPARATOR] = {"sep_token", "[SEP]"},
                        [PADDING] = {"pad_token", "[PAD]"},
                        [CLASS] = {"cls_token", "[CLS]"},
                        [MASK] = {"mask_token", "[MASK]"}};

static int check_class(const Json *config, Err *err) {
    static const char *const known[] = {"BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer",
                                        "DistilBertTokenizerFast"};
    const Json *name = json_get(config, "tokenizer_class");
    if (!name || name->type == JSON_NULL) return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (json_is_string(name, known[i])) return 0;
    return err_input(err,
                     "tokenizer_class: found %s; expected BertTokenizer or DistilBertTokenizer, or a tokenizer.json",
                     name->type == JSON_STRING ? name->str.data : json_type_name(name));
}

static GgufStr special_text(const Json *config, int which) {
    const Json *v = json_get(config, SPECIAL[which].role);
    if (v && v->type == JSON_OBJECT) v = json_get(v, "content");
    if (v && v->type == JSON_STRING) return (GgufStr){v->str.data, v->str.len};
    return (GgufStr){SPECIAL[which].text, strlen(SPECIAL[which].text)};
}

static bool is_special(const Json *config, GgufStr token) {
    for (int i = 0; i < N_SPECIAL; i++) {
        GgufStr s = special_text(config, i);
        if (s.len == token.len && memcmp(s.data, token.data, s.len) == 0) return true;
    }
    return false;
}

static int read_lines(TokenizerParts *p, const char *text, size_t len, const Json *config, Err *err) {
    size_t n = len > 0 && text[len - 1] != '\n';
    for (size_t i = 0; i < len; i++) n += text[i] == '\n';
    GgufStr *tokens = mem_alloc(n + 1, sizeof *tokens);
    int32_t *types = mem_alloc(n + 1, sizeof *types);
    const char *at = text, *end = text + len;
    for (size_t i = 0; i < n; i++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        tokens[i] = (GgufStr){at, (size_t)(stop - at)};
        if (tokens[i].len > 1 && stop[-1] == '\r') tokens[i].len--;
        types[i] = is_special(config, tokens[i]) ? TOKEN_CONTROL : TOKEN_NORMAL;
        at = stop + 1;
    }
    VocabSource source = {tokens, types, n, TOKEN_CONTROL};
    int rc = vocab_new(&p->vocab, &source, err);
    mem_free(tokens);
    mem_free(types);
    return rc;
}

static int find_special(const TokenizerParts *p, const Json *config, int which, int32_t *id, Err *err) {
    GgufStr s = special_text(config, which);
    *id = vocab_find(p->vocab, s.data, s.len);
    if (*id < 0) return err_input(err, "%s \"%.*s\" is not a line of it", SPECIAL[which].role, (int)s.len, s.data);
    return 0;
}

static int add_normalizer(TokenizerParts *p, const Json *config, Err *err) {
    BertNormalizer b = {.clean_text = true};
    if (component_flag(&b.lowercase, config, "do_lower_case", true, err) ||
        component_flag(&b.strip_accents, config, "strip_accents", b.lowercase, err) ||
        component_flag(&b.handle_chinese_chars, config, "tokenize_chinese_chars", true, err))
        return -1;
    normalizer_add_bert(p->normalizer, &b);
    return pretokenizer_add_bert(p->pre, err);
}

// [CLS] A [SEP] and [CLS] A [SEP] B [SEP], the last two of type 1.
static int add_template(TokenizerParts *p, const Json *config, Err *err) {
    int32_t cls, sep;
    if (find_special(p, config, CLASS, &cls, err) || find_special(p, config, SEPARATOR, &sep, err)) return -1;
    p->post = (PostProcessor){.single = {{POST_TOKEN, cls, 0}, {POST_TEXT_A, -1, 0}, {POST_TOKEN, sep, 0}},
                              .n_single = 3,
                              .pair = {{POST_TOKEN, cls, 0},
                                       {POST_TEXT_A, -1, 0},
                                       {POST_TOKEN, sep, 0},
                                       {POST_TEXT_B, -1, 1},
                                       {POST_TOKEN, sep, 1}},
                              .n_pair = 5};
    return 0;
}

// Tokens that the other files name. One that is not a line of vocab.txt is refused: adding it would give another
// tokenizer.
static int add_named(TokenizerParts *p, const NamedTokens *named, Err *err) {
    for (size_t i = 0; i < named->n_added; i++) {
        const AddedEntry *e = &named->added[i];
        int32_t id = vocab_find(p->vocab, e->content.data, e->content.len);
        if (id < 0)
            return err_input(err, "token \"%.64s\" of %s is not a line of it; expected a tokenizer.json that has it",
                             e->content.data, e->file);
        if (e->special) vocab_make_control(p->vocab, id);
        AddedToken a = {.text = e->content.data,
                        .len = e->content.len,
                        .id = id,
                        .control = vocab_is_control(p->vocab, id),
                        .single_word = e->single_word,
                        .lstrip = e->lstrip,
                        .rstrip = e->rstrip};
        if (added_tokens_add(p->added, &a, err)) return -1;
    }
    return 0;
}

int tokenizer_vocab_txt_read(TokenizerParts *p, const char *text, size_t len, const Json *config,
                             const NamedTokens *named, Err *err) {
    WordPieceSource w = {.prefix = "##", .max_chars = MAX_CHARS};
    if (check_class(config, err) || read_lines(p, text, len, config, err) ||
        find_special(p, config, UNKNOWN, &w.unknown, err) || add_normalizer(p, config, err) ||
        add_template(p, config, err) || added_tokens_add_vocab(p->added, p->vocab, err) || add_named(p, named, err))
        return -1;
    w.vocab = p->vocab;
    detokenizer_add(p->detokenizer,
                    &(DetokenizerStep){.kind = DETOKENIZE_WORDPIECE, .from = "##", .from_len = 2, .cleanup = true});
    p->kind = mem_strdup("hf/WordPiece");
    return wordpiece_new(&p->model, &w, err);
}
