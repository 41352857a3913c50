// tokenizer_json_vocab: the vocabulary of tokenizer.json: the model's own tokens, the added tokens of the file, and
// those that only the files next to it name (tokenizer_hf_named.c), with the ids that Hugging Face tokenizers gives
// them: an added token that the model does not have comes after all others.
#include <string.h>

#include "tokenizer_hf_internal.h"

// Every id up to the largest has a place, so files may have holes, but not arbitrary ones.
enum { MAX_HOLES = 1 << 16 };

typedef struct Tokens {
    GgufStr *texts;
    int32_t *types;
    size_t n;     // largest id + 1
    size_t limit; // room in the arrays
    size_t own;   // of the model
    AddedEntry *added;
    size_t n_added;
    int64_t last_added; // the largest id among them, -1: none
    int32_t *entry;     // index in added of each id, -1: none
    bool changed;       // since the vocabulary was made
} Tokens;

static int check_id(const Json *v, JsonStr token, size_t limit, int64_t *id, Err *err) {
    char shown[JSON_SHOWN];
    if (json_whole(v, id) && *id >= 0 && *id < (int64_t)limit) return 0;
    return err_input(err, "token \"%.64s\": found id %s; expected 0 to %zu", token.data, json_show(shown, v),
                     limit - 1);
}

static int put_token(Tokens *t, int64_t id, JsonStr text, int32_t type, Err *err) {
    if (t->types[id] != TOKEN_ABSENT)
        return err_input(err, "tokens \"%.*s\" and \"%.64s\" both have id %ld; expected one id each",
                         (int)(t->texts[id].len < 64 ? t->texts[id].len : 64), t->texts[id].data, text.data, id);
    t->texts[id] = text;
    t->types[id] = type;
    if ((size_t)id >= t->n) t->n = (size_t)id + 1;
    return 0;
}

// Unigram's: [text, score], by their ids.
static int put_scored(Tokens *t, const Json *vocab, Err *err) {
    for (size_t i = 0; i < vocab->count; i++) {
        const Json *v = &vocab->items[i];
        if (v->type != JSON_ARRAY || v->count != 2 || v->items[0].type != JSON_STRING)
            return err_input(err, "vocab[%zu]: found %s; expected [text, score]", i, json_type_name(v));
        if (put_token(t, (int64_t)i, v->items[0].str, TOKEN_NORMAL, err)) return err_context(err, "vocab");
    }
    t->own = vocab->count;
    return 0;
}

static int put_vocab(Tokens *t, const Json *vocab, Err *err) {
    if (vocab->type == JSON_ARRAY) return put_scored(t, vocab, err);
    for (size_t i = 0; i < vocab->count; i++) {
        int64_t id;
        if (check_id(&vocab->items[i], vocab->keys[i], t->limit, &id, err) ||
            put_token(t, id, vocab->keys[i], TOKEN_NORMAL, err))
            return err_context(err, "vocab");
    }
    t->own = vocab->count;
    return 0;
}

// ---- added tokens ----

// The id of an added token that the vocabulary does not have yet.
static int64_t next_id(const Tokens *t) {
    return t->last_added >= (int64_t)t->own ? t->last_added + 1 : (int64_t)t->own;
}

// A token that is added again has the new flags; it stays special if it was.
static void add_entry(Tokens *t, const AddedEntry *e) {
    if (t->entry[e->id] < 0) t->entry[e->id] = (int32_t)t->n_added++;
    t->added[t->entry[e->id]] = *e;
    if (e->id > t->last_added) t->last_added = e->id;
    if (e->special)
        t->types[e->id] = TOKEN_CONTROL;
    else if (t->types[e->id] == TOKEN_NORMAL)
        t->types[e->id] = TOKEN_USER_DEFINED;
    t->changed = true;
}

// Of the file: new, or the token that the model has at this id already. Hugging Face tokenizers numbers the new ones
// itself, whatever the file says.
static int put_own_added(Tokens *t, const Json *v, Err *err) {
    AddedEntry e;
    if (added_entry_read(&e, v, false, err)) return -1;
    if (e.content.len == 0) return err_input(err, "content: found \"\"; expected text");
    if (check_id(json_get(v, "id"), e.content, t->limit, &e.id, err)) return -1;
    bool there = t->types[e.id] == TOKEN_NORMAL && json_str_equal(t->texts[e.id], e.content);
    if (!there && put_token(t, e.id, e.content, TOKEN_USER_DEFINED, err)) return -1;
    if (!there && e.id != next_id(t))
        return err_input(err,
                         "token \"%.64s\": found id %ld; expected %ld, which Hugging Face tokenizers gives it "
                         "after the tokens before it",
                         e.content.data, e.id, next_id(t));
    add_entry(t, &e);
    return 0;
}

