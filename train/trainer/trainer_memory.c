// trainer_memory: what a run takes in memory, and the lightest level of recomputation with which that fits.
#include "memory_use.h"
#include "run_device.h"
#include "trainer.h"
#include "verify.h"

const char *recompute_name(Recompute level) {
    return ENUM_WORDS(RECOMPUTES)[level].word;
}

size_t trainer_arena_bytes(Trainer *t, Recompute level) {
    t->recompute = level;
    PassOptions o = trainer_options(t), eval = eval_options();
    size_t train = row_runner_plan(t->runner, &o, TAPE_TRAIN), forward = 0;
    if (t->data->eval_rows) forward = row_runner_plan(t->runner, &eval, TAPE_FORWARD);
    return train > forward ? train : forward;
}

// What the step loop will touch besides the arena: gradients, moments and their sum were only reserved so far.
static size_t untouched_bytes(const Trainer *t) {
    return (size_t)t->adapter->count * (3 * sizeof(float) + sizeof(int64_t));
}

// A process that has computed nothing yet has touched neither all of the libraries' code nor its threads' buffers:
// measured on x86-64 with 1 to 8 threads.
static size_t touched_later(const Backend *b) {
    return (8u << 20) + ((size_t)b->threads << 21);
}

// Of the host at its end, when trainer_end has freed what only steps need and the written adapter is verified.
static size_t end_bytes(const Trainer *t, size_t held) {
    if (!t->model->backend->host_memory) return 0;
    return held - untouched_bytes(t) + adapter_verify_bytes(t->model, t->adapter);
}

static const char *limit_name(bool asked, bool as_asked, bool shared) {
    if (asked && !as_asked) return "all that is free";
    if (asked) return shared ? "max_memory, shared by the ranks of this machine" : "max_memory";
    return shared ? "90% of what is free, shared by the ranks of this machine" : "90% of what is free";
}

TrainerRoom trainer_room(const Trainer *t) {
    Backend *b = t->model->backend;
    DeviceMemory m = b->k->memory(b);
    size_t asked = (size_t)t->config->max_memory, left = b->host_memory ? memory_free() : m.free;
    size_t resident = b->host_memory ? memory_resident() : m.used;
    TrainerRoom r = {.held = resident + (b->host_memory ? untouched_bytes(t) + touched_later(b) : 0)};
    if (t->model->outline) r.held += b->host_memory ? t->model->weight_bytes : t->model->device_bytes;
    r.end = end_bytes(t, r.held);
    if (b->host_memory) asked /= (size_t)t->group->local_ranks, left /= (size_t)t->group->local_ranks;
    bool shared = b->host_memory && t->group->local_ranks > 1;
    r.limit = asked ? asked : left ? resident + left / 10 * 9 : SIZE_MAX;
    if (!b->host_memory && r.limit > m.used + m.free) r.limit = m.used + m.free;
    r.why = limit_name(asked > 0, r.limit == asked, shared);
    return r;
}

// In host memory offloading moves nothing anywhere.
void trainer_levels(const Trainer *t, Recompute *from, Recompute *to) {
    int choice = t->config->gradient_checkpointing;
    Recompute most = t->model->backend->host_memory ? RECOMPUTE_BLOCKS : RECOMPUTE_OFFLOAD;
    *from = choice >= CHECKPOINT_LEVEL  ? (Recompute)(choice - CHECKPOINT_LEVEL)
            : choice == CHECKPOINT_TRUE ? RECOMPUTE_BLOCKS
                                        : RECOMPUTE_NONE;
    *to = choice == CHECKPOINT_AUTO ? most : *from;
}

size_t trainer_total_bytes(const TrainerRoom *room, size_t arena) {
    size_t steps = room->held + arena;
    return steps > room->end ? steps : room->end;
}

static int refuse(const Trainer *t, const TrainerRoom *room, size_t arena, Err *err) {
    const Backend *b = t->model->backend;
    bool on_device = !b->host_memory;
    return err_no_fit(
        err,
        "%s of %lld tokens needs %.0f MB in all%s%s: %.1f MB for model, adapter and what is there, %.1f MB "
        "for activations (gradient_checkpointing %s); expected at most %.0f MB (%s); a smaller %s%s "
        "would help",
        on_device ? "a pass" : "a row", (long long)t->runner->bounds.tokens,
        (double)trainer_total_bytes(room, arena) / 1e6, on_device ? " on " : "", b->name, (double)room->held / 1e6,
        (double)arena / 1e6, recompute_name(t->recompute), (double)room->limit / 1e6, room->why,
        on_device && t->rows_per_pass > 1 ? "per_device_train_batch_size or " : "", "max_seq_length");
}

// What is offloaded needs room where it goes, which is pinned there.
static int check_host_room(Trainer *t, Err *err) {
    if (t->recompute != RECOMPUTE_OFFLOAD || t->model->backend->host_memory) return 0;
    PassOptions o = trainer_options(t);
    row_runner_plan(t->runner, &o, TAPE_TRAIN);
    size_t bytes = tape_stats(t->runner->tape).offloaded_bytes, left = memory_free();
    if (!left || bytes <= left / 10 * 9) return 0;
    return err_no_fit(
        err,
        "gradient_checkpointing offload moves %.0f MB of block inputs to host memory; %.0f MB are free there "
        "(90%%); a smaller per_device_train_batch_size or max_seq_length would help",
        (double)bytes / 1e6, (double)left / 10 * 9 / 1e6);
}

int trainer_fit_memory(Trainer *t, Err *err) {
    Backend *b = t->model->backend;
    if (run_device_check(b, err)) return -1; // model, adapter and moments lie there already
    TrainerRoom room = trainer_room(t);
    Recompute level, heaviest;
    size_t arena;
    trainer_levels(t, &level, &heaviest);
    while (arena = trainer_arena_bytes(t, level), trainer_total_bytes(&room, arena) > room.limit && level < heaviest)
        level++;
    t->planned_bytes = trainer_total_bytes(&room, arena);
    if (t->planned_bytes > room.limit) return refuse(t, &room, arena, err);
    if (check_host_room(t, err)) return -1;
    row_runner_reserve(t->runner, arena);
    return run_device_check(b, err);
}
