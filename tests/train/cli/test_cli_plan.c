// `lorac plan` before the weights are there: a config.json, a folder with Git LFS pointers, a GGUF file cut off after
// its header. The sizes are those of the whole model; `train` refuses all of these.
#include "cli_runner.h"
#include "family_fixture.h"
#include "fileio.h"
#include "gguf.h"
#include "tiny_model.h"

#include <stdlib.h>

static double number(const char *json, const char *key) {
    AUTO_FREE char *name = mem_printf("\"%s\": ", key);
    const char *at = strstr(json, name);
    if (!at) fail_msg("no %s in \"%s\"", key, json);
    return strtod(at + strlen(name), NULL);
}

#define JSON "plan --device cpu --max_memory 1GB --json "
static const char *const WITHOUT[] = {"gemma2",  "gemma3",   "gpt2",  "llama-bias", "llama3",
                                      "mixtral", "phi3-all", "qwen3", "qwen3moe"};

// The same bytes as with weights, which the fixture stores as float32, the type that these configs name.
static void test_plan_without_weights(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof WITHOUT / sizeof *WITHOUT; i++) {
        Family f;
        family_open(&f, WITHOUT[i], FAMILY_HF);
        char *words = mem_printf(JSON "--max_seq_length 32 --model_name_or_path %s", f.path);
        char *weights = mem_printf("%s/model.safetensors", f.path), *config = mem_printf("%s/config.json", f.path);
        char *alone = mem_printf(JSON "--max_seq_length 32 --model_name_or_path %s", config);
        char *want = run(words, 0);
        static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
        put(weights, pointer);
        char *pointed = run(words, 0);
        assert_int_equal(unlink(weights), 0);
        char *got = run(alone, 0);
        static const char *const keys[] = {"base_bytes", "adapter_state_bytes", "arena_bytes"};
        for (int k = 0; k < 3; k++) {
            if (number(got, keys[k]) != number(want, keys[k]) || number(pointed, keys[k]) != number(want, keys[k]))
                fail_msg("%s: %s: %s", f.path, got, want);
        }
        assert_non_null(strstr(want, "\"weights_absent\": false"));
        static const char *const parts[] = {"\"weights_absent\": true", "\"assumed_dtype\": \"F32\"",
                                            "\"rows_assumed\": true", "\"steps\": null"};
        CHECK_PARTS(got, parts);
        char *train = mem_printf("train --model_name_or_path %s --train_file d.jsonl --output_dir out", config);
        put("d.jsonl", "{\"text\": \"A\"}\n");
        check_has(train, 2, "found config.json but no weights; expected model.safetensors or");
        mem_free(train);
        mem_free(words);
        mem_free(weights);
        mem_free(config);
        mem_free(alone);
        mem_free(want);
        mem_free(pointed);
        mem_free(got);
        family_close(&f);
    }
}

// A model of 8 billion parameters that no test machine holds: llama 3.1's config.json.
static void test_plan_of_a_large_model(void **state) {
    (void)state;
    static const char config[] =
        "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 4096, "
        "\"intermediate_size\": 14336, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, "
        "\"num_key_value_heads\": 8, \"vocab_size\": 128256, \"max_position_embeddings\": 131072, "
        "\"rms_norm_eps\": 1e-5, \"rope_theta\": 500000.0, \"hidden_act\": \"silu\"%s}";
    char *text = mem_printf(config, ", \"torch_dtype\": \"bfloat16\""), *plain = mem_printf(config, "");
    put("config.json", text);
    char *out = run("plan --model_name_or_path config.json --gpu rtx4090 --max_seq_length 2048 --max_steps 100", 0);
    static const char *const parts[] = {
        ": the weights are absent; assumed as BF16 (torch_dtype of config.json)\n",
        "data     the tokenizer is absent; assumed: rows of 2048 tokens, all of them learnt\n", "<- chosen",
        "steps    100, batch size 1; about "};
    CHECK_PARTS(out, parts);
    mem_free(out);
    out = run("plan --model_name_or_path config.json --gpu rtx4090 --json", 0);
    double base = number(out, "base_bytes");
    assert_true(base > 16.0e9 && base < 16.2e9); // 8.03 billion parameters of two bytes
    mem_free(out);
    put("config.json", plain);
    check_has("plan --model_name_or_path . --gpu rtx4090 --dtype f32 --base_memory device", 3,
              "config.json names no type; --dtype chooses");
    check_has("plan --model_name_or_path . --gpu rtx4090 --dtype f32", 0,
              "two layers of the base at a time, from main memory");
    check_has("plan --model_name_or_path . --gpu rtx4090 --dtype f32", 0, " of computing: the copies bound it\n");
    check_has("plan --model_name_or_path . --gpu rtx4090 --quantize_base nf4", 0,
              "steps    unknown without the data\n");
    check_has("plan --model_name_or_path . --gpu rtx4090 --max_memory 4GiB --base_memory device", 3,
              "; base_memory host keeps two layers of the base there");
    put("config.json", "{\"model_type\": \"llama\", \"hidden_size\": 4096");
    check_has("plan --model_name_or_path config.json", 2, "config.json");
    mem_free(text);
    mem_free(plain);
}

