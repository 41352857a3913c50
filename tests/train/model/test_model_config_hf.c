// model_config_hf: the config.json of real models of every family, as they ship and as transformers writes them today,
// read to what transformers computes (golden/configs, made by golden/make_config_golden.py); everything else refused by
// key.
#include <math.h>

#include "fileio.h"
#include "model_config.h"
#include "scratch.h"

// ---- against transformers ----

static const char *const activations[] = {[ACTIVATION_GELU_TANH] = "gelu_tanh",
                                          [ACTIVATION_GELU] = "gelu",
                                          [ACTIVATION_SILU] = "silu",
                                          [ACTIVATION_RELU] = "relu",
                                          [ACTIVATION_TANH] = "tanh"};
static const char *const glus[] = {
    [GLU_SILU] = "silu", [GLU_GELU_TANH] = "gelu_tanh", [GLU_GELU] = "gelu", [GLU_CLAMPED] = "clamped"};

static void print_rope(StrBuf *out, const char *name, const RopeConfig *r) {
    static const char *const types[] = {"none", "default", "linear", "dynamic", "llama3", "yarn", "longrope"};
    str_printf(out, "%s %s", name, types[r->scaling]);
    if (r->scaling != ROPE_NONE) str_printf(out, " base %.9g rotated %jd", (double)r->base, (intmax_t)r->rotated);
    if (r->scaling > ROPE_PLAIN) str_printf(out, " factor %.9g", (double)r->factor);
    if (r->scaling > ROPE_LINEAR) str_printf(out, " original %jd", (intmax_t)r->original_context);
    if (r->scaling == ROPE_LLAMA3)
        str_printf(out, " low %.9g high %.9g", (double)r->low_freq_factor, (double)r->high_freq_factor);
    if (r->scaling == ROPE_YARN) str_printf(out, " fast %.9g slow %.9g", (double)r->beta_fast, (double)r->beta_slow);
    if (r->has_divisor) {
        double sums[2] = {0, 0};
        for (int64_t i = 0; i < r->rotated / 2; i++) {
            sums[0] += (double)r->short_divisor[i];
            sums[1] += (double)r->long_divisor[i];
        }
        str_printf(out, " short %.9g long %.9g", (double)(float)sums[0], (double)(float)sums[1]);
    }
    str_puts(out, "\n");
}

static void print_config(StrBuf *out, const ModelConfig *c) {
    str_printf(out, "architecture %s\n", c->architecture ? c->architecture : "none");
    str_printf(out, "sizes layers %jd hidden %jd heads %jd kv %jd head %jd ffn %jd vocab %jd context %jd\n",
               (intmax_t)c->layers, (intmax_t)c->hidden, (intmax_t)c->heads, (intmax_t)c->kv_heads,
               (intmax_t)c->head_size, (intmax_t)c->ffn, (intmax_t)c->vocab, (intmax_t)c->context);
    str_printf(out, "scales eps %.9g embed %.9g query %.9g attn_cap %.9g final_cap %.9g\n", (double)c->norm_eps,
               (double)c->embed_scale, (double)c->query_scale, (double)c->attn_softcap, (double)c->final_softcap);
    if (c->arch->scales || c->arch->multiplies_logits)
        str_printf(out, "factors branch %.9g logits %.9g\n", (double)c->residual_scale, (double)c->logit_scale);
    if (memchr(c->layer_unrotated, 1, (size_t)c->layers)) {
        str_puts(out, "rotated ");
        for (int64_t i = 0; i < c->layers; i++) str_puts(out, c->layer_unrotated[i] ? "n" : "r");
        str_puts(out, "\n");
    }
    str_printf(out, "window %jd ", (intmax_t)c->window);
    for (int64_t i = 0; i < c->layers; i++) str_puts(out, c->layer_sliding[i] ? "s" : "f");
    if (c->conv_taps) str_printf(out, "\nconv %jd ", (intmax_t)c->conv_taps);
    for (int64_t i = 0; c->conv_taps && i < c->layers; i++) str_puts(out, c->layer_conv[i] ? "c" : "a");
    str_printf(out, "\nhead %s\n", c->tied_head ? "tied" : "own");
    str_printf(out, "mlp %s %s\n", c->has_glu ? "glu" : "plain",
               c->has_glu ? glus[c->glu] : activations[c->activation]);
    str_printf(out, "bias qkv %d o %d mlp %d\n", c->qkv_bias, c->o_bias, c->mlp_bias);
    str_printf(out, "experts %jd used %jd ffn %jd renormalise %d dense%s", (intmax_t)c->experts,
               (intmax_t)c->experts_used, (intmax_t)c->expert_ffn, c->renormalise_experts, c->experts ? " " : "");
    for (int64_t i = 0; c->experts && i < c->layers; i++) str_puts(out, c->layer_dense[i] ? "d" : "e");
    if (c->shared_ffn) str_printf(out, "\nshared %jd", (intmax_t)c->shared_ffn);
    str_printf(out, "\npositions %jd types %jd\n", (intmax_t)c->positions_table, (intmax_t)c->token_types);
    print_rope(out, "rope", &c->rope);
    if (c->rope_local.scaling != ROPE_NONE) print_rope(out, "rope_local", &c->rope_local);
}

