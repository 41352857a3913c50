// jinja_globals: the global functions of the Hugging Face environment. cycler, joiner and lipsum are not among them.
#include "jinja_internal.h"

#include <string.h>
#include <time.h>

static Value g_range(Eval *e, Value self, const CallArgs *args) {
    (void)self;
    int64_t v[3] = {0, 0, 1}, n = 0;
    if (args->n_kw || args->n_pos < 1 || args->n_pos > 3) return eval_fail(e, "range takes 1 to 3 numbers");
    for (size_t i = 0; i < args->n_pos; i++) {
        if (!as_int(args->pos[i], &v[args->n_pos == 1 ? 1 : i])) {
            return eval_fail(e, "range: argument is of type '%s'", type_name(args->pos[i]));
        }
    }
    int64_t start = v[0], stop = v[1], step = v[2], at = start;
    if (step == 0) return eval_fail(e, "range: step is zero");
    while ((step > 0 ? at < stop : at > stop) && n <= JINJA_MAX_RANGE) {
        n++;
        if (__builtin_add_overflow(at, step, &at)) break;
    }
    if (n > JINJA_MAX_RANGE) return eval_fail(e, "range is longer than %d", JINJA_MAX_RANGE);
    Value *items = eval_alloc(e, (size_t)n, sizeof *items);
    for (int64_t i = 0; i < n; i++) items[i] = v_int(start + i * step);
    return v_seq(e, V_RANGE, items, (size_t)n);
}

// dict(mapping or pairs, name=value, ...)
static Value g_dict(Eval *e, Value self, const CallArgs *args) {
    (void)self;
    Value d = v_dict(e), item;
    if (args->n_pos > 1) return eval_fail(e, "dict takes at most one value without name");
    if (args->n_pos == 1 && args->pos[0].type == V_DICT) {
        const Dict *from = args->pos[0].dict;
        dict_read_all(from);
        for (size_t i = 0; i < from->count; i++) dict_set(e, d.dict, from->keys[i], from->values[i]);
    } else if (args->n_pos == 1) {
        for (Iter *it = iter_new(e, args->pos[0]); iter_next(e, it, &item);) {
            Value pair = iter_list(e, item);
            if (pair.seq->count != 2) return eval_fail(e, "dict: an item is not a pair");
            if (!is_hashable(pair.seq->items[0])) return eval_fail(e, "dict: unhashable key");
            dict_set(e, d.dict, pair.seq->items[0], pair.seq->items[1]);
        }
    }
    for (size_t i = 0; i < args->n_kw; i++) dict_set(e, d.dict, v_str(args->names[i]), args->kw[i]);
    return d;
}

static Value g_namespace(Eval *e, Value self, const CallArgs *args) {
    Value ns = g_dict(e, self, args);
    if (e->failed) return ns;
    for (size_t i = 0; i < ns.dict->count; i++) {
        Value key = ns.dict->keys[i];
        if (key.type == V_STR && key.str->len && key.str->data[0] == '_') {
            return eval_fail(e, "attribute '%.*s' of a namespace begins with an underscore", STR_SHOWN(key.str, 100));
        }
    }
    ns.type = V_NAMESPACE;
    return ns;
}

static Value g_raise(Eval *e, Value self, const Value *a) {
    (void)self;
    const Str *why = to_str(e, a[0]);
    return eval_fail(e, "the template refuses the conversation: %.*s", STR_SHOWN(why, 600));
}

// The clock is never read: always 1 January 2026, 00:00:00, a Thursday.
static Value g_strftime(Eval *e, Value self, const Value *a) {
    (void)self;
    struct tm day = {.tm_year = 126, .tm_mon = 0, .tm_mday = 1, .tm_wday = 4, .tm_yday = 0};
    if (a[0].type != V_STR) return eval_fail(e, "strftime_now: format is of type '%s'", type_name(a[0]));
    const Str *f = a[0].str;
    Buffer b = {0};
    for (size_t at = 0; at < f->len && !e->failed; at++) {
        if (f->data[at] != '%') {
            buf_slice(e, &b, f, at, at + 1);
            continue;
        }
        char format[4] = "%", text[64];
        size_t n = 1;
        at++;
        if (at < f->len && f->data[at] == '-') format[n++] = f->data[at++];
        if (at >= f->len || !f->data[at] || !strchr("aAbBdHIjmMpSyYeDFTR%", f->data[at])) {
            return eval_fail(e, "strftime_now: unsupported format");
        }
        format[n++] = f->data[at];
        format[n] = 0;
        buf_add(e, &b, text, strftime(text, sizeof text, format, &day), 0);
    }
    return buf_value(e, &b);
}

static const Function globals[] = {
    {.name = "dict", .raw = g_dict},
    {.name = "namespace", .raw = g_namespace},
    {.name = "raise_exception", .call = g_raise, .params = "message", .required = 1, .keywords = true},
    {.name = "range", .raw = g_range},
    {.name = "strftime_now", .call = g_strftime, .params = "format", .required = 1, .keywords = true},
};

const Function *find_global(const Str *name) {
    return TABLE_FIND(globals, name);
}
