// Adapters on every family: files hold whole modules under the names of PEFT and llama.cpp, come back bit for bit and
// compute the same; and cached generation equals the full forward pass.
#include <math.h>

#include "decode_engine.h"
#include "family_fixture.h"
#include "fileio.h"
#include "gguf.h"
#include "logits.h"
#include "peft_internal.h"
#include "scratch.h"
#include "test.h"

#define BIT(p) PROJ_BIT(PROJ_##p)
enum {
    QKV = BIT(Q) | BIT(K) | BIT(V),
    ALL = (1 << PROJ_CONV_B) - 1,
    CONV = 15 << PROJ_CONV_B,
    TOKENS = 24,
    VOCAB = 64
};

typedef struct Fixture {
    Family family;
    Backend *backend;
    Model *model;
    int32_t *ids;
} Fixture;

static Fixture open_family(const char *name, FamilyFile kind) {
    Fixture f = {0};
    Err err;
    family_open(&f.family, name, kind);
    ASSERT_OK(backend_open(&f.backend, "cpu", 2, &err), &err);
    ASSERT_OK(model_load(&f.model, f.family.path, f.backend, &(ModelOptions){.max_positions = TOKENS}, &err), &err);
    f.ids = family_golden(&f.family, "ids", NULL);
    return f;
}

static void close_family(Fixture *f) {
    mem_free(f->ids);
    model_free(f->model);
    backend_close(f->backend);
    family_close(&f->family);
}

// An adapter with a B that is not zero: every number another multiple of 2^-10.
static Adapter *random_adapter(const Fixture *f, uint32_t projections, int64_t *layers, int64_t n_layers) {
    AdapterConfig c = {.rank = 4, .alpha = 6, .projections = projections, .layers = layers, .n_layers = n_layers};
    Adapter *a;
    Err err;
    ASSERT_OK(adapter_new(&a, f->model, &c, 7, false, &err), &err);
    for (int64_t i = 0; i < a->count; i++) a->params[i] += (float)((i * 7919 + 13) % 255 - 127) / 1024;
    return a;
}

static void logits(const Fixture *f, const Adapter *a, float out[TOKENS * VOCAB]) {
    Err err;
    ASSERT_OK(model_logits(f->model, a, f->ids, TOKENS, out, &err), &err);
}

// What was written comes back: as whole modules that compute the same, and narrowed to what was trained the same bits.
static void check_file(const Fixture *f, const Adapter *a, const char *path) {
    Adapter *b;
    Err err;
    ASSERT_OK(adapter_load(&b, f->model, path, false, &err), &err);
    float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
    logits(f, a, want);
    logits(f, b, got);
    for (int i = 0; i < TOKENS * VOCAB; i++) ASSERT_NEAR(got[i], want[i], 1e-5);
    assert_int_equal(adapter_narrow(&b, f->model, a->config.projections), 0);
    assert_int_equal(b->count, a->count);
    assert_memory_equal(b->params, a->params, (size_t)a->count * sizeof(float));
    for (int64_t i = 0; i < a->n_segments; i++) assert_string_equal(a->segments[i].name, b->segments[i].name);
    adapter_free(b);
}

static void check_round_trip(const char *name, FamilyFile kind, uint32_t projections) {
    Fixture f = open_family(name, kind);
    int64_t last = f.model->config.layers - 1;
    for (int one_layer = 0; one_layer < 2; one_layer++) {
        Adapter *a = random_adapter(&f, projections, one_layer ? &last : NULL, one_layer);
        char peft[64], gguf[80];
        snprintf(peft, sizeof peft, "%s-%x-%d", name, projections, one_layer);
        snprintf(gguf, sizeof gguf, "%s.gguf", peft);
        Err err;
        ASSERT_OK(adapter_save_peft(a, f.model, peft, NULL, &err), &err);
        ASSERT_OK(adapter_save_gguf(a, f.model, gguf, "test", &err), &err);
        check_file(&f, a, peft);
        check_file(&f, a, gguf);
        adapter_free(a);
    }
    close_family(&f);
}

