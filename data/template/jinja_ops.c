// jinja_ops: arithmetic, concatenation and comparison, with Python's meaning.
#include "jinja_eval.h"

#include <math.h>
#include <string.h>

// ---- numbers ----

static Value too_large(Eval *e) {
    return eval_fail(e, "an integer does not fit 64 bits");
}

static Value divided_by_zero(Eval *e) {
    return eval_fail(e, "division by zero");
}

static Value int_power(Eval *e, int64_t base, int64_t exp) {
    if (exp < 0) return base ? v_float(pow((double)base, (double)exp)) : eval_fail(e, "0 to a negative power");
    int64_t r = 1;
    if (base == 0 || base == 1) return v_int(exp == 0 ? 1 : base);
    if (base == -1) return v_int(exp % 2 ? -1 : 1);
    for (; exp > 0; exp--)
        if (__builtin_mul_overflow(r, base, &r)) return too_large(e);
    return v_int(r);
}

static Value int_divide(Eval *e, int op, int64_t a, int64_t b) {
    if (b == -1) { // INT64_MIN / -1 overflows
        if (op == '%') return v_int(0);
        return a == INT64_MIN ? too_large(e) : v_int(-a);
    }
    bool round_down = a % b != 0 && (a < 0) != (b < 0);
    return op == '%' ? v_int(a % b + (round_down ? b : 0)) : v_int(a / b - round_down);
}

static bool divides(int op) {
    return op == '/' || op == '%' || op == OP2('/', '/');
}

static Value int_binary(Eval *e, int op, int64_t a, int64_t b) {
    int64_t r;
    if (divides(op) && b == 0) return divided_by_zero(e);
    switch (op) {
    case '+':
        return __builtin_add_overflow(a, b, &r) ? too_large(e) : v_int(r);
    case '-':
        return __builtin_sub_overflow(a, b, &r) ? too_large(e) : v_int(r);
    case '*':
        return __builtin_mul_overflow(a, b, &r) ? too_large(e) : v_int(r);
    case '/':
        return v_float((double)a / (double)b);
    case OP2('*', '*'):
        return int_power(e, a, b);
    default:
        return int_divide(e, op, a, b);
    }
}

static Value float_binary(Eval *e, int op, double a, double b) {
    double mod;
    if (divides(op) && b == 0) return divided_by_zero(e);
    switch (op) {
    case '+':
        return v_float(a + b);
    case '-':
        return v_float(a - b);
    case '*':
        return v_float(a * b);
    case '/':
        return v_float(a / b);
    case OP2('*', '*'):
        if ((a == 0 && b < 0) || (a < 0 && b != floor(b))) return eval_fail(e, "unsupported power");
        return v_float(pow(a, b));
    default: // the remainder takes the sign of b
        mod = fmod(a, b);
        if (mod != 0 && (mod < 0) != (b < 0)) mod += b;
        if (mod == 0) mod = copysign(0, b);
        return v_float(op == '%' ? mod : round((a - mod) / b));
    }
}

// +v (sign 1) or -v (sign -1)
Value op_sign(Eval *e, Value v, int sign) {
    int64_t i;
    if (as_int(v, &i)) return i == INT64_MIN && sign < 0 ? too_large(e) : v_int(sign * i);
    if (v.type == V_FLOAT) return v_float(sign * v.f);
    if (v.type == V_UNDEFINED) return fail_undefined(e, v);
    return eval_fail(e, "bad operand type for unary %c: '%s'", sign < 0 ? '-' : '+', type_name(v));
}

// ---- strings and lists ----

static bool is_list(Value v) {
    return v.type == V_LIST || v.type == V_TUPLE;
}

static Value repeat(Eval *e, Value v, int64_t times) {
    bool text = v.type == V_STR;
    size_t n = text ? v.str->len : v.seq->count, total;
    bool fits = size_mul(n, times < 0 ? 0 : (size_t)times, &total);
    if (text && (!fits || total > JINJA_MAX_STRING)) return text_too_long(e);
    if (!fits || total > JINJA_MAX_STEPS) return eval_fail(e, "a list is too long");
    if (text) {
        Buffer b = {0};
        while (b.len < total && !e->failed) buf_str(e, &b, v.str);
        return buf_value(e, &b);
    }
    Value *items = eval_alloc(e, total, sizeof *items);
    for (size_t i = 0; i < total; i++) items[i] = v.seq->items[i % n];
    return v_seq(e, v.type, items, total);
}

