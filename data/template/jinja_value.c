// jinja_value: the arena; truth, equality, order, dicts and lengths of values, as in Python.
#include "jinja_eval.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- arena ----

typedef struct ArenaChunk {
    struct ArenaChunk *next;
    size_t size, used;
    _Alignas(16) unsigned char data[];
} ArenaChunk;

void *arena_alloc(Arena *a, size_t size) {
    CHECK(size <= SIZE_MAX / 2);
    size = (size + 15) & ~(size_t)15;
    ArenaChunk *c = a->chunks;
    if (!c || c->size - c->used < size) {
        size_t chunk = c ? c->size * 2 : 16 << 10;
        if (chunk > 4 << 20) chunk = 4 << 20;
        if (chunk < size) chunk = size;
        c = mem_alloc(1, sizeof *c + chunk);
        *c = (ArenaChunk){.next = a->chunks, .size = chunk};
        a->chunks = c;
    }
    void *p = c->data + c->used;
    c->used += size;
    return p;
}

void arena_free(Arena *a) {
    while (a->chunks) {
        ArenaChunk *next = a->chunks->next;
        mem_free(a->chunks);
        a->chunks = next;
    }
}

// How many elements an array of `count` that is full gets room for; 0: it has room.
static size_t grown_capacity(size_t count) {
    if (count < 4) return count ? 0 : 4;
    return count & (count - 1) ? 0 : count * 2;
}

static void *grow(void *bigger, const void *items, size_t bytes) {
    if (bytes) memcpy(bigger, items, bytes);
    return bigger;
}

void *arena_grow(Arena *a, void *items, size_t count, size_t size) {
    size_t capacity = grown_capacity(count);
    return capacity ? grow(arena_alloc(a, capacity * size), items, count * size) : items;
}

void *eval_grow(Eval *e, void *items, size_t count, size_t size) {
    size_t capacity = grown_capacity(count);
    return capacity ? grow(eval_alloc(e, capacity, size), items, count * size) : items;
}

// ---- errors and limits ----

Value eval_fail(Eval *e, const char *fmt, ...) {
    static const Str used = STR_INIT("value of a failed expression");
    if (!e->failed) {
        char what[768];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(what, sizeof what, fmt, ap);
        va_end(ap);
        err_input(e->err, "%s line %d: %s", e->t->name, e->line, what);
        e->failed = true;
    }
    return (Value){.type = V_UNDEFINED, .str = &used};
}

bool eval_enter(Eval *e) {
    if (e->depth >= JINJA_MAX_DEPTH) eval_fail(e, "nested too deep");
    if (e->failed) return false;
    e->depth++;
    return true;
}

void eval_charge(Eval *e, size_t steps) {
    e->steps += steps;
    if (e->steps > e->max_steps) eval_fail(e, "the template needs more than %zu steps", e->max_steps);
}

// A failed evaluation may still allocate a little.
void *eval_alloc(Eval *e, size_t count, size_t size) {
    size_t bytes;
    CHECK(size_mul(count, size, &bytes));
    eval_charge(e, 1 + bytes / 64);
    return arena_alloc(&e->arena, bytes);
}

void *eval_copy(Eval *e, const void *object, size_t size) { return memcpy(eval_alloc(e, 1, size), object, size); }

// ---- making values ----

Value v_text(Eval *e, const char *cstr) { return v_str(str_make(e, cstr, strlen(cstr))); }

Value v_undefined(Eval *e, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return (Value){.type = V_UNDEFINED, .str = str_make(e, text, strlen(text))};
}

Value fail_undefined(Eval *e, Value undefined) { return eval_fail(e, "%.*s", STR_SHOWN(undefined.str, 600)); }

Value v_seq(Eval *e, ValueType type, Value *items, size_t count) {
    return (Value){.type = type, .seq = EVAL_NEW(e, Seq, .items = items, .count = count)};
}

Value v_tuple(Eval *e, size_t count, const Value *items) {
    return v_seq(e, V_TUPLE, eval_copy(e, items, count * sizeof *items), count);
}

Value v_dict(Eval *e) { return (Value){.type = V_DICT, .dict = EVAL_NEW(e, Dict, 0)}; }

