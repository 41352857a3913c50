// jinja_expr: the value of an expression.
#include "jinja_eval.h"

static Value eval_name(Eval *e, const Node *n) {
    Value v;
    if (scope_get(e, n->name, &v)) return v;
    const Function *f = find_function(GLOBAL, n->name);
    if (f) return (Value){.type = V_FUNCTION, .function = f};
    return v_undefined(e, "'%.*s' is undefined", STR_SHOWN(n->name, 200));
}

static Value eval_sequence(Eval *e, const Node *n) {
    Value *items = eval_alloc(e, n->list.count, sizeof *items);
    for (size_t i = 0; i < n->list.count; i++) items[i] = eval_node(e, n->list.items[i]);
    return v_seq(e, n->type == N_LIST ? V_LIST : V_TUPLE, items, n->list.count);
}

static Value eval_dict(Eval *e, const Node *n) {
    Value d = v_dict(e);
    for (size_t i = 0; i < n->list.count && !e->failed; i += 2) {
        Value key = eval_node(e, n->list.items[i]), v = eval_node(e, n->list.items[i + 1]);
        if (is_hashable(e, key)) dict_set(e, d.dict, key, v);
    }
    return d;
}

static Value eval_compare(Eval *e, const Node *n) {
    Value left = eval_node(e, n->a);
    for (size_t i = 0; i < n->list.count && !e->failed; i++) {
        const Node *operand = n->list.items[i];
        Value right = eval_node(e, operand->a);
        e->line = operand->line;
        if (!op_compare(e, (CompareOp)operand->op, left, right)) return v_bool(false);
        left = right;
    }
    return v_bool(true);
}

static Value eval_concat(Eval *e, const Node *n) {
    Buffer b = {0};
    for (size_t i = 0; i < n->list.count && !e->failed; i++) buf_str(e, &b, to_str(e, eval_node(e, n->list.items[i])));
    return buf_value(e, &b);
}

static Value eval_or_none(Eval *e, const Node *n) {
    return n ? eval_node(e, n) : v_none();
}

static Value eval_item(Eval *e, const Node *n) {
    Value obj = eval_node(e, n->a);
    const Node *s = n->b;
    if (s->type != N_SLICE) return get_item(e, obj, eval_node(e, s));
    Value start = eval_or_none(e, s->a), stop = eval_or_none(e, s->b);
    return get_slice(e, obj, start, stop, eval_or_none(e, s->c));
}

static Value eval_cond(Eval *e, const Node *n) {
    if (value_truth(e, eval_node(e, n->b))) return eval_node(e, n->a);
    return n->c ? eval_node(e, n->c) : v_undefined(e, "the inline if-expression has no else and was false");
}

// a | name(args), a is name(args)
static Value eval_named(Eval *e, unsigned kind, const Node *n, Value operand) {
    CallArgs args = eval_args(e, &n->args);
    e->line = n->line;
    return call_named(e, kind, n->name, operand, &args);
}

Value eval_filters(Eval *e, const Node *chain, Value v) {
    return chain ? eval_named(e, FILTER, chain, eval_filters(e, chain->a, v)) : v;
}

static Value eval_call(Eval *e, const Node *n) {
    Value callee = eval_node(e, n->a);
    CallArgs args = eval_args(e, &n->args);
    e->line = n->line;
    return call_value(e, callee, &args);
}

static Value eval_any(Eval *e, const Node *n) {
    Value a;
    switch (n->type) {
    case N_CONST:
        return n->value;
    case N_NAME:
        return eval_name(e, n);
    case N_TUPLE:
    case N_LIST:
        return eval_sequence(e, n);
    case N_DICT:
        return eval_dict(e, n);
    case N_COND:
        return eval_cond(e, n);
    case N_OR:
    case N_AND:
        a = eval_node(e, n->a);
        return value_truth(e, a) == (n->type == N_OR) ? a : eval_node(e, n->b);
    case N_NOT:
        return v_bool(!value_truth(e, eval_node(e, n->a)));
    case N_COMPARE:
        return eval_compare(e, n);
    case N_BINARY:
        a = eval_node(e, n->a);
        return op_binary(e, n->op, a, eval_node(e, n->b));
    case N_CONCAT:
        return eval_concat(e, n);
    case N_NEG:
    case N_POS:
        return op_sign(e, eval_node(e, n->a), n->type == N_NEG ? -1 : 1);
    case N_ATTR:
        return get_attr(e, eval_node(e, n->a), n->name);
    case N_ITEM:
        return eval_item(e, n);
    case N_CALL:
        return eval_call(e, n);
    case N_FILTER:
    case N_TEST:
        return eval_named(e, n->type == N_FILTER ? FILTER : TEST, n, eval_node(e, n->a));
    default:
        CHECK(false, "node %d is no expression", (int)n->type);
    }
}

Value eval_node(Eval *e, const Node *n) {
    eval_charge(e, 1);
    if (!eval_enter(e)) return v_none();
    e->line = n->line;
    Value v = eval_any(e, n);
    e->depth--;
    return v;
}
