// tokenizer_json_model: the model of tokenizer.json; its vocabulary is read in tokenizer_json_vocab.c.
#include <math.h>
#include <string.h>

#include "bpe.h"
#include "tokenizer_hf_internal.h"
#include "unigram.h"
#include "wordpiece.h"

// ---- BPE ----

static int bad_merge(size_t i, const Json *m, Err *err) {
    return err_input(err, "merges[%zu]: found %s; expected \"left right\" or [\"left\", \"right\"]", i,
                     m->type == JSON_STRING ? m->str.data : json_type_name(m));
}

static int read_merge(BpePair *out, const Json *m, size_t i, Err *err) {
    if (m->type == JSON_STRING) return bpe_pair_split(out, m->str) ? 0 : bad_merge(i, m, err);
    if (m->type != JSON_ARRAY || m->count != 2) return bad_merge(i, m, err);
    const Json *left = &m->items[0], *right = &m->items[1];
    if (left->type != JSON_STRING || right->type != JSON_STRING || !left->str.len || !right->str.len)
        return bad_merge(i, m, err);
    *out = (BpePair){left->str, right->str};
    return 0;
}

// The id of the model's own unknown token, -1 when it has none.
static int read_unknown(JsonTokenizer *t, const Json *model, int32_t *id) {
    const Json *unk = json_given(model, "unk_token");
    *id = -1;
    if (!unk) return 0;
    if (unk->type != JSON_STRING) return err_input(t->err, "unk_token: found %s; expected text", json_type_name(unk));
    *id = vocab_find(t->out->vocab, unk->str.data, unk->str.len);
    if (*id < 0) return err_input(t->err, "unk_token: \"%.64s\" is not in the vocabulary", unk->str.data);
    return 0;
}

static int refuse_affixes(const Json *model, Err *err) {
    const char *keys[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        const Json *v = json_given(model, keys[i]);
        if (v && !json_is_string(v, "")) return err_input(err, "%s is not supported; expected null", keys[i]);
    }
    const Json *dropout = json_given(model, "dropout");
    if (dropout && dropout->number != 0) return err_input(err, "dropout is not supported; expected null");
    return 0;
}

static int read_bpe(JsonTokenizer *t, const JsonReader *r) {
    const Json *merges = component_list(r, "merges");
    BpeSource bpe = {.vocab = t->out->vocab, .chars = !t->byte_level, .skip_control = true};
    if (!merges || refuse_affixes(r->object, t->err) || read_unknown(t, r->object, &bpe.unk) ||
        json_read_flag(r, "fuse_unk", false, &bpe.fuse_unk) ||
        json_read_flag(r, "byte_fallback", false, &bpe.byte_fallback) ||
        json_read_flag(r, "ignore_merges", false, &bpe.whole_words))
        return -1;
    AUTO_FREE BpePair *pairs = mem_alloc(merges->count + 1, sizeof *pairs);
    for (size_t i = 0; i < merges->count; i++)
        if (read_merge(&pairs[i], &merges->items[i], i, t->err)) return -1;
    bpe.merges = pairs;
    bpe.n_merges = merges->count;
    t->out->kind = mem_strdup(t->byte_level ? "hf/BPE of bytes" : "hf/BPE of characters");
    return bpe_new(&t->out->model, &bpe, t->err);
}

// ---- WordPiece ----

static int read_wordpiece(JsonTokenizer *t, const JsonReader *r) {
    WordPieceSource w = {.vocab = t->out->vocab};
    JsonStr prefix;
    if (t->byte_level) return err_input(t->err, "follows pre_tokenizer ByteLevel; expected another pre_tokenizer");
    if (read_unknown(t, r->object, &w.unknown) || json_read_text(r, "continuing_subword_prefix", &prefix) ||
        json_read_int(r, &(JsonIntRule){"max_input_chars_per_word", NULL, 100, JSON_AS_ABSENT, 0, INT32_MAX},
                      &w.max_chars))
        return -1;
    if (w.unknown < 0) return err_input(t->err, "unk_token: found null; expected a token");
    if (strlen(prefix.data) != prefix.len) return err_input(t->err, "continuing_subword_prefix has a NUL byte");
    w.prefix = prefix.data;
    t->out->kind = mem_strdup("hf/WordPiece");
    return wordpiece_new(&t->out->model, &w, t->err);
}

