// pretokenize: see pretokenize.h. The table of expressions, and the walk with PCRE2.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "pretokenize.h"

#include <pcre2.h>
#include <string.h>

// Members of a character class, as PCRE2 text. SPACE: White_Space. Letters and numbers: PCRE2's own tables plus what
// Unicode 15 to 16 added (the tables of the Oniguruma in Hugging Face tokenizers 0.23); harmless where PCRE2 is newer.
#define SPACE "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NEW_LETTERS                                                                                                    \
    "\\x{1c89}\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}\\x{10d4a}-\\x{10d65}"               \
    "\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}\\x{11240}\\x{11380}-\\x{11389}\\x{1138b}"                    \
    "\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}\\x{113d3}\\x{11bc0}-\\x{11be0}\\x{11f02}"                     \
    "\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}"                   \
    "\\x{16100}-\\x{1611d}\\x{16d40}-\\x{16d6c}\\x{18cff}\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}"                    \
    "\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}"                              \
    "\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"
#define NEW_NUMBERS                                                                                                    \
    "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}"                             \
    "\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}"                             \
    "\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}"
// Unicode 17: the digit split of Hugging Face tokenizers asks Rust's char::is_numeric, not Oniguruma.
#define NEWEST_NUMBERS "\\x{11de0}-\\x{11de9}\\x{16ff4}-\\x{16ff6}"
#define LETTER "\\p{L}" NEW_LETTERS
#define NUMBER "\\p{N}" NEW_NUMBERS
#define DIGIT NUMBER NEWEST_NUMBERS

// White space before a word leaves its last character to the word; at the end of the text it stays together.
#define SPACES "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define GPT2_SUFFIXES "'s|'t|'re|'ve|'m|'ll|'d"

// GPT-2, encoder.py.
#define GPT2 GPT2_SUFFIXES "| ?[" LETTER "]+| ?[" NUMBER "]+| ?[^" SPACE LETTER NUMBER "]+|" SPACES

// SmolLM: the text is first cut before and after every number character, then GPT-2's expression runs on each piece.
// As one expression: numbers stand alone, and white space before a number is at the end of its piece.
#define SMOLLM                                                                                                         \
    "[" DIGIT "]|" GPT2_SUFFIXES "| ?[" LETTER "]+| ?[^" SPACE LETTER DIGIT "]+|"                                      \
    "[" SPACE "]+(?![^" SPACE DIGIT "])|[" SPACE "]+"

// Llama 3 (digits in groups of up to three) and Qwen 2 (single digits).
#define LLAMA3_WITH(numbers)                                                                                           \
    "(?i:" GPT2_SUFFIXES ")|[^\\r\\n" LETTER NUMBER "]?[" LETTER "]+|" numbers "| ?[^" SPACE LETTER NUMBER             \
    "]+[\\r\\n]*|[" SPACE "]*[\\r\\n]+|" SPACES

typedef struct Rule {
    const char *name, *aliases; // aliases: words separated by spaces
    const char *pattern;
    bool nfc, whole_words, adds_bos;
} Rule;

// Names and aliases as llama.cpp's converter writes them, as far as the tokenizers behind them are the same.
static const Rule RULES[] = {
    {.name = "gpt-2", .aliases = "", .pattern = GPT2},
    {.name = "llama-bpe",
     .aliases = "llama3 llama-v3",
     .pattern = LLAMA3_WITH("[" NUMBER "]{1,3}"),
     .whole_words = true,
     .adds_bos = true},
    {.name = "qwen2", .aliases = "deepseek-r1-qwen", .pattern = LLAMA3_WITH("[" NUMBER "]"), .nfc = true},
    {.name = "smollm", .aliases = "", .pattern = SMOLLM},
};
enum { N_RULES = sizeof RULES / sizeof RULES[0] };

struct Pretokenizer {
    const Rule *rule;
    pcre2_code *code;
};

struct Splitter {
    const Pretokenizer *p;
    pcre2_match_data *data;
    pcre2_match_context *context;
    const char *text;
    size_t len, at;
};

