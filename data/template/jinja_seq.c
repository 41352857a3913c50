// jinja_seq: iteration, filters of sequences, and methods of list, tuple, dict and loop.
#include "jinja_eval.h"

#include <string.h>

// ---- iteration. Generators (map, select, a filtered loop) are lazy as in jinja2, so that a namespace changed in a
// loop's body is seen by the loop's own filter ----

struct Iter {
    const Value *items; // a sequence: items[at, count)
    size_t at, count;
    const Str *str; // a string's characters, from byte `at`
    Iter *source;   // a generator: maps and filters the items of this one
    IterMap map;
    void *state;
    bool running; // a generator cannot be asked for the next item while it computes one
};

Iter *iter_new(Eval *e, Value v) {
    if (v.type == V_ITER) return v.iter;
    if (v.type == V_STR) return EVAL_NEW(e, Iter, .str = v.str);
    if (v.type == V_DICT) return EVAL_NEW(e, Iter, .items = v.dict->keys, .count = v.dict->count);
    if (is_seq(v)) return EVAL_NEW(e, Iter, .items = v.seq->items, .count = v.seq->count);
    if (v.type != V_UNDEFINED) eval_fail(e, "a value of type '%s' cannot be iterated", type_name(v));
    return EVAL_NEW(e, Iter, 0); // empty
}

static bool next_mapped(Eval *e, Iter *it, Value *out) {
    if (it->running) eval_fail(e, "a generator uses itself");
    if (!eval_enter(e)) return false;
    it->running = true;
    bool found = false;
    Value item;
    while (!found && iter_next(e, it->source, &item)) {
        found = true;
        *out = it->map(e, item, it->state, &found);
    }
    it->running = false;
    e->depth--;
    return found && !e->failed;
}

bool iter_next(Eval *e, Iter *it, Value *out) {
    eval_charge(e, 1);
    if (e->failed) return false;
    if (it->source) return next_mapped(e, it, out);
    if (it->at == (it->str ? it->str->len : it->count)) return false;
    size_t from = it->at++;
    if (!it->str) {
        *out = it->items[from];
        return true;
    }
    it->at = from;
    str_next(it->str, &it->at);
    *out = str_slice(e, it->str, from, it->at);
    return true;
}

Value iter_list(Eval *e, Value v) {
    Iter *it = iter_new(e, v);
    Value *items = NULL, item;
    size_t count = 0;
    for (; iter_next(e, it, &item); items[count++] = item) items = eval_grow(e, items, count, sizeof *items);
    return v_seq(e, V_LIST, items, count);
}

Value v_iter_over(Eval *e, Value list) { return (Value){.type = V_ITER, .iter = iter_new(e, list)}; }

// map gets each item; it sets *keep (true at first) to false to leave its result out.
Value v_generator(Eval *e, Value source, IterMap map, void *state) {
    Iter *it = EVAL_NEW(e, Iter, .source = iter_new(e, source), .map = map, .state = state);
    return (Value){.type = V_ITER, .iter = it};
}

// ---- filters by attribute ----

// item.attribute as jinja2's make_attrgetter reads it: "a.b.0" is a path, digits are indices. fallback replaces an
// undefined value (V_MISSING: none).
static Value attribute_of(Eval *e, Value item, Value attribute, Value fallback) {
    if (attribute.type == V_NONE) return item;
    const Str *s = attribute.type == V_STR ? attribute.str : NULL;
    int64_t i;
    if (!s && !as_int(attribute, &i)) return eval_fail(e, "attribute is of type '%s'", type_name(attribute));
    for (size_t at = 0, end; at <= (s ? s->len : 0) && !e->failed; at = end + 1) {
        bool digits = s != NULL;
        for (end = at, i = 0; s && end < s->len && s->data[end] != '.'; end++) {
            digits &= is_digit(s->data[end]) && end - at < 18;
            if (digits) i = i * 10 + s->data[end] - '0';
        }
        Value part = !s ? attribute : digits && end > at ? v_int(i) : v_str(str_make(e, s->data + at, end - at));
        item = get_item(e, item, part);
        if (item.type == V_UNDEFINED && is_set(fallback)) item = fallback;
    }
    return item;
}

