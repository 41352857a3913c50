// What `lorac plan` names, what `lorac train` accepts and what the process has taken at its end are the same, within 3%
// or 16 MB: with evaluation, samples, export and verification. Needs the base models of configs/ (make models); cases
// whose base is missing are left out.
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli_runner.h"
#include "kernels.h"
#include "model_file.h"
#include "sockets.h"

enum { MAX_RANKS = 2 };

typedef enum { SMOLLM2, GEMMA, MINILM, DENSE, BASE_COUNT } Base; // DENSE: SmolLM2 in bf16, made by lorac merge
typedef struct MemoryCase {
    Base base;
    int ranks; // 0: one process without a launcher
    const char *words;
} MemoryCase;
typedef struct Taken {
    double accepted, peak; // MB
} Taken;

static const char *const base_paths[BASE_COUNT] = {NULL, SOURCE_DIR "/models/gemma-3-270m-q4_k_m.gguf",
                                                   SOURCE_DIR "/models/all-MiniLM-L6-v2", "dense.gguf"};

#define TOOLS SOURCE_DIR "/data/examples/tool_calls_"
#define TRAIN "--train_file " TOOLS "train.jsonl "
#define EVALUATION                                                                                                     \
    "--validation_file '[{\"path\": \"" TOOLS                                                                          \
    "test.jsonl\", \"max_samples\": 24}]' --eval_strategy steps --eval_steps 1 "
#define CLASSES "--train_file classes.jsonl --task classification --max_seq_length 128 "
#define LONG "--train_file long.jsonl --max_steps 1 "
#define PAIRS SOURCE_DIR "/data/examples/tool_pairs_"
// Rows differ in length: of 32 one is about the longest.
#define PREFERENCE                                                                                                     \
    "--task preference --train_file " PAIRS "train.jsonl --max_seq_length 128 --per_device_train_batch_size 16 "

static double number_behind(const char *text, const char *key) {
    const char *at = strstr(text, key);
    if (!at) fail_msg("no %s in \"%s\"", key, text);
    return strtod(at + strlen(key), NULL);
}

static bool close_enough(double a, double b) {
    double d = a > b ? a - b : b - a;
    return d <= 16 || d <= 0.03 * b;
}

// ---- one case ----

static const char *base_path(Base b) { return b == SMOLLM2 ? model_file() : base_paths[b]; }

static char *command(const char *verb, const MemoryCase *c) {
    return mem_printf("%s --model_name_or_path %s --output_dir out --device cpu --max_steps 2 %s", verb,
                      base_path(c->base), c->words);
}

// MB of the level that plan has chosen.
static double planned(const MemoryCase *c) {
    AUTO_FREE char *line = command("plan --json", c);
    AUTO_FREE char *out = run(line, 0);
    const char *level = strstr(out, "\"chosen\": \"");
    assert_non_null(level);
    level += strlen("\"chosen\": ");
    AUTO_FREE char *key = mem_printf("\"level\": %.*s", (int)(strchr(level + 1, '"') - level + 1), level);
    level = strstr(out, key);
    assert_non_null(level);
    return number_behind(level, "\"total_bytes\": ") / 1e6;
}

// A port that nobody listens at now.
static int free_port(void) {
    int fd, port = 0;
    Err err;
    ASSERT_OK(socket_listen(&fd, &port, "127.0.0.1", &err), &err);
    close(fd);
    return port;
}

static pid_t start(const MemoryCase *c, int rank, int port) {
    AUTO_FREE char *line = command("train", c);
    AUTO_FREE char *launched =
        mem_printf("RANK=%d LOCAL_RANK=%d WORLD_SIZE=%d LOCAL_WORLD_SIZE=%d MASTER_ADDR=127.0.0.1 MASTER_PORT=%d", rank,
                   rank, c->ranks, c->ranks, port);
    AUTO_FREE char *shell = mem_printf("%s XDG_CACHE_HOME=$PWD/cache exec '%s' %s >rank-%d 2>&1",
                                       c->ranks ? launched : "", LORAC, line, rank);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid) return pid;
    execl("/bin/sh", "sh", "-c", shell, (char *)NULL);
    _exit(127);
}

static char *printed(int rank) {
    AUTO_FREE char *shell = mem_printf("cat rank-%d", rank);
    return command_output(shell, 0);
}

// Trains. Accepted is what rank 0 says at its start; the peak is the largest of the ranks.
static Taken taken(const MemoryCase *c) {
    int n = c->ranks ? c->ranks : 1, port = free_port(), status;
    pid_t pids[MAX_RANKS];
    Taken t = {0};
    for (int i = 0; i < n; i++) pids[i] = start(c, i, port);
    for (int i = 0; i < n; i++) {
        struct rusage r;
        assert_int_equal(wait4(pids[i], &status, 0, &r), pids[i]);
        AUTO_FREE char *out = printed(i);
        if (status) fail_msg("lorac train %s: wait status %d: %s", c->words, status, out);
        double peak = (double)r.ru_maxrss * 1024 / 1e6;
        if (peak > t.peak) t.peak = peak;
        if (i == 0) t.accepted = number_behind(out, strstr(out, "] memory   ") ? "] memory   " : "\nmemory   ");
    }
    return t;
}