static void check_file(const char *name, const char *suffix, const char *want, size_t want_len) {
    StrBuf got = {0};
    ModelConfig c;
    Err err;
    char *path = mem_printf("%s/golden/configs/%s%s", TEST_DIR, name, suffix);
    unlink("config.json");
    assert_int_equal(symlink(path, "config.json"), 0);
    if (model_config_hf_read(&c, ".", &err)) fail_msg("%s: %s", path, err.msg);
    print_config(&got, &c);
    if (got.len != want_len || memcmp(got.data, want, want_len) != 0)
        fail_msg("%s: got\n%swant\n%.*s", path, got.data, (int)want_len, want);
    mem_free(path);
    str_clear(&got);
}

static void test_config_hf_equals_transformers(void **state) {
    (void)state;
    char *golden, name[64];
    size_t size, models = 0;
    Err err;
    ASSERT_OK(file_read(&golden, &size, TEST_DIR "/golden/configs/golden.txt", 1 << 20, &err), &err);
    for (const char *p = strstr(golden, "\nmodel "); p; models++) {
        const char *facts = strchr(p + 1, '\n') + 1, *next = strstr(facts, "\nmodel ");
        assert_int_equal(sscanf(p, "\nmodel %63s", name), 1);
        size_t len = next ? (size_t)(next + 1 - facts) : strlen(facts);
        check_file(name, ".json", facts, len);
        check_file(name, ".saved.json", facts, len);
        p = next;
    }
    assert_true(models >= 38);
    mem_free(golden);
}

// The rotation at one position, for short and for long rows: config.json and rope_table together.
static void test_config_hf_angles_equal_transformers(void **state) {
    (void)state;
    enum { ROW = 100, PICKED = 4 };
    FILE *golden = fopen(TEST_DIR "/golden/configs/angles.txt", "r");
    char name[64], kind[16];
    long long positions;
    int lines = 0;
    assert_non_null(golden);
    for (; fscanf(golden, "%63s %15s %lld", name, kind, &positions) == 3; lines++) {
        char *path = mem_printf("%s/golden/configs/%s.json", TEST_DIR, name);
        ModelConfig c;
        float *table;
        Err err;
        ASSERT_OK(model_config_hf_read(&c, path, &err), &err);
        const RopeConfig *r = strcmp(kind, "rope") == 0 ? &c.rope : &c.rope_local;
        ASSERT_OK(rope_table(&table, r, positions, &err), &err);
        int64_t pairs = r->rotated / 2, picked[PICKED] = {0, pairs / 4, pairs / 2, pairs - 1};
        for (int i = 0; i < 2 * PICKED; i++) { // cosines, then sines; an ulp of the frequency is 1e-5 at this position
            double want;
            assert_int_equal(fscanf(golden, "%lf", &want), 1);
            double got = (double)table[ROW * r->rotated + i / PICKED * pairs + picked[i % PICKED]];
            if (!(fabs(got - want) <= 2e-5))
                fail_msg("%s, %s over %lld positions, value %d: got %.9g, want %.9g", name, kind, positions, i, got,
                         want);
        }
        mem_free(table);
        mem_free(path);
    }
    assert_true(lines >= 72);
    fclose(golden);
}

// ---- what the classes allow beside that ----

static int read_text(ModelConfig *c, const char *text, Err *err) {
    unlink("config.json");
    scratch_put("config.json", text, strlen(text));
    return model_config_hf_read(c, ".", err);
}

static ModelConfig read_ok(const char *text) {
    ModelConfig c;
    Err err;
    if (read_text(&c, text, &err)) fail_msg("%s: %s", text, err.msg);
    return c;
}

