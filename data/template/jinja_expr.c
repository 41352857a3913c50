// jinja_expr: the value of an expression, and calls: their arguments, macros, and whatever else can be called.
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

static Value eval_or_none(Eval *e, const Node *n) { return n ? eval_node(e, n) : v_none(); }

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

static Value eval_call(Eval *e, const Node *n, Value callee) {
    CallArgs args = eval_args(e, &n->args);
    e->line = n->line;
    return call_value(e, callee, &args);
}

static Value eval_any(Eval *e, const Node *n) {
    NodeType type = n->type;
    if (type == N_CONST) return n->value;
    if (type == N_NAME) return eval_name(e, n);
    if (type == N_TUPLE || type == N_LIST) return eval_sequence(e, n);
    if (type == N_DICT) return eval_dict(e, n);
    if (type == N_COND) return eval_cond(e, n);
    if (type == N_COMPARE) return eval_compare(e, n);
    if (type == N_ITEM) return eval_item(e, n);
    Value a = eval_node(e, n->a);
    if (type == N_OR || type == N_AND) return value_truth(e, a) == (type == N_OR) ? a : eval_node(e, n->b);
    if (type == N_NOT) return v_bool(!value_truth(e, a));
    if (type == N_BINARY) return op_binary(e, n->op, a, eval_node(e, n->b));
    if (type == N_SIGN) return op_sign(e, a, n->op);
    if (type == N_ATTR) return get_attr(e, a, n->name);
    if (type == N_CALL) return eval_call(e, n, a);
    CHECK(type == N_FILTER || type == N_TEST, "node %d is no expression", (int)type);
    return eval_named(e, type == N_FILTER ? FILTER : TEST, n, a);
}

Value eval_node(Eval *e, const Node *n) {
    eval_charge(e, 1);
    if (!eval_enter(e)) return v_none();
    e->line = n->line;
    Value v = eval_any(e, n);
    e->depth--;
    return v;
}

// ---- arguments ----

static void add_positional(Eval *e, CallArgs *args, Value v) {
    args->pos = eval_grow(e, args->pos, args->n_pos, sizeof *args->pos);
    args->pos[args->n_pos++] = v;
}

void args_add_keyword(Eval *e, CallArgs *args, const Str *name, Value v) {
    Value old;
    if (dict_get_str(&args->kw, name, &old)) eval_fail(e, "argument '%.*s' is given twice", STR_SHOWN(name, 100));
    dict_set(e, &args->kw, v_str(name), v);
}

static void add_all_keywords(Eval *e, CallArgs *args, Value v) {
    if (v.type != V_DICT) {
        eval_fail(e, "argument after ** is of type '%s'; expected a dict", type_name(v));
        return;
    }
    dict_read_all(v.dict);
    for (size_t i = 0; i < v.dict->count && !e->failed; i++)
        if (v.dict->keys[i].type == V_STR)
            args_add_keyword(e, args, v.dict->keys[i].str, v.dict->values[i]);
        else
            eval_fail(e, "keywords must be strings");
}

CallArgs eval_args(Eval *e, const ArgList *list) {
    CallArgs args = {0};
    for (size_t i = 0; i < list->count && !e->failed; i++) {
        const Arg *arg = &list->items[i];
        Value v = eval_node(e, arg->value), item;
        if (arg->stars == 2)
            add_all_keywords(e, &args, v);
        else if (arg->stars == 1)
            for (Iter *it = iter_new(e, v); iter_next(e, it, &item);) add_positional(e, &args, item);
        else if (arg->name)
            args_add_keyword(e, &args, arg->name, v);
        else
            add_positional(e, &args, v);
    }
    return args;
}

// ---- macros ----

// The names caller, kwargs and varargs, where the body reads them; other arguments that no parameter took are refused.
static void bind_special(Eval *e, const Node *n, const CallArgs *args) {
    static const Str caller_name = STR_INIT("caller"), kwargs_name = STR_INIT("kwargs");
    static const Str varargs_name = STR_INIT("varargs");
    size_t n_params = n->args.count, extra = args->n_pos > n_params ? args->n_pos - n_params : 0;
    Value caller, kwargs = v_dict(e);
    if (n->special & NAME_CALLER) {
        if (!dict_get_str(&args->kw, &caller_name, &caller)) caller = v_undefined(e, "No caller defined");
        scope_set(e, &caller_name, caller);
    }
    for (size_t i = 0; i < args->kw.count; i++) {
        const Str *name = args->kw.keys[i].str;
        if (args->kw.read[i]) continue;
        if (!(n->special & NAME_KWARGS)) eval_fail(e, "macro takes no keyword argument '%.*s'", STR_SHOWN(name, 100));
        dict_set(e, kwargs.dict, v_str(name), args->kw.values[i]);
    }
    if (n->special & NAME_KWARGS) scope_set(e, &kwargs_name, kwargs);
    if (n->special & NAME_VARARGS)
        scope_set(e, &varargs_name, v_seq(e, V_TUPLE, extra ? args->pos + n_params : NULL, extra));
    else if (extra)
        eval_fail(e, "macro takes at most %zu arguments, found %zu", n_params, args->n_pos);
}

static Value call_macro(Eval *e, const Macro *m, CallArgs args) {
    const ArgList *params = &m->node->args;
    Scope *outer = e->scope;
    e->scope = scope_new(e, m->scope);
    dict_track(e, &args.kw);
    for (size_t i = 0; i < params->count && !e->failed; i++) {
        const Arg *param = &params->items[i];
        Value v;
        if (i < args.n_pos)
            v = args.pos[i];
        else if (!dict_get_str(&args.kw, param->name, &v))
            v = param->value ? eval_node(e, param->value)
                             : v_undefined(e, "parameter '%.*s' was not provided", STR_SHOWN(param->name, 100));
        scope_set(e, param->name, v);
    }
    bind_special(e, m->node, &args);
    Value text = capture_body(e, &m->node->list);
    e->scope = outer;
    return text;
}

Value call_value(Eval *e, Value callee, const CallArgs *args) {
    if (e->failed) return v_none();
    if (callee.type == V_MACRO) return call_macro(e, callee.macro, *args);
    if (callee.type == V_METHOD) return call_function(e, callee.method->function, callee.method->self, args);
    if (callee.type == V_FUNCTION) return call_function(e, callee.function, v_none(), args);
    if (callee.type == V_UNDEFINED) return fail_undefined(e, callee);
    if (callee.type == V_LOOP) return eval_fail(e, "recursive loops are not supported");
    return eval_fail(e, "a value of type '%s' cannot be called", type_name(callee));
}
