// jinja_lex: template text to tokens, with jinja2's white space rules for trim_blocks and lstrip_blocks.
//
// The rules, from jinja2's lexer:
//  - line ends become \n; one line end at the end of the template is dropped;
//  - {%- {{- {#- strip all white space before the tag, -%} -}} -#} all behind it;
//  - lstrip_blocks: white space between the start of a line and {% or {# is dropped, unless {%+ {#+;
//  - trim_blocks: one line end behind %} or #} is dropped, unless +%} +#};
//  - inside brackets, %} and }} are not ends of tags.
#include "jinja_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct Lexer {
    JinjaTemplate *t;
    const char *src;
    size_t len, at;
    size_t line_at; // line counts up to here
    int line;
    bool line_starting; // the last thing read ended with a line end
    Token *tokens;
    size_t count, capacity;
    char brackets[JINJA_MAX_NESTING];
    int n_brackets;
    Err *err;
} Lexer;

static int line_of(Lexer *lx, size_t at) {
    for (; lx->line_at < at; lx->line_at++) lx->line += lx->src[lx->line_at] == '\n';
    return lx->line;
}

static int lex_fail(Lexer *lx, const char *what) {
    return err_input(lx->err, "%s line %d: %s", lx->t->name, line_of(lx, lx->at), what);
}

static Token *push(Lexer *lx, TokenType type) {
    MEM_GROW(lx->tokens, lx->capacity, lx->count + 1);
    Token *tok = &lx->tokens[lx->count++];
    *tok = (Token){.type = type, .line = line_of(lx, lx->at)};
    return tok;
}

static bool looking_at(const Lexer *lx, size_t at, const char *text) {
    size_t n = strlen(text);
    return at <= lx->len && lx->len - at >= n && memcmp(lx->src + at, text, n) == 0;
}

static size_t skip_space(const Lexer *lx, size_t at) {
    while (at < lx->len) {
        int32_t cp;
        size_t n = utf8_next(lx->src, lx->len, at, &cp);
        if (!char_is_space(cp)) break;
        at += n;
    }
    return at;
}

// End of [from, to) without white space at its end.
static size_t rstrip(const Lexer *lx, size_t from, size_t to) {
    while (to > from) {
        size_t start = to - 1;
        while (start > from && (lx->src[start] & 0xC0) == 0x80) start--;
        int32_t cp;
        utf8_next(lx->src, lx->len, start, &cp);
        if (!char_is_space(cp)) break;
        to = start;
    }
    return to;
}

// Emits the text [from, to) in front of a tag, stripped as the tag's sign and lstrip_blocks ask.
static void push_text(Lexer *lx, size_t from, size_t to, char sign, bool is_print) {
    if (sign == '-') {
        to = rstrip(lx, from, to);
    } else if (sign != '+' && !is_print) {
        size_t line_start = to;
        while (line_start > from && lx->src[line_start - 1] != '\n') line_start--;
        bool at_line_start = line_start > from || lx->line_starting;
        if (at_line_start && rstrip(lx, line_start, to) == line_start) to = line_start;
    }
    if (to == from) return;
    lx->at = from;
    push(lx, T_TEXT)->str = str_in_arena(&lx->t->arena, lx->src + from, to - from, 0);
}

// At the end mark of a tag (`mark` is "%}", "}}" or "#}")? Returns the position behind it and what it strips, else 0.
static size_t tag_end(const Lexer *lx, size_t at, const char *mark) {
    bool is_print = mark[0] == '}';
    if (looking_at(lx, at, "-") && looking_at(lx, at + 1, mark)) return skip_space(lx, at + 3);
    if (!is_print && looking_at(lx, at, "+") && looking_at(lx, at + 1, mark)) return at + 3;
    if (!looking_at(lx, at, mark)) return 0;
    at += 2;
    return !is_print && looking_at(lx, at, "\n") ? at + 1 : at;
}

static void finish_at(Lexer *lx, size_t at) {
    lx->line_starting = at > 0 && lx->src[at - 1] == '\n';
    lx->at = at;
}

static char sign_at(const Lexer *lx, size_t at) {
    return looking_at(lx, at, "-") || looking_at(lx, at, "+") ? lx->src[at] : 0;
}

static int lex_comment(Lexer *lx, size_t at) {
    for (; at < lx->len; at++) {
        size_t end = tag_end(lx, at, "#}");
        if (end) return finish_at(lx, end), 0;
    }
    return lex_fail(lx, "comment is not closed");
}

// Is `{%` at this place the begin of {% raw %}? Returns the position behind it, else 0.
static size_t raw_begin(const Lexer *lx, size_t at) {
    at += 2;
    at = skip_space(lx, at + (sign_at(lx, at) != 0));
    if (!looking_at(lx, at, "raw")) return 0;
    at = skip_space(lx, at + 3);
    if (looking_at(lx, at, "-%}")) return skip_space(lx, at + 3);
    return looking_at(lx, at, "%}") ? at + 2 : 0;
}

