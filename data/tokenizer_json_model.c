// tokenizer_json_model: the vocabulary of tokenizer.json (the model's own and the added tokens) and the model itself.
#include <string.h>

#include "bpe.h"
#include "tokenizer_json.h"
#include "wordpiece.h"

// Every id up to the largest has a place, so files may have holes, but not arbitrary ones.
enum { MAX_HOLES = 1 << 16 };

// ---- the vocabulary ----

typedef struct Tokens {
    GgufStr *texts;
    int32_t *types;
    size_t n; // largest id + 1
} Tokens;

static int check_id(const Json *v, JsonStr token, int64_t limit, Err *err) {
    if (v && v->type == JSON_INT && v->integer >= 0 && v->integer < limit) return 0;
    return err_input(err, "token \"%.64s\": found id %s; expected 0 to %lld", token.data,
                     !v            ? "missing"
                     : v->str.data ? v->str.data
                                   : json_type_name(v),
                     (long long)limit - 1);
}

static int put_token(Tokens *t, int64_t id, JsonStr text, int32_t type, Err *err) {
    if (t->types[id] != TOKEN_ABSENT)
        return err_input(err, "tokens \"%.*s\" and \"%.64s\" both have id %lld; expected one id each",
                         (int)(t->texts[id].len < 64 ? t->texts[id].len : 64), t->texts[id].data, text.data,
                         (long long)id);
    t->texts[id] = (GgufStr){text.data, text.len};
    t->types[id] = type;
    if ((size_t)id >= t->n) t->n = (size_t)id + 1;
    return 0;
}

static int put_vocab(Tokens *t, const Json *vocab, int64_t limit, Err *err) {
    for (size_t i = 0; i < vocab->count; i++) {
        if (check_id(&vocab->items[i], vocab->keys[i], limit, err) != 0) return err_context(err, "vocab");
        if (put_token(t, vocab->items[i].integer, vocab->keys[i], TOKEN_NORMAL, err) != 0)
            return err_context(err, "vocab");
    }
    return 0;
}

// An entry of added_tokens as the file has it.
typedef struct AddedEntry {
    JsonStr content;
    int64_t id;
    bool special, normalized, single_word, lstrip, rstrip;
} AddedEntry;

static int read_added(AddedEntry *e, const Json *v, int64_t limit, Err *err) {
    if (v->type != JSON_OBJECT) return err_input(err, "found %s; expected an object", json_type_name(v));
    if (component_text(&e->content, v, "content", err) != 0) return -1;
    if (e->content.len == 0) return err_input(err, "content: found \"\"; expected text");
    if (check_id(json_get(v, "id"), e->content, limit, err) != 0) return -1;
    e->id = json_get(v, "id")->integer;
    if (component_flag(&e->special, v, "special", false, err) != 0 ||
        component_flag(&e->normalized, v, "normalized", !e->special, err) != 0 ||
        component_flag(&e->single_word, v, "single_word", false, err) != 0 ||
        component_flag(&e->lstrip, v, "lstrip", false, err) != 0)
        return -1;
    return component_flag(&e->rstrip, v, "rstrip", false, err);
}

// An added token is new, or it is the token that the model has at this id already.
static int put_added(Tokens *t, const AddedEntry *e, Err *err) {
    int32_t type = e->special ? TOKEN_CONTROL : TOKEN_USER_DEFINED;
    bool there = t->types[e->id] == TOKEN_NORMAL && t->texts[e->id].len == e->content.len &&
                 memcmp(t->texts[e->id].data, e->content.data, e->content.len) == 0;
    if (!there) return put_token(t, e->id, e->content, type, err);
    t->types[e->id] = type;
    return 0;
}

static int put_all_added(Tokens *t, AddedEntry *entries, const Json *added, int64_t limit, Err *err) {
    for (size_t i = 0; added && i < added->count; i++)
        if (read_added(&entries[i], &added->items[i], limit, err) != 0 || put_added(t, &entries[i], err) != 0)
            return err_context(err, "added_tokens[%zu]", i);
    return 0;
}

// Special tokens that only the other files name: control tokens, cut out of the text as it is.
static int add_named(JsonTokenizer *t, const JsonStr *special, size_t n) {
    Vocab *v = t->parts->vocab;
    for (size_t i = 0; i < n; i++) {
        int32_t id = vocab_find(v, special[i].data, special[i].len);
        if (id < 0 || vocab_is_control(v, id)) continue;
        bool ordinary = vocab_type(v, id) == TOKEN_NORMAL;
        vocab_make_control(v, id);
        AddedToken a = {.text = special[i].data, .len = special[i].len, .id = id, .control = true};
        if (ordinary && added_tokens_add(t->parts->added, &a, t->err) != 0) return -1;
    }
    return 0;
}

