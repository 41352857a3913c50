// tape_stage: the stages that a run enters, in forward and backward, and what is known of the next one.
#include "autograd.h"
#include "test.h"
#include "toy.h"

enum { T = 3, C = 4, STAGES = 3, MOST = 16 };

typedef struct Entered {
    int last, stage, next;
} Entered;
typedef struct Record {
    Entered calls[MOST];
    int n;
} Record;

static void note(const void *user, int last, int stage, int next) {
    Record *r = (Record *)user;
    assert_true(r->n < MOST);
    r->calls[r->n++] = (Entered){last, stage, next};
}

static void check_calls(const Record *r, const Entered *want, int n) {
    assert_int_equal(r->n, n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(r->calls[i].last, want[i].last);
        assert_int_equal(r->calls[i].stage, want[i].stage);
        assert_int_equal(r->calls[i].next, want[i].next);
    }
}

typedef struct Layers {
    Backend *b;
    Tape *t;
    float matrix[C * C], norm[C], a[C], lora_b[C], da[C], db[C];
    Weight w[STAGES];
    Record record;
    size_t bytes[STAGES];
    TapeStages stages;
    HeadResult result;
} Layers;

// A norm and a product in each layer, the first of which has an adapter; a head behind them.
static void build(Layers *y, bool checkpoint) {
    static const PassState state = {.grad_scale = 1};
    static const int32_t ids[T] = {0, 1, 2}, targets[T] = {1, 2, 3};
    Lora lora = {.a = y->a, .b = y->lora_b, .da = y->da, .db = y->db, .rank = 1, .rows = C, .scale = 1};
    Tensor *x = op_embed(y->t, &y->w[0], ids, T, 1);
    for (int i = 0; i < STAGES; i++) {
        tape_stage(y->t, &y->stages, i);
        if (checkpoint) tape_checkpoint_begin(y->t);
        x = op_linear(y->t, op_rmsnorm(y->t, x, y->norm, 1e-5f), &y->w[i], x, &lora, i == 0);
        x = op_linear(y->t, x, &y->w[i], NULL, NULL, 0);
        if (checkpoint) tape_checkpoint_end(y->t);
    }
    tape_stage(y->t, &y->stages, TAPE_NO_STAGE);
    HeadLoss loss = {.targets = targets, .state = &state};
    op_head_loss(y->t, x, &y->w[0], &loss, &y->result);
}

static void run_mode(Layers *y, TapeMode mode, bool checkpoint) {
    tape_reset(y->t);
    y->record.n = 0;
    build(y, checkpoint);
    size_t bytes = tape_plan(y->t, mode);
    void *arena = y->b->k->alloc(y->b, bytes);
    tape_run(y->t, arena);
    y->b->k->free(y->b, arena, bytes);
}

static double moved_bytes(const Tape *t) {
    double sum = 0;
    for (int64_t i = 0; i < tape_stats(t).instructions; i++)
        if (tape_cost(t, i).op == TAPE_OP_OFFLOAD) sum += tape_cost(t, i).bytes;
    return sum;
}

static void test_tape_stages_in_both_directions(void **state) {
    (void)state;
    static const Entered forward[] = {{-1, 0, 1}, {0, 1, 2}, {1, 2, -1}};
    static const Entered both[] = {{-1, 0, 1}, {0, 1, 2}, {1, 2, 1}, {2, 1, 0}, {1, 0, -1}};
    Layers *y = mem_calloc(1, sizeof *y);
    Err err;
    ASSERT_OK(backend_open(&y->b, "ref", 1, &err), &err);
    y->t = tape_new(y->b);
    y->stages = (TapeStages){note, &y->record, y->bytes};
    fill(y->matrix, C * C, 0, 1, 1);
    fill(y->norm, C, 1, 0, 2);
    fill(y->a, C, 0, 1, 3);
    fill(y->lora_b, C, 0, 1, 4);
    for (int i = 0; i < STAGES; i++) {
        y->w[i] = dense("w", y->matrix, C, C);
        y->bytes[i] = (size_t)1 << i;
    }
    run_mode(y, TAPE_FORWARD, false);
    check_calls(&y->record, forward, 3);
    assert_true(moved_bytes(y->t) == 1 + 2 + 4);
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        run_mode(y, TAPE_TRAIN, checkpoint);
        check_calls(&y->record, both, 5);
        assert_true(moved_bytes(y->t) == 1 + 2 + 4 + 2 + 1);
    }
    tape_free(y->t);
    backend_close(y->b);
    mem_free(y);
}

TEST_MAIN(TEST(test_tape_stages_in_both_directions))
