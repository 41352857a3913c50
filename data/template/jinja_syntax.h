// jinja_syntax: the text of a template to tokens (jinja_lex.c) and these to a tree of nodes (jinja_parse.c for
// statements, jinja_parse_expr.c for expressions).
#pragma once

#include "jinja_value.h"

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
    N_BINARY,  // a op b; ~ too
    N_SIGN,    // +a or -a: op is 1 or -1
    N_ATTR,    // a.name
    N_ITEM,    // a[b]
    N_SLICE,   // a:b:c, each may be NULL
    N_CALL,    // a(args)
    N_FILTER,  // a | name(args); a NULL in block filters
    N_TEST,    // a is name(args)
    N_NSREF,   // name.attr as a target
    // statements
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
#define OP2(a, b) ((a) << 8 | (b)) // a two-character operator

// Names that a macro's body may read without a parameter.
enum { NAME_CALLER = 1, NAME_KWARGS = 2, NAME_VARARGS = 4 };

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
    int op; // N_OPERAND: CompareOp; N_BINARY: the operator's character or OP2; N_SIGN
    int line;
    const Str *name, *attr;
    Value value;
    Node *a, *b, *c;
    NodeList list, list2;
    ArgList args;     // also the parameters of a macro
    unsigned special; // N_MACRO, N_CALL_BLOCK: special names that its body reads, as bits
};

struct JinjaTemplate {
    Arena arena;
    const char *name;
    NodeList body;
    bool has_generation;
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
    int op;         // T_OP: the character, or OP2
    const Str *str; // T_TEXT, T_NAME, T_STRING
    int64_t i;
    double f;
} Token;

// Tokens of the source, ending with T_END, in t's arena. -1 on error.
int jinja_lex(JinjaTemplate *t, Token **tokens, const char *source, size_t len, Err *err);
int jinja_parse(JinjaTemplate *t, const Token *tokens, Err *err);

// ---- parser ----

typedef struct Parser {
    JinjaTemplate *t;
    const Token *tok; // the current one
    Err *err;
    int depth, loops; // loops: how many for bodies surround this statement inside the current function
    bool in_if;       // an unknown filter or test is no error until it is evaluated, as in jinja2
    bool failed;
    unsigned special; // special names read so far inside the current function
} Parser;
PRINTF_LIKE(2, 3) Node *parse_fail(Parser *p, const char *fmt, ...); // returns an undefined constant
Node *fail_expected(Parser *p, const char *what);                    // parse_fail: what, found the current token
Node *node_new(Parser *p, NodeType type, int line);
Node *node_const(Parser *p, Value v);
void node_list_add(Parser *p, NodeList *list, Node *n);
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
