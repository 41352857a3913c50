#include "secrets.h"

#include <stdio.h>
#include <string.h>

#include "base.h"

enum { DIGIT = 1, UPPER = 2, LOWER = 4, DASH = 8, UNDERSCORE = 16, DOT = 32, HEX_LOWER = 64 };
enum { ALNUM = DIGIT | UPPER | LOWER, URL = ALNUM | DASH | UNDERSCORE };

static int class_of(char c) {
    if (c >= '0' && c <= '9') return DIGIT | HEX_LOWER;
    if (c >= 'A' && c <= 'Z') return UPPER;
    if (c >= 'a' && c <= 'z') return LOWER | (c <= 'f' ? HEX_LOWER : 0);
    return c == '-' ? DASH : c == '_' ? UNDERSCORE : c == '.' ? DOT : 0;
}

static bool is(char c, int classes) { return (class_of(c) & classes) != 0; }

static size_t span_of(const char *p, size_t len, int classes) {
    size_t n = 0;
    while (n < len && is(p[n], classes)) n++;
    return n;
}

// May a word begin at `at`?
static bool begins_word(const char *text, size_t at) {
    return at == 0 || !((unsigned char)text[at - 1] >= 0x80 || is(text[at - 1], ALNUM | UNDERSCORE));
}

// ---- e-mail addresses ----

// A dot inside the domain before its last part; 0: no domain of two parts.
static size_t domain_length(const char *p, size_t len, size_t *last_dot) {
    size_t n = 0, end = 0;
    *last_dot = 0;
    for (;;) {
        size_t label = span_of(p + n, len - n, ALNUM | DASH);
        if (!label || p[n] == '-') break;
        if (n) *last_dot = n - 1;
        end = n += label;
        if (n >= len || p[n] != '.') break;
        n++;
    }
    return *last_dot ? end : 0;
}

static bool ends_with_domain(const char *p, size_t len, const char *domain) {
    size_t n = strlen(domain);
    return ends_with_nocase(p, len, domain) && (len == n || p[len - n - 1] == '.');
}

static bool is_reserved(const char *p, size_t len, const char *top, size_t top_len) {
    static const char *const domains[] = {"example.com", "example.org", "example.net"};
    static const char tops[] = "example test invalid localhost local", files[] = "png jpg jpeg gif svg webp";
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++)
        if (ends_with_domain(p, len, domains[i])) return true;
    return is_among_nocase(top, top_len, tops) || is_among_nocase(top, top_len, files); // icon@2x.png
}

static bool email_at(Secret *s, const char *text, size_t len, size_t at) {
    enum { LONGEST = 64 };
    size_t begin = at, dot;
    while (begin && at - begin < LONGEST && (is(text[begin - 1], URL | DOT) || text[begin - 1] == '+')) begin--;
    while (begin < at && !is(text[begin], ALNUM)) begin++;
    const char *domain = text + at + 1;
    size_t left = len - at - 1, n = domain_length(domain, left, &dot);
    if (begin == at || text[at - 1] == '.' || !n) return false;
    const char *top = domain + dot + 1;
    size_t top_len = n - dot - 1;
    if (top_len < 2 || span_of(top, top_len, UPPER | LOWER) != top_len || is_reserved(domain, n, top, top_len))
        return false;
    if (n + 1 < left && domain[n] == ':' && (is(domain[n + 1], URL) || domain[n + 1] == '/' || domain[n + 1] == '~'))
        return false; // scp
    *s = (Secret){.kind = SECRET_EMAIL, .begin = begin, .end = at + 1 + n};
    snprintf(s->masked, sizeof s->masked, "%c***@%c***.%.*s", text[begin], *domain, (int)(top_len < 12 ? top_len : 12),
             top);
    return true;
}

// ---- keys ----

typedef struct KeyForm {
    const char *prefix;
    int classes;        // of the characters after it
    size_t least, most; // how many; most 0: any
} KeyForm;

