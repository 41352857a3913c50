// jinja_exec: statements. Scopes are jinja2's: if and its branches share the scope around them; each iteration of a
// for, a macro, a call, set, filter or with block and {% generation %} has its own, and assignments stay in it.
#include "jinja_eval.h"

// ---- scopes ----

Scope *scope_new(Eval *e, Scope *parent) { return EVAL_NEW(e, Scope, .parent = parent); }

void scope_set(Eval *e, const Str *name, Value v) { dict_set(e, &e->scope->vars, v_str(name), v); }

bool scope_get(const Eval *e, const Str *name, Value *out) {
    for (const Scope *s = e->scope; s; s = s->parent)
        if (dict_get_str(&s->vars, name, out)) return true;
    return false;
}

static void assign_tuple(Eval *e, const Node *target, Value v) {
    const Seq *list = iter_list(e, v).seq;
    if (list->count != target->list.count)
        eval_fail(e, "cannot unpack %zu values into %zu names", list->count, target->list.count);
    for (size_t i = 0; i < list->count && !e->failed; i++) assign_target(e, target->list.items[i], list->items[i]);
}

bool check_namespace_name(Eval *e, const Str *name) {
    if (name->len && name->data[0] == '_')
        eval_fail(e, "attribute '%.*s' of a namespace begins with an underscore", STR_SHOWN(name, 100));
    return !e->failed;
}

void assign_target(Eval *e, const Node *target, Value v) {
    Value ns;
    if (target->type == N_NAME)
        scope_set(e, target->name, v);
    else if (target->type == N_TUPLE)
        assign_tuple(e, target, v);
    else if (!scope_get(e, target->name, &ns) || ns.type != V_NAMESPACE)
        eval_fail(e, "cannot assign to an attribute of '%.*s', which is no namespace", STR_SHOWN(target->name, 100));
    else if (check_namespace_name(e, target->attr))
        dict_set(e, ns.dict, v_str(target->attr), v);
}

// ---- bodies ----

static Flow exec_in_scope(Eval *e, Scope *parent, const NodeList *body) {
    Scope *outer = e->scope;
    e->scope = scope_new(e, parent);
    Flow flow = exec_body(e, body);
    e->scope = outer;
    return flow;
}

// The text that a body writes.
static Value capture(Eval *e, const NodeList *body, Flow *flow) {
    Buffer b = {0}, *outer = e->out;
    e->out = &b;
    *flow = exec_body(e, body);
    e->out = outer;
    return buf_value(e, &b);
}

Value capture_body(Eval *e, const NodeList *body) {
    Flow flow;
    return capture(e, body, &flow);
}

static void print(Eval *e, Value v) { buf_str(e, e->out, to_str(e, v)); }

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
    loop->after = v_missing();
    if (!v_given(item) && !iter_next(e, loop->iter, &item)) return false;
    loop->before = loop->current;
    loop->current = item;
    loop->index0++;
    return true;
}

static Flow exec_for(Eval *e, const Node *n) {
    static const Str loop_name = STR_INIT("loop");
    Scope *outer = e->scope;
    Value source = eval_node(e, n->b);
    if (n->c) {
        LoopFilter *f = EVAL_NEW(e, LoopFilter, .node = n, .scope = outer);
        source = v_generator(e, source, filter_item, f);
    }
    Loop *loop = EVAL_NEW(e, Loop, .source = source, .iter = iter_new(e, source), .index0 = -1, .length = -1);
    // as in jinja2's generated code, else also runs when no iteration reached the end of the body
    bool completed = false;
    for (Flow flow = FLOW_NORMAL; flow != FLOW_BREAK && loop_next(e, loop);) {
        e->scope = scope_new(e, outer);
        scope_set(e, &loop_name, (Value){.type = V_LOOP, .loop = loop});
        assign_target(e, n->a, loop->current);
        flow = exec_body(e, &n->list);
        completed |= flow == FLOW_NORMAL;
    }
    e->scope = outer;
    return completed || e->failed ? FLOW_NORMAL : exec_in_scope(e, outer, &n->list2);
}

// ---- other statements ----

static Flow exec_if(Eval *e, const Node *n) {
    for (size_t i = 0; i < n->list.count && !e->failed; i++) {
        const Node *branch = n->list.items[i];
        if (!branch->a || value_truth(e, eval_node(e, branch->a))) return exec_body(e, &branch->list);
    }
    return FLOW_NORMAL;
}

static Value make_macro(Eval *e, const Node *n) {
    return (Value){.type = V_MACRO, .macro = EVAL_NEW(e, Macro, .node = n, .scope = e->scope)};
}

// {% set %} and {% filter %} blocks: the body's text, filtered.
static Flow exec_capture(Eval *e, const Node *n) {
    Scope *outer = e->scope;
    Flow flow;
    e->scope = scope_new(e, outer);
    Value v = capture(e, &n->list, &flow);
    bool printed = n->type == N_FILTER_BLOCK;
    if (!printed || flow == FLOW_NORMAL) v = eval_filters(e, printed ? n->a : n->b, v);
    if (printed && flow == FLOW_NORMAL) print(e, v);
    e->scope = outer;
    if (printed) return flow;
    assign_target(e, n->a, v);
    return FLOW_NORMAL;
}

static void exec_call_block(Eval *e, const Node *n) {
    static const Str caller = STR_INIT("caller");
    Value callee = eval_node(e, n->a->a);
    CallArgs args = eval_args(e, &n->a->args);
    args_add_keyword(e, &args, &caller, make_macro(e, n));
    print(e, call_value(e, callee, &args));
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

static void exec_generation(Eval *e, const Node *n) {
    size_t from = e->out->len;
    exec_in_scope(e, e->scope, &n->list);
    for (size_t i = from; i < e->out->len; i++) e->out->origins[i] |= ORIGIN_GENERATION;
}

static Flow exec_node(Eval *e, const Node *n) {
    NodeType type = n->type;
    e->line = n->line;
    if (type == N_IF) return exec_if(e, n);
    if (type == N_FOR) return exec_for(e, n);
    if (type == N_WITH) return exec_with(e, n);
    if (type == N_SET_BLOCK || type == N_FILTER_BLOCK) return exec_capture(e, n);
    if (type == N_BREAK) return FLOW_BREAK;
    if (type == N_CONTINUE) return FLOW_CONTINUE;
    if (type == N_PRINT)
        print(e, eval_node(e, n->a));
    else if (type == N_SET)
        assign_target(e, n->a, eval_node(e, n->b));
    else if (type == N_MACRO)
        scope_set(e, n->name, make_macro(e, n));
    else if (type == N_CALL_BLOCK)
        exec_call_block(e, n);
    else if (type == N_GENERATION)
        exec_generation(e, n);
    else
        CHECK(false, "node %d is no statement", (int)type);
    return FLOW_NORMAL;
}

Flow exec_body(Eval *e, const NodeList *body) {
    Flow flow = FLOW_NORMAL;
    if (!eval_enter(e)) return flow;
    for (size_t i = 0; i < body->count && flow == FLOW_NORMAL && !e->failed; i++) {
        eval_charge(e, 1);
        flow = exec_node(e, body->items[i]);
    }
    e->depth--;
    return flow;
}
