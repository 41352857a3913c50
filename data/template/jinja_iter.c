// jinja_iter: iteration. Generators (map, select, a filtered loop) are lazy as in jinja2, so that a namespace changed
// in a loop's body is seen by the loop's own filter.
#include "jinja_internal.h"

#include <string.h>

struct Iter {
    const Value *items; // a sequence: items[at, count)
    size_t at, count;
    const Str *str; // a string's characters, from byte `at`
    Iter *source;   // a generator: maps and filters what this one gives
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
    if (is_seq(v)) return iter_make(e, (Iter){.items = v.seq->items, .count = v.seq->count});
    switch (v.type) {
    case V_STR:
        return iter_make(e, (Iter){.str = v.str});
    case V_DICT:
        return iter_make(e, (Iter){.items = v.dict->keys, .count = v.dict->count});
    case V_ITER:
        return v.iter;
    case V_UNDEFINED:
        break; // empty
    default:
        eval_fail(e, "a value of type '%s' cannot be iterated", type_name(v));
    }
    return iter_make(e, (Iter){0});
}

static bool next_char(Eval *e, Iter *it, Value *out) {
    if (it->at == it->str->len) return false;
    int32_t cp;
    size_t n = utf8_next(it->str->data, it->str->len, it->at, &cp);
    *out = str_slice(e, it->str, it->at, it->at + n);
    it->at += n;
    return true;
}

bool iter_next(Eval *e, Iter *it, Value *out) {
    eval_charge(e, 1);
    if (e->failed) return false;
    if (it->str) return next_char(e, it, out);
    if (!it->source) {
        if (it->at == it->count) return false;
        *out = it->items[it->at++];
        return true;
    }
    if (it->running) return eval_fail(e, "a generator uses itself"), false;
    if (++e->depth > JINJA_MAX_DEPTH) eval_fail(e, "nested too deep");
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

Value iter_list(Eval *e, Value v) {
    Iter *it = iter_new(e, v);
    Value *items = NULL, item;
    size_t count = 0, capacity = 0;
    while (iter_next(e, it, &item)) {
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 8;
            Value *grown = eval_alloc(e, capacity, sizeof *grown);
            if (count) memcpy(grown, items, count * sizeof *grown);
            items = grown;
        }
        items[count++] = item;
    }
    return v_seq(e, V_LIST, items, count);
}

Value v_iter_over(Eval *e, Value list) {
    return (Value){.type = V_ITER, .iter = iter_make(e, (Iter){.items = list.seq->items, .count = list.seq->count})};
}

// map gets each item and says in *keep (true at first) whether its result is given.
Value v_generator(Eval *e, Value source, IterMap map, void *state) {
    Iter *it = iter_make(e, (Iter){.source = iter_new(e, source), .map = map, .state = state});
    return (Value){.type = V_ITER, .iter = it};
}
