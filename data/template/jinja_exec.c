// jinja_exec: statements. Scopes are jinja2's: if and its branches share the scope around them; each iteration of a
// for, a macro, a call, set, filter or with block and {% generation %} has its own, and assignments stay in it.
#include "jinja_internal.h"

#include <string.h>

static Scope *scope_new(Eval *e, Scope *parent) {
    Scope *s = eval_alloc(e, 1, sizeof *s);
    *s = (Scope){.parent = parent};
    return s;
}

void scope_set(Eval *e, const Str *name, Value v) {
    dict_set(e, &e->scope->vars, v_str(name), v);
}

static void assign_tuple(Eval *e, const Node *target, Value v) {
    Value list = iter_list(e, v);
    if (e->failed) return;
    if (list.seq->count != target->list.count) {
        eval_fail(e, "cannot unpack %zu values into %zu names", list.seq->count, target->list.count);
        return;
    }
    for (size_t i = 0; i < list.seq->count; i++) assign_target(e, target->list.items[i], list.seq->items[i]);
}

static Value lookup(Eval *e, const Str *name) {
    Value v = {.type = V_MISSING};
    for (const Scope *s = e->scope; s; s = s->parent) {
        if (dict_get_str(&s->vars, name->data, name->len, &v)) return v;
    }
    return v;
}

void assign_target(Eval *e, const Node *target, Value v) {
    if (target->type == N_NAME) {
        scope_set(e, target->name, v);
    } else if (target->type == N_TUPLE) {
        assign_tuple(e, target, v);
    } else {
        Value ns = lookup(e, target->name);
        if (ns.type != V_NAMESPACE) {
            eval_fail(e, "cannot assign to an attribute of '%.*s', which is no namespace",
                      STR_SHOWN(target->name, 100));
        } else if (target->attr->data[0] == '_') {
            eval_fail(e, "attribute '%.*s' of a namespace begins with an underscore", STR_SHOWN(target->attr, 100));
        } else {
            dict_set(e, ns.dict, v_str(target->attr), v);
        }
    }
}

Value capture_body(Eval *e, const NodeList *body) {
    Buffer b = {0}, *outer = e->out;
    e->out = &b;
    exec_body(e, body);
    e->out = outer;
    return buf_value(e, &b);
}

// ---- for ----

typedef struct LoopFilter {
    const Node *node;
    Scope *scope; // around the loop
} LoopFilter;

static Value filter_item(Eval *e, Value item, void *state, bool *keep) {
    const LoopFilter *f = state;
    Scope *outer = e->scope;
    e->scope = scope_new(e, f->scope);
    assign_target(e, f->node->a, item);
    *keep = value_truth(e, eval_node(e, f->node->c));
    e->scope = outer;
    return item;
}

static bool loop_next(Eval *e, Loop *loop) {
    Value item = loop->after;
    loop->after = (Value){.type = V_MISSING};
    if (!v_given(item) && !iter_next(e, loop->iter, &item)) return false;
    loop->before = loop->current;
    loop->current = item;
    loop->index0++;
    return true;
}

static Flow exec_for(Eval *e, const Node *n) {
    static const Str loop_name = {.data = "loop", .len = 4, .chars = 4};
    Scope *outer = e->scope;
    Value source = eval_node(e, n->b);
    if (n->c) {
        LoopFilter *f = eval_alloc(e, 1, sizeof *f);
        *f = (LoopFilter){.node = n, .scope = outer};
        source = v_generator(e, source, filter_item, f);
    }
    Loop *loop = eval_alloc(e, 1, sizeof *loop);
    *loop = (Loop){.source = source, .iter = iter_new(e, source), .index0 = -1, .length = -1};
    // as in jinja2's generated code, else also runs when no iteration reached the end of the body
    bool completed = false;
    while (loop_next(e, loop)) {
        e->scope = scope_new(e, outer);
        scope_set(e, &loop_name, (Value){.type = V_LOOP, .loop = loop});
        assign_target(e, n->a, loop->current);
        Flow flow = exec_body(e, &n->list);
        completed |= flow == FLOW_NORMAL;
        if (flow == FLOW_BREAK) break;
    }
    Flow flow = FLOW_NORMAL;
    if (!completed && !e->failed && n->list2.count) {
        e->scope = scope_new(e, outer);
        flow = exec_body(e, &n->list2);
    }
    e->scope = outer;
    return flow;
}

// ---- other statements ----

static Flow exec_if(Eval *e, const Node *n) {
    for (size_t i = 0; i < n->list.count && !e->failed; i++) {
        const Node *branch = n->list.items[i];
        if (!branch->a || value_truth(e, eval_node(e, branch->a))) return exec_body(e, &branch->list);
    }
    return FLOW_NORMAL;
}

