#include "token_choice.h"

#include <math.h>
#include <string.h>

#include "token_sampler.h"

struct TokenChoice {
    DecodeEngine *engine;
    int64_t vocab;
    float *logits;     // [vocab]
    uint64_t *allowed; // a bit for each token, under a constraint
    TokenSampler *sampler;
};

static size_t words_of(int64_t vocab) { return ((size_t)vocab + 63) / 64; }

TokenChoice *token_choice_new(DecodeEngine *e, int64_t vocab) {
    TokenChoice *c = mem_alloc(1, sizeof *c);
    *c = (TokenChoice){.engine = e, .vocab = vocab, .sampler = token_sampler_new(vocab)};
    c->logits = mem_alloc((size_t)vocab, sizeof *c->logits);
    c->allowed = mem_alloc(words_of(vocab), sizeof *c->allowed);
    return c;
}

void token_choice_free(TokenChoice *c) {
    if (!c) return;
    mem_free(c->logits);
    mem_free(c->allowed);
    token_sampler_free(c->sampler);
    mem_free(c);
}

bool generate_is_stop(const GenerateOptions *o, int32_t id) {
    for (size_t i = 0; i < o->n_stop; i++)
        if (o->stop[i] == id) return true;
    return false;
}

static int32_t draw(TokenChoice *c, const GenerateOptions *o, const TokenPlace *p) {
    RngKey key = {
        .seed = o->seed, .stream = (uint32_t)p->number, .module = rng_module("sample"), .row = (uint32_t)p->prompt};
    return token_sampler_draw(c->sampler, c->logits, o->temperature, o->top_p, key);
}

// ---- under a constraint ----

static bool allows(const GenerateOptions *o, const ConstraintText *text, int32_t id) {
    if (generate_is_stop(o, id)) return constraint_complete(o->constraint, text);
    return constraint_allows(o->constraint, text, id);
}

static bool gave_up(const GenerateOptions *o) { return o->constraint && constraint_gave_up(o->constraint); }

// Stop tokens end an answer, whatever their text is.
static void allow_stops(TokenChoice *c, const GenerateOptions *o, bool complete) {
    for (size_t i = 0; i < o->n_stop; i++) {
        int32_t id = o->stop[i];
        if (id < 0 || id >= c->vocab) continue;
        uint64_t bit = 1ull << (id % 64);
        c->allowed[id / 64] = complete ? c->allowed[id / 64] | bit : c->allowed[id / 64] & ~bit;
    }
}

// Sets the logits of what may not follow to minus infinity. false: nothing may.
static bool mask_logits(TokenChoice *c, const GenerateOptions *o, const ConstraintText *text) {
    size_t words = words_of(c->vocab), known = constraint_words(o->constraint);
    uint64_t any = 0;
    memset(c->allowed, 0, words * sizeof *c->allowed);
    memcpy(c->allowed, constraint_mask(o->constraint, text), (known < words ? known : words) * sizeof *c->allowed);
    allow_stops(c, o, constraint_complete(o->constraint, text));
    for (int64_t id = 0; id < c->vocab; id++) {
        uint64_t word = c->allowed[id / 64];
        any |= word;
        if (!(word >> (id % 64) & 1)) c->logits[id] = -INFINITY;
    }
    return any != 0;
}

static int32_t most_likely(const TokenChoice *c) {
    int32_t best = TOKEN_NOT_FINITE;
    for (int32_t id = 0; id < c->vocab; id++)
        if (c->logits[id] > (best < 0 ? -INFINITY : c->logits[best])) best = id;
    return best;
}

// The most likely token of all is tried first: then no mask is needed.
int32_t token_choose(TokenChoice *c, const GenerateOptions *how, const ConstraintText *text, const TokenPlace *place) {
    bool greedy = how->temperature == 0;
    if (place->best < 0) return TOKEN_NOT_FINITE;
    if (greedy && (!how->constraint || allows(how, text, place->best)) && !gave_up(how)) return place->best;
    decode_engine_logits(c->engine, place->row, c->logits);
    bool any = !how->constraint || mask_logits(c, how, text);
    if (gave_up(how)) return TOKEN_GAVE_UP;
    if (!any) return constraint_complete(how->constraint, text) ? TOKEN_END : TOKEN_NONE;
    return greedy ? most_likely(c) : draw(c, how, place);
}
