#include "gbnf.h"

#include <string.h>

#include "code_class.h"
#include "intern.h"
#include "unicode.h"

typedef struct Reader {
    const char *at, *end;
    uint32_t line;
    int depth;
    Grammar *g;
    Intern names;    // of rules
    uint32_t *rules; // [names.count]
    size_t rules_capacity;
    Err *err;
} Reader;

static int refuse(const Reader *r, const char *what) { return err_input(r->err, "grammar:%u: %s", r->line, what); }

static char peek(const Reader *r) { return r->at < r->end ? *r->at : 0; }

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

// lines: line ends, too.
static void skip_space(Reader *r, bool lines) {
    for (; r->at < r->end; r->at++) {
        char c = *r->at;
        if (c == '#')
            while (r->at + 1 < r->end && r->at[1] != '\n') r->at++;
        else if (c == '\n' ? !lines : c != ' ' && c != '\t' && c != '\r')
            return;
        r->line += c == '\n';
    }
}

static uint32_t rule_named(Reader *r, const char *name, size_t len) {
    bool is_new;
    uint32_t n = intern_add(&r->names, name, len, &is_new);
    if (is_new) {
        AUTO_FREE char *copy = mem_strndup(name, len);
        MEM_GROW(r->rules, r->rules_capacity, (size_t)n + 1);
        r->rules[n] = grammar_add_rule(r->g, copy);
    }
    return r->rules[n];
}

static int take_name(Reader *r, uint32_t *rule) {
    const char *begin = r->at;
    while (is_name(peek(r))) r->at++;
    if (r->at == begin) return refuse(r, "expected the name of a rule");
    *rule = rule_named(r, begin, (size_t)(r->at - begin));
    return 0;
}

// ---- characters ----

static int take_escape(Reader *r, uint32_t *c) {
    static const char letters[] = "trn\\\"[]-^", values[] = "\t\r\n\\\"[]-^";
    char e = peek(r);
    int digits = e == 'x' ? 2 : e == 'u' ? 4 : e == 'U' ? 8 : 0;
    const char *hit = e ? strchr(letters, e) : NULL;
    if (hit) {
        r->at++;
        *c = (uint8_t)values[hit - letters];
        return 0;
    }
    if (!digits || r->end - r->at <= digits || !code_hex(r->at + 1, digits, c) || *c > CODE_POINT_MAX ||
        (*c >= 0xD800 && *c < 0xE000))
        return refuse(r, "an escape that is not known");
    r->at += 1 + digits;
    return 0;
}

static int take_character(Reader *r, uint32_t *c) {
    if (r->at == r->end || *r->at == '\n') return refuse(r, "a literal or class without its end");
    if (*r->at == '\\') {
        r->at++;
        return take_escape(r, c);
    }
    size_t n;
    *c = (uint32_t)utf8_decode(r->at, (size_t)(r->end - r->at), &n);
    r->at += n;
    return 0;
}

static int add_dfa(Reader *r, const ByteNfa *n, NfaPart part, uint32_t *dfa) {
    ByteDfa *d;
    if (dfa_of_nfa(&d, n, part, r->err)) return err_context(r->err, "grammar:%u", r->line);
    *dfa = grammar_add_dfa(r->g, d);
    return 0;
}

static int take_literal(Reader *r, uint32_t *dfa) {
    AUTO_CALL(nfa_clear) ByteNfa n = {0};
    NfaPart all = nfa_empty(&n);
    for (r->at++; peek(r) != '"';) {
        uint32_t c = 0;
        if (take_character(r, &c)) return -1;
        const CodeRange one = {c, c};
        all = nfa_sequence(&n, all, nfa_class(&n, &one, 1));
    }
    r->at++;
    return add_dfa(r, &n, all, dfa);
}

static int take_class_members(Reader *r, CodeClass *c) {
    for (c->negated = peek(r) == '^' && r->at++; peek(r) != ']';) {
        uint32_t lo = 0, hi;
        if (take_character(r, &lo)) return -1;
        hi = lo;
        if (peek(r) == '-' && r->at + 1 < r->end && r->at[1] != ']') {
            r->at++;
            if (take_character(r, &hi)) return -1;
        }
        if (lo > hi) return refuse(r, "a range from a later to an earlier character");
        code_class_add(c, lo, hi);
    }
    r->at++;
    return 0;
}

static int take_class(Reader *r, uint32_t *dfa) {
    AUTO_CALL(code_class_clear) CodeClass c = {0};
    AUTO_CALL(nfa_clear) ByteNfa n = {0};
    bool any = *r->at++ == '.';
    if (any)
        code_class_add(&c, 0, CODE_POINT_MAX);
    else if (take_class_members(r, &c))
        return -1;
    code_class_finish(&c);
    return add_dfa(r, &n, nfa_class(&n, c.ranges, c.count), dfa);
}

// ---- elements: each is one instruction ----

static int take_alternatives(Reader *r, bool nested, uint32_t *pc);

static int take_group(Reader *r, uint32_t *pc) {
    uint32_t rule = grammar_add_rule(r->g, NULL), start;
    if (++r->depth > GBNF_MAX_DEPTH) return refuse(r, "groups more than 64 deep");
    r->at++;
    skip_space(r, true);
    if (take_alternatives(r, true, &start)) return -1;
    r->g->rules[rule].start = start;
    if (peek(r) != ')') return refuse(r, "expected )");
    r->at++;
    r->depth--;
    *pc = grammar_call(r->g, rule, GRAMMAR_RETURN);
    return 0;
}

