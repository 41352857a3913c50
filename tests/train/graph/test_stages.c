// A model in stages of a pipeline, in one process: the losses and the gradients of the whole model, to the bit, with
// two rows on their way at once; a stage has its own weights alone; how layers are divided.
#include <math.h>
#include <string.h>

#include "graph.h"
#include "scratch.h"
#include "tiny_model.h"

enum { MAX_STAGES = 4, TOKENS = 40, ROWS = 2, HIDDEN = 32 };

// A row of two samples; another one for each number.
typedef struct TestRow {
    int32_t ids[TOKENS], pos[TOKENS], start[3], position[TOKENS], target[TOKENS];
    Row row;
} TestRow;

static void fill_row(TestRow *r, int number) {
    memcpy(r->start, (int32_t[]){0, 15, TOKENS}, sizeof r->start);
    r->row = (Row){.tokens = TOKENS, .samples = 2, .ids = r->ids, .pos = r->pos, .start = r->start};
    r->row.position = r->position, r->row.target = r->target;
    for (int i = 0; i < TOKENS; i++) {
        r->ids[i] = (i * 37 + number * 11) % TINY_VOCAB;
        r->pos[i] = i < r->start[1] ? i : i - r->start[1];
        if (i % 3 || i == r->start[1] - 1 || i == TOKENS - 1) continue;
        r->position[r->row.scored] = i;
        r->target[r->row.scored++] = ((i + 1) * 37 + number) % TINY_VOCAB;
    }
}

// Activation and gradient after a stage, of each row.
typedef struct Edge {
    float activation[ROWS][TOKENS * HIDDEN], grad[ROWS][TOKENS * HIDDEN];
} Edge;

typedef struct Stage {
    Model *model;
    Adapter *adapter;
    PassInputs *inputs[ROWS];
    PassEdges edges[ROWS];
    Tape *tapes[ROWS];
    char *kept[ROWS], *temporary; // temporary: of both rows
    size_t kept_bytes, temporary_bytes;
} Stage;

typedef struct Case {
    int64_t layers[4], n_layers; // of the adapter; 0: all
    int64_t experts, window;
    float dropout, neftune;
    Recompute level;
} Case;

typedef struct Job {
    Backend *b;
    Case c;
    int n;
    Stage stages[MAX_STAGES];
    Edge edges[MAX_STAGES];
    TestRow rows[ROWS];
} Job;

static void open_stage(Job *j, int i) {
    Err err;
    Stage *s = &j->stages[i];
    ModelOptions o = {.stage = i, .stages = j->n};
    ASSERT_OK(model_load(&s->model, "m.gguf", j->b, &o, &err), &err);
    AdapterConfig config = {.rank = 3, .alpha = 6, .projections = PROJ_BIT(PROJ_Q) | PROJ_BIT(PROJ_V)};
    if (!j->c.experts) config.projections = (1u << PROJ_CONV_B) - 1;
    if (j->c.n_layers) config.layers = j->c.layers, config.n_layers = j->c.n_layers;
    ASSERT_OK(adapter_new(&s->adapter, s->model, &config, 1, true, &err), &err);
    for (int64_t k = 0; k < s->adapter->count; k++) s->adapter->params[k] = 0.2f * sinf((float)k);
    memset(s->adapter->grad, 0, (size_t)s->adapter->count * sizeof(float));
    for (int r = 0; r < ROWS; r++) {
        s->edges[r] = (PassEdges){.out = j->edges[i].activation[r], .out_grad = j->edges[i].grad[r]};
        if (i) s->edges[r].in = j->edges[i - 1].activation[r], s->edges[r].in_grad = j->edges[i - 1].grad[r];
    }
}

