// Quantised checkpoints: their logits are those of the library that made them, or of the weights that its formula has
// (golden/quantized); and files that are not what they say are refused by name.
#include "merge.h"
#include "quantized_fixture.h"

static Backend *open_backend(void) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 2, &err), &err);
    return b;
}

static void test_quantized_logits(void **state) {
    (void)state;
    Backend *b = open_backend();
    for (int i = 0; i < QUANTIZED_NAMES; i++) {
        AUTO_MODEL Model *m = NULL;
        Err err;
        quantized_folder(quantized_names[i], quantized_names[i]);
        ASSERT_OK(model_load(&m, quantized_names[i], b, NULL, &err), &err);
        for (int p = 0; p < PROJ_CONV_B; p++) assert_true(dtype_is_grouped(m->layers[0].w[p].segments[0].dtype));
        check_quantized_logits(m, quantized_names[i], 1e-5);
    }
    backend_close(b);
}

// A merged model has the expanded weights: all bits of them in float32.
static void test_quantized_merges(void **state) {
    (void)state;
    static const char *const names[] = {"bnb-fp4-double", "gptq-4-order", "fp8-block"};
    static const char *const outs[] = {"merged", "merged.gguf"};
    Backend *b = open_backend();
    for (int i = 0; i < 6; i++) {
        AUTO_MODEL Model *m = NULL, *merged = NULL;
        Err err;
        AUTO_FREE char *out = mem_printf("%s-%s", names[i / 2], outs[i % 2]);
        if (i % 2 == 0) quantized_folder(names[i / 2], names[i / 2]);
        ASSERT_OK(model_load(&m, names[i / 2], b, NULL, &err), &err);
        ASSERT_OK(model_merge(m, NULL, out, &(MergeOptions){.dtype = DTYPE_F32}, &err), &err);
        ASSERT_OK(model_load(&merged, out, b, NULL, &err), &err);
        assert_int_equal(merged->layers[0].w[PROJ_Q].segments[0].dtype, DTYPE_F32);
        check_quantized_logits(merged, names[i / 2], 1e-5);
    }
    backend_close(b);
}

// ---- experts of numbers and scales (gpt-oss) ----

// The folder, a GGUF file with the same blocks, a merged folder, whose experts have all bytes of the base's; and a plan
// without the weights.
static void test_quantized_experts(void **state) {
    (void)state;
    static const char *const paths[] = {"mxfp4", TEST_DIR "/golden/quantized/mxfp4/base.gguf", "merged"};
    Backend *b = open_backend();
    Err err;
    size_t bytes[3];
    quantized_folder("mxfp4", "mxfp4");
    for (int i = 0; i < 3; i++) {
        AUTO_MODEL Model *m = NULL;
        ASSERT_OK(model_load(&m, paths[i], b, &(ModelOptions){.quantize = i ? QUANTIZE_NONE : QUANTIZE_NF4}, &err),
                  &err);
        for (int e = 0; e < 9; e++) assert_int_equal(m->layers[0].experts[e].segments[0].dtype, DTYPE_MXFP4);
        check_quantized_logits(m, "mxfp4", 1e-5);
        bytes[i] = m->weight_bytes;
        if (i == 0) ASSERT_OK(model_merge(m, NULL, "merged", &(MergeOptions){.dtype = DTYPE_COUNT}, &err), &err);
        if (i == 0)
            ASSERT_REFUSED(model_merge(m, NULL, "merged.gguf", &(MergeOptions){.dtype = DTYPE_COUNT}, &err), &err,
                           "gpt_oss is not converted");
    }
    assert_int_equal(bytes[0], bytes[2]);
    AUTO_MODEL Model *absent = NULL;
    ASSERT_OK(unlink("mxfp4/model.safetensors") ? err_input(&err, "unlink") : 0, &err);
    ASSERT_OK(model_load(&absent, "mxfp4", b, &(ModelOptions){.outline = true, .absent_dtype = DTYPE_BF16}, &err),
              &err);
    assert_int_equal(absent->weight_bytes, bytes[0]);
    assert_int_equal(absent->layers[0].experts[8].segments[0].dtype, DTYPE_MXFP4);
    model_free(mem_take(&absent));
    backend_close(b);
}

// ---- a bias of zeros, as AutoGPTQ writes it ----

