// jinja_parse: statements. Tags of jinja2 that chat templates do not use (extends, include, import, block, ...) and
// recursive loops are refused by name.
#include "jinja_internal.h"

#include <stdio.h>
#include <string.h>

Node *parse_fail(Parser *p, const char *fmt, ...) {
    if (!p->failed) {
        char what[512];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(what, sizeof what, fmt, ap);
        va_end(ap);
        err_input(p->err, "%s line %d: %s", p->t->name, p->tok->line, what);
        p->failed = true;
    }
    return node_new(p, N_CONST, p->tok->line);
}

Node *node_new(Parser *p, NodeType type, int line) {
    Node *n = arena_alloc(&p->t->arena, sizeof *n);
    *n = (Node){.type = type, .line = line, .value = v_none()};
    return n;
}

void node_list_add(Parser *p, NodeList *list, size_t *capacity, Node *n) {
    if (list->count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 4;
        Node **grown = arena_alloc(&p->t->arena, *capacity * sizeof *grown);
        if (list->count) memcpy(grown, list->items, list->count * sizeof *grown);
        list->items = grown;
    }
    list->items[list->count++] = n;
}

bool parse_enter(Parser *p) {
    if (p->failed) return false;
    if (++p->depth <= 4 * JINJA_MAX_NESTING) return true; // one level of brackets passes several rules
    parse_fail(p, "nested too deep");
    return false;
}

bool at_op(const Parser *p, int op) {
    return p->tok->type == T_OP && p->tok->op == op;
}

bool at_name(const Parser *p, const char *name) {
    return p->tok->type == T_NAME && str_is(p->tok->str, name);
}

bool skip_op(Parser *p, int op) {
    if (!at_op(p, op)) return false;
    p->tok++;
    return true;
}

bool skip_name(Parser *p, const char *name) {
    if (!at_name(p, name)) return false;
    p->tok++;
    return true;
}

static const char *describe(const Token *t) {
    switch (t->type) {
    case T_END:
        return "the end of the template";
    case T_NAME:
        return t->str->data;
    case T_STRING:
        return "a string";
    case T_INT:
    case T_FLOAT:
        return "a number";
    case T_BLOCK_END:
        return "%}";
    case T_PRINT_END:
        return "}}";
    case T_OP:
        return "an operator";
    default:
        return "text";
    }
}

bool expect_op(Parser *p, int op) {
    if (skip_op(p, op)) return true;
    parse_fail(p, "expected '%c', found %s", op & 0xFF, describe(p->tok));
    return false;
}

const Str *expect_name(Parser *p) {
    static const Str empty = {.data = ""};
    if (p->tok->type == T_NAME) return p->tok++->str;
    parse_fail(p, "expected a name, found %s", describe(p->tok));
    return &empty;
}

static void expect_token(Parser *p, TokenType type, const char *what) {
    if (p->tok->type == type) {
        p->tok++;
    } else {
        parse_fail(p, "expected %s, found %s", what, describe(p->tok));
    }
}

static void parse_statement(Parser *p, NodeList *list, size_t *capacity);

// At the tag that ends a body? `ends`: its possible names, separated by spaces.
static bool at_end_tag(const Parser *p, const char *ends) {
    if (p->tok->type != T_NAME) return false;
    size_t n = p->tok->str->len;
    for (const char *s = ends; *s; s += strcspn(s, " "), s += *s == ' ') {
        if (strcspn(s, " ") == n && memcmp(s, p->tok->str->data, n) == 0) return true;
    }
    return false;
}

