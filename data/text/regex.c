// regex: see regex.h. The translation of tokenizer.json's expressions rewrites the classes whose members differ and
// leaves everything else to PCRE2, whose syntax is the same for what tokenizers use: alternatives, groups, (?i:),
// look-ahead, quantifiers, brackets. Python's dialect agrees on nearly everything too; a check keeps out the rest:
// verbs, recursion, POSIX classes, escapes of Perl. Only {,n} is written in another way.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "regex.h"

#include <pcre2.h>
#include <string.h>

#include "regex_classes.h"

enum { MAX_PATTERN = 4096, MAX_CODE = 1 << 18, MAX_NESTING = 100 };

struct Regex {
    pcre2_code *code;
    char *pattern;
    bool jit;
};

// ---- translation ----

typedef struct Reader {
    const char *at, *end, *whole;
    bool in_brackets;
    StrBuf out;
    Err *err;
} Reader;

static int refuse(const Reader *r, const char *what) {
    return err_input(r->err, "regular expression \"%.100s\": %s is not supported", r->whole, what);
}

// A class as brackets or as a part of them. Complements inside brackets are written out where the file has them.
static int put_class(Reader *r, const RegexClass *c, bool negated) {
    if (!r->in_brackets) {
        str_printf(&r->out, negated ? "[^%s]" : "[%s]", c->members);
        return 0;
    }
    if (negated && !c->others) return refuse(r, "the complement of a class inside brackets");
    str_puts(&r->out, negated ? c->others : c->members);
    return 0;
}

static const RegexClass *find_class(const char *name, size_t len) {
    for (const RegexClass *c = REGEX_CLASSES; c->name; c++)
        if (strlen(c->name) == len && memcmp(c->name, name, len) == 0) return c;
    return NULL;
}

// \p{Name}, \P{Name}, \p{^Name}; r->at is after the p.
static int put_property(Reader *r, bool negated) {
    const char *close = r->at < r->end && *r->at == '{' ? memchr(r->at, '}', (size_t)(r->end - r->at)) : NULL;
    if (!close) return refuse(r, "\\p without {}");
    const char *name = r->at + 1;
    if (*name == '^') {
        negated = !negated;
        name++;
    }
    const RegexClass *c = find_class(name, (size_t)(close - name));
    r->at = close + 1;
    if (!c) return refuse(r, "a class other than general categories");
    return put_class(r, c, negated);
}

static int put_escape(Reader *r) {
    static const char plain[] = "nrtfvax0";
    if (r->at == r->end) return refuse(r, "a backslash at the end");
    char c = *r->at++;
    if (c == 'p' || c == 'P') return put_property(r, c == 'P');
    const char *shorthand = c ? strchr("sSdDwW", c) : NULL;
    if (shorthand) {
        char name = c | 32;
        return put_class(r, find_class(&name, 1), c != name);
    }
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter && !strchr(plain, c)) return refuse(r, "an escape");
    char pair[] = {'\\', c};
    str_add(&r->out, pair, 2);
    return 0;
}

static int put_other(Reader *r, char c) {
    bool two = r->at < r->end;
    if (r->in_brackets && (c == '[' || (c == '&' && two && *r->at == '&'))) return refuse(r, "a set inside brackets");
    // (*LIMIT_MATCH=...), (*NO_JIT), (*UTF) at the beginning, (*ACCEPT) and the like anywhere
    if (!r->in_brackets && c == '(' && two && *r->at == '*') return refuse(r, "a verb");
    if (!r->in_brackets && c == '(' && two && *r->at == '?') {
        bool known = r->end - r->at > 1 && strchr(":=!>i<", r->at[1]);
        if (!known) return refuse(r, "a group");
    }
    if (c == '[') {
        r->in_brackets = true;
        str_puts(&r->out, "[");
        if (r->at < r->end && *r->at == '^') str_add(&r->out, r->at++, 1);
        if (r->at < r->end && *r->at == ']') return refuse(r, "brackets that begin with ]");
        return 0;
    }
    if (c == ']') r->in_brackets = false;
    str_add(&r->out, &c, 1);
    return 0;
}

static int translate(Reader *r) {
    while (r->at < r->end) {
        char c = *r->at++;
        if (c == 0) return refuse(r, "a NUL byte");
        if ((c == '\\' ? put_escape(r) : put_other(r, c)) != 0) return -1;
    }
    return r->in_brackets ? refuse(r, "brackets without an end") : 0;
}

// ---- memory: PCRE2's own, which never fails ----

static void *take(size_t bytes, void *unused) { return mem_alloc(bytes, 1); }

static void give(void *p, void *unused) { mem_free(p); }

