#include "pass_runner.h"

#include <math.h>
#include <string.h>

#include "fnv.h"
#include "graph.h"
#include "profile.h"
#include "trainer_internal.h"

int64_t rows_in_pass(const Backend *b, int64_t wanted) { return b->host_memory ? 1 : wanted; }

void pass_bounds_add(PassShape *bounds, const RowPlan *p, int64_t rows) {
    if (!p) return;
    int64_t n = rows < p->count ? rows : p->count;
    RowSize most = p->most;
    bounds->tokens = max64(bounds->tokens, n * most.tokens);
    bounds->samples = max64(bounds->samples, n * most.samples);
    bounds->scored = max64(bounds->scored, n * most.supervised);
    bounds->longest = max64(bounds->longest, most.longest_sample);
}

// ---- shapes ----

// Rounds up to a multiple of 1/parts of the next power of two.
static int64_t rounded(int64_t n, int64_t least, int64_t parts) {
    int64_t power = least;
    while (power < n) power *= 2;
    int64_t step = max64(least, power / parts);
    return (n + step - 1) / step * step;
}

// n at most `most`, the largest of the run: as a bound of its passes it is no longer rounded.
static int64_t rounded_within(int64_t n, int64_t least, int64_t most) {
    return max64(n, min64(rounded(n, least, 1), most));
}

// Tokens cost most and are rounded least: at most 1/16 is padding. most: of the run, or of s itself.
static PassShape bucket(const Backend *b, PassShape s, const PassShape *most) {
    if (b->host_memory) return s;
    PassShape r = {.tokens = rounded(s.tokens, 16, 32),
                   .samples = rounded_within(s.samples, 1, most->samples),
                   .scored = rounded(s.scored, 16, 16),
                   .longest = rounded_within(s.longest, 64, most->longest)};
    if (r.scored > r.tokens) r.scored = r.tokens;
    return r;
}

PassRunner *pass_runner_new(const PassRunnerOptions *o) {
    Backend *b = o->model->backend;
    PassRunner *r = mem_calloc(1, sizeof *r);
    r->model = o->model;
    r->adapter = o->adapter;
    r->bounds = bucket(b, o->bounds, &o->bounds);
    r->eval_rows = o->eval_rows;
    r->ranks = o->ranks;
    r->team = o->team;
    r->pipeline = o->pipeline;
    r->tape = tape_new(b);
    if (r->team) tape_share_workspace(r->tape);
    r->preference = o->preference;
    if (o->preference) r->kl = *o->preference;
    r->kl.loss.kind = PREFERENCE_KL;
    bool each = r->adapter && problem_is_each(r->adapter->config.problem);
    PassExtras extras = {o->preference != NULL, each ? r->adapter->config.labels : 0, r->bounds.scored, {0, false}};
    r->teacher = o->teacher;
    if (r->teacher) extras.soft = teacher_inputs(r->teacher);
    r->vectors = o->vectors;
    r->inputs = o->vectors ? pass_inputs_new_embeddings(r->model, r->bounds.tokens, r->bounds.samples)
                           : pass_inputs_new_with(r->model, r->bounds.tokens, r->bounds.samples, extras);
    r->tally = b->k->alloc(b, sizeof *r->tally);
    if (r->adapter && r->adapter->config.labels)
        r->predicted = mem_calloc((size_t)r->bounds.scored + 1, sizeof *r->predicted);
    if (each) r->logits = mem_calloc((size_t)(r->bounds.scored * extras.width) + 1, sizeof *r->logits);
    return r;
}

// Recorded passes hold addresses.
static void forget(PassRunner *r) {
    r->model->backend->k->forget(r->model->backend);
    r->n_seen = 0;
}

static void release_arena(PassRunner *r) {
    Backend *b = r->model->backend;
    forget(r);
    if (r->arena) b->k->free(b, r->arena, r->arena_bytes);
    r->arena = NULL;
    r->arena_bytes = 0;
}

void pass_runner_free(PassRunner *r) {
    if (!r) return;
    Backend *b = r->model->backend;
    release_arena(r);
    b->k->free(b, r->tally, sizeof *r->tally);
    pass_inputs_free(r->inputs);
    vectors_free(r->vectors);
    tape_free(r->tape);
    row_clear(&r->row);
    mem_free(r->packed_rows);
    mem_free(r->predicted);
    mem_free(r->logits);
    mem_free(r);
}

static size_t build(PassRunner *r, const PassOptions *o, TapeMode mode) {
    PassOptions all = *o;
    all.preference = r->packed.mismatched ? &r->kl : r->preference;
    all.teacher = r->teacher ? &r->teacher->pass : NULL;
    all.edges = r->pipeline ? &r->pipeline->edges : NULL;
    tape_reset(r->tape);
    (r->vectors ? graph_build_vectors : graph_build_loss)(r->tape, r->model, r->adapter, r->inputs, &all);
    return tape_plan(r->tape, mode);
}

