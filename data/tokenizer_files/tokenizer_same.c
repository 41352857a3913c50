#include "tokenizer_same.h"

#include <string.h>

// White space of all kinds, numbers, scripts, marks, emoji, contractions, punctuation, code.
static const char *const TEXTS[] = {
    "The harbour was quiet when the first boats came in.",
    "a  b   c    d\t\te\n\nf \n \n\n\n g \r\n",
    "1 22 333 4444 55555 3.14 1,000,000 0x7F 2nd 10:30",
    "I've told you're it's we'll DON'T can't I'd 'quoted' ''twice''",
    "camelCase HTTPServer snake_case __init__ x=y+1; // note\n    if (a[i] != b->c) { return \"text\"; }",
    "\303\234ber na\xC3\xAFve caf\xC3\xA9 e\xCC\x81 \xC5\x81\xC3\xB3\xC4\x91\xC5\xBA",
    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 \xCE\xB1\xCE\xB2\xCE\xB3 \xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D",
    "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C \xE3\x81\x93\xE3\x82\x93 \xED\x95\x9C\xEA\xB8\x80",
    "\xF0\x9F\x9A\x80 \xF0\x9F\x98\xB6\xE2\x80\x8D\xF0\x9F\x8C\xAB\xEF\xB8\x8F \xE2\x9C\x85 \xF0\x9F\xA6\x99",
    "------======= ......!!!!!!??????,,,, ```` (((a))) <b> [c] {d} #e @f $g %h ^i &j *k ~l",
};

static bool same_ids(const TokenIds *a, const TokenIds *b) {
    return !a->refused && !b->refused && a->count == b->count &&
           (a->count == 0 || memcmp(a->ids, b->ids, a->count * sizeof *a->ids) == 0);
}

typedef struct Pair {
    const Tokenizer *a, *b;
    TokenIds of_a, of_b;
} Pair;

static void clear(Pair *p) {
    token_ids_clear(&p->of_a);
    token_ids_clear(&p->of_b);
}

static bool agree(Pair *p, const char *text, size_t len, bool special) {
    p->of_a.count = p->of_b.count = 0;
    tokenizer_encode(p->a, text, len, NULL, special, &p->of_a);
    tokenizer_encode(p->b, text, len, NULL, special, &p->of_b);
    return same_ids(&p->of_a, &p->of_b);
}

typedef struct Count {
    int32_t n, first;
} Count;

static void count(Count *c, int32_t id) {
    if (c->n++ == 0) c->first = id;
}

static void try_token(Pair *p, int32_t id, StrBuf *text, Count *plain, Count *cut) {
    size_t len;
    const char *piece = tokenizer_piece(p->a, id, &len);
    if (!len) return;
    int type = vocab_type(p->a->vocab, id);
    bool is_cut = type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED;
    str_clear(text);
    str_puts(text, is_cut ? "one " : "-"); // a space at the beginning is tried by itself
    str_add(text, piece, len);
    if (is_cut) {
        str_puts(text, " two");
        str_add(text, piece, len);
        str_puts(text, "three");
    }
    if (!agree(p, text->data, text->len, true)) count(is_cut ? cut : plain, id);
}

static void warn(const Pair *p, const Count *c, const char *what) {
    if (!c->n) return;
    size_t len;
    const char *piece = tokenizer_piece(p->a, c->first, &len);
    log_warn("%s of %d token%s, such as \"%.*s\", becomes other tokens in engines that read GGUF", what, c->n,
             plural(c->n), (int)(len < 64 ? len : 64), piece);
}

int tokenizer_check_same(const Tokenizer *a, const Tokenizer *b, Err *err) {
    AUTO_CALL(clear) Pair p = {.a = a, .b = b};
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++)
        if (!agree(&p, TEXTS[i], strlen(TEXTS[i]), false))
            return err_input(err,
                             "GGUF cannot hold this tokenizer: \"%s\" has %zu token%s and as GGUF %zu, or other ones",
                             TEXTS[i], p.of_a.count, plural((int64_t)p.of_a.count), p.of_b.count);
    if (!agree(&p, " a", 2, false))
        log_warn("a text that begins with a space becomes other tokens in engines that read GGUF");
    AUTO_STR StrBuf text = {0};
    Count plain = {0}, cut = {0};
    for (int32_t id = 0; id < a->vocab_size && id < b->vocab_size; id++) try_token(&p, id, &text, &plain, &cut);
    warn(&p, &plain, "the text");
    warn(&p, &cut, "text around control or added tokens,");
    return 0;
}
