// jinja_ops: operators, attributes, subscripts and slices, with Python's meaning.
#include "jinja_internal.h"

#include <math.h>
#include <string.h>

// ---- arithmetic ----

static Value type_error(Eval *e, const char *op, Value a, Value b) {
    Value bad = a.type == V_UNDEFINED ? a : b;
    if (bad.type == V_UNDEFINED) return fail_undefined(e, bad);
    return eval_fail(e, "unsupported operand types for %s: '%s' and '%s'", op, type_name(a), type_name(b));
}

static Value too_large(Eval *e) {
    return eval_fail(e, "an integer does not fit 64 bits");
}

static Value int_power(Eval *e, int64_t base, int64_t exp) {
    if (exp < 0) return base ? v_float(pow((double)base, (double)exp)) : eval_fail(e, "0 to a negative power");
    int64_t r = 1;
    if (base == 0 || base == 1) return v_int(exp == 0 ? 1 : base);
    if (base == -1) return v_int(exp % 2 ? -1 : 1);
    for (; exp > 0; exp--) {
        if (__builtin_mul_overflow(r, base, &r)) return too_large(e);
    }
    return v_int(r);
}

static Value int_divide(Eval *e, int op, int64_t a, int64_t b) {
    if (b == 0) return eval_fail(e, "division by zero");
    if (b == -1) { // INT64_MIN / -1 overflows
        if (op == '%') return v_int(0);
        return a == INT64_MIN ? too_large(e) : v_int(-a);
    }
    bool round_down = a % b != 0 && (a < 0) != (b < 0);
    return op == '%' ? v_int(a % b + (round_down ? b : 0)) : v_int(a / b - round_down);
}

static Value int_binary(Eval *e, int op, int64_t a, int64_t b) {
    int64_t r;
    switch (op) {
    case '+':
        return __builtin_add_overflow(a, b, &r) ? too_large(e) : v_int(r);
    case '-':
        return __builtin_sub_overflow(a, b, &r) ? too_large(e) : v_int(r);
    case '*':
        return __builtin_mul_overflow(a, b, &r) ? too_large(e) : v_int(r);
    case '/':
        return b ? v_float((double)a / (double)b) : eval_fail(e, "division by zero");
    case OP2('*', '*'):
        return int_power(e, a, b);
    default:
        return int_divide(e, op, a, b);
    }
}

static Value float_binary(Eval *e, int op, double a, double b) {
    if ((op == '/' || op == '%' || op == OP2('/', '/')) && b == 0) return eval_fail(e, "division by zero");
    double mod;
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

static Value repeat(Eval *e, Value v, int64_t times) {
    if (times < 0) times = 0;
    if (v.type == V_STR) {
        Buffer b = {0};
        size_t length;
        if (!size_mul(v.str->len, (size_t)times, &length) || length > JINJA_MAX_STRING)
            return eval_fail(e, "a text is longer than %d bytes", JINJA_MAX_STRING);
        for (int64_t i = 0; i < times && v.str->len && !e->failed; i++) buf_str(e, &b, v.str);
        return buf_value(e, &b);
    }
    size_t n = v.seq->count, total;
    if (!size_mul(n, (size_t)times, &total) || total > JINJA_MAX_STEPS) return eval_fail(e, "a list is too long");
    Value *items = eval_alloc(e, total, sizeof *items);
    for (size_t i = 0; i < total; i++) items[i] = v.seq->items[i % n];
    return v_seq(e, v.type, items, total);
}

static Value join_seqs(Eval *e, Value a, Value b) {
    size_t n = a.seq->count, m = b.seq->count;
    Value *items = eval_alloc(e, n + m, sizeof *items);
    if (n) memcpy(items, a.seq->items, n * sizeof *items);
    if (m) memcpy(items + n, b.seq->items, m * sizeof *items);
    return v_seq(e, a.type, items, n + m);
}

static Value join_strings(Eval *e, const Str *a, const Str *b) {
    Buffer buf = {0};
    buf_str(e, &buf, a);
    buf_str(e, &buf, b);
    return buf_value(e, &buf);
}

static void buf_escaped(Eval *e, Buffer *b, const Str *s) {
    static const char *const escapes[] = {"&&amp;", "<&lt;", ">&gt;", "'&#39;", "\"&#34;"};
    for (size_t at = 0; at < s->len && !e->failed; at++) {
        const char *as = NULL;
        for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
            if (s->data[at] == escapes[i][0]) as = escapes[i] + 1;
        }
        if (as) {
            buf_add(e, b, as, strlen(as), s->origins ? s->origins[at] : s->origin);
        } else {
            buf_slice(e, b, s, at, at + 1);
        }
    }
}

// A string marked as safe escapes what is joined to it, and marks the result.
static Value join_markup(Eval *e, const Str *a, const Str *b) {
    Buffer buf = {0};
    a->markup ? buf_str(e, &buf, a) : buf_escaped(e, &buf, a);
    b->markup ? buf_str(e, &buf, b) : buf_escaped(e, &buf, b);
    Str *joined = eval_alloc(e, 1, sizeof *joined);
    *joined = *buf_value(e, &buf).str;
    joined->markup = true;
    return v_str(joined);
}

