// An adapter with DoRA as a user has it: training, resume, gradient checkpointing, several runs, every verb that reads
// it, the merged model, and what is refused.
#include "cli_runner.h"
#include "path.h"
#include "tiny_model.h"

#define BASE " --model_name_or_path m.gguf "
#define TRAIN                                                                                                          \
    "train" BASE "--train_file d.jsonl --max_seq_length 64 --device cpu --learning_rate 1e-2 --max_steps 4 "           \
    "--use_dora --lora_target_modules all-linear --lora_r 4 --save_steps 2 "

static void put_all(void) {
    tiny_model_write("m.gguf", &TINY_MODEL);
    put_questions("d.jsonl", 9);
}

static void test_cli_dora_run(void **state) {
    (void)state;
    put_all();
    AUTO_FREE char *said = run(TRAIN "--output_dir out", 0);
    static const char *const parts[] = {"adapter: out/adapter (PEFT with DoRA", "vLLM, SGLang and llama.cpp do not",
                                        "no adapter.gguf next to it", "lorac merge out --out MODEL"};
    CHECK_PARTS(said, parts);
    assert_false(path_exists("out/adapter.gguf"));
    check_has("inspect out/adapter", 0, "use_dora: true");
    check_has("verify out", 0, "PEFT out/adapter: 42 matrices");
    check_has("plan" BASE "--train_file d.jsonl --max_seq_length 64 --use_dora", 0, "adapter");
    check_has("export out --format gguf --out a.gguf", 2, "no place for the magnitudes of DoRA");
    check_has("export out --format peft --out b --for sglang", 2, "SGLang does not compute DoRA");
    mem_free(run("export out --format peft --out b", 0));
    assert_same_file("out/adapter/adapter_model.safetensors", "b/adapter_model.safetensors");
    check_has("eval" BASE "--adapter_name_or_path out/adapter --validation_file d.jsonl", 0, "eval_loss=");
    mem_free(run(TRAIN "--output_dir more --adapter_name_or_path out/adapter", 0));
    check_has(TRAIN "--output_dir no --adapter_name_or_path out/adapter --use_dora false", 2,
              "use_dora: differs from that of the adapter");
}

// The same bits: recomputed, interrupted, one of two runs.
static void test_cli_dora_same_bits(void **state) {
    (void)state;
    put_all();
    mem_free(run(TRAIN "--output_dir one", 0));
    mem_free(run(TRAIN "--output_dir two --gradient_checkpointing blocks", 0));
    assert_same_file("one/adapter/adapter_model.safetensors", "two/adapter/adapter_model.safetensors");
    mem_free(run(TRAIN "--output_dir three", 0));
    mem_free(run(TRAIN "--output_dir four --gradient_checkpointing ffn", 0));
    assert_same_file("one/adapter/adapter_model.safetensors", "four/adapter/adapter_model.safetensors");
    mem_free(command_output("rm -r three/checkpoint-000004 three/adapter", 0));
    mem_free(run(TRAIN "--output_dir three", 0));
    assert_same_file("one/adapter/adapter_model.safetensors", "three/adapter/adapter_model.safetensors");
}

// The merged model computes what the base does with the adapter.
static void test_cli_dora_merge(void **state) {
    (void)state;
    put_all();
    mem_free(run(TRAIN "--output_dir out", 0));
    mem_free(run("merge out --out merged.gguf --dtype f32", 0));
    AUTO_FREE char *x = run("generate out --prompt hello --max_new_tokens 12", 0),
                   *y = run("generate --model_name_or_path merged.gguf --prompt hello --max_new_tokens 12", 0);
    assert_string_equal(x, y);
}

TEST_MAIN(SCRATCH_TEST(test_cli_dora_run), SCRATCH_TEST(test_cli_dora_same_bits), SCRATCH_TEST(test_cli_dora_merge))
