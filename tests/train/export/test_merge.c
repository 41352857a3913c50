// merge: every family's adapter folded into its base, from folders, shards and GGUF files, against the logits that PEFT
// computed with the adapter; and what a merged model keeps of its base.
#include <math.h>
#include <string.h>

#include "family_logits.h"
#include "fileio.h"
#include "gguf.h"
#include "logits.h"
#include "merge_internal.h"
#include "path.h"
#include "scratch.h"
#include "test.h"
#include "weight_source.h"

typedef struct Case {
    Family family;
    Backend *backend;
    Model *base, *merged;
    Adapter *adapter;
} Case;

static Model *load(Case *c, const char *path) {
    Model *m;
    Err err;
    ASSERT_OK(model_load(&m, path, c->backend, &(ModelOptions){.max_positions = 24}, &err), &err);
    // GGUF has no key for query_pre_attn_scalar; readers know the sizes of the published models.
    if (m->is_gguf && strcmp(m->config.arch->gguf, "gemma2") == 0) m->config.query_scale = 1 / sqrtf(24);
    return m;
}

static void open_case(Case *c, const char *name, FamilyFile kind) {
    Err err;
    *c = (Case){0};
    family_open(&c->family, name, kind);
    ASSERT_OK(backend_open(&c->backend, "cpu", 2, &err), &err);
    c->base = load(c, c->family.path);
    c->adapter = family_adapter(&c->family, c->base);
}

static void merge(Case *c, const char *out, MergeOptions o) {
    Err err;
    ASSERT_OK(model_merge(c->base, c->adapter, out, &o, &err), &err);
    c->merged = load(c, out);
}

static void close_case(Case *c) {
    model_free(c->merged);
    adapter_free(c->adapter);
    model_free(c->base);
    backend_close(c->backend);
    family_close(&c->family);
}

static void check_family(const char *name, FamilyFile kind, MergeOptions o, double limit) {
    Case c;
    open_case(&c, name, kind);
    merge(&c, kind < FAMILY_GGUF ? "merged" : "merged.gguf", o);
    double error = family_logit_error(&c.family, c.merged);
    if (!(error <= limit) || (limit > 1e-3 && error < limit / 100))
        fail_msg("%s: relative error %g, limit %g", c.family.path, error, limit);
    close_case(&c);
    Err err;
    if (kind < FAMILY_GGUF)
        ASSERT_OK(dir_remove("merged", &err), &err);
    else
        assert_int_equal(unlink("merged.gguf"), 0);
}

static const MergeOptions keep = {.dtype = DTYPE_COUNT}, to_f32 = {.dtype = DTYPE_F32};
static const double SAME = 1e-4; // float32 on both sides