static bool is_repeatable(Value v) {
    return v.type == V_STR || v.type == V_LIST || v.type == V_TUPLE;
}

Value op_binary(Eval *e, int op, Value a, Value b) {
    int64_t i, j;
    char name[3] = {(char)(op > 255 ? op >> 8 : op), (char)(op > 255 ? op : 0), 0};
    if ((a.type == V_STR && a.str->markup) || (b.type == V_STR && b.str->markup)) {
        if (op == '+' && a.type == V_STR && b.type == V_STR) return join_markup(e, a.str, b.str);
        return eval_fail(e, "%s on a string marked as safe is not supported", name);
    }
    if (as_int(a, &i) && as_int(b, &j)) return int_binary(e, op, i, j);
    if (is_number(a) && is_number(b)) return float_binary(e, op, as_double(a), as_double(b));
    if (op == '+' && a.type == V_STR && b.type == V_STR) return join_strings(e, a.str, b.str);
    if (op == '+' && a.type == b.type && (a.type == V_LIST || a.type == V_TUPLE)) return join_seqs(e, a, b);
    if (op == '*' && is_repeatable(a) && as_int(b, &j)) return repeat(e, a, j);
    if (op == '*' && is_repeatable(b) && as_int(a, &i)) return repeat(e, b, i);
    if (op == '%' && a.type == V_STR) return format_percent(e, a.str, b);
    return type_error(e, name, a, b);
}

Value op_negate(Eval *e, Value v, int sign) {
    int64_t i;
    if (as_int(v, &i)) return i == INT64_MIN && sign < 0 ? too_large(e) : v_int(sign * i);
    if (v.type == V_FLOAT) return v_float(sign * v.f);
    if (v.type == V_UNDEFINED) return fail_undefined(e, v);
    return eval_fail(e, "bad operand type for unary %c: '%s'", sign < 0 ? '-' : '+', type_name(v));
}

bool op_compare(Eval *e, CompareOp op, Value a, Value b) {
    switch (op) {
    case OP_EQ:
        return value_equal(e, a, b);
    case OP_NE:
        return !value_equal(e, a, b);
    case OP_GT:
        return value_compare(e, a, b, ">") > 0;
    case OP_GE:
        return value_compare(e, a, b, ">=") >= 0;
    case OP_LT:
        return value_compare(e, a, b, "<") < 0;
    case OP_LE:
        return value_compare(e, a, b, "<=") <= 0;
    case OP_IN:
        return value_contains(e, b, a);
    default:
        return !value_contains(e, b, a);
    }
}

// ---- attributes and subscripts ----

static Value no_attr(Eval *e, Value obj, const Str *name) {
    return v_undefined(e, "'%s' object has no attribute '%.*s'", type_name(obj), STR_SHOWN(name, 100));
}

static Value loop_attr(Eval *e, Value v, const Str *name) {
    Loop *loop = v.loop;
    if (str_is(name, "index0")) return v_int(loop->index0);
    if (str_is(name, "index")) return v_int(loop->index0 + 1);
    if (str_is(name, "first")) return v_bool(loop->index0 == 0);
    if (str_is(name, "depth")) return v_int(1);
    if (str_is(name, "depth0")) return v_int(0);
    if (str_is(name, "length")) return v_int(value_length(e, v));
    if (str_is(name, "revindex")) return v_int(value_length(e, v) - loop->index0);
    if (str_is(name, "revindex0")) return v_int(value_length(e, v) - loop->index0 - 1);
    if (str_is(name, "previtem")) {
        return loop->index0 ? loop->before : v_undefined(e, "there is no previous item");
    }
    if (str_is(name, "nextitem") || str_is(name, "last")) {
        Value next;
        if (!v_given(loop->after) && iter_next(e, loop->iter, &next)) loop->after = next;
        if (str_is(name, "last")) return v_bool(!v_given(loop->after));
        return v_given(loop->after) ? loop->after : v_undefined(e, "there is no next item");
    }
    return (Value){.type = V_MISSING};
}

// An attribute in Python's sense: methods. V_MISSING when there is none.
static Value python_attr(Eval *e, Value obj, const Str *name) {
    if (obj.type == V_STR && obj.str->markup) {
        return eval_fail(e, "attribute '%.*s' of a string marked as safe is not supported", STR_SHOWN(name, 100));
    }
    if (obj.type == V_LOOP) {
        Value v = loop_attr(e, obj, name);
        if (v_given(v)) return v;
    }
    const Function *f = find_method(obj.type, name);
    if (f) {
        Method *m = eval_alloc(e, 1, sizeof *m);
        *m = (Method){.function = f, .self = obj};
        return (Value){.type = V_METHOD, .method = m};
    }
    if (is_mutator(obj.type, name)) return v_undefined(e, "changing a %s is refused by the sandbox", type_name(obj));
    if (is_python_attr(obj.type, name)) {
        return eval_fail(e, "attribute '%.*s' of '%s' is not supported", STR_SHOWN(name, 100), type_name(obj));
    }
    return (Value){.type = V_MISSING};
}

