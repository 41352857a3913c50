// Adapters whose modules differ in rank, alpha and layers, and ranks above a matrix's smaller side, as a user has them:
// every verb, a training that starts from one, its resume and its saved config.
#include "adapter.h"
#include "cli_runner.h"
#include "fileio.h"
#include "path.h"
#include "tiny_model.h"

enum { Q = PROJ_Q, V = PROJ_V, UP = PROJ_UP };
#define BASE " --model_name_or_path m.gguf "
#define TRAIN_BASE "train" BASE "--train_file d.jsonl --max_seq_length 64 --device cpu --learning_rate 1e-2 "
#define TRAIN TRAIN_BASE "--max_steps 1 "
#define TRAIN_AND_SAVE TRAIN_BASE "--max_steps 4 --save_steps 2 "

// Layer 0: q with rank 4 and alpha 6, v with rank 2; layer 1: v with rank 2, up with rank 40 and alpha `up`.
static void put_adapter(const char *dir, float up) {
    AdapterRank each[2 * PROJ_COUNT] = {
        [Q] = {4, 6}, [V] = {2, 8}, [PROJ_COUNT + V] = {2, 8}, [PROJ_COUNT + UP] = {40, up}};
    AdapterConfig c = {.rank = 2,
                       .alpha = 8,
                       .projections = PROJ_BIT(Q) | PROJ_BIT(V) | PROJ_BIT(UP),
                       .each = each,
                       .n_each = 2 * PROJ_COUNT};
    Backend *b;
    Model *m;
    Adapter *a;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    ASSERT_OK(model_load(&m, "m.gguf", b, NULL, &err), &err);
    ASSERT_OK(adapter_new(&a, m, &c, 1, false, &err), &err);
    assert_int_equal(a->n_segments, 8);
    assert_int_equal(a->count, 4 * (32 + 32) + 2 * 2 * (32 + 16) + 40 * (32 + 64));
    for (int64_t i = 0; i < a->count; i++) a->params[i] = (float)((i * 7919) % 101) / 500 - 0.1f;
    ASSERT_OK(adapter_save_peft(a, m, dir, NULL, &err), &err);
    adapter_free(a);
    model_free(m);
    backend_close(b);
}

static void put_all(void) {
    tiny_model_write("m.gguf", &TINY_MODEL);
    put_adapter("a", 20);
    put_questions("d.jsonl", 9);
}

static void test_cli_patterns_in_every_verb(void **state) {
    (void)state;
    put_all();
    check_has("inspect a", 0, "rank_pattern: \"q_proj\" 4, \"up_proj\" 40\n");
    check_has("inspect a", 0, "alpha_pattern: \"q_proj\" 6, \"up_proj\" 20\n");
    check_has("verify a" BASE, 0, "rank 2 to 40, scale 0.5 to 4, finite");
    check_has("export a --format gguf --out a.gguf" BASE, 0,
              "one alpha (8); in 2 of 4 modules with another alpha B is multiplied by the ratio, rounded once");
    check_has("inspect a.gguf", 0, "rank         2 to 40\n");
    check_has("export a.gguf --format peft --out b" BASE, 0, "SGLang does not read rank_pattern");
    char *card;
    size_t n;
    Err err;
    ASSERT_OK(file_read(&card, &n, "b/README.md", 1 << 20, &err), &err);
    if (!strstr(card, "| rank 40, alpha 8 | mlp.up_proj (layers 1) |\n") || !strstr(card, "SGLang ignores these"))
        fail_msg("%s", card);
    mem_free(card);
    char *peft = run("generate" BASE "--adapter_name_or_path a --prompt hello --max_new_tokens 8", 0);
    char *gguf = run("generate" BASE "--adapter_name_or_path a.gguf --prompt hello --max_new_tokens 8", 0);
    char *again = run("generate" BASE "--adapter_name_or_path b --prompt hello --max_new_tokens 8", 0);
    char *merged = run("merge" BASE "--adapter_name_or_path a --out merged.gguf", 0);
    mem_free(merged);
    merged = run("generate --model merged.gguf --prompt hello --max_new_tokens 8", 0);
    assert_string_equal(peft, gguf);
    assert_string_equal(peft, again);
    assert_string_equal(peft, merged);
    mem_free(peft);
    mem_free(gguf);
    mem_free(again);
    mem_free(merged);
    ASSERT_OK(dir_make_parents("pickle", &err), &err);
    put("pickle/adapter_config.json", "{}");
    put("pickle/adapter_model.bin", "PK");
    check_has("inspect pickle", 2, "pickle: found adapter_model.bin (a pickle, which is not read)");
    check_has("generate" BASE "--adapter_name_or_path pickle --prompt a", 2, "pickle: found adapter_model.bin");
    put("in", "/adapters\n/exit\n");
    check_has("chat" BASE "--adapter a=a < in", 0, "* a (rank 2 to 40, ");
    check_has("eval" BASE "--adapter_name_or_path a --validation_file d.jsonl", 0, "eval_loss=");
}

