// jinja_internal: what the files of the template interpreter share. Nobody else includes it.
//
// Pipeline: jinja_lex.c (text to tokens) -> jinja_parse*.c (tokens to nodes) -> jinja_exec.c / jinja_expr.c (nodes to
// text). Values: jinja_value.c, strings with provenance: jinja_str*.c.
//
// Errors stick: the first one is kept in *err and `failed` is set; everything after it returns quickly with an
// undefined value, and whoever holds the Eval or Parser at the end looks at `failed`. Values are always valid, so code
// between an error and the end need not know of it; every loop that could be long asks `failed`.
// Memory: one arena per template and one per render, freed as a whole. Nothing here is freed one by one.
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
    ORIGIN_GENERATION = 1 << 30, // inside {% generation %}; only in buffers and strings, taken out of the output
};

// ---- arena ----
typedef struct Arena {
    struct ArenaChunk *chunks;
    size_t used; // bytes handed out so far
} Arena;
void *arena_alloc(Arena *a, size_t size); // 16-byte aligned, uninitialised
void arena_free(Arena *a);
char *arena_copy(Arena *a, const char *data, size_t len); // adds a NUL

// ---- values ----
// A string: UTF-8 with the origin of every byte. Immutable. `origins` NULL: all bytes come from `origin`.
typedef struct Str {
    const char *data;
    const uint32_t *origins;
    size_t len, chars; // bytes, code points
    uint32_t origin;
    bool markup; // jinja2's Markup: only printing, ~, + and tests are supported for these
} Str;

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

typedef struct Seq Seq;
typedef struct Dict Dict;
typedef struct Iter Iter;
typedef struct Loop Loop;
typedef struct Macro Macro;
typedef struct Method Method;
typedef struct Function Function;

// `origin` says where a value that is not text came from, so that text made of it (5, True, {"a": 1}) has it too.
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
    const char *view; // V_VIEW: "dict_keys", ...
};
struct Dict {
    Value *keys, *values;
    size_t count, capacity;
    bool *read; // of a message's objects: the keys whose values the template has looked at; else NULL
};

// ---- nodes ----
typedef enum {
    // expressions
    N_CONST,   // value
    N_NAME,    // name
    N_TUPLE,   // list
    N_LIST,    // list
    N_DICT,    // list: key, value, key, value ...
    N_COND,    // a if b else c (c may be NULL)
    N_OR,      // a or b
    N_AND,     // a and b
    N_NOT,     // not a
    N_COMPARE, // a, then list of N_OPERAND
    N_OPERAND, // op, a
    N_BINARY,  // a op b
    N_CONCAT,  // list joined by ~
    N_NEG,
    N_POS,
    N_ATTR,   // a.name
    N_ITEM,   // a[b]
    N_SLICE,  // a:b:c, each may be NULL
    N_CALL,   // a(args)
    N_FILTER, // a | name(args); a NULL in block filters
    N_TEST,   // a is name(args)
    N_NSREF,  // name.attr as a target
    // statements
    N_TEXT,         // value
    N_PRINT,        // a
    N_IF,           // list of N_BRANCH
    N_BRANCH,       // a: condition (NULL: else), list: body
    N_FOR,          // a: target, b: iterable, c: filter or NULL, list: body, list2: else
    N_SET,          // a: target, b: value
    N_SET_BLOCK,    // a: target, b: chain of N_FILTER or NULL, list: body
    N_MACRO,        // name, params, list: body
    N_CALL_BLOCK,   // a: N_CALL, params, list: body
    N_FILTER_BLOCK, // a: chain of N_FILTER, list: body
    N_WITH,         // list2: target, value, target, value ..., list: body
    N_GENERATION,   // list: body
    N_BREAK,
    N_CONTINUE
} NodeType;

typedef enum { OP_EQ, OP_NE, OP_GT, OP_GE, OP_LT, OP_LE, OP_IN, OP_NOT_IN } CompareOp;

typedef struct Node Node;
typedef struct NodeList {
    Node **items;
    size_t count;
} NodeList;
typedef struct Arg {
    const Str *name; // NULL: positional
    Node *value;     // macro parameter: its default or NULL
    int stars;       // 1: *value, 2: **value
} Arg;
typedef struct ArgList {
    Arg *items;
    size_t count;
} ArgList;