static void test_config_hf_reads_null_and_other_spellings(void **state) {
    (void)state;
    ModelConfig c = read_ok("{\"model_type\":\"mistral\",\"num_key_value_heads\":null,\"sliding_window\":null}");
    assert_true(c.kv_heads == 32 && c.window == 0 && !c.layer_sliding[0]);
    c = read_ok("{\"model_type\":\"qwen3\",\"head_dim\":null}");
    assert_int_equal(c.head_size, 128); // 4096 / 32
    c = read_ok("{\"model_type\":\"qwen3\",\"hidden_size\":2048,\"head_dim\":null}");
    assert_int_equal(c.head_size, 64);
    c = read_ok("{\"model_type\":\"gpt2\",\"hidden_size\":96,\"num_hidden_layers\":3,\"num_attention_heads\":4,"
                "\"max_position_embeddings\":77,\"n_inner\":null,\"activation_function\":\"relu\"}");
    assert_true(c.hidden == 96 && c.layers == 3 && c.heads == 4 && c.positions_table == 77 && c.ffn == 384);
    assert_int_equal(c.activation, ACTIVATION_RELU);
    c = read_ok("{\"model_type\":\"gpt2\",\"n_inner\":1000}");
    assert_int_equal(c.ffn, 1000);
    c = read_ok("{\"model_type\":\"mixtral\",\"num_experts\":4}");
    assert_int_equal(c.experts, 4);
    c = read_ok("{\"model_type\":\"llama\",\"hidden_act\":\"gelu\",\"quantization_config\":null,\"pruned_heads\":{}}");
    assert_int_equal(c.glu, GLU_GELU);
    c = read_ok("{\"model_type\":\"gemma3\",\"tie_word_embeddings\":false,\"text_config\":{}}");
    assert_true(!c.tied_head && c.hidden == 2304 && c.rope_local.base == 1e4f);
    c = read_ok("{\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":2,\"num_hidden_layers\":3}");
    assert_true(c.layer_sliding[0] && !c.layer_sliding[1] && c.layer_sliding[2]);
    c = read_ok("{\"model_type\":\"gemma2\",\"attn_logit_softcapping\":null,\"final_logit_softcapping\":null}");
    assert_true(c.attn_softcap == 0 && c.final_softcap == 0);
}

#define LLAMA(keys) "{\"model_type\":\"llama\"," keys "}"

// Python's json writes them: of no harm where nothing reads them, refused by name where something does.
static void test_config_hf_numbers_that_are_not_finite(void **state) {
    (void)state;
    ModelConfig c = read_ok(
        LLAMA("\"a\":NaN,\"time_step_limit\":[0.0,Infinity],\"b\":-Infinity,\"d\":1e400,\"num_hidden_layers\":3"));
    assert_int_equal(c.layers, 3);
    static const char *const keys[] = {"rms_norm_eps", "hidden_size", "rope_theta"};
    static const char *const numbers[] = {"NaN", "Infinity", "-Infinity", "1e400"};
    for (size_t i = 0; i < 12; i++) {
        char *text = mem_printf(LLAMA("\"%s\":%s"), keys[i / 4], numbers[i % 4]),
             *part = mem_printf("%s is %s; expected", keys[i / 4], numbers[i % 4]);
        Err err;
        ASSERT_REFUSED(read_text(&c, text, &err), &err, part);
        mem_free(text);
        mem_free(part);
    }
}

// Keys that every configuration class carries along: without effect in a class that does not read them, and with the
// value that means nothing special in one that does.
static void test_config_hf_takes_switches_without_effect(void **state) {
    (void)state;
    static const char *const keys[] = {
        "is_decoder",         "add_cross_attention",  "reorder_and_upcast_attn",    "scale_attn_by_inverse_layer_idx",
        "is_encoder_decoder", "output_router_logits", "use_bidirectional_attention"};
    static const char *const types[] = {"qwen2_moe", "olmo2",       "olmo3",   "smollm3", "granite", "gemma",
                                        "llama",     "mistral",     "mixtral", "qwen2",   "qwen3",   "qwen3_moe",
                                        "gemma2",    "gemma3_text", "phi3",    "gpt2",    "bert",    "glm",
                                        "glm4",      "cohere",      "cohere2"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            char *off = mem_printf("{\"model_type\":\"%s\",\"%s\":false}", types[t], keys[k]);
            char *null = mem_printf("{\"model_type\":\"%s\",\"%s\":null}", types[t], keys[k]);
            read_ok(off);
            read_ok(null);
            mem_free(off);
            mem_free(null);
        }
    read_ok(LLAMA("\"is_decoder\":true,\"add_cross_attention\":true,\"output_router_logits\":true,"
                  "\"scale_attn_weights\":false,\"position_embedding_type\":\"relative_key\",\"is_causal\":true"));
    read_ok("{\"model_type\":\"gpt2\",\"is_decoder\":true}");
    read_ok("{\"model_type\":\"bert\",\"is_causal\":false,\"position_embedding_type\":null}");
}