// What PEFT or llama.cpp has not for experts.
static void test_family_adapters_refuse_options_of_experts(void **state) {
    (void)state;
    static const uint32_t gate = BIT(EXPERT_GATE), all = PROJ_EXPERT_BITS;
    const struct {
        AdapterConfig config;
        const char *part;
    } cases[] = {
        {{.projections = gate}, "a target is experts.gate_proj alone"},
        {{.projections = all ^ gate}, "a target is experts.up_proj alone"},
        {{.projections = all, .dropout = 0.1f}, "lora_dropout is 0.1 with targets among routed experts"},
        {{.projections = all, .dora = true}, "use_dora with a target among experts"},
        {{.projections = PROJ_SHARED_BITS, .dora = true}, "use_dora with a target among experts"},
        {{.projections = all, .init = ADAPTER_PISSA}, "pissa or olora with targets among routed experts"},
    };
    Fixture f = open_family("qwen2moe", FAMILY_HF);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AdapterConfig c = cases[i].config;
        Adapter *a;
        Err err;
        c.rank = 2, c.alpha = 4;
        ASSERT_REFUSED(adapter_new(&a, f.model, &c, 1, false, &err), &err, cases[i].part);
    }
    close_family(&f);
}

static void test_family_adapters_round_trip(void **state) {
    (void)state;
    check_round_trip("llama-bias", FAMILY_GGUF, ALL);
    check_round_trip("llama-bias", FAMILY_GGUF_FUSED, ALL);
    check_round_trip("llama-bias", FAMILY_GGUF_FUSED, BIT(Q) | BIT(V));
    check_round_trip("llama-bias", FAMILY_GGUF_FUSED, BIT(K) | BIT(DOWN));
    check_round_trip("qwen2", FAMILY_GGUF, QKV);
    check_round_trip("mixtral", FAMILY_GGUF, PROJ_EXPERT_BITS);
    check_round_trip("qwen3moe-dense", FAMILY_HF, PROJ_EXPERT_BITS | BIT(Q));
    check_round_trip("qwen2moe", FAMILY_GGUF, PROJ_EXPERT_BITS);
    check_round_trip("qwen2moe-dense", FAMILY_HF, PROJ_EXPERT_BITS | PROJ_SHARED_BITS);
    check_round_trip("qwen2moe", FAMILY_HF, PROJ_SHARED_BITS | BIT(V));
    check_round_trip("qwen3", FAMILY_GGUF, ALL);
    check_round_trip("gemma2", FAMILY_GGUF, ALL);
    check_round_trip("gemma3", FAMILY_GGUF, BIT(Q) | BIT(V) | BIT(DOWN));
    check_round_trip("phi3", FAMILY_GGUF, BIT(Q) | BIT(V) | BIT(UP) | BIT(O));
    check_round_trip("phi3", FAMILY_GGUF, ALL);
    check_round_trip("gpt2", FAMILY_GGUF, BIT(K) | BIT(V) | BIT(UP));
    check_round_trip("gpt2-all", FAMILY_HF, BIT(Q) | BIT(V) | BIT(DOWN));
    check_round_trip("phi3-all", FAMILY_HF, QKV | BIT(GATE));
    check_round_trip("llama3", FAMILY_HF_SHARDED, ALL);
    check_round_trip("mixtral", FAMILY_GGUF, QKV | BIT(O));
    check_round_trip("lfm2", FAMILY_GGUF, ALL | CONV);
    check_round_trip("lfm2-taps", FAMILY_HF, CONV | BIT(UP));
}

// A fused base and a split one of the same weights: the same adapter moves both alike.
static void test_family_adapters_fused_base_is_the_same_model(void **state) {
    (void)state;
    Fixture split = open_family("llama-bias", FAMILY_GGUF), fused = open_family("llama-bias", FAMILY_GGUF_FUSED);
    Adapter *a = random_adapter(&split, ALL, NULL, 0), *b;
    float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
    Err err;
    ASSERT_OK(adapter_save_peft(a, split.model, "peft", NULL, &err), &err);
    ASSERT_OK(adapter_load(&b, fused.model, "peft", false, &err), &err);
    logits(&split, a, want);
    logits(&fused, b, got);
    for (int i = 0; i < TOKENS * VOCAB; i++) ASSERT_NEAR(got[i], want[i], 1e-5);
    // three blocks are four, so that B is multiplied by a power of two
    ASSERT_OK(adapter_save_gguf(b, fused.model, "a.gguf", "test", &err), &err);
    Gguf *g;
    ASSERT_OK(gguf_open(&g, "a.gguf", &err), &err);
    const GgufTensor *t = gguf_tensor(g, "blk.0.attn_qkv.weight.lora_b");
    assert_true(t && t->shape[0] == 16 && t->shape[1] == 64);
    assert_null(gguf_tensor(g, "blk.0.attn_q.weight.lora_b"));
    gguf_close(g);
    adapter_free(a);
    adapter_free(b);
    close_family(&split);
    close_family(&fused);
}

