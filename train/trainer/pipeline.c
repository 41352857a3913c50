#include "pipeline.h"

#include "graph.h"
#include "trainer_internal.h"

// ---- set-up ----

static void alloc_edges(Pipeline *p) {
    Backend *b = p->model->backend;
    PassEdges *e = &p->edges;
    if (p->previous >= 0) e->in = b->k->alloc(b, p->edge_bytes), e->in_grad = b->k->alloc(b, p->edge_bytes);
    if (p->next >= 0) e->out = b->k->alloc(b, p->edge_bytes), e->out_grad = b->k->alloc(b, p->edge_bytes);
}

Pipeline *pipeline_new(PassRunnerOptions *o, int64_t most) {
    Pipeline *p = mem_calloc(1, sizeof *p);
    const RankContext *r = &o->ranks;
    Backend *b = o->model->backend;
    int apart = ranks_pipelines(r), stage = ranks_stage(r), after = ranks_stages(r) - 1 - stage;
    p->model = o->model;
    p->adapter = o->adapter;
    p->ranks = *r;
    p->previous = stage > 0 ? r->group->rank - apart : -1;
    p->next = after > 0 ? r->group->rank + apart : -1;
    p->edge_bytes = (size_t)(o->bounds.tokens * o->model->config.hidden) * dtype_info(b->activation)->bytes;
    p->depth = max64(1, min64(after + 1, most));
    p->runners = mem_calloc((size_t)p->depth, sizeof *p->runners);
    p->temporary.backend = b;
    alloc_edges(p);
    o->pipeline = p;
    return p;
}

void pipeline_add_runners(Pipeline *p, PassRunner *first, const PassRunnerOptions *o) {
    p->runners[0] = first;
    for (int64_t i = 1; i < p->depth; i++) p->runners[i] = pass_runner_new(o);
}

void pipeline_free(Pipeline *p) {
    if (!p) return;
    Backend *b = p->model->backend;
    void *edges[] = {p->edges.in, p->edges.in_grad, p->edges.out, p->edges.out_grad};
    for (int i = 0; i < 4; i++)
        if (edges[i]) b->k->free(b, edges[i], p->edge_bytes);
    for (int64_t i = 1; i < p->depth; i++) pass_runner_free(p->runners[i]);
    pass_team_clear(&p->temporary);
    mem_free(p->runners);
    mem_free(p);
}

size_t pipeline_bytes(const Pipeline *p) {
    return p ? p->edge_bytes * (size_t)(2 * (p->previous >= 0) + 2 * (p->next >= 0)) : 0;
}

// The last stage runs forward and backward at once, in one arena.
size_t pipeline_arena(const Pipeline *p, const PassPlan *plan) {
    return p->next < 0 ? plan->arena : plan->arena + (size_t)(p->depth - 1) * plan->kept;
}

void pipeline_reserve(Pipeline *p, const PassPlan *plan) {
    pass_runner_reserve(p->runners[0], p->next < 0 ? plan->arena : plan->kept);
    for (int64_t i = 1; i < p->depth; i++) pass_runner_reserve(p->runners[i], plan->kept);
    if (p->next >= 0) pass_team_reserve(&p->temporary, plan->arena - plan->kept);
}

// ---- messages ----

// What one call sends to a neighbour and receives from it; bytes 0: nothing.
typedef struct Exchange {
    void *out, *in;
    size_t out_bytes, in_bytes;
} Exchange;

static int exchange(const Pipeline *p, int peer, Exchange e, Err *err) {
    GroupMessage out = {peer, e.out, e.out_bytes}, in = {peer, e.in, e.in_bytes};
    if (peer < 0) return 0;
    heartbeat_set_phase(p->ranks.heartbeat, PHASE_WAITING, 0);
    return group_exchange(p->ranks.group, e.out_bytes ? &out : NULL, e.in_bytes ? &in : NULL, err);
}

static size_t pass_bytes(const Pipeline *p, const PassRows *pass) {
    int64_t tokens = pass_runner_shape(p->runners[0], pass).tokens;
    return (size_t)(tokens * p->model->config.hidden) * dtype_info(p->model->backend->activation)->bytes;
}

int pipeline_receive(Pipeline *p, const PassRows *pass, Err *err) {
    return exchange(p, p->previous, (Exchange){.in = p->edges.in, .in_bytes = pass_bytes(p, pass)}, err);
}

int pipeline_send(Pipeline *p, const PassRows *pass, Err *err) {
    return exchange(p, p->next, (Exchange){.out = p->edges.out, .out_bytes = pass_bytes(p, pass)}, err);
}

// ---- the passes of a step ----

typedef struct Schedule {
    Trainer *t;
    Pipeline *p;
    int64_t count;                  // passes of this pipeline
    int64_t ahead;                  // of them that go forward before the first goes back
    bool graded_before, graded_own; // the gradient goes to the stage before; there is one at the end of this stage
} Schedule;

static bool find_pass(const Schedule *s, int64_t i, PassRows *pass) {
    const RankContext *r = &s->p->ranks;
    return trainer_pass(s->t, s->t->state.step, ranks_pipeline(r) + i * ranks_pipelines(r), pass);
}

