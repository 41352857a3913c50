// tokenizer_encode: runs a text through the parts of its tokenizer and records where each token begins in the source.
#include <string.h>

#include "tokenizer_parts.h"

int token_ids_check(const TokenIds *ids, Err *err) { return ids->refused ? err_input(err, "%s", ids->refused) : 0; }

void token_ids_clear(TokenIds *ids) {
    mem_free(ids->ids);
    mem_free(ids->start);
    *ids = (TokenIds){0};
}

// One call of tokenizer_encode: the source, the work space and the output.
typedef struct EncodeCall {
    const Tokenizer *t;
    const char *text;
    bool continues; // the source continues another text
    AddedRule rule;
    size_t room; // bytes that the rest of the source may grow to
    NormalizeWork normal;
    Pieces pieces;
    TokenWork work;
    TokenIds *out;
} EncodeCall;

static void append_id(TokenIds *out, int32_t id, size_t start) {
    if (out->count == out->capacity) {
        out->capacity = mem_grown_capacity(out->capacity, out->count + 1);
        out->ids = mem_realloc(out->ids, out->capacity, sizeof *out->ids);
        out->start = mem_realloc(out->start, out->capacity, sizeof *out->start);
    }
    out->ids[out->count] = id;
    out->start[out->count++] = (uint32_t)start;
}

// Gives the text up: no more of it becomes tokens.
static void refuse(EncodeCall *e, const char *why) {
    if (!e->out->refused) e->out->refused = why;
}

// One pre-token. at: the place of its view in the source; map: where each of its bytes came from in that view.
static void add_word(EncodeCall *e, const char *word, size_t len, size_t at, const uint32_t *map) {
    e->t->model.kind->tokenize(e->t->model.data, &e->work, word, len);
    e->out->left_out += e->work.left_out;
    e->out->unknown += e->work.unknown;
    for (size_t i = 0; i < e->work.n_tokens; i++) {
        uint32_t begin = e->work.begin[i];
        append_id(e->out, e->work.ids[i], at + (map ? map[begin] : begin));
    }
}

// Part [from, end) of a normalised view, without added tokens.
static void add_normalized(EncodeCall *e, const TextView *view, size_t from, size_t end, size_t at) {
    if (from == end) return;
    TextView part = {view->text + from, end - from, view->origin ? view->origin + from : NULL};
    size_t base = view->origin ? at : at + from; // origins count from the view's own source
    TextPlace place = at + from > 0 ? TEXT_INSIDE : e->continues ? TEXT_CONTINUES : TEXT_BEGINS;
    e->pieces.limit = e->room;
    pretokenizer_run(e->t->pre, &e->pieces, &part, place);
    if (e->pieces.refused) {
        refuse(e, e->pieces.refused);
        return;
    }
    const TextView *v = &e->pieces.view;
    e->room -= v->len;
    for (size_t i = 0; i < e->pieces.count; i++) {
        Piece w = e->pieces.items[i];
        if (v->origin)
            add_word(e, v->text + w.begin, w.end - w.begin, base, v->origin + w.begin);
        else
            add_word(e, v->text + w.begin, w.end - w.begin, base + w.begin, NULL);
    }
}

// Valid UTF-8 without added tokens, at `at` in the source.
static void add_valid_utf8(EncodeCall *e, size_t at, size_t end) {
    TextView view = {e->text + at, end - at, NULL};
    e->normal.limit = e->room;
    normalizer_run(e->t->normalizer, &e->normal, &view, e->continues && at == 0);
    if (e->normal.refused) {
        refuse(e, e->normal.refused);
        return;
    }
    AddedRule rule = e->rule;
    if (rule.origin) rule.origin += at;
    AddedMatch m;
    size_t from = 0;
    while (e->t->normalized && !e->out->refused && added_tokens_find(e->t->normalized, &view, from, &rule, &m)) {
        add_normalized(e, &view, from, m.begin, at);
        append_id(e->out, m.id, at + (view.origin ? view.origin[m.begin] : m.begin));
        from = m.end;
    }
    if (!e->out->refused) add_normalized(e, &view, from, view.len, at);
}

