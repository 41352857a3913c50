// jinja_ops: arithmetic, concatenation, comparison, attributes, subscripts and slices, with Python's meaning.
#include "jinja_eval.h"

#include <math.h>
#include <string.h>

// ---- numbers ----

static Value too_large(Eval *e) { return eval_fail(e, "an integer does not fit 64 bits"); }

static Value divided_by_zero(Eval *e) { return eval_fail(e, "division by zero"); }

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

static bool divides(int op) { return op == '/' || op == '%' || op == OP2('/', '/'); }

static Value int_binary(Eval *e, int op, int64_t a, int64_t b) {
    int64_t r;
    if (divides(op) && b == 0) return divided_by_zero(e);
    if (op == '/') return v_float((double)a / (double)b);
    if (op == OP2('*', '*')) return int_power(e, a, b);
    if (divides(op)) return int_divide(e, op, a, b);
    bool overflows = op == '+'   ? __builtin_add_overflow(a, b, &r)
                     : op == '-' ? __builtin_sub_overflow(a, b, &r)
                                 : __builtin_mul_overflow(a, b, &r);
    return overflows ? too_large(e) : v_int(r);
}

static Value float_binary(Eval *e, int op, double a, double b) {
    if (divides(op) && b == 0) return divided_by_zero(e);
    if (op == '+') return v_float(a + b);
    if (op == '-') return v_float(a - b);
    if (op == '*') return v_float(a * b);
    if (op == '/') return v_float(a / b);
    if (op == OP2('*', '*')) {
        bool unsupported = (a == 0 && b < 0) || (a < 0 && b != floor(b));
        return unsupported ? eval_fail(e, "unsupported power") : v_float(pow(a, b));
    }
    double mod = fmod(a, b); // the remainder takes the sign of b
    if (mod != 0 && (mod < 0) != (b < 0)) mod += b;
    if (mod == 0) mod = copysign(0, b);
    return v_float(op == '%' ? mod : round((a - mod) / b));
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

static bool is_list(Value v) { return v.type == V_LIST || v.type == V_TUPLE; }

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
    return markup ? str_as_markup(e, joined.str) : joined;
}

static Value join(Eval *e, Value a, Value b) {
    Buffer text = {0};
    buf_str(e, &text, to_str(e, a));
    buf_str(e, &text, to_str(e, b));
    return buf_value(e, &text);
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
    if (op == '~') return join(e, a, b);
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
    static const char *const names[] = {[OP_GT] = ">", [OP_GE] = ">=", [OP_LT] = "<", [OP_LE] = "<="};
    if (op == OP_EQ || op == OP_NE) return value_equal(e, a, b) == (op == OP_EQ);
    if (op == OP_IN || op == OP_NOT_IN) return value_contains(e, b, a) == (op == OP_IN);
    int order = value_compare(e, a, b, names[op]);
    return op == OP_GT ? order > 0 : op == OP_GE ? order >= 0 : op == OP_LT ? order < 0 : order <= 0;
}

// ---- attributes, subscripts, slices ----

static Value no_attr(Eval *e, Value obj, const Str *name) {
    return v_undefined(e, "'%s' object has no attribute '%.*s'", type_name(obj), STR_SHOWN(name, 100));
}

static Value next_item(Eval *e, Loop *loop) { // V_MISSING: none
    Value next;
    if (!v_given(loop->after) && iter_next(e, loop->iter, &next)) loop->after = next;
    return loop->after;
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
    if (str_is(name, "last")) return v_bool(!v_given(next_item(e, loop)));
    bool next = str_is(name, "nextitem");
    if (!next && !str_is(name, "previtem")) return v_missing();
    Value item = next ? next_item(e, loop) : loop->index0 ? loop->before : v_missing();
    return v_given(item) ? item : v_undefined(e, "there is no %s item", next ? "next" : "previous");
}

// An attribute in Python's sense: methods. V_MISSING: none.
static Value python_attr(Eval *e, Value obj, const Str *name) {
    if (obj.type == V_STR && obj.str->markup)
        return eval_fail(e, "attribute '%.*s' of a string marked as safe is not supported", STR_SHOWN(name, 100));
    Value v = obj.type == V_LOOP ? loop_attr(e, obj, name) : v_missing();
    if (v_given(v)) return v;
    const Function *f = find_function(TYPE(obj.type), name);
    if (f) return (Value){.type = V_METHOD, .method = EVAL_NEW(e, Method, .function = f, .self = obj)};
    if (is_mutator(obj.type, name)) return v_undefined(e, "changing a %s is refused by the sandbox", type_name(obj));
    if (is_python_attr(obj.type, name))
        return eval_fail(e, "attribute '%.*s' of '%s' is not supported", STR_SHOWN(name, 100), type_name(obj));
    return v_missing();
}

