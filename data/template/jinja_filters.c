// jinja_filters: filters of one value, and the table of all filters. Those over sequences are in jinja_filters_seq.c.
//
// Not supported, refused by name: escaping and HTML (escape, forceescape, striptags, urlize, xmlattr, urlencode),
// random, pprint, filesizeformat, wordwrap, wordcount, truncate, groupby, batch, slice, attr.
#include "jinja_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool given(Value v) { // given and not none
    return v_given(v) && v.type != V_NONE;
}

static int64_t int_arg(Eval *e, Value v, int64_t absent) {
    int64_t i = absent;
    if (v_given(v) && !as_int(v, &i)) eval_fail(e, "argument is of type '%s'; expected an integer", type_name(v));
    return i;
}

static Value f_abs(Eval *e, Value v, const Value *a) {
    (void)a;
    if (v.type == V_FLOAT) return v_float(fabs(v.f));
    int64_t i;
    if (!as_int(v, &i)) return op_negate(e, v, 1); // reports the type
    return i < 0 ? op_negate(e, v_int(i), -1) : v_int(i);
}

static Value f_upper(Eval *e, Value v, const Value *a) {
    (void)a;
    return str_case(e, to_str(e, v), 'u');
}
static Value f_lower(Eval *e, Value v, const Value *a) {
    (void)a;
    return str_case(e, to_str(e, v), 'l');
}
static Value f_capitalize(Eval *e, Value v, const Value *a) {
    (void)a;
    return str_case(e, to_str(e, v), 'c');
}

// Words begin behind white space and - ( { [ <, unlike in str.title.
static Value f_title(Eval *e, Value v, const Value *a) {
    (void)a;
    const Str *s = to_str(e, v);
    Buffer b = {0};
    for (size_t at = 0, end; at < s->len && !e->failed; at = end) {
        bool between = false;
        for (end = at; end < s->len;) {
            int32_t cp;
            size_t n = utf8_next(s->data, s->len, end, &cp);
            bool separator = char_is_space(cp) || (cp < 0x80 && cp && strchr("-({[<", cp));
            if (end == at) between = separator;
            if (separator != between) break;
            end += n;
        }
        Value piece = str_slice(e, s, at, end);
        if (between) {
            buf_str(e, &b, piece.str);
        } else { // upper() of the first letter, which capitalize would turn into title case
            int32_t cp;
            size_t n = utf8_next(s->data, s->len, at, &cp);
            buf_str(e, &b, to_str(e, str_case(e, str_slice(e, s, at, at + n).str, 'u')));
            buf_str(e, &b, to_str(e, str_case(e, str_slice(e, s, at + n, end).str, 'l')));
        }
    }
    return buf_value(e, &b);
}

static Value f_trim(Eval *e, Value v, const Value *a) {
    const Str *chars = NULL;
    if (given(a[0])) {
        if (a[0].type != V_STR) return eval_fail(e, "trim: characters are of type '%s'", type_name(a[0]));
        chars = a[0].str;
    }
    return str_strip(e, to_str(e, v), chars, true, true);
}

static Value f_replace(Eval *e, Value v, const Value *a) {
    int64_t count = given(a[2]) ? int_arg(e, a[2], -1) : -1;
    return str_replace(e, to_str(e, v), to_str(e, a[0]), to_str(e, a[1]), count);
}

static Value f_string(Eval *e, Value v, const Value *a) {
    (void)a;
    return v.type == V_STR ? v : v_str(to_str(e, v));
}

static Value f_safe(Eval *e, Value v, const Value *a) {
    (void)a;
    const Str *s = to_str(e, v);
    Str *marked = eval_alloc(e, 1, sizeof *marked);
    *marked = *s;
    marked->markup = true;
    return v_str(marked);
}

static Value f_center(Eval *e, Value v, const Value *a) {
    static const Str space = {.data = " ", .len = 1, .chars = 1};
    return str_pad(e, to_str(e, v), int_arg(e, a[0], 80), &space, '^');
}

