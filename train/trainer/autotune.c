#include "autotune.h"

#include <stdlib.h>
#include <string.h>

#include "trainer_internal.h"

// Only the most frequent shapes are timed; others use the device's default algorithms.
enum { MAX_TIMED_SHAPES = 64, MAX_CHOICE_BYTES = 1 << 26 };

// One shape, with an example pass.
typedef struct TunePass {
    PassShape shape;
    TapeMode mode;
    int64_t uses;
    PassRows pass; // its rows are in `rows`
    int64_t *rows;
} TunePass;

typedef struct TunePlan {
    TunePass list[RUNNER_SHAPES]; // the first RUNNER_SHAPES distinct shapes
    int64_t n;
} TunePlan;

static bool same_shape(const PassShape *a, const PassShape *b) {
    return a->tokens == b->tokens && a->samples == b->samples && a->scored == b->scored && a->longest == b->longest;
}

static void add_pass(TunePlan *p, const PassRunner *r, const PassRows *pass, TapeMode mode) {
    PassShape shape = pass_runner_shape(r, pass);
    int64_t i = 0;
    while (i < p->n && !(p->list[i].mode == mode && same_shape(&p->list[i].shape, &shape))) i++;
    if (i == RUNNER_SHAPES) return;
    if (i == p->n) {
        TunePass *new = &p->list[p->n++];
        *new = (TunePass){.shape = shape, .mode = mode, .pass = *pass};
        new->rows = mem_alloc((size_t)pass->count, sizeof *new->rows);
        memcpy(new->rows, pass->rows, (size_t)pass->count * sizeof *new->rows);
        new->pass.rows = new->rows;
    }
    p->list[i].uses++;
}

static void add_steps(TunePlan *p, Trainer *t) {
    PassRows pass;
    for (int64_t step = t->state.step; step < t->plan.total_steps; step++)
        for (int64_t n = 0; trainer_pass(t, step, n, &pass); n++) add_pass(p, t->runner, &pass, TAPE_TRAIN);
}

static void add_evaluation(TunePlan *p, const Trainer *t) {
    const RowPlan *plan = t->in.data->eval_rows;
    int64_t n = plan ? plan->count : 0, most = t->runner->eval_rows;
    AUTO_FREE int64_t *rows = mem_alloc((size_t)most, sizeof *rows);
    for (int64_t first = 0; first < n; first += most) {
        PassRows pass = {.dataset = t->in.data->eval_set, .plan = plan, .rows = rows};
        for (; pass.count < most && first + pass.count < n; pass.count++) rows[pass.count] = first + pass.count;
        add_pass(p, t->runner, &pass, TAPE_FORWARD);
    }
}

static int by_uses(const void *a, const void *b) {
    const TunePass *x = a, *y = b;
    return (x->uses < y->uses) - (x->uses > y->uses);
}

// The gradients and tallies of these passes are zeroed before their next use.
static void run_pass(Trainer *t, const TunePass *p) {
    Backend *b = t->in.model->backend;
    PassOptions o = p->mode == TAPE_TRAIN ? trainer_options(t, t->recompute) : PASS_OPTIONS_EVAL;
    pass_runner_start(t->runner, &p->pass, &o, (PassState){.grad_scale = 1}, p->mode, t->runner->tally);
    b->k->sync(b);
}

static int run_all(Trainer *t, Err *err) {
    AUTO_FREE TunePlan *p = mem_calloc(1, sizeof *p);
    add_steps(p, t);
    add_evaluation(p, t);
    qsort(p->list, (size_t)p->n, sizeof *p->list, by_uses);
    for (int64_t i = 0; i < p->n && i < MAX_TIMED_SHAPES; i++) run_pass(t, &p->list[i]);
    for (int64_t i = 0; i < p->n; i++) mem_free(p->list[i].rows);
    return trainer_check_device(t, "before step", t->state.step + 1, err);
}

// Rank 0 sets its own choices too: that ends its timing.
static int share_choices(Backend *b, Group *g, Err *err) {
    AUTO_STR StrBuf json = {0};
    AUTO_FREE char *text = NULL;
    if (g->rank == 0) b->k->choices_get(b, &json);
    int64_t length = (int64_t)json.len;
    int rc = group_broadcast(g, &length, sizeof length, 0, err);
    if (!rc && (length < 0 || length > MAX_CHOICE_BYTES))
        rc = err_runtime(err, "rank 0 announces %ld bytes of device choices; expected at most %d", length,
                         MAX_CHOICE_BYTES);
    if (!rc) {
        text = mem_calloc((size_t)length + 1, 1);
        if (json.len) memcpy(text, json.data, json.len);
        rc = group_broadcast(g, text, (size_t)length, 0, err);
    }
    if (!rc) rc = group_agree(g, b->k->choices_set(b, text, err), err);
    return rc;
}

// A rank with less free memory may have chosen a heavier level than the others; the arena of a heavier one is smaller.
static int share_level(Trainer *t, Group *g, Err *err) {
    int32_t mine = (int32_t)t->recompute;
    AUTO_FREE int32_t *all = mem_calloc((size_t)g->ranks, sizeof *all);
    int rc = group_gather(g, all, &mine, sizeof mine, err);
    for (int r = 0; !rc && r < g->ranks; r++)
        if (all[r] > mine && all[r] <= (int32_t)RECOMPUTE_OFFLOAD) mine = all[r];
    t->recompute = (Recompute)mine;
    return rc;
}

int autotune(Trainer *t, bool restored, Err *err) {
    Backend *b = t->in.model->backend;
    Group *g = t->in.ranks->group;
    if (b->host_memory) return 0;
    if (share_level(t, g, err)) return -1;
    int rc = g->rank == 0 && !restored ? run_all(t, err) : 0;
    return group_agree(g, rc, err) ? -1 : share_choices(b, g, err);
}