static int take_atom(Reader *r, uint32_t *pc) {
    uint32_t which = 0;
    char c = peek(r);
    if (c == '(') return take_group(r, pc);
    if (c == '<' || c == '!') return refuse(r, "tokens by name or number are not supported");
    if (is_name(c)) {
        if (take_name(r, &which)) return -1;
        *pc = grammar_call(r->g, which, GRAMMAR_RETURN);
        return 0;
    }
    if (c != '"' && c != '[' && c != '.') return refuse(r, "expected a literal, a class, a name or a group");
    if (c == '"' ? take_literal(r, &which) : take_class(r, &which)) return -1;
    // One character: none begins another one, so that many of them are one instruction.
    *pc = c == '"' ? grammar_dfa(r->g, which, GRAMMAR_RETURN)
                   : grammar_add(r->g, (GrammarInstruction){.op = OP_RUN, .a = which, .min = 1, .max = 1});
    return 0;
}

static bool take_number(Reader *r, int64_t *n) {
    const char *begin = r->at;
    for (*n = 0; peek(r) >= '0' && peek(r) <= '9'; r->at++)
        if (*n <= GBNF_MAX_COUNT) *n = *n * 10 + (*r->at - '0');
    skip_space(r, false);
    return r->at > begin;
}

static int take_braces(Reader *r, int64_t *min, int64_t *max) {
    r->at++;
    skip_space(r, false);
    *min = 0;
    bool given = take_number(r, min);
    *max = *min;
    if (peek(r) == ',') {
        r->at++;
        skip_space(r, false);
        if (!take_number(r, max)) *max = -1;
        given = given || *max >= 0;
    }
    if (!given || peek(r) != '}') return refuse(r, "expected {m}, {m,} or {m,n}");
    r->at++;
    if (*min > GBNF_MAX_COUNT || *max > GBNF_MAX_COUNT) return refuse(r, "a count above 10000");
    return *max >= 0 && *min > *max ? refuse(r, "a count from a larger to a smaller number") : 0;
}

// *repeated: a quantifier was there.
static int take_counts(Reader *r, int64_t *min, int64_t *max, bool *repeated) {
    char c = peek(r);
    *min = c == '+';
    *max = c == '?' ? 1 : -1;
    *repeated = c == '*' || c == '+' || c == '?' || c == '{';
    if (c == '{') return take_braces(r, min, max);
    if (*repeated) r->at++;
    return 0;
}

static int take_element(Reader *r, uint32_t *pc) {
    int64_t min, max;
    bool repeated;
    if (take_atom(r, pc)) return -1;
    for (;;) {
        skip_space(r, r->depth > 0);
        if (take_counts(r, &min, &max, &repeated)) return -1;
        if (!repeated) return 0;
        GrammarInstruction *i = &r->g->code[*pc];
        if (i->op == OP_RUN && i->min == 1 && i->max == 1) {
            i->min = min;
            i->max = max;
        } else {
            *pc = grammar_add(r->g, (GrammarInstruction){.op = OP_LOOP, .a = *pc, .min = min, .max = max});
        }
    }
}

// Elements one after the other; the last one returns.
static int take_sequence(Reader *r, uint32_t *pc) {
    uint32_t last = GRAMMAR_RETURN, one = GRAMMAR_RETURN;
    *pc = GRAMMAR_RETURN;
    while (peek(r) && !strchr("|)\n", peek(r))) {
        if (take_element(r, &one)) return -1;
        if (last == GRAMMAR_RETURN)
            *pc = one;
        else
            r->g->code[last].next = one;
        last = one;
        if (r->g->full) return 0;
    }
    return 0;
}

static int take_alternatives(Reader *r, bool nested, uint32_t *pc) {
    AUTO_FREE uint32_t *targets = NULL;
    size_t n = 0, capacity = 0;
    for (;;) {
        uint32_t one = 0;
        if (take_sequence(r, &one)) return -1;
        MEM_GROW(targets, capacity, n + 1);
        targets[n++] = one;
        skip_space(r, nested);
        if (peek(r) != '|') break;
        r->at++;
        skip_space(r, true);
    }
    *pc = grammar_either(r->g, targets, n);
    return 0;
}

static int take_rule(Reader *r) {
    uint32_t rule = 0, start = 0;
    if (take_name(r, &rule)) return -1;
    skip_space(r, false);
    if (r->end - r->at < 3 || memcmp(r->at, "::=", 3) != 0) return refuse(r, "expected ::=");
    r->at += 3;
    skip_space(r, true);
    if (r->g->rules[rule].start != GRAMMAR_NONE) return refuse(r, "a rule that is defined already");
    if (take_alternatives(r, false, &start)) return -1;
    r->g->rules[rule].start = start;
    if (r->at < r->end && *r->at != '\n') return refuse(r, "expected the end of the line");
    skip_space(r, true);
    return 0;
}

int gbnf_compile(Grammar **out, JsonStr text, Err *err) {
    if (text.len > GBNF_MAX) return err_input(err, "grammar of %zu bytes; expected at most %d", text.len, GBNF_MAX);
    if (utf8_valid_prefix(text.data, text.len) != text.len || memchr(text.data, 0, text.len))
        return err_input(err, "grammar that is not UTF-8 text");
    AUTO_GRAMMAR Grammar *g = grammar_new();
    Reader r = {.at = text.data, .end = text.data + text.len, .line = 1, .g = g, .err = err};
    int rc = 0;
    rule_named(&r, "root", 4); // rule 0
    skip_space(&r, true);
    while (!rc && r.at < r.end && !g->full) rc = take_rule(&r);
    intern_clear(&r.names);
    mem_free(r.rules);
    if (rc) return -1;
    *out = mem_take(&g);
    return 0;
}