static bool has_word(const char *words, const char *word, size_t len) {
    while (*words) {
        size_t n = strcspn(words, " ");
        if (n == len && memcmp(words, word, len) == 0) return true;
        words += n + (words[n] == ' ');
    }
    return false;
}

static const Rule *find_rule(const char *name, size_t len) {
    for (int i = 0; i < N_RULES; i++)
        if (has_word(RULES[i].name, name, len) || has_word(RULES[i].aliases, name, len)) return &RULES[i];
    return NULL;
}

static int unknown_rule(const char *name, size_t len, Err *err) {
    StrBuf known = {0};
    for (int i = 0; i < N_RULES; i++)
        str_printf(&known, "%s%s%s%s", i ? ", " : "", RULES[i].name, *RULES[i].aliases ? " " : "", RULES[i].aliases);
    int shown = len < 64 ? (int)len : 64;
    err_input(err, "tokenizer.ggml.pre: pre-tokenizer \"%.*s\" is not known; expected one of %s", shown, name,
              known.data);
    str_clear(&known);
    return -1;
}

int pretokenizer_new(Pretokenizer **p, const char *name, size_t name_len, Err *err) {
    const Rule *rule = find_rule(name, name_len);
    if (!rule) return unknown_rule(name, name_len, err);
    int code = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)rule->pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &offset, NULL);
    CHECK(re, "pattern of %s: PCRE2 error %d at %zu", rule->name, code, (size_t)offset);
    pcre2_jit_compile(re, PCRE2_JIT_COMPLETE); // where there is no JIT, pcre2_match interprets: slower, same result
    *p = mem_calloc(1, sizeof **p);
    **p = (Pretokenizer){.rule = rule, .code = re};
    return 0;
}

void pretokenizer_free(Pretokenizer *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    mem_free(p);
}

const char *pretokenizer_name(const Pretokenizer *p) {
    return p->rule->name;
}

const char *pretokenizer_pattern(const Pretokenizer *p) {
    return p->rule->pattern;
}

bool pretokenizer_nfc(const Pretokenizer *p) {
    return p->rule->nfc;
}

bool pretokenizer_whole_words(const Pretokenizer *p) {
    return p->rule->whole_words;
}

bool pretokenizer_adds_bos(const Pretokenizer *p) {
    return p->rule->adds_bos;
}

Splitter *splitter_new(const Pretokenizer *p) {
    Splitter *s = mem_calloc(1, sizeof *s);
    s->p = p;
    s->data = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    CHECK(s->data && s->context, "out of memory");
    return s;
}

void splitter_free(Splitter *s) {
    if (!s) return;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->context);
    mem_free(s);
}

// The expressions above backtrack at most once over each character (over white space without a line end behind it), so
// a limit that grows with the text is never reached by them and still ends a match that went wrong.
void splitter_text(Splitter *s, const char *text, size_t len) {
    enum { LEAST_MATCH_LIMIT = 1 << 20 };
    s->text = text;
    s->len = len;
    s->at = 0;
    size_t limit = LEAST_MATCH_LIMIT + 4 * len;
    pcre2_set_match_limit(s->context, limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX);
    pcre2_set_depth_limit(s->context, LEAST_MATCH_LIMIT);
}

bool splitter_next(Splitter *s, size_t *begin, size_t *end) {
    if (s->at == s->len) return false;
    *begin = s->at;
    int n = pcre2_match(s->p->code, (PCRE2_SPTR)s->text, s->len, s->at, PCRE2_NO_UTF_CHECK, s->data, s->context);
    CHECK(n > 0, "%s: PCRE2 error %d at byte %zu of %zu", s->p->rule->name, n, s->at, s->len);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(s->data);
    CHECK(span[0] == s->at && span[1] > s->at, "%s: a gap at byte %zu of %zu", s->p->rule->name, s->at, s->len);
    *end = s->at = span[1];
    return true;
}
