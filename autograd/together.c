// together: runs several tapes over the same frozen weights (autograd.h).
//
// Each tape runs up to its next product with a frozen weight. When all wait there, the tape that has done the fewest
// products is the one that is behind: it continues, with all that wait for the same weight in the same direction.
// Tapes of one model meet at every product that they have in common, since their ops have the same order, and backward
// passes differ only in where they end.
#include "tape.h"

typedef struct Cursor {
    Tape *tape;
    char *arena;
    size_t next; // instruction
    int64_t products;
} Cursor;

static const Instruction *next_of(const Cursor *c) { return &c->tape->instructions[c->next]; }

static const Node *node_of(const Cursor *c) { return &c->tape->nodes[next_of(c)->node]; }

static bool is_over(const Cursor *c) { return c->next == c->tape->n_instructions; }

static bool is_at_product(const Cursor *c) {
    const Instruction *in = next_of(c);
    return in->kind == INSTRUCTION_RUN && node_of(c)->op == tape_linear &&
           (!in->backward || node_of(c)->in[0]->needs_grad);
}

static const Weight *weight_of(const Cursor *c) { return node_of(c)->args.linear.w; }

// Up to the next product, or the end.
static void advance(Cursor *c, void *ws) {
    for (; !is_over(c) && !is_at_product(c); c->next++) tape_run_instruction(c->tape, next_of(c), c->arena, ws);
}

// Those in the group that wait for the product of `first`, in order.
static size_t gather(Cursor **group, Cursor *cursors, size_t n, const Cursor *first) {
    size_t count = 0;
    for (Cursor *c = cursors; c < cursors + n; c++)
        if (!is_over(c) && weight_of(c) == weight_of(first) && next_of(c)->backward == next_of(first)->backward)
            group[count++] = c;
    return count;
}

// The product for all of the group.
static void multiply(Cursor **group, size_t n, LinearCall *calls, void *ws) {
    Backend *b = group[0]->tape->backend;
    bool backward = next_of(group[0])->backward;
    for (size_t i = 0; i < n; i++) {
        Exec x = tape_bind(group[i]->tape, next_of(group[i]), group[i]->arena, ws);
        calls[i] = backward ? linear_grads(node_of(group[i]), &x) : linear_rows(node_of(group[i]));
    }
    (backward ? b->k->linears_backward : b->k->linears_forward)(b, calls, n, weight_of(group[0]), ws);
}

static void finish(Cursor *c, void *ws) {
    Exec x = tape_bind(c->tape, next_of(c), c->arena, ws);
    (next_of(c)->backward ? linear_backward_rest : linear_forward_rest)(node_of(c), &x);
    c->products++;
    c->next++;
}

// The one that is behind; NULL: all are at their end.
static Cursor *behind(Cursor *cursors, size_t n) {
    Cursor *least = NULL;
    for (Cursor *c = cursors; c < cursors + n; c++)
        if (!is_over(c) && (!least || c->products < least->products)) least = c;
    return least;
}

void tapes_run(Tape *const *tapes, void *const *arenas, size_t n, void *ws) {
    AUTO_FREE Cursor *cursors = mem_calloc(n, sizeof *cursors);
    AUTO_FREE Cursor **group = mem_alloc(n, sizeof *group);
    AUTO_FREE LinearCall *calls = mem_alloc(n, sizeof *calls);
    for (size_t i = 0; i < n; i++) {
        CHECK(tapes[i]->shares_workspace);
        cursors[i] = (Cursor){tapes[i], arenas[i], 0, 0};
        tape_begin(tapes[i], arenas[i]);
        advance(&cursors[i], ws);
    }
    for (const Cursor *first; (first = behind(cursors, n));) {
        size_t count = gather(group, cursors, n, first);
        multiply(group, count, calls, ws);
        for (size_t i = 0; i < count; i++) {
            finish(group[i], ws);
            advance(group[i], ws);
        }
    }
}

// ---- the workspace ----

void tape_share_workspace(Tape *t) { t->shares_workspace = true; }

static int64_t most_rows(const Tape *t) {
    int64_t most = 0;
    for (size_t i = 0; i < t->n_nodes; i++)
        if (t->nodes[i].op == tape_linear) most = max64(most, t->nodes[i].in[0]->rows);
    return most;
}

size_t tapes_workspace(Tape *const *tapes, size_t n) {
    size_t most = 0;
    int64_t rows = 0;
    for (size_t i = 0; i < n; i++) rows += most_rows(tapes[i]);
    for (size_t i = 0; i < n; i++) {
        const Tape *t = tapes[i];
        Backend *b = t->backend;
        most = t->most_workspace > most ? t->most_workspace : most;
        for (size_t k = 0; k < t->n_nodes; k++) {
            if (t->nodes[k].op != tape_linear) continue;
            size_t bytes = b->k->linear_workspace(b, t->nodes[k].args.linear.w, rows);
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}