static bool same_flags(const AddedEntry *a, const AddedEntry *b) {
    return a->special == b->special && a->normalized == b->normalized && a->single_word == b->single_word &&
           a->lstrip == b->lstrip && a->rstrip == b->rstrip;
}

// A token that another file names. `v` has the tokens so far, but for the new ones among t->texts[from, n).
static int put_named(Tokens *t, const Vocab *v, size_t from, const AddedEntry *named, Err *err) {
    AddedEntry e = *named;
    e.id = vocab_find(v, e.content.data, e.content.len);
    for (size_t id = from; id < t->n && e.id < 0; id++)
        if (json_str_equal(t->texts[id], e.content)) e.id = (int64_t)id;
    if (e.id >= 0 && t->entry[e.id] >= 0 && same_flags(&t->added[t->entry[e.id]], &e)) return 0;
    if (e.id < 0) {
        e.id = next_id(t);
        if ((size_t)e.id >= t->limit || (size_t)e.id < from)
            return err_input(err,
                             "%s: token \"%.64s\" would get id %ld, which another token has; expected ids "
                             "without holes below it",
                             named->file, e.content.data, e.id);
        if (put_token(t, e.id, e.content, TOKEN_USER_DEFINED, err)) return err_context(err, "%s", named->file);
    }
    add_entry(t, &e);
    return 0;
}

static int make_vocab(const Tokens *t, Vocab **v, Err *err) {
    VocabSource source = {t->texts, t->types, t->n, TOKEN_ABSENT};
    return vocab_new(v, &source, err);
}

static int put_all_named(Tokens *t, Vocab **v, const NamedTokens *named, Err *err) {
    size_t from = t->n;
    t->changed = false;
    for (size_t i = 0; i < named->n_added; i++)
        if (put_named(t, *v, from, &named->added[i], err)) return -1;
    if (!t->changed) return 0;
    vocab_free(*v);
    *v = NULL;
    return make_vocab(t, v, err);
}

static int put_tokens(JsonTokenizer *t, Tokens *tokens, const Json *vocab, const Json *added) {
    Vocab **v = &t->out->vocab;
    if (put_vocab(tokens, vocab, t->err)) return -1;
    for (size_t i = 0; added && i < added->count; i++)
        if (put_own_added(tokens, &added->items[i], t->err)) return err_context(t->err, "added_tokens[%zu]", i);
    return make_vocab(tokens, v, t->err) ? -1 : put_all_named(tokens, v, t->named, t->err);
}

// ---- how they are found in text ----

// Special tokens that the other files name count as control tokens here, also where the vocabulary has them as plain
// added ones.
static void promote_named(JsonTokenizer *t) {
    for (size_t i = 0; i < t->named->n_special; i++) {
        JsonStr text = t->named->special[i];
        int32_t id = vocab_find(t->out->vocab, text.data, text.len);
        if (id >= 0 && vocab_type(t->out->vocab, id) == TOKEN_USER_DEFINED) vocab_make_control(t->out->vocab, id);
    }
}

// An added token is searched in the text as it is, or, normalised itself, in the normalised text.
static int search_for(JsonTokenizer *t, const AddedEntry *e, NormalizeWork *work) {
    Tokenizer *p = t->out;
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
    a.text = (JsonStr){view.text, view.len};
    if (view.len == 0) return 0; // nothing is left of it to be found
    return added_tokens_add(e->normalized ? p->normalized : p->added, &a, t->err);
}

static int search_for_all(JsonTokenizer *t, const Tokens *tokens) {
    NormalizeWork work = {.limit = 64 << 10};
    int rc = 0;
    promote_named(t);
    for (size_t i = 0; i < tokens->n_added && !rc; i++) rc = search_for(t, &tokens->added[i], &work);
    normalize_work_clear(&work);
    return rc;
}

int tokenizer_json_vocab(JsonTokenizer *t, const Json *vocab, const Json *added) {
    size_t n_added = (added ? added->count : 0) + t->named->n_added, limit = vocab->count + n_added + MAX_HOLES;
    AUTO_FREE GgufStr *texts = mem_calloc(limit, sizeof *texts);
    AUTO_FREE int32_t *types = mem_alloc(limit, sizeof *types), *entry = mem_alloc(limit, sizeof *entry);
    AUTO_FREE AddedEntry *entries = mem_calloc(n_added + 1, sizeof *entries);
    Tokens tokens = {
        .texts = texts, .types = types, .entry = entry, .added = entries, .limit = limit, .last_added = -1};
    for (size_t i = 0; i < limit; i++) {
        types[i] = TOKEN_ABSENT;
        entry[i] = -1;
    }
    return put_tokens(t, &tokens, vocab, added) ? -1 : search_for_all(t, &tokens);
}