static Value f_indent(Eval *e, Value v, const Value *a) {
    static const Str space = {.data = " ", .len = 1, .chars = 1}, newline = {.data = "\n", .len = 1, .chars = 1};
    if (v.type == V_UNDEFINED) return fail_undefined(e, v);
    if (v.type != V_STR) return eval_fail(e, "indent: value is of type '%s'; expected a string", type_name(v));
    Value by = v_given(a[0]) ? a[0] : v_int(4);
    if (by.type != V_STR) by = op_binary(e, '*', v_str(&space), by);
    bool first = v_given(a[1]) && value_truth(e, a[1]), blank = v_given(a[2]) && value_truth(e, a[2]);
    Value with_end = op_binary(e, '+', v, v_str(&newline));
    if (e->failed) return by;
    Value lines = str_splitlines(e, with_end.str, false);
    Buffer b = {0};
    for (size_t i = 0; i < lines.seq->count && !e->failed; i++) {
        const Str *line = lines.seq->items[i].str;
        if (i) buf_str(e, &b, &newline);
        if (i ? blank || line->len : first) buf_str(e, &b, by.str);
        buf_str(e, &b, line);
    }
    return buf_value(e, &b);
}

static Value f_length(Eval *e, Value v, const Value *a) {
    (void)a;
    return v_int(value_length(e, v));
}

static Value f_default(Eval *e, Value v, const Value *a) {
    bool use = v.type == V_UNDEFINED || (v_given(a[1]) && value_truth(e, a[1]) && !value_truth(e, v));
    if (!use) return v;
    return v_given(a[0]) ? a[0] : v_text(e, "");
}

// The text of a number as Python's int() and float() read it: white space around it, underscores between digits.
static bool clean_number(const Str *s, char out[128]) {
    size_t n = 0, at = 0, end = s->len;
    while (at < end && char_is_space((unsigned char)s->data[at])) at++;
    while (end > at && char_is_space((unsigned char)s->data[end - 1])) end--;
    for (; at < end; at++) {
        char c = s->data[at];
        bool between = at > 0 && at + 1 < end && s->data[at - 1] >= '0' && s->data[at - 1] <= '9' &&
                       s->data[at + 1] >= '0' && s->data[at + 1] <= '9';
        if (c == '_' && between) continue;
        if (n == 127 || c <= ' ' || c >= 0x7F || c == '_') return false;
        out[n++] = c;
    }
    out[n] = 0;
    return n > 0;
}

static bool parse_double(const Str *s, double *out) {
    char text[128], *end;
    if (!clean_number(s, text) || strpbrk(text, "xXpP(")) return false; // hexadecimal and nan(...) are C only
    *out = strtod(text, &end);
    return *end == 0;
}

static bool parse_int(const Str *s, int base, int64_t *out, bool *too_large) {
    char text[128], *end;
    if (!clean_number(s, text) || text[0] == 0) return false;
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    if (digits[0] == '-' || digits[0] == '+') return false;
    long long v = strtoll(text, &end, base);
    if (*end || end == text) return false;
    *too_large = (v == INT64_MAX || v == INT64_MIN);
    *out = v;
    return true;
}

static Value double_to_int(Eval *e, double f, Value fallback) {
    if (!isfinite(f)) return fallback;
    if (!fits_int(f)) return eval_fail(e, "int: %g does not fit 64 bits", f);
    return v_int((int64_t)f);
}

static Value f_int(Eval *e, Value v, const Value *a) {
    Value fallback = v_given(a[0]) ? a[0] : v_int(0);
    int64_t i, base = int_arg(e, a[1], 10);
    double f;
    bool too_large = false;
    if (as_int(v, &i)) return v_int(i);
    if (v.type == V_FLOAT) return double_to_int(e, v.f, fallback);
    if (v.type == V_UNDEFINED) return fail_undefined(e, v);
    if (v.type != V_STR) return fallback;
    if (base != 10 && base != 16 && base != 8) return eval_fail(e, "int: base %lld is not supported", (long long)base);
    if (parse_int(v.str, (int)base, &i, &too_large)) {
        return too_large ? eval_fail(e, "int: the number does not fit 64 bits") : v_int(i);
    }
    return parse_double(v.str, &f) ? double_to_int(e, f, fallback) : fallback;
}