struct Node {
    NodeType type;
    int op; // CompareOp, or the character of the operator ('/' 'f' for //, '*' 'p' for **)
    int line;
    const Str *name, *attr;
    Value value;
    Node *a, *b, *c;
    NodeList list, list2;
    ArgList args;                                // also the parameters of a macro
    bool uses_caller, uses_kwargs, uses_varargs; // N_MACRO, N_CALL_BLOCK: special names its body reads
};

// ---- tokens ----
typedef enum {
    T_END,
    T_TEXT,
    T_PRINT_BEGIN,
    T_PRINT_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    T_OP
} TokenType;
typedef struct Token {
    TokenType type;
    int line;
    int op;         // T_OP: the character, or a two-character operator as OP2(a, b)
    const Str *str; // T_TEXT, T_NAME, T_STRING
    int64_t i;
    double f;
} Token;
#define OP2(a, b) ((a) << 8 | (b))

struct JinjaTemplate {
    Arena arena;
    const char *name;
    NodeList body;
    bool has_generation;
};

// Splits the source into tokens (ending with T_END) in t's arena. -1 on error.
int jinja_lex(JinjaTemplate *t, Token **tokens, const char *source, size_t len, Err *err);

// ---- parser (jinja_parse.c, jinja_parse_expr.c) ----
typedef struct Parser {
    JinjaTemplate *t;
    const Token *tok; // the current one
    Err *err;
    int depth, loops; // loops: how many for bodies surround this statement inside the current function
    bool soft, failed;
    bool saw_caller, saw_kwargs, saw_varargs;
} Parser;
int jinja_parse(JinjaTemplate *t, const Token *tokens, Err *err);
PRINTF_LIKE(2, 3) Node *parse_fail(Parser *p, const char *fmt, ...); // returns an undefined constant
Node *node_new(Parser *p, NodeType type, int line);
bool parse_enter(Parser *p); // one level deeper; false: too deep
bool at_op(const Parser *p, int op);
bool at_name(const Parser *p, const char *name);
bool skip_op(Parser *p, int op);
bool skip_name(Parser *p, const char *name);
bool expect_op(Parser *p, int op);
const Str *expect_name(Parser *p);
Node *parse_expression(Parser *p);
Node *parse_tuple(Parser *p, bool with_cond, bool parenthesised);
Node *parse_target(Parser *p, bool with_namespace);
Node *parse_filter_chain(Parser *p, Node *operand, bool inline_start);
void parse_signature(Parser *p, ArgList *params);
void node_list_add(Parser *p, NodeList *list, size_t *capacity, Node *n);

// ---- evaluation ----
typedef struct Scope {
    struct Scope *parent;
    Dict vars; // keys are V_STR
} Scope;

// Text being written: grows in the arena.
typedef struct Buffer {
    char *data;
    uint32_t *origins;
    size_t len, capacity, chars;
} Buffer;

typedef enum { FLOW_NORMAL, FLOW_BREAK, FLOW_CONTINUE } Flow;

typedef struct Eval {
    const JinjaTemplate *t;
    Arena arena;
    Err *err;
    Scope *scope;
    Buffer *out;
    size_t steps, max_steps;
    int depth, line;
    bool failed;
} Eval;

struct Macro {
    const Node *node;
    Scope *scope; // where it was defined
};
struct Loop {
    Value source; // what is iterated, for loop.length
    Iter *iter;
    Value before, current, after; // V_MISSING: none
    Value last_changed;           // V_MISSING: changed() was not called yet
    int64_t index0, length;       // length -1: not known yet
};

// Arguments of a call.
typedef struct CallArgs {
    Value *pos;
    size_t n_pos;
    const Str **names;
    Value *kw;
    size_t n_kw;
} CallArgs;

