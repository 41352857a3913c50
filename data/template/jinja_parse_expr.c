// jinja_parse_expr: expressions, by the grammar and precedence of jinja2's parser, loosest first:
//   a if b else c; or; and; not; comparisons and in; + -; ~; * / // %; **; unary - +; postfix . [] (); filters and is
#include "jinja_eval.h"

#include <string.h>

static Node *parse_or(Parser *p);
static Node *parse_primary(Parser *p);

static Node *node_of(Parser *p, NodeType type, int op, Node *a, Node *b, int line) {
    Node *n = node_new(p, type, line);
    n->op = op;
    n->a = a;
    n->b = b;
    return n;
}

// ---- calls and signatures ----

static void args_add(Parser *p, ArgList *args, Arg arg) {
    args->items = arena_grow(&p->t->arena, args->items, args->count, sizeof *args->items);
    args->items[args->count++] = arg;
}

// Does a list of `count` items so far have another before `close`? Skips the comma; a trailing one is allowed.
static bool more_items(Parser *p, size_t count, char close) {
    if (p->failed || at_op(p, close)) return false;
    if (count && !expect_op(p, ',')) return false;
    return !at_op(p, close);
}

// (a, b, name=c, *d, **e)
static void parse_call_args(Parser *p, ArgList *args) {
    enum { POSITIONAL, KEYWORD, STAR, STARS }; // in this order only
    int last = POSITIONAL;
    expect_op(p, '(');
    while (more_items(p, args->count, ')')) {
        Arg arg = {0};
        if (skip_op(p, '*')) {
            arg.stars = 1;
        } else if (skip_op(p, OP2('*', '*'))) {
            arg.stars = 2;
        } else if (p->tok->type == T_NAME && p->tok[1].type == T_OP && p->tok[1].op == '=') {
            arg.name = p->tok->str;
            p->tok += 2;
        }
        int kind = arg.stars ? STAR + arg.stars - 1 : arg.name ? KEYWORD : POSITIONAL;
        bool keyword_after_star = kind == KEYWORD && last == STAR;
        if ((kind < last && !keyword_after_star) || (kind >= STAR && kind == last))
            parse_fail(p, "invalid order of arguments in a call");
        if (!keyword_after_star) last = kind;
        arg.value = parse_expression(p);
        args_add(p, args, arg);
    }
    expect_op(p, ')');
}

// Parameters of a macro: names, then names with defaults.
void parse_signature(Parser *p, ArgList *params) {
    bool had_default = false;
    expect_op(p, '(');
    while (!p->failed && !at_op(p, ')')) {
        if (params->count && !expect_op(p, ',')) return;
        Arg param = {.name = expect_name(p)};
        if (skip_op(p, '=')) {
            param.value = parse_expression(p);
            had_default = true;
        } else if (had_default) {
            parse_fail(p, "parameter without a default after one with a default");
        }
        args_add(p, params, param);
    }
    expect_op(p, ')');
}

static Node *parse_call(Parser *p, Node *callee) {
    Node *n = node_of(p, N_CALL, 0, callee, NULL, p->tok->line);
    parse_call_args(p, &n->args);
    return n;
}

// ---- postfix ----

static Node *parse_slice(Parser *p) {
    int line = p->tok->line;
    Node *start = at_op(p, ':') ? NULL : parse_expression(p);
    if (start && !at_op(p, ':')) return start;
    Node *n = node_of(p, N_SLICE, 0, start, NULL, line);
    expect_op(p, ':');
    if (!at_op(p, ':') && !at_op(p, ']') && !at_op(p, ',')) n->b = parse_expression(p);
    if (skip_op(p, ':') && !at_op(p, ']') && !at_op(p, ',')) n->c = parse_expression(p);
    return n;
}