static void plan(Job *j, Stage *s, int row) {
    PassOptions o = {.recompute = j->c.level, .dropout = j->c.dropout, .neftune_alpha = j->c.neftune, .seed = 3};
    o.row = (uint32_t)row, o.edges = &s->edges[row];
    s->inputs[row] = pass_inputs_new(s->model, TOKENS, 2);
    pass_inputs_set(s->inputs[row], &j->rows[row].row, s->model->config.hidden, (PassState){.grad_scale = 0.1f});
    s->tapes[row] = tape_new(j->b);
    graph_build_loss(s->tapes[row], s->model, s->adapter, s->inputs[row], &o);
    tape_plan(s->tapes[row], TAPE_TRAIN);
    TapeStats stats = tape_stats(s->tapes[row]);
    s->kept_bytes = stats.kept_bytes;
    s->temporary_bytes = stats.temporary_bytes;
}

static void open_job(Job *j, const Case *c, int n) {
    TinyModel tiny = TINY_MODEL;
    Err err;
    tiny.layers = 5, tiny.experts = c->experts, tiny.experts_used = c->experts ? 2 : 0, tiny.window = c->window;
    tiny_model_write("m.gguf", &tiny);
    j->c = *c;
    j->n = n;
    ASSERT_OK(backend_open(&j->b, "cpu", 2, &err), &err);
    for (int r = 0; r < ROWS; r++) fill_row(&j->rows[r], r);
    for (int i = 0; i < n; i++) {
        Stage *s = &j->stages[i];
        open_stage(j, i);
        for (int r = 0; r < ROWS; r++) plan(j, s, r);
        for (int r = 0; r < ROWS; r++) s->kept[r] = j->b->k->alloc(j->b, s->kept_bytes + s->temporary_bytes);
        s->temporary = j->b->k->alloc(j->b, s->temporary_bytes);
    }
}

static void close_job(Job *j) {
    for (int i = 0; i < j->n; i++) {
        Stage *s = &j->stages[i];
        for (int r = 0; r < ROWS; r++) {
            j->b->k->free(j->b, s->kept[r], s->kept_bytes + s->temporary_bytes);
            tape_free(s->tapes[r]);
            pass_inputs_free(s->inputs[r]);
        }
        j->b->k->free(j->b, s->temporary, s->temporary_bytes);
        adapter_free(s->adapter);
        model_free(s->model);
    }
    backend_close(j->b);
    mem_free(j);
}

// Temporary memory holds NaN whenever another row may have used it.
static void forward(Stage *s, int row, bool last) {
    memset(s->temporary, 0xFF, s->temporary_bytes);
    memset(s->kept[row], 0xFF, s->kept_bytes + s->temporary_bytes);
    if (last)
        tape_run(s->tapes[row], s->kept[row]);
    else
        tape_run_forward(s->tapes[row], s->kept[row], s->temporary);
}

static void backward(Stage *s, int row) {
    memset(s->temporary, 0xFF, s->temporary_bytes);
    tape_run_backward(s->tapes[row], s->kept[row], s->temporary);
}

// All rows forward before the first goes back.
static void run(Job *j) {
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < j->n; i++) forward(&j->stages[i], r, i == j->n - 1);
    for (int r = 0; r < ROWS; r++)
        for (int i = j->n - 1; i-- > 0;)
            if (graph_has_gradient_at(j->stages[i].adapter, j->stages[i].model->end_layer)) backward(&j->stages[i], r);
}

static float *gradients(const Job *j) {
    int64_t n = j->stages[0].adapter->count;
    float *sum = mem_calloc((size_t)n, sizeof *sum);
    for (int i = 0; i < j->n; i++)
        for (int64_t k = 0; k < n; k++) sum[k] += j->stages[i].adapter->grad[k];
    return sum;
}

static void check_case(const Case *c) {
    Job *one = mem_calloc(1, sizeof *one);
    open_job(one, c, 1);
    run(one);
    float *want = gradients(one);
    size_t bytes = (size_t)one->stages[0].adapter->count * sizeof(float), base = one->stages[0].model->weight_bytes;
    double loss[ROWS];
    for (int r = 0; r < ROWS; r++) loss[r] = one->stages[0].inputs[r]->result->loss;
    assert_true(isfinite(loss[0]) && loss[0] > 0 && want[0] == want[0]);
    for (int n = 2; n <= MAX_STAGES; n++) {
        Job *j = mem_calloc(1, sizeof *j);
        open_job(j, c, n);
        run(j);
        float *got = gradients(j);
        for (int r = 0; r < ROWS; r++) assert_true(j->stages[n - 1].inputs[r]->result->loss == loss[r]);
        assert_memory_equal(got, want, bytes);
        for (int i = 0; i < n; i++) assert_true(j->stages[i].model->weight_bytes < base);
        mem_free(got);
        close_job(j);
    }
    mem_free(want);
    close_job(one);
}