// Text, {{ }} and tags up to one of `ends` (which stays the current token), or the end of the template (ends NULL).
static void parse_body(Parser *p, NodeList *list, const char *ends) {
    size_t capacity = 0;
    while (!p->failed) {
        const Token *t = p->tok;
        if (t->type == T_END) {
            if (ends) parse_fail(p, "the template ends where one of these is expected: %s", ends);
            return;
        }
        p->tok++;
        if (t->type == T_TEXT) {
            Node *n = node_new(p, N_TEXT, t->line);
            n->value = v_str(t->str);
            node_list_add(p, list, &capacity, n);
        } else if (t->type == T_PRINT_BEGIN) {
            Node *n = node_new(p, N_PRINT, t->line);
            n->a = parse_tuple(p, true, false);
            node_list_add(p, list, &capacity, n);
            expect_token(p, T_PRINT_END, "}}");
        } else {
            if (ends && at_end_tag(p, ends)) return;
            parse_statement(p, list, &capacity);
            expect_token(p, T_BLOCK_END, "%}");
        }
    }
}

// The rest of the tag, then the body up to one of `ends`.
static void parse_block(Parser *p, NodeList *list, const char *ends) {
    skip_op(p, ':');
    expect_token(p, T_BLOCK_END, "%}");
    if (!parse_enter(p)) return;
    p->depth += 3;
    parse_body(p, list, ends);
    p->depth -= 4;
}

static Node *parse_if(Parser *p, int line) {
    Node *n = node_new(p, N_IF, line);
    size_t capacity = 0;
    bool was_soft = p->soft, is_else = false;
    p->soft = true;
    while (!p->failed) {
        Node *branch = node_new(p, N_BRANCH, p->tok->line);
        node_list_add(p, &n->list, &capacity, branch);
        if (!is_else) branch->a = parse_tuple(p, false, false);
        parse_block(p, &branch->list, is_else ? "endif" : "elif else endif");
        if (skip_name(p, "elif")) continue;
        if (!skip_name(p, "else")) break;
        is_else = true;
    }
    skip_name(p, "endif");
    p->soft = was_soft;
    return n;
}

static bool assigns_name(const Node *target, const char *name) {
    if (target->type == N_NAME) return str_is(target->name, name);
    for (size_t i = 0; target->type == N_TUPLE && i < target->list.count; i++) {
        if (assigns_name(target->list.items[i], name)) return true;
    }
    return false;
}

static Node *parse_for(Parser *p, int line) {
    Node *n = node_new(p, N_FOR, line);
    bool was_soft = p->soft;
    n->a = parse_target(p, false);
    if (!p->failed && assigns_name(n->a, "loop")) return parse_fail(p, "cannot assign to the special variable loop");
    if (!skip_name(p, "in")) return parse_fail(p, "expected 'in', found %s", describe(p->tok));
    n->b = parse_tuple(p, false, false);
    p->soft = false;
    if (skip_name(p, "if")) n->c = parse_expression(p);
    if (at_name(p, "recursive")) return parse_fail(p, "recursive loops are not supported");
    p->loops++;
    parse_block(p, &n->list, "endfor else");
    p->loops--;
    if (skip_name(p, "else")) parse_block(p, &n->list2, "endfor");
    skip_name(p, "endfor");
    p->soft = was_soft;
    return n;
}

// The body of something that jinja2 compiles to a function of its own: break does not reach out of it.
static void parse_function_body(Parser *p, Node *n, const char *end) {
    Parser outer = *p;
    p->soft = false;
    p->loops = 0;
    p->saw_caller = p->saw_kwargs = p->saw_varargs = false;
    parse_block(p, &n->list, end);
    skip_name(p, end);
    n->uses_caller = p->saw_caller;
    n->uses_kwargs = p->saw_kwargs;
    n->uses_varargs = p->saw_varargs;
    p->soft = outer.soft;
    p->loops = outer.loops;
    p->saw_caller |= outer.saw_caller;
    p->saw_kwargs |= outer.saw_kwargs;
    p->saw_varargs |= outer.saw_varargs;
}

static Node *parse_set(Parser *p, int line) {
    Node *target = parse_target(p, true);
    if (skip_op(p, '=')) {
        Node *n = node_new(p, N_SET, line);
        n->a = target;
        n->b = parse_tuple(p, true, false);
        return n;
    }
    Node *n = node_new(p, N_SET_BLOCK, line);
    bool was_soft = p->soft;
    n->a = target;
    p->soft = false;
    n->b = parse_filter_chain(p, NULL, false);
    parse_block(p, &n->list, "endset");
    skip_name(p, "endset");
    p->soft = was_soft;
    return n;
}