static void check(const MemoryCase *c) {
    const char *base = base_path(c->base);
    if (!base || !path_exists(base)) {
        printf("left out, %s is missing: %s\n", base ? base : "the base model", c->words);
        return;
    }
    double plan = planned(c);
    Taken t = taken(c);
    printf("%s %s: planned %.1f MB, accepted %.1f MB, taken %.1f MB\n", path_name(base), c->words, plan, t.accepted,
           t.peak);
    fflush(stdout);
    if (!close_enough(plan, t.peak) || !close_enough(t.accepted, t.peak))
        fail_msg("%s: planned %.1f MB, accepted %.1f MB, taken %.1f MB", c->words, plan, t.accepted, t.peak);
    assert_int_equal(system("rm -rf out"), 0);
}

static void check_all(const MemoryCase *cases, size_t n) {
    for (size_t i = 0; i < n; i++) check(&cases[i]);
}

#define CHECK_ALL(...)                                                                                                 \
    check_all((const MemoryCase[]){__VA_ARGS__}, sizeof((MemoryCase[]){__VA_ARGS__}) / sizeof(MemoryCase))

// ---- data ----

static void put_classes(void) {
    AUTO_STR StrBuf text = {0};
    for (int i = 0; i < 120; i++) {
        str_printf(&text, "{\"text\": \"");
        for (int k = 0; k <= i % 9; k++) str_printf(&text, "some text number %d of the set ", i);
        str_printf(&text, "\", \"label\": \"%c\"}\n", 'a' + i % 3);
    }
    put("classes.jsonl", text.data);
}

static void put_long(void) {
    AUTO_STR StrBuf text = {0};
    for (int i = 0; i < 2; i++) {
        str_puts(&text, "{\"text\": \"");
        for (int k = 0; k < 3000; k++) str_printf(&text, "word%d ", (i * 37 + k * 11) % 997);
        str_puts(&text, "\"}\n");
    }
    put("long.jsonl", text.data);
}

// ---- tests ----

static void test_memory_small(void **state) {
    (void)state;
    put_classes();
    CHECK_ALL({SMOLLM2, 0, TRAIN "--max_seq_length 64 --max_steps 1"},
              {MINILM, 0, CLASSES "--lora_target_modules query,value --per_device_train_batch_size 2"});
}

// What does not fit is refused by both, before anything is written.
static void test_memory_small_limit_is_kept(void **state) {
    (void)state;
    MemoryCase c = {SMOLLM2, 0, TRAIN "--max_seq_length 128 --max_memory 150MB --base_memory device"};
    AUTO_FREE char *plan = command("plan", &c), *train = command("train", &c);
    check_has(plan, 3, "expected at most 150.0 MB (max_memory)");
    check_has(train, 3, "expected at most 150 MB (max_memory)");
}

