// jinja_format: "%s" % values and "{}".format(values), in the forms templates use; others are refused.
#include "jinja_eval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Spec {
    bool left, zero, plus;
    int width, precision; // -1: not given
    char type;
} Spec;

static int read_number(const Str *f, size_t *at) {
    int n = 0;
    while (*at < f->len && is_digit(f->data[*at]) && n < 10000) n = n * 10 + f->data[(*at)++] - '0';
    return n;
}

static Spec read_spec(const Str *f, size_t *at) {
    Spec s = {.precision = -1};
    for (; *at < f->len && strchr("-0+", f->data[*at]) && f->data[*at]; (*at)++) {
        s.left |= f->data[*at] == '-';
        s.zero |= f->data[*at] == '0';
        s.plus |= f->data[*at] == '+';
    }
    s.width = read_number(f, at);
    if (*at < f->len && f->data[*at] == '.') {
        (*at)++;
        s.precision = read_number(f, at);
    }
    if (*at < f->len) s.type = f->data[(*at)++];
    return s;
}

static Value format_number(Eval *e, Spec s, Value v) {
    char format[16], text[512];
    int64_t i = 0;
    bool is_int = strchr("dixX", s.type) != NULL, hex = s.type == 'x' || s.type == 'X';
    if (!is_number(v)) return eval_fail(e, "%%%c needs a number, found '%s'", s.type, type_name(v));
    if (is_int && v.type == V_FLOAT && (hex || !fits_int(v.f)))
        return eval_fail(e, "%%%c of this number is not supported", s.type);
    if (is_int && !as_int(v, &i)) i = (int64_t)v.f;
    if (hex && i < 0) return eval_fail(e, "hexadecimal of a negative number");
    if (s.width > 100 || s.precision > 100) return eval_fail(e, "a width or precision above 100 is not supported");
    if (is_int && s.precision >= 0) return eval_fail(e, "a precision for integers is not supported");
    snprintf(format, sizeof format, "%%%s%s%s*%s%c", s.left ? "-" : "", s.zero ? "0" : "", s.plus ? "+" : "",
             is_int ? "l" : ".*", s.type);
    if (is_int)
        snprintf(text, sizeof text, format, s.width, i);
    else
        snprintf(text, sizeof text, format, s.width, s.precision < 0 ? 6 : s.precision, as_double(v));
    return v_text(e, text);
}

static Value format_one(Eval *e, Spec s, Value v) {
    static const Str space = STR_INIT(" ");
    if (s.type && strchr("dixXfFeEgG", s.type)) return format_number(e, s, v);
    if (s.type != 's' && s.type != 'r') return eval_fail(e, "format %%%c is not supported", s.type ? s.type : '?');
    const Str *text = s.type == 'r' ? to_repr(e, v).str : to_str(e, v);
    if (s.precision >= 0 && (size_t)s.precision < text->chars)
        text = str_slice(e, text, 0, str_offset(text, (size_t)s.precision)).str;
    return str_pad(e, text, s.width, &space, s.left ? '<' : '>');
}

Value format_percent(Eval *e, const Str *f, Value args) {
    const Value *values = args.type == V_TUPLE ? args.seq->items : &args;
    size_t count = args.type == V_TUPLE ? args.seq->count : 1, used = 0;
    Buffer b = {0};
    for (size_t at = 0; at < f->len && !e->failed;) {
        const char *percent = memchr(f->data + at, '%', f->len - at);
        size_t to = percent ? (size_t)(percent - f->data) : f->len;
        buf_slice(e, &b, f, at, to);
        at = to + 1;
        if (!percent) break;
        if (at < f->len && f->data[at] == '%') {
            buf_slice(e, &b, f, at, at + 1);
            at++;
            continue;
        }
        Spec s = read_spec(f, &at);
        if (used == count) return eval_fail(e, "not enough arguments for the format string");
        buf_str(e, &b, to_str(e, format_one(e, s, values[used++])));
    }
    bool may_be_unused = args.type == V_DICT || args.type == V_LIST; // Python ignores unused items of mappings
    if (used < count && !may_be_unused) return eval_fail(e, "not all arguments were used by the format string");
    return buf_value(e, &b);
}

// "..." | format(values)
Value format_filter(const Call *c) {
    if (c->given->kw.count) return eval_fail(c->e, "format: named values are not supported");
    return format_percent(c->e, to_str(c->e, c->self), v_seq(c->e, V_TUPLE, c->given->pos, c->given->n_pos));
}

// The field between { and }: empty, a number or a name.
static Value field_value(const Call *c, size_t from, size_t to, size_t *automatic) {
    const Str *f = c->self.str, name = {.data = f->data + from, .len = to - from};
    size_t index = *automatic;
    Value v;
    if (from == to) {
        (*automatic)++;
    } else if (is_digit(f->data[from])) {
        size_t at = from;
        index = (size_t)read_number(f, &at);
        if (at != to || *automatic) return eval_fail(c->e, "format: this field is not supported");
    } else {
        if (dict_get_str(&c->given->kw, &name, &v)) return v;
        return eval_fail(c->e, "format: a field has no value, or its form is not supported");
    }
    if (index >= c->given->n_pos) return eval_fail(c->e, "format: not enough values");
    return c->given->pos[index];
}

// "...".format(values)
Value format_braces(const Call *c) {
    const Str *f = c->self.str;
    Buffer b = {0};
    size_t automatic = 0;
    for (size_t at = 0; at < f->len && !c->e->failed; at++) {
        char brace = f->data[at];
        if (brace != '{' && brace != '}') {
            buf_slice(c->e, &b, f, at, at + 1);
        } else if (at + 1 < f->len && f->data[at + 1] == brace) {
            buf_slice(c->e, &b, f, at, at + 1);
            at++;
        } else {
            const char *end = brace == '{' ? memchr(f->data + at, '}', f->len - at) : NULL;
            if (!end) return eval_fail(c->e, "format: a single '%c'", brace);
            size_t to = (size_t)(end - f->data);
            buf_str(c->e, &b, to_str(c->e, field_value(c, at + 1, to, &automatic)));
            at = to;
        }
    }
    return buf_value(c->e, &b);
}
