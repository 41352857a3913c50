// generate: greedy equals the arg max of the full forward pass, whatever the batch; sampling is a function of its key.
#include <math.h>

#include "decode_batch.h"
#include "generate.h"
#include "logits.h"
#include "scratch.h"
#include "tiny_model.h"
#include "token_sampler.h"

enum { PROMPTS = 7 };

typedef struct Fixture {
    Backend *backend;
    Model *model;
    Adapter *adapter;
    int32_t *prompts[PROMPTS];
    int64_t lengths[PROMPTS];
} Fixture;

static Fixture open_scaled(const ModelOptions *o) {
    Fixture f = {0};
    Err err;
    TinyModel tiny = TINY_MODEL;
    tiny.context = 600;
    tiny_model_write("base.gguf", &tiny);
    ASSERT_OK(backend_open(&f.backend, "cpu", 2, &err), &err);
    ASSERT_OK(model_load(&f.model, "base.gguf", f.backend, o, &err), &err);
    AdapterConfig c = {.rank = 4, .alpha = 64, .projections = 1 << PROJ_Q | 1 << PROJ_V | 1 << PROJ_DOWN};
    ASSERT_OK(adapter_new(&f.adapter, f.model, &c, 1, false, &err), &err);
    for (int64_t i = 0; i < f.adapter->count; i++) f.adapter->params[i] = (float)(i * 7919 % 101) / 500 - 0.1f;
    static const int64_t lengths[PROMPTS] = {5, 1, 300, 2, 17, 260, 9}; // longer than one run's share of a prompt, too
    for (int p = 0; p < PROMPTS; p++) {
        f.lengths[p] = lengths[p];
        f.prompts[p] = mem_alloc((size_t)lengths[p], sizeof(int32_t));
        for (int64_t i = 0; i < lengths[p]; i++) f.prompts[p][i] = (int32_t)((i * 37 + p * 11) % 250);
    }
    return f;
}

static Fixture open_tiny(void) { return open_scaled(NULL); }

static void close_tiny(Fixture *f) {
    for (int p = 0; p < PROMPTS; p++) mem_free(f->prompts[p]);
    adapter_free(f->adapter);
    model_free(f->model);
    backend_close(f->backend);
}

static GenerateOptions options(int64_t batch, float temperature) {
    return (GenerateOptions){
        .max_new_tokens = 12, .temperature = temperature, .top_p = 0.9f, .seed = 3, .batch = batch};
}

static void run(const Fixture *f, const Adapter *a, const GenerateOptions *o, Generation answers[PROMPTS]) {
    Err err;
    GeneratePrompt prompts[PROMPTS];
    for (int p = 0; p < PROMPTS; p++) prompts[p] = (GeneratePrompt){f->prompts[p], f->lengths[p]};
    ASSERT_OK(generate(f->model, a, prompts, PROMPTS, o, answers, &err), &err);
}

static void clear(Generation answers[PROMPTS]) {
    for (int p = 0; p < PROMPTS; p++) generation_clear(&answers[p]);
}

static void assert_same(const Generation *a, const Generation *b) {
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->ids, b->ids, (size_t)a->count * sizeof *a->ids);
}

// The first `seen` new tokens are inputs of the full forward pass, too.
static void assert_is_argmax_of(const Fixture *f, const Adapter *a, int p, const Generation *g, int64_t seen) {
    int64_t n = f->lengths[p] + seen, v = f->model->config.vocab;
    int32_t *ids = mem_alloc((size_t)n, sizeof *ids);
    float *logits = mem_alloc((size_t)(n * v), sizeof *logits);
    memcpy(ids, f->prompts[p], (size_t)f->lengths[p] * sizeof *ids);
    memcpy(ids + f->lengths[p], g->ids, (size_t)seen * sizeof *ids);
    Err err;
    ASSERT_OK(model_logits(f->model, a, ids, n, logits, &err), &err);
    for (int64_t t = f->lengths[p] - 1, i = 0; t < n && i < g->count; t++, i++) {
        int32_t best = 0;
        for (int32_t k = 1; k < v; k++)
            if (logits[t * v + k] > logits[t * v + best]) best = k;
        if (best != g->ids[i]) fail_msg("prompt %d, token %lld: got %d, want %d", p, (long long)t + 1, g->ids[i], best);
    }
    mem_free(ids);
    mem_free(logits);
}

static void assert_is_argmax(const Fixture *f, const Adapter *a, int p, const Generation *g) {
    assert_is_argmax_of(f, a, p, g, g->count);
}