static size_t header_bytes(const char *path) {
    Gguf *g;
    Err err;
    size_t size, data = 0;
    char *text;
    ASSERT_OK(gguf_open(&g, path, &err), &err);
    for (int64_t i = 0; i < gguf_tensor_count(g); i++) data += (gguf_tensor_at(g, i)->bytes + 31) / 32 * 32;
    gguf_close(g);
    ASSERT_OK(file_read(&text, &size, path, 64 << 20, &err), &err);
    mem_free(text);
    return size - data;
}

static void test_plan_of_a_gguf_header(void **state) {
    (void)state;
    TinyModel tiny = TINY_MODEL;
    tiny_model_write("m.gguf", &tiny);
    put("d.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"abc\", \"completion\": \"bcd\"}\n");
#define WORDS "--model_name_or_path m.gguf --train_file d.jsonl --output_dir out"
    char *want = run(JSON WORDS, 0);
    size_t header = header_bytes("m.gguf");
    static const size_t more[] = {0, 7, 4096};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(truncate("m.gguf", (off_t)(header + more[2 - i])), 0);
        char *got = run(JSON WORDS, 0);
        static const char *const keys[] = {"base_bytes", "adapter_state_bytes", "arena_bytes", "steps"};
        for (int k = 0; k < 4; k++) assert_true(number(got, keys[k]) == number(want, keys[k]));
        static const char *const parts[] = {"\"weights_absent\": true", "\"rows_assumed\": false"};
        CHECK_PARTS(got, parts);
        mem_free(got);
        check_has("train " WORDS, 2, "it is truncated");
    }
    check_has("plan " WORDS, 0, "the file ends before its weights; their types and sizes are those of its header\n");
    assert_int_equal(truncate("m.gguf", (off_t)header - 64), 0);
    check_has("plan " WORDS, 2, "m.gguf: ");
    mem_free(want);
}

static void test_plan_of_stages(void **state) {
    (void)state;
    TinyModel tiny = TINY_MODEL;
    tiny.layers = 4;
    tiny_model_write("m.gguf", &tiny);
    put("d.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"abc\", \"completion\": \"bcd\"}\n");
    static const char *const parts[] = {
        "stage 0  layers 0 to 1: base ", "stage 1  layers 2 to 3: base ",
        "pipeline of 2 ranks: ", "a step of 3 rows waits for 25% of its time for the first and the last ones\n"};
    char *out = run("plan " WORDS " --pipeline_parallel_size 2 --gradient_accumulation_steps 3 --device cpu", 0);
    CHECK_PARTS(out, parts);
    mem_free(out);
    check_has("plan " WORDS " --pipeline_parallel_size 5 --device cpu", 2,
              "5 stages of a pipeline, but the model has 4 layers; expected at most as many");
    check_has("plan " WORDS " --pipeline_parallel_size 2 --gpu h100", 2,
              "pipeline_parallel_size: 2; expected device cpu and a single run, or 1");
}

TEST_MAIN(SCRATCH_TEST(test_plan_of_stages), SCRATCH_TEST(test_plan_without_weights),
          SCRATCH_TEST(test_plan_of_a_large_model), SCRATCH_TEST(test_plan_of_a_gguf_header))
