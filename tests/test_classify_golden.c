// Classifiers, decoders and BERT, against transformers and PEFT (SEQ_CLS): logits of packed samples, loss, gradients of
// the LoRA matrices and of the head, AdamW steps. Cases and their files: golden/make_classify_golden.py.
#include "encoder.h"
#include "golden_check.h"
#include "logits.h"
#include "scratch.h"
#include "strided_backend.h"

enum { SAMPLES = 6, BATCH = 3, MAX_TOKENS = 64 };

typedef struct Case {
    Family family;
    Backend *backend;
    Model *model;
    Adapter *adapter;
    int32_t *ids, *types, *start, *labels;
} Case;

static void open_case(Case *c, const char *name, FamilyFile kind, const char *device) {
    Err err;
    const ModelOptions options = {.max_positions = 24, .classifier = true};
    *c = (Case){0};
    family_open(&c->family, name, kind);
    if (strcmp(device, "strided") == 0)
        c->backend = strided_open();
    else
        ASSERT_OK(backend_open(&c->backend, device, 2, &err), &err);
    ASSERT_OK(model_load(&c->model, c->family.path, c->backend, &options, &err), &err);
    c->adapter = family_adapter(&c->family, c->model);
    c->ids = family_golden(&c->family, "ids", NULL);
    c->types = family_golden(&c->family, "types", NULL);
    c->start = family_golden(&c->family, "start", NULL);
    c->labels = family_golden(&c->family, "labels", NULL);
}

static void close_case(Case *c) {
    mem_free(c->ids);
    mem_free(c->types);
    mem_free(c->start);
    mem_free(c->labels);
    adapter_free(c->adapter);
    model_free(c->model);
    backend_close(c->backend);
    family_close(&c->family);
}

typedef struct Packed {
    int32_t ids[MAX_TOKENS], pos[MAX_TOKENS], type[MAX_TOKENS], start[SAMPLES + 1], position[SAMPLES], target[SAMPLES];
    Row row;
} Packed;

// n samples from `first` on, cyclically, as one row.
static void pack(Packed *p, const Case *c, int first, int n) {
    *p = (Packed){0};
    p->row = (Row){.samples = n, .scored = n, .ids = p->ids, .pos = p->pos, .type = p->type, .start = p->start};
    p->row.position = p->position;
    p->row.target = p->target;
    for (int s = 0; s < n; s++) {
        int which = (first + s) % SAMPLES;
        for (int32_t i = c->start[which]; i < c->start[which + 1]; i++) {
            int64_t t = p->row.tokens++;
            p->ids[t] = c->ids[i];
            p->type[t] = c->types[i];
            p->pos[t] = i - c->start[which];
        }
        p->start[s + 1] = (int32_t)p->row.tokens;
        p->position[s] = c->model->config.arch->encoder ? p->start[s] : p->start[s + 1] - 1;
        p->target[s] = c->labels[which];
    }
}

static void run(const Case *c, Tape *t, TapeMode mode) {
    const Kernels *k = c->backend->k;
    size_t bytes = tape_plan(t, mode);
    void *arena = k->alloc(c->backend, bytes);
    tape_run(t, arena);
    k->free(c->backend, arena, bytes);
}

static void check_logits(const Case *c) {
    enum { MOST = SAMPLES * 8 };
    float got[MOST], one[8];
    size_t n;
    float *want = family_golden(&c->family, "logits", &n);
    assert_true(n == (size_t)(SAMPLES * c->family.labels) && n <= MOST);
    Packed p;
    pack(&p, c, 0, SAMPLES);
    RowInputs *in = row_inputs_new(c->backend, MAX_TOKENS, SAMPLES);
    row_inputs_set(in, &p.row, c->model->config.hidden, (PassState){0});
    Tape *t = tape_new(c->backend);
    model_build_class_logits(t, c->model, c->adapter, in, mat_of(got, DTYPE_F32, SAMPLES, c->family.labels));
    run(c, t, TAPE_FORWARD);
    tape_free(t);
    row_inputs_free(in);
    double error = relative_error(got, want, n);
    if (!(error <= GOLDEN_F32.logits)) fail_msg("%s: logits: relative error %g", c->family.path, error);
    int last = 4; // one text, by itself
    Err err;
    ASSERT_OK(model_class_logits(c->model, c->adapter, c->ids + c->start[last], c->start[last + 1] - c->start[last],
                                 one, &err),
              &err);
    error = relative_error(one, want + last * c->family.labels, (size_t)c->family.labels);
    if (!(error <= GOLDEN_F32.logits)) fail_msg("%s: logits of one sample: relative error %g", c->family.path, error);
    mem_free(want);
}

