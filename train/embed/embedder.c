#include "embedder.h"

#include <math.h>
#include <string.h>

#include "record_tokenizer.h"

typedef struct Waiting {
    char *text;
    RecordTokens tokens;
} Waiting;

struct Embedder {
    EmbedderOptions o;
    RecordTokenizer tokenizer;
    TextVectors *vectors;
    TakeVector *take;
    void *user;
    Waiting *waiting; // [o.batch]
    int64_t n, tokens, cut, all_tokens;
    float *out; // [o.batch, hidden]
};

Embedder *embedder_new(const EmbedderOptions *o, TakeVector *take, void *user) {
    Embedder *e = mem_calloc(1, sizeof *e);
    CHECK(o->batch > 0 && o->limit > 0);
    *e = (Embedder){.o = *o, .take = take, .user = user};
    e->tokenizer = (RecordTokenizer){.tokenizer = o->model->tokenizer, .shorten_to = o->limit};
    e->tokenizer.parse_special = o->parse_special ? PARSE_SPECIAL_ON : PARSE_SPECIAL_AUTO;
    e->vectors = text_vectors_new(o->model, o->adapter, o->pooling);
    e->waiting = mem_calloc((size_t)o->batch, sizeof *e->waiting);
    e->out = mem_alloc((size_t)(o->batch * o->model->config.hidden), sizeof *e->out);
    return e;
}

static void forget(Embedder *e) {
    for (int64_t i = 0; i < e->n; i++) {
        mem_free(e->waiting[i].text);
        record_tokens_clear(&e->waiting[i].tokens);
    }
    e->n = e->tokens = 0;
}

void embedder_free(Embedder *e) {
    if (!e) return;
    forget(e);
    text_vectors_free(e->vectors);
    mem_free(e->waiting);
    mem_free(e->out);
    mem_free(e);
}

int64_t embedder_length(const Embedder *e) { return e->o.dims ? e->o.dims : e->o.model->config.hidden; }

int64_t embedder_cut(const Embedder *e) { return e->cut; }

int64_t embedder_tokens(const Embedder *e) { return e->all_tokens; }

static int give(Embedder *e, const char *text, float *vector, Err *err) {
    int64_t n = embedder_length(e);
    double squares = 0;
    for (int64_t c = 0; c < n; c++) squares += (double)vector[c] * (double)vector[c];
    if (!isfinite(squares)) return err_runtime(err, "found a vector that is not finite, of the text \"%.64s\"", text);
    double factor = e->o.normalize && squares > 0 ? 1 / sqrt(squares) : 1;
    for (int64_t c = 0; c < n; c++) vector[c] = (float)((double)vector[c] * factor);
    return e->take(e->user, text, vector, n, err);
}

int embedder_finish(Embedder *e, Err *err) {
    AUTO_FREE TextTokens *texts = mem_alloc((size_t)e->n + 1, sizeof *texts);
    int64_t hidden = e->o.model->config.hidden;
    for (int64_t i = 0; i < e->n; i++)
        texts[i] = (TextTokens){e->waiting[i].tokens.ids, (int64_t)e->waiting[i].tokens.count};
    int rc = e->n ? text_vectors_run(e->vectors, texts, e->n, e->out, err) : 0;
    for (int64_t i = 0; i < e->n && !rc; i++) rc = give(e, e->waiting[i].text, e->out + i * hidden, err);
    forget(e);
    return rc;
}

static int tokenize(RecordTokens *t, const Embedder *e, const char *text, size_t len, Err *err) {
    AUTO_STR StrBuf whole = {0};
    if (e->o.prompt) str_puts(&whole, e->o.prompt);
    str_add(&whole, text, len);
    ClassifiedText one = {.first = {whole.data, whole.len}};
    if (classify_tokenize(t, &e->tokenizer, &one, err)) return -1;
    return t->count
               ? 0
               : err_input(err, "found a text without tokens, or a max_seq_length without room for one; expected one");
}

int embedder_add(Embedder *e, const char *text, size_t len, Err *err) {
    RecordTokens t = {0};
    if (tokenize(&t, e, text, len, err)) {
        record_tokens_clear(&t);
        return -1;
    }
    if (e->n && e->tokens + (int64_t)t.count > EMBEDDER_TOKENS && embedder_finish(e, err)) {
        record_tokens_clear(&t);
        return -1;
    }
    e->cut += t.cut != 0;
    e->tokens += (int64_t)t.count;
    e->all_tokens += (int64_t)t.count;
    e->waiting[e->n++] = (Waiting){mem_strndup(text, len), t};
    return e->n == e->o.batch ? embedder_finish(e, err) : 0;
}
