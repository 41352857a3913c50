// adapter: initialisation, PEFT folder and GGUF file there and back, verify, and everything that must be refused.
#include <math.h>

#include "adapter.h"
#include "export.h"
#include "fileio.h"
#include "gguf.h"
#include "logits.h"
#include "path.h"
#include "safetensors.h"
#include "scratch.h"
#include "tiny_model.h"
#include "verify.h"

typedef struct Fixture {
    Backend *backend;
    Model *model;
} Fixture;

static Fixture open_tiny(void) {
    Fixture f;
    Err err;
    tiny_model_write("base.gguf", &TINY_MODEL);
    ASSERT_OK(backend_open(&f.backend, "cpu", 1, &err), &err);
    ASSERT_OK(model_load(&f.model, "base.gguf", f.backend, NULL, &err), &err);
    return f;
}

static void close_tiny(Fixture *f) {
    model_free(f->model);
    backend_close(f->backend);
}

static AdapterConfig config_of(uint32_t projections) {
    return (AdapterConfig){.rank = 4, .alpha = 6, .dropout = 0.1f, .projections = projections};
}
enum { ALL = (1 << PROJ_CONV_B) - 1, Q_AND_V = 1 << PROJ_Q | 1 << PROJ_V };

// Device memory of the CPU backends is host memory.
static void randomise(Adapter *a, uint32_t seed) {
    for (int64_t i = 0; i < a->count; i++) {
        uint32_t word[4];
        rng_philox((RngKey){.seed = seed}, (uint32_t)i, 0, word);
        a->params[i] = 0.1f * rng_symmetric(word[0]);
    }
}

static Adapter *random_adapter(const Fixture *f, const AdapterConfig *c, uint32_t seed) {
    Adapter *a;
    Err err;
    ASSERT_OK(adapter_new(&a, f->model, c, 1, false, &err), &err);
    randomise(a, seed);
    return a;
}

static void assert_same(const Adapter *a, const Adapter *b) {
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->n_segments, b->n_segments);
    assert_int_equal(a->config.rank, b->config.rank);
    assert_int_equal(a->config.projections, b->config.projections);
    for (int64_t i = 0; i < a->n_segments; i++) {
        assert_int_equal(a->segments[i].layer, b->segments[i].layer);
        assert_int_equal((int)a->segments[i].parts, (int)b->segments[i].parts);
        ASSERT_NEAR(a->segments[i].scale, b->segments[i].scale, 1e-6);
    }
    assert_memory_equal(a->params, b->params, (size_t)a->count * sizeof(float));
}

static void put_text(const char *path, const char *text) { scratch_put(path, text, strlen(text)); }

// ---- initialisation and checks ----

static void test_adapter_starts_as_peft_does(void **state) {
    (void)state;
    Fixture f = open_tiny();
    AdapterConfig c = config_of(ALL);
    Adapter *a, *b;
    Err err;
    ASSERT_OK(adapter_new(&a, f.model, &c, 1, true, &err), &err);
    ASSERT_OK(adapter_new(&b, f.model, &c, 2, false, &err), &err);
    double largest = 0;
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        double bound = s->kind == SEGMENT_B ? 0 : 1 / sqrt((double)s->cols);
        for (int64_t j = 0; j < s->rows * s->cols; j++) {
            double v = fabs((double)a->params[s->offset + j]);
            if (v > bound) fail_msg("segment %lld: |%g| > %g", (long long)i, v, bound);
            if (bound > 0 && v / bound > largest) largest = v / bound;
        }
    }
    assert_true(largest > 0.99); // the whole interval is used
    assert_memory_not_equal(a->params, b->params, (size_t)a->count * sizeof(float));
    assert_non_null(a->grad);
    assert_null(b->grad);
    ASSERT_REFUSED(adapter_check(a, &err), &err, "every B of the adapter is zero");
    ASSERT_REFUSED(adapter_save_peft(a, f.model, "out", NULL, &err), &err, "zero");
    ASSERT_REFUSED(adapter_save_gguf(a, f.model, "out.gguf", "x", &err), &err, "zero");
    randomise(a, 1);
    a->params[a->count - 1] = NAN;
    ASSERT_REFUSED(adapter_save_gguf(a, f.model, "out.gguf", "x", &err), &err, "layers.1.mlp.down_proj.lora_B");
    assert_false(path_exists("out") || path_exists("out.gguf"));
    adapter_free(a);
    adapter_free(b);
    close_tiny(&f);
}

