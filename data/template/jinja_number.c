// jinja_number: filters and tests of numbers.
#include "jinja_eval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Value number_abs(const Call *c) {
    int64_t i;
    if (c->self.type == V_FLOAT) return v_float(fabs(c->self.f));
    if (!as_int(c->self, &i)) return op_sign(c->e, c->self, 1); // reports the type
    return op_sign(c->e, v_int(i), i < 0 ? -1 : 1);
}

// odd, even, divisibleby: the remainder (mode) of a division by 2 or the argument.
Value number_remainder(const Call *c) {
    Value by = v_given(c->arg[0]) ? c->arg[0] : v_int(2);
    return v_bool(value_equal(c->e, op_binary(c->e, '%', c->self, by), v_int(c->f->mode)));
}

// The text of a number as Python's int() and float() read it: white space around it, underscores between digits.
static bool clean_number(const Str *s, char out[128]) {
    size_t n = 0, at = 0, end = s->len;
    while (at < end && char_is_space((unsigned char)s->data[at])) at++;
    while (end > at && char_is_space((unsigned char)s->data[end - 1])) end--;
    for (; at < end; at++) {
        char c = s->data[at];
        if (c == '_' && at > 0 && at + 1 < end && is_digit(s->data[at - 1]) && is_digit(s->data[at + 1])) continue;
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

// false: not an integer. An integer that does not fit 64 bits fails.
static bool parse_int(Eval *e, const Str *s, int base, int64_t *out) {
    char text[128], *end;
    if (!clean_number(s, text) || strspn(text, "+-") > 1) return false;
    *out = strtoll(text, &end, base);
    if (*end || end == text) return false;
    if (*out == INT64_MAX || *out == INT64_MIN) eval_fail(e, "int: the number does not fit 64 bits");
    return true;
}

Value number_int(const Call *c) {
    Value v = c->self, fallback = v_given(c->arg[0]) ? c->arg[0] : v_int(0);
    int64_t i, base = arg_int(c, 1, 10);
    double f = v.type == V_FLOAT ? v.f : 0;
    if (as_int(v, &i)) return v_int(i);
    if (v.type == V_UNDEFINED) return fail_undefined(c->e, v);
    if (v.type == V_STR) {
        if (base != 10 && base != 16 && base != 8) return eval_fail(c->e, "int: base %ld is not supported", base);
        if (parse_int(c->e, v.str, (int)base, &i)) return v_int(i);
        if (!parse_double(v.str, &f)) return fallback;
    } else if (v.type != V_FLOAT) {
        return fallback;
    }
    if (!isfinite(f)) return fallback;
    return fits_int(f) ? v_int((int64_t)f) : eval_fail(c->e, "int: %g does not fit 64 bits", f);
}

Value number_float(const Call *c) {
    double f;
    if (is_number(c->self)) return v_float(as_double(c->self));
    if (c->self.type == V_UNDEFINED) return fail_undefined(c->e, c->self);
    if (c->self.type == V_STR && parse_double(c->self.str, &f)) return v_float(f);
    return v_given(c->arg[0]) ? c->arg[0] : v_float(0);
}

Value number_round(const Call *c) {
    Value v = c->self;
    int64_t i = 0, precision = arg_int(c, 0, 0);
    bool up = arg_is(c, 1, "ceil"), down = arg_is(c, 1, "floor");
    if (!is_number(v)) return op_sign(c->e, v, 1); // reports the type
    if (precision < 0 || precision > 15) return eval_fail(c->e, "round: precision is not between 0 and 15");
    if (up || down) {
        double scale = pow(10, (double)precision), f = as_double(v) * scale;
        return v_float((up ? ceil(f) : floor(f)) / scale);
    }
    if (v_given(c->arg[1]) && !arg_is(c, 1, "common")) return eval_fail(c->e, "round: unknown method");
    if (as_int(v, &i)) return v_int(i);
    char text[400]; // printf rounds the exact binary value, half to even, as Python does
    snprintf(text, sizeof text, "%.*f", (int)precision, v.f);
    return v_float(strtod(text, NULL));
}
