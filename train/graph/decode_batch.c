// decode_batch: a run computes one piece of each request: the rest of its prompt (bounded, so that memory stays small),
// or its last token.
#include "decode_batch.h"

#include <math.h>
#include <string.h>

#include "decode_engine.h"
#include "logits.h"
#include "token_choice.h"

enum { PREFILL_TOKENS = 256 }; // of one run, unless there are more slots

typedef struct Slot {
    DecodeState state;
    DecodeRequest r;
    const Adapter *adapter; // of the tokens in the cache
    int32_t *ids;           // [capacity] the tokens in the cache and the next one
    int64_t past;           // tokens in the cache
    int64_t known;          // tokens in ids
    size_t capacity;        // of answer->ids
    ConstraintText text;    // the answer, under a constraint
} Slot;

struct DecodeBatch {
    DecodeEngine *engine;
    const Model *m;
    int64_t capacity; // tokens of one request
    Slot *slots;      // [n]
    int64_t n;
    DecodePiece *pieces; // [n] of the current run
    int32_t *picked;     // [n]
    TokenChoice *choice; // NULL until a request needs more than the most likely token
};

// Tokens of one run.
static int64_t run_tokens(int64_t slots) { return max64(slots, PREFILL_TOKENS); }

size_t decode_batch_bytes(const Model *m, int64_t slots, int64_t capacity, int64_t adapters) {
    return decode_engine_bytes(m, slots, capacity, run_tokens(slots), min64(adapters, slots));
}

DecodeBatch *decode_batch_new(const Model *m, int64_t slots, int64_t capacity) {
    DecodeBatch *b = mem_calloc(1, sizeof *b);
    *b = (DecodeBatch){.m = m, .capacity = capacity, .n = slots};
    b->engine = decode_engine_new(m, slots, capacity, run_tokens(slots));
    b->slots = mem_calloc((size_t)slots, sizeof *b->slots);
    b->pieces = mem_alloc((size_t)slots, sizeof *b->pieces);
    b->picked = mem_alloc((size_t)slots, sizeof *b->picked);
    for (int64_t s = 0; s < slots; s++) b->slots[s].ids = mem_alloc((size_t)capacity + 1, sizeof(int32_t));
    return b;
}

void decode_batch_free(DecodeBatch *b) {
    if (!b) return;
    decode_engine_free(b->engine);
    for (int64_t s = 0; s < b->n; s++) {
        constraint_end(&b->slots[s].text);
        mem_free(b->slots[s].ids);
    }
    mem_free(b->slots);
    mem_free(b->pieces);
    mem_free(b->picked);
    token_choice_free(b->choice);
    mem_free(b);
}

// ---- requests ----

static int check_options(const GenerateOptions *o, Err *err) {
    if (o->max_new_tokens < 1) return err_input(err, "max_new_tokens is %ld; expected at least 1", o->max_new_tokens);
    if (!(o->temperature >= 0) || !isfinite(o->temperature))
        return err_input(err, "temperature is %g; expected a finite number, 0 or more", (double)o->temperature);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return err_input(err, "top_p is %g; expected 0 < top_p <= 1", (double)o->top_p);
    return 0;
}

int decode_request_check(const Model *m, const DecodeRequest *r, int64_t capacity, Err *err) {
    if (check_options(r->how, err)) return -1;
    if (r->prompt.count < 1 || r->prompt.count > capacity)
        return err_input(err, "prompt %ld has %ld tokens; expected 1 to %ld", r->index, r->prompt.count, capacity);
    return model_check_ids(m, r->prompt.ids, r->prompt.count, err) ? err_context(err, "prompt %ld", r->index) : 0;
}

// Tokens of the prompt that the cache holds; the last one is always computed, for its logits.
static int64_t known_prefix(const Slot *s, const DecodeRequest *r) {
    int64_t known = 0, most = r->adapter == s->adapter ? min64(s->past, r->prompt.count - 1) : 0;
    while (known < most && s->ids[known] == r->prompt.ids[known]) known++;
    return known;
}

// The free slot that holds most of the prompt; of equals the one that loses least.
static Slot *best_slot(DecodeBatch *b, const DecodeRequest *r) {
    Slot *best = NULL;
    int64_t most = 0;
    for (Slot *s = b->slots; s < b->slots + b->n; s++) {
        if (s->state != DECODE_FREE) continue;
        int64_t known = known_prefix(s, r);
        if (best && (known < most || (known == most && s->past >= best->past))) continue;
        best = s;
        most = known;
    }
    CHECK(best, "no free slot");
    return best;
}