static Value sort_key(const Call *c, Value item, Value attribute, int case_sensitive) {
    if (is_set(attribute)) item = attribute_of(c->e, item, attribute, v_missing());
    return arg_truth(c, case_sensitive) || item.type != V_STR ? item : str_case(c->e, item.str, 'l');
}

// ---- map, select, reject, selectattr, rejectattr ----

typedef struct MapState {
    unsigned kind;   // FILTER: map; TEST: select and reject
    const Str *name; // of the filter or test; NULL: the item itself
    CallArgs args;   // of the filter or test
    Value attribute; // of the item, instead of it; V_MISSING: none
    Value fallback;  // map(default=)
    bool want;       // select: true, reject: false
} MapState;

static Value map_item(Eval *e, Value item, void *state, bool *keep) {
    const MapState *s = state;
    Value v = v_given(s->attribute) ? attribute_of(e, item, s->attribute, s->fallback) : item;
    if (s->name) v = call_named(e, s->kind, s->name, v, &s->args);
    if (s->kind == FILTER) return v;
    *keep = value_truth(e, v) == s->want;
    return item;
}

static MapState *map_state(Eval *e, unsigned kind, Value attribute) {
    return EVAL_NEW(e, MapState, .kind = kind, .attribute = attribute, .fallback = v_missing());
}

// A generator over the operand; the arguments from `first` on are the name of a filter or test and its arguments.
static Value map_lazily(const Call *c, size_t first, MapState *s) {
    if (c->given->n_pos > first) {
        Value name = c->given->pos[first];
        if (name.type != V_STR) return eval_fail(c->e, "the name of a filter or test must be a string");
        s->name = name.str;
        s->args = *c->given;
        s->args.pos += first + 1;
        s->args.n_pos -= first + 1;
    }
    // jinja2 gives nothing for whatever is false, none too
    return v_generator(c->e, value_truth(c->e, c->self) ? c->self : v_seq(c->e, V_LIST, NULL, 0), map_item, s);
}

Value seq_map(const Call *c) {
    static const Str attribute = STR_INIT("attribute"), fallback = STR_INIT("default");
    MapState *s = map_state(c->e, FILTER, v_missing());
    if (c->given->n_pos == 0) {
        dict_get_str(&c->given->kw, &attribute, &s->attribute);
        dict_get_str(&c->given->kw, &fallback, &s->fallback);
        if (fail_unexpected(c)) return v_none();
        if (!v_given(s->attribute)) return eval_fail(c->e, "map requires a filter or an attribute");
    }
    return map_lazily(c, 0, s);
}

// mode: SELECT_TRUE for select, SELECT_ATTRIBUTE for ...attr.
Value seq_select(const Call *c) {
    bool by_attribute = c->f->mode & SELECT_ATTRIBUTE;
    if (by_attribute && c->given->n_pos == 0) return eval_fail(c->e, "the name of an attribute is missing");
    MapState *s = map_state(c->e, TEST, by_attribute ? c->given->pos[0] : v_missing());
    s->want = c->f->mode & SELECT_TRUE;
    return map_lazily(c, by_attribute, s);
}

// ---- other filters ----

Value seq_list(const Call *c) { return iter_list(c->e, c->self); }

Value seq_length(const Call *c) { return v_int(value_length(c->e, c->self)); }

Value seq_first(const Call *c) {
    Value item;
    if (iter_next(c->e, iter_new(c->e, c->self), &item)) return item;
    return v_undefined(c->e, "No first item, sequence was empty.");
}

Value seq_last(const Call *c) {
    if (c->self.type == V_ITER) return eval_fail(c->e, "last: a generator cannot be read backwards");
    Value list = iter_list(c->e, c->self);
    if (list.seq->count) return list.seq->items[list.seq->count - 1];
    return v_undefined(c->e, "No last item, sequence was empty.");
}

