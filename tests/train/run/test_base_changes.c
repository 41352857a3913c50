// A base model, a teacher or a file of its logits that someone changes while a run reads it: the run notices before its
// next snapshot, says so in one line and writes nothing that came from the changed file.
#include "test.h"

#include <stdio.h>
#include <sys/stat.h>

#include "command.h"
#include "fileio.h"
#include "path.h"
#include "snapshot.h"
#include "train_process.h"

#define MUCH "num_train_epochs=100000 save_steps=40 eval_strategy=no load_best_model_at_end=false"

static char *model, *words; // the file that is changed

static int make_model(void **state) {
    (void)state;
    FileMap map;
    char *original = in_dir("tiny.gguf"), *out = in_dir("out");
    Err err;
    model = in_dir("base.gguf");
    words = mem_printf("model=%s " MUCH, model);
    ASSERT_OK(file_map(&map, original, &err), &err);
    unlink(model);
    FILE *f = fopen(model, "w");
    fwrite(map.data, 1, map.size, f);
    fclose(f);
    file_unmap(&map);
    int rc = dir_remove(out, NULL);
    mem_free(original);
    mem_free(out);
    return rc;
}

static int free_model(void **state) {
    (void)state;
    mem_free(model);
    mem_free(words);
    return 0;
}

static int messages(void) {
    char *path = in_dir("log"), *text;
    size_t size;
    int n = 0;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 64 << 20, &err), &err);
    for (const char *at = text; (at = strstr(at, "lorac: ")); at++) n++;
    mem_free(text);
    mem_free(path);
    return n;
}

static size_t count_snapshots(void) {
    char *out = in_dir("out");
    size_t count;
    int64_t *steps;
    assert_int_equal(snapshot_list(&steps, &count, out, NULL), 0);
    mem_free(steps);
    mem_free(out);
    return count;
}

// Changes the file while the first steps are done; the run must end by itself, or where stop is set by that signal.
static void expect_noticed(void (*change)(void), int stop, const char *part) {
    pid_t pid = start("out", words);
    wait_for_steps(pid, 2);
    kill(pid, SIGSTOP);
    change();
    size_t before = count_snapshots();
    if (stop) kill(pid, stop);
    kill(pid, SIGCONT);
    int status = wait_for(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_RUNTIME);
    expect_in_log(part);
    assert_int_equal(messages(), 1);
    assert_int_equal(count_snapshots(), before);
}

// The same size, and the old time of modification put back.
static void overwrite_in_place(void) {
    struct stat st;
    assert_int_equal(stat(model, &st), 0);
    int fd = open(model, O_WRONLY);
    assert_int_equal(pwrite(fd, "\x01\x02\x03\x04", 4, st.st_size - 64), 4);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void replace(void) {
    char *other = in_dir("tiny.gguf");
    unlink(model);
    assert_int_equal(link(other, model), 0);
    mem_free(other);
}

static void append(void) {
    FILE *f = fopen(model, "a");
    fputc('x', f);
    fclose(f);
}

static void cut(void) { assert_int_equal(truncate(model, 512), 0); }

static void take_away(void) { unlink(model); }

static void test_base_overwritten_in_place(void **state) {
    (void)state;
    expect_noticed(overwrite_in_place, 0,
                   "base.gguf: the file was changed while it was in use (it has another time of change)");
}
static void test_base_overwritten_before_a_stop(void **state) {
    (void)state;
    expect_noticed(overwrite_in_place, SIGTERM, "the file was changed while it was in use");
}
static void test_base_replaced(void **state) {
    (void)state;
    expect_noticed(replace, SIGTERM, "another file is there now");
}
static void test_base_grown(void **state) {
    (void)state;
    expect_noticed(append, SIGHUP, "bytes, was");
}
static void test_base_cut(void **state) {
    (void)state;
    expect_noticed(cut, 0, "the file became shorter while it was in use");
}
static void test_base_gone(void **state) {
    (void)state;
    expect_noticed(take_away, SIGTERM, "No such file or directory");
}

static void test_teacher_overwritten(void **state) {
    (void)state;
    mem_free(words);
    words = mem_printf("teacher_model=%s " MUCH, model);
    expect_noticed(overwrite_in_place, 0, "base.gguf: the file was changed while it was in use");
}

// The four bytes are a token id beyond the vocabulary.
static void test_teacher_logits_overwritten(void **state) {
    (void)state;
    AUTO_FREE char *write = mem_printf(LORAC " logits model=%s/tiny.gguf train_file=%s/data.jsonl teacher_model=%s "
                                             "max_seq_length=48 val_set_size=4 --out %s/teacher.safetensors",
                                       tiny_dir, tiny_dir, model, tiny_dir);
    mem_free(command_output(write, 0));
    mem_free(model);
    mem_free(words);
    model = in_dir("teacher.safetensors");
    words = mem_printf("teacher_logits=%s " MUCH, model);
    expect_noticed(overwrite_in_place, 0, "teacher.safetensors: the file was changed while it was in use");
}

#define ONE(f) cmocka_unit_test_setup_teardown(f, make_model, free_model)
TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, ONE(test_base_overwritten_in_place),
               ONE(test_base_overwritten_before_a_stop), ONE(test_base_replaced), ONE(test_base_grown),
               ONE(test_base_cut), ONE(test_base_gone), ONE(test_teacher_overwritten),
               ONE(test_teacher_logits_overwritten))