static void test_generate_greedy_equals_the_full_forward(void **state) {
    (void)state;
    Fixture f = open_tiny();
    Generation base[PROMPTS] = {{0}}, adapted[PROMPTS] = {{0}};
    for (int64_t batch = 1; batch <= 8; batch += 3) {
        GenerateOptions o = options(batch, 0);
        run(&f, NULL, &o, base);
        run(&f, f.adapter, &o, adapted);
        for (int p = 0; p < PROMPTS; p++) {
            assert_int_equal(base[p].count, 12);
            assert_is_argmax(&f, NULL, p, &base[p]);
            assert_is_argmax(&f, f.adapter, p, &adapted[p]);
        }
        assert_memory_not_equal(base[2].ids, adapted[2].ids, 12 * sizeof(int32_t));
    }
    clear(base);
    clear(adapted);
    close_tiny(&f);
}

static void test_generate_sampling_does_not_depend_on_the_batch(void **state) {
    (void)state;
    Fixture f = open_tiny();
    Generation one[PROMPTS] = {{0}}, many[PROMPTS] = {{0}};
    GenerateOptions alone = options(1, 1.5f), together = options(4, 1.5f);
    run(&f, NULL, &alone, one);
    run(&f, NULL, &together, many);
    for (int p = 0; p < PROMPTS; p++) assert_same(&one[p], &many[p]);
    together.seed = 4;
    run(&f, NULL, &together, many);
    assert_memory_not_equal(one[0].ids, many[0].ids, 12 * sizeof(int32_t));
    clear(one);
    clear(many);
    close_tiny(&f);
}

// Dynamic RoPE rotates a prompt by its whole length, however many runs it takes, and its first new token follows from
// the full forward pass of the prompt. Short sequences are computed as without scaling.
static void test_generate_dynamic_rope(void **state) {
    (void)state;
    ModelOptions scaled = {.rope_scaling = ROPE_DYNAMIC, .rope_factor = 2};
    Generation one[PROMPTS] = {{0}}, many[PROMPTS] = {{0}}, plain[PROMPTS] = {{0}};
    Fixture f = open_tiny(), g = open_scaled(&scaled);
    assert_int_equal(g.model->max_positions, 2 * f.model->max_positions);
    GenerateOptions alone = options(1, 0), together = options(4, 0);
    run(&f, NULL, &alone, plain);
    run(&g, NULL, &alone, one);
    for (int p = 0; p < PROMPTS; p++) assert_same(&one[p], &plain[p]);
    g.model->config.rope.original_context = 100;
    run(&g, NULL, &alone, one);
    run(&g, NULL, &together, many);
    for (int p = 0; p < PROMPTS; p++) {
        assert_same(&one[p], &many[p]);
        if (f.lengths[p] < 80) assert_same(&one[p], &plain[p]);
        assert_is_argmax_of(&g, NULL, p, &one[p], 0);
    }
    assert_true(memcmp(many[2].ids, plain[2].ids, 12 * sizeof(int32_t)) || memcmp(many[5].ids, plain[5].ids, 48));
    clear(one);
    clear(many);
    clear(plain);
    close_tiny(&f);
    close_tiny(&g);
}

static int stop_after_three(void *user, int64_t prompt, int32_t id) {
    (void)id;
    return ++((int *)user)[prompt] == 3;
}

static void test_generate_stops_where_it_should(void **state) {
    (void)state;
    Fixture f = open_tiny();
    Generation g[PROMPTS] = {{0}}, cut[PROMPTS] = {{0}};
    GenerateOptions o = options(3, 0);
    run(&f, NULL, &o, g);
    int32_t stop[] = {g[0].ids[5], -1};
    int first = 0;
    while (g[0].ids[first] != stop[0]) first++;
    o.stop = stop;
    o.n_stop = 1;
    run(&f, NULL, &o, cut);
    assert_true(cut[0].stopped);
    assert_int_equal(cut[0].count, first); // the stop token itself is left out
    o.n_stop = 0;
    int counts[PROMPTS] = {0};
    o.on_token = stop_after_three;
    o.user = counts;
    run(&f, NULL, &o, cut);
    o.on_token = NULL;
    for (int p = 0; p < PROMPTS; p++) assert_true(cut[p].count == 3 && !cut[p].stopped);
    o.max_new_tokens = 1000; // the context ends first: its last token still gives one more
    run(&f, NULL, &o, cut);
    assert_int_equal(cut[2].count, 600 - 300 + 1);
    clear(g);
    clear(cut);
    close_tiny(&f);
}