static void test_merge_folders(void **state) {
    (void)state;
    static const char *const names[] = {
        "llama3",   "llama-bias", "mistral", "qwen2",    "qwen3",           "gemma2",
        "gemma3",   "phi3",       "gpt2",    "gpt2-all", "phi4-mini-short", "mixtral",
        "qwen3moe", "phi3-all",   "granite", "olmo3",    "qwen2moe",        "starcoder2",
        "phi",      "glm",        "glm4",    "cohere",   "cohere2",         "ministral3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_family(names[i], FAMILY_HF, keep, SAME);
}

static void test_merge_gguf_files(void **state) {
    (void)state;
    static const char *const names[] = {"llama3", "llama-bias", "qwen2",      "qwen3",    "gemma2",  "gemma3",
                                        "phi3",   "gpt2",       "mixtral",    "qwen3moe", "smollm3", "granite",
                                        "olmo3",  "qwen2moe",   "starcoder2", "phi",      "glm",     "glm4",
                                        "cohere", "cohere2",    "ministral3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_family(names[i], FAMILY_GGUF, to_f32, SAME);
    check_family("llama-bias", FAMILY_GGUF_FUSED, to_f32, SAME);
}

// The logits of a merged model are those of its base with PEFT's adapter (adapter/test_peft.c).
static void check_dora(const char *family, const char *adapter, const char *out) {
    enum { TOKENS = 12, VOCAB = 64 };
    static const int32_t ids[TOKENS] = {5, 60, 33, 7, 12, 12, 0, 44, 3, 21, 9, 50};
    float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
    Case c;
    Err err;
    open_case(&c, family, FAMILY_HF);
    adapter_free(c.adapter);
    ASSERT_OK(adapter_load(&c.adapter, c.base, adapter, false, &err), &err);
    merge(&c, out, to_f32);
    assert_int_equal(c.base->config.vocab, VOCAB);
    ASSERT_OK(model_logits(c.base, c.adapter, ids, TOKENS, want, &err), &err);
    ASSERT_OK(model_logits(c.merged, NULL, ids, TOKENS, got, &err), &err);
    ASSERT_NEAR(relative_error(got, want, TOKENS * VOCAB), 0, 1e-5);
    close_case(&c);
}

// Pairs of routed and shared experts, into every layout of their tensors.
static void check_experts(const char *family, FamilyFile kind, uint32_t projections, const char *out) {
    enum { TOKENS = 12, VOCAB = 64 };
    static const int32_t ids[TOKENS] = {5, 60, 33, 7, 12, 12, 0, 44, 3, 21, 9, 50};
    float want[TOKENS * VOCAB], plain[TOKENS * VOCAB], got[TOKENS * VOCAB];
    Case c;
    Err err;
    open_case(&c, family, kind);
    adapter_free(c.adapter);
    AdapterConfig config = {.rank = 3, .alpha = 6, .projections = projections};
    ASSERT_OK(adapter_new(&c.adapter, c.base, &config, 7, false, &err), &err);
    for (int64_t i = 0; i < c.adapter->count; i++) c.adapter->params[i] += (float)((i * 7919 + 13) % 255 - 127) / 1024;
    merge(&c, out, to_f32);
    ASSERT_OK(model_logits(c.base, NULL, ids, TOKENS, plain, &err), &err);
    ASSERT_OK(model_logits(c.base, c.adapter, ids, TOKENS, want, &err), &err);
    ASSERT_OK(model_logits(c.merged, NULL, ids, TOKENS, got, &err), &err);
    ASSERT_NEAR(relative_error(got, want, TOKENS * VOCAB), 0, 1e-5);
    assert_true(relative_error(plain, want, TOKENS * VOCAB) > 1e-2);
    close_case(&c);
}

static void test_merge_experts(void **state) {
    (void)state;
    check_experts("mixtral", FAMILY_HF, PROJ_EXPERT_BITS, "mixtral");
    check_experts("mixtral", FAMILY_HF, PROJ_EXPERT_BITS, "mixtral.gguf");
    check_experts("qwen3moe", FAMILY_GGUF, PROJ_EXPERT_BITS, "qwen3moe.gguf");
    check_experts("qwen2moe", FAMILY_HF, PROJ_EXPERT_BITS | PROJ_SHARED_BITS, "qwen2moe.gguf");
}

static void test_merge_dora(void **state) {
    (void)state;
    check_dora("qwen2", TEST_DIR "/golden/adapters/dora", "qwen2");
    check_dora("qwen2", TEST_DIR "/golden/adapters/dora", "qwen2.gguf");
    check_dora("gpt2-all", TEST_DIR "/golden/adapters/dora-gpt2", "gpt2");
    check_dora("gpt2-all", TEST_DIR "/golden/adapters/dora-gpt2", "gpt2.gguf");
}

// Two F16 shards become float32 ones, and F16 of their own, each tensor once.
static void test_merge_shards(void **state) {
    (void)state;
    check_family("gpt2", FAMILY_HF_SHARDED, to_f32, SAME);
    check_family("qwen2", FAMILY_HF_SHARDED, keep, 2e-3);
    check_family("qwen3", FAMILY_HF_SHARDED, (MergeOptions){.dtype = DTYPE_BF16, .shard_bytes = 1 << 12}, 3e-2);
    check_family("gemma3", FAMILY_HF, (MergeOptions){.dtype = DTYPE_F32, .shard_bytes = 1 << 14}, SAME);
}

static void test_merge_dtypes_of_gguf(void **state) {
    (void)state;
    check_family("qwen2", FAMILY_GGUF, keep, 2e-3); // F16
    check_family("llama3", FAMILY_GGUF, (MergeOptions){.dtype = DTYPE_BF16}, 3e-2);
    check_family("llama3", FAMILY_GGUF, (MergeOptions){.dtype = DTYPE_Q8_0}, 3e-2);
    check_family("qwen2", FAMILY_GGUF, (MergeOptions){.dtype = DTYPE_Q4_0}, 0.5);
    check_family("qwen2", FAMILY_GGUF, (MergeOptions){.dtype = DTYPE_Q5_1}, 0.2);
}

// ---- the mixtures ----

static void check_same_file(const char *a_path, const char *b_path) {
    char *a, *b;
    size_t a_size, b_size;
    Err err;
    ASSERT_OK(file_read(&a, &a_size, a_path, 1 << 24, &err), &err);
    ASSERT_OK(file_read(&b, &b_size, b_path, 1 << 24, &err), &err);
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a, b, a_size);
    mem_free(a);
    mem_free(b);
}

typedef struct TypeCase {
    const char *name;
    int64_t cols;
    DType main, written;
} TypeCase;

static DType type_in_mixture(const ModelConfig *config, const TypeCase *t) {
    Model m = {.config = *config, .is_gguf = true};
    SourceTensor s = {.name = t->name, .dtype = DTYPE_F32, .n_dims = 2, .shape = {64, t->cols}};
    MergeTensor tensor = {.source = &s, .name = t->name, .n_dims = 2, .shape = {64, t->cols}};
    Merge g = {.m = &m, .dtype = t->main, .tensors = &tensor, .n = 1};
    merge_choose_types(&g);
    return tensor.dtype;
}

// Rows of llama-quantize's output: for a model of 32 layers, and for one with narrow rows and a tied head.
static void test_merge_mixes_types_as_llama_quantize(void **state) {
    (void)state;
    static const TypeCase wide[] = {{"output.weight", 4096, DTYPE_Q4_K, DTYPE_Q6_K},
                                    {"token_embd.weight", 4096, DTYPE_Q4_K, DTYPE_Q4_K},
                                    {"blk.0.attn_v.weight", 4096, DTYPE_Q4_K, DTYPE_Q6_K},
                                    {"blk.4.attn_v.weight", 4096, DTYPE_Q4_K, DTYPE_Q4_K},
                                    {"blk.6.ffn_down.weight", 11008, DTYPE_Q4_K, DTYPE_Q6_K},
                                    {"blk.7.ffn_down.weight", 11008, DTYPE_Q4_K, DTYPE_Q4_K},
                                    {"blk.28.ffn_down.weight", 11008, DTYPE_Q5_K, DTYPE_Q6_K},
                                    {"blk.0.ffn_up.weight", 4096, DTYPE_Q4_K, DTYPE_Q4_K},
                                    {"blk.5.attn_q.weight", 4096, DTYPE_Q5_K, DTYPE_Q5_K},
                                    {"blk.5.attn_qkv.weight", 4096, DTYPE_Q4_K, DTYPE_Q5_K},
                                    {"blk.5.attn_qkv.weight", 4096, DTYPE_Q5_K, DTYPE_Q6_K},
                                    {"blk.0.attn_v.weight", 4096, DTYPE_Q4_0, DTYPE_Q4_0},
                                    {"output.weight", 4096, DTYPE_Q4_0, DTYPE_Q6_K},
                                    {"output.weight", 4096, DTYPE_Q8_0, DTYPE_Q8_0},
                                    {"output.weight", 4096, DTYPE_F16, DTYPE_F16},
                                    {"blk.0.ffn_gate_inp.weight", 4096, DTYPE_Q4_K, DTYPE_F32}};
    static const TypeCase narrow[] = {
        {"token_embd.weight", 576, DTYPE_Q4_K, DTYPE_Q8_0},      {"token_embd.weight", 576, DTYPE_Q4_0, DTYPE_Q8_0},
        {"blk.0.attn_q.weight", 576, DTYPE_Q4_K, DTYPE_Q5_0},    {"blk.0.attn_v.weight", 576, DTYPE_Q4_K, DTYPE_Q8_0},
        {"blk.0.attn_q.weight", 576, DTYPE_Q5_K, DTYPE_Q5_1},    {"blk.0.attn_q.weight", 576, DTYPE_Q6_K, DTYPE_Q8_0},
        {"blk.0.ffn_down.weight", 1536, DTYPE_Q4_K, DTYPE_Q6_K}, {"blk.0.attn_q.weight", 24, DTYPE_Q4_0, DTYPE_F16},
        {"blk.0.attn_q.weight", 24, DTYPE_Q4_K, DTYPE_F16}};
    const ModelConfig llama = {.layers = 32, .hidden = 4096, .heads = 32, .kv_heads = 32};
    const ModelConfig small = {.layers = 30, .hidden = 576, .heads = 9, .kv_heads = 3, .tied_head = true};
    const ModelConfig mixtral = {.layers = 32, .hidden = 4096, .heads = 32, .kv_heads = 8, .experts = 8};
    const ModelConfig large = {.layers = 80, .hidden = 8192, .heads = 64, .kv_heads = 8};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (type_in_mixture(&llama, &wide[i]) != wide[i].written) fail_msg("%s, case %zu", wide[i].name, i);
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++)
        if (type_in_mixture(&small, &narrow[i]) != narrow[i].written) fail_msg("%s, case %zu", narrow[i].name, i);
    const TypeCase key = {"blk.9.attn_k.weight", 4096, DTYPE_Q4_K, DTYPE_Q8_0};
    const TypeCase value = {"blk.10.attn_v.weight", 8192, DTYPE_Q4_K, DTYPE_Q5_K};
    assert_int_equal(type_in_mixture(&mixtral, &key), DTYPE_Q8_0);
    assert_int_equal(type_in_mixture(&large, &value), DTYPE_Q5_K);
}