static Value concat_lists(Eval *e, Value a, Value b) {
    size_t n = a.seq->count, m = b.seq->count;
    Value *items = eval_alloc(e, n + m, sizeof *items);
    for (size_t i = 0; i < n + m; i++) items[i] = i < n ? a.seq->items[i] : b.seq->items[i - n];
    return v_seq(e, a.type, items, n + m);
}

static void buf_escaped(Eval *e, Buffer *b, const Str *s) {
    static const char *const escapes[] = {"&&amp;", "<&lt;", ">&gt;", "'&#39;", "\"&#34;"};
    for (size_t at = 0; at < s->len && !e->failed; at++) {
        const char *as = NULL;
        for (size_t i = 0; !s->markup && i < sizeof escapes / sizeof *escapes; i++)
            if (s->data[at] == escapes[i][0]) as = escapes[i] + 1;
        if (as)
            buf_add(e, b, as, strlen(as), str_origin(s, at));
        else
            buf_slice(e, b, s, at, at + 1);
    }
}

// A string marked as safe escapes the strings that are joined to it, and the result is marked.
Value str_concat(Eval *e, const Str *a, const Str *b) {
    bool markup = a->markup || b->markup;
    void (*add)(Eval *, Buffer *, const Str *) = markup ? buf_escaped : buf_str;
    Buffer buf = {0};
    add(e, &buf, a);
    add(e, &buf, b);
    Value joined = buf_value(e, &buf);
    if (!markup) return joined;
    Str *marked = eval_alloc(e, 1, sizeof *marked);
    *marked = *joined.str;
    marked->markup = true;
    return v_str(marked);
}

// ---- operators ----

static Value type_error(Eval *e, const char *op, Value a, Value b) {
    if (a.type == V_UNDEFINED) return fail_undefined(e, a);
    if (b.type == V_UNDEFINED) return fail_undefined(e, b);
    return eval_fail(e, "unsupported operand types for %s: '%s' and '%s'", op, type_name(a), type_name(b));
}

Value op_binary(Eval *e, int op, Value a, Value b) {
    int64_t i, j;
    bool strings = a.type == V_STR && b.type == V_STR;
    char name[3] = {(char)(op > 255 ? op >> 8 : op), (char)(op > 255 ? op : 0), 0};
    if (op == '+' && strings) return str_concat(e, a.str, b.str);
    if ((a.type == V_STR && a.str->markup) || (b.type == V_STR && b.str->markup))
        return eval_fail(e, "%s on a string marked as safe is not supported", name);
    if (as_int(a, &i) && as_int(b, &j)) return int_binary(e, op, i, j);
    if (is_number(a) && is_number(b)) return float_binary(e, op, as_double(a), as_double(b));
    if (op == '+' && a.type == b.type && is_list(a)) return concat_lists(e, a, b);
    if (op == '*' && (a.type == V_STR || is_list(a)) && as_int(b, &j)) return repeat(e, a, j);
    if (op == '*' && (b.type == V_STR || is_list(b)) && as_int(a, &i)) return repeat(e, b, i);
    if (op == '%' && a.type == V_STR) return format_percent(e, a.str, b);
    return type_error(e, name, a, b);
}

bool op_compare(Eval *e, CompareOp op, Value a, Value b) {
    switch (op) {
    case OP_EQ:
    case OP_NE:
        return value_equal(e, a, b) == (op == OP_EQ);
    case OP_GT:
        return value_compare(e, a, b, ">") > 0;
    case OP_GE:
        return value_compare(e, a, b, ">=") >= 0;
    case OP_LT:
        return value_compare(e, a, b, "<") < 0;
    case OP_LE:
        return value_compare(e, a, b, "<=") <= 0;
    default:
        return value_contains(e, b, a) == (op == OP_IN);
    }
}