static void test_memory_of_decoders(void **state) {
    (void)state;
    CHECK_ALL({SMOLLM2, 0, TRAIN "--max_seq_length 512"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 512 --gradient_checkpointing true"},
              {SMOLLM2, 0,
               TRAIN "--max_seq_length 96 --truncation truncate --train_on_inputs true --gradient_checkpointing ffn "
                     "--packing false"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 256 --lora_target_modules all-linear --lora_r 64 --lora_alpha 64"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 256 --lora_target_modules all-linear --lora_dropout 0.1"},
              {SMOLLM2, 0,
               TRAIN "--max_seq_length 256 --train_on_inputs true --lora_dropout 0.1 "
                     "--neftune_noise_alpha 5"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 1024 --gradient_checkpointing true --lora_target_modules down_proj"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 256 --lora_r 4 --report_to '[]'"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 128 --max_memory 600MB"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 128 --max_memory 150MB"}, // two layers of the base at a time
              {SMOLLM2, 0, TRAIN "--max_seq_length 256 --base_memory disk --gradient_checkpointing true"},
              {SMOLLM2, 0,
               TRAIN "--max_seq_length 128 --per_device_train_batch_size 2 "
                     "--gradient_accumulation_steps 3"});
}

static void test_memory_of_precisions(void **state) {
    (void)state;
    if (!kernels_cpu(DTYPE_BF16, PRECISION_HIGHEST, NULL)) {
        printf("this CPU has no bf16 products\n");
        skip();
    }
    CHECK_ALL({SMOLLM2, 0, TRAIN "--max_seq_length 512 --dtype bf16"},
              {SMOLLM2, 0, TRAIN EVALUATION "--max_seq_length 256 --dtype bf16"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 256 --dtype bf16 --max_memory 1500MB"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 512 --float32_matmul_precision high"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 256 --float32_matmul_precision high --max_memory 1500MB"});
}

static void test_memory_of_evaluations(void **state) {
    (void)state;
    CHECK_ALL({SMOLLM2, 0, TRAIN EVALUATION "--max_seq_length 256"},
              {SMOLLM2, 0, TRAIN EVALUATION "--max_seq_length 64 --load_best_model_at_end true"},
              {GEMMA, 0, TRAIN EVALUATION "--max_seq_length 128 --chat_template gemma"});
}

static void test_memory_of_long_rows(void **state) {
    (void)state;
    put_long();
    CHECK_ALL({SMOLLM2, 0, LONG "--max_seq_length 4096 --gradient_checkpointing true"},
              {SMOLLM2, 0, LONG "--max_seq_length 4096 --max_memory 2GB"});
}

static void test_memory_of_other_bases(void **state) {
    (void)state;
    put_classes();
    CHECK_ALL({GEMMA, 0, TRAIN "--max_seq_length 512 --chat_template gemma"},
              {GEMMA, 0, TRAIN "--max_seq_length 256 --chat_template gemma --lora_target_modules all-linear"},
              {MINILM, 0, CLASSES "--lora_target_modules all-linear --per_device_train_batch_size 16"},
              {MINILM, 0, CLASSES "--lora_target_modules query,value --quantize_base nf4"}, {SMOLLM2, 0, CLASSES},
              {SMOLLM2, 0, CLASSES "--lora_target_modules all-linear --lora_dropout 0.05 --val_set_size 0.2"});
}

static void test_memory_of_quantised_bases(void **state) {
    (void)state;
    MemoryCase first = {SMOLLM2, 0, TRAIN "--max_seq_length 64"};
    AUTO_FREE char *train = command("train", &first), *out = run(train, 0);
    AUTO_FREE char *merged = run("merge out --out dense.gguf --dtype bf16", 0);
    assert_int_equal(system("rm -rf out"), 0);
    CHECK_ALL({DENSE, 0, TRAIN "--max_seq_length 256"}, {DENSE, 0, TRAIN "--max_seq_length 256 --quantize_base nf4"},
              {DENSE, 0, TRAIN "--max_seq_length 256 --quantize_base int8 --gradient_checkpointing true"});
}

static void test_memory_of_several_runs(void **state) {
    (void)state;
    put("runs.json", "{\"runs\": [{\"output_dir\": \"out/a\"}, {\"output_dir\": \"out/b\", \"lora_r\": 8}, "
                     "{\"output_dir\": \"out/c\", \"learning_rate\": 1e-3}]}");
    CHECK_ALL({SMOLLM2, 0, "runs.json " TRAIN "--max_seq_length 256"},
              {SMOLLM2, 0, "runs.json " TRAIN EVALUATION "--max_seq_length 128 --gradient_checkpointing true"});
}

// The reference's pass comes before the policy's; with an adapter to start from there is a second one.
static void test_memory_of_preferences(void **state) {
    (void)state;
    AUTO_FREE char *train =
        mem_printf("train --model_name_or_path %s --output_dir start --device cpu --max_steps 1 " TRAIN
                   "--max_seq_length 64 --report_to '[]'",
                   model_file());
    mem_free(run(train, 0));
    CHECK_ALL({SMOLLM2, 0, PREFERENCE "--validation_file " PAIRS "test.jsonl --eval_strategy steps --eval_steps 1"},
              {SMOLLM2, 0, PREFERENCE "--preference_loss orpo --gradient_checkpointing true"},
              {SMOLLM2, 0, PREFERENCE "--adapter_name_or_path start/adapter"},
              {SMOLLM2, 0, TRAIN "--max_seq_length 256 --use_dora true --lora_target_modules all-linear"});
}

static void test_memory_of_ranks(void **state) {
    (void)state;
    CHECK_ALL({SMOLLM2, 2, TRAIN "--max_seq_length 256 --gradient_accumulation_steps 2"},
              {SMOLLM2, 2, TRAIN EVALUATION "--max_seq_length 128 --lora_target_modules all-linear"});
}

static int run_all(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(test_memory_small),           SCRATCH_TEST(test_memory_small_limit_is_kept),
        SCRATCH_TEST(test_memory_of_decoders),     SCRATCH_TEST(test_memory_of_precisions),
        SCRATCH_TEST(test_memory_of_evaluations),  SCRATCH_TEST(test_memory_of_long_rows),
        SCRATCH_TEST(test_memory_of_other_bases),  SCRATCH_TEST(test_memory_of_quantised_bases),
        SCRATCH_TEST(test_memory_of_several_runs), SCRATCH_TEST(test_memory_of_preferences),
        SCRATCH_TEST(test_memory_of_ranks)};
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (!model_file()) {
        printf("skipped: the base model is not there (make model)\n");
        return TEST_SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_all)
