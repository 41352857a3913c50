// Every family that lorac knows, from Hugging Face folders and from GGUF files, against transformers and PEFT: logits,
// loss, gradients of the adapter and AdamW steps. Cases and their files: golden/make_families_golden.py.
#include <math.h>
#include <string.h>

#include "decoder.h"
#include "golden_check.h"
#include "logits.h"
#include "scratch.h"
#include "strided_backend.h"

enum { MAX_TOKENS = 64 };

typedef struct Case {
    Family family;
    Backend *backend;
    Model *model;
    Adapter *adapter;
    int32_t *ids, *start;
} Case;

static void open_case(Case *c, const char *name, FamilyFile kind, const char *device) {
    Err err;
    *c = (Case){0};
    family_open(&c->family, name, kind);
    if (strcmp(device, "strided") == 0)
        c->backend = strided_open();
    else
        ASSERT_OK(backend_open(&c->backend, device, 2, &err), &err);
    ASSERT_OK(model_load(&c->model, c->family.path, c->backend, &(ModelOptions){.max_positions = 24}, &err), &err);
    // GGUF has no key for query_pre_attn_scalar; readers know the sizes of the published models.
    if (kind == FAMILY_GGUF && strcmp(name, "gemma2") == 0) c->model->config.query_scale = 1 / sqrtf(24);
    c->adapter = family_adapter(&c->family, c->model);
    c->ids = family_golden(&c->family, "ids", NULL);
    c->start = family_golden(&c->family, "start", NULL);
}

static void close_case(Case *c) {
    mem_free(c->ids);
    mem_free(c->start);
    adapter_free(c->adapter);
    model_free(c->model);
    backend_close(c->backend);
    family_close(&c->family);
}

static void check_logits(const Case *c, const Adapter *a, const char *name) {
    size_t n;
    float *want = family_golden(&c->family, name, &n), *got = mem_alloc(n, sizeof *got);
    Err err;
    ASSERT_OK(model_logits(c->model, a, c->ids, c->start[1], got, &err), &err);
    double error = relative_error(got, want, n);
    if (!(error <= LOGITS)) fail_msg("%s: %s: relative error %g", c->family.path, name, error);
    mem_free(want);
    mem_free(got);
}

// --- one step as the trainer makes it ---

typedef struct Packed {
    int32_t ids[MAX_TOKENS], pos[MAX_TOKENS], start[3], position[MAX_TOKENS], target[MAX_TOKENS];
    Row row;
} Packed;

// Samples a and b as one row; every token but a sample's first is scored.
static void pack(Packed *p, const Case *c, int a, int b) {
    p->row = (Row){
        .samples = 2, .ids = p->ids, .pos = p->pos, .start = p->start, .position = p->position, .target = p->target};
    const int which[2] = {a, b};
    p->start[0] = 0;
    for (int s = 0; s < 2; s++) {
        const int32_t *ids = c->ids + c->start[which[s]];
        int64_t n = c->start[which[s] + 1] - c->start[which[s]];
        for (int64_t i = 0; i < n; i++, p->row.tokens++) {
            p->ids[p->row.tokens] = ids[i];
            p->pos[p->row.tokens] = (int32_t)i;
            if (i + 1 == n) continue;
            p->position[p->row.scored] = (int32_t)p->row.tokens;
            p->target[p->row.scored++] = ids[i + 1];
        }
        p->start[s + 1] = (int32_t)p->row.tokens;
    }
}

// Mean loss of the row; its gradient is added to the adapter's.
static double run_row(const Case *c, const Packed *p, Recompute recompute) {
    const Kernels *k = c->backend->k;
    RowInputs *in = row_inputs_new(c->backend, MAX_TOKENS, 2);
    row_inputs_set(in, &p->row, c->model->config.hidden, (PassState){.grad_scale = 1.0f / (float)p->row.scored});
    Tape *t = tape_new(c->backend);
    DecoderOptions o = {.recompute = recompute};
    decoder_build_loss(t, c->model, c->adapter, in, &o);
    size_t bytes = tape_plan(t, TAPE_TRAIN);
    void *arena = k->alloc(c->backend, bytes);
    memset(arena, 0xFF, bytes); // NaN: what was not written shows
    tape_run(t, arena);
    HeadResult result;
    k->download(c->backend, &result, in->result, sizeof result);
    k->free(c->backend, arena, bytes);
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
    pack(&p, s->c, 2 * step % 4, (2 * step + 1) % 4);
    return run_row(s->c, &p, s->recompute);
}

static void check_family(const char *name, FamilyFile kind, const char *device, Recompute recompute) {
    Case c;
    open_case(&c, name, kind, device);
    check_logits(&c, NULL, "logits");
    check_logits(&c, c.adapter, "logits_adapter");
    check_steps(&c.family, c.model, c.adapter, run_step, &(Steps){&c, recompute});
    close_case(&c);
}

static void check_families(const char *const *names, int n, FamilyFile kind) {
    for (int i = 0; i < n && kind == FAMILY_HF; i++) check_family(names[i], kind, "strided", (Recompute)((i + 1) % 4));
    for (int i = 0; i < n; i++) check_family(names[i], kind, i % 8 == 2 ? "ref" : "cpu", (Recompute)(i % 4));
}
#define CHECK_FAMILIES(kind, ...)                                                                                      \
    check_families((const char *[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), kind)

// A GGUF of the llama architecture has no sliding window, so "mistral" is compared from its folder only.
static void test_families_gguf(void **state) {
    (void)state;
    CHECK_FAMILIES(FAMILY_GGUF, "llama3", "llama-bias", "llama-yarn", "qwen2", "qwen3", "gemma2", "gemma3", "phi3",
                   "phi4-mini-short", "phi4-mini-long", "gpt2", "mixtral", "qwen3moe");
    CHECK_FAMILIES(FAMILY_GGUF_FUSED, "llama-bias");
}

// Mixtures of experts, which files store in several ways (test_moe.c has the others).
static void test_families_experts(void **state) {
    (void)state;
    CHECK_FAMILIES(FAMILY_HF, "mixtral", "qwen3moe", "qwen3moe-dense", "mixtral-top1", "qwen3moe-all");
    CHECK_FAMILIES(FAMILY_HF_SHARDED, "qwen3moe", "qwen3moe-dense", "mixtral", "qwen3moe-all", "mixtral-top1");
}

static void test_families_hugging_face(void **state) {
    (void)state;
    CHECK_FAMILIES(FAMILY_HF, "llama3", "llama-bias", "llama-yarn", "mistral", "qwen2", "qwen3", "gemma2", "gemma3",
                   "phi3", "phi3-all", "phi4-mini-short", "phi4-mini-long", "gpt2", "gpt2-all");
}

// Shards and their index, F16 (GPT-2: transposed at load).
static void test_families_hugging_face_shards(void **state) {
    (void)state;
    CHECK_FAMILIES(FAMILY_HF_SHARDED, "llama3", "gemma3", "phi3", "gpt2-all");
}

TEST_MAIN(SCRATCH_TEST(test_families_gguf), SCRATCH_TEST(test_families_hugging_face),
          SCRATCH_TEST(test_families_hugging_face_shards), SCRATCH_TEST(test_families_experts))
