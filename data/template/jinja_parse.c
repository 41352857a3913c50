// jinja_parse: statements. Tags of jinja2 that chat templates do not use (extends, include, import, block, ...) and
// recursive loops are refused by name.
#include "jinja_syntax.h"

#include <stdio.h>
#include <string.h>

// ---- shared by both parts of the parser ----

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

Node *node_const(Parser *p, Value v) {
    Node *n = node_new(p, N_CONST, p->tok->line);
    n->value = v;
    return n;
}

void node_list_add(Parser *p, NodeList *list, Node *n) {
    list->items = arena_grow(&p->t->arena, list->items, list->count, sizeof *list->items);
    list->items[list->count++] = n;
}

bool parse_enter(Parser *p) {
    if (p->failed) return false;
    if (++p->depth <= 4 * JINJA_MAX_NESTING) return true; // one level of brackets passes several rules
    parse_fail(p, "nested too deep");
    return false;
}

bool at_op(const Parser *p, int op) { return p->tok->type == T_OP && p->tok->op == op; }

bool at_name(const Parser *p, const char *name) { return p->tok->type == T_NAME && str_is(p->tok->str, name); }

bool skip_op(Parser *p, int op) {
    bool found = at_op(p, op);
    p->tok += found;
    return found;
}

bool skip_name(Parser *p, const char *name) {
    bool found = at_name(p, name);
    p->tok += found;
    return found;
}

Node *fail_expected(Parser *p, const char *what) {
    static const char *const names[] = {[T_END] = "the end of the template",
                                        [T_TEXT] = "text",
                                        [T_PRINT_BEGIN] = "text",
                                        [T_PRINT_END] = "}}",
                                        [T_BLOCK_BEGIN] = "text",
                                        [T_BLOCK_END] = "%}",
                                        [T_STRING] = "a string",
                                        [T_INT] = "a number",
                                        [T_FLOAT] = "a number",
                                        [T_OP] = "an operator"};
    return parse_fail(p, "expected %s, found %s", what,
                      p->tok->type == T_NAME ? p->tok->str->data : names[p->tok->type]);
}

bool expect_op(Parser *p, int op) {
    const char what[] = {'\'', (char)(op & 0xFF), '\'', 0};
    if (skip_op(p, op)) return true;
    fail_expected(p, what);
    return false;
}

const Str *expect_name(Parser *p) {
    static const Str empty = STR_INIT("");
    if (p->tok->type == T_NAME) return p->tok++->str;
    fail_expected(p, "a name");
    return &empty;
}

static void expect_end(Parser *p, TokenType type) {
    if (p->tok->type == type)
        p->tok++;
    else
        fail_expected(p, type == T_PRINT_END ? "}}" : "%}");
}

// ---- bodies ----

static void parse_statement(Parser *p, NodeList *list);

// At the tag that ends a body? `ends`: its possible names, separated by spaces.
static bool at_end_tag(const Parser *p, const char *ends) {
    return p->tok->type == T_NAME && is_among(p->tok->str->data, p->tok->str->len, ends);
}

// Text, {{ }} and tags up to one of `ends` (which stays the current token), or the end of the template (ends NULL).
static void parse_body(Parser *p, NodeList *list, const char *ends) {
    while (!p->failed) {
        const Token *t = p->tok;
        if (t->type == T_END) {
            if (ends) parse_fail(p, "the template ends where one of these is expected: %s", ends);
            return;
        }
        p->tok++;
        if (t->type == T_TEXT || t->type == T_PRINT_BEGIN) {
            Node *n = node_new(p, N_PRINT, t->line);
            n->a = t->type == T_TEXT ? node_const(p, v_str(t->str)) : parse_tuple(p, true, false);
            node_list_add(p, list, n);
            if (t->type == T_PRINT_BEGIN) expect_end(p, T_PRINT_END);
        } else {
            if (ends && at_end_tag(p, ends)) return;
            parse_statement(p, list);
            expect_end(p, T_BLOCK_END);
        }
    }
}

// The rest of the tag, then the body up to one of `ends`.
static void parse_block(Parser *p, NodeList *list, const char *ends) {
    skip_op(p, ':');
    expect_end(p, T_BLOCK_END);
    if (!parse_enter(p)) return;
    p->depth += 3;
    parse_body(p, list, ends);
    p->depth -= 4;
}

// A body with one end tag, which is skipped.
static void parse_whole_block(Parser *p, NodeList *list, const char *end) {
    parse_block(p, list, end);
    skip_name(p, end);
}

// The body of something that jinja2 compiles to a function of its own: break cannot leave it.
static void parse_function_body(Parser *p, Node *n, const char *end) {
    Parser outer = *p;
    p->in_if = false;
    p->loops = 0;
    p->special = 0;
    parse_whole_block(p, &n->list, end);
    n->special = p->special;
    p->loops = outer.loops;
    p->special |= outer.special;
}

