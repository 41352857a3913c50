// jinja_lex: template text to tokens, with jinja2's white space rules for trim_blocks and lstrip_blocks.
//
// The rules, from jinja2's lexer:
//  - line ends become \n; one line end at the end of the template is dropped;
//  - {%- {{- {#- strip all white space before the tag, -%} -}} -#} all after it;
//  - lstrip_blocks: white space between the start of a line and {% or {# is dropped, unless {%+ {#+;
//  - trim_blocks: one line end after %} or #} is dropped, unless +%} +#};
//  - inside brackets, %} and }} are not ends of tags.
#include "jinja_syntax.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

typedef struct Lexer {
    JinjaTemplate *t;
    Str src;
    size_t at;
    size_t line_at; // `line` is the line of this byte
    int line;
    bool line_starting; // the last thing read ended with a line end
    Token *tokens;
    size_t count;
    char brackets[JINJA_MAX_NESTING];
    int n_brackets;
    Err *err;
} Lexer;

static int line_of(Lexer *lx, size_t at) {
    for (; lx->line_at < at; lx->line_at++) lx->line += lx->src.data[lx->line_at] == '\n';
    return lx->line;
}

static int lex_fail(Lexer *lx, const char *what) {
    return err_input(lx->err, "%s line %d: %s", lx->t->name, line_of(lx, lx->at), what);
}

static Token *push(Lexer *lx, TokenType type) {
    lx->tokens = arena_grow(&lx->t->arena, lx->tokens, lx->count, sizeof *lx->tokens);
    Token *tok = &lx->tokens[lx->count++];
    *tok = (Token){.type = type, .line = line_of(lx, lx->at)};
    return tok;
}

// The token [at, ...) ends at `at`. Always 0.
static int finish_at(Lexer *lx, size_t at) {
    lx->line_starting = at > 0 && lx->src.data[at - 1] == '\n';
    lx->at = at;
    return 0;
}

static char char_at(const Lexer *lx, size_t at) { // 0 at the end
    return at < lx->src.len ? lx->src.data[at] : 0;
}

static bool looking_at(const Lexer *lx, size_t at, const char *text) {
    return str_has(&lx->src, at, &(Str){.data = text, .len = strlen(text)});
}

static size_t skip_space(const Lexer *lx, size_t at) { return str_run(&lx->src, at, NULL, true); }

static size_t rstrip(const Lexer *lx, size_t from, size_t to) { // end of [from, to) without white space at its end
    return str_run_back(&lx->src, from, to, NULL, true);
}

static bool is_name_char(char c) { return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || is_digit(c) || c == '_'; }

static int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// ---- text, comments, raw ----

// The text [from, to) before a tag, stripped by the tag's sign and lstrip_blocks.
static void push_text(Lexer *lx, size_t from, size_t to, char sign, bool is_print) {
    if (sign == '-') {
        to = rstrip(lx, from, to);
    } else if (sign != '+' && !is_print) {
        size_t line_start = to;
        while (line_start > from && lx->src.data[line_start - 1] != '\n') line_start--;
        bool at_line_start = line_start > from || lx->line_starting;
        if (at_line_start && rstrip(lx, line_start, to) == line_start) to = line_start;
    }
    if (to == from) return;
    lx->at = from;
    push(lx, T_TEXT)->str = str_in_arena(&lx->t->arena, lx->src.data + from, to - from, 0);
}

// Start of the text after a tag's end mark ("%}", "}}" or "#}"); 0: no mark at `at`.
static size_t tag_end(const Lexer *lx, size_t at, const char *mark) {
    bool is_print = mark[0] == '}';
    char sign = char_at(lx, at);
    if ((sign == '-' || (sign == '+' && !is_print)) && looking_at(lx, at + 1, mark))
        return sign == '-' ? skip_space(lx, at + 3) : at + 3;
    if (!looking_at(lx, at, mark)) return 0;
    return at + 2 + (!is_print && char_at(lx, at + 2) == '\n');
}

static char sign_at(const Lexer *lx, size_t at) {
    char c = char_at(lx, at);
    return c == '-' || c == '+' ? c : 0;
}

static int lex_comment(Lexer *lx, size_t at) {
    for (; at < lx->src.len; at++) {
        size_t end = tag_end(lx, at, "#}");
        if (end) return finish_at(lx, end);
    }
    return lex_fail(lx, "comment is not closed");
}

// Start of the text after {% raw %} at this place; 0: another tag.
static size_t raw_begin(const Lexer *lx, size_t at) {
    at = skip_space(lx, at + 2 + (sign_at(lx, at + 2) != 0));
    if (!looking_at(lx, at, "raw")) return 0;
    at = skip_space(lx, at + 3);
    if (looking_at(lx, at, "-%}")) return skip_space(lx, at + 3);
    return looking_at(lx, at, "%}") ? at + 2 : 0;
}

