// What `lorac plan` names, what `lorac train` accepts and what the process has taken at its end are the same, within 3%
// or 16 MB: with evaluation, samples, export and verification. Needs the base model of the demo.
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli_runner.h"
#include "model_file.h"

#define DATA SOURCE_DIR "/data/examples/tool_calls_"
static const char *const CASES[] = {
    "--max_seq_length 128",
    "--max_seq_length 512",
    "--max_seq_length 512 --gradient_checkpointing true",
    "--max_seq_length 96 --truncation truncate --train_on_inputs true --gradient_checkpointing ffn --packing false",
    "--max_seq_length 256 --lora_target_modules all-linear --lora_r 64 --lora_alpha 64",
    "--max_seq_length 256 --validation_file " DATA "test.jsonl --eval_strategy steps --eval_steps 1",
    "--max_seq_length 64 --validation_file " DATA "test.jsonl --load_best_model_at_end true --eval_strategy steps "
    "--eval_steps 1",
    "--max_seq_length 256 --train_on_inputs true --lora_dropout 0.1 --neftune_noise_alpha 5",
    "--max_seq_length 1024 --gradient_checkpointing true --lora_target_modules '[\"down_proj\"]'",
    "--max_seq_length 256 --lora_r 4 --report_to '[]'",
    "--max_seq_length 128 --max_memory 600MB",
    "--max_seq_length 512 --dtype bf16",
    "--max_seq_length 512 --float32_matmul_precision high",
};

static double number_behind(const char *text, const char *key) {
    const char *at = strstr(text, key);
    if (!at) fail_msg("no %s in \"%s\"", key, text);
    return strtod(at + strlen(key), NULL);
}

static double mb(const char *text, const char *key, double unit) { return number_behind(text, key) * unit / 1e6; }

static bool close_enough(double a, double b) {
    double d = a > b ? a - b : b - a;
    return d <= 16 || d <= 0.03 * b;
}

static char *command(const char *verb, const char *words) {
    return mem_printf("%s --model_name_or_path %s --train_file " DATA "train.jsonl --output_dir out --device cpu "
                      "--max_steps 2 %s",
                      verb, model_file(), words);
}

// MB of the level that plan has chosen.
static double planned(const char *words) {
    char *line = command("plan --json", words), *out = run(line, 0), *level = strstr(out, "\"chosen\": \"");
    assert_non_null(level);
    level += strlen("\"chosen\": ");
    char *key = mem_printf("\"level\": %.*s", (int)(strchr(level + 1, '"') - level + 1), level);
    level = strstr(out, key);
    assert_non_null(level);
    double total = mb(level, "\"total_bytes\": ", 1);
    mem_free(key);
    mem_free(out);
    mem_free(line);
    return total;
}

// Trains; MB that it has accepted at its start and those of its peak.
static void taken(const char *words, double *accepted, double *peak) {
    char *line = command("train", words);
    struct rusage r;
    StrBuf out = {0};
    int pipe_ends[2], status;
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char *exec = mem_printf("XDG_CACHE_HOME=$PWD/cache exec '%s' %s 2>&1", LORAC, line);
        dup2(pipe_ends[1], 1);
        close(pipe_ends[0]);
        execl("/bin/sh", "sh", "-c", exec, (char *)NULL);
        _exit(127);
    }
    close(pipe_ends[1]);
    char piece[4096];
    for (ssize_t n; (n = read(pipe_ends[0], piece, sizeof piece)) > 0;) str_add(&out, piece, (size_t)n);
    close(pipe_ends[0]);
    assert_int_equal(wait4(pid, &status, 0, &r), pid);
    if (status) fail_msg("lorac %s: wait status %d: %s", line, status, out.data);
    *accepted = mb(out.data, "\nmemory   ", 1e6);
    *peak = (double)r.ru_maxrss * 1024 / 1e6;
    str_clear(&out);
    mem_free(line);
}

static void test_memory_is_as_planned(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        double plan = planned(CASES[i]), accepted, peak;
        taken(CASES[i], &accepted, &peak);
        printf("%s: planned %.1f MB, accepted %.1f MB, taken %.1f MB\n", CASES[i], plan, accepted, peak);
        if (!close_enough(plan, peak) || !close_enough(accepted, peak))
            fail_msg("%s: planned %.1f MB, accepted %.1f MB, taken %.1f MB", CASES[i], plan, accepted, peak);
        assert_int_equal(system("rm -rf out"), 0);
    }
}

// What does not fit is refused by both, before anything is written.
static void test_memory_limit_is_kept(void **state) {
    (void)state;
    char *plan = command("plan", "--max_seq_length 128 --max_memory 150MB");
    char *train = command("train", "--max_seq_length 128 --max_memory 150MB");
    check_has(plan, 3, "expected at most 150.0 MB (max_memory)");
    check_has(train, 3, "expected at most 150 MB (max_memory)");
    mem_free(train);
    mem_free(plan);
}

static int run_all(int argc, char **argv) {
    (void)argc, (void)argv;
    const struct CMUnitTest tests[] = {SCRATCH_TEST(test_memory_is_as_planned),
                                       SCRATCH_TEST(test_memory_limit_is_kept)};
    if (!model_file()) {
        printf("skipped: the base model is not there (make model)\n");
        return TEST_SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_all)