Value seq_reverse(const Call *c) {
    if (c->self.type == V_STR) return get_reversed(c->e, c->self);
    Value list = get_reversed(c->e, iter_list(c->e, c->self));
    return c->self.type == V_ITER ? list : v_iter_over(c->e, list); // reversed() of a sequence is an iterator
}

// The filter joins str() of the items by its argument, the method strings by itself.
Value seq_join(const Call *c) {
    bool filter = c->f->kind & FILTER;
    Value items = filter ? c->self : c->arg[0], v;
    const Str *glue = filter ? to_str(c->e, v_given(c->arg[0]) ? c->arg[0] : v_text(c->e, "")) : c->self.str;
    if (filter && is_set(c->arg[1])) items = v_generator(c->e, items, map_item, map_state(c->e, FILTER, c->arg[1]));
    Buffer b = {0};
    Iter *it = iter_new(c->e, items);
    for (size_t i = 0; iter_next(c->e, it, &v); i++) {
        if (!filter && v.type != V_STR) return fail_type(c, v, "strings to join");
        if (i) buf_str(c->e, &b, glue);
        buf_str(c->e, &b, to_str(c->e, v));
    }
    return buf_value(c->e, &b);
}

// Stable insertion sort of a list by keys; equal keys keep their order also when reversed.
static void sort_by_keys(Eval *e, Value list, Value *keys, bool reverse) {
    Value *items = list.seq->items;
    for (size_t i = 1; i < list.seq->count; i++) {
        Value item = items[i], key = keys[i];
        size_t at = i;
        for (; at > 0 && !e->failed; at--) {
            eval_charge(e, 1);
            int order = value_compare(e, key, keys[at - 1], "<");
            if (reverse ? order <= 0 : order >= 0) break;
            items[at] = items[at - 1];
            keys[at] = keys[at - 1];
        }
        items[at] = item;
        keys[at] = key;
    }
}

Value seq_sort(const Call *c) { // reverse case_sensitive attribute
    Value attribute = c->arg[2], list = iter_list(c->e, c->self);
    if (attribute.type == V_STR && memchr(attribute.str->data, ',', attribute.str->len))
        return eval_fail(c->e, "sort: several attributes are not supported");
    Value *keys = eval_alloc(c->e, list.seq->count, sizeof *keys);
    for (size_t i = 0; i < list.seq->count; i++) keys[i] = sort_key(c, list.seq->items[i], attribute, 1);
    sort_by_keys(c->e, list, keys, arg_truth(c, 0));
    return list;
}

// A view of a dict: its "keys", "values" or "items".
static Value dict_view(Eval *e, Value dict, const char *name) {
    const Dict *d = dict.dict;
    Value *items = *name == 'k' ? d->keys : d->values;
    if (*name != 'k') dict_read_all(d);
    if (*name == 'i') {
        items = eval_alloc(e, d->count, sizeof *items);
        for (size_t i = 0; i < d->count; i++) {
            items[i] = v_tuple(e, 2, (Value[]){d->keys[i], d->values[i]});
            items[i].origin = dict.origin;
        }
    }
    Seq *q = EVAL_NEW(e, Seq, .items = items, .count = d->count, .view = name);
    return (Value){.type = V_VIEW, .seq = q, .origin = dict.origin};
}

Value seq_items(const Call *c) {
    if (c->self.type == V_UNDEFINED) return v_iter_over(c->e, v_seq(c->e, V_LIST, NULL, 0));
    if (c->self.type != V_DICT) return fail_type(c, c->self, "a dict");
    return v_iter_over(c->e, dict_view(c->e, c->self, "items"));
}