// null in an optional key is absence, and a whole number may be a float.
static void test_config_hf_null_is_absence_and_floats_may_be_whole(void **state) {
    (void)state;
    static const char *const keys[] = {"hidden_size",
                                       "num_hidden_layers",
                                       "num_attention_heads",
                                       "intermediate_size",
                                       "vocab_size",
                                       "max_position_embeddings",
                                       "rms_norm_eps",
                                       "hidden_act",
                                       "tie_word_embeddings",
                                       "attention_bias",
                                       "mlp_bias",
                                       "rope_theta",
                                       "rope_scaling",
                                       "rope_parameters",
                                       "layer_types",
                                       "sliding_window",
                                       "max_window_layers",
                                       "use_sliding_window",
                                       "num_experts",
                                       "num_local_experts",
                                       "num_experts_per_tok",
                                       "moe_intermediate_size",
                                       "norm_topk_prob",
                                       "decoder_sparse_step",
                                       "mlp_only_layers",
                                       "partial_rotary_factor",
                                       "pruned_heads",
                                       "quantization_config",
                                       "architectures",
                                       "torch_dtype",
                                       "eos_token_id"};
    static const char *const types[] = {"llama", "qwen2", "qwen3_moe", "mixtral", "phi3"};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        char *bare = mem_printf("{\"model_type\":\"%s\"}", types[t]);
        ModelConfig want = read_ok(bare);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            char *null = mem_printf("{\"model_type\":\"%s\",\"%s\":null}", types[t], keys[k]);
            ModelConfig got = read_ok(null);
            bool window = strcmp(keys[k], "sliding_window") == 0; // null there is a value: no window
            if (!window && memcmp(&got, &want, sizeof got) != 0) fail_msg("%s: not the default", null);
            mem_free(null);
        }
        mem_free(bare);
    }
    ModelConfig c = read_ok(LLAMA("\"hidden_size\":64.0,\"num_attention_heads\":4.0,\"num_hidden_layers\":2e0,"
                                  "\"rope_scaling\":{\"rope_type\":null,\"type\":\"linear\",\"factor\":2}"));
    assert_true(c.hidden == 64 && c.heads == 4 && c.layers == 2 && c.rope.scaling == ROPE_LINEAR);
    c = read_ok("{\"model_type\":\"qwen3_moe\",\"num_hidden_layers\":3,\"mlp_only_layers\":[1.0]}");
    assert_true(!c.layer_dense[0] && c.layer_dense[1] && !c.layer_dense[2]);
    c = read_ok("{\"model_type\":\"mixtral\",\"num_local_experts\":null,\"num_experts\":4}");
    assert_int_equal(c.experts, 4);
}

static void test_config_hf_reads_rope_in_both_spellings(void **state) {
    (void)state;
    ModelConfig c =
        read_ok("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":16,"
                "\"mscale\":0.5,\"mscale_all_dim\":0.25,\"attention_factor\":1.5,\"truncate\":false}}");
    const RopeConfig *r = &c.rope;
    assert_true(r->scaling == ROPE_YARN && r->factor == 4 && r->beta_fast == 16 && r->beta_slow == 1);
    assert_true(r->mscale == 0.5f && r->mscale_all_dim == 0.25f && r->attention_factor == 1.5f && r->keep_range);
    assert_int_equal(r->original_context, 2048);
    c = read_ok("{\"model_type\":\"llama\",\"rope_theta\":5,\"rope_scaling\":{},"
                "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.5,\"rope_theta\":7}}");
    assert_true(c.rope.scaling == ROPE_LINEAR && c.rope.factor == 2.5f && c.rope.base == 7);
    c = read_ok("{\"model_type\":\"phi3\",\"hidden_size\":128,\"num_attention_heads\":32,\"rope_scaling\":"
                "{\"type\":\"su\",\"short_factor\":[1,2],\"long_factor\":[3,4.5]},\"max_position_embeddings\":8192}");
    assert_true(c.rope.scaling == ROPE_LONGROPE && c.rope.has_divisor && c.rope.short_divisor[1] == 2);
    assert_true(c.rope.long_divisor[1] == 4.5f && c.rope.original_context == 4096 && c.rope.factor == 2);
    c = read_ok("{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\","
                "\"factor\":8},\"sliding_attention\":{\"rope_theta\":9}},\"rope_local_base_freq\":3}");
    assert_true(c.rope.scaling == ROPE_LINEAR && c.rope.base == 1e6f && c.rope_local.scaling == ROPE_PLAIN);
    assert_true(c.rope_local.base == 9);
}