// Modules that differ in rank, alpha and layers: as they are in GGUF, and with zeros below them where q, k and v are
// one linear of the file.
static void check_each(const char *name, FamilyFile kind, int64_t fused_rank) {
    Fixture f = open_family(name, kind);
    AdapterRank each[2 * PROJ_COUNT] = {[PROJ_Q] = {3, 6},
                                        [PROJ_V] = {40, 12},
                                        [PROJ_UP] = {2, 6},
                                        [PROJ_COUNT + PROJ_K] = {5, 6},
                                        [PROJ_COUNT + PROJ_Q] = {1, 0.3f}};
    AdapterConfig c = {.rank = 8,
                       .alpha = 6,
                       .projections = BIT(Q) | BIT(K) | BIT(V) | BIT(UP),
                       .each = each,
                       .n_each = 2 * PROJ_COUNT};
    Adapter *a, *b;
    float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
    Err err;
    Gguf *g;
    ASSERT_OK(adapter_new(&a, f.model, &c, 7, false, &err), &err);
    for (int64_t i = 0; i < a->count; i++) a->params[i] += (float)((i * 7919 + 13) % 255 - 127) / 1024;
    logits(&f, a, want);
    ASSERT_OK(adapter_save_peft(a, f.model, "each", NULL, &err), &err);
    ASSERT_OK(adapter_save_gguf(a, f.model, "each.gguf", "test", &err), &err);
    ASSERT_OK(gguf_open(&g, "each.gguf", &err), &err);
    const GgufTensor *t = gguf_tensor(g, fused_rank ? "blk.0.attn_qkv.weight.lora_b" : "blk.0.attn_v.weight.lora_b");
    assert_true(t && t->shape[0] == (fused_rank ? fused_rank : 40));
    gguf_close(g);
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(adapter_load(&b, f.model, i ? "each.gguf" : "each", false, &err), &err);
        logits(&f, b, got);
        for (int j = 0; j < TOKENS * VOCAB; j++) ASSERT_NEAR(got[j], want[j], 1e-5);
        adapter_free(b);
    }
    adapter_free(a);
    close_family(&f);
}

// Parts of a fused module share its rank; what was trained of it is found again.
static void check_each_fused(void) {
    Fixture f = open_family("gpt2", FAMILY_GGUF);
    AdapterRank each[2 * PROJ_COUNT] = {
        [PROJ_Q] = {3, 6}, [PROJ_V] = {3, 6}, [PROJ_COUNT + PROJ_Q] = {5, 2}, [PROJ_COUNT + PROJ_V] = {5, 2}};
    AdapterConfig c = {.rank = 3, .alpha = 6, .projections = BIT(Q) | BIT(V), .each = each, .n_each = 2 * PROJ_COUNT};
    Adapter *a;
    Err err;
    ASSERT_OK(adapter_new(&a, f.model, &c, 7, false, &err), &err);
    assert_int_equal(a->n_segments, 4);
    for (int64_t i = 0; i < a->count; i++) a->params[i] += (float)((i * 7919 + 13) % 255 - 127) / 1024;
    ASSERT_OK(adapter_save_peft(a, f.model, "fused", NULL, &err), &err);
    check_file(&f, a, "fused");
    adapter_free(a);
    close_family(&f);
}

static void test_family_adapters_differ_by_module(void **state) {
    (void)state;
    check_each_fused();
    check_each("qwen3", FAMILY_GGUF, 0);
    check_each("llama-bias", FAMILY_GGUF, 0);
    check_each("llama-bias", FAMILY_GGUF_FUSED, 80);
}