static Node *parse_subscript(Parser *p, Node *obj) {
    int line = p->tok->line;
    if (skip_op(p, '.')) {
        if (p->tok->type == T_INT) {
            Node *index = node_const(p, v_int(p->tok->i));
            p->tok++;
            return node_of(p, N_ITEM, 0, obj, index, line);
        }
        Node *n = node_of(p, N_ATTR, 0, obj, NULL, line);
        n->name = expect_name(p);
        return n;
    }
    expect_op(p, '[');
    if (at_op(p, ']')) return parse_fail(p, "empty subscript");
    Node *index = parse_slice(p);
    if (at_op(p, ',')) return parse_fail(p, "subscripts with commas are not supported");
    expect_op(p, ']');
    return node_of(p, N_ITEM, 0, obj, index, line);
}

static Node *parse_postfix(Parser *p, Node *n) {
    while (!p->failed)
        if (at_op(p, '.') || at_op(p, '['))
            n = parse_subscript(p, n);
        else if (at_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    return n;
}

// ---- filters and tests ----

static const Str *parse_function_name(Parser *p) {
    const Str *name = expect_name(p);
    if (at_op(p, '.')) parse_fail(p, "dotted filter and test names are not supported");
    return name;
}

// jinja2 reports an unknown name when compiling, except in the branches of an if.
static void check_function_name(Parser *p, unsigned kind, const Str *name) {
    if (!p->failed && !p->in_if && !find_function(kind, name))
        parse_fail(p, "no %s named '%.*s'", kind_name(kind), STR_SHOWN(name, 100));
}

// `operand|f|g(1)`; inline_start: the first name comes without its |.
Node *parse_filter_chain(Parser *p, Node *operand, bool inline_start) {
    while (!p->failed && (inline_start || skip_op(p, '|'))) {
        inline_start = false;
        operand = node_of(p, N_FILTER, 0, operand, NULL, p->tok->line);
        operand->name = parse_function_name(p);
        if (at_op(p, '(')) parse_call_args(p, &operand->args);
        check_function_name(p, FILTER, operand->name);
    }
    return operand;
}

static bool starts_test_argument(const Parser *p) {
    if (p->tok->type == T_NAME) return !at_name(p, "else") && !at_name(p, "or") && !at_name(p, "and");
    if (p->tok->type == T_STRING || p->tok->type == T_INT || p->tok->type == T_FLOAT) return true;
    return at_op(p, '[') || at_op(p, '{');
}

static Node *parse_test(Parser *p, Node *operand) {
    int line = p->tok->line;
    p->tok++; // is
    bool negated = skip_name(p, "not");
    Node *n = node_of(p, N_TEST, 0, operand, NULL, line);
    n->name = parse_function_name(p);
    if (at_op(p, '(')) {
        parse_call_args(p, &n->args);
    } else if (starts_test_argument(p)) {
        if (at_name(p, "is")) return parse_fail(p, "tests with is cannot be chained");
        args_add(p, &n->args, (Arg){.value = parse_postfix(p, parse_primary(p))});
    }
    check_function_name(p, TEST, n->name);
    return negated ? node_of(p, N_NOT, 0, n, NULL, line) : n;
}

static Node *parse_filters_and_tests(Parser *p, Node *n) {
    while (!p->failed)
        if (at_op(p, '|'))
            n = parse_filter_chain(p, n, false);
        else if (at_name(p, "is"))
            n = parse_test(p, n);
        else if (at_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    return n;
}

// ---- primary expressions ----

static Node *parse_list(Parser *p) {
    Node *n = node_new(p, N_LIST, p->tok->line);
    expect_op(p, '[');
    while (more_items(p, n->list.count, ']')) node_list_add(p, &n->list, parse_expression(p));
    expect_op(p, ']');
    return n;
}

static Node *parse_dict(Parser *p) {
    Node *n = node_new(p, N_DICT, p->tok->line);
    expect_op(p, '{');
    while (more_items(p, n->list.count, '}')) {
        node_list_add(p, &n->list, parse_expression(p));
        expect_op(p, ':');
        node_list_add(p, &n->list, parse_expression(p));
    }
    expect_op(p, '}');
    return n;
}

static Node *parse_name(Parser *p) {
    int line = p->tok->line;
    const Str *name = p->tok++->str;
    if (str_is(name, "true") || str_is(name, "True")) return node_const(p, v_bool(true));
    if (str_is(name, "false") || str_is(name, "False")) return node_const(p, v_bool(false));
    if (str_is(name, "none") || str_is(name, "None")) return node_const(p, v_none());
    if (str_is(name, "caller")) p->special |= NAME_CALLER;
    if (str_is(name, "kwargs")) p->special |= NAME_KWARGS;
    if (str_is(name, "varargs")) p->special |= NAME_VARARGS;
    Node *n = node_new(p, N_NAME, line);
    n->name = name;
    return n;
}

// Literals that follow each other are one string.
static Node *parse_string(Parser *p) {
    const Str *s = p->tok->str;
    for (p->tok++; p->tok->type == T_STRING; p->tok++) {
        const Str *next = p->tok->str;
        char *joined = arena_alloc(&p->t->arena, s->len + next->len + 1);
        memcpy(joined, s->data, s->len);
        memcpy(joined + s->len, next->data, next->len);
        s = str_in_arena(&p->t->arena, joined, s->len + next->len, 0);
        if (s->len > JINJA_MAX_STRING) return parse_fail(p, "string literal is too long");
    }
    return node_const(p, v_str(s));
}

static Node *parse_primary(Parser *p) {
    Node *n;
    if (p->tok->type == T_NAME) return parse_name(p);
    if (p->tok->type == T_STRING) return parse_string(p);
    if (p->tok->type == T_INT || p->tok->type == T_FLOAT) {
        n = node_const(p, p->tok->type == T_INT ? v_int(p->tok->i) : v_float(p->tok->f));
        p->tok++;
        return n;
    }
    if (!at_op(p, '(') && !at_op(p, '[') && !at_op(p, '{')) return parse_fail(p, "expected an expression");
    if (!parse_enter(p)) return node_const(p, v_none());
    if (skip_op(p, '(')) {
        n = parse_tuple(p, true, true);
        expect_op(p, ')');
    } else {
        n = at_op(p, '[') ? parse_list(p) : parse_dict(p);
    }
    p->depth--;
    return n;
}

// ---- operators, tightest first ----

static Node *parse_unary(Parser *p, bool with_filter) {
    int line = p->tok->line;
    bool minus = at_op(p, '-');
    Node *n;
    if (!parse_enter(p)) return node_const(p, v_none());
    if (minus || at_op(p, '+')) {
        p->tok++;
        n = node_of(p, N_SIGN, minus ? -1 : 1, parse_unary(p, false), NULL, line);
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    if (with_filter) n = parse_filters_and_tests(p, n);
    p->depth--;
    return n;
}

// Left-associative operators by precedence, loosest first; ** too is left-associative, unlike in Python.
static Node *parse_binary(Parser *p, int level) {
    static const int ops[][5] = {{'+', '-'}, {'~'}, {'*', '/', OP2('/', '/'), '%'}, {OP2('*', '*')}};
    if (level == sizeof ops / sizeof *ops) return parse_unary(p, true);
    for (Node *left = parse_binary(p, level + 1);;) {
        int line = p->tok->line;
        const int *op = ops[level];
        while (*op && !skip_op(p, *op)) op++;
        if (!*op || p->failed) return left;
        left = node_of(p, N_BINARY, *op, left, parse_binary(p, level + 1), line);
    }
}

// The comparison at the current token, which is skipped; -1: none.
static int skip_compare_op(Parser *p) {
    static const int ops[] = {[OP_EQ] = OP2('=', '='), [OP_NE] = OP2('!', '='), [OP_GT] = '>',
                              [OP_GE] = OP2('>', '='), [OP_LT] = '<',           [OP_LE] = OP2('<', '=')};
    for (int i = OP_EQ; i <= OP_LE; i++)
        if (skip_op(p, ops[i])) return i;
    if (skip_name(p, "in")) return OP_IN;
    if (!at_name(p, "not") || p->tok[1].type != T_NAME || !str_is(p->tok[1].str, "in")) return -1;
    p->tok += 2;
    return OP_NOT_IN;
}

static Node *parse_compare(Parser *p) {
    int line = p->tok->line, op;
    Node *first = parse_binary(p, 0), *n = NULL;
    while (!p->failed && (op = skip_compare_op(p)) >= 0) {
        if (!n) n = node_of(p, N_COMPARE, 0, first, NULL, line);
        Node *right = parse_binary(p, 0);
        node_list_add(p, &n->list, node_of(p, N_OPERAND, op, right, NULL, p->tok->line));
    }
    return n ? n : first;
}

static Node *parse_not(Parser *p) {
    if (!at_name(p, "not")) return parse_compare(p);
    if (!parse_enter(p)) return node_const(p, v_none());
    int line = p->tok++->line;
    Node *n = node_of(p, N_NOT, 0, parse_not(p), NULL, line);
    p->depth--;
    return n;
}

static Node *parse_and(Parser *p) {
    Node *left = parse_not(p);
    while (!p->failed && skip_name(p, "and")) left = node_of(p, N_AND, 0, left, parse_not(p), left->line);
    return left;
}

static Node *parse_or(Parser *p) {
    Node *left = parse_and(p);
    while (!p->failed && skip_name(p, "or")) left = node_of(p, N_OR, 0, left, parse_and(p), left->line);
    return left;
}

Node *parse_expression(Parser *p) {
    if (!parse_enter(p)) return node_const(p, v_none());
    Node *n = parse_or(p);
    while (!p->failed && skip_name(p, "if")) {
        n = node_of(p, N_COND, 0, n, NULL, p->tok->line);
        n->b = parse_or(p);
        if (skip_name(p, "else")) n->c = parse_expression(p);
    }
    p->depth--;
    return n;
}

// ---- tuples and targets ----

// One expression, or a tuple where commas follow.
static Node *parse_tuple_of(Parser *p, Node *(*parse)(Parser *), bool parenthesised) {
    Node *n = node_new(p, N_TUPLE, p->tok->line);
    bool is_tuple = false;
    while (!p->failed) {
        if (n->list.count) expect_op(p, ',');
        if (p->tok->type == T_PRINT_END || p->tok->type == T_BLOCK_END || at_op(p, ')')) break;
        node_list_add(p, &n->list, parse(p));
        if (!at_op(p, ',')) break;
        is_tuple = true;
    }
    if (is_tuple) return n;
    if (n->list.count) return n->list.items[0];
    return parenthesised || p->failed ? n : parse_fail(p, "expected an expression");
}

Node *parse_tuple(Parser *p, bool with_cond, bool parenthesised) {
    return parse_tuple_of(p, with_cond ? parse_expression : parse_or, parenthesised);
}

// A primary expression, or an attribute of a namespace.
static Node *parse_target_item(Parser *p) {
    if (p->tok->type != T_NAME || p->tok[1].type != T_OP || p->tok[1].op != '.') return parse_primary(p);
    Node *n = node_new(p, N_NSREF, p->tok->line);
    n->name = p->tok->str;
    p->tok += 2;
    n->attr = expect_name(p);
    return n;
}

static bool can_assign(const Node *n, bool with_namespace) {
    if (n->type != N_TUPLE) return n->type == N_NAME || (n->type == N_NSREF && with_namespace);
    for (size_t i = 0; i < n->list.count; i++)
        if (!can_assign(n->list.items[i], with_namespace)) return false;
    return true;
}

// The left side of = or of `in`.
Node *parse_target(Parser *p, bool with_namespace) {
    Node *n = parse_tuple_of(p, parse_target_item, false);
    if (!p->failed && !can_assign(n, with_namespace)) return parse_fail(p, "cannot assign to this expression");
    return n;
}
