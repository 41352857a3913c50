// generate: continuous batching over a DecodeEngine. A run computes one piece of each sequence: the rest of its prompt
// (bounded, so that memory stays small), or its last token.
#include "generate.h"

#include <math.h>
#include <string.h>

#include "decode_engine.h"
#include "logits.h"
#include "token_sampler.h"

enum { PREFILL_TOKENS = 256 }; // of one run, unless the batch is larger

typedef struct Sequence {
    Generation *answer; // NULL: a free slot
    GeneratePrompt prompt;
    int64_t past;  // tokens in the cache
    int64_t index; // of the prompt
    size_t capacity;
} Sequence;

typedef struct Batch {
    DecodeEngine *engine;
    const Model *m;
    const Adapter *adapter;
    const GenerateOptions *o;
    int64_t capacity;    // tokens of one sequence
    Sequence *sequences; // [n]
    int64_t n;
    DecodePiece *pieces; // [n] of the current run
    int32_t *picked;     // [n]
    float *logits;       // [vocab], when sampling
    TokenSampler *sampler;
} Batch;

void generation_clear(Generation *g) {
    mem_free(g->ids);
    *g = (Generation){0};
}

// ---- checks ----

static int check_options(const GenerateOptions *o, Err *err) {
    if (o->max_new_tokens < 1) return err_input(err, "max_new_tokens is %ld; expected at least 1", o->max_new_tokens);
    if (!(o->temperature >= 0) || !isfinite(o->temperature))
        return err_input(err, "temperature is %g; expected a finite number, 0 or more", (double)o->temperature);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return err_input(err, "top_p is %g; expected 0 < top_p <= 1", (double)o->top_p);
    if (o->batch < 1) return err_input(err, "a batch of %ld; expected at least 1", o->batch);
    return 0;
}

static int check_prompt(const Model *m, GeneratePrompt p, int64_t index, int64_t capacity, Err *err) {
    if (p.count < 1 || p.count > capacity)
        return err_input(err, "prompt %ld has %ld tokens; expected 1 to %ld", index, p.count, capacity);
    return model_check_ids(m, p.ids, p.count, err) ? err_context(err, "prompt %ld", index) : 0;
}

// ---- one run ----

// Tokens of one run.
static int64_t run_tokens(int64_t sequences) { return sequences > PREFILL_TOKENS ? sequences : PREFILL_TOKENS; }

static bool in_prompt(const Sequence *q) { return q->past < q->prompt.count; }

static void add_piece(Batch *b, int64_t *n_pieces, int64_t *budget, int64_t s, bool prefill) {
    const Sequence *q = &b->sequences[s];
    if (!q->answer || prefill != in_prompt(q) || *budget == 0) return;
    DecodePiece p = {.sequence = s, .past = q->past, .count = 1, .length = max64(q->past + 1, q->prompt.count)};
    if (prefill) {
        int64_t left = q->prompt.count - q->past;
        p.count = left < *budget ? left : *budget;
        p.ids = q->prompt.ids + q->past;
    } else {
        p.ids = &q->answer->ids[q->answer->count - 1];
    }
    *budget -= p.count;
    b->pieces[(*n_pieces)++] = p;
}

// Sequences that already answer come first: a long prompt does not delay them.
static int64_t choose_pieces(Batch *b) {
    int64_t n = 0, budget = run_tokens(b->n);
    for (int64_t s = 0; s < b->n; s++) add_piece(b, &n, &budget, s, false);
    for (int64_t s = 0; s < b->n; s++) add_piece(b, &n, &budget, s, true);
    return n;
}