Value seq_dictsort(const Call *c) { // case_sensitive by reverse
    if (c->self.type != V_DICT) return fail_type(c, c->self, "a dict");
    bool by_value = arg_is(c, 1, "value");
    if (v_given(c->arg[1]) && !by_value && !arg_is(c, 1, "key"))
        return eval_fail(c->e, "dictsort: sorts by 'key' or 'value'");
    Value list = iter_list(c->e, dict_view(c->e, c->self, "items"));
    Value *keys = eval_alloc(c->e, list.seq->count, sizeof *keys);
    for (size_t i = 0; i < list.seq->count; i++)
        keys[i] = sort_key(c, list.seq->items[i].seq->items[by_value], v_missing(), 0);
    sort_by_keys(c->e, list, keys, arg_truth(c, 2));
    return list;
}

// min (mode '<'), max ('>'): case_sensitive attribute
Value seq_extreme(const Call *c) {
    Iter *it = iter_new(c->e, c->self);
    Value item, best = v_missing(), best_key = best;
    while (iter_next(c->e, it, &item)) {
        Value key = sort_key(c, item, c->arg[1], 0);
        if (v_given(best)) {
            int order = value_compare(c->e, key, best_key, c->f->mode == '>' ? ">" : "<");
            if (c->f->mode == '>' ? order <= 0 : order >= 0) continue;
        }
        best = item;
        best_key = key;
    }
    return v_given(best) ? best : v_undefined(c->e, "No aggregated item, sequence was empty.");
}

Value seq_sum(const Call *c) { // attribute start
    Iter *it = iter_new(c->e, c->self);
    Value total = v_given(c->arg[1]) ? c->arg[1] : v_int(0), item;
    if (total.type == V_STR) return eval_fail(c->e, "sum: strings cannot be summed");
    while (iter_next(c->e, it, &item)) {
        if (is_set(c->arg[0])) item = attribute_of(c->e, item, c->arg[0], v_missing());
        total = op_binary(c->e, '+', total, item);
    }
    return total;
}

Value seq_unique(const Call *c) { // case_sensitive attribute
    Value list = iter_list(c->e, c->self), seen = v_dict(c->e), old;
    Value *kept = eval_alloc(c->e, list.seq->count, sizeof *kept);
    size_t n = 0;
    for (size_t i = 0; i < list.seq->count && !c->e->failed; i++) {
        Value key = sort_key(c, list.seq->items[i], c->arg[1], 0);
        if (!is_hashable(c->e, key) || dict_get(c->e, seen.dict, key, &old)) continue;
        dict_set(c->e, seen.dict, key, v_none());
        kept[n++] = list.seq->items[i];
    }
    return v_iter_over(c->e, v_seq(c->e, V_LIST, kept, n));
}

// ---- methods ----

Value seq_index(const Call *c) {
    for (size_t i = 0; i < c->self.seq->count; i++)
        if (value_equal(c->e, c->self.seq->items[i], c->arg[0])) return v_int((int64_t)i);
    return eval_fail(c->e, "the value is not in the %s", type_name(c->self));
}

Value seq_count(const Call *c) {
    int64_t n = 0;
    for (size_t i = 0; i < c->self.seq->count; i++) n += value_equal(c->e, c->self.seq->items[i], c->arg[0]);
    return v_int(n);
}

Value seq_copy(const Call *c) { // lists and dicts cannot change
    return c->self;
}

Value seq_view(const Call *c) { return dict_view(c->e, c->self, c->f->name); }

Value seq_get(const Call *c) {
    Value v;
    if (is_hashable(c->e, c->arg[0]) && dict_get(c->e, c->self.dict, c->arg[0], &v)) return v;
    return v_given(c->arg[1]) ? c->arg[1] : v_none();
}

Value loop_cycle(const Call *c) {
    const CallArgs *given = c->given;
    if (given->kw.count || given->n_pos == 0) return eval_fail(c->e, "loop.cycle needs values without names");
    return given->pos[(size_t)c->self.loop->index0 % given->n_pos];
}

Value loop_changed(const Call *c) {
    if (c->given->kw.count) return eval_fail(c->e, "loop.changed takes values without names");
    Value now = v_seq(c->e, V_TUPLE, c->given->pos, c->given->n_pos), *last = &c->self.loop->last_changed;
    bool same = v_given(*last) && value_equal(c->e, *last, now);
    *last = now;
    return v_bool(!same);
}