int64_t decode_batch_add(DecodeBatch *b, const DecodeRequest *r) {
    Slot *s = best_slot(b, r);
    s->past = known_prefix(s, r);
    s->state = DECODE_RUNNING;
    s->r = *r;
    s->adapter = r->adapter;
    s->known = r->prompt.count;
    s->capacity = 0;
    memcpy(s->ids, r->prompt.ids, (size_t)r->prompt.count * sizeof *s->ids);
    generation_clear(r->answer);
    if ((r->how->temperature > 0 || r->how->constraint) && !b->choice)
        b->choice = token_choice_new(b->engine, b->m->config.vocab);
    if (r->how->constraint) constraint_begin(r->how->constraint, &s->text);
    return s - b->slots;
}

const char *decode_fault(DecodeState s) {
    switch (s) {
    case DECODE_NOT_FINITE: return "a logit is not finite";
    case DECODE_DEAD_END:
        return "no token of the vocabulary continues the answer as its schema, regex or grammar demands";
    case DECODE_GAVE_UP: return "the schema or grammar is too ambiguous: the answer so far fits in too many ways";
    default: return NULL;
    }
}

DecodeState decode_batch_state(const DecodeBatch *b, int64_t slot) { return b->slots[slot].state; }

void decode_batch_release(DecodeBatch *b, int64_t slot) {
    constraint_end(&b->slots[slot].text);
    b->slots[slot].state = DECODE_FREE;
}

void decode_batch_forget(DecodeBatch *b, const Adapter *a) {
    for (Slot *s = b->slots; s < b->slots + b->n; s++)
        if (s->adapter == a) s->past = 0;
}

// ---- one run ----

static bool in_prompt(const Slot *s) { return s->past < s->r.prompt.count; }

static void add_piece(DecodeBatch *b, int64_t *n_pieces, int64_t *budget, int64_t slot, bool prefill) {
    const Slot *s = &b->slots[slot];
    if (s->state != DECODE_RUNNING || prefill != in_prompt(s) || *budget == 0) return;
    int64_t count = min64(s->known - s->past, *budget);
    b->pieces[(*n_pieces)++] = (DecodePiece){.adapter = s->r.adapter,
                                             .sequence = slot,
                                             .past = s->past,
                                             .count = count,
                                             .length = s->known,
                                             .ids = s->ids + s->past};
    *budget -= count;
}

// Neighbours for those with the same adapter, in the order of the first of each.
static void order_by_adapter(DecodePiece *pieces, int64_t n) {
    for (int64_t i = 0, next; i < n; i = next) {
        next = i + 1;
        for (int64_t k = next; k < n; k++) {
            if (pieces[k].adapter != pieces[i].adapter) continue;
            DecodePiece same = pieces[k];
            memmove(pieces + next + 1, pieces + next, (size_t)(k - next) * sizeof *pieces);
            pieces[next++] = same;
        }
    }
}

// Requests that already answer come first: a long prompt does not delay them.
static int64_t choose_pieces(DecodeBatch *b) {
    int64_t n = 0, budget = run_tokens(b->n);
    for (int64_t s = 0; s < b->n; s++) add_piece(b, &n, &budget, s, false);
    for (int64_t s = 0; s < b->n; s++) add_piece(b, &n, &budget, s, true);
    order_by_adapter(b->pieces, n);
    return n;
}

// Gives the request its next token, or ends it.
static void accept(DecodeBatch *b, Slot *s, int32_t id) {
    const GenerateOptions *o = s->r.how;
    Generation *g = s->r.answer;
    g->stopped = id == TOKEN_END || generate_is_stop(o, id);
    if (g->stopped || id < 0) {
        s->state = g->stopped            ? DECODE_ENDED
                   : id == TOKEN_NONE    ? DECODE_DEAD_END
                   : id == TOKEN_GAVE_UP ? DECODE_GAVE_UP
                                         : DECODE_NOT_FINITE;
        return;
    }
    if (o->constraint) {
        constraint_add(o->constraint, &s->text, id);
        g->complete = constraint_complete(o->constraint, &s->text);
    }
    MEM_GROW(g->ids, s->capacity, (size_t)g->count + 1);
    g->ids[g->count++] = s->ids[s->known++] = id;
    bool end = o->on_token && o->on_token(o->user, s->r.index, id);
    if (end || g->count == o->max_new_tokens || s->past == b->capacity) s->state = DECODE_ENDED;
}

void decode_batch_step(DecodeBatch *b) {
    int64_t n = choose_pieces(b);
    if (n == 0) return;
    decode_engine_run(b->engine, b->pieces, n);
    decode_engine_argmax(b->engine, b->picked);
    for (int64_t i = 0; i < n; i++) {
        Slot *s = &b->slots[b->pieces[i].sequence];
        s->past += b->pieces[i].count;
        if (in_prompt(s)) continue;
        TokenPlace place = {.row = i, .best = b->picked[i], .number = s->r.answer->count, .prompt = s->r.index};
        accept(b, s, token_choose(b->choice, s->r.how, &s->text, &place));
    }
}