// Adds a tensor to the checkpoint in `dir`.
static void add_bias(const char *dir, const uint16_t *bias, int64_t n) {
    enum { MOST = 64 };
    SafetensorsEntry entries[MOST];
    AUTO_SAFETENSORS Safetensors *s = NULL;
    AUTO_FREE char *path = path_join(dir, "model.safetensors");
    Err err;
    ASSERT_OK(safetensors_open(&s, path, &err), &err);
    size_t count = safetensors_count(s);
    assert_true(count < MOST);
    for (size_t i = 0; i < count; i++) {
        const SafetensorsTensor *t = safetensors_at(s, i);
        entries[i] = (SafetensorsEntry){.name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->data};
        memcpy(entries[i].shape, t->shape, sizeof t->shape);
    }
    entries[count++] = (SafetensorsEntry){
        .name = "model.layers.0.self_attn.q_proj.bias", .dtype = DTYPE_F16, .n_dims = 1, .shape = {n}, .data = bias};
    ASSERT_OK(safetensors_save(path, entries, count, NULL, 0, replace_quantized, &err), &err);
}

static void test_quantized_ignores_zero_biases(void **state) {
    (void)state;
    uint16_t bias[64] = {0};
    AUTO_MODEL Model *m = NULL, *refused = NULL;
    Err err;
    Backend *b = open_backend();
    quantized_folder("gptq-4", "zeros");
    quantized_folder("gptq-4", "others");
    add_bias("zeros", bias, 64);
    bias[63] = 1;
    add_bias("others", bias, 64);
    ASSERT_OK(model_load(&m, "zeros", b, NULL, &err), &err);
    check_quantized_logits(m, "gptq-4", 1e-5);
    ASSERT_REFUSED(model_load(&refused, "others", b, NULL, &err), &err, "q_proj.bias is not part of the llama graph");
    model_free(mem_take(&m));
    backend_close(b);
}

// ---- a checkpoint with one thing changed ----

typedef struct Change {
    const char *name;      // of the checkpoint
    const char *file;      // NULL: config.json
    const char *from, *to; // text of the file; of model.safetensors: of equal length
    const char *tensor;    // whose bytes from `at` on become `bytes`, if not NULL
    int at;
    uint8_t bytes[4];
    int n_bytes;
    const char *message;
} Change;

static void replace_text(char **text, size_t *n, const char *from, const char *to) {
    char *at = memmem(*text, *n, from, strlen(from));
    if (!at) fail_msg("no %s", from);
    size_t before = (size_t)(at - *text), after = *n - before - strlen(from), size = before + strlen(to) + after;
    char *changed = mem_alloc(size + 1, 1);
    memcpy(changed, *text, before);
    memcpy(changed + before, to, strlen(to));
    memcpy(changed + before + strlen(to), at + strlen(from), after);
    mem_free(*text);
    *text = changed;
    *n = size;
}

static void poke(char *text, size_t n, const char *path, const Change *c) {
    Safetensors *s;
    Err err;
    ASSERT_OK(safetensors_open(&s, path, &err), &err);
    const SafetensorsTensor *t = safetensors_get(s, c->tensor);
    assert_non_null(t);
    char *at = memmem(text, n, t->data, t->bytes); // the first with the same bytes
    memcpy(at + c->at, c->bytes, (size_t)c->n_bytes);
    safetensors_close(s);
}

static void write_changed(const Change *c, const char *dir) {
    char *text;
    size_t n;
    Err err;
    quantized_folder(c->name, dir);
    AUTO_FREE char *path = path_join(dir, c->file ? c->file : "config.json");
    ASSERT_OK(file_read(&text, &n, path, 1 << 20, &err), &err);
    if (c->tensor)
        poke(text, n, path, c);
    else
        replace_text(&text, &n, c->from, c->to);
    ASSERT_OK(file_write_whole(path, text, n, replace_quantized, &err), &err);
    mem_free(text);
}

