#include "pattern.h"

#include <string.h>

#include "code_class.h"
#include "unicode.h"

typedef struct Reader {
    const char *at, *end;
    ByteNfa nfa;
    int depth;
    bool whole;          // not searched for
    const char *refused; // why; NULL: not
} Reader;

static NfaPart refuse(Reader *r, const char *what) {
    if (!r->refused) r->refused = what;
    r->at = r->end;
    return nfa_empty(&r->nfa);
}

static bool next_is(const Reader *r, const char *text) {
    size_t n = strlen(text);
    return (size_t)(r->end - r->at) >= n && memcmp(r->at, text, n) == 0;
}

static bool take(Reader *r, const char *text) {
    if (!next_is(r, text)) return false;
    r->at += strlen(text);
    return true;
}

static NfaPart class_part(Reader *r, CodeClass *c) {
    code_class_finish(c);
    NfaPart part = nfa_class(&r->nfa, c->ranges, c->count);
    code_class_clear(c);
    return part;
}

// ---- escapes ----

// Four or two digits after \u or \x.
static bool take_hex(Reader *r, int digits, uint32_t *c) {
    if (r->end - r->at < digits || !code_hex(r->at, digits, c)) return false;
    r->at += digits;
    return *c < 0xD800 || *c > 0xDFFF;
}

// After the backslash: a character, or a class, which is added to *c. NULL: done.
static const char *take_escape(Reader *r, CodeClass *c, uint32_t *single, bool *is_class) {
    static const char letters[] = "nrtfv0", values[] = "\n\r\t\f\v";
    static const char punctuation[] = "\\/^$.|?*+()[]{}-\"'`#&~ ,:;<>=@!%_";
    *is_class = false;
    if (r->at == r->end) return "a backslash at the end";
    char e = *r->at++;
    if (strchr("dDwWsS", e)) {
        *is_class = true;
        code_class_add_named(c, e);
        return NULL;
    }
    const char *letter = strchr(letters, e);
    if (e == 'x' || e == 'u') return take_hex(r, e == 'x' ? 2 : 4, single) ? NULL : "an escape without its digits";
    if (e >= '1' && e <= '9') return "a back-reference";
    if (e == 'b' || e == 'B') return "\\b";
    if (e == 'p' || e == 'P') return "\\p";
    if (e == 'k') return "a back-reference";
    if (letter)
        *single = (uint8_t)values[letter - letters];
    else if (strchr(punctuation, e))
        *single = (uint8_t)e;
    else
        return "an escape";
    return NULL;
}

static uint32_t take_character(Reader *r) {
    size_t n;
    int32_t c = utf8_decode(r->at, (size_t)(r->end - r->at), &n);
    r->at += n;
    return (uint32_t)c;
}

// ---- brackets ----

// One member: a character or a class. NULL: done.
static const char *take_member(Reader *r, CodeClass *c, uint32_t *single, bool *is_class) {
    *is_class = false;
    if (next_is(r, "[:") || next_is(r, "[.") || next_is(r, "[=")) return "a POSIX class";
    if (take(r, "\\")) return take_escape(r, c, single, is_class);
    *single = take_character(r);
    return NULL;
}

static NfaPart take_brackets(Reader *r) {
    AUTO_CALL(code_class_clear) CodeClass c = {0};
    c.negated = take(r, "^");
    if (next_is(r, "]")) return refuse(r, "brackets that begin with ]");
    while (!next_is(r, "]")) {
        uint32_t lo = 0, hi = 0;
        bool lo_class, hi_class;
        if (r->at == r->end) return refuse(r, "brackets without an end");
        if (next_is(r, "&&") || next_is(r, "--") || next_is(r, "~~") || next_is(r, "||"))
            return refuse(r, "a set in brackets");
        const char *bad = take_member(r, &c, &lo, &lo_class);
        hi = lo;
        bool is_range = !bad && next_is(r, "-") && !next_is(r, "-]");
        if (is_range) {
            r->at++;
            if (r->at == r->end) return refuse(r, "brackets without an end");
            bad = take_member(r, &c, &hi, &hi_class);
            if (!bad && (lo_class || hi_class)) bad = "a range from or to a class";
            if (!bad && lo > hi) bad = "a range from a later to an earlier character";
        }
        if (bad) return refuse(r, bad);
        if (!lo_class) code_class_add(&c, lo, hi);
    }
    r->at++;
    return class_part(r, &c);
}

// ---- the rest ----

static NfaPart take_alternatives(Reader *r, bool top);

static NfaPart take_group(Reader *r) {
    if (take(r, "?")) {
        if (take(r, "P<") || (next_is(r, "<") && !next_is(r, "<=") && !next_is(r, "<!") && take(r, "<"))) {
            while (r->at < r->end && *r->at != '>') r->at++;
            if (!take(r, ">")) return refuse(r, "a group's name without an end");
        } else if (next_is(r, "=") || next_is(r, "!") || next_is(r, "<")) {
            return refuse(r, "look-around");
        } else if (!take(r, ":")) {
            return refuse(r, "a group with flags");
        }
    } else if (next_is(r, "*")) {
        return refuse(r, "a verb");
    }
    if (++r->depth > PATTERN_MAX_DEPTH) return refuse(r, "groups more than 64 deep");
    NfaPart inner = take_alternatives(r, false);
    r->depth--;
    if (!r->refused && !take(r, ")")) return refuse(r, "a group without an end");
    return inner;
}