static Value apply_filters(Eval *e, const Node *chain, Value v) {
    if (!chain) return v;
    return eval_filter(e, chain, apply_filters(e, chain->a, v));
}

static Value make_macro(Eval *e, const Node *n) {
    Macro *m = eval_alloc(e, 1, sizeof *m);
    *m = (Macro){.node = n, .scope = e->scope};
    return (Value){.type = V_MACRO, .macro = m};
}

static void exec_set(Eval *e, const Node *n) {
    if (n->type == N_SET) {
        assign_target(e, n->a, eval_node(e, n->b));
        return;
    }
    Scope *outer = e->scope;
    e->scope = scope_new(e, outer);
    Value v = apply_filters(e, n->b, capture_body(e, &n->list));
    e->scope = outer;
    assign_target(e, n->a, v);
}

static void exec_call_block(Eval *e, const Node *n) {
    static const Str caller = {.data = "caller", .len = 6, .chars = 6};
    Value callee = eval_node(e, n->a->a);
    CallArgs args = eval_args(e, &n->a->args);
    const Str **names = eval_alloc(e, args.n_kw + 1, sizeof *names);
    Value *kw = eval_alloc(e, args.n_kw + 1, sizeof *kw);
    if (args.n_kw) {
        memcpy(names, args.names, args.n_kw * sizeof *names);
        memcpy(kw, args.kw, args.n_kw * sizeof *kw);
    }
    names[args.n_kw] = &caller;
    kw[args.n_kw] = make_macro(e, n);
    CallArgs with_caller = {.pos = args.pos, .n_pos = args.n_pos, .names = names, .kw = kw, .n_kw = args.n_kw + 1};
    buf_str(e, e->out, to_str(e, call_value(e, callee, &with_caller)));
}

static Flow exec_with(Eval *e, const Node *n) {
    Scope *outer = e->scope, *inner = scope_new(e, outer);
    for (size_t i = 0; i < n->list2.count && !e->failed; i += 2) { // values see the scope outside
        Value v = eval_node(e, n->list2.items[i + 1]);
        e->scope = inner;
        assign_target(e, n->list2.items[i], v);
        e->scope = outer;
    }
    e->scope = inner;
    Flow flow = exec_body(e, &n->list);
    e->scope = outer;
    return flow;
}

static Flow exec_filter_block(Eval *e, const Node *n) {
    Buffer b = {0}, *out = e->out;
    Scope *outer = e->scope;
    e->scope = scope_new(e, outer);
    e->out = &b;
    Flow flow = exec_body(e, &n->list);
    e->out = out;
    if (flow == FLOW_NORMAL) buf_str(e, out, to_str(e, apply_filters(e, n->a, buf_value(e, &b))));
    e->scope = outer;
    return flow;
}

static void exec_generation(Eval *e, const Node *n) {
    Scope *outer = e->scope;
    size_t from = e->out->len;
    e->scope = scope_new(e, outer);
    exec_body(e, &n->list);
    e->scope = outer;
    for (size_t i = from; i < e->out->len; i++) e->out->origins[i] |= ORIGIN_GENERATION;
}

static Flow exec_node(Eval *e, const Node *n) {
    e->line = n->line;
    switch (n->type) {
    case N_TEXT:
        buf_str(e, e->out, n->value.str);
        break;
    case N_PRINT:
        buf_str(e, e->out, to_str(e, eval_node(e, n->a)));
        break;
    case N_IF:
        return exec_if(e, n);
    case N_FOR:
        return exec_for(e, n);
    case N_SET:
    case N_SET_BLOCK:
        exec_set(e, n);
        break;
    case N_MACRO:
        scope_set(e, n->name, make_macro(e, n));
        break;
    case N_CALL_BLOCK:
        exec_call_block(e, n);
        break;
    case N_FILTER_BLOCK:
        return exec_filter_block(e, n);
    case N_WITH:
        return exec_with(e, n);
    case N_GENERATION:
        exec_generation(e, n);
        break;
    case N_BREAK:
        return FLOW_BREAK;
    case N_CONTINUE:
        return FLOW_CONTINUE;
    default:
        CHECK(false, "node %d is no statement", (int)n->type);
    }
    return FLOW_NORMAL;
}

Flow exec_body(Eval *e, const NodeList *body) {
    Flow flow = FLOW_NORMAL;
    if (e->depth >= JINJA_MAX_DEPTH) return eval_fail(e, "nested too deep"), FLOW_NORMAL;
    e->depth++;
    for (size_t i = 0; i < body->count && flow == FLOW_NORMAL && !e->failed; i++) {
        eval_charge(e, 1);
        flow = exec_node(e, body->items[i]);
    }
    e->depth--;
    return flow;
}
