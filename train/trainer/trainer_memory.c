// trainer_memory: the memory of a run, and the lightest level of recomputation that fits it.
#include "memory_use.h"
#include "run_device.h"
#include "trainer_internal.h"

const char *recompute_name(Recompute level) { return ENUM_WORDS(RECOMPUTES)[level].word; }

PassPlan trainer_build_level(Trainer *t, Recompute level) {
    PassOptions o = trainer_options(t, level);
    size_t forward = 0;
    if (t->in.data->eval_rows) forward = pass_runner_build_largest(t->runner, &PASS_OPTIONS_EVAL, TAPE_FORWARD).arena;
    PassPlan p = pass_runner_build_largest(t->runner, &o, TAPE_TRAIN);
    if (p.arena < forward) p.arena = forward;
    return p;
}

// Gradients, moments and their sum, soft targets, the table of vectors: reserved, but not touched before the first
// step. A start is written with the parameters to snapshots as plain LoRA, which is built first.
static size_t untouched_bytes(const Trainer *t) {
    size_t soft = t->in.teacher ? pass_inputs_soft_bytes(teacher_inputs(t->in.teacher), t->runner->bounds.scored) : 0;
    size_t plain = t->in.adapter->start ? 4 * sizeof(float) : 0;
    return (size_t)t->in.adapter->count * (3 * sizeof(float) + sizeof(int64_t) + plain) + soft +
           vectors_bytes(t->runner->vectors) + pipeline_bytes(t->pipeline);
}

// Code of libraries and buffers of threads that a process touches only when it computes: measured on x86-64 with 1 to 8
// threads.
static size_t touched_later(const Backend *b) { return (2u << 20) + ((size_t)b->threads << 21); }

static const char *limit_name(bool asked, bool as_asked, bool shared) {
    if (asked && !as_asked) return "all that is free";
    if (asked) return shared ? "max_memory, shared by the ranks of this machine" : "max_memory";
    return shared ? "90% of what is free, shared by the ranks of this machine" : "90% of what is free";
}

MemoryBudget trainers_memory_budget(Trainer *const *trainers, size_t n) {
    const Trainer *t = trainers[0];
    const Model *model = t->in.model;
    Backend *b = model->backend;
    DeviceMemory m = b->k->memory(b);
    size_t asked = (size_t)t->in.config->max_memory, left = b->host_memory ? memory_free() : m.free;
    size_t resident = b->host_memory ? memory_resident() : m.used, ranks = (size_t)t->in.ranks->group->local_ranks;
    MemoryBudget r = {.held = resident + (b->host_memory ? touched_later(b) : 0)};
    for (size_t i = 0; i < n && b->host_memory; i++) r.held += untouched_bytes(trainers[i]);
    // The pages of a streamed model were dropped when it was loaded.
    if (model->outline || (b->host_memory && model->stream)) r.held += model_memory_bytes(model);
    for (size_t i = 0; i < n && model->outline; i++)
        if (trainers[i]->in.teacher) r.held += teacher_bytes(trainers[i]->in.teacher);
    if (b->host_memory) asked /= ranks, left /= ranks;
    r.limit = asked ? asked : left ? resident + left / 10 * 9 : SIZE_MAX;
    if (!b->host_memory && r.limit > m.used + m.free) r.limit = m.used + m.free;
    r.reason = limit_name(asked > 0, r.limit == asked, b->host_memory && ranks > 1);
    return r;
}

// With host memory there is nothing to offload to.
void trainer_levels(const Trainer *t, Recompute *from, Recompute *to) {
    int choice = t->in.config->gradient_checkpointing;
    Recompute most = t->in.model->backend->host_memory ? RECOMPUTE_BLOCKS : RECOMPUTE_OFFLOAD;
    *from = choice >= CHECKPOINT_LEVEL  ? (Recompute)(choice - CHECKPOINT_LEVEL)
            : choice == CHECKPOINT_TRUE ? RECOMPUTE_BLOCKS
                                        : RECOMPUTE_NONE;
    *to = choice == CHECKPOINT_AUTO ? most : *from;
}

// Copies of weights take what max_memory leaves above `taken`, less the 3% by which a plan may err.
static size_t kept_bytes(const Trainer *t, const MemoryBudget *m, size_t taken) {
    size_t most = m->limit - m->limit / 32;
    bool may = t->in.config->max_memory && !t->in.model->stream;
    return may && taken < most ? model_kept_bytes(t->in.model, most - taken) : 0;
}

// Of several runs each computes one pass in a turn (several_runs.c).
static int64_t turns(const Trainer *t) {
    return t->plan.total_steps * ((t->plan.rows_per_step + t->plan.rows_per_pass - 1) / t->plan.rows_per_pass);
}

// What a trainer frees at its end (trainer_end).
static int64_t freed_bytes(const Trainer *t, size_t arena) { return (int64_t)(arena + untouched_bytes(t)); }

// The most that the ends take above the memory of the steps: those that have ended by then have freed theirs.
static int64_t most_at_end(Trainer *const *trainers, const size_t *arenas, size_t n) {
    int64_t most = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        int64_t taken = (int64_t)trainers[i]->in.end_bytes - freed_bytes(trainers[i], arenas[i]);
        for (size_t k = 0; k < n; k++) {
            int64_t later = turns(trainers[k]) - turns(trainers[i]);
            if (later < 0 || (later == 0 && k < i)) taken -= freed_bytes(trainers[k], arenas[k]);
        }
        most = max64(most, taken);
    }
    return most;
}

