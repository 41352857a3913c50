// An adapter that begins as a part of the base (PiSSA, OLoRA) as a user has it: training, resume, several runs,
// preferences, what is exported for the unchanged base, and what is refused.
#include "cli_runner.h"
#include "path.h"
#include "tiny_model.h"

#define BASE " --model_name_or_path m.gguf "
#define TRAIN                                                                                                          \
    "train" BASE "--train_file d.jsonl --max_seq_length 64 --device cpu --learning_rate 1e-2 --max_steps 4 "           \
    "--lora_target_modules all-linear --lora_r 4 --lora_alpha 6 --lora_dropout 0.1 --save_steps 2 "
#define WEIGHTS "/adapter/adapter_model.safetensors"

static void put_all(void) {
    tiny_model_write("m.gguf", &TINY_MODEL);
    put_questions("d.jsonl", 9);
}

static void test_cli_pissa_run(void **state) {
    (void)state;
    put_all();
    AUTO_FREE char *said = run(TRAIN "--init_lora_weights pissa_niter_4 --output_dir out", 0);
    static const char *const parts[] = {"PiSSA was converted to plain LoRA of twice the rank", "rank 8, scale 1.5"};
    CHECK_PARTS(said, parts);
    AUTO_FREE char *config = scratch_read("out/adapter/adapter_config.json"),
                   *card = scratch_read("out/adapter/README.md");
    assert_non_null(strstr(config, "\"r\":\t8"));
    assert_non_null(strstr(config, "\"lora_alpha\":\t12"));
    assert_non_null(strstr(card, "| initialisation | rank 4 of the base's weights"));
    check_has("verify out", 0, "largest logit difference PEFT - GGUF");
    check_has("verify" BASE "out/checkpoint-000002/adapter", 0, "rank 8");
    check_has("plan" BASE "--train_file d.jsonl --max_seq_length 64 --init_lora_weights pissa", 0, "adapter");
    check_has("eval out --validation_file d.jsonl", 0, "eval_loss=");
    mem_free(run(TRAIN "--lora_r 8 --lora_alpha 12 --output_dir more --adapter_name_or_path out/adapter", 0));
    check_has(TRAIN "--output_dir no --init_lora_weights olora --use_dora", 2, "use_dora with init_lora_weights pissa");
    check_has(TRAIN "--output_dir no --init_lora_weights gaussian --pissa_iter 3", 2,
              "pissa_iter: needs init_lora_weights \"pissa\"");
    check_has(TRAIN "--output_dir no --init_lora_weights pissa --lora_r 4096", 2, "at most its smaller side");
}

// The same bits: recomputed, with one thread, interrupted, exported again, on two ranks, one of two runs.
static void test_cli_pissa_same_bits(void **state) {
    (void)state;
    put_all();
    mem_free(run(TRAIN "--init_lora_weights pissa --output_dir one", 0));
    setenv("OMP_NUM_THREADS", "1", 1);
    mem_free(run(TRAIN "--init_lora_weights pissa --output_dir two --gradient_checkpointing blocks", 0));
    unsetenv("OMP_NUM_THREADS");
    assert_same_file("one" WEIGHTS, "two" WEIGHTS);
    mem_free(command_output("rm -r two/checkpoint-000004 two/adapter", 0));
    mem_free(run(TRAIN "--init_lora_weights pissa --output_dir two --gradient_checkpointing blocks", 0));
    assert_same_file("one" WEIGHTS, "two" WEIGHTS);
    mem_free(command_output("rm -r two/adapter", 0));
    mem_free(run(TRAIN "--init_lora_weights pissa --output_dir two --gradient_checkpointing blocks", 0));
    assert_same_file("one" WEIGHTS, "two" WEIGHTS);
    check_has(TRAIN "--init_lora_weights olora --output_dir three --resume_from_checkpoint one/checkpoint-000002", 2,
              "alpha was 6, pissa, now 6, olora");
    put("runs.json", "{\"runs\": [{\"run_name\": \"a\", \"init_lora_weights\": \"pissa\"},\n"
                     "{\"run_name\": \"b\", \"init_lora_weights\": \"olora\"}]}\n");
    mem_free(run("train runs.json" BASE "--train_file d.jsonl --max_seq_length 64 --device cpu --learning_rate 1e-2 "
                 "--max_steps 4 --lora_target_modules all-linear --lora_r 4 --lora_alpha 6 --lora_dropout 0.1 "
                 "--save_steps 2 --output_dir runs",
                 0));
    assert_same_file("one" WEIGHTS, "runs/a" WEIGHTS);
}

// The merged model computes what the base does with the adapter.
static void test_cli_pissa_merge(void **state) {
    (void)state;
    put_all();
    mem_free(run(TRAIN "--init_lora_weights olora --output_dir out", 0));
    mem_free(run("merge out --out merged.gguf --dtype f32", 0));
    AUTO_FREE char *x = run("generate out --prompt hello --max_new_tokens 12", 0),
                   *y = run("generate --model_name_or_path merged.gguf --prompt hello --max_new_tokens 12", 0);
    assert_string_equal(x, y);
}

TEST_MAIN(SCRATCH_TEST(test_cli_pissa_run), SCRATCH_TEST(test_cli_pissa_same_bits), SCRATCH_TEST(test_cli_pissa_merge))
