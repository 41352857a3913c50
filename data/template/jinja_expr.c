// jinja_expr: expressions, and calls: arguments, macros, bound methods, functions.
#include "jinja_internal.h"

#include <string.h>

static Value eval_name(Eval *e, const Node *n) {
    Value v;
    for (const Scope *s = e->scope; s; s = s->parent) {
        if (dict_get_str(&s->vars, n->name->data, n->name->len, &v)) return v;
    }
    const Function *f = find_global(n->name);
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
        if (!is_hashable(key)) return eval_fail(e, "unhashable type '%s'", type_name(key));
        dict_set(e, d.dict, key, v);
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

static Value eval_item(Eval *e, const Node *n) {
    Value obj = eval_node(e, n->a);
    if (n->b->type != N_SLICE) return get_item(e, obj, eval_node(e, n->b));
    const Node *s = n->b;
    Value start = s->a ? eval_node(e, s->a) : v_none(), stop = s->b ? eval_node(e, s->b) : v_none();
    return get_slice(e, obj, start, stop, s->c ? eval_node(e, s->c) : v_none());
}

static Value eval_cond(Eval *e, const Node *n) {
    if (value_truth(e, eval_node(e, n->b))) return eval_node(e, n->a);
    return n->c ? eval_node(e, n->c) : v_undefined(e, "the inline if-expression has no else and was false");
}

Value eval_filter(Eval *e, const Node *n, Value operand) {
    CallArgs args = eval_args(e, &n->args);
    e->line = n->line;
    return call_filter(e, n->name, operand, &args);
}

static Value eval_test(Eval *e, const Node *n) {
    Value operand = eval_node(e, n->a);
    CallArgs args = eval_args(e, &n->args);
    e->line = n->line;
    return call_test(e, n->name, operand, &args);
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
        a = eval_node(e, n->a);
        return value_truth(e, a) ? a : eval_node(e, n->b);
    case N_AND:
        a = eval_node(e, n->a);
        return value_truth(e, a) ? eval_node(e, n->b) : a;
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
        return op_negate(e, eval_node(e, n->a), -1);
    case N_POS:
        return op_negate(e, eval_node(e, n->a), 1);
    case N_ATTR:
        return get_attr(e, eval_node(e, n->a), n->name);
    case N_ITEM:
        return eval_item(e, n);
    case N_CALL:
        return eval_call(e, n);
    case N_FILTER:
        return eval_filter(e, n, eval_node(e, n->a));
    case N_TEST:
        return eval_test(e, n);
    default:
        CHECK(false, "node %d is no expression", (int)n->type);
    }
}

Value eval_node(Eval *e, const Node *n) {
    eval_charge(e, 1);
    if (e->depth >= JINJA_MAX_DEPTH) return eval_fail(e, "nested too deep");
    if (e->failed) return eval_fail(e, "failed");
    e->line = n->line;
    e->depth++;
    Value v = eval_any(e, n);
    e->depth--;
    return v;
}

// ---- arguments ----

typedef struct ArgSink {
    CallArgs args;
    size_t pos_capacity, kw_capacity;
} ArgSink;

static void add_pos(Eval *e, ArgSink *s, Value v) {
    if (s->args.n_pos == s->pos_capacity) {
        s->pos_capacity = s->pos_capacity ? s->pos_capacity * 2 : 4;
        Value *grown = eval_alloc(e, s->pos_capacity, sizeof *grown);
        if (s->args.n_pos) memcpy(grown, s->args.pos, s->args.n_pos * sizeof *grown);
        s->args.pos = grown;
    }
    s->args.pos[s->args.n_pos++] = v;
}

static void add_kw(Eval *e, ArgSink *s, const Str *name, Value v) {
    for (size_t i = 0; i < s->args.n_kw; i++) {
        if (str_equal(s->args.names[i], name)) {
            eval_fail(e, "argument '%.*s' is given twice", STR_SHOWN(name, 100));
            return;
        }
    }
    if (s->args.n_kw == s->kw_capacity) {
        s->kw_capacity = s->kw_capacity ? s->kw_capacity * 2 : 4;
        const Str **names = eval_alloc(e, s->kw_capacity, sizeof *names);
        Value *kw = eval_alloc(e, s->kw_capacity, sizeof *kw);
        if (s->args.n_kw) {
            memcpy(names, s->args.names, s->args.n_kw * sizeof *names);
            memcpy(kw, s->args.kw, s->args.n_kw * sizeof *kw);
        }
        s->args.names = names;
        s->args.kw = kw;
    }
    s->args.names[s->args.n_kw] = name;
    s->args.kw[s->args.n_kw++] = v;
}

static void spread_dict(Eval *e, ArgSink *s, Value v) {
    if (v.type != V_DICT) {
        eval_fail(e, "argument behind ** is of type '%s'; expected a dict", type_name(v));
        return;
    }
    dict_read_all(v.dict);
    for (size_t i = 0; i < v.dict->count && !e->failed; i++) {
        if (v.dict->keys[i].type != V_STR) {
            eval_fail(e, "keywords must be strings");
        } else {
            add_kw(e, s, v.dict->keys[i].str, v.dict->values[i]);
        }
    }
}

CallArgs eval_args(Eval *e, const ArgList *list) {
    ArgSink s = {0};
    for (size_t i = 0; i < list->count && !e->failed; i++) {
        const Arg *arg = &list->items[i];
        Value v = eval_node(e, arg->value);
        if (arg->stars == 2) {
            spread_dict(e, &s, v);
        } else if (arg->stars == 1) {
            Value item;
            for (Iter *it = iter_new(e, v); iter_next(e, it, &item);) add_pos(e, &s, item);
        } else if (arg->name) {
            add_kw(e, &s, arg->name, v);
        } else {
            add_pos(e, &s, v);
        }
    }
    return s.args;
}