// An added token is searched in the text as it is, or, normalised itself, in the normalised text.
static int add_entry(JsonTokenizer *t, const AddedEntry *e, NormalizeWork *work) {
    TokenizerParts *p = t->parts;
    TextView view = {e->content.data, e->content.len, NULL};
    AddedToken a = {.id = (int32_t)e->id,
                    .control = vocab_is_control(p->vocab, (int32_t)e->id),
                    .single_word = e->single_word,
                    .lstrip = e->lstrip,
                    .rstrip = e->rstrip};
    if (e->normalized) {
        normalizer_run(p->normalizer, work, &view, false);
        if (work->refused) return err_input(t->err, "added token \"%.64s\": %s", e->content.data, work->refused);
        if (!p->normalized) p->normalized = added_tokens_new();
    }
    a.text = view.text;
    a.len = view.len;
    if (a.len == 0) return 0; // nothing is left of it to be found
    return added_tokens_add(e->normalized ? p->normalized : p->added, &a, t->err);
}

static int add_entries(JsonTokenizer *t, const AddedEntry *entries, size_t n) {
    NormalizeWork work = {.limit = 64 << 10};
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) rc = add_entry(t, &entries[i], &work);
    normalize_work_clear(&work);
    return rc;
}

static int read_vocab(JsonTokenizer *t, const Json *vocab, const Json *added, const JsonStr *special,
                      size_t n_special) {
    size_t n_added = added ? added->count : 0, limit = vocab->count + n_added + MAX_HOLES;
    Tokens tokens = {.texts = mem_calloc(limit, sizeof *tokens.texts), .types = mem_alloc(limit, sizeof *tokens.types)};
    AddedEntry *entries = mem_calloc(n_added + 1, sizeof *entries);
    for (size_t i = 0; i < limit; i++) tokens.types[i] = TOKEN_ABSENT;
    int rc = put_vocab(&tokens, vocab, (int64_t)limit, t->err);
    if (rc == 0) rc = put_all_added(&tokens, entries, added, (int64_t)limit, t->err);
    VocabSource source = {tokens.texts, tokens.types, tokens.n, TOKEN_ABSENT};
    if (rc == 0) rc = vocab_new(&t->parts->vocab, &source, t->err);
    if (rc == 0) rc = add_named(t, special, n_special);
    if (rc == 0) rc = add_entries(t, entries, n_added);
    mem_free(tokens.texts);
    mem_free(tokens.types);
    mem_free(entries);
    return rc;
}

// ---- BPE ----

static int bad_merge(size_t i, const Json *m, Err *err) {
    return err_input(err, "merges[%zu]: found %s; expected \"left right\" or [\"left\", \"right\"]", i,
                     m->type == JSON_STRING ? m->str.data : json_type_name(m));
}

static int read_merge(BpePair *out, const Json *m, size_t i, Err *err) {
    if (m->type == JSON_STRING)
        return bpe_pair_split(out, (GgufStr){m->str.data, m->str.len}) ? 0 : bad_merge(i, m, err);
    if (m->type != JSON_ARRAY || m->count != 2) return bad_merge(i, m, err);
    const Json *left = &m->items[0], *right = &m->items[1];
    if (left->type != JSON_STRING || right->type != JSON_STRING || !left->str.len || !right->str.len)
        return bad_merge(i, m, err);
    *out = (BpePair){{left->str.data, left->str.len}, {right->str.data, right->str.len}};
    return 0;
}

// The id of the model's own unknown token, -1 when it has none.
static int read_unknown(JsonTokenizer *t, const Json *model, int32_t *id) {
    const Json *unk = json_get(model, "unk_token");
    *id = -1;
    if (!unk || unk->type == JSON_NULL) return 0;
    if (unk->type != JSON_STRING) return err_input(t->err, "unk_token: found %s; expected text", json_type_name(unk));
    *id = vocab_find(t->parts->vocab, unk->str.data, unk->str.len);
    if (*id < 0) return err_input(t->err, "unk_token: \"%.64s\" is not in the vocabulary", unk->str.data);
    return 0;
}