static Node *parse_macro(Parser *p, int line) {
    Node *n = node_new(p, N_MACRO, line);
    n->name = expect_name(p);
    parse_signature(p, &n->args);
    parse_function_body(p, n, "endmacro");
    return n;
}

static Node *parse_call_block(Parser *p, int line) {
    Node *n = node_new(p, N_CALL_BLOCK, line);
    if (at_op(p, '(')) parse_signature(p, &n->args);
    n->a = parse_expression(p);
    if (!p->failed && n->a->type != N_CALL) return parse_fail(p, "expected a call behind the tag call");
    parse_function_body(p, n, "endcall");
    return n;
}

static Node *parse_filter_block(Parser *p, int line) {
    Node *n = node_new(p, N_FILTER_BLOCK, line);
    bool was_soft = p->soft;
    p->soft = false;
    n->a = parse_filter_chain(p, NULL, true);
    parse_block(p, &n->list, "endfilter");
    skip_name(p, "endfilter");
    p->soft = was_soft;
    return n;
}

static Node *parse_with(Parser *p, int line) {
    Node *n = node_new(p, N_WITH, line);
    size_t capacity = 0;
    while (!p->failed && p->tok->type != T_BLOCK_END) {
        if (n->list2.count) expect_op(p, ',');
        node_list_add(p, &n->list2, &capacity, parse_target(p, false));
        expect_op(p, '=');
        node_list_add(p, &n->list2, &capacity, parse_expression(p));
    }
    bool was_soft = p->soft;
    p->soft = false;
    parse_block(p, &n->list, "endwith");
    skip_name(p, "endwith");
    p->soft = was_soft;
    return n;
}

static Node *parse_generation(Parser *p, int line) {
    Node *n = node_new(p, N_GENERATION, line);
    parse_function_body(p, n, "endgeneration");
    p->t->has_generation = true;
    return n;
}

static void parse_print(Parser *p, NodeList *list, size_t *capacity) {
    bool first = true;
    while (!p->failed && p->tok->type != T_BLOCK_END) {
        if (!first) expect_op(p, ',');
        first = false;
        Node *n = node_new(p, N_PRINT, p->tok->line);
        n->a = parse_expression(p);
        node_list_add(p, list, capacity, n);
    }
}

static void parse_statement(Parser *p, NodeList *list, size_t *capacity) {
    static const struct {
        const char *name;
        Node *(*parse)(Parser *, int line);
    } tags[] = {{"if", parse_if},           {"for", parse_for},
                {"set", parse_set},         {"macro", parse_macro},
                {"call", parse_call_block}, {"filter", parse_filter_block},
                {"with", parse_with},       {"generation", parse_generation}};
    int line = p->tok->line;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!skip_name(p, tags[i].name)) continue;
        node_list_add(p, list, capacity, tags[i].parse(p, line));
        return;
    }
    if (skip_name(p, "print")) {
        parse_print(p, list, capacity);
    } else if (at_name(p, "break") || at_name(p, "continue")) {
        if (p->loops == 0) parse_fail(p, "%.*s outside of a loop", STR_SHOWN(p->tok->str, 100));
        node_list_add(p, list, capacity, node_new(p, at_name(p, "break") ? N_BREAK : N_CONTINUE, line));
        p->tok++;
    } else {
        const Str *name = expect_name(p);
        parse_fail(p, "tag '%.*s' is unknown, misplaced or not supported", STR_SHOWN(name, 100));
    }
}

int jinja_parse(JinjaTemplate *t, const Token *tokens, Err *err) {
    Parser p = {.t = t, .tok = tokens, .err = err};
    parse_body(&p, &t->body, NULL);
    return p.failed ? -1 : 0;
}