// ---- calls ----

// Index of the word `name` in a list of words, -1 when it is not there.
static int word_index(const char *words, const Str *name) {
    int i = 0;
    for (const char *w = words; *w; i++) {
        size_t n = strcspn(w, " ");
        if (n == name->len && memcmp(w, name->data, n) == 0) return i;
        w += n + (w[n] == ' ');
    }
    return -1;
}

static int word_count(const char *words) {
    int n = *words != 0;
    for (; *words; words++) n += *words == ' ';
    return n;
}

// Binds the arguments to the function's parameters and calls it. `kind` is for messages: "filter", ...
Value call_function(Eval *e, const Function *f, const char *kind, Value self, const CallArgs *args) {
    if (e->failed) return eval_fail(e, "failed");
    if (f->raw) return f->raw(e, self, args);
    Value bound[MAX_PARAMS];
    int n = word_count(f->params);
    CHECK(n <= MAX_PARAMS);
    for (int i = 0; i < MAX_PARAMS; i++) bound[i] = (Value){.type = V_MISSING};
    if (args->n_pos > (size_t)n) {
        return eval_fail(e, "%s %s takes at most %d arguments, found %zu", kind, f->name, n, args->n_pos);
    }
    for (size_t i = 0; i < args->n_pos; i++) bound[i] = args->pos[i];
    for (size_t i = 0; i < args->n_kw; i++) {
        int at = f->keywords ? word_index(f->params, args->names[i]) : -1;
        if (at < 0 || v_given(bound[at])) {
            return eval_fail(e, "%s %s: unexpected argument '%.*s'", kind, f->name, STR_SHOWN(args->names[i], 100));
        }
        bound[at] = args->kw[i];
    }
    for (int i = 0; i < f->required; i++) {
        if (!v_given(bound[i])) return eval_fail(e, "%s %s: an argument is missing", kind, f->name);
    }
    return f->call(e, self, bound);
}

// The arguments that no parameter took, for the names kwargs and varargs.
static Value leftover_kwargs(Eval *e, const CallArgs *args, const bool *taken) {
    Value d = v_dict(e);
    for (size_t i = 0; i < args->n_kw; i++) {
        if (!taken[i]) dict_set(e, d.dict, v_str(args->names[i]), args->kw[i]);
    }
    return d;
}

// Takes the keyword argument `name`; V_MISSING when there is none.
static Value take_keyword(const CallArgs *args, bool *taken, const Str *name) {
    for (size_t i = 0; i < args->n_kw; i++) {
        if (!taken[i] && str_equal(args->names[i], name)) {
            taken[i] = true;
            return args->kw[i];
        }
    }
    return (Value){.type = V_MISSING};
}

static void bind_special(Eval *e, const Node *n, const CallArgs *args, bool *taken) {
    static const Str caller = {.data = "caller", .len = 6, .chars = 6};
    static const Str kwargs = {.data = "kwargs", .len = 6, .chars = 6};
    static const Str varargs = {.data = "varargs", .len = 7, .chars = 7};
    size_t n_params = n->args.count;
    if (n->uses_caller) {
        Value v = take_keyword(args, taken, &caller);
        scope_set(e, &caller, v_given(v) ? v : v_undefined(e, "No caller defined"));
    }
    if (n->uses_kwargs) {
        scope_set(e, &kwargs, leftover_kwargs(e, args, taken));
    } else {
        for (size_t i = 0; i < args->n_kw; i++) {
            if (!taken[i]) eval_fail(e, "macro takes no keyword argument '%.*s'", STR_SHOWN(args->names[i], 100));
        }
    }
    size_t extra = args->n_pos > n_params ? args->n_pos - n_params : 0;
    if (n->uses_varargs) {
        scope_set(e, &varargs, v_seq(e, V_TUPLE, extra ? args->pos + n_params : NULL, extra));
    } else if (extra) {
        eval_fail(e, "macro takes at most %zu arguments, found %zu", n_params, args->n_pos);
    }
}

static Value call_macro(Eval *e, const Macro *m, const CallArgs *args) {
    const ArgList *params = &m->node->args;
    bool *taken = eval_alloc(e, args->n_kw + 1, sizeof *taken);
    memset(taken, 0, args->n_kw + 1);
    Scope *outer = e->scope;
    e->scope = eval_alloc(e, 1, sizeof *e->scope);
    *e->scope = (Scope){.parent = m->scope};
    for (size_t i = 0; i < params->count && !e->failed; i++) {
        const Arg *param = &params->items[i];
        Value v = i < args->n_pos ? args->pos[i] : take_keyword(args, taken, param->name);
        if (!v_given(v) && param->value) v = eval_node(e, param->value);
        if (!v_given(v)) v = v_undefined(e, "parameter '%.*s' was not provided", STR_SHOWN(param->name, 100));
        scope_set(e, param->name, v);
    }
    bind_special(e, m->node, args, taken);
    Value text = capture_body(e, &m->node->list);
    e->scope = outer;
    return text;
}

Value call_value(Eval *e, Value callee, const CallArgs *args) {
    if (e->failed) return eval_fail(e, "failed");
    switch (callee.type) {
    case V_MACRO:
        return call_macro(e, callee.macro, args);
    case V_METHOD:
        return call_function(e, callee.method->function, "method", callee.method->self, args);
    case V_FUNCTION:
        return call_function(e, callee.function, "function", v_none(), args);
    case V_UNDEFINED:
        return fail_undefined(e, callee);
    case V_LOOP:
        return eval_fail(e, "recursive loops are not supported");
    default:
        return eval_fail(e, "a value of type '%s' cannot be called", type_name(callee));
    }
}
