// The feed-forward layer of a long row, which is computed in chunks of tokens: the bits do not depend on recomputation,
// short rows give the same loss and gradient, each token keeps its own random numbers, and memory grows more slowly.
#include <math.h>
#include <string.h>

#include "graph.h"
#include "scratch.h"
#include "strided_backend.h"
#include "tiny_model.h"

enum { CHUNK = 8192, SAMPLE = 32, TOKENS = CHUNK + 50 * SAMPLE, SAMPLES = TOKENS / SAMPLE };

typedef struct Fixture {
    Backend *backend;
    Model *model;
    Adapter *adapter;
} Fixture;

static void open_fixture(Fixture *f, bool strided, uint32_t projections) {
    Err err;
    TinyModel tiny = TINY_MODEL;
    tiny.layers = 2;
    *f = (Fixture){0};
    if (strided)
        f->backend = strided_open();
    else
        ASSERT_OK(backend_open(&f->backend, "cpu", 2, &err), &err);
    tiny_model_write("m.gguf", &tiny);
    ASSERT_OK(model_load(&f->model, "m.gguf", f->backend, NULL, &err), &err);
    AdapterConfig config = {.rank = 3, .alpha = 6, .projections = projections};
    ASSERT_OK(adapter_new(&f->adapter, f->model, &config, 1, true, &err), &err);
    for (int64_t i = 0; i < f->adapter->count; i++) f->adapter->params[i] = 0.2f * sinf((float)i);
}

static void close_fixture(Fixture *f) {
    adapter_free(f->adapter);
    model_free(f->model);
    backend_close(f->backend);
}

// Samples [first, first + n) of the long row. Those in [scored, scored + n_scored) of them are supervised.
typedef struct Part {
    int first, n, scored, n_scored;
    bool alike; // all samples have the same tokens
} Part;

static double run(Fixture *f, Part part, const PassOptions *o) {
    static int32_t ids[TOKENS], pos[TOKENS], start[SAMPLES + 1], position[TOKENS], target[TOKENS];
    const Kernels *k = f->backend->k;
    int tokens = part.n * SAMPLE;
    Row row = {.tokens = tokens, .samples = part.n, .ids = ids, .pos = pos, .start = start};
    row.position = position, row.target = target;
    for (int s = 0; s <= part.n; s++) start[s] = s * SAMPLE;
    for (int i = 0; i < tokens; i++) {
        int in_all = part.alike ? i % SAMPLE : part.first * SAMPLE + i, sample = i / SAMPLE - part.scored;
        ids[i] = in_all * 37 % TINY_VOCAB;
        pos[i] = i % SAMPLE;
        if (sample < 0 || sample >= part.n_scored || pos[i] == SAMPLE - 1) continue;
        position[row.scored] = i;
        target[row.scored++] = (in_all + 1) * 37 % TINY_VOCAB;
    }
    PassInputs *in = pass_inputs_new(f->model, tokens, part.n);
    pass_inputs_set(in, &row, f->model->config.hidden, (PassState){.grad_scale = 0.001f, .stream = 4});
    Tape *t = tape_new(f->backend);
    graph_build_loss(t, f->model, f->adapter, in, o);
    size_t bytes = tape_plan(t, TAPE_TRAIN);
    void *arena = k->alloc(f->backend, bytes);
    memset(arena, 0xFF, bytes); // NaN: what is read before it was written shows
    tape_run(t, arena);
    double loss = in->result->loss;
    k->free(f->backend, arena, bytes);
    tape_free(t);
    pass_inputs_free(in);
    return loss;
}

static void clear_grad(Fixture *f) { memset(f->adapter->grad, 0, (size_t)f->adapter->count * sizeof(float)); }

static const uint32_t ALL = (1u << PROJ_CONV_B) - 1;
static const Part WHOLE = {0, SAMPLES, 0, SAMPLES, false};

// From RECOMPUTE_NONE to `last`: the same bits.
static void check_levels(bool strided, uint32_t projections, Recompute last) {
    Fixture f;
    open_fixture(&f, strided, projections);
    size_t bytes = (size_t)f.adapter->count * sizeof(float);
    AUTO_FREE float *kept = mem_calloc(bytes, 1);
    double first = 0;
    for (Recompute level = RECOMPUTE_NONE; level <= last; level++) {
        clear_grad(&f);
        double loss = run(&f, WHOLE, &(PassOptions){.recompute = level, .dropout = 0.2f, .seed = 3});
        assert_true(isfinite(loss));
        if (level == RECOMPUTE_NONE) {
            first = loss;
            memcpy(kept, f.adapter->grad, bytes);
        }
        assert_true(loss == first);
        assert_memory_equal(f.adapter->grad, kept, bytes);
    }
    close_fixture(&f);
}

