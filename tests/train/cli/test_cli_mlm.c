// Masked language modelling as a user runs it: losses of transformers over the same masks (golden/mlm), the same bits
// however the batch is split and after a stop, evaluation, files, and what is refused.
#include <math.h>

#include "golden_run.h"
#include "path.h"

#define MODEL "bert-0" // of family_open
#define GOLDEN SOURCE_DIR "/tests/golden/mlm/"
#define MLM                                                                                                            \
    "--model_name_or_path " MODEL " --adapter_name_or_path start --task mlm --lora_dropout 0 --max_seq_length 24 "     \
    "--lr_scheduler_type constant --warmup_ratio 0 --learning_rate 5e-3 --logging_steps 1 "
#define TRAIN "train " MLM "--train_file " GOLDEN "texts.jsonl "
#define IN_ORDER "--shuffle false --packing false --per_device_train_batch_size 2 "

// The model of golden/mlm/bert with its tokenizer, and the adapter "start".
static void put_model(void) {
    Family f;
    AUTO_FREE char *tokenizer = scratch_read(GOLDEN "tokenizer.json");
    family_open(&f, "../mlm/bert", FAMILY_HF);
    assert_string_equal(f.path, MODEL);
    put(MODEL "/tokenizer.json", tokenizer);
    put_start(&f, MODEL, &(ModelOptions){.max_positions = 24, .masked_lm = true}, "start");
    family_close(&f);
}

static void check_run(const char *name, const char *device) {
    enum { STEPS = 20 };
    AUTO_FREE char *path = mem_printf(GOLDEN "%s.txt", name), *golden = scratch_read(path);
    int n = (int)strcspn(golden, "\n"); // of the words
    char *numbers = golden + n;
    AUTO_FREE char *words =
        mem_printf(TRAIN IN_ORDER "--max_steps %d --output_dir %s --device %s %.*s", STEPS, name, device, n, golden);
    mem_free(run(words, 0));
    static const char *const keys[] = {"\"loss\":"};
    double got[STEPS];
    read_steps(name, STEPS, keys, 1, got);
    for (int i = 0; i < STEPS; i++) {
        double want = strtod(numbers, &numbers);
        if (!(fabs(got[i] - want) <= 1e-4 * want))
            fail_msg("%s, step %d: got %.8g, expected %.8g", name, i + 1, got[i], want);
    }
}

static void test_mlm_golden(void **state) {
    (void)state;
    put_model();
    check_run("tokens", "cpu");
    check_run("many", "cpu");
    check_run("words", "cpu");
}

// Of an emulated device: the numbers of hidden tokens are padded to one of few shapes.
static void test_mlm_cuda(void **state) {
    (void)state;
    if (!*EMULATED_MODULES) skip();
    put_model();
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    check_run("tokens", "cuda --dtype f32");
    unsetenv("LORAC_MODULES");
}

static void check_same(const char *a, const char *b) {
    AUTO_FREE char *first = mem_printf("%s/adapter/adapter_model.safetensors", a),
                   *second = mem_printf("%s/adapter/adapter_model.safetensors", b);
    assert_same_file(first, second);
}

static void test_mlm_bits(void **state) {
    (void)state;
    put_model();
    mem_free(run(TRAIN "--max_steps 4 --per_device_train_batch_size 4 --output_dir four", 0));
    mem_free(run(TRAIN "--max_steps 4 --gradient_accumulation_steps 4 --gradient_checkpointing blocks "
                       "--output_dir one",
                 0));
    check_same("four", "one");
    mem_free(run(TRAIN IN_ORDER "--max_steps 8 --output_dir whole", 0));
    mem_free(run(TRAIN IN_ORDER "--max_steps 3 --output_dir grown", 0)); // in the first epoch
    mem_free(run(TRAIN IN_ORDER "--max_steps 8 --output_dir grown", 0));
    check_same("whole", "grown");
}

static void test_mlm_files(void **state) {
    (void)state;
    put_model();
    AUTO_FREE char *out = run(TRAIN IN_ORDER "--max_steps 4 --output_dir out --validation_file " GOLDEN
                                             "texts.jsonl --eval_strategy steps --eval_steps 2",
                              0);
    static const char *const parts[] = {"perplexity ", "llama.cpp loads no adapters of encoders",
                                        "next:    lorac eval out; lorac verify out\n"};
    CHECK_PARTS(out, parts);
    assert_false(path_exists("out/adapter.gguf") || path_exists("out/Modelfile"));
    AUTO_FREE char *config = scratch_read("out/adapter/adapter_config.json"),
                   *card = scratch_read("out/adapter/README.md"), *page = scratch_read("out/report.html");
    assert_non_null(strstr(config, "\"task_type\":\tnull"));
    assert_true(strstr(card, "AutoModelForMaskedLM") && strstr(card, "pipeline_tag: fill-mask"));
    assert_null(strstr(card, "llama-server"));
    assert_non_null(strstr(page, "perplexity"));
    AUTO_FREE char *first = run("eval out --json", 0), *again = run("eval out --packing false --json", 0);
    assert_non_null(strstr(first, "\"eval_perplexity\":"));
    assert_string_equal(first, again); // the masks of evaluation
    check_has("eval out --adapter_name_or_path none", 0, "token_accuracy=");
    check_has("verify out", 0, "verified");
    check_output("logits --model " MODEL " -a out/adapter --input_ids 2,4,3 --out l.safetensors", "");
    check_has(TRAIN IN_ORDER "--max_steps 4 --output_dir out --validation_file " GOLDEN
                             "texts.jsonl --eval_strategy steps --eval_steps 2",
              0, "moves the base model's logits");
    check_has("inspect out/config.json --show 1", 0, "[[the cat sat on the mat]]");
}

