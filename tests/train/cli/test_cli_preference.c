// Preference training as a user runs it: losses and rewards of TRL's trainers (golden/preference), the same bits
// however the batch is split and after a stop, evaluation, and what is refused.
#include <math.h>
#include <unistd.h>

#include "golden_run.h"
#include "same_adapter.h"
#include "say.h"

#define MODEL "llama3-0" // of family_open
#define GOLDEN SOURCE_DIR "/tests/golden/preference/"
#define PREFERENCE                                                                                                     \
    "--model_name_or_path " MODEL " --adapter_name_or_path start --task preference --lora_dropout 0 "                  \
    "--max_seq_length 60 --lr_scheduler_type constant --warmup_ratio 0 --learning_rate 5e-3 --logging_steps 1 "
#define TRAIN "train " PREFERENCE "--train_file " GOLDEN "pairs.jsonl "
#define KTO "train " PREFERENCE "--preference_loss kto --train_file " GOLDEN "labels.jsonl --max_steps 6 "
#define IN_ORDER "--shuffle false --packing false --per_device_train_batch_size 2 "

// The model of golden/families/llama3 and the adapter "start".
static void put_model(void) {
    Family f;
    family_open(&f, "llama3", FAMILY_HF);
    assert_string_equal(f.path, MODEL);
    put_start(&f, MODEL, &(ModelOptions){.max_positions = 60}, "start");
    family_close(&f);
}

// ---- TRL's values ----

// Losses to `most` of themselves; rewards, which begin at 0, to that of the largest.
static void check_kind(const char *kind, const char *device, double most) {
    enum { STEPS = 20 };
    AUTO_FREE char *path = mem_printf(GOLDEN "%s.txt", kind), *golden = scratch_read(path);
    int n = (int)strcspn(golden, "\n"); // of the words
    char *numbers = golden + n;
    const char *data = strcmp(kind, "kto") == 0 ? "--train_file " GOLDEN "labels.jsonl" : "";
    AUTO_FREE char *words = mem_printf(TRAIN IN_ORDER "--max_steps %d --output_dir %s --device %s %.*s %s", STEPS, kind,
                                       device, n, golden, data);
    mem_free(run(words, 0));
    static const char *const keys[] = {"\"loss\":", "\"rewards/chosen\":", "\"rewards/rejected\":"};
    double want[STEPS][3], got[STEPS][3], largest = 0;
    for (int i = 0; i < STEPS * 3; i++) want[i / 3][i % 3] = strtod(numbers, &numbers);
    for (int i = 0; i < STEPS; i++) largest = fmax(largest, fmax(fabs(want[i][1]), fabs(want[i][2])));
    read_steps(kind, STEPS, keys, 3, got[0]);
    for (int i = 0; i < STEPS * 3; i++) {
        double limit = most * (i % 3 ? largest : fabs(want[i / 3][0]));
        if (!(fabs(got[i / 3][i % 3] - want[i / 3][i % 3]) <= limit))
            fail_msg("%s, step %d: got %.8g, expected %.8g", kind, i / 3 + 1, got[i / 3][i % 3], want[i / 3][i % 3]);
    }
}

static void test_preference_golden(void **state) {
    (void)state;
    static const char *const kinds[] = {"dpo", "ipo", "dpo-nll", "orpo", "simpo", "simpo-nll", "kto"};
    put_model();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) check_kind(kinds[i], "cpu", 1e-4);
}

// Of an emulated device: pairs are padded to one of few shapes, recorded and replayed.
static void test_preference_cuda(void **state) {
    (void)state;
    if (!*EMULATED_MODULES) skip();
    put_model();
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    check_kind("dpo", "cuda --dtype f32", 1e-4);
    check_kind("kto", "cuda --dtype f32", 1e-4);
    unsetenv("LORAC_MODULES");
}

// ---- the same bits ----

static void test_preference_bits(void **state) {
    (void)state;
    put_model();
    mem_free(run(TRAIN "--rpo_alpha 0.5 --max_steps 6 --per_device_train_batch_size 4 --output_dir four", 0));
    mem_free(run(TRAIN "--rpo_alpha 0.5 --max_steps 6 --per_device_train_batch_size 1 "
                       "--gradient_accumulation_steps 4 --output_dir one",
                 0));
    check_same("four", "one");
    mem_free(run(TRAIN "--rpo_alpha 0.5 --max_steps 6 --per_device_train_batch_size 4 "
                       "--gradient_checkpointing blocks --output_dir blocks",
                 0));
    check_same("four", "blocks");
    mem_free(run(TRAIN IN_ORDER "--max_steps 6 --output_dir whole", 0));
    mem_free(run(TRAIN IN_ORDER "--max_steps 3 --output_dir grown", 0));
    mem_free(run(TRAIN IN_ORDER "--max_steps 6 --output_dir grown", 0));
    check_same("whole", "grown");
    // Packed: several pairs in a row, the same rewards before the first update.
    mem_free(run(TRAIN "--max_steps 1 --shuffle false --per_device_train_batch_size 8 --output_dir packed", 0));
    AUTO_FREE char *log = scratch_read("packed/train_log.jsonl");
    assert_non_null(strstr(log, "\"loss\":0.693147181,"));
}