static void test_cli_patterns_are_trained_on(void **state) {
    (void)state;
    put_all();
    char *said = run(TRAIN_AND_SAVE "--output_dir out --adapter_name_or_path a", 0);
    assert_non_null(strstr(said, "adapter  r 2 to 40, 4288 parameters"));
    assert_null(strstr(said, " lora_r=16")); // a default that does not hold
    mem_free(said);
    check_has("inspect out/adapter", 0, "rank_pattern: \"q_proj\" 4, \"up_proj\" 40\n");
    check_has("verify out" BASE, 0, "verified");
    // the saved config is taken as it is, and gives the same bits
    check_has("train out/config.json --output_dir two", 0, "adapter: two/adapter");
    assert_same_file("out/adapter/adapter_model.safetensors", "two/adapter/adapter_model.safetensors");
    // so does a resume
    Err err;
    ASSERT_OK(dir_remove("two/checkpoint-000004", &err), &err);
    ASSERT_OK(dir_remove("two/adapter", &err), &err);
    check_has("train two/config.json", 0, "resuming from");
    assert_same_file("out/adapter/adapter_model.safetensors", "two/adapter/adapter_model.safetensors");
    check_has("plan out/config.json --output_dir none", 0, "adapter  r 2 to 40, 4288 parameters");
    // another alpha of one module is another run, though the parameters are as many
    ASSERT_OK(dir_remove("a", &err), &err);
    put_adapter("a", 21);
    ASSERT_OK(dir_remove("two/checkpoint-000004", &err), &err);
    check_has("train two/config.json", 2, "another run: rank was 2, by module ");
    check_has(TRAIN "--output_dir three --adapter_name_or_path a --lora_r 4", 2,
              "lora_r: differs from that of the adapter");
}

// Same values by other words: the bits of an adapter without patterns.
static void test_cli_patterns_that_say_nothing(void **state) {
    (void)state;
    put_all();
    mem_free(run(TRAIN "--output_dir out --lora_r 3 --lora_alpha 5", 0));
    mem_free(run(TRAIN "--output_dir one --adapter_name_or_path out/adapter", 0));
    char *text;
    size_t n;
    Err err;
    ASSERT_OK(file_read(&text, &n, "out/adapter/adapter_config.json", 1 << 20, &err), &err);
    assert_non_null(strstr(text, "\"r\":\t3"));
    assert_non_null(strstr(text, "\"rank_pattern\":\t{\n\t}"));
    mem_free(text);
    put("out/adapter/adapter_config.json", "{\"peft_type\":\"LORA\",\"r\":9,\"lora_alpha\":7,\"target_modules\":\".*["
                                           "qv]_proj\",\"rank_pattern\":{\".*\":3},"
                                           "\"alpha_pattern\":{\"q_proj\":5,\"v_proj\":5}}");
    mem_free(run(TRAIN "--output_dir two --adapter_name_or_path out/adapter", 0));
    assert_same_file("one/adapter/adapter_model.safetensors", "two/adapter/adapter_model.safetensors");
    assert_same_file("one/adapter/adapter_config.json", "two/adapter/adapter_config.json");
}

// use_rslora is written as alpha * sqrt(r): the keys of the run fit its adapter nevertheless. SGLang's form has v, too.
#define RSLORA "--lora_r 3 --lora_alpha 5 --lora_target_modules q_proj "
static void test_cli_patterns_of_rslora(void **state) {
    (void)state;
    put_all();
    mem_free(run(TRAIN RSLORA "--output_dir out --use_rslora", 0));
    check_has("inspect out/adapter", 0, "lora_alpha: 8.66025403784438");
    check_has("inspect out/adapter", 0, "use_rslora: false");
    check_has(TRAIN RSLORA "--output_dir one --use_rslora --adapter_name_or_path out/adapter", 0, "one/adapter");
    check_has(TRAIN RSLORA "--output_dir two --adapter_name_or_path out/adapter", 2,
              "lora_alpha: differs from that of the adapter");
    mem_free(run("export out --format peft --out engine --for sglang", 0));
    check_has("inspect engine", 0, "target_modules: \"q_proj\", \"v_proj\"");
    check_has("export out --format gguf --out engine.gguf --for sglang", 2, "--for sglang: with --format gguf");
    check_has("export a --format peft --out b --for sglang" BASE, 2, "SGLang does not read rank_pattern");
    AUTO_FREE char *x = run("generate out --prompt hello --max_new_tokens 8", 0),
                   *y = run("generate" BASE "--adapter_name_or_path engine --prompt hello --max_new_tokens 8", 0);
    assert_string_equal(x, y);
}

