// schema_values: values that a schema lists, strings, and how JSON writes their characters.
#include <string.h>

#include "pattern.h"
#include "schema_internal.h"

// ---- characters that JSON escapes ----

static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";

void schema_quote(StrBuf *out, JsonStr text) {
    str_puts(out, "\"");
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        const char *hit = c ? strchr(escaped, c) : NULL;
        if (hit)
            str_printf(out, "\\%c", letters[hit - escaped]);
        else if ((uint8_t)c < 0x20)
            str_printf(out, "\\u%04x", (unsigned)c);
        else
            str_add(out, &c, 1);
    }
    str_puts(out, "\"");
}

typedef struct Escape { // a state of d; in: after a backslash
    uint32_t state, in;
} Escape;

static bool escape_step(void *user, JsonStr state, uint8_t byte, StrBuf *to) {
    const ByteDfa *d = user;
    Escape s;
    memcpy(&s, state.data, sizeof s);
    if (s.in) {
        const char *hit = byte ? strchr(letters, byte) : NULL;
        s = (Escape){hit ? dfa_next(d, s.state, (uint8_t)escaped[hit - letters]) : DFA_DEAD, 0};
    } else if (byte == '\\') {
        s.in = 1;
    } else {
        s.state = byte < 0x20 || byte == '"' ? DFA_DEAD : dfa_next(d, s.state, byte);
    }
    str_add(to, (const char *)&s, sizeof s);
    return s.state != DFA_DEAD;
}

static bool escape_accepts(void *user, JsonStr state) {
    const ByteDfa *d = user;
    Escape s;
    memcpy(&s, state.data, sizeof s);
    return !s.in && d->accepting[s.state];
}

int schema_escape_dfa(ByteDfa **out, const ByteDfa *d, Err *err) {
    bool cut[257] = {[0x20] = true};
    for (int b = 1; b < 256; b++) cut[b] = cut[b] || d->class_of[b] != d->class_of[b - 1];
    for (const char *l = letters; *l; l++) cut[(uint8_t)*l] = cut[(uint8_t)*l + 1] = true;
    const Escape start = {0, 0};
    const DfaSource source = {(void *)d, escape_step, escape_accepts, cut};
    return dfa_build(out, &source, (JsonStr){(const char *)&start, sizeof start}, err);
}

// ---- listed values ----

// White space as between all tokens: schema_lex[LEX_SPACE].
static NfaPart space(ByteNfa *n) {
    NfaPart one = nfa_either(n, nfa_text(n, " ", 1), nfa_empty(n));
    size_t first = n->count;
    NfaPart blank = nfa_either(n, nfa_text(n, " ", 1), nfa_text(n, "\t", 1));
    NfaPart indent = nfa_repeat(n, blank, first, 0, 40);
    NfaPart ends = nfa_either(n, nfa_text(n, "\n", 1), nfa_text(n, "\n\n", 2));
    return nfa_either(n, one, nfa_sequence(n, ends, indent));
}

static NfaPart append(ByteNfa *n, NfaPart all, const char *text, size_t len) {
    return nfa_sequence(n, all, nfa_text(n, text, len));
}

static NfaPart value(ByteNfa *n, const Json *v) {
    static const char *const words[] = {[JSON_NULL] = "null", [JSON_FALSE] = "false", [JSON_TRUE] = "true"};
    bool object = v->type == JSON_OBJECT;
    if (v->type != JSON_ARRAY && !object) {
        AUTO_STR StrBuf text = {0};
        if (v->type == JSON_STRING)
            schema_quote(&text, v->str);
        else
            str_puts(&text, json_is_number(v) ? v->str.data : words[v->type]);
        return nfa_text(n, text.data, text.len);
    }
    NfaPart all = append(n, nfa_empty(n), object ? "{" : "[", 1);
    for (size_t i = 0; i < v->count && !n->full; i++) {
        if (i) all = append(n, nfa_sequence(n, all, space(n)), ",", 1);
        all = nfa_sequence(n, all, space(n));
        if (object) {
            AUTO_STR StrBuf key = {0};
            schema_quote(&key, v->keys[i]);
            all = append(n, all, key.data, key.len);
            all = append(n, nfa_sequence(n, all, space(n)), ":", 1);
            all = nfa_sequence(n, all, space(n));
        }
        all = nfa_sequence(n, all, value(n, &v->items[i]));
    }
    return append(n, nfa_sequence(n, all, space(n)), object ? "}" : "]", 1);
}

int schema_values(SchemaCompiler *c, const Json *const *values, size_t n, uint32_t *pc) {
    AUTO_CALL(nfa_clear) ByteNfa nfa = {0};
    NfaPart all = nfa_nothing(&nfa);
    for (size_t i = 0; i < n && !nfa.full; i++) all = nfa_either(&nfa, all, value(&nfa, values[i]));
    ByteDfa *d;
    if (dfa_of_nfa(&d, &nfa, all, c->err)) return err_context(c->err, "schema: enum");
    *pc = grammar_dfa(c->g, grammar_add_dfa(c->g, d), GRAMMAR_RETURN);
    return 0;
}