static void test_generate_refuses_bad_requests(void **state) {
    (void)state;
    Fixture f = open_tiny();
    Generation g = {0};
    Err err;
    const int32_t strange[] = {1, 261};
    GeneratePrompt p = {strange, 2};
    GenerateOptions o = options(1, 0);
    ASSERT_REFUSED(generate(f.model, NULL, &p, 1, &o, &g, &err), &err, "token id 261");
    p.count = 0;
    ASSERT_REFUSED(generate(f.model, NULL, &p, 1, &o, &g, &err), &err, "has 0 tokens");
    p.count = 601;
    ASSERT_REFUSED(generate(f.model, NULL, &p, 1, &o, &g, &err), &err, "has 601 tokens");
    p.count = 1;
    o.top_p = 0;
    ASSERT_REFUSED(generate(f.model, NULL, &p, 1, &o, &g, &err), &err, "top_p");
    o = options(1, -1);
    ASSERT_REFUSED(generate(f.model, NULL, &p, 1, &o, &g, &err), &err, "temperature");
    o = options(1, 0);
    o.max_new_tokens = 0;
    ASSERT_REFUSED(generate(f.model, NULL, &p, 1, &o, &g, &err), &err, "max_new_tokens");
    ((float *)f.model->final_norm.weight)[0] = NAN; // in host memory
    o = options(1, 0);
    ASSERT_REFUSED(generate(f.model, NULL, &p, 1, &o, &g, &err), &err, "not finite");
    assert_int_equal(err.kind, ERR_RUNTIME);
    generation_clear(&g);
    close_tiny(&f);
}

// What a session computes turn by turn is what a fresh start computes; another adapter drops its cache.
static void test_generate_session_equals_a_fresh_start(void **state) {
    (void)state;
    Fixture f = open_tiny();
    GenerateSession *s = generate_session_new(f.model, 600);
    GenerateOptions o = options(1, 0);
    int32_t history[600];
    int64_t n = 0;
    Generation turn = {0}, fresh = {0};
    Err err;
    for (int t = 0; t < 6; t++) {
        const Adapter *a = t >= 2 && t < 4 ? f.adapter : NULL;
        if (t == 5) n = 10; // the history changed: only its beginning is known
        for (int i = 0; i < 9; i++) history[n++] = (t * 31 + i * 7) % 250;
        GeneratePrompt p = {history, n};
        ASSERT_OK(generate_session_run(s, a, p, &o, &turn, &err), &err);
        ASSERT_OK(generate(f.model, a, &p, 1, &o, &fresh, &err), &err);
        assert_same(&turn, &fresh);
        memcpy(history + n, turn.ids, (size_t)turn.count * sizeof *history);
        n += turn.count;
    }
    generation_clear(&turn);
    generation_clear(&fresh);
    generate_session_free(s);
    close_tiny(&f);
}

// ---- a batch of several adapters ----

static DecodeRequest request(const Fixture *f, int p, const GenerateOptions *o, Generation *answer) {
    return (DecodeRequest){.adapter = p % 2 ? f->adapter : NULL,
                           .prompt = {f->prompts[p], f->lengths[p]},
                           .how = o,
                           .index = p,
                           .answer = answer};
}

static int free_slots(const DecodeBatch *b, int slots) {
    int n = 0;
    for (int s = 0; s < slots; s++) n += decode_batch_state(b, s) == DECODE_FREE;
    return n;
}

// Requests of the base and of an adapter in the same runs have the answers that each has alone, greedy and sampled; one
// that is cancelled in between changes no other.
static void test_generate_several_adapters_in_one_batch(void **state) {
    (void)state;
    enum { SLOTS = 3 };
    Fixture f = open_tiny();
    Generation alone[PROMPTS] = {{0}}, cancelled = {0};
    GenerateOptions o[2] = {options(1, 0), options(1, 0.8f)};
    for (int sampled = 0; sampled < 2; sampled++) {
        Generation together[PROMPTS] = {{0}}, base[PROMPTS] = {{0}};
        run(&f, f.adapter, &o[sampled], alone);
        run(&f, NULL, &o[sampled], base);
        DecodeBatch *b = decode_batch_new(f.model, SLOTS, 600);
        DecodeRequest extra = request(&f, 3, &o[sampled], &cancelled);
        int64_t unwanted = decode_batch_add(b, &extra);
        for (int next = 0, step = 0; next < PROMPTS || free_slots(b, SLOTS) < SLOTS; step++) {
            while (next < PROMPTS && free_slots(b, SLOTS) > 0) {
                DecodeRequest r = request(&f, next, &o[sampled], &together[next]);
                decode_batch_add(b, &r);
                next++;
            }
            decode_batch_step(b);
            if (step == 4) decode_batch_release(b, unwanted);
            for (int s = 0; s < SLOTS; s++)
                if (decode_batch_state(b, s) == DECODE_ENDED) decode_batch_release(b, s);
        }
        for (int p = 0; p < PROMPTS; p++) assert_same(&together[p], p % 2 ? &alone[p] : &base[p]);
        assert_true(cancelled.count > 0 && cancelled.count < 12);
        decode_batch_free(b);
        clear(together);
        clear(base);
    }
    generation_clear(&cancelled);
    clear(alone);
    close_tiny(&f);
}

