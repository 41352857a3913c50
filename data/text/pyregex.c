// pyregex: see pyregex.h. Both dialects agree on nearly everything that Python takes; a check in front of PCRE2 keeps
// out the rest: verbs, recursion, POSIX classes, escapes of Perl. Only {,n} is written in another way.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "pyregex.h"

#include <pcre2.h>
#include <string.h>

enum { MAX_PATTERN = 4096, MAX_STEPS = 100000 };

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
static const char *translate_one(StrBuf *out, const char *p, bool in_brackets, const char **next) {
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

static int translate(StrBuf *out, const char *pattern, Err *err) {
    bool in_brackets = false;
    for (const char *p = pattern; *p;) {
        bool open = !in_brackets && *p == '[', close = in_brackets && *p == ']';
        const char *next, *foreign = translate_one(out, p, in_brackets, &next);
        if (foreign) return err_input(err, "regular expression \"%.200s\": %s", pattern, foreign);
        if (open && *next == '^') str_add(out, next++, 1);
        if (open && *next == ']') str_add(out, next++, 1); // a literal ]
        in_brackets = open || (in_brackets && !close);
        p = next;
    }
    return 0;
}

int pyregex_new(PyRegex **out, const char *pattern, bool whole, Err *err) {
    int code = 0;
    PCRE2_SIZE at = 0;
    StrBuf text = {0};
    if (strlen(pattern) > MAX_PATTERN)
        return err_input(err, "regular expression of %zu bytes; expected at most %d", strlen(pattern), MAX_PATTERN);
    str_puts(&text, "");
    if (translate(&text, pattern, err)) {
        str_clear(&text);
        return -1;
    }
    PyRegex *r = mem_calloc(1, sizeof *r);
    uint32_t options = PCRE2_ANCHORED | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C | (whole ? PCRE2_ENDANCHORED : 0);
    r->code = pcre2_compile((PCRE2_SPTR)text.data, text.len, options, &code, &at, NULL);
    r->pattern = mem_strdup(pattern);
    str_clear(&text);
    if (!r->code) {
        char message[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        pyregex_free(r);
        return err_input(err, "regular expression \"%.200s\": %s", pattern, message);
    }
    r->data = pcre2_match_data_create_from_pattern(r->code, NULL);
    r->context = pcre2_match_context_create(NULL);
    CHECK(r->data && r->context, "out of memory");
    pcre2_set_match_limit(r->context, MAX_STEPS);
    pcre2_set_depth_limit(r->context, MAX_STEPS);
    *out = r;
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