static void test_stages_have_the_bits_of_the_whole(void **state) {
    (void)state;
    for (Recompute level = RECOMPUTE_NONE; level <= RECOMPUTE_BLOCKS; level++)
        check_case(&(Case){.level = level, .dropout = 0.2f, .neftune = 5});
}

static void test_stages_of_experts_and_windows(void **state) {
    (void)state;
    check_case(&(Case){.experts = 4, .level = RECOMPUTE_BLOCKS});
    check_case(&(Case){.window = 4});
}

// Stages below the first adapter have no gradient, and their neighbours send none.
static void test_stages_below_the_adapter(void **state) {
    (void)state;
    check_case(&(Case){.layers = {3}, .n_layers = 1});
    check_case(&(Case){.layers = {0}, .n_layers = 1, .level = RECOMPUTE_FFN});
}

// What another stage reads is not in memory, and all tensors are counted once, but for a tied embedding.
static void test_stages_have_their_own_weights(void **state) {
    (void)state;
    Job *j = mem_calloc(1, sizeof *j);
    open_job(j, &(Case){0}, 3);
    int64_t end = 0;
    for (int i = 0; i < 3; i++) {
        const Model *m = j->stages[i].model;
        assert_int_equal(m->first_layer, end);
        assert_true(m->end_layer > end);
        end = m->end_layer;
        assert_int_equal(m->embedding.rows > 0, i == 0 || (m->config.tied_head && i == 2));
        assert_int_equal(m->head.rows > 0, i == 2 || (m->config.tied_head && i == 0));
        assert_int_equal(m->final_norm.weight != NULL, i == 2);
        for (int64_t l = 0; l < m->config.layers; l++) {
            bool own = l >= m->first_layer && l < m->end_layer;
            assert_int_equal(m->layers[l].w[PROJ_DOWN].n_segments > 0, own);
            assert_int_equal(m->layers[l].norms[NORM_ATTN].weight != NULL, own);
        }
    }
    assert_int_equal(end, 5);
    close_job(j);
}

// The largest stage of any division, found by trying all of two stages.
static void test_stages_are_balanced(void **state) {
    (void)state;
    Job *j = mem_calloc(1, sizeof *j);
    open_job(j, &(Case){0}, 1);
    ModelConfig c = j->stages[0].model->config;
    int64_t first[MODEL_MAX_LAYERS + 1];
    Err err;
    c.layers = 30, c.hidden = 576, c.ffn = 1536, c.heads = 9, c.kv_heads = 3, c.head_size = 64, c.vocab = 49152;
    assert_int_equal(model_stages(first, &c, 2, &err), 0); // the head is worth 8 layers
    assert_int_equal(first[0], 0);
    assert_int_equal(first[1], 19);
    assert_int_equal(first[2], 30);
    assert_int_equal(model_stages(first, &c, 4, &err), 0);
    for (int i = 0; i < 4; i++) assert_true(first[i + 1] > first[i]);
    c.layers = 3;
    assert_int_equal(model_stages(first, &c, 3, &err), 0);
    assert_int_equal(first[1], 1);
    assert_int_equal(first[2], 2);
    assert_int_equal(model_stages(first, &c, 4, &err), -1);
    assert_string_equal(err.msg, "4 stages of a pipeline, but the model has 3 layers; expected at most as many");
    close_job(j);
}

TEST_MAIN(SCRATCH_TEST(test_stages_have_the_bits_of_the_whole), SCRATCH_TEST(test_stages_of_experts_and_windows),
          SCRATCH_TEST(test_stages_below_the_adapter), SCRATCH_TEST(test_stages_have_their_own_weights),
          SCRATCH_TEST(test_stages_are_balanced))