#define FILE_NAME "model.safetensors"
#define Q_PROJ "model.layers.0.self_attn.q_proj"
static const Change changes[] = {
    {"bnb-nf4", FILE_NAME, "q_proj.weight.absmax", "q_proj.weight.absmaX",
     .message = "q_proj.weight.absmax is missing"},
    {"bnb-nf4", FILE_NAME, "\"shape\": [64, 64]", "\"shape\": [64, 60]", .message = "multiple of 8"},
    {"bnb-nf4", FILE_NAME, "\"shape\": [64, 64]", "\"shape\": [64, 32]", .message = "of 4 bits takes 1024"},
    {"bnb-nf4", FILE_NAME, "\"shape\": [64, 64]", "\"shape\": [-4, 64]", .message = "expected sizes above 0"},
    {"bnb-nf4", FILE_NAME, "\"shape\": [64, 64]", "\"shape\": [9e18,8]", .message = "expected the rows and columns"},
    {"bnb-nf4", FILE_NAME, "\"shape\": [64, 64]", "\"shape\": [128,32]", .message = "has shape [128, 32]"},
    {"bnb-nf4", FILE_NAME, "\"blocksize\": 64", "\"blocksize\": 60", .message = "a multiple of 8"},
    {"bnb-nf4", FILE_NAME, "\"blocksize\": 64", "\"blocksize\": 32", .message = "expected 256"},
    {"bnb-nf4", FILE_NAME, "\"blocksize\"", "\"blocksizE\"", .message = "blocksize is missing"},
    {"bnb-nf4", FILE_NAME, .tensor = Q_PROJ ".weight.quant_map", .at = 3, .bytes = {0x3F}, .n_bytes = 1,
     .message = "level 0 is 1; expected -1 of nf4"},
    {"bnb-nf4", FILE_NAME, .tensor = Q_PROJ ".weight.absmax", .at = 2, .bytes = {0xC0, 0x7F}, .n_bytes = 2,
     .message = "not finite"},
    {"bnb-nf4-double", FILE_NAME, "nested_quant_map", "nested_quant_maP", .message = "nested_quant_map is missing"},
    {"bnb-nf4-double", FILE_NAME, "\"nested_blocksize\": 256", "\"nested_blocksize\": 016",
     .message = "found a leading zero"},
    {"bnb-int8", FILE_NAME, "q_proj.SCB", "q_proj.SCb", .message = "q_proj.weight has type I8"},
    {"bnb-int8", .from = "\"load_in_8bit\": true", .to = "\"load_in_8bit\": false", .message = "load_in_4bit"},
    {"fp8-block", .from = "32\n    ]", .to = "16\n    ]", .message = "has 8 elements; expected 16"},
    {"fp8-block", .from = "32\n    ]", .to = "4\n    ]", .message = "weight_block_size"},
    {"fp8-block", FILE_NAME, .tensor = Q_PROJ ".weight", .at = 9, .bytes = {0x7F}, .n_bytes = 1,
     .message = "not finite"},
    {"fp8-tensor", FILE_NAME, "q_proj.weight_scale", "q_proj.weight_scalE", .message = "has type F8_E4M3"},
    {"gptq-4-order", FILE_NAME, .tensor = Q_PROJ ".g_idx", .at = 8, .bytes = {2}, .n_bytes = 1,
     .message = "column 2 is in group 2 of 2"},
    {"gptq-4-order", FILE_NAME, .tensor = Q_PROJ ".g_idx", .at = 11, .bytes = {0x80}, .n_bytes = 1,
     .message = "in group -214748364"},
    {"gptq-4", FILE_NAME, "q_proj.qzeros", "q_proj.qzeroS", .message = "q_proj.qzeros is missing"},
    {"gptq-4", FILE_NAME, "q_proj.qweight", "q_proj.qweighT", .message = "q_proj.weight is missing"},
    {"ct-packed-4", FILE_NAME, "q_proj.weight_packed", "q_proj.weight_packeD",
     .message = "q_proj.weight_packed is missing"},
    {"gptq-4", .from = "\"bits\": 4", .to = "\"bits\": 3", .message = "quantization_config.bits is 3; expected 4 or 8"},
    {"gptq-4", .from = "\"bits\": 4", .to = "\"bits\": 8", .message = "has 4 groups of a row of 64"},
    {"gptq-4", .from = "\"group_size\": 32", .to = "\"group_size\": 16", .message = "group_size is 16"},
    {"gptq-4", .from = "\"gptq\"\n", .to = "\"marlin\"\n", .message = "checkpoint_format is \"marlin\""},
    {"gptq-4", .from = "\"sym\"", .to = "\"dynamic\": {\"a\": {}}, \"sym\"", .message = "dynamic is an object"},
    {"awq", .from = "\"gemm\"", .to = "\"gemv\"", .message = "version is \"gemv\"; expected \"gemm\""},
    {"awq", .from = "\"awq\"", .to = "\"aqlm\"", .message = "quantised with \"aqlm\"; expected bitsandbytes, fp8"},
    {"awq", .from = "\"quant_method\"", .to = "\"method\"", .message = "quant_method"},
    {"ct-packed-4", .from = "\"pack-quantized\"", .to = "\"marlin-24\"", .message = "format is \"marlin-24\""},
    {"ct-packed-4", .from = "\"num_bits\": 4", .to = "\"num_bits\": 3", .message = "num_bits is 3; expected 4 or 8"},
    {"ct-packed-4", .from = "\"group_size\": 32", .to = "\"group_size\": 64", .message = "group_size is 64"},
    {"ct-packed-4", FILE_NAME, .tensor = Q_PROJ ".weight_shape", .at = 7, .bytes = {0x7F}, .n_bytes = 1,
     .message = "expected sizes above 0"},
    {"ct-packed-4-zero", .from = "32,", .to = "32, \"x\": 1,", .message = NULL},
    {"mxfp4", FILE_NAME, "down_proj_scales", "down_proj_scaleS", .message = "down_proj_scales is missing"},
    {"mxfp4", FILE_NAME, "\"shape\":[3,64,1]", "\"shape\":[3,32,2]", .message = "expected U8 [3, 64, 1]"},
    {"mxfp4", FILE_NAME, "\"shape\":[3,64,1,16]", "\"shape\":[3,64,2,08]", .message = "leading zero"},
    {"mxfp4", FILE_NAME, "\"shape\":[3,64,1,16]", "\"shape\":[3,64,4, 4]", .message = "inputs / 32, 16]"},
    {"mxfp4", FILE_NAME, .tensor = "model.layers.0.mlp.experts.down_proj_scales", .bytes = {255}, .n_bytes = 1,
     .message = "not finite"},
    {"mxfp4", FILE_NAME, "self_attn.sinks", "self_attn.sinkS", .message = "self_attn.sinks is missing"},
    {"mxfp4", .from = "\"swiglu_limit\": 7.0", .to = "\"swiglu_limit\": 8.0", .message = "swiglu_limit is 8"},
    {"ct-int", FILE_NAME, "q_proj.weight_scale", "q_proj.weight_scalE", .message = "has type I8"},
};