// A name of one layer trains that layer only.
static void test_cli_patterns_by_names_of_layers(void **state) {
    (void)state;
    put_all();
    mem_free(
        run(TRAIN "--output_dir out --lora_target_modules '[\"layers.1.mlp.up_proj\", \"k_proj\"]' --lora_r 2", 0));
    check_has("inspect out/adapter", 0, "target_modules: \"k_proj\", \"model.layers.1.mlp.up_proj\"\n");
    check_has("verify out" BASE, 0, "PEFT out/adapter: 6 matrices");
    mem_free(run(TRAIN "--output_dir more --adapter_name_or_path out/adapter", 0));
    check_has(TRAIN "--output_dir no --lora_target_modules '[\"layers.2.mlp.up_proj\"]'", 2, "layers.2.mlp.up_proj");
    mem_free(run(TRAIN "--output_dir whole --layers_to_transform '[0]' --lora_target_modules "
                       "'[\"model.layers.1.mlp.up_proj\", \"k_proj\"]'",
                 0));
    check_has(TRAIN "--output_dir no --layers_to_transform 1 --layers_pattern h", 2,
              "layers_pattern: \"h\": no list of layers in m.gguf; expected \"layers\"");
    mem_free(run(TRAIN "--output_dir one --layers_to_transform 1 --layers_pattern layers", 0));
    check_has("inspect one/adapter", 0, "layers_to_transform: 1");
    check_has("inspect whole/adapter", 0,
              "target_modules: \"model.layers.0.self_attn.k_proj\", \"model.layers.1.mlp.up_proj\"\n");
}

// Ranks and alphas are those that PEFT 0.21 gives for the same words.
static void test_cli_patterns_of_a_config(void **state) {
    (void)state;
    put_all();
    put("c.json",
        "{\"model\": \"m.gguf\", \"train_file\": \"d.jsonl\", \"output_dir\": \"out\", \"max_steps\": 2,\n"
        "\"max_seq_length\": 64, \"lora_target_modules\": [\"all-linear\"], \"init_lora_weights\": \"gaussian\",\n"
        "\"exclude_modules\": [\"o_proj\", \"model.layers.1.mlp.up_proj\"],\n"
        "\"rank_pattern\": {\"down_proj\": 4, \"layers.0.self_attn.q_proj\": 32, \"self_attn.k.*\": 3},\n"
        "\"alpha_pattern\": {\"q_proj\": 8, \"layers.1.mlp.gate_proj\": 5}}");
    mem_free(run("train c.json", 0));
    AUTO_FREE char *said = run("inspect out/adapter", 0);
    static const char *const parts[] = {
        "  r: 16\n  lora_alpha: 32\n",
        "rank_pattern: \"model.layers.0.self_attn.q_proj\" 32, \"k_proj\" 3, \"down_proj\" 4\n",
        "alpha_pattern: \"q_proj\" 8, \"model.layers.1.mlp.gate_proj\" 5\n",
        "target_modules: \"q_proj\", \"k_proj\", \"v_proj\", \"gate_proj\", \"model.layers.0.mlp.up_proj\", "
        "\"down_proj\"\n"};
    CHECK_PARTS(said, parts);
    check_has("train c.json --output_dir two --init_lora_weights true --seed 42", 0, "adapter: two/adapter");
    static const char *const refused[][2] = {
        {"--rank_pattern '{\"o_proj\": 2}'", "rank_pattern: \"o_proj\" matches none of the modules"},
        {"--alpha_pattern '{\"query\": 2}'", "alpha_pattern: \"query\" matches none"},
        {"--exclude_modules '[\"query\"]'", "exclude_modules: \"query\" matches none"},
        {"--exclude_modules '[\"q_proj\", \"v_proj\"]'", "no module of m.gguf is left"},
        {"--rank_pattern '{\"q_proj\": 1.5}'", "rank 1.5 for model.layers.0.self_attn.q_proj"},
        {"--rank_pattern '{\"q(\": 2}'", "rank_pattern"},
        {"--rank_pattern '[2]'", "expected an object"},
        {"--adapter_name_or_path out/adapter --rank_pattern '{\"q_proj\": 2}'", "are for a new adapter"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        AUTO_FREE char *words = mem_printf(TRAIN "--output_dir no %s", refused[i][0]);
        check_has(words, 2, refused[i][1]);
    }
}

static void test_cli_rank_above_the_smaller_side(void **state) {
    (void)state;
    put_all();
    check_has(TRAIN "--output_dir out --lora_r 50", 0, "adapter  r 50, ");
    check_has("verify out" BASE, 0, "verified");
    check_has(TRAIN "--output_dir big --lora_r 65536 --max_memory 100MB", 3, "lora_r 65536 gives an adapter of");
    check_has("plan" BASE "--train_file d.jsonl --output_dir big --lora_r 65536 --max_memory 100MB", 3,
              "lora_r 65536 gives an adapter of");
}

TEST_MAIN(SCRATCH_TEST(test_cli_patterns_in_every_verb), SCRATCH_TEST(test_cli_patterns_are_trained_on),
          SCRATCH_TEST(test_cli_patterns_of_rslora), SCRATCH_TEST(test_cli_patterns_by_names_of_layers),
          SCRATCH_TEST(test_cli_patterns_of_a_config), SCRATCH_TEST(test_cli_patterns_that_say_nothing),
          SCRATCH_TEST(test_cli_rank_above_the_smaller_side))