MemoryPlan trainers_plan_memory(Trainer *const *trainers, size_t n, const MemoryBudget *m, Recompute level) {
    MemoryPlan all = {0};
    AUTO_FREE Tape **tapes = mem_alloc(n, sizeof *tapes);
    AUTO_FREE size_t *arenas = mem_alloc(n, sizeof *arenas);
    for (size_t i = 0; i < n; i++) {
        PassPlan p = trainer_build_level(trainers[i], level);
        arenas[i] = trainers[i]->pipeline ? pipeline_arena(trainers[i]->pipeline, &p) : p.arena;
        all.arena += arenas[i];
        all.offloaded += p.offloaded;
        all.tokens += p.shape.tokens;
        tapes[i] = p.tape;
    }
    if (trainers[0]->in.team) all.workspace = tapes_workspace(tapes, n);
    all.arena += all.workspace;
    all.total = m->held + all.arena;
    if (trainers[0]->in.model->backend->host_memory)
        all.end = (size_t)((int64_t)all.total + most_at_end(trainers, arenas, n));
    if (all.total < all.end) all.total = all.end;
    all.kept = kept_bytes(trainers[0], m, all.total);
    all.total += all.kept;
    if (all.end) all.end += all.kept;
    return all;
}

static int refuse(Trainer *const *trainers, size_t n, const MemoryBudget *m, const MemoryPlan *p, Err *err) {
    const Trainer *t = trainers[0];
    const Backend *b = t->in.model->backend;
    bool on_device = !b->host_memory, too_little = m->held >= m->limit; // for rows of any length
    return err_no_fit(err,
                      "%s of %ld token%s%s needs %.0f MB in all%s%s: %.1f MB for model, adapter%s and process, %.1f MB "
                      "for activations (gradient_checkpointing %s); expected at most %.0f MB (%s); %s%s%s%s",
                      on_device ? "a pass" : "a row", p->tokens, plural(p->tokens),
                      n > 1 ? ", of all runs together," : "", (double)p->total / 1e6, on_device ? " on " : "", b->name,
                      (double)m->held / 1e6, n > 1 ? "s" : "", (double)p->arena / 1e6, recompute_name(t->recompute),
                      (double)m->limit / 1e6, m->reason, too_little ? "shorter rows do not help" : "lower ",
                      on_device && t->plan.rows_per_pass > 1 && !too_little ? "per_device_train_batch_size or " : "",
                      too_little ? "" : "max_seq_length",
                      !on_device || t->in.model->stream ? ""
                      : too_little                      ? ", base_memory host may"
                                                        : ", or base_memory host");
}

// Offloaded block inputs are pinned in host memory.
static int check_host_room(const Trainer *t, const MemoryPlan *p, Err *err) {
    size_t left = memory_free();
    if (t->recompute != RECOMPUTE_OFFLOAD || t->in.model->backend->host_memory) return 0;
    if (!left || p->offloaded <= left / 10 * 9) return 0;
    return err_no_fit(err,
                      "gradient_checkpointing offload moves %.0f MB of block inputs to host memory; expected at most "
                      "%.0f MB (90%% of what is free there); lower per_device_train_batch_size or max_seq_length",
                      (double)p->offloaded / 1e6, (double)left / 10 * 9 / 1e6);
}

int trainers_fit_memory(Trainer *const *trainers, size_t n, Err *err) {
    const Trainer *t = trainers[0];
    Backend *b = t->in.model->backend;
    if (run_device_check(b, err)) return -1; // of the allocations of model, adapters and moments
    MemoryBudget m = trainers_memory_budget(trainers, n);
    Recompute level, heaviest;
    trainer_levels(t, &level, &heaviest);
    MemoryPlan p = trainers_plan_memory(trainers, n, &m, level);
    while (p.total > m.limit && level < heaviest) p = trainers_plan_memory(trainers, n, &m, ++level);
    for (size_t i = 0; i < n; i++) {
        trainers[i]->recompute = level;
        trainers[i]->planned_bytes = p.total;
        trainers[i]->kept_bytes = p.kept;
    }
    if (p.total > m.limit) return refuse(trainers, n, &m, &p, err);
    if (check_host_room(t, &p, err)) return -1;
    if (n == 1) trainers[0]->hint = trainer_batch_hint(t, m.limit, p.arena, p.total);
    if (t->in.team) pass_team_reserve(t->in.team, p.workspace);
    for (size_t i = 0; i < n; i++) {
        PassPlan largest = trainer_build_level(trainers[i], level);
        if (trainers[i]->pipeline)
            pipeline_reserve(trainers[i]->pipeline, &largest);
        else
            pass_runner_reserve(trainers[i]->runner, largest.arena);
    }
    return run_device_check(b, err);
}

int trainer_fit_memory(Trainer *t, Err *err) { return trainers_fit_memory(&t, 1, err); }

BatchHint trainer_hint(const Trainer *t) { return t->hint; }

Recompute trainer_recompute(const Trainer *t) { return t->recompute; }

size_t trainer_planned_bytes(const Trainer *t) { return t->planned_bytes; }

size_t trainer_kept_bytes(const Trainer *t) { return t->kept_bytes; }