static int lex_raw(Lexer *lx, size_t from) {
    finish_at(lx, from);
    for (size_t at = from; at < lx->len; at++) {
        if (!looking_at(lx, at, "{%")) continue;
        char sign = sign_at(lx, at + 2);
        size_t name = skip_space(lx, at + 2 + (sign != 0));
        if (!looking_at(lx, name, "endraw")) continue;
        size_t end = tag_end(lx, skip_space(lx, name + 6), "%}");
        if (!end) continue;
        push_text(lx, from, at, sign, false);
        return finish_at(lx, end), 0;
    }
    return lex_fail(lx, "{% raw %} is not closed");
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// One escape of a string literal at s[*at] (behind the backslash), as Python's unicode-escape reads it.
static int unescape(Lexer *lx, const char *s, size_t len, size_t *at, char *out, size_t *n) {
    static const char plain[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    char c = s[(*at)++];
    if (c == '\n') return 0;
    for (size_t i = 0; i + 1 < sizeof plain; i += 2) {
        if (plain[i] == c) return out[(*n)++] = plain[i + 1], 0;
    }
    int32_t cp = 0;
    if (c >= '0' && c <= '7') {
        cp = c - '0';
        for (int i = 0; i < 2 && *at < len && s[*at] >= '0' && s[*at] <= '7'; i++) cp = cp * 8 + s[(*at)++] - '0';
    } else if (c == 'x' || c == 'u' || c == 'U') {
        int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        for (int i = 0; i < digits; i++) {
            int h = *at < len ? hex_value(s[*at]) : -1;
            if (h < 0 || cp > 0x10FFFF) return lex_fail(lx, "malformed \\x, \\u or \\U escape in a string");
            cp = cp * 16 + h;
            (*at)++;
        }
    } else if (c == 'N' || (unsigned char)c >= 0x80) {
        return lex_fail(lx, "unsupported escape in a string");
    } else { // unknown escapes stay as they are
        out[(*n)++] = '\\';
        out[(*n)++] = c;
        return 0;
    }
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) return lex_fail(lx, "escape is not a Unicode character");
    *n += utf8_put(out + *n, cp);
    return 0;
}

static int lex_string(Lexer *lx) {
    char quote = lx->src[lx->at];
    size_t from = lx->at + 1, to = from;
    while (to < lx->len && lx->src[to] != quote) to += lx->src[to] == '\\' ? 2 : 1;
    if (to >= lx->len) return lex_fail(lx, "string is not closed");
    char *text = arena_alloc(&lx->t->arena, to - from + 1); // an escape is never shorter than what it stands for
    size_t n = 0;
    for (size_t at = from; at < to;) {
        char c = lx->src[at++];
        if (c != '\\') {
            text[n++] = c;
        } else if (unescape(lx, lx->src, to, &at, text, &n)) {
            return -1;
        }
    }
    push(lx, T_STRING)->str = str_in_arena(&lx->t->arena, text, n, 0);
    return finish_at(lx, to + 1), 0;
}

static bool is_digit(const Lexer *lx, size_t at) {
    return at < lx->len && lx->src[at] >= '0' && lx->src[at] <= '9';
}

// Behind digits that single underscores may separate.
static size_t skip_digits(const Lexer *lx, size_t at, bool hex) {
    while (at < lx->len) {
        size_t d = at + (lx->src[at] == '_');
        if (!(hex ? d < lx->len && hex_value(lx->src[d]) >= 0 : is_digit(lx, d))) break;
        at = d + 1;
    }
    return at;
}

// End of a float literal at `at`, or 0 when it is an integer.
static size_t float_end(const Lexer *lx, size_t at) {
    if (at > 0 && lx->src[at - 1] == '.') return 0;
    size_t whole = skip_digits(lx, at, false), end = whole;
    if (looking_at(lx, end, ".") && is_digit(lx, end + 1)) end = skip_digits(lx, end + 1, false);
    if (looking_at(lx, end, "e") || looking_at(lx, end, "E")) {
        size_t exp = end + 1 + (sign_at(lx, end + 1) != 0);
        if (is_digit(lx, exp)) end = skip_digits(lx, exp, false);
    }
    return end > whole ? end : 0;
}

static int lex_number(Lexer *lx) {
    size_t end = float_end(lx, lx->at);
    bool is_float = end > 0, hex = false;
    if (!is_float) {
        char next = lx->at + 1 < lx->len ? lx->src[lx->at + 1] | 0x20 : 0;
        if (lx->src[lx->at] == '0' && (next == 'b' || next == 'o')) return lex_fail(lx, "unsupported number literal");
        hex = lx->src[lx->at] == '0' && next == 'x';
        end = skip_digits(lx, lx->at + (hex ? 2 : 0), hex);
    }
    char digits[128];
    size_t n = 0;
    for (size_t at = lx->at; at < end; at++) {
        if (lx->src[at] == '_') continue;
        if (n + 1 >= sizeof digits) return lex_fail(lx, "number literal is too long");
        digits[n++] = lx->src[at];
    }
    digits[n] = 0;
    if (is_float) {
        push(lx, T_FLOAT)->f = strtod(digits, NULL);
        return finish_at(lx, end), 0;
    }
    if (n > 1 && digits[0] == '0' && !hex && strspn(digits, "0") != n) return lex_fail(lx, "malformed number");
    uint64_t v = 0;
    for (size_t i = hex ? 2 : 0; i < n; i++) {
        if (__builtin_mul_overflow(v, hex ? 16u : 10u, &v) || __builtin_add_overflow(v, hex_value(digits[i]), &v) ||
            v > INT64_MAX) {
            return lex_fail(lx, "number literal does not fit 64 bits");
        }
    }
    push(lx, T_INT)->i = (int64_t)v;
    return finish_at(lx, end), 0;
}

static int lex_operator(Lexer *lx) {
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = lx->src[lx->at];
    int op = 0;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        if (looking_at(lx, lx->at, two[i])) op = OP2(two[i][0], two[i][1]);
    }
    if (!op && c && strchr("+-/*%~[](){}><=.:|,;", c)) op = (unsigned char)c;
    if (!op) return lex_fail(lx, "unexpected character in a tag");
    if (op == '(' || op == '[' || op == '{') {
        if (lx->n_brackets == JINJA_MAX_NESTING) return lex_fail(lx, "brackets are nested too deep");
        lx->brackets[lx->n_brackets++] = op == '(' ? ')' : op == '[' ? ']' : '}';
    } else if (op == ')' || op == ']' || op == '}') {
        if (lx->n_brackets == 0 || lx->brackets[--lx->n_brackets] != op) return lex_fail(lx, "unexpected bracket");
    }
    push(lx, T_OP)->op = op;
    return finish_at(lx, lx->at + (op > 255 ? 2 : 1)), 0;
}

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// The inside of {{ }} or {% %}.
static int lex_tag(Lexer *lx, const char *mark) {
    while (lx->at < lx->len) {
        size_t end = lx->n_brackets ? 0 : tag_end(lx, lx->at, mark);
        if (end) {
            push(lx, mark[0] == '}' ? T_PRINT_END : T_BLOCK_END);
            return finish_at(lx, end), 0;
        }
        size_t after_space = skip_space(lx, lx->at);
        char c = lx->src[lx->at];
        int rc = 0;
        if (after_space > lx->at) {
            finish_at(lx, after_space);
        } else if (c >= '0' && c <= '9') {
            rc = lex_number(lx);
        } else if (is_name_char(c)) {
            size_t to = lx->at;
            while (to < lx->len && is_name_char(lx->src[to])) to++;
            const char *name = arena_copy(&lx->t->arena, lx->src + lx->at, to - lx->at);
            push(lx, T_NAME)->str = str_in_arena(&lx->t->arena, name, to - lx->at, 0);
            finish_at(lx, to);
        } else {
            rc = c == '\'' || c == '"' ? lex_string(lx) : lex_operator(lx);
        }
        if (rc) return -1;
    }
    return 0; // the parser says what is missing
}

