// jinja_iter: iteration. Generators (map, select, a filtered loop) are lazy as in jinja2, so that a namespace changed
// in a loop's body is seen by the loop's own filter.
#include "jinja_eval.h"

struct Iter {
    const Value *items; // a sequence: items[at, count)
    size_t at, count;
    const Str *str; // a string's characters, from byte `at`
    Iter *source;   // a generator: maps and filters the items of this one
    IterMap map;
    void *state;
    bool running; // a generator cannot be asked for the next item while it computes one
};

static Iter *iter_make(Eval *e, Iter init) {
    Iter *it = eval_alloc(e, 1, sizeof *it);
    *it = init;
    return it;
}

Iter *iter_new(Eval *e, Value v) {
    if (v.type == V_ITER) return v.iter;
    if (v.type == V_STR) return iter_make(e, (Iter){.str = v.str});
    if (v.type == V_DICT) return iter_make(e, (Iter){.items = v.dict->keys, .count = v.dict->count});
    if (is_seq(v)) return iter_make(e, (Iter){.items = v.seq->items, .count = v.seq->count});
    if (v.type != V_UNDEFINED) eval_fail(e, "a value of type '%s' cannot be iterated", type_name(v));
    return iter_make(e, (Iter){0}); // empty
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

Value v_iter_over(Eval *e, Value list) {
    return (Value){.type = V_ITER, .iter = iter_new(e, list)};
}

// map gets each item; it sets *keep (true at first) to false to leave its result out.
Value v_generator(Eval *e, Value source, IterMap map, void *state) {
    Iter *it = iter_make(e, (Iter){.source = iter_new(e, source), .map = map, .state = state});
    return (Value){.type = V_ITER, .iter = it};
}