// init_lora_weights "gaussian": A ~ N(0, 1/r), B = 0.
static void test_adapter_starts_normal(void **state) {
    (void)state;
    Fixture f = open_tiny();
    AdapterConfig c = config_of(ALL);
    Adapter *a;
    Err err;
    double sum = 0, squares = 0, fourth = 0, n = 0;
    c.init = ADAPTER_GAUSSIAN;
    ASSERT_OK(adapter_new(&a, f.model, &c, 1, false, &err), &err);
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        for (int64_t j = 0; j < s->rows * s->cols; j++) {
            double v = (double)a->params[s->offset + j] * (double)(s->kind == SEGMENT_A ? s->rows : 1);
            if (s->kind == SEGMENT_B) assert_true(v == 0);
            if (s->kind == SEGMENT_A) sum += v, squares += v * v, fourth += v * v * v * v, n++;
        }
    }
    assert_true(n > 1000);
    ASSERT_NEAR(sum / n, 0, 4 / sqrt(n));
    ASSERT_NEAR(squares / n, 1, 6 / sqrt(n));
    ASSERT_NEAR(fourth / n, 3, 40 / sqrt(n));
    adapter_free(a);
    close_tiny(&f);
}

static void test_adapter_refuses_bad_configs(void **state) {
    (void)state;
    Fixture f = open_tiny();
    int64_t twice[] = {1, 1}, far[] = {2}, none[1];
    const struct {
        AdapterConfig c;
        const char *part;
    } cases[] = {
        {{.rank = 0, .alpha = 1, .projections = ALL}, "lora_r is 0"},
        {{.rank = 4, .alpha = 0, .projections = ALL}, "lora_alpha is 0"},
        {{.rank = 4, .alpha = NAN, .projections = ALL}, "lora_alpha"},
        {{.rank = 4, .alpha = 1, .dropout = 1, .projections = ALL}, "lora_dropout is 1"},
        {{.rank = 4, .alpha = 1}, "no target modules"},
        {{.rank = 4, .alpha = 1, .projections = ALL, .layers = twice, .n_layers = 2}, "ascending"},
        {{.rank = 4, .alpha = 1, .projections = ALL, .layers = far, .n_layers = 1}, "layer 2"},
        {{.rank = 4, .alpha = 1, .projections = ALL, .layers = none, .n_layers = 0}, "no layers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Adapter *a;
        Err err;
        ASSERT_REFUSED(adapter_new(&a, f.model, &cases[i].c, 1, false, &err), &err, cases[i].part);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    close_tiny(&f);
}

// ---- there and back ----

static void check_round_trip(const Fixture *f, const AdapterConfig *c, uint32_t seed) {
    Adapter *a = random_adapter(f, c, seed), *b, *d, *e;
    Err err;
    ASSERT_OK(adapter_save_peft(a, f->model, "peft", NULL, &err), &err);
    ASSERT_OK(adapter_load(&b, f->model, "peft", false, &err), &err);
    assert_same(a, b);
    assert_true(b->config.dropout == c->dropout && !b->config.rslora);
    ASSERT_OK(adapter_save_gguf(b, f->model, "a.gguf", "x", &err), &err);
    ASSERT_OK(adapter_load(&d, f->model, "a.gguf", true, &err), &err);
    assert_same(a, d);
    ASSERT_OK(adapter_save_peft(d, f->model, "peft", NULL, &err), &err); // over the first one
    ASSERT_OK(adapter_load(&e, f->model, "peft", false, &err), &err);
    assert_same(a, e);
    adapter_free(a);
    adapter_free(b);
    adapter_free(d);
    adapter_free(e);
}

static void test_adapter_round_trips_bit_for_bit(void **state) {
    (void)state;
    Fixture f = open_tiny();
    int64_t second[] = {1};
    for (uint32_t set = 1; set <= ALL; set += 9) { // many sets of projections
        AdapterConfig c = config_of(set);
        c.rslora = set % 2;
        if (set % 3 == 0) c.layers = second, c.n_layers = 1;
        check_round_trip(&f, &c, set);
    }
    close_tiny(&f);
}

// Written from llama.cpp's own rule (conversion/llama.py, permute), not from the row map of the loader.
static void test_adapter_gguf_has_llama_cpps_rows(void **state) {
    (void)state;
    Fixture f = open_tiny();
    AdapterConfig c = config_of(ALL);
    Adapter *a = random_adapter(&f, &c, 3);
    Gguf *g;
    Err err;
    ASSERT_OK(adapter_save_gguf(a, f.model, "a.gguf", "x", &err), &err);
    ASSERT_OK(gguf_open(&g, "a.gguf", &err), &err);
    float alpha;
    ASSERT_OK(gguf_f32(g, "adapter.lora.alpha", true, &alpha, &err), &err);
    assert_true(alpha == 6);
    assert_int_equal(gguf_tensor_count(g), 2 * 7 * 2);
    const float *q = gguf_tensor(g, "blk.1.attn_q.weight.lora_b")->data;
    const float *v = gguf_tensor(g, "blk.1.attn_v.weight.lora_b")->data;
    const float *qa = gguf_tensor(g, "blk.1.attn_q.weight.lora_a")->data;
    AdapterPair pq, pv;
    assert_true(adapter_pair(a, 1, PROJ_Q, &pq) && adapter_pair(a, 1, PROJ_V, &pv));
    const AdapterSegment *sa = pq.a, *sb = pq.b, *sv = pv.b;
    assert_memory_equal(qa, a->params + sa->offset, (size_t)(sa->rows * sa->cols) * sizeof(float));
    assert_memory_equal(v, a->params + sv->offset, (size_t)(sv->rows * sv->cols) * sizeof(float));
    for (int h = 0; h < 4; h++)
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 2; j++)
                assert_memory_equal(q + (h * 8 + 2 * i + j) * 4, a->params + sb->offset + (h * 8 + j * 4 + i) * 4,
                                    4 * sizeof(float));
    gguf_close(g);
    adapter_free(a);
    close_tiny(&f);
}

static void test_adapter_writes_the_config_that_every_release_reads(void **state) {
    (void)state;
    Fixture f = open_tiny();
    AdapterConfig c = config_of(Q_AND_V);
    Adapter *a = random_adapter(&f, &c, 1);
    Err err;
    ASSERT_OK(adapter_save_peft(a, f.model, "peft", "# card\n", &err), &err);
    char *text, *card;
    size_t size;
    ASSERT_OK(file_read(&text, &size, "peft/adapter_config.json", 1 << 20, &err), &err);
    assert_string_equal(text, "{\n\t\"alpha_pattern\":\t{\n\t},\n\t\"auto_mapping\":\tnull,\n"
                              "\t\"base_model_name_or_path\":\t\"base.gguf\",\n\t\"bias\":\t\"none\",\n"
                              "\t\"fan_in_fan_out\":\tfalse,\n\t\"inference_mode\":\ttrue,\n"
                              "\t\"init_lora_weights\":\ttrue,\n\t\"layer_replication\":\tnull,\n"
                              "\t\"layers_pattern\":\tnull,\n\t\"layers_to_transform\":\tnull,\n"
                              "\t\"loftq_config\":\t{\n\t},\n\t\"lora_alpha\":\t6,\n\t\"lora_dropout\":\t0.1,\n"
                              "\t\"megatron_config\":\tnull,\n\t\"megatron_core\":\t\"megatron.core\",\n"
                              "\t\"modules_to_save\":\tnull,\n\t\"peft_type\":\t\"LORA\",\n\t\"r\":\t4,\n"
                              "\t\"rank_pattern\":\t{\n\t},\n\t\"revision\":\tnull,\n"
                              "\t\"target_modules\":\t[\"q_proj\", \"v_proj\"],\n"
                              "\t\"task_type\":\t\"CAUSAL_LM\",\n"
                              "\t\"use_dora\":\tfalse,\n\t\"use_rslora\":\tfalse\n}\n");
    ASSERT_OK(file_read(&card, &size, "peft/README.md", 1 << 20, &err), &err);
    assert_string_equal(card, "# card\n");
    mem_free(text);
    mem_free(card);
    adapter_free(a);
    close_tiny(&f);
}

// Every program reads alpha * sqrt(r) / r.
static void test_adapter_writes_rslora_as_plain_lora(void **state) {
    (void)state;
    Fixture f = open_tiny();
    for (int64_t rank = 1; rank <= 24; rank++) {
        AdapterConfig c = config_of(Q_AND_V);
        c.rank = rank;
        c.alpha = (float)(rank % 3 ? 32.1 : 6.3e-3);
        c.rslora = true;
        Adapter *a = random_adapter(&f, &c, (uint32_t)rank), *b;
        AUTO_FREE char *text = NULL;
        size_t size;
        Err err;
        ASSERT_OK(adapter_save_peft(a, f.model, "peft", NULL, &err), &err);
        ASSERT_OK(adapter_load(&b, f.model, "peft", false, &err), &err);
        assert_memory_equal(a->params, b->params, (size_t)a->count * sizeof(float));
        double scale = (double)a->segments[0].scale, want = (double)c.alpha / sqrt((double)rank);
        assert_true(!b->config.rslora && fabs((double)b->segments[0].scale - scale) < 2.5e-7 * scale);
        ASSERT_OK(file_read(&text, &size, "peft/adapter_config.json", 1 << 20, &err), &err);
        assert_non_null(strstr(text, "\"use_rslora\":\tfalse"));
        double alpha = strtod(strstr(text, "\"lora_alpha\":") + sizeof "\"lora_alpha\":" - 1, NULL);
        assert_true(fabs(alpha / (double)rank - want) < 1e-6 * want);
        adapter_free(a);
        adapter_free(b);
    }
    close_tiny(&f);
}

// What SGLang stacks is whole, and computes the same.
static void test_adapter_has_siblings_for_sglang(void **state) {
    (void)state;
    Fixture f = open_tiny();
    const struct {
        uint32_t trained, filled; // 0: nothing is filled
    } cases[] = {{Q_AND_V, 0},
                 {ALL, 0},
                 {PROJ_BIT(PROJ_O) | PROJ_BIT(PROJ_DOWN), 0},
                 {PROJ_BIT(PROJ_Q), Q_AND_V},
                 {PROJ_BIT(PROJ_V), Q_AND_V},
                 {PROJ_BIT(PROJ_K), Q_AND_V | PROJ_BIT(PROJ_K)},
                 {Q_AND_V | PROJ_BIT(PROJ_UP), Q_AND_V | PROJ_BIT(PROJ_UP) | PROJ_BIT(PROJ_GATE)}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AdapterConfig c = config_of(cases[i].trained);
        int64_t second[] = {1};
        if (i % 2) c.layers = second, c.n_layers = 1;
        Adapter *a = random_adapter(&f, &c, 5), *b;
        Err err;
        ASSERT_OK(adapter_fill_siblings(&b, f.model, a, &err), &err);
        assert_true(!b == !cases[i].filled);
        for (int p = 0; b && p < PROJ_COUNT; p++) {
            AdapterPair x, y;
            assert_true(adapter_pair(b, 1, (Projection)p, &y) == (cases[i].filled >> p & 1));
            if (!(cases[i].filled >> p & 1)) continue;
            assert_true(adapter_pair(b, 0, (Projection)p, &x) == !(i % 2)); // layers stay
            bool trained = adapter_pair(a, 1, (Projection)p, &x);
            const float *got = b->params + y.b_offset, *want = trained ? a->params + x.b_offset : NULL;
            for (int64_t k = 0; k < y.rows * y.b->cols; k++) assert_true(got[k] == (want ? want[k] : 0));
        }
        adapter_free(a);
        adapter_free(b);
    }
    close_tiny(&f);
}

// ---- hostile folders and files ----

static void test_adapter_refuses_what_it_does_not_compute(void **state) {
    (void)state;
    Fixture f = open_tiny();
    AdapterConfig c = config_of(Q_AND_V);
    Adapter *a = random_adapter(&f, &c, 1), *b;
    Err err;
    ASSERT_OK(adapter_save_peft(a, f.model, "peft", NULL, &err), &err);
    const struct {
        const char *config, *part;
    } cases[] = {
        {"[]", "expected a JSON object"},
        {"{\"r\":4}", "peft_type"},
        {"{\"peft_type\":\"IA3\"}", "IA3"},
        {"{\"peft_type\":\"LORA\",\"lora_alpha\":6,\"target_modules\":[\"q_proj\"]}", "r is missing"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"r\":4}", "r"},
        {"{\"peft_type\":\"LORA\",\"r\":4.5,\"lora_alpha\":6,\"target_modules\":[\"q_proj\"]}", "4.5"},
        {"{\"peft_type\":\"LORA\",\"r\":1e300,\"lora_alpha\":6,\"target_modules\":[\"q_proj\"]}", "1e+300"},
        {"{\"peft_type\":\"LORA\",\"r\":99,\"lora_alpha\":6,\"target_modules\":[\"q_proj\"]}", "expected [99, 32]"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":-1,\"target_modules\":[\"q_proj\"]}", "lora_alpha"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":NaN,\"target_modules\":[\"q_proj\"]}", "lora_alpha is NaN"},
        {"{\"peft_type\":\"LORA\",\"r\":Infinity,\"lora_alpha\":6,\"target_modules\":[\"q_proj\"]}", "r is Infinity"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"lora_dropout\":NaN,\"target_modules\":[\"q_proj\"]}",
         "lora_dropout is NaN"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":7}", "a list of names or a pattern"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":[\"c_attn\"]}", "c_attn"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":[]}", "no target modules"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":[\"q_proj\",\"v_proj\"],\"use_dora\":"
         "true}",
         "lora_magnitude_vector is missing"},
        {"{\"peft_type\":\"LORA\",\"modules_to_save\":[\"lm_head\"]}", "modules_to_save"},
        {"{\"peft_type\":\"LORA\",\"bias\":\"all\"}", "bias"},
        {"{\"peft_type\":\"LORA\",\"init_lora_weights\":\"pissa\"}", "pissa"},
        {"{\"peft_type\":\"LORA\",\"some_future_option\":1}", "some_future_option"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":[\"q_proj\"]}", "v_proj"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":[\"q_proj\",\"k_proj\",\"v_proj\"]}",
         "k_proj.lora_A.weight is missing"},
        {"{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":6,\"target_modules\":[\"q_proj\",\"v_proj\"]}",
         "expected [8, 32]"},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":[\"q_proj\",\"v_proj\"],"
         "\"layers_to_transform\":[0]}",
         "layers.1."},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":[\"q_proj\",\"v_proj\"],"
         "\"layers_to_transform\":[-1]}",
         "leave no target modules"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_text("peft/adapter_config.json", cases[i].config);
        ASSERT_REFUSED(adapter_load(&b, f.model, "peft", false, &err), &err, cases[i].part);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    put_text("peft/adapter_config.json",
             "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"target_modules\":"
             "[\"model.layers.0.self_attn.q_proj\",\"layers.1.self_attn.q_proj\",\"v_proj\"],"
             "\"task_type\":null,\"rank_pattern\":null,\"lora_dropout\":null,\"runtime_config\":{\"a\":NaN}}");
    ASSERT_OK(adapter_load(&b, f.model, "peft", false, &err), &err);
    adapter_free(b);
    adapter_free(a);
    close_tiny(&f);
}

typedef struct GgufCase {
    const char *type, *architecture, *adapter_type, *tensor;
    int64_t shape[2];
    const char *part;
} GgufCase;

static void write_gguf_case(const GgufCase *c) {
    static const float zeros[64 * 64];
    GgufWriter *w = gguf_writer_new();
    Err err;
    gguf_writer_string(w, "general.type", c->type);
    gguf_writer_string(w, "general.architecture", c->architecture);
    gguf_writer_string(w, "adapter.type", c->adapter_type);
    gguf_writer_f32(w, "adapter.lora.alpha", 8);
    gguf_writer_tensor(w, "blk.0.attn_q.weight.lora_a", DTYPE_F32, 2, (int64_t[]){32, 4}, zeros);
    gguf_writer_tensor(w, c->tensor, DTYPE_F32, 2, c->shape, zeros);
    ASSERT_OK(gguf_writer_save(w, "bad.gguf", replace_any, &err), &err);
    gguf_writer_free(w);
}

static void test_adapter_refuses_foreign_gguf_files(void **state) {
    (void)state;
    Fixture f = open_tiny();
    const GgufCase cases[] = {
        {"model", "llama", "lora", "blk.0.attn_q.weight.lora_b", {4, 32}, "expected \"adapter\""},
        {"adapter", "qwen2", "lora", "blk.0.attn_q.weight.lora_b", {4, 32}, "expected \"llama\""},
        {"adapter", "llama", "control_vector", "blk.0.attn_q.weight.lora_b", {4, 32}, "expected \"lora\""},
        {"adapter", "llama", "lora", "blk.7.attn_q.weight.lora_b", {4, 32}, "blk.7"},
        {"adapter", "llama", "lora", "token_embd.weight.lora_b", {4, 32}, "token_embd"},
        {"adapter", "llama", "lora", "blk.00.attn_q.weight.lora_b", {4, 32}, "blk.00"},
        {"adapter", "llama", "lora", "blk.0.attn_v.weight.lora_b", {4, 16}, "attn_q.weight.lora_b is missing"},
        {"adapter", "llama", "lora", "blk.0.attn_q.weight.lora_b", {4, 16}, "expected weights [4, 32]"},
        {"adapter", "llama", "lora", "blk.0.attn_q.weight.lora_b", {8, 32}, "expected weights [4, 32]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Adapter *a;
        Err err;
        write_gguf_case(&cases[i]);
        ASSERT_REFUSED(adapter_load(&a, f.model, "bad.gguf", false, &err), &err, cases[i].part);
    }
    Adapter *a;
    Err err;
    ASSERT_REFUSED(adapter_load(&a, f.model, "base.gguf", false, &err), &err, "general.type");
    ASSERT_REFUSED(adapter_load(&a, f.model, "absent", false, &err), &err, "absent");
    close_tiny(&f);
}

static void check_has_text(const char *path, const char *part) {
    char *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
    if (!strstr(text, part)) fail_msg("%s lacks \"%s\":\n%s", path, part, text);
    mem_free(text);
}

// ---- verify ----

static int verify_quietly(const Fixture *f, const char *path, char *text, size_t size, Err *err) {
    FILE *out = tmpfile();
    assert_non_null(out);
    int rc = adapter_verify(f->model, path, out, err);
    rewind(out);
    text[fread(text, 1, size - 1, out)] = 0;
    fclose(out);
    return rc;
}

static void test_adapter_verify_compares_both_forms(void **state) {
    (void)state;
    Fixture f = open_tiny();
    AdapterConfig c = config_of(ALL);
    Adapter *a = random_adapter(&f, &c, 1), *other = random_adapter(&f, &c, 2);
    char text[4096];
    Err err;
    const char *files[] = {"train.jsonl"};
    RunFacts run = {.data_files = files, .n_data_files = 1, .steps = 7, .loss = 0.5};
    ASSERT_OK(dir_make_parents("out", &err), &err);
    ASSERT_OK(adapter_export(a, f.model, "out", "demo", &run, &err), &err);
    assert_true(path_exists("out/Modelfile") && path_exists("out/adapter/README.md"));
    ASSERT_OK(verify_quietly(&f, "out", text, sizeof text, &err), &err);
    assert_non_null(strstr(text, "largest logit difference PEFT - GGUF over 48 tokens: 0\n"));
    ASSERT_OK(verify_quietly(&f, "out/adapter", text, sizeof text, &err), &err);
    assert_non_null(strstr(text, "largest logit difference"));
    ASSERT_OK(adapter_save_gguf(other, f.model, "out/adapter.gguf", "demo", &err), &err);
    ASSERT_REFUSED(verify_quietly(&f, "out", text, sizeof text, &err), &err, "logits differ by");
    assert_int_equal(err.kind, ERR_RUNTIME);
    ASSERT_OK(dir_remove("out/adapter", &err), &err);
    ASSERT_OK(verify_quietly(&f, "out/adapter.gguf", text, sizeof text, &err), &err);
    ASSERT_REFUSED(verify_quietly(&f, "out", text, sizeof text, &err), &err, "adapter/");
    ASSERT_REFUSED(verify_quietly(&f, "nowhere", text, sizeof text, &err), &err, "not found");
    adapter_free(a);
    adapter_free(other);
    close_tiny(&f);
}

static void test_adapter_export_under_any_path(void **state) {
    (void)state;
    Fixture f = open_tiny();
    AdapterConfig c = config_of(ALL);
    static const char *const paths[] = {"a b.gguf",  "\xC3\xBC$`\\.gguf", "q\"t.gguf",   "line\nend.gguf",
                                        "cr\r.gguf", "esc\x1B[.gguf",     "bad\xFF.gguf"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        Model *m;
        Err err;
        assert_int_equal(link("base.gguf", paths[i]), 0);
        ASSERT_OK(model_load(&m, paths[i], f.backend, NULL, &err), &err);
        Adapter *a = random_adapter(&f, &c, 1);
        ASSERT_OK(dir_remove("out", &err), &err);
        ASSERT_OK(dir_make_parents("out", &err), &err);
        ASSERT_OK(adapter_export(a, m, "out", "demo", NULL, &err), &err);
        assert_true(path_exists("out/adapter.gguf") && path_exists("out/adapter/README.md"));
        check_has_text("out/Modelfile", "\nFROM ./merged.gguf\n");
        ASSERT_OK(modelfile_own("out/Modelfile", &err), &err);
        char seen[4096];
        ASSERT_OK(verify_quietly(&f, "out", seen, sizeof seen, &err), &err); // its files can be read again
        adapter_free(a);
        model_free(m);
    }
    close_tiny(&f);
}

static void test_adapter_takes_its_chat_template_along(void **state) {
    (void)state;
    static const char own[] = "{% for m in messages %}<{{ m.content }}>{% endfor %}\n";
    Fixture f = open_tiny();
    AdapterConfig c = config_of(ALL);
    Adapter *a = random_adapter(&f, &c, 1), *back;
    Err err;
    adapter_set_chat_template(a, own);
    ASSERT_OK(dir_make_parents("out", &err), &err);
    ASSERT_OK(adapter_export(a, f.model, "out", "demo", NULL, &err), &err);
    check_has_text("out/adapter/chat_template.jinja", own);
    check_has_text("out/adapter/README.md", "chat_template.jinja");
    ASSERT_OK(adapter_load(&back, f.model, "out/adapter", false, &err), &err);
    assert_string_equal(back->chat_template, own);
    adapter_set_chat_template(a, NULL);
    ASSERT_OK(adapter_export(a, f.model, "out", "demo", NULL, &err), &err);
    check_has_text("out/adapter/chat_template.jinja", f.model->tokenizer->chat_template); // the base's
    adapter_free(a);
    adapter_free(back);
    close_tiny(&f);
}

TEST_MAIN(SCRATCH_TEST(test_adapter_export_under_any_path), SCRATCH_TEST(test_adapter_takes_its_chat_template_along),
          SCRATCH_TEST(test_adapter_starts_as_peft_does), SCRATCH_TEST(test_adapter_starts_normal),
          SCRATCH_TEST(test_adapter_refuses_bad_configs), SCRATCH_TEST(test_adapter_round_trips_bit_for_bit),
          SCRATCH_TEST(test_adapter_gguf_has_llama_cpps_rows),
          SCRATCH_TEST(test_adapter_writes_the_config_that_every_release_reads),
          SCRATCH_TEST(test_adapter_writes_rslora_as_plain_lora), SCRATCH_TEST(test_adapter_has_siblings_for_sglang),
          SCRATCH_TEST(test_adapter_refuses_what_it_does_not_compute),
          SCRATCH_TEST(test_adapter_refuses_foreign_gguf_files), SCRATCH_TEST(test_adapter_verify_compares_both_forms))
