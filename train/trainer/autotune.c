#include "autotune.h"

#include <stdlib.h>
#include <string.h>

// Passes whose shape is among the most frequent; what is rarer is decided by the device's rule, without timing.
enum { MOST_SHAPES = 64, MOST_CHOICES = 1 << 26 }; // bytes of choices

// A shape with an example of it.
typedef struct TunePass {
    RowShape shape;
    TapeMode mode;
    int64_t uses;
    RowPass pass; // its rows are in `rows`
    int64_t *rows;
} TunePass;

typedef struct TunePlan {
    TunePass list[RUNNER_SHAPES]; // shapes that come later than so many others are not counted
    int64_t n;
} TunePlan;

static bool same_shape(const RowShape *a, const RowShape *b) {
    return a->tokens == b->tokens && a->samples == b->samples && a->scored == b->scored && a->longest == b->longest;
}

static void note_pass(TunePlan *p, const RowRunner *r, const RowPass *pass, TapeMode mode) {
    RowShape shape = row_runner_shape(r, pass);
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

static void note_steps(TunePlan *p, Trainer *t) {
    RowPass pass;
    for (int64_t step = t->state.step; step < t->total_steps; step++)
        for (int64_t n = 0; trainer_pass(t, step, n, &pass); n++) note_pass(p, t->runner, &pass, TAPE_TRAIN);
}

static void note_evaluation(TunePlan *p, const Trainer *t) {
    const RowPlan *plan = t->data->eval_rows;
    int64_t n = plan ? row_plan_count(plan) : 0, most = t->runner->eval_rows;
    int64_t *rows = mem_alloc((size_t)most, sizeof *rows);
    for (int64_t first = 0; first < n; first += most) {
        RowPass pass = {.dataset = t->data->eval_set, .plan = plan, .rows = rows};
        for (; pass.count < most && first + pass.count < n; pass.count++) rows[pass.count] = first + pass.count;
        note_pass(p, t->runner, &pass, TAPE_FORWARD);
    }
    mem_free(rows);
}

static int by_uses(const void *a, const void *b) {
    const TunePass *x = a, *y = b;
    return (x->uses < y->uses) - (x->uses > y->uses);
}

// Gradients and results that this leaves are zeroed before they are used.
static void run(Trainer *t, const TunePass *r) {
    PassOptions o = r->mode == TAPE_TRAIN ? trainer_options(t) : eval_options();
    row_runner_start(t->runner, &r->pass, &o, (PassState){.grad_scale = 1}, r->mode, t->runner->tally);
    t->model->backend->k->sync(t->model->backend);
}

static int run_all(Trainer *t, Err *err) {
    TunePlan *p = mem_calloc(1, sizeof *p);
    note_steps(p, t);
    note_evaluation(p, t);
    qsort(p->list, (size_t)p->n, sizeof *p->list, by_uses);
    for (int64_t i = 0; i < p->n && i < MOST_SHAPES; i++) run(t, &p->list[i]);
    for (int64_t i = 0; i < p->n; i++) mem_free(p->list[i].rows);
    mem_free(p);
    return trainer_check_device(t, "before step", t->state.step + 1, err);
}

// Rank 0's choices become everyone's, its own too: so nobody decides by speed any more.
static int share_choices(Backend *b, Group *g, Err *err) {
    StrBuf json = {0};
    if (g->rank == 0) b->k->choices_get(b, &json);
    int64_t length = (int64_t)json.len;
    int status = group_broadcast(g, &length, sizeof length, 0, err);
    if (!status && (length < 0 || length > MOST_CHOICES))
        status = err_runtime(err, "rank 0 announces %lld bytes of device choices; expected at most %d",
                             (long long)length, MOST_CHOICES);
    if (status) {
        str_clear(&json);
        return status;
    }
    char *text = mem_calloc((size_t)length + 1, 1);
    if (json.len) memcpy(text, json.data, json.len);
    status = group_broadcast(g, text, (size_t)length, 0, err);
    if (!status) status = group_agree(g, b->k->choices_set(b, text, err), err);
    mem_free(text);
    str_clear(&json);
    return status;
}

// A rank with less free memory than others may have chosen another level; the arena of a heavier one is smaller.
static int share_level(Trainer *t, Group *g, Err *err) {
    int32_t mine = (int32_t)t->recompute, *all = mem_calloc((size_t)g->ranks, sizeof *all);
    int status = group_gather(g, all, &mine, sizeof mine, err);
    for (int r = 0; !status && r < g->ranks; r++)
        if (all[r] > mine && all[r] <= (int32_t)RECOMPUTE_OFFLOAD) mine = all[r];
    t->recompute = (Recompute)mine;
    mem_free(all);
    return status;
}

int autotune(Trainer *t, bool decided, Err *err) {
    Backend *b = t->model->backend;
    Group *g = t->group;
    if (b->host_memory) return 0;
    if (share_level(t, g, err)) return -1;
    int status = g->rank == 0 && !decided ? run_all(t, err) : 0;
    return group_agree(g, status, err) ? -1 : share_choices(b, g, err);
}
