// jinja_value: the values of templates, Python's types, with the origin of every byte of text (jinja.h).
//
// Parts: jinja_value.c (arena, dicts, truth, equality, order), jinja_str.c (strings), jinja_seq.c (iteration),
// jinja_write.c (values to text).
//
// Errors stick: the first one is kept in *err and sets Eval.failed; later calls return at once, and jinja_render reads
// `failed` at the end. Values are always valid, so only loops that may be long test `failed`, and code that relies on
// the type of a result.
//
// Memory: one arena per template and one per render, each freed as a whole.
#pragma once

#include "base.h"
#include "jinja.h"

enum {
    JINJA_MAX_STRING = 16 << 20, // bytes of one string, and of the output
    JINJA_PROBE_STEPS = 300000,
    JINJA_MAX_STEPS = 10000000,  // nodes evaluated + bytes allocated / 64
    JINJA_MAX_DEPTH = 600,       // nested evaluations (macros included)
    JINJA_MAX_NESTING = 100,     // nested expressions and statements in the source
    JINJA_MAX_RANGE = 100000,    // jinja2's sandbox has the same limit
    JINJA_MAX_SOURCE = 1 << 20,  // bytes of a template
    ORIGIN_GENERATION = 1 << 30, // inside {% generation %}; only in buffers and strings, removed from the output
};

typedef struct Eval Eval; // jinja_eval.h

// ---- arena ----

typedef struct Arena {
    struct ArenaChunk *chunks;
} Arena;
void *arena_alloc(Arena *a, size_t size); // 16-byte aligned, uninitialised
// The array `items` of `count` elements with room for one more. For arrays that only this call allocates: they have
// room for 4, 8, 16, ... elements.
void *arena_grow(Arena *a, void *items, size_t count, size_t size);
void arena_free(Arena *a);

// The same from the arena of a render, at the price of steps, so that the limit of steps bounds memory too.
void *eval_alloc(Eval *e, size_t count, size_t size);
void *eval_grow(Eval *e, void *items, size_t count, size_t size);
void eval_charge(Eval *e, size_t steps);
void *eval_copy(Eval *e, const void *object, size_t size);
// A new object: EVAL_NEW(e, Loop, .index0 = -1).
#define EVAL_NEW(e, type, ...) ((type *)eval_copy(e, &(type){__VA_ARGS__}, sizeof(type)))

// ---- values ----

// A string: UTF-8 with the origin of every byte. Immutable. `origins` NULL: all bytes come from `origin`.
typedef struct Str {
    const char *data;
    const uint32_t *origins;
    size_t len, chars; // bytes, code points
    uint32_t origin;
    bool markup; // jinja2's Markup: only printing, ~, + and tests are supported for these
} Str;
#define STR_INIT(text)                                                                                                 \
    { .data = (text), .len = sizeof(text) - 1, .chars = sizeof(text) - 1 } // of an ASCII literal

typedef enum {
    V_MISSING, // no value: an argument that was not given (never seen by templates)
    V_UNDEFINED,
    V_NONE,
    V_BOOL,
    V_INT,
    V_BIGINT, // an integer of the data that does not fit int64, kept as text; can only be printed
    V_FLOAT,
    V_STR,
    V_LIST,
    V_TUPLE,
    V_RANGE, // range(), as the list of its numbers
    V_VIEW,  // dict.keys(), .values(), .items()
    V_DICT,
    V_NAMESPACE,
    V_ITER, // a generator or iterator: can be consumed once
    V_LOOP, // the special variable `loop`
    V_MACRO,
    V_METHOD,  // a method bound to its object
    V_FUNCTION // a global function
} ValueType;
#define TYPE(type) (1u << (type)) // sets of types

typedef struct Seq Seq;
typedef struct Dict Dict;
typedef struct Iter Iter;
typedef struct Loop Loop;
typedef struct Macro Macro;
typedef struct Method Method;
typedef struct Function Function;

// `origin`: where a value that is not text came from; text made of it (5, True, {"a": 1}) gets it.
typedef struct Value {
    ValueType type;
    uint32_t origin;
    union {
        bool b;
        int64_t i;
        double f;
        const Str *str;     // V_STR, V_BIGINT; V_UNDEFINED: the message of using it
        const Seq *seq;     // V_LIST, V_TUPLE, V_RANGE, V_VIEW
        Dict *dict;         // V_DICT (immutable), V_NAMESPACE (mutable)
        Iter *iter;         // V_ITER
        Loop *loop;         // V_LOOP
        const Macro *macro; // V_MACRO
        const Method *method;
        const Function *function;
    };
} Value;

struct Seq {
    Value *items;
    size_t count;
    const char *view; // V_VIEW: "keys", "values", "items"
};
struct Dict {
    Value *keys, *values; // grown by dict_set, or allocated whole and never set
    size_t count;
    bool *read; // NULL, or which values were read: of messages, of the template's variables, of keyword arguments
};