// The same bits for any number of threads.
static void test_merge_is_the_same_for_any_threads(void **state) {
    (void)state;
    Case c;
    Err err;
    open_case(&c, "qwen2", FAMILY_GGUF);
    MergeOptions o = {.dtype = DTYPE_Q5_1};
    ASSERT_OK(model_merge(c.base, c.adapter, "two.gguf", &o, &err), &err);
    c.backend->threads = 1;
    ASSERT_OK(model_merge(c.base, c.adapter, "one.gguf", &o, &err), &err);
    check_same_file("one.gguf", "two.gguf");
    close_case(&c);
}

// ---- what is kept ----

static bool begins(GgufStr name, const char *start) {
    return name.len >= strlen(start) && memcmp(name.data, start, strlen(start)) == 0;
}

static void test_merge_keeps_metadata_of_gguf(void **state) {
    (void)state;
    Case c;
    Gguf *base, *merged;
    Err err;
    open_case(&c, "llama3", FAMILY_GGUF);
    merge(&c, "merged.gguf", (MergeOptions){.dtype = DTYPE_F16});
    ASSERT_OK(gguf_open(&base, c.family.path, &err), &err);
    ASSERT_OK(gguf_open(&merged, "merged.gguf", &err), &err);
    char ignored[8];
    size_t kept = 0;
    for (size_t i = 0; i < gguf_key_count(base); i++) {
        if (begins(gguf_key_at(base, i, ignored, sizeof ignored), "general.file_type") ||
            begins(gguf_key_at(base, i, ignored, sizeof ignored), "general.quantization_version"))
            continue;
        GgufStr want = gguf_key_raw(base, i), got = gguf_key_raw(merged, kept++);
        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.data, want.data, want.len);
    }
    assert_int_equal(gguf_key_count(merged), kept + 2);
    uint64_t type;
    ASSERT_OK(gguf_u64(merged, "general.file_type", true, &type, &err), &err);
    assert_int_equal(type, 1);
    for (int64_t i = 0; i < gguf_tensor_count(base); i++) { // vectors as they were, matrices in the new type
        const GgufTensor *want = gguf_tensor_at(base, i), *got = gguf_tensor_at(merged, i);
        assert_string_equal(got->name, want->name);
        assert_int_equal(got->dtype, want->n_dims > 1 ? DTYPE_F16 : want->dtype);
        if (want->n_dims == 1) assert_memory_equal(got->data, want->data, want->bytes);
    }
    gguf_close(base);
    gguf_close(merged);
    close_case(&c);
}