double as_double(Value v) { return v.type == V_FLOAT ? v.f : v.type == V_BOOL ? v.b : (double)v.i; }

const char *type_name(Value v) {
    static const char *const names[] = {"missing",     "Undefined", "NoneType", "bool",      "int",
                                        "int",         "float",     "str",      "list",      "tuple",
                                        "range",       "view",      "dict",     "Namespace", "generator",
                                        "LoopContext", "Macro",     "method",   "function"};
    return names[v.type];
}

// ---- dicts ----

bool hashable(Value v) {
    if (has_type(v, TYPE(V_LIST) | TYPE(V_DICT) | TYPE(V_VIEW))) return false;
    for (size_t i = 0; v.type == V_TUPLE && i < v.seq->count; i++)
        if (!hashable(v.seq->items[i])) return false;
    return true;
}

bool is_hashable(Eval *e, Value key) {
    if (!hashable(key)) eval_fail(e, "unhashable type '%s'", type_name(key));
    return !e->failed;
}

static bool dict_index(Eval *e, const Dict *d, Value key, size_t *index) {
    eval_charge(e, d->count / 8);
    for (size_t i = 0; i < d->count && !e->failed; i++) {
        *index = i;
        if (value_equal(e, d->keys[i], key)) return true;
    }
    return false;
}

void dict_set(Eval *e, Dict *d, Value key, Value v) {
    size_t i;
    if (!dict_index(e, d, key, &i)) {
        d->keys = eval_grow(e, d->keys, d->count, sizeof *d->keys);
        d->values = eval_grow(e, d->values, d->count, sizeof *d->values);
        i = d->count++;
        d->keys[i] = key;
    }
    d->values[i] = v;
}

void dict_track(Eval *e, Dict *d) {
    d->read = eval_alloc(e, d->count, sizeof *d->read);
    memset(d->read, false, d->count * sizeof *d->read);
}

void dict_read_all(const Dict *d) {
    if (d->read) memset(d->read, true, d->count * sizeof *d->read);
}

static bool read_value(const Dict *d, size_t i, Value *out) {
    if (d->read) d->read[i] = true;
    *out = d->values[i];
    return true;
}

bool dict_get(Eval *e, const Dict *d, Value key, Value *out) {
    size_t i;
    return dict_index(e, d, key, &i) && read_value(d, i, out);
}

bool dict_get_str(const Dict *d, const Str *name, Value *out) {
    for (size_t i = 0; i < d->count; i++)
        if (d->keys[i].type == V_STR && str_equal(d->keys[i].str, name)) return read_value(d, i, out);
    return false;
}

// ---- truth, equality, order ----

bool value_truth(Eval *e, Value v) {
    if (has_type(v, TYPE(V_MISSING) | TYPE(V_UNDEFINED) | TYPE(V_NONE))) return false;
    if (v.type == V_BOOL) return v.b;
    if (v.type == V_INT) return v.i != 0;
    if (v.type == V_FLOAT) return v.f != 0;
    bool has_length = is_seq(v) || has_type(v, TYPE(V_STR) | TYPE(V_DICT) | TYPE(V_LOOP));
    return !has_length || value_length(e, v) > 0;
}

static bool equal_numbers(Value a, Value b) {
    int64_t i = 0, j = 0;
    bool a_int = as_int(a, &i), b_int = as_int(b, &j);
    if (a_int && b_int) return i == j;
    if (as_double(a) != as_double(b)) return false;
    double f = a.type == V_FLOAT ? a.f : b.f; // an int that was rounded to a double is not equal to it
    return (!a_int && !b_int) || (f < 0x1p63 && (int64_t)f == (a_int ? i : j));
}

static bool equal_dicts(Eval *e, const Dict *a, const Dict *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count && !e->failed; i++) {
        Value v;
        if (!dict_get(e, b, a->keys[i], &v) || !value_equal(e, a->values[i], v)) return false;
    }
    return true;
}

static bool equal_seqs(Eval *e, const Seq *a, const Seq *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count && !e->failed; i++)
        if (!value_equal(e, a->items[i], b->items[i])) return false;
    return true;
}