// llama.cpp takes alpha 0 as no scaling, whatever the rank of each tensor.
static void test_family_adapters_gguf_without_alpha(void **state) {
    (void)state;
    Fixture f = open_family("qwen3", FAMILY_GGUF);
    static float values[64 * 64];
    for (int i = 0; i < 64 * 64; i++) values[i] = 0.01f;
    int64_t rows, cols;
    model_projection_shape(&f.model->config, PROJ_V, &rows, &cols);
    GgufWriter *w = gguf_writer_new();
    Adapter *a;
    Err err;
    gguf_writer_string(w, "general.type", "adapter");
    gguf_writer_string(w, "general.architecture", "qwen3");
    gguf_writer_string(w, "adapter.type", "lora");
    gguf_writer_f32(w, "adapter.lora.alpha", 0);
    for (int64_t layer = 0; layer < 2; layer++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.attn_v.weight.lora_a", (int)layer);
        gguf_writer_tensor(w, name, DTYPE_F32, 2, (int64_t[]){cols, layer + 1}, values);
        snprintf(name, sizeof name, "blk.%d.attn_v.weight.lora_b", (int)layer);
        gguf_writer_tensor(w, name, DTYPE_F32, 2, (int64_t[]){layer + 1, rows}, values);
    }
    ASSERT_OK(gguf_writer_save(w, "a.gguf", replace_any, &err), &err);
    gguf_writer_free(w);
    ASSERT_OK(adapter_load(&a, f.model, "a.gguf", false, &err), &err);
    assert_int_equal(a->n_segments, 4);
    for (int i = 0; i < 4; i++) ASSERT_NEAR(a->segments[i].scale, 1, 0);
    assert_int_equal(a->segments[2].rows, 2);
    adapter_free(a);
    close_family(&f);
}

// target_modules: names that PEFT resolves to exactly the trained modules.
static void check_targets(const char *name, FamilyFile kind, uint32_t projections, const char *want, bool fan) {
    Fixture f = open_family(name, kind);
    Adapter *a = random_adapter(&f, projections, NULL, 0);
    cJSON *config = peft_config_write(a, f.model, "base");
    char *flat = cJSON_PrintUnformatted(config), *targets = mem_printf("\"target_modules\":[%s]", want);
    if (!strstr(flat, targets)) fail_msg("%s: %s lacks %s", name, flat, targets);
    assert_int_equal(strstr(flat, "\"fan_in_fan_out\":true") != NULL, fan);
    mem_free(targets);
    cJSON_free(flat);
    cJSON_Delete(config);
    adapter_free(a);
    close_family(&f);
}

static void test_family_adapters_targets(void **state) {
    (void)state;
    check_targets("gpt2", FAMILY_GGUF, BIT(Q) | BIT(V), "\"c_attn\"", true);
    check_targets("gpt2", FAMILY_GGUF, QKV | BIT(O), "\"c_attn\",\"attn.c_proj\"", true);
    check_targets("gpt2", FAMILY_GGUF, BIT(DOWN), "\"mlp.c_proj\"", true);
    check_targets("gpt2", FAMILY_GGUF, BIT(O) | BIT(UP) | BIT(DOWN), "\"c_proj\",\"c_fc\"", true);
    check_targets("phi3", FAMILY_GGUF, BIT(V) | BIT(GATE), "\"qkv_proj\",\"gate_up_proj\"", false);
    check_targets("qwen3", FAMILY_GGUF, BIT(Q) | BIT(UP), "\"q_proj\",\"up_proj\"", false);
}

// A vision tower has modules of the same names: whole paths, layer by layer, and the names that transformers gives
// them.
static void test_family_adapters_in_a_multimodal_model(void **state) {
    (void)state;
    check_targets("gemma3", FAMILY_HF_TOWERS, BIT(Q),
                  "\"model.language_model.layers.0.self_attn.q_proj\","
                  "\"model.language_model.layers.1.self_attn.q_proj\","
                  "\"model.language_model.layers.2.self_attn.q_proj\","
                  "\"model.language_model.layers.3.self_attn.q_proj\","
                  "\"model.language_model.layers.4.self_attn.q_proj\","
                  "\"model.language_model.layers.5.self_attn.q_proj\","
                  "\"model.language_model.layers.6.self_attn.q_proj\"",
                  false);
    Fixture text = open_family("gemma3", FAMILY_GGUF), whole = open_family("gemma3", FAMILY_HF_TOWERS);
    float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
    logits(&text, NULL, want);
    logits(&whole, NULL, got);
    for (int i = 0; i < TOKENS * VOCAB; i++) ASSERT_NEAR(got[i], want[i], 1e-5);
    Adapter *a = random_adapter(&whole, BIT(Q) | BIT(O), NULL, 0);
    assert_string_equal(a->segments[1].name,
                        "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_B.weight");
    Err err;
    ASSERT_OK(adapter_save_peft(a, whole.model, "peft", NULL, &err), &err);
    check_file(&whole, a, "peft");
    adapter_free(a);
    close_family(&text);
    close_family(&whole);
}