// What is created with it copies it.
static pcre2_general_context *own_memory(void) { return pcre2_general_context_create(take, give, NULL); }

// ---- the object ----

// NULL with a message.
static pcre2_code *compile(const char *pattern, size_t len, uint32_t options, Err *err) {
    int error = 0;
    PCRE2_SIZE at = 0;
    pcre2_general_context *memory = own_memory();
    pcre2_compile_context *context = pcre2_compile_context_create(memory);
    pcre2_set_parens_nest_limit(context, MAX_NESTING);
    options |= PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, len, options, &error, &at, context);
    pcre2_compile_context_free(context);
    pcre2_general_context_free(memory);
    if (code) return code;
    char message[128];
    pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof message);
    err_input(err, "%s", message);
    return NULL;
}

int regex_new(Regex **out, const char *pattern, size_t len, Err *err) {
    if (len == 0 || len > MAX_PATTERN)
        return err_input(err, "regular expression of %zu bytes; expected 1 to %d", len, MAX_PATTERN);
    AUTO_FREE char *whole = mem_strndup(pattern, len);
    Reader reader = {.at = pattern, .end = pattern + len, .whole = whole, .err = err};
    AUTO(regex_free) Regex *r = mem_calloc(1, sizeof *r);
    int rc = translate(&reader);
    r->pattern = reader.out.data;
    if (rc) return -1;
    // Lines as Ruby's syntax has them, which is Oniguruma's default: ^ and $ at every line.
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_MULTILINE;
    size_t size = 0;
    r->code = compile(r->pattern, reader.out.len, options, err);
    if (r->code && !pcre2_pattern_info(r->code, PCRE2_INFO_SIZE, &size) && size > MAX_CODE)
        rc = err_input(err, "compiles to %zu bytes; expected at most %d", size, MAX_CODE);
    if (!r->code || rc) return err_context(err, "regular expression \"%.100s\"", whole);
    r->jit = pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0; // without a JIT: slower, same result
    *out = mem_take(&r);
    return 0;
}

void regex_free(Regex *r) {
    if (!r) return;
    pcre2_code_free(r->code);
    mem_free(r->pattern);
    mem_free(r);
}

const char *regex_pattern(const Regex *r) { return r->pattern; }

// ---- the walk ----

// The match limit is linear in the text: the expressions of real tokenizers backtrack at most once per character (over
// white space that no line end follows) and never reach it; hostile ones do.
void regex_walk_begin(RegexWalk *w, const Regex *r, const char *text, size_t len) {
    enum { LEAST_MATCH_LIMIT = 1 << 20, MAX_HEAP_KIB = 256 << 10 };
    if (!w->data) {
        pcre2_general_context *memory = own_memory();
        w->data = pcre2_match_data_create(1, memory);
        w->context = pcre2_match_context_create(memory);
        pcre2_general_context_free(memory);
    }
    w->regex = r;
    w->text = text;
    w->len = len;
    w->at = 0;
    w->failed = false;
    size_t limit = LEAST_MATCH_LIMIT + 4 * len;
    pcre2_set_match_limit(w->context, limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX);
    pcre2_set_depth_limit(w->context, LEAST_MATCH_LIMIT);
    pcre2_set_heap_limit(w->context, MAX_HEAP_KIB);
}

// The JIT's own entry spares pcre2_match's checks at every match.
static int match(RegexWalk *w) {
    const Regex *r = w->regex;
    PCRE2_SPTR text = (PCRE2_SPTR)w->text;
    int n = PCRE2_ERROR_JIT_STACKLIMIT;
    if (r->jit) n = pcre2_jit_match(r->code, text, w->len, w->at, 0, w->data, w->context);
    if (n != PCRE2_ERROR_JIT_STACKLIMIT) return n;
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT; // groups over long runs need more stack than the JIT has
    return pcre2_match(r->code, text, w->len, w->at, options, w->data, w->context);
}

bool regex_walk_next(RegexWalk *w, size_t *begin, size_t *end) {
    while (w->at < w->len && !w->failed) {
        int n = match(w);
        if (n < 0) {
            w->failed = n != PCRE2_ERROR_NOMATCH;
            return false;
        }
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(w->data);
        *begin = span[0];
        *end = span[1];
        if (*end > *begin && *begin >= w->at) {
            w->at = *end;
            return true;
        }
        w->at = *end + 1; // an empty match is skipped
        while (w->at < w->len && ((uint8_t)w->text[w->at] & 0xC0) == 0x80) w->at++;
    }
    return false;
}

