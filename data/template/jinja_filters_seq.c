// jinja_filters_seq: filters over sequences. map, select and their kin are lazy (jinja_iter.c).
#include "jinja_internal.h"

#include <string.h>

static bool given(Value v) { // given and not none
    return v_given(v) && v.type != V_NONE;
}

// item.attribute as jinja2's make_attrgetter reads it: "a.b.0" goes down, digits are indices. `fallback` (V_MISSING:
// none) stands in for what is undefined.
static Value attribute_of(Eval *e, Value item, Value attribute, Value fallback) {
    int64_t i;
    if (attribute.type == V_NONE) return item;
    if (as_int(attribute, &i)) {
        item = get_item(e, item, attribute);
        return item.type == V_UNDEFINED && given(fallback) ? fallback : item;
    }
    if (attribute.type != V_STR) return eval_fail(e, "attribute is of type '%s'", type_name(attribute));
    const Str *s = attribute.str;
    for (size_t at = 0; at <= s->len && !e->failed;) {
        size_t end = at;
        bool digits = true;
        for (i = 0; end < s->len && s->data[end] != '.'; end++) {
            digits &= s->data[end] >= '0' && s->data[end] <= '9' && end - at < 18;
            if (digits) i = i * 10 + s->data[end] - '0';
        }
        Value part = digits && end > at ? v_int(i) : v_str(str_make(e, s->data + at, end - at, 0));
        item = get_item(e, item, part);
        if (item.type == V_UNDEFINED && given(fallback)) item = fallback;
        at = end + 1;
    }
    return item;
}

static Value ignore_case(Eval *e, Value v) {
    return v.type == V_STR ? str_case(e, v.str, 'l') : v;
}

static Value sort_key(Eval *e, Value item, Value attribute, Value case_sensitive) {
    Value none = {.type = V_MISSING};
    if (given(attribute)) item = attribute_of(e, item, attribute, none);
    return v_given(case_sensitive) && value_truth(e, case_sensitive) ? item : ignore_case(e, item);
}

// ---- map, select, reject, selectattr, rejectattr ----

typedef struct MapState {
    const Str *name; // filter or test; NULL: truth of the item, or map(attribute=)
    Value attribute; // V_MISSING: the item itself
    Value fallback;  // map(default=)
    CallArgs args;   // of the filter or test
    bool want;       // select: true, reject: false
} MapState;

static Value map_item(Eval *e, Value item, void *state, bool *keep) {
    const MapState *s = state;
    *keep = true;
    return s->name ? call_filter(e, s->name, item, &s->args) : attribute_of(e, item, s->attribute, s->fallback);
}

static Value select_item(Eval *e, Value item, void *state, bool *keep) {
    const MapState *s = state;
    Value none = {.type = V_MISSING};
    Value subject = v_given(s->attribute) ? attribute_of(e, item, s->attribute, none) : item;
    *keep = value_truth(e, s->name ? call_test(e, s->name, subject, &s->args) : subject) == s->want;
    return item;
}

// Takes the name of a filter or test from the front of the arguments.
static bool take_name(Eval *e, MapState *s, CallArgs rest) {
    if (rest.pos[0].type != V_STR) return eval_fail(e, "the name of a filter or test must be a string"), false;
    s->name = rest.pos[0].str;
    s->args = rest;
    s->args.pos++;
    s->args.n_pos--;
    return true;
}

// jinja2 gives nothing for whatever is false, none too.
static Value lazy(Eval *e, Value v, IterMap map, MapState *s) {
    return v_generator(e, value_truth(e, v) ? v : v_seq(e, V_LIST, NULL, 0), map, s);
}

static Value f_map(Eval *e, Value v, const CallArgs *args) {
    MapState *s = eval_alloc(e, 1, sizeof *s);
    *s = (MapState){.attribute = {.type = V_MISSING}, .fallback = {.type = V_MISSING}};
    for (size_t i = 0; args->n_pos == 0 && i < args->n_kw; i++) {
        if (str_is(args->names[i], "attribute")) {
            s->attribute = args->kw[i];
        } else if (str_is(args->names[i], "default")) {
            s->fallback = args->kw[i];
        } else {
            return eval_fail(e, "map: unexpected argument '%.*s'", STR_SHOWN(args->names[i], 100));
        }
    }
    if (args->n_pos == 0 && !v_given(s->attribute)) return eval_fail(e, "map requires a filter or an attribute");
    if (args->n_pos > 0 && !take_name(e, s, *args)) return v_none();
    return lazy(e, v, map_item, s);
}