static bool equal_same_type(Eval *e, Value a, Value b) {
    if (has_type(a, TYPE(V_UNDEFINED) | TYPE(V_NONE))) return true;
    if (has_type(a, TYPE(V_STR) | TYPE(V_BIGINT))) return str_equal(a.str, b.str);
    if (a.type == V_VIEW) eval_fail(e, "comparing dict views is not supported");
    if (e->failed || a.seq == b.seq) return !e->failed; // the pointer, whatever it points to
    if (a.type == V_DICT) return equal_dicts(e, a.dict, b.dict);
    return is_seq(a) && equal_seqs(e, a.seq, b.seq);
}

bool value_equal(Eval *e, Value a, Value b) {
    if (is_number(a) && is_number(b)) return equal_numbers(a, b);
    if (a.type != b.type) return false;
    eval_charge(e, 1);
    if (!eval_enter(e)) return false;
    bool same = equal_same_type(e, a, b);
    e->depth--;
    return same;
}

static int compare_numbers(Eval *e, Value a, Value b) {
    int64_t i, j;
    if (as_int(a, &i) && as_int(b, &j)) return (i > j) - (i < j);
    double x = as_double(a), y = as_double(b);
    if (isnan(x) || isnan(y)) eval_fail(e, "comparing nan is not supported");
    return (x > y) - (x < y);
}

int value_compare(Eval *e, Value a, Value b, const char *op) {
    if (is_number(a) && is_number(b)) return compare_numbers(e, a, b);
    if (a.type == V_STR && b.type == V_STR) { // UTF-8 keeps the order of code points
        size_t n = a.str->len < b.str->len ? a.str->len : b.str->len;
        int c = memcmp(a.str->data, b.str->data, n);
        return c ? c : (a.str->len > b.str->len) - (a.str->len < b.str->len);
    }
    if (a.type == b.type && (a.type == V_LIST || a.type == V_TUPLE)) {
        for (size_t i = 0; i < a.seq->count && i < b.seq->count && !e->failed; i++)
            if (!value_equal(e, a.seq->items[i], b.seq->items[i]))
                return value_compare(e, a.seq->items[i], b.seq->items[i], op);
        return (a.seq->count > b.seq->count) - (a.seq->count < b.seq->count);
    }
    Value bad = a.type == V_UNDEFINED ? a : b;
    if (bad.type == V_UNDEFINED)
        fail_undefined(e, bad);
    else
        eval_fail(e, "'%s' is not supported between '%s' and '%s'", op, type_name(a), type_name(b));
    return 0;
}

bool value_contains(Eval *e, Value container, Value item) {
    Value v;
    if (container.type == V_STR) {
        if (item.type == V_STR) return str_find(container.str, item.str, 0) != SIZE_MAX;
        eval_fail(e, "'in <string>' requires a string on its left, found '%s'", type_name(item));
        return false;
    }
    if (container.type == V_DICT) return is_hashable(e, item) && dict_get(e, container.dict, item, &v);
    for (Iter *it = iter_new(e, container); iter_next(e, it, &v);)
        if (value_equal(e, v, item)) return true;
    return false;
}

static int64_t loop_length(Eval *e, Loop *loop) {
    if (loop->length >= 0) return loop->length;
    if (loop->source.type == V_ITER) { // a generator is consumed, and the loop continues over the list of its items
        Value rest = iter_list(e, loop->source);
        loop->iter = iter_new(e, rest);
        loop->length = (int64_t)rest.seq->count + loop->index0 + 1 + v_given(loop->after);
    } else {
        loop->length = value_length(e, loop->source);
    }
    return loop->length;
}

int64_t value_length(Eval *e, Value v) {
    if (v.type == V_UNDEFINED) return 0;
    if (v.type == V_STR) return (int64_t)v.str->chars;
    if (is_seq(v)) return (int64_t)v.seq->count;
    if (v.type == V_DICT) return (int64_t)v.dict->count;
    if (v.type == V_LOOP) return loop_length(e, v.loop);
    eval_fail(e, "object of type '%s' has no length", type_name(v));
    return 0;
}
