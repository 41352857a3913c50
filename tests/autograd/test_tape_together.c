// Several tapes over one model, run together: each has the bits of a run alone, and products with a weight that they
// share are one call. Tapes differ in rows, adapters, dropout, where backward ends, and mode.
#include <string.h>

#include "autograd.h"
#include "test.h"
#include "toy.h"

enum { C = 24, F = 40, LAYERS = 3, TAPES = 3, MAX_T = 140, R = 6 };

// The model; and what all calls of linears_forward and linears_backward were for.
typedef struct Shared {
    Backend *b;
    const Kernels *own;
    Kernels counted;
    float weights[LAYERS][2][F * C];
    Weight up[LAYERS], down[LAYERS];
    int calls, parts;
} Shared;
static Shared *counting; // of the test that runs

static void linears_forward(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    counting->calls++;
    counting->parts += (int)n;
    counting->own->linears_forward(b, calls, n, w, ws);
}

static void linears_backward(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    counting->calls++;
    counting->parts += (int)n;
    counting->own->linears_backward(b, calls, n, w, ws);
}

static Shared *shared_new(void) {
    Shared *s = mem_calloc(1, sizeof *s);
    Err err;
    ASSERT_OK(backend_open(&s->b, "cpu", 2, &err), &err);
    s->own = s->b->k;
    s->counted = *s->own;
    s->counted.linears_forward = linears_forward;
    s->counted.linears_backward = linears_backward;
    s->b->k = &s->counted;
    for (int i = 0; i < LAYERS; i++) {
        fill(s->weights[i][0], F * C, 0, 0.4f, 10 + (uint32_t)i);
        fill(s->weights[i][1], F * C, 0, 0.4f, 20 + (uint32_t)i);
        s->up[i] = dense("up", s->weights[i][0], F, C);
        s->down[i] = dense("down", s->weights[i][1], C, F);
    }
    counting = s;
    return s;
}

static void shared_free(Shared *s) {
    s->b->k = s->own;
    backend_close(s->b);
    mem_free(s);
}

// One run: its rows, its adapters from layer `first` on.
typedef struct Toy {
    Tape *tape;
    TapeMode mode;
    int t, rank, first;
    float x[MAX_T * C], a[LAYERS][R * C], b[LAYERS][F * R], da[LAYERS][R * C], db[LAYERS][F * R];
    float head[2 * C];
    int32_t labels[MAX_T];
    HeadResult result;
} Toy;

static const PassState STATE = {.grad_scale = 0.25f, .stream = 3};

static Toy *toy_new(Backend *b, int index, bool together) {
    static const int t[TAPES] = {130, 7, 33}, rank[TAPES] = {4, 6, 3}, first[TAPES] = {0, 1, 2};
    Toy *y = mem_calloc(1, sizeof *y);
    *y = (Toy){.t = t[index], .rank = rank[index], .first = first[index], .tape = tape_new(b)};
    y->mode = index == 2 ? TAPE_FORWARD : TAPE_TRAIN;
    if (together) tape_share_workspace(y->tape);
    fill(y->x, y->t * C, 0, 1, 30 + (uint32_t)index);
    fill(y->head, 2 * C, 0, 1, 40);
    for (int i = 0; i < LAYERS; i++) {
        fill(y->a[i], R * C, 0, 0.5f, 50 + (uint32_t)(index * LAYERS + i));
        fill(y->b[i], F * R, 0, 0.5f, 80 + (uint32_t)(index * LAYERS + i));
    }
    for (int i = 0; i < y->t; i++) y->labels[i] = i % 2;
    return y;
}

static void build(Toy *y, const Shared *s) {
    Tape *t = y->tape;
    Tensor *x = tape_external(t, mat_of(y->x, DTYPE_F32, y->t, C));
    for (int i = 0; i < LAYERS; i++) {
        Lora lora = {.a = y->a[i],
                     .b = y->b[i],
                     .da = y->da[i],
                     .db = y->db[i],
                     .rank = y->rank,
                     .rows = F,
                     .scale = 0.5f,
                     .dropout = y->rank == 4 ? 0.2f : 0,
                     .keys = {.key = {.seed = 5, .module = (uint32_t)i}, .state = &STATE}};
        Tensor *up = op_linear(t, x, &s->up[i], NULL, &lora, i >= y->first);
        x = op_linear(t, op_activation(t, up, ACTIVATION_SILU), &s->down[i], i ? x : NULL, NULL, 0);
    }
    ClassHead head = {.w = y->head, .labels = y->labels, .classes = 2, .state = &STATE};
    op_class_loss(t, x, &head, &y->result);
}

static void same(const Toy *a, const Toy *b) {
    assert_memory_equal(&a->result, &b->result, sizeof a->result);
    assert_memory_equal(a->da, b->da, sizeof a->da);
    assert_memory_equal(a->db, b->db, sizeof a->db);
}

static void test_tapes_together_have_the_bits_of_each_alone(void **state) {
    (void)state;
    Shared *s = shared_new();
    Backend *b = s->b;
    Toy *alone[TAPES], *together[TAPES];
    Tape *tapes[TAPES];
    void *arenas[TAPES], *ws;
    size_t bytes[TAPES];
    for (int i = 0; i < TAPES; i++) {
        alone[i] = toy_new(b, i, false);
        together[i] = toy_new(b, i, true);
        build(alone[i], s);
        build(together[i], s);
        size_t whole = tape_plan(alone[i]->tape, alone[i]->mode);
        void *arena = b->k->alloc(b, whole);
        tape_run(alone[i]->tape, arena);
        b->k->free(b, arena, whole);
        tapes[i] = together[i]->tape;
        bytes[i] = tape_plan(tapes[i], together[i]->mode);
        arenas[i] = b->k->alloc(b, bytes[i]);
        assert_true(bytes[i] < whole);
    }
    assert_int_equal(s->calls, 0);
    size_t shared = tapes_workspace(tapes, TAPES);
    ws = b->k->alloc(b, shared);
    tapes_run(tapes, arenas, TAPES, ws);
    for (int i = 0; i < TAPES; i++) {
        same(alone[i], together[i]);
        b->k->free(b, arenas[i], bytes[i]);
    }
    // Forward: 6 weights for all three. Backward, by weight: the first tape needs 5 products (the input below its first
    // adapter needs none), the second 3 of these, the third runs forward only.
    assert_int_equal(s->calls, 6 + 5);
    assert_int_equal(s->parts, 3 * 6 + 5 + 3);
    b->k->free(b, ws, shared);
    for (int i = 0; i < TAPES; i++) {
        tape_free(alone[i]->tape);
        tape_free(tapes[i]);
        mem_free(alone[i]);
        mem_free(together[i]);
    }
    shared_free(s);
}

TEST_MAIN(TEST(test_tapes_together_have_the_bits_of_each_alone))
