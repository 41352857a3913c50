// jinja_eval: the state of a render, scopes, calls, and the library of filters, tests, methods and global functions.
//
// Parts: jinja_exec.c (statements), jinja_expr.c (expressions, calls, macros), jinja_ops.c (operators, attributes,
// subscripts), jinja_library.c (the table of functions, and the global ones); the functions: jinja_text.c,
// jinja_number.c, jinja_seq.c, jinja_format.c.
#pragma once

#include "jinja_syntax.h"

typedef struct Scope {
    struct Scope *parent;
    Dict vars; // keys are V_STR
} Scope;

typedef enum { FLOW_NORMAL, FLOW_BREAK, FLOW_CONTINUE } Flow;

struct Eval {
    const JinjaTemplate *t;
    Arena arena;
    Err *err;
    Scope *scope;
    Buffer *out;
    size_t steps, max_steps;
    int depth, line;
    bool failed;
};
bool eval_enter(Eval *e); // one level deeper, for which the caller does e->depth--; false: failed

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
    Dict kw;
} CallArgs;

// ---- statements and expressions ----

Flow exec_body(Eval *e, const NodeList *body);
Value capture_body(Eval *e, const NodeList *body); // the text it writes, as a string
Value eval_node(Eval *e, const Node *n);
Value eval_filters(Eval *e, const Node *chain, Value v); // chain: N_FILTER, or NULL
Scope *scope_new(Eval *e, Scope *parent);
void scope_set(Eval *e, const Str *name, Value v);
bool scope_get(const Eval *e, const Str *name, Value *out);
bool check_namespace_name(Eval *e, const Str *name); // false: failed
void assign_target(Eval *e, const Node *target, Value v);

CallArgs eval_args(Eval *e, const ArgList *args);
void args_add_keyword(Eval *e, CallArgs *args, const Str *name, Value v);
Value call_value(Eval *e, Value callee, const CallArgs *args);

Value op_binary(Eval *e, int op, Value a, Value b);
Value op_sign(Eval *e, Value v, int sign); // +v or -v
bool op_compare(Eval *e, CompareOp op, Value a, Value b);
Value get_attr(Eval *e, Value obj, const Str *name);
Value get_item(Eval *e, Value obj, Value key);
Value get_slice(Eval *e, Value obj, Value start, Value stop, Value step);
static inline Value get_reversed(Eval *e, Value list_or_text) { // a new one
    return get_slice(e, list_or_text, v_none(), v_none(), v_int(-1));
}

// ---- the library (jinja_library.c): filters, tests, methods, global functions ----

enum { MAX_PARAMS = 4 };
// A call with its arguments bound to the function's parameters.
typedef struct Call {
    Eval *e;
    const Function *f;
    Value self;            // operand of a filter or test, object of a method; none for a global function
    Value arg[MAX_PARAMS]; // V_MISSING: not given
    const CallArgs *given; // as the template wrote them, for functions that bind their arguments themselves
} Call;
typedef Value LibraryFunction(const Call *c);

// Kinds of functions, as bits. The kind of a method is the set of types that have it.
enum { FILTER = 1 << 24, TEST = 1 << 25, GLOBAL = 1 << 26, ON_MARKUP = 1 << 27 }; // ON_MARKUP: also of safe strings
struct Function {
    unsigned kind;
    const char *name;
    LibraryFunction *call;
    const char *params; // names; "?" follows an optional one, a last "/" forbids to pass by name; NULL: binds itself
    unsigned mode;      // tells apart functions that share their code
};
struct Method {
    const Function *function;
    Value self;
};
const Function *find_function(unsigned kind, const Str *name); // NULL: unknown
const char *kind_name(unsigned kind);                          // "filter", "test", "function", "method"
bool is_python_attr(ValueType type, const Str *name);          // exists in Python, is not supported here
bool is_mutator(ValueType type, const Str *name);              // refused by jinja2's immutable sandbox
Value call_function(Eval *e, const Function *f, Value self, const CallArgs *args);
Value call_named(Eval *e, unsigned kind, const Str *name, Value self, const CallArgs *args); // a filter or test

// Arguments of a call; errors name the function.
Value fail_type(const Call *c, Value found, const char *expected);
bool fail_unexpected(const Call *c); // fails if an argument by name was not read
static inline bool is_set(Value v) { return v_given(v) && v.type != V_NONE; }
const Str *want_str(const Call *c, Value v);                 // fails if it is not a string
const Str *arg_str(const Call *c, int i, const Str *absent); // absent: not given, or none
int64_t arg_int(const Call *c, int i, int64_t absent);       // absent: not given
bool arg_truth(const Call *c, int i);                        // false: not given
bool arg_is(const Call *c, int i, const char *word);

enum { CLASS_ALPHA = 1, CLASS_DIGIT = 2, CLASS_LOWER = 4, CLASS_UPPER = 8, CLASS_TITLE = 16, CLASS_SPACE = 32 };
LibraryFunction text_affix, text_case, text_count, text_find, text_indent, text_is, text_is_cased, text_pad,
    text_partition, text_remove_affix, text_replace, text_safe, text_split, text_splitlines, text_string, text_strip,
    text_title, text_zfill;
LibraryFunction format_braces, format_filter, json_filter;
LibraryFunction number_abs, number_float, number_int, number_remainder, number_round;
enum { SELECT_TRUE = 1, SELECT_ATTRIBUTE = 2 };
LibraryFunction seq_copy, seq_count, seq_dictsort, seq_extreme, seq_first, seq_get, seq_index, seq_items, seq_join,
    seq_last, seq_length, seq_list, seq_map, seq_reverse, seq_select, seq_sort, seq_sum, seq_unique, seq_view,
    loop_changed, loop_cycle;
Value format_percent(Eval *e, const Str *f, Value args);
