// merge_convert: Hugging Face folders of every family become GGUF files with the tensors and keys of llama.cpp's
// converter (golden/families/NAME/base.gguf), and with an adapter in them give PEFT's logits.
#include <math.h>
#include <string.h>

#include "family_logits.h"
#include "gguf.h"
#include "logits.h"
#include "merge.h"
#include "path.h"
#include "scratch.h"
#include "test.h"

static const char *const FAMILIES[] = {
    "llama3",  "llama-bias",     "llama-yarn",      "qwen2",      "qwen3",    "gemma2",  "gemma3",  "phi3",
    "gpt2",    "phi4-mini-long", "phi4-mini-short", "mixtral",    "qwen3moe", "smollm3", "granite", "gemma",
    "olmo2",   "olmo3",          "qwen2moe",        "starcoder2", "phi",      "glm",     "glm4",    "cohere",
    "cohere2", "ministral3",     "ernie4_5",        "lfm2",       "lfm2-taps"};

typedef struct Case {
    Family family;
    Backend *backend;
    Model *base;
} Case;

static Model *load(Case *c, const char *path) {
    Model *m;
    Err err;
    ASSERT_OK(model_load(&m, path, c->backend, &(ModelOptions){.max_positions = 24}, &err), &err);
    return m;
}

static void open_case(Case *c, const char *name) {
    Err err;
    *c = (Case){0};
    family_open(&c->family, name, FAMILY_HF);
    ASSERT_OK(backend_open(&c->backend, "cpu", 2, &err), &err);
    c->base = load(c, c->family.path);
    // A scale of queries that no published model has, and GGUF no key for: refused, see below.
    if (strcmp(name, "gemma2") == 0) c->base->config.query_scale = 0.25f;
}

static void close_case(Case *c) {
    model_free(c->base);
    backend_close(c->backend);
    family_close(&c->family);
}

static void convert(const Case *c, const Adapter *a, DType dtype) {
    Err err;
    ASSERT_OK(model_merge(c->base, a, "out.gguf", &(MergeOptions){.dtype = dtype}, &err), &err);
}

// ---- against the converter ----

static void check_tensors(const char *name, const Gguf *own, const Gguf *want) {
    assert_int_equal(gguf_tensor_count(own), gguf_tensor_count(want));
    for (int64_t i = 0; i < gguf_tensor_count(want); i++) {
        const GgufTensor *x = gguf_tensor_at(want, i), *y = gguf_tensor(own, x->name);
        if (!y || y->dtype != x->dtype || y->n_dims != x->n_dims || memcmp(y->shape, x->shape, sizeof x->shape) != 0 ||
            memcmp(y->data, x->data, x->bytes) != 0)
            fail_msg("%s: %s is not as llama.cpp's converter writes it", name, x->name);
    }
}

// Keys that lorac writes in its own way: names, flags that it never leaves out, and head sizes that are the default.
static bool is_own_key(GgufStr key) {
    static const char *const ends[] = {"general.name", "add_bos_token", "add_eos_token", "attention.key_length",
                                       "attention.value_length"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i]);
        if (key.len >= n && memcmp(key.data + key.len - n, ends[i], n) == 0) return true;
    }
    return false;
}

static size_t count_keys(const Gguf *g) {
    size_t n = 0;
    char ignored[8];
    for (size_t i = 0; i < gguf_key_count(g); i++) n += !is_own_key(gguf_key_at(g, i, ignored, sizeof ignored));
    return n;
}

static bool same_key(const Gguf *own, const Gguf *want, size_t i) {
    char ignored[8];
    GgufStr name = gguf_key_at(want, i, ignored, sizeof ignored), raw = gguf_key_raw(want, i);
    for (size_t k = 0; k < gguf_key_count(own); k++) {
        GgufStr other = gguf_key_at(own, k, ignored, sizeof ignored), value = gguf_key_raw(own, k);
        if (other.len != name.len || memcmp(other.data, name.data, name.len) != 0) continue;
        if (value.len != raw.len) return false;
        if (memcmp(value.data, raw.data, raw.len) == 0) return true;
        float a, b; // computed in double precision there
        memcpy(&a, value.data + value.len - 4, 4);
        memcpy(&b, raw.data + raw.len - 4, 4);
        return memmem(name.data, name.len, "attn_factor", 11) && fabsf(a - b) <= 1e-6f * fabsf(b);
    }
    return false;
}

static void check_keys(const char *name, const Gguf *own, const Gguf *want) {
    char ignored[8];
    for (size_t i = 0; i < gguf_key_count(want); i++) {
        GgufStr key = gguf_key_at(want, i, ignored, sizeof ignored);
        if (!is_own_key(key) && !same_key(own, want, i))
            fail_msg("%s: %.*s is not as llama.cpp's converter writes it", name, (int)key.len, key.data);
    }
    if (count_keys(own) != count_keys(want)) fail_msg("%s: %zu keys, not %zu", name, count_keys(own), count_keys(want));
}