enum { MAX_PARAMS = 6 };
// A filter, test, method or global function. `params`: names separated by spaces; `required`: how many must be given.
// `keywords`: whether they may be given by name. `raw` functions bind their arguments themselves.
struct Function {
    const char *name;
    Value (*call)(Eval *e, Value self, const Value *args);
    const char *params;
    int required;
    bool keywords;
    Value (*raw)(Eval *e, Value self, const CallArgs *args);
};
struct Method {
    const Function *function;
    Value self;
};

PRINTF_LIKE(2, 3) Value eval_fail(Eval *e, const char *fmt, ...); // returns undefined
void eval_charge(Eval *e, size_t steps);
void *eval_alloc(Eval *e, size_t count, size_t size); // charges the steps

// jinja_exec.c, jinja_expr.c, jinja_call.c
Flow exec_body(Eval *e, const NodeList *body);
Value capture_body(Eval *e, const NodeList *body); // the text it writes, as a string
Value eval_node(Eval *e, const Node *n);
Value eval_filter(Eval *e, const Node *n, Value operand);
CallArgs eval_args(Eval *e, const ArgList *args);
Value call_value(Eval *e, Value callee, const CallArgs *args);
Value call_function(Eval *e, const Function *f, const char *kind, Value self, const CallArgs *args);
void scope_set(Eval *e, const Str *name, Value v);
void assign_target(Eval *e, const Node *target, Value v);

// jinja_ops.c
Value op_binary(Eval *e, int op, Value a, Value b);
Value op_negate(Eval *e, Value v, int sign);
bool op_compare(Eval *e, CompareOp op, Value a, Value b);
Value get_attr(Eval *e, Value obj, const Str *name);
Value get_item(Eval *e, Value obj, Value key);
Value get_slice(Eval *e, Value obj, Value start, Value stop, Value step);

// jinja_value.c
static inline Value v_none(void) {
    return (Value){.type = V_NONE};
}
static inline Value v_bool(bool b) {
    return (Value){.type = V_BOOL, .b = b};
}
static inline Value v_int(int64_t i) {
    return (Value){.type = V_INT, .i = i};
}
static inline bool fits_int(double f) { // -2^63 < f < 2^63
    return f > -9223372036854775808.0 && f < 9223372036854775808.0;
}
static inline Value v_float(double f) {
    return (Value){.type = V_FLOAT, .f = f};
}
static inline Value v_str(const Str *s) {
    return (Value){.type = V_STR, .str = s};
}
static inline bool v_given(Value v) {
    return v.type != V_MISSING;
}
static inline bool is_seq(Value v) {
    return v.type == V_LIST || v.type == V_TUPLE || v.type == V_RANGE || v.type == V_VIEW;
}
static inline bool is_number(Value v) {
    return v.type == V_INT || v.type == V_FLOAT || v.type == V_BOOL;
}
// int64 of V_INT and V_BOOL.
static inline bool as_int(Value v, int64_t *out) {
    if (v.type != V_INT && v.type != V_BOOL) return false;
    *out = v.type == V_INT ? v.i : v.b;
    return true;
}
double as_double(Value v); // of a number
PRINTF_LIKE(2, 3) Value v_undefined(Eval *e, const char *fmt, ...);
Value fail_undefined(Eval *e, Value undefined); // with its own message
Value v_seq(Eval *e, ValueType type, Value *items, size_t count);
Value v_dict(Eval *e);
void dict_set(Eval *e, Dict *d, Value key, Value v);
bool dict_get(Eval *e, const Dict *d, Value key, Value *out);
void dict_read_all(const Dict *d); // all its values are looked at, as when it is printed
bool dict_get_str(const Dict *d, const char *name, size_t len, Value *out);
bool is_hashable(Value v);
const char *type_name(Value v); // as Python names it
bool value_truth(Eval *e, Value v);
bool value_equal(Eval *e, Value a, Value b);
int value_compare(Eval *e, Value a, Value b, const char *op); // <0 0 >0; types that have no order fail
bool value_contains(Eval *e, Value container, Value item);
int64_t value_length(Eval *e, Value v);      // len(): fails where Python does
size_t format_float(char buf[40], double f); // Python's repr
Value value_from_json(Eval *e, const Json *j, uint32_t origin);
Value field_from_json(Eval *e, const Json *j, uint32_t origin, size_t key); // its items have places of their own
Value message_from_json(Eval *e, const Json *j, uint32_t origin);