static void test_config_hf_names_the_noise_of_training(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{\"model_type\":\"gpt2\",\"attn_pdrop\":0.2,\"embd_pdrop\":0}", "attn_pdrop 0.2, resid_pdrop 0.1"},
        {"{\"model_type\":\"llama\",\"attention_dropout\":0.0}", NULL},
        {"{\"model_type\":\"llama\",\"attention_dropout\":0.05}", "attention_dropout 0.05"},
        {"{\"model_type\":\"gemma3\",\"text_config\":{\"attention_dropout\":0.5}}", "attention_dropout 0.5"},
        {"{\"model_type\":\"bert\"}", "attention_probs_dropout_prob 0.1, hidden_dropout_prob 0.1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        StrBuf noise = {0};
        Err err;
        scratch_put("config.json", cases[i][0], strlen(cases[i][0]));
        ASSERT_OK(model_config_hf_training_noise(&noise, ".", &err), &err);
        if (!cases[i][1]) assert_int_equal(noise.len, 0);
        if (cases[i][1]) assert_string_equal(noise.data, cases[i][1]);
        str_clear(&noise);
    }
    StrBuf noise = {0};
    Err err;
    ASSERT_OK(model_config_hf_training_noise(&noise, "x.gguf", &err), &err);
    assert_int_equal(noise.len, 0);
}

// ---- refusals ----

typedef struct BadConfig {
    const char *text, *part;
} BadConfig;

static void refuse_all(const BadConfig *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ModelConfig c;
        Err err;
        ASSERT_REFUSED(read_text(&c, cases[i].text, &err), &err, cases[i].part);
        assert_int_equal(err.kind, ERR_INPUT);
        if (strncmp(err.msg, "./config.json: ", 15) && strncmp(err.msg, "./config.json:1: ", 17))
            fail_msg("%s: the message does not begin with the file", err.msg);
    }
}
#define REFUSE_ALL(cases) refuse_all(cases, sizeof(cases) / sizeof *(cases))
#define ROPE(keys) LLAMA("\"rope_scaling\":{" keys "}")

static void test_config_hf_refuses_what_is_no_config(void **state) {
    (void)state;
    static const BadConfig cases[] = {
        {"", "found the end"},
        {"[]", "found an array; expected an object"},
        {"{\"model_type\":\"llama\",\"model_type\":\"gpt2\"}", "key \"model_type\" twice"},
        {"{}", "model_type is missing; expected one of llama, internlm3"},
        {"{\"model_type\":1}", "model_type is 1; expected a string"},
        {"{\"model_type\":\"t5\"}", "model_type is \"t5\"; expected one of llama"},
        {"{\"model_type\":\"x\",\"auto_map\":{\"AutoConfig\":\"a.B\"}}", "(the code of a model, auto_map, is"},
        {"{\"model_type\":\"gemma3\"}", "text_config is missing; expected an object"},
        {"{\"model_type\":\"gemma3\",\"text_config\":[]}", "text_config is an array; expected an object"},
        {"{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"llama\"}}",
         "text_config.model_type is \"llama\"; expected \"gemma3_text\""},
        {"{\"model_type\":\"gemma3\",\"text_config\":{\"hidden_size\":0}}", "text_config.hidden_size is 0; expected"},
    };
    REFUSE_ALL(cases);
    ModelConfig c;
    Err err;
    ASSERT_REFUSED(model_config_hf_read(&c, "missing", &err), &err, "missing/config.json: cannot be opened");
}

