// jinja_parse_expr: expressions, by the grammar and precedence of jinja2's parser (loosest first):
//   a if b else c | or | and | not | comparisons, in | + - | ~ | * / // % | ** | unary - + | postfix . [] () | filters,
//   is
#include "jinja_internal.h"

#include <string.h>

static Node *parse_or(Parser *p);
static Node *parse_unary(Parser *p, bool with_filter);

static Node *node_binary(Parser *p, NodeType type, int op, Node *a, Node *b, int line) {
    Node *n = node_new(p, type, line);
    n->op = op;
    n->a = a;
    n->b = b;
    return n;
}

static Node *node_const(Parser *p, Value v) {
    Node *n = node_new(p, N_CONST, p->tok->line);
    n->value = v;
    return n;
}

static void args_add(Parser *p, ArgList *args, size_t *capacity, Arg arg) {
    if (args->count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 4;
        Arg *grown = arena_alloc(&p->t->arena, *capacity * sizeof *grown);
        if (args->count) memcpy(grown, args->items, args->count * sizeof *grown);
        args->items = grown;
    }
    args->items[args->count++] = arg;
}

// (a, b, name=c, *d, **e)
static void parse_call_args(Parser *p, ArgList *args) {
    size_t capacity = 0;
    int last = 0; // 0 positional, 1 keyword, 2 *x, 3 **x: in this order only
    expect_op(p, '(');
    while (!p->failed && !at_op(p, ')')) {
        if (args->count && !expect_op(p, ',')) return;
        if (at_op(p, ')')) break;
        Arg arg = {0};
        int kind = 0;
        if (skip_op(p, '*')) {
            arg.stars = 1, kind = 2;
        } else if (skip_op(p, OP2('*', '*'))) {
            arg.stars = 2, kind = 3;
        } else if (p->tok->type == T_NAME && p->tok[1].type == T_OP && p->tok[1].op == '=') {
            arg.name = p->tok->str;
            kind = 1;
            p->tok += 2;
        }
        bool keyword_after_star = kind == 1 && last == 2;
        if ((kind < last && !keyword_after_star) || (kind >= 2 && kind == last)) {
            parse_fail(p, "invalid order of arguments in a call");
            return;
        }
        if (!keyword_after_star) last = kind;
        arg.value = parse_expression(p);
        args_add(p, args, &capacity, arg);
    }
    expect_op(p, ')');
}

// Parameters of a macro: names, then names with defaults.
void parse_signature(Parser *p, ArgList *params) {
    size_t capacity = 0;
    bool had_default = false;
    expect_op(p, '(');
    while (!p->failed && !at_op(p, ')')) {
        if (params->count && !expect_op(p, ',')) return;
        Arg param = {.name = expect_name(p)};
        if (skip_op(p, '=')) {
            param.value = parse_expression(p);
            had_default = true;
        } else if (had_default) {
            parse_fail(p, "parameter without default behind one with default");
        }
        args_add(p, params, &capacity, param);
    }
    expect_op(p, ')');
}

static Node *parse_call(Parser *p, Node *callee) {
    Node *n = node_new(p, N_CALL, p->tok->line);
    n->a = callee;
    parse_call_args(p, &n->args);
    return n;
}

static Node *parse_slice(Parser *p) {
    int line = p->tok->line;
    Node *start = NULL;
    if (!at_op(p, ':')) {
        start = parse_expression(p);
        if (!at_op(p, ':')) return start;
    }
    Node *n = node_new(p, N_SLICE, line);
    n->a = start;
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
            return node_binary(p, N_ITEM, 0, obj, index, line);
        }
        Node *n = node_new(p, N_ATTR, line);
        n->a = obj;
        n->name = expect_name(p);
        return n;
    }
    expect_op(p, '[');
    if (at_op(p, ']')) return parse_fail(p, "empty subscript");
    Node *index = parse_slice(p);
    if (at_op(p, ',')) return parse_fail(p, "subscripts with commas are not supported");
    expect_op(p, ']');
    return node_binary(p, N_ITEM, 0, obj, index, line);
}

static Node *parse_postfix(Parser *p, Node *n) {
    while (!p->failed) {
        if (at_op(p, '.') || at_op(p, '[')) {
            n = parse_subscript(p, n);
        } else if (at_op(p, '(')) {
            n = parse_call(p, n);
        } else {
            break;
        }
    }
    return n;
}

static const Str *dotted_name(Parser *p) {
    const Str *name = expect_name(p);
    if (at_op(p, '.')) parse_fail(p, "dotted filter and test names are not supported");
    return name;
}

// `operand|f|g(1)`; inline_start: the first name comes without its |.
Node *parse_filter_chain(Parser *p, Node *operand, bool inline_start) {
    while (!p->failed && (inline_start || skip_op(p, '|'))) {
        inline_start = false;
        Node *n = node_new(p, N_FILTER, p->tok->line);
        n->a = operand;
        n->name = dotted_name(p);
        if (at_op(p, '(')) parse_call_args(p, &n->args);
        // jinja2 reports an unknown filter when compiling, except in the branches of an if
        if (!p->failed && !p->soft && !find_filter(n->name)) {
            parse_fail(p, "no filter named '%.*s'", STR_SHOWN(n->name, 100));
        }
        operand = n;
    }
    return operand;
}