static inline Value v_missing(void) { return (Value){.type = V_MISSING}; }
static inline Value v_none(void) { return (Value){.type = V_NONE}; }
static inline Value v_bool(bool b) { return (Value){.type = V_BOOL, .b = b}; }
static inline Value v_int(int64_t i) { return (Value){.type = V_INT, .i = i}; }
static inline Value v_float(double f) { return (Value){.type = V_FLOAT, .f = f}; }
static inline Value v_str(const Str *s) { return (Value){.type = V_STR, .str = s}; }
static inline bool v_given(Value v) { return v.type != V_MISSING; }
static inline bool has_type(Value v, unsigned types) { return (TYPE(v.type) & types) != 0; }
static inline bool is_seq(Value v) { return has_type(v, TYPE(V_LIST) | TYPE(V_TUPLE) | TYPE(V_RANGE) | TYPE(V_VIEW)); }
static inline bool is_number(Value v) { return has_type(v, TYPE(V_INT) | TYPE(V_FLOAT) | TYPE(V_BOOL)); }
static inline bool fits_int(double f) { // -2^63 < f < 2^63
    return f > -9223372036854775808.0 && f < 9223372036854775808.0;
}
// int64 of V_INT and V_BOOL.
static inline bool as_int(Value v, int64_t *out) {
    if (v.type != V_INT && v.type != V_BOOL) return false;
    *out = v.type == V_INT ? v.i : v.b;
    return true;
}
double as_double(Value v); // of a number
Value v_text(Eval *e, const char *cstr);
PRINTF_LIKE(2, 3) Value v_undefined(Eval *e, const char *fmt, ...);
PRINTF_LIKE(2, 3) Value eval_fail(Eval *e, const char *fmt, ...); // returns undefined
Value fail_undefined(Eval *e, Value undefined);                   // with its own message
Value v_seq(Eval *e, ValueType type, Value *items, size_t count);
Value v_tuple(Eval *e, size_t count, const Value *items); // of a copy
Value v_dict(Eval *e);
void dict_set(Eval *e, Dict *d, Value key, Value v);
bool dict_get(Eval *e, const Dict *d, Value key, Value *out);
bool dict_get_str(const Dict *d, const Str *name, Value *out);
void dict_track(Eval *e, Dict *d); // notes from now on which values are read; d gets no more keys
void dict_read_all(const Dict *d); // all its values are read, as when it is printed
bool hashable(Value key);
bool is_hashable(Eval *e, Value key); // hashable; false: failed
const char *type_name(Value v);       // as Python names it
bool value_truth(Eval *e, Value v);
bool value_equal(Eval *e, Value a, Value b);
int value_compare(Eval *e, Value a, Value b, const char *op); // <0 0 >0; types that have no order fail
bool value_contains(Eval *e, Value container, Value item);
int64_t value_length(Eval *e, Value v); // len(): fails where Python does

// jinja_seq.c: iteration is lazy, as Python's: a generator is consumed by its first reader.
Iter *iter_new(Eval *e, Value v);
bool iter_next(Eval *e, Iter *it, Value *out); // false: end (or failed)
Value iter_list(Eval *e, Value v);             // list(v)
Value v_iter_over(Eval *e, Value list);        // an iterator over a list
typedef Value (*IterMap)(Eval *e, Value item, void *state, bool *keep);
Value v_generator(Eval *e, Value source, IterMap map, void *state);

// ---- strings (jinja_str.c); positions are bytes ----

// Text being written: grows in the arena.
typedef struct Buffer {
    char *data;
    uint32_t *origins;
    size_t len, capacity;
} Buffer;

Str *str_in_arena(Arena *a, const char *data, size_t len, uint32_t origin); // data is borrowed
Str *str_make(Eval *e, const char *data, size_t len);                       // a copy, origin 0
bool str_is(const Str *s, const char *text);
bool str_equal(const Str *a, const Str *b);
bool str_has(const Str *s, size_t at, const Str *part);        // `part` is at byte `at`
size_t str_find(const Str *s, const Str *needle, size_t from); // SIZE_MAX: absent
size_t str_offset(const Str *s, size_t chars);                 // byte offset of the n-th code point
uint32_t str_origin(const Str *s, size_t at);                  // of a byte; of text that is written around s: at 0
int32_t str_next(const Str *s, size_t *at);                    // the code point at *at, which moves past it
int32_t str_prev(const Str *s, size_t *at); // the code point that ends at *at, which moves to its start
// The other end of the run of characters that are (in) or are not (!in) in `set`, from `at` to the right, or to the
// left down to `from`. set NULL: white space.
size_t str_run(const Str *s, size_t at, const Str *set, bool in);
size_t str_run_back(const Str *s, size_t from, size_t at, const Str *set, bool in);
Value str_concat(Eval *e, const Str *a, const Str *b); // a + b (jinja_ops.c)
Value str_as_markup(Eval *e, const Str *s);
Value str_case(Eval *e, const Str *s, int mode); // 'u' upper, 'l' lower, 't' title, 'c' capitalize (jinja_text.c)
Value str_pad(Eval *e, const Str *s, int64_t width, const Str *fill, char align); // '<' '>' '^' (jinja_text.c)
Value str_slice(Eval *e, const Str *s, size_t from, size_t to);                   // bytes [from, to), shared
bool char_is_space(int32_t cp);                                                   // str.isspace of Python
static inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
// A Str need not end with a NUL: messages take it as "%.*s", STR_SHOWN(s, limit), cut at whole characters.
int str_shown(const Str *s, int limit);
#define STR_SHOWN(s, limit) str_shown(s, limit), (s)->data

void buf_add(Eval *e, Buffer *b, const char *data, size_t len, uint32_t origin);
void buf_str(Eval *e, Buffer *b, const Str *s);
void buf_slice(Eval *e, Buffer *b, const Str *s, size_t from, size_t to); // bytes [from, to)
Value text_too_long(Eval *e);                                             // fails
PRINTF_LIKE(4, 5) void buf_printf(Eval *e, Buffer *b, uint32_t origin, const char *fmt, ...);
Value buf_value(Eval *e, Buffer *b); // the text as a string; the buffer must not be used again

// ---- text of values (jinja_write.c) ----

const Str *to_str(Eval *e, Value v); // str(v)
Value to_repr(Eval *e, Value v);