static void test_preference_kto(void **state) {
    (void)state;
    put_model();
    mem_free(run(KTO "--per_device_train_batch_size 4 --output_dir four", 0));
    mem_free(run(KTO "--gradient_accumulation_steps 4 --per_device_train_batch_size 1 --output_dir one", 0));
    check_same("four", "one");
    run_two_ranks(KTO "--per_device_train_batch_size 2 --output_dir ranks");
    check_same("four", "ranks");
    AUTO_FREE char *log = scratch_read("four/train_log.jsonl");
    assert_non_null(strstr(log, "\"kl\":"));
    assert_null(strstr(log, "accuracies"));
    check_has("eval four --validation_file " GOLDEN "labels.jsonl", 0, "(24 completions)");
    check_has("eval four --validation_file " GOLDEN "labels.jsonl --json", 0, "\"eval_kl\":");
    check_has(KTO "--output_dir out --rpo_alpha 1", 2, "rpo_alpha: kto has no pairs");
    check_has(TRAIN "--output_dir out --desirable_weight 2", 2, "desirable_weight: needs task");
}

// The reference is the adapter that the run starts from, unless it is the base.
static void test_preference_reference(void **state) {
    (void)state;
    put_model();
    mem_free(run(TRAIN IN_ORDER "--max_steps 1 --reference base --output_dir base", 0));
    AUTO_FREE char *log = scratch_read("base/train_log.jsonl");
    assert_null(strstr(log, "\"loss\":0.693147181,"));
    check_has(TRAIN IN_ORDER "--max_steps 2 --output_dir base", 2, "reference was \"base\", now \"start\"");
    mem_free(run(TRAIN IN_ORDER "--max_steps 1 --output_dir out", 0));
    assert_int_equal(system("rm -rf start && cp -r out/adapter start"), 0);
    check_has(TRAIN IN_ORDER "--max_steps 2 --output_dir out", 2, "preference was dpo against ");
}

static void test_preference_eval(void **state) {
    (void)state;
    put_model();
    check_has(TRAIN IN_ORDER "--max_steps 20 --output_dir out --validation_file " GOLDEN
                             "pairs.jsonl --eval_strategy steps --eval_steps 10",
              0, "margin");
    AUTO_FREE char *log = scratch_read("out/train_log.jsonl");
    static const char *const parts[] = {"\"eval_rewards/margins\":", "\"eval_rewards/accuracies\":1,"};
    CHECK_PARTS(log, parts);
    assert_null(strstr(log, "eval_perplexity"));
    AUTO_FREE char *page = scratch_read("out/report.html");
    assert_true(strstr(page, "Margin of the rewards") && strstr(page, "Accuracy in evaluation"));
    assert_null(strstr(page, "perplexity"));
    check_has("eval out", 0, "rewards/accuracies=1.0000 (8 pairs)");
    check_has("eval out --json", 0, "\"eval_rewards/chosen\":");
    check_has("eval out --generate", 2, "preferences have no reference answer");
}

static void test_preference_refusals(void **state) {
    (void)state;
    put_model();
    check_has("train --model_name_or_path " MODEL " --train_file " GOLDEN "pairs.jsonl --output_dir out --beta 0.2", 2,
              "beta: needs task \"preference\"");
    check_has(TRAIN "--output_dir out --preference_loss ipo --label_smoothing 0.1", 2,
              "label_smoothing: needs task \"preference\" with preference_loss dpo or simpo");
    check_has(TRAIN "--output_dir out --preference_loss orpo --reference base", 2, "reference: needs task");
    check_has(TRAIN "--output_dir out --preference_loss orpo --rpo_alpha 1", 2, "orpo learns the chosen text already");
    check_has(TRAIN "--output_dir out --label_smoothing_factor 0.1", 2, "not with task \"preference\"");
    check_has(TRAIN "--output_dir out --simpo_gamma 0.1", 2,
              "simpo_gamma: needs task \"preference\" with preference_loss simpo");
}

TEST_MAIN(SCRATCH_TEST(test_preference_golden), SCRATCH_TEST(test_preference_cuda), SCRATCH_TEST(test_preference_bits),
          SCRATCH_TEST(test_preference_kto), SCRATCH_TEST(test_preference_reference),
          SCRATCH_TEST(test_preference_eval), SCRATCH_TEST(test_preference_refusals))