static uint32_t targets(const char *model_type, const char *name) {
    return architecture_targets(architecture_by_model_type(model_type), name);
}

static void test_family_adapters_name_modules_as_peft_does(void **state) {
    (void)state;
    assert_int_equal(targets("gpt2", "c_attn"), QKV);
    assert_int_equal(targets("gpt2", "q_proj"), BIT(Q));
    assert_int_equal(targets("gpt2", "c_proj"), BIT(O) | BIT(DOWN));
    assert_int_equal(targets("gpt2", "mlp.c_proj"), BIT(DOWN));
    assert_int_equal(targets("gpt2", "transformer.h.3.attn.c_proj"), BIT(O));
    assert_int_equal(targets("gpt2", "gate_proj"), BIT(GATE)); // which no GPT-2 has: refused where it is asked for
    assert_int_equal(targets("phi3", "gate_up_proj"), BIT(GATE) | BIT(UP));
    assert_int_equal(targets("phi3", "up_proj"), BIT(UP));
    assert_int_equal(targets("bert", "query"), BIT(Q));
    assert_int_equal(targets("bert", "output.dense"), BIT(O) | BIT(DOWN)); // the end of both paths
    assert_int_equal(targets("llama", "proj"), 0);
    assert_int_equal(targets("llama", "c_attn"), 0);
    assert_int_equal(targets("llama", ""), 0);
}

