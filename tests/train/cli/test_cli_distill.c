// Knowledge distillation as a user runs it: losses of PyTorch (golden/distill), the same bits however the batch is
// split, after a stop and from a file of the teacher's logits, evaluation, and what is refused.
#include <math.h>
#include <unistd.h>

#include "golden_run.h"
#include "same_adapter.h"
#include "say.h"

#define GOLDEN SOURCE_DIR "/tests/golden/distill/"
#define BASE                                                                                                           \
    "--model_name_or_path llama3-0 --adapter_name_or_path llama3-start --lora_dropout 0 --max_seq_length 60 "          \
    "--lr_scheduler_type constant --warmup_ratio 0 --learning_rate 5e-3 --logging_steps 1 --train_file " GOLDEN        \
    "tokens.jsonl "
#define TRAIN "train " BASE
#define IN_ORDER "--shuffle false --packing false --per_device_train_batch_size 2 "
#define PACKED BASE "--kd_temperature 2 --shuffle false --max_steps 2 "
#define TEACHER "--teacher_model gemma2-0 --kd_top_k 9 --kd_temperature 2 "

// The model NAME-0 of golden/families/NAME and its adapter NAME-start.
static void put_model(const char *name) {
    Family f;
    family_open(&f, name, FAMILY_HF);
    AUTO_FREE char *start = mem_printf("%s-start", name);
    put_start(&f, f.path, &(ModelOptions){.max_positions = 60}, start);
    family_close(&f);
}

static void put_models(void) {
    put_model("llama3");
    put_model("gemma2");
}

// ---- PyTorch's values ----

// Divergences, which may be small, to `most` of the loss.
static void check_kind(const char *kind, const char *device, double most) {
    enum { STEPS = 20 };
    AUTO_FREE char *path = mem_printf(GOLDEN "%s.txt", kind), *golden = scratch_read(path);
    int student = (int)strcspn(golden, " "), end = (int)strcspn(golden, "\n");
    char *numbers = golden + end;
    AUTO_FREE char *words =
        mem_printf(TRAIN IN_ORDER "--model_name_or_path %.*s-0 --adapter_name_or_path %.*s-start "
                                  "--max_steps %d --output_dir %s --device %s %.*s",
                   student, golden, student, golden, STEPS, kind, device, end - student, golden + student);
    mem_free(run(words, 0));
    static const char *const keys[] = {"\"loss\":", "\"ce_loss\":", "\"kd_loss\":"};
    double got[STEPS][3];
    read_steps(kind, STEPS, keys, 3, got[0]);
    for (int i = 0; i < STEPS; i++) {
        double loss = 0;
        for (int k = 0; k < 3; k++) {
            double want = strtod(numbers, &numbers);
            if (!k) loss = want;
            if (!(fabs(got[i][k] - want) <= most * fmax(fabs(want), loss)))
                fail_msg("%s, step %d: got %.8g, expected %.8g", kind, i + 1, got[i][k], want);
        }
    }
}

static void test_distill_golden(void **state) {
    (void)state;
    static const char *const kinds[] = {"base", "adapter", "top", "capped", "gkd"};
    put_models();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) check_kind(kinds[i], "cpu", 1e-4);
}

// Of an emulated device: passes are padded to one of few shapes, recorded and replayed.
static void test_distill_cuda(void **state) {
    (void)state;
    if (!*EMULATED_MODULES) skip();
    put_models();
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    check_kind("top", "cuda --dtype f32", 1e-4);
    unsetenv("LORAC_MODULES");
}

// ---- the same bits ----

static void test_distill_bits(void **state) {
    (void)state;
    put_models();
    mem_free(run(TRAIN TEACHER "--max_steps 4 --per_device_train_batch_size 4 --output_dir four", 0));
    mem_free(run(TRAIN TEACHER "--max_steps 4 --gradient_accumulation_steps 4 --per_device_train_batch_size 1 "
                               "--gradient_checkpointing blocks --output_dir one",
                 0));
    check_same("four", "one");
    mem_free(run(TRAIN TEACHER IN_ORDER "--max_steps 4 --output_dir whole", 0));
    mem_free(run(TRAIN TEACHER IN_ORDER "--max_steps 2 --output_dir grown", 0));
    mem_free(run(TRAIN TEACHER IN_ORDER "--max_steps 4 --output_dir grown", 0));
    check_same("whole", "grown");
    check_has(TRAIN "--teacher_model llama3-0 --kd_top_k 9 --kd_temperature 2 " IN_ORDER
                    "--max_steps 6 --output_dir grown",
              2, "teacher");
}

// ---- a file of the teacher's logits ----

#define FROM_FILE TRAIN IN_ORDER "--kd_temperature 2 --teacher_logits teacher.safetensors --output_dir out "

static void test_distill_file(void **state) {
    (void)state;
    put_models();
    check_has("logits " BASE TEACHER IN_ORDER "--out teacher.safetensors", 0,
              "9 tokens at each of 156 supervised tokens of 16 samples");
    check_has("logits " BASE TEACHER IN_ORDER "--out teacher.safetensors", 2, "teacher.safetensors");
    mem_free(run(TRAIN TEACHER IN_ORDER "--max_steps 4 --output_dir model", 0));
    // The model is named in the config, and not opened.
    mem_free(run(TRAIN IN_ORDER "--kd_temperature 2 --teacher_model gone --teacher_logits teacher.safetensors "
                                "--max_steps 4 --output_dir file --validation_file " GOLDEN "tokens.jsonl",
                 0));
    check_same("model", "file");
    check_has("eval file", 0, " kd_loss=");
    check_has("train " PACKED "--teacher_logits teacher.safetensors --output_dir packed", 0, "kd ");
    check_has(FROM_FILE "--max_seq_length 12 --truncation truncate", 2, "has no logits for record");
    check_has("logits " BASE "--out other.safetensors", 2, "no teacher; expected teacher_model");
    check_has("logits --out other.safetensors", 2, "--input_ids is missing; expected them, or a config");
}