static void test_quantized_refusals(void **state) {
    (void)state;
    Backend *b = open_backend();
    int failed = 0;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        AUTO_MODEL Model *m = NULL;
        Err err = {0};
        AUTO_FREE char *dir = mem_printf("changed-%zu", i);
        write_changed(&changes[i], dir);
        int rc = model_load(&m, dir, b, NULL, &err);
        if (!changes[i].message)
            ASSERT_OK(rc, &err);
        else if (!rc || !strstr(err.msg, changes[i].message) || strchr(err.msg, '\n'))
            print_error("%s, change %zu: \"%s\"; expected \"%s\"\n", changes[i].name, i, rc ? err.msg : "it loads",
                        changes[i].message),
                failed++;
    }
    assert_int_equal(failed, 0);
    backend_close(b);
}

// A config that asks for the bits that the checkpoint has (load_in_4bit) runs; others are refused.
static void test_quantized_twice(void **state) {
    (void)state;
    Backend *b = open_backend();
    Model *m, *other;
    Err err;
    quantized_folder("bnb-nf4", "nf4");
    ASSERT_OK(model_load(&m, "nf4", b, &(ModelOptions){.quantize = QUANTIZE_NF4}, &err), &err);
    check_quantized_logits(m, "bnb-nf4", 1e-5);
    ASSERT_REFUSED(model_load(&other, "nf4", b, &(ModelOptions){.quantize = QUANTIZE_INT8}, &err), &err,
                   "is NF4_G, and a quantised base keeps its own blocks");
    model_free(m);
    backend_close(b);
}

// A plan needs config.json alone, and counts what loading takes.
static void test_quantized_plan(void **state) {
    (void)state;
    static const char *const names[] = {"bnb-nf4", "gptq-8-v2", "fp8-block", "ct-packed-4"};
    Backend *b = open_backend();
    for (int i = 0; i < 4; i++) {
        AUTO_MODEL Model *m = NULL, *outline = NULL, *absent = NULL;
        Err err;
        AUTO_FREE char *file = path_join(names[i], "model.safetensors");
        ModelOptions o = {.outline = true, .absent_dtype = DTYPE_BF16};
        quantized_folder(names[i], names[i]);
        ASSERT_OK(model_load(&m, names[i], b, NULL, &err), &err);
        ASSERT_OK(model_load(&outline, names[i], b, &o, &err), &err);
        assert_int_equal(unlink(file), 0);
        ASSERT_OK(model_load(&absent, names[i], b, &o, &err), &err);
        assert_int_equal(outline->weight_bytes, m->weight_bytes);
        for (int p = 0; p < PROJ_CONV_B; p++) {
            const WeightSegment *have = m->layers[0].w[p].segments, *plan = absent->layers[0].w[p].segments;
            assert_int_equal(plan->dtype, have->dtype);
            assert_int_equal(plan->groups.n, have->groups.n);
        }
    }
    backend_close(b);
}

TEST_MAIN(SCRATCH_TEST(test_quantized_logits), SCRATCH_TEST(test_quantized_ignores_zero_biases),
          SCRATCH_TEST(test_quantized_merges), SCRATCH_TEST(test_quantized_experts),
          SCRATCH_TEST(test_quantized_refusals), SCRATCH_TEST(test_quantized_twice), SCRATCH_TEST(test_quantized_plan))
