// The whole model against PyTorch: logits, loss, gradients and AdamW steps of a tiny llama with an adapter on all seven
// projections, and the logits of SmolLM2. The files of golden/model are made by golden/make_model_golden.py with
// transformers and PEFT; nothing in them comes from this project.
#include <math.h>

#include "graph.h"
#include "logits.h"
#include "model_file.h"
#include "optimizer.h"
#include "relative_error.h"
#include "safetensors.h"
#include "scratch.h"
#include "test.h"

#define GOLDEN TEST_DIR "/golden/model/"
enum { SAMPLES = 4, STEPS = 20 };

typedef struct Fixture {
    Backend *backend;
    Model *model;
    Adapter *adapter;
    Safetensors *golden;
} Fixture;

// folder: "", or "dora/" for an adapter with DoRA; "pissa/", "olora/": it has no adapter, and `init` begins one.
static Fixture open_golden(const char *folder, AdapterInit init, const char *device) {
    Fixture f;
    Err err;
    char adapter[sizeof GOLDEN + 32], golden[sizeof GOLDEN + 32];
    snprintf(adapter, sizeof adapter, GOLDEN "%sadapter", folder);
    snprintf(golden, sizeof golden, GOLDEN "%sgolden.safetensors", folder);
    ASSERT_OK(backend_open(&f.backend, device, 2, &err), &err);
    ASSERT_OK(model_load(&f.model, GOLDEN "base.gguf", f.backend, NULL, &err), &err);
    uint32_t all = adapter_available(&f.model->config);
    AdapterConfig c = {.rank = 4, .alpha = 6, .init = init, .svd_steps = -1, .projections = all};
    int rc = init == ADAPTER_UNIFORM ? adapter_load(&f.adapter, f.model, adapter, true, &err)
                                     : adapter_new(&f.adapter, f.model, &c, 1, true, &err);
    ASSERT_OK(rc, &err);
    ASSERT_OK(safetensors_open(&f.golden, golden, &err), &err);
    return f;
}

static Fixture open_fixture(const char *device) { return open_golden("", ADAPTER_UNIFORM, device); }

static void close_fixture(Fixture *f) {
    safetensors_close(f->golden);
    adapter_free(f->adapter);
    model_free(f->model);
    backend_close(f->backend);
}

// A copy, aligned; *n elements of four bytes.
static void *copy_tensor(const Safetensors *s, const char *name, size_t *n) {
    const SafetensorsTensor *t = safetensors_get(s, name);
    if (!t) fail_msg("the golden file has no %s", name);
    void *copy = mem_alloc(t->bytes, 1);
    memcpy(copy, t->data, t->bytes);
    if (n) *n = t->bytes / 4;
    return copy;
}

// ---- one step as the trainer makes it ----

typedef struct Packed {
    int32_t ids[128], pos[128], start[3], position[128], target[128];
    Row row;
} Packed;

// Samples a and b as one row; every token but a sample's first is scored.
static void pack(Packed *p, const Fixture *f, int a, int b) {
    int32_t *ids = copy_tensor(f->golden, "ids", NULL), *start = copy_tensor(f->golden, "start", NULL);
    p->row = (Row){
        .samples = 2, .ids = p->ids, .pos = p->pos, .start = p->start, .position = p->position, .target = p->target};
    const int which[2] = {a, b};
    p->start[0] = 0;
    for (int s = 0; s < 2; s++) {
        int64_t n = start[which[s] + 1] - start[which[s]];
        for (int64_t i = 0; i < n; i++, p->row.tokens++) {
            p->ids[p->row.tokens] = ids[start[which[s]] + i];
            p->pos[p->row.tokens] = (int32_t)i;
            if (i + 1 == n) continue;
            p->position[p->row.scored] = (int32_t)p->row.tokens;
            p->target[p->row.scored++] = ids[start[which[s]] + i + 1];
        }
        p->start[s + 1] = (int32_t)p->row.tokens;
    }
    mem_free(ids);
    mem_free(start);
}