// A file of two rows of two tokens for the hash of no sample.
typedef struct FileCase {
    int64_t start[2];
    int32_t ids[4];
    float values[4];
    const char *message;
} FileCase;

static void write_case(const FileCase *c) {
    int64_t hash[] = {1};
    SafetensorsEntry entries[] = {{"sample_hash", DTYPE_I64, 1, {1}, hash},
                                  {"sample_start", DTYPE_I64, 1, {2}, c->start},
                                  {"target_token_ids", DTYPE_I32, 2, {2, 2}, c->ids},
                                  {"target_logprobs", DTYPE_F32, 2, {2, 2}, c->values}};
    Err err;
    unlink("teacher.safetensors");
    ASSERT_OK(safetensors_save("teacher.safetensors", entries, 4, NULL, 0, NULL, &err), &err);
}

static void test_distill_bad_files(void **state) {
    (void)state;
    static const FileCase cases[] = {
        {{0, 2}, {3, 4, 5, -1}, {-1, -2, -1, NAN}, "has no logits for record 0 of the data"},
        {{0, 2}, {3, 4, 5, 64}, {0}, "row 1 has token 64; expected tokens below 64"},
        {{0, 2}, {3, 4, 5, -2}, {0}, "row 1 has token -2"},
        {{0, 2}, {3, 4, 5, 5}, {0}, "row 1 has token 5 twice"},
        {{0, 2}, {3, 4, 5, 6}, {0, 0, NAN, 0}, "row 1 has nan for token 5"},
        {{0, 2}, {3, 4, -1, 6}, {0, 0, 0, -INFINITY}, "row 1 has no token"},
        {{1, 2}, {3, 4, 5, 6}, {0}, "sample_start: expected ascending rows from 0 to 2"},
        {{0, 3}, {3, 4, 5, 6}, {0}, "sample_start: expected ascending rows from 0 to 2"},
        {{0, -1}, {3, 4, 5, 6}, {0}, "sample_start: expected ascending rows from 0 to 2"},
    };
    put_model("llama3");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_case(&cases[i]);
        check_has(FROM_FILE, 2, cases[i].message);
    }
    check_has(TRAIN IN_ORDER "--output_dir out --teacher_logits llama3-0/model.safetensors", 2,
              "no tensor sample_hash");
    check_has(TRAIN IN_ORDER "--output_dir out --teacher_logits nowhere", 2, "nowhere");
}

static void test_distill_eval(void **state) {
    (void)state;
    put_models();
    check_has(TRAIN TEACHER IN_ORDER "--max_steps 4 --output_dir out --validation_file " GOLDEN "tokens.jsonl", 0,
              "  kd ");
    AUTO_FREE char *log = scratch_read("out/train_log.jsonl");
    static const char *const parts[] = {"\"eval_ce_loss\":", "\"eval_kd_loss\":", "\"eval_perplexity\":"};
    CHECK_PARTS(log, parts);
    AUTO_FREE char *page = scratch_read("out/report.html");
    static const char *const curves[] = {"Loss against the teacher", "Loss against the data"};
    CHECK_PARTS(page, curves);
    assert_null(strstr(page, "Margin of the rewards"));
    check_has("eval out", 0, " kd_loss=");
    check_has("eval out --json", 0, "\"eval_kd_loss\":");
    check_has("plan out/config.json", 0, "beside the base");
    check_has("plan " BASE "--output_dir p --teacher_adapter llama3-start --json", 0, "\"teacher_bytes\": 0");
}

static void test_distill_refusals(void **state) {
    (void)state;
    put_models();
    mem_free(command_output("cp -r gemma2-0 other-0 && sed -i 's/\"A\": 32/\"A\": 57/; s/\"Z\": 57/\"Z\": 32/' "
                            "other-0/tokenizer.json",
                            0));
    check_has(TRAIN "--output_dir out --teacher_model other-0", 2,
              "token 32 is \"Z\" there and \"A\" in llama3-0; expected the same tokens");
    check_has(TRAIN "--output_dir out --kd_alpha 0.9", 2,
              "kd_alpha: needs teacher_model, teacher_adapter or teacher_logits");
    check_has(TRAIN "--output_dir out " TEACHER "--label_smoothing_factor 0.1", 2, "not with a teacher");
    check_has(TRAIN "--output_dir out " TEACHER "--task preference", 2, "needs task \"causal_lm\"");
    check_has(TRAIN "--output_dir out " TEACHER "--kd_alpha 0 --kd_ce_alpha 0", 2, "kd_alpha: 0, as kd_ce_alpha is");
    check_has(TRAIN "--output_dir out --teacher_model nowhere", 2, "nowhere");
    check_has(TRAIN "--output_dir out --teacher_model gemma2-0 --teacher_adapter llama3-start", 2, "teacher_adapter");
}

TEST_MAIN(SCRATCH_TEST(test_distill_golden), SCRATCH_TEST(test_distill_cuda), SCRATCH_TEST(test_distill_bits),
          SCRATCH_TEST(test_distill_file), SCRATCH_TEST(test_distill_bad_files), SCRATCH_TEST(test_distill_eval),
          SCRATCH_TEST(test_distill_refusals))
