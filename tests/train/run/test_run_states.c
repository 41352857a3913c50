// Every file of output_dir lost or damaged: the same command goes on, or says in one line what to do; the adapter that
// was left is never made worse.
#include "test.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "fileio.h"
#include "hash.h"
#include "path.h"
#include "snapshot.h"
#include "train_process.h"

// Learns nothing but harm, so that the best evaluation comes before the last step.
#define HARM                                                                                                           \
    "learning_rate=2 max_grad_norm=0 eval_steps=1 save_steps=1 num_train_epochs=8 gradient_accumulation_steps=1 "      \
    "lr_scheduler_type=constant "
static const char harm[] = HARM "max_steps=6";

static char *in_out(const char *out, const char *name) {
    char *dir = in_dir(out), *path = path_join(dir, name);
    mem_free(dir);
    return path;
}

static void must_end(const char *out, const char *extra, int want, const char *part) {
    int status = run(out, extra);
    if (status != want) show_log();
    assert_int_equal(status, want);
    if (part) expect_in_log(part);
}

// Flips a bit in the middle of a file.
static void flip(const char *path) {
    FILE *f = fopen(path, "r+b");
    struct stat st;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    assert_int_equal(fseek(f, st.st_size / 2, SEEK_SET), 0);
    int c = fgetc(f);
    fseek(f, -1, SEEK_CUR);
    fputc(c ^ 4, f);
    fclose(f);
}

static void put_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void drop(const char *path) { assert_int_equal(path_is_dir(path) ? dir_remove(path, NULL) : unlink(path), 0); }

static char *read_text(const char *path) {
    char *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
    return text;
}

static int64_t best_in_log(void) {
    char *path = in_dir("log"), *text = read_text(path);
    int64_t best = -1;
    for (char *at = text; (at = strstr(at, "(best)")); at++) {
        char *line = at;
        while (line > text && line[-1] != '\n') line--;
        best = atoll(line + strlen("step "));
    }
    mem_free(text);
    mem_free(path);
    return best;
}

static char *optimizer_of(const char *out, int64_t step) {
    char name[80];
    snprintf(name, sizeof name, "checkpoint-%06lld/optimizer.safetensors", (long long)step);
    return in_out(out, name);
}

static void hash_of(const char *out, const char *name, char hash[33]) {
    char *path = in_out(out, name);
    Err err;
    ASSERT_OK(hash_file(hash, path, &err), &err);
    mem_free(path);
}

static const char tensors[] = "adapter/adapter_model.safetensors";

static void test_state_best_snapshot_lost_after_the_end(void **state) {
    (void)state;
    char before[33], after[33], gguf_before[33], gguf_after[33];
    must_end("best", harm, 0, NULL);
    int64_t best = best_in_log();
    assert_true(best > 0 && best < 6);
    hash_of("best", tensors, before);
    hash_of("best", "adapter.gguf", gguf_before);
    char *optimizer = optimizer_of("best", best), *gguf = in_out("best", "adapter.gguf");
    flip(optimizer);
    must_end("best", harm, 0, "the best snapshot");
    drop(gguf);
    must_end("best", harm, 0, "stays");
    hash_of("best", tensors, after);
    hash_of("best", "adapter.gguf", gguf_after);
    assert_string_equal(before, after);
    assert_string_equal(gguf_before, gguf_after);
    char *adapter = in_out("best", "adapter");
    drop(adapter);
    must_end("best", harm, 0, "the adapter is that of the last step, 6");
    hash_of("best", tensors, after);
    assert_string_not_equal(before, after);
    mem_free(adapter);
    mem_free(gguf);
    mem_free(optimizer);
}

static void test_state_best_snapshot_lost_on_the_way(void **state) {
    (void)state;
    must_end("way", harm, 0, NULL);
    char *best = optimizer_of("way", best_in_log()), *last = in_out("way", "checkpoint-000006");
    drop(best);
    drop(last);
    must_end("way", harm, 0, "is missing or damaged; the best of the remaining evaluations is taken");
    must_end("way", harm, 0, NULL);
    mem_free(best);
    mem_free(last);
}