static void test_ffn_chunks_recompute_changes_no_bit(void **state) {
    (void)state;
    check_levels(false, PROJ_BIT(PROJ_Q) | PROJ_BIT(PROJ_V), RECOMPUTE_FFN);
    check_levels(false, ALL, RECOMPUTE_OFFLOAD);
    check_levels(true, ALL, RECOMPUTE_FFN);
}

// The sums over three rows of less than a chunk. Without norms before it the layer reads the residual stream (OLMo 2).
static void check_short_rows(bool norms) {
    Fixture f;
    open_fixture(&f, false, ALL);
    for (int i = 0; i < 2 && !norms; i++) f.model->layers[i].norms[NORM_FFN].weight = NULL;
    PassOptions o = {0};
    clear_grad(&f);
    double whole = run(&f, WHOLE, &o), sum = 0, error = 0, norm = 0;
    size_t count = (size_t)f.adapter->count;
    AUTO_FREE float *grad = mem_alloc(count, sizeof *grad);
    memcpy(grad, f.adapter->grad, count * sizeof *grad);
    clear_grad(&f);
    for (int i = 0; i < 3; i++) {
        int first = SAMPLES * i / 3, n = SAMPLES * (i + 1) / 3 - first;
        sum += run(&f, (Part){first, n, 0, n, false}, &o);
    }
    ASSERT_NEAR(whole, sum, 1e-9 * sum);
    for (size_t i = 0; i < count; i++) {
        error += pow((double)grad[i] - (double)f.adapter->grad[i], 2);
        norm += pow((double)grad[i], 2);
    }
    assert_true(norm > 0);
    ASSERT_NEAR(sqrt(error / norm), 0, 1e-5);
    close_fixture(&f);
}

static void test_ffn_chunks_agree_with_short_rows(void **state) {
    (void)state;
    check_short_rows(true);
    check_short_rows(false);
}

// B of the last block as zeros: it computes the supervised tokens only, which are no chunk.
static void silence_last_block(Fixture *f) {
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        AdapterPair pair;
        if (!adapter_pair(f->adapter, 1, p, &pair)) continue;
        memset(f->adapter->params + pair.b_offset, 0, (size_t)(pair.rows * pair.a->rows) * sizeof(float));
    }
}

// The same sample, first in the row and first in the second chunk: dropout before the feed-forward layer tells them
// apart.
static void test_ffn_chunks_keep_random_numbers(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f, false, PROJ_BIT(PROJ_UP) | PROJ_BIT(PROJ_DOWN));
    silence_last_block(&f);
    for (int dropout = 0; dropout < 2; dropout++) {
        PassOptions o = {.dropout = dropout ? 0.2f : 0, .seed = 3};
        double first = run(&f, (Part){0, SAMPLES, 0, 1, true}, &o);
        double second = run(&f, (Part){0, SAMPLES, CHUNK / SAMPLE, 1, true}, &o);
        assert_true((first == second) == !dropout);
    }
    close_fixture(&f);
}

static double planned_bytes(const Fixture *f, int64_t tokens) {
    PassInputs *in = pass_inputs_new(f->model, tokens, tokens / SAMPLE);
    Tape *t = tape_new(f->backend);
    pass_inputs_shape(in, (PassShape){tokens, tokens / SAMPLE, tokens, SAMPLE});
    graph_build_loss(t, f->model, f->adapter, in, &(PassOptions){.recompute = RECOMPUTE_BLOCKS});
    double bytes = (double)tape_plan(t, TAPE_TRAIN);
    tape_free(t);
    pass_inputs_free(in);
    return bytes;
}

// With checkpointing, inner activations of a second chunk take no memory.
static void test_ffn_chunks_save_memory(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f, false, ALL);
    double one = planned_bytes(&f, CHUNK), two = planned_bytes(&f, 2 * CHUNK);
    assert_true(two < 1.7 * one);
    close_fixture(&f);
}

TEST_MAIN(SCRATCH_TEST(test_ffn_chunks_recompute_changes_no_bit), SCRATCH_TEST(test_ffn_chunks_agree_with_short_rows),
          SCRATCH_TEST(test_ffn_chunks_keep_random_numbers), SCRATCH_TEST(test_ffn_chunks_save_memory))