// obj.name: an attribute, or else a key.
Value get_attr(Eval *e, Value obj, const Str *name) {
    if (obj.type == V_UNDEFINED) return fail_undefined(e, obj);
    Value v = obj.type == V_NAMESPACE ? v_missing() : python_attr(e, obj, name);
    if (!v_given(v) && has_type(obj, TYPE(V_DICT) | TYPE(V_NAMESPACE))) dict_get_str(obj.dict, name, &v);
    return v_given(v) ? v : no_attr(e, obj, name);
}

static bool is_indexed(Value v) { return has_type(v, TYPE(V_STR) | TYPE(V_LIST) | TYPE(V_TUPLE) | TYPE(V_RANGE)); }

static Value item_at(Eval *e, Value obj, int64_t i) {
    int64_t n = value_length(e, obj);
    if (i < 0) i += n;
    if (i < 0 || i >= n) return v_undefined(e, "'%s' object has no element %ld", type_name(obj), i);
    if (obj.type != V_STR) return obj.seq->items[i];
    size_t from = str_offset(obj.str, (size_t)i), to = from;
    str_next(obj.str, &to);
    return str_slice(e, obj.str, from, to);
}

// obj[key]: a key or index, or else an attribute.
Value get_item(Eval *e, Value obj, Value key) {
    Value v;
    int64_t i;
    if (obj.type == V_UNDEFINED) return fail_undefined(e, obj);
    if (is_indexed(obj) && as_int(key, &i)) return item_at(e, obj, i);
    if (obj.type == V_DICT && hashable(key) && dict_get(e, obj.dict, key, &v)) return v;
    if (key.type != V_STR) return v_undefined(e, "'%s' object has no such element", type_name(obj));
    v = python_attr(e, obj, key.str);
    if (obj.type == V_NAMESPACE) dict_get_str(obj.dict, key.str, &v);
    return v_given(v) ? v : no_attr(e, obj, key.str);
}

// One bound of a slice, clamped as Python does; none is the lower or the upper end.
static int64_t slice_bound(Eval *e, Value v, int64_t n, int64_t step, bool lower) {
    int64_t at = 0, low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (v.type == V_NONE) return lower ? low : high;
    if (!as_int(v, &at)) eval_fail(e, "slice indices must be integers or none");
    if (at < 0) at = at < -n ? low : at + n;
    return at < low ? low : at > high ? high : at;
}

static Value slice_string(Eval *e, const Str *s, int64_t from, int64_t step, size_t count) {
    if (count == 0) return v_text(e, "");
    if (step == 1) return str_slice(e, s, str_offset(s, (size_t)from), str_offset(s, (size_t)from + count));
    Buffer b = {0};
    uint32_t *offsets = eval_alloc(e, s->chars + 1, sizeof *offsets);
    for (size_t i = 0, at = 0; i < s->chars; i++) {
        offsets[i] = (uint32_t)at;
        str_next(s, &at);
    }
    offsets[s->chars] = (uint32_t)s->len;
    for (; count > 0 && !e->failed; count--, from += step) buf_slice(e, &b, s, offsets[from], offsets[from + 1]);
    return buf_value(e, &b);
}

Value get_slice(Eval *e, Value obj, Value start, Value stop, Value step_value) {
    int64_t step = 1;
    if (obj.type == V_UNDEFINED) return fail_undefined(e, obj);
    if (!is_indexed(obj)) return eval_fail(e, "a '%s' cannot be sliced", type_name(obj));
    if (step_value.type != V_NONE && !as_int(step_value, &step)) eval_fail(e, "slice indices must be integers or none");
    if (step == 0) eval_fail(e, "slice step cannot be zero");
    if (obj.type == V_STR && obj.str->markup) eval_fail(e, "a slice of a string marked as safe is not supported");
    if (step == INT64_MIN) step++; // -step must exist; no list is that long
    int64_t n = value_length(e, obj);
    int64_t from = slice_bound(e, start, n, step, step > 0);
    int64_t to = slice_bound(e, stop, n, step, step < 0);
    if (e->failed) return v_none();
    size_t count = 0;
    if (step > 0 && from < to) count = (size_t)((to - from - 1) / step + 1);
    if (step < 0 && from > to) count = (size_t)((from - to - 1) / -step + 1);
    if (obj.type == V_STR) return slice_string(e, obj.str, from, step, count);
    Value *items = eval_alloc(e, count, sizeof *items);
    for (size_t i = 0; i < count; i++) items[i] = obj.seq->items[from + (int64_t)i * step];
    return v_seq(e, obj.type, items, count);
}