static bool starts_test_argument(const Parser *p) {
    if (p->tok->type == T_NAME) return !at_name(p, "else") && !at_name(p, "or") && !at_name(p, "and");
    if (p->tok->type == T_STRING || p->tok->type == T_INT || p->tok->type == T_FLOAT) return true;
    return at_op(p, '[') || at_op(p, '{');
}

static Node *parse_primary(Parser *p, bool with_namespace);

static Node *parse_test(Parser *p, Node *operand) {
    int line = p->tok->line;
    p->tok++; // is
    bool negated = skip_name(p, "not");
    Node *n = node_new(p, N_TEST, line);
    n->a = operand;
    n->name = dotted_name(p);
    if (at_op(p, '(')) {
        parse_call_args(p, &n->args);
    } else if (starts_test_argument(p)) {
        if (at_name(p, "is")) return parse_fail(p, "tests with is cannot be chained");
        size_t capacity = 0;
        args_add(p, &n->args, &capacity, (Arg){.value = parse_postfix(p, parse_primary(p, false))});
    }
    if (!p->failed && !p->soft && !find_test(n->name))
        return parse_fail(p, "no test named '%.*s'", STR_SHOWN(n->name, 100));
    if (!negated) return n;
    Node *not_node = node_new(p, N_NOT, line);
    not_node->a = n;
    return not_node;
}

static Node *parse_filters_and_tests(Parser *p, Node *n) {
    while (!p->failed) {
        if (at_op(p, '|')) {
            n = parse_filter_chain(p, n, false);
        } else if (at_name(p, "is")) {
            n = parse_test(p, n);
        } else if (at_op(p, '(')) {
            n = parse_call(p, n);
        } else {
            break;
        }
    }
    return n;
}

static Node *parse_list(Parser *p) {
    Node *n = node_new(p, N_LIST, p->tok->line);
    size_t capacity = 0;
    expect_op(p, '[');
    while (!p->failed && !at_op(p, ']')) {
        if (n->list.count && !expect_op(p, ',')) break;
        if (at_op(p, ']')) break;
        node_list_add(p, &n->list, &capacity, parse_expression(p));
    }
    expect_op(p, ']');
    return n;
}

static Node *parse_dict(Parser *p) {
    Node *n = node_new(p, N_DICT, p->tok->line);
    size_t capacity = 0;
    expect_op(p, '{');
    while (!p->failed && !at_op(p, '}')) {
        if (n->list.count && !expect_op(p, ',')) break;
        if (at_op(p, '}')) break;
        node_list_add(p, &n->list, &capacity, parse_expression(p));
        expect_op(p, ':');
        node_list_add(p, &n->list, &capacity, parse_expression(p));
    }
    expect_op(p, '}');
    return n;
}