// ---- strings ----

static const char *format_pattern(const char *name) {
#define DATE                                                                                                           \
    "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|" \
    "3[01])|"                                                                                                          \
    "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
#define TIME "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define HEX "[0-9a-fA-F]"
#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
    static const struct {
        const char *name, *pattern;
    } formats[] = {
        {"date", "^" DATE "$"},
        {"time", "^" TIME "$"},
        {"date-time", "^" DATE "T" TIME "$"},
        {"uuid", "^" HEX "{8}-" HEX "{4}-" HEX "{4}-" HEX "{4}-" HEX "{12}$"},
        {"ipv4", "^" OCTET "(?:\\." OCTET "){3}$"},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0) return formats[i].pattern;
    return NULL;
}

// *all: the texts of it so far; NULL: any.
static int restrict_to(ByteDfa **all, const char *pattern, size_t len, Err *err) {
    AUTO_DFA ByteDfa *d = NULL, *both = NULL;
    if (pattern_compile(&d, pattern, len, false, err)) return -1;
    if (!*all) {
        *all = mem_take(&d);
        return 0;
    }
    if (dfa_both(&both, *all, d, false, err)) return -1;
    dfa_free(*all);
    *all = mem_take(&both);
    return 0;
}

static int restrict_one(SchemaCompiler *c, const Json *schema, ByteDfa **all) {
    const Json *pattern = json_get(schema, "pattern"), *format = json_get(schema, "format");
    if (pattern && restrict_to(all, pattern->str.data, pattern->str.len, c->err))
        return err_context(c->err, "schema:%u: \"pattern\"", pattern->line);
    if (!format) return 0;
    const char *text = format_pattern(format->str.data);
    if (!text) return schema_refuse(c, format, "\"format\" \"%.60s\" is not supported", format->str.data);
    return restrict_to(all, text, strlen(text), c->err);
}

// Longest: -1: no limit.
static void lengths(const SchemaSet *s, int64_t *min, int64_t *max) {
    *min = 0;
    *max = -1;
    for (size_t i = 0; i < s->count; i++) {
        const Json *least = json_get(s->items[i].schema, "minLength"),
                   *most = json_get(s->items[i].schema, "maxLength");
        int64_t n;
        if (least && json_whole(least, &n)) *min = max64(*min, n);
        if (most && json_whole(most, &n)) *max = *max < 0 ? n : min64(*max, n);
    }
}

int schema_text_program(SchemaCompiler *c, int64_t min, int64_t max, uint32_t next, uint32_t *pc) {
    GrammarInstruction run = {.op = OP_RUN, .json_text = true, .min = min, .max = max};
    if (schema_lex_program(c, LEX_QUOTE, next, &run.next) || schema_lex_dfa(c, LEX_CHARACTER, &run.a)) return -1;
    return schema_lex_program(c, LEX_QUOTE, grammar_add(c->g, run), pc);
}

enum { MAX_LENGTH = 1 << 30 }; // beyond it no text comes

int schema_string(SchemaCompiler *c, const SchemaSet *s, unsigned types, uint32_t *pc) {
    AUTO_DFA ByteDfa *texts = NULL, *written = NULL;
    int64_t min, max;
    uint32_t end;
    for (size_t i = 0; i < s->count; i++)
        if (restrict_one(c, s->items[i].schema, &texts)) return -1;
    lengths(s, &min, &max);
    if (texts && (min > 0 || max >= 0)) {
        AUTO_FREE char *pattern =
            max < 0 ? mem_printf("^[\\s\\S]{%ld,}$", min) : mem_printf("^[\\s\\S]{%ld,%ld}$", min, max64(min, max));
        if (restrict_to(&texts, pattern, strlen(pattern), c->err))
            return err_context(c->err, "schema: length of a pattern");
    }
    if ((max >= 0 && min > max) || min > MAX_LENGTH) {
        *pc = grammar_either(c->g, NULL, 0);
        return 0;
    }
    if (!texts) return schema_text_program(c, min, max > MAX_LENGTH ? -1 : max, GRAMMAR_RETURN, pc);
    if (schema_lex_program(c, LEX_QUOTE, GRAMMAR_RETURN, &end)) return -1;
    if (schema_escape_dfa(&written, texts, c->err)) return err_context(c->err, "schema: \"pattern\"");
    end = grammar_dfa(c->g, grammar_add_dfa(c->g, mem_take(&written)), end);
    return schema_lex_program(c, LEX_QUOTE, end, pc);
}