// Where adapters are freed, their caches must not be taken for those of the next adapter at the same address.
static void test_generate_batch_forgets_an_adapter(void **state) {
    (void)state;
    Fixture f = open_tiny();
    Generation alone = {0}, later = {0};
    GenerateOptions o = options(1, 0);
    DecodeBatch *b = decode_batch_new(f.model, 1, 600);
    for (int k = 0; k < 2; k++) {
        DecodeRequest r = request(&f, 5, &o, &later);
        int64_t slot = decode_batch_add(b, &r);
        while (decode_batch_state(b, slot) == DECODE_RUNNING) decode_batch_step(b);
        decode_batch_release(b, slot);
        if (k == 1) break;
        decode_batch_forget(b, f.adapter);
        for (int64_t i = 0; i < f.adapter->count; i++) f.adapter->params[i] *= 3; // another one at its address
    }
    GeneratePrompt p = {f.prompts[5], f.lengths[5]};
    Err err;
    ASSERT_OK(generate(f.model, f.adapter, &p, 1, &o, &alone, &err), &err);
    assert_same(&later, &alone);
    decode_batch_free(b);
    generation_clear(&alone);
    generation_clear(&later);
    close_tiny(&f);
}

static void test_generate_sampler_draws_the_distribution(void **state) {
    (void)state;
    enum { V = 5, DRAWS = 20000 };
    const float logits[V] = {0, 1, 2, -1, -INFINITY};
    TokenSampler *s = token_sampler_new(V);
    int count[V] = {0}, nucleus[V] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        count[token_sampler_draw(s, logits, 1, 1, (RngKey){.stream = i})]++;
        nucleus[token_sampler_draw(s, logits, 1, 0.7f, (RngKey){.stream = i})]++;
    }
    const double p[V] = {0.0871443, 0.2368828, 0.6439142, 0.0320586, 0};                    // softmax, computed by hand
    for (int i = 0; i < V; i++) ASSERT_NEAR((double)count[i] / DRAWS, p[i], 4 * 0.5 / 141); // 4 standard errors
    ASSERT_NEAR((double)nucleus[2] / DRAWS, p[2] / (p[1] + p[2]), 4 * 0.5 / 141); // 0.644 < 0.7: two are needed
    assert_int_equal(nucleus[0] + nucleus[3] + nucleus[4], 0);
    assert_int_equal(token_sampler_draw(s, (const float[V]){0, NAN}, 1, 1, (RngKey){0}), -1);
    token_sampler_free(s);
}

static void test_generate_stop_ids(void **state) {
    (void)state;
    Fixture f = open_tiny();
    size_t n;
    int32_t *ids = generate_stop_ids(f.model, TINY_IM_END, &n);
    assert_int_equal(n, 2);
    assert_true(ids[0] == TINY_IM_END && ids[1] == 258); // EOS and end of turn are one; <|endoftext|>
    mem_free(ids);
    close_tiny(&f);
}

TEST_MAIN(SCRATCH_TEST(test_generate_greedy_equals_the_full_forward),
          SCRATCH_TEST(test_generate_sampling_does_not_depend_on_the_batch), SCRATCH_TEST(test_generate_dynamic_rope),
          SCRATCH_TEST(test_generate_stops_where_it_should), SCRATCH_TEST(test_generate_refuses_bad_requests),
          SCRATCH_TEST(test_generate_session_equals_a_fresh_start), TEST(test_generate_sampler_draws_the_distribution),
          SCRATCH_TEST(test_generate_several_adapters_in_one_batch),
          SCRATCH_TEST(test_generate_batch_forgets_an_adapter), SCRATCH_TEST(test_generate_stop_ids))