static int pick_tokens(Batch *b, int64_t n, Err *err) {
    if (b->o->temperature == 0) {
        decode_engine_argmax(b->engine, b->picked);
    } else {
        for (int64_t i = 0; i < n; i++) {
            const Sequence *q = &b->sequences[b->pieces[i].sequence];
            if (in_prompt(q)) continue;
            RngKey key = {.seed = b->o->seed,
                          .stream = (uint32_t)q->answer->count,
                          .module = rng_module("sample"),
                          .row = (uint32_t)q->index};
            decode_engine_logits(b->engine, i, b->logits);
            b->picked[i] = token_sampler_draw(b->sampler, b->logits, b->o->temperature, b->o->top_p, key);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        const Sequence *q = &b->sequences[b->pieces[i].sequence];
        if (!in_prompt(q) && b->picked[i] < 0)
            return err_runtime(err, "prompt %ld: logits after %ld tokens are not finite", q->index, q->past);
    }
    return 0;
}

static bool is_stop(const GenerateOptions *o, int32_t id) {
    for (size_t i = 0; i < o->n_stop; i++)
        if (o->stop[i] == id) return true;
    return false;
}

// Gives the sequence its next token; frees its slot after the last one.
static void accept(Batch *b, Sequence *q, int32_t id) {
    Generation *g = q->answer;
    if (is_stop(b->o, id)) {
        g->stopped = true;
        q->answer = NULL;
        return;
    }
    MEM_GROW(g->ids, q->capacity, (size_t)g->count + 1);
    g->ids[g->count++] = id;
    bool end = b->o->on_token && b->o->on_token(b->o->user, q->index, id);
    if (end || g->count == b->o->max_new_tokens || q->past == b->capacity) q->answer = NULL;
}

// One run of all active sequences.
static int step(Batch *b, Err *err) {
    int64_t n = choose_pieces(b);
    decode_engine_run(b->engine, b->adapter, b->pieces, n);
    for (int64_t i = 0; i < n; i++) b->sequences[b->pieces[i].sequence].past += b->pieces[i].count;
    if (pick_tokens(b, n, err)) return -1;
    for (int64_t i = 0; i < n; i++) {
        Sequence *q = &b->sequences[b->pieces[i].sequence];
        if (!in_prompt(q)) accept(b, q, b->picked[i]);
    }
    return 0;
}

// ---- many prompts ----

static void batch_open(Batch *b, int64_t n) {
    b->n = n;
    b->sequences = mem_calloc((size_t)n, sizeof *b->sequences);
    b->pieces = mem_alloc((size_t)n, sizeof *b->pieces);
    b->picked = mem_alloc((size_t)n, sizeof *b->picked);
    if (b->o->temperature == 0) return;
    b->logits = mem_alloc((size_t)b->m->config.vocab, sizeof *b->logits);
    b->sampler = token_sampler_new(b->m->config.vocab);
}

static void batch_close(Batch *b) {
    mem_free(b->sequences);
    mem_free(b->pieces);
    mem_free(b->picked);
    mem_free(b->logits);
    token_sampler_free(b->sampler);
}

// Puts waiting prompts, from *next on, into free slots; returns the number of active sequences.
static int64_t refill(Batch *b, const GeneratePrompt *prompts, int64_t n, Generation *answers, int64_t *next) {
    int64_t running = 0;
    for (int64_t s = 0; s < b->n; s++) {
        Sequence *q = &b->sequences[s];
        if (!q->answer && *next < n) {
            *q = (Sequence){.answer = &answers[*next], .prompt = prompts[*next], .index = *next};
            ++*next;
        }
        running += q->answer != NULL;
    }
    return running;
}

size_t generate_bytes(const Model *m, int64_t sequences, int64_t capacity) {
    return decode_engine_bytes(m, sequences, capacity, run_tokens(sequences));
}

int generate(const Model *m, const Adapter *adapter, const GeneratePrompt *prompts, int64_t n, const GenerateOptions *o,
             Generation *answers, Err *err) {
    if (check_options(o, err)) return -1;
    int64_t longest = 0;
    for (int64_t i = 0; i < n; i++) {
        if (check_prompt(m, prompts[i], i, m->max_positions, err)) return -1;
        if (prompts[i].count > longest) longest = prompts[i].count;
        generation_clear(&answers[i]);
    }
    if (n == 0) return 0;
    int64_t slots = o->batch < n ? o->batch : n, room = m->max_positions - longest;
    int64_t capacity = longest + (o->max_new_tokens < room ? o->max_new_tokens : room);
    Batch b = {.m = m, .adapter = adapter, .o = o, .capacity = capacity};
    b.engine = decode_engine_new(m, slots, capacity, run_tokens(slots));
    batch_open(&b, slots);
    int64_t next = 0;
    int rc = 0;
    while (rc == 0 && refill(&b, prompts, n, answers, &next) > 0) rc = step(&b, err);
    batch_close(&b);
    decode_engine_free(b.engine);
    return rc;
}

// ---- a conversation ----

struct GenerateSession {
    const Model *m;
    DecodeEngine *engine;
    const Adapter *adapter; // of the tokens in the cache
    int32_t *ids;           // [capacity] the tokens in the cache
    int64_t cached, capacity;
};

GenerateSession *generate_session_new(const Model *m, int64_t capacity) {
    GenerateSession *s = mem_calloc(1, sizeof *s);
    s->m = m;
    s->capacity = capacity;
    s->engine = decode_engine_new(m, 1, capacity, run_tokens(1));
    s->ids = mem_alloc((size_t)capacity, sizeof *s->ids);
    return s;
}

void generate_session_free(GenerateSession *s) {
    if (!s) return;
    decode_engine_free(s->engine);
    mem_free(s->ids);
    mem_free(s);
}

void generate_session_forget(GenerateSession *s) { s->cached = 0; }

// Tokens of the prompt that the cache holds; the last one is always computed, for its logits.
static int64_t known_prefix(const GenerateSession *s, GeneratePrompt p) {
    int64_t known = 0;
    while (known < s->cached && known < p.count - 1 && s->ids[known] == p.ids[known]) known++;
    return known;
}

int generate_session_run(GenerateSession *s, const Adapter *adapter, GeneratePrompt prompt, const GenerateOptions *o,
                         Generation *answer, Err *err) {
    int64_t count = prompt.count;
    if (check_options(o, err) || check_prompt(s->m, prompt, 0, s->capacity, err)) return -1;
    if (adapter != s->adapter) generate_session_forget(s);
    s->adapter = adapter;
    generation_clear(answer);
    Batch b = {.engine = s->engine, .m = s->m, .adapter = adapter, .o = o, .capacity = s->capacity};
    batch_open(&b, 1);
    Sequence *q = &b.sequences[0];
    *q = (Sequence){.answer = answer, .prompt = prompt, .past = known_prefix(s, prompt)};
    int rc = 0;
    while (rc == 0 && q->answer) rc = step(&b, err);
    s->cached = q->past;
    int64_t of_prompt = q->past < count ? q->past : count;
    memcpy(s->ids, prompt.ids, (size_t)of_prompt * sizeof *s->ids);
    if (q->past > count) memcpy(s->ids + count, answer->ids, (size_t)(q->past - count) * sizeof *s->ids);
    batch_close(&b);
    return rc;
}

// ---- where to stop ----

static void add_stop(int32_t *ids, size_t *n, int32_t id) {
    for (size_t i = 0; i < *n; i++)
        if (ids[i] == id) return;
    if (id >= 0) ids[(*n)++] = id;
}

int32_t *generate_stop_ids(const Model *m, int32_t end_of_turn, size_t *count) {
    static const char *const ends[] = {"<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>",
                                       "<|end|>",       "<end_of_turn>",   "<|eot|>",    "</s>"};
    enum { N_ENDS = sizeof ends / sizeof *ends };
    int32_t *ids = mem_alloc(N_ENDS + TOKENIZER_ENDS_MAX + 1, sizeof *ids);
    *count = 0;
    for (int i = 0; i < m->tokenizer->n_ends; i++) add_stop(ids, count, m->tokenizer->ends[i]);
    add_stop(ids, count, end_of_turn);
    for (size_t i = 0; i < N_ENDS; i++) {
        int32_t id = tokenizer_find(m->tokenizer, ends[i]);
        if (id >= 0 && tokenizer_is_control(m->tokenizer, id)) add_stop(ids, count, id);
    }
    return ids;
}
