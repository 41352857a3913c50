// generate: prompts through a DecodeBatch.
#include "generate.h"

#include "decode_batch.h"

void generation_clear(Generation *g) {
    mem_free(g->ids);
    *g = (Generation){0};
}

// Frees a slot whose request has ended; refuses an answer that is not whole.
static int take_answer(DecodeBatch *b, int64_t slot, const DecodeRequest *r, Err *err) {
    DecodeState state = decode_batch_state(b, slot);
    int64_t tokens = r->prompt.count + r->answer->count;
    decode_batch_release(b, slot);
    if (state == DECODE_ENDED) return 0;
    return err_runtime(err, "prompt %ld, after %ld tokens: %s", r->index, tokens, decode_fault(state));
}

// ---- many prompts ----

size_t generate_bytes(const Model *m, int64_t sequences, int64_t capacity) {
    return decode_batch_bytes(m, sequences, capacity, 1);
}

// requests [n], over `slots` slots.
static int run_requests(DecodeBatch *b, int64_t slots, const DecodeRequest *requests, int64_t n, Err *err) {
    AUTO_FREE const DecodeRequest **running = mem_calloc((size_t)slots, sizeof(void *));
    for (int64_t next = 0, ended = 0; ended < n;) {
        for (; next < n && next - ended < slots; next++)
            running[decode_batch_add(b, &requests[next])] = &requests[next];
        decode_batch_step(b);
        for (int64_t s = 0; s < slots; s++) {
            DecodeState state = decode_batch_state(b, s);
            if (state == DECODE_FREE || state == DECODE_RUNNING) continue;
            if (take_answer(b, s, running[s], err)) return -1;
            ended++;
        }
    }
    return 0;
}

int generate(const Model *m, const Adapter *adapter, const GeneratePrompt *prompts, int64_t n, const GenerateOptions *o,
             Generation *answers, Err *err) {
    if (o->batch < 1) return err_input(err, "a batch of %ld; expected at least 1", o->batch);
    if (n == 0) return 0;
    AUTO_FREE DecodeRequest *requests = mem_calloc((size_t)n, sizeof *requests);
    int64_t longest = 0;
    for (int64_t i = 0; i < n; i++) {
        generation_clear(&answers[i]);
        requests[i] =
            (DecodeRequest){.adapter = adapter, .prompt = prompts[i], .how = o, .index = i, .answer = &answers[i]};
        if (decode_request_check(m, &requests[i], m->max_positions, err)) return -1;
        longest = max64(longest, prompts[i].count);
    }
    int64_t slots = min64(o->batch, n), room = m->max_positions - longest;
    DecodeBatch *b = decode_batch_new(m, slots, longest + min64(o->max_new_tokens, room));
    int rc = run_requests(b, slots, requests, n, err);
    decode_batch_free(b);
    return rc;
}

// ---- a conversation ----

struct GenerateSession {
    const Model *m;
    DecodeBatch *batch; // of one slot, which keeps the conversation
    int64_t capacity;
};

GenerateSession *generate_session_new(const Model *m, int64_t capacity) {
    GenerateSession *s = mem_alloc(1, sizeof *s);
    *s = (GenerateSession){m, decode_batch_new(m, 1, capacity), capacity};
    return s;
}

void generate_session_free(GenerateSession *s) {
    if (!s) return;
    decode_batch_free(s->batch);
    mem_free(s);
}

void generate_session_forget(GenerateSession *s, const Adapter *a) { decode_batch_forget(s->batch, a); }

int generate_session_run(GenerateSession *s, const Adapter *adapter, GeneratePrompt prompt, const GenerateOptions *o,
                         Generation *answer, Err *err) {
    DecodeRequest r = {.adapter = adapter, .prompt = prompt, .how = o, .answer = answer};
    if (decode_request_check(s->m, &r, s->capacity, err)) return -1;
    int64_t slot = decode_batch_add(s->batch, &r);
    while (decode_batch_state(s->batch, slot) == DECODE_RUNNING) decode_batch_step(s->batch);
    return take_answer(s->batch, slot, &r, err);
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