PassPlan pass_runner_build_largest(PassRunner *r, const PassOptions *o, TapeMode mode) {
    pass_inputs_shape(r->inputs, r->bounds); // building reads the counts only
    r->packed = (PassRows){0};
    size_t arena = build(r, o, mode);
    TapeStats stats = tape_stats(r->tape);
    return (PassPlan){arena, stats.kept_bytes, stats.offloaded_bytes, r->bounds, r->tape};
}

void pass_runner_reserve(PassRunner *r, size_t bytes) {
    if (bytes <= r->arena_bytes) return;
    release_arena(r);
    r->arena = r->model->backend->k->alloc(r->model->backend, bytes);
    r->arena_bytes = bytes;
}

// ---- a pass ----

static bool is_packed(const PassRunner *r, const PassRows *p) {
    const PassRows *q = &r->packed;
    return q->count == p->count && q->dataset == p->dataset && q->plan == p->plan && q->first == p->first &&
           q->epoch == p->epoch && q->mismatched == p->mismatched &&
           memcmp(r->packed_rows, p->rows, (size_t)p->count * sizeof *p->rows) == 0;
}

PassShape pass_runner_shape(const PassRunner *r, const PassRows *p) {
    PassShape s = {0};
    for (int64_t i = 0; i < p->count; i++) {
        RowSize row = row_plan_row(p->plan, p->rows[i]);
        s.tokens += row.tokens;
        s.samples += row.samples;
        s.scored += row.supervised;
        s.longest = max64(s.longest, row.longest_sample);
    }
    return bucket(r->model->backend, s, &r->bounds);
}

// The row plan has no sizes of mismatched sequences, and only the most of masked ones.
static PassShape shape_of_row(const PassRunner *r) {
    const Row *row = &r->row;
    PassShape s = {row->tokens, row->samples, row->scored, 0};
    for (int64_t i = 0; i < row->samples; i++) s.longest = max64(s.longest, row->start[i + 1] - row->start[i]);
    return bucket(r->model->backend, s, &r->bounds);
}

HeartbeatPhase pass_runner_phase(const PassRunner *r) {
    return r->model->backend->host_memory ? PHASE_COMPUTING_ON_CPU : PHASE_COMPUTING;
}

static void fill_soft(const PassRunner *r, const PassRows *p) {
    int32_t *ids;
    float *values;
    pass_inputs_soft(r->inputs, &ids, &values);
    teacher_logits_fill(r->teacher->file, p->dataset, p->plan, p->rows, p->count, ids, values);
}

void pass_runner_pack(PassRunner *r, const PassRows *p) {
    if (is_packed(r, p)) return;
    profile_begin(r->model->backend, PROFILE_DATA);
    MEM_GROW(r->packed_rows, r->packed_capacity, p->count);
    memcpy(r->packed_rows, p->rows, (size_t)p->count * sizeof *p->rows);
    r->packed = *p;
    if (p->mismatched)
        row_fill_mismatched(&r->row, p->dataset, p->plan, p->rows, p->count);
    else
        row_fill_several(&r->row, p->dataset, p->plan, p->rows, p->count, p->epoch);
    PassShape shape = p->mismatched || p->dataset->masked ? shape_of_row(r) : pass_runner_shape(r, p);
    pass_inputs_pack(r->inputs, &r->row, shape, r->model->config.hidden, p->first);
    if (r->teacher && r->teacher->file) fill_soft(r, p);
    profile_end(r->model->backend);
}

static uint64_t float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// Of everything that determines the recorded calls; the rest is read from device memory.
static uint64_t pass_key(const PassRunner *r, const PassOptions *o, TapeMode mode) {
    const PassShape *s = &r->inputs->shape;
    const uint64_t parts[] = {(uint64_t)s->tokens,
                              (uint64_t)s->samples,
                              (uint64_t)s->scored,
                              (uint64_t)s->longest,
                              (uint64_t)mode,
                              (uint64_t)o->recompute,
                              float_bits(o->dropout),
                              float_bits(o->neftune_alpha),
                              float_bits(o->label_smoothing),
                              o->seed,
                              (uint64_t)r->packed.mismatched,
                              (uintptr_t)r->adapter,
                              (uintptr_t)r->inputs->block,
                              (uintptr_t)r->arena};
    return fnv64(FNV64_START, parts, sizeof parts);
}

static bool was_seen(const PassRunner *r, uint64_t key) {
    int64_t n = r->n_seen < RUNNER_SHAPES ? r->n_seen : RUNNER_SHAPES;
    for (int64_t i = 0; i < n; i++)
        if (r->seen[i] == key) return true;
    return false;
}

// The arena is not monotone in the shape: a pass may need a little more than the largest one.
static void build_and_reserve(PassRunner *r, const PassOptions *o, TapeMode mode) {
    Backend *b = r->model->backend;
    profile_begin(b, PROFILE_GRAPH);
    pass_runner_reserve(r, build(r, o, mode));
    profile_end(b);
}