static const KeyForm forms[] = {
    {"sk-ant-", URL, 20, 0},          // Anthropic
    {"sk-proj-", URL, 20, 0},         // OpenAI
    {"sk-svcacct-", URL, 20, 0},      // OpenAI
    {"sk-or-v1-", HEX_LOWER, 64, 64}, // OpenRouter
    {"sk-", ALNUM, 32, 0},            // OpenAI and others
    {"sk_live_", ALNUM, 16, 0},       // Stripe
    {"rk_live_", ALNUM, 16, 0},       // Stripe
    {"sk_test_", ALNUM, 16, 0},       // Stripe
    {"ghp_", ALNUM, 36, 0},           // GitHub
    {"gho_", ALNUM, 36, 0},           // GitHub
    {"ghu_", ALNUM, 36, 0},           // GitHub
    {"ghs_", ALNUM, 36, 0},           // GitHub
    {"ghr_", ALNUM, 36, 0},           // GitHub
    {"github_pat_", ALNUM | UNDERSCORE, 40, 0},
    {"glpat-", URL, 20, 0},          // GitLab
    {"hf_", ALNUM, 30, 0},           // Hugging Face
    {"gsk_", ALNUM, 40, 0},          // Groq
    {"AKIA", DIGIT | UPPER, 16, 16}, // AWS
    {"ASIA", DIGIT | UPPER, 16, 16}, // AWS
    {"AIza", URL, 35, 35},           // Google
    {"ya29.", URL, 30, 0},           // Google
    {"xoxb-", ALNUM | DASH, 20, 0},  // Slack
    {"xoxp-", ALNUM | DASH, 20, 0},  // Slack
    {"xoxa-", ALNUM | DASH, 20, 0},  // Slack
    {"xapp-", ALNUM | DASH, 20, 0},  // Slack
    {"SG.", URL | DOT, 50, 0},       // SendGrid
    {"npm_", ALNUM, 36, 0},
    {"pypi-", URL, 50, 0},
    {"dop_v1_", HEX_LOWER, 64, 64}, // DigitalOcean
    {"shpat_", ALNUM, 32, 32},      // Shopify
    {"AGE-SECRET-KEY-1", DIGIT | UPPER, 50, 0},
    {"eyJ", URL | DOT, 60, 0}, // JSON Web Token: three parts
};

// Letters of one case only, or the word EXAMPLE: a placeholder.
static bool is_placeholder(const char *p, size_t len) {
    int seen = 0;
    for (size_t i = 0; i < len; i++) {
        seen |= class_of(p[i]) & ALNUM;
        if (len - i >= 7 && memcmp(p + i, "EXAMPLE", 7) == 0) return true;
    }
    return seen == LOWER || seen == UPPER || !seen;
}

static bool is_web_token(const char *p, size_t len) {
    const char *second = memchr(p, '.', len), *end = p + len;
    if (!second || end - second < 5 || memcmp(second, ".eyJ", 4) != 0) return false;
    const char *third = memchr(second + 1, '.', (size_t)(end - second - 1));
    return third && end - third > 10 && !memchr(third + 1, '.', (size_t)(end - third - 1));
}

static bool has_prefix(const char *p, size_t len, const char *prefix) {
    size_t n = strlen(prefix);
    return n <= len && memcmp(p, prefix, n) == 0;
}

static bool private_key_at(Secret *s, const char *text, size_t len, size_t at) {
    static const char begin[] = "-----BEGIN ";
    enum { LONGEST = 32 };
    if (!has_prefix(text + at, len - at, begin)) return false;
    size_t from = at + sizeof begin - 1, n = 0;
    while (n < LONGEST && from + n < len && (is(text[from + n], UPPER) || text[from + n] == ' ')) n++;
    const char *words = text + from;
    bool key = ends_with_nocase(words, n, "PRIVATE KEY") || ends_with_nocase(words, n, "PRIVATE KEY BLOCK");
    if (!key || !has_prefix(words + n, len - from - n, "-----")) return false;
    *s = (Secret){.kind = SECRET_KEY, .begin = at, .end = from + n + 5};
    snprintf(s->masked, sizeof s->masked, "%.*s", (int)(n < 28 ? n : 28), words);
    return true;
}