static int lex_all(Lexer *lx) {
    lx->line_starting = true;
    while (lx->at < lx->len) {
        size_t from = lx->at, at = from;
        while (at < lx->len && !looking_at(lx, at, "{%") && !looking_at(lx, at, "{{") && !looking_at(lx, at, "{#"))
            at++;
        if (at >= lx->len) {
            push(lx, T_TEXT)->str = str_in_arena(&lx->t->arena, lx->src + from, lx->len - from, 0);
            lx->at = lx->len;
            break;
        }
        char kind = lx->src[at + 1], sign = sign_at(lx, at + 2);
        push_text(lx, from, at, sign, kind == '{');
        finish_at(lx, at);
        lx->line_starting = false;
        size_t raw = kind == '%' ? raw_begin(lx, at) : 0, inside = at + 2 + (sign != 0);
        int rc;
        if (raw) {
            rc = lex_raw(lx, raw);
        } else if (kind == '#') {
            rc = lex_comment(lx, inside);
        } else {
            push(lx, kind == '{' ? T_PRINT_BEGIN : T_BLOCK_BEGIN);
            lx->at = inside;
            rc = lex_tag(lx, kind == '{' ? "}}" : "%}");
        }
        if (rc) return -1;
    }
    push(lx, T_END);
    return 0;
}

// \r\n and \r to \n, and without one line end at the end, into the arena.
static void normalise_lines(Lexer *lx, const char *source, size_t len) {
    char *text = arena_alloc(&lx->t->arena, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (source[i] == '\r' && i + 1 < len && source[i + 1] == '\n') continue;
        text[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n > 0 && text[n - 1] == '\n') n--;
    text[n] = 0;
    lx->src = text;
    lx->len = n;
}

int jinja_lex(JinjaTemplate *t, Token **tokens, const char *source, size_t len, Err *err) {
    Lexer lx = {.t = t, .line = 1, .err = err};
    normalise_lines(&lx, source, len);
    int rc = lex_all(&lx);
    if (rc == 0) {
        *tokens = arena_alloc(&t->arena, lx.count * sizeof(Token));
        memcpy(*tokens, lx.tokens, lx.count * sizeof(Token));
    }
    mem_free(lx.tokens);
    return rc;
}