static void check_kept(const Case *c, const char *name) {
    char *before = path_join(c->family.path, name), *after = path_join("merged", name);
    check_same_file(before, after);
    mem_free(before);
    mem_free(after);
}

static void test_merge_keeps_files_of_a_folder(void **state) {
    (void)state;
    Case c;
    open_case(&c, "qwen2", FAMILY_HF);
    char *path = mem_printf("%s/pytorch_model.bin", c.family.path), *note = mem_printf("%s/notes.txt", c.family.path);
    scratch_put(path, "x", 1);
    scratch_put(note, "hello", 5);
    merge(&c, "merged", keep);
    check_kept(&c, "config.json");
    check_kept(&c, "tokenizer.json");
    check_kept(&c, "notes.txt");
    assert_false(path_exists("merged/pytorch_model.bin"));
    assert_false(path_exists("merged/model.safetensors.index.json"));
    WeightSource *a, *b;
    Err err;
    ASSERT_OK(weight_source_open(&a, c.family.path, &err), &err);
    ASSERT_OK(weight_source_open(&b, "merged", &err), &err);
    assert_int_equal(a->n_tensors, b->n_tensors);
    size_t changed = 0;
    for (size_t i = 0; i < a->n_tensors; i++) {
        const SourceTensor *x = &a->tensors[i], *y = weight_source_get(b, x->name);
        assert_non_null(y);
        assert_int_equal(y->bytes, x->bytes);
        changed += memcmp(x->data, y->data, x->bytes) != 0;
    }
    assert_int_equal(changed, c.adapter->n_segments / 2);
    weight_source_close(a);
    weight_source_close(b);
    mem_free(path);
    mem_free(note);
    close_case(&c);
}