static bool key_at(Secret *s, const char *text, size_t len, size_t at) {
    const char *p = text + at;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const KeyForm *f = &forms[i];
        if (*p != *f->prefix || !has_prefix(p, len - at, f->prefix)) continue;
        size_t prefix = strlen(f->prefix), n = span_of(p + prefix, len - at - prefix, f->classes);
        while (n && p[prefix + n - 1] == '.') n--; // of the sentence
        if (n < f->least || (f->most && n > f->most) || is_placeholder(p + prefix, n)) continue;
        if (strcmp(f->prefix, "eyJ") == 0 && !is_web_token(p, prefix + n)) continue;
        *s = (Secret){.kind = SECRET_KEY, .begin = at, .end = at + prefix + n};
        snprintf(s->masked, sizeof s->masked, "%s***", f->prefix);
        return true;
    }
    return false;
}

// ---- phone numbers ----

static bool is_separator(char c) { return c == ' ' || c == '-' || c == '.' || c == '/'; }

// Digits in groups with one separator, or one with parentheses, between them: the number of digits, *end after the
// last.
static int grouped_digits(const char *text, size_t len, size_t at, size_t *end) {
    int digits = 0;
    for (size_t i = at; i < len;) {
        if (is(text[i], DIGIT)) {
            digits++;
            *end = ++i;
            continue;
        }
        size_t gap = i;
        while (gap < len && gap - i < 2 && (is_separator(text[gap]) || text[gap] == '(' || text[gap] == ')')) gap++;
        if (gap == i || gap >= len || !is(text[gap], DIGIT)) break;
        i = gap;
    }
    return digits;
}

// "ddd" then `more` groups of the given lengths, each after one separator: the end; 0: not so.
static size_t national(const char *text, size_t len, size_t at) {
    bool open = text[at] == '(';
    size_t i = at + open;
    static const size_t groups[] = {3, 3, 4};
    for (int g = 0; g < 3; g++) {
        if (span_of(text + i, len - i, DIGIT) != groups[g]) return 0;
        i += groups[g];
        if (g == 0 && open) {
            if (i >= len || text[i] != ')') return 0;
            i += i + 1 < len && text[i + 1] == ' ' ? 2 : 1;
        } else if (g < 2) {
            if (i >= len || !is_separator(text[i]) || text[i] == '/') return 0;
            i++;
        }
    }
    return i;
}

// A number of a list: "12 345 678 9012", "345 678 9012 3".
static bool is_in_list(const char *text, size_t len, size_t at, size_t end) {
    return (at > 1 && text[at - 1] == ' ' && is(text[at - 2], DIGIT)) ||
           (end + 1 < len && text[end] == ' ' && is(text[end + 1], DIGIT));
}

static bool phone_at(Secret *s, const char *text, size_t len, size_t at) {
    size_t end = 0;
    char before = at ? text[at - 1] : ' ';
    if (!begins_word(text, at) || strchr("+-.(/=", before)) return false;
    if (text[at] == '+') {
        if (at + 1 >= len || !is(text[at + 1], DIGIT) || text[at + 1] == '0') return false;
        int digits = grouped_digits(text, len, at + 1, &end);
        if (digits < 8 || digits > 15) return false;
    } else {
        end = national(text, len, at);
        if (end && is_in_list(text, len, at, end)) return false;
    }
    if (!end || (end < len && (is(text[end], ALNUM | UNDERSCORE) ||
                               (end + 1 < len && is(text[end], DASH | DOT) && is(text[end + 1], ALNUM)))))
        return false;
    *s = (Secret){.kind = SECRET_PHONE, .begin = at, .end = end};
    snprintf(s->masked, sizeof s->masked, "%.3s***", text + at);
    return true;
}

// ---- all of them ----

bool secret_next(Secret *s, const char *text, size_t len, size_t from) {
    for (size_t i = from; i < len; i++) {
        char c = text[i];
        if (c == '@') {
            if (email_at(s, text, len, i)) return true;
        } else if (c == '-') {
            if ((!i || text[i - 1] != '-') && private_key_at(s, text, len, i)) return true;
        } else if (c == '+' || c == '(' || is(c, DIGIT)) {
            if (phone_at(s, text, len, i)) return true;
        } else if (is(c, LOWER | UPPER) && strchr("sghAaxSnpdye", c) && begins_word(text, i)) {
            if (key_at(s, text, len, i)) return true;
        }
    }
    return false;
}
