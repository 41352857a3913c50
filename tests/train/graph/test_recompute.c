// Levels of recomputation on the graph of a model, on the CPU and on a device that takes strides: each gives the bits
// of the level that keeps everything, with less memory; and what a plan says of itself.
#include <math.h>
#include <string.h>

#include "graph.h"
#include "scratch.h"
#include "strided_backend.h"
#include "tiny_model.h"

enum { LAYERS = 5, TOKENS = 40 };

typedef struct Fixture {
    Backend *backend;
    Model *model;
    Adapter *adapter;
} Fixture;

static void open_model(Fixture *f, Backend *b, const TinyModel *tiny, uint32_t projections) {
    Err err;
    tiny_model_write("m.gguf", tiny);
    *f = (Fixture){.backend = b};
    ASSERT_OK(model_load(&f->model, "m.gguf", b, NULL, &err), &err);
    AdapterConfig config = {.rank = 3, .alpha = 6, .projections = projections};
    ASSERT_OK(adapter_new(&f->adapter, f->model, &config, 1, true, &err), &err);
    for (int64_t i = 0; i < f->adapter->count; i++) f->adapter->params[i] = 0.2f * sinf((float)i);
}

static void open_fixture(Fixture *f, Backend *b, uint32_t projections) {
    TinyModel tiny = TINY_MODEL;
    tiny.layers = LAYERS;
    open_model(f, b, &tiny, projections);
}

static void close_fixture(Fixture *f) {
    adapter_free(f->adapter);
    model_free(f->model);
    backend_close(f->backend);
}

static Backend *open_cpu(void) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 2, &err), &err);
    return b;
}

typedef struct PassResult {
    double loss;
    float *grad; // owned
    TapeStats stats;
    double flops, attention_flops, bytes; // of tape_cost
} PassResult;

static void add_costs(PassResult *p, const Tape *t) {
    for (int64_t i = 0; i < p->stats.instructions; i++) {
        TapeCost c = tape_cost(t, i);
        *(c.op == TAPE_OP_ATTENTION ? &p->attention_flops : &p->flops) += c.flops;
        p->bytes += c.bytes;
    }
}

static PassResult run(Fixture *f, Recompute level) {
    const Kernels *k = f->backend->k;
    int32_t ids[TOKENS], pos[TOKENS], start[3] = {0, 15, TOKENS}, position[TOKENS], target[TOKENS];
    Row row = {.tokens = TOKENS, .samples = 2, .ids = ids, .pos = pos, .start = start};
    row.position = position, row.target = target;
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = i * 37 % TINY_VOCAB;
        pos[i] = i < start[1] ? i : i - start[1];
        if (i % 3 || i == start[1] - 1 || i == TOKENS - 1) continue;
        position[row.scored] = i;
        target[row.scored++] = (i + 1) * 37 % TINY_VOCAB;
    }
    PassInputs *in = pass_inputs_new(f->model, TOKENS, 2);
    pass_inputs_set(in, &row, f->model->config.hidden, (PassState){.grad_scale = 0.1f, .stream = 4});
    Tape *t = tape_new(f->backend);
    PassOptions o = {.recompute = level, .dropout = 0.2f, .seed = 3};
    graph_build_loss(t, f->model, f->adapter, in, &o);
    size_t bytes = tape_plan(t, TAPE_TRAIN), count = (size_t)f->adapter->count;
    void *arena = k->alloc(f->backend, bytes);
    memset(arena, 0xFF, bytes); // NaN: what is read before it was written shows
    memset(f->adapter->grad, 0, count * sizeof(float));
    tape_run(t, arena);
    PassResult p = {.loss = in->result->loss, .grad = mem_alloc(count, sizeof(float)), .stats = tape_stats(t)};
    memcpy(p.grad, f->adapter->grad, count * sizeof(float));
    add_costs(&p, t);
    k->free(f->backend, arena, bytes);
    tape_free(t);
    pass_inputs_free(in);
    return p;
}

static uint32_t bits(Projection p) { return PROJ_BIT(p); }

// q and v: what most adapters have; all; the feed-forward alone, where the first block has no gradient of attention.
static uint32_t targets(int i) {
    return i == 0 ? bits(PROJ_Q) | bits(PROJ_V) : i == 1 ? (1u << PROJ_CONV_B) - 1 : bits(PROJ_UP) | bits(PROJ_DOWN);
}

static void check_levels(Backend *b, uint32_t projections) {
    Fixture f;
    open_fixture(&f, b, projections);
    size_t grad_bytes = (size_t)f.adapter->count * sizeof(float), input = TOKENS * 32 * sizeof(float);
    PassResult kept = run(&f, RECOMPUTE_NONE), before = kept;
    assert_true(isfinite(kept.loss) && kept.stats.recompute_flops == 0 && kept.stats.offloaded_bytes == 0);
    for (Recompute level = RECOMPUTE_FFN; level <= RECOMPUTE_OFFLOAD; level++) {
        PassResult p = run(&f, level);
        assert_true(p.loss == kept.loss);
        assert_memory_equal(p.grad, kept.grad, grad_bytes);
        assert_true(p.stats.kept_bytes < before.stats.kept_bytes);
        assert_true(p.stats.forward_flops == kept.stats.forward_flops && p.stats.recompute_flops > 0);
        if (before.grad != kept.grad) mem_free(before.grad);
        before = p;
    }
    // The first input is needed where the first block has an adapter in front of which it stands; the last one stays.
    assert_int_equal(before.stats.offloaded_bytes, (LAYERS - 1) * input);
    mem_free(before.grad);
    mem_free(kept.grad);
    close_fixture(&f);
}