static void test_config_hf_refuses_sizes_out_of_range(void **state) {
    (void)state;
    static const BadConfig cases[] = {
        {LLAMA("\"hidden_size\":-1"), "hidden_size is -1; expected an integer from 2 to 262144"},
        {LLAMA("\"hidden_size\":1e300"), "hidden_size is 1e300; expected an integer"},
        {LLAMA("\"hidden_size\":9223372036854775808"), "hidden_size is 9223372036854775808; expected an integer"},
        {LLAMA("\"hidden_size\":\"4096\""), "hidden_size is \"4096\"; expected an integer"},
        {LLAMA("\"hidden_size\":4096.5"), "hidden_size is 4096.5; expected an integer"},
        {LLAMA("\"hidden_size\":NaN"), "hidden_size is NaN; expected an integer"},
        {LLAMA("\"num_hidden_layers\":1025"), "num_hidden_layers is 1025; expected an integer from 1 to 1024"},
        {LLAMA("\"num_attention_heads\":0"), "num_attention_heads is 0; expected an integer from 1"},
        {LLAMA("\"num_key_value_heads\":5"), "32 attention heads over 5 key/value heads; expected a multiple"},
        {LLAMA("\"num_attention_heads\":3"), "a hidden size of 4096 for 3 attention heads; expected a multiple"},
        {LLAMA("\"head_dim\":7"), "heads of size 7; expected an even size from 2"},
        {LLAMA("\"head_dim\":2048"), "head_dim is 2048; expected an integer from 2 to 1024"},
        {LLAMA("\"intermediate_size\":0"), "intermediate_size is 0"},
        {LLAMA("\"vocab_size\":16777217"), "vocab_size is 16777217"},
        {LLAMA("\"max_position_embeddings\":0"), "max_position_embeddings is 0"},
        {LLAMA("\"rms_norm_eps\":0"), "rms_norm_eps is 0; expected a finite number above 0"},
        {LLAMA("\"rms_norm_eps\":1e-60"), "rms_norm_eps is 1e-60; expected a finite number above 0"},
        {LLAMA("\"rms_norm_eps\":true"), "rms_norm_eps is true; expected a finite number"},
        {LLAMA("\"tie_word_embeddings\":1"), "tie_word_embeddings is 1; expected true or false"},
        {LLAMA("\"hidden_act\":\"mish\""), "hidden_act is \"mish\"; expected silu, gelu or a form of them"},
        {LLAMA("\"hidden_act\":\"relu\""), "hidden_act is \"relu\"; expected silu"},
        {LLAMA("\"hidden_act\":3"), "hidden_act is 3; expected a string"},
        {"{\"model_type\":\"gpt2\",\"activation_function\":\"quick_gelu\"}", "activation_function is \"quick_gelu\""},
        {"{\"model_type\":\"gpt2\",\"n_embd\":770}", "a hidden size of 770 for 12 attention heads"},
        {"{\"model_type\":\"bert\",\"type_vocab_size\":0}", "type_vocab_size is 0; expected an integer from 1 to 1024"},
        {"{\"model_type\":\"gemma2\",\"query_pre_attn_scalar\":0}", "query_pre_attn_scalar is 0"},
        {"{\"model_type\":\"gemma2\",\"attn_logit_softcapping\":-1}", "attn_logit_softcapping is -1"},
        {"{\"model_type\":\"gemma3_text\",\"attn_logit_softcapping\":50}",
         "attn_logit_softcapping is 50; expected null"},
    };
    REFUSE_ALL(cases);
}

static void test_config_hf_refuses_what_it_does_not_compute(void **state) {
    (void)state;
    static const BadConfig cases[] = {
        {"{\"model_type\":\"gpt2\",\"scale_attn_by_inverse_layer_idx\":true}",
         "scale_attn_by_inverse_layer_idx is true; expected false"},
        {"{\"model_type\":\"gpt2\",\"reorder_and_upcast_attn\":true}", "reorder_and_upcast_attn is true"},
        {"{\"model_type\":\"gpt2\",\"add_cross_attention\":true}", "add_cross_attention is true; expected false"},
        {"{\"model_type\":\"gpt2\",\"scale_attn_weights\":false}", "scale_attn_weights is false; expected true"},
        {"{\"model_type\":\"bert\",\"is_decoder\":true}", "is_decoder is true; expected false"},
        {"{\"model_type\":\"bert\",\"position_embedding_type\":\"relative_key\"}",
         "position_embedding_type is \"relative_key\"; expected \"absolute\""},
        {LLAMA("\"is_causal\":false"), "is_causal is false; expected true"},
        {LLAMA("\"is_encoder_decoder\":true"), "is_encoder_decoder is true; expected false"},
        {"{\"model_type\":\"gemma3_text\",\"use_bidirectional_attention\":true}",
         "use_bidirectional_attention is true"},
        {"{\"model_type\":\"gemma3\",\"text_config\":{\"use_bidirectional_attention\":true}}",
         "text_config.use_bidirectional_attention is true"},
        {"{\"model_type\":\"gemma3\",\"text_config\":{\"quantization_config\":{\"bits\":4}}}",
         "text_config.quantization_config is an object; expected none"},
        {LLAMA("\"quantization\":{\"bits\":4}"), "quantization is an object; expected none"},
        {LLAMA("\"pruned_heads\":{\"1\":[2]}"), "pruned_heads is an object; expected none"},
    };
    REFUSE_ALL(cases);
}