static void test_state_early_stop_and_its_best_lost(void **state) {
    (void)state;
    static const char words[] = HARM "early_stopping_patience=2 max_steps=40";
    must_end("early", words, 0, "stopping at step");
    char *best = optimizer_of("early", best_in_log());
    must_end("early", words, 0, NULL);
    flip(best);
    must_end("early", words, 0, "the best snapshot");
    mem_free(best);
}

// An adapter that is not what the run has made is written again.
static void test_state_adapter_half_there(void **state) {
    (void)state;
    static const char *const names[] = {"adapter/adapter_model.safetensors", "adapter/adapter_config.json",
                                        "adapter.gguf", "Modelfile", "adapter"};
    must_end("whole", NULL, 0, NULL);
    must_end("half", NULL, 0, NULL);
    for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
        char *path = in_out("half", names[i / 2]);
        if (i % 2)
            drop(path);
        else if (!path_is_dir(path) && strcmp(names[i / 2], "Modelfile") != 0)
            assert_int_equal(truncate(path, 100), 0);
        if (i % 2 == 0 && strcmp(names[i / 2], "adapter.gguf") == 0) { // it no longer shows who wrote it
            must_end("half", NULL, EXIT_INPUT, "expected a GGUF adapter that lorac wrote, or nothing there");
            drop(path);
        }
        must_end("half", NULL, 0, NULL);
        assert_true(path_exists(path));
        same_result("whole", "half");
        mem_free(path);
    }
}

static void test_state_snapshots_all_damaged(void **state) {
    (void)state;
    must_end("damaged", NULL, 0, NULL);
    char *dir = in_dir("damaged");
    size_t count;
    int64_t *steps;
    assert_int_equal(snapshot_list(&steps, &count, dir, NULL), 0);
    assert_true(count >= 2);
    for (size_t i = 0; i < count; i++) {
        char *path = optimizer_of("damaged", steps[i]);
        flip(path);
        mem_free(path);
    }
    must_end("damaged", NULL, EXIT_INPUT, "remove them (checkpoint-*) to start from step 0");
    for (size_t i = 0; i < count; i++) {
        char *path = snapshot_path(dir, steps[i]);
        drop(path);
        mem_free(path);
    }
    must_end("damaged", NULL, 0, NULL);
    same_result("whole", "damaged");
    mem_free(steps);
    mem_free(dir);
}

static void test_state_small_files(void **state) {
    (void)state;
    must_end("small", NULL, 0, NULL);
    char *config = in_out("small", "config.json"), *log = in_out("small", "train_log.jsonl");
    char *lock = in_out("small", ".lock"), *report = in_out("small", "report.html");
    static const char *const bad[] = {"", "{\"model_name_or_path\": \"", "\x01\x02\xff", "[1, 2]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text(config, bad[i]);
        must_end("small", NULL, EXIT_INPUT,
                 "config.json: found what lorac did not write; expected the config.json of a "
                 "run, or nothing there");
    }
    drop(config);
    must_end("small", NULL, 0, NULL);
    assert_true(path_exists(config));
    struct stat st;
    assert_int_equal(stat(log, &st), 0);
    assert_int_equal(truncate(log, st.st_size - 7), 0); // the last line without its end
    put_text(lock, "99999999");
    drop(report);
    must_end("small", NULL, 0, NULL);
    assert_true(path_exists(report));
    mem_free(config);
    mem_free(log);
    mem_free(lock);
    mem_free(report);
}

// A limit of file sizes is an error of the write (EFBIG), not the end of the process (SIGXFSZ).
static void test_state_limit_of_file_sizes(void **state) {
    (void)state;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 20000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int status = run("limited", NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, EXIT_RUNTIME);
    expect_in_log("File too large");
    must_end("limited", NULL, 0, NULL);
    same_result("whole", "limited");
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_state_best_snapshot_lost_after_the_end),
               TEST(test_state_best_snapshot_lost_on_the_way), TEST(test_state_early_stop_and_its_best_lost),
               TEST(test_state_adapter_half_there), TEST(test_state_snapshots_all_damaged),
               TEST(test_state_small_files), TEST(test_state_limit_of_file_sizes))