// ---- Unigram: its vocabulary is a list of [text, score] ----

static int read_scores(double *scores, const JsonTokenizer *t, const Json *vocab) {
    for (size_t id = 0; id < vocab->count; id++) {
        const Json *score = &vocab->items[id].items[1];
        if (!json_is_number(score) || !isfinite(score->number))
            return err_input(t->err, "vocab[%zu]: found %s; expected a finite score", id, json_type_name(score));
        scores[id] = score->number;
    }
    return 0;
}

static int read_unigram(JsonTokenizer *t, const JsonReader *r) {
    const Json *vocab = json_get(r->object, "vocab");
    UnigramSource u = {.vocab = t->out->vocab};
    int64_t unknown;
    if (t->byte_level) return err_input(t->err, "follows pre_tokenizer ByteLevel; expected another pre_tokenizer");
    if (json_read_int(r, &(JsonIntRule){"unk_id", NULL, JSON_REQUIRED, JSON_NOT_NULL, 0, (int64_t)vocab->count - 1},
                      &unknown) ||
        json_read_flag(r, "byte_fallback", false, &u.byte_fallback))
        return -1;
    u.unknown = (int32_t)unknown;
    u.scores = mem_calloc((size_t)vocab_size(u.vocab), sizeof *u.scores); // those of added tokens stay 0
    if (read_scores(u.scores, t, vocab)) {
        mem_free(u.scores);
        return -1;
    }
    t->out->kind = mem_strdup("hf/Unigram");
    return unigram_new(&t->out->model, &u, t->err);
}

// ---- the model ----

static const char BPE_KEYS[] = "vocab merges unk_token continuing_subword_prefix end_of_word_suffix fuse_unk "
                               "byte_fallback ignore_merges dropout";
static const char WORDPIECE_KEYS[] = "vocab unk_token continuing_subword_prefix max_input_chars_per_word";

static const char UNIGRAM_KEYS[] = "vocab unk_id byte_fallback";

typedef struct ModelType {
    const char *name, *keys;
    JsonType vocab;
    int (*read)(JsonTokenizer *t, const JsonReader *r);
} ModelType;
static const ModelType TYPES[] = {{"BPE", BPE_KEYS, JSON_OBJECT, read_bpe},
                                  {"WordPiece", WORDPIECE_KEYS, JSON_OBJECT, read_wordpiece},
                                  {"Unigram", UNIGRAM_KEYS, JSON_ARRAY, read_unigram}};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

// Old files do not name the type.
static const char *model_type(const Json *model) {
    const Json *type = json_get(model, "type");
    if (type && type->type == JSON_STRING) return type->str.data;
    if (json_get(model, "max_input_chars_per_word")) return "WordPiece";
    if (json_get(model, "unk_id")) return "Unigram";
    return json_get(model, "merges") ? "BPE" : "without a type";
}

int tokenizer_json_model(JsonTokenizer *t, const Json *model, const Json *added) {
    if (model->type != JSON_OBJECT)
        return err_input(t->err, "model: found %s; expected an object", json_type_name(model));
    const char *type = model_type(model);
    const ModelType *kind = TYPES;
    while (kind < TYPES + N_TYPES && strcmp(kind->name, type) != 0) kind++;
    if (kind == TYPES + N_TYPES)
        return err_input(t->err, "model \"%.64s\" is not supported; known are BPE, Unigram and WordPiece", type);
    if (added && added->type != JSON_ARRAY)
        return err_input(t->err, "added_tokens: found %s; expected an array", json_type_name(added));
    const Json *vocab = json_get(model, "vocab");
    const JsonReader r = {model, NULL, "", t->err};
    int rc = component_keys(&r, kind->keys);
    if (!rc && (!vocab || vocab->type != kind->vocab))
        rc = json_refuse(&r, "vocab", vocab, kind->vocab == JSON_OBJECT ? "an object" : "an array");
    if (!rc) rc = tokenizer_json_vocab(t, vocab, added);
    if (!rc) rc = kind->read(t, &r);
    return rc ? err_context(t->err, "model %.64s", type) : 0;
}
