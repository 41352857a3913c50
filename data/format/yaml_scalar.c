// The forms of numbers and words are those of PyYAML's resolver.
#include "yaml_scalar.h"

#include <math.h>
#include <string.h>

#include "json_internal.h"

static const char digits[] = "0123456789_";

static bool is_word(JsonStr s, const char *words) { return s.len && is_among(s.data, s.len, words); }

// A sign, digits and underscores in groups with colons between them: 1:30, 190:20:30.5.
static bool is_sexagesimal(const char *p) {
    size_t groups = 0;
    p += *p == '-' || *p == '+';
    if (*p < '0' || *p > '9') return false;
    p += strspn(p, digits);
    for (; *p == ':' && p[1] >= '0' && p[1] <= '9'; groups++) {
        size_t n = strspn(p + 1, "0123456789");
        if (n > 2 || (n == 2 && p[1] > '5')) return false;
        p += 1 + n;
    }
    if (*p == '.') p += 1 + strspn(p + 1, digits);
    return groups && !*p;
}

// digits [. digits] [e [sign] digits], at least one digit in front of e.
static bool is_decimal(const char *p) {
    p += *p == '-' || *p == '+';
    size_t whole = *p == '_' ? 0 : strspn(p, digits), part = 0;
    p += whole;
    if (*p == '.') {
        part = strspn(p + 1, digits);
        if (!whole && p[1] == '_') return false;
        p += 1 + part;
    }
    if (!whole && !part) return false;
    if (*p != 'e' && *p != 'E') return !*p;
    p++;
    p += *p == '-' || *p == '+';
    size_t exponent = strspn(p, "0123456789");
    return exponent && !p[exponent];
}

// Of a number in base 2 or 16 after 0b or 0x: its value in decimal digits; false: it is text.
static bool put_based(StrBuf *out, const char *p) {
    bool negative = *p == '-';
    p += *p == '-' || *p == '+';
    unsigned base = p[1] == 'x' ? 16 : p[1] == 'b' ? 2 : 0;
    double value = 0; // exact up to 2^53; the key's range is checked by its reader
    if (*p != '0' || !base || !p[2 + strspn(p + 2, "_")]) return false;
    for (p += 2; *p; p++) {
        const char *all = "0123456789abcdef", *hit = strchr(all, *p | 32);
        if (*p == '_') continue;
        if (!hit || hit - all >= (long)base) return false;
        value = value * base + (double)(hit - all);
    }
    if (isfinite(value)) str_printf(out, "%s%.17g", negative ? "-" : "", value);
    return isfinite(value);
}

// In JSON's form: without plus, underscores, leading zeros; a digit on both sides of the point.
static void put_decimal(StrBuf *out, const char *p) {
    if (*p == '-') str_puts(out, "-");
    p += *p == '-' || *p == '+';
    p += strspn(p, "0_");
    if (*p < '0' || *p > '9') str_puts(out, "0");
    for (; *p; p++) {
        if (*p != '_') str_add(out, p, 1);
        const char *part = p + 1 + strspn(p + 1, "_");
        if (*p == '.' && (*part < '0' || *part > '9')) str_puts(out, "0");
    }
}

static const char *set_number(Json *out, JsonDoc *doc, const StrBuf *text) {
    out->str = json_doc_text(doc, text->data, text->len);
    json_set_number(out, !text->data[strcspn(text->data, ".eE")]);
    return isfinite(out->number) ? NULL : "a number too large for a double; expected less than 1e308";
}

const char *yaml_scalar_resolve(Json *out, JsonDoc *doc, JsonStr text) {
    AUTO_STR StrBuf number = {0};
    const char *p = text.data, *unsigned_part = p + (*p == '-' || *p == '+');
    *out = (Json){.type = JSON_STRING, .str = text};
    str_puts(&number, "");
    if (!text.len || is_word(text, "~ null Null NULL")) {
        *out = (Json){.type = JSON_NULL};
    } else if (is_word(text, "yes Yes YES true True TRUE on On ON")) {
        out->type = JSON_TRUE;
    } else if (is_word(text, "no No NO false False FALSE off Off OFF")) {
        out->type = JSON_FALSE;
    } else if (is_word(text, ".nan .NaN .NAN") ||
               is_word((JsonStr){unsigned_part, strlen(unsigned_part)}, ".inf .Inf .INF")) {
        out->type = JSON_FLOAT;
        out->number = p[1] == 'n' || p[1] == 'N' ? NAN : *p == '-' ? -INFINITY : INFINITY;
    } else if (is_sexagesimal(p)) {
        return "a number of base 60 in YAML 1.1, text in YAML 1.2; expected quotes around text, or a decimal number";
    } else if (*unsigned_part == '0' && unsigned_part[1] && !unsigned_part[strspn(unsigned_part, digits)]) {
        return "octal or text in YAML 1.1, a decimal number in 1.2; expected no leading zero, or quotes around text";
    } else if (is_decimal(p)) {
        put_decimal(&number, p);
        return set_number(out, doc, &number);
    } else if (put_based(&number, p)) {
        return set_number(out, doc, &number);
    }
    return NULL;
}

bool yaml_scalar_has_tag(const Json *v, const char *tag) {
    if (!*tag) return true;
    switch (v->type) {
    case JSON_NULL: return strcmp(tag, "null") == 0;
    case JSON_TRUE:
    case JSON_FALSE: return strcmp(tag, "bool") == 0;
    case JSON_INT: return is_among(tag, strlen(tag), "int float");
    case JSON_FLOAT: return strcmp(tag, "float") == 0;
    default: return strcmp(tag, "str") == 0;
    }
}