// A merged model has the chat template that its adapter was trained with.
static void test_merge_takes_the_adapters_template(void **state) {
    (void)state;
    static const char own[] = "{% for m in messages %}<{{ m.content }}>{% endfor %}";
    for (int i = 0; i < 2; i++) {
        Case c;
        open_case(&c, "llama3", i ? FAMILY_GGUF : FAMILY_HF);
        adapter_set_chat_template(c.adapter, own);
        merge(&c, i ? "own.gguf" : "own", (MergeOptions){.dtype = DTYPE_F16});
        assert_string_equal(c.merged->tokenizer->chat_template, own);
        close_case(&c);
    }
}

static void check_dtype_in_config(Case *c, const char *before, const char *after) {
    char *path = mem_printf("%s/config.json", c->family.path), *old, *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&old, &size, path, 1 << 20, &err), &err);
    char *body = strstr(old, "\"dtype\""); // the fixture's own
    char *whole = body ? mem_printf("%.*s%s%s", (int)(body - old), old, before, body + strcspn(body, ",}")) : NULL;
    assert_non_null(whole);
    scratch_put(path, whole, strlen(whole));
    Model *base = load(c, c->family.path); // as it is now: a base that changes after it was loaded is refused
    ASSERT_OK(model_merge(base, c->adapter, "merged", &(MergeOptions){.dtype = DTYPE_BF16}, &err), &err);
    model_free(base);
    ASSERT_OK(file_read(&text, &size, "merged/config.json", 1 << 20, &err), &err);
    if (!strstr(text, after)) fail_msg("config.json is %s; expected %s in it", text, after);
    ASSERT_OK(dir_remove("merged", &err), &err);
    scratch_put(path, old, strlen(old));
    mem_free(path);
    mem_free(old);
    mem_free(text);
    mem_free(whole);
}

