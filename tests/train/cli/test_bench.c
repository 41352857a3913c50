// `lorac bench` as a user runs it: every number is printed, no file remains.
#include "cli_runner.h"
#include "json.h"
#include "tiny_model.h"

#include <math.h>
#include <sys/stat.h>

static void put_model(void) {
    TinyModel m = TINY_MODEL;
    tiny_model_write("m.gguf", &m);
    assert_int_equal(mkdir("tmp", 0700), 0);
    assert_int_equal(setenv("TMPDIR", "tmp", 1), 0);
}

// A finished bench leaves nothing in its temporary folder.
static void check_nothing_left(void) {
    NameList names = {0};
    Err err;
    ASSERT_OK(dir_list(&names, "tmp", &err), &err);
    if (names.count) fail_msg("tmp has %s", names.items[0]);
    name_list_clear(&names);
    unsetenv("TMPDIR");
}

static double number(const Json *object, const char *key) {
    const Json *v = json_get(object, key);
    if (!v || (v->type != JSON_INT && v->type != JSON_FLOAT) || !isfinite(v->number) || v->number <= 0)
        fail_msg("%s is missing, or no number above 0", key);
    return v->number;
}

static JsonDoc *run_json(const char *words) {
    char *out = run(words, 0);
    JsonDoc *doc;
    Err err;
    ASSERT_OK(json_parse(&doc, out, strlen(out), "output", 1, &err), &err);
    mem_free(out);
    return doc;
}

static const Json *the_dtype(const Json *root, const char *name) {
    const Json *dtypes = json_get(root, "dtypes");
    assert_non_null(dtypes);
    for (size_t i = 0; i < dtypes->count; i++)
        if (json_is_string(json_get(&dtypes->items[i], "dtype"), name)) return &dtypes->items[i];
    fail_msg("no dtype %s", name);
    return NULL;
}

static void check_machine(const Json *root) {
    assert_true(json_get(root, "cpu")->str.len > 0 && json_get(root, "isa")->type == JSON_STRING);
    assert_true(number(root, "threads") >= 1);
    assert_true(number(root, "read_bytes_per_second") > 1e7);
    assert_true(number(the_dtype(root, "f32"), "product_flop_per_second") > 1e7);
}

static void test_bench_measures_the_machine(void **state) {
    (void)state;
    put_model();
    JsonDoc *doc = run_json("bench --json --device cpu");
    check_machine(json_root(doc));
    assert_null(json_get(the_dtype(json_root(doc), "f32"), "tokens_per_second"));
    json_free(doc);
    check_has("bench --device cpu", 0, "name a model: lorac bench MODEL.gguf");
    check_nothing_left();
}

static void check_training(const char *words, double tokens) {
    JsonDoc *doc = run_json(words);
    const Json *root = json_root(doc), *f32 = the_dtype(root, "f32");
    check_machine(root);
    assert_true(json_is_string(json_get(root, "model"), "m.gguf") && number(root, "lora_r") == 16);
    assert_true(number(root, "tokens_per_step") == tokens && number(f32, "steps") >= 2);
    assert_true(number(f32, "tokens_per_second") > 1 && number(f32, "peak_memory_bytes") > 1e6);
    json_free(doc);
}

// A model alone; a config, whose data and schedule are not used; overrides.
static void test_bench_measures_training(void **state) {
    (void)state;
    put_model();
    check_training("bench m.gguf --json --device cpu --seconds 0.3 --max_seq_length 32", 32);
    put("c.json",
        "{\"model\": \"m.gguf\", \"train_file\": \"missing.jsonl\", \"output_dir\": \"out\", \"device\": \"cpu\","
        " \"validation_file\": \"missing.jsonl\", \"eval_strategy\": \"epoch\", \"early_stopping_patience\": 2,"
        " \"load_best_model_at_end\": true, \"max_seq_length\": 24, \"gradient_accumulation_steps\": 8}");
    check_training("bench c.json --json --seconds 0.3", 24);
    assert_false(path_exists("out"));
    char *out = run("bench --device=cpu --model m.gguf --seconds 0.3 --max_seq_length 32", 0);
    static const char *const parts[] = {
        "cpu        ", "memory ", "LoRA r=16 on q_proj, v_proj", "32 tokens", "tokens/s", "peak MB", "\nf32 "};
    CHECK_PARTS(out, parts);
    mem_free(out);
    check_nothing_left();
}

static void test_bench_refuses(void **state) {
    (void)state;
    put_model();
    check_has("bench missing.gguf --json", EXIT_INPUT, "lorac: missing.gguf: no such file");
    check_has("bench --device cpu --dtype f16", EXIT_INPUT, "lorac: dtype: f16 needs a GPU");
    check_has("bench m.gguf --task classification", EXIT_INPUT, "expected a config of task causal_lm");
    check_has("bench m.gguf --lora_r 0", EXIT_INPUT, "lora_r");
    check_has("bench m.gguf --seconds 0", EXIT_INPUT, "--seconds");
    check_has("bench m.gguf --device cpu --target_modules nothing --seconds 0.3", EXIT_INPUT, "lorac: dtype f32: ");
    setenv("RANK", "0", 1);
    check_has("bench m.gguf", EXIT_INPUT, "lorac: ");
    unsetenv("RANK");
    check_nothing_left();
}

static void test_bench_stops_on_a_signal(void **state) {
    (void)state;
    put_model();
    char *out = run("bench m.gguf --device cpu --seconds 600 > log & pid=$!; for i in $(seq 600); do "
                    "ls tmp/*/f32/train_log.jsonl && break; sleep 0.05; done >/dev/null 2>&1; kill $pid; wait $pid",
                    EXIT_INTERRUPTED);
    mem_free(out);
    check_nothing_left();
}

TEST_MAIN(SCRATCH_TEST(test_bench_measures_the_machine), SCRATCH_TEST(test_bench_measures_training),
          SCRATCH_TEST(test_bench_refuses), SCRATCH_TEST(test_bench_stops_on_a_signal))