static int lex_raw(Lexer *lx, size_t from) {
    finish_at(lx, from);
    for (size_t at = from; at < lx->src.len; at++) {
        if (!looking_at(lx, at, "{%")) continue;
        char sign = sign_at(lx, at + 2);
        size_t name = skip_space(lx, at + 2 + (sign != 0));
        if (!looking_at(lx, name, "endraw")) continue;
        size_t end = tag_end(lx, skip_space(lx, name + 6), "%}");
        if (!end) continue;
        push_text(lx, from, at, sign, false);
        return finish_at(lx, end);
    }
    return lex_fail(lx, "{% raw %} is not closed");
}

// ---- literals ----

// One escape of a string literal (*at: after its backslash), as in Python's unicode-escape.
static int unescape(Lexer *lx, size_t end, size_t *at, char *out, size_t *n) {
    static const char plain[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    char c = lx->src.data[(*at)++];
    if (c == '\n') return 0;
    for (size_t i = 0; i + 1 < sizeof plain; i += 2) {
        if (plain[i] != c) continue;
        out[(*n)++] = plain[i + 1];
        return 0;
    }
    int32_t cp = 0;
    if (c >= '0' && c <= '7') {
        cp = c - '0';
        for (int i = 0; i < 2 && *at < end && (char_at(lx, *at) & ~7) == '0'; i++)
            cp = cp * 8 + lx->src.data[(*at)++] - '0';
    } else if (c == 'x' || c == 'u' || c == 'U') {
        for (int i = 0, digits = c == 'x' ? 2 : c == 'u' ? 4 : 8; i < digits; i++) {
            int h = *at < end ? hex_value(lx->src.data[*at]) : -1;
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
    *n += (size_t)utf8proc_encode_char(cp, (utf8proc_uint8_t *)out + *n);
    return 0;
}

static int lex_string(Lexer *lx) {
    const char *s = lx->src.data;
    size_t from = lx->at + 1, to = from, n = 0;
    while (to < lx->src.len && s[to] != s[lx->at]) to += s[to] == '\\' ? 2 : 1;
    if (to >= lx->src.len) return lex_fail(lx, "string is not closed");
    char *text = arena_alloc(&lx->t->arena, to - from + 1); // an escape is never shorter than its character
    for (size_t at = from; at < to;) {
        char c = s[at++];
        if (c != '\\')
            text[n++] = c;
        else if (unescape(lx, to, &at, text, &n))
            return -1;
    }
    push(lx, T_STRING)->str = str_in_arena(&lx->t->arena, text, n, 0);
    return finish_at(lx, to + 1);
}

// The end of digits that single underscores may separate.
static size_t skip_digits(const Lexer *lx, size_t at, bool hex) {
    for (;;) {
        char c = char_at(lx, at + (char_at(lx, at) == '_'));
        if (!(hex ? hex_value(c) >= 0 : is_digit(c))) return at;
        at += 1 + (char_at(lx, at) == '_');
    }
}

// End of a float literal at `at`, or 0 when it is an integer.
static size_t float_end(const Lexer *lx, size_t at) {
    if (at > 0 && lx->src.data[at - 1] == '.') return 0;
    size_t whole = skip_digits(lx, at, false), end = whole;
    if (char_at(lx, end) == '.' && is_digit(char_at(lx, end + 1))) end = skip_digits(lx, end + 1, false);
    if ((char_at(lx, end) | 0x20) == 'e') {
        size_t exp = end + 1 + (sign_at(lx, end + 1) != 0);
        if (is_digit(char_at(lx, exp))) end = skip_digits(lx, exp, false);
    }
    return end > whole ? end : 0;
}

static int lex_int(Lexer *lx, const char *digits, bool hex, size_t end) {
    uint64_t v = 0;
    if (digits[0] == '0' && digits[1] && !hex && digits[strspn(digits, "0")]) return lex_fail(lx, "malformed number");
    for (const char *d = digits; *d; d++)
        if (__builtin_mul_overflow(v, hex ? 16u : 10u, &v) || __builtin_add_overflow(v, hex_value(*d), &v) ||
            v > INT64_MAX)
            return lex_fail(lx, "number literal does not fit 64 bits");
    push(lx, T_INT)->i = (int64_t)v;
    return finish_at(lx, end);
}

static int lex_number(Lexer *lx) {
    size_t end = float_end(lx, lx->at), n = 0;
    bool is_float = end > 0, hex = false;
    char digits[128];
    if (!is_float) {
        char base = char_at(lx, lx->at) == '0' ? char_at(lx, lx->at + 1) | 0x20 : 0;
        if (base == 'b' || base == 'o') return lex_fail(lx, "unsupported number literal");
        hex = base == 'x';
        end = skip_digits(lx, lx->at + (hex ? 2 : 0), hex);
    }
    for (size_t at = lx->at + (hex ? 2 : 0); at < end; at++) {
        if (lx->src.data[at] == '_') continue;
        if (n + 1 >= sizeof digits) return lex_fail(lx, "number literal is too long");
        digits[n++] = lx->src.data[at];
    }
    digits[n] = 0;
    if (!is_float) return lex_int(lx, digits, hex, end);
    push(lx, T_FLOAT)->f = strtod(digits, NULL);
    return finish_at(lx, end);
}

// ---- tags ----

static int lex_operator(Lexer *lx) {
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    static const char open[] = "([{", close[] = ")]}";
    char c = lx->src.data[lx->at];
    int op = c && strchr("+-/*%~[](){}><=.:|,;", c) ? c : 0;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (looking_at(lx, lx->at, two[i])) op = OP2(two[i][0], two[i][1]);
    if (!op) return lex_fail(lx, "unexpected character in a tag");
    const char *opens = strchr(open, op), *closes = strchr(close, op);
    if (op < 256 && opens) {
        if (lx->n_brackets == JINJA_MAX_NESTING) return lex_fail(lx, "brackets are nested too deep");
        lx->brackets[lx->n_brackets++] = close[opens - open];
    } else if (op < 256 && closes) {
        if (lx->n_brackets == 0 || lx->brackets[--lx->n_brackets] != op) return lex_fail(lx, "unexpected bracket");
    }
    push(lx, T_OP)->op = op;
    return finish_at(lx, lx->at + (op > 255 ? 2 : 1));
}

static int lex_name(Lexer *lx) {
    size_t to = lx->at;
    while (is_name_char(char_at(lx, to))) to++;
    char *name = arena_alloc(&lx->t->arena, to - lx->at + 1);
    memcpy(name, lx->src.data + lx->at, to - lx->at);
    name[to - lx->at] = 0; // for messages
    push(lx, T_NAME)->str = str_in_arena(&lx->t->arena, name, to - lx->at, 0);
    return finish_at(lx, to);
}

// The inside of {{ }} or {% %}.
static int lex_tag(Lexer *lx, const char *mark) {
    int rc = 0;
    while (rc == 0 && lx->at < lx->src.len) {
        size_t end = lx->n_brackets ? 0 : tag_end(lx, lx->at, mark), after_space = skip_space(lx, lx->at);
        char c = lx->src.data[lx->at];
        if (end) {
            push(lx, mark[0] == '}' ? T_PRINT_END : T_BLOCK_END);
            return finish_at(lx, end);
        }
        if (after_space > lx->at)
            finish_at(lx, after_space);
        else if (is_digit(c))
            rc = lex_number(lx);
        else if (is_name_char(c))
            rc = lex_name(lx);
        else
            rc = c == '\'' || c == '"' ? lex_string(lx) : lex_operator(lx);
    }
    return rc; // where the source ends inside a tag, the parser reports it
}

static int lex_all(Lexer *lx) {
    lx->line_starting = true;
    int rc = 0;
    while (rc == 0 && lx->at < lx->src.len) {
        size_t from = lx->at, at = from;
        while (at < lx->src.len &&
               !(lx->src.data[at] == '{' && strchr("%{#", char_at(lx, at + 1)) && char_at(lx, at + 1)))
            at++;
        char kind = char_at(lx, at + 1), sign = sign_at(lx, at + 2);
        push_text(lx, from, at, at < lx->src.len ? sign : '+', kind == '{');
        finish_at(lx, at);
        if (at == lx->src.len) break;
        lx->line_starting = false;
        size_t raw = kind == '%' ? raw_begin(lx, at) : 0, inside = at + 2 + (sign != 0);
        if (raw) {
            rc = lex_raw(lx, raw);
        } else if (kind == '#') {
            rc = lex_comment(lx, inside);
        } else {
            push(lx, kind == '{' ? T_PRINT_BEGIN : T_BLOCK_BEGIN);
            lx->at = inside;
            rc = lex_tag(lx, kind == '{' ? "}}" : "%}");
        }
    }
    push(lx, T_END);
    return rc;
}

// \r\n and \r to \n, and without one line end at the end, in the arena.
static Str normalise_lines(Arena *arena, const char *source, size_t len) {
    char *text = arena_alloc(arena, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (source[i] == '\r' && i + 1 < len && source[i + 1] == '\n') continue;
        text[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n > 0 && text[n - 1] == '\n') n--;
    text[n] = 0;
    return (Str){.data = text, .len = n};
}

int jinja_lex(JinjaTemplate *t, Token **tokens, const char *source, size_t len, Err *err) {
    Lexer lx = {.t = t, .line = 1, .err = err, .src = normalise_lines(&t->arena, source, len)};
    int rc = lex_all(&lx);
    *tokens = lx.tokens;
    return rc;
}