// Mean loss of the row; its gradient is added to the adapter's.
static double run_row(const Fixture *f, const Packed *p, bool checkpoint) {
    const Kernels *k = f->backend->k;
    PassInputs *in = pass_inputs_new(f->model, 128, 2);
    pass_inputs_set(in, &p->row, f->model->config.hidden, (PassState){.grad_scale = 1.0f / (float)p->row.scored});
    Tape *t = tape_new(f->backend);
    PassOptions o = {.recompute = checkpoint ? RECOMPUTE_BLOCKS : RECOMPUTE_NONE};
    graph_build_loss(t, f->model, f->adapter, in, &o);
    size_t bytes = tape_plan(t, TAPE_TRAIN);
    void *arena = k->alloc(f->backend, bytes);
    tape_run(t, arena);
    HeadResult result;
    k->download(f->backend, &result, in->result, sizeof result);
    k->free(f->backend, arena, bytes);
    tape_free(t);
    pass_inputs_free(in);
    return result.loss / (double)p->row.scored;
}

// Compares every matrix of a flat buffer with "prefix.<name>"; the largest norm-wise error.
static double compare_matrices(const Fixture *f, const float *flat, const char *prefix) {
    double worst = 0;
    for (int64_t i = 0; i < f->adapter->n_segments; i++) {
        const AdapterSegment *s = &f->adapter->segments[i];
        char name[160];
        snprintf(name, sizeof name, "%s.%s", prefix, s->name);
        size_t n;
        float *want = copy_tensor(f->golden, name, &n);
        assert_int_equal(n, s->rows * s->cols);
        double error = relative_error(flat + s->offset, want, n);
        if (!(error <= worst)) worst = error;
        mem_free(want);
    }
    return worst;
}

// ---- tests; float32 against float32 with sums in another order: a few units of 1e-7, times the depth ----

// Of sample i.
static void check_sample(const Fixture *f, int i, bool with, double most) {
    int32_t *ids = copy_tensor(f->golden, "ids", NULL), *start = copy_tensor(f->golden, "start", NULL);
    char name[32];
    snprintf(name, sizeof name, with ? "logits_adapter.%d" : "logits.%d", i);
    size_t n;
    float *want = copy_tensor(f->golden, name, &n), *got = mem_alloc(n, sizeof *got);
    Err err;
    ASSERT_OK(model_logits(f->model, with ? f->adapter : NULL, ids + start[i], start[i + 1] - start[i], got, &err),
              &err);
    ASSERT_NEAR(relative_error(got, want, n), 0, most);
    mem_free(want);
    mem_free(got);
    mem_free(ids);
    mem_free(start);
}

static void check_logits(const char *device) {
    Fixture f = open_fixture(device), dora = open_golden("dora/", ADAPTER_UNIFORM, device);
    for (int i = 0; i < SAMPLES; i++)
        for (int with = 0; with < 2; with++) check_sample(&f, i, with, 2e-6);
    check_sample(&dora, 1, true, 2e-6);
    close_fixture(&f);
    close_fixture(&dora);
}

static void test_model_golden_logits(void **state) {
    (void)state;
    check_logits("cpu");
    check_logits("ref");
}

static void check_gradients(const char *folder, const char *device, bool checkpoint) {
    Fixture f = open_golden(folder, ADAPTER_UNIFORM, device);
    Packed p = {0};
    pack(&p, &f, 0, 1);
    float *want = copy_tensor(f.golden, "loss", NULL);
    ASSERT_NEAR(run_row(&f, &p, checkpoint), *want, 2e-6 * *want);
    ASSERT_NEAR(compare_matrices(&f, f.adapter->grad, "grad"), 0, 5e-6);
    mem_free(want);
    close_fixture(&f);
}

static void test_model_golden_gradients(void **state) {
    (void)state;
    for (int dora = 0; dora < 2; dora++) {
        check_gradients(dora ? "dora/" : "", "cpu", false);
        check_gradients(dora ? "dora/" : "", "cpu", true);
        check_gradients(dora ? "dora/" : "", "ref", false);
    }
}

// What is exported of an adapter that began as a part of W is plain LoRA, which fits W.
static void check_plain(Fixture *f) {
    Err err;
    Adapter *plain;
    ASSERT_OK(adapter_plain(&plain, f->model, f->adapter, &err), &err);
    ASSERT_OK(adapter_save_peft(plain, f->model, "plain", NULL, &err), &err);
    assert_true(adapter_take_plain(f->adapter, plain));
    adapter_free(f->adapter);
    ASSERT_OK(adapter_load(&f->adapter, f->model, "plain", false, &err), &err);
    assert_int_equal(f->adapter->config.rank, 8);
    ASSERT_NEAR(f->adapter->config.alpha, 12, 0);
    check_sample(f, 1, true, 1e-4);
    adapter_free(plain);
}