static void test_merge_changes_the_dtype_in_config(void **state) {
    (void)state;
    Case c;
    open_case(&c, "qwen2", FAMILY_HF);
    check_dtype_in_config(&c, "\"dtype\": \"float32\"", "\"dtype\": \"bfloat16\"");
    check_dtype_in_config(&c, "\"torch_dtype\" : null", "\"torch_dtype\" : \"bfloat16\"");
    check_dtype_in_config(&c, "\"other\": 1", "\"torch_dtype\": \"bfloat16\"");
    close_case(&c);
}

// ---- refusals ----

static void test_merge_refuses(void **state) {
    (void)state;
    Case c, g;
    Err err;
    open_case(&c, "qwen2", FAMILY_HF);
    open_case(&g, "llama3", FAMILY_GGUF);
    ASSERT_REFUSED(model_merge(g.base, g.adapter, "x", &keep, &err), &err, "the base is GGUF and merges into GGUF");
    ASSERT_REFUSED(model_merge(c.base, c.adapter, ".", &keep, &err), &err, ".: already exists");
    ASSERT_REFUSED(model_merge(c.base, c.adapter, "x", &(MergeOptions){.dtype = DTYPE_Q8_0}, &err), &err,
                   "Q8_0 is a type of GGUF files");
    c.adapter->config.labels = 3;
    ASSERT_REFUSED(model_merge(c.base, c.adapter, "x", &keep, &err), &err,
                   "a classifier of 3 classes: it has no place");
    c.adapter->config.labels = 0;
    g.adapter->params[0] = 1e6f; // A of the first pair: a product that halves do not hold
    for (int64_t i = 0; i < g.adapter->segments[1].rows * g.adapter->segments[1].cols; i++)
        g.adapter->params[g.adapter->segments[1].offset + i] = 1e3f;
    ASSERT_REFUSED(model_merge(g.base, g.adapter, "x.gguf", &(MergeOptions){.dtype = DTYPE_F16}, &err), &err,
                   "too large for F16");
    assert_int_equal(err.kind, ERR_RUNTIME);
    assert_false(path_exists("x.gguf") || path_exists("x"));
    close_case(&g);
    close_case(&c);
}

TEST_MAIN(SCRATCH_TEST(test_merge_folders), SCRATCH_TEST(test_merge_gguf_files), SCRATCH_TEST(test_merge_dora),
          SCRATCH_TEST(test_merge_experts), SCRATCH_TEST(test_merge_shards), SCRATCH_TEST(test_merge_dtypes_of_gguf),
          TEST(test_merge_mixes_types_as_llama_quantize), SCRATCH_TEST(test_merge_is_the_same_for_any_threads),
          SCRATCH_TEST(test_merge_keeps_metadata_of_gguf), SCRATCH_TEST(test_merge_keeps_files_of_a_folder),
          SCRATCH_TEST(test_merge_takes_the_adapters_template), SCRATCH_TEST(test_merge_changes_the_dtype_in_config),
          SCRATCH_TEST(test_merge_refuses))