// ---- tags; parse_statement saves and restores in_if around each ----

static void parse_if(Parser *p, Node *n) {
    bool is_else = false;
    p->in_if = true;
    while (!p->failed) {
        Node *branch = node_new(p, N_BRANCH, p->tok->line);
        node_list_add(p, &n->list, branch);
        if (!is_else) branch->a = parse_tuple(p, false, false);
        parse_block(p, &branch->list, is_else ? "endif" : "elif else endif");
        if (skip_name(p, "elif")) continue;
        if (!skip_name(p, "else")) break;
        is_else = true;
    }
    skip_name(p, "endif");
}

static bool assigns_name(const Node *target, const char *name) {
    if (target->type == N_NAME) return str_is(target->name, name);
    for (size_t i = 0; target->type == N_TUPLE && i < target->list.count; i++)
        if (assigns_name(target->list.items[i], name)) return true;
    return false;
}

static void parse_for(Parser *p, Node *n) {
    n->a = parse_target(p, false);
    if (!p->failed && assigns_name(n->a, "loop")) parse_fail(p, "cannot assign to the special variable loop");
    if (!skip_name(p, "in")) fail_expected(p, "'in'");
    n->b = parse_tuple(p, false, false);
    p->in_if = false;
    if (skip_name(p, "if")) n->c = parse_expression(p);
    if (at_name(p, "recursive")) parse_fail(p, "recursive loops are not supported");
    p->loops++;
    parse_block(p, &n->list, "endfor else");
    p->loops--;
    if (skip_name(p, "else"))
        parse_whole_block(p, &n->list2, "endfor");
    else
        skip_name(p, "endfor");
}

static void parse_set(Parser *p, Node *n) {
    n->a = parse_target(p, true);
    if (skip_op(p, '=')) {
        n->b = parse_tuple(p, true, false);
        return;
    }
    n->type = N_SET_BLOCK;
    p->in_if = false;
    n->b = parse_filter_chain(p, NULL, false);
    parse_whole_block(p, &n->list, "endset");
}

static void parse_macro(Parser *p, Node *n) {
    n->name = expect_name(p);
    parse_signature(p, &n->args);
    parse_function_body(p, n, "endmacro");
}

static void parse_call_block(Parser *p, Node *n) {
    if (at_op(p, '(')) parse_signature(p, &n->args);
    n->a = parse_expression(p);
    if (!p->failed && n->a->type != N_CALL) parse_fail(p, "expected a call after the tag call");
    parse_function_body(p, n, "endcall");
}

static void parse_filter_block(Parser *p, Node *n) {
    p->in_if = false;
    n->a = parse_filter_chain(p, NULL, true);
    parse_whole_block(p, &n->list, "endfilter");
}

static void parse_with(Parser *p, Node *n) {
    while (!p->failed && p->tok->type != T_BLOCK_END) {
        if (n->list2.count) expect_op(p, ',');
        node_list_add(p, &n->list2, parse_target(p, false));
        expect_op(p, '=');
        node_list_add(p, &n->list2, parse_expression(p));
    }
    p->in_if = false;
    parse_whole_block(p, &n->list, "endwith");
}

static void parse_generation(Parser *p, Node *n) {
    parse_function_body(p, n, "endgeneration");
    p->t->has_generation = true;
}

static void parse_print(Parser *p, NodeList *list) {
    for (bool first = true; !p->failed && p->tok->type != T_BLOCK_END; first = false) {
        if (!first) expect_op(p, ',');
        Node *n = node_new(p, N_PRINT, p->tok->line);
        n->a = parse_expression(p);
        node_list_add(p, list, n);
    }
}

static void parse_statement(Parser *p, NodeList *list) {
    static const struct {
        const char *name;
        NodeType type;
        void (*parse)(Parser *, Node *);
    } tags[] = {{"if", N_IF, parse_if},
                {"for", N_FOR, parse_for},
                {"set", N_SET, parse_set},
                {"macro", N_MACRO, parse_macro},
                {"call", N_CALL_BLOCK, parse_call_block},
                {"filter", N_FILTER_BLOCK, parse_filter_block},
                {"with", N_WITH, parse_with},
                {"generation", N_GENERATION, parse_generation}};
    int line = p->tok->line;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!skip_name(p, tags[i].name)) continue;
        bool was_in_if = p->in_if;
        Node *n = node_new(p, tags[i].type, line);
        tags[i].parse(p, n);
        p->in_if = was_in_if;
        node_list_add(p, list, n);
        return;
    }
    if (skip_name(p, "print")) {
        parse_print(p, list);
    } else if (at_name(p, "break") || at_name(p, "continue")) {
        if (p->loops == 0) parse_fail(p, "%.*s outside of a loop", STR_SHOWN(p->tok->str, 100));
        node_list_add(p, list, node_new(p, at_name(p, "break") ? N_BREAK : N_CONTINUE, line));
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