// Any bytes without added tokens.
static void add_between_tokens(EncodeCall *e, size_t from, size_t end) {
    while (from < end && !e->out->refused) {
        size_t valid = utf8_valid_prefix(e->text + from, end - from);
        if (valid) add_valid_utf8(e, from, from + valid);
        from += valid;
        if (from < end) add_word(e, e->text + from, 1, from, NULL);
        from++;
    }
}

static void encode(const Tokenizer *t, const char *text, size_t len, const AddedRule *rule, bool continues,
                   TokenIds *out) {
    CHECK(len < UINT32_MAX, "text of %zu bytes", len);
    EncodeCall e = {.t = t, .text = text, .continues = continues, .rule = *rule, .out = out};
    e.room = 64 * len + (64 << 10);
    TextView source = {text, len, NULL};
    AddedMatch m;
    size_t from = 0;
    while (!out->refused && added_tokens_find(t->added, &source, from, rule, &m)) {
        add_between_tokens(&e, from, m.begin);
        append_id(out, m.id, m.begin);
        from = m.end;
    }
    add_between_tokens(&e, from, len);
    normalize_work_clear(&e.normal);
    pieces_clear(&e.pieces);
    token_work_clear(&e.work);
}

void tokenizer_encode(const Tokenizer *t, const char *text, size_t len, const uint32_t *origin, bool parse_special,
                      TokenIds *out) {
    encode(t, text, len, &(AddedRule){parse_special, origin}, false, out);
}

void tokenizer_encode_rest(const Tokenizer *t, const char *text, size_t len, const uint32_t *origin, bool parse_special,
                           TokenIds *out) {
    encode(t, text, len, &(AddedRule){parse_special, origin}, true, out);
}

static bool spells(const AddedTokens *tokens, const Tokenizer *t, const TextView *text, const uint32_t *origin) {
    const AddedRule any = {true, NULL};
    AddedMatch m;
    for (size_t from = 0; tokens && added_tokens_find(tokens, text, from, &any, &m); from = m.end) {
        bool of_data = !origin;
        for (size_t i = m.begin; origin && i < m.end; i++) of_data |= origin[i] != 0;
        if (of_data && tokenizer_is_control(t, m.id)) return true;
    }
    return false;
}

bool tokenizer_spells_control(const Tokenizer *t, const char *text, size_t len, const uint32_t *origin) {
    TextView view = {text, len, NULL};
    return spells(t->added, t, &view, origin) || spells(t->normalized, t, &view, origin);
}

void tokenizer_encode_framed(const Tokenizer *t, const char *text, size_t len, bool parse_special, TokenIds *out) {
    tokenizer_encode_pair(t, &(TokenizerPair){.a = text, .a_len = len, .parse_special = parse_special}, out, NULL);
}

void tokenizer_encode_pair(const Tokenizer *t, const TokenizerPair *pair, TokenIds *out, size_t *second) {
    const PostProcessor *post = &t->post;
    const PostItem *items = pair->b ? post->pair : post->single;
    int n = pair->b ? post->n_pair : post->n_single;
    size_t where = SIZE_MAX, start = 0; // start of a special token: where the text before it ends
    for (int i = 0; i < n; i++) {
        if (items[i].type == 1 && where == SIZE_MAX) {
            where = out->count;
            start = 0;
        }
        if (items[i].kind == POST_TOKEN) {
            append_id(out, items[i].id, start);
            continue;
        }
        bool is_a = items[i].kind == POST_TEXT_A;
        size_t len = is_a ? pair->a_len : pair->b_len;
        tokenizer_encode(t, is_a ? pair->a : pair->b, len, NULL, pair->parse_special, out);
        start = len;
    }
    if (second) *second = where == SIZE_MAX ? out->count : where;
}
