// jinja_strconv: values to text as Python writes them (str, repr), and changes of letter case.
#include "jinja_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

// Shortest digits that read back as the same double, in Python's repr form.
size_t format_float(char buf[40], double f) {
    if (isnan(f)) return (size_t)sprintf(buf, "nan");
    if (isinf(f)) return (size_t)sprintf(buf, "%sinf", f < 0 ? "-" : "");
    char digits[40];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, f);
        if (strtod(digits, NULL) == f) break;
    }
    char *exp = strchr(digits, 'e');
    int e10 = (int)strtol(exp + 1, NULL, 10);
    if (e10 < -4 || e10 >= 16) { // d.ddde+XX as C writes it
        return (size_t)snprintf(buf, 40, "%s", digits);
    }
    int n_digits = (int)(exp - digits) - (digits[0] == '-') - (strchr(digits, '.') != NULL);
    int decimals = n_digits - 1 - e10;
    return (size_t)snprintf(buf, 40, "%.*f", decimals < 1 ? 1 : decimals, f);
}

static bool is_printable(int32_t cp) {
    if (cp == ' ') return true;
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

static void repr_char(Eval *e, Buffer *b, const Str *s, size_t at, size_t n, int32_t cp, char quote) {
    uint32_t origin = s->origins ? s->origins[at] : s->origin;
    if (cp == quote || cp == '\\') {
        buf_printf(e, b, origin, "\\%c", (char)cp);
    } else if (cp == '\n' || cp == '\r' || cp == '\t') {
        buf_printf(e, b, origin, "\\%c", cp == '\n' ? 'n' : cp == '\r' ? 'r' : 't');
    } else if (is_printable(cp)) {
        buf_slice(e, b, s, at, at + n);
    } else {
        buf_printf(e, b, origin, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
    }
}

static void repr_str(Eval *e, Buffer *b, const Str *s) {
    char quote = memchr(s->data, '\'', s->len) && !memchr(s->data, '"', s->len) ? '"' : '\'';
    uint32_t edge = str_edge_origin(s);
    buf_add(e, b, &quote, 1, edge);
    for (size_t at = 0; at < s->len && !e->failed;) {
        int32_t cp;
        size_t n = utf8_next(s->data, s->len, at, &cp);
        repr_char(e, b, s, at, n, cp, quote);
        at += n;
    }
    buf_add(e, b, &quote, 1, edge);
}

static void repr_items(Eval *e, Buffer *b, Value v) {
    const Seq *q = v.seq;
    const char *open = v.type == V_TUPLE ? "(" : "[", *close = v.type == V_TUPLE ? ")" : "]";
    if (v.type == V_VIEW) buf_printf(e, b, v.origin, "%s(", q->view);
    buf_add(e, b, open, 1, v.origin);
    for (size_t i = 0; i < q->count && !e->failed; i++) {
        if (i) buf_add(e, b, ", ", 2, v.origin);
        buf_repr(e, b, q->items[i]);
    }
    if (v.type == V_TUPLE && q->count == 1) buf_add(e, b, ",", 1, v.origin);
    buf_add(e, b, close, 1, v.origin);
    if (v.type == V_VIEW) buf_add(e, b, ")", 1, v.origin);
}

static void repr_dict(Eval *e, Buffer *b, Value v) {
    buf_add(e, b, "{", 1, v.origin);
    dict_read_all(v.dict);
    for (size_t i = 0; i < v.dict->count && !e->failed; i++) {
        if (i) buf_add(e, b, ", ", 2, v.origin);
        buf_repr(e, b, v.dict->keys[i]);
        buf_add(e, b, ": ", 2, v.origin);
        buf_repr(e, b, v.dict->values[i]);
    }
    buf_add(e, b, "}", 1, v.origin);
}

void buf_repr(Eval *e, Buffer *b, Value v) {
    char number[40];
    if (++e->depth > JINJA_MAX_DEPTH) eval_fail(e, "nested too deep");
    eval_charge(e, 1);
    switch (v.type) {
    case V_UNDEFINED:
        buf_printf(e, b, v.origin, "Undefined");
        break;
    case V_NONE:
        buf_printf(e, b, v.origin, "None");
        break;
    case V_BOOL:
        buf_printf(e, b, v.origin, v.b ? "True" : "False");
        break;
    case V_INT:
        buf_printf(e, b, v.origin, "%lld", (long long)v.i);
        break;
    case V_BIGINT:
        buf_str(e, b, v.str);
        break;
    case V_FLOAT:
        if (v.origin && !isfinite(v.f)) eval_fail(e, "a number of the data is NaN or infinite");
        buf_add(e, b, number, format_float(number, v.f), v.origin);
        break;
    case V_STR:
        repr_str(e, b, v.str);
        break;
    case V_LIST:
    case V_TUPLE:
    case V_VIEW:
        repr_items(e, b, v);
        break;
    case V_DICT:
        repr_dict(e, b, v);
        break;
    case V_NAMESPACE:
        buf_printf(e, b, v.origin, "<Namespace ");
        repr_dict(e, b, v);
        buf_add(e, b, ">", 1, v.origin);
        break;
    default:
        eval_fail(e, "printing a value of type '%s' is not supported", type_name(v));
    }
    e->depth--;
}

const Str *to_str(Eval *e, Value v) {
    if (v.type == V_STR || v.type == V_BIGINT) return v.str;
    Buffer b = {0};
    if (v.type != V_UNDEFINED) buf_repr(e, &b, v);
    return buf_value(e, &b).str;
}

// Letters whose case changes depend on their neighbours or give several letters: refused rather than approximated.
static bool has_special_case(int32_t cp) {
    return cp == 0xDF || cp == 0x130 || cp == 0x149 || cp == 0x1F0 || cp == 0x390 || cp == 0x3A3 || cp == 0x3B0 ||
           cp == 0x587 || (cp >= 0x1E96 && cp <= 0x1E9E) || (cp >= 0x1F50 && cp <= 0x1FFC) ||
           (cp >= 0xFB00 && cp <= 0xFB17);
}

static bool is_cased(int32_t cp) {
    utf8proc_category_t c = utf8proc_category(cp);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT;
}

// mode: 'u' upper, 'l' lower, 'c' capitalize (first letter title case, the rest lower), 't' str.title.
Value str_case(Eval *e, const Str *s, int mode) {
    Buffer b = {0};
    bool start = true;
    for (size_t at = 0; at < s->len && !e->failed;) {
        int32_t cp;
        size_t n = utf8_next(s->data, s->len, at, &cp);
        if (has_special_case(cp)) return eval_fail(e, "letter case of U+%04X is not supported", (unsigned)cp);
        bool up = mode == 'u' || (mode != 'l' && start);
        int32_t changed = !up ? utf8proc_tolower(cp) : mode == 'u' ? utf8proc_toupper(cp) : utf8proc_totitle(cp);
        char out[4];
        buf_add(e, &b, out, utf8_put(out, changed), s->origins ? s->origins[at] : s->origin);
        start = mode == 't' && !is_cased(cp);
        at += n;
    }
    return buf_value(e, &b);
}