static NfaPart take_atom(Reader *r) {
    AUTO_CALL(code_class_clear) CodeClass c = {0};
    uint32_t single = 0;
    bool is_class = false;
    if (take(r, "(")) return take_group(r);
    if (take(r, "[")) return take_brackets(r);
    if (take(r, ".")) {
        code_class_add_line_ends(&c);
        c.negated = true;
        return class_part(r, &c);
    }
    if (next_is(r, "^") || next_is(r, "$")) return refuse(r, "^ or $ inside");
    if (next_is(r, "*") || next_is(r, "+") || next_is(r, "?")) return refuse(r, "a quantifier after nothing");
    if (take(r, "\\")) {
        const char *bad = take_escape(r, &c, &single, &is_class);
        if (bad) return refuse(r, bad);
    } else {
        single = take_character(r);
    }
    if (!is_class) code_class_add(&c, single, single);
    return class_part(r, &c);
}

static bool take_number(Reader *r, int64_t *n) {
    const char *begin = r->at;
    for (*n = 0; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
        if (*n <= PATTERN_MAX_COUNT) *n = *n * 10 + (*r->at - '0');
    return r->at > begin;
}

// {m}, {m,}, {m,n}; other braces are characters, as in ECMAScript and Python.
static bool take_counts(Reader *r, int64_t *min, int64_t *max) {
    const char *begin = r->at;
    bool ok = take(r, "{") && take_number(r, min);
    *max = *min;
    if (ok && take(r, ",") && !take_number(r, max)) *max = -1;
    if (ok && take(r, "}")) return true;
    r->at = begin;
    return false;
}

static NfaPart take_repeated(Reader *r) {
    size_t first = r->nfa.count;
    int64_t min = 1, max = 1;
    NfaPart atom = take_atom(r);
    if (take(r, "*"))
        min = 0, max = -1;
    else if (take(r, "+"))
        max = -1;
    else if (take(r, "?"))
        min = 0;
    else if (!take_counts(r, &min, &max))
        return atom;
    if (next_is(r, "+")) return refuse(r, "a possessive quantifier");
    if (!take(r, "?") && (next_is(r, "*") || next_is(r, "?"))) return refuse(r, "two quantifiers");
    if (min > PATTERN_MAX_COUNT || max > PATTERN_MAX_COUNT) return refuse(r, "a count above 10000");
    if (max >= 0 && min > max) return refuse(r, "a count from a larger to a smaller number");
    return r->refused ? atom : nfa_repeat(&r->nfa, atom, first, min, max);
}

static NfaPart anything(Reader *r) {
    size_t first = r->nfa.count;
    const CodeRange all = {0, CODE_POINT_MAX};
    return nfa_repeat(&r->nfa, nfa_class(&r->nfa, &all, 1), first, 0, -1);
}

// One alternative. top: it may have ^ and $, and where it lacks one it is searched for, unless the whole is meant.
static NfaPart take_sequence(Reader *r, bool top) {
    bool from_start = top && take(r, "^"), to_end = false;
    NfaPart all = nfa_empty(&r->nfa);
    while (r->at < r->end && *r->at != '|' && *r->at != ')') {
        bool last = r->at + 1 == r->end || r->at[1] == '|';
        if (top && *r->at == '$' && last) {
            r->at++;
            to_end = true;
            break;
        }
        all = nfa_sequence(&r->nfa, all, take_repeated(r));
    }
    if (!top || r->whole) return all;
    if (!from_start) all = nfa_sequence(&r->nfa, anything(r), all);
    return to_end ? all : nfa_sequence(&r->nfa, all, anything(r));
}

static NfaPart take_alternatives(Reader *r, bool top) {
    NfaPart all = take_sequence(r, top);
    while (take(r, "|")) all = nfa_either(&r->nfa, all, take_sequence(r, top));
    return all;
}

int pattern_compile(ByteDfa **out, const char *pattern, size_t len, bool whole, Err *err) {
    Reader r = {.at = pattern, .end = pattern + len, .whole = whole};
    if (len > PATTERN_MAX)
        return err_input(err, "regular expression of %zu bytes; expected at most %d", len, PATTERN_MAX);
    if (utf8_valid_prefix(pattern, len) != len || memchr(pattern, 0, len))
        return err_input(err, "regular expression that is not UTF-8 text");
    NfaPart all = take_alternatives(&r, true);
    if (!r.refused && r.at < r.end) refuse(&r, "a ) without its (");
    int rc = r.refused ? err_input(err, "%s is not supported", r.refused) : dfa_of_nfa(out, &r.nfa, all, err);
    nfa_clear(&r.nfa);
    return rc ? err_context(err, "regular expression \"%.*s\"", (int)(len < 200 ? len : 200), pattern) : 0;
}