static void test_config_hf_refuses_bad_windows_and_experts(void **state) {
    (void)state;
    static const BadConfig cases[] = {
        {"{\"model_type\":\"smollm3\",\"no_rope_layers\":[1,0]}",
         "no_rope_layers has 2 entries; expected one for each of the 36 layers"},
        {"{\"model_type\":\"smollm3\",\"num_hidden_layers\":2,\"no_rope_layers\":[1,2]}",
         "no_rope_layers is 2; expected 1"},
        {"{\"model_type\":\"smollm3\",\"no_rope_layer_interval\":0}",
         "no_rope_layer_interval is 0; expected an integer"},
        {"{\"model_type\":\"granite\",\"residual_multiplier\":0}",
         "residual_multiplier is 0; expected a finite number"},
        {"{\"model_type\":\"qwen2_moe\",\"use_sliding_window\":true}", "use_sliding_window is true; expected false"},
        {"{\"model_type\":\"phi\",\"qk_layernorm\":true}", "qk_layernorm is true; expected false"},
        {"{\"model_type\":\"cohere\",\"use_qk_norm\":true}", "use_qk_norm is true; expected false"},
        {"{\"model_type\":\"phi\",\"partial_rotary_factor\":1.5}", "partial_rotary_factor is 1.5; expected at most 1"},
        {"{\"model_type\":\"mistral\",\"sliding_window\":0}", "sliding_window is 0; expected an integer from 1"},
        {"{\"model_type\":\"gemma2\",\"sliding_window\":null}", "sliding_window is null; expected an integer from 1"},
        {"{\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":0}", "sliding_window_pattern is 0"},
        {"{\"model_type\":\"gemma2\",\"layer_types\":[\"full_attention\"]}",
         "layer_types has 1 entries; expected one for each of the 26 layers"},
        {"{\"model_type\":\"gemma2\",\"num_hidden_layers\":1,\"layer_types\":[\"chunked_attention\"]}",
         "layer_types is \"chunked_attention\"; expected full_attention or sliding_attention (layer 0)"},
        {"{\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}",
         "layer_types is \"sliding_attention\"; expected full_attention, as there is no sliding_window (layer 0)"},
        {"{\"model_type\":\"qwen2\",\"layer_types\":1}", "layer_types is 1; expected an array"},
        {"{\"model_type\":\"mixtral\",\"output_router_logits\":true}", "output_router_logits is true; expected false"},
        {"{\"model_type\":\"qwen3_next\"}", "model_type is \"qwen3_next\"; expected one of"},
        {"{\"model_type\":\"mixtral\",\"num_local_experts\":0}", "num_local_experts is 0"},
        {"{\"model_type\":\"mixtral\",\"num_local_experts\":1}", "num_experts_per_tok is missing and 2 by default"},
        {"{\"model_type\":\"mixtral\",\"num_experts_per_tok\":9}",
         "num_experts_per_tok is 9; expected an integer from 1 "
         "to 8"},
        {"{\"model_type\":\"qwen3_moe\",\"mlp_only_layers\":[24]}",
         "mlp_only_layers is 24; expected numbers of layers, from 0 to 23"},
        {"{\"model_type\":\"qwen3_moe\",\"decoder_sparse_step\":0}", "decoder_sparse_step is 0"},
        {"{\"model_type\":\"qwen3_moe\",\"moe_intermediate_size\":0}", "moe_intermediate_size is 0"},
    };
    REFUSE_ALL(cases);
}

