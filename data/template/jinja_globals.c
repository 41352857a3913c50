// jinja_globals: the global functions of the Hugging Face environment. cycler, joiner and lipsum are not among them.
#include "jinja_eval.h"

#include <string.h>
#include <time.h>

Value global_range(const Call *c) {
    const CallArgs *given = c->given;
    int64_t v[3] = {0, 0, 1}, n = 0;
    if (given->kw.count || given->n_pos < 1 || given->n_pos > 3) return eval_fail(c->e, "range takes 1 to 3 numbers");
    for (size_t i = 0; i < given->n_pos; i++)
        if (!as_int(given->pos[i], &v[given->n_pos == 1 ? 1 : i])) return fail_type(c, given->pos[i], "an integer");
    int64_t start = v[0], stop = v[1], step = v[2], at = start;
    if (step == 0) return eval_fail(c->e, "range: step is zero");
    while ((step > 0 ? at < stop : at > stop) && n <= JINJA_MAX_RANGE) {
        n++;
        if (__builtin_add_overflow(at, step, &at)) break;
    }
    if (n > JINJA_MAX_RANGE) return eval_fail(c->e, "range is longer than %d", JINJA_MAX_RANGE);
    Value *items = eval_alloc(c->e, (size_t)n, sizeof *items);
    for (int64_t i = 0; i < n; i++) items[i] = v_int(start + i * step);
    return v_seq(c->e, V_RANGE, items, (size_t)n);
}

static void dict_set_all(Eval *e, Dict *d, const Dict *from) {
    dict_read_all(from);
    for (size_t i = 0; i < from->count; i++) dict_set(e, d, from->keys[i], from->values[i]);
}

// dict(mapping or pairs, name=value, ...)
Value global_dict(const Call *c) {
    Value d = v_dict(c->e), item;
    const CallArgs *given = c->given;
    if (given->n_pos > 1) return eval_fail(c->e, "dict takes at most one value without name");
    if (given->n_pos == 1 && given->pos[0].type == V_DICT) {
        dict_set_all(c->e, d.dict, given->pos[0].dict);
    } else if (given->n_pos == 1) {
        for (Iter *it = iter_new(c->e, given->pos[0]); iter_next(c->e, it, &item);) {
            const Seq *pair = iter_list(c->e, item).seq;
            if (pair->count != 2) return eval_fail(c->e, "dict: an item is not a pair");
            if (is_hashable(c->e, pair->items[0])) dict_set(c->e, d.dict, pair->items[0], pair->items[1]);
        }
    }
    dict_set_all(c->e, d.dict, &given->kw);
    return d;
}

Value global_namespace(const Call *c) {
    Value ns = global_dict(c);
    for (size_t i = 0; !c->e->failed && i < ns.dict->count; i++) {
        Value key = ns.dict->keys[i];
        if (key.type == V_STR) check_namespace_name(c->e, key.str);
    }
    if (!c->e->failed) ns.type = V_NAMESPACE;
    return ns;
}

Value global_raise(const Call *c) {
    const Str *why = to_str(c->e, c->arg[0]);
    return eval_fail(c->e, "the template refuses the conversation: %.*s", STR_SHOWN(why, 600));
}

// The clock is never read: always 1 January 2026, 00:00:00, a Thursday.
Value global_strftime(const Call *c) {
    const struct tm day = {.tm_year = 126, .tm_mon = 0, .tm_mday = 1, .tm_wday = 4, .tm_yday = 0};
    const Str *f = want_str(c, c->arg[0]);
    Buffer b = {0};
    for (size_t at = 0; at < f->len && !c->e->failed; at++) {
        if (f->data[at] != '%') {
            buf_slice(c->e, &b, f, at, at + 1);
            continue;
        }
        char format[4] = "%", text[64];
        size_t n = 1;
        at++;
        if (at < f->len && f->data[at] == '-') format[n++] = f->data[at++];
        if (at >= f->len || !f->data[at] || !strchr("aAbBdHIjmMpSyYeDFTR%", f->data[at]))
            return eval_fail(c->e, "strftime_now: unsupported format");
        format[n] = f->data[at];
        buf_add(c->e, &b, text, strftime(text, sizeof text, format, &day), 0);
    }
    return buf_value(c->e, &b);
}