static void test_convert_as_llama_cpp(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
        Case c;
        Gguf *own, *want;
        Err err;
        open_case(&c, FAMILIES[i]);
        convert(&c, NULL, DTYPE_F16);
        char *golden = path_join(c.family.dir, "base.gguf");
        ASSERT_OK(gguf_open(&own, "out.gguf", &err), &err);
        ASSERT_OK(gguf_open(&want, golden, &err), &err);
        check_tensors(FAMILIES[i], own, want);
        check_keys(FAMILIES[i], own, want);
        gguf_close(own);
        gguf_close(want);
        mem_free(golden);
        assert_int_equal(unlink("out.gguf"), 0);
        close_case(&c);
    }
}

// ---- with an adapter ----

static void check_merged(const char *name, DType dtype, double limit) {
    Case c;
    open_case(&c, name);
    Adapter *a = family_adapter(&c.family, c.base);
    convert(&c, a, dtype);
    Model *merged = load(&c, "out.gguf");
    if (strcmp(name, "gemma2") == 0) merged->config.query_scale = 1 / sqrtf(24);
    double error = family_logit_error(&c.family, merged);
    if (!(error <= limit)) fail_msg("%s: relative error %g, limit %g", name, error, limit);
    model_free(merged);
    adapter_free(a);
    assert_int_equal(unlink("out.gguf"), 0);
    close_case(&c);
}

static void test_convert_with_an_adapter(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) check_merged(FAMILIES[i], DTYPE_F32, 1e-4);
    check_merged("llama3", DTYPE_BF16, 3e-2);
    check_merged("llama3", DTYPE_Q8_0, 3e-2);
    check_merged("qwen3", DTYPE_Q4_K, 0.5);
    check_merged("gpt2", DTYPE_Q5_1, 0.2);
}

// ---- what a GGUF file cannot hold ----

static void check_refused(Case *c, const char *want) {
    Err err;
    ASSERT_REFUSED(model_merge(c->base, NULL, "x.gguf", &(MergeOptions){.dtype = DTYPE_F16}, &err), &err, want);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_false(path_exists("x.gguf"));
}

static void check_family_refused(const char *name, const char *want) {
    Case c;
    open_case(&c, name);
    check_refused(&c, want);
    close_case(&c);
}

static void test_convert_refuses(void **state) {
    (void)state;
    check_family_refused("llama-dynamic", "dynamic RoPE scaling has no form in GGUF");
    check_family_refused("cohere2-bias", "a head of its own (lm_head), which llama.cpp does not compute for cohere2");
    check_family_refused("qwen3moe-dense", "layer 1 of a mixture of experts is dense");
    Case c;
    open_case(&c, "gemma2");
    c.base->config.query_scale = 1 / sqrtf(24);
    check_refused(&c, "query_pre_attn_scalar is 24; llama.cpp computes this model with 16");
    close_case(&c);
    open_case(&c, "qwen3moe");
    c.base->config.renormalise_experts = false;
    check_refused(&c, "norm_topk_prob is false with 3 of 8 experts");
    close_case(&c);
    open_case(&c, "gemma3");
    c.base->config.layer_sliding[3] = 0;
    check_refused(&c, "follow no pattern");
    c.base->config.layer_sliding[3] = 1;
    c.base->config.tied_head = false;
    check_refused(&c, "a head of its own");
    close_case(&c);
    open_case(&c, "olmo3");
    c.base->config.rope_local.base = 5e4f;
    check_refused(&c, "rope_theta 50000; llama.cpp computes all with 10000");
    c.base->config.rope_local.base = 1e4f;
    c.base->config.tied_head = true;
    check_refused(&c, "a tied head");
    close_case(&c);
    open_case(&c, "smollm3");
    c.base->config.layer_unrotated[3] = 0;
    check_refused(&c, "layer 3 has RoPE; llama.cpp computes smollm3 with none in every 4th layer");
    close_case(&c);
    open_case(&c, "llama3");
    c.base->config.glu = GLU_GELU_TANH;
    check_refused(&c, "another activation");
    close_case(&c);
}

static int64_t context_of(const char *path) {
    ModelConfig config;
    Err err;
    ASSERT_OK(model_read_config(&config, path, NULL, &err), &err);
    return config.context;
}

// llama.cpp computes no window for Mistral: a context within the window keeps the file the same model. The language
// model of a multimodal checkpoint is written, not the tower.
static void test_convert_windows_and_towers(void **state) {
    (void)state;
    Case c;
    open_case(&c, "mistral");
    convert(&c, NULL, DTYPE_F32);
    assert_int_equal(c.base->config.context, 64);
    assert_int_equal(context_of("out.gguf"), 8);
    assert_int_equal(unlink("out.gguf"), 0);
    close_case(&c);
    family_open(&c.family, "gemma3", FAMILY_HF_TOWERS);
    Err err;
    ASSERT_OK(backend_open(&c.backend, "cpu", 2, &err), &err);
    c.base = load(&c, c.family.path);
    convert(&c, NULL, DTYPE_F16);
    assert_int_equal(context_of("out.gguf"), 64);
    close_case(&c);
}

TEST_MAIN(SCRATCH_TEST(test_convert_as_llama_cpp), SCRATCH_TEST(test_convert_with_an_adapter),
          SCRATCH_TEST(test_convert_refuses), SCRATCH_TEST(test_convert_windows_and_towers))