static PassRows pass_at(const Schedule *s, int64_t i) {
    PassRows pass = {0};
    CHECK(find_pass(s, i, &pass), "pass %ld of %ld", i, s->count);
    return pass;
}

static Schedule schedule_of(Trainer *t) {
    Pipeline *p = t->pipeline;
    Schedule s = {.t = t, .p = p};
    PassRows pass;
    while (find_pass(&s, s.count, &pass)) s.count++;
    s.ahead = min64(ranks_stages(&p->ranks) - 1 - ranks_stage(&p->ranks), s.count);
    s.graded_before = p->previous >= 0 && graph_has_gradient_at(p->adapter, p->model->first_layer);
    s.graded_own = graph_has_gradient_at(p->adapter, p->model->end_layer);
    return s;
}

static size_t bytes_of(const Schedule *s, int64_t i) {
    PassRows pass = pass_at(s, i);
    return pass_bytes(s->p, &pass);
}

static PassRunner *runner_of(const Schedule *s, int64_t i) { return s->p->runners[i % s->p->depth]; }

static void begin_computing(const Schedule *s) {
    heartbeat_set_phase(s->p->ranks.heartbeat, pass_runner_phase(s->t->runner), s->t->now.report.step);
}

static void pack(const Schedule *s, int64_t i, const PassRows *pass) {
    double start = time_now();
    pass_runner_pack(runner_of(s, i), pass);
    s->t->data_seconds += time_now() - start;
}

static void forward(const Schedule *s, int64_t i) {
    Trainer *t = s->t;
    PassRows pass = pass_at(s, i);
    PassOptions o = trainer_options(t, t->recompute);
    begin_computing(s);
    pack(s, i, &pass);
    pass_runner_forward(runner_of(s, i), &pass, &o, trainer_pass_state(t));
}

static void backward(const Schedule *s, int64_t i) {
    Optimizer *o = s->t->optimizer;
    begin_computing(s);
    optimizer_begin_row(o);
    pass_runner_backward(runner_of(s, i));
    optimizer_end_row(o, s->t->now.rows.count);
}

// Forward and backward of the last stage.
static void both(const Schedule *s, int64_t i) {
    Trainer *t = s->t;
    PassRows pass = pass_at(s, i);
    PassOptions o = trainer_options(t, t->recompute);
    HeadTally *tally = &((StepCounts *)t->optimizer->counts)->heads;
    begin_computing(s);
    pack(s, i, &pass);
    optimizer_begin_row(t->optimizer);
    t->counts->supervised += pass_runner_start(t->runner, &pass, &o, trainer_pass_state(t), TAPE_TRAIN, tally);
    optimizer_end_row(t->optimizer, t->now.rows.count);
}

// Gradient of pass `back` to the stage before, activation of pass `next` from it; -1: none.
static int meet_before(const Schedule *s, int64_t back, int64_t next, Err *err) {
    Exchange e = {.out = s->p->edges.in_grad, .in = s->p->edges.in};
    if (back >= 0 && s->graded_before) e.out_bytes = bytes_of(s, back);
    if (next >= 0 && next < s->count) e.in_bytes = bytes_of(s, next);
    return exchange(s->p, s->p->previous, e, err);
}

// Activation of pass `next` to the stage after, gradient of pass `back` from it.
static int meet_after(const Schedule *s, int64_t next, int64_t back, Err *err) {
    Exchange e = {.out = s->p->edges.out, .in = s->p->edges.out_grad};
    if (next >= 0) e.out_bytes = bytes_of(s, next);
    if (back >= 0) e.in_bytes = bytes_of(s, back);
    return exchange(s->p, s->p->next, e, err);
}

static int run_last(const Schedule *s, Err *err) {
    if (meet_before(s, -1, 0, err)) return -1;
    for (int64_t i = 0; i < s->count; i++) {
        both(s, i);
        if (meet_before(s, i, i + 1, err)) return -1;
    }
    return 0;
}

// The first n passes forward, none of them back.
static int run_ahead(const Schedule *s, int64_t n, Err *err) {
    for (int64_t i = 0; i < n; i++) {
        if (meet_before(s, -1, i, err)) return -1;
        forward(s, i);
        if (meet_after(s, i, -1, err)) return -1;
    }
    return 0;
}

static int run_stage(const Schedule *s, Err *err) {
    if (!s->graded_own) return run_ahead(s, s->count, err);
    if (run_ahead(s, s->ahead, err) || meet_before(s, -1, s->ahead, err)) return -1;
    for (int64_t back = 0; back < s->count; back++) {
        int64_t next = s->ahead + back < s->count ? s->ahead + back : -1;
        if (next >= 0) forward(s, next);
        if (meet_after(s, next, back, err)) return -1;
        backward(s, back);
        if (meet_before(s, back, next >= 0 ? next + 1 : -1, err)) return -1;
    }
    return 0;
}

int trainer_run_pipeline(Trainer *t, Err *err) {
    Schedule s = schedule_of(t);
    t->optimizer->unscale = (float)(1 / t->state.loss_scale);
    return s.p->next < 0 ? run_last(&s, err) : run_stage(&s, err);
}