static Node *parse_name(Parser *p, bool with_namespace) {
    const Str *name = p->tok->str;
    int line = p->tok->line;
    p->tok++;
    if (str_is(name, "true") || str_is(name, "True")) return node_const(p, v_bool(true));
    if (str_is(name, "false") || str_is(name, "False")) return node_const(p, v_bool(false));
    if (str_is(name, "none") || str_is(name, "None")) return node_const(p, v_none());
    if (with_namespace && skip_op(p, '.')) {
        Node *n = node_new(p, N_NSREF, line);
        n->name = name;
        n->attr = expect_name(p);
        return n;
    }
    p->saw_caller |= str_is(name, "caller");
    p->saw_kwargs |= str_is(name, "kwargs");
    p->saw_varargs |= str_is(name, "varargs");
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

static Node *parse_primary(Parser *p, bool with_namespace) {
    Node *n;
    if (p->tok->type == T_NAME) return parse_name(p, with_namespace);
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

static Node *parse_unary(Parser *p, bool with_filter) {
    int line = p->tok->line;
    bool minus = at_op(p, '-');
    Node *n;
    if (!parse_enter(p)) return node_const(p, v_none());
    if (minus || at_op(p, '+')) {
        p->tok++;
        n = node_new(p, minus ? N_NEG : N_POS, line);
        n->a = parse_unary(p, false);
    } else {
        n = parse_primary(p, false);
    }
    n = parse_postfix(p, n);
    if (with_filter) n = parse_filters_and_tests(p, n);
    p->depth--;
    return n;
}

static Node *parse_pow(Parser *p) {
    Node *left = parse_unary(p, true);
    while (!p->failed && at_op(p, OP2('*', '*'))) { // to the left, unlike Python
        int line = p->tok++->line;
        left = node_binary(p, N_BINARY, OP2('*', '*'), left, parse_unary(p, true), line);
    }
    return left;
}

static Node *parse_product(Parser *p) {
    Node *left = parse_pow(p);
    while (!p->failed && (at_op(p, '*') || at_op(p, '/') || at_op(p, OP2('/', '/')) || at_op(p, '%'))) {
        int op = p->tok->op, line = p->tok++->line;
        left = node_binary(p, N_BINARY, op, left, parse_pow(p), line);
    }
    return left;
}

static Node *parse_concat(Parser *p) {
    Node *first = parse_product(p);
    if (!at_op(p, '~')) return first;
    Node *n = node_new(p, N_CONCAT, p->tok->line);
    size_t capacity = 0;
    node_list_add(p, &n->list, &capacity, first);
    while (!p->failed && skip_op(p, '~')) node_list_add(p, &n->list, &capacity, parse_product(p));
    return n;
}

static Node *parse_sum(Parser *p) {
    Node *left = parse_concat(p);
    while (!p->failed && (at_op(p, '+') || at_op(p, '-'))) {
        int op = p->tok->op, line = p->tok++->line;
        left = node_binary(p, N_BINARY, op, left, parse_concat(p), line);
    }
    return left;
}

static bool skip_compare_op(Parser *p, CompareOp *op) {
    static const struct {
        int token;
        CompareOp op;
    } ops[] = {{OP2('=', '='), OP_EQ}, {OP2('!', '='), OP_NE}, {'>', OP_GT},
               {OP2('>', '='), OP_GE}, {'<', OP_LT},           {OP2('<', '='), OP_LE}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (skip_op(p, ops[i].token)) return *op = ops[i].op, true;
    }
    if (skip_name(p, "in")) return *op = OP_IN, true;
    if (at_name(p, "not") && p->tok[1].type == T_NAME && str_is(p->tok[1].str, "in")) {
        p->tok += 2;
        return *op = OP_NOT_IN, true;
    }
    return false;
}

static Node *parse_compare(Parser *p) {
    int line = p->tok->line;
    Node *first = parse_sum(p), *n = NULL;
    size_t capacity = 0;
    CompareOp op;
    while (!p->failed && skip_compare_op(p, &op)) {
        if (!n) {
            n = node_new(p, N_COMPARE, line);
            n->a = first;
        }
        node_list_add(p, &n->list, &capacity, node_binary(p, N_OPERAND, op, parse_sum(p), NULL, p->tok->line));
    }
    return n ? n : first;
}

static Node *parse_not(Parser *p) {
    if (!at_name(p, "not")) return parse_compare(p);
    if (!parse_enter(p)) return node_const(p, v_none());
    Node *n = node_new(p, N_NOT, p->tok++->line);
    n->a = parse_not(p);
    p->depth--;
    return n;
}

static Node *parse_and(Parser *p) {
    Node *left = parse_not(p);
    while (!p->failed && skip_name(p, "and")) left = node_binary(p, N_AND, 0, left, parse_not(p), p->tok->line);
    return left;
}

static Node *parse_or(Parser *p) {
    Node *left = parse_and(p);
    while (!p->failed && skip_name(p, "or")) left = node_binary(p, N_OR, 0, left, parse_and(p), p->tok->line);
    return left;
}

Node *parse_expression(Parser *p) {
    if (!parse_enter(p)) return node_const(p, v_none());
    Node *n = parse_or(p);
    while (!p->failed && skip_name(p, "if")) {
        Node *cond = node_new(p, N_COND, p->tok->line);
        cond->a = n;
        cond->b = parse_or(p);
        if (skip_name(p, "else")) cond->c = parse_expression(p);
        n = cond;
    }
    p->depth--;
    return n;
}

// One expression, or a tuple where commas follow.
static Node *parse_tuple_of(Parser *p, Node *(*parse)(Parser *), bool parenthesised) {
    Node *n = node_new(p, N_TUPLE, p->tok->line);
    size_t capacity = 0;
    bool is_tuple = false;
    while (!p->failed) {
        if (n->list.count) expect_op(p, ',');
        if (p->tok->type == T_PRINT_END || p->tok->type == T_BLOCK_END || at_op(p, ')')) break;
        node_list_add(p, &n->list, &capacity, parse(p));
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

static Node *parse_target_item(Parser *p) {
    return parse_primary(p, false);
}

static Node *parse_target_or_attr(Parser *p) {
    return parse_primary(p, true);
}

static bool can_assign(const Node *n) {
    if (n->type != N_TUPLE) return n->type == N_NAME || n->type == N_NSREF;
    for (size_t i = 0; i < n->list.count; i++) {
        if (!can_assign(n->list.items[i])) return false;
    }
    return true;
}

// What may stand on the left of = or of `in`.
Node *parse_target(Parser *p, bool with_namespace) {
    Node *n = parse_tuple_of(p, with_namespace ? parse_target_or_attr : parse_target_item, false);
    if (!p->failed && !can_assign(n)) return parse_fail(p, "cannot assign to this expression");
    return n;
}