// A PEFT folder may say its targets as a pattern, or layer by layer.
static void test_family_adapters_read_patterns(void **state) {
    (void)state;
    Fixture f = open_family("qwen3", FAMILY_GGUF);
    int64_t layer = 1;
    Adapter *a = random_adapter(&f, BIT(Q) | BIT(V), &layer, 1), *b;
    Err err;
    ASSERT_OK(adapter_save_peft(a, f.model, "peft", NULL, &err), &err);
    static const char *const configs[] = {
        "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":\"model\\\\.layers\\\\.1\\\\..*[qv]_"
        "proj\"}",
        "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":[\"layers.1.self_attn.q_proj\","
        "\"layers.1.self_attn.v_proj\"]}"};
    for (int i = 0; i < 2; i++) {
        scratch_put("peft/adapter_config.json", configs[i], strlen(configs[i]));
        ASSERT_OK(adapter_load(&b, f.model, "peft", false, &err), &err);
        assert_int_equal(b->count, a->count);
        assert_memory_equal(b->params, a->params, (size_t)a->count * sizeof(float));
        adapter_free(b);
    }
    adapter_free(a);
    close_family(&f);
}

// Narrowing never drops what was trained.
static void test_family_adapters_narrow_keeps_values(void **state) {
    (void)state;
    Fixture f = open_family("gpt2", FAMILY_GGUF);
    Adapter *a = random_adapter(&f, QKV, NULL, 0);
    Adapter *before = a;
    assert_int_equal(adapter_narrow(&a, f.model, BIT(Q) | BIT(V)), 1); // k's rows are not zero
    assert_int_equal(adapter_narrow(&a, f.model, BIT(Q) | BIT(O)), 1); // has no o
    assert_ptr_equal(a, before);
    adapter_free(a);
    close_family(&f);
}

// ---- Hugging Face folders ----

static void replace_in(const char *path, const char *from, const char *to) {
    char *text;
    size_t n;
    Err err;
    ASSERT_OK(file_read(&text, &n, path, 1 << 20, &err), &err);
    char *at = strstr(text, from);
    assert_non_null(at);
    char *changed = mem_printf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    scratch_put(path, changed, strlen(changed));
    mem_free(changed);
    mem_free(text);
}

// Gemma 3's text models: the tokenizer has a control token that the model has no row for. A word token is refused.
static void test_family_adapters_tokenizer_beyond_the_embedding(void **state) {
    (void)state;
    Family f;
    Backend *b;
    Model *m;
    Err err;
    family_open(&f, "gemma3", FAMILY_HF);
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    replace_in("gemma3-0/tokenizer.json", "\"special\": true\n    }\n  ],",
               "\"special\": true\n    },\n    {\"id\": 64, \"content\": \"<image>\", \"single_word\": false, "
               "\"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true}\n  ],");
    ASSERT_OK(model_load(&m, f.path, b, NULL, &err), &err);
    assert_int_equal(m->tokenizer->vocab_size, 65);
    float row[VOCAB];
    ASSERT_REFUSED(model_logits(m, NULL, (int32_t[]){64}, 1, row, &err), &err, "token id 64");
    model_free(m);
    replace_in("gemma3-0/tokenizer.json", "\"special\": true}", "\"special\": false}");
    ASSERT_REFUSED(model_load(&m, f.path, b, NULL, &err), &err,
                   "has id 64 (of 65 tokens); expected ids below the 64 rows");
    backend_close(b);
    family_close(&f);
}

// ---- cached generation ----

static void check_decode(const char *name) {
    Fixture f = open_family(name, FAMILY_HF);
    Adapter *a = family_adapter(&f.family, f.model);
    float want[TOKENS * VOCAB], got[VOCAB];
    logits(&f, a, want);
    DecodeEngine *e = decode_engine_new(f.model, 2, TOKENS, TOKENS);
    static const int64_t counts[] = {10, 1, 1, 5, 1, 6};
    int64_t past = 0;
    for (int i = 0; i < 6; i++) {
        // the same tokens as two sequences, of which the second is one run behind
        DecodePiece pieces[2] = {{a, 0, past, counts[i], past + counts[i], f.ids + past},
                                 {a, 1, past - (i ? counts[i - 1] : 0), i ? counts[i - 1] : 0, past, NULL}};
        pieces[1].ids = f.ids + pieces[1].past;
        decode_engine_run(e, pieces, i ? 2 : 1);
        past += counts[i];
        for (int s = 0; s < (i ? 2 : 1); s++) {
            const float *row = want + (pieces[s].past + pieces[s].count - 1) * VOCAB;
            decode_engine_logits(e, s, got);
            for (int v = 0; v < VOCAB; v++)
                if (!(fabsf(got[v] - row[v]) <= 2e-5f))
                    fail_msg("%s: %g, want %g", name, (double)got[v], (double)row[v]);
        }
    }
    decode_engine_free(e);
    adapter_free(a);
    close_family(&f);
}

static void test_family_adapters_decode_as_the_full_pass(void **state) {
    (void)state;
    static const char *const names[] = {"llama3",   "llama-yarn",
                                        "qwen2",    "qwen3",
                                        "gemma2",   "gemma3",
                                        "phi3",     "phi4-mini-long",
                                        "gpt2",     "mixtral",
                                        "smollm3",  "smollm3-window",
                                        "granite",  "gemma",
                                        "olmo2",    "olmo3",
                                        "qwen2moe", "starcoder2-window",
                                        "phi",      "glm",
                                        "glm4",     "cohere",
                                        "cohere2",  "ministral3",
                                        "granite4", "ernie4_5",
                                        "gpt_oss",  "lfm2",
                                        "lfm2-taps"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_decode(names[i]);
}

TEST_MAIN(SCRATCH_TEST(test_family_adapters_round_trip), SCRATCH_TEST(test_family_adapters_refuse_options_of_experts),
          SCRATCH_TEST(test_family_adapters_fused_base_is_the_same_model), SCRATCH_TEST(test_family_adapters_targets),
          SCRATCH_TEST(test_family_adapters_differ_by_module), SCRATCH_TEST(test_family_adapters_gguf_without_alpha),
          SCRATCH_TEST(test_family_adapters_in_a_multimodal_model),
          TEST(test_family_adapters_name_modules_as_peft_does), SCRATCH_TEST(test_family_adapters_read_patterns),
          SCRATCH_TEST(test_family_adapters_narrow_keeps_values),
          SCRATCH_TEST(test_family_adapters_tokenizer_beyond_the_embedding),
          SCRATCH_TEST(test_family_adapters_decode_as_the_full_pass))