static void test_config_hf_refuses_bad_rope(void **state) {
    (void)state;
    static const BadConfig cases[] = {
        {ROPE("\"rope_type\":\"ntk\",\"factor\":2"),
         "rope_scaling.rope_type is \"ntk\"; expected default, linear, dynamic, llama3, yarn or longrope"},
        {ROPE("\"type\":\"dynamic\""), "rope_scaling.factor is missing; expected a number"},
        {ROPE("\"type\":\"dynamic\",\"factor\":0.5"), "rope_scaling.factor is 0.5; expected at least 1 for dynamic"},
        {ROPE("\"type\":\"dynamic\",\"factor\":1e6"), "max_position_embeddings 2048 times the factor 1e+06"},
        {"{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"full_attention\":{},\"sliding_attention\":"
         "{\"rope_type\":\"dynamic\",\"factor\":2}}}",
         "rope_parameters.sliding_attention.rope_type is \"dynamic\"; expected default, linear, llama3, yarn or "
         "longrope"},
        {ROPE("\"type\":\"su\""), "rope_scaling.type is \"su\"; expected default"},
        {ROPE("\"rope_type\":3"), "rope_scaling.rope_type is 3; expected a string"},
        {LLAMA("\"rope_scaling\":\"linear\""), "rope_scaling is \"linear\"; expected an object"},
        {LLAMA("\"rope_theta\":0"), "rope_theta is 0; expected a finite number above 0"},
        {LLAMA("\"rope_parameters\":{\"rope_theta\":1e39}"), "rope_parameters.rope_theta is 1e39; expected a finite"},
        {LLAMA("\"partial_rotary_factor\":0.5"), "partial_rotary_factor is 0.5; expected 1"},
        {LLAMA("\"rope_parameters\":{\"full_attention\":{}}"), "rope_parameters.full_attention is an object; expected "
                                                               "one set of parameters for all layers"},
        {ROPE("\"type\":\"linear\""), "rope_scaling.factor is missing; expected a number"},
        {ROPE("\"type\":\"linear\",\"factor\":null"), "rope_scaling.factor is null; expected a number"},
        {ROPE("\"type\":\"linear\",\"factor\":-2"), "rope_scaling.factor is -2; expected a finite number above 0"},
        {ROPE("\"type\":\"llama3\",\"factor\":2,\"high_freq_factor\":4"), "rope_scaling.low_freq_factor is missing"},
        {ROPE("\"type\":\"llama3\",\"factor\":2,\"low_freq_factor\":4,\"high_freq_factor\":4"),
         "rope_scaling.high_freq_factor is 4; expected a number above low_freq_factor"},
        {ROPE("\"type\":\"yarn\",\"factor\":2,\"original_max_position_embeddings\":1"),
         "rope_scaling.original_max_position_embeddings is 1; expected an integer from 2"},
        {ROPE("\"type\":\"longrope\""), "rope_scaling.short_factor is missing; expected an array of 64 numbers"},
        {ROPE("\"type\":\"longrope\",\"short_factor\":[1]"), "rope_scaling.short_factor has 1 number; expected 64"},
        {"{\"model_type\":\"phi3\",\"head_dim\":2,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[0]}}",
         "rope_scaling.short_factor is 0; expected finite numbers above 0 (number 0)"},
        {"{\"model_type\":\"phi3\",\"head_dim\":2,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[\"1\"]}}",
         "rope_scaling.short_factor is \"1\"; expected finite numbers"},
        {"{\"model_type\":\"phi3\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}",
         "rope_scaling.type is \"linear\"; expected default or longrope"},
        {"{\"model_type\":\"phi3\",\"partial_rotary_factor\":1.5}", "partial_rotary_factor is 1.5; expected at most 1"},
        {"{\"model_type\":\"phi3\",\"partial_rotary_factor\":0.01}",
         "0 of 96 dimensions of a head are rotated; expected an"},
        {"{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"rope_theta\":5}}",
         "rope_parameters.full_attention is missing; expected an object"},
        {"{\"model_type\":\"gemma3_text\",\"rope_scaling\":{\"factor\":2},\"rope_parameters\":{\"full_attention\":{}}}",
         "rope_scaling is an object; expected none in addition to rope_parameters"},
        {"{\"model_type\":\"gemma3_text\",\"rope_local_base_freq\":-1}", "rope_local_base_freq is -1"},
        {"{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"sliding_attention\":{\"rope_type\":\"x\"}}}",
         "rope_parameters.sliding_attention.rope_type is \"x\""},
    };
    REFUSE_ALL(cases);
}

// Bytes changed at random: an error or a config in range, never a fault.
static void test_config_hf_survives_changed_bytes(void **state) {
    (void)state;
    static const char *const names[] = {"gemma-3-270m", "phi-4-mini", "qwen3-moe-mixed"};
    uint64_t rng = 1;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char *path = mem_printf("%s/golden/configs/%s.json", TEST_DIR, names[k]), *text;
        size_t size;
        Err err;
        ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
        for (int i = 0; i < 3000; i++) {
            ModelConfig c;
            rng = rng * 6364136223846793005u + 1442695040888963407u;
            size_t at = (size_t)(rng >> 33) % size;
            char old = text[at];
            text[at] = "0129eE-.,:\"{}[]ntf "[(rng >> 20) % 19];
            scratch_put("config.json", text, size);
            if (model_config_hf_read(&c, ".", &err) == 0)
                assert_true(c.layers <= MODEL_MAX_LAYERS && c.hidden >= 2 && c.rope.rotated <= c.head_size);
            text[at] = old;
        }
        mem_free(text);
        mem_free(path);
    }
}

TEST_MAIN(SCRATCH_TEST(test_config_hf_equals_transformers), TEST(test_config_hf_angles_equal_transformers),
          SCRATCH_TEST(test_config_hf_reads_null_and_other_spellings),
          SCRATCH_TEST(test_config_hf_takes_switches_without_effect),
          SCRATCH_TEST(test_config_hf_null_is_absence_and_floats_may_be_whole),
          SCRATCH_TEST(test_config_hf_reads_rope_in_both_spellings),
          SCRATCH_TEST(test_config_hf_names_the_noise_of_training),
          SCRATCH_TEST(test_config_hf_numbers_that_are_not_finite),
          SCRATCH_TEST(test_config_hf_refuses_what_is_no_config),
          SCRATCH_TEST(test_config_hf_refuses_sizes_out_of_range),
          SCRATCH_TEST(test_config_hf_refuses_what_it_does_not_compute),
          SCRATCH_TEST(test_config_hf_refuses_bad_windows_and_experts), SCRATCH_TEST(test_config_hf_refuses_bad_rope),
          SCRATCH_TEST(test_config_hf_survives_changed_bytes))