static Value select_by(Eval *e, Value v, const CallArgs *args, bool want, bool by_attribute) {
    MapState *s = eval_alloc(e, 1, sizeof *s);
    CallArgs rest = *args;
    *s = (MapState){.attribute = {.type = V_MISSING}, .want = want};
    if (by_attribute) {
        if (rest.n_pos == 0) return eval_fail(e, "the name of an attribute is missing");
        s->attribute = *rest.pos++;
        rest.n_pos--;
    }
    if (rest.n_pos > 0 && !take_name(e, s, rest)) return v_none();
    return lazy(e, v, select_item, s);
}
static Value f_select(Eval *e, Value v, const CallArgs *args) {
    return select_by(e, v, args, true, false);
}
static Value f_reject(Eval *e, Value v, const CallArgs *args) {
    return select_by(e, v, args, false, false);
}
static Value f_selectattr(Eval *e, Value v, const CallArgs *args) {
    return select_by(e, v, args, true, true);
}
static Value f_rejectattr(Eval *e, Value v, const CallArgs *args) {
    return select_by(e, v, args, false, true);
}

// ---- the others ----

static Value f_list(Eval *e, Value v, const Value *a) {
    (void)a;
    return iter_list(e, v);
}

static Value f_items(Eval *e, Value v, const Value *a) {
    (void)a;
    static const Str items = {.data = "items", .len = 5, .chars = 5};
    CallArgs none = {0};
    if (v.type == V_UNDEFINED) return v_iter_over(e, v_seq(e, V_LIST, NULL, 0));
    if (v.type != V_DICT) return eval_fail(e, "items: value is of type '%s'; expected a dict", type_name(v));
    return v_iter_over(e, call_value(e, get_attr(e, v, &items), &none));
}

static Value f_first(Eval *e, Value v, const Value *a) {
    (void)a;
    Value item;
    if (iter_next(e, iter_new(e, v), &item)) return item;
    return v_undefined(e, "No first item, sequence was empty.");
}

static Value f_last(Eval *e, Value v, const Value *a) {
    (void)a;
    if (v.type == V_ITER) return eval_fail(e, "last: a generator cannot be read backwards");
    Value list = iter_list(e, v);
    if (list.seq->count) return list.seq->items[list.seq->count - 1];
    return v_undefined(e, "No last item, sequence was empty.");
}

static Value reversed(Eval *e, Value list) {
    size_t n = list.seq->count;
    Value *items = eval_alloc(e, n, sizeof *items);
    for (size_t i = 0; i < n; i++) items[i] = list.seq->items[n - 1 - i];
    return v_seq(e, V_LIST, items, n);
}

static Value f_reverse(Eval *e, Value v, const Value *a) {
    (void)a;
    if (v.type == V_STR) return get_slice(e, v, v_none(), v_none(), v_int(-1));
    Value list = reversed(e, iter_list(e, v));
    return v.type == V_ITER ? list : v_iter_over(e, list); // reversed() of a sequence is an iterator
}

static Value f_join(Eval *e, Value v, const Value *a) {
    const Str *glue = to_str(e, v_given(a[0]) ? a[0] : v_text(e, ""));
    if (!given(a[1])) return str_join(e, glue, v, true);
    MapState *s = eval_alloc(e, 1, sizeof *s);
    *s = (MapState){.attribute = a[1], .fallback = {.type = V_MISSING}};
    return str_join(e, glue, v_generator(e, v, map_item, s), true);
}

// Stable insertion sort of items by keys; equal keys keep their order also when reversed.
static void sort_by_keys(Eval *e, Value *items, Value *keys, size_t n, bool reverse) {
    for (size_t i = 1; i < n; i++) {
        Value item = items[i], key = keys[i];
        size_t at = i;
        for (; at > 0 && !e->failed; at--) {
            eval_charge(e, 1);
            int c = value_compare(e, key, keys[at - 1], "<");
            if (reverse ? c <= 0 : c >= 0) break;
            items[at] = items[at - 1];
            keys[at] = keys[at - 1];
        }
        items[at] = item;
        keys[at] = key;
    }
}

static Value f_sort(Eval *e, Value v, const Value *a) { // reverse case_sensitive attribute
    if (given(a[2]) && a[2].type == V_STR && memchr(a[2].str->data, ',', a[2].str->len)) {
        return eval_fail(e, "sort: several attributes are not supported");
    }
    Value list = iter_list(e, v), sorted = reversed(e, reversed(e, list)); // a copy that may be changed
    size_t n = sorted.seq->count;
    Value *keys = eval_alloc(e, n, sizeof *keys);
    for (size_t i = 0; i < n; i++) keys[i] = sort_key(e, sorted.seq->items[i], a[2], a[1]);
    sort_by_keys(e, sorted.seq->items, keys, n, v_given(a[0]) && value_truth(e, a[0]));
    return sorted;
}