// Mean loss of the row; its gradient is added to the adapter's.
static double run_row(const Case *c, const Packed *p, Recompute recompute) {
    RowInputs *in = row_inputs_new(c->backend, MAX_TOKENS, SAMPLES);
    row_inputs_set(in, &p->row, c->model->config.hidden, (PassState){.grad_scale = 1.0f / (float)p->row.scored});
    Tape *t = tape_new(c->backend);
    DecoderOptions o = {.recompute = recompute};
    model_build_loss(t, c->model, c->adapter, in, &o);
    run(c, t, TAPE_TRAIN);
    HeadResult result;
    c->backend->k->download(c->backend, &result, in->result, sizeof result);
    tape_free(t);
    row_inputs_free(in);
    return result.loss / (double)p->row.scored;
}

typedef struct Steps {
    const Case *c;
    Recompute recompute;
} Steps;

static double run_step(const void *context, int step) {
    const Steps *s = context;
    Packed p;
    pack(&p, s->c, BATCH * step, BATCH);
    return run_row(s->c, &p, s->recompute);
}

static const char *const names[] = {"../classify/bert", "../classify/bert-all", "../classify/llama",
                                    "../classify/qwen2"};
enum { NAMES = sizeof names / sizeof *names };

static void test_classify_golden_matches_pytorch(void **state) {
    (void)state;
    static const struct {
        const char *device;
        FamilyFile kind;
        Recompute recompute;
    } ways[] = {{"cpu", FAMILY_HF, RECOMPUTE_NONE},
                {"ref", FAMILY_HF_SHARDED, RECOMPUTE_BLOCKS},
                {"strided", FAMILY_HF, RECOMPUTE_FFN}};
    for (int i = 0; i < NAMES; i++)
        for (int w = 0; w < 3; w++) {
            Case c;
            open_case(&c, names[i], ways[w].kind, ways[w].device);
            check_logits(&c);
            check_steps(&c.family, c.model, c.adapter, run_step, &(Steps){&c, ways[w].recompute}, &GOLDEN_F32);
            close_case(&c);
        }
}

// What is written is read back as it was, names of classes too.
static void test_classify_golden_round_trip(void **state) {
    (void)state;
    Err err;
    LabelList labels = {0};
    for (int i = 0; i < 3; i++) label_list_add(&labels, (const char *[]){"nay", "so \"so\"", "aye"}[i]);
    for (int i = 0; i < NAMES; i++) {
        Case c;
        Adapter *back;
        char dir[32];
        snprintf(dir, sizeof dir, "adapter-%d", i);
        open_case(&c, names[i], FAMILY_HF, "cpu");
        adapter_name_labels(c.adapter, &labels);
        ASSERT_OK(adapter_save_peft(c.adapter, c.model, dir, NULL, &err), &err);
        ASSERT_OK(adapter_load(&back, c.model, dir, false, &err), &err);
        assert_int_equal(back->config.labels, 3);
        assert_int_equal(back->count, c.adapter->count);
        assert_memory_equal(back->params, c.adapter->params, (size_t)back->count * sizeof(float));
        assert_string_equal(back->labels.names[1], "so \"so\"");
        ASSERT_REFUSED(adapter_save_gguf(back, c.model, "a.gguf", "a", &err), &err, "no place in a GGUF");
        adapter_free(back);
        close_case(&c);
    }
    label_list_clear(&labels);
}

// A model with a head of its own starts from it; of another number of classes, or without one, from small noise.
static void test_classify_golden_starting_heads(void **state) {
    (void)state;
    Err err;
    Case c;
    open_case(&c, "../classify/bert-all", FAMILY_HF, "cpu");
    for (int64_t labels = 3; labels <= 4; labels++) {
        AdapterConfig config = {.rank = 4, .alpha = 6, .projections = 1u << PROJ_Q, .labels = labels};
        Adapter *a;
        ASSERT_OK(adapter_new(&a, c.model, &config, 1, false, &err), &err);
        AdapterHead head = adapter_head(a);
        double squares = 0;
        for (int64_t i = 0; i < labels * 32; i++)
            squares += (double)a->params[head.weight->offset + i] * (double)a->params[head.weight->offset + i];
        double deviation = sqrt(squares / (double)(labels * 32));
        bool own =
            memcmp(a->params + head.weight->offset, c.model->class_head.segments[0].data, 32 * sizeof(float)) == 0;
        assert_true(own == (labels == 3));
        if (!own) ASSERT_NEAR(deviation, 0.02, 0.005); // of 128 draws: five standard deviations
        assert_true(own || a->params[head.bias->offset] == 0);
        adapter_free(a);
    }
    close_case(&c);
}

// Without the task, models that have no language-model head are refused by one line.
static void test_classify_golden_refusals(void **state) {
    (void)state;
    Err err;
    Family f;
    Backend *b;
    Model *m;
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    family_open(&f, "../classify/bert", FAMILY_HF);
    ASSERT_REFUSED(model_load(&m, f.path, b, NULL, &err), &err, "without a language-model head");
    family_close(&f);
    backend_close(b);
}

TEST_MAIN(SCRATCH_TEST(test_classify_golden_matches_pytorch), SCRATCH_TEST(test_classify_golden_round_trip),
          SCRATCH_TEST(test_classify_golden_starting_heads), SCRATCH_TEST(test_classify_golden_refusals))