static void check_steps(const char *folder, AdapterInit init) {
    Fixture f = open_golden(folder, init, "cpu");
    Optimizer *o = optimizer_new(f.adapter, &(OptimizerOptions){0.9, 0.99, 1e-8, 0.1, 0.5, 1}, 0);
    float *want = copy_tensor(f.golden, "step_loss", NULL);
    for (int step = 0; step < STEPS; step++) {
        Packed p = {0};
        pack(&p, &f, 2 * step % 4, (2 * step + 1) % 4);
        optimizer_begin(o);
        optimizer_begin_row(o);
        ASSERT_NEAR(run_row(&f, &p, false), want[step], 2e-5 * want[step]); // the issues ask for 1e-4
        optimizer_end_row(o, 1);
        double norm;
        optimizer_queue(o, 1e-2);
        assert_true(optimizer_fetch(o, &norm, NULL));
    }
    if (!*folder) ASSERT_NEAR(compare_matrices(&f, f.adapter->params, "final"), 0, 1e-3);
    mem_free(want);
    optimizer_free(o);
    if (init != ADAPTER_UNIFORM) check_plain(&f);
    close_fixture(&f);
}

static void test_model_golden_adamw_steps(void **state) {
    (void)state;
    check_steps("", ADAPTER_UNIFORM);
    check_steps("dora/", ADAPTER_UNIFORM);
    check_steps("pissa/", ADAPTER_PISSA);
    check_steps("olora/", ADAPTER_OLORA);
}

static int32_t arg_max(const float *row, int64_t n) {
    int32_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (row[i] > row[best]) best = (int32_t)i;
    return best;
}

static double log_sum_exp(const float *row, int64_t n) {
    double max = row[arg_max(row, n)], sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(row[i] - max);
    return max + log(sum);
}

static void check_smollm2(const Model *m, const Safetensors *golden, int which, const int32_t *columns,
                          size_t n_columns) {
    char name[32];
    size_t n;
    snprintf(name, sizeof name, "ids.%d", which);
    int32_t *ids = copy_tensor(golden, name, &n);
    snprintf(name, sizeof name, "logits.%d", which);
    float *want = copy_tensor(golden, name, NULL);
    snprintf(name, sizeof name, "logsumexp.%d", which);
    float *lse = copy_tensor(golden, name, NULL);
    snprintf(name, sizeof name, "argmax.%d", which);
    int32_t *best = copy_tensor(golden, name, NULL);
    int64_t v = m->config.vocab;
    float *got = mem_alloc(n * (size_t)v, sizeof *got);
    Err err;
    ASSERT_OK(model_logits(m, NULL, ids, (int64_t)n, got, &err), &err);
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < n_columns; i++)
            ASSERT_NEAR(got[t * (size_t)v + (size_t)columns[i]], want[t * n_columns + i], 2e-3);
        ASSERT_NEAR(log_sum_exp(got + t * (size_t)v, v), lse[t], 1e-3);
        assert_int_equal(arg_max(got + t * (size_t)v, v), best[t]);
    }
    mem_free(ids);
    mem_free(want);
    mem_free(lse);
    mem_free(best);
    mem_free(got);
}

static void test_model_golden_smollm2_logits(void **state) {
    (void)state;
    if (!model_file()) skip();
    Backend *b;
    Model *m;
    Safetensors *golden;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 0, &err), &err);
    ASSERT_OK(model_load(&m, model_file(), b, &(ModelOptions){.max_positions = 128}, &err), &err);
    ASSERT_OK(safetensors_open(&golden, GOLDEN "smollm2.safetensors", &err), &err);
    size_t n_columns;
    int32_t *columns = copy_tensor(golden, "columns", &n_columns);
    for (int i = 0; i < 3; i++) check_smollm2(m, golden, i, columns, n_columns);
    mem_free(columns);
    safetensors_close(golden);
    model_free(m);
    backend_close(b);
}

TEST_MAIN(TEST(test_model_golden_logits), TEST(test_model_golden_gradients),
          SCRATCH_TEST(test_model_golden_adamw_steps), TEST(test_model_golden_smollm2_logits))