static void test_recompute_changes_no_bit(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        check_levels(open_cpu(), targets(i));
        check_levels(strided_open(), targets(i));
    }
}

// Products with stacked weights and views of them, against one product each.
static void test_recompute_stacked_products_agree(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        Fixture f, g;
        open_fixture(&f, open_cpu(), targets(i));
        open_fixture(&g, strided_open(), targets(i));
        assert_int_equal(f.model->layers[0].qkv.rows, 0);
        assert_int_equal(g.model->layers[0].qkv.rows, 64);
        assert_int_equal(g.model->layers[LAYERS - 1].kv.rows, 32);
        assert_int_equal(g.model->layers[0].gate_up.rows, 128);
        PassResult want = run(&f, RECOMPUTE_NONE), got = run(&g, RECOMPUTE_NONE);
        ASSERT_NEAR(got.loss, want.loss, 1e-5 * fabs(want.loss));
        double error = 0, norm = 0;
        for (int64_t j = 0; j < f.adapter->count; j++) {
            error += pow((double)got.grad[j] - (double)want.grad[j], 2);
            norm += pow((double)want.grad[j], 2);
        }
        assert_true(norm > 0);
        ASSERT_NEAR(sqrt(error / norm), 0, 1e-5);
        mem_free(want.grad);
        mem_free(got.grad);
        close_fixture(&f);
        close_fixture(&g);
    }
}

// Keys of the first block have no gradient where only queries and values are trained: nothing reads it.
static void test_recompute_asks_for_no_gradient_in_vain(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        Fixture f;
        open_fixture(&f, strided_open(), targets(i));
        PassResult p = run(&f, RECOMPUTE_NONE);
        assert_int_equal(strided_key_gradients(f.backend), i == 1 ? LAYERS : LAYERS - 1);
        assert_int_equal(strided_transfers(f.backend), 0);
        mem_free(p.grad);
        p = run(&f, RECOMPUTE_OFFLOAD);
        assert_int_equal(strided_transfers(f.backend), 2 * (LAYERS - 1));
        mem_free(p.grad);
        close_fixture(&f);
    }
}

static void test_recompute_costs(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f, open_cpu(), targets(0));
    for (Recompute level = 0; level <= RECOMPUTE_OFFLOAD; level++) {
        PassResult p = run(&f, level);
        double products = p.stats.forward_flops + p.stats.recompute_flops + p.stats.backward_flops;
        ASSERT_NEAR(p.flops, products, 1e-9 * products);
        assert_true(p.attention_flops > 0 && p.bytes > (double)f.model->weight_bytes);
        mem_free(p.grad);
    }
    close_fixture(&f);
}

// Bytes of a training pass of one sample, all of it supervised.
static double planned_bytes(const Fixture *f, PassInputs *in, int64_t tokens, Recompute level) {
    Tape *t = tape_new(f->backend);
    PassOptions o = {.recompute = level};
    pass_inputs_shape(in, (PassShape){tokens, 1, tokens, tokens});
    graph_build_loss(t, f->model, f->adapter, in, &o);
    double bytes = (double)tape_plan(t, TAPE_TRAIN);
    tape_free(t);
    return bytes;
}

// Memory is at most linear in the length of a row: nothing grows with T * T.
static void test_recompute_memory_is_linear(void **state) {
    (void)state;
    Fixture f;
    TinyModel tiny = TINY_MODEL;
    tiny.context = 8192;
    open_model(&f, open_cpu(), &tiny, targets(2));
    PassInputs *in = pass_inputs_new(f.model, 8192, 1);
    for (Recompute level = 0; level <= RECOMPUTE_BLOCKS; level++)
        for (int64_t tokens = 1024; tokens < 8192; tokens *= 2) {
            double one = planned_bytes(&f, in, tokens, level), two = planned_bytes(&f, in, 2 * tokens, level);
            if (!(one > 0 && two <= 2 * one))
                fail_msg("level %d: %g bytes for %jd tokens, %g for twice as many", level, one, (intmax_t)tokens, two);
        }
    pass_inputs_free(in);
    close_fixture(&f);
}

TEST_MAIN(SCRATCH_TEST(test_recompute_changes_no_bit), SCRATCH_TEST(test_recompute_stacked_products_agree),
          SCRATCH_TEST(test_recompute_asks_for_no_gradient_in_vain), SCRATCH_TEST(test_recompute_costs),
          SCRATCH_TEST(test_recompute_memory_is_linear))