// jinja_iter.c: lazy, as Python's: a generator is read once, by whoever asks first
Iter *iter_new(Eval *e, Value v);
bool iter_next(Eval *e, Iter *it, Value *out); // false: end (or failed)
Value iter_list(Eval *e, Value v);             // list(v)
Value v_iter_over(Eval *e, Value list);        // an iterator over a list
typedef Value (*IterMap)(Eval *e, Value item, void *state, bool *keep);
Value v_generator(Eval *e, Value source, IterMap map, void *state);

// jinja_str.c
Str *str_in_arena(Arena *a, const char *data, size_t len, uint32_t origin); // data is borrowed
Str *str_make(Eval *e, const char *data, size_t len, uint32_t origin);
Value v_text(Eval *e, const char *cstr);
void buf_add(Eval *e, Buffer *b, const char *data, size_t len, uint32_t origin);
void buf_str(Eval *e, Buffer *b, const Str *s);
void buf_slice(Eval *e, Buffer *b, const Str *s, size_t from, size_t to); // bytes [from, to)
PRINTF_LIKE(4, 5) void buf_printf(Eval *e, Buffer *b, uint32_t origin, const char *fmt, ...);
Value buf_value(Eval *e, Buffer *b);
Value str_slice(Eval *e, const Str *s, size_t from, size_t to); // bytes [from, to)
size_t str_offset(const Str *s, size_t chars);                  // byte offset of the n-th code point
uint32_t str_edge_origin(const Str *s);                         // of marks written around it
bool str_is(const Str *s, const char *text);
// A Str ends nowhere but at its length: messages take it as "%.*s", STR_SHOWN(s, limit), cut at whole characters.
int str_shown(const Str *s, int limit);
#define STR_SHOWN(s, limit) str_shown(s, limit), (s)->data
bool str_equal(const Str *a, const Str *b);
size_t utf8_next(const char *s, size_t len, size_t at, int32_t *cp); // bytes of the code point at `at`
size_t utf8_put(char out[4], int32_t cp);
bool char_is_space(int32_t cp);
const Str *to_str(Eval *e, Value v); // str(v)
void buf_repr(Eval *e, Buffer *b, Value v);
size_t str_find(const Str *s, const Str *needle, size_t from, size_t to); // SIZE_MAX: absent
Value str_strip(Eval *e, const Str *s, const Str *chars, bool left, bool right);
Value str_replace(Eval *e, const Str *s, const Str *old, const Str *with, int64_t max);
Value str_case(Eval *e, const Str *s, int mode); // 'u' upper, 'l' lower, 't' title, 'c' capitalize
Value str_join(Eval *e, const Str *glue, Value items, bool convert);
Value str_splitlines(Eval *e, const Str *s, bool keep_ends);
Value str_split(Eval *e, const Str *s, const Str *sep, int64_t max, bool from_right); // sep NULL: white space
Value str_pad(Eval *e, const Str *s, int64_t width, const Str *fill, char align);     // '<' '>' '^'

// tables of functions; NULL: not there
const Function *find_filter(const Str *name);
const Function *find_filter_seq(const Str *name);
const Function *find_test(const Str *name);
const Function *find_global(const Str *name);
const Function *find_method(ValueType type, const Str *name);
bool is_python_attr(ValueType type, const Str *name); // exists in Python, is not supported here
bool is_mutator(ValueType type, const Str *name);     // refused by jinja2's immutable sandbox
const Function *table_find(const Function *table, size_t count, const Str *name);
#define TABLE_FIND(table, name) table_find(table, sizeof(table) / sizeof *(table), name)
Value call_test(Eval *e, const Str *name, Value v, const CallArgs *args);
Value call_filter(Eval *e, const Str *name, Value v, const CallArgs *args);

// jinja_json.c, jinja_format.c
Value to_json(Eval *e, Value v, const Value *args); // ensure_ascii indent separators sort_keys
Value format_percent(Eval *e, const Str *fmt, Value args);
Value format_braces(Eval *e, Value self, const CallArgs *args);