static Value f_float(Eval *e, Value v, const Value *a) {
    double f;
    if (is_number(v)) return v_float(as_double(v));
    if (v.type == V_UNDEFINED) return fail_undefined(e, v);
    if (v.type == V_STR && parse_double(v.str, &f)) return v_float(f);
    return v_given(a[0]) ? a[0] : v_float(0);
}

static Value f_round(Eval *e, Value v, const Value *a) {
    int64_t precision = int_arg(e, a[0], 0);
    if (!is_number(v)) return op_negate(e, v, 1); // reports the type
    if (precision < 0 || precision > 15) return eval_fail(e, "round: precision is not between 0 and 15");
    if (!v_given(a[1]) || (a[1].type == V_STR && str_is(a[1].str, "common"))) {
        if (v.type != V_FLOAT) return v_int(as_double(v) == 0 ? 0 : v.type == V_BOOL ? v.b : v.i);
        char text[400]; // printf rounds the exact binary value, half to even, as Python does
        snprintf(text, sizeof text, "%.*f", (int)precision, v.f);
        return v_float(strtod(text, NULL));
    }
    bool up = a[1].type == V_STR && str_is(a[1].str, "ceil");
    if (!up && !(a[1].type == V_STR && str_is(a[1].str, "floor"))) return eval_fail(e, "round: unknown method");
    double scale = pow(10, (double)precision), f = as_double(v) * scale;
    return v_float((up ? ceil(f) : floor(f)) / scale);
}

static Value f_format(Eval *e, Value v, const CallArgs *args) {
    if (args->n_kw) return eval_fail(e, "format: named values are not supported");
    return format_percent(e, to_str(e, v), v_seq(e, V_TUPLE, args->pos, args->n_pos));
}

static const Function filters[] = {
    {.name = "abs", .call = f_abs, .params = ""},
    {.name = "capitalize", .call = f_capitalize, .params = ""},
    {.name = "center", .call = f_center, .params = "width", .keywords = true},
    {.name = "count", .call = f_length, .params = ""},
    {.name = "d", .call = f_default, .params = "default_value boolean", .keywords = true},
    {.name = "default", .call = f_default, .params = "default_value boolean", .keywords = true},
    {.name = "float", .call = f_float, .params = "default", .keywords = true},
    {.name = "format", .raw = f_format},
    {.name = "indent", .call = f_indent, .params = "width first blank", .keywords = true},
    {.name = "int", .call = f_int, .params = "default base", .keywords = true},
    {.name = "length", .call = f_length, .params = ""},
    {.name = "lower", .call = f_lower, .params = ""},
    {.name = "replace", .call = f_replace, .params = "old new count", .required = 2, .keywords = true},
    {.name = "round", .call = f_round, .params = "precision method", .keywords = true},
    {.name = "safe", .call = f_safe, .params = ""},
    {.name = "string", .call = f_string, .params = ""},
    {.name = "title", .call = f_title, .params = ""},
    {.name = "tojson", .call = to_json, .params = "ensure_ascii indent separators sort_keys", .keywords = true},
    {.name = "trim", .call = f_trim, .params = "chars", .keywords = true},
    {.name = "upper", .call = f_upper, .params = ""},
};

const Function *find_filter(const Str *name) {
    const Function *f = TABLE_FIND(filters, name);
    return f ? f : find_filter_seq(name);
}

Value call_filter(Eval *e, const Str *name, Value v, const CallArgs *args) {
    static const char *const for_markup[] = {"safe", "string", "length", "count", "default", "d"};
    const Function *f = find_filter(name);
    if (!f) return eval_fail(e, "no filter named '%.*s'", STR_SHOWN(name, 100));
    if (v.type == V_STR && v.str->markup) {
        bool allowed = false;
        for (size_t i = 0; i < sizeof for_markup / sizeof *for_markup; i++) allowed |= str_is(name, for_markup[i]);
        if (!allowed) return eval_fail(e, "filter %s on a string marked as safe is not supported", f->name);
    }
    return call_function(e, f, "filter", v, args);
}