// Texts longer than a row are cut into windows with the tokens around each; ids keep their own.
static void test_mlm_data(void **state) {
    (void)state;
    put_model();
    put("long.jsonl", "{\"text\": \"abc def ghi jkl mno\"}\n{\"text\": \"\"}\n");
    check_has("inspect --model_name_or_path " MODEL " --task mlm --train_file long.jsonl --max_seq_length 8", 0,
              "tokens    21: 15 may be hidden");
    check_has("inspect --model_name_or_path " MODEL " --task mlm --train_file long.jsonl --max_seq_length 8", 0,
              "samples   3, windows of the kept text");
    put("ids.jsonl", "{\"input_ids\": [2, 10, 11, 3]}\n{\"input_ids\": [10, 11, 12], \"labels\": [10, -100, 12]}\n");
    check_has("inspect --model_name_or_path " MODEL " --task mlm --train_file ids.jsonl", 0,
              "tokens    7: 4 may be hidden");
    mem_free(run("train " MLM "--train_file ids.jsonl --max_steps 2 --output_dir ids", 0));
    check_has("train " MLM "--whole_word_mask true --train_file ids.jsonl --output_dir no", 2,
              "ids.jsonl:1: record 1: input_ids: found token ids; expected text");
    put("pairs.jsonl", "{\"prompt\": \"A\", \"completion\": \"B\"}\n");
    check_has("train " MLM "--train_file pairs.jsonl --output_dir no", 2,
              "found a record of prompts and answers; expected text or input_ids (task mlm)");
}

// A token may begin inside a character.
static void test_mlm_bytes(void **state) {
    (void)state;
    put_model();
    put(MODEL "/tokenizer.json",
        "{\"added_tokens\":[{\"id\":4,\"content\":\"<mask>\",\"special\":true,\"single_word\":false,"
        "\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],\"normalizer\":null,\"pre_tokenizer\":"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":\"ByteLevel\"},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\u00C3\":1,\"\u00A9\":2,\"\u0120\":3},\"merges\":[]}}");
    put("bytes.jsonl", "{\"text\": \"\u00E9 a\u00E9\"}\n");
    check_has("inspect --model_name_or_path " MODEL " --task mlm --whole_word_mask true --train_file bytes.jsonl", 0,
              "tokens    6: 6 may be hidden");
}

static void test_mlm_refusals(void **state) {
    (void)state;
    Family f;
    put_model();
    check_has("train --model_name_or_path " MODEL " --train_file " GOLDEN "texts.jsonl --output_dir out "
              "--mlm_probability 0.2",
              2, "mlm_probability: needs task \"mlm\"");
    check_has(TRAIN "--output_dir out --mask_replace_prob 0.95", 2, "more than 1 together with random_replace_prob");
    check_has(TRAIN "--output_dir out --whole_word_mask true --mask_replace_prob 1", 2, "by the mask token alone");
    check_has(TRAIN "--output_dir out --hot_swap_url http://127.0.0.1:1", 2, "with task mlm");
    check_has("eval --model_name_or_path " MODEL " --task mlm --validation_file " GOLDEN "texts.jsonl "
              "--adapter_name_or_path start --generate",
              2, "an encoder does not generate text");
    family_open(&f, "../classify/bert", FAMILY_HF);
    family_close(&f);
    check_has("train --task mlm --train_file " GOLDEN "texts.jsonl --output_dir out --model_name_or_path bert-0", 2,
              "a bert model without a head of masked language modelling (cls.predictions.transform.dense)");
    family_open(&f, "qwen2", FAMILY_HF);
    family_close(&f);
    check_has("train --task mlm --train_file " GOLDEN "texts.jsonl --output_dir out --model_name_or_path qwen2-0", 2,
              "a qwen2 model, which predicts the next token; expected an encoder (task mlm)");
}

TEST_MAIN(SCRATCH_TEST(test_mlm_golden), SCRATCH_TEST(test_mlm_cuda), SCRATCH_TEST(test_mlm_bits),
          SCRATCH_TEST(test_mlm_files), SCRATCH_TEST(test_mlm_data), SCRATCH_TEST(test_mlm_bytes),
          SCRATCH_TEST(test_mlm_refusals))