static void run_tape(PassRunner *r, const PassOptions *o, TapeMode mode) {
    Backend *b = r->model->backend;
    if (b->k->replay(b, pass_key(r, o, mode))) return;
    build_and_reserve(r, o, mode);
    size_t offloaded = tape_stats(r->tape).offloaded_bytes;
    if (offloaded > r->offloaded_bytes) {
        forget(r);
        r->offloaded_bytes = offloaded;
    }
    uint64_t key = pass_key(r, o, mode);
    bool known = was_seen(r, key);
    if (known) b->k->record(b, key);
    tape_run(r->tape, r->arena);
    if (known && !b->k->record_end(b)) tape_run(r->tape, r->arena);
    if (!known) r->seen[r->n_seen++ % RUNNER_SHAPES] = key;
}

// What the pass reads and writes besides its inputs.
static void begin_pass(PassRunner *r, const PassRows *p, PassState state, TapeMode mode) {
    pass_runner_pack(r, p);
    pass_inputs_send(r->inputs, state);
    if (r->vectors && mode == TAPE_TRAIN) vectors_gradient(r->vectors, p->first, r->inputs->vectors, r->row.samples);
}

static void end_pass(PassRunner *r, const PassRows *p, TapeMode mode, HeadTally *tally) {
    Backend *b = r->model->backend;
    if (!model_is_last(r->model)) return;
    if (!r->vectors)
        b->k->tally(b, tally, r->inputs->result);
    else if (mode == TAPE_FORWARD)
        vectors_put(r->vectors, p->first, r->inputs->vectors, r->row.samples);
}

int64_t pass_runner_start(PassRunner *r, const PassRows *p, const PassOptions *o, PassState state, TapeMode mode,
                          HeadTally *tally) {
    if (r->team) {
        PassStart one = {r, *p, *o, state, tally, 0};
        pass_runners_start(&one, 1, mode);
        return one.scored;
    }
    PassOptions with_row = *o;
    with_row.row = (uint32_t)p->first;
    begin_pass(r, p, state, mode);
    run_tape(r, &with_row, mode);
    end_pass(r, p, mode, tally);
    return model_is_last(r->model) ? r->row.scored : 0;
}

void pass_runner_forward(PassRunner *r, const PassRows *p, const PassOptions *o, PassState state) {
    PassOptions with_row = *o;
    with_row.row = (uint32_t)p->first;
    begin_pass(r, p, state, TAPE_TRAIN);
    build(r, &with_row, TAPE_TRAIN);
    TapeStats stats = tape_stats(r->tape);
    pass_runner_reserve(r, stats.kept_bytes);
    pass_team_reserve(&r->pipeline->temporary, stats.temporary_bytes);
    tape_run_forward(r->tape, r->arena, r->pipeline->temporary.workspace);
}

void pass_runner_backward(PassRunner *r) { tape_run_backward(r->tape, r->arena, r->pipeline->temporary.workspace); }

void pass_runners_start(PassStart *starts, size_t n, TapeMode mode) {
    PassTeam *team = starts->runner->team;
    AUTO_FREE Tape **tapes = mem_alloc(n, sizeof *tapes);
    AUTO_FREE void **arenas = mem_alloc(n, sizeof *arenas);
    for (size_t i = 0; i < n; i++) {
        PassStart *s = &starts[i];
        PassRunner *r = s->runner;
        s->options.row = (uint32_t)s->pass.first;
        begin_pass(r, &s->pass, s->state, mode);
        build_and_reserve(r, &s->options, mode);
        tapes[i] = r->tape;
        arenas[i] = r->arena;
    }
    pass_team_reserve(team, tapes_workspace(tapes, n));
    tapes_run(tapes, arenas, n, team->workspace);
    for (size_t i = 0; i < n; i++) {
        end_pass(starts[i].runner, &starts[i].pass, mode, starts[i].tally);
        starts[i].scored = starts[i].runner->row.scored;
    }
}

void pass_team_reserve(PassTeam *t, size_t bytes) {
    if (bytes <= t->bytes) return;
    pass_team_clear(t);
    t->workspace = t->backend->k->alloc(t->backend, bytes);
    t->bytes = bytes;
}

void pass_team_clear(PassTeam *t) {
    if (t->workspace) t->backend->k->free(t->backend, t->workspace, t->bytes);
    t->workspace = NULL;
    t->bytes = 0;
}

double pass_runner_sum(const HeadTally *t, const ExactSum *sum) {
    return t->bad ? NAN : (double)sum->whole + (double)sum->fraction * 0x1p-32;
}

double pass_runner_loss(const HeadTally *t) { return pass_runner_sum(t, &t->loss); }

const int32_t *pass_runner_predicted(PassRunner *r) {
    Backend *b = r->model->backend;
    CHECK(r->predicted, "not a classifier");
    b->k->download(b, r->predicted, r->inputs->predicted, (size_t)r->row.scored * sizeof(int32_t));
    return r->predicted;
}

const float *pass_runner_logits(PassRunner *r) {
    Backend *b = r->model->backend;
    CHECK(r->logits, "not a classifier with values");
    b->k->download(b, r->logits, r->inputs->logits, (size_t)(r->row.scored * r->row.width) * sizeof(float));
    return r->logits;
}