Value get_attr(Eval *e, Value obj, const Str *name) {
    Value v = {.type = V_MISSING};
    if (obj.type == V_UNDEFINED) return fail_undefined(e, obj);
    if (obj.type == V_NAMESPACE) {
        return dict_get_str(obj.dict, name->data, name->len, &v) ? v : no_attr(e, obj, name);
    }
    v = python_attr(e, obj, name);
    if (v_given(v)) return v;
    if (obj.type == V_DICT && dict_get_str(obj.dict, name->data, name->len, &v)) return v;
    return no_attr(e, obj, name);
}

static Value item_at(Eval *e, Value obj, int64_t i) {
    int64_t n = value_length(e, obj);
    if (i < 0) i += n;
    if (i < 0 || i >= n) return v_undefined(e, "'%s' object has no element %lld", type_name(obj), (long long)i);
    if (obj.type != V_STR) return obj.seq->items[i];
    size_t from = str_offset(obj.str, (size_t)i);
    int32_t cp;
    return str_slice(e, obj.str, from, from + utf8_next(obj.str->data, obj.str->len, from, &cp));
}

Value get_item(Eval *e, Value obj, Value key) {
    Value v;
    int64_t i;
    if (obj.type == V_UNDEFINED) return fail_undefined(e, obj);
    bool indexed = is_repeatable(obj) || obj.type == V_RANGE;
    if (indexed && as_int(key, &i)) return item_at(e, obj, i);
    if (obj.type == V_DICT && is_hashable(key) && dict_get(e, obj.dict, key, &v)) return v;
    if (key.type == V_STR) {
        v = python_attr(e, obj, key.str);
        if (obj.type == V_NAMESPACE) dict_get_str(obj.dict, key.str->data, key.str->len, &v);
        return v_given(v) ? v : no_attr(e, obj, key.str);
    }
    return v_undefined(e, "'%s' object has no such element", type_name(obj));
}

// One bound of a slice, clamped as Python does; false when it is neither none nor an integer.
static bool slice_bound(Value v, int64_t n, int64_t low, int64_t high, int64_t absent, int64_t *out) {
    *out = absent;
    if (v.type == V_NONE) return true;
    if (!as_int(v, out)) return false;
    if (*out < 0) *out = *out < -n ? low : *out + n;
    if (*out < low) *out = low;
    if (*out > high) *out = high;
    return true;
}

static Value slice_string(Eval *e, const Str *s, int64_t from, int64_t step, size_t count) {
    if (step == 1) {
        size_t start = str_offset(s, (size_t)from), end = str_offset(s, (size_t)from + count);
        return str_slice(e, s, start, end);
    }
    Buffer b = {0};
    uint32_t *offsets = eval_alloc(e, s->chars + 1, sizeof *offsets);
    for (size_t i = 0, at = 0; i < s->chars; i++) {
        int32_t cp;
        offsets[i] = (uint32_t)at;
        at += utf8_next(s->data, s->len, at, &cp);
    }
    offsets[s->chars] = (uint32_t)s->len;
    for (size_t i = 0; i < count && !e->failed; i++, from += step) {
        buf_slice(e, &b, s, offsets[from], offsets[from + 1]);
    }
    return buf_value(e, &b);
}

static Value bad_slice(Eval *e) {
    return eval_fail(e, "slice indices must be integers or none");
}

Value get_slice(Eval *e, Value obj, Value start, Value stop, Value step_value) {
    if (obj.type == V_UNDEFINED) return fail_undefined(e, obj);
    int64_t step = 1, from, to;
    if (!is_repeatable(obj) && obj.type != V_RANGE) return eval_fail(e, "a '%s' cannot be sliced", type_name(obj));
    if (step_value.type != V_NONE && !as_int(step_value, &step)) return bad_slice(e);
    if (step == 0) return eval_fail(e, "slice step cannot be zero");
    if (step == INT64_MIN) step++; // -step must exist; no list is that long
    int64_t n = value_length(e, obj), low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (!slice_bound(start, n, low, high, step < 0 ? high : low, &from)) return bad_slice(e);
    if (!slice_bound(stop, n, low, high, step < 0 ? low : high, &to)) return bad_slice(e);
    size_t count = 0;
    if (step > 0 && from < to) count = (size_t)((to - from - 1) / step + 1);
    if (step < 0 && from > to) count = (size_t)((from - to - 1) / -step + 1);
    if (obj.type == V_STR) {
        if (obj.str->markup) return eval_fail(e, "a slice of a string marked as safe is not supported");
        return count ? slice_string(e, obj.str, from, step, count) : v_text(e, "");
    }
    Value *items = eval_alloc(e, count, sizeof *items);
    for (size_t i = 0; i < count; i++) items[i] = obj.seq->items[from + (int64_t)i * step];
    return v_seq(e, obj.type, items, count);
}