void regex_walk_clear(RegexWalk *w) {
    pcre2_match_data_free(w->data);
    pcre2_match_context_free(w->context);
    *w = (RegexWalk){0};
}

// ---- Python's ----

enum { MAX_STEPS = 100000 };

struct PyRegex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    char *pattern;
};

// p is after "(?".
static bool is_python_group(const char *p) {
    if (*p == 'P') return p[1] == '<' || p[1] == '=';
    if (*p == '<') return p[1] == '=' || p[1] == '!';
    return *p && strchr(":=!>#ims x-(", *p);
}

// What Python does not know at p, or NULL; appends the text for PCRE2 to *out, sets *next to the text after it.
static const char *translate_python_one(StrBuf *out, const char *p, bool in_brackets, const char **next) {
    size_t n = 1;
    if (*p == '\\') {
        bool letter = (p[1] >= 'a' && p[1] <= 'z') || (p[1] >= 'A' && p[1] <= 'Z');
        if (!p[1]) return "a backslash at the end";
        if (letter && !strchr("AbBdDsSwWZafnrtvx", p[1])) return "an escape that Python does not know";
        n = 2;
    } else if (in_brackets) {
        if (starts_with(p, "[:") || starts_with(p, "[.") || starts_with(p, "[=")) return "a POSIX class";
    } else if (starts_with(p, "(*")) {
        return "(*";
    } else if (starts_with(p, "(?") && !is_python_group(p + 2)) {
        return "a group that Python does not know";
    } else if (starts_with(p, "{,")) {
        str_puts(out, "{0");
        *next = p + 1;
        return NULL;
    }
    str_add(out, p, n);
    *next = p + n;
    return NULL;
}

static int translate_python(StrBuf *out, const char *pattern, Err *err) {
    bool in_brackets = false;
    for (const char *p = pattern; *p;) {
        bool open = !in_brackets && *p == '[', close = in_brackets && *p == ']';
        const char *next, *foreign = translate_python_one(out, p, in_brackets, &next);
        if (foreign) return err_input(err, "regular expression \"%.200s\": %s", pattern, foreign);
        if (open && *next == '^') str_add(out, next++, 1);
        if (open && *next == ']') str_add(out, next++, 1); // a literal ]
        in_brackets = open || (in_brackets && !close);
        p = next;
    }
    return 0;
}

int pyregex_new(PyRegex **out, const char *pattern, bool whole, Err *err) {
    AUTO_STR StrBuf text = {0};
    if (strlen(pattern) > MAX_PATTERN)
        return err_input(err, "regular expression of %zu bytes; expected at most %d", strlen(pattern), MAX_PATTERN);
    str_puts(&text, "");
    if (translate_python(&text, pattern, err)) return -1;
    uint32_t options = PCRE2_ANCHORED | PCRE2_NEVER_UTF | (whole ? PCRE2_ENDANCHORED : 0);
    pcre2_code *code = compile(text.data, text.len, options, err);
    if (!code) return err_context(err, "regular expression \"%.200s\"", pattern);
    pcre2_general_context *memory = own_memory();
    PyRegex *r = *out = mem_alloc(1, sizeof *r);
    *r = (PyRegex){.code = code,
                   .data = pcre2_match_data_create_from_pattern(code, memory),
                   .context = pcre2_match_context_create(memory),
                   .pattern = mem_strdup(pattern)};
    pcre2_general_context_free(memory);
    pcre2_set_match_limit(r->context, MAX_STEPS);
    pcre2_set_depth_limit(r->context, MAX_STEPS);
    return 0;
}

void pyregex_free(PyRegex *r) {
    if (!r) return;
    pcre2_code_free(r->code);
    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->context);
    mem_free(r->pattern);
    mem_free(r);
}

static int64_t group_number(const PyRegex *r) {
    char digits[16];
    PCRE2_SIZE size = sizeof digits;
    int64_t number = 0;
    if (pcre2_substring_copy_byname(r->data, (PCRE2_SPTR) "idx", (PCRE2_UCHAR *)digits, &size) || !size) return -1;
    for (size_t i = 0; i < size; i++) number = number * 10 + (digits[i] - '0');
    return number;
}

int pyregex_match(const PyRegex *r, const char *text, int64_t *number, Err *err) {
    int n = pcre2_match(r->code, (PCRE2_SPTR)text, strlen(text), 0, 0, r->data, r->context);
    if (number) *number = n > 0 ? group_number(r) : -1;
    if (n > 0) return 1;
    if (n == PCRE2_ERROR_NOMATCH) return 0;
    return err_input(err, "regular expression \"%.200s\": takes more than %d steps over \"%.200s\"", r->pattern,
                     MAX_STEPS, text);
}