static int refuse_affixes(const Json *model, Err *err) {
    const char *keys[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        const Json *v = json_get(model, keys[i]);
        if (v && v->type != JSON_NULL && !json_is_string(v, ""))
            return err_input(err, "%s is not supported; expected null", keys[i]);
    }
    const Json *dropout = json_get(model, "dropout");
    if (dropout && dropout->type != JSON_NULL && dropout->number != 0)
        return err_input(err, "dropout is not supported; expected null");
    return 0;
}

static int read_bpe(JsonTokenizer *t, const Json *model) {
    const Json *merges = component_list(model, "merges", t->err);
    BpeSource bpe = {.vocab = t->parts->vocab, .chars = !t->byte_level, .skip_control = true};
    if (!merges || refuse_affixes(model, t->err) != 0 || read_unknown(t, model, &bpe.unk) != 0 ||
        component_flag(&bpe.fuse_unk, model, "fuse_unk", false, t->err) != 0 ||
        component_flag(&bpe.byte_fallback, model, "byte_fallback", false, t->err) != 0 ||
        component_flag(&bpe.whole_words, model, "ignore_merges", false, t->err) != 0)
        return -1;
    BpePair *pairs = mem_alloc(merges->count + 1, sizeof *pairs);
    int rc = 0;
    for (size_t i = 0; i < merges->count && rc == 0; i++) rc = read_merge(&pairs[i], &merges->items[i], i, t->err);
    bpe.merges = pairs;
    bpe.n_merges = merges->count;
    if (rc == 0) rc = bpe_new(&t->parts->model, &bpe, t->err);
    mem_free(pairs);
    t->parts->kind = mem_strdup(t->byte_level ? "hf/BPE of bytes" : "hf/BPE of characters");
    return rc;
}

// ---- WordPiece ----

static int read_wordpiece(JsonTokenizer *t, const Json *model) {
    WordPieceSource w = {.vocab = t->parts->vocab};
    JsonStr prefix;
    if (t->byte_level) return err_input(t->err, "found behind pre_tokenizer ByteLevel; expected another one");
    if (read_unknown(t, model, &w.unknown) != 0 ||
        component_text(&prefix, model, "continuing_subword_prefix", t->err) != 0 ||
        component_count(&w.max_chars, model, "max_input_chars_per_word", 100, INT32_MAX, t->err) != 0)
        return -1;
    if (w.unknown < 0) return err_input(t->err, "unk_token: found null; expected a token");
    if (strlen(prefix.data) != prefix.len) return err_input(t->err, "continuing_subword_prefix has a NUL byte");
    w.prefix = prefix.data;
    t->parts->kind = mem_strdup("hf/WordPiece");
    return wordpiece_new(&t->parts->model, &w, t->err);
}

// ---- the model ----

static const char BPE_KEYS[] = "vocab merges unk_token continuing_subword_prefix end_of_word_suffix fuse_unk "
                               "byte_fallback ignore_merges dropout";
static const char WORDPIECE_KEYS[] = "vocab unk_token continuing_subword_prefix max_input_chars_per_word";

// Old files do not name the type.
static const char *model_type(const Json *model) {
    const Json *type = json_get(model, "type");
    if (type && type->type == JSON_STRING) return type->str.data;
    if (json_get(model, "max_input_chars_per_word")) return "WordPiece";
    return json_get(model, "merges") ? "BPE" : "without a type";
}

int tokenizer_json_model(JsonTokenizer *t, const Json *model, const Json *added, const JsonStr *special,
                         size_t n_special) {
    if (model->type != JSON_OBJECT)
        return err_input(t->err, "model: found %s; expected an object", json_type_name(model));
    const char *type = model_type(model);
    bool words = strcmp(type, "WordPiece") == 0;
    if (!words && strcmp(type, "BPE") != 0) return component_unknown("model", type, "BPE and WordPiece", t->err);
    if (added && added->type != JSON_ARRAY)
        return err_input(t->err, "added_tokens: found %s; expected an array", json_type_name(added));
    const Json *vocab = json_get(model, "vocab");
    int rc = component_keys(model, words ? WORDPIECE_KEYS : BPE_KEYS, t->err);
    if (rc == 0 && (!vocab || vocab->type != JSON_OBJECT))
        rc = err_input(t->err, "vocab: found %s; expected an object", vocab ? json_type_name(vocab) : "nothing");
    if (rc == 0) rc = read_vocab(t, vocab, added, special, n_special);
    if (rc == 0) rc = words ? read_wordpiece(t, model) : read_bpe(t, model);
    return rc != 0 ? err_context(t->err, "model %.64s", type) : 0;
}
