// jinja_attr: attributes, subscripts and slices, with Python's meaning.
#include "jinja_eval.h"

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
    if (f) {
        Method *m = eval_alloc(e, 1, sizeof *m);
        *m = (Method){.function = f, .self = obj};
        return (Value){.type = V_METHOD, .method = m};
    }
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

static bool is_indexed(Value v) {
    return has_type(v, TYPE(V_STR) | TYPE(V_LIST) | TYPE(V_TUPLE) | TYPE(V_RANGE));
}

static Value item_at(Eval *e, Value obj, int64_t i) {
    int64_t n = value_length(e, obj);
    if (i < 0) i += n;
    if (i < 0 || i >= n) return v_undefined(e, "'%s' object has no element %lld", type_name(obj), (long long)i);
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