static Value f_dictsort(Eval *e, Value v, const Value *a) { // case_sensitive by reverse
    if (v.type != V_DICT) return eval_fail(e, "dictsort: value is of type '%s'; expected a dict", type_name(v));
    bool by_value = v_given(a[1]) && a[1].type == V_STR && str_is(a[1].str, "value");
    if (v_given(a[1]) && !by_value && !(a[1].type == V_STR && str_is(a[1].str, "key"))) {
        return eval_fail(e, "dictsort: sorts by 'key' or 'value'");
    }
    Value list = iter_list(e, f_items(e, v, a)), none = {.type = V_MISSING};
    size_t n = list.seq->count;
    Value *keys = eval_alloc(e, n, sizeof *keys);
    for (size_t i = 0; i < n; i++) keys[i] = sort_key(e, list.seq->items[i].seq->items[by_value], none, a[0]);
    sort_by_keys(e, list.seq->items, keys, n, v_given(a[2]) && value_truth(e, a[2]));
    return list;
}

static Value extreme(Eval *e, Value v, const Value *a, bool want_max) { // case_sensitive attribute
    Iter *it = iter_new(e, v);
    Value item, best = {.type = V_MISSING}, best_key = best;
    while (iter_next(e, it, &item)) {
        Value key = sort_key(e, item, a[1], a[0]);
        if (v_given(best)) {
            int c = value_compare(e, key, best_key, want_max ? ">" : "<");
            if (want_max ? c <= 0 : c >= 0) continue;
        }
        best = item;
        best_key = key;
    }
    return v_given(best) ? best : v_undefined(e, "No aggregated item, sequence was empty.");
}
static Value f_min(Eval *e, Value v, const Value *a) {
    return extreme(e, v, a, false);
}
static Value f_max(Eval *e, Value v, const Value *a) {
    return extreme(e, v, a, true);
}

static Value f_sum(Eval *e, Value v, const Value *a) { // attribute start
    Iter *it = iter_new(e, v);
    Value total = v_given(a[1]) ? a[1] : v_int(0), item, none = {.type = V_MISSING};
    if (total.type == V_STR) return eval_fail(e, "sum: strings cannot be summed");
    while (iter_next(e, it, &item)) {
        if (given(a[0])) item = attribute_of(e, item, a[0], none);
        total = op_binary(e, '+', total, item);
    }
    return total;
}

static Value f_unique(Eval *e, Value v, const Value *a) { // case_sensitive attribute
    Value list = iter_list(e, v), seen = v_dict(e);
    Value *kept = eval_alloc(e, list.seq->count, sizeof *kept);
    size_t n = 0;
    for (size_t i = 0; i < list.seq->count && !e->failed; i++) {
        Value key = sort_key(e, list.seq->items[i], a[1], a[0]), old;
        if (!is_hashable(key)) return eval_fail(e, "unhashable type '%s'", type_name(key));
        if (dict_get(e, seen.dict, key, &old)) continue;
        dict_set(e, seen.dict, key, v_none());
        kept[n++] = list.seq->items[i];
    }
    return v_iter_over(e, v_seq(e, V_LIST, kept, n));
}

static const Function filters[] = {
    {.name = "dictsort", .call = f_dictsort, .params = "case_sensitive by reverse", .keywords = true},
    {.name = "first", .call = f_first, .params = ""},
    {.name = "items", .call = f_items, .params = ""},
    {.name = "join", .call = f_join, .params = "d attribute", .keywords = true},
    {.name = "last", .call = f_last, .params = ""},
    {.name = "list", .call = f_list, .params = ""},
    {.name = "map", .raw = f_map},
    {.name = "max", .call = f_max, .params = "case_sensitive attribute", .keywords = true},
    {.name = "min", .call = f_min, .params = "case_sensitive attribute", .keywords = true},
    {.name = "reject", .raw = f_reject},
    {.name = "rejectattr", .raw = f_rejectattr},
    {.name = "reverse", .call = f_reverse, .params = ""},
    {.name = "select", .raw = f_select},
    {.name = "selectattr", .raw = f_selectattr},
    {.name = "sort", .call = f_sort, .params = "reverse case_sensitive attribute", .keywords = true},
    {.name = "sum", .call = f_sum, .params = "attribute start", .keywords = true},
    {.name = "unique", .call = f_unique, .params = "case_sensitive attribute", .keywords = true},
};

const Function *find_filter_seq(const Str *name) {
    return TABLE_FIND(filters, name);
}
